"""Policies that are compared on a trace, what each costs in seconds, and a bound that none can beat.

A cache holds `limit` bytes. When a result is stored and the limit exceeded, entries go until nine tenths of it remain,
as in the real cache; a result larger than a tenth of the limit is refused, by every policy and by the bound.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pcache.eviction.policy import Limits, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from eviction_traces import Trace

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

REMAIN = 0.9
REFUSED = 0.1
MOST_USES = 31
TOUCH = 60.0
NEVER = 2**63 - 1
HOUR_NS = 3600 * 10**9
DAY = 86400.0
BEGINNING = 10**18  # nanoseconds since 1970 at which traces begin


class Outcome(NamedTuple):
    """Seconds computed, of which none but those of first requests could be spared; touches are writes of recency."""

    computed: float
    hits: int
    touches: int


class Facts(NamedTuple):
    """What a policy may know of the entries, one array each."""

    size: Floats
    cost: Floats
    idle: Floats
    uses: Floats
    stored: Floats  # seconds since it was stored: only FIFO and LFU-like policies that need no stat know it


@dataclass(frozen=True)
class Policy:
    """A way to rank entries; the lowest go. `rank` None means the real `pcache.eviction.policy.plan`."""

    name: str
    rank: Callable[[Facts], Floats] | None = None
    touch: float = TOUCH  # seconds after which a hit updates recency and uses
    backs_off: bool = False  # that interval doubles with each use, up to an hour
    most_uses: int = MOST_USES
    sample: int = 0  # entries looked at in one round, 0 for all


def third_of_an_octave(costs: Floats) -> Floats:
    return np.where(costs > 0, 2 ** (np.round(3 * np.log2(np.maximum(costs, 1e-9))) / 3), 0)


def simulate(trace: Trace, limit: float, policy: Policy) -> Outcome:
    """Run a trace through a cache that evicts in batches."""
    stock = Stock(trace, policy)
    sizes, costs = trace.sizes.tolist(), trace.costs.tolist()
    used_ns, uses, stored_ns, cached = stock.used_ns, stock.uses, stock.stored_ns, stock.cached
    touch_ns, largest = int(policy.touch * 1e9), limit * REFUSED
    total, computed, hits, touches = 0, 0.0, 0, 0
    times_ns = (BEGINNING + (trace.times * 1e9).astype(np.int64)).tolist()
    for now_ns, call in zip(times_ns, trace.calls.tolist(), strict=True):
        if call in cached:
            hits += 1
            wait = min(touch_ns << int(uses[call]) - 1, HOUR_NS) if policy.backs_off else touch_ns
            if now_ns - used_ns[call] >= wait:
                touches += 1
                used_ns[call] = now_ns
                uses[call] = min(uses[call] + 1, policy.most_uses)
            continue
        computed += costs[call]
        if sizes[call] > largest:
            continue
        cached.add(call)
        used_ns[call] = stored_ns[call] = now_ns
        uses[call] = 1
        total += sizes[call]
        while total > limit:
            victims = stock.victims(now_ns, total - int(limit * REMAIN))
            cached.difference_update(victims)
            total -= sum(sizes[victim] for victim in victims)
    return Outcome(computed, hits, touches)


class Stock:
    """What is stored now."""

    def __init__(self, trace: Trace, policy: Policy) -> None:
        calls = len(trace.costs)
        self.policy = policy
        self.size, self.cost_ns = trace.sizes, (third_of_an_octave(trace.measured) * 1e9).astype(np.int64)
        self.used_ns, self.stored_ns = np.zeros(calls, dtype=np.int64), np.zeros(calls, dtype=np.int64)
        self.uses = np.zeros(calls, dtype=np.int64)
        self.cached: set[int] = set()
        self.random = np.random.default_rng(7)

    def victims(self, now_ns: int, excess: int) -> list[int]:
        """Return the calls whose results go, so that `excess` bytes are freed; of a sample, a tenth goes."""
        calls = np.fromiter(self.cached, np.int64, len(self.cached))
        if self.policy.sample and len(calls) > self.policy.sample:
            calls = self.random.choice(calls, self.policy.sample, replace=False)
            excess = int(self.size[calls].sum() * (1 - REMAIN))
        if self.policy.rank is None:
            return [item.call for item in plan(self.items(calls), Limits(int(self.size[calls].sum()) - excess), now_ns)]
        rank = self.policy.rank(self.facts(calls, now_ns))
        order = calls[np.lexsort((calls, rank))]
        return order[: int(np.searchsorted(np.cumsum(self.size[order]), excess)) + 1].tolist()

    def facts(self, calls: Numbers, now_ns: int) -> Facts:
        idle, stored = (now_ns - self.used_ns[calls]) / 1e9, (now_ns - self.stored_ns[calls]) / 1e9
        return Facts(
            self.size[calls].astype(float), self.cost_ns[calls] / 1e9, idle, self.uses[calls].astype(float), stored
        )

    def items(self, calls: Numbers) -> list[Item]:
        columns = (self.size, self.used_ns, self.cost_ns, self.uses)
        rows = zip(calls.tolist(), *(column[calls].tolist() for column in columns), strict=True)
        return [Item(call, f"{call:08}", *row) for call, *row in rows]


class Item(NamedTuple):
    """One entry as `pcache.eviction.policy` wants it."""

    call: int
    key: str
    size: int
    used_ns: int
    cost_ns: int
    uses: int
    expires_ns: int = NEVER
    function_id: str = ""


def lru(facts: Facts) -> Floats:
    return -facts.idle


def fifo(facts: Facts) -> Floats:
    return -facts.stored


def lfu(facts: Facts) -> Floats:
    return facts.uses - facts.idle / 1e12


def smallest(facts: Facts) -> Floats:
    return -facts.size


def hyperbolic(facts: Facts) -> Floats:
    """Uses per time since it was stored: no recency, but the time of storing, which the real cache does not keep."""
    return facts.cost * facts.uses / (facts.size * (facts.stored + 1))


def formula(
    a: float = 1,
    b: float = 0.5,
    c: float = 1,
    d: float = 1,
    k: float = 60,
    half_life: float = 30 * DAY,
    unknown: float = 1,
    most: float = DAY,
    spared: float = 0.1,
) -> Callable[[Facts], Floats]:
    """Rank by the logarithm of `cost**a * uses**b / size**c / (idle + k)**d / 2**(idle / half_life)`.

    What was used last goes last, up to the share of the bytes that is `spared`. The defaults are those of
    `pcache.eviction.policy.plan`.
    """

    def rank(facts: Facts) -> Floats:
        cost = np.minimum(np.where(facts.cost > 0, facts.cost, unknown), most)
        worth = a * np.log(cost) + b * np.log(facts.uses) - c * np.log(facts.size) - d * np.log(facts.idle + k)
        worth -= facts.idle / half_life * math.log(2)
        newest = np.argsort(facts.idle, kind="stable")
        after = newest[np.cumsum(facts.size[newest]) > facts.size.sum() * spared]
        since = facts.idle[after[0]] if len(after) else math.inf
        return np.where(facts.idle < since, worth + 1e6, worth)

    return rank


def greedy_dual(trace: Trace, limit: float) -> Outcome:
    """GreedyDual-Size-Frequency with exact frequencies, inflation by each victim's priority, one victim at a time."""
    sizes, costs = trace.sizes.tolist(), trace.costs.tolist()
    heap: list[tuple[float, int, int]] = []
    current: dict[int, tuple[float, int, int]] = {}
    frequency: dict[int, int] = {}
    inflation, computed, total, hits, tick = 0.0, 0.0, 0, 0, 0
    for tick, call in enumerate(trace.calls.tolist()):
        size = sizes[call]
        if call in current:
            hits += 1
        else:
            computed += costs[call]
            if size > limit * REFUSED:
                continue
            frequency[call] = 0
            total += size
        frequency[call] += 1
        current[call] = (inflation + frequency[call] * costs[call] / size, tick, call)
        heapq.heappush(heap, current[call])
        while total > limit:
            lowest = heapq.heappop(heap)
            if current.get(lowest[2]) == lowest:
                inflation = lowest[0]
                del current[lowest[2]]
                total -= sizes[lowest[2]]
    return Outcome(computed, hits, tick)


def clairvoyant(trace: Trace, limit: float) -> Outcome:
    """Evict what is worth least per byte and request until its next use, which is known. Greedy: good, not optimal."""
    sizes, costs = trace.sizes, trace.costs
    following = next_use(trace)
    cached: dict[int, int] = {}  # the index of its next use
    total, computed, hits = 0, 0.0, 0
    size_of, cost_of = sizes.tolist(), costs.tolist()
    for tick, (call, after) in enumerate(zip(trace.calls.tolist(), following.tolist(), strict=True)):
        if call in cached:
            hits += 1
        else:
            computed += cost_of[call]
        if after == NEVER or size_of[call] > limit * REFUSED:
            if call in cached:
                del cached[call]
                total -= size_of[call]
            continue
        if call not in cached:
            total += size_of[call]
        cached[call] = after
        if total > limit:
            held = np.fromiter(cached, np.int64, len(cached))
            ahead = np.fromiter(cached.values(), np.int64, len(cached)) - tick
            order = np.argsort(costs[held] / (sizes[held] * ahead), kind="stable")
            for victim in held[order].tolist():
                del cached[victim]
                total -= size_of[victim]
                if total <= limit * 0.99:
                    break
    return Outcome(computed, hits, 0)


def next_use(trace: Trace) -> npt.NDArray[np.int64]:
    """Return for each request the index of the next one of the same call, NEVER for the last."""
    order = np.argsort(trace.calls, kind="stable")
    following = np.full(len(order), NEVER, dtype=np.int64)
    same = trace.calls[order][1:] == trace.calls[order][:-1]
    following[order[:-1][same]] = order[1:][same]
    return following


def bound(trace: Trace, limit: float, rounds: int = 200) -> float:
    """Return seconds that every policy has to compute, however clairvoyant: a true lower bound.

    Between two requests of a call its result is kept or not; kept ones must fit at any time. Let fractions be kept, and
    any prices of space over time give a bound by weak duality: what is saved is at most the value of all space plus
    what each interval is worth beyond the price of its space. Prices are improved by multiplicative steps.
    """
    following = next_use(trace)
    again = np.flatnonzero((following != NEVER) & (trace.sizes[trace.calls] <= limit * REFUSED))
    if not len(again):
        return float(trace.costs[trace.calls].sum())
    until = following[again]
    cost, size = trace.costs[trace.calls[again]], trace.sizes[trace.calls[again]].astype(float)
    slots = len(trace.calls)

    def savings(prices: Floats) -> tuple[float, Floats]:
        paid = np.concatenate([[0.0], np.cumsum(prices)])
        gain = cost - size * (paid[until] - paid[again])
        kept = gain > 0
        change = np.bincount(again[kept], size[kept], slots) - np.bincount(until[kept], size[kept], slots)
        return float(gain[kept].sum() + limit * paid[-1]), np.cumsum(change)

    best = float(cost.sum())
    prices = np.zeros(slots)
    for price in np.geomspace(1e-6, 1e3, 40) * best / (limit * slots):
        saved, _ = savings(np.full(slots, price))
        if saved < best:
            best, prices = saved, np.full(slots, price)
    for number in range(rounds if prices.any() else 0):
        saved, used = savings(prices)
        best = min(best, saved)
        step = 1 / math.sqrt(1 + number)
        prices = prices * np.exp(step * np.clip(used / limit - 1, -1, 1))
    return float(trace.costs[trace.calls].sum()) - best
