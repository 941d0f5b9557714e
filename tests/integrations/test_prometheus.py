"""Metrics for Prometheus: their names, types and values, as its own library and its own parser see them."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache.layout import ledger_folder

pytest.importorskip("prometheus_client")

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from pcache import Cache
from pcache.counters import ledger
from pcache.metrics import PrometheusCollector
from tests.support.pages import HOSTILE, count, double, fill, halve

DOUBLE, HALVE = f"{double.__module__}:double", f"{halve.__module__}:halve"


@pytest.fixture
def filled(cache: Cache) -> Cache:
    fill(cache)
    cache.stats()
    count(cache, 1, DOUBLE, {"errors.raised": 2, "misses.expired": 3, "saved_ns": 7 * 10**9, "hit_ns": 9 * 10**9})
    count(cache, 1, "", {"evicted": 4, "evicted_bytes": 5, "errors.full": 6})
    return cache


def registry_of(cache: Cache) -> prometheus_client.CollectorRegistry:
    registry = prometheus_client.CollectorRegistry()
    registry.register(PrometheusCollector(cache))
    return registry


def samples_of(text: str) -> dict[tuple[str, ...], float]:
    """The values by name and labels, in the order function, reason or kind."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(cache: Cache) -> dict[tuple[str, ...], float]:
    return samples_of(prometheus_client.generate_latest(registry_of(cache)).decode())


def test_the_values_are_those_of_stats(filled: Cache) -> None:
    """Each number of each function is there, and what belongs to none."""
    found, stats = scraped(filled), filled.stats()
    assert found["pcache_up",] == 1
    assert found["pcache_max_size_bytes",] == stats.max_size
    assert found["pcache_free_bytes",] > 0
    assert ("pcache_max_entries",) not in found
    for item in stats.functions:
        assert found["pcache_entries", item.name] == item.entries
        assert found["pcache_size_bytes", item.name] == item.bytes
        assert found["pcache_hits_total", item.name] == item.hits
        assert found["pcache_computed_seconds_total", item.name] == item.computed_seconds
        assert found["pcache_store_seconds_total", item.name] == item.store_seconds
        assert found["pcache_saved_seconds_total", item.name] == item.saved_seconds + item.hit_seconds
    assert found["pcache_misses_total", DOUBLE, "absent"] == 30
    assert found["pcache_misses_total", DOUBLE, "expired"] == 3
    assert found["pcache_errors_total", DOUBLE, "raised"] == 2
    assert found["pcache_errors_total", "", "full"] == 6
    assert (found["pcache_evicted_total",], found["pcache_evicted_bytes_total",]) == (4, 5)
    assert sum(n for (name, *_), n in found.items() if name == "pcache_misses_total") == stats.misses


def test_types_and_names(filled: Cache) -> None:
    """Counters and gauges, all with a help text; what is described is what is collected."""
    collector = PrometheusCollector(filled)
    families = {family.name: family for family in collector.collect()}
    described = {family.name: family.type for family in collector.describe()}
    assert {name: family.type for name, family in families.items()}.items() <= described.items()
    assert set(described) - set(families) == {"pcache_max_entries"}  # there is no such limit here
    gauges = {name for name, kind in described.items() if kind == "gauge"}
    assert gauges == {
        f"pcache_{name}" for name in "up entries size_bytes in_flight max_size_bytes max_entries free_bytes".split()
    }
    assert set(described.values()) == {"gauge", "counter"}
    for family in families.values():
        assert family.documentation.endswith(".")
        assert all(sample.name.endswith("_total") == (family.type == "counter") for sample in family.samples)


def test_counters_do_not_fall(filled: Cache) -> None:
    """Hits that take longer than they save add to both sides; a reset alone begins at zero again."""
    before = scraped(filled)
    count(filled, 0, DOUBLE, {"hits": 5, "saved_ns": 10, "hit_ns": 10**9})
    filled.cached(double)(100)
    filled.clear()
    after = scraped(filled)
    for labels, value in before.items():
        assert after.get(labels, 0) >= value or not labels[0].endswith("_total"), labels
    assert after["pcache_hits_total", DOUBLE] == before["pcache_hits_total", DOUBLE] + 5
    ledger.merge(ledger_folder(filled.location), filled.flow.keys.ensure(), zero=True)
    assert scraped(filled).get(("pcache_hits_total", DOUBLE), 0) == 0


@pytest.fixture
def served(filled: Cache) -> Iterator[tuple[Cache, str]]:
    """A real server on a port of its own."""
    server, thread = prometheus_client.start_http_server(0, addr="127.0.0.1", registry=registry_of(filled))
    yield filled, f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_scrape_over_http(served: Any) -> None:
    """What Prometheus reads changes with the cache, and names come through whatever they are."""
    cache, address = served

    def function(n: int) -> int:
        return n

    function.__qualname__ = HOSTILE + '\n"\\'
    with urllib.request.urlopen(address) as answer:
        first = samples_of(answer.read().decode())
    cache.cached(function)(1)
    with urllib.request.urlopen(address) as answer:
        second = samples_of(answer.read().decode())
    assert first["pcache_entries", DOUBLE] == second["pcache_entries", DOUBLE] == 30
    new = {labels[1] for labels in second if labels[0] == "pcache_entries"} - {DOUBLE, HALVE}
    assert f"{__name__}:{function.__qualname__}" in new
    assert second["pcache_stored_total", DOUBLE] == first["pcache_stored_total", DOUBLE]


def test_a_directory_that_cannot_be_read(filled: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """The scrape goes on without it, and says so."""
    registry = registry_of(filled)
    entries = Path(filled.location, "v1", "entries")
    entries.rename(entries.with_name("moved"))
    entries.symlink_to(entries)  # a link to itself
    assert samples_of(prometheus_client.generate_latest(registry).decode()) == {("pcache_up",): 0}
    assert filled.location in caplog.text


def test_a_directory_that_does_not_exist_yet(cache: Cache) -> None:
    """It is empty, and registering it does not make it."""
    found = scraped(cache)
    assert found["pcache_up",] == 1
    assert found["pcache_evicted_total",] == 0
    assert not Path(cache.location).exists()


def test_a_limit_of_entries(tmp_path: Path) -> None:
    """It is a metric where there is one."""
    assert scraped(Cache(tmp_path / "cache", max_entries=7))["pcache_max_entries",] == 7


def test_a_cache_does_not_need_the_library() -> None:
    """`import pcache` does not load it."""
    code = "import sys, pcache, pcache.cli; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
