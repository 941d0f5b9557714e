"""Where a file that somebody asks for is written, and where not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcache.errors import ConfigError
from pcache.system import output_file

ROOT_USER = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can make another user's files"
)
NOBODY = 65534


@pytest.fixture
def commons() -> Iterator[Path]:
    """A folder as `/tmp` is: all may write to it, and nobody may touch what is another's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)


def test_a_file_is_private(tmp_path: Path) -> None:
    """A new file is for us alone, whatever the mask; one of ours that is replaced keeps its rights."""
    before = os.umask(0)
    try:
        output_file.write(str(tmp_path / "page"), b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "page").st_mode) == 0o600
    os.chmod(tmp_path / "page", 0o644)
    inode = os.stat(tmp_path / "page").st_ino
    output_file.write(str(tmp_path / "page"), b"two")
    assert (tmp_path / "page").read_bytes() == b"two"
    assert stat.S_IMODE(os.stat(tmp_path / "page").st_mode) == 0o644
    assert os.stat(tmp_path / "page").st_ino != inode
    assert os.listdir(tmp_path) == ["page"]


def link(path: Path, precious: Path) -> None:
    path.symlink_to(precious)


def second_name(path: Path, precious: Path) -> None:
    os.link(precious, path)


def folder(path: Path, _precious: Path) -> None:
    path.mkdir()


def others_file(path: Path, _precious: Path) -> None:
    path.write_text("other")
    path.chmod(0o666)
    os.chown(path, NOBODY, NOBODY)


def others_pipe(path: Path, _precious: Path) -> None:
    os.mkfifo(path, 0o666)
    os.chown(path, NOBODY, NOBODY)


def others_link(path: Path, precious: Path) -> None:
    path.symlink_to(precious)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@ROOT_USER
@pytest.mark.parametrize(
    ("stand", "words"),
    [
        (link, "is a symbolic link; name the file itself, "),
        (others_link, "is a symbolic link; name the file itself, "),
        (second_name, "remove it first"),
        (folder, "is a folder"),
        (others_file, "belongs to another user"),
        (others_pipe, "belongs to another user"),
    ],
)
def test_what_is_not_written_over(commons: Path, stand: Callable[[Path, Path], None], words: str) -> None:
    """What another user planted in a folder like `/tmp`, a link and a second name: each refused, nothing touched."""
    precious, path = commons / "precious", commons / "page"
    precious.write_text("precious")
    stand(path, precious)
    before = os.lstat(path), os.lstat(precious)
    with pytest.raises(ConfigError, match=words) as caught:
        output_file.write(str(path), b"secret")
    assert str(caught.value).startswith(str(path))
    assert before == (os.lstat(path), os.lstat(precious))
    assert sorted(os.listdir(commons)) == ["page", "precious"]


@ROOT_USER
@pytest.mark.parametrize(
    ("mode", "owner", "words"),
    [(0o777, 0, "can be written by others"), (0o775, 0, ""), (0o755, NOBODY, "another user"), (0o1777, 0, "")],
)
def test_where_nothing_is_written(commons: Path, mode: int, owner: int, words: str) -> None:
    """A folder that others may swap things in, or that is below one, is refused; `/tmp` and our own group's are not."""
    for place in (commons / "there", commons / "there" / "below"):
        place.mkdir()
        os.chmod(commons / "there", mode)
        os.chown(commons / "there", owner, 0)
        if words:
            with pytest.raises(ConfigError, match=words) as caught:
                output_file.write(str(place / "page"), b"1")
            assert "choose a folder that only you can write to" in str(caught.value)
        else:
            output_file.write(str(place / "page"), b"1")
        assert os.path.exists(place / "page") is not bool(words)


@ROOT_USER
def test_a_link_on_the_way(commons: Path, tmp_path: Path) -> None:
    """A link of our own leads where it should, one of another user is refused, wherever on the way it is."""
    (tmp_path / "there").mkdir()
    (commons / "ours").symlink_to(tmp_path / "there")
    output_file.write(str(commons / "ours" / "page"), b"1")
    assert (tmp_path / "there" / "page").read_bytes() == b"1"
    (commons / "theirs").symlink_to(tmp_path / "there")
    os.chown(commons / "theirs", NOBODY, NOBODY, follow_symlinks=False)
    (tmp_path / "indirect").symlink_to(commons / "theirs")
    for way in (commons / "theirs" / "other", tmp_path / "indirect" / "other", commons / "theirs" / ".." / "other"):
        with pytest.raises(ConfigError, match=f"{commons / 'theirs'} belongs to another user"):
            output_file.write(str(way), b"1")
    assert not (tmp_path / "there" / "other").exists()


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    """A pipe of ours, a device and what is open already get the bytes; nothing takes their place."""
    output_file.write(os.devnull, b"1")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    output_file.write(str(tmp_path / "pipe"), b"through")
    assert os.read(reader, 100) == b"through"
    with open(tmp_path / "opened", "wb") as opened:
        output_file.write(f"/dev/fd/{opened.fileno()}", b"known")
    assert (tmp_path / "opened").read_bytes() == b"known"
    os.close(reader)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr"])
def test_standard_output_by_name(name: str) -> None:
    """It is written to where it is a pipe, which a shell hands over so."""
    script = "import sys; from pcache.system import output_file; output_file.write(sys.argv[1], b'page')"
    done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, check=True)
    assert done.stdout + done.stderr == b"page"
