"""The right to compute one missing key.

A claim is an operating-system lock on the file that becomes the entry: the owner computes, writes the entry into the
claim file and renames it. The lock dies with its owner, so a killed process never blocks anybody. Correctness never
rests on the lock: whoever renames last wins, and every version of the file is whole. Nothing here knows what an entry
looks like.

Between processes one lock per key; between threads `Flights` meets in memory. After a fork the child closes its copies
of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.trust import SAFE_FLAGS

if TYPE_CHECKING:
    from collections.abc import Sequence

CLAIM_SUFFIX = ".claim"
_MAX_OWNER = 4096  # bytes of an owner record

# Weak, so that a claim which an interrupt left in nobody's hands is collected, and lets go.
_held: weakref.WeakSet[Claim] = weakref.WeakSet()


class Claim:
    """A claim that is held. Publish or abandon it, in the process that took it; a forked child can do neither."""

    __slots__ = ("__weakref__", "entry_path", "fd", "path")

    def __init__(self, fd: int, path: str, entry_path: str) -> None:
        self.fd = fd
        self.path = path
        self.entry_path = entry_path
        _held.add(self)

    def publish(self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool) -> int:
        """Write an entry and make it visible under its name; return its size, 0 when the claim was lost meanwhile.

        `durable` waits until the bytes are on the disk. `replaces_nothing` says that a file of that name holds nothing
        of worth: renaming over an existing file makes ext4 flush, which costs 20 times a new name.
        Raises `OSError` when it cannot be written; the claim is then still held.
        """
        if self.fd < 0:
            return 0
        size = _write_all(self.fd, pieces)
        if os.fstat(self.fd).st_size > size:
            os.ftruncate(self.fd, size)  # the owner record was longer
        if durable:
            os.fsync(self.fd)
        if not _is_file_of(self.fd, self.path):
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
            if _is_file_of(self.fd, self.path):
                os.unlink(self.path)
        except OSError:
            pass  # a leftover: the next call for this key takes it over, `evict` and `clear` remove it
        finally:
            self.release()

    def __del__(self) -> None:
        self.abandon()

    def release(self) -> None:
        """Close the descriptor, which frees the lock."""
        _held.discard(self)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _write_all(fd: int, pieces: Sequence[Any]) -> int:
    os.lseek(fd, 0, os.SEEK_SET)
    total = 0
    for piece in pieces:
        with memoryview(piece) as view, view.cast("B") as rest:
            written = 0
            while written < len(rest):
                written += os.write(fd, rest[written:])
            total += written
    return total


def _is_file_of(fd: int, path: str) -> bool:
    """Whether `path` still names the file that `fd` has open."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)


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
    from filelock import lock_descriptor  # late for start-up time: 45 ms, and a hit needs no lock

    path = entry_path + CLAIM_SUFFIX
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | SAFE_FLAGS, 0o600)
        try:
            if not lock_descriptor(fd, blocking=False):
                os.close(fd)
                return None
            if _is_file_of(fd, path):
                os.write(fd, owner)
                return Claim(fd, path, entry_path)
        except BaseException:
            os.close(fd)
            raise
        # Between our open and our lock the owner renamed or removed the file: look for the new one.
        os.close(fd)


def private_claim(entry_path: str, owner: bytes) -> Claim:
    """A claim that excludes nobody, for network file systems, where locks cannot be relied upon."""
    path = f"{entry_path}{CLAIM_SUFFIX}-{os.urandom(4).hex()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    os.write(fd, owner)
    return Claim(fd, path, entry_path)


def remove_leftover(path: str) -> bool:
    """Remove a claim file that nobody holds; return whether it is gone."""
    from filelock import lock_descriptor  # late for start-up time

    try:
        fd = os.open(path, os.O_RDWR | SAFE_FLAGS)
    except FileNotFoundError:
        return True
    try:
        if not lock_descriptor(fd, blocking=False):
            return False
        if _is_file_of(fd, path):
            os.unlink(path)
        return True
    finally:
        os.close(fd)


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
    import json  # late for start-up time: a hit takes no claim

    return _process_record(os.getpid()) + json.dumps(call).encode() + b"}"


@functools.cache
def _process_record(pid: int) -> bytes:
    import json  # late for start-up time

    return json.dumps({"host": _host(), "pid": pid, "start": _start_of(pid)}).encode()[:-1] + b', "call": '


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
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half written, or already the entry
    finally:
        os.close(fd)


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

    __slots__ = ("done", "stored", "thread")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.stored = True
        self.thread = threading.get_ident()


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
        flight.done.set()


flights = Flights()

# The entries being computed up-stack: a call that needs itself computes, it never waits for itself.
computing: ContextVar[frozenset[str]] = ContextVar("pcache_computing", default=frozenset())


def _after_fork_in_child() -> None:
    for claim in list(_held):
        claim.release()  # closes this process' copy; unlocking would free the parent's lock
    flights.reset()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
