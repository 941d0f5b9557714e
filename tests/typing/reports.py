"""Only type-checked: reports, upkeep and errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import assert_type

from pcache import Cache, Miss, UnhashableArgument, UnpicklableResult, cached
from pcache.eviction.deletion import Removed
from pcache.insight.records import EntryInfo, FunctionStats, Stats
from pcache.maintenance.records import Verified

cache = Cache()


@cached
def double(n: int) -> int:
    return 2 * n


def reports() -> None:
    assert_type(cache.stats(), Stats)
    assert_type(cache.stats().functions[0].name, str)
    assert_type(cache.functions(), Iterator[FunctionStats])
    assert_type(cache.entries(), Iterator[EntryInfo])
    assert_type(next(cache.entries(double)).expires, float | None)
    assert_type(next(cache.entries("pkg.*")).cost, float)
    cache.entries(3)  # type: ignore[arg-type]
    cache.stats().entries = 3  # type: ignore[misc]


def upkeep() -> None:
    assert_type(cache.evict(max_size="1 GiB", max_entries=3, max_age=timedelta(days=1), function=double), Removed)
    assert_type(cache.clear(double, dry_run=True).bytes, int)
    assert_type(cache.verify(repair=True), Verified)
    cache.evict("1 GiB")  # type: ignore[call-arg]
    cache.clear(double, True)  # type: ignore[call-arg]
    cache.verify(True)  # type: ignore[call-arg]


def errors() -> None:
    try:
        double.get(3)
    except Miss as miss:
        assert_type(miss.key, str)
        assert_type(miss.reason == "expired", bool)
        assert_type(miss.reason == "expire", bool)  # type: ignore[comparison-overlap]
    except (UnhashableArgument, UnpicklableResult) as error:
        assert_type(error.path, str)
        assert_type(error.function, str)
