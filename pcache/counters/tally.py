"""In-memory hit counters of one function: the part of counting that every hit pays for."""

from __future__ import annotations

import weakref
from typing import NamedTuple

_COUNTERS = ("hits", "saved_ns", "read_bytes", "hit_ns")


class CacheInfo(NamedTuple):
    """As that of functools: hits and misses of this process, the limit of entries, the entries of this version."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class Tally:
    """Plain attributes, since a hit has 150 ns for all counting.

    Every sixteenth hit is timed. `name` is that of the function, known from the first hit on: looking it up later would
    keep the function alive.
    """

    __slots__ = ("_taken", "hits", "name", "owner", "read_bytes", "saved_ns", "timed", "timed_ns")

    def __init__(self, owner: object) -> None:
        self.owner = weakref.ref(owner)
        self.name = ""
        self.hits = self.saved_ns = self.read_bytes = self.timed_ns = self.timed = 0
        self._taken = (0, 0, 0, 0)

    def take(self) -> dict[str, int]:
        """What was added to the counters since the last time; the time of hits is estimated from the timed ones."""
        hit_ns = self.timed_ns * self.hits // (self.timed or 1)
        before, now = self._taken, (self.hits, self.saved_ns, self.read_bytes, hit_ns)
        self._taken = (*now[:3], max(hit_ns, before[3]))  # the estimate may fall, written counts cannot
        return {name: n - m for name, n, m in zip(_COUNTERS, now, before, strict=True) if n > m}
