"""Who may write to a directory: nobody but us, or a group that shares it."""

from __future__ import annotations

import errno
import os
import stat

from pcache.errors import DirectoryError
from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

OTHERS_WRITE = 0o022

_ALL_WRITE = 0o002

_FOR_GROUP = stat.S_ISGID | stat.S_IRWXG  # of a folder that somebody made for a group
SHARE = "set PCACHE_SHARED=1 (shared=True)"

_NEVER = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)  # errors that waiting does not cure

# Never follow a link planted in place of a file, never hang on a FIFO, never leak a descriptor to a child. Flags that a
# platform does not have are left out.
SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

SAFE_FLAGS |= getattr(os, "O_BINARY", 0)

# The user whose files are ours; 0 where the platform has no users.
our_uid: Callable[[], int] = getattr(os, "getuid", int)


def check_directory(path: str, *, shared: bool = False) -> bool:
    """Return whether the directory exists; raise `DirectoryError` unless only we can write to it.

    Refuses symbolic links, other files, directories of other users and directories that others can write to. A `shared`
    one may belong to any user, and its group may write to it.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise_if_interrupt(error)
        problem = "is below a file" if error.errno == errno.ENOTDIR else f"cannot be used ({error.strerror})"
        if error.errno in _NEVER:
            raise DirectoryError(
                f"the cache directory {path} {problem}; choose another", path=path, reason="os"
            ) from error
        raise DirectoryError(f"the cache directory {path} {problem}", path=path, reason="unknown") from error
    check_status(path, status, shared=shared)
    return True


def check_status(path: str, status: os.stat_result, *, shared: bool) -> None:
    """Raise `DirectoryError` unless `status` is that of a directory which only we can write to, as above."""
    if stat.S_ISLNK(status.st_mode):
        raise DirectoryError(
            f"the cache directory {path} is a symbolic link; use the directory that it points to",
            path=path,
            reason="symlink",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise DirectoryError(f"the cache directory {path} is a file; choose another", path=path, reason="file")
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != our_uid() and not shared:
        ways = f"choose one of your own, or {SHARE} for one that a group shares"
        if mode & _FOR_GROUP == _FOR_GROUP:
            ways = f"{SHARE} if its group shares it, or choose one of your own"
        raise DirectoryError(
            f"the cache directory {path} belongs to another user (uid {status.st_uid}); {ways}",
            path=path,
            reason="foreign",
        )
    if refused := mode & (_ALL_WRITE if shared else OTHERS_WRITE):
        who = "its group" if refused == stat.S_IWGRP else "others"
        raise DirectoryError(
            f"the cache directory {path} can be written by {who} (mode {mode:o}); {_ways(path, mode, shared=shared)}",
            path=path,
            reason="writable by others",
        )


def _ways(path: str, mode: int, *, shared: bool) -> str:
    """What to do about a directory that others can write to: keep it for ourselves, or share it with its group.

    Which of the two comes first tells its mode: nobody sets the bit that hands the group on without meaning to.
    """
    if shared:
        return f"run: chmod o-w {path}"
    if mode & _FOR_GROUP == _FOR_GROUP:
        return f"{SHARE} if its group shares it, or for you alone run: chmod 700 {path}"
    if mode & OTHERS_WRITE == stat.S_IWGRP:
        return f"run: chmod 700 {path}, or {SHARE} if its group shares it on purpose"
    return f"run: chmod 700 {path}"
