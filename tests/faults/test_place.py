"""Caches in strange places: file systems of many kinds, names of all sorts, homes that are none, folders that move."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.places import KINDS, Lacking, check_places

Evidence = Callable[[str, str, int, int], None]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_file_systems(tmp_path: Path, evidence: Evidence) -> None:
    """A cache does the same on every file system; on a network one results may be computed twice."""
    folders, lacking = {}, {}
    with ExitStack() as stack:
        for kind, make in KINDS.items():
            (tmp_path / kind).mkdir()
            try:
                folders[kind] = make(stack, tmp_path / kind) / "cache"
            except Lacking as reason:
                lacking[kind] = str(reason)
        if not folders:
            pytest.skip(f"no file system can be made: {lacking}")
        found = check_places(*folders.values(), network=[folders.get("network")])
    print("not on this machine:", lacking)  # noqa: T201 - for `pytest -rA`
    evidence("never wrong", "a whole program on " + ", ".join(folders), len(folders), len(found))
    assert found == {}


NAMES = {
    "spaces": "a folder with spaces ",
    "emoji": "\U0001f9ca caché",
    "newline": "two\nlines\ttab",
    "bytes": os.fsdecode(b"\xff\xfe not utf-8"),
    "quotes": 'it\'s "quoted" $HOME `x` \\ %s {n} \x1b[2J',
    "200 characters": "x" * 200,
    "3,900 characters": "/".join(["y" * 243] * 15) + "/" + "z" * 100,
    "dots": "a/../b/./c/",
    "dash": "-rf",
}


def test_names(tmp_path: Path, evidence: Evidence) -> None:
    """A cache directory may be called anything that the file system takes."""
    folders = [f"{tmp_path}/{number}/{name}/cache" for number, name in enumerate(NAMES.values())]
    found = check_places(*folders)
    evidence("never in the way", "strange names of the cache directory", len(folders), len(found))
    assert found == {}
    for folder in folders:
        assert os.path.isdir(f"{os.path.normpath(folder)}/v1/entries")
