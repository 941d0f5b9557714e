"""Limits that are kept while results are stored, by one process and by many, and what is said about it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, StoreWarning
from pcache.counters import ledger
from pcache.entry.mtime import Stamp, pack
from pcache.eviction import limiter, usage
from pcache.eviction.usage import Amount
from pcache.layout import usage_path
from pcache.versions import registry
from tests.support.processes import KEY, RING, Talker, claims_below, place_of, run
from tests.support.running import run as run_script
from tests.support.running import write

BLOCK = 4096
HOUR = 3600 * 10**9
MIB = 1 << 20


def cache_at(root: Path, **settings: Any) -> Cache:
    return Cache(root, signing_key=KEY, **settings)


def noise(n: int, size: int = 10) -> bytes:
    return os.urandom(size)


def other(n: int) -> bytes:
    return os.urandom(10)


def files(root: Path) -> list[Path]:
    """The entries, as a walk through the directory finds them."""
    names = (path for path in (root / "v1" / "entries").rglob("*") if path.is_file())
    return [path for path in names if ".claim" not in path.name]


def taken(root: Path) -> Amount:
    """What entries take, by what the file system says it gave them."""
    sizes = [max(-(-path.stat().st_size // BLOCK) * BLOCK, path.stat().st_blocks * 512) for path in files(root)]
    return Amount(len(sizes), sum(sizes))


def known(root: Path) -> Amount | None:
    """What processes know to lie there."""
    rows = usage.read(usage_path(str(root)))
    return None if rows is None else usage.total_of(rows)


def path_of(function: Any, *args: Any) -> str:
    return str(place_of(function, *args))


def restamp(function: Any, n: int, *, hours: float = 0.0, **facts: int) -> None:
    """Have an entry say that it was last used some hours ago, and what else is given."""
    mtime = pack(Stamp(time.time_ns() - int(hours * HOUR), **facts))
    os.utime(path_of(function, n), ns=(mtime, mtime))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# Kept


def test_max_entries_is_kept(root: Path) -> None:
    """At no time are there more entries than allowed, and an eviction leaves most of them."""
    cached = cache_at(root, max_entries=40).cached(noise)
    numbers = []
    for n in range(150):
        cached(n)
        numbers.append(taken(root).entries)
    assert numbers[:40] == list(range(1, 41))
    assert max(numbers) == 40
    assert min(numbers[40:]) >= 34


def test_max_size_is_kept(root: Path) -> None:
    """At no time do entries take more room than allowed, whatever their sizes."""
    cached = cache_at(root, max_size=MIB).cached(noise)
    sizes = []
    for n in range(120):
        cached(n, 1000 * (1 + 37 * n % 97))
        sizes.append(taken(root).size)
    assert max(sizes) <= MIB
    assert min(sizes[60:]) > 0.75 * MIB


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_very_small_limits(root: Path, limit: int) -> None:
    """A limit of one entry keeps one: the one that was stored last."""
    cached = cache_at(root, max_entries=limit).cached(noise)
    for n in range(20):
        value = cached(n)
        assert cached(n) == value
        assert 1 <= taken(root).entries <= limit


STORING = """
def noise(n, size):
    return os.urandom(size)
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), **eval(sys.argv[3]))
cached = cache.cached(noise)
say("ready")
hear()
for n in range(150):
    assert len(cached(1000 * int(sys.argv[2]) + n, 9000 if n % 3 else 20)) in (9000, 20)
say("done")
"""


@pytest.mark.parametrize(("settings", "at_most"), [({"max_entries": 40}, 40), ({"max_size": MIB}, MIB)])
def test_four_processes_keep_a_limit(root: Path, settings: dict[str, int], at_most: int) -> None:
    """Four processes that store at the same time keep to a limit, but for what is written while one of them evicts."""
    processes = [Talker(STORING, root, n, settings) for n in range(4)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    for process in processes:
        assert process.finish()[-1] == "done"
    unit = 1 if at_most == 40 else 3 * BLOCK
    left = taken(root).entries if at_most == 40 else taken(root).size
    # While one evicted, the others went on; the last results of each may be more than it could tell.
    assert 0.6 * at_most < left <= at_most + 4 * unit
    cache = cache_at(root, **settings)
    assert cache.verify().problems == ()
    for n in range(10):  # on a busy machine an eviction may end early where little is in excess: the next call goes on
        cache.cached(noise)(n)
        left = taken(root).entries if at_most == 40 else taken(root).size
        if left <= at_most:
            break
    assert left <= at_most


def test_clearing_while_others_evict(root: Path) -> None:
    """A directory that is cleared and evicted again and again while others store and evict hurts nobody."""
    processes = [Talker(STORING, root, n, {"max_entries": 40}) for n in range(3)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    cache, removed = cache_at(root), 0
    while any(process.process.poll() is None for process in processes):
        removed += cache.clear().entries + cache.evict(max_entries=5).entries
    assert removed > 0
    for process in processes:
        assert process.finish()[-1] == "done"
    assert cache.verify().problems == ()
    assert cache.cached(noise)(1) == cache.cached(noise)(1)


def test_a_limit_below_one_entry(root: Path) -> None:
    """Where not even one result has room, each is returned, none is kept, and it is said once."""
    cached = cache_at(root, max_size=100).cached(noise)
    with pytest.warns(StoreWarning, match=r"it takes 4 KiB, which is more than a tenth of max_size, 100 B") as caught:
        assert [len(cached(n)) for n in range(5)] == [10] * 5
    assert len(caught) == 1
    assert taken(root).entries == 0


def test_short_processes_keep_a_limit(root: Path) -> None:
    """Caches that come and go, each storing less than is told at once, keep to the limit together."""
    for n in range(120):
        cached = cache_at(root, max_entries=40).cached(noise)
        cached(n)
        del cached
    assert taken(root).entries <= 40


def test_short_caches_keep_a_large_limit(root: Path) -> None:
    """Where none of them stores as much as is told at once, each looks at what those before it have told."""
    for n in range(30):
        cached = cache_at(root, max_size=20 * 4096 * 2048, min_free=0).cached(noise)
        cached(n)
        del cached
        gc.collect()
    assert known(root) == Amount(30, 30 * 4096)
    path = usage_path(str(root))
    usage.add(path, {7: Amount(1, 20 * 4096 * 2048)})  # told by somebody who left
    cache_at(root, max_size=20 * 4096 * 2048, min_free=0).cached(noise)(30)
    gc.collect()
    assert known(root) == Amount(31, 31 * 4096)


def test_a_large_limit_is_told_in_shares(root: Path) -> None:
    """With a limit of millions a result does not touch the file of all; the end of the cache does."""
    cache = cache_at(root)
    cached = cache.cached(noise)
    path = usage_path(str(root))
    for n in range(20):
        cached(n)
    assert usage.read(path) is None
    cache.flow.saving.limiter.flush()
    assert known(root) == taken(root)
    assert taken(root).entries == 20


def test_the_file_of_all_says_what_there_is(root: Path) -> None:
    """Stored, evicted or stored again: the number that rests on what processes told is that of the directory."""
    cache = cache_at(root, max_entries=40)
    cached = cache.cached(noise)
    for n in range(130):
        cached(n)
        assert known(root) == taken(root)


# What is not evicted


def test_what_was_replaced_evicts_nothing(root: Path) -> None:
    """Results that are stored again and again, or cleared between, do not count twice."""
    cache = cache_at(root, max_entries=40)
    cached, again = cache.cached(noise), cache.cached(other)
    for n in range(20):
        again(n)
    for _ in range(100):
        cached.refresh(1)
    assert taken(root).entries == 21
    for n in range(100):
        cached(n + 5)
        cached.invalidate(n + 5)
    for n in range(5):
        for m in range(10):
            cached(100 * n + m)
        cached.cache_clear()
    assert all(again.exists(n) for n in range(20))


def test_results_that_could_not_be_written_evict_nothing(root: Path) -> None:
    """A write that fails does not count for longer than until the next look."""
    import resource

    cache = cache_at(root, max_size=MIB)
    cached = cache.cached(noise)
    for n in range(10):
        cached(n)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.warns(StoreWarning, match="File too large"):
            cached(100, 90_000)
        for n in range(50):
            cache.flow.saving._stopped_until = 0.0
            cached(n + 101, 90_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    cache.flow.saving._stopped_until = 0.0
    cached(10)
    assert [cached.exists(n) for n in range(11)] == [True] * 11


# Single functions


def test_the_limit_of_one_function(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's own limit evicts its entries and no others', in every version of it."""
    write(tmp_path / "pyproject.toml", f'[tool.pcache.functions."{__name__}:noise"]\nmax_entries = 10').chmod(0o600)
    monkeypatch.chdir(tmp_path)
    cache = cache_at(root)
    neighbour, cached, newer = cache.cached(other), cache.cached(noise), cache.cached(version=2)(noise)
    for n in range(30):
        neighbour(n)
        restamp(neighbour, n, hours=100)
    for n in range(40):
        (newer if n % 2 else cached)(n)
        own = [path.name for path in files(root) if not path.name.startswith(neighbour.function_id)]
        assert len(own) <= 10
    assert all(neighbour.exists(n) for n in range(30))


def test_a_function_that_fills_its_own_limit_evicts_no_others(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a function evicts of its own does not count towards the limit of all."""
    write(tmp_path / "pyproject.toml", f'[tool.pcache.functions."{__name__}:noise"]\nmax_size = 40960').chmod(0o600)
    monkeypatch.chdir(tmp_path)
    cache = cache_at(root, max_entries=60)
    neighbour, cached = cache.cached(other), cache.cached(noise)
    for n in range(40):
        neighbour(n)
    for n in range(200):
        cached(n)
    assert all(neighbour.exists(n) for n in range(40))
    assert taken(root).entries <= 50


# Refused


def test_an_oversized_result_is_refused(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A result that would take a tenth of the limit is returned and not stored, with one warning a function."""
    cached = cache_at(root, max_size=MIB).cached(noise)
    for n in range(30):
        cached(n)
    before = {path.name for path in files(root)}
    with pytest.warns(StoreWarning) as caught:
        assert [len(cached(n, 200_000)) for n in range(3)] == [200_000] * 3
    (message,) = [str(warning.message) for warning in caught]
    assert f"a result of {__name__}:noise is not stored: it takes 196 KiB" in message
    assert "a tenth of max_size, 1 MiB" in message
    assert "max_size=" in message
    assert "PCACHE_MAX_SIZE" in message
    assert {path.name for path in files(root)} == before
    assert claims_below(root) == []
    assert len(cached(0, 90_000)) == 90_000
    assert cached.exists(0, 90_000)


def test_a_functions_limit_refuses_what_is_larger(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result may take all of its function's own limit, and no more."""
    write(tmp_path / "pyproject.toml", '[tool.pcache.functions."*:noise"]\nmax_size = "64 KiB"').chmod(0o600)
    monkeypatch.chdir(tmp_path)
    cached = cache_at(root).cached(noise)
    cached(1, 60_000)
    with pytest.warns(StoreWarning, match=r"more than max_size of .*:noise, 64 KiB"):
        cached(2, 70_000)
    assert (cached.exists(1, 60_000), cached.exists(2, 70_000)) == (True, False)


# What goes first


def test_expired_entries_go_first(root: Path) -> None:
    """What has expired goes before anything that has not, however dear it was."""
    cached = cache_at(root, max_entries=20).cached(noise)
    for n in range(20):
        cached(n)
        restamp(cached, n, hours=3 if n < 5 else 20, cost_ns=HOUR if n < 5 else 1000)
    for n in range(5):
        restamp(cached, n, hours=3, cost_ns=HOUR, expires_ns=time.time_ns() - 2 * HOUR)
    cached(20)
    assert [os.path.exists(path_of(cached, n)) for n in range(21)] == [False] * 5 + [True] * 16


SCRIPT = """
import os, sys
from pcache import Cache
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=20)
@cache.cached
def work(n):
    return VALUE
@cache.cached
def neighbour(n):
    return n
for n in range(int(sys.argv[2]), int(sys.argv[3])):
    (work if sys.argv[4] == "work" else neighbour)(n)
print(work.function_id, neighbour.function_id)
"""


def test_superseded_entries_go_first(root: Path, tmp_path: Path) -> None:
    """The results of code that was edited go before those of code that is still there."""
    script = write(tmp_path / "script.py", SCRIPT.replace("VALUE", "n"))
    old, _ = run_script(script, root, 0, 10, "work")[0].split()
    script.write_text(SCRIPT.replace("VALUE", "n + 1"))
    for path in files(root):
        mtime = pack(Stamp(time.time_ns(), cost_ns=HOUR))
        os.utime(path, ns=(mtime, mtime))
    run_script(script, root, 0, 10, "neighbour")
    assert len(files(root)) == 20
    _, neighbour = run_script(script, root, 10, 14, "neighbour")[0].split()
    names = [path.name[:16] for path in files(root)]
    assert names.count(neighbour) == 14
    assert names.count(old) <= 6


def test_what_is_worth_least_goes_first(root: Path) -> None:
    """The cheapest go, but for the two used last, and with policy="lru" those that were not used for longest."""
    for policy, gone in (("value", {2, 3, 4}), ("lru", {17, 18, 19})):
        place = root.with_name(policy)
        cached = cache_at(place, max_entries=20, policy=policy).cached(noise)
        for n in range(20):
            cached(n)
        for n in range(20):
            restamp(cached, n, hours=1 + n, cost_ns=10**6 * 4**n)
        cached(20)
        there = {n for n in range(21) if os.path.exists(path_of(cached, n))}
        assert there == set(range(21)) - gone, policy


# What is said


def test_the_first_eviction_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning names the directory, the limit and how to change it; later evictions are told as information."""
    cached = cache_at(root, max_entries=20, max_size="2 GiB").cached(noise)
    with caplog.at_level(logging.INFO, "pcache"):
        for n in range(20):
            cached(n)
        assert caplog.messages == []
        for n in range(20, 60):
            cached(n)
        again = cache_at(root, max_entries=20).cached(noise)
        for n in range(60, 90):
            again(n)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith(f"{root} has reached its limit, max_entries = 20: ")
    for word in ("Cache(...)", "[tool.pcache]", "PCACHE_MAX_SIZE", "pcache config"):
        assert word in warning
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert len(told) > 10
    assert all(text.startswith("evicted ") and str(root) in text for text in told)


def test_what_was_evicted_is_counted(root: Path) -> None:
    """The ledger has how many entries were evicted, their room and what they had cost."""
    cache = cache_at(root, max_entries=20)
    cached = cache.cached(noise)
    for n in range(20):
        cached(n)
        restamp(cached, n, cost_ns=10**9)
    cached(20)
    assert cache.flow.ledger.flush()
    amounts = {counter: n for (_, name, counter), n in ledger.read(str(root), RING).amounts.items() if not name}
    gone = 21 - taken(root).entries
    assert (amounts["evicted"], amounts["evicted_bytes"]) == (gone, gone * BLOCK)
    assert 0.89 * gone * 10**9 <= amounts["evicted_ns"] <= 1.13 * gone * 10**9


LAST = """
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=4096)
cached = cache.cached(lambda n: n)
for n in range(4097):
    cached(n)
say(sum(1 for _ in cache.flow.store.scan()))
"""


def test_what_is_evicted_at_the_end_is_counted(root: Path) -> None:
    """A process that ends looks once more, and the ledger has what it evicted then."""
    assert run(LAST, root) == ["4097"]
    amounts = {counter: n for (_, name, counter), n in ledger.read(str(root), RING).amounts.items() if not name}
    assert amounts["evicted"] == 4097 - taken(root).entries > 0


# A disk that is nearly full


def free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def test_min_free_is_kept(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the limits for large disks a small one keeps its free part, and the warning names it."""
    cached = cache_at(small_disk / "cache", min_free=0.5).cached(noise)
    with caplog.at_level(logging.WARNING, "pcache"):
        for n in range(120):
            cached(n)
            # The directories of new shards and our own files are no entries.
            assert free(small_disk) >= 0.5 * 512 * 1024 - 5 * BLOCK, n
    assert taken(small_disk / "cache").entries > 30
    (warning,) = caplog.messages
    assert "min_free = 0.5 of the disk" in warning


def test_a_disk_that_others_fill(small_disk: Path) -> None:
    """Where others have taken what should stay free, the cache does not grow, and results are returned."""
    cached = cache_at(small_disk / "cache", min_free=0.3).cached(noise)
    for n in range(20):
        cached(n)
    (small_disk / "others").write_bytes(bytes(free(small_disk) - 100_000))
    before = taken(small_disk / "cache").size
    for n in range(20, 80):
        assert len(cached(n)) == 10
        assert taken(small_disk / "cache").size <= before
    assert taken(small_disk / "cache").entries > 0


# Others

HOLDER = """
from pcache.system.locks import try_lock
locks = os.path.join(sys.argv[1], "v1", "locks")
os.makedirs(locks, 0o700, exist_ok=True)
held = try_lock(os.path.join(locks, "evict"))
say("held")
hear()
"""


@pytest.mark.parametrize("how", ["running", "stopped"])
def test_an_evicting_process_blocks_nobody(root: Path, how: str) -> None:
    """While another process has the right to evict, others go on storing; later they make up for it."""
    cached = cache_at(root, max_entries=40).cached(noise)
    cached(0)
    holder = Talker(HOLDER, root)
    holder.hear()
    if how == "stopped":
        os.kill(holder.pid, signal.SIGSTOP)
    started = time.monotonic()
    for n in range(100):
        cached(n)
    assert time.monotonic() - started < 10
    assert taken(root).entries <= 42  # a twenty-fifth over the limit, nobody leaves it to the other any more
    holder.kill()
    cached(100)
    assert taken(root).entries <= 40


KILLED = """
from pcache.storage import local
def noise(n):
    return os.urandom(10)
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=40)
cached = cache.cached(noise)
for n in range(40):
    cached(n)
unlinked = 0
def hook(event, arguments):
    global unlinked
    if event == "os.remove" and len(str(arguments[0])) == 57:  # the name of an entry
        unlinked += 1
        if unlinked == 3:
            os.kill(os.getpid(), 9)
sys.addaudithook(hook)
cached(40)
"""


def test_a_process_killed_while_it_evicts(root: Path) -> None:
    """What it had removed is gone, the rest is whole, and the next process keeps the limit."""
    victim = Talker(KILLED, root)
    assert victim.process.wait(60) == -9
    victim.process.communicate()
    cache = cache_at(root, max_entries=40)
    assert taken(root).entries == 38
    assert cache.verify().problems == ()
    cached = cache.cached(noise)
    for n in range(100, 200):
        cached(n)
        assert taken(root).entries <= 40
    assert known(root) == taken(root)


READING = """
def f(n):
    return [n] * 500
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=30)
cached = cache.cached(f)
say("ready")
hear()
wrong = 0
for turn in range(600):
    n = (turn * 7 + int(sys.argv[2])) % 60
    wrong += cached(n) != [n] * 500
say(wrong, cached.cache_info()[:2])
"""


def test_entries_that_are_evicted_while_others_read(root: Path) -> None:
    """Processes that read what others evict get values or compute them, and never an error."""
    processes = [Talker(READING, root, n) for n in (0, 1, 2, 3)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    for process in processes:
        assert process.finish()[0].startswith("0 (")
    assert cache_at(root).verify().problems == ()


UNWRITABLE = """
import warnings
def noise(n):
    return os.urandom(10)
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=10)
cached = cache.cached(noise)
for n in range(10):
    cached(n)
cache.flow.saving.limiter.flush()
if sys.argv[2] == "root":
    import ctypes
    os.setresuid(1, 1, 1)
else:
    for folder, _, _ in os.walk(os.path.join(sys.argv[1], "v1", sys.argv[2])):
        os.chmod(folder, 0o500)
    os.setresuid(1, 1, 1)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for n in range(10, 30):
        assert len(cached(n)) == 10
say("done")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("folder", ["entries", "ledger", "root"])
def test_a_directory_that_can_only_be_read(root: Path, folder: str, tmp_path: Path) -> None:
    """Where nothing can be removed or told any more, calls still return their results."""
    root.mkdir(mode=0o700)
    script = UNWRITABLE if folder == "root" else UNWRITABLE.replace("    os.setresuid(1, 1, 1)\nwith", "with")
    assert run(script, root, folder)[-1] == "done"


def test_no_limit_of_entries_is_none(root: Path) -> None:
    """Without a limit nothing is evicted."""
    cached = cache_at(root).cached(noise)
    for n in range(200):
        cached(n)
    assert taken(root).entries == 200


# Locks that somebody holds for ever

HOLDERS = """
import fcntl
for name in sys.argv[2:]:
    path = os.path.join(sys.argv[1], "v1", name)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.utime(path, (1, 1))
say("held")
hear()
"""


@pytest.mark.parametrize("names", [["ledger/occupancy"], ["locks/evict"], ["ledger/occupancy", "locks/evict"]])
def test_locks_that_somebody_holds_for_ever(root: Path, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Limits are kept to a twentieth while another process holds the locks of upkeep; it is said once of each."""
    cached = cache_at(root, max_entries=100).cached(noise)
    for n in range(90):
        cached(n)
    holder = Talker(HOLDERS, root, *names)
    holder.hear()
    for n in range(90, 400):
        cached(n)
        assert n % 10 or taken(root).entries <= 105
    said = [record for record in caplog.records if "is locked by a program" in record.getMessage()]
    assert len(said) == len(names)
    holder.say()
    holder.finish()


def test_a_lock_whose_holder_looks_busy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the lock of what is known, and goes on touching the file, is not waited for longer than a second."""
    cached = cache_at(root, max_entries=50).cached(noise)
    for n in range(50):
        cached(n)
    gauge = next(iter(cached._flow.saving.limiter._scopes.values())).gauge  # type: ignore[union-attr]
    holder = Talker(HOLDERS, root, "ledger/occupancy")
    holder.hear()
    os.utime(root / "v1" / "ledger" / "occupancy")
    monkeypatch.setattr(usage, "IDLE", 1000.0)
    gauge.add(0, 1, BLOCK)
    assert gauge.tell() is None
    gauge._refused_since -= 1000
    assert gauge.tell() is not None
    assert gauge.tell() is not None
    holder.say()
    holder.finish()


def test_short_processes_and_a_lock_that_is_held(root: Path) -> None:
    """Processes that store one result each keep a limit too, though each of them finds the lock held."""
    for n in range(20):
        cache_at(root, max_entries=10).cached(noise)(n)
    holder = Talker(HOLDERS, root, "ledger/occupancy", "locks/evict")
    holder.hear()
    for n in range(20, 60):
        cache = cache_at(root, max_entries=10)
        cache.cached(noise)(n)
        del cache
        gc.collect()
    assert taken(root).entries <= 12
    holder.say()
    holder.finish()


@pytest.mark.parametrize("name", ["locks/evict", "ledger/occupancy"])
def test_files_of_upkeep_that_cannot_be_opened(root: Path, name: str) -> None:
    """Something else in the place of a file that upkeep locks, or of its folder, defeats no limit."""
    cached = cache_at(root, max_entries=100).cached(noise)
    for n in range(90):
        cached(n)
    path = root / "v1" / name
    path.unlink(missing_ok=True)
    if name == "locks/evict":
        path.parent.rmdir() if path.parent.exists() else None
        path.parent.write_text("no folder")
    else:
        (path / "below").mkdir(parents=True)
    for n in range(90, 300):
        cached(n)
    assert taken(root).entries <= 110


def test_planted_names_do_not_slow_calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that evicts opens no file of the registry that is not ours, however many there are, and lists few."""
    cached = cache_at(root, max_entries=20).cached(noise)
    for n in range(20):
        cached(n)
    folder = root / "v1" / "functions"
    for n in range(6000):
        (folder / f"{n:016x}.{n:016x}.json").touch()
    fresh = cache_at(root, max_entries=20).cached(noise)
    real, opened, listed = os.open, list[str](), os.listdir
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: [opened.append(str(path)), real(path, *rest, **more)][1]
    )
    monkeypatch.setattr(os, "listdir", lambda path: [opened.append(f"all of {path}"), listed(path)][1])
    for n in range(20, 60):
        fresh(n)
    assert taken(root).entries <= 21
    assert len([path for path in opened if str(folder) in path]) < 10


def test_planted_claims_do_not_slow_calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that evicts opens some claims of those that nobody holds, and the next ones the others."""
    monkeypatch.setattr(limiter, "_MOST_CLAIMS", 100)
    cached = cache_at(root, max_entries=20).cached(noise)
    for n in range(20):
        cached(n)
    there = Path(path_of(cached, 1))
    for n in range(1000):
        Path(f"{there}.claim-{n:08x}").touch(mode=0o600)
    left = len(claims_below(root))
    for n in range(20, 30):
        cached(n)
        assert left - 120 <= (left := len(claims_below(root)))
    for n in range(30, 60):
        cached(n)
    assert (claims_below(root), taken(root).entries <= 21) == ([], True)


def test_a_shard_that_somebody_filled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is one too many by far goes by turns, so that no call waits for all of it."""
    monkeypatch.setattr(limiter, "_MOST_VICTIMS", 100)
    monkeypatch.setattr(limiter, "_LONGEST", 0.0)
    cached = cache_at(root, max_entries=20).cached(noise)
    for n in range(20):
        cached(n)
    there = path_of(cached, 1)
    for n in range(500):
        Path(f"{there[:-38]}{n:038x}").touch(mode=0o600)
    os.unlink(usage_path(str(root)))  # the next process counts
    fresh, left = cache_at(root, max_entries=20).cached(noise), taken(root).entries
    for n in range(20, 200):
        fresh(n)
        assert left - 120 <= (left := taken(root).entries)
    assert left <= 21


def test_the_limit_of_a_function_asks_for_names_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose entries there are is known from one file a version, read once, though each eviction looks at them all."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.pcache.functions."{__name__}:noise"]\nmax_entries = 5')
    monkeypatch.chdir(tmp_path)
    for n in range(4):
        cache_at(root).cached(other)(n)
    cached = cache_at(root).cached(noise)
    asked, real = list[str](), registry.find
    monkeypatch.setattr(
        registry, "find", lambda folder, i, *rest, **more: [asked.append(i), real(folder, i, *rest, **more)][1]
    )
    for n in range(40):
        cached(n)
    assert len(files(root)) <= 4 + 6
    assert len(asked) <= 3


def test_a_dropped_result_is_told(root: Path) -> None:
    """After `invalidate` it is known that there is room again, as after everything that removes entries."""
    small = cache_at(root, max_entries=100).cached(noise)
    for n in range(4):
        small(n)
    small._flow.saving.limiter.flush()
    assert known(root) == taken(root)
    assert small.invalidate(2)
    small._flow.saving.limiter.flush()
    assert known(root) == taken(root)
    small.cache_clear()
    assert known(root) == taken(root) == Amount(0, 0)
