"""Hits of generator functions: items one after the other, and the first one of many."""

from __future__ import annotations

import pickle
from collections import deque
from typing import TYPE_CHECKING

import subjects
from harness import duration, race
from verdicts import Section

from sections.contestants import LABELS, caches

if TYPE_CHECKING:
    from collections.abc import Callable


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
