"""Collect what a page shows: statistics, time series, distributions, the most expensive entries."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcache.insight import causes, listing
from pcache.maintenance.selection import names_of
from pcache.report.distributions import Distribution, by_age, by_cost, by_size
from pcache.report.timeline import Timeline, timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.cache import Cache
    from pcache.insight.records import EntryInfo, Stats
    from pcache.storage.store import StoredFile

_SHOWN = 20  # entries that are shown
_OPENED = 200  # entries that are opened: their stamps tell costs to a sixth, their headers exactly


@dataclass(frozen=True, slots=True)
class Survey:
    """The content of a page; `first` is the time from which calls were counted, 0 if there were none.

    `again` is how many results were computed again, by how they got lost.
    """

    stats: Stats
    timeline: Timeline
    sizes: Distribution
    ages: Distribution
    costs: Distribution
    expensive: tuple[EntryInfo, ...]
    again: Mapping[str, int]
    first: float
    now: float


def survey(cache: Cache, since: float, *, now: float, progress: Callable[[int, int], object] | None) -> Survey:
    """Read all of a cache once."""
    files = list(listing.sample(cache.directory, exact=True, progress=progress)[0])
    stats = listing.stats_of(cache.directory, files, since=since)
    periods = listing.periods(cache.directory, since)
    names = names_of(cache.directory, files)
    return Survey(
        stats=stats,
        timeline=timeline(periods, now),
        sizes=by_size(files),
        ages=by_age(files, now),
        costs=by_cost(files),
        expensive=_most_expensive(cache, files, names),
        again=causes.of_computed_again(cache.directory, files, names, since),
        first=stats.since or (periods[0].start if periods else 0.0),
        now=now,
    )


def _most_expensive(cache: Cache, files: list[StoredFile], names: Mapping[str, str]) -> tuple[EntryInfo, ...]:
    likely = heapq.nlargest(_OPENED, files, key=lambda item: item.cost_ns)
    return tuple(listing.described(cache.directory, likely, names, sort="cost", limit=_SHOWN))
