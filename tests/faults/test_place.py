"""Caches in strange places: file systems of many kinds, unusual names, invalid homes, folders that move."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pcache.signing.keyring import key_to_text
from tests.faults.hunting import rounds
from tests.faults.places import COMMON, KINDS, Lacking, check_places, mount_read_only
from tests.support.processes import KEY, PRELUDE, ROOT, run

Evidence = Callable[[str, str, int, int], None]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_file_systems(tmp_path: Path, evidence: Evidence) -> None:
    """A cache works the same on every file system; on a network one results may be computed twice."""
    folders, lacking = {}, {}
    with ExitStack() as stack:
        for kind, make in list(KINDS.items())[: rounds(COMMON, len(KINDS))]:
            (tmp_path / kind).mkdir()
            try:
                folders[kind] = make(stack, tmp_path / kind) / "cache"
            except Lacking as reason:
                lacking[kind] = str(reason)
        if not folders:
            pytest.skip(f"no file system can be made: {lacking}")
        found = check_places(*folders.values(), network=[folders.get("network")])
    print("not on this machine:", lacking)  # noqa: T201 - for `pytest -rA`
    evidence("never wrong", "a whole program on " + ", ".join(folders), len(folders), len(found))
    assert found == {}


NAMES = {
    "spaces": "a folder with spaces ",
    "emoji": "\U0001f9ca caché",
    "newline": "two\nlines\ttab",
    "bytes": os.fsdecode(b"\xff\xfe not utf-8"),
    "quotes": 'it\'s "quoted" $HOME `x` \\ %s {n} \x1b[2J',
    "200 characters": "x" * 200,
    "3,900 characters": "/".join(["y" * 243] * 15) + "/" + "z" * 100,
    "dots": "a/../b/./c/",
    "dash": "-rf",
}


def test_names(tmp_path: Path, evidence: Evidence) -> None:
    """A cache directory may have any name that the file system allows."""
    folders = [f"{tmp_path}/{number}/{name}/cache" for number, name in enumerate(NAMES.values())]
    found = check_places(*folders)
    evidence("never in the way", "strange names of the cache directory", len(folders), len(found))
    assert found == {}
    for folder in folders:
        assert os.path.isdir(f"{os.path.normpath(folder)}/v1/entries")


# Changes of a place while programs use it

LIVING = """
import json, shutil, subprocess, warnings
said, wrong, computed = [], [], []
warnings.showwarning = lambda message, *_, **__: said.append(str(message))
def f(n):
    computed.append(n)
    return [n] * 5
def missed(n, cached):
    "Whether a call is computed; its value is checked."
    before = len(computed)
    if cached(n) != [n] * 5:
        wrong.append(n)
    return len(computed) > before
"""

REMOVED = """
chance, cached, root = __import__("random").Random(int(sys.argv[3])), cache.cached(f), sys.argv[1]
os.umask(int(sys.argv[4], 8))
stored = removals = 0
for number in range(int(sys.argv[2])):
    for n in range(3):
        missed(n, cached)
    what = chance.choice(["", "v1", "v1/entries", "v1/functions", "v1/ledger", "CACHEDIR.TAG"])
    path = os.path.join(root, what)
    if os.path.isdir(path):
        shutil.rmtree(path)
        removals += 1
    elif os.path.exists(path):
        os.unlink(path)
    if chance.random() < 0.3:
        cache.flow.ledger.flush(), cache.stats(), cache.verify()
    for n in range(3):
        missed(n, cached)
    stored += not any([missed(n, cached) for n in range(3)])
say(json.dumps([wrong, said, stored, removals > 0]))
"""


@pytest.mark.parametrize("mask", ["0", "022", "077"])
def test_removed_while_in_use(tmp_path: Path, mask: str, evidence: Evidence) -> None:
    """A directory, or a part of it, that is removed while in use is made again, and results are stored."""
    count = rounds(30, 3000)
    (line,) = run(LIVING + REMOVED, tmp_path / "cache", count, random.randrange(10**9), mask)
    wrong, said, stored, removed = json.loads(line)
    failures = len(wrong) + len(said) + count - stored
    evidence("never in the way", f"rm -rf of the cache, or a part, between calls, umask {mask}", count, failures)
    assert (wrong, said, stored, removed) == ([], [], count, True)


MOVED = """
cached, root = cache.cached(f), sys.argv[1]
for n in range(5):
    missed(n, cached)
found = {}
os.rename(root, root + ".moved")
found["computed after the move"] = sum(missed(n, cached) for n in range(5))
found["computed again"] = sum(missed(n, cached) for n in range(5))
def computed_in(folder):
    other = Cache(folder, signing_key=bytes(range(32))).cached(f)
    return sum(missed(n, other) for n in range(5))
found["moved"] = computed_in(root + ".moved")
for name, command in {
    "cp": ["cp", "-a", root, root + ".cp"],
    "plain cp": ["cp", "-r", root, root + ".plain cp"],
    "tar": ["sh", "-c", f"mkdir -m 700 '{root}.tar' && tar -C '{root}' -cf - . | tar -C '{root}.tar' -xf -"],
    "rsync": ["rsync", "-a", root + "/", root + ".rsync"],
}.items():
    if shutil.which(command[0]):
        subprocess.run(command, check=True)
        if name == "plain cp":
            subprocess.run(["chmod", "-R", "go-rwx", root + ".plain cp"], check=True)
        found[name] = computed_in(f"{root}.{name}")
say(json.dumps([wrong, said, found]))
"""


def test_moved_and_copied(tmp_path: Path, evidence: Evidence) -> None:
    """A moved directory is made anew at its old place, and its entries hit at the new one; those of a copy hit too."""
    (line,) = run(LIVING + MOVED, tmp_path / "cache")
    wrong, said, found = json.loads(line)
    assert found.pop("computed after the move") == 5
    evidence("never wrong", "a cache moved, or copied by cp, tar, rsync", len(found), sum(found.values()) + len(wrong))
    assert (wrong, said) == ([], [])
    assert set(found.values()) == {0}, found


REPLACED = """
cached, root = cache.cached(f), sys.argv[1]
def mount():
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=1m", "tmpfs", root], check=True)
found = []
for _ in range(3):
    mount()
    found.append([missed(n, cached) for n in (1, 1)])
    subprocess.run(["umount", "-l", root], check=True)
    found.append([missed(n, cached) for n in (1, 1)])
say(json.dumps([wrong, said, found]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_mounts_that_come_and_go(tmp_path: Path) -> None:
    """A mount that is replaced during use is a new place: one miss, then hits; afterwards the old entries hit again."""
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    (line,) = run(LIVING + REPLACED, root)
    wrong, said, found = json.loads(line)
    assert (wrong, said) == ([], [])
    assert found[:2] == [[True, False]] * 2
    assert found[2:] == [[True, False], [False, False]] * 2


READ_ONLY = """
found = [missed(n, cache.cached(f)) for n in (1, 2, 1, 99, 99)]
kept = Cache(sys.argv[1], signing_key=bytes(range(32)), read_only=True)
found += [missed(n, kept.cached(f)) for n in (1, 99)]
say(json.dumps([wrong, said, found, kept.stats().entries, len(kept.verify().problems)]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("kind", ["bind", "squashfs", "erofs"])
def test_read_only_media(tmp_path: Path, kind: str, evidence: Evidence) -> None:
    """Hits work from a read-only medium; a miss computes, with one clear warning."""
    root, point = tmp_path / "cache", tmp_path / "point"
    run(LIVING + "[missed(n, cache.cached(f)) for n in range(5)]", root)
    point.mkdir()
    with ExitStack() as stack:
        try:
            mount_read_only(stack, kind, root, point)
        except Lacking as reason:
            pytest.skip(str(reason))
        (line,) = run(LIVING + READ_ONLY, point)
    wrong, said, found, entries, problems = json.loads(line)
    evidence("never in the way", f"a cache on a read-only medium ({kind})", len(found), len(wrong))
    assert (wrong, entries, problems) == ([], 5, 0)
    assert found == [False, False, False, True, True, False, True]
    assert len(said) == 1
    assert "Read-only file system" in said[0]


# Homes and folders of the process

SURROUNDED = """
import pcache
def f(n):
    computed.append(n)
    return [n] * 5
default = pcache.cached(f)
found = [missed(n, default) for n in (1, 1)]
say(json.dumps([wrong, said, found]))
"""
HOMES: dict[str, dict[str, str | None]] = {
    "unset": {"HOME": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "empty": {"HOME": "", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""},
    "nonexistent": {"HOME": "{tmp}/no/home", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "a file": {"HOME": "{tmp}/file", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "relative XDG": {"HOME": "{tmp}/home", "XDG_CACHE_HOME": "here", "XDG_CONFIG_HOME": "../there"},
    "relative home": {"HOME": "here", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "emoji": {"HOME": "{tmp}/\U0001f9ca \n", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "bytes": {"HOME": "{tmp}/" + os.fsdecode(b"\xff"), "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "TMPDIR": {"HOME": "{tmp}/home", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None, "TMPDIR": "/nonexistent"},
}


@pytest.mark.parametrize("name", HOMES)
def test_homes(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the home is, calls return the function's result, and store it if there is a place for it."""
    (tmp_path / "file").touch()
    (tmp_path / "cwd").mkdir()
    for variable, value in HOMES[name].items():
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value.replace("{tmp}", str(tmp_path)))
    monkeypatch.chdir(tmp_path / "cwd")
    if name in ("unset", "empty"):
        monkeypatch.setenv("PCACHE_DIR", str(tmp_path / "cache"))  # else the directory of the user who runs the tests
        monkeypatch.setenv("PCACHE_KEY", key_to_text(KEY))
    (line,) = run(LIVING + SURROUNDED, tmp_path / "unused")
    wrong, said, found = json.loads(line)
    assert (wrong, found[0]) == ([], True)
    assert list((tmp_path / "cwd").iterdir()) == []  # nothing is ever stored in the current directory
    if not said:
        assert found == [True, False]


PLACED = """
os.umask(0o077)
found = []
os.makedirs("a/b"), os.symlink("a", "link"), os.chdir("a/b")
relative = Cache("cache", signing_key=bytes(range(32))).cached(f)
os.chdir("/")
found.append([missed(1, relative), missed(1, relative)])
base = sys.argv[2]
for name in ("a/b/cache", "a/b/cache///", "a/b/../b/./cache", "link/b/cache"):
    found.append(missed(1, Cache(f"{base}/{name}", signing_key=bytes(range(32))).cached(f)))
os.makedirs(base + "/gone"), os.chdir(base + "/gone"), os.rmdir(base + "/gone")
found.append(missed(1, Cache(f"{base}/a/b/cache", signing_key=bytes(range(32))).cached(f)))
try:
    Cache("cache", signing_key=bytes(range(32)))
except Exception as error:
    found.append(f"{type(error).__name__}: {error}")
os.chdir("/")
os.environ["HOME"] = base + "/a/b"
found.append(missed(1, Cache("~/cache", signing_key=bytes(range(32))).cached(f)))
say(json.dumps([wrong, said, found]))
"""


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is the same by a relative path, with slashes, dots, links above it, or from a removed folder."""
    monkeypatch.chdir(tmp_path)
    (line,) = run(LIVING + PLACED, tmp_path / "unused", tmp_path)
    wrong, said, found = json.loads(line)
    assert (wrong, said) == ([], [])
    assert found[:6] == [[True, False], False, False, False, False, False]
    assert found[6].startswith("ConfigError: ")
    assert found[7] is False


# User namespaces and hidden processes

NAMESPACE = """
cached = cache.cached(f)
found = [missed(n, cached) for n in (1, 1, 2)]
say(json.dumps([wrong, said, found]))
"""


def apart(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program in its own namespaces, which may not be permitted."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can map users freely")
@pytest.mark.parametrize("arguments", [["-U", "--map-root-user"], ["-U"]], ids=["root", "nobody"])
def test_user_namespaces(tmp_path: Path, arguments: list[str]) -> None:
    """In a namespace where the user has another id, or none, the user's own entries hit."""
    run(LIVING + "[missed(n, cache.cached(f)) for n in (1, 2)]", tmp_path / "cache")
    done = apart(["unshare", *arguments, sys.executable, "-c", PRELUDE + LIVING + NAMESPACE, str(tmp_path / "cache")])
    if "unshare failed" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert json.loads(done.stdout)[::2] == [[], [False, False, False]]


HIDDEN = """
subprocess.run(["mount", "-t", "proc", "-o", "hidepid=invisible", "proc", "/proc"], check=True)
from pcache.storage.claim import try_claim
from pcache.storage.claim_owner import owner_record, read_owner
path = sys.argv[2]
held = try_claim(path, owner_record("m:f", cache.flow.keys.keyring))
alive = read_owner(path, cache.flow.keys.keyring)
if os.fork() == 0:
    os.chmod(path + ".claim", 0o644)
    os.setresgid(5001, 5001, 5001), os.setresuid(5001, 5001, 5001)
    say(os.path.exists(f"/proc/{alive.pid}"), alive.is_dead(), alive._replace(pid=4_000_000).is_dead())
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_processes_of_others_are_hidden(tmp_path: Path) -> None:
    """Where /proc hides other users' processes (hidepid), a live one is not taken for dead."""
    command = ["unshare", "-m", sys.executable, "-c", PRELUDE + "import subprocess\n" + HIDDEN]
    done = apart([*command, str(tmp_path / "cache"), str(tmp_path / "entry")])
    if "unshare failed" in done.stderr or "mount" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout.split() == ["False", "False", "True"], done.stderr
