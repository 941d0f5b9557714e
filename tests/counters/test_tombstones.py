"""The memory of removed entries: bounded, soft, and never more than a sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pcache.counters import tombstones
from pcache.counters.tombstones import all_of, last, note
from pcache.layout import tombstones_path
from tests.support.processes import OTHER_RING, RING

ID = "ab" * 8


def key(number: int) -> str:
    return f"{number:040x}"


def name(number: int) -> str:
    return ID + key(number)


def test_the_latest_removal_counts(tmp_path: Path) -> None:
    """An entry that was removed more than once is said to have been removed the last time."""
    note(str(tmp_path), [name(1), name(2)], "evicted", RING)
    note(str(tmp_path), [name(1)], "cleared", RING)
    first, second = last(str(tmp_path), ID, key(1), RING), last(str(tmp_path), ID, key(2), RING)
    assert first is not None
    assert second is not None
    assert (first.cause, second.cause) == ("cleared", "evicted")
    assert abs(first.when - os.stat(tombstones_path(str(tmp_path))).st_mtime) < 5
    assert last(str(tmp_path), ID, key(3), RING) is None
    assert last(str(tmp_path), "cd" * 8, key(1), RING) is None
    assert all_of(str(tmp_path), RING) == {bytes.fromhex(name(1)): first, bytes.fromhex(name(2)): second}
    assert all_of(str(tmp_path), OTHER_RING) == all_of(str(tmp_path), None) == {}


def test_the_file_is_private_and_made_when_needed(tmp_path: Path) -> None:
    """Nothing is made before something is removed; then folder and file are ours alone."""
    note(str(tmp_path / "cache"), [], "evicted", RING)
    assert last(str(tmp_path / "cache"), ID, key(1), RING) is None
    assert not (tmp_path / "cache").exists()
    note(str(tmp_path / "cache"), [name(1)], "invalidated", RING)
    file = Path(tombstones_path(str(tmp_path / "cache")))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old removals are forgotten, two files at most are kept, and one large removal is cut to its end."""
    monkeypatch.setattr(tombstones, "_MAX_SIZE", 4000)
    for number in range(100):
        note(str(tmp_path), [name(number)], "evicted", RING)
    folder = Path(tombstones_path(str(tmp_path))).parent
    assert sorted(file.name for file in folder.iterdir()) in (["removed", "removed.1"], ["removed.1"])
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 2 * 4400
    assert last(str(tmp_path), ID, key(99), RING) is not None
    assert last(str(tmp_path), ID, key(0), RING) is None
    note(str(tmp_path), map(name, range(1000, 2000)), "cleared", RING)
    assert last(str(tmp_path), ID, key(1999), RING) is not None
    assert last(str(tmp_path), ID, key(1000), RING) is None


@pytest.mark.parametrize(
    "text", [b"", b"\0" * 7, b"\xff" * 4000, bytes.fromhex(ID + key(1)), bytes.fromhex(ID + key(1)) + b"\xff" * 12]
)
def test_any_content_is_harmless(tmp_path: Path, text: bytes) -> None:
    """A file cut short or written by somebody else gives a removal or none, and never an exception."""
    note(str(tmp_path), [name(2)], "evicted", RING)
    Path(tombstones_path(str(tmp_path))).write_bytes(text)
    last(str(tmp_path), ID, key(1), RING)
    note(str(tmp_path), [name(3)], "evicted", RING)
    assert last(str(tmp_path), ID, key(3), RING) is not None


def test_what_cannot_be_noted_is_not(tmp_path: Path) -> None:
    """A link in the file's place is removed and not followed, and a place that cannot be written is no error."""
    target = tmp_path / "target"
    target.write_text("")
    file = Path(tombstones_path(str(tmp_path)))
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    note(str(tmp_path), [name(1)], "evicted", RING)
    assert target.read_text() == ""
    assert last(str(tmp_path), ID, key(1), RING) is not None
    (tmp_path / "file").write_text("")
    note(str(tmp_path / "file"), [name(1)], "evicted", RING)
    assert last(str(tmp_path / "file"), ID, key(1), RING) is None


def test_what_others_noted_is_not_told(tmp_path: Path) -> None:
    """Records without a seal, or with that of another key, are none; a file with a second name is not read."""
    file = Path(tombstones_path(str(tmp_path)))
    note(str(tmp_path), [name(1)], "evicted", OTHER_RING)
    assert last(str(tmp_path), ID, key(1), RING) is None
    assert last(str(tmp_path), ID, key(1), None) is None
    note(str(tmp_path), [name(2)], "cleared", RING)
    file.write_bytes(file.read_bytes() + tombstones._RECORD.pack(bytes.fromhex(name(3)), 10**9, 0))
    assert last(str(tmp_path), ID, key(3), RING) is None
    assert last(str(tmp_path), ID, key(2), RING) is not None
    os.link(file, tmp_path / "other")
    assert last(str(tmp_path), ID, key(2), RING) is None
    note(str(tmp_path), [name(2)], "cleared", None)
    assert (tmp_path / "other").stat().st_nlink == 2
