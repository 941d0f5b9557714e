"""How many entries and bytes are in each shard: one small file that all processes keep up to date.

    file = magic(8) row(16)*256 crc32(4);  row = entries(8) bytes(8)

A process adds what it wrote; one that lists a shard corrects its row. The sum shows whether a limit is exceeded without
listing a million files. It may be off by what a killed process did not add, until the shard is listed. A damaged file
counts as missing: then everything is counted anew. The checksum does not protect against users who can write into the
directory: they can control when others evict.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from struct import Struct

from pcache.entry.format import new_tuple
from pcache.layout import usage_path
from pcache.startup import TYPE_CHECKING, NamedTuple
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import read_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pcache.storage.store import StoredFile
    from pcache.system.directories import OpenFolder
    from pcache.system.locks import Lock

SHARDS = 256
PATIENCE = 0.02  # seconds; the holder of the lock needs 30 us, unless it has to wait for a processor
IDLE = 1.0  # seconds without a change of the file, after which its lock is ignored
_MAGIC = b"PCROOM\x00\x01"
_ROWS = Struct(f"<{2 * SHARDS}q")
_CRC = Struct("<I")
_MOST = 1 << 53  # more than any disk has, and a sum of 256 such numbers still fits
_SIZE = len(_MAGIC) + _ROWS.size + _CRC.size


class Amount(NamedTuple):
    """A number of entries, and the space that they take on disk."""

    entries: int = 0
    size: int = 0

    def plus(self, entries: int, size: int) -> Amount:
        return Amount(self.entries + entries, self.size + size)


_NOTHING = Amount()


def read(path: str) -> list[Amount] | None:
    """The usage of each shard from a file; None if it is missing or damaged."""
    try:
        return _decode(read_plain(path, _SIZE))
    except OSError as error:
        raise_if_interrupt(error)
        return None


def total_of(rows: Iterable[Amount]) -> Amount:
    """The usage of all shards."""
    entries, sizes = zip(*rows, strict=True)
    return Amount(sum(entries), sum(sizes))


def known_entries(root: str) -> int:
    """The number of entries according to the usage file; 0 if it is unknown."""
    rows = read(usage_path(root))
    return 0 if rows is None else total_of(rows).entries


def by_shard(items: Iterable[StoredFile]) -> list[Amount]:
    """Add up entries by shard."""
    found = [Amount()] * SHARDS
    for item in items:
        shard = int(item.key[:2], 16)
        found[shard] = found[shard].plus(1, item.size)
    return found


def add(
    path: str,
    added: Mapping[int, Amount],
    *,
    anew: list[Amount] | None = None,
    wait: float = 0.0,
    patient: bool = True,
    access: Access = PRIVATE,
) -> Amount | None:
    """Add to some shards, and return the total; None if there is no usable file, unless `anew` has the new content.

    Raises `OSError`; among these is `BlockingIOError` if another process holds the lock for `wait` seconds. A file that
    can be neither locked nor opened is replaced by a copy, if it is idle or we are not `patient`.
    """
    from pcache.system.locks import is_idle, say_held, try_lock  # late for start-up time

    place, name = os.path.split(path)
    folder = access.enter_or_make(os.path.dirname(os.path.dirname(place)), place)
    try:
        try:
            lock = try_lock(path, wait, access=folder)
        except OSError as error:
            raise_if_interrupt(error)
            if patient and not is_idle(IDLE, *folder.at(name)):
                raise
            lock = None
        if lock is None:
            if patient and not is_idle(IDLE, *folder.at(name)):
                raise BlockingIOError(errno.EAGAIN, "another process updates the file")
            say_held(path)
            known = read(path) or anew
            if known is not None:
                _replace(folder, name, _plus(known, added))
            return None if known is None else total_of(_plus(known, added))
        with lock:  # inside of `try`, since an interrupt may come where the folder is closed
            return _add_under(lock, added, anew)
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def _add_under(lock: Lock, added: Mapping[int, Amount], anew: list[Amount] | None) -> Amount | None:
    """Add to a file whose lock is held."""
    if not lock.is_in_place():
        raise BlockingIOError(errno.EAGAIN, "another process replaced the file")
    rows = _decode(os.pread(lock.fd, _SIZE + 1, 0))
    if rows is None:
        if anew is None:
            return None
        rows = anew
        os.ftruncate(lock.fd, 0)
    else:
        rows = _plus(rows, added)
    lock.use(os.pwrite, lock.number, _encode(rows), 0)
    return total_of(rows)


def _plus(rows: list[Amount], added: Mapping[int, Amount]) -> list[Amount]:
    rows = list(rows)
    for shard, (entries, size) in added.items():
        rows[shard] = Amount(max(rows[shard].entries + entries, 0), max(rows[shard].size + size, 0))
    return rows


def _replace(folder: OpenFolder, name: str, rows: list[Amount]) -> None:
    """Replace a locked file by one that is not locked."""
    temporary = f"{name}.new"
    fd = uninterrupted(folder.open, temporary, os.O_WRONLY)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, _encode(rows), 0)
    finally:
        os.closerange(fd, fd + 1)
    folder.rename(temporary, name)


def _encode(rows: list[Amount]) -> bytes:
    from zlib import crc32  # late for start-up time

    body = _MAGIC + _ROWS.pack(*(number for row in rows for number in row))
    return body + _CRC.pack(crc32(body))


def _decode(data: bytes) -> list[Amount] | None:
    from zlib import crc32  # late for start-up time

    body, check = data[: -_CRC.size], data[-_CRC.size :]
    if len(data) != _SIZE or not body.startswith(_MAGIC) or check != _CRC.pack(crc32(body)):
        return None
    numbers = _ROWS.unpack_from(body, len(_MAGIC))
    if min(numbers) < 0 or max(numbers) > _MOST:
        return None  # impossible numbers
    return [Amount(*numbers[i : i + 2]) for i in range(0, len(numbers), 2)]


class Gauge:
    """The usage that this process adds up, and now and then adds to one usage file. Safe for threads."""

    def __init__(self, root: str, function: str, count: Callable[[], list[Amount]], access: Access = PRIVATE) -> None:
        self._root = root
        self._access = access
        self._path = usage_path(root, function)
        self._count = count  # lists all shards, to make a missing file
        self.reset()

    def reset(self) -> None:
        """Forget what was not written yet: in a forked child the parent writes it."""
        self._lock = threading.RLock()  # reentrant: a signal handler may store a result
        self._added: dict[int, Amount] = {}
        self.untold = Amount()
        self.started = False  # whether anything was added
        self._refused_since = 0.0  # time since which updates have failed, 0 if the last one succeeded

    def add(self, shard: int, entries: int, size: int) -> Amount:
        """Count what is stored; return the amount that is not in the file yet."""
        with self._lock:
            self.started = True
            # As `plus`, which is two calls more; a store pays for each.
            had, has = self._added.get(shard, _NOTHING), self.untold
            self._added[shard] = new_tuple(Amount, (had[0] + entries, had[1] + size))
            self.untold = new_tuple(Amount, (has[0] + entries, has[1] + size))
            return self.untold

    def rows(self) -> list[Amount]:
        """The recorded usage of each shard; zero if it is unknown."""
        return read(self._path) or [Amount()] * SHARDS

    def tell(self, wait: float = PATIENCE, pending: tuple[int, Amount] | None = None) -> Amount | None:
        """Update the file; return the usage of all shards, None if that fails within `wait` seconds.

        `pending` is a result that was added, with its shard, and is not on the disk yet.
        """
        with self._lock:
            added, untold = self._added, self.untold
            self._added, self.untold = {}, Amount()
        refused = self._refused_since
        patient = not refused or time.monotonic() - refused < IDLE
        try:
            total = add(self._path, added, wait=wait, patient=patient, access=self._access)
            if total is None:
                there = self._count()
                if pending is not None:
                    there[pending[0]] = there[pending[0]].plus(*pending[1])
                total = add(self._path, added, anew=there, wait=wait, patient=patient, access=self._access)
        except OSError as error:  # a full or read-only disk, or another process holds the lock: try again next time
            raise_if_interrupt(error)
            self._refused_since = refused or time.monotonic()
            with self._lock:
                for shard, amount in added.items():
                    self._added[shard] = self._added.get(shard, Amount()).plus(*amount)
                self.untold = self.untold.plus(*untold)
            return None
        self._refused_since = 0.0
        return total
