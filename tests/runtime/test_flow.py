"""Hits and misses with real processes and threads: once, never in the way, and nothing left lying about."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, Miss
from pcache.storage.claim_owner import owner_record
from pcache.storage.local import LocalStore
from pcache.storage.store import name_of
from pcache.system import notices
from tests.support.processes import KEY, RING, Talker, claims_below, run

# Every execution adds a byte to the file that is the second argument.
COUNTED = """
LOG = sys.argv[2]
def count():
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(log, b".")
    os.close(log)
"""


def executions(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


class Held:
    """An argument that can be watched."""

    def __init__(self, text: str) -> None:
        self.text = text


def cache_at(path: Path, **settings: Any) -> Cache:
    return Cache(path, signing_key=KEY, **settings)


COLD = (
    COUNTED
    + """
@cache.cached
def f(n):
    count()
    return [n, os.urandom(8).hex()]
say("ready")
hear()
say(f(1))
"""
)


def test_eight_processes_compute_once(tmp_path: Path) -> None:
    """Eight processes that need the same missing result at the same time run the function once, and all get it."""
    racers = [Talker(COLD, tmp_path / "cache", tmp_path / "log") for _ in range(8)]
    for racer in racers:
        racer.hear()
    for racer in racers:
        racer.say()
    results = {racer.finish()[0] for racer in racers}
    assert len(results) == executions(tmp_path / "log") == 1
    assert claims_below(tmp_path) == []


# Each says when it computes, and those but the first when they first wait for another.
OWNED = (
    COUNTED
    + """
import time
@cache.cached(lock_timeout=float(sys.argv[4]))
def f(n):
    count()
    say("computing", time.monotonic())
    if sys.argv[3] != "next":
        hear()
    return sys.argv[3]
def sleep(seconds, really=time.sleep, told=[]):
    if not told:
        told.append(say("waiting"))
    really(seconds)
from pcache.system import clock
clock._sleep = sleep
say("result", f(1), f.exists(1))
"""
)


def test_a_killed_owner_is_replaced_at_once(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """When the computing process is killed, the one that waits for it starts within a pause, and leaves no litter."""
    arguments = (tmp_path / "cache", tmp_path / "log")
    owner = Talker(OWNED, *arguments, "owner", 60)
    assert owner.hear().startswith("computing")
    successor = Talker(OWNED, *arguments, "next", 60)
    assert successor.hear() == "waiting"
    killed = time.monotonic()
    owner.process.kill()
    started = float(successor.hear().split()[1])
    record_property("takeover_seconds", started - killed)
    print(f"takeover after {1000 * (started - killed):.1f} ms")  # noqa: T201 - for `pytest -rA`
    assert started - killed < 1
    assert successor.finish() == ["result next True"]
    owner.kill()
    assert claims_below(tmp_path) == []
    assert executions(tmp_path / "log") == 2


KILLED_WRITING = (
    COUNTED
    + """
import resource, signal
@cache.cached
def f(n):
    count()
    return b"x" * 100 + os.urandom(n)
if sys.argv[3] == "dies":
    f(1)
    # The kernel kills the process in the middle of the file that it writes.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
value = f(1_000_000)
say(len(value), value == f(1_000_000))
"""
)


def test_an_owner_killed_while_writing_is_replaced(tmp_path: Path) -> None:
    """A file of which a tenth was written is never read as an entry; the next call computes, stores and tidies up."""
    dying = Talker(KILLED_WRITING, tmp_path / "cache", tmp_path / "log", "dies")
    assert dying.process.wait(60) == -25  # SIGXFSZ
    dying.process.communicate()
    claim, draft = claims_below(tmp_path)
    assert draft.startswith(claim + "-")
    assert next(tmp_path.rglob(draft)).stat().st_size == 100_000
    assert run(KILLED_WRITING, tmp_path / "cache", tmp_path / "log", "lives") == ["1000100 True"]
    assert claims_below(tmp_path) == []
    assert cache_at(tmp_path / "cache").verify().problems == ()
    assert executions(tmp_path / "log") == 3


# The owner starts a process that holds the lock, too, as a child that was forked past Python's hooks does.
ORPHAN = OWNED.replace(
    "    hear()",
    """\
    import subprocess
        from pcache.system import locks
        held = [held().fd for held in locks._held]
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=held)
        say("child", child.pid)
        hear()""",
).replace(
    "clock._sleep = sleep",
    """\
clock._sleep = sleep
if sys.argv[3] == "owner":
    from tests.support.processes import place_of
    os.umask(0o077)
    path = place_of(f, 1) + ".claim"
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(b"x" * int(sys.argv[5]))
""",
)


@pytest.mark.parametrize("leftover", [0, 3000])
def test_a_dead_owner_whose_child_holds_the_lock_is_recognised(tmp_path: Path, leftover: int) -> None:
    """A lock that outlives its owner in a child holds nobody up, also when the owner had taken over a longer file."""
    arguments = (tmp_path / "cache", tmp_path / "log")
    owner = Talker(ORPHAN, *arguments, "owner", 60, leftover)
    assert owner.hear().startswith("computing")
    child = int(owner.hear().split()[1])
    try:
        successor = Talker(ORPHAN, *arguments, "next", 20)
        assert successor.hear() == "waiting"
        owner.process.kill()
        assert successor.hear().startswith("computing")
        assert successor.finish() == ["result next True"]
    finally:
        os.kill(child, 9)
        owner.kill()
    assert claims_below(tmp_path) == []


FIB = (
    COUNTED
    + """
@cache.cached
def fib(n):
    count()
    return n if n < 2 else fib(n - 1) + fib(n - 2)
say("ready")
hear()
say(fib(60 - int(sys.argv[3])))
"""
)


def test_recursion_across_processes_ends(tmp_path: Path) -> None:
    """Four processes that recurse through each other's keys end, and each value is computed once."""
    processes = [Talker(FIB, tmp_path / "cache", tmp_path / "log", n) for n in (0, 1, 0, 1)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    fibs = ["1548008755920", "956722026041"]
    assert [process.finish() for process in processes] == [[fib] for fib in fibs * 2]
    assert executions(tmp_path / "log") == 61
    assert claims_below(tmp_path) == []


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Start threads at a barrier and return what they return."""
    barrier, results = threading.Barrier(number), [None] * number

    def target(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work(index)
        except BaseException as error:
            results[index] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=target, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return results


def noted(n: int, calls: list[int]) -> list[int]:
    calls.append(n)
    return [n]


def test_eight_threads_compute_once(tmp_path: Path) -> None:
    """Eight threads that need the same missing result run the function once, and each gets an object of its own."""
    cached = cache_at(tmp_path / "cache").cached(ignore=["calls"])(noted)
    for n in range(20):
        calls: list[int] = []
        results = in_threads(8, lambda _, n=n, calls=calls: cached(n, calls))
        assert results == [[n]] * 8
        assert calls == [n]
        assert len({id(result) for result in results}) == 8


def test_threads_with_different_keys_do_not_wait(tmp_path: Path) -> None:
    """Two threads that compute different keys are both inside of their functions at the same time."""
    meeting = threading.Barrier(2)

    def meet(n: int, barrier: Any) -> int:
        barrier.wait(30)
        return n

    cached = cache_at(tmp_path / "cache").cached(ignore=["barrier"])(meet)
    assert in_threads(2, lambda n: cached(n, meeting)) == [0, 1]


def test_threads_of_a_failing_function_all_get_an_exception(tmp_path: Path) -> None:
    """When the leader's function raises, those that waited for it compute themselves; nobody hangs."""

    def fail(n: int) -> None:
        raise ValueError(n)

    cached = cache_at(tmp_path / "cache").cached(fail)
    assert [repr(error) for error in in_threads(8, lambda _: cached(5))] == ["ValueError(5)"] * 8
    assert claims_below(tmp_path) == []


def test_a_call_that_needs_itself_computes(tmp_path: Path) -> None:
    """Recursion on the same key runs the function and does not wait for itself; the outer result is stored."""
    depth: list[int] = []

    def again(n: int, depth: list[int]) -> int:
        depth.append(n)
        return len(depth) if len(depth) > 2 else 10 * cached(n, depth)

    cached = cache_at(tmp_path / "cache").cached(ignore=["depth"])(again)
    assert cached(1, depth) == cached(1, depth) == 300
    assert len(depth) == 3
    assert claims_below(tmp_path) == []


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, Miss, BlockingIOError])
def test_exceptions_pass_unchanged(tmp_path: Path, kind: type[BaseException]) -> None:
    """The function's own exception arrives as it was raised, nothing is stored, and no claim is left."""
    error = kind("absent")

    def fail(n: int, error: BaseException) -> None:
        raise error

    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(ignore=["error"])(fail)
    for _ in range(2):
        with pytest.raises(kind) as caught:
            cached(1, error)
        assert caught.value is error
    assert list(cache.flow.store.scan()) == []
    assert claims_below(tmp_path) == []


def test_lock_timeout(tmp_path: Path) -> None:
    """Who waited long enough computes without storing; what is stored is the owner's result."""
    arguments = (tmp_path / "cache", tmp_path / "log")
    owner = Talker(OWNED, *arguments, "owner", "60")
    owner.hear()
    impatient = Talker(OWNED, *arguments, "next", "0.05")
    assert impatient.finish()[-1] == "result next False"
    assert len(claims_below(tmp_path)) == 1
    owner.say()
    assert owner.finish() == ["result owner True"]
    assert run(OWNED, *arguments, "third", "60") == ["result owner True"]


def test_lock_timeout_among_threads(tmp_path: Path) -> None:
    """A thread that waited long enough for another computes by itself, too."""
    inside, leave = threading.Event(), threading.Event()

    def slow(n: int, events: list[threading.Event]) -> str:
        for event in events[:1]:
            event.set()
        return "waited" if events and events[1].wait(60) else "did not"

    cached = cache_at(tmp_path / "cache").cached(ignore=["events"], lock_timeout=0.05)(slow)
    leader = threading.Thread(target=cached, args=(1, [inside, leave]))
    leader.start()
    inside.wait(60)
    assert cached(1, []) == "did not"
    leave.set()
    leader.join()
    assert cached.get(1, []) == "waited"


# The first one refreshes with what it read from the file before it said "reading".
STALE = """
@cache.cached
def f(n):
    with open(sys.argv[2]) as file:
        text = file.read()
    say("read", text)
    hear()
    return text
import time
def sleep(seconds, really=time.sleep, told=[]):
    if not told:
        told.append(say("waiting"))
    really(seconds)
from pcache.system import clock
clock._sleep = sleep
say("result", f.refresh(1) if sys.argv[3] == "refresh" else f(1), f.get(1))
"""


@pytest.mark.parametrize("first", ["refresh", "call"])
def test_a_refresh_takes_no_result_that_was_begun_before_it(tmp_path: Path, first: str) -> None:
    """Who refreshes while another process computes gets, and leaves stored, what was computed after it asked."""
    source = tmp_path / "source"
    source.write_text("old")
    slow = Talker(STALE, tmp_path / "cache", source, first)
    assert slow.hear() == "read old"
    source.write_text("new")
    second = Talker(STALE, tmp_path / "cache", source, "refresh")
    assert second.hear() == "waiting"
    slow.say()
    assert second.hear() == "read new"
    second.say()
    assert second.finish() == ["result new new"]
    assert slow.finish()[0].startswith("result old")


def test_a_refresh_of_a_thread_takes_no_result_that_was_begun_before_it(tmp_path: Path) -> None:
    """The same among the threads of a process."""
    versions, inside, leave = [1], threading.Event(), threading.Event()

    def read(n: int, slow: bool) -> int:
        found = versions[0]
        inside.set()
        return found if not slow or leave.wait(60) else -1

    cached = cache_at(tmp_path / "cache").cached(ignore=["slow"], code="none")(read)
    leader = threading.Thread(target=cached, args=(1, True))
    leader.start()
    inside.wait(60)
    versions[0] = 2
    results: list[int] = []
    refresher = threading.Thread(target=lambda: results.append(cached.refresh(1, False)))
    refresher.start()
    leave.set()
    for thread in (leader, refresher):
        thread.join(60)
    assert results == [2]
    assert cached(1, False) == 2


REFRESH = """
def f(n):
    return [os.getpid()] * 2000
cached = cache.cached(f)
cached(1)
say("ready")
hear()
for turn in range(60):
    value = cached.refresh(1) if turn % 3 else cached(1)
    if len(value) != 2000 or len(set(value)) != 1 or (turn % 3 and not cached.exists(1)):
        say("torn", value[:3])
    if turn % 7 == 0:
        cached.invalidate(2)
say("done")
"""


def test_concurrent_refreshing(tmp_path: Path) -> None:
    """Four processes that refresh one key read whole results only, and leave one entry and no claims."""
    processes = [Talker(REFRESH, tmp_path / "cache") for _ in range(4)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    assert [process.finish() for process in processes] == [["done"]] * 4
    assert len(list(cache_at(tmp_path / "cache").flow.store.scan())) == 1
    assert claims_below(tmp_path) == []


FORK = (
    COUNTED
    + """
@cache.cached
def f(n):
    count()
    child = os.fork()
    if child == 0 and n == 1:
        os._exit(0)
    if child:
        os.waitpid(child, 0)
    return n, child == 0
value = f(int(sys.argv[3]))
say(value, f(7)[0] if value[1] else "", f.exists(int(sys.argv[3])))
"""
)


@pytest.mark.parametrize("n", [1, 2])
def test_a_function_that_forks(tmp_path: Path, n: int) -> None:
    """A child that ends inside of the function, or returns from it, publishes and frees nothing of its parent's."""
    said = run(FORK, tmp_path / "cache", tmp_path / "log", n)
    assert said[-1] == f"({n}, False)  True"
    cache = cache_at(tmp_path / "cache")
    assert cache.verify().problems == ()
    assert len(list(cache.flow.store.scan())) == (1 if n == 1 else 2)
    assert claims_below(tmp_path) == []


class RemovesClaims:
    """A result in whose midst the claim for it is taken away, as by somebody who empties the directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        for path in self.folder.rglob("*.claim*"):
            path.unlink()
        return RemovesClaims, (self.folder,)


def test_a_result_whose_claim_was_taken_away_is_not_called_stored(tmp_path: Path) -> None:
    """`put` says that it could not be stored, and no hit is counted on."""
    cached = cache_at(tmp_path / "cache").cached(lambda n: n)
    assert cached.put(RemovesClaims(tmp_path), 1) is False
    assert not cached.exists(1)
    assert cached.put("result", 1) is True
    assert cached(1) == "result"


def test_a_damaged_entry_keeps_no_argument_alive(tmp_path: Path) -> None:
    """What led to a miss is forgotten with it, not when garbage is collected: arrays and their maps are part of it."""
    cached = cache_at(tmp_path / "cache").cached(lambda held: len(held.text))
    cached(Held("a"))
    (entry,) = cached._flow.store.scan()
    Path(entry.path).write_bytes(Path(entry.path).read_bytes()[:-1])
    argument = Held("a")
    dropped = weakref.ref(argument)
    gc.disable()
    try:
        assert cached(argument) == 1
        del argument
        assert dropped() is None
    finally:
        gc.enable()


def test_a_result_that_cannot_be_pickled_leaves_no_claim(tmp_path: Path) -> None:
    """The caller gets it, the claim is gone, and the next call computes again."""
    from pcache import UnpicklableResultWarning

    notices.forget()

    def lock(n: int) -> Any:
        return threading.Lock()

    cached = cache_at(tmp_path / "cache").cached(lock)
    with pytest.warns(UnpicklableResultWarning, match="result is a lock"):
        assert cached(1) is not cached(1)
    assert claims_below(tmp_path) == []
    assert cached.cache_info()[:2] == (0, 2)


# Writes that are refused

REFUSED = """
import warnings
from pcache.runtime import saving
def f(n):
    return os.urandom(100_000)
cached = cache.cached(f)
def litter():
    return [name for _, _, names in os.walk(sys.argv[1]) for name in names if ".claim" in name or ".json." in name]
def calls(*numbers):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sizes = {len(cached(n)) for n in numbers}
    say(sizes, len(caught), *[str(w.message).partition(": ")[2].partition(".")[0] for w in caught])
    say([cached.exists(n) for n in numbers], litter())
"""

LIMITED = (
    REFUSED
    + """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
calls(1, 2, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
calls(3, 3)
saving._STOP_WRITING = 0.0
cache.flow.saving._stopped_until = 0.0
calls(1, 2)
"""
)


def test_a_limit_of_file_sizes(tmp_path: Path) -> None:
    """A refused write costs one warning, no litter and no value; nothing is tried for a minute, then it goes on."""
    assert run(LIMITED, tmp_path / "cache") == [
        "{100000} 1 File too large",
        "[False, False, False] []",
        "{100000} 0",
        "[False, False] []",
        "{100000} 0",
        "[True, True] []",
    ]


FULL_DISK = (
    REFUSED
    + """
saving._STOP_WRITING = 0.0  # seconds: each call tries
filler = os.path.join(os.path.dirname(sys.argv[1]), "filler")
cached(0)
with open(filler, "wb", buffering=0) as file:
    for size in (65536, 4096):
        try:
            while True:
                file.write(bytes(size))
        except OSError:
            pass
calls(1, 2, 1)
say(len(cached(0)), cached.cache_info().hits)
os.unlink(filler)
calls(1, 2, 1)
"""
)


def test_a_full_disk(small_disk: Path) -> None:
    """On a full disk values are returned, hits hit, one warning is given and nothing is left; then writing resumes."""
    assert run(FULL_DISK, small_disk / "cache") == [
        "{100000} 1 No space left on device",
        "[False, False, False] []",
        "100000 1",
        "{100000} 0",
        "[True, True, True] []",
    ]
    cache = cache_at(small_disk / "cache")
    assert cache.verify().problems == ()
    assert cache.clear().entries == 3


NEW_ON_FULL_DISK = (
    REFUSED
    + """
saving._STOP_WRITING = 0.0
filler = os.path.join(os.path.dirname(sys.argv[1]), "filler")
def fill():
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
fill()
calls(1)
os.unlink(filler)
calls(1)
cache.clear()
cache.flow.ledger.flush()
say(*sorted(name for _, _, names in os.walk(sys.argv[1]) for name in names))
"""
)


def test_a_disk_that_was_full_from_the_start(small_disk: Path) -> None:
    """A directory that was made on a full disk is a whole one as soon as there is space, and can be cleared."""
    assert run(NEW_ON_FULL_DISK, small_disk / "cache") == [
        "{100000} 1 No space left on device",
        "[False] []",
        "{100000} 0",
        "[True] []",
        ".gitignore CACHEDIR.TAG counters occupancy removed",
    ]


# Network file systems

NETWORK = (
    COUNTED
    + """
from pcache.storage.claim_owner import owner_record
from pcache.storage.local import LocalStore
listed = []
def hook(event, arguments):
    if event == "os.listdir":
        listed.append(str(arguments[0]))
sys.addaudithook(hook)
cache.flow.store = cache.flow.saving._store = LocalStore(sys.argv[1], network=True)
@cache.cached
def f(n):
    count()
    return n * n
say("ready")
hear()
found = [f(n) for n in range(30)]
say(found == [n * n for n in range(30)], not f.cache_info().misses or any("/entries/" in path for path in listed))
say("filelock" in sys.modules)
"""
)


def test_without_locks(tmp_path: Path) -> None:
    """On a network file system four processes take no locks, look at the listing, and all get right results."""
    processes = [Talker(NETWORK, tmp_path / "cache", tmp_path / "log") for _ in range(4)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    assert [process.finish() for process in processes] == [["True True", "False"]] * 4
    assert 30 <= executions(tmp_path / "log") <= 120
    cache = cache_at(tmp_path / "cache")
    assert len(list(cache.flow.store.scan())) == 30
    assert cache.verify().problems == ()
    assert claims_below(tmp_path) == []


PUTTER = """
import signal
def f(n):
    return n
cached = cache.cached(f)
def hook(event, arguments):
    if event == "os.rename" and arguments[0].rpartition(".")[2].startswith("claim-"):
        os.kill(os.getpid(), signal.SIGKILL)
cached(1)
sys.addaudithook(hook)
cached.put(bytes(100_000), 1)
"""


@pytest.mark.parametrize("remove", ["verify", "clear", "evict", "limit"])
def test_a_killed_put_leaves_nothing_for_long(tmp_path: Path, remove: str) -> None:
    """What a process leaves that is killed while it puts a result goes with the next sweep, or the next eviction."""
    victim = Talker(PUTTER, tmp_path / "cache")
    assert victim.process.wait() == -signal.SIGKILL
    victim.kill()
    (left,) = claims_below(tmp_path)
    assert ".claim-" in left
    cache = cache_at(tmp_path / "cache", max_entries=3 if remove == "limit" else None)
    if remove == "limit":
        cached = cache.cached(noted)
        assert [cached(n, []) for n in range(10)] == [[n] for n in range(10)]
    else:
        {"verify": lambda: cache.verify(repair=True), "clear": cache.clear, "evict": cache.evict}[remove]()
    assert claims_below(tmp_path) == []


def test_private_names_are_swept_when_they_are_old(tmp_path: Path) -> None:
    """A private claim that nobody can lock counts as left over after a day, and not before."""
    store = LocalStore(str(tmp_path / "cache"), network=True)
    held = store.claim(name_of("f" * 16, "a" * 40), owner_record("m:f", RING))
    assert held is not None
    assert store.sweep() == 0
    os.utime(held.path, (time.time() - 90_000,) * 2)
    assert store.sweep() == 1
    assert held.publish([b"late"], durable=False, replaces_nothing=False, mtime_ns=0) == 0
    assert claims_below(tmp_path) == []


def test_many_threads_and_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sixteen threads that call, refresh, drop and clear eight keys get right values, and no write is refused."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(ignore=["calls"])(noted)

    def work(seed: int) -> bool:
        chance = random.Random(seed)
        right = True
        for _ in range(60):
            n = chance.randrange(8)
            action = chance.choice([cached, cached, cached, cached.refresh, cached.invalidate, cached.exists, None])
            if action is None:
                cache.clear()
            elif action in (cached, cached.refresh):
                right &= action(n, []) == [n]
            else:
                action(n, [])
        return right

    assert in_threads(16, work) == [True] * 16
    assert claims_below(tmp_path) == []
    assert caplog.messages == []


INTERRUPTED = """
import signal, threading
class Slow:
    def __init__(self, what):
        self.what = what
    def __reduce__(self):
        signal.raise_signal(signal.SIGALRM)
        return list, ()
def handler(number, frame):
    raise TimeoutError("stop")
signal.signal(signal.SIGALRM, handler)
@cache.cached(ignore=["value"])
def f(n, value=None):
    return value
for call in (lambda: f(1, Slow("result")), lambda: f.put(Slow("result"), 2), lambda: f(Slow("argument"))):
    try:
        call()
    except BaseException as error:
        say(type(error).__name__, error)
say(f(1, 5), f(1, 6), f.exists(2))
"""


def test_a_timeout_while_a_value_is_pickled(tmp_path: Path) -> None:
    """What a signal handler raises is not taken for a failure to pickle, and does not stop storing."""
    assert run(INTERRUPTED, tmp_path / "cache") == ["TimeoutError stop"] * 3 + ["5 5 False"]
