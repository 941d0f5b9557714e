"""Every operation of a cache, hit by signals, and checks after each: run as a script by test_signals.

    python -m tests.faults.signals_program FOLDER KIND SHARE SEED [OPERATION ...]

Prints a line for each operation: its name, how many signals hit it, and how many and which faults they caused.
"""

from __future__ import annotations

import collections
import functools
import gc
import itertools
import os
import random
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any, NamedTuple

from pcache import Cache, Miss
from pcache.runtime.modes import mode
from pcache.runtime.singleflight import Flight, computing, flights
from pcache.signing.keyring import make_keyring
from pcache.storage.claim_owner import owner_record
from pcache.system import locks
from pcache.system.fork import whole
from tests.faults.interrupting import Aim, raise_in, signal_itself
from tests.support.processes import KEY, Block, address_of, place_of
from tests.support.running import cache_of

PATIENCE = 2.0  # seconds after which a call that should not wait counts as hanging
OLD = 10 * 10**9  # nanoseconds: the age of an entry that is old enough to be remembered
SIZE = 300_000


_SOON = (1, 1, 2, 2, 3, 4, 6, 10, 20)  # moments after which a second signal follows the first


class Timeout(Exception):
    """An exception that a user's signal handler raises."""


def _raise(kind: type[BaseException]) -> Callable[[int, object], None]:
    def handler(number: int, frame: object) -> None:
        raise kind("stop")

    return handler


def _exit(number: int, frame: object) -> None:
    sys.exit(3)


class Kind(NamedTuple):
    """A way to be interrupted: how to cause it, and its expected outcome."""

    fire: Callable[[], Callable[[], object]]
    raises: type[BaseException] | None
    handler: Any = None
    number: int = signal.SIGALRM


KINDS = {
    "interrupt": Kind(
        lambda: signal_itself(signal.SIGINT), KeyboardInterrupt, signal.default_int_handler, signal.SIGINT
    ),
    "exit": Kind(lambda: signal_itself(signal.SIGTERM), SystemExit, _exit, signal.SIGTERM),
    "timeout": Kind(lambda: signal_itself(signal.SIGALRM), TimeoutError, _raise(TimeoutError)),
    "own timeout": Kind(lambda: signal_itself(signal.SIGALRM), Timeout, _raise(Timeout)),
    "twice": Kind(lambda: signal_itself(signal.SIGINT), KeyboardInterrupt, signal.default_int_handler, signal.SIGINT),
    "calls": Kind(lambda: signal_itself(signal.SIGALRM), None, lambda *_: use_the_cache()),
    "thread": Kind(lambda: raise_in(threading.get_ident(), Timeout), Timeout),
    "thread timeout": Kind(lambda: raise_in(threading.get_ident(), TimeoutError), TimeoutError),
}


CALLS: collections.Counter[tuple[str, int]] = collections.Counter()
CACHED: dict[str, Any] = {}
FRESH = itertools.count(10**9)


def small(n: int) -> list[int]:
    CALLS["small", n] += 1
    return [n] * 100


def large(n: int) -> list[str]:
    CALLS["large", n] += 1
    return [f"{n} {i}" for i in range(SIZE // 20)]


def mapped(n: int) -> Block:
    CALLS["mapped", n] += 1
    return Block(n.to_bytes(4, "little") * (SIZE // 4))


def stream(n: int) -> Iterator[str]:
    CALLS["stream", n] += 1
    for i in range(9):
        yield f"{n} {i} " * (SIZE // 60)


class Streamed:
    """A cached generator function whose calls are taken to their end."""

    def __init__(self, cached: Any) -> None:
        self._cached = cached

    def __call__(self, n: int) -> list[str]:
        return list(self._cached(n))

    def refresh(self, n: int) -> list[str]:
        return list(self._cached.refresh(n))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cached, name)


def deep(n: int) -> int:
    CALLS["deep", n] += 1
    return 1 if n % 4 == 0 else 1 + int(CACHED["deep"](n - 1))


def right(name: str, n: int) -> object:
    """The right result of a function."""
    if name == "deep":
        return 1 + n % 4
    before = CALLS.copy()
    value = list(stream(n)) if name == "stream" else globals()[name](n)
    CALLS.clear()
    CALLS.update(before)
    return bytearray(value) if name == "mapped" else value


def use_the_cache() -> None:
    """Use the cache as a signal handler may: a hit, a miss, a removed entry, reports."""
    function = CACHED["small"]
    for n in (1, next(FRESH)):
        assert function(n) == [n] * 100
    function.invalidate(1)
    function.exists(1)
    cache_of(function).stats()
    function._flow.ledger.flush()


class Ground:
    """Caches with functions, and arguments that were not used yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        os.environ["XDG_CONFIG_HOME"] = str(self.home)
        self.cache = Cache(folder / "cache", signing_key=KEY, compression=1)
        self.crowded = Cache(folder / "crowded", signing_key=KEY, max_entries=40)
        self.number = 0
        self.aim: Aim | None = None
        self.busy = False
        self.use(self.cache)

    def use(self, cache: Cache) -> None:
        """Decorate the functions with a cache."""
        self.root = Path(cache.location)
        wrap: Any = cache.cached(code="none")
        CACHED.update({function.__name__: wrap(function) for function in (small, large, mapped, deep)})
        CACHED["stream"] = Streamed(wrap(stream))
        self.small, self.large, self.mapped, self.deep, self.stream = CACHED.values()

    def next(self) -> int:
        self.number += 4
        CALLS.clear()
        return self.number

    def age(self, function: Any, n: int) -> None:
        """Make an entry old enough to be remembered when it is read, and not so old that a hit notes its use."""
        path = place_of(function, n)
        mtime = os.stat(path).st_mtime_ns - OLD
        os.utime(path, ns=(mtime, mtime))


# An operation, its result (... for any), and a call to try afterwards: a function's name and its argument.
Trial = tuple[Callable[[], Any], Any, str, int]


def miss(ground: Ground, name: str = "small", more: int = 0) -> Trial:
    n = ground.next() + more
    return functools.partial(getattr(ground, name), n), right(name, n), name, n


def hit(ground: Ground, name: str = "small", again: bool = False) -> Trial:
    n = ground.next()
    getattr(ground, name)(n)
    ground.age(getattr(ground, name), n)
    ground.use(Cache(ground.cache.location, signing_key=KEY))
    function = getattr(ground, name)
    function(0)
    if again:
        function(n)
    return functools.partial(function, n), right(name, n), name, n


def stored(ground: Ground, act: Callable[[Any, int], Any], value: Any = ...) -> Trial:
    n = ground.next()
    ground.small(n)
    return functools.partial(act, ground.small, n), right("small", n) if value is None else value, "small", n


def put(ground: Ground) -> Trial:
    n = ground.next()
    return functools.partial(ground.small.put, right("small", n), n), True, "small", n


def of_cache(ground: Ground, act: Callable[[Cache], Any]) -> Trial:
    n = ground.next()
    cache = Cache(ground.folder / f"new-{n}", signing_key=KEY)
    ground.use(cache)
    for i in range(3):
        ground.small(n + i)
    return functools.partial(act, cache), ..., "small", n


def evicting(ground: Ground) -> Trial:
    ground.use(ground.crowded)
    n = 0
    for _ in range(random.choice([1, 5])):
        n = ground.next()
        ground.small(n - 1)
    return functools.partial(ground.small, n), right("small", n), "small", n


def new_folder(ground: Ground) -> Trial:
    n = ground.next()
    ground.use(Cache(ground.folder / f"new-{n}", signing_key=KEY))
    return functools.partial(ground.small, n), right("small", n), "small", n


def new_key(ground: Ground) -> Trial:
    n = ground.next()
    os.environ["XDG_CONFIG_HOME"] = str(ground.home / str(n))
    ground.use(Cache(ground.folder / f"new-{n}"))
    return functools.partial(ground.small, n), right("small", n), "small", n


def waiting(ground: Ground, hold: Callable[[Ground, int, Callable[[], bool]], None]) -> Trial:
    """A call that waits for another thread, which ends when ours has waited for a while, or is over."""
    n = ground.next()
    ground.busy = True
    begun = threading.Event()

    def over() -> bool:
        begun.set()
        return not ground.busy or (ground.aim is not None and ground.aim.seen > 300)

    threading.Thread(target=hold, args=(ground, n, over), daemon=True).start()
    begun.wait(PATIENCE)
    return functools.partial(ground.small, n), right("small", n), "small", n


def hold_flight(ground: Ground, n: int, over: Callable[[], bool]) -> None:
    inside = sys._current_frames

    def slow() -> list[int]:
        main = threading.main_thread().ident
        while not over():
            frame = inside()[main].f_back  # type: ignore[index]
            if frame is not None and frame.f_code is Flight.wait.__code__:
                break
            time.sleep(0)
        return [n] * 100

    made = ground.small._calls.job(ground.small._calls.of((n,), {}))
    ground.cache.flow.misses.compute(made._replace(function=lambda _: slow()), Miss("absent"))


def hold_claim(ground: Ground, n: int, over: Callable[[], bool]) -> None:
    held = ground.cache.flow.store.claim(address_of(ground.small, n).name, owner_record("f", make_keyring([KEY])))
    while not over():
        time.sleep(0)
    assert held is not None
    held.abandon()


OPERATIONS: dict[str, Callable[[Ground], Trial]] = {
    "first hit": hit,
    "repeated hit": functools.partial(hit, again=True),
    "hit of a large result": functools.partial(hit, name="large"),
    "hit of a mapped result": functools.partial(hit, name="mapped"),
    "miss": miss,
    "miss of a large result": functools.partial(miss, name="large"),
    "miss of a mapped result": functools.partial(miss, name="mapped"),
    "recursive miss": functools.partial(miss, name="deep", more=2),
    "waiting for a thread": functools.partial(waiting, hold=hold_flight),
    "waiting for a claim": functools.partial(waiting, hold=hold_claim),
    "refresh": functools.partial(stored, act=lambda f, n: f.refresh(n), value=None),
    "put": put,
    "get": functools.partial(stored, act=lambda f, n: f.get(n), value=None),
    "exists": functools.partial(stored, act=lambda f, n: f.exists(n), value=True),
    "invalidate": functools.partial(stored, act=lambda f, n: f.invalidate(n), value=True),
    "explain": functools.partial(stored, act=lambda f, n: f.explain(n)),
    "clear": functools.partial(of_cache, act=lambda cache: cache.clear()),
    "evict": functools.partial(of_cache, act=lambda cache: cache.evict(max_entries=2)),
    "verify": functools.partial(of_cache, act=lambda cache: cache.verify()),
    "repair": functools.partial(of_cache, act=lambda cache: cache.verify(repair=True)),
    "recompress": functools.partial(of_cache, act=lambda cache: cache.recompress(19)),
    "stats": functools.partial(of_cache, act=lambda cache: cache.stats()),
    "flush": functools.partial(of_cache, act=lambda cache: cache.flow.ledger.flush()),
    "eviction while storing": evicting,
    "a new directory": new_folder,
    "a new signing key": new_key,
}
if sys.version_info >= (3, 13):  # earlier ones crash when a generator was traced by opcodes, in the next collection
    OPERATIONS["miss of a stream"] = functools.partial(miss, name="stream")
    OPERATIONS["hit of a stream"] = functools.partial(hit, name="stream")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Hunt:
    """Signals in one operation after another. Faults are counted by a phrase and the place of the signal."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.ground = Ground(folder)
        self.kind, self.twice = KINDS[kind], kind == "twice"
        self.faults: collections.Counter[str] = collections.Counter()
        self.unraisable: dict[type, str] = {}  # exceptions of finalizers, by the type of the object
        sys.unraisablehook = lambda lost: self.unraisable.update({type(lost.object): repr(lost.exc_value)})
        if self.kind.handler is not None:
            signal.signal(self.kind.number, self.kind.handler)
        warnings.simplefilter("error")

    def trial(self, operation: str, at: list[int]) -> tuple[Aim, list[str]]:
        """Do an operation with signals at moments; return the moments that were seen, and what went wrong."""
        ground = self.ground
        shutil.rmtree(ground.root, ignore_errors=True)  # start empty: listing a directory with all shards is slow
        ground.use(ground.cache)
        act, expected, name, n = OPERATIONS[operation](ground)
        threads, before = threading.active_count(), descriptors()
        aim = ground.aim = Aim(self.kind.fire(), at)
        caught: BaseException | None = None
        value: Any = ...
        gc.disable()  # Python ignores exceptions in finalizers, so interrupts in those of other caches would be lost
        try:
            with aim:
                value = act()
            for _ in range(3):
                pass  # a signal that came last is handled here
        except BaseException as error:
            sys.settrace(None)
            caught = error
        gc.enable()
        ground.busy, ground.aim = False, None
        while operation.startswith("waiting") and threading.active_count() >= threads:
            time.sleep(0)  # until the other thread has ended
        if operation.startswith("waiting"):
            before = None  # type: ignore[assignment]
        faults = list(self._look(aim, caught, value, expected, before))
        faults += self._use(name, n)
        return aim, faults

    def _look(self, aim: Aim, caught: BaseException | None, value: Any, expected: Any, before: int | None) -> Any:
        """What is wrong right after it, while the exception still exists with all its frames."""
        raises = self.kind.raises
        # Python itself loses exceptions that are raised while it closes an unfinished generator.
        lost = GeneratorType in self.unraisable
        if caught is not None and type(caught) is not raises:
            yield f"{type(caught).__name__} instead: {caught}"
        if caught is None and aim.fired and raises is not None and not lost:
            yield "swallowed"
        if caught is None and expected is not ... and value != expected:
            yield "a wrong value"
        if before is not None and (more := descriptors() - before) > 0:
            yield f"{more} descriptors left open"
        held = [reference() for reference in list(locks._held)]
        if any(lock.fd >= 0 for lock in held if lock is not None):
            yield "a lock is held"
        among_threads: list[Any] = [whole, flights.notes, flights._lock]
        if any(lock._is_owned() for lock in among_threads):
            yield "a lock among threads is held"
        if computing.get() or mode.get():
            yield "a context variable is set"
            computing.set(frozenset())
        self.unraisable.pop(GeneratorType, "")
        for kind, raised in self.unraisable.items():
            yield f"{raised} in a finalizer of {kind.__name__}"
        self.unraisable.clear()
        litter = [".claim", ".json.", "totals.new", "key."]
        for path in () if self.twice else [*self.ground.root.rglob("*"), *self.ground.home.rglob("*")]:
            if any(part in path.name for part in litter):
                yield f"left: {path.name.partition('.')[2][:6]}"
                path.unlink()

    def _use(self, name: str, n: int) -> list[str]:
        """Whether another thread can use the cache at once, and finds what it stored."""
        function, expected = getattr(self.ground, name), right(name, n)
        found: list[str] = []

        def use() -> None:
            try:
                if function(n) != expected:
                    found.append("a wrong value after it")
                if not function.exists(n):
                    found.append("nothing is stored after it")
                before = CALLS[name, n]
                function(n)
                if CALLS[name, n] != before:
                    found.append("no hit after it")
                found.append("")
                if self.twice:
                    function.refresh(n)
                    if os.path.exists(place_of(function, n) + ".claim"):
                        found.append("a claim that is not taken over")
            except BaseException as error:
                found.append(f"{type(error).__name__} after it: {error}")

        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not found:
            flights.reset()
            return ["hangs"]
        if function(n) != expected:
            found.append("a wrong value in this thread")
        return [problem for problem in found if problem]

    def run(self, operation: str, share: int, chance: random.Random) -> tuple[int, int]:
        for _ in range(3):
            aim, faults = self.trial(operation, [])  # without signals, to do late imports
            assert not faults, (operation, faults)
        fired = failures = 0
        at = chance.randrange(share) + 1
        while True:
            moments = [at, *([chance.choice(_SOON)] if self.twice else [])]
            aim, faults = self.trial(operation, moments)
            fired += aim.fired
            failures += bool(faults)
            for fault in faults:
                self.faults[f"{operation}: {fault}:{aim.where}"] += 1
            if not aim.fired:
                break
            at += share
        return fired, failures


def say(*words: object) -> None:
    os.write(1, ("|".join(map(str, words)) + "\n").encode())


def main(folder: str, kind: str, share: str, seed: str, *operations: str) -> None:
    hunt = Hunt(Path(folder), kind)
    chance = random.Random(seed)
    for operation in operations or OPERATIONS:
        fired, failures = hunt.run(operation, int(share), chance)
        say(operation, fired, failures)
    for fault, count in hunt.faults.most_common():
        say(count, fault)
    sys.unraisablehook = sys.__unraisablehook__


if __name__ == "__main__":
    main(*sys.argv[1:])
