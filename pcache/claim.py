"""The right to compute one missing key.

A claim is an operating-system lock on the file that becomes the entry: the owner computes, writes the entry into the
claim file and renames it. The lock dies with its owner, so a killed process never blocks anybody. Correctness never
rests on the lock: whoever renames last wins, and every version of the file is whole. Nothing here knows what an entry
looks like.

Between processes one lock per key; between threads `Flights` meets in memory. After a fork the child closes its copies
of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pcache.access import PRIVATE
from pcache.interrupts import pass_on, uninterrupted
from pcache.locking import Lock, locking
from pcache.owner import CLAIM_SUFFIX, MAX_OWNER
from pcache.plain import make_way
from pcache.trust import SAFE_FLAGS, our_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.access import Access

DURABLE = 10**9  # nanoseconds of computing from which a result is worth an fsync
_MOST_TRIES = 100  # to find a claim file in place
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # of a file system, or none are left


class Claim(Lock):
    """A claim that is held. Publish or abandon it, in the process that took it; a forked child can do neither."""

    def __init__(
        self, entry_path: str, suffix: str = CLAIM_SUFFIX, mode: str = "r+", *, access: Access = PRIVATE
    ) -> None:
        self.entry_path = entry_path
        self._written = 0
        super().__init__(entry_path + suffix, mode, access=access)

    def is_in_place(self) -> bool:
        """Whether the claim file still stands under its name: its last owner may have renamed or removed it."""
        ours = os.fstat(self.fd)
        return _identity(self.path) == (ours.st_ino, ours.st_dev)

    def sign(self, owner: bytes) -> None:
        """Say who computes; only ever in a claim that is in place, since elsewhere its file may be an entry."""
        try:
            self._written = os.write(self.fd, owner)
        except OSError:
            try:
                os.unlink(self.path)  # a full disk: an empty claim must not stay
            except OSError as error:
                pass_on(error)
            raise

    def drop_unsigned(self) -> None:
        """Remove the claim file where it cannot be locked, unless its owner has signed it, and let go."""
        try:
            if not os.fstat(self.fd).st_size and self.is_in_place():
                os.unlink(self.path)
        except OSError as error:
            pass_on(error)  # else a leftover, as in `abandon`
        self.release()

    def amend(self, awaits: Sequence[str]) -> None:
        """Say which results the owner waits for; only ever in a claim that is held and not being published."""
        import json  # late for start-up time

        status = os.fstat(self.fd)
        owner = json.loads(os.pread(self.fd, MAX_OWNER, 0))
        record = json.dumps({**owner, "awaits": list(awaits)}).encode()
        if len(record) <= MAX_OWNER:
            self._written = max(self._written, len(record))
            os.pwrite(self.fd, record, 0)
            os.ftruncate(self.fd, len(record))
            os.utime(self.fd, ns=(status.st_atime_ns, status.st_mtime_ns))  # since when it computes

    def empty(self) -> bool:
        """Empty a file that a killed owner left. False for that of another user: only its owner may set its times."""
        status = os.fstat(self.fd)
        if status.st_uid != our_uid():
            return False
        if status.st_size:
            os.ftruncate(self.fd, 0)
        return True

    def publish(self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int) -> int:
        """Write an entry and make it visible under its name; return its size, 0 when the claim was lost meanwhile.

        `durable` waits until bytes and name are on the disk. `replaces_nothing` says that a file of that name holds
        nothing of worth: renaming over an existing file makes ext4 flush, which costs 20 times a new name. `mtime_ns`
        becomes the file's modification time.
        Raises `OSError` when it cannot be written; the claim is then still held.
        """
        if self.fd < 0:
            return 0
        size = _write_all(self.fd, pieces)
        if self._written > size:
            os.ftruncate(self.fd, size)
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        if not self.is_in_place():
            self.release()
            return 0  # somebody removed the claim file: an entry of theirs may stand there
        if replaces_nothing:
            unlink_if_there(self.entry_path)
        os.rename(self.path, self.entry_path)
        if durable:
            os.fsync(self.fd)  # after the renaming, so that the new name is on the disk as well
        self.release()
        return size

    def abandon(self) -> None:
        """Remove the claim file while still holding it, and let go. Does nothing when the claim is no longer held."""
        if self.fd < 0:
            return
        try:
            if self.is_in_place():
                os.unlink(self.path)
        except OSError as error:
            pass_on(error)  # else a leftover: the next call for this key takes it over, `evict` and `clear` remove it
        finally:
            self.release()


def _write_all(fd: int, pieces: Sequence[Any]) -> int:
    total = 0
    for piece in pieces:
        if isinstance(piece, bytes) and (written := os.pwrite(fd, piece, total)) == len(piece):
            total += written
            continue
        with memoryview(piece) as view, view.cast("B") as rest:
            done = 0
            while done < len(rest):
                if (count := os.pwrite(fd, rest[done:], total + done)) <= 0:
                    raise OSError(errno.EIO, "nothing could be written")
                done += count
            total += done
    return total


def _identity(path: str, below: int | None = None) -> tuple[int, int] | None:
    """Inode and device of a file, None where there is none."""
    try:
        there = os.stat(path, dir_fd=below, follow_symlinks=False)
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


def try_claim(entry_path: str, owner: bytes, access: Access = PRIVATE, suffix: str = CLAIM_SUFFIX) -> Claim | None:
    """Take the claim of an entry, or return None while somebody else holds it.

    Raises `OSError` when the claim file cannot be made or locked; `FileNotFoundError` means that the shard is missing.
    """
    try:
        for _ in range(_MOST_TRIES):
            claim = Claim(entry_path, suffix, access=access)
            try:
                try:
                    is_free = locking()(claim.fd, blocking=False)
                except OSError as error:
                    if error.errno not in _NO_LOCKS:
                        raise
                    claim.drop_unsigned()
                    return private_claim(entry_path, owner, access)
                if not is_free:
                    claim.release()
                    return None
                if claim.is_in_place():
                    if claim.empty():
                        claim.sign(owner)
                        return claim
                    os.unlink(claim.path)
                claim.release()  # its owner published meanwhile: look for the new one
            except BaseException:
                claim.close()
                raise
    except OSError as error:
        if error.errno is None:  # a timeout
            remove_leftover(entry_path + suffix)
        raise
    except BaseException:
        remove_leftover(entry_path + suffix)  # perhaps we had made the file
        raise
    return private_claim(entry_path, owner, access)  # a file system that does not see what it has just opened


def _private_suffix() -> str:
    return f"{CLAIM_SUFFIX}-{os.urandom(4).hex()}"


def locked_private_claim(entry_path: str, owner: bytes, access: Access = PRIVATE) -> Claim:
    """A claim that excludes nobody; locked all the same, so that what a killed owner leaves is known as that."""
    while (claim := try_claim(entry_path, owner, access, _private_suffix())) is None:
        pass  # somebody looks just now whether it is a leftover
    return claim


def private_claim(entry_path: str, owner: bytes, access: Access = PRIVATE) -> Claim:
    """A claim that excludes nobody, for file systems without locks, or where they cannot be relied upon."""
    suffix = _private_suffix()
    try:
        claim = Claim(entry_path, suffix, "x+", access=access)
        try:
            claim.sign(owner)
        except BaseException:
            claim.close()
            raise
    except BaseException:
        unlink_if_there(entry_path + suffix)  # nobody else has this name
        raise
    return claim


def remove_leftover(path: str, below: int | None = None) -> bool:
    """Remove a claim file that nobody holds, and what is none; return whether it is gone.

    Where others may write, `path` is a name, and `below` the folder that it is in.
    """
    make_way(path, below)
    try:
        fd = uninterrupted(partial(os.open, dir_fd=below), path, os.O_RDWR | SAFE_FLAGS)
    except FileNotFoundError:
        return True
    try:
        if not locking()(fd, blocking=False):
            return False
        ours = os.fstat(fd)
        if _identity(path, below) == (ours.st_ino, ours.st_dev):
            os.unlink(path, dir_fd=below)
        return True
    finally:
        os.closerange(fd, fd + 1)


class Flight:
    """One computation of this process that other threads may wait for. `stored` says whether there is a result.

    It is under way while `busy` is held, which whoever computes holds in a `with`: an interrupt cannot leave it so.
    `claim` is what it holds while it computes, `awaits` are the entries that calls wait for which are made for it, and
    `turns` when calls took theirs that would not wait for it any longer.
    """

    __slots__ = ("awaits", "busy", "claim", "native_id", "path", "stored", "thread", "turns")

    def __init__(self, path: str) -> None:
        self.path = path
        self.claim: Claim | None = None
        self.awaits: list[str] = []
        self.turns: list[float] = []
        self.native_id = threading.get_native_id()
        self.busy = threading.Lock()  # an Event takes 5 us to make
        self.stored = True
        self.thread = threading.get_ident()

    @property
    def over(self) -> bool:
        """Whether the computation has come to its end."""
        return not self.busy.locked()

    def wait(self, seconds: float | None) -> bool:
        """Wait for the end; return whether it came in time."""
        if not uninterrupted(self.busy.acquire, True, -1 if seconds is None else seconds):
            return False
        self.busy.release()
        return True


class Flights:
    """The computations under way in this process, by entry path. Safe for threads; empty after a fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget them all, and a lock that a thread held which did not survive the fork."""
        self._lock = threading.RLock()  # reentrant: a signal handler may call a cached function
        self.notes = threading.RLock()  # of what flights say in their claims
        self._by_path: dict[str, Flight] = {}

    def enter(self, entry_path: str, flight: Flight) -> Flight:
        """Return the flight of an entry: the given one, which is busy, unless another is under way."""
        with self._lock:
            other = self._by_path.get(entry_path)
            if other is not None and not other.over:
                return other
            self._by_path[entry_path] = flight  # also over one whose leader was interrupted before it could leave
            return flight

    def get(self, entry_path: str) -> Flight | None:
        """The computation of an entry that is under way."""
        return self._by_path.get(entry_path)

    def all(self) -> list[Flight]:
        """The computations that are under way."""
        with self._lock:
            return list(self._by_path.values())

    def leave(self, entry_path: str, flight: Flight) -> None:
        """Forget a flight, if it is that of the entry."""
        with self._lock:
            if self._by_path.get(entry_path) is flight:
                del self._by_path[entry_path]


flights = Flights()

# What is being computed up-stack, by entry path: a call that needs itself computes, it never waits for itself.
computing: ContextVar[Mapping[str, Flight]] = ContextVar("pcache_computing", default=MappingProxyType({}))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=flights.reset)
