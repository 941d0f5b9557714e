"""The right to compute one missing key.

A claim is an operating-system lock on the file that becomes the entry: the owner computes, writes the entry into the
claim file and renames it. The lock dies with its owner, so a killed process never blocks anybody. Correctness never
rests on the lock: whoever renames last wins, and every version of the file is whole. Nothing here knows what an entry
looks like.

Between processes one lock per key; between threads `Flights` meets in memory. After a fork the child closes its copies
of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.locking import Lock, locking
from pcache.trust import SAFE_FLAGS, close_quietly

if TYPE_CHECKING:
    from collections.abc import Sequence

CLAIM_SUFFIX = ".claim"
_MOST_TRIES = 100  # to find a claim file in place
_MAX_OWNER = 4096  # bytes of an owner record
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # of a file system, or none are left


class Claim(Lock):
    """A claim that is held. Publish or abandon it, in the process that took it; a forked child can do neither."""

    __slots__ = ("_written", "entry_path", "identity")

    def __init__(self, fd: int, path: str, entry_path: str) -> None:
        super().__init__(fd, path)
        self.entry_path = entry_path
        self.identity: tuple[int, int] | None = None
        self._written = 0

    def is_in_place(self) -> bool:
        """Whether the claim file still stands under its name: its last owner may have renamed or removed it."""
        if self.identity is None:
            ours = os.fstat(self.fd)
            self.identity = (ours.st_ino, ours.st_dev)
        return _identity(self.path) == self.identity

    def sign(self, owner: bytes) -> None:
        """Say who computes; only ever in a claim that is in place, since elsewhere its file may be an entry."""
        try:
            self._written = os.write(self.fd, owner)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # a full disk: an empty claim must not stay
            raise

    def drop_unsigned(self) -> None:
        """Remove the claim file where it cannot be locked, unless its owner has signed it, and let go."""
        with contextlib.suppress(OSError):  # a leftover, as in `abandon`
            if not os.fstat(self.fd).st_size and self.is_in_place():
                os.unlink(self.path)
        self.release()

    def check_leftover(self) -> None:
        """Empty a file that a killed owner left; refuse one that has a second name elsewhere. Raises `OSError`."""
        status = os.fstat(self.fd)
        if status.st_nlink > 1:
            raise FileExistsError(errno.EEXIST, "the claim file has a second name", self.path)
        if status.st_size:
            os.ftruncate(self.fd, 0)

    def publish(self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int) -> int:
        """Write an entry and make it visible under its name; return its size, 0 when the claim was lost meanwhile.

        `durable` waits until the bytes are on the disk. `replaces_nothing` says that a file of that name holds nothing
        of worth: renaming over an existing file makes ext4 flush, which costs 20 times a new name. `mtime_ns` becomes
        the file's modification time.
        Raises `OSError` when it cannot be written; the claim is then still held.
        """
        if self.fd < 0:
            return 0
        size = _write_all(self.fd, pieces)
        if self._written > size:
            os.ftruncate(self.fd, size)
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        if durable:
            os.fsync(self.fd)
        if not self.is_in_place():
            self.release()
            return 0  # somebody removed the claim file: an entry of theirs may stand there
        if replaces_nothing:
            unlink_if_there(self.entry_path)
        os.rename(self.path, self.entry_path)
        self.release()
        return size

    def abandon(self) -> None:
        """Remove the claim file while still holding it, and let go. Does nothing when the claim is no longer held."""
        if self.fd < 0:
            return
        try:
            if self.is_in_place():
                os.unlink(self.path)
        except OSError:
            pass  # a leftover: the next call for this key takes it over, `evict` and `clear` remove it
        finally:
            self.release()

    def __del__(self) -> None:
        if self._written:
            self.abandon()
        else:
            self.release()  # never ours: the file stays for whoever holds it


def _write_all(fd: int, pieces: Sequence[Any]) -> int:
    total = 0
    for piece in pieces:
        if isinstance(piece, bytes) and (written := os.pwrite(fd, piece, total)) == len(piece):
            total += written
            continue
        with memoryview(piece) as view, view.cast("B") as rest:
            done = 0
            while done < len(rest):
                done += os.pwrite(fd, rest[done:], total + done)
            total += done
    return total


def _identity(path: str) -> tuple[int, int] | None:
    """Inode and device of a file, None where there is none."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return None
    return (there.st_ino, there.st_dev)


def unlink_if_there(path: str) -> bool:
    """Remove a file; return whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def try_claim(entry_path: str, owner: bytes) -> Claim | None:
    """Take the claim of an entry, or return None while somebody else holds it.

    Raises `OSError` when the claim file cannot be made or locked; `FileNotFoundError` means that the shard is missing.
    """
    path = entry_path + CLAIM_SUFFIX
    for _ in range(_MOST_TRIES):
        claim = Claim(os.open(path, os.O_RDWR | os.O_CREAT | SAFE_FLAGS, 0o600), path, entry_path)
        try:
            try:
                is_free = locking()(claim.fd, blocking=False)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                claim.drop_unsigned()
                return private_claim(entry_path, owner)
            if not is_free:
                claim.release()
                return None
            if claim.is_in_place():
                claim.check_leftover()
                claim.sign(owner)
                return claim
            claim.release()  # its owner published meanwhile: look for the new one
        except BaseException:
            claim.release()
            raise
    return private_claim(entry_path, owner)  # a file system that does not see what it has just opened


def private_claim(entry_path: str, owner: bytes) -> Claim:
    """A claim that excludes nobody, for file systems without locks, or where they cannot be relied upon."""
    path = f"{entry_path}{CLAIM_SUFFIX}-{os.urandom(4).hex()}"
    claim = Claim(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600), path, entry_path)
    try:
        claim.sign(owner)
    except BaseException:
        claim.release()
        raise
    return claim


def remove_leftover(path: str) -> bool:
    """Remove a claim file that nobody holds; return whether it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | SAFE_FLAGS)
    except FileNotFoundError:
        return True
    try:
        if not locking()(fd, blocking=False):
            return False
        ours = os.fstat(fd)
        if _identity(path) == (ours.st_ino, ours.st_dev):
            os.unlink(path)
        return True
    finally:
        close_quietly(fd)


class Owner(NamedTuple):
    """Who holds a claim, as its file says: for people, and to recognise an owner that died."""

    host: str
    pid: int
    start: int
    call: str

    def is_dead(self) -> bool:
        """Whether the process is known to be gone. A forked child may hold its lock all the same."""
        return self.host == _host() and _start_of(self.pid) != self.start


def owner_record(call: str) -> bytes:
    """What this process writes into the claims that it takes."""
    return _owner_record(call, os.getpid())


@functools.lru_cache(1024)
def _owner_record(call: str, pid: int) -> bytes:
    import json  # late for start-up time: a hit takes no claim

    return json.dumps({"host": _host(), "pid": pid, "start": _start_of(pid), "call": call}).encode()


def read_owner(entry_path: str) -> Owner | None:
    """Who is computing an entry; None when nobody is, or the record is not written yet."""
    import json  # late for start-up time

    try:
        fd = os.open(entry_path + CLAIM_SUFFIX, os.O_RDONLY | SAFE_FLAGS)
    except OSError:
        return None
    try:
        record = json.loads(os.read(fd, _MAX_OWNER))
        return Owner(str(record["host"]), int(record["pid"]), int(record["start"]), str(record["call"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None  # half written, or already the entry
    finally:
        close_quietly(fd)


def is_leftover(path: str) -> bool:
    """Whether a claim file is known to be that of a process that is gone."""
    owner = read_owner(path.removesuffix(CLAIM_SUFFIX))
    return owner is not None and owner.is_dead()


@functools.cache
def _host() -> str:
    """This machine and, where there are any, the process namespace: a pid means nothing outside of it."""
    try:
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        namespace = ""
    return f"{os.uname().nodename if hasattr(os, 'uname') else os.environ.get('COMPUTERNAME', '')}/{namespace}"


def _start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 for one that is gone, 1 where that cannot be told."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in the second field may hold anything, also spaces and parentheses.
            fields = file.read().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (FileNotFoundError, ProcessLookupError):
        if os.path.exists("/proc/self/stat"):
            return 0
    except (OSError, IndexError, ValueError):
        return 1
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except OSError:
        pass  # it lives, and belongs to another user
    return 1


class Flight:
    """One computation of this process that other threads may wait for. `stored` says whether there is a result."""

    __slots__ = ("_busy", "stored", "thread")

    def __init__(self) -> None:
        self._busy = threading.Lock()  # held until the end; an Event takes 5 us to make
        self._busy.acquire()
        self.stored = True
        self.thread = threading.get_ident()

    def end(self) -> None:
        """Let the waiting threads go on."""
        self._busy.release()

    def wait(self, seconds: float | None) -> bool:
        """Wait for the end; return whether it came in time."""
        if not self._busy.acquire(timeout=-1 if seconds is None else seconds):
            return False
        self._busy.release()
        return True


class Flights:
    """The computations under way in this process, by entry path. Safe for threads; empty after a fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget them all, and a lock that a thread held which did not survive the fork."""
        self._lock = threading.Lock()
        self._by_path: dict[str, Flight] = {}

    def enter(self, entry_path: str) -> tuple[Flight, bool]:
        """Return the flight of an entry, and whether the caller leads it."""
        with self._lock:
            flight = self._by_path.get(entry_path)
            if flight is not None:
                return flight, False
            flight = self._by_path[entry_path] = Flight()
            return flight, True

    def leave(self, entry_path: str, flight: Flight) -> None:
        """End a flight that the caller leads."""
        with self._lock:
            if self._by_path.get(entry_path) is flight:
                del self._by_path[entry_path]
        flight.end()


flights = Flights()

# The entries being computed up-stack: a call that needs itself computes, it never waits for itself.
computing: ContextVar[frozenset[str]] = ContextVar("pcache_computing", default=frozenset())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=flights.reset)
