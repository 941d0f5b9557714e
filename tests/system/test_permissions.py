"""The rights of what is made in private and in shared directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcache import Cache
from pcache.config.settings import resolve
from pcache.errors import ConfigError, DirectoryError, SigningKeyError
from pcache.signing.keyring import key_to_text, read_key_file, write_key_file
from pcache.system.permissions import PRIVATE, Access
from tests.support.processes import KEY, run

SHARED = Access(shared=True)


@pytest.fixture(params=[0, 0o022, 0o077])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The mask of new files."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize(("access", "folders", "files"), [(PRIVATE, 0o700, 0o600), (SHARED, 0o2770, 0o660)])
def test_the_mask_changes_nothing(tmp_path: Path, access: Access, folders: int, files: int) -> None:
    """Folders and files have the rights of their directory, whatever the mask of new files is."""
    access.check_below(str(tmp_path / "a"), str(tmp_path / "a" / "b"))
    access.check_below(str(tmp_path / "a"), str(tmp_path / "a" / "b"))
    os.close(access.open(str(tmp_path / "a" / "b" / "file"), os.O_RDWR))
    assert [mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")] == [folders] * 2
    assert mode_of(tmp_path / "a" / "b" / "file") == files
    assert access.check(str(tmp_path / "a"))


@pytest.mark.parametrize("access", [PRIVATE, SHARED])
def test_a_folder_that_another_made(tmp_path: Path, access: Access) -> None:
    """A folder that is there stays as it is."""
    (tmp_path / "there").mkdir(mode=0o750)
    (tmp_path / "there" / "file").touch()
    access.make_folder(str(tmp_path / "there"))
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "file"]
    assert mode_of(tmp_path / "there") == 0o750


def test_who_may_write(tmp_path: Path) -> None:
    """A private directory lets nobody else write, a shared one its group and nobody else."""
    tmp_path.chmod(0o2770)
    assert SHARED.check(str(tmp_path))
    with pytest.raises(DirectoryError, match="chmod 700"):
        PRIVATE.check(str(tmp_path))
    tmp_path.chmod(0o2777)
    with pytest.raises(DirectoryError, match="chmod o-w"):
        SHARED.check(str(tmp_path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_another_users_directory(tmp_path: Path) -> None:
    """Another user's directory is refused with a hint, and taken where it is shared on purpose."""
    os.chown(tmp_path, 65534, -1)
    assert SHARED.check(str(tmp_path))
    with pytest.raises(DirectoryError, match="shared=True"):
        PRIVATE.check(str(tmp_path))


def test_a_shared_directory_needs_a_given_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own key does not do; an argument, PCACHE_KEY and a named file do."""
    write_key_file(str(tmp_path / "key"), [KEY])
    with pytest.raises(SigningKeyError, match="a signing key that its users share"):
        Cache(tmp_path / "cache", shared=True)
    Cache(tmp_path / "cache", shared=True, signing_key=KEY)
    monkeypatch.setenv("PCACHE_KEY_FILE", str(tmp_path / "key"))
    Cache(tmp_path / "cache", shared=True)
    monkeypatch.setenv("PCACHE_KEY", key_to_text(KEY))
    assert Cache(tmp_path / "cache", shared=True).flow.keys.keyring.any_owner  # type: ignore[union-attr]
    assert not Cache(tmp_path / "cache").flow.keys.keyring.any_owner  # type: ignore[union-attr]


def test_a_key_file_that_a_group_reads(tmp_path: Path) -> None:
    """A group may read the key of a directory that it shares, and nobody may write to it."""
    path = tmp_path / "key"
    write_key_file(str(path), [KEY])
    path.chmod(0o640)
    assert read_key_file(str(path), shared=True) == [KEY]
    with pytest.raises(SigningKeyError, match="chmod 600"):
        read_key_file(str(path))
    for mode in (0o660, 0o644, 0o641):
        path.chmod(mode)
        with pytest.raises(SigningKeyError, match="chmod 640"):
            read_key_file(str(path), shared=True)


def test_a_rotated_key_stays_readable(tmp_path: Path) -> None:
    """The group of a shared key file can read the one that takes its place."""
    path = tmp_path / "key"
    write_key_file(str(path), [KEY])
    for shared, expected in ((True, 0o600), (False, 0o600)):
        write_key_file(str(path), [KEY], replace=True, shared=shared)
        assert mode_of(path) == expected
    path.chmod(0o640)
    write_key_file(str(path), [KEY], replace=True, shared=True)
    assert mode_of(path) == 0o640


def test_who_may_share(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment and the user's file can say that a directory is shared, a project's file cannot."""
    monkeypatch.chdir(tmp_path)
    assert not resolve().shared
    monkeypatch.setenv("PCACHE_SHARED", "1")
    assert resolve().shared
    monkeypatch.delenv("PCACHE_SHARED")
    config = own_home / "config" / "pcache" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("shared = true")
    assert resolve().shared
    config.unlink()
    (tmp_path / "pyproject.toml").write_text("[tool.pcache]\nshared = true")
    with pytest.raises(ConfigError, match="may not let others in"):
        resolve()
    (tmp_path / "pyproject.toml").write_text("[tool.pcache]\nshared = false")
    assert not resolve().shared


UNFINISHED = """
from pcache.system.permissions import Access
path, folder = sys.argv[2], os.path.dirname(sys.argv[2])
if os.fork() == 0:
    os.umask(0o077)
    os.setresgid(4242, 4242, 4242), os.setresuid(5001, 5001, 5001)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o660))  # and is killed before it sets the rights
    os._exit(0)
os.wait()
os.setgroups([4242]), os.setresgid(5002, 5002, 5002), os.setresuid(5002, 5002, 5002)
try:
    open(path, "r+")
except PermissionError:
    fd = Access(shared=True).open(path, os.O_RDWR)
    say(os.fstat(fd).st_uid, oct(os.fstat(fd).st_mode), os.listdir(folder))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become several users")
def test_a_file_whose_maker_was_killed(tmp_path: Path) -> None:
    """A file that a killed process of another user left without rights for the group gives way to a new one."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 5001, 4242)
        Path(folder).chmod(0o2770)
        assert run(UNFINISHED, tmp_path, f"{folder}/file") == ["5002 0o100660 ['file']"]


def test_each_step_below_a_root_is_made_and_checked(tmp_path: Path) -> None:
    """Down to the folder that is asked for, and up to the root itself."""
    root = tmp_path / "root"
    (root / "v1").mkdir(parents=True, mode=0o700)
    PRIVATE.check_below(str(root), str(root / "v1" / "locks"))
    assert mode_of(root / "v1" / "locks") == 0o700
    for folder in (root / "v1" / "locks", root / "v1", root):
        folder.chmod(0o770)
        with pytest.raises(DirectoryError) as caught:
            PRIVATE.check_below(str(root), str(root / "v1" / "locks"))
        assert caught.value.path == str(folder)
        folder.chmod(0o700)
    tmp_path.chmod(0o777)  # what is above counts for nobody: the tag says what is loaded
    PRIVATE.check_below(str(root), str(root / "v1"))
