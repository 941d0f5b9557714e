"""What came out of a measurement: tables, aims of the summary, further targets, and which of them were missed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import duration, table, where_time_goes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness import Times

MET, MISSED, SKIPPED = "met", "**missed**", "skipped"
REFERENCES = ("bare", "xxh3", "without")  # contestants that are no caches: the limits, and computing anew
FASTEST_PEER = "the fastest peer"
SECONDS = "seconds"  # in place of a contestant: the limit is a time


def factor_of(factor: float) -> str:
    return f"{factor:.2f}x" if factor < 10 else f"{factor:,.0f}x"


@dataclass
class Check:
    """One target with what was measured."""

    target: str
    measured: str
    verdict: str


@dataclass
class Aim:
    """One line of the summary: a kind of work, what it takes each contestant, and what it should take.

    `seconds` are medians, by contestant; `bound` is what would have met the aim in this run. `excess` says how many
    times the allowed was measured; None: nothing could be compared. `profile` says where the time of a miss goes.
    """

    work: str
    seconds: dict[str, float]
    target: str
    measured: str
    bound: float | None
    excess: float | None
    profile: str = ""

    @property
    def is_met(self) -> bool:
        return self.excess is None or self.excess <= 1

    @property
    def verdict(self) -> str:
        if self.excess is None:
            return SKIPPED
        return MET if self.is_met else f"{MISSED} by {factor_of(self.excess)}"

    @property
    def fastest_peer(self) -> str | None:
        peers = [name for name in self.seconds if name not in (*REFERENCES, "pcache")]
        return min(peers, key=self.seconds.__getitem__, default=None)


@dataclass
class Limit:
    """What of an aim refers to one contestant: at most `factor` times as long as `to`, which is called `label`."""

    factor: float
    to: str
    label: str

    @property
    def target(self) -> str:
        if self.to == SECONDS:
            return f"at most {duration(self.factor)}"
        return f"as fast as {self.label}" if self.factor == 1 else f"at most {self.factor:g}x {self.label}"

    def is_known(self, times: Times) -> bool:
        return self.to == SECONDS or self.to in times.rounds

    def excess(self, times: Times, name: str) -> float:
        value = times.median(name) if self.to == SECONDS else times.ratio(name, self.to)[0]
        return value / self.factor

    def bound(self, times: Times) -> float:
        return self.factor * (1 if self.to == SECONDS else times.median(self.to))

    def measured(self, times: Times, name: str) -> str:
        if not self.is_known(times):
            return f"{self.label} is not installed"
        value = self.excess(times, name) * self.factor
        return duration(value) if self.to == SECONDS else f"{factor_of(value)} {self.label}"


@dataclass
class Section:
    """One kind of work: a table, targets, and what a reader has to know."""

    title: str
    note: str = ""
    head: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)

    def show(self, times: Times, labels: Mapping[str, str], base: str = "pcache") -> None:
        """Make the table of a race; `labels` says what each contestant does."""
        self.head = ("", "median", "fastest round", f"x {base}", "x of the fastest rounds")
        for name in times.rounds:
            median, fastest = times.ratio(name, base)
            figures = (duration(times.median(name)), duration(times.fastest(name)), f"{median:.2f}", f"{fastest:.2f}")
            self.rows.append((labels.get(name, name), *figures))

    def aim(
        self,
        work: str,
        times: Times,
        *limits: tuple[float, str],
        name: str = "pcache",
        peers: Sequence[str] = (),
        run: Callable[[], object] | None = None,
        words: Mapping[str, str] | None = None,
    ) -> None:
        """Expect `name` to keep all limits, each a factor and the contestant that it refers to, or a time and SECONDS.

        `peers` take part in the summary; `run` is profiled where a limit is not kept; `words` say what contestants are
        called in the target.
        """
        present = [peer for peer in peers if peer in times.rounds]
        said = words or {}
        wanted = []
        for factor, to in limits:
            label, other = said.get(to, to), to
            if to == FASTEST_PEER and present:
                other = min(present, key=times.median)
                label += f" ({other})"
            wanted.append(Limit(factor, other, label))
        known = [limit for limit in wanted if limit.is_known(times)]
        excess = max((limit.excess(times, name) for limit in known), default=None)
        seconds = {each: times.median(each) for each in (*REFERENCES, *present) if each in times.rounds}
        aim = Aim(
            work,
            seconds | {"pcache": times.median(name)},
            target=", ".join(limit.target for limit in wanted),
            measured=", ".join(limit.measured(times, name) for limit in wanted),
            bound=min((limit.bound(times) for limit in known), default=None),
            excess=excess,
        )
        if run is not None and not aim.is_met:
            aim.profile = where_time_goes(run)
        self.aims.append(aim)

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
        for aim in self.aims:
            parts.append(f"- **{aim.work}**: {aim.target}. Measured: {aim.measured}, {aim.verdict}.")
            if aim.profile:
                parts.append(f"  Where the time goes: {aim.profile}.")
        parts.extend(f"- {check.target}: {check.measured}, {check.verdict}" for check in self.checks)
        return "\n".join(parts) + "\n"
