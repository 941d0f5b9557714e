"""Cached coroutine functions: what a call means, and what it does for who else waits."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import pickle
import sys
import threading
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, Miss, UnhashableArgument
from pcache.runtime.singleflight import computing, flights
from tests.support.processes import KEY, claims_below

ran: Counter[Any] = Counter()


class Gate:
    """Where a computation waits: `reached` says that it does so, `open` lets it go on. For one loop."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.open.wait()


gates: dict[int, Gate] = {}


async def gated(n: int) -> list[int]:
    ran[n] += 1
    if n in gates:
        await gates[n].pass_through()
    await asyncio.sleep(0)
    return [n, n]


class Written:
    """A result whose pickling tells in which thread it was done, and waits there until it may go on."""

    begun, may_end, threads = threading.Event(), threading.Event(), list[int]()

    def __reduce__(self) -> Any:
        Written.threads.append(threading.get_ident())
        Written.begun.set()
        assert Written.may_end.wait(30)
        return Written, ()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    ran.clear(), gates.clear()
    Written.begun.clear(), Written.may_end.set(), Written.threads.clear()
    yield
    assert (flights.all(), dict(computing.get())) == ([], {})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


@pytest.fixture
def cached(cache: Cache) -> Any:
    return cache.cached(code="none")(gated)


def finish(task: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a strict loop of its own; what is left of it must be nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return asyncio.run(task, debug=True)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert type(outcome) is asyncio.CancelledError


async def waiting(cached: Any, n: int, count: int) -> list[asyncio.Task[Any]]:
    """Tasks that wait for the same computation, which has begun; the first one computes."""
    gates[n] = Gate()
    tasks = [asyncio.create_task(cached(n))]
    await gates[n].reached.wait()
    tasks += [asyncio.create_task(cached(n)) for _ in range(count - 1)]
    while len(flights.all()[0].bells) < count - 1:
        await asyncio.sleep(0)
    return tasks


# What a call is


def test_ten_tasks_one_run(cached: Any) -> None:
    """Tasks that need the same missing result compute it once; each gets an object of its own."""

    async def ten() -> list[Any]:
        return await asyncio.gather(*(cached(1) for _ in range(10)))

    results = finish(ten())
    assert results == [[1, 1]] * 10
    assert len(set(map(id, results))) == 10
    assert ran == {1: 1}
    assert finish(ten()) == results
    assert ran == {1: 1}


def test_a_hit_does_not_wait(cached: Any) -> None:
    """A small result is read where the call is awaited: the loop has no part in it."""
    finish(cached(1))
    with pytest.raises(StopIteration) as end:
        cached(1).send(None)
    assert end.value.value == [1, 1]


def test_the_other_methods_do_not_wait(cached: Any) -> None:
    """`key`, `exists`, `get`, `put`, `invalidate` and `explain` are as those of functions; `refresh` is awaited."""
    assert not cached.exists(1)
    assert finish(cached(1)) == cached.get(1) == [1, 1]
    assert cached.put([5], 1)
    assert finish(cached(1)) == [5]
    assert finish(cached.refresh(1)) == cached.get(n=1) == [1, 1]
    assert cached.explain(1).hit
    assert cached.invalidate(1)
    with pytest.raises(Miss):
        cached.get(1)
    assert len(cached.key(1)) == 40
    assert ran == {1: 2}


def test_counts(cached: Any) -> None:
    """Hits, misses and what a hit saves, which is how long the coroutine took."""
    finish(cached(1)), finish(cached(1)), finish(cached(2))
    assert cached.cache_info()[:2] == (1, 2)
    assert cached._tally.saved_ns > 0


def test_what_is_no_call(cached: Any) -> None:
    """What does not fit the signature is refused where it is called; what has no key where it is awaited."""
    with pytest.raises(TypeError, match="missing"):
        cached()
    with pytest.raises(TypeError):
        cached.refresh()
    called = cached(iter(()))
    with pytest.raises(UnhashableArgument):
        finish(called)
    assert ran == {}


def test_a_call_that_is_never_awaited(cached: Any, cache: Cache) -> None:
    """Python says so, by the function's name; nothing was begun."""
    with pytest.warns(RuntimeWarning, match="coroutine 'gated' was never awaited"):
        del [cached(1)][0]
    assert ran == {}
    assert claims_below(cache.location) == []


def test_modes(cached: Any) -> None:
    """What is around the `await` counts, as with everything in the body of a coroutine."""
    finish(cached(1))

    async def both() -> None:
        with pcache.disabled():
            await cached(1)
            called = cached(1)
        await called
        with pcache.refreshing():
            task = asyncio.create_task(cached(1))  # a task begins in a copy of the context that it is made in
        await task

    finish(both())
    assert ran == {1: 3}
    assert cached.cache_info().hits == 1


def test_a_cache_that_is_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `PCACHE_DISABLE` calls are those of the function itself."""
    monkeypatch.setenv("PCACHE_DISABLE", "1")
    cached = Cache(tmp_path / "cache").cached(gated)
    assert [finish(cached(1)), finish(cached(1))] == [[1, 1]] * 2
    assert ran == {1: 2}


def test_results_that_cannot_be_stored(cache: Cache) -> None:
    """The caller gets them, with one warning."""

    @cache.cached
    async def lock() -> Any:
        return threading.Lock()

    with pytest.warns(pcache.UnpicklableResultWarning):
        results = [asyncio.run(lock()), asyncio.run(lock())]
    assert results[0] is not results[1]


def test_no_loop_that_is_known(cached: Any) -> None:
    """A coroutine that is driven by hand, or by another library, computes and stores; it waits for nobody."""

    class Pause:
        def __await__(self) -> Generator[int, None, None]:
            yield 5

    cache: Cache = pcache.Cache.over(cached._flow.directory)

    @cache.cached(code="none")
    async def paused(n: int) -> int:
        ran[n] += 1
        await Pause()
        return n

    first, second = paused(1), paused(1)
    assert (first.send(None), second.send(None)) == (5, 5)
    for call in (first, second):
        with pytest.raises(StopIteration, match="1"):
            call.send(None)
    assert paused.get(1) == 1
    assert ran == {1: 2}


# Kinds of functions


@pytest.fixture
def kinds(cache: Cache) -> dict[str, Any]:
    """Cached coroutine functions of every kind, all of one number."""

    class Model:
        @cache.cached
        async def method(self, n: int) -> int:
            ran["method"] += 1
            return n

        @classmethod
        @cache.cached
        async def class_inside(cls, n: int) -> int:
            ran["class inside"] += 1
            return n

        @cache.cached
        @classmethod
        async def class_outside(cls, n: int) -> int:
            ran["class outside"] += 1
            return n

        @staticmethod
        @cache.cached
        async def static_inside(n: int) -> int:
            ran["static inside"] += 1
            return n

        @cache.cached
        @staticmethod
        async def static_outside(n: int) -> int:
            ran["static outside"] += 1
            return n

    @cache.cached
    async def function(n: int) -> int:
        ran["function"] += 1
        return n

    async def added(more: int, n: int) -> int:
        ran["partial"] += 1
        return more + n

    model = Model()
    return {
        "function": function,
        "method": model.method,
        "class inside": Model.class_inside,
        "class outside": model.class_outside,
        "static inside": Model.static_inside,
        "static outside": model.static_outside,
        "partial": cache.cached(functools.partial(added, 0)),
    }


KINDS = ["function", "method", "class inside", "class outside", "static inside", "static outside", "partial"]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kinds: dict[str, Any], kind: str) -> None:
    """Each is a coroutine function for who asks, runs once, and can be refreshed."""
    made = kinds[kind]
    assert inspect.iscoroutinefunction(made)
    assert sys.version_info >= (3, 14) or asyncio.iscoroutinefunction(made)  # deprecated from then on
    assert finish(made(7)) == finish(made(7)) == 7
    assert ran == {kind: 1}
    if type(made) is types.MethodType:
        return  # from Python 3.13 on `classmethod` binds what it holds itself, and only for calls
    assert made.get(7) == 7
    assert finish(made.refresh(7)) == 7
    assert ran == {kind: 2}


def test_a_pickled_one(cached: Any) -> None:
    """It comes back as what it was."""
    again = pickle.loads(pickle.dumps(cached))
    assert type(again) is type(cached)
    assert finish(again(3)) == cached.get(3)


def test_one_that_uses_another(cache: Cache) -> None:
    """A cached coroutine function in another's code counts by its code, as a cached function does."""

    @cache.cached
    async def inner(n: int) -> int:
        ran["inner"] += 1
        return n + 1

    @cache.cached
    async def outer(n: int) -> int:
        ran["outer"] += 1
        return 2 * await inner(n)

    assert [finish(outer(1)), finish(outer(1)), finish(inner(1))] == [4, 4, 2]
    assert ran == {"inner": 1, "outer": 1}


# Cancelling


def test_a_cancelled_owner(cached: Any) -> None:
    """One of those that wait takes over; nobody else is cancelled."""

    async def play() -> None:
        owner, *others = await waiting(cached, 1, 10)
        gate = gates.pop(1)
        await cancel(owner)
        assert await asyncio.gather(*others) == [[1, 1]] * 9
        assert not gate.open.is_set()

    finish(play())
    assert ran == {1: 2}


def test_a_cancelled_waiter(cached: Any) -> None:
    """It leaves, and nothing else changes."""

    async def play() -> None:
        owner, waiter, other = await waiting(cached, 1, 3)
        await cancel(waiter)
        gates[1].open.set()
        assert await asyncio.gather(owner, other) == [[1, 1]] * 2

    finish(play())
    assert ran == {1: 1}


def test_all_cancelled(cached: Any, cache: Cache) -> None:
    """The claim is gone with the last one."""

    async def play() -> None:
        tasks = await waiting(cached, 1, 4)
        assert len(claims_below(cache.location)) == 1
        await cancel(*tasks)
        assert claims_below(cache.location) == []
        assert flights.all() == []

    finish(play())
    assert not cached.exists(1)
    assert finish(cached.refresh(2)) == [2, 2]


class CancelAt:
    """Awaits a coroutine, and cancels the task as it begins to wait for the Nth time; `waits` is how often it did."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int) -> None:
        self._steps, self._at, self.waits = coroutine, at, 0

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = functools.partial(self._steps.send, None)
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                step = functools.partial(self._steps.send, (yield awaited))
            except BaseException as error:
                step = functools.partial(self._steps.throw, error)

    async def run(self) -> Any:
        return await self


def test_an_owner_cancelled_anywhere(cache: Cache) -> None:
    """At whichever of its waits: others get the result, of at most two runs, and nobody else is cancelled."""
    argument = "x" * 300_000  # hashed in a thread

    @cache.cached(code="none")
    async def large(n: int, argument: str) -> list[str]:
        ran[n] += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [argument] * 2  # written in a thread

    async def play(n: int) -> int:
        owner = CancelAt(large(n, argument), n)
        first = asyncio.create_task(owner.run())
        while not flights.all() and not first.done():
            await asyncio.sleep(0)
        others = [asyncio.create_task(large(n, argument)) for _ in range(3)]
        assert await asyncio.gather(*others) == [[argument] * 2] * 3
        (outcome,) = await asyncio.gather(first, return_exceptions=True)
        assert (type(outcome) is asyncio.CancelledError) == (owner.waits >= n)
        assert large.exists(n, argument)
        return owner.waits

    n = 1
    while finish(play(n)) >= n:
        n += 1
    assert n > 2
    assert max(ran.values()) == 2
    assert ran[n] == 1
    assert claims_below(cache.location) == []


def test_what_is_computed_is_stored(cache: Cache) -> None:
    """A task that is cancelled while its result is written is cancelled when it is: others find it."""

    @cache.cached(code="none")
    async def write(n: int) -> Any:
        ran[n] += 1
        return Written()

    async def play() -> None:
        Written.may_end.clear()
        owner = asyncio.create_task(write(1))
        other = asyncio.create_task(write(1))
        await asyncio.to_thread(Written.begun.wait, 30)
        owner.cancel()
        await asyncio.sleep(0)
        assert not owner.done()
        owner.cancel()
        Written.may_end.set()
        await cancel(owner)
        assert type(await other) is Written

    finish(play())
    assert ran == {1: 1}
    assert threading.get_ident() not in Written.threads


def test_a_coroutine_that_is_thrown_away(cached: Any, cache: Cache) -> None:
    """Closing it half way gives the claim back, as happens to those of a loop that ended."""

    async def play() -> Any:
        gates[1] = Gate()
        await cached(2)  # the first call of all reads the code, in a thread
        call = cached(1)
        call.send(None)
        assert len(claims_below(cache.location)) == 1
        return call

    call = asyncio.run(play())
    call.close()
    assert claims_below(cache.location) == []
    gates.clear()
    assert finish(cached(1)) == [1, 1]


# Errors


class Odd(Exception):
    pass


def test_exceptions_pass_unchanged(cache: Cache) -> None:
    """Each call gets the exception of a run of its own, with few frames of the cache in its traceback."""
    errors = []

    @cache.cached(code="none")
    async def fail(n: int) -> None:
        errors.append(error := Odd(n))
        await asyncio.sleep(0)
        raise error from None

    async def three() -> list[Any]:
        return await asyncio.gather(*(fail(1) for _ in range(3)), return_exceptions=True)

    raised = finish(three())
    assert set(map(id, raised)) == set(map(id, errors))
    for error in raised:
        frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        assert sum(f"{os.sep}pcache{os.sep}" in name and "tests" not in name for name in frames) <= 2
        assert (error.__context__, frames[-1]) == (None, __file__)


def test_stop_iteration_of_a_function(cache: Cache) -> None:
    """What a generator may not raise a cached function still may."""
    error = StopIteration(3)

    @cache.cached(code="none")
    def stop() -> None:
        raise error

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StopIteration) as raised:
            stop()
    assert raised.value is error
    assert (error.__context__, error.__cause__) == (None, None)


def test_a_function_that_is_cancelled_from_inside(cache: Cache) -> None:
    """A `CancelledError` that the function itself raises is an exception of its own."""

    @cache.cached(code="none")
    async def give_up() -> None:
        ran["give up"] += 1
        raise asyncio.CancelledError("of its own")

    async def told() -> str:
        with pytest.raises(asyncio.CancelledError) as raised:
            await give_up()
        return str(raised.value)

    async def three() -> list[Any]:
        return await asyncio.gather(*(told() for _ in range(3)))

    assert finish(three()) == ["of its own"] * 3
    assert ran == {"give up": 3}
