"""Compare rules for what is compressed: seconds computed, packed and unpacked, bytes kept, and how long hits take.

    python benchmarks/compression_rules.py           # minutes; rewrites the figures of docs/compression.md
    python benchmarks/compression_rules.py --quick   # seconds; shorter traces, writes nothing

Traces, eviction and what entries consist of are the same for each rule. The rule that is tried is that of
`pcache.entry.compression`, and times are constants, so that the figures are the same on every machine.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from eviction_policies import BEGINNING, MOST_USES, REFUSED, REMAIN, Policy, Stock  # noqa: E402 - needs the checkout
from eviction_traces import BLOCK, DAY, HOUR, Trace, all_traces  # noqa: E402 - the same
from harness import table  # noqa: E402 - the same

from pcache.entry.compression import LATER, MAP_MIN, MIN_SIZE, STORED, Packer, Shares  # noqa: E402 - the same
from pcache.eviction.cold import COLD, LARGEST, RESTED, SCARCE, slice_of  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGE = CHECKOUT / "docs/compression.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SIZES = (0.05, 0.3, 2.0)  # of the bytes of all results: the last one is never reached
SCALE, QUICK = 0.04, 0.01
SHARDS, LOOKED_AT = 256, 512
STEP = 2048  # results stored since the last look take a limit divided by this
TOUCH_NS = 60 * 10**9

# Seconds per byte, as measured (benchmarks/results.md has the machine): text, integers and rounded floats by level 1.
PACK, PACK_NOISE, UNPACK, READ = 3e-9, 0.3e-9, 1.2e-9, 0.3e-9
PROBE = 0.0003  # a sample, where the buffer is large
HIT = 20e-6  # a hit, whatever its size
NEVER = Shares(0, 0)
ALWAYS = Shares(1e9, 1e9)


@dataclass(frozen=True)
class Rule:
    """What is compressed when a result is stored, and what later, if it was not used for so many seconds."""

    name: str
    stored: Shares
    later: Shares = NEVER
    cold: float = float("inf")  # where there is room enough
    rested: float = 60.0  # where room is scarce

    @property
    def has_upkeep(self) -> bool:
        return self.later != NEVER


OURS = Rule("**1 % and 0.1 %; later 3 % and 1 %**", STORED, LATER, COLD, RESTED)
RULES = (
    Rule("nothing", NEVER),
    Rule("all that saves a fifth or half (before)", ALWAYS),
    Rule("1 % of the cost", Shares(0.01, 0.01)),
    Rule("1 %, mapped 0.1 %", STORED),
    Rule("0.3 %, mapped 0.03 %", Shares(0.003, 0.0003)),
    Rule("3 %, mapped 0.3 %", Shares(0.03, 0.003)),
    OURS,
    replace(OURS, name="the same, later 10 % and 10 %", later=Shares(0.1, 0.1)),
    replace(OURS, name="the same, cold after an hour", cold=HOUR),
    replace(OURS, name="the same, cold after a week", cold=7 * DAY),
    replace(OURS, name="the same, only where room is scarce", cold=float("inf")),
    replace(OURS, name="the same, and then only after an hour", cold=float("inf"), rested=HOUR),
)


class Outcome(NamedTuple):
    """Seconds computed, spent on storing, by upkeep and in hits; each hit's seconds and its share of the cost."""

    computed: float
    storing: float
    upkeep: float
    hits: np.ndarray
    shares: np.ndarray
    kept: float  # bytes, the mean over requests
    worth: float  # seconds to compute what is kept, the mean over requests


class Contents:
    """What the results of a trace consist of: a stream or a mapped buffer, which shrinks to a share of its size."""

    def __init__(self, trace: Trace) -> None:
        random = np.random.default_rng(11)
        n = len(trace.sizes)
        self.raw = trace.sizes.astype(float)
        self.mapped = (random.random(n) < 0.6) & (self.raw >= MAP_MIN)
        noise = random.random(n) < np.where(self.mapped, 0.4, 0.1)
        shrunk = random.uniform(0.15, np.where(self.mapped, 0.48, 0.6), n)
        self.keeps = np.where(noise, 1.0, shrunk)
        self.packed = np.ceil(self.raw * self.keeps / BLOCK) * BLOCK
        self.pays = ~noise & (self.raw >= MIN_SIZE)
        self.cost_ns = (trace.costs * 1e9).astype(np.int64)

    def may_pack(self, shares: Shares) -> list[bool]:
        """Which calls a rule lets be packed, if they shrink."""
        pairs = zip(self.cost_ns.tolist(), self.raw.tolist(), self.mapped.tolist(), strict=True)
        return [Packer("auto", cost, shares).may_pack(int(raw), mapped=mapped) for cost, raw, mapped in pairs]

    def trying(self, call: int) -> float:
        """Seconds that packing a result takes, or finding out that it does not shrink."""
        if self.pays[call]:
            return float(PACK * self.raw[call])
        return PROBE if self.mapped[call] else float(PACK_NOISE * self.raw[call])

    def reading(self, call: int, *, packed: bool) -> float:
        """Seconds that a hit takes. Mapped buffers are those that were checked before."""
        if packed:
            return float(HIT + READ * self.packed[call] + UNPACK * self.raw[call])
        return HIT if self.mapped[call] else float(HIT + READ * self.raw[call])


class Cache:
    """A cache that packs and evicts as the real one does, with the times of a trace."""

    def __init__(self, trace: Trace, limit: float, rule: Rule) -> None:
        self.trace, self.limit, self.rule = trace, limit, rule
        self.stock = Stock(replace(trace, sizes=trace.sizes.copy()), Policy("pcache"))
        self.contents = Contents(trace)
        self.at_once, self.later = self.contents.may_pack(rule.stored), self.contents.may_pack(rule.later)
        self.is_packed = np.zeros(len(trace.sizes), dtype=bool)
        self.tried: set[int] = set()
        self.total = self.written = 0.0
        self.shard = 0
        self.computed = self.storing = self.upkeep = self.kept = self.worth = self.held = 0.0
        self.hits: list[float] = []
        self.shares: list[float] = []

    def run(self) -> Outcome:
        costs, stock = self.trace.costs.tolist(), self.stock
        times_ns = (BEGINNING + (self.trace.times * 1e9).astype(np.int64)).tolist()
        for now_ns, call in zip(times_ns, self.trace.calls.tolist(), strict=True):
            if call in stock.cached:
                self.hits.append(self.contents.reading(call, packed=bool(self.is_packed[call])))
                self.shares.append(self.hits[-1] / costs[call])
                if now_ns - stock.used_ns[call] >= TOUCH_NS:
                    stock.used_ns[call] = now_ns
                    stock.uses[call] = min(stock.uses[call] + 1, MOST_USES)
            else:
                self.computed += costs[call]
                self.store(call, now_ns, costs[call])
            self.kept += self.total
            self.worth += self.held
        requests = len(times_ns)
        return Outcome(
            self.computed, self.storing, self.upkeep, np.array(self.hits), np.array(self.shares),
            self.kept / requests, self.worth / requests,
        )  # fmt: skip

    def store(self, call: int, now_ns: int, cost: float) -> None:
        stock, contents = self.stock, self.contents
        self.is_packed[call] = False
        self.tried.discard(call)
        size = contents.raw[call]
        if self.at_once[call]:
            self.storing += contents.trying(call)
            if contents.pays[call]:
                self.is_packed[call], size = True, contents.packed[call]
            else:
                self.tried.add(call)
        if size > self.limit * REFUSED:
            return
        stock.cached.add(call)
        stock.size[call] = int(size)
        stock.used_ns[call], stock.uses[call] = now_ns, 1
        self.total += size
        self.held += cost
        self.written += size
        if self.written >= self.limit / STEP:
            self.written = 0.0
            self.look(now_ns, cost)

    def look(self, now_ns: int, cost: float) -> None:
        """Pack what is cold in a slice, and evict what is beyond the limit."""
        stock, is_scarce = self.stock, self.total > self.limit * SCARCE
        if self.rule.has_upkeep:
            self.pack(now_ns, self.rule.rested if is_scarce else self.rule.cold, slice_of(int(cost * 1e9)))
        while self.total > self.limit:
            victims = stock.victims(now_ns, int(self.total) - int(self.limit * REMAIN))
            stock.cached.difference_update(victims)
            self.total -= sum(int(stock.size[victim]) for victim in victims)
            self.held -= sum(float(self.trace.costs[victim]) for victim in victims)

    def pack(self, now_ns: int, idle: float, seconds: float) -> None:
        stock, contents = self.stock, self.contents
        shards = max(1, SHARDS * LOOKED_AT // max(len(stock.cached), 1))
        chosen = {(self.shard + i) % SHARDS for i in range(min(shards, SHARDS))}
        self.shard = (self.shard + shards) % SHARDS
        before = now_ns - idle * 1e9
        there = [
            call
            for call in stock.cached
            if call % SHARDS in chosen
            and self.later[call]
            and not self.is_packed[call]
            and call not in self.tried
            and stock.used_ns[call] <= before
            and contents.raw[call] <= LARGEST
        ]
        for call in sorted(there, key=lambda call: (stock.used_ns[call], call)):
            if contents.raw[call] * 4e-9 > seconds:
                continue
            took = contents.trying(call)
            seconds -= took
            self.upkeep += took
            self.tried.add(call)
            if contents.pays[call]:
                self.is_packed[call] = True
                self.total -= int(stock.size[call]) - contents.packed[call]
                stock.size[call] = int(contents.packed[call])


def mean(numbers: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(numbers))))


class Cells(NamedTuple):
    """The outcomes of one rule in each trace, at one size."""

    rule: Rule
    outcomes: list[Outcome]


def percentile(outcomes: Sequence[Outcome], what: Callable[[Outcome], np.ndarray], q: float) -> float:
    """The geometric mean over traces of a percentile of all hits."""
    return mean([float(np.quantile(what(outcome), q)) for outcome in outcomes if len(outcome.hits)])


def duration(seconds: float) -> str:
    return (
        f"{seconds:.2f} s"
        if seconds >= 1
        else f"{1000 * seconds:.2f} ms"
        if seconds >= 1e-3
        else f"{1e6 * seconds:.0f} us"
    )


def share(number: float) -> str:
    return f"{100 * number:.3g} %"


def rows_of(cells: Sequence[Cells], size: float) -> str:
    """One table: each rule against packing nothing, the geometric mean over all traces."""
    base = cells[0].outcomes
    rows = []
    for rule, outcomes in cells:
        pairs = list(zip(outcomes, base, strict=True))
        spent = [o.computed + o.storing + o.upkeep + o.hits.sum() for o in outcomes]
        all_of = mean([one / (b.computed + b.storing + b.hits.sum()) for one, b in zip(spent, base, strict=True)])
        dearest = max(one / (b.computed + b.storing + b.hits.sum()) for one, b in zip(spent, base, strict=True))
        per_worth = mean([(o.kept / max(o.worth, 1e-9)) / (b.kept / max(b.worth, 1e-9)) for o, b in pairs if b.kept])
        rows.append(
            (
                rule.name,
                share(all_of),
                share(dearest),
                share(per_worth if size <= 1 else mean([o.kept / b.kept for o, b in pairs])),
                share(sum(o.hits.sum() for o in outcomes) / sum(b.hits.sum() for b in base)),
                duration(percentile(outcomes, lambda o: o.hits, 0.5)),
                duration(percentile(outcomes, lambda o: o.hits, 0.99)),
                share(percentile(outcomes, lambda o: o.shares, 0.99)),
                duration(sum(o.storing for o in outcomes)),
                duration(sum(o.upkeep for o in outcomes)),
            )
        )
    kept = "bytes kept per second saved" if size <= 1 else "bytes kept"
    head = (
        "compressed is", "seconds in all", "of the worst trace", kept, "seconds in hits", "hit, median", "hit, p99",
        "hit's share of its cost, p99", "compressing at once", "compressing later",
    )  # fmt: skip
    return table(head, rows)


def figures(traces: Sequence[Trace], sizes: Sequence[float]) -> str:
    said = [
        "Made by `python benchmarks/compression_rules.py`. Seconds, bytes and seconds in hits are relative to"
        f" compressing nothing; geometric means over {len(traces)} traces, hits' seconds added up.\n"
    ]
    for size in sizes:
        cells = [
            Cells(rule, [Cache(trace, size * trace.working_set, rule).run() for trace in traces]) for rule in RULES
        ]
        where = f"Room for {100 * size:.0f} % of all results" if size <= 1 else "Room for all results"
        said.append(f"### {where}\n\n{rows_of(cells, size)}")
        print(where, file=sys.stderr)
    return "\n".join(said)


def main(words: Sequence[str]) -> int:
    started = time.monotonic()
    quick = "--quick" in words
    text = figures(all_traces(1, QUICK if quick else SCALE), SIZES)
    print(text)
    if not quick:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
