"""Disks that are really full, in all possible ways: calls return, and stored results still hit.

The cached function tries to write to the same disk itself while it runs: its failure proves that the disk was full at
that moment.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.disks import Disk, disk
from tests.faults.hunting import rounds
from tests.support.processes import ROOT, Talker, claims_below

# Obeys lines of JSON, and reports: how many values were wrong, how often the function ran, how often a plain write
# failed meanwhile, and the warnings. It loads everything before its rights or its files are limited.
USER = """
import contextlib, json, resource, tempfile, warnings
given = []
warnings.showwarning = lambda message, *_: given.append(str(message))
warnings.simplefilter("always")
FOLDER, FILLER = os.path.dirname(sys.argv[1]), os.path.join(os.path.dirname(sys.argv[1]), "filler")
ran = refused = 0

def value(n):
    return [n, f"{n} " * (10, 3000, 40_000)[n % 3]]  # the last one is compressed

def probe():
    global ran, refused
    ran += 1
    path = f"{FOLDER}/probe"
    try:
        with open(path, "wb", buffering=0) as file:
            if file.write(bytes(300_000)) < 300_000:
                raise OSError
    except OSError:
        refused += 1
    with contextlib.suppress(OSError):
        os.unlink(path)

def f(n):
    probe()
    return value(n)

def cached_in(cache):
    return cache.cached(code="none", version=1)(f)

def fill(how, leave):
    if how == "bytes":
        with open(FILLER, "wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
            if leave:
                with contextlib.suppress(OSError):  # with a quota this takes room as well
                    file.truncate(max(file.tell() - leave, 0))
    elif how == "inodes":
        os.mkdir(FILLER)
        with contextlib.suppress(OSError):
            for number in range(10**6):
                os.close(os.open(f"{FILLER}/{number}", os.O_CREAT | os.O_WRONLY, 0o600))
        for number in range(min(number, leave // 4096)):
            os.unlink(f"{FILLER}/{number}")
    elif how == "file size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (leave, resource.RLIM_INFINITY))
    elif how == "descriptors":
        open_now = len(os.listdir("/proc/self/fd")) - 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + leave // 8192, FILES[1]))

def release(how):
    if how == "bytes":
        os.unlink(FILLER)
    elif how == "inodes":
        for name in os.listdir(FILLER):
            os.unlink(f"{FILLER}/{name}")
        os.rmdir(FILLER)
    elif how == "file size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    elif how == "descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, FILES)

def obey(order, numbers):
    if order in ("call", "refresh"):
        call = cached if order == "call" else cached.refresh
        return sum(call(n) != value(n) for n in range(*numbers)), None
    if order == "stored":
        return 0, [n for n in range(*numbers) if cached.exists(n)]
    if order == "put":
        return 0, [cached.put(value(n), n) for n in range(*numbers)]
    if order == "invalidate":
        return 0, [cached.invalidate(n) for n in range(*numbers)]
    if order == "fill":
        return 0, fill(*numbers)
    if order == "release":
        return 0, release(*numbers)
    if order == "a minute later":
        cache.flow.saving._stopped_until = 0.0
        return 0, None
    if order == "flush":
        return 0, cache.flow.ledger.flush()
    if order == "verify":
        return 0, len(cache.verify().problems)
    if order == "evict":
        return 0, cache.evict(max_entries=numbers[0]).entries
    if order == "clear":
        return 0, cache.clear().entries
    return 0, getattr(cache, order)(*numbers).entries

FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
with tempfile.TemporaryDirectory() as folder:
    first, FOLDER = FOLDER, folder
    cache = Cache(folder + "/cache", signing_key=bytes(range(32)), max_entries=3, compression=1)
    cached = cached_in(cache)
    for order in ("call", "put", "refresh", "call", "stored", "invalidate"):
        obey(order, (0, 9))
    for order, *numbers in (("recompress", 3), ("flush",), ("evict", 1), ("verify",), ("clear",)):
        obey(order, numbers)
    FOLDER, ran, refused = first, 0, 0
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), compression=1)
cached = cached_in(cache)
say("ready")
while line := hear():
    order, *numbers = json.loads(line)
    before, given[:] = (ran, refused), []
    wrong, extra = obey(order, numbers)
    say(json.dumps([wrong, ran - before[0], refused - before[1], given, extra]))
"""
UPKEEP = [
    ("recompress", "none"),
    ("recompress", 3),
    ("evict", 4),
    ("clear",),
    ("invalidate", 0, 9),
    ("flush",),
    ("verify",),
]
HERE, NEW, MORE = (0, 6), (100, 106), (200, 203)  # ranges of calls: stored before the disk was full, later ones


class Done(NamedTuple):
    """How often the function ran, how often it could not write meanwhile, and further facts."""

    ran: int
    refused: int
    extra: Any


class User:
    """A process that uses a cache on a disk."""

    def __init__(self, folder: Path) -> None:
        self.talker = Talker(USER, folder / "cache")
        self.warned: list[str] = []

    def __enter__(self) -> User:
        assert self.talker.hear() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self.talker.kill()

    def do(self, order: str, *arguments: object) -> Done:
        self.talker.say(json.dumps([order, *arguments]))
        wrong, ran, refused, warned, extra = json.loads(self.talker.hear())
        assert wrong == 0
        self.warned += warned
        return Done(ran, refused, extra)


class Way(NamedTuple):
    """A way of being full: the disk, the resource that is used up, and the reason why writing fails."""

    kind: str
    size: str
    what: str
    why: str
    making: tuple[str, ...] = ()
    options: str = ""


SPACE = "No space left on device"
WAYS = {
    "tmpfs": Way("tmpfs", "1M", "bytes", SPACE),
    "ext4": Way("ext4", "8M", "bytes", SPACE, ("-m", "0")),
    "tmpfs without inodes": Way("tmpfs", "4M", "inodes", SPACE, (), "nr_inodes=100"),
    "ext4 without inodes": Way("ext4", "8M", "inodes", SPACE, ("-N", "100")),
    "quota": Way("btrfs", "120M", "bytes", "Disk quota exceeded"),
    "read-only": Way("ext4", "8M", "all", "Read-only file system"),
    "file size": Way("tmpfs", "4M", "file size", "File too large"),
    "descriptors": Way("tmpfs", "4M", "descriptors", "Too many open files"),
}


@contextlib.contextmanager
def prepared(place: Path, name: str) -> Iterator[Disk]:
    way = WAYS[name]
    with disk(place, way.kind, way.size, making=way.making, options=way.options) as on:
        if name == "quota":
            for command in ("quota enable", "qgroup limit 2M 0/5"):
                done = subprocess.run(["btrfs", *command.split(), str(on.folder)], check=False, capture_output=True)
                if done.returncode:
                    pytest.skip(f"there are no quotas here: {done.stderr!r}")
        yield on


def fill(way: Way, on: Disk, user: User, leave: int = 0) -> None:
    on.remount("ro") if way.what == "all" else user.do("fill", way.what, leave)


def release(way: Way, on: Disk, user: User) -> None:
    on.remount("rw") if way.what == "all" else user.do("release", way.what)


def left_behind(folder: Path) -> list[str]:
    """Files that were begun and not finished."""
    return (
        claims_below(folder) + [path.name for path in folder.rglob("*.json.*")] + [p.name for p in folder.glob("probe")]
    )


@pytest.mark.parametrize("name", WAYS)
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    """All calls are right, stored results hit, there is one warning; with free space, storing continues by itself."""
    way = WAYS[name]
    with prepared(tmp_path, name) as on, User(on.folder) as user:
        assert user.do("call", *HERE).refused == 0
        fill(way, on, user)
        assert user.do("call", *HERE).ran == 0 or way.what == "descriptors"  # a hit takes one
        for _ in range(3):
            done = user.do("call", *NEW)
            assert done.refused == done.ran > 0  # a plain write failed as well
            user.do("a minute later")
            user.do("refresh", *HERE), user.do("put", *NEW), user.do("flush")
            user.do("a minute later")
        (warning,) = user.warned
        assert way.why in warning
        release(way, on, user)
        assert user.do("verify").extra == 0
        assert user.do("call", *MORE).refused == 0
        assert user.do("stored", *MORE).extra == [*range(*MORE)]
        assert user.do("stored", *HERE).extra == [*range(*HERE)]
        assert left_behind(on.folder) == []


@pytest.mark.parametrize("name", ["tmpfs", "ext4", "tmpfs without inodes", "ext4 without inodes"])
def test_making_room(tmp_path: Path, name: str) -> None:
    """On a full disk, `evict` and `clear` free space, and results computed then are stored."""
    way = WAYS[name]
    with prepared(tmp_path, name) as on, User(on.folder) as user:
        user.do("call", *HERE)
        fill(way, on, user)
        assert user.do("evict", 3).extra == 3
        assert user.do("clear").extra == 3
        user.do("call", *HERE)
        assert user.do("stored", *HERE).extra
        user.do("release", way.what)


def test_commands_on_a_full_disk(tmp_path: Path) -> None:
    """`pcache evict` and `pcache clear` work on a disk that is full."""
    way = WAYS["ext4"]
    with prepared(tmp_path, "ext4") as on, User(on.folder) as user:
        user.do("call", *HERE)
        fill(way, on, user)
        for command, left in (("evict -y --max-entries 3", 3), ("clear --yes", 0)):
            arguments = [sys.executable, "-m", "pcache", "-C", str(on.folder / "cache"), *command.split()]
            done = subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=ROOT)
            assert done.returncode == 0, done.stderr
            assert len(user.do("stored", *HERE).extra) == left


@pytest.mark.parametrize("name", WAYS)
def test_nearly_full(tmp_path: Path, evidence: Callable[[str, str, int, int], None], name: str) -> None:
    """Whichever write fails for lack of space: no wrong value, one warning, nothing half-written."""
    way, seed = WAYS[name], random.randrange(10**9)
    chance = random.Random(seed)
    can_look_after = way.what in ("bytes", "inodes", "file size")  # in other ways it may report why it cannot
    failures = refused = 0
    count = rounds(6, 300)
    with prepared(tmp_path, name) as on, User(on.folder) as user:
        for _ in range(count):
            fill(way, on, user, chance.randrange(14) * chance.choice([512, 4096]))
            for _ in range(4):
                order, first = chance.choice(["call", "call", "refresh", "put"]), chance.randrange(12)
                refused += user.do(order, first, first + 3).refused
                if can_look_after:
                    user.do(*chance.choice(UPKEEP))
                user.do("a minute later")
            user.do("flush")
            release(way, on, user)
            failures += user.do("verify").extra != 0 or left_behind(on.folder) != []
            user.do("call", *MORE)
            failures += user.do("stored", *MORE).extra != [*range(*MORE)]
            user.do(*chance.choice(UPKEEP))
        warned = user.warned
    print(f"{name}, seed {seed}: {count} rounds, {refused} times full, {warned}")  # noqa: T201 - for `pytest -rA`
    evidence("never in the way", f"a disk with little or nothing left: {name}", count, failures)
    assert failures == 0
    assert refused > 0
    assert len(warned) <= 1


NO_KEY = """
import warnings
given = []
warnings.showwarning = lambda message, *_: given.append(str(message))
filler = sys.argv[3]
with open(filler, "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        say(error.strerror)
cache = Cache(sys.argv[2])
cached = cache.cached(code="none", version=1)(lambda n: [n])
say(cached(1), cached(1), cached.exists(1), len(given), *given)
os.unlink(filler)
cache.flow.saving._keyless_until = 0.0  # a minute later
say(cached(1), cached.exists(1))
cache = Cache(sys.argv[2])
say(cache.cached(code="none", version=1)(lambda n: [n]).exists(1), cache.verify().problems)
"""


def test_no_room_for_a_signing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without space for a key nothing is stored for a while; later a key is made, which the next process uses too."""
    with disk(tmp_path / "config", "tmpfs", "512K") as on:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(on.folder))
        talker = Talker(NO_KEY, tmp_path / "unused", tmp_path / "cache", on.folder / "filler")
        full, before, *after = talker.finish()
    assert full == SPACE
    assert before.startswith("[1] [1] False 1 results are neither stored nor read: there is no place for a signing key")
    assert SPACE in before
    assert after == ["[1] True", "True ()"]
