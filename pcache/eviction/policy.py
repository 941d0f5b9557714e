"""Which entries are removed when a limit is exceeded. Pure: entries, limits and clock are passed in.

The policy uses only what one `stat` tells of an entry: its size on disk, when it was last used, how long it took to
compute, how often it was used. It keeps no record of removed entries, and no state between evictions.
"""

from __future__ import annotations

from itertools import chain
from math import exp2, sqrt

from pcache.startup import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from pcache.eviction.usage import Amount

Policy: TypeAlias = Literal["value", "lru"]

_SECOND = 10**9  # nanoseconds
_BLOCK = 4096  # bytes that the smallest file takes on disk
_UNKNOWN_COST = 1 * _SECOND  # of results that were put: a result worth storing takes some time to compute
_MAX_COST = 86400 * _SECOND  # more than a day is usually due to a clock that was set or a machine that slept
_MINUTE = 60 * _SECOND  # uses closer to each other than this are not distinguished
_HALF_LIFE = 30 * 86400 * _SECOND
_SPARED = 10  # one in so many bytes is spared, the most recently used ones


class Limits(NamedTuple):
    """The limits to keep. `max_age` is in seconds since an entry was last used; None means no limit."""

    max_size: int | None = None
    max_entries: int | None = None
    max_age: float | None = None

    def excess(self, usage: Amount) -> float:
        """A usage as a multiple of these limits."""
        by_size = 0.0 if self.max_size is None else usage.size / max(self.max_size, 1)
        by_count = 0.0 if self.max_entries is None else usage.entries / max(self.max_entries, 1)
        return max(by_size, by_count)


class Entry(Protocol):
    """What the policy needs to know of an entry. Times are nanoseconds since 1970."""

    @property
    def function_id(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def used_ns(self) -> int: ...
    @property
    def cost_ns(self) -> int:
        """The time that computing it took; 0 means unknown."""

    @property
    def uses(self) -> int:
        """How often its recency was updated, at least 1."""

    @property
    def expires_ns(self) -> int:
        """2**63 - 1 means never."""


E = TypeVar("E", bound=Entry)


def value(entry: Entry, now_ns: int) -> float:
    """Return the value of keeping an entry; only the order of values has a meaning.

    It is the seconds saved per byte, times the root of uses, divided by the time since the last use: an entry not
    needed for an hour is likely not needed for another. Cost and size are as in GreedyDual-Size-Frequency (Cherkasova
    1998), whose inflation would need state; dividing by time is from hyperbolic caching (Blankstein et al. 2017). In
    addition the value halves with each month without a use, so that no entry stays for ever. `docs/eviction.md`
    compares it with others.
    """
    cost = min(entry.cost_ns or _UNKNOWN_COST, _MAX_COST)
    idle = abs(now_ns - entry.used_ns)  # a use in the future comes from a wrong clock: the entry must still age
    return cost * sqrt(entry.uses) / (max(entry.size, _BLOCK) * (idle + _MINUTE)) * exp2(-idle / _HALF_LIFE)


def plan(
    entries: Iterable[E],
    limits: Limits,
    now_ns: int,
    *,
    policy: Policy = "value",
    doomed: Container[str] = frozenset(),
) -> list[E]:
    """Return the entries to remove, in the order of removal.

    Entries that have expired, or were not used for `max_age`, are removed in any case. While a limit is exceeded, those
    whose `function_id` is `doomed` follow, then those of the lowest value, and last the most recently used: a new
    result is not evicted at once, however cheap it is. With `policy="lru"` the least recently used are removed instead.
    The order of `entries` does not matter: equal values are removed in the order of their keys.
    """
    items = list(entries)
    oldest = 0 if limits.max_age is None else now_ns - int(limits.max_age * _SECOND)
    gone = [item for item in items if item.expires_ns <= now_ns or item.used_ns < oldest]
    gone.sort(key=lambda item: (item.used_ns, item.key))
    kept = [item for item in items if item.expires_ns > now_ns and item.used_ns >= oldest] if gone else items
    count, size = len(kept), sum(item.size for item in kept)
    max_count = count if limits.max_entries is None else limits.max_entries
    max_size = size if limits.max_size is None else limits.max_size
    if count <= max_count and size <= max_size:
        return gone
    first = [item for item in kept if item.function_id in doomed]
    others = [item for item in kept if item.function_id not in doomed] if first else kept
    rank: Callable[[E], float] = (
        (lambda item: -abs(now_ns - item.used_ns)) if policy == "lru" else (lambda item: value(item, now_ns))
    )
    groups = [first, others] if policy == "lru" else [first, *_spare(others, now_ns)]
    for item in chain.from_iterable(_ascending(group, rank) for group in groups):
        if count <= max_count and size <= max_size:
            break
        gone.append(item)
        count -= 1
        size -= item.size
    return gone


def _spare(items: list[E], now_ns: int) -> tuple[list[E], list[E]]:
    """Split off the most recently used tenth of the bytes; entries used at the same time stay together."""
    room = sum(item.size for item in items) // _SPARED
    idle = [abs(now_ns - item.used_ns) for item in items]
    for index in sorted(range(len(items)), key=idle.__getitem__):
        room -= items[index].size
        if room < 0:
            most = idle[index]
            kept = [item for item, time in zip(items, idle, strict=True) if time < most]
            return [item for item, time in zip(items, idle, strict=True) if time >= most], kept
    return [], items


def _ascending(items: list[E], rank: Callable[[E], float]) -> Iterator[E]:
    """Yield in ascending order. Sorting tuples of rank and key would take four times as long, and ties are rare."""
    ranks = [rank(item) for item in items]
    equal: list[E] = []
    last = None
    for index in sorted(range(len(items)), key=ranks.__getitem__):
        if equal and ranks[index] != last:
            yield from sorted(equal, key=lambda item: item.key)
            equal = []
        last = ranks[index]
        equal.append(items[index])
    yield from sorted(equal, key=lambda item: item.key)
