"""The right to compute one key: one holder, gone with its holder, and no litter."""

from __future__ import annotations

import errno
import io
import json
import mmap
import os
import re
import signal
import threading
import time
from contextvars import Context
from pathlib import Path
from types import MappingProxyType

import pytest

from pcache.runtime.singleflight import Flight, Flights, computing
from pcache.signing.keyring import make_keyring
from pcache.storage import claim
from pcache.storage import claim_owner as owners
from pcache.storage.claim import remove_leftover, try_claim
from pcache.storage.claim_owner import MAX_OWNER, owner_record, read_owner
from pcache.storage.drafts import PrivateClaim, unlink_if_there
from pcache.storage.store import DURABLE
from pcache.system.permissions import Access
from tests.support.processes import OTHER_RING, RING, Talker, claims_below, run
from tests.support.running import count_descriptors

OWNER = owner_record("module:f", RING)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "entry")


def publish(held: claim.Claim, *pieces: bytes, replaces_nothing: bool = False) -> int:
    return held.publish(pieces, durable=False, replaces_nothing=replaces_nothing, mtime_ns=1_700_000_000_000_000_000)


def test_one_holder(path: str) -> None:
    """While one holds a claim another gets none; after publishing or abandoning it is free, and no file is left."""
    held = try_claim(path, OWNER)
    assert held is not None
    assert try_claim(path, OWNER) is None
    held.abandon()
    held = try_claim(path, OWNER)
    assert held is not None
    assert publish(held, b"one", b"", b"two") == 6
    assert held.fd == -1
    assert Path(path).read_bytes() == b"onetwo"
    again = try_claim(path, OWNER)
    assert again is not None
    again.abandon()
    again.abandon()
    assert os.listdir(Path(path).parent) == ["entry"]


@pytest.mark.parametrize("replaces_nothing", [True, False])
def test_publishing_replaces_what_is_there(path: str, replaces_nothing: bool) -> None:
    """An entry that stands there is replaced; who has the old one open goes on reading it."""
    Path(path).write_bytes(b"old")
    with open(path, "rb") as reader:
        held = try_claim(path, OWNER)
        assert held is not None
        publish(held, b"new", replaces_nothing=replaces_nothing)
        assert reader.read() == b"old"
    assert Path(path).read_bytes() == b"new"
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Path(path).stat().st_mtime_ns == 1_700_000_000_000_000_000


def test_what_cannot_be_replaced(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rename fails, the entry of before is still there, unless it was said to be worth nothing."""
    monkeypatch.setattr(os, "rename", lambda *_: os.stat("/nowhere"))
    for replaces_nothing in (False, True):
        Path(path).write_bytes(b"old")
        held = try_claim(path, OWNER)
        assert held is not None
        with pytest.raises(FileNotFoundError):
            publish(held, b"new", replaces_nothing=replaces_nothing)
        assert (os.path.exists(path), held.fd >= 0) == (not replaces_nothing, True)
        held.abandon()


def test_what_is_dear_to_compute() -> None:
    """A second of computing, as docs/reliability.md says, is worth waiting for the disk."""
    assert DURABLE == 1_000_000_000


def test_durable_entries_are_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system is asked to write what was dear to compute, before its name is there, and nothing else."""
    asked = []
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append((os.fstat(fd).st_size, os.path.exists(path))))
    for durable in (False, True):
        held = try_claim(path, OWNER)
        assert held is not None
        assert held.publish([b"entry"], durable=durable, replaces_nothing=True, mtime_ns=0) == 5
        assert asked == [(5, True)] * durable


def test_pieces_of_any_kind(path: str) -> None:
    """Bytes, arrays of other item sizes and empty ones are written as the bytes that they are."""
    held = try_claim(path, OWNER)
    assert held is not None
    pieces = [b"a", memoryview(bytearray(b"bb")), memoryview(b"cccc").cast("I"), memoryview(b""), b"d"]
    assert held.publish(pieces, durable=True, replaces_nothing=True, mtime_ns=1_700_000_000_000_000_000) == 8
    assert Path(path).read_bytes() == b"abbccccd"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lost_claim_publishes_nothing(path: str, replaced: bool) -> None:
    """Whoever finds the claim file removed, or another in its place, leaves what is there alone."""
    held = try_claim(path, OWNER)
    assert held is not None
    os.unlink(held.path)
    other = try_claim(path, OWNER) if replaced else None
    assert publish(held, b"lost") == 0
    assert held.fd == -1
    assert not os.path.exists(path)
    if other is not None:
        assert publish(other, b"won") == 3
        assert Path(path).read_bytes() == b"won"
    held.abandon()
    assert claims_below(Path(path).parent) == []


def test_abandoning_a_lost_claim(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of somebody else stays, and a file that cannot be removed is no error; the lock is let go."""
    held = try_claim(path, OWNER)
    assert held is not None
    os.unlink(held.path)
    other = try_claim(path, OWNER)
    assert other is not None
    held.abandon()
    assert (held.fd, claims_below(Path(path).parent)) == (-1, ["entry.claim"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda _: os.mkdir(path + ".claim"))
        other.abandon()
    assert (other.fd, claims_below(Path(path).parent)) == (-1, ["entry.claim"])


@pytest.mark.parametrize(
    ("error", "left"), [(TimeoutError(), []), (KeyboardInterrupt(), []), (OSError(errno.EIO, "bad"), ["entry.claim"])]
)
def test_an_interrupt_while_a_claim_is_taken(
    path: str, monkeypatch: pytest.MonkeyPatch, error: BaseException, left: list[str]
) -> None:
    """Neither a file nor a descriptor is left of it; what the system refuses to write it may refuse to remove."""

    def interrupted(*_: object) -> None:
        raise error

    before = count_descriptors()
    monkeypatch.setattr(owners.Record, "sealed", interrupted)
    for take in (try_claim, PrivateClaim):
        with pytest.raises(type(error)):
            take(path, OWNER)
    assert (claims_below(Path(path).parent), len(os.listdir("/proc/self/fd"))) == (left, before)


def test_claims_of_a_group(path: str) -> None:
    """In a shared directory the files of claims are the group's."""
    for take in (try_claim, PrivateClaim):
        held = take(path, OWNER, Access(shared=True))
        assert held is not None
        assert os.stat(held.path).st_mode & 0o777 == 0o660
        held.abandon()


def test_a_timeout_while_a_claim_is_abandoned(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler raises is passed on, and the lock is let go all the same."""

    def interrupted(_: str) -> None:
        raise TimeoutError

    held = try_claim(path, OWNER)
    assert held is not None
    monkeypatch.setattr(os, "unlink", interrupted)
    with pytest.raises(TimeoutError), held:
        held.abandon()
    assert held.fd == -1


def test_a_leftover_is_taken_over(path: str) -> None:
    """A claim file that nobody holds is no obstacle, and says who holds it from then on."""
    Path(path + ".claim").write_bytes(os.urandom(5000))
    held = try_claim(path, OWNER)
    assert held is not None
    owner = read_owner(path, RING)
    assert owner is not None
    assert (owner.pid, owner.call, owner.is_dead()) == (os.getpid(), "module:f", False)
    assert publish(held, b"entry") == 5
    assert Path(path).read_bytes() == b"entry"


def test_a_leftover_is_emptied(path: str) -> None:
    """Nothing of it is left in the record that is written into it."""
    for content in (b"", b"theirs" * 1000):
        Path(path + ".claim").write_bytes(content)
        held = try_claim(path, OWNER)
        assert held is not None
        assert Path(path + ".claim").read_bytes() == OWNER.sealed(path)
        held.abandon()


def test_a_claim_of_two_names_is_replaced(path: str) -> None:
    """What else has the other name stays as it is."""
    Path(path + ".claim").write_bytes(b"precious")
    os.link(path + ".claim", path + ".other")
    held = try_claim(path, OWNER)
    assert held is not None
    assert (Path(path + ".other").read_bytes(), Path(path + ".claim").read_bytes()) == (b"precious", OWNER.sealed(path))
    held.abandon()


def test_a_claim_that_is_taken_anew_while_it_is_published(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was removed just before the renaming, and another took it just after that: it is lost, and that is all."""
    held, others, rename = try_claim(path, OWNER), [], os.rename
    assert held is not None

    def overtaken(old: str, new: str) -> None:
        os.unlink(old)
        try:
            rename(old, new)
        finally:
            others.append(try_claim(path, OWNER))

    monkeypatch.setattr(os, "rename", overtaken)
    assert held.publish([b"late"], durable=False, replaces_nothing=False, mtime_ns=0) == 0
    assert (held.lost, held.closed, os.path.exists(path)) == (True, True, False)
    (other,) = others
    assert other is not None
    assert other.abandon()


def test_a_claim_that_is_dropped(path: str) -> None:
    """A claim that nobody ended is let go; its file stays, as a leftover that the next call takes over."""
    before = count_descriptors()
    held = try_claim(path, OWNER)
    assert held is not None
    del held
    assert len(os.listdir("/proc/self/fd")) == before
    again = try_claim(path, OWNER)
    assert again is not None
    again.abandon()
    assert claims_below(Path(path).parent) == []


WITHOUT_STREAMS = """
from pcache.storage.claim import PrivateClaim, try_claim
from pcache.storage.claim_owner import owner_record
from tests.support.processes import RING
os.close(0)
for take in (try_claim, PrivateClaim):
    held = take(sys.argv[2], owner_record("module:f", RING))
    number = held.fd
    size = held.publish([b"entry"], durable=False, replaces_nothing=False, mtime_ns=0)
    held = take(sys.argv[2], owner_record("module:f", RING))
    held.abandon()
    say(number, size, held.fd, *os.listdir(os.path.dirname(sys.argv[2])))
"""


def test_a_process_without_standard_input(tmp_path: Path) -> None:
    """A daemon's first descriptor is 0, which is as good as any."""
    (tmp_path / "shard").mkdir()
    found = run(WITHOUT_STREAMS, tmp_path / "cache", tmp_path / "shard" / "entry")
    assert found == ["0 5 -1 entry", "-1 5 -1 entry"]


def test_pieces_that_the_system_takes_in_parts(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write is followed by the rest, at its place."""
    write = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, at: write(fd, [pieces[0][:3]], at))
    held = try_claim(path, OWNER)
    assert held is not None
    items = memoryview(b"abcdefghijkl").cast("I")  # three, as many as the first write has bytes
    assert publish(held, b"0123456789", items, b"xyz") == 25  # type: ignore[arg-type]
    assert Path(path).read_bytes() == b"0123456789abcdefghijklxyz"


def test_remove_leftover(path: str) -> None:
    """A leftover is removed, a held claim is not."""
    held = try_claim(path, OWNER)
    assert held is not None
    assert not remove_leftover(held.path)
    held.release()
    assert os.path.exists(held.path)
    assert remove_leftover(held.path)
    assert remove_leftover(held.path)
    assert os.listdir(Path(path).parent) == []


def test_a_leftover_that_is_replaced_meanwhile(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking it the file may have become another's, which stays; nothing is kept open."""
    Path(path + ".claim").write_bytes(b"")
    before, lock = count_descriptors(), claim.locking()

    def slow(fd: int, *, blocking: bool) -> bool:
        os.rename(path + ".claim", path)
        Path(path + ".claim").write_bytes(b"another's")
        return lock(fd, blocking=blocking)

    with monkeypatch.context() as patch:
        patch.setattr(claim, "locking", lambda: slow)
        assert remove_leftover(path + ".claim")
    assert Path(path + ".claim").read_bytes() == b"another's"
    assert remove_leftover(path + ".claim")
    assert (len(os.listdir("/proc/self/fd")), claims_below(Path(path).parent)) == (before, [])


def test_a_claim_that_is_published_meanwhile(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever locks what has just become an entry takes another file; removing says whether there was one."""
    lock, files = claim.locking(), [b"entry", b""]

    def slow(fd: int, *, blocking: bool) -> bool:
        if content := files.pop(0):
            os.write(fd, content)
            os.rename(path + ".claim", path)
        return lock(fd, blocking=blocking)

    before = count_descriptors()
    monkeypatch.setattr(claim, "locking", lambda: slow)
    held = try_claim(path, OWNER)
    assert held is not None
    assert held.is_in_place()
    held.abandon()
    assert (Path(path).read_bytes(), len(os.listdir("/proc/self/fd"))) == (b"entry", before)
    assert [unlink_if_there(path), unlink_if_there(path)] == [True, False]


def test_a_link_is_no_claim(path: str) -> None:
    """What a link in a claim's place points to is not even opened, and the link goes."""
    Path(path).write_bytes(OWNER.sealed(path))
    os.symlink(path, path + ".claim")
    assert read_owner(path, RING) is None
    assert remove_leftover(path + ".claim")
    assert Path(path).read_bytes() == OWNER.sealed(path)
    assert not os.path.lexists(path + ".claim")


def claim_and_publish(path: str) -> None:
    held = try_claim(path, OWNER)
    assert held is not None
    try:
        publish(held, b"entry")
    finally:
        held.abandon()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("elsewhere", path)])
def test_what_is_no_claim_file(path: str, make: object) -> None:
    """A directory, a link or a FIFO in a claim's place goes, and nothing hangs or is made elsewhere."""
    make(path + ".claim")  # type: ignore[operator]
    claim_and_publish(path)
    assert Path(path).read_bytes() == b"entry"
    assert not os.path.exists(Path(path).with_name("elsewhere"))


def test_private_claims_exclude_nobody(path: str) -> None:
    """On a network file system each writer has a file of its own, and the last rename wins."""
    umask = os.umask(0)
    claims = [PrivateClaim(path, OWNER) for _ in range(3)]
    os.umask(umask)
    assert len({held.path for held in claims}) == 3
    assert all(re.fullmatch(r"entry\.claim-[0-9a-f]{8}", os.path.basename(held.path)) for held in claims)
    assert {os.stat(held.path).st_mode & 0o777 for held in claims} == {0o600}
    for number, held in enumerate(claims):
        publish(held, b"%d" % number)
    assert Path(path).read_bytes() == b"2"
    assert os.listdir(Path(path).parent) == ["entry"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
@pytest.mark.parametrize("theirs", [b"", b"a record"], ids=["nothing", "a record"])
def test_files_that_cannot_be_locked(path: str, monkeypatch: pytest.MonkeyPatch, number: int, theirs: bytes) -> None:
    """Where there are no locks a claim excludes nobody, and leaves that of another alone; other failures are told."""

    def refuse(_: int, *, blocking: bool) -> bool:
        raise OSError(number, "no locks")

    if theirs:
        Path(path + ".claim").write_bytes(theirs)
    before = count_descriptors()
    monkeypatch.setattr(claim, "locking", lambda: refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match="no locks"):
            try_claim(path, OWNER)
    else:
        held = try_claim(path, OWNER, Access(shared=True))
        assert held is not None
        assert os.stat(held.path).st_mode & 0o777 == 0o660
        assert re.fullmatch(r".*\.claim-[0-9a-f]{8}", held.path)
        assert os.path.exists(path + ".claim") == bool(theirs)
        assert publish(held, b"entry") == 5
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_stands_in_the_place_of_an_unlocked_claim(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of another that came meanwhile stays; one that cannot be removed is no error."""

    def replace(_: int, *, blocking: bool) -> bool:
        os.rename(path + ".claim", path + ".old")
        Path(path + ".claim").touch()
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(claim, "locking", lambda: replace)
    assert try_claim(path, OWNER) is not None
    assert os.path.exists(path + ".claim")
    monkeypatch.setattr(claim.Claim, "is_in_place", lambda _: os.listdir("/nowhere"))
    assert try_claim(path, OWNER) is not None


def test_a_record_that_can_be_neither_written_nor_removed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the two failures is told."""
    held = try_claim(path, OWNER)
    assert held is not None
    monkeypatch.setattr(os, "write", lambda *_: os.readlink("/"))
    monkeypatch.setattr(os, "unlink", lambda _: os.stat("/nowhere"))
    with pytest.raises(OSError, match="Invalid argument"):
        held.sign(OWNER)
    held.release()


def test_nothing_else_is_closed(path: str) -> None:
    """A file that is open under the next number stays so."""
    for call in (lambda: remove_leftover(path + ".claim"), lambda: read_owner(path, RING)):
        Path(path + ".claim").write_bytes(OWNER.sealed(path))
        first, second = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)
        os.close(first)
        assert call()
        os.close(second)


def test_a_private_claim_is_neither_open_nor_locked(path: str) -> None:
    """A thread may have a thousand of them; a sweep leaves them alone as long as their process lives."""
    before = count_descriptors()
    one, other = (PrivateClaim(path, OWNER) for _ in range(2))
    assert len(os.listdir("/proc/self/fd")) == before
    assert not remove_leftover(one.path, RING)
    assert (publish(one, b"one"), publish(other, b"other" * 100)) == (3, 500)
    assert Path(path).read_bytes() == b"other" * 100
    assert os.listdir(Path(path).parent) == ["entry"]


@pytest.mark.parametrize("swap", ["", "file", "link", "hard link"])
def test_a_private_claim_that_is_gone(path: str, tmp_path: Path, swap: str) -> None:
    """Removing it is how its owner is told that the result is not wanted; nothing is written into what stands there."""
    Path(path + ".precious").write_bytes(b"precious")
    held = PrivateClaim(path, OWNER)
    os.unlink(held.path)
    if swap == "file":
        Path(held.path).write_bytes(b"precious")
    elif swap:
        (os.symlink if swap == "link" else os.link)(path + ".precious", held.path)
    assert (publish(held, b"entry"), held.lost, os.path.exists(path)) == (0, True, False)
    assert Path(path + ".precious").read_bytes() == b"precious"
    assert not swap or Path(held.path).read_bytes() == b"precious"


def test_what_was_published_never_changes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks are known to one host only two hold one claim: what one of them stores the other one leaves alone."""
    monkeypatch.setattr(claim, "locking", lambda: lambda *_, **__: True)
    first, second = try_claim(path, OWNER), try_claim(path, OWNER)
    assert isinstance(first, claim.Claim)
    assert isinstance(second, claim.Claim)
    assert first.identity != second.identity  # only who made a file writes into it
    assert publish(second, b"second" * 1000) == 6000
    with open(path, "rb") as reader, mmap.mmap(reader.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        first.amend(["something else"])
        assert publish(first, b"first" * 1000) == 0
        first.abandon()
        assert mapped[:] == b"second" * 1000
    assert Path(path).read_bytes() == b"second" * 1000  # the claim was taken over: the first one stores nothing


def test_a_claim_says_what_its_owner_waits_for(path: str) -> None:
    """As long as there is room in its record; since when it computes stays."""
    held = try_claim(path, OWNER)
    assert isinstance(held, claim.Claim)
    room = MAX_OWNER - len(OWNER.sealed(path, [""]))
    for awaits, said in (("", ""), ("a" * room, "a" * room), ("b" * (room + 1), "a" * room), ("c", "c")):
        held.amend([awaits])
        owner = read_owner(path, RING)
        assert owner is not None
        assert (owner.awaits, owner.call) == ((said,), "module:f")
    held.amend([])
    assert Path(path + ".claim").read_bytes() == OWNER.sealed(path)
    held.amend(["a" * 1000])
    assert publish(held, b"x" * 500) == 500
    assert Path(path).read_bytes() == b"x" * 500


def test_the_claim_file_of_another_user(path: str) -> None:
    """Only the owner of a file may set its times: it is replaced."""
    Path(path + ".claim").write_bytes(b"theirs")
    if os.getuid():
        pytest.skip("only root makes files of other users")
    os.chown(path + ".claim", 65534, 65534)
    held = try_claim(path, OWNER)
    assert held is not None
    assert (os.stat(path + ".claim").st_uid, Path(path + ".claim").read_bytes()) == (0, OWNER.sealed(path))
    held.abandon()


def test_a_claim_that_is_never_in_place(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system does not show what was just opened, a private one is taken after a hundred tries."""
    looks = []
    monkeypatch.setattr(claim.Claim, "is_in_place", lambda held: bool(looks.append(held.path)))
    held = try_claim(path, OWNER, Access(shared=True))
    assert held is not None
    assert held.path.startswith(path + ".claim-")
    assert os.stat(held.path).st_mode & 0o777 == 0o660
    assert looks == [path + ".claim"] * 100
    held.abandon()


HOLDER = """
from pcache.storage.claim import try_claim
from pcache.storage.claim_owner import owner_record
from tests.support.processes import RING
held = try_claim(sys.argv[2], owner_record("module:f", RING))
say(held is not None)
hear()
"""


def test_a_killed_holder_frees_its_claim(tmp_path: Path, path: str) -> None:
    """The lock ends with its process; the file tells that its owner is dead, and is taken over at once."""
    holder = Talker(HOLDER, tmp_path / "cache", path)
    assert holder.hear() == "True"
    assert try_claim(path, OWNER) is None
    owner = read_owner(path, RING)
    assert owner is not None
    assert (owner.pid, owner.is_dead()) == (holder.pid, False)
    holder.kill()
    assert owner.is_dead()
    held = try_claim(path, OWNER)
    assert held is not None
    held.abandon()


FULL = """
import resource
from pcache.storage.claim import PrivateClaim, try_claim
from pcache.storage.claim_owner import owner_record
from tests.support.processes import RING
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
before, kept = len(os.listdir("/proc/self/fd")), []
for take in (try_claim, PrivateClaim):
    try:
        take(sys.argv[2], owner_record("module:f", RING))
    except OSError as error:
        kept.append(error)  # with the frames that it came through
        say(error.strerror)
say(len(os.listdir("/proc/self/fd")) - before, *os.listdir(os.path.dirname(sys.argv[2])))
"""


def test_a_full_disk_leaves_neither_files_nor_descriptors(tmp_path: Path) -> None:
    """A claim whose record cannot be written is not taken, not left behind and not kept open."""
    (tmp_path / "shard").mkdir()
    assert run(FULL, tmp_path / "cache", tmp_path / "shard" / "entry") == ["File too large"] * 2 + ["0"]


def record_of(path: str, **changes: object) -> bytes:
    """An authentic record with changes."""
    body = json.loads(OWNER.body + b"}") | changes
    return owners.Record(json.dumps(body).encode()[:-1], RING.signing_key).sealed(path)


SEALED = OWNER.sealed("entry")
RECORDS = [b"", b"{", b"[" * 4096, b'{"a":' * 800, SEALED[32:], SEALED[:-1], SEALED + b" ", b"\0" * 32 + SEALED[32:]]
RECORDS += [OWNER.sealed("other"), OWNER._replace(key=bytes(32)).sealed("entry"), SEALED + b" " * MAX_OWNER]


@pytest.mark.parametrize("content", RECORDS)
def test_a_record_that_nobody_vouches_for_says_nothing(path: str, content: bytes) -> None:
    """It may be half written, an entry already, somebody's joke, or copied from another claim."""
    Path(path + ".claim").write_bytes(content)
    assert read_owner(path, RING) is None
    Path(path + ".claim").write_bytes(SEALED)
    assert read_owner(path, OTHER_RING) is read_owner(path, None) is None
    owner = read_owner(path, make_keyring([bytes(32), *RING.keys.values()]))
    assert owner is not None
    assert owner.is_alive()


@pytest.mark.parametrize("changes", [{"pid": "x"}, {"pid": []}, {"thread": None}, {"awaits": 1}])
def test_records_of_another_release(path: str, changes: dict[str, object]) -> None:
    """An authentic record with other things in it says nothing; a directory holds no record."""
    Path(path + ".claim").write_bytes(record_of(path, **changes))
    before = count_descriptors()
    assert read_owner(path, RING) is None
    os.unlink(path + ".claim")
    os.mkdir(path + ".claim")
    assert read_owner(path, RING) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_known_to_be_left_over(path: str) -> None:
    """Only the claim of a process that is gone; one that says nothing may be anybody's."""
    assert owners.owner_of(path + ".claim", RING) is None
    start = owners._start_of(os.getpid())
    for suffix in (".claim", ".claim-01234567"):
        for began, dead in ((start, False), (start + 1, True)):
            Path(path + suffix).write_bytes(record_of(path, start=began))
            found = owners.owner_of(path + suffix, RING)
            assert (found is not None and found.is_dead()) is dead


def test_a_process_is_known_by_its_start(tmp_path: Path) -> None:
    """The start is the kernel's, in ticks since boot; the host's name says what numbers and times belong to."""
    tick = 1 / os.sysconf("SC_CLK_TCK")
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    child = Talker("say(os.getpid())\nhear()", tmp_path / "cache")
    child.hear()
    start = owners._start_of(child.pid) * tick
    assert before - tick <= start <= time.clock_gettime(time.CLOCK_BOOTTIME) + tick
    child.finish()
    assert owners._start_of(child.pid) == 0
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespaces = "/".join(os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "time"))
    assert owners._host() == f"{os.uname().nodename}/{boot}/{namespaces}"


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system shows no processes, or those of others, nobody is known to be gone, nor to live."""
    readlink = os.readlink
    for content in (b"1 (odd) S 1", b"1 (odd) S" + 30 * b" x"):
        with monkeypatch.context() as patch:
            patch.setattr(owners, "open", lambda *_, content=content: io.BytesIO(content), raising=False)
            assert owners._start_of(2**22 + 1) == 1
    with monkeypatch.context() as patch:
        patch.setattr(owners, "open", lambda *_: readlink("/nowhere"), raising=False)
        assert (owners._start_of(os.getpid()), owners._start_of(2**22 + 1)) == (1, 0)
        assert owners._host.__wrapped__() == f"{os.uname().nodename}/?"
    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", lambda path: "1" if path == "/proc/self" else readlink(path))
        hidden = owners.Owner(owners._host.__wrapped__(), 2**22 + 1, 5, "")
        patch.setattr(owners, "_host", lambda: hidden.host)
        assert (hidden.is_here(), hidden.is_dead(), hidden.is_alive(), hidden.is_stopped()) == (False,) * 4


def test_owners(path: str) -> None:
    """An owner is dead when its process is gone or another has its number; on another host nobody can tell."""
    Path(path + ".claim").write_bytes(SEALED)
    owner = read_owner(path, RING)
    assert owner is not None
    assert abs(owner.since_ns - time.time_ns()) < 3600 * 10**9
    assert (owner.thread, owner.is_dead(), owner.is_alive(), owner.is_stopped()) == (
        threading.get_native_id(),
        False,
        True,
        False,
    )
    assert owner._replace(start=owner.start + 1).is_dead()
    assert owner._replace(pid=2**22 + 1).is_dead()
    assert not owner._replace(pid=2**22 + 1, host="elsewhere/1").is_dead()
    assert not owners.Owner(owner.host, 1, owners._start_of(1), "").is_dead()


def test_a_stopped_owner(tmp_path: Path, path: str) -> None:
    """A process that was stopped lives, and is known to be stopped."""
    child = Talker("say(os.getpid())\nhear()", tmp_path / "cache")
    child.hear()
    owner = owners.Owner(owners._host(), child.pid, owners._start_of(child.pid), "")
    assert not owner.is_stopped()
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert (owner.is_stopped(), owner.is_alive(), owner.is_dead()) == (True, True, False)
    child.kill()


FORGETS = """
from pcache.storage import claim_owner
before = claim_owner._host(), claim_owner._body("f", os.getpid())
if os.fork() == 0:
    say(claim_owner._host.cache_info().currsize, claim_owner._body.cache_info().currsize)
    os._exit(0)
os.wait()
"""


def test_nothing_is_remembered_across_a_fork(tmp_path: Path) -> None:
    """A child may be in other namespaces than its parent, where other numbers hold."""
    assert run(FORGETS, tmp_path / "cache") == ["0 0"]


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    """An owner that ended and was not waited for holds nothing any more."""
    child = Talker("say(os.getpid())\nhear()", tmp_path / "cache")
    child.hear()
    start = owners._start_of(child.pid)
    os.kill(child.pid, 9)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start > 1
    assert owners._start_of(child.pid) == 0
    child.kill()


FORK = """
from pcache.storage.claim import try_claim
from pcache.runtime.singleflight import Flight, flights
from pcache.storage.claim_owner import owner_record
from tests.support.processes import RING
held = try_claim(sys.argv[2], owner_record("module:f", RING))
def leads():
    flight = Flight(sys.argv[2], b"")
    return flight.busy.acquire() and flights.enter(sys.argv[2], flight) is flight
leads()
child = os.fork()
if child == 0:
    size = held.publish([b"child"], durable=False, replaces_nothing=False, mtime_ns=0)
    say("child", held.fd, size, leads())
    held.abandon()
    os._exit(0)
os.waitpid(child, 0)
say("parent", try_claim(sys.argv[2], owner_record("module:f", RING)), leads())
say(held.publish([b"parent"], durable=False, replaces_nothing=False, mtime_ns=0))
"""


def test_a_fork_leaves_the_claim_to_the_parent(tmp_path: Path, path: str) -> None:
    """A child holds nothing, can publish nothing and frees nothing of its parent's."""
    assert run(FORK, tmp_path / "cache", path) == ["child -1 0 True", "parent None False", "6"]
    assert Path(path).read_bytes() == b"parent"
    assert os.listdir(Path(path).parent) == ["entry"]


RACER = """
from pcache.storage.claim import try_claim
from pcache.storage.claim_owner import owner_record
from tests.support.processes import RING
record = owner_record("module:f", RING)
say("ready")
hear()
inside = sys.argv[2] + ".inside"
for turn in range(300):
    held = try_claim(sys.argv[2], record)
    if held is None:
        continue
    try:
        os.mkdir(inside)  # fails when another holder is inside
    except FileExistsError:
        say("two holders")
    os.rmdir(inside)
    if turn % 3:
        held.abandon()
    else:
        held.publish([record.body], durable=False, replaces_nothing=bool(turn % 2), mtime_ns=0)
say("done")
"""


def test_never_two_holders(tmp_path: Path, path: str) -> None:
    """Six processes that take, publish and abandon one claim are never two inside of it, and leave none."""
    racers = [Talker(RACER, tmp_path / "cache", path) for _ in range(6)]
    for racer in racers:
        racer.hear()
    for racer in racers:
        racer.say()
    assert [racer.finish() for racer in racers] == [["done"]] * 6
    assert claims_below(tmp_path) == []


def test_flights() -> None:
    """The first thread leads, the others get its flight, and after it left the next one leads."""
    flights, first, second = Flights(), Flight("path", b""), Flight("path", b"")
    assert (first.place, first.stored, first.thread) == ("path", True, threading.get_ident())
    assert Context().run(computing.get) == MappingProxyType({}) != {"path": first}
    with pytest.raises(TypeError):
        Context().run(computing.get)["path"] = first  # type: ignore[index]
    assert flights.notes.acquire(blocking=False)
    with first.busy:
        assert flights.enter("path", first) is first
        assert flights.enter("path", second) is first
        assert flights.enter("other", second) is second
        assert not first.over
        assert not first.wait(0)
        flights.leave("path", second)
        assert flights.enter("path", second) is first
        flights.leave("path", first)
        assert flights.enter("path", second) is second
    assert flights.get("path") is flights.get("other") is second
    assert flights.get("third") is None
    assert flights.all() == [second, second]
    assert [flight.over for flight in (first, second)] == [True, True]
    assert (first.claim, first.awaits, first.turns, first.native_id) == (None, [], [], threading.get_native_id())
    assert first.wait(0)
    assert first.wait(None)  # as many may wait as like to


def test_a_flight_whose_leader_could_not_leave() -> None:
    """A flight that nobody keeps busy any more is in nobody's way."""
    flights, first, second = Flights(), Flight("path", b""), Flight("path", b"")
    with first.busy:
        flights.enter("path", first)
    assert flights.enter("path", second) is second


def test_waiting_without_a_limit() -> None:
    """A thread that waits for another one without a limit waits for its end."""
    flight = Flight("path", b"")
    flight.busy.acquire()
    threading.Timer(0.05, flight.busy.release).start()
    assert flight.wait(None)


def test_a_flight_of_before_a_fork_ends_no_later_one() -> None:
    """A flight that was forgotten by a reset does not end the one that took its place."""
    flights, old, new = Flights(), Flight("path", b""), Flight("path", b"")
    with old.busy, new.busy:
        flights.enter("path", old)
        flights.reset()
        assert flights.enter("path", new) is new
        flights.leave("path", old)
        assert flights.enter("path", old) is new


def test_threads_lead_one_at_a_time() -> None:
    """Of eight threads that enter together one leads."""
    flights, barrier, leaders = Flights(), threading.Barrier(8), []

    def enter() -> None:
        flight = Flight("path", b"")
        with flight.busy:
            barrier.wait()
            leaders.append(flights.enter("path", flight) is flight)
            barrier.wait()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(leaders) == 1
