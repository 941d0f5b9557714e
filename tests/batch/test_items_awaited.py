"""Batch functions that are coroutine functions: as others, without blocking an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcache import Cache, PcacheWarning, disabled, refreshing
from pcache.runtime.singleflight import computing, flights
from tests.batch.test_items import squared
from tests.runtime.test_coroutines import CancelAt, cancel, finish
from tests.support.processes import KEY, Talker, claims_below

trio: Any = pytest.importorskip("trio")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    yield (made := Cache(tmp_path / "cache", signing_key=KEY))
    assert (flights.all(), dict(computing.get()), claims_below(made.location)) == ([], {}, [])


class Squares:
    """A batch function of each kind of container, and the calls that reached it; `go_on` lets them return."""

    def __init__(self, cache: Cache, **options: Any) -> None:
        self.calls: list[Any] = []
        self.go_on: Any = None

        @cache.batch(over="numbers", ignore=["self"], code="none", **options)
        async def squares(numbers: Any, self: Squares, times: int = 1) -> Any:
            self.calls.append(list(numbers.items() if isinstance(numbers, dict) else numbers))
            await (asyncio.sleep(0) if self.go_on is None else self.go_on.wait())
            return squared(numbers, times)

        self.function = squares

    async def __call__(self, numbers: Any, **options: Any) -> Any:
        return await self.function(numbers, self, **options)

    def of(self, numbers: Any, **options: Any) -> Any:
        return finish(self(numbers, **options))


def test_only_missing_items_reach_the_function(cache: Cache) -> None:
    """Results are in the order of the items, those that are asked for twice are computed once."""
    squares = Squares(cache)
    assert squares.of([3, 1, 3]) == [9, 1, 9]
    assert squares.of([2, 1, 4, 2]) == [4, 1, 16, 4]
    assert squares.of([4, 3]) == [16, 9]
    assert squares.of([3], times=2) == [18]
    assert squares.of(list(range(100, 200))) == [n * n for n in range(100, 200)]
    assert squares.of(list(range(100, 200))) == [n * n for n in range(100, 200)]
    assert squares.calls == [[3, 1], [2, 4], [3], list(range(100, 200))]
    assert squares.function.of_one.exists(3, squares)
    assert squares.of([]) == []


def test_it_is_a_coroutine_function(cache: Cache) -> None:
    """As `inspect` sees it, bound and as a class method as well; its coroutine has the function's name."""

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.batch(over="texts")
        async def embed(self, texts: list[str]) -> list[str]:
            return [self.name + text for text in texts]

        @classmethod
        @cache.batch(over="texts")
        async def of_class(cls, texts: list[str]) -> list[str]:
            return [cls.__name__ + text for text in texts]

    for function in (Model.embed, Model("a").embed, Model.of_class):
        assert inspect.iscoroutinefunction(function)
    made = Model("a").embed(["x"])
    assert made.__qualname__.endswith("Model.embed")
    assert [finish(made), finish(Model("b").embed(["x"])), finish(Model.of_class(["x"]))] == [
        ["ax"],
        ["bx"],
        ["Modelx"],
    ]
    with pytest.raises(TypeError, match="texts"):
        finish(Model("a").embed())


def test_kinds_of_containers(cache: Cache) -> None:
    """Tuples, arrays and dicts come back as the function returns them."""
    squares = Squares(cache)
    for _ in range(2):
        assert squares.of((1, 2)) == (1, 4)
        assert squares.of({"a": 3}) == {"a": 9}
        assert squares.of(np.array([1, 2])).tolist() == [1, 4]
    assert len(squares.calls) == 3


def test_tasks_share_items(cache: Cache) -> None:
    """Each item is computed once, whichever task asks for it first; the others wait for that item alone."""
    squares = Squares(cache)

    async def play() -> None:
        squares.go_on = asyncio.Event()
        tasks = [asyncio.create_task(squares(numbers)) for numbers in ([1, 2, 3], [2, 3, 4], [5, 1, 5], [4, 5])]
        while len(squares.calls) < 3:
            await asyncio.sleep(0)
        squares.go_on.set()
        assert await asyncio.gather(*tasks) == [[1, 4, 9], [4, 9, 16], [25, 1, 25], [16, 25]]

    finish(play())
    assert Counter(n for call in squares.calls for n in call) == dict.fromkeys([1, 2, 3, 4, 5], 1)


def test_a_cancelled_owner(cache: Cache) -> None:
    """Who waited for its items computes them; nobody else is cancelled."""
    squares = Squares(cache)

    async def play() -> None:
        squares.go_on = asyncio.Event()
        owner = asyncio.create_task(squares([1, 2]))
        while not squares.calls:
            await asyncio.sleep(0)
        other = asyncio.create_task(squares([2, 3]))
        while len(squares.calls) < 2:
            await asyncio.sleep(0)
        await cancel(owner)
        squares.go_on.set()
        assert await other == [4, 9]

    finish(play())
    assert squares.calls == [[1, 2], [3], [2]]
    assert not squares.function.of_one.exists(1, squares)


def test_cancelled_anywhere(cache: Cache) -> None:
    """At whichever of its waits: what was computed is stored, no claim is left, and the next call is right."""

    async def play(at: int) -> int:
        squares = Squares(cache, max_batch=40, version=at)
        numbers = list(range(100))
        caller = CancelAt(squares(numbers), at)
        (outcome,) = await asyncio.gather(caller.run(), return_exceptions=True)
        assert (type(outcome) is asyncio.CancelledError) == (caller.waits >= at)
        assert claims_below(cache.location) == []
        begun = len(squares.calls)
        assert await squares(numbers) == [n * n for n in numbers]
        again = Counter(n for call in squares.calls for n in call)
        assert sum(count == 2 for count in again.values()) in (0, 20, 40)  # the batch under way
        assert begun >= 1 or at < 6
        return caller.waits

    at = 1
    while finish(play(at)) >= at:
        at += 1
    assert at > 8


def test_the_loop_is_not_blocked(cache: Cache) -> None:
    """A thread stores, and looks many items up; the function runs where it is awaited."""
    threads: dict[str, set[int]] = {"ran": set(), "stored": set()}
    here = threading.get_ident()

    class Told:
        def __reduce__(self) -> Any:
            threads["stored"].add(threading.get_ident())
            return int, ()

    @cache.batch(over="numbers", code="none", ignore=["told"])
    async def some(numbers: list[int], told: Any = Told) -> list[Any]:
        threads["ran"].add(threading.get_ident())
        return [told() for _ in numbers]

    finish(some([1, 2, 3]))
    assert threads["ran"] == {here}
    assert threads["stored"]
    assert here not in threads["stored"]


def test_odd_results_and_exceptions(cache: Cache) -> None:
    """They reach the caller, and nothing is stored."""

    @cache.batch(over="numbers", code="none")
    async def odd(numbers: list[int], what: Any) -> Any:
        if what == "raise":
            raise ZeroDivisionError(numbers)
        return what

    with pytest.warns(PcacheWarning, match="and not a list, a tuple, an array or a dict with a result for each item"):
        assert asyncio.run(odd([1, 2], [1])) == [1]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="1, 2") as caught:
            finish(odd([1, 2], "raise"))
        assert caught.traceback[-1].name == "odd"
        assert caught.value.__context__ is None
    assert cache.stats().entries == 0


def test_a_function_that_stops(cache: Cache) -> None:
    """A `StopIteration` of an ordinary batch function is that, as without the cache."""

    @cache.batch(over="numbers", code="none")
    def stops(numbers: list[int]) -> list[int]:
        return [next(iter(())) for _ in numbers]

    with pytest.raises(StopIteration) as caught:
        stops([1])
    assert caught.value.__context__ is None


def test_modes(cache: Cache) -> None:
    """They count where the call is awaited."""
    squares = Squares(cache)
    squares.of([1, 2])
    with refreshing():
        assert squares.of([1]) == [1]
    with disabled():
        assert squares.of([2, 3]) == [4, 9]
    assert squares.calls == [[1, 2], [1], [2, 3]]
    assert not squares.function.of_one.exists(3, squares)


def test_trio(cache: Cache) -> None:
    """Tasks of trio share items; cancelling is trio's."""
    calls = []

    @cache.batch(over="numbers", code="none")
    async def squares(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        await trio.sleep(0.01)
        return [n * n for n in numbers]

    async def play() -> None:
        found: dict[int, list[int]] = {}

        async def ask(*numbers: int) -> None:
            found[numbers[0]] = await squares(list(numbers))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 1, 2)
            nursery.start_soon(ask, 2, 3)
        assert (found[1], found[2]) == ([1, 4], [4, 9])
        with trio.move_on_after(0) as scope:
            await squares([7])
        assert scope.cancelled_caught
        assert await squares(list(range(100, 200))) == [n * n for n in range(100, 200)]

    trio.run(play)
    assert sorted(n for call in calls for n in call if n < 7) == [1, 2, 3]


def test_no_loop_that_is_known(cache: Cache) -> None:
    """Whoever drives it by hand gets results, and they are stored."""

    @cache.batch(over="numbers", code="none")
    async def squares(numbers: list[int]) -> list[int]:
        return [n * n for n in numbers]

    for _ in range(2):
        with pytest.raises(StopIteration) as end:
            squares(list(range(50))).send(None)
        assert end.value.value == [n * n for n in range(50)]
    assert cache.stats().entries == 50


SHARED = """
import asyncio
@cache.batch(over="numbers", code="none")
async def shared(numbers):
    say("computing", *numbers)
    await asyncio.to_thread(hear)
    return [2 * n for n in numbers]
say(*asyncio.run(shared([1, 2])))
"""


async def shared(numbers: list[int]) -> list[int]:
    shared_calls.append(numbers)
    return [2 * n for n in numbers]


shared_calls: list[list[int]] = []
shared.__module__, shared.__qualname__ = "__main__", "shared"


def test_another_process_computes(cache: Cache) -> None:
    """Its items are waited for when everything of one's own is stored."""
    other = Talker(SHARED, cache.location)
    assert other.hear() == "computing 1 2"
    cached: Any = cache.batch(over="numbers", code="none")(shared)

    async def play() -> Any:
        task = asyncio.create_task(cached([1, 3]))
        while not cached.of_one.exists(3):
            await asyncio.sleep(0)
        other.say("")
        return await task

    assert finish(play()) == [2, 6]
    assert other.finish() == ["2 4"]
    assert shared_calls == [[3]]
