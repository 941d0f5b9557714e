"""Open folders of a cache directory: listing, making, renaming and removing all go through their descriptors.

A path is looked up anew at each use. Anyone who may write above it can replace a folder by a link after it was checked,
and files elsewhere, ours as well, would be removed. A descriptor stays the folder that it is. It is kept for one
operation, and closed by `os.closerange(folder.fd, folder.fd + 1)` (see system/interrupts.py).
"""

from __future__ import annotations

import errno
import os
import stat
import time
from functools import partial, wraps

from pcache.errors import DirectoryError, PcacheError
from pcache.startup import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar
from pcache.system.clock import Stopwatch
from pcache.system.interrupts import raise_if_interrupt, stands, uninterrupted
from pcache.system.ownership import SAFE_FLAGS, check_directory, check_status, our_uid
from pcache.system.safefiles import is_plain, make_way

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

RIGHTS = {False: (0o700, 0o600), True: (0o2770, 0o660)}  # of folders and files, by whether they are shared
_APPEARING = 0.25  # seconds after which a file that we may not open yet was left by a killed process
_PAUSE = 0.001
_TRIES = 5  # to open a file that others rename
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | SAFE_FLAGS
_NONE = 2**31 - 2  # no descriptor: closing it closes nothing, where -1 and 0 mean all of them to `closerange`
# Windows has no descriptors of folders: there everything goes by path.
_BY_DESCRIPTOR = os.supports_dir_fd >= {os.open, os.stat, os.unlink, os.rename} and os.scandir in os.supports_fd


class OpenFolder(NamedTuple):
    """A folder that is ours, or our group's where it is `shared`. Names in it are given without a path.

    Safe to use from several threads at once, until it is closed.
    """

    fd: int
    path: str
    shared: bool

    def at(self, name: str) -> tuple[str, int | None]:
        """The arguments of functions of `os` for a file in it: a path, and the `dir_fd`."""
        return (name, self.fd) if self.fd != _NONE else (os.path.join(self.path, name), None)

    def names(self) -> list[str]:
        """The names in it."""
        return os.listdir(self.fd if self.fd != _NONE else self.path)

    def items(self) -> list[os.DirEntry[str]]:
        """The entries in it; use them while it is open. Their paths are names only."""
        with uninterrupted(os.scandir, self.fd if self.fd != _NONE else self.path) as items:
            return list(items)

    def status(self, name: str) -> os.stat_result:
        """The status of a file in it, which is that of a link itself; raises `OSError`."""
        path, below = self.at(name)
        return os.stat(path, dir_fd=below, follow_symlinks=False)

    def remove(self, name: str) -> bool:
        """Remove a file; return whether it was there. Raises `OSError`."""
        path, below = self.at(name)
        try:
            os.unlink(path, dir_fd=below)
        except FileNotFoundError:
            return False
        return True

    def rename(self, name: str, new: str) -> None:
        """Rename a file, replacing another one, or anything that is not a file of ours and has the new name."""
        self.make_way(new)
        (old_path, below), (new_path, _) = self.at(name), self.at(new)
        os.replace(old_path, new_path, src_dir_fd=below, dst_dir_fd=below)

    def make_way(self, name: str) -> None:
        """Remove what has the name of a file of ours, but is not one."""
        make_way(*self.at(name))

    def open(self, path: str, flags: int) -> int:
        """Open a file in it for writing, by name or by path, as `Access.open` does."""
        path, below = self.at(os.path.basename(path))
        return open_plain(path, below, flags, shared=self.shared)  # without a `*`: nothing comes before it is returned

    def make(self, name: str) -> None:
        """Make a folder in it with our rights, unless it is there."""
        make_folder(*self.at(name), shared=self.shared)


def open_folder(root: str, folder: str, *, shared: bool) -> OpenFolder | None:
    """Open a folder below a root, or the root; None if it does not exist. To be closed by the caller.

    Raises `DirectoryError` unless it and each folder on the way down to it is ours, or our group's, to write.
    """
    if not _BY_DESCRIPTOR:
        return OpenFolder(_NONE, folder, shared) if _are_there(root, folder, shared=shared) else None
    try:
        fd = uninterrupted(os.open, folder, _FOLDER)
    except OSError as error:
        raise_if_interrupt(error)
        if error.errno == errno.ENOENT and not stands(folder):
            return None  # the fast path: most of the 256 shards of a small cache do not exist
        if not _are_there(root, folder, shared=shared) or error.errno == errno.ENOENT:
            return None
        raise unusable(folder, error) from error
    try:
        _check_steps(fd, root, folder, shared=shared)
        return OpenFolder(fd, folder, shared)
    except BaseException:
        os.closerange(fd, fd + 1)
        raise


def unusable(folder: str, error: OSError) -> DirectoryError:
    """The error for a folder that the system refuses to open, list or change."""
    return DirectoryError(f"the cache directory {folder} cannot be used ({error.strerror})", path=folder, reason="os")


def not_removed(path: str, error: OSError) -> DirectoryError:
    """The error for a file that the system refuses to remove."""
    return DirectoryError(f"{path} cannot be removed ({error.strerror})", path=path, reason="os")


def in_a_sentence(act: Callable[P, R]) -> Callable[P, R]:
    """Turn an `OSError` that a function raises into a `DirectoryError`."""

    @wraps(act)
    def acting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return act(*args, **kwargs)
        except OSError as error:
            raise_if_interrupt(error)
            if isinstance(error, PcacheError):
                raise
            raise unusable(str(error.filename or ""), error) from error

    return acting


def _check_steps(fd: int, root: str, folder: str, *, shared: bool) -> None:
    """Refuse a folder unless it and all above it, up to the root, are ours, and lie in each other.

    From the bottom up, as `..` is the real parent, whatever the path leads to: one descriptor is enough.
    """
    try:
        status, path, up = os.fstat(fd), folder, ".."
        while True:
            check_status(path, status, shared=shared)
            if len(path) <= len(root):
                break
            status, path, up = os.stat(up, dir_fd=fd), os.path.dirname(path), f"{up}/.."
        if os.path.samestat(status, os.lstat(root)):
            return
    except OSError as error:
        raise_if_interrupt(error)
        if isinstance(error, DirectoryError):
            raise
        raise unusable(folder, error) from error
    _are_there(root, folder, shared=shared)  # usually says what has their names instead
    raise DirectoryError(
        f"the cache directory {folder} was moved or replaced just now; try again, and if others may write to"
        f" {os.path.dirname(root)}, choose another place",
        path=folder,
        reason="replaced",
    )


def _are_there(root: str, folder: str, *, shared: bool) -> bool:
    """Check a folder and all above it by their paths, from the root down; False where one is missing."""
    if len(folder) > len(root) and not _are_there(root, os.path.dirname(folder), shared=shared):
        return False
    return check_directory(folder, shared=shared)


def open_or_make(root: str, folder: str, *, shared: bool) -> OpenFolder:
    """Open a folder below a root, and make it and those above it where they are missing; raises `OSError`.

    From the root down, so that nothing is made behind a link.
    """
    found = open_folder(root, folder, shared=shared)
    if found is not None:
        return found
    if len(folder) <= len(root):
        make_folder(folder, None, shared=shared)
    else:
        above = open_or_make(root, os.path.dirname(folder), shared=shared)
        try:
            above.make(os.path.basename(folder))
        finally:
            os.closerange(above.fd, above.fd + 1)
    found = open_folder(root, folder, shared=shared)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "it was removed as soon as it was made", folder)
    return found


def make_folder(path: str, below: int | None, *, shared: bool, mode: int | None = None) -> None:
    """Make a folder with our rights, or another mode, unless it exists. The one above it exists."""
    mode = RIGHTS[shared][0] if mode is None else mode
    if not shared:
        try:
            os.mkdir(path, mode, dir_fd=below)
        except FileExistsError:
            pass  # another process was faster
    elif not _is_there(path, below):
        # Under another name first: a mask could keep the group out until the rights are set.
        temporary = f"{path}.{os.urandom(4).hex()}"
        os.mkdir(temporary, mode, dir_fd=below)
        try:
            _set_rights(temporary, below, mode)
            os.rename(temporary, path, src_dir_fd=below, dst_dir_fd=below)
        except OSError as error:
            os.rmdir(temporary, dir_fd=below)
            raise_if_interrupt(error)
            if not _is_there(path, below):
                raise
            # else another process was faster, and its folder holds something already


def _is_there(path: str, below: int | None) -> bool:
    try:
        os.stat(path, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _set_rights(path: str, below: int | None, mode: int) -> None:
    """Set the mode of a folder that we have just made; never through a link that was put in its place."""
    try:
        fd = uninterrupted(partial(os.open, dir_fd=below), path, _FOLDER)
        of = ""
    except PermissionError:  # a umask that excludes even us
        fd = uninterrupted(partial(os.open, dir_fd=below), path, _FOLDER | getattr(os, "O_PATH", 0))
        of = f"/proc/self/fd/{fd}"
    try:
        if os.fstat(fd).st_uid != our_uid():
            raise FileExistsError(errno.EEXIST, "something else was put in the place of a folder", path)
        os.chmod(of or fd, mode)
    finally:
        os.closerange(fd, fd + 1)


def open_plain(path: str, below: int | None, flags: int, *, shared: bool, writing: bool = True) -> int:
    """Open a plain file, or make it with our rights; anything else of its name is removed. Raises `OSError`.

    For `writing` it must have this name and no other at the same moment. A hard link to another user's file that is
    removed right after it was opened would look as if it had one name only.
    """
    flags |= os.O_CREAT | SAFE_FLAGS
    mode = RIGHTS[shared][1]
    for _ in range(_TRIES):
        if not flags & os.O_EXCL:
            make_way(path, below)
        fd = uninterrupted(_open_appearing, path, below, flags, mode, _APPEARING if shared else 0.0)
        try:
            status = os.fstat(fd)
            if is_plain(status) and (not writing or _is_at(path, below, status)):
                if shared and status.st_uid == our_uid() and stat.S_IMODE(status.st_mode) != mode:
                    os.fchmod(fd, mode)
                return fd
        except BaseException:
            os.closerange(fd, fd + 1)
            raise
        os.closerange(fd, fd + 1)  # just renamed, usually by one of us: there is another one now
    raise FileExistsError(errno.EEXIST, "something else was put in the place of a file", path)


def _is_at(path: str, below: int | None, opened: os.stat_result) -> bool:
    """Whether an open file has a name, and no other."""
    try:
        there = os.stat(path, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return is_plain(there) and os.path.samestat(there, opened)


def reopen_plain(path: str, flags: int) -> int:
    """Open an existing plain file for writing; raises `OSError` when it is missing, or not plain."""
    fd = uninterrupted(os.open, path, flags & ~os.O_CREAT | SAFE_FLAGS)
    try:
        if not _is_at(path, None, os.fstat(fd)):
            raise FileNotFoundError(errno.ENOENT, "something else was put in the place of a file", path)
    except BaseException:
        os.closerange(fd, fd + 1)
        raise
    return fd


def _open_appearing(path: str, below: int | None, flags: int, mode: int, patience: float) -> int:
    """Open a file that another user may just be making: by a umask, its group may be excluded for a moment.

    One that we still may not open is removed: files that are opened for writing hold nothing indispensable.
    """
    begin = os.open if below is None else partial(os.open, dir_fd=below)
    clock = Stopwatch()
    while True:
        try:
            return uninterrupted(begin, path, flags, mode)
        except PermissionError:
            may_make = os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK, dir_fd=below)
            if not may_make or not _is_there(path, below):
                raise
        if clock.passed() >= patience or _age_of(path, below) > patience:
            break
        clock.pause(_PAUSE)
    try:
        os.unlink(path, dir_fd=below)
    except FileNotFoundError:
        pass  # another process removed it
    return uninterrupted(begin, path, flags, mode)


def _age_of(path: str, below: int | None) -> float:
    """Seconds since a file was made or its permissions changed; 0 if there is none."""
    try:
        return time.time() - os.stat(path, dir_fd=below, follow_symlinks=False).st_ctime
    except FileNotFoundError:
        return 0.0
