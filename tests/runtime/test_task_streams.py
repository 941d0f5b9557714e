"""Cached asynchronous generator functions: what callers get, what is stored, and which task runs the generator."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import os
import pickle
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, ConfigError, Miss, PcacheWarning, UnhashableArgument, disabled, refreshing
from pcache.errors import UnpicklableResult, UnpicklableResultWarning
from pcache.runtime.calls import Calls
from pcache.runtime.singleflight import computing, flights
from tests.runtime.test_coroutines import CancelAt
from tests.runtime.test_streaming import blob, damage
from tests.support.processes import KEY, Talker, claims_below, place_of, run
from tests.support.running import count_descriptors

trio: Any = pytest.importorskip("trio")


class Runs:
    """An asynchronous generator function that notes each run, and each item that it makes."""

    def __init__(self, cache: Cache, item: Callable[[int], Any] = int, **options: Any) -> None:
        self.begun: list[int] = []
        self.made: list[int] = []
        self.ended: list[str] = []

        async def count(n: int) -> AsyncIterator[Any]:
            self.begun.append(n)
            try:
                for i in range(n):
                    self.made.append(i)
                    await asyncio.sleep(0)
                    yield item(i)
            except BaseException as error:
                self.ended.append(type(error).__name__)
                await asyncio.sleep(0)
                raise

        self.cached: Any = cache.cached(code="none", version=1, **options)(count)


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    yield (made := Cache(tmp_path / "cache", signing_key=KEY))
    gc.collect()
    assert (flights.all(), dict(computing.get()), claims_below(made.location)) == ([], {}, [])


def finish(task: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a strict loop of its own; what is left of it must be nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return asyncio.run(task, debug=True)


async def taken(items: Any) -> list[Any]:
    return [item async for item in items]


SIZES = {"nothing": (0, int), "one": (1, int), "small": (50, int), "many": (3_000, str), "large": (60, blob)}


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_is_stored_and_found(tmp_path: Path, size: str) -> None:
    """Items are those of the function; another cache of the directory finds them, also in another loop."""
    n, item = SIZES[size]
    wanted = [item(i) for i in range(n)]
    runs = Runs(Cache(tmp_path / "cache"), item)
    assert finish(taken(runs.cached(n))) == wanted
    other = Runs(Cache(tmp_path / "cache"), item)
    assert finish(taken(other.cached(n))) == finish(taken(other.cached.get(n))) == wanted
    assert (runs.begun, other.begun) == ([n], [])
    assert Cache(tmp_path / "cache").verify().problems == ()
    assert claims_below(tmp_path) == []


def test_a_call_returns_an_asynchronous_generator(cache: Cache) -> None:
    """As the function's own: made at once, begun with its first item, and known as one to `inspect`."""
    runs = Runs(cache)
    assert inspect.isasyncgenfunction(runs.cached)
    assert not inspect.iscoroutinefunction(runs.cached)
    made = runs.cached(3)
    assert inspect.isasyncgen(made)
    assert (made.__name__, runs.begun) == ("count", [])
    with pytest.raises(TypeError, match="required positional"):
        runs.cached()
    assert finish(taken(made)) == [0, 1, 2]
    assert not inspect.isasyncgenfunction(cache.cached(len))


@pytest.mark.parametrize("end", ["closed", "dropped", "raised", "cancelled", "left by the loop"])
def test_what_is_not_taken_to_its_end_is_not_stored(cache: Cache, end: str) -> None:
    """The function's generator is closed in its turn, or has what its caller was given; the next call runs it anew."""
    runs = Runs(cache)

    async def play() -> None:
        items = runs.cached(5)
        assert await anext(items) == 0
        if end == "closed":
            await items.aclose()
            assert await taken(items) == []
        elif end == "dropped":
            del items
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)
        elif end == "raised":
            with pytest.raises(ZeroDivisionError):
                await items.athrow(ZeroDivisionError())
        elif end == "cancelled":
            task = asyncio.create_task(anext(items))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            kept.append(items)

    kept: list[Any] = []
    finish(play())
    wanted = {"raised": "ZeroDivisionError", "cancelled": "CancelledError"}.get(end, "GeneratorExit")
    assert runs.ended == [wanted]
    assert not runs.cached.exists(5)
    assert claims_below(cache.location) == []
    assert finish(taken(runs.cached(5))) == [0, 1, 2, 3, 4]
    assert runs.begun == [5, 5]


def test_an_error_of_the_function_is_not_stored(cache: Cache) -> None:
    """Each consumer gets it, after the items before it, with the function's frames and none of ours behind them."""
    begun = []

    @cache.cached(code="none")
    async def fails() -> AsyncIterator[int]:
        begun.append(1)
        yield 1
        raise ZeroDivisionError("here")

    for _ in range(2):

        async def play() -> list[int]:
            items = fails()
            found = [await anext(items)]
            with pytest.raises(ZeroDivisionError, match="here") as caught:
                await anext(items)
            assert caught.traceback[-1].name == "fails"
            assert caught.value.__context__ is None
            return found

        assert finish(play()) == [1]
    assert len(begun) == 2
    assert cache.stats().entries == 0


def test_cancelled_anywhere(cache: Cache) -> None:
    """At whichever of its waits, those for a thread too: no claim is left, and the next consumer gets all items."""
    argument = "x" * 300_000  # hashed in a thread

    @cache.cached(code="none")
    async def large(n: int, argument: str) -> AsyncIterator[str]:
        for i in range(3):
            await asyncio.sleep(0)
            yield argument * i  # written in a thread

    async def play(n: int) -> int:
        consumer = CancelAt(taken(large(n, argument)), n)
        (outcome,) = await asyncio.gather(consumer.run(), return_exceptions=True)
        assert (type(outcome) is asyncio.CancelledError) == (consumer.waits >= n)
        assert claims_below(cache.location) == []
        assert [len(item) for item in await taken(large(n, argument))] == [0, 300_000, 600_000]
        return consumer.waits

    n = 1
    while finish(play(n)) >= n:
        n += 1
    assert n > 6
    assert cache.stats().entries == n


def test_two_consumers_at_once(cache: Cache) -> None:
    """Each has a run of its own in its own task; one is stored, the other is not, and the next consumer hits."""
    runs = Runs(cache)
    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="")
    contexts = []

    def noted(i: int) -> int:
        contexts.append(seen.get())
        return i

    runs = Runs(cache, noted)

    async def consume(name: str) -> list[int]:
        seen.set(name)
        return await taken(runs.cached(3))

    async def play() -> None:
        assert await asyncio.gather(consume("a"), consume("b")) == [[0, 1, 2]] * 2
        assert sorted(contexts) == ["a"] * 3 + ["b"] * 3
        assert (runs.begun, cache.stats().entries) == ([3, 3], 1)
        assert await consume("c") == [0, 1, 2]

    finish(play())
    assert runs.begun == [3, 3]


def test_two_consumers_in_one_task(cache: Cache) -> None:
    """They may go on in any order, and the first one may leave."""
    runs = Runs(cache)

    async def play() -> None:
        first, second = runs.cached(4), runs.cached(4)
        assert [await anext(one) for one in (first, second, second, first, second)] == [0, 0, 1, 1, 2]
        await first.aclose()
        assert await taken(second) == [3]
        assert not runs.cached.exists(4)

    finish(play())


def test_the_generator_stays_in_its_consumers_task(cache: Cache) -> None:
    """So that time limits and groups of tasks, which belong to a task, work inside of it as they do without a cache."""
    tasks = []

    @cache.cached(code="none")
    async def limited(n: int) -> AsyncIterator[int]:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for i in range(n):
                tasks.append(asyncio.current_task())
                yield await group.create_task(asyncio.sleep(0, i))

    async def play() -> None:
        here = asyncio.current_task()
        assert await taken(limited(3)) == [0, 1, 2]
        assert tasks == [here] * 3
        await asyncio.gather(*(taken(limited(n)) for n in (4, 4, 5)))
        assert len(tasks) == 16

    finish(play())
    assert cache.stats().entries == 3


def test_trio(cache: Cache) -> None:
    """A time limit around items, cancelling in the midst, and large items, under trio."""
    begun = []

    @cache.cached(code="none")
    async def limited(n: int, size: int) -> AsyncIterator[bytes]:
        begun.append(n)
        with trio.fail_after(60):
            for i in range(n):
                await trio.sleep(0)
                yield bytes([i]) * size

    async def play() -> None:
        with trio.CancelScope() as scope:
            async with contextlib.aclosing(limited(3, 10)) as items:
                async for item in items:
                    if item[0] == 1:
                        scope.cancel()
        assert scope.cancelled_caught
        assert not limited.exists(3, 10)
        for size in (10, 400_000):
            for _ in range(2):
                assert [len(item) for item in await taken(limited(3, size))] == [size] * 3
        async with contextlib.aclosing(limited(5, 1)) as items:
            assert await anext(items) == b"\0"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*yield.*nursery.*")
        trio.run(play, strict_exception_groups=True)
    assert begun == [3, 3, 3, 5]


class Threads:
    """An item that tells in which thread it was pickled and unpickled."""

    written: list[int] = []  # noqa: RUF012 - shared by all, on purpose
    read: list[int] = []  # noqa: RUF012

    def __init__(self, size: int) -> None:
        self.content = bytes(size)

    def __getstate__(self) -> Any:
        Threads.written.append(threading.get_ident())
        return {"content": self.content}

    def __setstate__(self, state: Any) -> None:
        Threads.read.append(threading.get_ident())
        vars(self).update(state)


@pytest.mark.parametrize(("size", "elsewhere"), [(100, False), (2_000_000, True)])
def test_large_items_do_not_block_the_loop(cache: Cache, size: int, elsewhere: bool) -> None:
    """They are pickled, written, read and unpickled by a thread; small ones where they are."""
    runs = Runs(cache, lambda _: Threads(size))
    Threads.written.clear(), Threads.read.clear()
    finish(taken(runs.cached(3)))
    finish(taken(runs.cached(3)))
    assert (len(Threads.written), len(Threads.read), runs.begun) == (3, 3, [3])
    for thread in Threads.written + Threads.read:
        assert (thread != threading.get_ident()) == elsewhere


def test_large_arguments_and_code_are_read_in_a_thread(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call finds out which code runs; keys of large arguments are made by threads as well."""
    threads: dict[str, list[int]] = {"find_version": [], "of": []}

    def spied(name: str, real: Callable[..., Any]) -> Any:
        def spy(*args: Any) -> Any:
            threads[name].append(threading.get_ident())
            return real(*args)

        return spy

    for name in threads:
        monkeypatch.setattr(Calls, name, spied(name, getattr(Calls, name)))

    @cache.cached
    async def count(data: bytes) -> AsyncIterator[int]:
        yield len(data)

    for data in (b"1", bytes(600_000)):
        assert finish(taken(count(data))) == [len(data)]
    here = threading.get_ident()
    assert threads["find_version"][0] != here
    assert [thread == here for thread in threads["of"][::2]] == [True, False]


def test_calls_around_the_cache(cache: Cache) -> None:
    """`disabled` and `refreshing` count where the call is made; `refresh` computes, and replaces what is stored."""
    runs = Runs(cache)
    with disabled():
        items = runs.cached(2)
    assert finish(taken(items)) == [0, 1]
    assert not runs.cached.exists(2)
    finish(taken(runs.cached(2)))
    with refreshing():
        assert finish(taken(runs.cached(2))) == [0, 1]
    assert finish(taken(runs.cached.refresh(2))) == [0, 1]
    assert runs.begun == [2, 2, 2, 2]
    assert finish(taken(runs.cached(2))) == [0, 1]
    assert len(runs.begun) == 4


def test_one_call_at_a_time(cache: Cache) -> None:
    """`get`, `put`, `exists` and `invalidate` do not wait; `put` takes items, and no asynchronous iterator."""
    runs = Runs(cache)
    with pytest.raises(Miss):
        runs.cached.get(2)
    with pytest.raises(TypeError, match="async for"):
        runs.cached.put(runs.cached(2), 2)
    with pytest.raises(TypeError, match="iterable"):
        runs.cached.put(7, 2)
    assert runs.cached.put(["a", "b"], 2)
    assert finish(taken(runs.cached(2))) == finish(taken(runs.cached.get(2))) == ["a", "b"]
    assert runs.cached.exists(2)
    assert runs.cached.explain(2).hit
    assert runs.cached.invalidate(2)
    assert not runs.cached.exists(2)
    assert runs.begun == []


def test_arguments_without_a_key(cache: Cache) -> None:
    """Named when the first item is asked for; or the function runs without the cache, if that is wanted."""

    async def each(lock: Any) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(UnhashableArgument, match="lock"):
        finish(taken(cache.cached(each)(threading.Lock())))
    assert finish(taken(cache.cached(unhashable="compute")(each)(threading.Lock()))) == [1]


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_sent_and_thrown(cache: Cache, stored: bool) -> None:
    """The function's own generator takes over at that item, and answers; nothing is stored of it."""

    async def inner() -> Any:
        for i in range(4):
            try:
                yield i
            except KeyError:
                yield "caught"

    begun = []

    @cache.cached(code="none")
    async def outer() -> Any:
        begun.append(1)
        async for item in inner():
            try:
                yield item
            except KeyError:
                yield "caught"

    async def play() -> None:
        if stored:
            await taken(outer())
        items = outer()
        assert await anext(items) == 0
        assert await items.athrow(KeyError()) == "caught"
        assert await taken(items) == [1, 2, 3]
        items = outer()
        assert await anext(items) == 0
        assert await items.asend("nobody looks at it") == 1
        await items.aclose()

    finish(play())
    assert outer.exists() == stored
    assert len(begun) == 2 + stored


def test_what_a_function_uses_is_sent(cache: Cache) -> None:
    """A generator that depends on its caller is not cached, and a warning says so where it is decorated."""

    async def plain() -> Any:
        yield 1
        await asyncio.sleep(0)
        for i in range(2):
            yield i

    async def talks() -> Any:
        said = yield 1
        yield said

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.cached(plain)
    with pytest.warns(PcacheWarning, match="value of a yield"):
        cached = cache.cached(talks)

    async def play() -> None:
        items = cached()
        assert [await anext(items), await items.asend("hello")] == [1, "hello"]
        await items.aclose()

    finish(play())
    assert cached.explain().reason == "uncached"


def test_items_that_cannot_be_pickled(cache: Cache) -> None:
    """One warning, all items, nothing stored; with `strict`, an exception in place of the item."""
    runs = Runs(cache, lambda i: threading.Lock() if i == 2 else i)

    async def count() -> int:
        return len(await taken(runs.cached(4)))

    with pytest.warns(UnpicklableResultWarning):
        assert asyncio.run(count()) == 4
    assert not runs.cached.exists(4)
    strict = Runs(cache, lambda i: threading.Lock(), strict=True)
    with pytest.raises(UnpicklableResult):
        asyncio.run(taken(strict.cached(1)))


@pytest.mark.parametrize("size", [100, 400_000])
def test_damage_that_is_found_late(cache: Cache, size: int) -> None:
    """The function runs again, what was delivered is skipped, and what it made replaces the entry."""
    runs = Runs(cache, lambda i: bytes([i]) * size)
    wanted = [bytes([i]) * size for i in range(20)]
    assert finish(taken(runs.cached(20))) == wanted
    place = place_of(runs.cached, 20)

    async def play() -> None:
        items = runs.cached(20)
        found = [await anext(items)] if size > 1000 else []
        damage(place, os.stat(place).st_size - 2000 if size > 1000 else 200)
        found += await taken(items if found else runs.cached(20))
        assert found == wanted
        await items.aclose()

    finish(play())
    assert runs.begun == [20, 20]
    assert finish(taken(runs.cached(20))) == wanted
    assert runs.begun == [20, 20]


def test_an_argument_that_is_changed_meanwhile(cache: Cache) -> None:
    """Which call the items are of cannot be told: they are not stored."""

    @cache.cached(code="none")
    async def each(values: list[int]) -> AsyncIterator[int]:
        for value in values:
            yield value

    async def play() -> list[int]:
        values = [1, 2]
        found = []
        async for item in each(values):
            found.append(item)
            if len(values) < 4:
                values.append(9)
        return found

    assert finish(play()) == [1, 2, 9, 9]
    assert cache.stats().entries == 0


def test_cached_calls_inside_and_around(cache: Cache) -> None:
    """Streams inside of coroutines and the other way round; a generator may take items of itself."""
    begun = []

    @cache.cached(code="none")
    async def square(n: int) -> int:
        await asyncio.sleep(0)
        return n * n

    @cache.cached(code="none")
    async def squares(n: int) -> AsyncIterator[int]:
        begun.append(n)
        if n:
            async for item in squares(n - 1):
                yield item
        yield await square(n)

    @cache.cached(code="none")
    async def total(n: int) -> int:
        return sum([item async for item in squares(n)])

    async def play() -> None:
        assert await total(3) == 14
        assert await taken(squares(2)) == [0, 1, 4]

    finish(play())
    assert begun == [3, 2, 1, 0]
    assert cache.stats().entries == 4 + 4 + 1


def test_no_loop_that_is_known(cache: Cache) -> None:
    """Whoever drives it by hand gets the items, and they are stored; large ones without a thread."""

    @cache.cached(code="none")
    async def count(n: int, size: int) -> AsyncIterator[bytes]:
        for _ in range(n):
            yield bytes(size)

    for _ in range(2):
        for size in (1, 500_000):
            walk = taken(count(2, size))
            with pytest.raises(StopIteration) as end:
                walk.send(None)
            assert end.value.value == [bytes(size)] * 2
    assert cache.stats().entries == 2


def test_kinds_of_functions(cache: Cache) -> None:
    """Methods, class and static methods, and partial objects."""

    class Source:
        def __init__(self, start: int) -> None:
            self.start = start

        @cache.cached(code="none")
        async def here(self, n: int) -> AsyncIterator[int]:
            yield self.start + n

        @classmethod
        @cache.cached(code="none")
        async def of_class(cls, n: int) -> AsyncIterator[str]:
            yield f"{cls.__name__}{n}"

        @staticmethod
        @cache.cached(code="none")
        async def static(n: int) -> AsyncIterator[int]:
            yield n

    source = Source(10)
    for _ in range(2):
        for made, wanted in ((source.here(1), 11), (source.of_class(2), "Source2"), (source.static(3), 3)):
            assert finish(taken(made)) == [wanted]
    assert source.here.exists(1)
    assert not Source(11).here.exists(1)
    assert cache.stats().entries == 3


async def numbers(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


def test_a_pickled_one(tmp_path: Path) -> None:
    """It comes back as what it was, in the same directory."""
    made = Cache(tmp_path / "cache").cached(numbers)
    again = pickle.loads(pickle.dumps(made))
    assert finish(taken(made(3))) == finish(taken(again.get(3))) == [0, 1, 2]


@pytest.mark.parametrize("option", [{"store_if": bool}, {"stale": "1h", "ttl": "1s"}, {"exceptions": ValueError}])
def test_options_of_functions_with_one_result(cache: Cache, option: dict[str, Any]) -> None:
    """They are refused where it is decorated, by name."""
    with pytest.raises(ConfigError, match="not for asynchronous generator functions, and numbers is one"):
        cache.cached(**option)(numbers)


def test_a_cache_that_is_turned_off(tmp_path: Path) -> None:
    """Calls give the function's own generators."""
    made = Cache(tmp_path / "cache", max_size=0).cached(numbers)
    assert finish(taken(made(3))) == finish(taken(made.refresh(3))) == [0, 1, 2]
    assert not (tmp_path / "cache").exists()


def test_no_descriptors_are_left(cache: Cache) -> None:
    """Of streams that are closed early, dropped or taken to their end, with drafts and without."""
    runs = Runs(cache, blob)

    async def play() -> None:
        for n in range(30):
            items = runs.cached(20)
            for _ in range(n):
                await anext(items, None)
            if n % 2:
                await items.aclose()
        del items

    finish(play())
    before = count_descriptors()
    finish(play())
    gc.collect()
    assert count_descriptors() == before


PRODUCER = """
import asyncio, sys
from pcache import Cache
cache = Cache(sys.argv[1])
@cache.cached(code="none", version=1)
async def count(n):
    print("ran", flush=True)
    for i in range(n):
        await asyncio.sleep(0)
        yield bytes(50_000)
async def main():
    items = count(9)
    for i in range(4):
        print(i, len(await anext(items)), flush=True)
    sys.stdin.readline()
    print(len([item async for item in items]), flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("killed", [False, True])
def test_other_processes_do_not_wait(tmp_path: Path, killed: bool) -> None:
    """One process is half way: another computes for itself. Killed, it leaves nothing that is believed."""
    first = Talker(PRODUCER, tmp_path / "cache")
    assert first.hear() == "ran"
    for i in range(4):
        assert first.hear() == f"{i} 50000"
    ran = ["ran", *(f"{i} 50000" for i in range(4)), "5"]
    assert run(PRODUCER, tmp_path / "cache") == ran
    if killed:
        first.kill()
    else:
        assert first.finish() == ["5"]
    assert run(PRODUCER, tmp_path / "cache") == ran[not killed :]
    cache = Cache(tmp_path / "cache")
    assert (cache.verify().problems, cache.stats().entries) == ((), 1)


def test_other_functions_load_nothing_of_this(tmp_path: Path) -> None:
    """Generators load no module for event loops, and functions none for streams."""
    program = """
import sys
from pcache import Cache
cache = Cache(sys.argv[1])
@cache.cached
def f(n):
    yield n
print(list(f(1)), list(f(1)), [name for name in sys.modules if "task" in name and name.startswith("pcache")])
"""
    assert run(program, tmp_path / "cache") == ["[1] [1] []"]


def test_statistics(cache: Cache) -> None:
    """Hits and misses count once each, a consumer that computes beside another as a miss."""
    runs = Runs(cache)

    async def play() -> None:
        await asyncio.gather(taken(runs.cached(3)), taken(runs.cached(3)))
        await taken(runs.cached(3))

    finish(play())
    info = runs.cached.cache_info()
    assert (info.hits, info.misses, info.currsize) == (1, 2, 1)
    assert pcache.Cache(cache.location, signing_key=KEY).stats().entries == 1
