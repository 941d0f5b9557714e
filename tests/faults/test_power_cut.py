"""Power cuts: a file system that loses what is in memory, at any moment, below a cache that is in use.

Results that took less than a second may be lost, and files may exist without their bytes: they are misses. Results that
took longer, and were returned before the cut, are on the disk.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.disks import Disk, disk
from tests.faults.hunting import rounds
from tests.support.processes import Talker

# It has loaded everything, and forks the processes that use the cache before a cut, and one that checks what is left.
# Results that were returned to a caller are noted outside of the disk.
FACTORY = """
import contextlib, ctypes, errno, json, logging, random, signal, threading, time, traceback, warnings
import numpy
from pcache import DirectoryError
from pcache.system import locks
from pcache.entry import writer
from pcache.maintenance import cleanup
warnings.simplefilter("error")
ROOT, LOG, KEY = sys.argv[1], sys.argv[2], sys.argv[3:] != ["own key"] and bytes(range(32)) or None
NEIGHBOUR = os.path.join(os.path.dirname(ROOT), "neighbour")
KINDS, AGAIN = {"small": 20, "large": 20_000, "array": 0}, 12
libc = ctypes.CDLL(None)
locks.locking()

def value(kind, n):
    if kind == "array":
        return numpy.arange(40_000, dtype=numpy.int64) + n  # mapped
    return [kind, n, [n ^ i * 7919 for i in range(KINDS[kind])]]

def is_right(found, kind, n):
    return bool(numpy.all(found == value(kind, n)))

def f(kind, n, seconds):
    time.sleep(seconds)
    return value(kind, n)

def g(kind, n):
    return value(kind, n)

def open_cache():
    cache = Cache(ROOT, signing_key=KEY, min_free=0)
    return cache, cache.cached(ignore=["seconds"])(f), cache.cached(g)

def note(what, kind, n):
    os.write(log, f"{what} {kind} {n} {time.monotonic()}\\n".encode())

def do_all(chance, to_clear):
    "Whatever a cache can do, on new calls and on a few that come again."
    cache, cached, other = opened
    for number in range(10**9):
        kind, n = chance.choice(list(KINDS)), chance.randrange(AGAIN)
        action = chance.choices(range(8), (40, 20, 20, 5, 10, 2, 2, 2))[0]
        if action == 0:
            n = os.getpid() << 16 | number
            cached(kind, n, 0)
            note("quick", kind, n)
        elif action < 3:
            (other.refresh, other)[action - 1](kind, n)
        elif action == 3:
            other.put(value(kind, n), kind, n)
        else:
            with ignored_when_cut():
                if action == 4:
                    other.invalidate(kind, n)
                elif action == 5:
                    cache.clear(None if to_clear and chance.random() < 0.5 else other)
                elif action == 6:
                    cache.evict(max_entries=5, function=other)
                else:
                    cache.recompress(chance.choice(["none", 3]), other)
        cache.flow.ledger.flush()

def is_cut():
    try:
        os.close(os.open(NEIGHBOUR + str(os.getpid()), os.O_CREAT))
    except OSError as error:
        return error.errno == errno.EIO
    return False

@contextlib.contextmanager
def ignored_when_cut():
    try:
        yield
    except (OSError, DirectoryError):
        if not is_cut():
            raise

def sync_now_and_then(chance):
    "What others on the disk do: their syncs take along some of ours."
    while True:
        with ignored_when_cut():
            os.pwrite(neighbour, os.urandom(100), chance.randrange(4096))
            os.fsync(neighbour) if chance.random() < 0.8 else libc.syncfs(neighbour)
        time.sleep(chance.random() * 0.02)

def take_long(chance):
    "Results that take a second, and some that take a moment at the same time."
    cache, cached, _ = opened
    def work(chance):
        time.sleep(chance.random() * 0.5)
        for number in range(0, 10**9, 2):
            for what, seconds in ("long", 1.0), ("quick", 0.01):
                kind, n = chance.choice(list(KINDS)), threading.get_native_id() << 16 | number + (what == "long")
                cached(kind, n, seconds)
                note(what, kind, n)
            if chance.random() < 0.3:
                with ignored_when_cut():
                    cache.recompress(chance.choice(["none", 3]), cached)
    for _ in range(chance.randrange(1, 4)):
        threading.Thread(target=work, args=(random.Random(chance.random()),)).start()
    threading.Event().wait()

def look(cut):
    "What is left of what was noted before the cut, and whether all goes on."
    messages, found = [], dict.fromkeys(("torn", "wrong", "not stored", "problems", "refused"), 0)
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("pcache").addHandler(handler)
    cache, cached, other = opened
    found["torn"] = len(cache.verify().problems)
    with open(LOG) as file:
        lines = [line.split() for line in file]
    for what, kind, n, when in lines:
        if float(when) < cut:
            before = cached._misses
            found["wrong"] += not is_right(cached(kind, int(n), 0), kind, int(n))
            outcome = f"{what} {'kept' if cached._misses == before else 'lost'}"
            found[outcome] = found.get(outcome, 0) + 1
    for kind in KINDS:
        for n in range(AGAIN):
            found["wrong"] += not is_right(other(kind, n), kind, n)
            found["not stored"] += not other.exists(kind, n)
    try:
        cache.verify(repair=True)
        found["problems"] = len(cache.verify().problems)
        cache.evict(max_entries=100)
        cache.stats()
        cache.clear()
        found["problems"] += sum(1 for _ in cache.entries())
    except (OSError, DirectoryError):
        found["refused"] += 1
    print(*messages, file=sys.stderr)
    say(json.dumps({**found, "messages": len(messages)}))

def start(function, *args):
    global log, neighbour, opened
    ready, started = os.pipe()
    child = os.fork()
    if child == 0:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it does not outlive the test
        try:
            log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            opened, neighbour = open_cache(), os.open(NEIGHBOUR, os.O_RDWR | os.O_CREAT, 0o600)
            os.write(started, b"x")
            function(*args)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(started), os.read(ready, 1), os.close(ready)
    return child

WORKS = {"all": [(do_all, True), (do_all, True), (sync_now_and_then,)],
         "new": [(do_all, False), (do_all, False), (sync_now_and_then,)], "long": [(take_long,)]}
say("ready")
while order := hear().split():
    if order[0] == "work":
        open(LOG, "w").close()
        children = [start(f, random.Random(f"{order[2]}.{i}"), *args) for i, (f, *args) in enumerate(WORKS[order[1]])]
        say("working")
    elif order[0] == "stop":
        for child in children:
            os.kill(child, signal.SIGKILL)
        say(all([os.WIFSIGNALED(os.waitpid(child, 0)[1]) for child in children]))
    else:
        _, status = os.waitpid(start(look, float(order[1])), 0)
        say(status)
"""


class Cuts:
    """A disk whose power is cut while processes use a cache on it, again and again."""

    def __init__(self, on: Disk, log: Path, *arguments: str) -> None:
        self.on, self.log = on, log
        self.factory = Talker(FACTORY, on.folder / "cache", log, *arguments)
        self.factory.hear()
        self.found: Counter[str] = Counter()

    def __enter__(self) -> Cuts:
        return self

    def __exit__(self, *_: object) -> None:
        self.factory.kill()

    def errors(self) -> str:
        return self.factory.process.communicate()[1]

    def cut(self, work: str, seconds: float, seed: str) -> None:
        """Let the processes work, cut the power some time after their first result, and check what is left."""
        self.factory.say(f"work {work} {seed}")
        assert self.factory.hear() == "working"
        while not self.log.stat().st_size:
            time.sleep(0.001)
        time.sleep(seconds)
        cut = time.monotonic()
        self.on.lose_power()
        self.factory.say("stop")
        line = self.factory.hear()
        assert line == "True", self.errors()  # no caller got an exception, even without a disk
        self.on.come_back()
        self.factory.say(f"look {cut}")
        line = self.factory.hear()
        assert line.startswith("{"), self.errors()
        assert self.factory.hear() == "0"
        self.found.update({**json.loads(line), "cuts": 1})


@pytest.mark.parametrize("kind", ["ext4", "ext4 without a journal", "xfs"])
def test_power_cuts(tmp_path: Path, evidence: Callable[[str, str, int, int], None], kind: str) -> None:
    """After each cut every call returns the right value; slow results that were returned are still stored."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    with disk(tmp_path, kind) as on, Cuts(on, tmp_path / "log") as cuts:
        has_journal = "without" not in kind
        # Short rounds, in which everything happens, and longer ones.
        for number in range(rounds(4 if has_journal else 2, 150)):
            cuts.cut(chance.choice(["all", "new"]), chance.random() * 0.3, f"{seed}.{number}")
        for number in range(rounds(2 if has_journal else 0, 50)):
            cuts.cut("long", chance.random() * 1.5, f"{seed}.long{number}")
    found = cuts.found
    print(f"{kind}, seed {seed}: {dict(found)}")  # noqa: T201 - the figures, for `pytest -rA`
    evidence("never wrong", f"power cut at a random moment, {kind}", found["cuts"], found["wrong"])
    assert found["wrong"] == 0
    assert found["quick lost"] > 0  # the cuts were real
    if has_journal:  # without one, names may lead to other files or folders after the repair
        assert found["long kept"] > 0
        lost = [found[name] for name in ("long lost", "not stored", "problems", "refused", "messages")]
        assert lost == [0] * 5


# Small files that everything depends on: made by a separate process, which waits while the power is cut.
MAKER = """
import pcache
@pcache.cached(cache=Cache(sys.argv[2]), version=sys.argv[3])
def f(n):
    return [n, sys.argv[3]]
if sys.argv[4] == "adopt":
    f.adopt()
    say("adopted")
else:
    say(f(1), f.cache_info().hits)
hear()
"""


def calls(*arguments: object) -> tuple[str, Talker]:
    maker = Talker(MAKER, *arguments)
    return maker.hear(), maker


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_new_signing_key_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Callable[[str, str, int, int], None], kind: str
) -> None:
    """The key is on its disk before anything is signed with it: a lost one would make every result foreign."""
    lost = number = 0
    with disk(tmp_path, kind) as on:
        for number in range(1, rounds(1, 50) + 1):
            monkeypatch.setenv("XDG_CONFIG_HOME", str(on.folder / f"config{number}"))
            arguments = (tmp_path / f"unused{number}", tmp_path / f"cache{number}", "1", "call")
            answer, maker = calls(*arguments)
            assert answer == "[1, '1'] 0"
            on.lose_power()
            maker.kill()
            on.come_back()
            answer, maker = calls(*arguments)
            maker.finish()
            lost += answer != "[1, '1'] 1"
    evidence("never in the way", f"power cut after a signing key was made, {kind}", number, lost)
    assert lost == 0


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_was_adopted_survives(tmp_path: Path, evidence: Callable[[str, str, int, int], None], kind: str) -> None:
    """An adoption is on the disk, also if the sync of another process wrote the name without the bytes."""
    lost = number = 0
    with disk(tmp_path, kind) as on:
        for number in range(1, rounds(1, 50) + 1):
            cache = on.folder / f"cache{number}"
            answer, maker = calls(tmp_path / "unused", cache, "1", "call")
            assert (answer, maker.finish()) == ("[1, '1'] 0", [])
            on.sync()
            answer, maker = calls(tmp_path / "unused", cache, "2", "adopt")
            assert answer == "adopted"
            on.sync(on.folder / "neighbour")
            on.lose_power()
            maker.kill()
            on.come_back()
            answer, maker = calls(tmp_path / "unused", cache, "2", "call")
            maker.finish()
            lost += answer != "[1, '1'] 1"
    evidence("never in the way", f"power cut after versions were adopted, {kind}", number, lost)
    assert lost == 0
