"""Arguments that name files by text or `Path`: `files="warn"` and `explain` say that what these hold does not count."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigError, File, FileArgumentWarning
from tests.test_costs import passed

LONG_AGO = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "data.csv"
    made.write_text("old")
    return made


def load(path: Any, *more: Any, token: Any = None, **options: Any) -> int:
    return 1


def warned(call: Callable[[], object]) -> list[str]:
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert {item.category for item in caught} <= {FileArgumentWarning}
    return [str(item.message) for item in caught]


@pytest.mark.parametrize(
    "make", [str, Path, lambda path: [str(path)], lambda path: {"a": (1, path)}, lambda path: [["x", {str(path)}]]]
)
def test_it_warns_once_for_each_parameter(cache: Cache, path: Path, make: Callable[[Path], object]) -> None:
    """By the names of function and parameter, with the file, whether the call hits or misses."""
    cached = cache.cached(files="warn")(load)
    (said,) = warned(lambda: cached(make(path)))
    assert said.startswith(f"{__name__}:load: argument 'path' names the file {path}, which counts by its name alone: ")
    assert said.endswith("If the function reads it, pass pcache.File(...).")
    assert warned(lambda: cached(make(path))) == []
    (second,) = warned(lambda: cached(make(path), option=str(path)))
    assert "argument 'options' names" in second


def test_a_hit_of_an_earlier_process_warns_too(cache: Cache, path: Path) -> None:
    """What was stored long ago is what a change of the file makes stale."""
    cache.cached(load)(str(path))
    again = cache.cached(files="warn")(load)
    assert len(warned(lambda: again(str(path)))) == 1
    assert again.cache_info()[:2] == (1, 0)


def test_it_is_quiet_where_nothing_is_named(cache: Cache, path: Path) -> None:
    """A `File`, a folder, a name of nothing, ignored parameters, and calls without the option."""
    cached = cache.cached(files="warn")(load)
    for value in (File(path), path.parent, str(path.parent), "nothing", "", "\0", "x" * 10_000, 3, b"x", [[]]):
        assert warned(lambda value=value: cached(value)) == []  # type: ignore[misc]
    assert warned(lambda: cache.cached(files="warn", ignore=["path"])(load)(str(path))) == []
    assert warned(lambda: cache.cached(files="warn", key={"path": File})(load)(str(path))) == []
    assert warned(lambda: cache.cached(load)(str(path))) == []


def test_a_long_list_is_looked_at_in_part(cache: Cache, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thousand parts of an argument, so that a million words are not a million looks at the disk."""
    asked: list[object] = []
    monkeypatch.setattr(os.path, "isfile", lambda name: asked.append(name))
    cache.cached(files="warn")(load)(["x", [str(n) for n in range(100_000)]])
    assert 900 < len(asked) < 1100


def test_a_secret_is_not_shown(cache: Cache, path: Path) -> None:
    """A parameter whose name says that it is secret is named without the path."""
    (said,) = warned(lambda: cache.cached(files="warn")(load)(1, token=str(path)))
    assert str(path) not in said
    assert "argument 'token' names a file, which" in said


def test_the_setting(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache, variable and project switch it on, for single functions too; the decorator has the last word."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.pcache.functions."{__name__}:load"]\nfiles = "warn"\n')
    (tmp_path / "pyproject.toml").chmod(0o644)
    for cache in (Cache(tmp_path / "a", files="warn"), Cache(tmp_path / "b")):
        assert cache.cached(load).cache_parameters()["files"] == cache.settings.files
        assert cache.cached(files="silent")(load).cache_parameters()["files"] == "silent"
    monkeypatch.setenv("PCACHE_FILES", "warn")
    assert Cache(tmp_path / "c").settings.files == "warn"
    monkeypatch.delenv("PCACHE_FILES")
    monkeypatch.chdir(tmp_path)
    assert len(warned(lambda: Cache("d").cached(load)(str(path)))) == 1
    with pytest.raises(ConfigError, match="files= takes 'silent' or 'warn', not 'loud'"):
        Cache("d").cached(files="loud")(load)  # type: ignore[call-overload]


def test_it_changes_no_key(cache: Cache, path: Path) -> None:
    """Results are shared with and without the option."""
    assert cache.cached(files="warn")(load).key(str(path)) == cache.cached(load).key(str(path))


def test_it_costs_a_hit_nothing_where_it_is_off(cache: Cache, path: Path) -> None:
    """The hit enters the same functions as ever; with the option it looks at its arguments besides."""
    entered = []
    for cached in (cache.cached(load), cache.cached(files="warn")(load)):
        cached("x"), cached("x")
        entered.append({name for file, name in passed(lambda hit=cached: hit("x")) if file == "keys/named_files.py"})  # type: ignore[misc]
    assert entered[0] == set()
    assert "find" in entered[1]


# Explained


def told(cached: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
    found = cached.explain(*args, **kwargs)
    assert found.hit
    assert all(f"\n  {text}" in str(found) for text in found.changed_files)
    return found.changed_files  # type: ignore[no-any-return]


def test_explain_says_that_a_file_changed_since(cache: Cache, path: Path) -> None:
    """And that `File` would have noticed; nothing while the file is as it was."""
    cached = cache.cached(load)
    cached(str(path), path)
    assert told(cached, str(path), path) == ()
    time.sleep(0.02)  # a tick of the kernel's clock for file times
    path.write_text("new")
    since = f"the file {str(path)!r} changed since this result was stored, and counts by its name alone"
    first, second = told(cached, str(path), path)
    assert first == f"argument path: {since}; pcache.File({str(path)!r}) would have noticed"
    assert second.startswith("argument more: ")


def test_explain_does_not_believe_old_times(cache: Cache, path: Path) -> None:
    """Content that was replaced with its old time may have changed; a secret path is not shown."""
    cached = cache.cached(load)
    cached(1, token=str(path))
    time.sleep(0.02)  # a tick of the kernel's clock for file times
    path.write_text("new")
    os.utime(path, (LONG_AGO, LONG_AGO))
    (said,) = told(cached, 1, token=str(path))
    assert said == (
        "argument token: the file may have changed since this result was stored, and counts by its name alone;"
        " pcache.File(...) would have noticed"
    )


def test_explain_is_quiet_about_what_counts(cache: Cache, path: Path) -> None:
    """A `File` needs no advice, nor does a call that misses."""
    cached = cache.cached(load)
    cached(File(path))
    time.sleep(0.02)  # a tick of the kernel's clock for file times
    os.utime(path)
    assert told(cached, File(path)) == ()
    assert cached.explain("elsewhere", str(path)).changed_files == ()
