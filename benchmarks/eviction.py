"""Compare eviction policies by the seconds that are computed again, on recorded and generated traces.

    python benchmarks/eviction.py           # minutes; rewrites the figures of docs/eviction.md and its plots
    python benchmarks/eviction.py --quick   # seconds; shorter traces, writes nothing

The formula that is tried is `pcache.eviction.policy.plan` itself. Traces come from seeds and from stored recordings, and times
are those of the traces, so that the figures are the same on every machine.
"""  # noqa: E501 - a line a kind

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

import eviction_policies as policies  # noqa: E402 - needs the checkout
from eviction_policies import Policy, bound, clairvoyant, formula, greedy_dual, simulate  # noqa: E402 - the same
from eviction_traces import DAY, GB, HOUR, MINUTE, Trace, all_traces  # noqa: E402 - the same
from harness import table  # noqa: E402 - the same

from pcache.eviction.policy import value  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAGE, IMAGES = CHECKOUT / "docs/eviction.md", CHECKOUT / "docs/images"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SIZES = (0.02, 0.05, 0.1, 0.3)  # of the bytes of all results
LONG, SHORT, QUICK = 0.35, 0.15, 0.1  # how many requests generated traces have, as a share of what their makers say
TOLERATED = 1.05
WANTED = 0.7

Cell = tuple[str, float]  # a trace and a size

LRU, PCACHE, GDSF, GREEDY, BOUND = "LRU", "pcache", "GDSF", "clairvoyant", "bound"
RANKED = (
    Policy(LRU, policies.lru, touch=0),
    Policy("FIFO", policies.fifo),
    Policy("LFU", policies.lfu, touch=0, most_uses=10**9),
    Policy("largest first", policies.smallest),
    Policy("hyperbolic", policies.hyperbolic, touch=0, most_uses=10**9),
    Policy(PCACHE, None),
)
COLUMNS = [policy.name for policy in RANKED if policy.name not in (LRU, PCACHE)] + [GDSF, PCACHE, GREEDY, BOUND]


class Results(NamedTuple):
    """Seconds computed by each policy in each cell."""

    traces: Sequence[Trace]
    sizes: Sequence[float]
    computed: Mapping[str, Mapping[Cell, float]]

    def total(self, name: str, cell: Cell) -> float:
        """Seconds relative to those of LRU."""
        return self.computed[name][cell] / self.computed[LRU][cell]

    def excess(self, name: str, cell: Cell) -> float:
        """The same of the seconds that are not the first of their call; not a number where LRU wastes next to none."""
        first = next(trace.unavoidable for trace in self.traces if trace.name == cell[0])
        wasted = self.computed[LRU][cell] - first
        return (self.computed[name][cell] - first) / wasted if wasted > 0.01 * first else float("nan")


def compare(traces: Sequence[Trace], sizes: Sequence[float]) -> Results:
    computed: dict[str, dict[Cell, float]] = {name: {} for name in (LRU, *COLUMNS)}
    for trace in traces:
        for size in sizes:
            limit, cell = size * trace.working_set, (trace.name, size)
            for policy in RANKED:
                computed[policy.name][cell] = simulate(trace, limit, policy).computed
            computed[GDSF][cell] = greedy_dual(trace, limit).computed
            computed[GREEDY][cell] = clairvoyant(trace, limit).computed
            computed[BOUND][cell] = bound(trace, limit)
            check(trace, limit, computed[PCACHE][cell])
        print(trace.name, file=sys.stderr)
    return Results(traces, sizes, computed)


def check(trace: Trace, limit: float, computed: float) -> None:
    """See that the formula whose constants are varied is the one that the package has."""
    if len(trace.calls) < 20000 and simulate(trace, limit, Policy("", formula())).computed != computed:
        raise SystemExit(f"formula() and pcache.eviction.policy.value differ on {trace.name}")


def percent(share: float) -> str:
    share = max(share, 0.0)  # a bound may be below by rounding
    return (
        "-" if np.isnan(share) else f"{100 * share:.0f} %" if share >= 0.1 or share < 0.0005 else f"{100 * share:.1f} %"
    )


def seconds(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.1f}"


def headline(results: Results) -> str:
    """Say whether the aims are met."""
    rows = []
    for size in results.sizes:
        cell = ("mixed", size)
        shares = [results.total(PCACHE, cell), results.excess(PCACHE, cell)]
        best = [results.total(BOUND, cell), results.excess(BOUND, cell)]
        verdict = "met" if shares[0] <= WANTED else "met beyond first calls" if shares[1] <= WANTED else "**missed**"
        rows.append(
            (percent(size), *(f"{percent(a)} (bound {percent(b)})" for a, b in zip(shares, best, strict=True)), verdict)
        )
    head = (
        "mixed trace, cache size",
        "seconds computed, LRU = 100 %",
        "of them beyond first calls",
        "30 % less than LRU",
    )
    lines = [table(head, rows)]
    cells = [(trace.name, size) for trace in results.traces for size in results.sizes]
    worse = sorted(((results.total(PCACHE, cell), cell) for cell in cells), reverse=True)
    missed = [
        f"{name} at {percent(size)} (+{100 * (share - 1):.1f} %)" for share, (name, size) in worse if share > TOLERATED
    ]
    near = [
        f"{name} at {percent(size)} (+{100 * (share - 1):.1f} %)"
        for share, (name, size) in worse
        if 1.0005 < share <= TOLERATED
    ]
    said = f"missed in {len(missed)}: {', '.join(missed)}" if missed else "met in all"
    lines.append(f"At most 5 % more seconds than LRU in each of {len(cells)} cells: {said}.")
    lines.append(f"Between LRU and that: {', '.join(near) if near else 'none'}.\n")
    means = [(name, mean([results.total(name, cell) for cell in cells])) for name in COLUMNS]
    lines.append(
        "Geometric means over all cells: " + ", ".join(f"{name} {percent(share)}" for name, share in means) + "."
    )
    return "\n".join(lines)


def mean(shares: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(shares))))


def all_cells(results: Results) -> str:
    """Return the large table: seconds relative to LRU, and for pcache those beyond first calls."""
    rows = []
    for trace in results.traces:
        for size in results.sizes:
            cell = (trace.name, size)
            shares = [percent(results.total(name, cell)) for name in COLUMNS]
            shares[COLUMNS.index(PCACHE)] = f"**{shares[COLUMNS.index(PCACHE)]}**"
            known = [seconds(trace.unavoidable), seconds(results.computed[LRU][cell])]
            rows.append((trace.name, percent(size), *known, *shares, percent(results.excess(PCACHE, cell))))
    head = ("trace", "size", "first calls, s", "LRU, s", *COLUMNS, "pcache beyond first calls")
    return table(head, rows)


def traces_table(traces: Sequence[Trace]) -> str:
    rows = []
    for trace in traces:
        again = trace.costs[trace.calls].sum() - trace.unavoidable
        span = trace.times[-1] - trace.times[0]
        length = f"{span / DAY:.0f} days" if span > 2 * DAY else f"{span / HOUR:.2g} h"
        low, high = np.quantile(trace.costs / trace.sizes, (0.05, 0.95))
        worth = f"1 : {high / low:,.0f}"
        facts = (f"{len(trace.calls):,}", f"{len(trace.costs):,}", f"{trace.working_set / GB:,.2f}", length, worth)
        rows.append((trace.name, trace.about, *facts, seconds(trace.unavoidable), seconds(float(again))))
    head = (
        "trace",
        "what it is",
        "requests",
        "calls",
        "GiB",
        "lasts",
        "worth per byte, 5 % : 95 %",
        "first calls, s",
        "repeated, s",
    )
    return table(head, rows)


class Trial(NamedTuple):
    """One variant on many shorter traces."""

    total: float
    mixed: float
    worst: float
    where: Cell
    touches: float
    shares: Mapping[Cell, float]


class Laboratory:
    """Runs variants of the formula on shorter traces; `change` prepares what the cache gets to see of them."""

    def __init__(self, scale: float, sizes: Sequence[float], seed: int = 1) -> None:
        self.traces, self.sizes = all_traces(seed, scale), sizes
        self.base = self.run(Policy(LRU, policies.lru, touch=0))

    def run(
        self, policy: Policy, change: Callable[[Trace], Trace] = lambda trace: trace
    ) -> dict[Cell, policies.Outcome]:
        return {
            (trace.name, size): simulate(change(trace), size * trace.working_set, policy)
            for trace in self.traces
            for size in self.sizes
        }

    def trial(self, policy: Policy, change: Callable[[Trace], Trace] = lambda trace: trace) -> Trial:
        outcomes = self.run(policy, change)
        shares = {cell: outcome.computed / self.base[cell].computed for cell, outcome in outcomes.items()}
        where = max(shares, key=shares.__getitem__)
        mixed = mean([share for (name, _), share in shares.items() if name == "mixed"])
        hits = sum(outcome.hits for outcome in outcomes.values())
        touches = sum(outcome.touches for outcome in outcomes.values()) / max(1, hits)
        return Trial(mean(list(shares.values())), mixed, shares[where], where, touches, shares)


HEAD = ("variant", "mean of all cells, LRU = 100 %", "mixed", "worst cell")


def row(label: str, trial: Trial) -> tuple[str, ...]:
    name, size = trial.where
    return (
        label,
        f"{100 * trial.total:.1f} %",
        f"{100 * trial.mixed:.1f} %",
        f"{100 * trial.worst:.1f} % ({name}, {percent(size)})",
    )


def sensitivity(lab: Laboratory) -> str:
    variants: dict[str, dict[str, float]] = {
        "the formula": {},
        "cost and size to the power 0.5": {"a": 0.5, "c": 0.5},
        "cost to the power 0.75": {"a": 0.75},
        "size to the power 0.75": {"c": 0.75},
        "uses to the power 0 (not counted)": {"b": 0},
        "uses to the power 1": {"b": 1},
        "uses to the power 2": {"b": 2},
        "idle to the power 0 (no recency)": {"d": 0, "half_life": 1e12},
        "idle to the power 0.5": {"d": 0.5},
        "idle to the power 1.5": {"d": 1.5},
        "idle to the power 2": {"d": 2},
        "idle + 0.1 s": {"k": 0.1},
        "idle + 10 s": {"k": 10},
        "idle + 1 min": {"k": MINUTE},
        "idle + 1 h": {"k": HOUR},
        "half-life of 3 days": {"half_life": 3 * DAY},
        "half-life of 10 days": {"half_life": 10 * DAY},
        "half-life of 100 days": {"half_life": 100 * DAY},
        "no half-life": {"half_life": 1e12},
        "nothing spared as used last": {"spared": 0},
        "a twentieth spared": {"spared": 0.05},
        "a fifth spared": {"spared": 0.2},
        "idle + 1 s, nothing spared": {"k": 1, "spared": 0},
    }
    rows = [row(label, lab.trial(Policy(label, formula(**how)))) for label, how in variants.items()]
    rows.append(row("uses up to 7", lab.trial(Policy("", formula(), most_uses=7))))
    rows.append(row("uses up to 1,000", lab.trial(Policy("", formula(), most_uses=1000))))
    samples = {f"a sample of {sample:,} entries at a time": sample for sample in (2000, 500, 100)}
    rows += [row(label, lab.trial(Policy("", formula(), sample=sample))) for label, sample in samples.items()]
    return table(HEAD, rows)


def touching(lab: Laboratory) -> str:
    rows = []
    intervals = {"each hit": 0.0, "1 s": 1.0, "10 s": 10.0, "1 min": MINUTE, "10 min": 10 * MINUTE, "1 h": HOUR}
    variants = {label: Policy("", formula(), touch=interval) for label, interval in intervals.items()}
    for label, interval in {"1 s": 1.0, "1 min": MINUTE}.items():
        longer = Policy("", formula(), touch=interval, backs_off=True)
        variants[f"{label}, doubling with each use up to 1 h"] = longer
    for label, policy in variants.items():
        ours = lab.trial(policy)
        theirs = lab.trial(dataclasses.replace(policy, rank=policies.lru))
        history = ours.shares["history", lab.sizes[0]]
        shares = (history, theirs.total, theirs.worst)
        rows.append((*row(label, ours), percent(ours.touches), *(f"{100 * share:.1f} %" for share in shares)))
    on_history = f"on history at {percent(lab.sizes[0])}"
    return table((*HEAD, "hits that touch", on_history, "LRU with it", "LRU with it, worst cell"), rows)


def changed(trace: Trace, share: float, to: Callable[[float], float]) -> Trace:
    """Let the cache see another cost for some of the calls."""
    chosen = np.random.default_rng(3).random(len(trace.costs)) < share
    measured = np.where(chosen, [to(cost) for cost in trace.costs.tolist()], trace.costs)
    return dataclasses.replace(trace, measured=measured)


def wrong_costs(lab: Laboratory) -> str:
    rows = [row("costs are right", lab.trial(Policy("", formula())))]
    for label, most in {"1 h": HOUR, "1 day": DAY, "1,000 years": 3e10}.items():
        trial = lab.trial(
            Policy("", formula(most=most)), lambda trace: changed(trace, 0.01, lambda cost: cost + 3 * DAY)
        )
        rows.append(row(f"1 % of the results ran over three days of sleep; counted up to {label}", trial))
    for unknown in (0.1, 1.0, 10.0):
        trial = lab.trial(Policy("", formula(unknown=unknown)), lambda trace: changed(trace, 0.2, lambda _: 0.0))
        rows.append(row(f"20 % are unknown and count as {unknown:g} s", trial))
    return table(HEAD, rows)


def ageing() -> str:
    """Say how long the worst outlier outlives an ordinary entry."""

    def item(cost: float, size: int, idle: float) -> policies.Item:
        now = int(1000 * 365 * DAY * 1e9)
        return policies.Item(0, "", size, now - int(idle * 1e9), int(cost * 1e9), 31 if size == 1 else 1)

    now = int(1000 * 365 * DAY * 1e9)
    said = []
    for idle, label in ((HOUR, "an hour"), (DAY, "a day"), (30 * DAY, "a month")):
        ordinary = value(item(1, 2**20, idle), now)
        days = next(days for days in range(1, 10**5) if value(item(3 * DAY, 1, days * DAY), now) < ordinary)
        said.append(f"{days / 30:.0f} months, if the other was not used for {label}")
    return (
        "A result of one byte with a cost of three days and 31 uses goes before one of 1 MiB, a second and one use when"
        f" it was not used for {', '.join(said)}.\n"
    )


def other_seeds(scale: float, sizes: Sequence[float], seeds: Sequence[int]) -> str:
    rows = [row(f"seed {seed}", Laboratory(scale, sizes, seed).trial(Policy("", formula()))) for seed in seeds]
    return table(HEAD, rows)


def draw(results: Results) -> None:
    """Write the plots."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "pcache", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    IMAGES.mkdir(exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    styles = {LRU: "o-", "largest first": "s:", "hyperbolic": "^:", GDSF: "v:", PCACHE: "D-", BOUND: "k--"}
    for name, style in styles.items():
        axes.plot(
            [100 * size for size in results.sizes],
            [100 * results.total(name, ("mixed", size)) for size in results.sizes],
            style,
            label=name,
        )
    axes.set(xscale="log", ylim=(0, None), xlabel="cache size, % of all bytes", ylabel="seconds computed, LRU = 100 %")
    axes.set_xticks([100 * size for size in results.sizes], [f"{100 * size:.0f}" for size in results.sizes])
    axes.minorticks_off()
    axes.legend(frameon=False, ncols=2)
    figure.savefig(IMAGES / "eviction-mixed.svg", metadata={"Date": None})
    size = 0.05 if 0.05 in results.sizes else results.sizes[0]
    figure, axes = pyplot.subplots(figsize=(6.4, 5), layout="constrained")
    names = [trace.name for trace in results.traces]
    for name, marker in {PCACHE: "D", GDSF: "v", "largest first": "s", BOUND: "|"}.items():
        shares = [100 * results.total(name, (trace, size)) for trace in names]
        axes.plot(
            shares,
            range(len(names)),
            marker,
            label=name,
            color="k" if name == BOUND else None,
            fillstyle="full" if name == PCACHE else "none",
        )
    axes.axvline(100, color="grey", lw=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=f"seconds computed in a cache of {100 * size:.0f} %, LRU = 100 %", xlim=(0, 160))
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(IMAGES / "eviction-traces.svg", metadata={"Date": None})


def figures(results: Results, lab: Laboratory, seeds: Sequence[int]) -> str:
    short = (
        f"With generated traces of {percent(SHORT / LONG)} of the calls and requests,"
        f" in caches of {' and '.join(map(percent, lab.sizes))}."
    )
    return "\n".join(
        [
            "## Figures\n",
            "Made by `python benchmarks/eviction.py`.\n",
            "### The aims\n",
            headline(results) + "\n",
            "![Seconds computed on the mixed trace, by cache size](images/eviction-mixed.svg)\n",
            "![Seconds computed on each trace](images/eviction-traces.svg)\n",
            "### The traces\n",
            traces_table(results.traces),
            "### Every trace and size\n",
            'Seconds computed, LRU = 100 %. "-": LRU wastes less than 1 % there.\n',
            all_cells(results),
            "### When recency is updated\n",
            short + "\n",
            touching(lab),
            "### Other constants\n",
            short + "\n",
            sensitivity(lab),
            "### Costs that are wrong or unknown\n",
            short + "\n",
            wrong_costs(lab),
            ageing(),
            "### Other seeds\n",
            short + "\n",
            other_seeds(SHORT, lab.sizes, seeds),
        ]
    )


def main(words: Sequence[str]) -> int:
    started = time.monotonic()
    quick = "--quick" in words
    results = compare(all_traces(1, QUICK if quick else LONG), SIZES[1:3] if quick else SIZES)
    if quick:
        print(headline(results), all_cells(results), sep="\n\n")
    else:
        text = figures(results, Laboratory(SHORT, (0.05, 0.3)), (2, 3))
        print(text)
        draw(results)
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    missed = [size for size in results.sizes if results.excess(PCACHE, ("mixed", size)) > WANTED]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
