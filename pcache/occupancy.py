"""How much lies in each shard of a directory: one small file that all processes keep up to date.

    file = magic(8) row(16)*256 crc32(4);  row = entries(8) bytes(8)

Whoever writes adds what it wrote, whoever looks through a shard says what is there. The sum tells when a limit is
exceeded without listing a million files. It may be off by what a killed process did not add; a look at the shard
corrects that. A damaged file is one that is not there: then everything is counted anew.
"""

from __future__ import annotations

import os
import threading
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from pcache.trust import SAFE_FLAGS, check_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    Count: TypeAlias = Callable[[], Mapping[int, "Amount"]]

SHARDS = 256
_MAGIC = b"PCROOM\x00\x01"
_ROWS = Struct(f"<{2 * SHARDS}q")
_CRC = Struct("<I")
_SIZE = len(_MAGIC) + _ROWS.size + _CRC.size


class Amount(NamedTuple):
    """So many entries, and the room that they take on disk."""

    entries: int = 0
    size: int = 0

    def plus(self, entries: int, size: int) -> Amount:
        return Amount(self.entries + entries, self.size + size)


def path_below(root: str, function: str = "") -> str:
    """The file for all entries, or for those of a function that has a limit of its own."""
    from blake3 import blake3  # the name may hold anything

    name = f"occupancy-{blake3(function.encode()).hexdigest(8)}" if function else "occupancy"
    return os.path.join(root, "v1", "ledger", name)


def read(path: str) -> Amount | None:
    """What lies in all shards, as a file says; None when it is not there or damaged."""
    try:
        fd = os.open(path, os.O_RDONLY | SAFE_FLAGS)
    except OSError:
        return None
    try:
        rows = _decode(os.pread(fd, _SIZE + 1, 0))
        return None if rows is None else _total(rows)
    except OSError:
        return None
    finally:
        os.close(fd)


def update(
    path: str,
    added: Mapping[int, Amount],
    everything: Count,
    some: Count | None = None,
    *,
    pending: Mapping[int, Amount] | None = None,
    wait: float = 0.0,
) -> Amount:
    """Add to some shards, count what lies in others, and return what lies in all.

    `some` counts some shards, `everything` all of them when nothing is known. Both are called while the file is locked,
    so that nobody's numbers come between the look and its outcome; `pending` is what they cannot see yet. Raises
    `OSError`, and `BlockingIOError` while another process updates, for `wait` seconds.
    """
    from pcache.locking import try_lock  # late for start-up time

    lock = try_lock(path, wait)
    if lock is None:
        raise BlockingIOError("another process updates the file")
    with lock:
        rows = _decode(os.pread(lock.fd, _SIZE + 1, 0))
        if rows is None:
            rows, some = [Amount()] * SHARDS, everything
            os.ftruncate(lock.fd, 0)
        else:
            for shard, (entries, size) in added.items():
                rows[shard] = Amount(max(rows[shard].entries + entries, 0), max(rows[shard].size + size, 0))
        more = pending or {}
        for shard, amount in (some() if some is not None else {}).items():
            rows[shard] = amount.plus(*more.get(shard, Amount()))
        os.pwrite(lock.fd, _encode(rows), 0)
        return _total(rows)


def _total(rows: Iterable[Amount]) -> Amount:
    entries, sizes = zip(*rows, strict=True)
    return Amount(sum(entries), sum(sizes))


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
    return [Amount(*numbers[i : i + 2]) for i in range(0, len(numbers), 2)]


class Gauge:
    """What this process adds to one occupancy file, told to the others now and then. Safe for threads."""

    def __init__(self, root: str, function: str, count: Count) -> None:
        self._root = root
        self._path = path_below(root, function)
        self._count = count  # all shards, for a file that is not there yet
        self.reset()

    def reset(self) -> None:
        """Forget what was not told yet: in a forked child it is the parent's."""
        self._lock = threading.Lock()
        self._added: dict[int, Amount] = {}
        self.untold = Amount()

    def add(self, shard: int, entries: int, size: int) -> Amount:
        """Count what is written; return what was not told yet."""
        with self._lock:
            self._added[shard] = self._added.get(shard, Amount()).plus(entries, size)
            self.untold = self.untold.plus(entries, size)
            return self.untold

    def tell(
        self, some: Count | None = None, *, pending: Mapping[int, Amount] | None = None, wait: float = 0.0
    ) -> Amount | None:
        """Tell the others; return what lies in all shards now, None when that cannot be had within `wait` seconds.

        `some` counts what lies in some shards, `pending` is what was added and is not on the disk yet.
        """
        with self._lock:
            added, untold = self._added, self.untold
            self._added, self.untold = {}, Amount()
        try:
            check_below(self._root, os.path.dirname(self._path))
            return update(self._path, added, self._count, some, pending=pending, wait=wait)
        except OSError:  # a full or read-only disk, or another process that tells: the next time
            with self._lock:
                for shard, amount in added.items():
                    self._added[shard] = self._added.get(shard, Amount()).plus(*amount)
                self.untold = self.untold.plus(*untold)
            return None
