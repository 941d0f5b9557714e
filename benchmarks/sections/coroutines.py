"""Coroutine functions: what a hit takes, and for how long the event loop is held up."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import subjects
from harness import duration, race, settle
from verdicts import Section

from sections.children import spawn
from sections.contestants import ARGUMENTS, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MORE = 3e-6  # seconds by which a hit that is awaited may take longer
STALL = 5e-3
HELD = 10.0 / subjects.SCALE  # seconds for which another process holds the claim
ROUNDS = 1 if subjects.QUICK else 7


async def awaited(n: int) -> dict[str, Any]:
    return subjects.small(n)


async def array(n: int) -> Any:
    return subjects.random_array()


def coroutine_hit(folder: str) -> Section:
    """Hit of a coroutine function"""
    make = subjects.pcache(folder_of(folder, "pcache"))
    coroutine, function = make(awaited), make(subjects.small)
    arguments = range(ARGUMENTS)

    async def hits() -> None:
        for n in arguments:
            await coroutine(n)

    async def plain() -> None:
        for n in arguments:
            await awaited(n)

    with asyncio.Runner() as runner:
        runner.run(hits())
        for n in arguments:
            function(n)
        settle(coroutine)
        runs: dict[str, Callable[[], object]] = {
            "pcache": lambda: runner.run(hits()),
            "function": lambda: [function(n) for n in arguments],
            "without": lambda: runner.run(plain()),
        }
        times = race(runs, calls=ARGUMENTS, rounds=101, warmups=5)
    section = Section(
        coroutine_hit.__doc__ or "", f"{ARGUMENTS} arguments in turn, awaited in one task; the small result of above."
    )
    labels = {
        "pcache": "await, hit",
        "function": "the same function without `async`, hit",
        "without": "await, uncached",
    }
    section.show(times, labels)
    more = statistics.median(a - b for a, b in zip(times.rounds["pcache"], times.rounds["function"], strict=True))
    section.check(f"at most {duration(MORE)} more than a hit of a function", duration(more), more <= MORE)
    return section


def loop_stalls(folder: str) -> Section:
    """How long an event loop is held up"""
    make = subjects.pcache(folder_of(folder, "pcache"))
    cached, numbers = make(array), itertools.count()

    def store() -> Coroutine[Any, Any, Any]:
        return cached(next(numbers))

    def load() -> Coroutine[Any, Any, Any]:
        again = subjects.pcache(folder_of(folder, "pcache"))(array)
        return again(0)

    works: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "nothing": lambda: asyncio.sleep(0.05),
        f"storing {subjects.ARRAY_BYTES // 10**6} MB": store,
        f"loading {subjects.ARRAY_BYTES // 10**6} MB for the first time": load,
    }
    section = Section(
        loop_stalls.__doc__ or "",
        "A task that sleeps for a millisecond at a time beside one call: by how much it is late at most, and what the"
        f" loop's thread took of a processor meanwhile. {ROUNDS} rounds; the row of nothing is the machine's own. The"
        f" other process holds the claim for {HELD:g} s.",
        ("while the call is", "late at most, median", "best round", "processor time of the loop's thread"),
    )
    for name, work in works.items():
        found = [asyncio.run(longest_stall(work())) for _ in range(ROUNDS)]
        report(section, name, found)
    report(section, "waiting for another process", [stall_of_waiting(folder, make(held))])
    return section


class Stall(NamedTuple):
    """By how many seconds a task was late at most, and what its thread took at most of a processor meanwhile."""

    late: float
    busy: float


def report(section: Section, name: str, found: list[Stall]) -> None:
    late, best = statistics.median(stall.late for stall in found), min(stall.late for stall in found)
    busy = statistics.median(stall.busy for stall in found)
    section.rows.append((name, duration(late), duration(best), duration(busy)))
    if name != "nothing":
        section.check(f"{name}: at most {duration(STALL)}", duration(late), late <= STALL)


async def longest_stall(work: Coroutine[Any, Any, Any]) -> Stall:
    """The longest stalls of a task that sleeps for a millisecond at a time, until some work was done."""
    task, late, busy = asyncio.ensure_future(work), 0.0, 0.0
    while not task.done():
        started, ran = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        late = max(late, time.perf_counter() - started - 0.001)
        busy = max(busy, time.thread_time() - ran)
    await task
    return Stall(late, busy)


async def held(n: int) -> int:
    await asyncio.sleep(HELD)
    return n


def stall_of_waiting(folder: str, cached: Callable[[int], Coroutine[Any, Any, int]]) -> Stall:
    """The longest stall while a call waits for what another process computes."""
    code = f"from sections import coroutines; coroutines.hold({folder_of(folder, 'pcache')!r})"
    with spawn(folder, code, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return asyncio.run(longest_stall(cached(1)))


def hold(folder: str) -> None:
    """Compute what the other process waits for, and say when that has begun."""

    async def both() -> None:
        task = asyncio.ensure_future(subjects.pcache(folder)(held)(1))
        await asyncio.sleep(HELD / 10)
        print("computing", flush=True)
        await task

    asyncio.run(both())
