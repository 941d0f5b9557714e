"""The user's folders, as the platform has them."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from pcache.system.userdirs import make_private, user_folder
from tests.support.processes import run


@pytest.mark.parametrize("given", [None, "/somewhere/else", "", "relative"])
def test_what_platformdirs_says(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our two lines for Linux and platformdirs name the same folders, whatever XDG's variables hold."""
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        if given is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, given)
    expected = platformdirs.user_cache_dir("pcache", appauthor=False)
    if given != "relative":  # the specification says to ignore those; releases of platformdirs differ
        assert user_folder("cache") == expected
        assert user_folder("config") == platformdirs.user_config_dir("pcache", appauthor=False)
    else:
        assert (user_folder("cache") or "").startswith("/")


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home there is no folder, and one that does not exist is none."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for home in ("relative", "/nonexistent", "/dev/null", ""):
        monkeypatch.setenv("HOME", home)
        assert user_folder("cache") is None


MASKED = """
import stat
os.umask(int(sys.argv[3], 8))
for name in [name for name in os.environ if name.startswith(("XDG_", "PCACHE_"))]:
    del os.environ[name]
os.environ["HOME"] = home = sys.argv[2]
def double(n):
    return 2 * n
for made in (Cache(), Cache(home + "/data/app/pcache")):
    made.cached(double)(1)
    made.flow.ledger.flush()
modes = [os.lstat(os.path.join(where, name)).st_mode for where, _, files in os.walk(home) for name in (".", *files)]
say(*sorted({oct(mode) for mode in modes}))
say(os.path.exists(home + "/.config/pcache/key"), os.path.isdir(home + "/.cache/pcache"))
"""


@pytest.mark.parametrize("mask", ["0", "022", "077", "007"])
def test_folders_above_ours_are_ours_alone(tmp_path: Path, mask: str) -> None:
    """Whatever the umask: `~/.config`, `~/.cache` and what else is made on the way have mode 0700, files 0600."""
    (tmp_path / "home").mkdir(mode=0o700)
    modes, there = run(MASKED, tmp_path / "cache", tmp_path / "home", mask)
    assert (modes, there) == ("0o100600 0o40700", "True True")


def test_what_is_there_stays(tmp_path: Path) -> None:
    """Folders that are there keep their rights, links to folders are followed, and a file in the way is an error."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to("open")
    make_private(str(tmp_path / "link" / "a" / "b"))
    make_private(str(tmp_path / "open" / "a" / "b"))
    assert [oct(os.stat(tmp_path / "open" / name).st_mode)[-3:] for name in (".", "a", "a/b")] == ["777", "700", "700"]
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to("nothing")
    for name, error in (("file/a", NotADirectoryError), ("file", FileExistsError), ("gone/a", FileNotFoundError)):
        with pytest.raises(error):
            make_private(str(tmp_path / name))
