"""In-memory hit counters of one function: the part of counting that every hit pays for."""

from __future__ import annotations

from _weakref import ref

from pcache.startup import NamedTuple

_COUNTERS = ("hits", "saved_ns", "read_bytes", "hit_ns")


class CacheInfo(NamedTuple):
    """As that of functools: hits and misses of this process, the limit of entries, the entries of this version."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class Tally:
    """Plain attributes, since a hit has 200 ns for all counting.

    `name` is that of the function, known from the first hit on: looking it up later would keep the function alive.
    """

    __slots__ = ("_taken", "hit_ns", "hits", "name", "owner", "read_bytes", "saved_ns")

    def __init__(self, owner: object) -> None:
        self.owner = ref(owner)
        self.name = ""
        self.hits = self.saved_ns = self.read_bytes = self.hit_ns = 0
        self._taken = (0, 0, 0, 0)

    def take(self) -> dict[str, int]:
        """What was added to the counters since the last time."""
        before, now = self._taken, (self.hits, self.saved_ns, self.read_bytes, self.hit_ns)
        self._taken = now
        return {name: n - m for name, n, m in zip(_COUNTERS, now, before, strict=True) if n > m}
