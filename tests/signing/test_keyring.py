"""Nothing is unpickled that was not signed with our key and is not the entry asked for."""

from __future__ import annotations

import base64
import errno
import os
import re
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, DirectoryError, Miss, SigningKeyError, StoreWarning
from pcache.entry import format as entry_format
from pcache.entry.format import Facts
from pcache.signing import keyring
from pcache.signing.key_source import KeySource
from pcache.signing.keyring import Keyring, key_id, key_to_text, make_keyring
from pcache.system import notices, ownership
from pcache.versions import registry
from tests.support.processes import (
    KEY,
    OTHER_RING,
    RING,
    ZEROS,
    Canary,
    Talker,
    address_of,
    claims_below,
    entry_bytes,
    place_of,
    run,
)
from tests.support.running import count_descriptors

ROOT_USER = pytest.mark.skipif(os.getuid() != 0, reason="only root can make it")
TEXT = key_to_text(KEY)
OLD = b"o" * 32


def double(n: int) -> int:
    return 2 * n


def cache_at(path: Path, key: Any = KEY) -> Cache:
    return Cache(path, signing_key=key)


def address_in(cache: Cache, n: int = 1) -> Any:
    return address_of(cache.cached(double), n)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


# The key


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_key_is_made_once(tmp_path: Path, own_home: Path, links: bool) -> None:
    """Eight processes that need the first key at the same time make one, private, and all their results are good."""
    script = "from tests_double import double\nsay('ready')\nhear()\n"
    if not links:  # as on Android, and where files have no second names
        script += "def no_links(*_):\n    raise PermissionError(1, 'Operation not permitted')\nos.link = no_links\n"
    script += "say(Cache(sys.argv[1]).cached(double)(int(sys.argv[2])))"
    (tmp_path / "tests_double.py").write_text("def double(n):\n    return 2 * n\n")
    # The prelude's own cache is given a key; this one finds the user's.
    script = f"sys.path.insert(0, {str(tmp_path)!r})\n" + script
    racers = [Talker(script, tmp_path / "cache", n) for n in range(8)]
    assert [racer.hear() for racer in racers] == ["ready"] * 8
    for racer in racers:
        racer.say()
    assert [racer.finish() for racer in racers] == [[str(2 * n)] for n in range(8)]
    folder = own_home / "config" / "pcache"
    assert os.listdir(folder) == ["key"]
    assert (mode_of(folder), mode_of(folder / "key")) == (0o700, 0o600)
    verified = Cache(tmp_path / "cache").verify()
    assert (verified.checked, verified.problems) == (8, ())


def test_a_lookup_makes_no_key(tmp_path: Path, own_home: Path) -> None:
    """Without a key there is nothing to read, and looking makes none."""
    cache = Cache(tmp_path / "cache")
    with pytest.raises(Miss, match="absent"):
        cache.cached(double).get(1)
    assert not (own_home / "config").exists()
    assert cache.cached(double)(1) == 2
    assert (own_home / "config" / "pcache" / "key").exists()


@pytest.mark.parametrize(
    "given", [KEY, bytearray(KEY), TEXT, f" {TEXT}\n", [KEY, OLD], [TEXT, key_to_text(OLD)], (KEY,)]
)
def test_forms_of_a_key(tmp_path: Path, given: Any) -> None:
    """A key is bytes or base64, alone or the first of several."""
    cache = Cache(tmp_path / "cache", signing_key=given)
    assert cache.flow.keys.ensure().signing == RING.signing
    assert cache.cached(double)(4) == cache_at(tmp_path / "cache").cached(double).get(4) == 8


def test_a_key_is_copied() -> None:
    """Whoever changes the bytearray that a key was given in changes no key."""
    given = bytearray(KEY)
    ring = KeySource(given, None).ensure()
    given[:] = bytes(32)
    assert ring == RING
    assert isinstance(ring.signing_key, bytes)


def test_the_name_of_a_key_is_that_of_the_first_release() -> None:
    """The id is in every entry: another derivation would make all of them foreign."""
    assert key_id(KEY).hex() == "15868773e240d292"


def test_an_iterator_of_keys(tmp_path: Path) -> None:
    """Keys may come from a generator, and the cache can still be sent to another process."""
    import pickle

    cache = Cache(tmp_path / "cache", signing_key=(key for key in (KEY, OLD)))
    assert set(pickle.loads(pickle.dumps(cache)).flow.keys.ensure().keys) == {key_id(KEY), key_id(OLD)}


def test_the_environment_gives_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_KEY, then PCACHE_KEY_FILE, give the key; the argument comes before both."""
    file = tmp_path / "key"
    keyring.write_key_file(str(file), [OLD])
    monkeypatch.setenv("PCACHE_KEY_FILE", str(file))
    assert KeySource(None, None).ensure().signing == key_id(OLD)
    monkeypatch.setenv("PCACHE_KEY", f"{TEXT}, {key_to_text(OLD)}")
    assert list(KeySource(None, None).ensure().keys) == [key_id(KEY), key_id(OLD)]
    assert KeySource(b"n" * 32, None).ensure().signing == key_id(b"n" * 32)


def test_a_source_of_keys_says_where_they_come_from(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of the four it was, and which file, in the order in which the command line explains it."""
    file, own = own_home / "named", own_home / "config" / "pcache" / "key"
    keyring.write_key_file(str(file), [OLD])
    source = KeySource(None, None)
    assert (source.origin, source.path, source.keyring) == ("your key file", str(own), None)
    source = KeySource(None, "~/named")
    assert (source.origin, source.path, source.ensure().signing) == ("key file", str(file), key_id(OLD))
    monkeypatch.setenv("PCACHE_KEY_FILE", str(file))
    assert KeySource(None, "/nowhere").path == str(file)
    monkeypatch.setenv("PCACHE_KEY", TEXT)
    source = KeySource(None, None)
    assert (source.origin, source.path, source.look()) == ("environment PCACHE_KEY", None, RING)
    assert (KeySource(KEY, None).origin, KeySource(KEY, None).path) == ("argument", None)
    for bad in ("secret", iter(())):
        with pytest.raises(SigningKeyError) as caught:
            KeySource(bad, None)
        assert caught.value.source == "signing_key"


def test_the_users_key_is_found_once_it_is_there(own_home: Path) -> None:
    """A key that another process makes meanwhile is found by looking, and looked for no more."""
    source, other = KeySource(None, None), KeySource(None, None)
    assert (source.look(), source.has_place()) == (None, True)
    assert not (own_home / "config").exists()
    ring = other.ensure()
    assert ring is other.ensure() is other.look()
    assert source.look() == ring
    assert source.has_place()
    os.unlink(own_home / "config" / "pcache" / "key")
    assert source.look() == source.ensure() == ring
    assert not (own_home / "config" / "pcache" / "key").exists()


def test_rotation(tmp_path: Path) -> None:
    """After a rotation old entries hit, new ones are signed by the first key, and without the old key old ones miss."""
    cache_at(tmp_path / "cache", OLD).cached(double)(1)
    rotated = cache_at(tmp_path / "cache", [KEY, OLD]).cached(double)
    assert rotated.get(1) == rotated(1) == 2
    rotated(2)
    assert cache_at(tmp_path / "cache").cached(double).get(2) == 4
    with pytest.raises(Miss, match="foreign"):
        cache_at(tmp_path / "cache").cached(double).get(1)


def test_a_rotated_key_keeps_the_names(tmp_path: Path) -> None:
    """A function whose registry file is of a key that we no longer have is registered anew by its next result."""
    cache_at(tmp_path / "cache", OLD).cached(double)(1)
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(2)
    assert [function.name.partition(":")[2] for function in cache.functions()] == ["double"]


BAD_KEYS: dict[str, Any] = {
    "empty": "",
    "no base64": "!" * 44,
    "too short": base64.b64encode(b"secret-secret").decode(),
    "too long": base64.b64encode(b"s" * 33).decode(),
    "not ASCII": "ä" * 44,
    "two in one": TEXT + TEXT,
    "short bytes": b"secret",
    "base64 as bytes": TEXT.encode(),
    "none at all": [],
    "one bad among good": [KEY, "secret"],
    "a number": 42,
    "numbers": [42],
    "a list of nothing": [None],
    "an iterator without any": iter(()),
}


@pytest.mark.parametrize("given", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_is_refused_when_the_cache_is_made(tmp_path: Path, given: Any) -> None:
    """What is no key raises `SigningKeyError` at construction, in a sentence or two without any of the key in it."""
    with pytest.raises(SigningKeyError) as caught:
        Cache(tmp_path / "cache", signing_key=given)
    message = str(caught.value)
    assert "\n" not in message
    for text in [given] if isinstance(given, (str, bytes)) else list(given) if isinstance(given, list) else []:
        assert not text or str(text) not in message
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("text", ["!", "secret", TEXT[:-4], f"{TEXT};{TEXT}", ","])
def test_a_bad_key_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A bad PCACHE_KEY is named, and not shown."""
    monkeypatch.setenv("PCACHE_KEY", text)
    with pytest.raises(SigningKeyError, match=r"^PCACHE_KEY is not a signing key") as caught:
        Cache(tmp_path / "cache")
    assert text not in str(caught.value).replace("!", "") or text in "!,"
    assert caught.value.source == "PCACHE_KEY"


def with_text(text: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(text)
        path.chmod(0o600)

    return make


def readable_by_group(path: Path) -> None:
    with_text(TEXT)(path)
    path.chmod(0o640)


def of_another_user(path: Path) -> None:
    with_text(TEXT)(path)
    os.chown(path, 65534, -1)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)  # a socket's path may have 107 bytes only
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


BAD_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "does not exist"),
    "below a file": (lambda path: (path.parent.rmdir(), path.parent.write_text("")), "does not exist"),
    "empty": (with_text(""), "holds no signing key"),
    "blank": (with_text("\n \n"), "holds no signing key"),
    "no key": (with_text("secret"), "is not a signing key"),
    "one good, one bad line": (with_text(f"{TEXT}\nsecret\n"), "is not a signing key"),
    "raw bytes": (lambda path: (path.write_bytes(KEY[::-1]), path.chmod(0o600)), "is not a signing key"),
    "no ASCII": (lambda path: (path.write_bytes(bytes(range(224, 256))), path.chmod(0o600)), "is not a signing key"),
    "readable by the group": (readable_by_group, "can be read or written by others"),
    "a directory": (lambda path: path.mkdir(mode=0o700), "is not a regular file"),
    "a FIFO": (lambda path: os.mkfifo(path, 0o600), "is not a regular file"),
    "a socket": (a_socket, "cannot be read"),
    "a loop of links": (lambda path: path.symlink_to(path), "cannot be read"),
    "a dangling link": (lambda path: path.symlink_to(path.parent / "nothing"), "does not exist"),
    "another user's": (of_another_user, "belongs to another user"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_key_file_is_refused_when_the_cache_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is no private key file raises `SigningKeyError`, which names the file and shows nothing of its content."""
    if name == "another user's" and os.getuid() != 0:
        pytest.skip("only root can give a file away")
    make, expected = BAD_FILES[name]
    path = tmp_path / "keys" / "key"
    path.parent.mkdir()
    make(path)
    monkeypatch.setenv("PCACHE_KEY_FILE", str(path))
    with pytest.raises(SigningKeyError, match=expected) as caught:
        Cache(tmp_path / "cache")
    message = str(caught.value)
    assert caught.value.source == str(path)
    assert str(path) in message
    assert not any(secret in message.replace(str(path), "") for secret in ("secret", TEXT[:8], "\n"))


@pytest.mark.parametrize("bit", [1 << bit for bit in range(6)])
def test_a_key_file_with_any_right_for_others_is_refused(tmp_path: Path, bit: int) -> None:
    """Reading, writing and executing, for the group or for all: each alone is one too many."""
    with_text(TEXT)(tmp_path / "key")
    assert keyring.read_key_file(str(tmp_path / "key")) == [KEY]
    (tmp_path / "key").chmod(0o600 | bit)
    with pytest.raises(SigningKeyError, match="can be read or written by others"):
        keyring.read_key_file(str(tmp_path / "key"))


def test_key_files_leave_no_descriptor_open(tmp_path: Path) -> None:
    """Neither a good key file nor a bad one is kept open."""
    before = count_descriptors()
    with_text(TEXT)(tmp_path / "key")
    assert keyring.read_key_file(str(tmp_path / "key")) == [KEY]
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SigningKeyError):
        keyring.read_key_file(str(tmp_path / "key"))
    assert not keyring.write_key_file(str(tmp_path / "key"), [KEY])
    assert keyring.write_key_file(str(tmp_path / "key"), [KEY], replace=True)
    assert (len(os.listdir("/proc/self/fd")), os.listdir(tmp_path)) == (before, ["key"])


def test_without_a_home_there_is_no_place_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is read or written, and the error names the ways out."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "relative")
    keys = KeySource(None, None)
    assert (keyring.default_key_path(), keys.path, keys.look(), keys.has_place()) == (None, None, None, False)
    with pytest.raises(SigningKeyError, match=r"no home directory.*PCACHE_KEY .*PCACHE_KEY_FILE.*HOME") as caught:
        keys.ensure()
    assert caught.value.source == "home"
    (tmp_path / "file").touch(0o700)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "config"))
    assert not KeySource(None, None).has_place()


@pytest.mark.parametrize(
    "name", sorted({*BAD_FILES} - {"missing", "below a file", "a dangling link", "another user's"})
)
def test_a_bad_key_file_of_the_user_stops_no_program(tmp_path: Path, own_home: Path, name: str) -> None:
    """The user's own key file, which nobody asked for, is neither replaced nor in the way: calls compute, and warn."""
    path = own_home / "config" / "pcache" / "key"
    path.parent.mkdir(parents=True)
    BAD_FILES[name][0](path)
    before = os.lstat(path)
    cached = Cache(tmp_path / "cache").cached(double)
    with pytest.warns(StoreWarning, match=BAD_FILES[name][1]) as caught:
        assert [cached(1), cached(1)] == [2, 2]
    assert len(caught) == 1
    with pytest.raises(Miss, match=BAD_FILES[name][1]) as miss:
        cached.get(1)
    assert miss.value.reason == "foreign"
    assert (os.lstat(path).st_ino, os.lstat(path).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not list(tmp_path.rglob("*-*"))  # no entry


def test_a_key_file_that_is_put_right_is_read(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that met a damaged key file of the user reads and stores again once it is whole."""
    path = own_home / "config" / "pcache" / "key"
    Cache(tmp_path / "cache").cached(double)(1)
    text = path.read_text()
    path.write_text(text[:-5])
    cached = Cache(tmp_path / "cache").cached(double)
    with pytest.warns(StoreWarning):
        assert cached(2) == 4
    monkeypatch.setattr(cached._flow.saving, "_keyless_until", 0.0)  # a minute later
    assert cached(2) == 4
    path.write_text(text)
    assert cached.get(1) == 2
    assert (cached(2), cached.get(2)) == (4, 4)


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root reads every file")
def test_an_unreadable_key_file_is_refused(tmp_path: Path) -> None:
    """A key file without rights for its owner is refused with the system's word for it."""
    path = tmp_path / "key"
    with_text(TEXT)(path)
    path.chmod(0)
    script = """
from pcache.signing.keyring import read_key_file
from pcache.errors import SigningKeyError
if os.getuid() == 0:
    os.chmod(os.path.dirname(sys.argv[2]), 0o755); os.chown(sys.argv[2], 65534, -1)
    folder = os.open(os.path.dirname(sys.argv[2]), os.O_RDONLY); os.fchdir(folder)
    os.setresuid(65534, 65534, 65534)
try:
    read_key_file("key" if os.getuid() == 65534 else sys.argv[2])
except SigningKeyError as error:
    say(error)
"""
    (line,) = run(script, tmp_path / "cache", path)
    assert "cannot be read (Permission denied)" in line


@ROOT_USER
def test_an_ordinary_user_has_a_key_of_his_own(tmp_path: Path) -> None:
    """Not only root has key files and directories."""
    script = """
from pcache.system import permissions
from pcache.signing import keyring
from pcache.system import ownership
os.chdir(sys.argv[2]); os.setresuid(65534, 65534, 65534)
with open("key", "w", opener=lambda *_: os.open("key", os.O_WRONLY | os.O_CREAT, 0o600)) as file:
    file.write(keyring.key_to_text(bytes(32)))
permissions.PRIVATE.make_folder("cache")
say(keyring.read_key_file("key") == [bytes(32)], ownership.check_directory("cache"))
"""
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 65534, -1)
    assert run(script, tmp_path / "cache", tmp_path / "home") == ["True True"]


def test_a_key_file_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes three bytes at a time gets them all, and a name without a folder is one in this folder."""
    monkeypatch.chdir(tmp_path)
    write, asked = os.write, []
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append((os.fstat(fd).st_size, os.path.exists("key"))))
    assert keyring.write_key_file("key", [KEY, OLD])
    assert asked == [(90, False), (90, True)]  # a power cut leaves no key file that is empty, and no key without a name
    assert keyring.read_key_file("key") == [KEY, OLD]


# No place for a key


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the user's configuration directory one that cannot be made."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "config"))


@pytest.mark.usefixtures("nowhere")
def test_without_a_key_nothing_is_stored(tmp_path: Path) -> None:
    """Calls compute, in every directory; one warning a process names the ways out, and no directory is made."""
    made = [Cache(tmp_path / name).cached(double) for name in ("one", "two")]
    with pytest.warns(StoreWarning, match="no place for a signing key") as caught:
        found = [[cached(1), cached(1), cached.refresh(2), cached.put(4, 2), cached.exists(1)] for cached in made]
    assert found == [[2, 2, 4, False, False]] * 2
    assert len(caught) == 1
    for way in ("PCACHE_KEY ", "PCACHE_KEY_FILE", "HOME"):
        assert way in str(caught[0].message)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_place_for_a_key_that_comes_later(tmp_path: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a key is tried again after a minute, and one that somebody else made is found by the next call."""
    first, second = (Cache(tmp_path / name).cached(double) for name in ("one", "two"))
    with pytest.warns(StoreWarning):
        assert (first(1), second(1), second.exists(1)) == (2, 2, False)
    (tmp_path / "file").unlink()
    assert (first(1), first.exists(1)) == (2, False)
    monkeypatch.setattr(first._flow.saving, "_keyless_until", 0.0)  # a minute later
    assert (first(1), first.exists(1)) == (2, True)
    assert (second(1), second.exists(1)) == (2, True)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("ask", ["call", "get", "exists", "refresh"])
def test_without_a_key_nothing_is_unpickled(tmp_path: Path, ask: str) -> None:
    """An entry that is signed with a key that anybody can guess came with an archive; it is not loaded."""
    planted = cache_at(tmp_path / "cache").cached(double)
    address = address_of(planted, 1)
    plant(place_of(planted, 1), canary_entry(address, tmp_path, ZEROS))
    cached = Cache(tmp_path / "cache").cached(double)
    if ask in ("get", "exists"):
        assert not cached.exists(1)
        with pytest.raises(Miss, match="there is no signing key"):
            cached.get(1)
    else:
        with pytest.warns(StoreWarning):
            assert {"call": cached, "refresh": cached.refresh}[ask](1) == 2
    assert not (tmp_path / "executed").exists()


# Planted entries


def plant(path: str, data: bytes) -> None:
    """Put a file where an entry would be, in directories as pcache makes them."""
    folder = Path(path).parent
    for parent in (folder.parent.parent.parent, folder.parent.parent, folder.parent, folder):
        parent.mkdir(mode=0o700, exist_ok=True)
    Path(path).write_bytes(data)


def canary_entry(address: Any, tmp_path: Path, ring: Keyring = RING, **changes: Any) -> bytes:
    facts = Facts(address.key, address.function_id, 10**18, entry_format.NEVER, 0)._replace(**changes)
    return entry_bytes(Canary(tmp_path / "executed"), facts, ring)


def edited(address: Any, tmp_path: Path) -> bytes:
    """Our entry, in which the stream was replaced by one of the same length."""
    payload = entry_bytes(Canary(tmp_path / "executed"))[entry_format.META_AT + 2 :]
    good = bytearray(
        entry_bytes(b"x" * len(payload), Facts(address.key, address.function_id, 0, entry_format.NEVER, 0))
    )
    stream = payload.ljust(len(good) - entry_format.META_AT - 2, b".")  # what follows a pickle's end is not read
    good[entry_format.META_AT + 2 :] = stream
    assert entry_format.read_header(bytes(good), len(good)).stream_length == len(stream)
    return bytes(good)


def retagged(address: Any, tmp_path: Path) -> bytes:
    """An entry signed by another key that claims to be signed by ours."""
    return canary_entry(address, tmp_path, Keyring(RING.signing, {RING.signing: b"a" * 32}))


def downgraded(address: Any, tmp_path: Path, number: int) -> bytes:
    data = bytearray(canary_entry(address, tmp_path))
    data[7] = number
    return bytes(data)


PLANTED: dict[str, Callable[[Any, Path], bytes]] = {
    "a bare pickle": lambda address, tmp: entry_bytes(Canary(tmp / "executed"))[entry_format.META_AT + 2 :],
    "signed by a key of zeros": lambda address, tmp: canary_entry(address, tmp, ZEROS),
    "signed by another key": lambda address, tmp: canary_entry(address, tmp, OTHER_RING),
    "signed by another key in our name": retagged,
    "edited": edited,
    "another call's, copied here": lambda address, tmp: canary_entry(address, tmp, key=b"k" * 20),
    "another function's, renamed": lambda address, tmp: canary_entry(address, tmp, function_id=b"f" * 8),
    "of format 0": lambda address, tmp: downgraded(address, tmp, 0),
    "of format 2": lambda address, tmp: downgraded(address, tmp, 2),
    "expired": lambda address, tmp: canary_entry(address, tmp, expires_ns=1),
    "without its last byte": lambda address, tmp: canary_entry(address, tmp)[:-1],
}


def test_the_canary_sings(tmp_path: Path) -> None:
    """The control: an authentic entry in its own place is unpickled, and the file appears."""
    cache = cache_at(tmp_path / "cache")
    address = address_in(cache)
    plant(place_of(cache.cached(double), 1), canary_entry(address, tmp_path))
    cache.cached(double)(1).close()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", PLANTED)
def test_planted_entries_are_never_unpickled(tmp_path: Path, name: str) -> None:
    """Whatever is wrong with an entry's bytes, it is not unpickled, and the call computes and stores its result."""
    cache = cache_at(tmp_path / "cache")
    cached, address = cache.cached(double), address_in(cache)
    plant(place_of(cached, 1), PLANTED[name](address, tmp_path))
    with pytest.raises(Miss):
        cached.get(1)
    assert cached(1) == cached(1) == cached.get(1) == 2
    assert cached.cache_info()[:2] == (1, 1)
    assert not (tmp_path / "executed").exists()
    assert claims_below(cache.location) == []


def as_symlink(path: Path, target: Path) -> None:
    path.symlink_to(target)


def as_chain(path: Path, target: Path) -> None:
    path.with_name("chain").symlink_to(target)
    path.symlink_to("chain")


def as_foreign_file(path: Path, target: Path) -> None:
    shutil.copy(target, path)
    os.chown(path, 65534, -1)


FILES: dict[str, Callable[[Path, Path], Any]] = {
    "a symlink": as_symlink,
    "a symlink to a symlink": as_chain,
    "a FIFO": lambda path, target: os.mkfifo(path),
    "a socket": lambda path, target: a_socket(path),
    "a device": lambda path, target: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "a file of another user": as_foreign_file,
}


@pytest.mark.parametrize("name", FILES)
def test_entries_that_are_no_files_of_ours_are_never_read(tmp_path: Path, name: str) -> None:
    """A link to an authentic entry of the very call, and what is no file at all, are misses and are replaced."""
    if name in ("a device", "a file of another user") and os.getuid() != 0:
        pytest.skip("only root can make it")
    cache = cache_at(tmp_path / "cache")
    cached, address = cache.cached(double), address_in(cache)
    plant(place_of(cached, 1), b"")
    os.unlink(place_of(cached, 1))
    target = tmp_path / "authentic"
    target.write_bytes(canary_entry(address, tmp_path))
    FILES[name](Path(place_of(cached, 1)), target)
    assert cached(1) == cached(1) == cached.get(1) == 2
    assert cached.cache_info()[:2] == (1, 1)
    assert not (tmp_path / "executed").exists()
    assert target.exists()


def test_a_directory_in_an_entrys_place(tmp_path: Path) -> None:
    """A directory under an entry's name costs that call its caching, and nobody an exception; `clear` gets past it."""
    notices.forget()
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    cached(5)
    os.makedirs(place_of(cached, 1), mode=0o700)
    with pytest.warns(StoreWarning):
        assert cached(1) == cached(1) == 2
    assert claims_below(cache.location) == []
    assert cache.verify(repair=True).removed.entries == cache.evict(max_entries=1).entries == 0
    assert cache.clear().entries == 1


def test_a_hard_link_is_the_entry_or_it_is_damaged(tmp_path: Path) -> None:
    """A hard link to another call's entry is not this call's, and replacing it leaves the other one as it was."""
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    cached(2)
    here, there = place_of(cached, 1), place_of(cached, 2)
    os.makedirs(os.path.dirname(here), mode=0o700, exist_ok=True)
    os.link(there, here)
    with pytest.raises(Miss, match="another call"):
        cached.get(1)
    assert (cached(1), cached.get(1), cached.get(2)) == (2, 2, 4)


def test_a_hard_linked_claim_is_not_written_through(tmp_path: Path) -> None:
    """A claim file that is a second name of some other file leaves that file as it is."""
    notices.forget()
    cache = cache_at(tmp_path / "cache")
    cached = cache.cached(double)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    plant(place_of(cached, 1), b"")
    os.link(precious, place_of(cached, 1) + ".claim")
    assert cached(1) == 2
    assert precious.read_text() == "precious"


def test_a_replayed_entry_of_another_root(tmp_path: Path) -> None:
    """An entry of another cache with the same key is that call's result there as here, and nothing else's."""
    one, two = cache_at(tmp_path / "one"), cache_at(tmp_path / "two")
    one.cached(double)(1)
    data = Path(place_of(one.cached(double), 1)).read_bytes()
    plant(place_of(two.cached(double), 1), data)
    plant(place_of(two.cached(double), 2), data)
    assert two.cached(double).get(1) == 2
    with pytest.raises(Miss, match="another call"):
        two.cached(double).get(2)


AUDIT = """
from tests.support.processes import place_of
found = []
watching = [False]
def hook(event, arguments):
    if watching[0] and event == "pickle.find_class":
        found.append(arguments)
sys.addaudithook(hook)
sys.path.insert(0, os.environ["PYTHONPATH"])
def double(n):
    return 2 * n
cached = cache.cached(double)
cached(0)
say(place_of(cached, 1), cached._calls.of((1,), {}).address.function_id.hex())
while hear().strip():
    watching[0] = True
    value = cached(1)
    cached.cache_info()
    list(cache.entries()); cache.stats(); cache.verify()
    watching[0] = False
    say(value, len(found))
"""


def test_no_global_is_looked_up_for_planted_entries(tmp_path: Path) -> None:
    """The interpreter itself reports no `pickle.find_class` for any of them, and one for the control."""
    child = Talker(AUDIT, tmp_path / "cache")
    path, function_id = child.hear().split()
    address = address_in(cache_at(tmp_path / "cache"))._replace(
        key=bytes.fromhex(path[-40:]), function_id=bytes.fromhex(function_id)
    )
    for make in PLANTED.values():
        plant(path, make(address, tmp_path))
        child.say("go")
        assert child.hear() == "2 0"
        os.unlink(path)
    plant(path, canary_entry(address, tmp_path))
    child.say("go")
    assert child.hear().endswith("mode='w' encoding='UTF-8'> 1")
    child.say("")
    child.finish()
    assert (tmp_path / "executed").exists()


# The registry


def forged(facts: registry.FunctionVersion, folder: Path, ring: Keyring) -> None:
    registry.write(str(folder), facts, ring)


def test_forged_registry_files_are_ignored(tmp_path: Path) -> None:
    """A function's file of another key, or an edited or renamed one, gives no names."""
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    folder = Path(cache.flow.directory.functions)
    (file,) = folder.iterdir()
    good = file.read_text()
    forged(registry.describe("a" * 16, "evil:f"), folder, OTHER_RING)
    (folder / f"{'b' * 16}.json").write_text(good)
    for text in (
        good.replace("double", "evil"),
        good[:-5],
        "",
        "[]",
        "{}",
        "3",
        '{"key_id": "00", "tag": ""}',
        "[" * 10**5,
    ):
        file.write_text(text)
        assert registry.read_all(str(folder), RING) == {}
        assert "evil" not in repr(cache.stats())
    file.write_text(good)
    assert re.fullmatch(r".*:double", registry.read_all(str(folder), RING)[file.name[:16]].name)


def test_a_symlinked_registry_file_is_ignored(tmp_path: Path) -> None:
    """A registry file is read only where it is one."""
    forged(registry.describe("a" * 16, "module:f"), tmp_path / "there", RING)
    (tmp_path / "here").mkdir()
    names = [os.path.basename(registry._path("", letter * 16, KEY)) for letter in "abc"]
    (tmp_path / "here" / names[0]).symlink_to(tmp_path / "there" / names[0])
    os.mkfifo(tmp_path / "here" / names[1])
    os.mkdir(tmp_path / "here" / names[2])
    assert registry.read_all(str(tmp_path / "here"), RING) == {}
    assert list(registry.read_all(str(tmp_path / "there"), RING)) == ["a" * 16]


def test_the_key_id_tells_nothing_of_the_key() -> None:
    """The id is a digest in a context of its own, and different for different keys."""
    assert key_id(KEY) not in KEY
    assert len({key_id(bytes([n]) * 32) for n in range(256)}) == 256
    assert len(make_keyring([KEY, KEY]).keys) == 1
    assert "KEY" not in repr(KeySource(KEY, None))


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o711, 0o500, 0o720, 0o702])
def test_directories_that_others_can_write_to_are_refused(tmp_path: Path, mode: int) -> None:
    """Others may look into a directory of ours; the right to write is what makes it theirs."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    if not mode & 0o022:
        assert ownership.check_directory(str(tmp_path / "cache"))
        return
    with pytest.raises(DirectoryError) as caught:
        ownership.check_directory(str(tmp_path / "cache"))
    assert caught.value.reason == "writable by others"


@pytest.mark.parametrize("name", ["x" * 300, "loop/cache"])
def test_directories_that_cannot_be_looked_at_are_refused(tmp_path: Path, name: str) -> None:
    """The message has the system's word for it, and the error the path."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DirectoryError, match=r"cannot be used \((File name too long|Too many levels)") as caught:
        ownership.check_directory(str(tmp_path / name))
    assert (caught.value.path, caught.value.reason) == (str(tmp_path / name), "os")
    assert not ownership.check_directory(str(tmp_path / "nothing"))


@ROOT_USER
def test_directories_of_others_are_refused(tmp_path: Path) -> None:
    """A root that belongs to another user is refused when the cache is made, whatever its mode."""
    (tmp_path / "cache").mkdir(mode=0o700)
    os.chown(tmp_path / "cache", 65534, -1)
    with pytest.raises(DirectoryError, match="belongs to another user") as caught:
        cache_at(tmp_path / "cache")
    assert (caught.value.reason, caught.value.path) == ("foreign", str(tmp_path / "cache"))


# Keys and directories that a group shares, and systems that fail


def failing(number: int) -> Callable[..., Any]:
    def fail(*_arguments: object, **_options: object) -> Any:
        raise OSError(number, os.strerror(number)) if number else TimeoutError

    return fail


@ROOT_USER
def test_a_key_file_of_a_group(tmp_path: Path) -> None:
    """Its group may read it, whoever's it is, and nobody may do more; without `shared` neither."""
    path = tmp_path / "key"
    with_text(TEXT)(path)
    os.chown(path, 65534, 4321)
    path.chmod(0o640)
    assert keyring.read_key_file(str(path), shared=True) == [KEY]
    with pytest.raises(SigningKeyError, match="another user"):
        keyring.read_key_file(str(path))
    for bit in (0o020, 0o010, 0o004, 0o002, 0o001):
        path.chmod(0o640 | bit)
        with pytest.raises(SigningKeyError, match=f"run: chmod 640 {path}"):
            keyring.read_key_file(str(path), shared=True)
    os.chown(path, 0, 0)
    with pytest.raises(SigningKeyError, match=f"run: chmod 600 {path}"):
        keyring.read_key_file(str(path))


@ROOT_USER
def test_a_key_file_of_a_group_stays_one(tmp_path: Path) -> None:
    """Who replaces it leaves it to the group that could read it, and only then, and only where that is meant."""
    path = tmp_path / "folder" / "key"
    before = os.umask(0)
    try:
        keyring.write_key_file(str(path), [OLD])
    finally:
        os.umask(before)
    assert mode_of(path.parent) == 0o700
    os.chown(path, -1, 4321)
    for mode, shared, after, group in ((0o640, True, 0o640, 4321), (0o600, True, 0o600, 0), (0o640, False, 0o600, 0)):
        path.chmod(mode)
        only = {"shared": True} if shared else {}
        assert keyring.write_key_file(str(path), [KEY, OLD], replace=True, **only)
        assert (mode_of(path), os.stat(path).st_uid, os.stat(path).st_gid) == (after, 0, group)
        assert keyring.parse_keys(path.read_text().split(), "") == [KEY, OLD]
        os.chown(path, -1, 4321)
    assert os.listdir(path.parent) == ["key"]


def test_a_shared_directory_needs_a_key_that_was_given(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By argument, variable or file; what it signs counts whoever's file it is. The user's own is none of those."""
    assert KeySource([KEY], None, shared=True).keyring == make_keyring([KEY], any_owner=True)
    assert KeySource([KEY], None).keyring == make_keyring([KEY])
    assert make_keyring([KEY], any_owner=True).any_owner
    assert not make_keyring([KEY]).any_owner
    assert not Keyring(b"", {}).any_owner
    with_text(TEXT)(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    assert KeySource(None, str(tmp_path / "key"), shared=True).keyring == make_keyring([KEY], any_owner=True)
    monkeypatch.setenv("PCACHE_KEY", TEXT)
    assert KeySource(None, None, shared=True).keyring == make_keyring([KEY], any_owner=True)
    monkeypatch.delenv("PCACHE_KEY")
    keyring.write_key_file(keyring.default_key_path() or "", [KEY])
    assert KeySource(None, None).keyring == make_keyring([KEY])
    with pytest.raises(SigningKeyError, match=r"a shared cache directory .* `pcache key new --print`") as caught:
        KeySource(None, None, shared=True)
    assert caught.value.source == "shared"


def test_key_files_close_nothing_else(tmp_path: Path) -> None:
    """The descriptor next to theirs, which is somebody else's, stays open."""
    for act in (
        lambda: keyring.write_key_file(str(tmp_path / "key"), [KEY]),
        lambda: keyring.read_key_file(str(tmp_path / "key")),
    ):
        first, second = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
        os.close(first)
        act()
        os.fstat(second)
        os.close(second)


def test_directories_of_a_group(tmp_path: Path) -> None:
    """A shared one may be anybody's and its group's to write, not everybody's."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 65534, 4321)
    for mode, fits in ((0o2770, True), (0o2775, True), (0o2771, True), (0o2772, False), (0o777, False)):
        folder.chmod(mode)
        if fits:
            assert ownership.check_directory(str(folder), shared=True)
        else:
            with pytest.raises(DirectoryError, match="written by others"):
                ownership.check_directory(str(folder), shared=True)


def test_directories_that_do_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails for a moment says nothing of a directory; a timeout is no word of the disk's at all."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing(errno.EIO))
        with pytest.raises(DirectoryError, match=r"the cache directory .* cannot be used \(Input/output") as caught:
            ownership.check_directory(str(tmp_path))
        assert (caught.value.path, caught.value.reason) == (str(tmp_path), "unknown")
        patch.setattr(os, "lstat", failing(0))
        with pytest.raises(TimeoutError):
            ownership.check_directory(str(tmp_path))


def test_a_key_that_cannot_be_made(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full says so, and may have room later; a timeout goes on; one that is there is read."""
    monkeypatch.setattr(os, "link", failing(errno.ENOSPC))
    with pytest.raises(SigningKeyError, match="No space left"):
        KeySource(None, None).ensure()
    monkeypatch.setattr(os, "link", failing(0))
    with pytest.raises(TimeoutError):
        KeySource(None, None).ensure()
    path = keyring.default_key_path() or ""

    def made_meanwhile(*_paths: str) -> None:
        Path(path).touch(0o600)
        Path(path).write_text(TEXT)
        failing(errno.ENOSPC)()

    monkeypatch.setattr(os, "link", made_meanwhile)
    assert KeySource(None, None).ensure() == make_keyring([KEY])


def test_a_home_without_second_names(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system has no hard links the key is made all the same, once, and whole."""
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    ring = KeySource(None, None).ensure()
    path = keyring.default_key_path() or ""
    assert not keyring.write_key_file(path, [OLD])
    assert KeySource(None, None).look() == ring
    assert (os.listdir(os.path.dirname(path)), mode_of(Path(path))) == (["key"], 0o600)


def test_what_a_killed_writer_of_keys_leaves_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name; and neither reading nor removing takes a timeout for an answer."""
    names: list[str] = []
    monkeypatch.setattr(os, "link", lambda source, _path: names.append(os.path.basename(source)))
    keyring.write_key_file(str(tmp_path / "key"), [KEY])
    (name,) = names
    assert keyring.UNFINISHED.fullmatch(name.removeprefix("key"))
    assert not any(map(keyring.UNFINISHED.fullmatch, ("", ".1", ".pub", ".1.0badcafe0", "x.1.0badcafe")))
    monkeypatch.setattr(os, "unlink", failing(0))
    with pytest.raises(TimeoutError):
        keyring.write_key_file(str(tmp_path / "key"), [KEY])
    monkeypatch.setattr(os, "open", failing(0))
    with pytest.raises(TimeoutError):
        keyring.read_key_file(str(tmp_path / "key"))
