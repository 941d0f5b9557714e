"""Cached coroutine functions under trio, and of trio and asyncio at once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.runtime import resting, tasks
from pcache.runtime.singleflight import flights
from tests.support.processes import KEY, claims_below

trio: Any = pytest.importorskip("trio")

ran: Counter[int] = Counter()
doors: dict[int, Any] = {}  # where a computation waits, while there is one


async def waits(n: int) -> list[int]:
    ran[n] += 1
    if n in doors:
        await doors[n].wait()
    return [n]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    ran.clear(), doors.clear()
    yield
    assert flights.all() == []


@pytest.fixture
def cached(tmp_path: Path) -> Any:
    return Cache(tmp_path / "cache", signing_key=KEY).cached(code="none")(waits)


async def many(cached: Any, n: int, count: int) -> list[Any]:
    """The results of calls in so many tasks."""
    found: list[Any] = []

    async def call() -> None:
        found.append(await cached(n))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(call)
    return found


def test_ten_tasks_one_run(cached: Any) -> None:
    """Tasks of trio compute once, and hit afterwards."""
    doors[1] = trio.Event()

    async def main() -> list[Any]:
        async def opener() -> None:
            while not flights.all() or len(flights.all()[0].bells) < 9:
                await trio.lowlevel.checkpoint()
            doors[1].set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(opener)
            return await many(cached, 1, 10)

    assert trio.run(main) == [[1]] * 10
    assert ran == {1: 1}
    assert trio.run(many, cached, 1, 3) == [[1]] * 3
    assert ran == {1: 1}


def test_a_cancelled_owner(cached: Any, tmp_path: Path) -> None:
    """Another task takes over; a nursery inside of the function does not hide that it was cancelled."""

    async def main() -> list[Any]:
        doors[1] = trio.Event()
        found: list[Any] = []

        async def own(scope: Any) -> None:
            with scope:
                await cached(1)

        async def call() -> None:
            found.append(await cached(1))

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(own, scope)
            while not flights.all():
                await trio.lowlevel.checkpoint()
            for _ in range(3):
                nursery.start_soon(call)
            while len(flights.all()[0].bells) < 3:
                await trio.lowlevel.checkpoint()
            del doors[1]
            scope.cancel()
        return found

    assert trio.run(main) == [[1]] * 3
    assert ran == {1: 2}
    assert claims_below(tmp_path) == []


def test_all_cancelled(cached: Any, tmp_path: Path) -> None:
    """The claim is gone, and nothing is stored."""
    doors[1] = trio.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(many, cached, 1, 3)
            while not flights.all() or len(flights.all()[0].bells) < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert claims_below(tmp_path) == []

    trio.run(main)
    assert not cached.exists(1)


class Slow:
    """A result whose pickling waits until it may go on."""

    begun, may_end = threading.Event(), threading.Event()

    def __reduce__(self) -> Any:
        Slow.begun.set()
        assert Slow.may_end.wait(30)
        return Slow, ()


def test_what_is_computed_is_stored(tmp_path: Path) -> None:
    """A task that is cancelled while its result is written ends when it is, and is cancelled then."""
    Slow.begun.clear(), Slow.may_end.clear()

    @Cache(tmp_path / "cache", signing_key=KEY).cached(code="none")
    async def write() -> Any:
        return Slow()

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                while not Slow.begun.is_set():
                    await trio.sleep(0)
                nursery.cancel_scope.cancel()
                Slow.may_end.set()
        assert not scope.cancelled_caught

    trio.run(main)
    assert write.exists()


def test_trio_and_asyncio(cached: Any) -> None:
    """A task of trio and one of asyncio, each with a loop in a thread of its own, compute once."""
    doors[1] = trio.Event()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(cached(1))))

    async def main() -> list[Any]:
        async def opener() -> None:
            while not flights.all():
                await trio.lowlevel.checkpoint()
            thread.start()
            while not flights.all()[0].bells:
                await trio.sleep(0)
            doors[1].set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(opener)
            return await many(cached, 1, 1)

    assert trio.run(main) == [[1]]
    thread.join()
    assert found == [[1]]
    assert ran == {1: 1}


def test_waiting_for_a_lock_of_trio(cached: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computation that rests in a lock of a task which waits for it: that task computes for itself."""
    monkeypatch.setattr(resting, "PATIENCE", 0.0)
    monkeypatch.setattr(tasks, "LOOK", 0.01)

    @Cache(tmp_path / "other", signing_key=KEY).cached(code="none", ignore=["lock"])
    async def locked(n: int, lock: Any) -> int:
        ran[n] += 1
        if ran[n] == 1:
            async with lock:
                pass
        return n

    async def main() -> None:
        lock = trio.Lock()
        async with trio.open_nursery() as nursery, lock:
            nursery.start_soon(locked, 5, lock)
            while not flights.all():
                await trio.lowlevel.checkpoint()
            assert await locked(5, lock) == 5

    trio.run(main)
    assert ran == {5: 2}
