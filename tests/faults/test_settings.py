"""Settings that others wrote: of the project in the current directory, and of the environment."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigError, DirectoryError, PcacheError, SigningKeyError, StoreWarning
from pcache.config.settings import resolve
from pcache.signing.keyring import default_key_path, key_to_text, read_key_file
from tests.faults.odd import BY_ROOT, FILES, NOBODY, Maker, mutable_again, precious_below, seen
from tests.support.processes import KEY

Evidence = Callable[[str, str, int, int], None]
ROOT = os.getuid() == 0


def double(n: int) -> int:
    return 2 * n


def project(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.pcache]\n{text}\n")


FORBIDDEN = (
    f'key = "{key_to_text(KEY)}"', f'signing_key = "{key_to_text(KEY)}"', f'signing-key = "{key_to_text(KEY)}"',
    'key_file = "theirs"', 'key-file = "theirs"', 'KEY_FILE = "theirs"', 'verify = "stream"', 'verify = "off"',
    "verify = false", 'verify = "none"', 'verify = " STREAM "', 'record = "theirs"', 'replay = "theirs"',
)  # fmt: skip


@pytest.mark.parametrize("line", FORBIDDEN)
@pytest.mark.parametrize("below", ["", "a/b/c"])
def test_a_project_sets_no_keys_and_turns_nothing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, below: str
) -> None:
    """In any spelling, in this folder or above it: an error that names the file, and none of its keys is used."""
    project(tmp_path, line)
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    (tmp_path / "theirs").write_text(key_to_text(bytes(32)))
    monkeypatch.chdir(tmp_path / below)
    with pytest.raises(ConfigError, match=r"pyproject\.toml") as caught:
        Cache(tmp_path / "cache")
    assert ("may not set signing keys" in str(caught.value)) == ("key" in line.lower())


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_project_that_names_a_squatted_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """A directory that a project sets is checked like any other: one that others can write to is refused."""
    (tmp_path / "squat").mkdir()
    (tmp_path / "squat").chmod(mode)
    project(tmp_path, 'dir = "squat"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DirectoryError, match=r"written by (others|its group)"):
        Cache()


def test_a_project_that_names_a_folder_of_yours(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with other things in it never becomes a cache directory, so nothing there is ever removed."""
    (own_home / "thesis.tex").write_text("precious")
    project(tmp_path, 'dir = "~"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DirectoryError, match="holds other things"):
        Cache()
    assert (own_home / "thesis.tex").read_text() == "precious"


def test_what_a_projects_cache_holds_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of a filled cache in a checkout, with a project file that names it, are not used."""
    theirs = Cache(tmp_path / "checkout" / ".cache", signing_key=b"t" * 32)
    assert theirs.cached(double)(1) == 2
    project(tmp_path / "checkout", 'dir = ".cache"')
    monkeypatch.chdir(tmp_path / "checkout")
    ours = Cache()
    assert ours.location == theirs.location
    cached = ours.cached(double)
    assert not cached.exists(1)
    assert cached(1) == 2
    assert cached.cache_info()[:2] == (0, 1)


TEXTS: dict[str, Callable[[Path], Any]] = {
    "deep arrays": lambda path: path.write_text("[tool.pcache]\nttl = " + "[" * 100_000),
    "deep tables": lambda path: path.write_text("[tool.pcache" + ".a" * 3000 + "]\n"),
    "a long number": lambda path: path.write_text("[tool.pcache]\nmax_size = " + "9" * 100_000),
    "infinity": lambda path: path.write_text("[tool.pcache]\nttl = inf\nmin_free = nan"),
    "a terabyte": lambda path: (path.write_text("[tool.pcache]\n"), os.truncate(path, 1 << 40)),
    "no text": lambda path: path.write_bytes(b"tool.pcache" + bytes(range(256)) * 99),
    "escapes": lambda path: path.write_text('[tool.pcache]\n"\\u001b[2J\\u202e" = 1'),
    "a null in a path": lambda path: path.write_text('[tool.pcache]\ndir = "a\\u0000b"'),
    "half a character": lambda path: path.write_bytes(b'[tool.pcache]\ndir = "\xed\xa0\x80"'),
    "a long path": lambda path: path.write_text(f'[tool.pcache]\ndir = "{"a/" * 50_000}"'),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("name", TEXTS)
def test_project_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """They are read within a second and in little memory, and refused with an error of pcache, or ignored."""
    TEXTS[name](tmp_path / "pyproject.toml")
    monkeypatch.chdir(tmp_path)
    took = []
    for _ in range(3):
        started = time.perf_counter()
        with contextlib.suppress(PcacheError):
            Cache().cached(double)(1)
        took.append(time.perf_counter() - started)
    assert min(took) < 1


VALUES = (
    "", "0", "-1", "nan", "inf", "1e400", "9" * 5000, "\x1b[2J", "\udcff", "/dev/null", "/dev/zero", "/proc/self/mem",
    "none", ",", "true", "a" * 5000, "../" * 2000, "~nobody_at_all/x", "/dev/full/x", "[1]", "{}",
)  # fmt: skip
NAMES = ("DIR", "MAX_SIZE", "READ_ONLY", "DISABLE", "REFRESH", "KEY", "KEY_FILE", "UNKNOWN")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::pcache.StoreWarning")
def test_bad_values_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence, name: str
) -> None:
    """Each is used, or refused with an error of pcache that names the variable or the path; nothing hangs."""
    failures = []
    monkeypatch.chdir(tmp_path)  # some values name folders in it
    for value in VALUES:
        monkeypatch.setenv(f"PCACHE_{name}", value)
        try:
            cache = Cache(tmp_path / "cache") if name != "DIR" else Cache()
            assert cache.cached(double)(4) == 8
        except PcacheError:
            continue
        except Exception as error:
            failures.append(f"{value!r:.40}: {error!r:.200}")
    evidence("never in the way", f"bad values of PCACHE_{name}", len(VALUES), len(failures))
    assert failures == []


@pytest.mark.parametrize("kind", {**FILES, **(BY_ROOT if ROOT else {})})
def test_odd_files_in_the_place_of_the_key(tmp_path: Path, own_home: Path, kind: str) -> None:
    """Odd files in the place of the user's key: none is taken for a key, written through or waited for."""
    makers: dict[str, Maker] = {**FILES, **BY_ROOT}
    precious = precious_below(tmp_path / "precious")
    before = seen(precious)
    path = Path(default_key_path() or "")
    path.parent.mkdir(parents=True, mode=0o700)
    makers[kind](path, precious)
    try:
        if kind == "a dangling link":  # counts as no key, and none can be made there
            assert read_key_file(str(path)) is None
        else:
            with pytest.raises(SigningKeyError):
                read_key_file(str(path))
            with pytest.warns(StoreWarning):
                assert Cache(tmp_path / "cache").cached(abs)(-1) == 1
            assert not list(tmp_path.glob("cache/v1/entries/*/*"))
    finally:
        if ROOT:
            mutable_again(path.parent)
    assert seen(precious) == before


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_another_users_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that others can write to, such as /tmp, their project file has no effect."""
    project(tmp_path, 'dir = "theirs"\ndisable = true')
    os.chown(tmp_path / "pyproject.toml", NOBODY, -1)
    monkeypatch.chdir(tmp_path)
    assert resolve().disable is False
    assert not resolve().directory.endswith("theirs")
