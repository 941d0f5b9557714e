"""Whom cached coroutine functions wait for: tasks, threads and processes at once, in circles, and large contents."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pcache import Cache
from pcache.runtime import deadlock, resting, tasks
from pcache.runtime.singleflight import flights
from tests.support.processes import KEY, Talker, claims_below, run

ran: Counter[Any] = Counter()
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    ran.clear()
    yield
    assert flights.all() == []
    assert not tasks._working


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


# Recursion and circles


def test_children_that_need_their_parent(cache: Cache) -> None:
    """Tasks inside of a computation that need its result compute it, as a recursive call does."""

    @cache.cached(code="none", ignore=["depth"])
    async def parent(n: int, depth: list[int]) -> int:
        ran[n] += 1
        depth.append(n)
        if len(depth) == 1:
            assert await asyncio.gather(parent(n, depth), parent(n, depth)) == [n, n]
        return n

    assert asyncio.run(parent(1, [])) == 1
    assert ran == {1: 3}
    assert parent.exists(1, [])


def test_children_that_need_the_same(cache: Cache) -> None:
    """Tasks inside of a computation that need another result compute it once."""

    @cache.cached(code="none")
    async def child(n: int) -> int:
        ran["child"] += 1
        await asyncio.sleep(0)
        return n

    @cache.cached(code="none")
    async def parent(n: int) -> int:
        ran["parent"] += 1
        return sum(await asyncio.gather(*(child(n) for _ in range(5))))

    async def both() -> list[int]:
        return await asyncio.gather(parent(2), child(2))

    assert asyncio.run(both()) == [10, 2]
    assert ran == {"parent": 1, "child": 1}


def test_two_that_need_each_other(cache: Cache) -> None:
    """Where A waits for B and B for A, one computes for itself."""
    inside: dict[int, asyncio.Event] = {}

    @cache.cached(code="none", ignore=["goes_on"])
    async def one(n: int, goes_on: bool) -> int:
        ran[n] += 1
        inside[n].set()
        if goes_on:
            await inside[1 - n].wait()
            return await one(1 - n, False)
        return 7

    async def both() -> list[int]:
        inside.update({0: asyncio.Event(), 1: asyncio.Event()})
        return await asyncio.gather(one(0, True), one(1, True))

    assert asyncio.run(both()) == [7, 7]
    assert 3 <= sum(ran.values()) <= 4


def test_waiting_in_a_queue_for_a_lock(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computation that rests in a lock of tasks which wait for it: one of them computes for itself."""
    monkeypatch.setattr(resting, "PATIENCE", 0.0)
    monkeypatch.setattr(tasks, "LOOK", 0.01)

    @cache.cached(code="none", ignore=["lock"])
    async def locked(n: int, lock: Any) -> int:
        ran[n] += 1
        if ran[n] == 1:
            begun.set()
            async with lock:
                pass
        return n

    async def main() -> list[int]:
        begun.clear()
        lock = asyncio.Lock()

        async def holder() -> int:
            async with lock:
                first.set()
                await begun.wait()
                return await locked(1, lock)

        first = asyncio.Event()
        holding = asyncio.create_task(holder())
        await first.wait()
        return await asyncio.gather(locked(1, lock), holding)

    begun = asyncio.Event()
    assert asyncio.run(main()) == [1, 1]
    assert ran == {1: 2}


def test_a_task_in_a_context_of_its_own(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computation that waits for a task which does not know of it, and needs its result."""
    monkeypatch.setattr(resting, "PATIENCE", 0.0)
    monkeypatch.setattr(tasks, "LOOK", 0.01)

    @cache.cached(code="none", ignore=["depth"])
    async def alone(n: int, depth: list[int]) -> int:
        depth.append(n)
        if len(depth) == 1:
            loop = asyncio.get_running_loop()
            return await loop.create_task(alone(n, depth), context=contextvars.Context())
        return n

    assert asyncio.run(alone(1, [])) == 1


def test_a_task_that_reads_is_not_at_rest(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it goes on waiting, however long its loop has nothing to do."""
    monkeypatch.setattr(resting, "PATIENCE", 0.0)
    monkeypatch.setattr(tasks, "LOOK", 0.001)
    looks: list[bool] = []
    is_endless = deadlock.Wait.is_endless

    def look(wait: deadlock.Wait) -> bool:
        looks.append(is_endless(wait))
        return looks[-1]

    monkeypatch.setattr(deadlock.Wait, "is_endless", look)

    async def main() -> None:
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours)
        )

        @cache.cached(code="none")
        async def read() -> bytes:
            ran["read"] += 1
            return await reader.read(1)

        both = asyncio.gather(read(), read())
        while len(looks) < 5:
            await asyncio.sleep(0)
        os.write(theirs, b"x")
        assert await both == [b"x", b"x"]
        transport.close()
        os.close(theirs)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ran == {"read": 1}
    assert not any(looks)


def test_a_call_that_blocks_a_loop(cache: Cache) -> None:
    """A call that blocks its thread does not wait for what waits for a task of that thread."""
    begun = threading.Event()

    @cache.cached(code="none")
    async def slow() -> int:
        ran["slow"] += 1
        if ran["slow"] == 1:
            await gates["slow"].wait()
        return 1

    @cache.cached(code="none")
    def blocking() -> int:
        ran["blocking"] += 1
        if ran["blocking"] == 1:
            begun.set()
            return asyncio.run(slow()) + 1
        return 2

    async def main() -> list[int]:
        gates["slow"] = asyncio.Event()
        task = asyncio.create_task(slow())
        while not flights.all():
            await asyncio.sleep(0)
        thread = asyncio.create_task(asyncio.to_thread(blocking))
        await asyncio.sleep(0)
        assert begun.wait(30)
        other = flights.get(cache.flow.store.place(slow._calls.of((), {}).address.name))
        assert other is not None
        while not other.awaits and len(other.bells) == 0:
            pass  # until the thread waits for the task
        found = blocking()  # waits for the thread, which waits for `task`
        gates["slow"].set()
        return [found, await task, await thread]

    assert asyncio.run(main()) == [2, 1, 2]
    assert sum(ran.values()) >= 3  # either of them computes for itself


# Threads, loops, processes


def test_two_loops(cache: Cache) -> None:
    """Tasks of two loops in two threads compute once; the others are woken through their own loops."""
    both, together = threading.Barrier(2), 200

    @cache.cached(code="none")
    async def once(n: int) -> int:
        ran[n] += 1
        await asyncio.sleep(0)
        return n

    async def many() -> list[int]:
        both.wait(30)
        return await asyncio.gather(*(once(1) for _ in range(together)))

    with ThreadPoolExecutor(2) as threads:
        for results in threads.map(lambda _: asyncio.run(many()), range(2)):
            assert results == [1] * together
    assert ran == {1: 1}


OTHER = """
import asyncio
@cache.cached(code="none")
async def shared(n):
    say("computing")
    await asyncio.to_thread(hear)
    return 2 * n
asyncio.run(shared(5))
say("done")
"""


async def shared(n: int) -> int:
    ran[n] += 1
    return 2 * n


shared.__module__, shared.__qualname__ = "__main__", "shared"


def test_another_process_computes(tmp_path: Path, cache: Cache) -> None:
    """Its result is waited for, while the tasks of the loop go on: one of them lets it end."""
    other = Talker(OTHER, tmp_path / "cache")
    assert other.hear() == "computing"
    cached: Any = cache.cached(code="none")(shared)

    async def main() -> list[int]:
        calls = [asyncio.create_task(cached(5)) for _ in range(3)]
        for _ in range(50):
            await asyncio.sleep(0.001)
        other.say()
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [10] * 3
    assert other.finish() == ["done"]
    assert ran == {}


def test_another_process_is_killed(tmp_path: Path, cache: Cache) -> None:
    """A task takes over at once; the others wait for it."""
    other = Talker(OTHER, tmp_path / "cache")
    assert other.hear() == "computing"
    cached: Any = cache.cached(code="none")(shared)

    async def main() -> list[int]:
        calls = [asyncio.create_task(cached(5)) for _ in range(3)]
        while not flights.all():
            await asyncio.sleep(0)
        other.kill()
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [10] * 3
    assert ran == {5: 1}
    assert claims_below(tmp_path) == []


def test_a_cancelled_wait_for_another_process(tmp_path: Path, cache: Cache) -> None:
    """Who waits for the claim of another process can be cancelled; who waits for that task goes on in its place."""
    other = Talker(OTHER, tmp_path / "cache")
    assert other.hear() == "computing"
    cached: Any = cache.cached(code="none")(shared)

    async def main() -> int:
        leader = asyncio.create_task(cached(5))
        while not flights.all():
            await asyncio.sleep(0)
        waiter = asyncio.create_task(cached(5))
        while not flights.all()[0].bells:
            await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        other.say()
        return await waiter

    assert asyncio.run(main()) == 10
    assert other.finish() == ["done"]
    assert ran == {}


MANY = """
import asyncio, threading
log = sys.argv[2]
@cache.cached
async def f(n):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, b".")
    os.close(descriptor)
    await asyncio.sleep(0.01)
    return n
async def many():
    return sum(await asyncio.gather(*(f(1) for _ in range(500))))
say("ready")
hear()
threads = [threading.Thread(target=lambda: found.append(asyncio.run(many()))) for _ in range(2)]
found = []
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(found)
"""


def test_a_thousand_tasks(tmp_path: Path) -> None:
    """A thousand tasks on two loops, in each of two processes: one run."""
    log = tmp_path / "log"
    talkers = [Talker(MANY, tmp_path / "cache", log) for _ in range(2)]
    for talker in talkers:
        assert talker.hear() == "ready"
    for talker in talkers:
        talker.say()
    for talker in talkers:
        assert talker.finish() == ["[500, 500]"]
    assert log.read_bytes() == b"."
    assert claims_below(tmp_path) == []


# Large contents


class Told:
    """An object that tells which threads pickle, unpickle and hash it."""

    threads: ClassVar[set[tuple[str, int]]] = set()

    def __init__(self, what: str = "read") -> None:
        Told.threads.add((what, threading.get_ident()))

    def __reduce__(self) -> Any:
        Told.threads.add(("write", threading.get_ident()))
        return Told, ("read",)

    def __pcache_key__(self) -> str:
        Told.threads.add(("hash", threading.get_ident()))
        return "told"


def test_large_contents_are_work_of_threads(cache: Cache) -> None:
    """Hashing a large argument, writing a large result and reading it again happen in other threads."""

    @cache.cached(code="none")
    async def large(told: Any, text: str) -> Any:
        return [text, Told("made")]

    for _ in range(2):
        Told.threads.clear()
        result = asyncio.run(large(Told("argument"), "x" * 2_000_000))
        assert len(result[0]) == 2_000_000
        here = {what for what, thread in Told.threads if thread == threading.get_ident()}
        assert here <= {"argument", "made"}
    assert {what for what, _ in Told.threads} == {"argument", "hash", "read"}


def test_where_there_are_no_threads(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no more threads, the work is done at once."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    @cache.cached(code="none")
    async def large(n: int) -> Any:
        return bytes(n)

    monkeypatch.setattr(tasks, "start_new_thread", refuse)
    assert [len(asyncio.run(large(1_000_000))) for _ in range(2)] == [1_000_000] * 2
    assert large.cache_info()[:2] == (1, 1)


STRICT = """
import asyncio, gc, warnings
warnings.simplefilter("error")
@cache.cached
async def f(n, text):
    await asyncio.sleep(0)
    return [n, text]
async def main():
    for text in ("small", "x" * 1_000_000):
        calls = [asyncio.create_task(f(n % 3, text)) for n in range(9)]
        calls[0].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*(f(n % 3, text) for n in range(9)))
asyncio.run(main(), debug=True)
gc.collect()
say("done")
"""


def test_nothing_to_warn_of(tmp_path: Path) -> None:
    """In the debug mode of asyncio, with warnings as errors, nothing is said."""
    talker = Talker("sys.unraisablehook = lambda failed: say(failed)\n" + STRICT, tmp_path / "cache")
    assert talker.finish() == ["done"]


def test_nothing_is_kept_of_a_call(cache: Cache) -> None:
    """Once a call is over nothing keeps its arguments alive, cancelled or not."""

    class Held:
        def __pcache_key__(self) -> str:
            return "held"

    @cache.cached(code="none")
    async def hold(held: Any) -> int:
        await asyncio.sleep(0)
        return 1

    async def main() -> None:
        for is_cancelled in (True, False):
            task = asyncio.create_task(hold(Held()))
            await asyncio.sleep(0)
            if is_cancelled:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Held]


def test_a_child_process_goes_on_alone(tmp_path: Path) -> None:
    """A child that is forked while a task computes does not wait for that task, which it does not have."""
    script = """
import asyncio, warnings
warnings.simplefilter("ignore")
@cache.cached(code="none")
async def f(n):
    if os.getpid() == parent:
        child = os.fork()
        if not child:
            say(asyncio.Runner is not None, f.exists(n))
            os._exit(0)
        os.waitpid(child, 0)
    await asyncio.sleep(0)
    return n
parent = os.getpid()
say(asyncio.run(f(1)), f.exists(1))
"""
    assert run(script, tmp_path / "cache") == ["True False", "1 True"]


def test_who_comes_when_the_code_was_just_read(cache: Cache) -> None:
    """A thread of another loop may have found out which code runs since a task looked whether that is to be done."""
    cached: Any = cache.cached(code="none")(shared)
    assert asyncio.run(cached(4)) == 8
    before = cached._calls.version
    asyncio.run(cached._reading.end(tasks.Tasks()))
    assert cached._calls.version is before
