"""Timing contestants against each other, and saying what came out.

The speed of a machine changes by a factor of two from minute to minute, so nothing is compared across runs: contestants
take turns, round by round, and what counts is the median of the rounds' ratios. The ratio of the fastest rounds stands
beside it: where the two differ much, the run was disturbed.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

MET, MISSED, SKIPPED = "met", "**missed**", "skipped"


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


def race(
    contestants: Mapping[str, Callable[[], object]],
    *,
    calls: int,
    rounds: int,
    warmups: int = 1,
    after: Callable[[], object] | None = None,
) -> Times:
    """Let contestants, each of which makes `calls` calls, take turns; who begins changes from round to round.

    `after` cleans up behind each of them and is not timed.
    """
    names = list(contestants)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmups, rounds):
        gc.collect()
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            run = contestants[name]
            started = time.perf_counter()
            run()
            elapsed = time.perf_counter() - started
            if number >= 0:
                times[name].append(elapsed / calls)
            if after is not None:
                after()
    return Times(times)


def settle(cached: Any) -> None:
    """Make the entries ten seconds old: those written less than two seconds ago are read anew at each hit."""
    for item in cached._flow.store.scan():
        os.utime(item.path, (time.time() - 10,) * 2)


def duration(seconds: float) -> str:
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms")):
        if abs(seconds) < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


@dataclass
class Check:
    """One target with what was measured."""

    target: str
    measured: str
    verdict: str


@dataclass
class Section:
    """One kind of work: a table, targets, and what a reader has to know."""

    title: str
    note: str = ""
    head: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def show(self, times: Times, labels: Mapping[str, str], base: str = "pcache") -> None:
        """Make the table of a race; `labels` says what each contestant does."""
        self.head = ("", "median", "fastest round", f"x {base}", "x of the fastest rounds")
        for name in times.rounds:
            median, fastest = times.ratio(name, base)
            figures = (duration(times.median(name)), duration(times.fastest(name)), f"{median:.2f}", f"{fastest:.2f}")
            self.rows.append((labels.get(name, name), *figures))

    def at_most(self, limit: float, times: Times, what: str, name: str = "pcache", to: str = "bare") -> None:
        """Expect `name` to take at most `limit` times as long as `to`."""
        if to not in times.rounds:
            self.checks.append(Check(what, f"{to} is not installed", SKIPPED))
            return
        median, fastest = times.ratio(name, to)
        self.check(what, f"{median:.2f}x (fastest rounds: {fastest:.2f}x)", median <= limit)

    def at_least(self, factor: float, times: Times, what: str, than: str, name: str = "pcache") -> None:
        """Expect `name` to be at least `factor` times as fast as `than`."""
        if than not in times.rounds:
            self.checks.append(Check(what, f"{than} is not installed", SKIPPED))
            return
        median, fastest = times.ratio(than, name)
        self.check(what, f"{median:.2f}x (fastest rounds: {fastest:.2f}x)", median >= factor)

    def no_slower_than_peers(self, times: Times, peers: Sequence[str], name: str = "pcache") -> None:
        """Expect `name` to be as fast as the fastest of the peers that took part."""
        present = [peer for peer in peers if peer in times.rounds]
        if not present:
            self.checks.append(Check("at least as fast as the fastest peer", "no peer is installed", SKIPPED))
            return
        best = min(present, key=times.median)
        self.at_least(1, times, f"at least as fast as the fastest peer ({best})", than=best, name=name)

    def check(self, target: str, measured: str, met: bool) -> None:
        self.checks.append(Check(target, measured, MET if met else MISSED))

    def markdown(self) -> str:
        parts = [f"## {self.title}\n"]
        if self.note:
            parts.append(self.note + "\n")
        if self.rows:
            parts.append(table(self.head, self.rows))
        parts.extend(f"- {check.target}: {check.measured}, {check.verdict}" for check in self.checks)
        return "\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
