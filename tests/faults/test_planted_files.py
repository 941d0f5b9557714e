"""Odd files in the place of those of a cache: no call blocks on them, and nothing that they link to is touched."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, DirectoryError, Miss, PcacheError
from pcache.counters import ledger
from pcache.signing import seal
from tests.faults.disguises import PLACES
from tests.faults.hunting import rounds
from tests.faults.odd import (
    BY_ROOT,
    FILES,
    FOLDERS,
    FOLDERS_BY_ROOT,
    NOBODY,
    Maker,
    mutable_again,
    precious_below,
    remove,
    seen,
)
from tests.support.processes import KEY, Talker, address_of, place_of

Evidence = Callable[[str, str, int, int], None]
ROOT = os.getuid() == 0
FOLDERS_OF_OURS = ("v1", "v1/entries", "{shard}", "v1/functions", "v1/ledger", "v1/locks")
# Places where an odd file makes the whole directory, or this entry, unusable, so that nothing is stored.
WHOLE = ("v1", "v1/entries")
KINDS = {"file": {**FILES, **(BY_ROOT if ROOT else {})}, "folder": {**FOLDERS, **(FOLDERS_BY_ROOT if ROOT else {})}}
CASES = [(place, kind, make) for place in PLACES for kind, make in KINDS["file"].items()]
CASES += [(place, kind, make) for place in FOLDERS_OF_OURS for kind, make in KINDS["folder"].items()]


def double(n: int) -> int:
    return 2 * n


class Attack:
    """One odd file in one place of a cache that is in use; `failures` lists what went wrong."""

    def __init__(self, folder: Path, place: str, kind: str, make: Maker) -> None:
        self.what, self.failures = f"{kind} as {place or 'the root'}", []
        self.precious = precious_below(folder / "precious")
        self.root = folder / "cache"
        self.slowest: list[float] = []
        cache = Cache(self.root, signing_key=KEY)
        cached = cache.cached(double)
        for n in range(3):
            cached(n)
        cache.flow.ledger.flush()
        cache.evict(max_entries=2)
        cached(1), cached.get(1)
        address = address_of(cached, 1)
        mark = seal.mark(b"function", address.function_id.hex(), KEY)
        names = {"id": address.function_id.hex(), "mark": mark, "other": "0" * 16, "entry": place_of(cached, 1)}
        self.path = self.root / place.format(**names, shard=os.path.dirname(place_of(cached, 1)))
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        remove(self.path)
        if ".claim" in place:
            remove(Path(place_of(cached, 1)))
        make(self.path, self.precious)
        self.before = seen(self.precious)

    def run(self, *, stores: bool) -> None:
        cache = Cache(self.root, signing_key=KEY)
        cached = cache.cached(double)
        for n in (1, 4, 5):
            self.call("exists", cached.exists, n)
            self.call("get", cached.get, n)
            self.call("call", cached, n, value=2 * n)
        if stores and not cached.exists(5):
            self.failures.append(f"{self.what}: another call was not stored")
        self.call("refresh", cached.refresh, 1, value=2)
        self.look(cache, cached)
        self.write(cache)

    def look(self, cache: Any, cached: Any) -> None:
        self.call("explain", cached.explain, 6)
        self.call("explain", cached.explain, 1)
        for look in (cache.stats, cache.verify, cache.versions, cache.periods):
            self.call(look.__name__, look)
        self.call("entries", lambda: list(cache.entries()))

    def write(self, cache: Any) -> None:
        cache.flow.ledger.count("f", hits=1)
        self.call("flush", cache.flow.ledger.flush)
        self.call("merge", lambda: ledger.merge(cache.flow.ledger._folder, cache.flow.keys.ensure()), or_os_error=True)
        self.call("recompress", cache.recompress, "none")
        self.call("repair", lambda: cache.verify(repair=True))
        self.call("evict", lambda: cache.evict(max_entries=1))
        self.call("clear", cache.clear)

    def call(self, name: str, function: Any, *arguments: Any, value: Any = None, or_os_error: bool = False) -> None:
        started, result = time.perf_counter(), None
        try:
            result = function(*arguments)
        except (Miss, PcacheError):
            if value is not None:
                self.failures.append(f"{self.what}: {name} raised")
        except Exception as error:
            if not (or_os_error and isinstance(error, OSError)):
                self.failures.append(f"{self.what}: {name}: {error!r:.200}")
        if value is not None and result != value:
            self.failures.append(f"{self.what}: {name} returned {result!r}")
        self.slowest.append(time.perf_counter() - started)
        now = seen(self.precious)
        if now != self.before:
            changed = [path for path in now.keys() | self.before.keys() if now.get(path) != self.before.get(path)]
            self.failures.append(f"{self.what}: {name} changed {changed}")
            self.before = now


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Path]:
    """A folder in which immutable files are made changeable again afterwards."""
    yield tmp_path
    if ROOT:
        mutable_again(tmp_path)


@pytest.mark.filterwarnings("ignore::pcache.StoreWarning")
def test_odd_files_are_refused_or_removed(field: Path, evidence: Evidence) -> None:
    """With anything in the place of a file or folder: right values, nothing touched, and other calls are stored."""
    failures: list[str] = []
    step = rounds(6, 1)
    cases = CASES[random.randrange(step) :: step]
    for number, (place, kind, make) in enumerate(cases):
        (field / str(number)).mkdir()
        attack = Attack(field / str(number), place, kind, make)
        attack.run(stores=place not in WHOLE and (kind, place) != ("an immutable file", "CACHEDIR.TAG"))
        failures += attack.failures
        assert len(attack.slowest) > 20
    evidence(
        "never in the way", "odd files in the place of ours: links, FIFOs, devices, holes", len(cases), len(failures)
    )
    assert failures == []


@pytest.mark.parametrize("kind", KINDS["folder"])
def test_an_odd_root_is_refused(field: Path, kind: str) -> None:
    """A squatted root is refused when the cache is made, and nothing that it links to is touched."""
    precious = precious_below(field / "precious")
    KINDS["folder"][kind](field / "cache", precious)
    before = seen(precious)
    with pytest.raises(DirectoryError):
        Cache(field / "cache", signing_key=KEY)
    assert seen(precious) == before


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777, 0o1777])
@pytest.mark.skipif(not ROOT, reason="only root can make another user's directory")
def test_a_squatted_root(tmp_path: Path, tagged: bool, mode: int) -> None:
    """Another user made the directory first: with or without our tag, and with any mode, it is refused."""
    root = tmp_path / "cache"
    root.mkdir()
    if tagged:
        Cache(tmp_path / "other", signing_key=KEY).cached(double)(1)
        shutil.copytree(tmp_path / "other", root, dirs_exist_ok=True)
    root.chmod(mode)
    os.chown(root, NOBODY, NOBODY)
    with pytest.raises(DirectoryError, match="another user"):
        Cache(root, signing_key=KEY)


@pytest.mark.filterwarnings("ignore::pcache.StoreWarning")
@pytest.mark.parametrize("kind", KINDS["file"])
def test_odd_entries_cost_no_time(field: Path, kind: str) -> None:
    """A lookup that meets an odd file ends within 10 ms: the best of some tries, as the machine may be busy."""
    cache = Cache(field / "cache", signing_key=KEY)
    cached = cache.cached(double)
    cached(1)
    path = Path(place_of(cached, 1))
    path.unlink()
    KINDS["file"][kind](path, precious_below(field / "precious"))
    took = []
    for _ in range(7):
        started = time.perf_counter()
        with pytest.raises(Miss):
            cached.get(1)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.010


SWAPPER = """
import random
path, precious, spare = sys.argv[2:5]
say("ready")
n = 0
makers = [
    lambda: os.symlink(precious + "/file", spare), lambda: os.mkfifo(spare), lambda: os.link(precious + "/file", spare),
    lambda: os.symlink("/dev/zero", spare), lambda: os.symlink(precious + "/dir", spare),
]
while not os.path.exists(path + ".stop"):
    for there in (path, path + ".claim", sys.argv[1] + "/v1/ledger/counters", sys.argv[1] + "/v1/ledger/removed"):
        try:
            if os.path.lexists(spare):  # renaming one name of a file to another of its names does nothing
                os.unlink(spare)
            random.choice(makers)()
            os.replace(spare, there)
            n += 1
        except OSError:
            pass
say(n)
"""


@pytest.mark.filterwarnings("ignore::pcache.StoreWarning")
def test_files_that_are_swapped_meanwhile(tmp_path: Path, evidence: Evidence) -> None:
    """Another thread swaps our files for odd ones all the time, while we call, clear, sweep and evict."""
    precious = precious_below(tmp_path / "precious")
    before = seen(precious)
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached = cache.cached(double)
    cached(1), cached(2)
    path = place_of(cached, 1)
    swapper = Talker(SWAPPER, tmp_path / "cache", path, precious, tmp_path / "cache" / "v1" / "spare")
    assert swapper.hear() == "ready"
    wrong = touched = 0
    count = rounds(100, 5000)
    for n in range(count):
        other = Cache(tmp_path / "cache", signing_key=KEY)
        wrong += other.cached(double)(1) != 2
        other.flow.ledger.flush()
        if n % 3 == 0:
            with contextlib.suppress(OSError):
                other.clear()
        elif n % 3 == 1:
            with contextlib.suppress(OSError):
                other.evict(max_entries=0)
        else:
            other.verify(repair=True)
        touched += seen(precious) != before
    Path(path + ".stop").touch()
    swaps = int(swapper.finish()[-1])
    evidence("never in the way", "files swapped for links and FIFOs while they are used", swaps, wrong + touched)
    assert swaps > count
    assert (wrong, touched) == (0, 0)


def test_an_eviction_does_not_follow_a_linked_shard(tmp_path: Path) -> None:
    """Entries of another directory, linked in the place of a shard, are neither listed nor removed."""
    there, here = (Cache(tmp_path / name, signing_key=KEY) for name in ("there", "here"))
    there.cached(double)(1)
    here.cached(double)(1)
    (path,) = there.flow.store.scan()
    shard = Path(here.flow.store.entries) / Path(path.path).parent.name
    remove(shard)
    shard.symlink_to(Path(path.path).parent)
    names = [f"{number:02x}" for number in range(256)]
    assert list(here.flow.store.scan(names)) == list(here.flow.store.scan()) == []
    assert here.clear().entries == here.evict(max_entries=0).entries == 0
    assert there.cached(double).get(1) == 2


ROOT_SWAPPER = """
os.setuid(65534)
root, precious = sys.argv[2:4]
say("ready")
n = 0
while not os.path.exists(root + ".stop"):
    try:
        os.rename(root, root + ".away")
        os.symlink(precious, root)
        n += 1
        os.unlink(root)
        os.rename(root + ".away", root)
    except OSError:
        pass
say(n)
"""


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
@pytest.mark.filterwarnings("ignore::pcache.StoreWarning")
def test_a_root_that_another_user_swaps(evidence: Evidence) -> None:
    """In a folder that all can write to, a user swaps our root for a link all the time: no precious file changes."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        precious, root = precious_below(Path(folder) / "precious"), Path(folder) / "cache"
        before = {path: facts for path, facts in seen(precious).items() if Path(path).is_file()}
        Cache(root, signing_key=KEY).cached(double)(1)
        swapper = Talker(ROOT_SWAPPER, Path(folder) / "unused", root, precious)
        assert swapper.hear() == "ready"
        wrong = refused = 0
        count = rounds(100, 5000)
        for n in range(count):
            try:
                other = Cache(root, signing_key=KEY)
                wrong += other.cached(double)(n % 5) != 2 * (n % 5)
                other.flow.ledger.flush()
                other.evict(max_entries=1)
                other.clear()
            except OSError:
                refused += 1
        Path(f"{root}.stop").touch()
        swaps = int(swapper.finish()[-1])
        after = seen(precious)
        touched = sum(after.get(path) != facts for path, facts in before.items())
    evidence("never wrong", "the root swapped for a link by another user", swaps, wrong + touched)
    assert swaps > 10
    assert (wrong, touched) == (0, 0)
