"""Traces on which policies are compared: recorded ones, generated ones with a seed, and a mixture of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import eviction_recordings as recordings
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

MINUTE, HOUR, DAY, WEEK = 60.0, 3600.0, 86400.0, 604800.0
KB, MB, GB = 2**10, 2**20, 2**30
BLOCK = 4096


@dataclass(frozen=True)
class Trace:
    """Requests at `times` (seconds, ascending) for `calls`; what each call costs in seconds and takes on disk."""

    name: str
    about: str
    times: Floats
    calls: Numbers
    costs: Floats
    sizes: Numbers
    measured: Floats  # costs as the cache saw them

    @property
    def working_set(self) -> int:
        return int(self.sizes.sum())

    @property
    def unavoidable(self) -> float:
        """Seconds that the first request of each call takes."""
        return float(self.costs[np.unique(self.calls)].sum())


def trace(name: str, about: str, times: Floats, calls: Numbers, costs: Floats, sizes: npt.ArrayLike) -> Trace:
    """Sort by time, number only what is requested, round sizes up to blocks as a disk does."""
    order = np.argsort(times, kind="stable")
    seen, numbered = np.unique(calls[order], return_inverse=True)
    on_disk = (np.ceil(np.maximum(np.asarray(sizes, dtype=float), 1) / BLOCK) * BLOCK).astype(np.int64)
    asked = np.asarray(costs, float)[seen]
    return Trace(name, about, times[order], numbered.astype(np.int64), asked, on_disk[seen], asked)


def recorded(name: str, about: str) -> Trace:
    times, calls, costs, sizes = recordings.read(name)
    return trace(name, about, np.array(times), np.array(calls), np.array(costs), sizes)


class Maker:
    """Draws the parts of generated traces from one seed."""

    def __init__(self, seed: int, scale: float) -> None:
        self.random = np.random.default_rng(seed)
        self.scale = scale

    def many(self, number: int) -> int:
        return max(10, int(number * self.scale))

    def log_uniform(self, low: float, high: float, n: int) -> Floats:
        return np.exp(self.random.uniform(math.log(low), math.log(high), n))

    def costs(self, n: int) -> Floats:
        """Six orders of magnitude: a millisecond to a quarter of an hour."""
        return self.log_uniform(1e-3, 1e3, n)

    def sizes(self, n: int) -> Floats:
        """Six orders of magnitude, of which the smallest share a block: 1 KiB to 1 GiB."""
        return self.log_uniform(KB, GB, n)

    def zipf(self, n: int, requests: int, exponent: float = 0.9) -> Numbers:
        weights = 1 / np.arange(1, n + 1) ** exponent
        popular = self.random.permutation(n)
        return popular[self.random.choice(n, requests, p=weights / weights.sum())]

    def working_hours(self, requests: int, days: int) -> Floats:
        """Times within eight hours of each of so many days."""
        return self.random.integers(0, days, requests) * DAY + 9 * HOUR + self.random.uniform(0, 8 * HOUR, requests)


def zipf(make: Maker, name: str, about: str, relation: int, days: float) -> Trace:
    """Independent requests; costs that go with sizes (1), against them (-1), or neither (0)."""
    n, requests = make.many(15000), make.many(60000)
    costs, sizes = make.costs(n), make.sizes(n)
    if relation:
        sizes = KB * 1e6 ** ((np.log10(costs) + 3) / 6) if relation > 0 else KB * 1e6 ** ((3 - np.log10(costs)) / 6)
        sizes = sizes * np.exp(make.random.normal(0, 0.5, n))
    times = np.sort(make.random.uniform(0, days * DAY, requests))
    return trace(name, about, times, make.zipf(n, requests), costs, sizes)


def scans(make: Maker) -> Trace:
    """A popular set, and every other day a scan over results that are never asked for again."""
    n, requests, days = make.many(4000), make.many(30000), 28
    scan = make.many(1500)
    times = [make.random.uniform(0, days * DAY, requests)]
    calls = [make.zipf(n, requests)]
    for number, day in enumerate(range(1, days, 2)):
        times.append(day * DAY + np.arange(scan) * 2.0)
        calls.append(n + number * scan + np.arange(scan))
    total = n + len(calls) * scan
    about = "popular results over four weeks; every other day a scan of others that are never asked for again"
    return trace("scans", about, np.concatenate(times), np.concatenate(calls), make.costs(total), make.sizes(total))


def loops(make: Maker) -> Trace:
    """Loops a little larger than each of the cache sizes that are tried."""
    sizes = make.log_uniform(100 * KB, 10 * MB, make.many(6000))
    costs = make.log_uniform(0.1, 100, len(sizes))
    share = np.cumsum(sizes) / sizes.sum()
    start, clock = 0, 0.0
    times, calls = [], []
    for fraction in (0.023, 0.057, 0.115, 0.345, 0.46):
        stop = int(np.searchsorted(share, share[start] + fraction))
        rounds = 1 if fraction == 0.46 else 12
        for _ in range(rounds):
            members = np.arange(start, min(stop, len(sizes)))
            times.append(clock + np.arange(len(members)) * 3.0)
            calls.append(members)
            clock += len(members) * 3.0 + 10 * MINUTE
        start = min(stop, len(sizes) - 1)
    about = "loops, one after the other, each a seventh larger than one of the cache sizes; minutes to hours a round"
    return trace("loops", about, np.concatenate(times), np.concatenate(calls), costs, sizes)


def phases(make: Maker) -> Trace:
    """Every three days all that was in use is left for ever; what a byte is worth changes up to tenfold either way."""
    n, requests = make.many(1200), make.many(5000)
    parts = []
    for number in range(10):
        costs = make.log_uniform(0.01, 100, n) * 10 ** make.random.uniform(-1, 1)
        times = np.sort(make.random.uniform(0, 3 * DAY, requests)) + number * 3 * DAY
        parts.append((times, make.zipf(n, requests, 0.7) + number * n, costs, make.log_uniform(10 * KB, 100 * MB, n)))
    about = "every three days another working set; worth per byte changes up to tenfold with it"
    return trace("phases", about, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def worth_falls(make: Maker) -> Trace:
    """What is hardest for any policy that weighs worth: dear results are left for ever, cheaper ones follow.

    Within each part every byte is worth the same, so that weighing has nothing to win.
    """
    n, requests = make.many(2500), make.many(12000)
    parts = []
    for number, dear in enumerate((30.0, 1.0, 1.0)):
        times = np.sort(make.random.uniform(0, 7 * DAY, requests)) + number * 7 * DAY
        sizes = make.log_uniform(100 * KB, 10 * MB, n)
        parts.append((times, make.zipf(n, requests, 0.7) + number * n, sizes / MB * dear, sizes))
    about = "a week of results of equal worth per byte, then two weeks of others worth a thirtieth each"
    return trace("worth falls", about, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def afternoon(make: Maker) -> Trace:
    """What suits LRU best: what was used last is used next, and a byte is worth about the same everywhere."""
    requests, recent = make.many(40000), [0]
    calls = np.zeros(requests, dtype=np.int64)
    back = make.random.pareto(0.6, requests)
    new = make.random.random(requests) < 0.15
    for number in range(1, requests):
        distance = int(min(back[number] * 3, 1e9))
        if new[number] or distance >= len(recent):
            calls[number] = len(recent)
            recent.append(int(calls[number]))
        else:
            calls[number] = recent.pop(-1 - distance)
            recent.append(int(calls[number]))
    sizes = make.log_uniform(10 * KB, 10 * MB, len(recent))
    costs = sizes / MB * np.exp(make.random.normal(0, 0.5, len(sizes)))
    times = np.sort(make.random.uniform(0, 4 * HOUR, requests))
    about = "an afternoon: what was used last is used next (stack distances by a power law), costs go with sizes"
    return trace("afternoon", about, times, calls, costs, sizes)


def reruns(make: Maker) -> Trace:
    """A script, run six times a day; an edit before most runs supersedes a step and what follows from it."""
    steps, runs = make.many(400), 28 * 6
    costs_of, sizes_of = make.log_uniform(0.02, 300, steps), make.log_uniform(10 * KB, 500 * MB, steps)
    parents = [make.random.integers(0, step, make.random.integers(1, 3)) if step else [] for step in range(steps)]
    version = np.zeros(steps, dtype=np.int64)
    numbers: dict[tuple[int, int], int] = {}
    newest, times, calls, costs, sizes = 0, [], [], [], []
    for run in range(runs):
        clock = (run // 6) * DAY + 9 * HOUR + (run % 6) * 1.4 * HOUR
        if make.random.random() < 0.8:
            edited = int(steps * make.random.beta(2, 1))  # late steps are worked on more
            touched = {min(edited, steps - 1)}
            for step in range(edited + 1, steps):
                if touched.intersection(int(parent) for parent in parents[step]):
                    touched.add(step)
            newest += 1
            reverted = make.random.random() < 0.15
            for step in touched:
                version[step] = max(0, version[step] - 1) if reverted else newest
        for step in range(steps):
            call = numbers.setdefault((step, int(version[step])), len(numbers))
            if call == len(costs):
                costs.append(costs_of[step] * make.random.uniform(0.7, 1.4))
                sizes.append(sizes_of[step] * make.random.uniform(0.9, 1.1))
            times.append(clock + step * 0.5)
            calls.append(call)
    about = f"a script of {steps} steps, run six times a day; edits supersede a step and what follows from it"
    return trace("reruns", about, np.array(times), np.array(calls), np.array(costs), sizes)


def notebooks(make: Maker) -> Trace:
    """Bursts: a cell is run again and again for minutes, its notebook for days, and then hardly ever."""
    times, calls, costs, sizes = [], [], [], []
    for _book in range(make.many(60)):
        cells = int(make.random.integers(15, 60))
        first = len(costs)
        costs += list(make.log_uniform(0.01, 600, cells))
        sizes += list(make.log_uniform(2 * KB, 500 * MB, cells))
        day = int(make.random.integers(0, 42))
        for later in [0, 1, *np.cumsum(make.random.geometric(0.3, int(make.random.integers(0, 6))))]:
            clock = (day + int(later)) * DAY + 9 * HOUR + make.random.uniform(0, 6 * HOUR)
            for cell in range(cells):
                if later and make.random.random() < 0.1:  # edited: another call
                    costs.append(costs[first + cell])
                    sizes.append(sizes[first + cell])
                    call = len(costs) - 1
                else:
                    call = first + cell
                for _ in range(int(make.random.geometric(0.25 if later == 0 else 0.6))):
                    times.append(clock)
                    calls.append(call)
                    clock += make.random.exponential(40)
    about = "notebooks: cells run again within minutes, the notebook on some days after, then not any more; six weeks"
    return trace("notebooks", about, np.array(times), np.array(calls), np.array(costs), sizes)


def flood(make: Maker) -> Trace:
    """Forty dear results of weeks, asked for now and then, in a flood of what is cheap and asked for once."""
    dear, warm, cheap = 40, make.many(500), make.many(25000)
    days = 35
    times = [make.random.uniform(0, days * DAY, dear * 10), make.working_hours(make.many(6000), days)]
    calls = [np.repeat(np.arange(dear), 10), dear + make.zipf(warm, make.many(6000), 0.8)]
    times.append(np.sort(make.working_hours(cheap, days)))
    calls.append(dear + warm + np.arange(cheap))
    costs = [make.log_uniform(600, 7200, dear), make.log_uniform(0.5, 60, warm), make.log_uniform(0.01, 0.5, cheap)]
    sizes = [make.log_uniform(MB, 50 * MB, dear), make.log_uniform(100 * KB, 50 * MB, warm)]
    sizes.append(make.log_uniform(10 * KB, 10 * MB, cheap))
    about = "forty dear results, each asked for ten times in five weeks, in a flood of cheap ones asked for once"
    parts = (np.concatenate(part) for part in (times, calls, costs, sizes))
    return trace("flood", about, *parts)


def years(make: Maker) -> Trace:
    """Two years of projects that come and go: a result is asked for while its project lasts, mostly a few times."""
    calls = make.many(12000)
    begin = make.random.uniform(-60 * DAY, 730 * DAY, calls)
    lasts = make.log_uniform(2 * DAY, 400 * DAY, calls)
    number = np.minimum(make.random.zipf(1.6, calls) + 1, 500)
    times = np.repeat(begin, number) + np.repeat(lasts, number) * make.random.uniform(0, 1, int(number.sum()))
    asked = np.repeat(np.arange(calls), number)
    inside = (times >= 0) & (times < 730 * DAY)
    costs, sizes = make.log_uniform(0.01, 1e4, calls), make.log_uniform(2 * KB, GB, calls)
    about = "two years of projects that last days to a year; results are asked for while their project lasts"
    return trace("years", about, times[inside], asked[inside], costs, sizes)


def minutes(make: Maker) -> Trace:
    """A recursion over twenty minutes whose popular arguments drift."""
    requests = make.many(60000)
    times = np.sort(make.random.uniform(0, 20 * MINUTE, requests))
    calls = (times / 0.1).astype(np.int64) + np.minimum(make.random.zipf(1.3, requests), 50000)
    n = int(calls.max()) + 1
    about = "twenty minutes of one program, fifty requests a second, whose popular arguments drift"
    return trace("minutes", about, times, calls, make.log_uniform(1e-3, 1, n), make.log_uniform(KB, 10 * MB, n))


def mixed(parts: list[Trace], make: Maker) -> Trace:
    """All of them in one cache, over six weeks: what is shorter than five begins at a random time."""
    times, calls, first = [], [], 0
    for part in parts:
        times_of = part.times - part.times[0]
        early = times_of < 6 * WEEK  # of the two years, the first six weeks
        lead = make.random.uniform(0, max(0.0, 5 * WEEK - times_of[-1]))
        times.append(times_of[early] + lead)
        calls.append(part.calls[early] + first)
        first += len(part.costs)
    costs, sizes = (np.concatenate([getattr(part, what) for part in parts]) for what in ("costs", "sizes"))
    about = "all of the above in one cache, over six weeks"
    return trace("mixed", about, np.concatenate(times), np.concatenate(calls), costs, sizes)


def all_traces(seed: int = 1, scale: float = 1.0) -> list[Trace]:
    """Return every trace, the mixed one last; `scale` makes the generated ones shorter."""
    real = [
        recorded(
            "history", "recorded: the files of each commit of this repository, analysed at the time of the commit"
        ),
        recorded("survey", "recorded: `examples/stdlib_survey.py` on four standard libraries, a day between runs"),
        recorded("search", "recorded: fourteen rounds of a search with scikit-learn, ten minutes between them"),
        recorded("documents", "recorded: calls of 1 ms or more while `pydoc` renders 80 modules, half a minute"),
    ]
    zipfs: list[tuple[str, str, int, float]] = [
        ("zipf", "Zipf's law (0.9), costs and sizes over six orders of magnitude, independent; four weeks", 0, 28),
        ("zipf, dear is large", "the same, costs go with sizes", 1, 28),
        ("zipf, dear is small", "the same, costs go against sizes", -1, 28),
        ("zipf, an hour", "the first of them within one hour", 0, 1 / 24),
    ]
    makers: list[Callable[[Maker], Trace]] = [
        scans,
        loops,
        phases,
        worth_falls,
        afternoon,
        reruns,
        notebooks,
        flood,
        years,
        minutes,
    ]
    seeds = iter(range(1000 * seed, 1000 * seed + 100))
    made = [zipf(Maker(next(seeds), scale), *how) for how in zipfs]
    made += [maker(Maker(next(seeds), scale)) for maker in makers]
    parts = real + made
    return [*parts, mixed(parts, Maker(next(seeds), scale))]


if __name__ == "__main__":
    for each in all_traces():
        print(
            f"{each.name}: {len(each.calls)} requests of {len(each.costs)} calls, {each.working_set / GB:.2f} GiB,"
            f" {each.costs[each.calls].sum():.0f} s, {each.unavoidable:.0f} s of them unavoidable,"
            f" {(each.times[-1] - each.times[0]) / DAY:.2f} days"
        )
