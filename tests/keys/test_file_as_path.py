"""`File` reads like a path, and is accepted where one is."""

from __future__ import annotations

import ast
import inspect
import os
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcache import Cache, ConfigError, File, UnhashableArgument
from pcache.keys import file as module
from pcache.keys.file import AS_A_PATH
from tests.support.running import run, write

WRITING = ("write_text", "write_bytes", "unlink", "rename", "replace", "touch", "mkdir", "chmod", "symlink_to")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "table.tar.csv", "a,b\n1,2\n")


@pytest.mark.parametrize(
    "ask",
    [
        lambda file: (file.name, file.stem, file.suffix, file.suffixes, file.parts, file.anchor),
        lambda file: (file.parent, file.parents[0], file / "x", file.parent / "y", "z" / file, Path("q") / file),
        lambda file: (file.exists(), file.is_file(), file.is_dir(), file.stat(), file.is_absolute()),
        lambda file: (file.read_text(encoding="utf-8"), file.read_bytes(), file.as_posix(), file.as_uri()),
        lambda file: (file.with_suffix(".x"), file.with_name("n"), file.with_stem("s"), file.joinpath("a", "b")),
        lambda file: (file.resolve(), file.absolute(), file.relative_to(file.parent), file.match("*.csv")),
        lambda file: (str(file), f"{file}", os.fspath(file), os.path.basename(file)),
        lambda file: (file.open().read(), file.open("rb").read(), file.open(encoding="utf-8").read()),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_it_reads_like_a_path(path: Path, ask: Callable[[Any], object]) -> None:
    """What is asked of a `pathlib.Path` has the same answer, and what is made of it is a plain `Path`."""
    told, wanted = ask(File(path)), ask(path)
    assert told == wanted
    assert [type(item) for item in told] == [type(item) for item in wanted]  # type: ignore[attr-defined]


def test_names_for_type_checkers_are_those_of_programs() -> None:
    """Both have the same names, of which each is one of `pathlib.Path`."""
    (cls,) = (node for node in ast.parse(inspect.getsource(module)).body if getattr(node, "name", "") == "File")
    (block,) = (node for node in cls.body if isinstance(node, ast.If))  # type: ignore[attr-defined]
    declared = {getattr(node, "name", "") or ast.unparse(node.target) for node in block.body}  # type: ignore[attr-defined]
    assert declared == AS_A_PATH
    assert {name for name in AS_A_PATH if not hasattr(pathlib.Path, name)} == set()
    assert set(dir(File("x"))) >= {*AS_A_PATH, "open", "path"}


@pytest.mark.parametrize("name", [*WRITING, "nothing_of_that_name", "_private"])
def test_what_would_change_the_file_has_no_place(path: Path, name: str) -> None:
    """It is missing, and the message says where it is; what no path has is missing as usual."""
    with pytest.raises(AttributeError) as caught:
        getattr(File(path), name)
    said = f"'File' object has no attribute {name!r}"
    assert str(caught.value) == said + ": a File is only read; pathlib.Path(file) has it" * (name in WRITING)
    assert not hasattr(File(path), name)
    assert not hasattr(File.__new__(File), "path")  # as what copies an object may look at it


@pytest.mark.parametrize("mode", ["w", "a", "x", "r+", "wb", "rb+"])
def test_it_is_opened_for_reading_only(path: Path, mode: str) -> None:
    """The message says how to write, and nothing was written."""
    with pytest.raises(ValueError, match="a File is only read: to write to it"):
        File(path).open(mode)  # type: ignore[call-overload]
    assert path.read_text() == "a,b\n1,2\n"


def test_it_is_taken_where_a_path_is(path: Path, tmp_path: Path) -> None:
    """By Python's own functions, and by libraries that take any `os.PathLike`."""
    Image.new("L", (2, 3)).save(tmp_path / "image.png")
    np.save(tmp_path / "array.npy", np.arange(3))
    with open(File(path)) as stream:
        assert stream.readline() == "a,b\n"
    assert pd.read_csv(File(path)).shape == (1, 2)
    assert list(np.load(File(tmp_path / "array.npy"))) == [0, 1, 2]
    with Image.open(File(tmp_path / "image.png")) as image:
        assert image.size == (2, 3)
    assert File(File(path)) == File(os.fsencode(path)) == File(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.csv", "there is no file {}"),
        (".", "{} is a folder, and a File is one file; depends_on= takes the pathlib.Path of a folder"),
        ("pipe", "{} cannot be read: it is not a regular file"),
    ],
)
def test_a_file_that_cannot_be_read(cache: Cache, tmp_path: Path, name: str, said: str) -> None:
    """One sentence says why, for an argument and in `depends_on`."""
    os.mkfifo(tmp_path / "pipe")
    path = os.path.join(tmp_path, name)
    with pytest.raises(UnhashableArgument) as caught:
        cache.cached(lambda source: 1)(File(path))
    assert str(caught.value).endswith(f"argument 'source' has no key: {said.format(path)}")
    if name != ".":
        with pytest.raises(ConfigError) as refused:
            cache.cached(depends_on=[File(path)])(len)
        assert f"({said.format(path)})" in str(refused.value)


PROGRAM = """
    import sys
    from pathlib import Path
    import pcache
    TABLE = pcache.File("table")
    Path("table").write_text("1")
    cache = pcache.Cache(sys.argv[1])
    @cache.cached
    def total():
        return TABLE.read_text(), TABLE.name, TABLE.parent
    print(total()[0], total()[0], cache.stats().entries)
    TABLE.with_name("table").write_text("2")
    print(total()[0], total()[0], cache.stats().entries)
"""


def test_a_constant_that_is_read_like_a_path(tmp_path: Path) -> None:
    """A global `File` counts by its content whichever way the code reads it."""
    assert run(write(tmp_path / "program.py", PROGRAM), tmp_path / "cache") == ["1 1 1", "2 2 2"]
