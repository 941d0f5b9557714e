"""The decorator: its options, the calls of a cached function, contexts, settings, closures, and what it leaves alone.

Many functions here return random bytes: two equal results are one computation.
"""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import itertools
import logging
import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

import pcache
from pcache import (
    Cache,
    CachedFunction,
    ConfigError,
    DirectoryError,
    Miss,
    PcacheWarning,
    UnhashableArgument,
    UnpicklableResultWarning,
    cached,
)
from tests.support.processes import run


def draw(n: int = 0, *, seed: object = None) -> bytes:
    """Random bytes: equal ones were computed once."""
    return os.urandom(8)


def entries(cache: Cache) -> int:
    return sum(1 for _ in Path(cache.location, "v1", "entries").glob("*/*"))


# With and without parentheses


def test_all_ways_to_decorate(cache: Cache) -> None:
    """Bare, with empty parentheses, with options, on a cache or with cache=: the results are stored and found."""
    for decorate in (cache.cached, cache.cached(), cache.cached(ttl="7d"), cached(cache=cache), cache.cache):
        made = decorate(draw)
        assert isinstance(made, CachedFunction)
        assert made(1) == made(1) == made(n=1) == made(1, seed=None) != made(2)
        made.cache_clear()


def test_a_folder_as_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cache=` takes a path, relative to the current directory; functions of one folder share its `Cache`."""
    monkeypatch.chdir(tmp_path)
    made, other = cached(cache="folder")(draw), cached(cache=tmp_path / "folder")(draw)
    assert made(1) == other(1)
    assert made.cache_parameters()["location"] == str(tmp_path / "folder")
    assert made._flow is other._flow
    assert cached(cache="another")(draw)(1) != made(1)


def test_the_default_cache_follows_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`@cached` alone stores in the directory of the settings, which is private to the user."""
    made = cached(draw)
    assert made(1) == cached()(draw)(1)
    location = Path(made.cache_parameters()["location"])  # type: ignore[arg-type]
    assert location == Path(os.environ["XDG_CACHE_HOME"], "pcache")
    assert location.stat().st_mode & 0o777 == 0o700
    assert pcache.default_cache() is pcache.default_cache()
    monkeypatch.setenv("PCACHE_DIR", str(tmp_path / "other"))
    assert pcache.default_cache().location == str(tmp_path / "other")


def test_a_cached_function_looks_like_the_function(cache: Cache) -> None:
    """Name, docstring, signature, module and attributes are those of the function."""
    draw.unit = "m"  # type: ignore[attr-defined]
    made = cache.cached(draw)
    assert made.__wrapped__ is draw
    assert (made.__name__, made.__qualname__, made.__doc__) == ("draw", "draw", draw.__doc__)
    assert (made.__module__, made.unit) == (draw.__module__, "m")
    assert inspect.signature(made) == inspect.signature(draw)
    assert "draw" in repr(made)
    assert cache.location in repr(made)


def test_other_callables_can_be_cached(cache: Cache) -> None:
    """Partials, builtins, classes and callable objects are cached like functions."""
    assert cache.cached(functools.partial(max, 3))(5, key=None) == 5
    assert cache.cached(divmod)(7, 2) == cache.cached(divmod)(7, 2) == (3, 1)
    stored = cache.cached(Drawing)
    assert stored(1).drawn == stored(1).drawn != stored(2).drawn
    called = cache.cached(Drawing(3))
    assert called(1) == called(1) != called(2)


class Drawing:
    def __init__(self, n: int) -> None:
        self.drawn = os.urandom(8)

    def __call__(self, n: int) -> bytes:
        return os.urandom(8)


class Attributed:
    """A callable object with attributes that are called like the calls of a cached function."""

    def __init__(self) -> None:
        self.key = self.get = self.put = "mine"

    def __call__(self, n: int) -> int:
        return n + 1


def test_attributes_of_the_function_hide_nothing(cache: Cache) -> None:
    """A function's own attributes never take the place of `key`, `get` and the like."""
    made = cache.cached(Attributed())
    assert made(1) == 2
    assert made.get(1) == 2
    assert len(made.key(1)) == 40


# The calls of a cached function


def test_get_never_computes(cache: Cache) -> None:
    """`get` returns what is stored, and raises a `Miss` with a reason where there is nothing."""
    made = cache.cached(draw)
    with pytest.raises(Miss, match="absent") as caught:
        made.get(1)
    assert caught.value.reason == "absent"
    assert isinstance(caught.value, LookupError)
    assert not made.exists(1)
    stored = made(1)
    assert made.get(1) == made.get(n=1) == stored
    assert made.exists(1)


def test_put_stores_what_it_is_given(cache: Cache) -> None:
    """`put` makes any value the result of a call, over whatever is there."""
    made: Any = cache.cached(draw)
    assert made.put("first", 1) is True
    assert made.put("second", n=1) is True
    assert made(1) == "second"
    assert made.cache_info()[:2] == (1, 0)


def test_put_of_what_cannot_be_pickled(cache: Cache) -> None:
    """`put` says that it could not store, and leaves what was there."""
    made: Any = cache.cached(draw)
    made.put("kept", 1)
    with pytest.warns(UnpicklableResultWarning):
        assert made.put(threading.Lock(), 1) is False
    assert made.get(1) == "kept"
    assert entries(cache) == 1


def test_refresh_computes_and_replaces(cache: Cache) -> None:
    """`refresh` computes at every call, and later calls hit the new result."""
    made = cache.cached(draw)
    old = made(1)
    new = made.refresh(1)
    assert new != old
    assert made(1) == made.get(1) == new
    assert made.refresh(1) != new
    assert entries(cache) == 1


def test_invalidate_drops_one_call(cache: Cache) -> None:
    """`invalidate` removes the entry of one call, leaves the others and says whether there was one."""
    made = cache.cached(draw)
    old, other = made(1), made(2)
    assert made.invalidate(n=1) is True
    assert made.invalidate(1) is False
    assert not made.exists(1)
    assert made(1) != old
    assert made(2) == other


def test_key_names_the_call(cache: Cache) -> None:
    """`key` is 40 hexadecimal digits: the same for equal calls, others for others, and it names the file."""
    made = cache.cached(draw)
    assert made.key(1) == made.key(n=1) == made.key(1, seed=None)
    assert len({made.key(1), made.key(2), made.key(1.0), made.key(1, seed=0), made.key(True)}) == 5
    made(1)
    files = list(Path(cache.location, "v1", "entries").glob("*/*"))
    assert [file.name for file in files] == [f"{made.function_id}-{made.key(1)}"]
    assert int(made.key(1), 16) > 0


def test_cache_info_and_clear_as_functools(cache: Cache) -> None:
    """Counters have the fields of functools, and `cache_clear` empties this function alone and resets them."""
    made, other = cache.cached(draw), cache.cached(version=2)(draw)
    neighbour = cache.cached(functools.partial(draw, 1))
    made(1), made(1), made(2), neighbour()
    info = made.cache_info()
    assert info._fields == functools._CacheInfo._fields  # type: ignore[attr-defined]
    assert info == (1, 2, None, 2)
    other(1)
    made.cache_clear()
    assert made.cache_info() == (0, 0, None, 0)
    assert not other.exists(1)  # another version of the same function
    assert neighbour.exists()


def test_cache_parameters(tmp_path: Path) -> None:
    """What the decorator was given can be read back, in base units."""
    cache = Cache(tmp_path / "cache", max_entries=7)
    parameters = cache.cached(ttl="1h", version=3, ignore=["seed"], strict=True)(draw).cache_parameters()
    assert (parameters["ttl"], parameters["version"], parameters["ignore"]) == (3600.0, 3, ("seed",))
    assert (parameters["strict"], parameters["maxsize"]) == (True, 7)
    assert parameters["location"] == cache.location == str(tmp_path / "cache")


# Results and exceptions


def test_none_is_a_result(cache: Cache) -> None:
    """A stored None is a hit."""
    made = cache.cached(print)
    assert made.cache_info()[:2] == (0, 0)
    assert made() is None
    assert made() is None
    assert made.cache_info()[:2] == (1, 1)


def test_exceptions_pass_and_are_not_stored(cache: Cache) -> None:
    """The function's own exception reaches the caller unchanged, nothing is stored, and the next call computes."""
    failures = [KeyError("a", 1), KeyboardInterrupt(), SystemExit(3)]
    left = list(failures)

    @cache.cached(ignore=["left"])
    def fail(left: list[BaseException]) -> str:
        if left:
            raise left.pop(0)
        return "done"

    for failure in failures:
        with pytest.raises(type(failure)) as caught:
            fail(left)
        assert caught.value is failure
        assert caught.value.__cause__ is None
        assert [item.name for item in Path(cache.location).rglob("*-*")] == []
    assert fail(left) == fail(left) == "done"


def test_a_miss_leaves_no_trace_in_tracebacks(cache: Cache) -> None:
    """An exception of the function has no cache trouble as its context."""

    @cache.cached
    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        fail()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("call", ["()", "(1, 2, 3)", "(1, b=2)", "(b=1)", "(1, n=1)"])
@pytest.mark.parametrize("through", ["", ".key", ".get", ".exists", ".refresh", ".invalidate"])
def test_wrong_calls_give_pythons_own_error(cache: Cache, call: str, through: str) -> None:
    """A call that does not fit raises the TypeError that the plain function raises, naming the function."""

    def needs(n: int, m: int = 0, *, k: int = 0) -> int:
        return n

    made = cache.cached(needs)
    with pytest.raises(TypeError) as expected:
        eval(f"needs{call}", {"needs": needs})
    with pytest.raises(TypeError) as caught:
        eval(f"made{through}{call}", {"made": made})
    assert str(caught.value) == str(expected.value)
    assert caught.value.__context__ is None


def test_a_type_error_of_the_function_is_not_a_wrong_call(cache: Cache) -> None:
    """A TypeError raised in the body passes, and the body runs once per call."""
    calls = itertools.count()

    @cache.cached(ignore=["calls"])
    def fail(calls: Any) -> None:
        next(calls)
        raise TypeError("fail() missing 1 required positional argument: 'x'")

    with pytest.raises(TypeError, match="missing 1"):
        fail(calls)
    assert next(calls) == 1


def test_arguments_without_a_key(cache: Cache) -> None:
    """An argument that has no key raises an error that names function, parameter, part and the ways out."""
    made = cache.cached(draw)
    with pytest.raises(UnhashableArgument, match=r"ignore=\['seed'\]") as caught:
        made(1, seed={"db": [threading.Lock()]})
    assert (caught.value.parameter, caught.value.path, caught.value.type_name) == ("seed", "seed['db'][0]", "lock")
    assert caught.value.function.endswith("draw")
    with pytest.raises(UnhashableArgument):
        made.key(1, seed=threading.Lock())


# Options


def test_results_expire(cache: Cache) -> None:
    """With a ttl a result is a hit while it is young, and afterwards a miss with the reason `expired`."""
    made = cache.cached(ttl="200 ms")(draw)
    before = time.monotonic()
    old = made(1)
    while made.exists(1):
        assert time.monotonic() - before < 10
    assert time.monotonic() - before >= 0.199
    with pytest.raises(Miss) as caught:
        made.get(1)
    assert caught.value.reason == "expired"
    assert made(1) != old
    assert entries(cache) == 1


def test_a_shorter_ttl_counts_at_once(cache: Cache) -> None:
    """A ttl added later makes old results expire; dropping it does not revive what was stored with one."""
    forever, brief = cache.cached(draw), cache.cached(ttl=dt.timedelta(microseconds=1))(draw)
    old = forever(1)
    with pytest.raises(Miss, match="expired"):
        brief.get(1)
    new = brief(1)
    assert new != old
    with pytest.raises(Miss, match="expired"):
        forever.get(1)


def test_the_ttl_of_the_cache_is_a_default(tmp_path: Path) -> None:
    """A cache's ttl holds for functions that have none of their own."""
    cache = Cache(tmp_path / "cache", ttl="1us")
    inherits, overrides = cache.cached(draw), cache.cached(ttl="1h", version=2)(draw)
    inherits(1), overrides(1)
    assert not inherits.exists(1)
    assert overrides.exists(1)


def test_versions_live_side_by_side(cache: Cache) -> None:
    """Changing `version` computes anew, and changing it back finds the old results."""
    results = [cache.cached(version=version)(draw)(1) for version in (None, 1, "1", (1, 2), 1, None)]
    assert results[1] == results[4]
    assert results[0] == results[5]
    assert len(set(results)) == 4


def test_ignored_parameters(cache: Cache) -> None:
    """Ignored parameters do not matter, however they are passed, and may be anything."""
    made = cache.cached(ignore=["n"])(draw)
    assert made(1) == made(2) == made(n=3) == made() == made(threading.Lock())  # type: ignore[arg-type]
    assert made(1, seed=1) != made(1)
    assert cache.cached(ignore="n")(draw).key(1) == made.key(2)


def test_ignored_options(cache: Cache) -> None:
    """Where a function takes `**options`, single ones can be ignored."""

    @cache.cached(ignore=["verbose"])
    def call(n: int, **options: Any) -> bytes:
        return os.urandom(8)

    assert call(1, verbose=True) == call(1) == call(1, verbose=threading.Lock())
    assert call(1, depth=2) == call(1, verbose=1, depth=2) != call(1)


def test_key_functions(cache: Cache) -> None:
    """A key function's value stands for the argument, and its failure says which one it was."""
    made = cache.cached(key={"seed": len})(draw)
    assert made(1, seed="abc") == made(1, seed="xyz") == made(1, seed=[1, 2, 3])
    assert made(1, seed="ab") != made(1, seed="abc")
    with pytest.raises(UnhashableArgument, match="key function of parameter 'seed'") as caught:
        made(1, seed=5)
    assert isinstance(caught.value.__cause__, TypeError)


def test_depends_on(cache: Cache) -> None:
    """What `depends_on` lists is part of every key: values, functions by their code, classes by what they define."""

    def one(x: int) -> int:
        return x + 1

    def another(x: int) -> int:
        return x + 2

    keys = {
        cache.cached(depends_on=names)(draw).key(1)
        for names in ([], ["data v1"], ["data v2"], [one], [another], [Drawing], [one, another])
    }
    assert len(keys) == 7
    assert cache.cached(depends_on=[one, "x"])(draw).key(1) == cache.cached(depends_on=(one, "x"))(draw).key(1)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "ignore unknown": ({"ignore": ["x"]}, "ignore= names 'x', which is no parameter of draw"),
    "ignore no names": ({"ignore": 3}, "ignore="),
    "ignore none": ({"ignore": None}, "ignore= takes a list of names, not None"),
    "ignore numbers": ({"ignore": [0]}, "ignore= names parameters by text, not by 0"),
    "ignore a mixture": ({"ignore": {1, "n"}}, "ignore= names parameters by text, not by 1"),
    "ignore a parameter": ({"ignore": [["n"]]}, "ignore= names parameters by text, not by ['n']"),
    "key of a number": ({"key": {1: len}}, "key= names parameters by text, not by 1"),
    "unhashable": ({"unhashable": "ignore"}, "unhashable= takes 'raise' or 'compute', not 'ignore'"),
    "unhashable a switch": ({"unhashable": True}, "unhashable= takes 'raise' or 'compute', not True"),
    "code a list": ({"code": ["deep"]}, "code= takes 'deep', 'own' or 'none', not ['deep']"),
    "key unknown": ({"key": {"x": len}}, "key= names 'x', which is no parameter of draw"),
    "key no function": ({"key": {"n": 3}}, "takes a function of the argument, not 3"),
    "key no mapping": ({"key": ["n"]}, "key="),
    "key for a call, and ignore": ({"key": len, "ignore": ["n"]}, "has no effect beside key=function"),
    "depends_on no list": ({"depends_on": len}, "depends_on="),
    "depends_on without a key": ({"depends_on": [threading.Lock()]}, "depends_on="),
    "ttl": ({"ttl": "2 fortnights"}, "ttl"),
    "ttl negative": ({"ttl": -1}, "ttl"),
    "lock_timeout": ({"lock_timeout": "soon"}, "lock_timeout"),
    "unknown": ({"tttl": 3}, "tttl"),
    "cache": ({"cache": 3}, "cache= takes a pcache.Cache or the path of a folder, not 3"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_refused_at_decoration(name: str) -> None:
    """An option that cannot be used raises one sentence that names it, before any call."""
    options, words = BAD_OPTIONS[name]
    with pytest.raises(ConfigError) as caught:
        cached(**options)(draw)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize("thing", ["7d", 3, None, property(draw)], ids=["text", "number", "none", "property"])
def test_only_functions_can_be_cached(cache: Cache, thing: Any) -> None:
    """What is not callable raises one sentence that says so, and how options are given."""
    for decorate in (cache.cached(), cached()):
        with pytest.raises(ConfigError, match="takes a function, not"):
            decorate(thing)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"max_size": "5 GG"}, "max_size"), ({"ttl": "x"}, "ttl"), ({"max_entries": 0}, "max_entries")],
)
def test_bad_settings_are_refused(tmp_path: Path, options: dict[str, Any], word: str) -> None:
    """A setting that cannot be read raises one sentence that names it and shows what would do."""
    with pytest.raises(ConfigError, match=word) as caught:
        Cache(tmp_path / "cache", **options)
    assert caught.value.setting == word


@pytest.mark.parametrize("kind", ["file", "below a file", "symlink", "writable by others", "other things in it"])
def test_directories_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A directory that is no place for a cache is refused with a sentence that names it; nothing is written there."""
    place = tmp_path / "place"
    if "file" in kind:
        place.write_text("")
    else:
        (tmp_path / "real").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "real") if kind == "symlink" else place.mkdir()
        place.chmod(0o777 if kind == "writable by others" else 0o700)
    if kind == "other things in it":
        (place / "thesis.txt").write_text("")
    location = place / "cache" if kind == "below a file" else place
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("PCACHE_DIR", str(location))
    for make in (lambda: Cache(location), lambda: cached(draw)):
        with pytest.raises(DirectoryError, match=str(place)) as caught:
            make()
        assert "\n" not in str(caught.value)
        assert caught.value.reason
    assert sorted(tmp_path.rglob("*")) == before


# Contexts and settings


def test_disabled(cache: Cache) -> None:
    """Inside of `disabled()` the function itself is called: nothing is looked up, nothing stored."""
    made = cache.cached(draw)
    stored = made(1)
    with pcache.disabled():
        assert made(1) != stored
        assert made(2) != made(2)
        made(1, seed=threading.Lock())  # no key is made either
    assert made(1) == stored
    assert not made.exists(2)


def test_refreshing(cache: Cache) -> None:
    """Inside of `refreshing()` every call is computed and replaces what is stored, also calls further down."""
    made = cache.cached(draw)

    @cache.cached(ignore=["inner"])
    def outer(inner: Any) -> bytes:
        return b"" + inner(1)

    old = outer(made)
    with pcache.refreshing():
        new = outer(made)
        assert new != old
    assert outer(made) == made(1) == new


def test_contexts_end_with_their_block_and_thread(cache: Cache) -> None:
    """An exception ends a context too, contexts nest, and other threads are not affected."""
    made = cache.cached(draw)
    stored = made(1)
    with pytest.raises(KeyError), pcache.disabled():
        raise KeyError
    with pcache.disabled():
        with pcache.refreshing():
            new = made(1)
        assert made(1) != new
        seen: list[bytes] = []
        thread = threading.Thread(target=lambda: seen.append(made(1)))
        thread.start()
        thread.join()
    assert seen == [new] == [made(1)]
    assert new != stored


def test_disable_by_the_environment(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_DISABLE=1 calls the functions themselves and touches no directory."""
    stored = cache.cached(draw)(1)
    monkeypatch.setenv("PCACHE_DISABLE", "1")
    made = Cache(cache.location).cached(draw)
    assert made(1) != stored
    assert made(1) != made(1)
    default = cached(draw)
    assert default(1) != default(1)
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


def test_refresh_by_the_environment(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_REFRESH=1 computes each call anew and stores it."""
    stored = cache.cached(draw)(1)
    with monkeypatch.context() as patched:
        patched.setenv("PCACHE_REFRESH", "yes")
        new = Cache(cache.location).cached(draw)(1)
    assert new != stored
    assert Cache(cache.location).cached(draw)(1) == new


def test_read_only_by_the_environment(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_READ_ONLY=1 hits what is there and stores nothing."""
    stored = cache.cached(draw)(1)
    monkeypatch.setenv("PCACHE_READ_ONLY", "1")
    made = Cache(cache.location).cached(draw)
    assert made(1) == stored
    assert made(2) != made(2)
    assert made.put(b"", 2) is False
    assert entries(cache) == 1
    default = cached(draw)
    assert default(1) != default(1)
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


@pytest.mark.parametrize("call", ["invalidate", "cache_clear", "clear", "evict"])
def test_read_only_caches_are_left_as_they_are(cache: Cache, call: str) -> None:
    """Nothing is removed from a read-only cache, and the calls that remove say so."""
    cache.cached(draw)(1)
    reader = Cache(cache.location, read_only=True)
    made = reader.cached(draw)
    if call == "invalidate":
        assert made.invalidate(1) is False
    elif call == "cache_clear":
        made.cache_clear()
    else:
        removed = reader.clear() if call == "clear" else reader.evict(max_entries=0)
        assert (removed.entries, removed.bytes) == (0, 0)
    assert made.exists(1)


def test_directory_and_size_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_DIR and PCACHE_MAX_SIZE set what no argument does, and a bad value names the variable."""
    monkeypatch.setenv("PCACHE_DIR", str(tmp_path / "there"))
    monkeypatch.setenv("PCACHE_MAX_SIZE", "5 MB")
    cached(draw)(1)
    assert pcache.default_cache().stats().entries == 1
    assert pcache.default_cache().stats().max_size == 5_000_000
    assert Cache(tmp_path / "here", max_size="1 MB").stats().max_size == 1_000_000
    assert list((tmp_path / "there").glob("v1/entries/*/*"))
    monkeypatch.setenv("PCACHE_MAX_SIZE", "lots")
    with pytest.raises(ConfigError, match="PCACHE_MAX_SIZE"):
        cached(draw)


def test_settings_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[tool.pcache] of the project around the current directory counts, its paths from where it lies."""
    (tmp_path / "pyproject.toml").write_text('[tool.pcache]\ndir = "results"\nttl = "1us"\nmax_entries = 9\n')
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    made = cached(draw)
    assert made.cache_parameters()["location"] == str(tmp_path / "results")
    assert made.cache_parameters()["maxsize"] == 9
    made(1)
    with pytest.raises(Miss, match="expired"):
        made.get(1)


# Closures and recursion


def test_captured_values_are_part_of_the_key(cache: Cache) -> None:
    """Functions that differ in what they capture do not share results; equal ones do."""

    def maker(amount: object) -> Any:
        @cache.cached
        def add(n: int) -> tuple[int, object]:
            return (n, amount)

        return add

    assert maker(1)(5) == (5, 1)
    assert maker(2)(5) == (5, 2)
    assert maker([1])(5) == (5, [1])
    again = maker(1)
    assert again(5) == (5, 1)
    assert again.cache_info().hits == 1
    assert len({maker(value).key(5) for value in (1, 2, 1.0, "1", None, (1,), [1])}) == 7


def test_a_rebound_capture_is_noticed(cache: Cache) -> None:
    """When a captured variable is assigned another value, the next call does not hit the old result."""
    amount = 1

    @cache.cached
    def add(n: int) -> int:
        return n + amount

    assert add(1) == 2
    amount = 10
    assert add(1) == 11
    amount = 1
    assert add(1) == 2
    assert add.cache_info()[:2] == (1, 2)


def test_a_captured_list_that_grows(cache: Cache) -> None:
    """A list that the function only appends to, as tests do to count calls, does not cost hits."""
    calls: list[int] = []

    @cache.cached
    def noted(n: int) -> int:
        calls.append(n)
        return n

    assert [noted(1), noted(1), noted(2), noted(1), noted(2)] == [1, 1, 2, 1, 2]
    assert calls == [1, 2]


def test_a_captured_lock_works_in_this_process(cache: Cache) -> None:
    """A capture without a key counts by identity, with one warning: hits here, no mixing with another lock's."""

    def maker() -> Any:
        lock = threading.Lock()

        @cache.cached
        def guarded(n: int) -> bytes:
            with lock:
                return os.urandom(8)

        return guarded

    one, two = maker(), maker()
    with pytest.warns(PcacheWarning, match="captures a lock") as given:
        results = [one(1), one(1), two(1), two(1)]
    assert len(given) == 1
    assert results[0] == results[1] != results[2] == results[3]


FIRST_IN_TWO_THREADS = """
import threading, warnings
warnings.simplefilter("ignore")
random, together = os.urandom, threading.Barrier(2)
def urandom(size):
    try:
        together.wait(0.3)  # whoever else asks gets its own
    except threading.BrokenBarrierError:
        pass
    return random(size)
lock = threading.Lock()
def maker(lock):
    return cache.cached(lambda n: (lock, n)[1])
f = maker(lock)
os.urandom, keys = urandom, set()
threads = [threading.Thread(target=lambda: keys.add(f.key(1))) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(len(keys))
"""


def test_a_captured_lock_in_two_threads_at_once(tmp_path: Path) -> None:
    """Threads that make the first call of a process together have one key, so that it is computed once."""
    assert run(FIRST_IN_TWO_THREADS, tmp_path / "cache") == ["1"]


def test_a_local_function_that_calls_itself(cache: Cache) -> None:
    """A recursive local function computes each value once, and a second one of the same code hits."""

    def maker() -> Any:
        @cache.cached
        def fib(n: int) -> int:
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        return fib

    first, second = maker(), maker()
    assert first(20) == second(20) == 6765
    assert first.cache_info().misses == 21
    assert second.cache_info()[:2] == (1, 0)


def test_local_functions_that_call_each_other(cache: Cache) -> None:
    """Mutually recursive cached functions compute each value once."""

    @cache.cached
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    @cache.cached
    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert even(10)
    assert odd(9)
    assert not even(9)
    assert even.cache_info().misses + odd.cache_info().misses == 11 + 10
    assert odd.cache_info().hits == 1


def test_a_call_that_needs_itself_computes(cache: Cache) -> None:
    """A call that leads to the very same call computes it, as the plain function would, and does not wait."""
    depth = itertools.count()

    @cache.cached(ignore=["depth"], lock_timeout=30)
    def again(n: int, depth: Any) -> int:
        return n if next(depth) == 3 else again(n, depth) + 1

    started = time.monotonic()
    assert again(1, depth) == 4
    assert time.monotonic() - started < 10
    assert again(1, depth) == 4


# What is no plain function


def test_nothing_is_said_without_cause(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Plain use of every call gives no warning and no log line of that weight; below, misses alone are told."""
    made = cache.cached(ttl="1h", ignore=["seed"])(draw)
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        made(1), made(1), made.refresh(1), made.put(b"", 2), made.get(2), made.invalidate(2), made.cache_clear()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    told = [record.getMessage() for record in caplog.records]
    name = f"{__name__}:draw"
    assert told == [f"{name}: miss, absent (there is no signing key yet)", f"{name}: miss, refreshed"]


# scikit-learn


class Centre(BaseEstimator, TransformerMixin):
    """A transformer that counts how often it was fitted."""

    fits: list[int] = []  # noqa: RUF012 - shared by all, on purpose

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, rows: Any, _target: Any = None) -> Centre:
        self.fits.append(1)
        self.mean_ = rows.mean(axis=0) + self.shift
        return self

    def transform(self, rows: Any) -> Any:
        return rows - self.mean_


def test_a_pipeline_takes_a_cache_as_memory(cache: Cache) -> None:
    """scikit-learn fits a transformer once per parameters and data when a cache is its memory."""
    Centre.fits.clear()
    rows = np.arange(20.0).reshape(10, 2)
    target = rows.sum(axis=1)

    def fitted(shift: float) -> Any:
        steps = [("centre", Centre(shift)), ("line", LinearRegression())]
        return Pipeline(steps, memory=cache).fit(rows, target)

    first, second = fitted(0.0), fitted(0.0)
    assert len(Centre.fits) == 1
    np.testing.assert_allclose(first.predict(rows), target)
    np.testing.assert_array_equal(first.predict(rows), second.predict(rows))
    fitted(1.0)
    assert len(Centre.fits) == 2
    assert cache.stats().entries == 2


def test_cache_as_joblib_memory(cache: Cache) -> None:
    """`Cache.cache` takes what joblib's `Memory.cache` takes."""
    bare, optioned = cache.cache(draw), cache.cache(ignore=["seed"], verbose=0, mmap_mode="r")(draw)
    assert bare(1) == bare(n=1)
    assert optioned(1, seed=1) == optioned(1, seed=2)
