"""The contract of a store, kept by the one of files and by one in memory; and a whole cache on the latter."""

from __future__ import annotations

import os
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from pcache import Cache, Miss
from pcache.entry import mtime
from pcache.entry.format import NEVER, Facts
from pcache.entry.inspector import inspect_file
from pcache.entry.reader import Address
from pcache.layout import shard_in
from pcache.storage.claim_owner import owner_record
from pcache.storage.directory import Directory
from pcache.storage.local import LocalStore
from pcache.storage.store import name_of
from pcache.system.permissions import PRIVATE
from tests.support.memory_store import MemoryStore
from tests.support.processes import KEY, RING, address_of, entry_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pcache.storage.store import HeldClaim, Store

STORES: dict[str, Callable[[str, Any], Store]] = {"local": LocalStore, "memory": MemoryStore}
OWNER = owner_record("module:f", RING)
FUNCTION = b"f" * 8


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](str(tmp_path / "cache"), PRIVATE)


def address(number: int, ttl_ns: int | None = None) -> Address:
    """The entry of a call, each of them in a shard of its own."""
    key = bytes([number]) * 20
    return Address(name_of(FUNCTION.hex(), key.hex()), key, FUNCTION, ttl_ns)


def pieces_of(number: int, value: object) -> list[bytes]:
    return [entry_bytes(value, Facts(address(number).key, FUNCTION, time.time_ns(), NEVER, 5 * 10**9))]


def publish(claim: HeldClaim, number: int, value: object) -> int:
    stamp = mtime.pack(mtime.Stamp(time.time_ns(), 5 * 10**9, NEVER, 0))
    return claim.publish(pieces_of(number, value), durable=False, replaces_nothing=False, mtime_ns=stamp)


def keep(store: Store, number: int, value: object) -> None:
    claim = store.claim(address(number).name, OWNER)
    assert claim is not None
    with claim:
        assert publish(claim, number, value) > 0
    assert not claim.lost


def value_of(store: Store, number: int) -> Any:
    return store.read(address(number), RING, "once").value


def test_what_is_published_is_read(store: Store) -> None:
    """Before that it is absent, then it is there, whole, and the same again; a second one takes its place."""
    with pytest.raises(Miss) as caught:
        value_of(store, 1)
    assert caught.value.reason == "absent"
    assert not store.is_there(address(1).name)
    values = ["small", [bytearray(b"x" * 400_000)], ["again"]]
    for value in values:
        keep(store, 1, value)
        assert store.is_there(address(1).name)
        assert value_of(store, 1) == value_of(store, 1) == value
    assert list(store.claims()) == []


def test_an_entry_that_is_not_the_one_asked_for(store: Store) -> None:
    """Damaged, another call's, or too old: a miss with its reason."""
    claim = store.claim(address(1).name, OWNER)
    assert claim is not None
    with claim:
        claim.publish(pieces_of(2, "of another call"), durable=False, replaces_nothing=True, mtime_ns=0)
    with pytest.raises(Miss, match="another call"):
        value_of(store, 1)
    keep(store, 3, "old")
    with pytest.raises(Miss) as caught:
        store.read(address(3, ttl_ns=0), RING, "once")
    assert caught.value.reason == "expired"


def test_one_owner_at_a_time(store: Store) -> None:
    """A claim excludes others until it is published or abandoned, and says who has it; a private one does neither."""
    name = address(1).name
    held = store.claim(name, OWNER)
    assert held is not None
    assert held.is_standing()
    assert store.claim(name, OWNER) is None
    owner = store.owner_at(store.place(name), RING)
    assert owner is not None
    assert (owner.call, owner.pid, owner.is_alive()) == ("module:f", os.getpid(), True)
    held.amend(["elsewhere"])
    owner = store.owner_at(store.place(name), RING)
    assert owner is not None
    assert owner.awaits == ("elsewhere",)
    private = store.private_claim(name, OWNER)
    assert sorted((one.name, one.is_private) for one in store.claims()) == [(name, False), (name, True)]
    owners = [store.owner(claimed, RING) for claimed in store.claims([shard_in(name)])]
    assert [owner and owner.call for owner in owners] == ["module:f"] * 2
    assert publish(private, 1, "first") > 0
    assert held.abandon()
    assert not held.abandon()
    assert (value_of(store, 1), list(store.claims()), store.owner_at(store.place(name), RING)) == ("first", [], None)
    again = store.claim(name, OWNER)
    assert again is not None
    assert again.abandon()
    assert value_of(store, 1) == "first"


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("how", ["forbid", "fence"])
def test_what_was_begun_before_is_not_stored(store: Store, how: str, *, private: bool) -> None:
    """A claim that is forbidden stores nothing more, others go on; a new one may be taken at once."""
    name, other = address(1).name, address(2).name
    held = store.private_claim(name, OWNER) if private else store.claim(name, OWNER)
    beside = store.claim(other, OWNER)
    assert held is not None
    assert beside is not None
    if how == "forbid":
        store.forbid(name)
    else:
        assert store.fence(lambda claimed: claimed.name == name) == [store.place(name)]
    with held, beside:
        assert not held.is_standing()
        assert publish(held, 1, "late") == 0
        assert held.lost
        assert publish(beside, 2, "in time") > 0
        held.abandon()
    assert (store.is_there(name), value_of(store, 2)) == (False, "in time")
    keep(store, 1, "new")
    assert value_of(store, 1) == "new"


def test_the_claim_of_an_owner_that_is_gone(store: Store) -> None:
    """It can be released by anybody; then another one may be had."""
    name = address(1).name
    assert not store.release(name)
    held = store.claim(name, OWNER)
    assert held is not None
    assert store.release(name)
    assert not store.release(name)
    with held:
        assert publish(held, 1, "late") == 0
    keep(store, 1, "new")


def test_listing(store: Store) -> None:
    """All entries, those of some shards, or one by its name: each with its size, cost and use."""
    assert (store.shards(), list(store.scan()), store.count(), store.entry(address(1).name)) == ([], [], 0, None)
    for number in (1, 2, 3):
        keep(store, number, "x" * number)
    assert store.shards() == ["01", "02", "03"]
    assert store.count() == 3
    items = list(store.scan())
    assert [item.key for item in items] == [address(number).key.hex() for number in (1, 2, 3)]
    assert [item.key[:2] for item in store.scan(["03", "01", "ff"])] in (["03", "01"], ["01", "03"])
    for number, item in zip((1, 2, 3), items, strict=True):
        name = address(number).name
        assert (item.function_id, name_of(item.function_id, item.key)) == (FUNCTION.hex(), name)
        assert item.path == store.place(name)
        assert item.size >= item.length > 0
        assert 4 < item.cost_ns / 1e9 < 6
        assert abs(item.used_ns / 1e9 - time.time()) < 60
        assert store.entry(name) == item
        assert inspect_file(item.path, RING, buffers=True, open_it=store.open).header.key == address(number).key
    with pytest.raises(Miss):
        store.open(store.place(address(4).name))


def test_removing(store: Store) -> None:
    """What was there is told; what is gone already is no error."""
    for number in (1, 2, 3):
        keep(store, number, number)
    items = list(store.scan())
    assert store.delete(address(1).name)
    assert not store.delete(address(1).name)
    refusals: list[OSError] = []
    assert store.delete_entries(items, refusals) == items[1:]
    assert store.delete_entries(items, refusals) == refusals == list(store.scan()) == []


def test_replacing(store: Store) -> None:
    """Other bytes take the place of those that were read, under a claim that stands, unless they were replaced."""
    keep(store, 1, "before")
    (item,) = store.scan()
    fd, read = store.open(item.path)
    os.close(fd)
    claim = store.claim(address(1).name, OWNER)
    assert claim is not None
    with claim:
        assert store.replace(item, read, pieces_of(1, "after that"), claim, durable=False)
        assert not store.replace(item, read, pieces_of(1, "too late"), claim, durable=False)
        claim.abandon()
        assert not store.replace(item, read, pieces_of(1, "no claim"), claim, durable=False)
    assert value_of(store, 1) == "after that"
    assert next(store.scan()).used_ns == item.used_ns


def test_one_of_many_threads_has_the_claim(store: Store) -> None:
    """Sixteen threads ask for one claim at once, and one of them gets it, ten times over."""
    gate, taken = threading.Barrier(16), []

    def ask() -> None:
        for number in range(1, 11):
            gate.wait()
            if (claim := store.claim(address(number).name, OWNER)) is not None:
                taken.append((number, claim))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number, _ in sorted(taken)] == list(range(1, 11))
    assert all(claim.abandon() for _, claim in taken)


def test_places_are_unlike_each_other(tmp_path: Path) -> None:
    """Flights and circles of calls are known by place, in whatever store."""
    places = {make(str(tmp_path / root), PRIVATE).place(address(1).name) for make in STORES.values() for root in "ab"}
    assert len(places) == 4


# A whole cache


def square(n: int) -> list[int]:
    calls.append(n)
    return [n * n]


calls: list[int] = []


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    calls.clear()
    return Cache.over(Directory({"directory": str(tmp_path / "cache"), "max_entries": 50}, KEY, MemoryStore))


def test_a_cache_in_memory(cache: Cache, tmp_path: Path) -> None:
    """Calls, and all that can be asked of a cached function and of a cache, without a file of an entry."""
    cached = cache.cached(square)
    assert cached(3) == cached(3) == [9]
    assert cached.cache_info()[:2] == (1, 1)
    assert cached.exists(3)
    assert cached.get(3) == [9]
    assert cached.refresh(3) == [9]
    assert calls == [3, 3]
    assert cached.put([16], 4)
    assert cached(4) == [16]
    assert str(cached.explain(4)).startswith("square(n=4): hit")
    assert cached.invalidate(4)
    assert not cached.invalidate(4)
    assert "it was invalidated" in str(cached.explain(4))
    assert [entry.function for entry in cache.entries()] == [cached.name]
    assert cache.stats().entries == cache.verify(repair=True).checked == 1
    assert cached("x" * 20_000 and 100) == [10_000]
    assert cache.recompress(19).skipped == 0
    assert cache.evict(max_entries=1).entries == 1
    assert cache.clear().entries == 1
    assert (cache.verify().checked, cached.exists(3)) == (0, False)
    assert not list(tmp_path.glob("cache/v1/entries/*/*"))


def numbers(n: int) -> Iterator[bytes]:
    calls.append(n)
    for i in range(n):
        yield bytes([i]) * 9000


def test_streams_in_memory(cache: Cache, tmp_path: Path) -> None:
    """A generator's items are stored and found, small or spooled, shared by consumers, and dropped half way."""
    cached = cache.cached(numbers)
    for n in (2, 30):
        first, second = cached(n), cached(n)
        assert [next(first), *first] == list(second) == list(cached(n)) == [bytes([i]) * 9000 for i in range(n)]
    stopped = cached(31)
    next(stopped), stopped.close()
    assert calls == [2, 30, 31]
    assert cache.verify(repair=True).checked == 2
    assert cache.recompress(19).skipped == 2
    assert not list(tmp_path.glob("cache/v1/entries/*/*"))


def test_a_cache_in_memory_keeps_its_limits(cache: Cache) -> None:
    """What is worth least is evicted while results are stored."""
    cached = cache.cached(square)
    for n in range(300):
        cached(n)
    assert len(list(cache.entries())) <= 50


def test_threads_in_memory_compute_once(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """One of eight threads computes, the others wait; and calls that need each other in a circle come to an end."""
    caplog.set_level("DEBUG")
    gate, found = threading.Barrier(8), []

    @cache.cached
    def slow(n: int) -> int:
        calls.append(n)
        time.sleep(0.05)
        return n

    def work() -> None:
        gate.wait()
        found.extend(slow(n) for n in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(list(range(5)) * 8)
    assert sorted(calls) == list(range(5)), [(record.threadName, record.message) for record in caplog.records]


def test_what_cannot_be_pickled_in_memory(cache: Cache) -> None:
    """A warning, and the caller gets the result."""

    @cache.cached
    def lock() -> Any:
        return threading.Lock()

    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert lock() is not None
    assert [warning.category.__name__ for warning in given] == ["UnpicklableResultWarning"]


def test_a_cache_in_memory_is_not_the_one_of_files(cache: Cache) -> None:
    """Another store at the same location has entries of its own."""
    cached = cache.cached(square)
    cached(3)
    assert not Cache(cache.location, signing_key=KEY).cached(square).exists(3)
    assert address_of(cached, 3).name == address_of(Cache(cache.location, signing_key=KEY).cached(square), 3).name
