"""Options that look at single results, of coroutine functions: as for others, without blocking a loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, PcacheWarning
from pcache.runtime.singleflight import computing, flights
from tests.runtime.test_coroutines import cancel, finish
from tests.support.processes import KEY, Talker, claims_below

trio: Any = pytest.importorskip("trio")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    yield (made := Cache(tmp_path / "cache", signing_key=KEY))
    assert (flights.all(), dict(computing.get()), claims_below(made.location)) == ([], {}, [])


class Counted:
    """A coroutine function cached with some options, which returns how often it was called, or what it is told."""

    def __init__(self, cache: Cache, does: Any = None, **options: Any) -> None:
        self.runs, self.does = 0, does

        @cache.cached(ignore=["self"], **options)
        async def count(n: int, self: Counted) -> Any:
            self.runs += 1
            run = self.runs
            await asyncio.sleep(0)
            return run if self.does is None else await self.does(n, run)

        self.function = count

    async def __call__(self, n: int = 0) -> Any:
        return await self.function(n, self)

    def several(self, *numbers: int) -> list[Any]:
        async def calls() -> list[Any]:
            return [await self(n) for n in numbers]

        return finish(calls())  # type: ignore[no-any-return]


async def fail(n: int, run: int) -> int:
    raise ([ValueError, KeyError][n])(n)


async def number(n: int, run: int) -> int:
    return n


def test_exceptions_are_stored_and_raised_again(cache: Cache) -> None:
    """A hit raises the exception as it was, with a note; others are computed at each call; ten tasks compute once."""
    failing = Counted(cache, fail, exceptions=(ValueError, OSError))
    with pytest.raises(ValueError, match="0") as first:
        failing.several(0)
    assert not hasattr(first.value, "__notes__")
    assert first.traceback[-1].name == "fail"
    with pytest.raises(ValueError, match="0") as again:
        failing.several(0)
    assert again.value.__notes__ == ["This exception was stored by pcache 0 s ago; the function was not called."]
    with pytest.raises(ValueError, match="0"):
        failing.function.get(0, failing)
    for _ in range(2):
        with pytest.raises(KeyError):
            failing.several(1)
    assert failing.runs == 3

    async def together() -> list[Any]:
        return await asyncio.gather(*(another() for _ in range(10)), return_exceptions=True)

    another = Counted(cache, fail, exceptions=ValueError, version=2)
    assert {type(outcome) for outcome in finish(together())} == {ValueError}
    assert another.runs == 1


def test_results_that_are_wanted(cache: Cache) -> None:
    """`store_if=`, `valid_if=`, `min_cost=` and a `ttl=` for each result decide as for other functions."""
    positive = Counted(cache, number, store_if=bool)
    assert positive.several(0, 0, 1, 1) == [0, 0, 1, 1]
    assert positive.runs == 3
    small = Counted(cache, valid_if=lambda run: run > 1, version=2)
    assert small.several(0, 0, 0) == [1, 2, 2]
    cheap = Counted(cache, min_cost="1h", version=3)
    assert cheap.several(0, 0) == [1, 2]
    short = Counted(cache, ttl=lambda run: "1us" if run == 1 else None, version=4)
    assert short.several(0, 0, 0) == [1, 2, 2]
    failing = Counted(cache, store_if=lambda run: 1 // 0, version=5)
    with pytest.warns(PcacheWarning, match="store_if= .* failed with .*ZeroDivisionError.*: the result is not stored"):
        assert asyncio.run(failing()) == 1


def test_a_stale_result_serves_while_it_is_renewed(cache: Cache) -> None:
    """An expired result is returned at once, and another task computes it anew, once, in a copy of the context."""
    seen = contextvars.ContextVar("seen", default="")
    contexts = []

    async def play() -> None:
        go_on = asyncio.Event()

        async def slow(n: int, run: int) -> int:
            if run > 1:
                contexts.append((seen.get(), asyncio.current_task() is here))
                await go_on.wait()
            return run

        here = asyncio.current_task()
        seen.set("here")
        counted = Counted(cache, slow, ttl="1us", stale="1h")
        assert [await counted() for _ in range(5)] == [1, 1, 1, 1, 1]
        while counted.runs < 2:
            await asyncio.sleep(0)
        assert await counted() == 1
        go_on.set()
        while counted.function.get(0, counted) < 2:
            await asyncio.sleep(0)
        assert counted.runs == 2

    finish(play())
    assert contexts == [("here", False)]


def test_renewed_inside_of_a_computation(cache: Cache) -> None:
    """What a call inside of another one begins is no part of that, which may end first."""
    around = []

    async def note(n: int, run: int) -> int:
        around.append(len(computing.get()))
        return run

    async def play() -> None:
        counted = Counted(cache, note, ttl="1us", stale="1h")

        @cache.cached(code="none")
        async def outer(n: int) -> Any:
            return await counted()

        assert [await outer(n) for n in range(2)] == [1, 1]
        while counted.runs < 2:
            await asyncio.sleep(0)

    finish(play())
    assert around == [2, 1]


def test_a_loop_that_ends_renews_no_more(cache: Cache) -> None:
    """The task is cancelled with it; the old result serves on, and the next loop tries again."""

    async def slow(n: int, run: int) -> int:
        if run == 2:
            await asyncio.Event().wait()
        return run

    counted = Counted(cache, slow, ttl="1us", stale="1h")

    async def play(runs: int) -> Any:
        value = await counted()
        while counted.runs < runs:
            await asyncio.sleep(0)
        return value

    assert [finish(play(runs)) for runs in (1, 2, 3)] == [1, 1, 1]


def test_a_renewal_that_fails(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """The old result goes on serving, and the log says what happened; no loop hears of it."""
    caplog.set_level(logging.INFO, "pcache")

    async def failing(n: int, run: int) -> int:
        return 1 // (run == 1)

    counted = Counted(cache, failing, ttl="1us", stale="1h")

    async def play() -> None:
        assert [await counted(), await counted()] == [1, 1]
        while "renewing" not in caplog.text:
            await asyncio.sleep(0)
        assert counted.function.get(0, counted) == 1

    finish(play())
    assert "renewing a result failed: ZeroDivisionError" in caplog.text
    assert "asyncio" not in {record.name for record in caplog.records if record.levelno >= logging.WARNING}


ANOTHER = """
import asyncio
@cache.cached(code="none", ttl="1us", stale="1h")
async def shared(n):
    say("computing")
    await asyncio.to_thread(hear)
    return 2 * n
asyncio.run(shared.refresh(5))
say("done")
"""


async def shared(n: int) -> int:
    shared_runs.append(n)
    return n


shared_runs: list[int] = []
shared.__module__, shared.__qualname__ = "__main__", "shared"


def test_another_process_that_renews_is_enough(tmp_path: Path, cache: Cache) -> None:
    """While somebody else computes the result anew, nobody waits and nobody computes it as well."""
    cached = cache.cached(code="none", ttl="1us", stale="1h")(shared)
    assert finish(cached(5)) == 5
    other = Talker(ANOTHER, cache.location)
    assert other.hear() == "computing"

    async def serve() -> Any:
        value = await cached(5)
        while cached._renewing:
            await asyncio.sleep(0)
        return value

    assert finish(serve()) == 5
    other.say("")
    assert other.finish() == ["done"]
    assert shared_runs == [5]
    assert cached.get(5) == 10


def test_trio_renews_too(cache: Cache) -> None:
    """In a task of the loop's own, which ends with it."""
    runs = []

    @cache.cached(code="none", ttl="1us", stale="1h")
    async def count() -> int:
        runs.append(1)
        await trio.sleep(0)
        return len(runs)

    async def play() -> list[int]:
        values = [await count(), await count()]
        while len(runs) < 2 or count.get() < 2:
            await trio.sleep(0)
        return [*values, count.get()]

    assert trio.run(play) == [1, 1, 2]


def test_no_loop_that_is_known(cache: Cache) -> None:
    """Where nobody can run a task, the old result serves until it expires."""

    @cache.cached(code="none", ttl="1us", stale="1h")
    async def once() -> int:
        return 1

    for _ in range(3):
        with pytest.raises(StopIteration) as end:
            once().send(None)
        assert end.value.value == 1
    assert once.cache_info().misses == 1


def test_a_checked_hit_tells_of_chance(cache: Cache) -> None:
    """A share of hits is computed again; where the result differs is named once, and the new result is stored."""

    async def train(n: int, run: int) -> dict[str, Any]:
        return {"name": "x", "loss": [0.5, float(run)]}

    counted = Counted(cache, train, check=1.0)
    assert asyncio.run(counted(3))["loss"] == [0.5, 1.0]
    with pytest.warns(PcacheWarning, match=r"returned something else .* result\['loss'\]\[1\] differs"):
        assert asyncio.run(counted(3))["loss"] == [0.5, 2.0]
    assert counted.function.get(3, counted)["loss"] == [0.5, 2.0]
    assert cache.stats().errors_by_kind == {"impure": 1}
    pure = Counted(cache, number, check=1.0, version=2)
    assert pure.several(3, 3) == [3, 3]
    assert pure.runs == 2
    assert cache.stats().errors_by_kind == {"impure": 1}


def test_all_together(cache: Cache, tmp_path: Path) -> None:
    """Methods, pickles, `refresh` and `call` have conditions too; who is cancelled is, and nobody else."""

    class Odd:
        @cache.cached(exceptions=ValueError)
        async def half(self, n: int) -> int:
            await asyncio.sleep(0)
            if n % 2:
                raise ValueError(n)
            return n // 2

    for _ in range(2):
        assert finish(Odd().half(4)) == 2
        with pytest.raises(ValueError, match="1"):
            finish(Odd().half(1))
    answers = [finish(Odd().half.call(4)), finish(Odd().half.call(6))]
    assert [(answer.value, answer.hit) for answer in answers] == [(2, True), (3, False)]
    assert finish(Odd().half.refresh(4)) == 2
    with pytest.raises(ValueError, match="1"):
        finish(Odd().half.call(1))
    again = pickle.loads(pickle.dumps(cache.cached(store_if=bool)(number)))
    assert [finish(again(n, 1)) for n in (0, 1)] == [0, 1]
    assert [again.exists(n, 1) for n in (0, 1)] == [False, True]

    async def play() -> None:
        tasks = [asyncio.create_task(Odd().half(8)) for _ in range(3)]
        await asyncio.sleep(0)
        await cancel(tasks[0])
        assert await asyncio.gather(*tasks[1:]) == [4, 4]

    finish(play())
