"""Only type-checked: a `File` is taken where a path is, and reads like one. An unneeded `ignore` fails the check."""

from __future__ import annotations

import os
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import assert_type

from pcache import Cache, File, cached


def load(path: str | os.PathLike[str]) -> bytes:
    return Path(path).read_bytes()


@cached(files="warn")
def count(source: File) -> int:
    return len(source.read_text().splitlines())


def is_a_path() -> None:
    file = File("table.csv")
    load(file)
    load(File(Path("table.csv")))
    load(File(file))
    with open(file) as stream:
        assert_type(stream, TextIOWrapper)
    anything: os.PathLike[str] = file
    assert_type(os.fspath(anything), str)
    assert_type(os.path.getsize(file), int)
    assert_type(count(file), int)
    count("table.csv")  # type: ignore[arg-type]
    File(3)  # type: ignore[arg-type]


def reads_like_a_path(file: File) -> None:
    assert_type(file.path, str)
    assert_type(file.name, str)
    assert_type(file.suffixes, list[str])
    assert_type(file.parent, Path)
    assert_type(file / "x", Path)
    assert_type("x" / file, Path)
    assert_type(Path("x") / file, Path)
    assert_type(file.with_suffix(".x"), Path)
    assert_type(file.exists(), bool)
    assert_type(file.stat(), os.stat_result)
    assert_type(file.read_text(encoding="utf-8"), str)
    assert_type(file.read_bytes(), bytes)
    assert_type(file.open(), TextIOWrapper)
    assert_type(file.open("rb"), BufferedReader)


def only_reads(file: File) -> None:
    file.write_text("x")  # type: ignore[attr-defined]
    file.unlink()  # type: ignore[attr-defined]
    file.open("w")  # type: ignore[call-overload]
    Cache("results", files="loud")  # type: ignore[arg-type]
    cached(files="loud")  # type: ignore[call-overload]
