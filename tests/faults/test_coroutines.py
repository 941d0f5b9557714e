"""Tasks that are cancelled at any moment, and processes full of tasks that are killed: once, and in nobody's way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.runtime.singleflight import flights
from tests.faults.hunting import LONG, rounds
from tests.support.processes import KEY, Talker, claims_below

Evidence = Callable[[str, str, int, int], None]
KEYS, TASKS = 4, 24
ran: Counter[int] = Counter()


async def work(n: int, size: int) -> list[object]:
    ran[n] += 1
    for _ in range(n % 3 + 1):
        await asyncio.sleep(0)
    return [n, "x" * size]


async def storm(cached: Any, chance: random.Random, first: int) -> tuple[int, int]:
    """Make calls in tasks, and cancel some while they go on; return how many were cancelled, and what went wrong."""
    sizes = {n: chance.choice((10, 10, 400_000)) for n in range(first, first + KEYS)}
    calls = [chance.randrange(first, first + KEYS) for _ in range(TASKS)]
    tasks = [asyncio.create_task(cached(n, sizes[n])) for n in calls]
    doomed = set(chance.sample(range(TASKS), TASKS // 2))
    for number in doomed:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        tasks[number].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled, wrong = 0, 0
    for number, (n, outcome) in enumerate(zip(calls, outcomes, strict=True)):
        if type(outcome) is asyncio.CancelledError:
            cancelled += 1
            wrong += number not in doomed
        else:
            wrong += outcome != [n, "x" * sizes[n]]
    return cancelled, wrong


def test_cancelled_at_any_moment(tmp_path: Path, evidence: Evidence) -> None:
    """Only who was cancelled is; all others get their results, of one run and one more for each cancellation."""
    ran.clear()
    chance, problems, trials = random.Random(7), 0, rounds(40, 4000)
    cached: Any = Cache(tmp_path / "cache", signing_key=KEY).cached(code="none")(work)
    for number in range(trials):
        first = number * KEYS
        cancelled, wrong = asyncio.run(storm(cached, chance, first))
        problems += wrong + bool(flights.all())
        problems += sum(ran[n] for n in range(first, first + KEYS)) > KEYS + cancelled
    problems += len(claims_below(tmp_path))
    evidence("once", f"{TASKS} tasks for {KEYS} results, half of them cancelled at any moment", trials, problems)
    assert problems == 0


async def blocks(n: int, size: int) -> AsyncIterator[list[object]]:
    for i in range(3):
        await asyncio.sleep(0)
        yield [n, i, "x" * size]


async def streams(cached: Any, chance: random.Random, first: int) -> tuple[int, int]:
    """Consume streams in tasks, and cancel some or leave early; return how many were cancelled, and what went wrong."""

    async def consume(n: int, most: int) -> list[object]:
        found: list[object] = []
        async with contextlib.aclosing(cached(n, sizes[n])) as items:
            while len(found) < most and (item := await anext(items, None)):
                found.append(item)
        return found

    sizes = {n: chance.choice((10, 10, 400_000)) for n in range(first, first + KEYS)}
    calls = [(chance.randrange(first, first + KEYS), chance.choice((1, 3, 9, 9))) for _ in range(TASKS)]
    tasks = [asyncio.create_task(consume(*call)) for call in calls]
    doomed = set(chance.sample(range(TASKS), TASKS // 2))
    for number in doomed:
        for _ in range(chance.randrange(9)):
            await asyncio.sleep(0)
        tasks[number].cancel()
    cancelled, wrong = 0, 0
    for number, outcome in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
        n, most = calls[number]
        if type(outcome) is asyncio.CancelledError:
            cancelled += 1
            wrong += number not in doomed
        else:
            wrong += outcome != [[n, i, "x" * sizes[n]] for i in range(min(most, 3))]
    return cancelled, wrong


def test_streams_that_are_cancelled_at_any_moment(tmp_path: Path, evidence: Evidence) -> None:
    """Only who was cancelled is; all others get the beginning of the right stream, and nothing is left behind."""
    chance, problems, trials = random.Random(8), 0, rounds(25, 2000)
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached: Any = cache.cached(code="none")(blocks)
    for number in range(trials):
        _, wrong = asyncio.run(streams(cached, chance, number * KEYS))
        problems += wrong + bool(flights.all())
    problems += len(claims_below(tmp_path)) + len(cache.verify().problems)
    evidence(
        "never wrong", f"{TASKS} consumers of {KEYS} streams, cancelled or stopped at any moment", trials, problems
    )
    assert problems == 0


MANY = """
import asyncio, threading
log, number, keys = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
@cache.cached
async def f(n):
    descriptor = os.open(f"{log}-{n}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, b".")
    os.close(descriptor)
    await asyncio.sleep(0.002)
    return [n] * 20
async def many(n):
    return await asyncio.gather(*(f(n) for _ in range(number))) == [[n] * 20] * number
def loop(barrier, right):
    for n in range(keys):
        barrier.wait()
        right.append(asyncio.run(many(n)))
say("ready")
hear()
barrier, right = threading.Barrier(2), []
threads = [threading.Thread(target=loop, args=(barrier, right)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(all(right), len(right))
"""


@pytest.mark.skipif(not LONG, reason="tests/runtime has two processes")
def test_a_thousand_tasks_in_four_processes(tmp_path: Path, evidence: Evidence) -> None:
    """A thousand tasks on two loops, in each of four processes, compute each result once."""
    keys, log = rounds(2, 20), tmp_path / "log"
    talkers = [Talker(MANY, tmp_path / "cache", log, 500, keys) for _ in range(4)]
    for talker in talkers:
        assert talker.hear() == "ready"
    for talker in talkers:
        talker.say()
    wrong = sum(talker.finish() != [f"True {2 * keys}"] for talker in talkers)
    more = sum(os.path.getsize(f"{log}-{n}") != 1 for n in range(keys))
    evidence("once", "a result that 1,000 tasks on two loops need, in each of 4 processes", keys, wrong + more)
    assert wrong + more == 0
    assert claims_below(tmp_path) == []


KILLED = """
import asyncio, random, signal, threading, time
log, seed, dies = sys.argv[2], int(sys.argv[3]), sys.argv[4] == "dies"
@cache.cached
async def f(n, size):
    await asyncio.sleep(0)
    return [n, "x" * size]
async def many():
    calls = [(n % 5, (n % 5) % 2 * 400_000) for n in range(20)]
    found = await asyncio.gather(*(f(*call) for call in calls))
    return found == [[n, "x" * size] for n, size in calls]
def kill():
    time.sleep(random.Random(seed).random() * 0.05)
    os.kill(os.getpid(), signal.SIGKILL)
f.key(1, 2)
say("ready")
hear()
if dies:
    threading.Thread(target=kill).start()
say(asyncio.run(many()))
if dies:
    time.sleep(60)
"""


def test_killed_with_its_tasks(tmp_path: Path, evidence: Evidence) -> None:
    """Of two processes full of tasks one is killed at any moment: the other one has all its results."""
    trials, failures = rounds(3, 100), 0
    for number in range(trials):
        racers = [Talker(KILLED, tmp_path / f"c{number}", "", number, way) for way in ("dies", "lives")]
        for racer in racers:
            assert racer.hear() == "ready"
        for racer in racers:
            racer.say()
        failures += racers[1].finish() != ["True"]
        racers[0].process.wait()
        racers[0].kill()
    evidence("never in the way", "a process killed with the tasks that others wait for", trials, failures)
    assert failures == 0
