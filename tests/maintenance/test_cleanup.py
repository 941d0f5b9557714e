"""Upkeep against real listings: statistics, entries, selection, eviction, clearing, verification, imports."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcache import Cache, ConfigError, DirectoryError, Miss
from pcache.entry.pickle_imports import imports_of
from pcache.eviction.deletion import Removed
from pcache.insight.listing import details
from pcache.storage.store import on_disk
from tests.support import kinds

HOUR = 3600


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def small(n: int, text: str = "") -> int:
    return n


def large(n: int) -> Any:
    return kinds.noise(50_000 + n)


def files(cache: Cache) -> dict[str, Path]:
    """The entry files by name, as the file system shows them."""
    return {path.name: path for path in Path(cache.location, "v1", "entries").glob("*/*-*") if path.suffix == ""}


def room_of(path: Path) -> int:
    """What a file takes on disk, in whole blocks."""
    return on_disk(path.stat().st_size)


def tree(cache: Cache) -> set[Path]:
    return set(Path(cache.location).rglob("*"))


@pytest.fixture
def filled(cache: Cache) -> Any:
    """Three small and two large entries; the functions are `small` and `large` of the cache."""
    cache.small, cache.large = cache.cached(small), cache.cached(large)  # type: ignore[attr-defined]
    for n in range(3):
        cache.small(n)  # type: ignore[attr-defined]
    for n in range(2):
        cache.large(n)  # type: ignore[attr-defined]
    return cache


def path_of(function: Any, *args: Any) -> Path:
    key = function.key(*args)
    return Path(function.cache_parameters()["location"], "v1", "entries", key[:2], f"{function.function_id}-{key}")


def age(path: Path, hours: float) -> None:
    """Make an entry look as if it was last used some hours ago."""
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))


# Statistics and listings


def test_stats_are_those_of_the_directory(filled: Any) -> None:
    """Entries and bytes, in all and by function, are what a listing of the directory adds up to."""
    stats = filled.stats()
    sizes = {name: room_of(path) for name, path in files(filled).items()}
    assert (stats.entries, stats.bytes) == (5, sum(sizes.values()))
    assert [function.name for function in stats.functions] == [f"{__name__}:large", f"{__name__}:small"]
    for function, made in zip(stats.functions, (filled.large, filled.small), strict=True):
        own = [size for name, size in sizes.items() if name.startswith(made.function_id)]
        assert function.function_ids == (made.function_id,)
        assert (function.entries, function.bytes) == (len(own), sum(own))
        assert abs(function.last_used - time.time()) < 60
    assert stats.location == filled.location
    assert (stats.max_size, stats.max_entries, stats.in_flight) == (10 << 30, None, ())


def test_an_empty_cache(cache: Cache) -> None:
    """Reports on a cache whose directory is not made yet are empty, and do not make it."""
    assert (cache.stats().entries, cache.stats().bytes, cache.stats().functions) == (0, 0, ())
    assert list(cache.functions()) == list(cache.entries()) == []
    assert cache.clear() == cache.evict(max_entries=0) == Removed(0, 0)
    assert cache.verify(repair=True).checked == 0
    assert not Path(cache.location).exists()


def test_versions_of_a_function_are_one_function(cache: Cache) -> None:
    """Statistics put all code versions of a function together, with the id of each."""
    versions = [cache.cached(version=version)(small) for version in (1, 2, 3)]
    for made in versions:
        made(1)
    (function,) = cache.functions()
    assert function.entries == 3
    assert set(function.function_ids) == {made.function_id for made in versions}
    assert len(function.function_ids) == 3


def test_what_is_being_computed(cache: Cache) -> None:
    """Statistics name the calls that are being computed, and by which process."""

    @cache.cached
    def look() -> Any:
        return cache.stats()

    during = look()
    assert [(flight.function, flight.pid) for flight in during.in_flight] == [(look.name, os.getpid())]
    assert during.entries == 0
    assert cache.stats().in_flight == ()


def test_functions_whose_names_are_lost(filled: Any) -> None:
    """Without their registry files entries still count and hit, and tell the name of their function themselves."""
    for path in Path(filled.location, "v1", "functions").iterdir():
        path.unlink()
    found = {function.name: function.entries for function in Cache(filled.location).functions()}
    assert found == {filled.small.name: 3, filled.large.name: 2}
    assert filled.small.get(1) == 1
    assert filled.clear("small").entries == 3


def test_functions_without_any_name(filled: Any) -> None:
    """Where the entries cannot be read either, their function is shown as unknown, and they still count."""
    other = Cache(filled.location, signing_key=bytes(range(32)))
    (function,) = (found for found in other.functions() if found.entries)
    assert (function.name, function.entries) == ("?", 5)
    assert set(function.function_ids) == {filled.small.function_id, filled.large.function_id}


def test_entries_say_what_they_are(cache: Cache) -> None:
    """An entry's listing holds its call, result, size, times and cost."""
    made = cache.cached(ttl="1h")(small)
    before = time.time()
    made(3, "abc")
    (entry,) = cache.entries()
    path = path_of(made, 3, "abc")
    assert (entry.key, entry.function_id, entry.function) == (made.key(3, "abc"), made.function_id, made.name)
    assert (entry.arguments, entry.result, entry.result_type) == ("n=3, text='abc'", "3", "int")
    assert (entry.size, entry.path, entry.problem) == (path.stat().st_size, str(path), "")
    assert before - 1 <= entry.created <= time.time() + 1
    assert entry.expires == pytest.approx(entry.created + HOUR)
    assert 0 <= entry.cost < 60
    assert entry.python == ".".join(map(str, sys.version_info[:3]))
    assert entry.used == pytest.approx(path.stat().st_mtime)


def test_arguments_can_be_kept_out(tmp_path: Path) -> None:
    """With `summaries=False` neither arguments nor results appear in files or listings."""
    cache = Cache(tmp_path / "cache", summaries=False)
    cache.cached(small)(3, "secret")
    (entry,) = cache.entries()
    assert (entry.arguments, entry.result) == ("", "")
    assert all(b"secret" not in path.read_bytes() for path in Path(cache.location).rglob("*") if path.is_file())


def test_nothing_is_used_before_it_is_made(filled: Any) -> None:
    """The time of use is known to half a second only, which does not show beside the time of making."""
    assert all(0 <= entry.used - entry.created < 2 for entry in filled.entries())


def test_entries_are_listed_by_use(filled: Any) -> None:
    """The latest used comes first."""
    for hours, n in enumerate((1, 0, 2)):
        age(path_of(filled.small, n), hours)
    assert [entry.arguments for entry in filled.entries(filled.small)] == [
        "n=1, text=''",
        "n=0, text=''",
        "n=2, text=''",
    ]


def test_a_damaged_entry_is_listed_with_its_problem(filled: Any) -> None:
    """A listing shows entries that cannot be read, and says why."""
    path = path_of(filled.small, 1)
    path.write_bytes(path.read_bytes()[:-1])
    problems = {entry.key: entry.problem for entry in filled.entries()}
    assert len(problems) == 5
    assert [key for key, problem in problems.items() if problem] == [filled.small.key(1)]
    assert problems[filled.small.key(1)].startswith("damaged: ")


def test_listings_never_unpickle(cache: Cache, tmp_path: Path) -> None:
    """Statistics, listings, details and checks run none of the code that a result's pickle names."""
    made = cache.cached(ignore=["value"])(give)
    made(Planter(str(tmp_path / "planted")))
    cache.stats(), list(cache.entries()), cache.verify(), details(cache.directory, made.key(None))
    assert not (tmp_path / "planted").exists()
    made(None)
    assert (tmp_path / "planted").exists()


def give(value: Any) -> Any:
    return value


class Planter:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


# Selection


def test_selection(filled: Any) -> None:
    """A cached function, its name, a part of it, a pattern and an id stand for the same function."""
    module = small.__module__
    selections = [filled.small, f"{module}:small", "small", "*:sm*", filled.small.function_id]
    for selection in selections:
        assert {entry.key for entry in filled.entries(selection)} == {filled.small.key(n) for n in range(3)}
    assert len(list(filled.entries(module))) == 5
    assert len(list(filled.entries("*"))) == 5


@pytest.mark.parametrize("call", ["entries", "evict", "clear"])
def test_a_name_that_matches_nothing(filled: Any, call: str) -> None:
    """A selection that matches nothing is an error that shows which functions there are; nothing is removed."""
    calls = {
        "entries": lambda: list(filled.entries("smal")),
        "evict": lambda: filled.evict(max_entries=0, function="smal"),
        "clear": lambda: filled.clear("smal"),
    }
    with pytest.raises(ConfigError, match=rf"'smal'.*{__name__}:small"):
        calls[call]()
    assert len(files(filled)) == 5


# Clearing


def test_clear_removes_all(filled: Any) -> None:
    """`clear` removes every entry and name, says how much that was, and leaves the root with its tag."""
    expected = sum(map(room_of, files(filled).values()))
    assert filled.clear() == Removed(5, expected)
    assert files(filled) == {}
    assert list(Path(filled.location, "v1", "functions").iterdir()) == []
    assert Path(filled.location, "CACHEDIR.TAG").exists()
    assert filled.small(1) == 1
    assert [function.entries for function in filled.functions()] == [1, 0]


def test_clear_of_one_function(filled: Any) -> None:
    """`clear(function)` removes its entries, of all versions, and no others."""
    filled.cached(version=2)(small)(1)
    removed = filled.clear(filled.small)
    assert removed.entries == 4
    assert {function.name: function.entries for function in filled.functions()} == {
        filled.large.name: 2,
        filled.small.name: 0,
    }
    assert filled.large.exists(0)
    assert filled.large.exists(1)


@pytest.mark.parametrize("call", ["clear", "evict"])
def test_a_dry_run_removes_nothing(filled: Any, call: str) -> None:
    """With `dry_run` the answer is the same, and not a file is touched."""
    run = {"clear": filled.clear, "evict": lambda **options: filled.evict(max_entries=2, **options)}[call]
    before = tree(filled)
    foretold = run(dry_run=True)
    assert tree(filled) == before
    assert run() == foretold
    assert foretold.entries == (5 if call == "clear" else 3)


def test_files_of_others_stay(filled: Any) -> None:
    """Nothing but our own files is removed, whatever lies between them."""
    shard = path_of(filled.small, 1).parent
    strangers = [
        shard / "notes.txt",
        shard / f"{path_of(filled.small, 1).name}.bak",
        Path(filled.location, "v1", "entries", "README"),
        Path(filled.location, "v1", "functions", "mine.json"),
        Path(filled.location, "v2"),
    ]
    for stranger in strangers:
        stranger.write_text("mine")
    filled.evict(max_entries=0)
    filled.clear()
    assert all(stranger.read_text() == "mine" for stranger in strangers)
    assert files(filled) == {}


@pytest.mark.parametrize("call", ["clear", "evict", "verify"])
def test_a_directory_without_our_tag_is_left_alone(filled: Any, call: str) -> None:
    """What does not carry our tag, and holds other things than ours, is never emptied."""
    Path(filled.location, "CACHEDIR.TAG").unlink()
    Path(filled.location, "v1", "photos").mkdir()
    calls = {
        "clear": filled.clear,
        "evict": lambda: filled.evict(max_entries=0),
        "verify": lambda: filled.verify(repair=True),
    }
    with pytest.raises(DirectoryError, match="tag"):
        calls[call]()
    assert len(files(filled)) == 5


# Eviction


def test_evict_takes_the_least_recently_used(filled: Any) -> None:
    """With policy="lru" entries go in the order of their last use until the limit is met."""
    order = [(filled.large, 1), (filled.small, 0), (filled.small, 2), (filled.large, 0), (filled.small, 1)]
    for hours, (function, n) in enumerate(order):
        age(path_of(function, n), hours)
    expected = room_of(path_of(*order[4])) + room_of(path_of(*order[3]))
    recency = Cache(filled.location, policy="lru")
    assert recency.evict(max_entries=3) == Removed(2, expected)
    assert [function.exists(n) for function, n in order] == [True, True, True, False, False]
    assert recency.evict(max_entries=3) == Removed(0, 0)


def test_evict_by_size(filled: Any) -> None:
    """Entries go until their bytes fit, and no further."""
    age(path_of(filled.large, 0), 2)
    age(path_of(filled.large, 1), 1)
    recency = Cache(filled.location, policy="lru")
    total = filled.stats().bytes
    assert recency.evict(max_size=total).entries == 0
    assert recency.evict(max_size=total - 1) == Removed(1, total - filled.stats().bytes)
    assert not filled.large.exists(0)
    small = room_of(path_of(filled.small, 0))
    assert recency.evict(max_size=total - small).entries == 0
    left = filled.stats().bytes
    assert recency.evict(max_size=left - 1).entries == 1
    assert filled.stats().bytes < left
    assert filled.small.exists(2)


def test_evict_by_age(filled: Any) -> None:
    """Entries that were not used for longer than `max_age` go; a hit makes an old entry young."""
    for n in range(3):
        age(path_of(filled.small, n), 30)
    filled.small.get(2)
    assert filled.evict(max_age="1d").entries == 2
    assert [filled.small.exists(n) for n in range(3)] == [False, False, True]
    assert filled.evict(max_age="1d").entries == 0


def test_evict_of_one_function(filled: Any) -> None:
    """With `function` the limits hold for its entries alone, and others stay."""
    age(path_of(filled.small, 1), 5)
    assert Cache(filled.location, policy="lru").evict(max_entries=2, function="small").entries == 1
    assert not filled.small.exists(1)
    assert filled.evict(max_entries=0, function=filled.small).entries == 2
    assert len(files(filled)) == 2


def test_evict_without_limits_takes_those_of_the_settings(filled: Any) -> None:
    """`evict()` brings a cache within its own limits."""
    assert filled.evict() == Removed(0, 0)
    assert Cache(filled.location, max_entries=4).evict().entries == 1
    assert Cache(filled.location, max_size=1).evict().entries == 4


@pytest.mark.parametrize(
    "options",
    [{"max_size": "much"}, {"max_entries": -1}, {"max_age": "old"}, {"max_entries": "3"}, {"max_entries": 1.5}],
)
def test_limits_that_cannot_be_read(filled: Any, options: dict[str, Any]) -> None:
    """A limit that is none raises ConfigError, and nothing is removed."""
    with pytest.raises(ConfigError):
        filled.evict(**options)
    assert len(files(filled)) == 5


def test_claims_of_the_living_stay(filled: Any) -> None:
    """Repairing removes the claims that killed processes left, and leaves those that are held; clearing removes all."""
    left = path_of(filled.small, 1).with_name(path_of(filled.small, 1).name + ".claim")
    held = path_of(filled.small, 2).with_name(path_of(filled.small, 2).name + ".claim")
    left.write_text("{}")
    script = "import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        holder.stdout.readline()  # type: ignore[union-attr]
        with open(held, "a") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        filled.verify(repair=True)
        assert (held.exists(), left.exists()) == (True, False)
        filled.clear()
        assert not held.exists()
        holder.communicate("\n", timeout=30)


# Verification


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_verify_finds_nothing_wrong(filled: Any) -> None:
    """Intact entries give no problems, and the numbers are those of the directory."""
    verified = filled.verify()
    assert (verified.checked, verified.bytes) == (5, filled.stats().bytes)
    assert (verified.problems, verified.leftovers, verified.removed) == ((), 0, Removed(0, 0))


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_verify_finds_a_flipped_byte(filled: Any, where: float) -> None:
    """One flipped bit anywhere in an entry, small or large, is found, and `repair` removes exactly those entries."""
    damaged = [path_of(filled.small, 1), path_of(filled.large, 0)]
    for path in damaged:
        flip(path, int(where * (path.stat().st_size - 1)))
    verified = filled.verify()
    assert {problem.path for problem in verified.problems} == set(map(str, damaged))
    assert {problem.reason for problem in verified.problems} <= {"damaged", "foreign"}
    assert len(files(filled)) == 5
    size = sum(map(room_of, damaged))
    assert filled.verify(repair=True).removed == Removed(2, size)
    assert set(files(filled).values()).isdisjoint(damaged)
    assert len(files(filled)) == 3
    assert filled.verify().problems == ()


def test_verify_finds_entries_under_the_name_of_another(filled: Any) -> None:
    """An intact entry that stands under another's name is damaged there."""
    path = path_of(filled.small, 1)
    path.write_bytes(path_of(filled.small, 2).read_bytes())
    (problem,) = filled.verify().problems
    assert (problem.path, problem.key, problem.reason) == (str(path), filled.small.key(1), "damaged")


def test_entries_of_another_key_are_foreign_and_stay(filled: Any) -> None:
    """Entries that another signing key made are reported, not removed: they may be somebody's results."""
    other = Cache(filled.location, signing_key=bytes(range(32)))
    verified = other.verify(repair=True)
    assert {problem.reason for problem in verified.problems} == {"foreign"}
    assert (len(verified.problems), verified.removed) == (5, Removed(0, 0))
    with pytest.raises(Miss, match="foreign"):
        other.cached(small).get(1)


def test_repair_removes_leftovers(filled: Any) -> None:
    """`verify(repair=True)` removes the claims that killed processes left behind, and counts them."""
    left = path_of(filled.small, 1).with_name(path_of(filled.small, 1).name + ".claim")
    left.write_text("{}")
    assert filled.verify().leftovers == 0
    assert left.exists()
    assert filled.verify(repair=True).leftovers == 1
    assert not left.exists()


def test_unfinished_signing_keys_are_swept(filled: Any) -> None:
    """What a process left that was killed while it made a key goes after an hour; the key and other files stay."""
    key = Path(filled.flow.keys.path)
    old, young = key.with_name("key.123.0123abcd"), key.with_name("key.124.0123abcd")
    others = key.with_name("key.old"), key.with_name("another.123.0123abcd")
    for path in (old, young, *others):
        path.write_text("secret")
    for path in (old, key, *others):
        os.utime(path, (time.time() - 2 * HOUR,) * 2)
    filled.verify(repair=True)
    assert not old.exists()
    assert all(path.exists() for path in (key, young, *others))


# Details


def test_details_of_an_entry(cache: Cache) -> None:
    """Details tell how an entry is stored and what unpickling it would import."""
    made = cache.cached(kinds.make)
    made("several arrays")
    key = made.key("several arrays")
    found = details(cache.directory, key[:12])
    assert found.info.key == key
    assert sum(buffer.raw_length for buffer in found.buffers) == 8 * (
        40_000 + 50_000
    )  # three more numbers are in the stream
    assert found.stream_raw_length > 100
    assert any(name.startswith("numpy") for name in found.imports)
    with pytest.raises(Miss, match="no key starts with"):
        details(cache.directory, "f" * 41)


def test_details_of_an_unclear_key(filled: Any) -> None:
    """The start of several keys stands for none of them."""
    with pytest.raises(ConfigError, match="5 keys start with"):
        details(filled.directory, "")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_imports_are_named_without_importing(protocol: int) -> None:
    """The names in a pickle are found under every protocol, repeated ones through the memo too."""
    twice = [kinds.Plain("a"), kinds.Plain("b")]
    value = [Decimal(1), Decimal(2), np.dtype("i4"), kinds.Colour.RED, *twice, os.path.join]
    names = imports_of(pickle.dumps(value, protocol))
    assert {
        "decimal.Decimal",
        "numpy.dtype",
        "tests.support.kinds.Colour",
        "tests.support.kinds.Plain",
        "posixpath.join",
    } <= set(names)


def test_imports_of_modules_that_do_not_exist() -> None:
    """Names are read, never looked up: a pickle that would run something is only told about."""
    stream = b"cos\nsystem\n(S'touch /tmp/planted'\ntR."
    assert imports_of(stream) == ["os.system"]
    text = pickle.dumps(kinds.Plain("a"), 4).replace(b"tests.support.kinds", b"no.such_module_here")
    assert imports_of(text) == ["no.such_module_here.Plain"]
    assert "no" not in sys.modules


def test_a_shard_that_is_not_ours_is_left_and_said(filled: Any) -> None:
    """`clear` removes all others and then raises; what merely looks, and the limits, go on without it."""
    shard = next(iter(sorted(Path(filled.location, "v1", "entries").iterdir())))
    there = len(list(shard.iterdir()))
    shard.chmod(0o777)
    assert filled.stats().entries == 5 - there
    with pytest.raises(DirectoryError, match=f"{shard} can be written by others"):
        filled.clear()
    assert len(files(filled)) == there
    shard.chmod(0o700)
    assert filled.clear().entries == there
