"""How entries spread over sizes, ages and costs. Pure: a million entries become a dozen numbers."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcache.storage.store import StoredFile

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MINUTE, HOUR, DAY = 60, 3600, 86400

# A bound ends one class and begins the next; the last class has none.
_SIZES = (4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, 4 * GIB)
_SIZE_LABELS = ("< 4 KiB", "4-64 KiB", "64 KiB-1 MiB", "1-16 MiB", "16-256 MiB", "256 MiB-4 GiB", "> 4 GiB")
_AGES = (HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY)
_AGE_LABELS = ("< 1 hour", "1-6 hours", "6-24 hours", "1-3 days", "3-7 days", "7-30 days", "30-90 days", "90-365 days")
_COSTS = (1e-3, 1e-2, 0.1, 1, 10, MINUTE, 10 * MINUTE, HOUR, 10 * HOUR)
_COST_LABELS = "< 1 ms|1-10 ms|10-100 ms|0.1-1 s|1-10 s|10-60 s|1-10 min|10-60 min|1-10 h|> 10 h".split("|")


class Class(NamedTuple):
    """Entries of about the same size, age or cost, and their size on disk."""

    label: str
    entries: int
    bytes: int


Distribution = tuple[Class, ...]


def by_size(files: Iterable[StoredFile]) -> Distribution:
    return _spread(((item.length, item.size) for item in files), _SIZES, _SIZE_LABELS)


def by_age(files: Iterable[StoredFile], now: float) -> Distribution:
    """By the time since they were last used; times in the future count as just now."""
    now_ns = int(now * 1e9)
    return _spread((((now_ns - item.used_ns) / 1e9, item.size) for item in files), _AGES, (*_AGE_LABELS, "> 1 year"))


def by_cost(files: Iterable[StoredFile]) -> Distribution:
    """By the time they took to compute, from their stamps; last those whose stamps lack it."""
    known, unknown, room = [], 0, 0
    for item in files:
        if item.cost_ns:
            known.append((item.cost_ns / 1e9, item.size))
        else:
            unknown, room = unknown + 1, room + item.size
    spread = _spread(known, _COSTS, _COST_LABELS)
    return (*spread, Class("not known", unknown, room)) if unknown else spread


def _spread(items: Iterable[tuple[float, int]], bounds: Sequence[float], labels: Sequence[str]) -> Distribution:
    """Count items of a value and a size in classes, from the first to the last that is not empty."""
    counts, room = [0] * len(labels), [0] * len(labels)
    for value, size in items:
        place = bisect_right(bounds, value)
        counts[place] += 1
        room[place] += size
    used = [place for place, count in enumerate(counts) if count]
    classes = [
        Class(label.replace("-", "\u2013"), n, size) for label, n, size in zip(labels, counts, room, strict=True)
    ]
    return tuple(classes[used[0] : used[-1] + 1]) if used else ()
