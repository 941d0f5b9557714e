"""Folders that are opened, checked up to the root, and worked in."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pcache.errors import ConfigError, DirectoryError
from pcache.system import directories
from pcache.system.directories import OpenFolder, in_a_sentence, open_folder, open_or_make
from pcache.system.permissions import PRIVATE, Access

SHARED = Access(shared=True)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A root with two folders below each other."""
    PRIVATE.check_below(str(tmp_path / "root"), str(tmp_path / "root" / "a" / "b"))
    return str(tmp_path / "root")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_opened(root: str) -> None:
    """The root, and what is below it; no descriptor is left but the caller's, and None stands for nothing."""
    before = descriptors()
    for folder in (root, f"{root}/a", f"{root}/a/b"):
        found = open_folder(root, folder, shared=False)
        assert found is not None
        assert os.path.samestat(os.fstat(found.fd), os.stat(folder))
        assert not os.get_inheritable(found.fd)
        os.close(found.fd)
    for nothing in (f"{root}/c", f"{root}/c/d", f"{root}/a/b/c/d"):
        assert open_folder(root, nothing, shared=False) is None
    assert descriptors() == before


@pytest.mark.parametrize("name", ["", "a", "a/b"])
@pytest.mark.parametrize("way", ["open", "link", "file", "another"])
def test_what_is_refused(root: str, tmp_path: Path, name: str, way: str) -> None:
    """A step that is a link or a file, or that others can write to, refuses all below it, and nothing is left open."""
    place = Path(root, name)
    if way == "open":
        place.chmod(0o770)
    else:
        place.rename(tmp_path / "there")
        if way == "link":
            place.symlink_to(tmp_path / "there")
        elif way == "file":
            place.write_text("")
        else:
            place.symlink_to(".")
    before = descriptors()
    for folder in (f"{root}/a/b", f"{root}/a/b/c"):
        with pytest.raises(DirectoryError) as caught:
            open_or_make(root, folder, shared=False)
        assert "\n" not in str(caught.value)
    assert descriptors() == before
    assert not (tmp_path / "there" / "c").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_a_step_of_another_user(root: str) -> None:
    """It is refused in a private directory, and taken in a shared one."""
    os.chown(f"{root}/a", 4301, 4301)
    with pytest.raises(DirectoryError, match=f"{root}/a belongs to another user"):
        open_folder(root, f"{root}/a/b", shared=False)
    found = open_folder(root, f"{root}/a/b", shared=True)
    assert found is not None
    os.close(found.fd)


def test_a_folder_that_lies_elsewhere(root: str, tmp_path: Path) -> None:
    """A step that leads to another directory of ours for the moment of opening is noticed by where the folder lies."""
    PRIVATE.check_below(str(tmp_path / "other"), str(tmp_path / "other" / "a" / "b"))
    fd = os.open(tmp_path / "other" / "a" / "b", os.O_RDONLY)
    with pytest.raises(DirectoryError, match="was moved or replaced just now") as caught:
        directories._check_steps(fd, root, f"{root}/a/b", shared=False)
    assert (caught.value.path, caught.value.reason) == (f"{root}/a/b", "replaced")
    os.close(fd)


def test_an_open_folder_stays_that_folder(root: str, tmp_path: Path) -> None:
    """All that is done goes to it, and nothing to what took its place."""
    folder = open_or_make(root, f"{root}/a/b", shared=False)
    os.rename(f"{root}/a/b", tmp_path / "away")
    Path(root, "a", "b").mkdir()
    for name in ("one", "two", "old"):
        Path(root, "a", "b", name).write_text("precious")
        (tmp_path / "away" / name).write_text("ours")
    assert sorted(folder.names()) == sorted(item.name for item in folder.items()) == ["old", "one", "two"]
    assert folder.status("one").st_size == 4
    assert [folder.remove("one"), folder.remove("one")] == [True, False]
    folder.rename("two", "old")
    os.close(folder.open("/anywhere/new", os.O_RDWR))
    folder.make("below")
    assert sorted(os.listdir(tmp_path / "away")) == ["below", "new", "old"]
    assert [path.read_text() for path in Path(root, "a", "b").iterdir()] == ["precious"] * 3
    os.close(folder.fd)


def test_without_descriptors_of_folders(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has none everything goes by path, with the same checks."""
    monkeypatch.setattr(directories, "_BY_DESCRIPTOR", False)
    folder = open_or_make(root, f"{root}/a/c", shared=False)
    assert folder.path == f"{root}/a/c"
    os.close(folder.open("file", os.O_RDWR))
    folder.rename("file", "new")
    assert folder.names() == [item.name for item in folder.items()] == ["new"]
    assert [folder.status("new").st_size, folder.remove("new"), folder.names()] == [0, True, []]
    before = descriptors()
    os.closerange(folder.fd, folder.fd + 1)
    assert descriptors() == before
    os.chmod(f"{root}/a", 0o770)
    with pytest.raises(DirectoryError, match="chmod 700"):
        open_folder(root, f"{root}/a/c", shared=False)
    assert open_folder(f"{root}x", f"{root}x/a", shared=False) is None


def test_what_stands_in_the_way(root: str, tmp_path: Path) -> None:
    """Links, second names and folders give way to a file that is renamed or opened, and lead nobody anywhere."""
    folder = open_or_make(root, f"{root}/a", shared=False)
    (tmp_path / "precious").write_text("precious")
    for number, make in enumerate((os.symlink, os.link)):
        make(tmp_path / "precious", f"{root}/a/{number}")
        os.close(folder.open("new", os.O_RDWR))
        folder.rename("new", str(number))
        assert stat.S_ISREG(folder.status(str(number)).st_mode)
    Path(root, "a", "full").mkdir()
    Path(root, "a", "full", "file").write_text("")
    os.close(folder.open("full", os.O_RDWR))
    assert (tmp_path / "precious").read_text() == "precious"
    assert len([name for name in folder.names() if name.startswith("full.odd-")]) == 1
    os.close(folder.fd)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_rights_are_set_on_a_folder_of_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a member of the group puts in the place of a new folder gets no rights: a link, or a folder of his."""
    tmp_path.chmod(0o2770)
    (tmp_path / "precious").mkdir(mode=0o700)
    before, made = os.stat(tmp_path / "precious").st_mode, os.mkdir

    def swap(path: str, mode: int, *, dir_fd: int | None = None) -> None:
        made(path, mode, dir_fd=dir_fd)
        os.rmdir(path, dir_fd=dir_fd)
        os.symlink(tmp_path / "precious", path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", swap)
    with pytest.raises(OSError, match="Not a directory"):
        SHARED.enter_or_make(str(tmp_path), str(tmp_path / "v1"))
    assert os.stat(tmp_path / "precious").st_mode == before


def test_what_the_system_refuses_is_said() -> None:
    """An `OSError` becomes ours, with its file; a timeout of a handler and errors of ours pass unchanged."""

    @in_a_sentence
    def act(error: Exception) -> None:
        raise error

    with pytest.raises(DirectoryError) as caught:
        act(OSError(errno.EIO, "Input/output error", "/somewhere"))
    assert str(caught.value) == "the cache directory /somewhere cannot be used (Input/output error)"
    assert caught.value.path == "/somewhere"
    for error in (TimeoutError(), ConfigError("no"), DirectoryError("no", path="x", reason="os"), ValueError()):
        with pytest.raises(type(error)) as again:
            act(error)
        assert again.value is error


def test_a_folder_is_safe_to_hand_around(root: str) -> None:
    """It is a plain value: a descriptor, a path, and whether a group shares it."""
    folder = open_or_make(root, root, shared=False)
    assert folder == OpenFolder(folder.fd, root, False)
    assert folder.at("name") == ("name", folder.fd)
    os.close(folder.fd)
