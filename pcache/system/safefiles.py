"""Read and write cache files safely: never follow a link, block on a FIFO or write through a hard link.

Anyone who could once write to the directory, or packed an archive that was unpacked there, may have put anything in
their place: a link, a FIFO, a device, a hard link to another file, a terabyte of holes.
"""

from __future__ import annotations

import errno
import os
import stat

from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.ownership import SAFE_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable

# Errors of reading where there is no file, or something else: a link, a socket, a folder, terabytes.
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EFBIG)
_GLANCE = 4096  # bytes by which a file is judged


def is_plain(status: os.stat_result) -> bool:
    """Whether a file has no hard links, through which our writes would appear elsewhere."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def is_plain_or_none(path: str, below: int | None = None) -> bool:
    """Whether a plain file, or nothing, has a name, in the folder `below` if given."""
    try:
        return is_plain(os.stat(path, dir_fd=below, follow_symlinks=False))
    except FileNotFoundError:
        return True


def make_way(path: str, below: int | None = None) -> None:
    """Remove what has the name of a file of ours, but is not one: a link, a FIFO, a hard link, a folder.

    The target of a link stays; a folder that is not empty is renamed. For names below a checked directory.
    """
    if is_plain_or_none(path, below):
        return
    try:
        os.unlink(path, dir_fd=below)
    except FileNotFoundError:
        pass  # removed meanwhile
    except (IsADirectoryError, PermissionError):  # macOS says the latter of a folder
        if not stat.S_ISDIR(os.stat(path, dir_fd=below, follow_symlinks=False).st_mode):
            raise
        try:
            os.rmdir(path, dir_fd=below)
        except OSError as error:
            raise_if_interrupt(error)
            os.rename(path, f"{path}.odd-{os.urandom(4).hex()}", src_dir_fd=below, dst_dir_fd=below)


def read_plain(
    path: str, limit: int, *, linked: bool = False, believe: Callable[[bytes, int], bool] | None = None
) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises `OSError`. Never waits, whatever lies there.

    One with a second name counts only where it may be `linked`: a single file could have any number of names. With
    `believe` the first bytes, and the size, decide whether the rest is read.
    """
    fd = uninterrupted(os.open, path, os.O_RDONLY | SAFE_FLAGS)
    # No loop here: an interrupt in one that goes back would pass by the `finally` around it (CPython 3.13).
    try:
        status = os.fstat(fd)
        is_file = stat.S_ISREG(status.st_mode) if linked else is_plain(status)
        if not is_file or status.st_size > limit:
            raise OSError(errno.EFBIG, "not a file of ours", path)
        return _content(fd, status.st_size, path, believe)
    finally:
        os.closerange(fd, fd + 1)


def _content(fd: int, size: int, path: str, believe: Callable[[bytes, int], bool] | None) -> bytes:
    """The content of an open file of so many bytes, of which the first are to be believed."""
    data = b""
    for end in (size,) if believe is None else (min(size, _GLANCE), size):
        while len(data) < end and len(more := os.read(fd, end - len(data))):
            data += more  # one read may end early
        if believe is not None and not believe(data, size):
            raise OSError(errno.EFBIG, "not a file of ours", path)
    return data


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a single write may end early when the disk fills up. Raises `OSError`."""
    written = 0
    while written < len(data):
        if (count := os.write(fd, data[written:])) <= 0:
            raise OSError(errno.EIO, "nothing could be written")
        written += count
