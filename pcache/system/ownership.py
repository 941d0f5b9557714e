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
    if status.st_uid != our_uid() and not shared:
        raise DirectoryError(
            f"the cache directory {path} belongs to another user (uid {status.st_uid}); choose one of your own, or set"
            " shared=True (PCACHE_SHARED=1) for one that a group shares",
            path=path,
            reason="foreign",
        )
    if status.st_mode & (_ALL_WRITE if shared else OTHERS_WRITE):
        raise DirectoryError(
            f"the cache directory {path} can be written by others (mode {stat.S_IMODE(status.st_mode):o});"
            f" run: chmod {'o-w' if shared else '700'} {path}",
            path=path,
            reason="writable by others",
        )
