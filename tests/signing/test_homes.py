"""Several homes and one directory: containers, CI jobs and machines that share a volume, and what each is told."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pcache import Cache, ConfigError
from tests.support.running import ROOT, write

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import warnings
from pcache import cached

@cached
def double(n):
    print("computing", n)
    return 2 * n

with warnings.catch_warnings(record=True) as given:
    warnings.simplefilter("always")
    for n in (1, 2, 1):
        double(n)
for one in given:
    print(one.category.__name__, one.message)
"""


class Place:
    """A script, a volume for its results, and homes that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = write(folder / "app" / "script.py", SCRIPT)
        self.volume = folder / "volume"

    def variables(self, home: str, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PCACHE", "XDG"))}
        return {
            **kept,
            "HOME": str(self.folder / home),
            "PYTHONPATH": str(ROOT),
            "PCACHE_DIR": str(self.volume),
            **more,
        }

    def run(self, home: str, **more: str) -> list[str]:
        """What the script prints in a home."""
        return self.command(home, str(self.script), **more)

    def pcache(self, home: str, *words: str, code: int = 0, **more: str) -> list[str]:
        return self.command(home, "-m", "pcache", *words, code=code, **more)

    def command(self, home: str, *words: str, code: int = 0, **more: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, *words],
            env=self.variables(home, **more),
            cwd=self.script.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout.splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for home in ("one", "two"):
        (tmp_path / home).mkdir()
    return Place(tmp_path)


COMPUTED = ["computing 1", "computing 2"]


def test_two_homes_are_told_once(place: Place) -> None:
    """Each process that meets results of another key says so once, and what to do; it helps."""
    assert place.run("one") == COMPUTED
    *computed, said = place.run("two")
    assert computed == COMPUTED
    assert re.match(r"StoreWarning a result of __main__:double|StoreWarning a result of \S*double in ", said)
    assert "signed with the key" in said
    assert "PCACHE_KEY" in said
    assert "pcache key export" in said
    [key] = place.pcache("two", "key", "export")
    assert place.run("one", PCACHE_KEY=key) == []


def test_stats_and_doctor_say_it_first(place: Place) -> None:
    place.run("one")
    place.run("two")
    place.run("one")
    first = place.pcache("one", "stats")[0]
    assert first == "2 calls found a result signed with another key, and computed it again:"
    found = place.pcache("two", "doctor", code=1)
    text = next(line for line in found if "signed with a key that you do not have" in line)
    assert text.startswith("problem")
    assert "PCACHE_KEY" in found[found.index(text) + 1]


def test_the_key_in_the_directory(place: Place) -> None:
    """With the opt-in every home finds the results, nothing is written outside, and `doctor` says what that means."""
    asked = {"PCACHE_KEY_IN_DIRECTORY": "1"}
    assert place.run("one", **asked) == COMPUTED
    assert place.run("two", **asked) == []
    assert place.run("none", **asked) == []  # a home that does not exist
    assert not list((place.folder / "one").rglob("key"))
    key = place.volume / "signing-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    [line] = [line for line in place.pcache("two", "doctor", **asked) if "signing key" in line]
    assert line.startswith("note")
    assert "can make programs load what they wrote" in line
    assert place.pcache("two", "key", "show-id", **asked) == place.pcache("one", "key", "show-id", **asked)
    place.pcache("two", "clear", "--yes", **asked)
    assert key.exists()
    assert place.run("one", **asked) == COMPUTED
    assert place.run("one")[-1].startswith("StoreWarning")  # without it the key there does not count


def test_processes_that_make_the_key_at_once(place: Place) -> None:
    """The first to make it wins, and the others use it."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(place.script)],
            env=place.variables(home, PCACHE_KEY_IN_DIRECTORY="1"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for home in ("one", "two") * 3
    ]
    said = "".join(process.communicate(timeout=60)[0] for process in processes)
    assert [process.returncode for process in processes] == [0] * 6
    assert "Warning" not in said
    assert place.run("one", PCACHE_KEY_IN_DIRECTORY="1") == []


def test_a_worker_finds_the_key_in_the_directory(place: Place) -> None:
    """A cache that is sent to another process has its key there as well."""
    write(place.script, "import sys, pickle\nfrom pcache import Cache\nprint(pickle.dumps(Cache()).hex())\n")
    [sent] = place.run("one", PCACHE_KEY_IN_DIRECTORY="1")
    worker = "import sys, pickle\ncache = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
    worker += "print(cache.directory.keys.ensure() is not None, cache.directory.keys.path)"
    assert place.command("two", "-c", worker, sent, PCACHE_KEY_IN_DIRECTORY="1") == [
        f"True {place.volume / 'signing-key'}"
    ]


def test_only_the_user_may_ask_for_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project file may not, nor a directory that a group shares."""
    write(place.folder / "app" / "pyproject.toml", "[tool.pcache]\nkey_in_directory = true\n")
    monkeypatch.chdir(place.folder / "app")
    with pytest.raises(ConfigError, match="a project file may not set signing keys; put key_in_directory into"):
        Cache(place.volume)
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("PCACHE_KEY_IN_DIRECTORY", "1")
    with pytest.raises(ConfigError, match="a directory that a group shares cannot hold its own signing key"):
        Cache(place.volume, shared=True)
    monkeypatch.setenv("PCACHE_KEY_IN_DIRECTORY", "perhaps")
    with pytest.raises(ConfigError, match="environment PCACHE_KEY_IN_DIRECTORY: key_in_directory: cannot use"):
        Cache(place.volume)
