"""What on the way to a file another user could change."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcache.system.path_safety import weakness

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become others")
OTHER = 4301


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_who_can_write(place: Path) -> None:
    """The owner and the mode of each step count; our own group is ours where nobody else is in it."""
    file = place / "a" / "b" / "file"
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert weakness(str(file)) == ""
    for path in (place / "a", place / "a" / "b", file):
        for mode, owner, group, weak in (
            (0o757, 0, 0, f"{path} can be written by others (mode 757)"),
            (0o775, 0, OTHER, f"{path} can be written by others (mode 775)"),
            (0o775, 0, 0, ""),
            (0o755, OTHER, 0, f"{path} belongs to another user (uid {OTHER})"),
        ):
            os.chown(path, owner, group)
            path.chmod(mode)
            assert weakness(str(file)) == weak
            os.chown(path, 0, 0)
            path.chmod(0o755)


def test_a_folder_as_tmp_is(place: Path) -> None:
    """What is ours there stays ours, but new files could be anybody's; a file has no such bit."""
    (place / "file").write_text("")
    place.chmod(0o1777)
    assert weakness(str(place / "file")) == weakness(str(place)) == ""
    assert weakness(str(place), new_names=True) == f"{place} can be written by others (mode 1777)"
    assert weakness(str(place / "file"), new_names=True) == ""
    (place / "file").chmod(0o1646)
    assert weakness(str(place / "file")) == f"{place / 'file'} can be written by others (mode 1646)"


def test_links(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are followed by their steps; a circle of them, and what is not there, is no trap."""
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    (place / "far").symlink_to("near")
    (place / "near").symlink_to(place / "open")
    assert weakness(str(place / "far")) == f"{place / 'open'} can be written by others (mode 777)"
    (place / "round").symlink_to("round")
    assert weakness(str(place / "round")) == f"{place / 'round'} is a symbolic link that leads in a circle"
    assert weakness(str(place / "nothing" / "below")) == ""
    monkeypatch.chdir(place)
    assert weakness("far/../file").startswith(str(place / "open"))
    assert weakness("./open/../file").startswith(str(place / "open"))


def test_rights_of_single_users(place: Path) -> None:
    """Where others were given rights on their own, the group's bits say how much, and are not our group's alone."""
    file = place / "file"
    file.write_text("")
    entries = [(0x01, 6, 2**32 - 1), (0x02, 6, OTHER), (0x04, 4, 2**32 - 1), (0x10, 6, 2**32 - 1), (0x20, 4, 2**32 - 1)]
    rule = b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, rights, who in entries
    )
    try:
        os.setxattr(file, "system.posix_acl_access", rule)
    except OSError as error:
        pytest.skip(f"no access lists here: {error.strerror}")
    assert weakness(str(file)) == f"{file} can be written by others (mode 664)"
