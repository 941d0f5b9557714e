"""The memory tier: whatever happens to an entry's file, a process that holds it in memory answers as one that does not.

An entry is *fresh* as long as its file may still change without another change time, and *settled* afterwards.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pcache import Cache, Miss
from pcache.storage.recent import MEMORY, Recent
from tests.support.processes import KEY, Talker, address_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.function import CachedFunction
    from pcache.storage.recent import Held

    Function = CachedFunction[[int], Any]

ENTRY = "7" * 64 + "\n"


def text(n: int) -> str:
    return ENTRY * n


def numbers(n: int) -> list[int]:
    return list(range(n))


def array(n: int) -> Any:
    import numpy as np

    return np.arange(float(n))


def cache_at(folder: Path, **settings: Any) -> Cache:
    return Cache(folder / "cache", signing_key=KEY, **settings)


def tier_of(function: Function) -> Recent:
    store: Any = function._flow.store
    tier: Recent = store._recent
    return tier


def held_of(function: Function, n: int) -> Held | None:
    return tier_of(function)._held.get(address_of(function, n).name)


def settle(function: Function, n: int) -> None:
    """Call until the entry's file is known to be settled, some ticks of a clock."""
    while (held := held_of(function, n)) is None or held.settled is not held.identity:
        function(n)


def flip(path: Path) -> None:
    """Damage an entry, and restore its times as far as anyone can."""
    status = os.stat(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    while os.stat(path).st_ctime_ns == status.st_ctime_ns:
        with path.open("r+b") as file:
            file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def renamed(path: Path, data: bytes) -> None:
    (path.parent / "new").write_bytes(data)
    os.rename(path.parent / "new", path)


def in_place(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


# What others do to an entry of `text(1)`: the path, and the function of another process, which has the entry of 2, too.
CHANGES: dict[str, Callable[[Path, Function], object]] = {
    "nothing": lambda _path, _other: None,
    "used": lambda _path, other: other(1),
    "invalidated": lambda _path, other: other.invalidate(1),
    "invalidated and computed": lambda _path, other: (other.invalidate(1), other(1)),
    "refreshed": lambda _path, other: other.refresh(1),
    "put": lambda _path, other: other.put("other", 1),
    "cleared": lambda _path, other: other.cache_clear(),
    "evicted": lambda _path, other: other._flow.directory and Cache.over(other._flow.directory).evict(max_size=0),
    "recompressed": lambda _path, other: Cache.over(other._flow.directory).recompress(19),
    "unlinked": lambda path, _other: path.unlink(),
    "moved away": lambda path, _other: path.rename(path.parent / "away"),
    "shard moved away": lambda path, _other: path.parent.rename(path.parent.parent / "away"),
    "shard replaced by a copy": lambda path, _other: (
        path.parent.rename(path.parent.parent / "away"),
        shutil.copytree(path.parent.parent / "away", path.parent),
    ),
    "copied over": lambda path, _other: renamed(path, path.read_bytes()),
    "another entry in its place": lambda path, other: renamed(path, Path(place_of(other, 2)).read_bytes()),
    "one bit": lambda path, _other: flip(path),
    "cut short": lambda path, _other: os.truncate(path, os.path.getsize(path) - 1),
    "grown": lambda path, _other: os.truncate(path, os.path.getsize(path) + 1),
    "empty": lambda path, _other: os.truncate(path, 0),
    "unreadable": lambda path, _other: path.chmod(0),
    "writable by all": lambda path, _other: path.chmod(0o666),
    "a link": lambda path, _other: (path.rename(path.parent / "away"), path.symlink_to(path.parent / "away")),
    "a folder": lambda path, _other: in_place(path, os.mkdir),
    "a pipe": lambda path, _other: in_place(path, os.mkfifo),
    "of another user": lambda path, _other: os.chown(path, 12345, -1),
}


@pytest.mark.parametrize("state", ["fresh", "settled"])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_happens_to_an_entry_is_seen(tmp_path: Path, change: str, state: str) -> None:
    """A repeated call returns, and computes, what a process without memory would at the same moment."""
    if change == "of another user" and os.geteuid():
        pytest.skip("needs a superuser")
    outcomes = []
    for memory in (MEMORY, 0):
        folder = tmp_path / str(memory)
        function = cache_at(folder, memory=memory).cached(text)
        other = cache_at(folder).cached(text)
        assert function(1) == function(1) == ENTRY
        other(2)
        if memory and state == "settled":
            settle(function, 1)
        assert (held_of(function, 1) is not None) == bool(memory)
        CHANGES[change](Path(place_of(function, 1)), other)
        try:
            got = function.get(1)
        except Miss as miss:
            got = miss.reason
        misses = function.cache_info().misses
        outcomes.append((got, function(1), function.cache_info().misses - misses))
    assert outcomes[0] == outcomes[1]


def test_a_file_with_the_same_times_is_another_one(tmp_path: Path) -> None:
    """An entry that replaces one within a tick, with its inode, size and times, is told apart by its seal."""
    function, other = (cache_at(tmp_path).cached(text) for _ in range(2))
    for i in range(100):
        function.put(f"{i:05} mine", 1)
        assert function(1) == f"{i:05} mine"
        held = held_of(function, 1)
        assert held is not None
        other.invalidate(1)
        other.put(f"{i:05} else", 1)
        if i % 2:  # whether a file system gives both the same inode and time is a matter of luck
            status = os.stat(place_of(other, 1))
            held.identity = (status.st_ino, status.st_size, status.st_ctime_ns)
        assert function(1) == f"{i:05} else"


@pytest.mark.parametrize("function", [text, numbers, array])
def test_every_hit_is_an_object_of_its_own(tmp_path: Path, function: Callable[[int], Any]) -> None:
    """What a caller does to a result changes neither later results nor the file."""
    if function is array:
        pytest.importorskip("numpy")
    cached: Function = cache_at(tmp_path).cached(function)
    expected = list(function(50))
    cached(50)
    for _ in range(4):
        result = cached(50)
        assert list(result) == expected
        if function is not text:
            result[3] = -1
    assert held_of(cached, 50) is not None
    assert list(cache_at(tmp_path, memory=0).cached(function)(50)) == expected


def test_what_is_held(tmp_path: Path) -> None:
    """Texts of some MB and small arrays are held, mapped arrays and what is above 4 MiB are not."""
    pytest.importorskip("numpy")
    for compression in ("none", "auto"):
        cache = cache_at(tmp_path / compression, compression=compression)
        texts, arrays = cache.cached(text), cache_at(tmp_path / compression, compression="none").cached(array)
        for function, n, is_held in (
            (texts, 1, True),
            (texts, 1 << 15, True),  # 2 MiB
            (texts, 1 << 17, False),  # 8 MiB
            (arrays, 100, True),
            (arrays, 20_000, True),  # 160 kB, which are read
            (arrays, 100_000, False),  # 800 kB, which are mapped
        ):
            again: Function = cache_at(tmp_path / compression, compression=compression).cached(function.__wrapped__)
            for _ in range(3):
                function(n)
                again(n)
            assert [held_of(one, n) is not None for one in (function, again)] == [is_held] * 2, (function, n)


def test_checked_at_each_read(tmp_path: Path) -> None:
    """With `verify="always"` what has buffers of its own is read each time."""
    pytest.importorskip("numpy")
    cached: Function = cache_at(tmp_path, verify="always").cached(array)
    for _ in range(3):
        cached(5000)
    assert held_of(cached, 5000) is None


def test_large_entries_are_held_when_they_are_read_again(tmp_path: Path) -> None:
    """One pass over large entries takes no memory for them."""
    cache_at(tmp_path, compression="none").cached(text)(1 << 14)
    cached: Function = cache_at(tmp_path).cached(text)
    cached(1 << 14)
    assert len(tier_of(cached)) == 0
    cached(1 << 14)
    assert len(tier_of(cached)) == 1


def allocated(cached: Function, results: int, length: int) -> int:
    """The bytes that storing and calling so many results leaves allocated."""
    cached.put("", -1)  # loads modules
    before = tracemalloc.get_traced_memory()[0]
    for n in range(results):
        cached.put(ENTRY * length, n)
        cached(n)
        assert tier_of(cached).size <= tier_of(cached).limit
    return tracemalloc.get_traced_memory()[0] - before


@pytest.mark.parametrize("length", [1, 20, 200])
def test_the_limit_holds(tmp_path: Path, length: int) -> None:
    """What Python allocates for entries that are held stays below the limit, and is given back."""
    limit = 400_000
    results = 2 * limit // (1200 + 65 * length)
    tracemalloc.start()
    try:
        plain = cache_at(tmp_path / "without", memory=0)
        plain.clear()  # loads modules, which take memory as well
        without = allocated(plain.cached(text), results, length)
        cached: Function = cache_at(tmp_path / "with", memory=limit).cached(text)
        with_memory = allocated(cached, results, length)
        tier = tier_of(cached)
        assert with_memory - without <= limit * 1.1, (with_memory, without, len(tier))
        assert tier.size > limit * 0.8
        assert len(tier.spelled) == len(tier)
        before = tracemalloc.get_traced_memory()[0]
        Cache.over(cached._flow.directory).clear()
        assert (tier.size, len(tier), len(tier.spelled)) == (0, 0, 0)
        assert before - tracemalloc.get_traced_memory()[0] > limit * 0.5
    finally:
        tracemalloc.stop()


def test_a_lower_limit_gives_back(tmp_path: Path) -> None:
    """Entries go when the limit is lowered, and results are read from then on."""
    cached: Function = cache_at(tmp_path).cached(text)
    for n in range(5):
        cached(n)
    cached._flow.store.hold(0)
    assert (tier_of(cached).size, len(tier_of(cached))) == (0, 0)
    assert cached(1) == ENTRY
    assert len(tier_of(cached)) == 0


SHARED = """
tiers = []
for limit in (200_000, 100_000, 0):
    own = Cache(f"{sys.argv[1]}-{limit}", signing_key=bytes(range(32)), memory=limit)
    cached = own.cached(lambda n: n)
    for n in range(20):
        cached.put("x" * 13_000, n)
    tiers.append(own.flow.store._recent)
    print(own.settings.memory, *(tier.size for tier in tiers))
"""


def test_caches_of_a_process_share_the_largest_limit(tmp_path: Path) -> None:
    """Caches hold together no more than the largest of their limits; the one that holds most gives."""
    lines = [
        list(map(int, line.split())) for line in Talker("cache.flow.store.hold(0)\n" + SHARED, tmp_path / "c").finish()
    ]
    assert [line[0] for line in lines] == [200_000, 100_000, 0]
    assert [sum(line[1:]) <= 200_000 for line in lines] == [True] * 3
    assert lines[0][1] > 150_000
    assert 50_000 < lines[1][2] <= 100_000
    assert lines[2][1:] == [*lines[1][1:], 0]


def test_what_is_used_stays(tmp_path: Path) -> None:
    """Entries that are stored and not used do not replace one that is used again and again."""
    cached: Function = cache_at(tmp_path, memory=1_000_000).cached(text)
    cached.put("used", -1)
    cached.put(ENTRY * 50, -2)
    for n in range(600):
        cached.put(ENTRY * (50 if n % 10 else 1000), n)
        assert cached(-1) == "used"
    assert held_of(cached, -1) is not None
    assert held_of(cached, -2) is None


ADDED = """
import os, signal
from pcache.storage import recent
cached = cache.cached(lambda n: "x" * n)
for n in range(50):
    cached(n)
tier = cache.flow.store._recent
tier._lock.acquire()  # as a thread that does not live on in the child
tier.size += 12345
pid = os.fork()
if not pid:
    held, size = len(tier), tier.size
    ok = size == sum(one.size for one in tier._held.values()) and all(cached(n) == "x" * n for n in range(60))
    cached.invalidate(3)
    os._exit(0 if ok and held == 50 and len(tier) == 59 else 1)
say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(tier))
misses = cached.cache_info().misses
say(cached(3) == "xxx", cached.cache_info().misses - misses)
say(cached(59) == "x" * 59, cached.cache_info().misses - misses)
"""


def test_a_child_goes_on_with_what_its_parent_held(tmp_path: Path) -> None:
    """A fork takes entries along, not locks; what the child drops or stores, the parent sees in the directory."""
    child = Talker(ADDED, tmp_path / "cache")
    assert child.finish() == ["0 50", "True 1", "True 1"]


def test_threads(tmp_path: Path) -> None:
    """Threads that hit, replace and drop entries of a tier that is too small get right results; sizes stay true."""
    cached: Function = cache_at(tmp_path, memory=60_000).cached(text)
    wrong, start = [], threading.Barrier(4)

    def work(seed: int) -> None:
        start.wait()
        for i in itertools.islice(itertools.count(seed * 7919), 400):
            n = i % 40
            if i % 29 == 0:
                cached.invalidate(n)
            elif i % 31 == 0:
                cached.refresh(n)
            elif cached(n) != text(n):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tier = tier_of(cached)
    assert not wrong
    assert len(tier) > 0
    assert tier.size <= 60_000
    assert tier.size == sum(held.size for held in tier._held.values())
    assert {address.name for address in tier.spelled.values()} == set(tier._held)


def test_hits_from_memory_are_counted(tmp_path: Path) -> None:
    """Statistics count them as any other hit, with the bytes of the entry."""
    cache = cache_at(tmp_path)
    cached: Function = cache.cached(text)
    for _ in range(5):
        cached(1)
    info, stats = cached.cache_info(), cache.stats()
    assert (info.hits, info.misses) == (4, 1)
    assert (stats.hits, stats.misses) == (4, 1)
    assert cached._tally.read_bytes == 4 * os.path.getsize(place_of(cached, 1))


def test_ages_and_homes_belong_to_the_function(tmp_path: Path) -> None:
    """Two functions that share an entry keep to their own age limits, though it is held once."""
    cache = cache_at(tmp_path)
    patient, hasty = cache.cached(text), cache.cached(ttl=1e-9)(text)
    patient(1)
    assert place_of(patient, 1) == place_of(hasty, 1)
    for _ in range(3):
        assert patient.exists(1)
        assert not hasty.exists(1)


ALIKE: list[Any] = [
    1,
    True,
    1.0,
    "1",
    b"1",
    0,
    False,
    0.0,
    -0.0,
    None,
    "",
    b"",
    "None",
    float("nan"),
    -float("nan"),
    2**64,
]
ALIKE += [bytearray(b"1"), (1,), [1], "\ud800", "\x00", 10**30, -1, "a" * 101, {1}, {1: 1}, {"1": 1}]


def of(value: object) -> object:
    return value


def test_arguments_that_are_equal_are_told_apart(tmp_path: Path) -> None:
    """Calls are found again in memory by types and bits: each finds its own result."""
    cached: Any = cache_at(tmp_path).cached(of)
    addresses = [address_of(cached, value).name for value in ALIKE]
    assert len(set(addresses)) == len(ALIKE)
    for _ in range(3):
        for value in ALIKE:
            assert repr(cached(value)) == repr(value)
        assert [address_of(cached, value).name for value in ALIKE] == addresses
    assert cached.cache_info().misses == len(ALIKE)
