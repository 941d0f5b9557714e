"""Many calls at once: hits of `f.map` and of a batch function, and what a long map keeps in memory."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import subjects
from harness import race, settle
from verdicts import Section

from sections.children import in_child
from sections.contestants import ARGUMENTS, LABELS, caches, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 100_000 // subjects.SCALE
LONG = 1_000_000 // subjects.SCALE
LABELLED = LABELS | {
    "pcache": "`f(n)`, one call after the other",
    "map": "`f.map(numbers)`",
    "batch": "a batch function",
}


def many(numbers: list[int]) -> list[dict[str, Any]]:
    return [subjects.small(n) for n in numbers]


def map_hits(folder: str) -> Section:
    """Hits of many calls at once"""
    from pcache import Cache  # late, as everywhere in benchmarks

    cached: Any = caches(["pcache"], folder, subjects.small)["pcache"]
    batch = Cache(folder_of(folder, "batch")).batch(over="numbers")(many)
    numbers = list(itertools.islice(itertools.cycle(range(ARGUMENTS)), CALLS))
    deque(map(cached, range(ARGUMENTS)), maxlen=0)
    batch(list(range(ARGUMENTS)))
    settle(cached)
    runs: dict[str, Callable[[], object]] = {
        "pcache": lambda: deque(map(cached, numbers), maxlen=0),
        "map": lambda: deque(cached.map(numbers), maxlen=0),
        "batch": lambda: [batch(numbers[at : at + ARGUMENTS]) for at in range(0, CALLS, ARGUMENTS)],
    }
    times = race(runs, calls=CALLS, rounds=5, warmups=1)
    text = f"{CALLS:,} hits on {ARGUMENTS} arguments in turn, whose results are those of above. The batch function gets"
    section = Section(map_hits.__doc__ or "", f"{text} {ARGUMENTS} items at a time.")
    section.show(times, LABELLED)
    section.at_most(1.3, times, "map: at most 1.3x single hits", name="map", to="pcache")
    return section


LONG_MAP = """
import resource
from collections import deque
from itertools import cycle, islice
import subjects
cached = subjects.pcache({folder!r})(subjects.small)
deque(cached.map(range({arguments})), maxlen=0)
deque(cached.map(islice(cycle(range({arguments})), 10_000)), maxlen=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
deque(cached.map(islice(cycle(range({arguments})), {count})), maxlen=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def long_map(folder: str) -> Section:
    """Memory of a long map"""
    code = LONG_MAP.format(folder=folder_of(folder, "pcache"), arguments=ARGUMENTS, count=LONG)
    more = int(in_child(folder, code)) * 1024
    section = Section(long_map.__doc__ or "", f"A map over {LONG:,} calls, of an iterator, in a process of its own.")
    section.check("at most 5 MB more than after 10,000 calls", f"{more / 1e6:.1f} MB", more <= 5e6)
    return section
