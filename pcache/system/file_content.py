"""What files and folders hold, and whether they were touched since they were read.

A file changed when its inode, size or times did: the time of its last change of any kind (`ctime`) cannot be set by
programs, so content that was replaced with the old size and modification time shows as well.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from blake3 import blake3

from pcache.startup import TYPE_CHECKING, NamedTuple
from pcache.system.digests import SEGMENT, Content, digest_of_range

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

_BLOCK = 1 << 20  # bytes that are read at once

_SETTLED_NS = 2 * 10**9  # a younger file may change again within one tick of its clock

_MAX_MEMO = 4096

_MOST_LINKS = 40  # the limit of the kernel

_PLAIN = 5  # length of the identity of a file that is not a link

# Opening a FIFO would wait for a writer.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)

_MISSING, _NEVER = (), (-1,)  # in place of the identity of a missing file, and of one that never counts as unchanged

_MOST_FILES = 10_000  # of a folder; looking at that many takes 30 ms

_WHOLE = 256 << 20  # bytes of a file behind a handle that are read in full

_memo: dict[tuple[int, ...], bytes] = {}  # digests of files read before, by identity


class Reading(NamedTuple):
    """The state of a file when it was read.

    `identity` is device, inode, size and times, of links as well as of their target; empty for a missing file. If not
    `settled`, the file may have changed since without another identity. For a folder, `below` are the readings of its
    files.
    """

    path: str
    digest: bytes
    identity: tuple[int, ...]
    settled: bool
    below: tuple[Reading, ...] | None = None

    def is_untouched(self) -> bool:
        """Whether the file was neither written nor replaced since it was read.

        Equal content is not enough: a function may have read other content in between.
        """
        try:
            if self.below is not None:
                return self._names_hold() and all(file.is_untouched() for file in self.below)
            if _identity_now(self.path) != self.identity:
                return False
            return self.settled or read(self.path).digest == self.digest
        except OSError:
            return False

    def again(self) -> Reading | None:
        """The reading of the file as it is now; None if its content has changed."""
        try:
            if self.below is not None:
                now_below = [file.again() for file in self.below] if self._names_hold() else [None]
                known = tuple(file for file in now_below if file is not None)
                return None if len(known) < len(now_below) else self._replace(below=known)
            if self.settled and _identity_now(self.path) == self.identity:
                return self
            now = read(self.path)
        except OSError:
            return None
        return now if now.digest == self.digest else None

    def _names_hold(self) -> bool:
        """Whether a folder has the same files as before."""
        return names_below(self.path) == [file.path for file in self.below or ()]


def read_folder(path: str, look: Callable[[str], Reading] | None = None) -> Reading:
    """Read all files below a folder; raises `OSError` for more than 10,000, and for what may not be read.

    They count by relative names and by content, or by what `look` returns for them. Empty folders and `__pycache__` do
    not count.
    """
    hasher = blake3()
    below = []
    for name in names_below(path):
        reading = _read_below(name, look or read)
        below.append(reading)
        relative = os.fsencode(name[len(path) :].lstrip("/"))
        hasher.update(b"%d %d;" % (len(relative), len(reading.digest)) + relative + reading.digest)
    return Reading(path, hasher.digest(), (), all(reading.settled for reading in below), tuple(below))


def _read_below(path: str, look: Callable[[str], Reading]) -> Reading:
    """A file in a folder, which may be a dangling link or a socket as well."""
    try:
        return look(path)
    except FileNotFoundError:
        return Reading(path, b"missing", _MISSING, settled=True)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENXIO):
            raise
        return Reading(path, b"no plain file", _identity_now(path), settled=True)


def names_below(path: str) -> list[str]:
    """The paths of all files below a folder, in order, through links as well; raises `OSError`."""
    found: list[str] = []
    folders = [(path, frozenset[tuple[int, int]]())]
    for folder, above in folders:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link to a folder that contains it
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        folders.append((entry.path, above | {here}))
                else:
                    found.append(entry.path)
        if len(found) > _MOST_FILES or len(folders) > _MOST_FILES:
            raise OSError(
                errno.EFBIG, f"it has more than {_MOST_FILES:,} files or folders; name those that matter", path
            )
    return sorted(found)


def read_any(path: str) -> Reading:
    """Read a file, or all files below a folder; raises `OSError`."""
    return read_folder(path) if os.path.isdir(path) else read(path)


def glance(path: str) -> Reading:
    """A reading of a file by content, and of one of more than 256 MiB by path, inode, size and times.

    A large file that has just changed gets a unique reading, since it could change again and look the same.
    """
    identity = _identity_now(path)
    if len(identity) < _PLAIN or identity[2] <= _WHOLE:
        return read(path)
    if time.time_ns() - max(identity[3:_PLAIN]) <= _SETTLED_NS:
        return unknown(path)
    return Reading(path, blake3(repr((path, identity[:_PLAIN])).encode()).digest(), identity, settled=True)


def content_digest(path: str) -> bytes:
    """The digest of a file's content, 32 bytes; raises `OSError`, also for anything but a regular file."""
    return read(path).digest


def read(path: str) -> Reading:
    """Read a file, unless one of the same identity was read before; raises `OSError`, also for what is not regular."""
    identity = _identity_now(path)
    known = _memo.get(identity[:_PLAIN])
    if known is not None:
        return Reading(path, known, identity, settled=True)
    now = time.time_ns()
    with open(path, "rb", buffering=0, opener=_open) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        content = _identity(status)
        identity = content + identity[_PLAIN:]
        digest, length = _digest(file, status.st_size)
        unchanged = _identity(os.fstat(file.fileno())) == content
    # Those of /proc have another length than they report, and change without a trace.
    settled = unchanged and length == status.st_size and now - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS
    if settled:
        if len(_memo) >= _MAX_MEMO:
            _memo.clear()
        _memo[content] = digest
    return Reading(path, digest, identity, settled)


def _digest(file: FileIO, size: int) -> tuple[bytes, int]:
    """The digest of what a file holds, and how long that is; `size` is how long it says it is."""
    if size > SEGMENT:
        digest = digest_of_range(file.fileno(), 0, size)
        if digest is not None and not os.pread(file.fileno(), 1, size):
            return digest, size
    hasher, length = Content(), 0
    buffer = bytearray(_BLOCK)
    with memoryview(buffer) as view:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            length += count
    return hasher.digest(), length


def read_or_miss(path: str) -> Reading:
    """The same for a file that may be missing. An unreadable one gets a unique reading, and is never untouched."""
    try:
        return read_any(path)
    except (FileNotFoundError, NotADirectoryError):
        return Reading(path, b"missing", _MISSING, settled=True)
    except OSError:
        return unknown(path)


def unknown(path: str) -> Reading:
    """A reading of a file whose content is unknown."""
    return Reading(path, os.urandom(16), _NEVER, settled=False)


def links_to(path: str | bytes) -> tuple[tuple[int, int, int], ...]:
    """The links on the way to a file, each as device, inode and time of change; if a file is missing, those before it.

    A link that is retargeted and restored while a function reads leaves the file itself untouched.
    """
    found: list[tuple[int, int, int]] = []
    try:
        here, ahead = "", os.path.join(os.getcwd(), os.fsdecode(path)).split("/")[::-1]
        while ahead and len(found) < _MOST_LINKS:
            step = f"{here}/{ahead.pop()}"
            status = os.lstat(step)
            if not stat.S_ISLNK(status.st_mode):
                here = step.rstrip("/")
                continue
            found.append((status.st_dev, status.st_ino, status.st_ctime_ns))
            target = os.readlink(step)
            here = "" if target.startswith("/") else here
            ahead += target.split("/")[::-1]
    except OSError:
        pass  # a missing file is noticed by its identity
    return tuple(found)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _FLAGS)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _identity_now(path: str) -> tuple[int, ...]:
    try:
        link = os.lstat(path)
        if not stat.S_ISLNK(link.st_mode):
            return _identity(link)
        return _identity(os.stat(path)) + _identity(link)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
