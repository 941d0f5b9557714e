"""Objects of packages that count by the path of a file are said once; paths and texts by themselves never are."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache import Cache, PcacheWarning
from pcache.system import notices
from tests.support.running import write

PACKAGE = """
    class Reader:
        def __init__(self, path):
            self.options = {"path": path}
    import datetime
    class Place:
        def __init__(self, path): self.path = path
        def __fspath__(self): return self.path
    class Zone(datetime.tzinfo):
        def __init__(self, path=""): self.path = path
        def __getstate__(self): return {"path": self.path}
    class Reduced:
        def __init__(self, path):
            self.path = path
        def __reduce__(self):
            return Reduced, (self.path,)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An installed package, whose objects read files."""
    write(tmp_path / "site-packages" / "somereader.py", PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.delitem(sys.modules, "somereader", raising=False)
    notices.forget()
    return __import__("somereader")  # type: ignore[no-any-return]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "table.csv", "1")


@pytest.mark.parametrize("name", ["Reader", "Reduced"])
@pytest.mark.parametrize("kind", [str, Path])
def test_it_is_said_once(tmp_path: Path, package: ModuleType, table: Path, name: str, kind: Any) -> None:
    """An object whose pickle holds the path of a file: its class, what counts of it, and the ways out."""
    size = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda reader: len(runs.append(1) or runs))
    runs: list[int] = []
    with pytest.warns(
        PcacheWarning, match=rf"somereader\.{name} .*by its path, not by what is in it.*table\.csv"
    ) as seen:
        assert [size(getattr(package, name)(kind(table))) for _ in range(3)] == [1, 1, 1]
    assert len(seen) == 1
    assert seen[0].filename == __file__


@pytest.mark.parametrize("name", ["Reader", "Reduced"])
def test_what_names_no_file_is_not_said(tmp_path: Path, package: ModuleType, name: str) -> None:
    """Folders, files that are not there, and words are just that."""
    size = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda reader: 1)
    for text in (str(tmp_path), str(tmp_path / "missing"), "table.csv", "", "a\\0b", "x" * 10_000):
        assert size(getattr(package, name)(text)) == 1


def test_paths_and_texts_are_what_they_say(tmp_path: Path, table: Path) -> None:
    """A path by itself, a text, and an instance of the user's own class are never said."""
    notices.forget()
    size = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda *values: 1)
    assert size(table, str(table), {"path": table}, write) == 1


@pytest.mark.parametrize("name", ["Place", "Zone"])
def test_a_package_s_paths_and_time_zones(tmp_path: Path, package: ModuleType, table: Path, name: str) -> None:
    """What is a path to Python is one, and a time zone holds what its file said."""
    size = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda place: 1)
    assert size(getattr(package, name)(str(table))) == 1


def test_where_warnings_are_errors(tmp_path: Path, package: ModuleType, table: Path, caplog: Any) -> None:
    """The caller gets the result; the log has the words."""
    size = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda reader: 1)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "pcache"):
        warnings.simplefilter("error")
        assert size(package.Reader(str(table))) == 1
    assert "counts by its path" in caplog.text


def test_an_object_that_cannot_be_reduced(tmp_path: Path) -> None:
    """What raises when it is looked at raises nothing new."""
    code = (
        "import pcache, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import somewhere\n"
        "try: pcache.Cache(sys.argv[2]).cached(lambda x: 1)(somewhere.Odd())\n"
        "except pcache.UnhashableArgument as error: print(error.path)\n"
    )
    text = "class Odd:\n    def __reduce__(self): raise OSError('no')\n"
    write(tmp_path / "site-packages" / "somewhere.py", text)
    command = [sys.executable, "-c", code, str(tmp_path / "site-packages"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "x\n"
