"""Timing contestants against each other.

The speed of a machine changes by a factor of two from minute to minute, so nothing is compared across runs: contestants
take turns, round by round, and what counts is the median of the rounds' ratios. The ratio of the fastest rounds stands
beside it: where the two differ much, the run was disturbed.
"""

from __future__ import annotations

import cProfile
import gc
import os
import pstats
import statistics
import time
from typing import TYPE_CHECKING

from subjects import QUICK, SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


class Times:
    """Seconds per call of each contestant, one figure a round."""

    def __init__(self, rounds: Mapping[str, Sequence[float]]) -> None:
        self.rounds = rounds

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def fastest(self, name: str) -> float:
        return min(self.rounds[name])

    def ratio(self, name: str, to: str) -> tuple[float, float]:
        """The median of the rounds' ratios, and the ratio of the fastest rounds."""
        ratios = [a / b for a, b in zip(self.rounds[name], self.rounds[to], strict=True)]
        return statistics.median(ratios), self.fastest(name) / self.fastest(to)

    def over(self, base: str) -> Times:
        """What each contestant takes more than the median of `base`."""
        less = self.median(base)
        return Times({name: [t - less for t in times] for name, times in self.rounds.items() if name != base})

    def scaled(self, factor: float) -> Times:
        return Times({name: [t * factor for t in times] for name, times in self.rounds.items()})


def race(
    contestants: Mapping[str, Callable[[], object]],
    *,
    calls: int,
    rounds: int,
    warmups: int = 1,
    before: Mapping[str, Callable[[], object]] | None = None,
    after: Callable[[], object] | None = None,
) -> Times:
    """Let contestants, each of which makes `calls` calls, take turns; who begins changes from round to round.

    What `before` has for a contestant prepares each of its turns, `after` cleans up behind everybody: neither is timed.
    """
    names = list(contestants)
    times: dict[str, list[float]] = {name: [] for name in names}
    prepare = before or {}
    if QUICK:
        rounds, warmups = min(rounds, 2), min(warmups, 1)
    for number in range(-warmups, rounds):
        gc.collect()
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            run = contestants[name]
            if name in prepare:
                prepare[name]()
            started = time.perf_counter()
            run()
            elapsed = time.perf_counter() - started
            if number >= 0:
                times[name].append(elapsed / calls)
            if after is not None:
                after()
    return Times(times)


def settle(cached: Any) -> None:
    """Make the entries ten seconds old: file times of some systems do not tell young files from others."""
    for item in cached._flow.store.scan():
        os.utime(item.path, (time.time() - 10,) * 2)


def duration(seconds: float) -> str:
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms")):
        if abs(seconds) < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def where_time_goes(run: Callable[[], object], share: float = 0.06) -> str:
    """Name the functions in which `run` spends the most time of its own, as cProfile sees the calling thread."""
    profile = cProfile.Profile()
    deadline = time.perf_counter() + 0.2 / SCALE
    profile.runcall(run)
    while time.perf_counter() < deadline:
        profile.runcall(run)
    stats: dict[tuple[str, int, str], tuple[Any, ...]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in stats.values())
    found = sorted(((entry[2] / total, place) for place, entry in stats.items()), reverse=True)[:5]
    return ", ".join(f"{spell(place)} {100 * part:.0f} %" for part, place in found if part >= share)


def spell(place: tuple[str, int, str]) -> str:
    path, _, function = place
    if path == "~":  # written in C
        return f"`{function.strip('<>').removeprefix('built-in method ').replace(chr(39), '').split(' at 0x')[0]}`"
    return f"`{os.path.basename(path).removesuffix('.py')}.{function}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
