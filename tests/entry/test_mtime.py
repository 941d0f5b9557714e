"""What a modification time says of an entry: recency, cost, end of life and uses, each as exactly as is promised."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcache import Cache
from pcache.entry.format import NEVER
from pcache.entry.mtime import MAX_USES, Stamp, pack, unpack
from pcache.storage.store import StoredFile
from tests.support.processes import KEY

SECOND = 10**9
HOUR = 3600 * SECOND
NOW = 1_790_000_000 * SECOND
BLUR = 0.53 * SECOND
STEP = 2 ** (1 / 6)  # half of a third of an octave

times = st.integers(SECOND, 4_000_000_000 * SECOND)
costs = st.integers(1000, 50 * 86400 * SECOND)
lives = st.integers(1, 90 * 365 * 86400 * SECOND)
uses = st.integers(1, MAX_USES)


@given(times, st.integers(0, NEVER), lives, st.integers(1, 1000))
@example(NOW, 0, 1, 1)
@example(NOW, NEVER, 1, 1)
def test_recency_is_kept_to_half_a_second(used: int, cost: int, life: int, times_used: int) -> None:
    """Whatever else a stamp says, its entry was last used up to 0.53 s before that, and never after."""
    found = unpack(pack(Stamp(used, cost, used + life, times_used)))
    assert 0 <= used - found.used_ns < BLUR
    assert -BLUR < pack(Stamp(used, cost, used + life, times_used)) - used < BLUR


@given(times, costs)
@example(NOW, 1000)
def test_costs_are_kept_to_a_sixth_of_an_octave(used: int, cost: int) -> None:
    """From a microsecond to fifty days the cost that comes back is the nearest of steps of a third of an octave."""
    found = unpack(pack(Stamp(used, cost))).cost_ns
    assert cost / STEP * 0.999 <= found <= cost * STEP * 1.001


@given(times, st.integers(-10, NEVER))
def test_a_cost_is_known_or_not(used: int, cost: int) -> None:
    """No cost stays unknown, any cost is one, and a very large one is that of 51 days."""
    found = unpack(pack(Stamp(used, cost))).cost_ns
    assert (found > 0) == (cost > 0)
    assert found <= 51 * 86400 * SECOND


@given(times, lives)
@example(NOW, 1)
@example(NOW, SECOND)
@example(NOW, 2 * SECOND)
def test_expiry_is_never_early(used: int, life: int) -> None:
    """An entry is never taken for expired before it is, and at most a fifth of its remaining life later."""
    found = unpack(pack(Stamp(used, 1, used + life))).expires_ns
    left = max(life, SECOND)
    assert used + life - BLUR <= found <= used + 1.19 * left + 1
    assert found + BLUR >= used + life
    assert unpack(pack(Stamp(used, 1, NEVER))).expires_ns == NEVER


@given(times, st.integers(1, 200))
def test_expiry_is_never_before_the_real_one(used: int, decades: int) -> None:
    """What lives for longer than can be said never expires by its stamp."""
    life = decades * 10 * 365 * 86400 * SECOND
    expires = min(used + life, NEVER)
    found = unpack(pack(Stamp(used, 1, expires))).expires_ns
    assert found == NEVER or found >= expires - BLUR


@given(times, st.integers(-5, 1000))
def test_uses_are_exact_up_to_31(used: int, count: int) -> None:
    """Uses are counted from 1 to 31 and stop there."""
    assert unpack(pack(Stamp(used, 1, NEVER, count))).uses == min(max(count, 1), 31)


@given(times, costs, lives, uses)
def test_packing_again_changes_nothing(used: int, cost: int, life: int, count: int) -> None:
    """A stamp that is read and written again without a use says the same cost and uses, at the same time."""
    once = unpack(pack(Stamp(used, cost, used + life, count)))
    again = unpack(pack(once))
    assert again.used_ns == once.used_ns
    assert (again.cost_ns, again.uses) == (once.cost_ns, once.uses)


@given(st.integers(0, 4_000_000_000))
def test_whole_seconds_have_no_code(second: int) -> None:
    """A time of whole seconds, as coarse file systems and copies keep it, says when and no more."""
    assert unpack(second * SECOND) == Stamp(second * SECOND, 0, NEVER, 1)


@given(times)
def test_times_that_nobody_packed(mtime: int) -> None:
    """A time with nanoseconds is never taken for a code: cost and expiry are unknown, the time is exact."""
    mtime = mtime // 1000 * 1000 + 1 + mtime % 999
    assert unpack(mtime) == Stamp(mtime, 0, NEVER, 1)


# Through the cache


def work(n: int) -> int:
    time.sleep(n / 1000)  # what it costs, not an order of events
    return n


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


def the_only(cache: Cache) -> StoredFile:
    (item,) = cache.flow.store.scan()
    return item


def test_a_published_entry_says_its_cost(cache: Cache) -> None:
    """One `stat` tells what an entry cost and when it expires, as its header has it."""
    before = time.time_ns()
    cache.cached(ttl="1h")(work)(30)
    item, (info,) = the_only(cache), cache.entries()
    assert info.cost >= 0.03
    assert info.cost / STEP * 0.999 <= item.cost_ns / SECOND <= info.cost * STEP * 1.001
    assert before - BLUR <= item.used_ns <= time.time_ns()
    assert before + HOUR <= item.expires_ns <= time.time_ns() + 1.2 * HOUR
    assert item.uses == 1


def test_a_put_entry_has_no_cost(cache: Cache) -> None:
    """What was computed elsewhere has an unknown cost, and never expires without a ttl."""
    cache.cached(work).put(5, 1)
    assert the_only(cache)[6:] == (0, NEVER, 1)


@pytest.mark.parametrize("how", ["__call__", "get", "exists"])
def test_a_hit_after_hours_counts_a_use(cache: Cache, how: str) -> None:
    """A hit on an entry that was last used two hours ago makes it recent, counts a use and keeps the rest."""
    cached = cache.cached(ttl="9h")(work)
    cached(20)
    first = the_only(cache)
    for count in (2, 3):
        item = the_only(cache)
        old = pack(Stamp(item.used_ns - 2 * HOUR, item.cost_ns, item.expires_ns, item.uses))
        os.utime(item.path, ns=(old, old))
        before = time.time_ns()
        assert getattr(cached, how)(20)
        item = the_only(cache)
        assert before - BLUR <= item.used_ns <= time.time_ns()
        assert (item.cost_ns, item.uses) == (first.cost_ns, count)
        assert first.expires_ns - 0.2 * 9 * HOUR <= item.expires_ns <= first.expires_ns + 0.2 * 9 * HOUR


def test_hits_within_the_hour_write_nothing(cache: Cache) -> None:
    """A hit on an entry that was used a moment ago leaves its file alone."""
    cached = cache.cached(work)
    cached(1)
    before = os.stat(the_only(cache).path)
    for _ in range(50):
        cached(1)
    after = os.stat(the_only(cache).path)
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


def test_uses_stop_at_31(cache: Cache) -> None:
    """However often an entry is used, its count stays in its place."""
    cached = cache.cached(work)
    cached(1)
    item = the_only(cache)
    for _ in range(40):
        item = the_only(cache)
        old = pack(Stamp(item.used_ns - 2 * HOUR, item.cost_ns, NEVER, item.uses))
        os.utime(item.path, ns=(old, old))
        cached(1)
    assert (the_only(cache).uses, the_only(cache).cost_ns, the_only(cache).expires_ns) == (31, item.cost_ns, NEVER)
