"""What a cache did and holds, as metrics that Prometheus reads. Needs prometheus_client; a cache itself does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pcache.errors import PcacheError
from pcache.system.notices import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from pcache.cache import Cache
    from pcache.insight.records import Activity, Stats

_GAUGES: tuple[tuple[str, str, Callable[[Stats], float | None]], ...] = (
    ("pcache_max_size_bytes", "Limit of the room that entries take on disk.", lambda stats: stats.max_size),
    ("pcache_max_entries", "Limit of the number of entries, where there is one.", lambda stats: stats.max_entries),
    ("pcache_free_bytes", "Room that is left on the disk.", lambda stats: stats.free),
)
_BY_FUNCTION: tuple[tuple[str, str, Callable[[Activity], float]], ...] = (
    ("pcache_hits", "Calls that found a stored result.", lambda act: act.hits),
    ("pcache_waited", "Hits that another thread or process computed meanwhile.", lambda act: act.waited),
    ("pcache_stored", "Results that were stored.", lambda act: act.stored),
    ("pcache_computed_seconds", "Time that misses took to compute.", lambda act: act.computed_seconds),
    # Net of the time that hits took it could fall, which a counter must not.
    (
        "pcache_saved_seconds",
        "Time that the results of hits had taken.",
        lambda act: act.saved_seconds + act.hit_seconds,
    ),
    ("pcache_hit_seconds", "Time that hits took.", lambda act: act.hit_seconds),
    ("pcache_store_seconds", "Time that storing results took.", lambda act: act.store_seconds),
    ("pcache_read_bytes", "Bytes of entries that were read.", lambda act: act.read_bytes),
    ("pcache_written_bytes", "Bytes of entries that were written.", lambda act: act.written_bytes),
)
_EVICTED: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
    ("pcache_evicted", "Entries removed to keep a limit.", lambda stats: stats.evicted),
    ("pcache_evicted_bytes", "Bytes of those.", lambda stats: stats.evicted_bytes),
    ("pcache_evicted_seconds", "Time that computing those had taken.", lambda stats: stats.evicted_seconds),
)


class PrometheusCollector(Collector):  # type: ignore[misc, unused-ignore]  # where the library is not installed
    """The statistics of one cache, read anew at each scrape.

        import prometheus_client
        from pcache import Cache
        from pcache.metrics import PrometheusCollector

        prometheus_client.REGISTRY.register(PrometheusCollector(Cache("results")))
        prometheus_client.start_http_server(9100)

    Counters are those of all processes that use the directory, since its counting began, and up to some seconds behind:
    let one process export them. They return to zero when the counters are reset, as Prometheus expects of a restart.
    Functions are told apart by the label `function`. Evictions and refused writes concern the directory as a whole:
    the former have no label, the latter an empty one.

    A scrape lists names and sizes: some 5 us an entry up to 100,000 entries, from then on half a second for a sample,
    so that entries and bytes are estimates. A directory that cannot be read makes `pcache_up` 0 and leaves the other
    metrics out; a scrape never raises. Safe for threads. A registry takes one cache.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values: registering a cache does not list it."""
        yield _up(None)
        yield from _metrics(None)

    def collect(self) -> Iterator[Metric]:
        """The metrics with their values."""
        try:
            stats = self._cache.stats()
        except (PcacheError, OSError) as error:
            # The other metrics of the process must still be served.
            log("no metrics of %s: %s", self._cache.location, str(error))
            yield _up(0)
            return
        yield _up(1)
        yield from _metrics(stats)


def _up(value: int | None) -> Metric:
    return GaugeMetricFamily("pcache_up", "Whether the cache directory could be read.", value=value)


def _metrics(stats: Stats | None) -> Iterator[Metric]:
    for name, text, of_stats in _GAUGES:
        value = None if stats is None else of_stats(stats)
        if stats is None or value is not None:
            yield GaugeMetricFamily(name, text, value=value)
    yield from _functions(stats)
    yield from _reasons(stats)
    for name, text, of_stats in _EVICTED:
        yield CounterMetricFamily(name, text, value=None if stats is None else of_stats(stats))


def _functions(stats: Stats | None) -> Iterator[Metric]:
    """The metrics by function."""
    functions = stats.functions if stats is not None else ()
    entries = GaugeMetricFamily("pcache_entries", "Stored results.", labels=["function"])
    size = GaugeMetricFamily("pcache_size_bytes", "Room that stored results take on disk.", labels=["function"])
    for item in functions:
        entries.add_metric([item.name], item.entries)
        size.add_metric([item.name], item.bytes)
    running = GaugeMetricFamily("pcache_in_flight", "Computations under way.", labels=["function"])
    names = [item.function for item in stats.in_flight] if stats is not None else []
    for name in sorted({*names, *(item.name for item in functions)}):
        running.add_metric([name], names.count(name))
    yield from (entries, size, running)
    for metric, text, of_activity in _BY_FUNCTION:
        family = CounterMetricFamily(metric, text, labels=["function"])
        for item in functions:
            family.add_metric([item.name], of_activity(item))
        yield family


def _reasons(stats: Stats | None) -> Iterator[Metric]:
    """Misses by reason and errors by kind; those that belong to no function have an empty label."""
    for name, text, label, field in (
        ("pcache_misses", "Calls that found no usable result.", "reason", "misses_by_reason"),
        ("pcache_errors", "Results that were not stored.", "kind", "errors_by_kind"),
    ):
        family = CounterMetricFamily(name, text, labels=["function", label])
        rest: dict[str, int] = dict(getattr(stats, field)) if stats is not None else {}
        for item in stats.functions if stats is not None else ():
            for what, amount in getattr(item, field).items():
                family.add_metric([item.name, what], amount)
                rest[what] -= amount
        for what, amount in rest.items():
            if amount > 0:
                family.add_metric(["", what], amount)
        yield family
