"""The `Cache` object: its directory, settings and keys, several on one directory, and what it gives when all fails."""

from __future__ import annotations

import base64
import inspect
import os
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, ConfigError, DirectoryError, SigningKeyError, StoreWarning, cached
from pcache.config.options import GIVEN, make_options
from pcache.system import notices
from tests.support.running import ROOT


@pytest.fixture(autouse=True)
def _warnings_again() -> None:
    notices.forget()


def draw(n: int) -> bytes:
    return os.urandom(8)


def test_the_directory_is_made_by_the_first_result(tmp_path: Path) -> None:
    """Making a cache and decorating touch nothing; the first result makes a private directory with its tag."""
    cache = Cache(tmp_path / "deep" / "cache")
    made = cache.cached(draw)
    made.exists(1)
    assert list(tmp_path.iterdir()) == []
    made(1)
    root = Path(cache.location)
    assert sorted(path.name for path in root.iterdir()) == [".gitignore", "CACHEDIR.TAG", "v1"]
    assert (root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    for path in (root, *root.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """Everything is private under any umask, and results are found again."""
    old = os.umask(umask)
    try:
        stored = Cache(tmp_path / "cache").cached(draw)(1)
    finally:
        os.umask(old)
    assert Cache(tmp_path / "cache").cached(draw)(1) == stored
    for path in (tmp_path / "cache", *(tmp_path / "cache").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts, paths, relative ones and `~` are taken; the location is absolute and fixed from then on."""
    monkeypatch.chdir(tmp_path)
    assert Cache("results").location == Cache(Path("results")).location == str(tmp_path / "results")
    assert Cache("~/results").location == os.path.join(os.environ["HOME"], "results")
    cache = Cache("results")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    cache.cached(draw)(1)
    assert (tmp_path / "results" / "v1").is_dir()
    assert "results" in repr(cache)


@pytest.mark.parametrize("location", ["", "a\0b", "~nobody-of-that-name/x"], ids=["empty", "zero byte", "no home"])
def test_locations_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """A location that names no directory is refused; an empty one is not the current directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="directory"):
        Cache(location)


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    """Directory, function and argument names may hold anything that the file system and Python allow."""
    cache = Cache(tmp_path / "Ergebnisse ü \n 'x'")
    namespace: dict[str, Any] = {}
    exec("def größe(länge, *, ß=1): return länge", namespace)
    made = cache.cached(namespace["größe"])
    assert made(1, ß="\ud800") == made.get(1, ß="\ud800") == 1
    assert next(cache.entries()).function.endswith("größe")
    assert cache.clear("größe").entries == 1


def test_caches_on_one_directory_are_one_cache(tmp_path: Path) -> None:
    """Any number of `Cache` objects share a directory: what one stores the others find."""
    one, two = Cache(tmp_path / "cache"), Cache(tmp_path / "cache", compression="none")
    assert one.cached(draw)(1) == two.cached(draw)(1)
    two.clear()
    assert not one.cached(draw).exists(1)


def test_caches_on_two_directories_share_nothing(tmp_path: Path) -> None:
    """The same function cached in two directories has results in each."""
    one, two = Cache(tmp_path / "one"), Cache(tmp_path / "two")
    assert one.cached(draw)(1) != two.cached(draw)(1)
    assert one.cached(draw).key(1) == two.cached(draw).key(1)
    one.clear()
    assert two.cached(draw).exists(1)


def test_a_directory_that_vanishes(tmp_path: Path) -> None:
    """When somebody removes the directory, calls compute and store again."""
    cache = Cache(tmp_path / "cache")
    made = cache.cached(draw)
    first = made(1)
    (tmp_path / "cache").rename(tmp_path / "moved")
    second = made(1)
    assert second != first
    assert made(1) == second
    assert (tmp_path / "cache" / "CACHEDIR.TAG").exists()


@pytest.mark.parametrize("level", ["none", "auto", 1, 19])
def test_compression(tmp_path: Path, level: str | int) -> None:
    """Results are the same with any compression, and one's entries are read with another's."""
    cache = Cache(tmp_path / "cache", compression=level)
    made = cache.cached(ignore=["text"])(give)
    text = "abc" * 10_000
    made(text)
    assert made(None) == text
    assert (cache.stats().bytes < 10_000) is (level in (1, 19))  # computing it took no time, so reading it should not
    assert Cache(tmp_path / "cache", compression="none").cached(ignore=["text"])(give).get(None) == text


def give(text: Any) -> Any:
    return text


def test_signing_keys(tmp_path: Path) -> None:
    """Of several keys the first signs and all verify; a cache without the key finds nothing it may read."""
    old, new = bytes(range(32)), base64.b64encode(bytes(range(1, 33))).decode()
    stored = Cache(tmp_path / "cache", signing_key=old).cached(draw)(1)
    rotated = Cache(tmp_path / "cache", signing_key=[new, old]).cached(draw)
    assert rotated(1) == stored
    second = rotated(2)
    assert Cache(tmp_path / "cache", signing_key=new).cached(draw)(2) == second
    with pytest.raises(pcache.Miss, match="foreign"):
        Cache(tmp_path / "cache", signing_key=new).cached(draw).get(1)
    assert not list(Path(os.environ["XDG_CONFIG_HOME"]).rglob("*"))  # no key was made where one was given


@pytest.mark.parametrize("key", ["short", "", b"x" * 31, [], "?" * 44])
def test_signing_keys_that_are_none(tmp_path: Path, key: Any) -> None:
    """A malformed key is refused when the cache is made, and not repeated in the message."""
    with pytest.raises(SigningKeyError) as caught:
        Cache(tmp_path / "cache", signing_key=key)
    assert "pcache key new" in str(caught.value)
    assert not key or str(key) not in str(caught.value)


def test_a_key_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_KEY is base64 of 32 bytes; processes with the same one share results."""
    monkeypatch.setenv("PCACHE_KEY", base64.b64encode(bytes(32)).decode())
    stored = Cache(tmp_path / "cache").cached(draw)(1)
    monkeypatch.delenv("PCACHE_KEY")
    assert Cache(tmp_path / "cache", signing_key=bytes(32)).cached(draw).get(1) == stored


def test_unpickled_caches_are_equal_in_kind(tmp_path: Path) -> None:
    """A pickled cache keeps its explicit settings and takes the others from where it is loaded."""
    cache = Cache(tmp_path / "cache", ttl="2h", verify="always", read_only=True)
    again = pickle.loads(pickle.dumps(cache))
    assert again.settings == cache.settings
    assert again.location == cache.location


def test_settings_that_do_not_exist(tmp_path: Path) -> None:
    """An argument that `Cache` does not have is Python's own TypeError."""
    with pytest.raises(TypeError, match="maxsize"):
        Cache(tmp_path / "cache", maxsize=5)  # type: ignore[call-arg]


def test_a_directory_that_turns_bad(tmp_path: Path) -> None:
    """When the directory becomes writable by others, calls compute, and one warning says why."""
    cache = Cache(tmp_path / "cache")
    stored = cache.cached(draw)(1)
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(DirectoryError, match="chmod 700"):
        Cache(tmp_path / "cache")
    late = pickle.loads(pickle.dumps(cache.settings))
    assert late.directory == cache.location
    (tmp_path / "cache").chmod(0o700)
    second = Cache(tmp_path / "cache").cached(draw)
    (tmp_path / "cache").chmod(0o777)
    with pytest.warns(StoreWarning, match="written by others") as given:
        results = [second(1), second(1)]
    assert len({stored, *results}) == 3
    assert len(given) == 1


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    """Where the directory cannot be made the caller gets results, and no warning about it comes twice."""
    cache = Cache(tmp_path / "soon" / "cache")
    (tmp_path / "soon").write_text("in the way")
    made = cache.cached(draw)
    with pytest.warns(StoreWarning, match="cannot be stored") as given:
        results = [made(1), made(1), made(2)]
    messages = [str(item.message) for item in given]
    assert len(set(results)) == 3
    assert len(set(messages)) == len(messages)
    assert "is below a file" in messages[0]


def test_the_default_cache_is_chosen_at_decoration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function keeps the cache that was the default when it was decorated."""
    monkeypatch.setenv("PCACHE_DIR", str(tmp_path / "one"))
    made = cached(draw)
    monkeypatch.setenv("PCACHE_DIR", str(tmp_path / "two"))
    made(1)
    assert made.cache_parameters()["location"] == str(tmp_path / "one")
    assert cached(draw).cache_parameters()["location"] == str(tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_errors_are_also_what_callers_expect() -> None:
    """Each error of the package is one of its own kind and one of Python's."""
    assert issubclass(ConfigError, ValueError)
    assert issubclass(DirectoryError, OSError)
    assert issubclass(pcache.Miss, LookupError)
    assert issubclass(pcache.UnhashableArgument, TypeError)
    assert issubclass(pcache.UnpicklableResult, TypeError)
    own = [getattr(pcache, name) for name in pcache.__all__ if name.endswith(("Error", "Entry", "Argument", "Result"))]
    assert len(own) >= 7
    assert all(issubclass(error, pcache.PcacheError) for error in own)


def test_a_relative_path_without_a_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative directory is refused in a sentence where the current one was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the current directory is gone"):
        Cache("cache")
    Cache(tmp_path / "cache")


@pytest.mark.parametrize("function", [cached, Cache.cached])
def test_help_shows_every_option_with_its_type(function: Any) -> None:
    """And its default: what is shown is what the decorator takes."""
    shown = {name: value for name, value in inspect.signature(function).parameters.items() if name in GIVEN}
    assert tuple(shown) == GIVEN
    assert all(value.annotation is not inspect.Parameter.empty for value in shown.values())
    defaults = {name: value.default for name, value in shown.items()}
    assert make_options(**defaults) == make_options()
    assert """unhashable: "Literal['raise', 'compute']" = 'raise'""" in pydoc.plain(pydoc.render_doc(function))


TEMPORARY = """
import tempfile
from pcache import Cache
with tempfile.TemporaryDirectory() as folder:
    cache = Cache(folder + "/cache")
    @cache.cached
    def double(n):
        return 2 * n
    print([double(n) for n in range(5)], cache.stats().entries)
"""


def test_a_directory_that_is_gone_before_the_process_ends(tmp_path: Path) -> None:
    """A program that removes its cache, as tests do, hears nothing of what was still to be written there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", TEMPORARY], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    assert (done.stdout, done.stderr) == ("[0, 2, 4, 6, 8] 5\n", "")
