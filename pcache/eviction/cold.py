"""Compress results later that were not compressed when they were stored: cold ones, and where room is scarce.

What was not used for a day is likely not used soon, and may take longer to unpack. Where room is nearly used up, a
result that is compressed takes the place of one that would be evicted. This is done in slices by calls that store: each
takes some milliseconds, or a share of the time that its own function took. `docs/compression.md` compares rules.
"""

from __future__ import annotations

import time

from pcache.entry.compression import LATER, MIN_SIZE, PACK_NS, RAW, Packer, would_be_mapped
from pcache.errors import Miss
from pcache.eviction.repacking import repack
from pcache.startup import TYPE_CHECKING
from pcache.storage.store import on_disk
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.notices import log
from pcache.system.ownership import our_uid
from pcache.text.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcache.entry.inspector import CheckedEntry
    from pcache.storage.directory import Directory
    from pcache.storage.store import StoredFile

COLD = 86400.0  # seconds without a use after which a result is cold
RESTED = 60.0  # the same where room is scarce; uses closer to each other are not distinguished
SCARCE = 0.9  # times the limit
LARGEST = 64 << 20  # bytes of an entry that is held in memory meanwhile; `recompress` takes larger ones as well
_SLICE = 0.02  # seconds that a call gives to this
_OF_COST = 0.05  # or as large a share of the time that its function took, if that is more
_LONGEST = 0.5  # seconds, in any case
_MOST_TRIED = 1 << 16


def slice_of(cost_ns: int) -> float:
    """How many seconds a call may give to others' results, whose own function took so long."""
    return min(max(_SLICE, _OF_COST * cost_ns / 1e9), _LONGEST)


class ColdPacker:
    """Compresses cold results of one directory. Readers get the old or the new file; kills lose nothing.

    Safe for threads and processes: two of them may compress the same result, and one of them stores it.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._tried: set[tuple[str, int]] = set()  # keys and lengths of entries that do not shrink, or did already

    def among(self, items: Iterable[StoredFile], idle: float) -> list[StoredFile]:
        """Those of some entries that were not used for `idle` seconds and may be compressed, oldest first."""
        if self._directory.settings.compression != "auto":
            return []
        now_ns, tried = time.time_ns(), self._tried
        there = [item for item in items if (item.key, item.length) not in tried and _may(item, now_ns, idle)]
        return sorted(there, key=lambda item: (item.used_ns, item.key))

    def pack(self, items: Iterable[StoredFile], idle: float, seconds: float) -> Iterator[tuple[StoredFile, StoredFile]]:
        """Compress those of some entries that were not used for `idle` seconds, oldest first, for so many seconds.

        Yields each that shrank, and as what it is stored now.
        """
        deadline = time.monotonic() + seconds
        for item in self.among(items, idle) if seconds > 0 else ():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if item.length * PACK_NS / 1e9 <= left and (length := self._repacked(item)) < item.length:
                log("compressed %s: %s less", item.path, format_size(item.size - on_disk(length)), level="debug")
                yield item, item._replace(size=on_disk(length), length=length)

    def _repacked(self, item: StoredFile) -> int:
        """Compress an entry if it shrinks; return its length."""
        keyring = self._directory.keys.keyring
        if len(self._tried) >= _MOST_TRIED:
            self._tried.clear()
        self._tried.add((item.key, item.length))
        if keyring is None:
            return item.length
        try:
            length = repack(self._directory.store, keyring, item, "auto", who="pcache upkeep", is_meant=_is_meant)
        except Miss:
            return item.length  # damaged, or gone: the next call finds out
        except OSError as error:
            raise_if_interrupt(error)  # else a full or read-only disk: what could be stored stays as it is
            return item.length
        return item.length if length is None else length


def _may(item: StoredFile, now_ns: int, idle: float) -> bool:
    """Whether an entry may be compressed, by what a listing tells: it is at least as long unpacked as it is stored."""
    return (
        MIN_SIZE < item.length <= LARGEST
        and now_ns - item.used_ns >= idle * 1e9
        and item.expires_ns > now_ns
        and Packer("auto", item.cost_ns, LATER).may_pack(MIN_SIZE, mapped=False)
    )


def _is_meant(entry: CheckedEntry) -> bool:
    """Whether a part of an entry that is stored as it is may be compressed now. Others' files stay theirs."""
    header, packer = entry.header, Packer("auto", entry.header.cost_ns, LATER)
    if header.stream_raw_length + sum(row.raw_length for row in entry.rows) > LARGEST:
        return False
    if entry.status.st_uid != our_uid():
        return False
    raw = [row.length for row in entry.rows if row.codec == RAW]
    mapped = would_be_mapped(row.raw_length for row in entry.rows)
    return (header.codec == RAW and packer.may_pack(header.stream_length, mapped=False)) or any(
        packer.may_pack(length, mapped=mapped) for length in raw
    )
