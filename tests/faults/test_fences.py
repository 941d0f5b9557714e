"""Every order of the steps of storing and removing a result: an old result never comes back.

One thread computes and stores a result, another removes it, and each is stopped at every line of pcache: the first runs
up to one of its lines, the second up to one of its own, then the first to its end, then the second.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pcache import Cache
from pcache.eviction import deletion
from pcache.maintenance import cleanup
from pcache.runtime import invalidation, saving, singleflight
from pcache.storage import claim, drafts
from tests.faults.hunting import rounds
from tests.support.processes import KEY, claims_below, place_of

Evidence = Callable[[str, str, int, int], None]

_FILES = frozenset(
    str(module.__file__) for module in (claim, drafts, invalidation, singleflight, deletion, saving, cleanup)
)
DROP: dict[str, Callable[[Cache, Any], object]] = {
    "invalidate": lambda cache, cached: cached.invalidate(1),
    "clear": lambda cache, cached: cache.clear(),
    "cache_clear": lambda cache, cached: cached.cache_clear(),
}


class Stepping(threading.Thread):
    """A thread that stops at the Nth line of pcache, and goes on when told to."""

    def __init__(self, work: Callable[[], Any], stop_at: int) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._stop_at = stop_at
        self._seen = 0
        self.stopped = threading.Event()
        self.go = threading.Event()
        self.result: Any = None
        self.there = False
        self.watch: Callable[[], object] = bool  # called at each line from there on

    def run(self) -> None:
        sys.settrace(self._trace)
        try:
            self.result = self._work()
        finally:
            sys.settrace(None)
            self.stopped.set()

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in _FILES:
            return self._trace if event == "call" else None
        if event == "line" and not isinstance(
            frame.f_locals.get("self"), singleflight.Flights
        ):  # holds a lock among threads
            self._seen += 1
            if self._seen == self._stop_at:
                self.there = True
                self.stopped.set()
                assert self.go.wait(60)
            if self.there:
                self.watch()
        return self._trace

    def to_the_stop(self) -> bool:
        """Run up to that line; return whether it was reached."""
        self.start()
        assert self.stopped.wait(60)
        return self.there

    def to_the_end(self) -> Any:
        self.go.set()
        self.join(60)
        assert not self.is_alive()
        return self.result


def one_order(cache: Cache, what: str, first: int, second: int, pad: str = "") -> tuple[bool, bool, str]:
    """Run both threads in one order; return whether each stopped where it should, and what was wrong."""
    old, new = "old" + pad, "new" + pad
    source = [old]

    def report(day: int) -> str:
        return source[0]

    cached = cache.cached(code="none")(report)
    computing = Stepping(lambda: cached(1), first)
    stopped = computing.to_the_stop()
    # If it was stopped before it read the source, it reads the new one.
    source[0] = new
    dropping = Stepping(lambda: DROP[what](cache, cached), second)
    both = dropping.to_the_stop()
    given = computing.to_the_end()
    dropping.to_the_end()
    wrong = "" if given in (old, new) else f"it got {given!r:.40}"
    if cached.exists(1) and cached.get(1) != new:
        wrong = "an old result is stored"
    elif cached(1) != new:
        wrong = "an old result is returned"
    elif claims_below(cache.location):
        wrong = "a claim is left"
    cache.clear()
    return stopped, both, wrong


@pytest.mark.parametrize("what", DROP)
def test_nothing_old_is_seen_for_a_moment(tmp_path: Path, what: str, evidence: Evidence) -> None:
    """If storing goes on after removing has returned, the old entry is not there at any of its lines."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    began: list[int] = []
    seen: list[int] = []
    cached = cache.cached(code="none")(began.append)
    cached(1)
    for stop_at in range(1, 10_000):
        cache.clear(), began.clear()
        path = place_of(cached, 1)
        storing_it = Stepping(lambda: cached(1), stop_at)
        if not storing_it.to_the_stop():
            storing_it.to_the_end()
            break
        DROP[what](cache, cached)
        if began:
            storing_it.watch = functools.partial(_look, path, seen)
        storing_it.to_the_end()
    evidence("never wrong", f"moments of storing a result after {what}", stop_at, len(seen))
    assert (seen, stop_at > 50) == ([], True)


def _look(path: str, seen: list[int]) -> None:
    if os.path.lexists(path):
        seen.append(1)


def lines_of(cache: Cache, what: str, pad: str) -> tuple[int, int]:
    """The number of lines of each of the two threads."""
    first = next(n for n in range(20, 10_000, 20) if not one_order(cache, what, n, 1, pad)[0])
    second = next(n for n in range(10, 10_000, 10) if not one_order(cache, what, 1, n, pad)[1])
    return first, second


@pytest.mark.parametrize("what", DROP)
@pytest.mark.parametrize("size", [0, 100_000])
def test_every_order(tmp_path: Path, what: str, size: int, evidence: Evidence) -> None:
    """A result whose computation began before it was removed is not found afterwards, wherever either thread stops."""
    # A large one is written into a draft of its own, a small one into the claim.
    cache, pad = Cache(tmp_path / "cache", signing_key=KEY, compression="none"), "x" * size
    one_order(cache, what, 1, 1, pad)
    first, second = lines_of(cache, what, pad)
    orders = [(i, j) for i in range(1, first + 1) for j in range(1, second + 1)]
    chosen = random.sample(orders, min(len(orders), rounds(100, 20_000)))
    found = {order: wrong for order in chosen if (wrong := one_order(cache, what, *order, pad)[2])}
    evidence("never wrong", f"orders of storing a result of {size:,} bytes, and of {what}", len(chosen), len(found))
    assert not found
    assert os.path.isdir(cache.location)
