"""The memory of removed entries: bounded, soft, and never more than a sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pcache import removals
from pcache.removals import last, note, path_below

ID = "ab" * 8


def key(number: int) -> str:
    return f"{number:040x}"


def name(number: int) -> str:
    return ID + key(number)


def test_the_latest_removal_counts(tmp_path: Path) -> None:
    """An entry that was removed more than once is said to have been removed the last time."""
    note(str(tmp_path), [name(1), name(2)], "evicted")
    note(str(tmp_path), [name(1)], "cleared")
    first, second = last(str(tmp_path), ID, key(1)), last(str(tmp_path), ID, key(2))
    assert first is not None
    assert second is not None
    assert (first.cause, second.cause) == ("cleared", "evicted")
    assert abs(first.when - os.stat(path_below(str(tmp_path))).st_mtime) < 5
    assert last(str(tmp_path), ID, key(3)) is None
    assert last(str(tmp_path), "cd" * 8, key(1)) is None


def test_the_file_is_private_and_made_when_needed(tmp_path: Path) -> None:
    """Nothing is made before something is removed; then folder and file are ours alone."""
    note(str(tmp_path / "cache"), [], "evicted")
    assert last(str(tmp_path / "cache"), ID, key(1)) is None
    assert not (tmp_path / "cache").exists()
    note(str(tmp_path / "cache"), [name(1)], "invalidated")
    file = Path(path_below(str(tmp_path / "cache")))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old removals are forgotten, two files at most are kept, and one large removal is cut to its end."""
    monkeypatch.setattr(removals, "_MAX_SIZE", 400)
    for number in range(100):
        note(str(tmp_path), [name(number)], "evicted")
    folder = Path(path_below(str(tmp_path))).parent
    assert sorted(file.name for file in folder.iterdir()) in (["removed", "removed.1"], ["removed.1"])
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 2 * 440
    assert last(str(tmp_path), ID, key(99)) is not None
    assert last(str(tmp_path), ID, key(0)) is None
    note(str(tmp_path), map(name, range(1000, 2000)), "cleared")
    assert last(str(tmp_path), ID, key(1999)) is not None
    assert last(str(tmp_path), ID, key(1000)) is None


@pytest.mark.parametrize(
    "text", [b"", b"\0" * 7, b"\xff" * 4000, bytes.fromhex(ID + key(1)), bytes.fromhex(ID + key(1)) + b"\xff" * 12]
)
def test_any_content_is_harmless(tmp_path: Path, text: bytes) -> None:
    """A file cut short or written by somebody else gives a removal or none, and never an exception."""
    note(str(tmp_path), [name(2)], "evicted")
    Path(path_below(str(tmp_path))).write_bytes(text)
    last(str(tmp_path), ID, key(1))
    note(str(tmp_path), [name(3)], "evicted")
    assert last(str(tmp_path), ID, key(3)) is not None


def test_what_cannot_be_noted_is_not(tmp_path: Path) -> None:
    """A link in the file's place is removed and not followed, and a place that cannot be written is no error."""
    target = tmp_path / "target"
    target.write_text("")
    file = Path(path_below(str(tmp_path)))
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    note(str(tmp_path), [name(1)], "evicted")
    assert target.read_text() == ""
    assert last(str(tmp_path), ID, key(1)) is not None
    (tmp_path / "file").write_text("")
    note(str(tmp_path / "file"), [name(1)], "evicted")
    assert last(str(tmp_path / "file"), ID, key(1)) is None
