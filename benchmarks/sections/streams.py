"""Hits of generator functions: items one after the other, and the first one of many; awaited as well."""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any

import subjects
from harness import duration, race
from verdicts import Section

from sections.contestants import LABELS, caches, folder_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def stream(folder: str) -> Section:
    """Generator, 200,000 small integers"""
    count = subjects.STREAM
    cached = caches(["pcache"], folder, subjects.numbers)["pcache"]
    deque(cached(count), maxlen=0)
    pickles = [pickle.dumps(n, 5) for n in range(count)]
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: deque(map(pickle.loads, pickles), maxlen=0),
        "pcache": lambda: deque(cached(count), maxlen=0),
    }
    times = race(runs, calls=count, rounds=11, warmups=1)
    first = race({"first": lambda: next(cached(count))}, calls=1, rounds=51, warmups=2)
    section = Section(stream.__doc__ or "", "Time for each item of a hit. Bare: `pickle.loads` of each, in memory.")
    section.show(times, LABELS | {"bare": "bare `pickle.loads`"})
    median = times.median("pcache")
    section.check("at least 1,000,000 items a second", f"{1 / median:,.0f}", median <= 1e-6)
    median, fastest = first.median("first"), first.fastest("first")
    section.check("first item of a hit in less than 1 ms", f"{duration(median)} ({duration(fastest)})", median < 1e-3)
    return section


async def _drained(items: AsyncIterator[object]) -> None:
    async for _ in items:
        pass


def awaited_stream(folder: str) -> Section:
    """Asynchronous generator, 200,000 small integers"""
    count = subjects.STREAM
    cached: Any = subjects.pcache(folder_of(folder, "pcache"))(subjects.numbers_awaited)
    with asyncio.Runner() as runner:
        runner.run(_drained(cached(count)))
        runs: dict[str, Callable[[], object]] = {
            "pcache": lambda: runner.run(_drained(cached(count))),
            "uncached": lambda: runner.run(_drained(subjects.numbers_awaited(count))),
        }
        times = race(runs, calls=count, rounds=11, warmups=1)
    section = Section(awaited_stream.__doc__ or "", "Time for each item of a hit, and of the function without a cache.")
    section.show(times, LABELS | {"uncached": "the function itself, which does nothing"})
    median = times.median("pcache")
    section.check("at least 1,000,000 items a second", f"{1 / median:,.0f}", median <= 1e-6)
    return section
