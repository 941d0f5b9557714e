"""What `stats` says of time is what a stopwatch says: of hits, of misses, and of calls inside of calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pcache import Cache
from tests.support.running import run, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pcache.insight.records import FunctionStats

MS = 1e-3
NEAR = 50 * MS  # seconds, or a tenth


def spin(seconds: float) -> float:
    """Work for so long, or longer on a busy machine; return how long."""
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        pass
    return now - began


def is_near(said: float, true: float) -> bool:
    return abs(said - true) <= max(NEAR, 0.1 * abs(true))


class Stopwatch:
    """The time of calls, and that of the function's own work in them."""

    def __init__(self) -> None:
        self.calls = self.work = 0.0
        self.costs: dict[object, float] = {}

    def working(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The body of a function, timed."""

        def timed(n: object) -> Any:
            began = time.perf_counter()
            result = function(n)
            self.costs[repr(n)[:80]] = time.perf_counter() - began
            self.work += self.costs[repr(n)[:80]]
            return result

        return timed

    def call(self, function: Callable[..., Any], n: object) -> None:
        began = time.perf_counter()
        result = function(n)
        self.calls += time.perf_counter() - began
        del result  # outside of what is timed

    def net(self, asked: list[object]) -> float:
        """What the calls would have taken without a cache, less what they took."""
        return sum(self.costs[repr(n)[:80]] for n in asked) - self.calls


LARGE = np.arange(1_000_000.0)  # 8 MB
RANDOM = np.random.default_rng(1).random(1_000_000)
KINDS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "cheap, hit thousands of times": (lambda n: n, [*range(20)] * 200),
    "cheap, never hit": (lambda n: n, [*range(300)]),
    "dear": (lambda _: spin(20 * MS), [*range(5)] * 4),
    "dear, hit once": (lambda _: spin(150 * MS), [1, 1]),
    "dear, never hit": (lambda _: spin(10 * MS), [*range(20)]),
    "a large result in no time": (lambda n: RANDOM + n, [1, 2] * 20),
    "a large result that compresses": (lambda n: ["a text"] * 1_000_000 + [n], [1] * 6),
    "a large argument": (lambda _: None, [LARGE] * 40),
    "a result of many objects": (lambda n: [{"n": i, "of": n} for i in range(50_000)], [1, 1, 1, 2, 2]),
}


def function_of(cache: Cache) -> FunctionStats:
    assert cache.flow.ledger.flush()
    [found] = [one for one in cache.stats().functions if one.hits + one.misses]
    return found


def told_and_watched(cache: Cache, kind: str) -> tuple[FunctionStats, Stopwatch]:
    """What statistics say of the calls of a kind, and what a stopwatch does."""
    work, asked = KINDS[kind]
    watch = Stopwatch()
    function = cache.cached(version=1, code="none")(watch.working(work))
    for n in asked:
        watch.call(function, n)
    found = function_of(cache)
    assert found.hits + found.misses == len(asked)
    return found, watch


@pytest.mark.parametrize("kind", KINDS)
def test_the_net_gain_is_what_a_stopwatch_says(tmp_path: Path, kind: str) -> None:
    """Of three runs: a pause between a clock of pcache's and one of the test's counts for each hit after it."""
    tried = []
    for run_number in range(3):
        found, watch = told_and_watched(Cache(tmp_path / f"cache {run_number}", signing_key=b"x" * 32), kind)
        net = watch.net(KINDS[kind][1])
        tried.append(((found.net_seconds, net), (found.computed_seconds, watch.work)))
        if all(is_near(*pair) for pair in tried[-1]):
            return
    pytest.fail(f"told and watched: {tried}")


def test_one_hit_in_each_process(tmp_path: Path) -> None:
    """The first hit of a process, which loads modules, counts as every other."""
    script = write(
        tmp_path / "script.py",
        """
        import sys, time
        from pcache import Cache

        @Cache(sys.argv[1]).cached
        def add(n):
            time.sleep(0.02)
            return n + 1

        began = time.perf_counter()
        add(1)
        print(time.perf_counter() - began)
        """,
    )
    cache = Cache(tmp_path / "cache")
    took = [float(run(script, cache.location)[0]) for _ in range(8)]
    found = cache.stats().functions[0]
    [entry] = cache.entries()
    assert (found.hits, found.misses) == (7, 1)
    assert is_near(found.hit_seconds, sum(took[1:]))
    assert is_near(found.net_seconds, 8 * entry.cost - sum(took))


def test_calls_inside_of_calls_count_once(tmp_path: Path) -> None:
    """An entry's cost is that of its own work; a hit inside of a call saves no more than that, one outside all."""
    cache, inside, outside = Cache(tmp_path / "cache"), [0.0], [0.0]

    @cache.cached
    def inner(n: int) -> int:
        inside.append(spin(120 * MS))
        return n

    @cache.cached
    def outer(n: int) -> int:
        outside.append(spin(60 * MS))
        return inner(n) + inner(n + 1)

    outer(1)
    outer(2)  # hits `inner(2)`
    assert len(inside) == len(outside) + 1 == 4
    costs = {item.key: item.cost_ns / 1e9 for item in cache.flow.store.scan()}
    own = [costs[info.key] for info in cache.entries() if info.function.endswith("outer")]
    assert is_near(sum(own), sum(outside))
    assert all(info.cost > 150 * MS for info in cache.entries() if info.function.endswith("outer"))  # with the rest
    assert cache.flow.ledger.flush()
    found = cache.stats()
    assert is_near(found.computed_seconds, sum(inside) + sum(outside))
    assert is_near(found.saved_seconds, inside[2])
    outer(1)
    assert cache.flow.ledger.flush()
    assert is_near(cache.stats().saved_seconds - found.saved_seconds, sum(inside[1:3]) + outside[1])


def test_deep_recursion_counts_once(tmp_path: Path) -> None:
    """So does a recursion deeper than the calls that hold a claim each."""
    cache = Cache(tmp_path / "cache")

    @cache.cached
    def steps(n: int) -> int:
        spin(2 * MS)
        return 0 if n == 0 else 1 + steps(n - 1)

    began = time.perf_counter()
    assert steps(60) == 60
    took = time.perf_counter() - began
    assert cache.flow.ledger.flush()
    found = cache.stats()
    assert found.misses == 61
    assert 61 * 2 * MS <= found.computed_seconds <= took
    assert is_near(found.computed_seconds + found.store_seconds, took)
    costs = [item.cost_ns / 1e9 for item in cache.flow.store.scan()]
    assert sum(costs) < took * 1.2  # each to an eighth


def test_what_others_waited_for_is_no_work(tmp_path: Path) -> None:
    """A call that raises counts its key and its claim, and its caller none of it."""
    cache = Cache(tmp_path / "cache")

    @cache.cached
    def fails(n: int) -> int:
        spin(60 * MS)
        raise ValueError(n)

    @cache.cached
    def outer(n: int) -> int:
        spin(30 * MS)
        try:
            return fails(n)
        except ValueError:
            return 0

    outer(1)
    assert cache.flow.ledger.flush()
    found = cache.stats()
    assert is_near(found.computed_seconds, 30 * MS)
    [item] = cache.flow.store.scan()
    assert item.cost_ns < 60 * MS * 1e9
