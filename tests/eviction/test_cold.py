"""What is compressed when it is stored, what later by upkeep, and that nothing is lost on the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pcache import Cache, Miss
from pcache.entry import mtime
from pcache.entry.compression import RAW, ZSTD
from pcache.entry.inspector import inspect_file
from pcache.eviction import usage
from pcache.eviction.cold import LARGEST, ColdPacker, slice_of
from pcache.layout import usage_path
from tests.support.processes import KEY, RING, Block, Talker, claims_below, place_of, run

SECOND, MINUTE, HOUR, DAY = 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9
MIB = 1 << 20
WARM = 2 * SECOND  # of an array of 1 MiB: too cheap to compress it at once, dear enough for doing so later


def give(n: int) -> Any:
    raise AssertionError("what is stored is not computed")


def text(n: int, size: int = 100_000) -> str:
    return (f"{n} and so on, " * (size // 10))[:size]


def array(n: int, size: int = MIB) -> Block:
    return Block((n % 251).to_bytes(1, "little") * size)


class Form(NamedTuple):
    """How the parts of an entry are stored."""

    stream: int
    buffers: list[int]


def form_of(function: Any, n: int) -> Form:
    found = inspect_file(place_of(function, n), RING, buffers=True)
    return Form(found.header.codec, [row.codec for row in found.rows])


def store(function: Any, n: int, value: object, cost_ns: int, *, idle_ns: int = 0) -> Path:
    """Store a result as a call that took so long would have, and say that it was last used some time ago."""
    job, saving = function._calls.job(function._calls.of((n,), {})), function._flow.saving
    claim = saving.claim(job)
    assert claim is not None
    assert saving.settle(claim, job, value, cost_ns, Miss("absent"))
    path = Path(place_of(function, n))
    assert cost_ns != WARM or path.stat().st_size > MIB
    stamp = mtime.unpack(path.stat().st_mtime_ns)
    packed = mtime.pack(stamp._replace(used_ns=stamp.used_ns - idle_ns, uses=7))
    os.utime(path, ns=(packed, packed))
    return path


def identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache so large that its calls see to nothing by themselves."""
    return Cache(tmp_path / "cache", signing_key=KEY, min_free=0, max_size=1 << 40)


def upkeep(cache: Cache, cost_ns: int = 0) -> None:
    """What a call does that has written as much as makes it look after the others."""
    limiter = cache.flow.saving.limiter
    scope = next(iter(limiter._scopes_of("")))
    limiter._look(scope, (0, usage.Amount()), cost_ns=cost_ns)


# When it is stored


DEAR: dict[str, tuple[int, Any, Form]] = {
    "50 ms, 1 MB of text": (SECOND // 20, text(1, 1_000_000), Form(RAW, [])),
    "50 ms, 100 kB of text": (SECOND // 20, text(1), Form(ZSTD, [])),
    "5 ms, 100 kB of text": (SECOND // 200, text(1), Form(RAW, [])),
    "1 s, 1 MB of text": (SECOND, text(1, 1_000_000), Form(ZSTD, [])),
    "an hour, below 4 KiB": (HOUR, text(1, 4000), Form(RAW, [])),
    "1 s, an array": (SECOND, array(1), Form(RAW, [RAW])),
    "5 s, a small array": (5 * SECOND, array(1, 200_000), Form(RAW, [ZSTD])),
    "a minute, an array": (MINUTE, array(1), Form(RAW, [ZSTD])),
    "a minute, noise": (MINUTE, Block(os.urandom(MIB)), Form(RAW, [RAW])),
    "put, text": (0, text(1), Form(ZSTD, [])),
    "put, an array": (0, array(1), Form(RAW, [RAW])),
}


@pytest.mark.parametrize("name", DEAR)
def test_what_is_dear_is_compressed(cache: Cache, name: str) -> None:
    """By what the call took, a hundredth for what is read anyway and a thousandth for what would be mapped."""
    cost_ns, value, form = DEAR[name]
    cached = cache.cached(give)
    store(cached, 1, value, cost_ns)
    assert form_of(cached, 1) == form
    assert cached(1) == value


def test_parts_share_what_there_is(cache: Cache) -> None:
    """Of ten buffers as many are compressed as a hit may unpack together; noise uses nothing up."""
    cached = cache.cached(give)
    store(cached, 1, [Block(os.urandom(MIB)), *(array(n) for n in range(10))], 10 * SECOND)
    assert form_of(cached, 1).buffers == [RAW, *[ZSTD] * 4, *[RAW] * 6]
    assert cached(1)[1:] == [array(n) for n in range(10)]


@pytest.mark.parametrize(("setting", "codec"), [("none", RAW), (1, ZSTD), (19, ZSTD), (-5, ZSTD)])
def test_a_setting_forces_it(tmp_path: Path, setting: str | int, codec: int) -> None:
    """Whatever the call took, the setting decides, then and later."""
    cache = Cache(tmp_path / "cache", signing_key=KEY, min_free=0, compression=setting)
    cached = cache.cached(give)
    for n, cost_ns in enumerate((1000, HOUR)):
        store(cached, n, [text(n), array(n)], cost_ns, idle_ns=30 * DAY)
        assert form_of(cached, n) == Form(codec, [codec])
    upkeep(cache)
    assert [form_of(cached, n) for n in range(2)] == [Form(codec, [codec])] * 2


# Later


def test_what_is_cold_is_compressed_by_upkeep(cache: Cache) -> None:
    """It keeps its value, times, cost and uses, and takes less room; the sum of all is told."""
    cached, value = cache.cached(give), [text(1, 20_000), array(1)]
    path = store(cached, 1, value, WARM, idle_ns=2 * DAY)
    fresh = store(cached, 2, value, WARM)
    header, before = inspect_file(str(path), RING).header, path.stat()
    upkeep(cache)
    assert (form_of(cached, 1), form_of(cached, 2)) == (Form(ZSTD, [ZSTD]), Form(ZSTD, [RAW]))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)
    assert after.st_size < 10_000 < MIB < before.st_size
    same = inspect_file(str(path), RING).header
    assert same[:7] == header[:7]  # keys, times and cost
    assert (same.flags, same.meta_length) == (header.flags, header.meta_length)
    assert cached(1) == value == cached(2)
    assert cached.cache_info().misses == 0
    cache.flow.saving.limiter.flush()
    sizes = [-(-one.stat().st_size // 4096) * 4096 for one in (path, fresh)]
    rows = usage.read(usage_path(cache.location))
    assert rows is not None
    assert usage.total_of(rows) == usage.Amount(2, sum(sizes))


ALONE: dict[str, tuple[Any, int, int]] = {
    "cheap to map": (array(1), SECOND // 5, 9 * DAY),
    "cheap to read": (text(1, 1_000_000), SECOND // 20, 9 * DAY),
    "used today": (array(1), WARM, HOUR),
    "noise": (Block(os.urandom(MIB)), WARM, 9 * DAY),
    "large": (array(1, LARGEST), 60 * SECOND, 9 * DAY),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_upkeep_leaves_alone(cache: Cache, name: str) -> None:
    """Where a hit would take more than a hundredth of what it spares, and where nothing is won."""
    value, cost_ns, idle_ns = ALONE[name]
    cached = cache.cached(give)
    path = store(cached, 1, value, cost_ns, idle_ns=idle_ns)
    before = identity(path)
    upkeep(cache, cost_ns=HOUR)
    assert identity(path) == before


def test_calls_that_store_do_it(tmp_path: Path) -> None:
    """No command is needed: a program that goes on storing compresses what is cold, of others too."""
    cache = Cache(tmp_path / "cache", signing_key=KEY, min_free=0, max_size=200 * MIB)
    cached = cache.cached(give)
    paths = [store(cached, n, array(n), WARM, idle_ns=2 * DAY) for n in range(8)]
    other = Cache(tmp_path / "cache", signing_key=KEY, min_free=0, max_size=200 * MIB).cached(os.urandom)
    for n in range(200_000, 200_030):
        other(n)
    assert max(path.stat().st_size for path in paths) < 10_000
    assert [cached(n) for n in range(8)] == [array(n) for n in range(8)]


def test_room_is_made_by_compressing_first(tmp_path: Path) -> None:
    """Where the limit is reached, results that shrink stay: none of them is evicted."""
    cache = Cache(tmp_path / "cache", signing_key=KEY, min_free=0, max_size=12 * MIB)
    cached = cache.cached(give)
    for n in range(40):
        store(cached, n, array(n), WARM, idle_ns=HOUR)
    entries = [entry for entry in cache.entries() if entry.size < 10_000]
    assert len(list(cache.entries())) == 40
    assert len(entries) >= 28
    assert [cached(n) for n in range(40)] == [array(n) for n in range(40)]


def test_a_slice_is_a_share_of_the_call() -> None:
    """A call that took 50 ms gives 20 ms, one that took an hour half a second."""
    assert [slice_of(cost) for cost in (0, SECOND // 20, 2 * SECOND, HOUR)] == [0.02, 0.02, 0.1, 0.5]


def test_what_is_computed_anew_is_left_alone(cache: Cache) -> None:
    """An entry whose claim somebody holds is not touched, and the claim stays."""
    cached = cache.cached(give)
    path = store(cached, 1, array(1), WARM, idle_ns=2 * DAY)
    job = cached._calls.job(cached._calls.of((1,), {}))
    claim = cache.flow.saving.claim(job)
    assert claim is not None
    before = identity(path)
    upkeep(cache)
    assert identity(path) == before
    assert claim.is_standing()
    claim.abandon()


READER = """
from tests.eviction.test_cold import Cache, KEY, array, give
cached = Cache(sys.argv[1], signing_key=KEY).cached(give)
held = [cached(n) for n in range(8)]
say("ready")
wrong = turns = 0
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    turns += 1
    wrong += any(cached(n) != array(n) for n in range(8))
wrong += any(bytes(memoryview(one)) != array(n) for n, one in enumerate(held))
say(wrong, turns > 0, cached.cache_info().misses)
"""


def test_readers_meanwhile(cache: Cache) -> None:
    """A process that reads them all the time gets the right values, and what it has mapped stays what it was."""
    cached = cache.cached(give)
    paths = [store(cached, n, array(n), WARM, idle_ns=2 * DAY) for n in range(8)]
    reader = Talker(READER, cache.location)
    assert reader.hear() == "ready"
    packer = ColdPacker(cache.directory)
    packed = [item.path for item, _ in packer.pack(list(cache.flow.store.scan()), idle=0.0, seconds=60.0)]
    assert sorted(packed) == sorted(map(str, paths))
    assert max(path.stat().st_size for path in paths) < 10_000
    reader.say("end")
    assert reader.finish() == ["0 True 0"]


KILLED = """
from tests.eviction.test_cold import Cache, KEY, array, give, upkeep
cache = Cache(sys.argv[1], signing_key=KEY, min_free=0)
cache.cached(give)
event, number, seen = sys.argv[2], int(sys.argv[3]), 0
def hook(name, arguments):
    global seen
    if name == event and ".claim" in str(arguments[0]):
        seen += 1
        if seen == number:
            os.kill(os.getpid(), 9)
cache.flow.saving.limiter, sys.addaudithook(hook)
upkeep(cache, 10**12)
say("done")
"""


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("event", ["open", "os.utime", "os.rename", "os.remove"])
def test_killed_in_the_middle(cache: Cache, event: str, number: int) -> None:
    """Wherever it is killed, each result is there, whole, as it was or compressed; the next upkeep ends the work."""
    cached = cache.cached(give)
    paths = [store(cached, n, array(n), WARM, idle_ns=2 * DAY) for n in range(2)]
    victim = Talker(KILLED, cache.location, event, number)
    victim.process.communicate()
    assert victim.process.returncode in (-9, 0)
    assert cache.verify().problems == ()
    upkeep(cache, HOUR)
    assert max(path.stat().st_size for path in paths) < 10_000
    assert [cached(n) for n in range(2)] == [array(n) for n in range(2)]
    cache.verify(repair=True)
    assert claims_below(cache.location) == []


PEAK = """
import resource
from tests.eviction.test_cold import Block, Cache, KEY, SECOND, form_of, give, store
size, cost_ns = int(sys.argv[2]), int(sys.argv[3])
cached = Cache(sys.argv[1], signing_key=KEY, min_free=0, max_size="100 GiB").cached(give)
store(cached, 0, Block(b"x" * 100_000), 10**12)
value = Block(size)
memoryview(value)[::4096] = b"xyz" * (size // 4096 // 3) + b"x" * (size // 4096 % 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store(cached, 1, value, cost_ns)
say(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, form_of(cached, 1).buffers[0])
"""


@pytest.mark.parametrize(("cost_ns", "codec"), [(SECOND, RAW), (HOUR, ZSTD)], ids=["as it is", "compressed"])
def test_storing_takes_no_second_copy(tmp_path: Path, cost_ns: int, codec: int) -> None:
    """A large array is written out of its own memory: a twentieth more at most, and what it shrinks to."""
    size = 200 * MIB
    more, found = map(int, run(PEAK, tmp_path / "cache", size, cost_ns)[0].split())
    assert found == codec
    assert more * 1024 < size * 0.05
