"""The command line on signing keys: key show-id, new, rotate, export, import."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pcache import Cache
from pcache.cli import main
from pcache.signing import keyring

if TYPE_CHECKING:
    from click.testing import Result

KEYS = [bytes([n]) * 32 for n in range(3)]
TEXTS = [base64.b64encode(key).decode() for key in KEYS]
IDS = [keyring.key_id(key).hex() for key in KEYS]


def run(command: str, given: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, ["key", *command.split()], input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def key_file() -> Path:
    path = keyring.default_key_path()
    assert path is not None
    return Path(path)


def stored() -> list[bytes] | None:
    return keyring.read_key_file(str(key_file()))


def test_a_new_key(tmp_path: Path) -> None:
    """A key file for the user alone, whose key signs results from then on."""
    result = run("new")
    assert result.exit_code == 0
    (key,) = stored() or []
    assert keyring.key_id(key).hex() in result.stdout
    assert base64.b64encode(key).decode() not in result.output
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file().parent.stat().st_mode) == 0o700
    cache = Cache(tmp_path / "cache")
    cache.cached(len)("abc")
    assert cache.verify().problems == ()
    assert run("show-id").stdout.strip() == keyring.key_id(key).hex()


@pytest.mark.parametrize("command", ["new --yes", "rotate --yes", "import --yes"])
@pytest.mark.parametrize("way", ["link", "second name", "open folder"])
def test_a_key_is_not_written_where_others_could_read_or_swap_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, way: str
) -> None:
    """Not through a link or a second name, and not into a folder that others may write to; nothing is touched."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "key"
    monkeypatch.setenv("PCACHE_KEY_FILE", str(path))
    keyring.write_key_file(str(tmp_path / "precious"), [KEYS[0]])
    if way == "link":
        path.symlink_to(tmp_path / "precious")
    elif way == "second name":
        os.link(tmp_path / "precious", path)
    else:
        keyring.write_key_file(str(path), [KEYS[0]])
        (tmp_path / "folder").chmod(0o777)
    before = [os.lstat(path), os.lstat(tmp_path / "precious")]
    result = run(command, TEXTS[1])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("pcache: the key is not written: ")
    assert before == [os.lstat(path), os.lstat(tmp_path / "precious")]


def test_a_new_key_where_the_settings_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_KEY_FILE says where it is written, also relative to the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCACHE_KEY_FILE", "team.key")
    assert run("show-id").exit_code == 2
    assert run("new").exit_code == 0
    assert len(run("show-id").stdout) == 17
    assert (tmp_path / "team.key").exists()
    assert not key_file().exists()


def test_a_new_key_on_standard_output() -> None:
    """--print writes no file, and says on standard error that the key is a secret."""
    result = run("new --print")
    assert len(base64.b64decode(result.stdout)) == 32
    assert "secret" in result.stderr
    assert not key_file().exists()


@pytest.mark.parametrize("command", ["new", "rotate", "import"])
def test_a_key_is_never_lost_without_a_yes(command: str) -> None:
    """Without --yes, and nobody to ask, the key file stays as it is; --yes changes it."""
    run("import", TEXTS[0])
    result = run(command, TEXTS[1])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr
    assert stored() == KEYS[:1]
    assert run(f"{command} --yes", TEXTS[1]).exit_code == 0
    assert stored() != KEYS[:1]
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert os.listdir(key_file().parent) == ["key"]


def test_rotate_keeps_reading(tmp_path: Path) -> None:
    """After a rotation new entries have the new key, and old ones are still read."""
    run("import", TEXTS[0])
    cache = Cache(tmp_path / "cache")
    cache.cached(abs)(-1)
    assert run("rotate -y").exit_code == 0
    after = Cache(cache.location)
    assert after.cached(abs).get(-1) == 1
    after.cached(abs)(-2)
    assert after.verify().problems == ()
    assert [problem.reason for problem in cache.verify().problems] == ["foreign"]
    ids = run("show-id").stdout.splitlines()
    assert ids[1] == f"{IDS[0]} (for reading only)"
    assert run("rotate -y").exit_code == 0
    assert len(stored() or []) == 3
    assert run("show-id").stdout.splitlines()[1].startswith(ids[0])


def test_rotate_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """There must be a key file to rotate, and it must be the one that counts."""
    assert run("rotate -y").exit_code == 2
    monkeypatch.setenv("PCACHE_KEY", TEXTS[0])
    result = run("rotate -y")
    assert result.exit_code == 2
    assert "PCACHE_KEY" in result.stderr
    assert not key_file().exists()


def test_export_and_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one user exports another imports, or puts into PCACHE_KEY: all keys, the signing one first."""
    run("import", ",".join(TEXTS))
    result = run("export")
    assert result.stdout == ",".join(TEXTS) + "\n"
    assert "secret" in result.stderr
    key_file().unlink()
    (tmp_path / "moved").write_text(result.stdout)
    assert run(f"import {tmp_path / 'moved'}").exit_code == 0
    assert stored() == KEYS
    assert run("import", "\n".join(TEXTS)).stdout.endswith("holds this key already.\n")
    assert run("import", TEXTS[1]).exit_code == 2  # fewer keys than there are: some would be lost
    key_file().unlink()
    monkeypatch.setenv("PCACHE_KEY", result.stdout)
    assert run("export").stdout == result.stdout


@pytest.mark.parametrize("text", ["", "junk", TEXTS[0][:-4], f"{TEXTS[0]}\njunk", b"\xff\xfe" * 16, bytes(32)])
def test_import_of_what_is_no_key(text: str | bytes) -> None:
    """What is no key exits with 2, is not repeated, and writes nothing."""
    result = run("import", text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "signing key" in result.stderr
    assert "junk" not in result.stderr
    assert not key_file().exists()
    assert run("import /nonexistent").exit_code == 2


def test_ids() -> None:
    """`show-id` says which key signs and which are for reading, as JSON with their origin."""
    assert run("show-id").exit_code == 1
    assert run("export").exit_code == 1
    run("import", ",".join(TEXTS))
    found: Any = json.loads(run("show-id --json").stdout)
    path = str(key_file())
    assert found == {"signing": IDS[0], "reading": IDS[1:], "origin": "your key file", "path": path}


def test_a_variable_that_hides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a key file while PCACHE_KEY is set says that it has no effect."""
    monkeypatch.setenv("PCACHE_KEY", TEXTS[0])
    result = run("new")
    assert result.exit_code == 0
    assert "PCACHE_KEY is set" in result.stderr
    assert run("show-id").stdout == f"{IDS[0]}\n"


@pytest.mark.parametrize("command", ["show-id", "export", "rotate -y"])
def test_a_key_file_that_others_can_read(command: str) -> None:
    """Such a file is refused with what to run; it can still be replaced."""
    run("import", TEXTS[0])
    key_file().chmod(0o644)
    result = run(command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"chmod 600 {key_file()}" in result.stderr
    assert run("new").exit_code == 2
    assert run("new -y").exit_code == 0
    assert run("show-id").exit_code == 0


def test_no_place_for_a_key(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What shows a key says that there is none and names the ways out; making one says what is in the way."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    shown = [run("show-id"), run("export"), CliRunner().invoke(main, ["config"])]
    assert [result.exit_code for result in shown] == [1, 1, 1]
    for result in shown:
        assert all(way in result.output for way in ("PCACHE_KEY ", "PCACHE_KEY_FILE", "HOME"))
    made = run("new")
    assert (made.exit_code, made.output) == (1, f"pcache: {tmp_path}/file/pcache/key: Not a directory\n")
