"""What `diagnose` finds in places that are broken on purpose, and that looking changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from pcache import Cache
from pcache.insight import doctor, probes
from pcache.insight.doctor import Finding, diagnose
from pcache.signing.keyring import key_to_text
from pcache.storage.claim import try_claim
from pcache.storage.claim_owner import owner_record
from tests.eviction.test_limiter import HOLDERS
from tests.support.processes import RING, Canary, Talker

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can do this to a directory")


def double(n: int) -> int:
    return 2 * n


@pytest.fixture
def filled(cache: Cache) -> Cache:
    """A cache with 20 results."""
    cached = cache.cached(double)
    for n in range(20):
        cached(n)
    cache.flow.ledger.flush()
    return cache


def found_in(place: object, check: str = "") -> list[Finding]:
    """What is not as it should be. The trials of the file system take long, and are left out where others are asked."""
    untried = {"PCACHE_READ_ONLY": "1"} if check not in ("", "writing") else {}
    with mock.patch.dict(os.environ, untried):
        return [item for item in diagnose(str(place)) if item.state != "ok" and check in ("", item.check)]


def snapshot(root: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*")
    }


def test_all_is_well(filled: Cache) -> None:
    """A cache that works gets no problem, and every kind of check has a word on it."""
    found = diagnose(filled.location, "1.2")
    assert [item for item in found if item.state == "problem"] == []
    assert {item.check for item in found} >= {
        "versions", "settings", "signing key", "directory", "disk", "file system", "writing", "fsync", "entries",
        "leftovers", "statistics",
    }  # fmt: skip
    assert "pcache 1.2, Python" in found[0].text


def test_entries_that_are_all_looked_at_are_counted(filled: Cache) -> None:
    """What is known of the room, which still counts one that somebody removed, is for large directories only."""
    next(Path(filled.location, "v1", "entries").rglob("*-*")).unlink()
    (finding,) = [item for item in diagnose(filled.location) if item.check == "entries"]
    assert finding.text == "19, as they should be"


def test_a_lock_that_somebody_holds(filled: Cache) -> None:
    """A lock of upkeep that is held by a process which shows no sign of work is a problem; one at work is none."""
    path = Path(filled.location, "v1", "ledger", "occupancy")
    holder = Talker(HOLDERS, filled.location, "ledger/occupancy")
    holder.hear()
    (finding,) = found_in(Path(filled.location), "locks")
    assert (finding.state, str(path) in finding.text, str(path) in finding.advice) == ("problem", True, True)
    os.utime(path)
    assert found_in(Path(filled.location), "locks") == []
    holder.say()
    holder.finish()


def test_nothing_is_changed_or_loaded(filled: Cache, tmp_path: Path) -> None:
    """Looking leaves every file as it is, and unpickles nothing."""
    cached = filled.cached(double)
    cached.put(Canary(tmp_path / "canary"), 7)
    filled.flow.ledger.flush()
    root = Path(filled.location)
    before = snapshot(root / "v1" / "entries"), sorted(snapshot(root))
    diagnose(filled.location)
    assert (snapshot(root / "v1" / "entries"), sorted(snapshot(root))) == before
    assert not (tmp_path / "canary").exists()


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A directory that does not exist is a note, and does not exist afterwards."""
    (finding,) = found_in(tmp_path / "no" / "cache", "directory")
    assert finding.state == "note"
    assert "does not exist yet" in finding.text
    assert list(tmp_path.iterdir()) == []


def replace_tag(root: Path) -> None:
    (root / "CACHEDIR.TAG").write_text("something else")


def flip_a_byte(root: Path) -> None:
    path = next((root / "v1" / "entries").rglob("*-*"))
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


def use_in_the_future(root: Path) -> None:
    path = next((root / "v1" / "entries").rglob("*-*"))
    later = time.time() + 10**8
    os.utime(path, (later, later))


def damage_the_ledger(root: Path) -> None:
    with (root / "v1" / "ledger" / "counters").open("a") as file:
        file.write("\nnonsense\n")


def leave_a_claim(root: Path) -> None:
    shard = next((root / "v1" / "entries").iterdir())
    name = f"{'0' * 16}-{shard.name}{'0' * 38}"
    talker = Talker(
        "from pcache.storage.claim import try_claim\n"
        "from pcache.storage.claim_owner import owner_record\n"
        "held = try_claim(sys.argv[2], owner_record('m:f', Cache(sys.argv[3]).flow.keys.ensure()))\n"
        "say('held')\nhear()",
        root.parent / "other",
        shard / name,
        root,
    )
    talker.hear()
    talker.kill()


BROKEN: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "writable by all": (lambda root: root.chmod(0o777), "directory", "problem", "chmod 700"),
    "a shard writable by all": (
        lambda root: next((root / "v1" / "entries").iterdir()).chmod(0o777), "directory", "problem", "chmod -R"),
    "another's tag": (replace_tag, "directory", "problem", "move away"),
    "an older generation": (lambda root: (root / "v0").mkdir(), "directory", "note", "rm -r"),
    "damaged": (flip_a_byte, "entries", "problem", "pcache verify --repair"),
    "future": (use_in_the_future, "entries", "note", "clock"),
    "ledger": (damage_the_ledger, "statistics", "note", "pcache stats --zero"),
    "claims": (leave_a_claim, "leftovers", "note", "pcache verify --repair"),
    "a link": (lambda root: (root.rename(f"{root}2"), root.symlink_to(f"{root}2")), "directory", "problem", "another"),
    "a file": (lambda root: (root.rename(f"{root}2"), root.touch()), "directory", "problem", "another"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(filled: Cache, name: str) -> None:
    """Each kind of damage is found, by the right check, with what to do about it."""
    harm, check, state, advice = BROKEN[name]
    assert found_in(filled.location, check) == []
    harm(Path(filled.location))
    (finding,) = found_in(filled.location, check)
    assert finding.state == state
    assert advice in finding.advice


@needs_root
def test_another_users_files(filled: Cache) -> None:
    """Entries of another user, and a directory of another user, are told apart."""
    path = next(Path(filled.location).rglob("*-*"))
    os.chown(path, 65534, -1)
    (finding,) = found_in(filled.location, "entries")
    assert "1 of 20 entries belong to another user" in finding.text
    os.chown(filled.location, 65534, -1)
    (finding,) = found_in(filled.location, "directory")
    assert "belongs to another user (uid 65534)" in finding.text


def test_the_key(filled: Cache, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file that others can read, another key, and no place for a key are found."""
    path = own_home / "config" / "pcache" / "key"
    path.chmod(0o644)
    (finding,) = found_in(filled.location, "signing key")
    assert finding.advice == f"chmod 600 {path}"
    assert found_in(filled.location, "entries") == []
    path.chmod(0o600)
    monkeypatch.setenv("PCACHE_KEY", key_to_text(b"k" * 32))
    (finding,) = found_in(filled.location, "entries")
    assert "20 of 20 entries are signed with a key that you do not have" in finding.text
    monkeypatch.delenv("PCACHE_KEY")
    monkeypatch.setenv("PCACHE_SHARED", "1")
    (finding,) = found_in(filled.location, "signing key")
    assert "a signing key that its users share" in finding.text


@pytest.mark.parametrize("kind", ["no home", "a file in the way", "a link to nothing"])
def test_no_place_for_a_key(filled: Cache, own_home: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """That nothing is stored or read for want of a key is a problem, with the ways out of it."""
    if kind == "no home":
        monkeypatch.setenv("HOME", "none")
        monkeypatch.delenv("XDG_CONFIG_HOME")
    else:
        shutil.rmtree(own_home / "config")
        place = own_home / "config" / ("pcache/key" if kind == "a link to nothing" else "")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch() if kind == "a file in the way" else place.symlink_to("nothing")
    (finding,) = found_in(filled.location, "signing key")
    assert finding.state == "problem"
    assert "there is no place for one" in finding.text
    for way in ("PCACHE_KEY ", "PCACHE_KEY_FILE", "HOME"):
        assert way in finding.advice


def test_the_settings(cache: Cache, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is no setting, a cache that is switched off and one that is read-only are found."""
    monkeypatch.setenv("PCACHE_DISABLE", "1")
    monkeypatch.setenv("PCACHE_READ_ONLY", "1")
    assert [item.check for item in found_in(cache.location)] == ["settings", "directory", "writing"]
    config = own_home / "config" / "pcache" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("max_sice = 3")
    monkeypatch.setenv("PCACHE_DISABEL", "1")
    said = [(item.state, item.text.rpartition(" ")[2]) for item in found_in(cache.location, "settings")]
    assert said[:2] == [("note", "'max_size'"), ("note", "PCACHE_DISABLE")]
    config.write_text("max_size = 'much'")
    (finding,) = found_in(cache.location)
    assert (finding.check, finding.state) == ("settings", "problem")


def test_a_small_disk(small_disk: Path) -> None:
    """A limit that is larger than the disk is a note; a full disk is a problem, and no exception."""
    root = small_disk / "cache"
    (finding,) = found_in(root, "limits")
    assert "more than the disk can hold" in finding.text
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
    assert found_in(root, "disk")[0].state == "problem"


@pytest.fixture
def read_only_mount(filled: Cache) -> Iterator[str]:
    """The cache on a file system that can only be read."""
    mount = ["mount", "--bind", filled.location, filled.location]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount, where that is permitted")
    subprocess.run(["mount", "-o", "remount,bind,ro", filled.location], check=True)
    yield filled.location
    subprocess.run(["umount", filled.location], check=True)


def test_a_read_only_mount(read_only_mount: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written to is a problem, unless that is on purpose."""
    (finding,) = found_in(read_only_mount, "writing")
    assert (finding.state, finding.advice) == ("problem", "set PCACHE_READ_ONLY=1 if that is on purpose")
    monkeypatch.setenv("PCACHE_READ_ONLY", "1")
    (finding,) = found_in(read_only_mount, "writing")
    assert finding.state == "note"


def test_superseded_code(tmp_path: Path, cache: Cache) -> None:
    """Versions of functions whose code is gone are a note."""
    script = tmp_path / "gone.py"
    script.write_text("def f(n):\n    return n\n")
    found: dict[str, object] = {"__name__": "gone", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), found)
    cache.cached(found["f"])(1)  # type: ignore[type-var]
    assert found_in(cache.location, "versions of code") == []
    script.unlink()
    (finding,) = found_in(cache.location, "versions of code")
    assert finding.advice == "pcache clear --superseded"


def test_the_trials(tmp_path: Path) -> None:
    """On a usual disk everything works, and nothing is left."""
    found = probes.try_out(str(tmp_path))
    assert found.failures == {}
    assert found.sync > 0
    assert abs(found.ahead) < 60
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_is_held_is_no_leftover(filled: Cache) -> None:
    """Only what killed processes left is called so."""
    path = next(Path(filled.location).rglob("*-*"))
    held = try_claim(str(path), owner_record("m:f", RING))
    assert held is not None
    assert found_in(filled.location, "leftovers") == []
    held.abandon()


def test_shared_parts_that_keep_the_group_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared directory that was used privately before is found."""
    Cache(tmp_path / "cache", signing_key=b"k" * 32).cached(double)(1)
    monkeypatch.setenv("PCACHE_SHARED", "1")
    monkeypatch.setenv("PCACHE_KEY", key_to_text(b"k" * 32))
    (finding,) = found_in(tmp_path / "cache", "directory")
    assert "keeps the group out (mode 700)" in finding.text
    assert finding.advice.startswith("chmod -R u=rwX,g=rwXs,o= ")
    subprocess.run(finding.advice, shell=True, check=True)
    assert found_in(tmp_path / "cache", "directory") == []


def test_a_sample(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many entries some are looked at, and the text says so."""
    monkeypatch.setattr(doctor, "_SAMPLE", 5)
    monkeypatch.setenv("PCACHE_KEY", key_to_text(b"k" * 32))
    (finding,) = found_in(filled.location, "entries")
    assert finding.text.startswith("5 of 5 entries")


def test_nothing_is_tried_in_what_is_not_ours(tmp_path: Path) -> None:
    """A folder with other things in it is refused, and not even a temporary folder is made there."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"")
    before = os.stat(tmp_path / "photos").st_mtime_ns
    assert [finding.check for finding in diagnose(str(tmp_path / "photos")) if finding.state == "problem"] == [
        "directory"
    ]
    assert os.stat(tmp_path / "photos").st_mtime_ns == before
