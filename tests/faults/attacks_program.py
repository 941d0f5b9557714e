"""A program that is attacked: it calls every function of pcache, and reports what the interpreter saw meanwhile."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pcache import Cache, Miss, PcacheError
from pcache.cli import main as command_line
from pcache.signing import seal
from pcache.signing.keyring import read_key_file
from tests.faults.disguises import DISGUISES, PLACES, entry_of
from tests.faults.malice import Malice, register_extensions
from tests.faults.pickles import collection
from tests.faults.watch import Watch
from tests.support.processes import KEY, RING, address_of, place_of

_PATIENCE = 5  # seconds after which a call counts as hanging
_MORE_MEMORY = 256 << 20
_TEMPLATES = ("exec", "code.__new__", "function.__new__", "tempfile.mkstemp")  # how they work
COMMANDS = (
    "dir", "stats", "stats --json --exact", "stats --plot", "ls", "ls --json --sort saved", "top --once", "config",
    "explain tests.faults.attacks_program:double(1)", "explain tests.faults.attacks_program:double",
    "verify", "verify --repair -n",
    "recompress -n", "clear -n", "clear --superseded -y", "evict -n --max-entries 3", "key",
    "adopt tests.faults.attacks_program:double -n", "report -o -",
)  # fmt: skip


def double(n: int) -> int:
    return 2 * n


class Hang(BaseException):
    """A call did not return."""


class Victim:
    """A cache in a directory that others write into; `failures` lists what went wrong."""

    def __init__(self, root: str, canary: str) -> None:
        self.cache = Cache(root, signing_key=KEY)
        self.cached = self.cache.cached(double)
        self.calls = self.hits = 0
        self.slowest = 0.0
        self.failures: list[str] = []
        self._watch: Watch | None = None
        self._canary = canary
        signal.signal(signal.SIGALRM, self._hangs)

    def _hangs(self, *_: object) -> None:
        raise Hang

    def arm(self) -> None:
        """Start to watch everything, and limit memory."""
        self._watch = Watch(self._canary, loads=True)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MORE_MEMORY,) * 2)

    def do(self, what: str, function: Callable[..., Any], *arguments: Any, ignored: tuple[str, ...] = ()) -> Any:
        """Call something; it is a failure if other code runs, if it hangs or raises an error that is not pcache's."""
        self.calls += 1
        result, started = None, time.monotonic()
        signal.alarm(_PATIENCE)
        if self._watch is not None:
            self._watch.ignored, self._watch.on = ignored, True
        try:
            result = function(*arguments)
        except Miss:
            result = Miss
        except PcacheError as error:
            result = error
        except (Exception, Hang) as error:
            self.failures.append(f"{what}: {error!r:.200}")
        finally:
            if self._watch is not None:
                self._watch.on = False
                self.failures += [f"{what}: {seen}" for seen in self._watch.seen]
                self._watch.seen.clear()
            signal.alarm(0)
            self.slowest = max(self.slowest, time.monotonic() - started)
        return result

    def expect(self, what: str, wanted: object, function: Callable[..., Any], *arguments: Any) -> None:
        got = self.do(what, function, *arguments)
        if got != wanted:
            self.failures.append(f"{what}: {got!r:.200} instead of {wanted!r}")

    def path(self, n: int) -> tuple[str, Any]:
        address = address_of(self.cached, n)
        return place_of(self.cached, n), address

    def plant(self, path: str, data: bytes) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        Path(path).write_bytes(data)

    def call_all(self, what: str, n: int, data: bytes, *, explains: bool) -> None:
        """Call everything that a cached function offers, with a planted entry in the place of the call's."""
        path, _ = self.path(n)
        self.plant(path, data)
        self.expect(f"{what}: exists", False, self.cached.exists, n)
        self.expect(f"{what}: get", Miss, self.cached.get, n)
        if explains:
            explanation = self.do(f"{what}: explain", self.cached.explain, n)
            if explanation is not None and explanation.hit:
                self.failures.append(f"{what}: explained as a hit")
        self.expect(f"{what}: call", 2 * n, self.cached, n)
        self.expect(f"{what}: call again", 2 * n, self.cached.get, n)
        self.plant(path, data)
        self.expect(f"{what}: refresh", 2 * n, self.cached.refresh, n)
        self.plant(path, data)

    def look_all(self, what: str, *, report: bool) -> None:
        """Call everything that a cache and the command line offer, with whatever is planted."""
        cache = self.cache
        looks = (cache.stats, cache.periods, cache.verify, cache.versions, cache.evict, self.cached.adopt)
        for look in (
            *looks,
            lambda: list(cache.entries()),
            lambda: list(cache.functions()),
            lambda: cache.recompress("none"),
        ):
            self.do(f"{what}: {getattr(look, '__name__', look)}", look)
        for command in COMMANDS:
            if report or not command.startswith("report"):
                ignored = _TEMPLATES if command.startswith("report") else ()
                self.do(f"{what}: pcache {command}", self.run, command, ignored=ignored)
        self.do(f"{what}: show", self.run, "show " + self.path(1)[1].key.hex())

    def run(self, command: str) -> None:
        from click.testing import CliRunner

        words = command.split()
        result = CliRunner().invoke(command_line, ["-C", self.cache.location, *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception


def attack_entries(victim: Victim, pickles: dict[str, Malice], step: int, every: int) -> int:
    """Each pickle in each disguise, in the place of an entry; then all of them at once."""
    planted = 0
    for number, (name, make) in enumerate(DISGUISES.items()):
        chosen = list(pickles.items())[number % step :: step]
        for n, (pickle_name, malice) in enumerate(chosen, 1):
            data = make(victim.path(n)[1], malice.stream)
            victim.call_all(f"{pickle_name} as {name}", n, data, explains=n % every == 1)
            planted += 1
        victim.look_all(f"all as {name}", report=number % every == 0)
        victim.do(f"{name}: repair", lambda: victim.cache.verify(repair=True))
        if left := [item.path for item in victim.cache.flow.store.scan()]:
            victim.do(f"{name}: clear", victim.cache.clear)
            if any(map(os.path.exists, left)):
                victim.failures.append(f"{name}: not cleared")
    return planted


def attack_places(victim: Victim, pickles: dict[str, Malice], step: int) -> int:
    """Each pickle in the place of every other file there is."""
    path, address = victim.path(1)
    planted = 0
    for n, (name, malice) in enumerate(list(pickles.items())[::step]):
        for place in PLACES:
            function_id = address.function_id.hex()
            mark = seal.mark(b"function", function_id, KEY)
            there = place.format(id=function_id, mark=mark, other="0" * 16, entry=path)
            victim.plant(os.path.join(victim.cache.location, there), malice.stream)
            planted += 1
        # As a process that has not used this directory before.
        other = Cache(victim.cache.location, signing_key=KEY)
        victim.expect(f"{name} everywhere: call", 2, other.cached(double), 1)
        victim.do(f"{name} everywhere: explain", other.cached(double).explain, 2)
        victim.do(f"{name} everywhere: stats", other.stats)
        victim.do(f"{name} everywhere: evict", other.evict)
        if n % 10 == 0:
            victim.look_all(f"{name} everywhere", report=n % 100 == 0)
        victim.do(f"{name} everywhere: clear", other.clear)
        key = Path(victim.cache.location + ".key")
        victim.plant(str(key), malice.stream)
        key.chmod(0o600)
        refused = victim.do(f"{name} as the key", read_key_file, str(key))
        if not isinstance(refused, PcacheError):
            victim.failures.append(f"{name} as the key: {refused!r}")
    return planted


def main() -> None:
    root, canary = sys.argv[1:3]
    step, every, places_step = map(int, sys.argv[3:])
    warnings.simplefilter("ignore")
    register_extensions()
    pickles = collection(canary)
    victim = Victim(root, canary)
    for n in range(3):  # do late imports before the watch begins
        victim.cached(n)
    victim.call_all("warm", 1, b"", explains=True)
    victim.look_all("warm", report=True)
    victim.cache.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    warm = victim.failures
    victim.failures = []
    victim.calls, victim.slowest = 0, 0.0
    victim.arm()
    entries = attack_entries(victim, pickles, step, every)
    places = attack_places(victim, pickles, places_step)
    # The control: an authentic entry is loaded, and the watch notices.
    failures, victim.failures = victim.failures, []
    path, address = victim.path(1)
    victim.plant(path, entry_of(address, pickles["GLOBAL"].stream, RING))
    victim.do("control", victim.cached.get, 1)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    told = {
        "pickles": len(pickles),
        "entries": entries,
        "places": places,
        "calls": victim.calls,
        "slowest": victim.slowest,
        "warm": warm,
        "more_memory": more,
        "failures": failures,
        "control": victim.failures,
    }
    print(json.dumps(told))  # noqa: T201 - to the test
