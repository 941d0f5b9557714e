"""Dropped results stay away: nothing that was begun before comes back, in this process or another."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.entry.reader import Address
from pcache.runtime.invalidation import invalidate
from pcache.storage.claim_owner import owner_record
from pcache.storage.store import name_of
from tests.support.processes import KEY, RING, Talker, claims_below, place_of

# Each line of input is what the source says from then on; the one after it lets the computation go on.
COMPUTING = """
source = []
@cache.cached(code="none")
def report(day):
    say("computing")
    found = hear().strip()
    hear()
    return found
say(report(1))
say(report(1))
"""


def report(day: int) -> str:
    return "new"


report.__module__, report.__qualname__ = "__main__", "report"

DROP: dict[str, Callable[[Cache, Any], object]] = {
    "invalidate": lambda cache, cached: cached.invalidate(1),
    "clear": lambda cache, cached: cache.clear(),
    "cache_clear": lambda cache, cached: cached.cache_clear(),
    "by name": lambda cache, cached: cache.clear("report"),
}


@pytest.mark.parametrize("what", DROP)
@pytest.mark.parametrize("stored", [False, True])
def test_a_computation_of_another_process(tmp_path: Path, what: str, stored: bool) -> None:
    """What it began before is given to who asked before, and not stored; its next call computes anew."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached = cache.cached(code="none")(report)
    if stored:
        cached(2)
    other = Talker(COMPUTING, tmp_path / "cache")
    assert other.hear() == "computing"
    other.say("old")
    assert len(claims_below(tmp_path)) == 1
    DROP[what](cache, cached)
    assert claims_below(tmp_path) == []
    other.say()
    assert (other.hear(), cached.exists(1)) == ("old", False)
    assert other.hear() == "computing"
    other.say("new\n")
    assert other.finish() == ["new"]
    assert (cached.get(1), claims_below(tmp_path)) == ("new", [])


def test_what_is_put_stays(tmp_path: Path) -> None:
    """A computation of another process that was begun before does not take the place of a result that was put."""
    cached = Cache(tmp_path / "cache", signing_key=KEY).cached(code="none")(report)
    other = Talker(COMPUTING, tmp_path / "cache")
    assert other.hear() == "computing"
    other.say("old")
    assert cached.put("new", 1)
    other.say()
    assert other.finish() == ["old", "new"]
    assert (cached.get(1), claims_below(tmp_path)) == ("new", [])


def test_a_computation_of_another_thread(cache: Cache) -> None:
    """A call made after `invalidate` neither waits for the one of before nor gets what it found; that is not stored."""
    source, read, go = ["old"], threading.Event(), threading.Event()

    @cache.cached(code="none")
    def f(n: int) -> str:
        found = source[0]
        if found == "old":
            read.set()
            assert go.wait(60)
        return found

    before: list[str] = []
    threads = [threading.Thread(target=lambda: before.append(f(1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert read.wait(60)
    source[0] = "new"
    f.invalidate(1)
    assert f(1) == "new"
    go.set()
    for thread in threads:
        thread.join()
    assert "old" in before
    assert (f.get(1), claims_below(cache.location)) == ("new", [])


@pytest.mark.parametrize("network", [False, True])
def test_what_excludes_nobody_is_dropped_as_well(tmp_path: Path, network: bool) -> None:
    """A result that is put, or computed on a network file system, has its draft removed."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cache.flow.store._network = network
    name = name_of("f" * 16, "a" * 40)
    address = Address(name, bytes.fromhex("a" * 40), bytes.fromhex("f" * 16), None)
    for drop in (lambda: invalidate(cache.directory, [address]), cache.clear):
        held = cache.flow.store.private_claim(name, owner_record("m:f", RING))
        drop()
        assert held.publish([b"old"], durable=False, replaces_nothing=False, mtime_ns=0) == 0
        assert held.lost
        assert not cache.flow.store.is_there(name)
    assert claims_below(tmp_path) == []


def test_others_are_left_alone(cache: Cache) -> None:
    """Dropping one result, or one function's, leaves the computations of others."""
    inside, go = threading.Event(), threading.Event()

    @cache.cached
    def slow(n: int) -> int:
        inside.set()
        assert go.wait(60)
        return n

    @cache.cached
    def other(n: int) -> int:
        return n

    thread = threading.Thread(target=slow, args=(1,))
    thread.start()
    assert inside.wait(60)
    other(1), other.invalidate(1), other.cache_clear(), slow.invalidate(2)
    cache.clear(unused_for=0), cache.clear(larger_than=0), cache.clear(dry_run=True), cache.evict(max_entries=0)
    go.set()
    thread.join()
    assert slow.exists(1)


def test_a_folder_in_the_place_of_a_claim(cache: Cache) -> None:
    """It is no claim, and stops nobody from dropping the result."""
    f = cache.cached(report)
    f(1)
    os.mkdir(place_of(f, 1) + ".claim")
    assert f.invalidate(1)
    assert not f.exists(1)
