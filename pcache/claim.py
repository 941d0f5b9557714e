"""The right to compute one missing key.

A claim is an operating-system lock on a file beside the entry that is to be, with a record of who computes. The lock
dies with its owner, so a killed process never blocks anybody. Nothing of an entry is ever written into it: the result
goes into a draft, a file of our own that is renamed. Correctness never rests on the lock: whoever renames last wins,
and every version of an entry is whole. Nothing here knows what an entry looks like.

Removing a claim is also how a computation is told that nobody wants its result any more: see `Store.fence`.

Between processes one lock per key; between threads `Flights` meets in memory. After a fork the child closes its copies
of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pcache.access import PRIVATE
from pcache.drafts import NO_LOCKS, Draft, PrivateClaim, draft_path
from pcache.interrupts import pass_on, uninterrupted
from pcache.locking import Lock, identity_at, locking
from pcache.owner import CLAIM_SUFFIX, MAX_OWNER, MAX_RECORD, owner_in
from pcache.plain import make_way, read_plain
from pcache.trust import SAFE_FLAGS, make_keyring, our_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.access import Access
    from pcache.owner import Record
    from pcache.trust import Keyring

DURABLE = 10**9  # nanoseconds of computing from which a result is worth an fsync
_MOST_TRIES = 100  # to find a claim file in place


class Claim(Lock):
    """A claim that is held. Publish or abandon it, in the process that took it; a forked child can do neither.

    `lost` says whether somebody removed it, so that what was computed under it is not stored.
    """

    lost = False

    def __init__(
        self, entry_path: str, suffix: str = CLAIM_SUFFIX, mode: str = "r+", *, access: Access = PRIVATE
    ) -> None:
        self.entry_path = entry_path
        self._access = access
        self._owner: Record | None = None
        self._said = b""
        super().__init__(entry_path + suffix, mode, access=access, opener=access.make if mode == "x+" else None)

    def sign(self, owner: Record) -> None:
        """Say who computes; only ever in a claim that is in place and empty."""
        self._owner, self._said = owner, owner.sealed(self.entry_path)
        try:
            self.use(os.write, self.number, self._said)
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
        if self._owner is None:
            return
        record = self._owner.sealed(self.entry_path, awaits)
        if len(record) <= MAX_OWNER and self.use(os.pwrite, self.number, record, 0) == len(record):
            self._said = record
            self.use(os.ftruncate, self.number, len(record))

    def empty(self) -> bool:
        """Empty a file that a killed owner left. False for that of another user: who could write into it may go on."""
        status = self.use(os.fstat, self.number)
        if status is None or status.st_uid != our_uid():
            return False
        if status.st_size:
            self.use(os.ftruncate, self.number, 0)
        return True

    def is_standing(self) -> bool:
        """Whether nobody has removed or taken over the claim.

        Where the program closed our descriptor the lock is gone; then the claim is ours as long as it says so.
        """
        return self.is_in_place() and (self.is_ours() or self._says_ours())

    def _says_ours(self) -> bool:
        try:
            return bool(self._said) and read_plain(self.path, len(self._said)) == self._said
        except OSError as error:
            pass_on(error)
            return False

    def publish(self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int) -> int:
        """Write an entry and make it visible under its name; return its size, 0 when the claim was lost meanwhile.

        `durable` waits until bytes and name are on the disk. `replaces_nothing` says that a file of that name holds
        nothing of worth: renaming over an existing file makes ext4 flush, which costs 20 times a new name. `mtime_ns`
        becomes the file's modification time.
        Raises `OSError` when it cannot be written; the claim is then still held.
        """
        if self.closed:
            return 0
        try:
            draft = Draft(draft_path(self.entry_path), access=self._access)
        except FileNotFoundError:
            self.lost = True  # the folder is gone, and the claim with it
            self.abandon()
            return 0
        size = 0
        with draft:
            try:
                size = draft.publish(self, pieces, durable=durable, over=not replaces_nothing, mtime_ns=mtime_ns)
                if not self.abandon():
                    self.lost, size = True, 0
                    draft.withdraw(self.entry_path)
            finally:
                if not size:
                    draft.drop()
                draft.release()
        return size

    def abandon(self) -> bool:
        """Remove the claim file while still holding it, and let go; return whether it was still there and ours.

        Does nothing when the claim is no longer held.
        """
        if self.closed:
            return False
        stood = False
        try:
            # Another's that has its inode, since ours was closed for us, is dropped at worst.
            if stood := self.is_in_place():
                os.unlink(self.path)
        except OSError as error:
            pass_on(error)  # else a leftover: the next call for this key takes it over, `evict` and `clear` remove it
        self.release()  # not where an interrupt came before: it can be abandoned again
        return stood


def try_claim(entry_path: str, owner: Record, access: Access = PRIVATE) -> Claim | PrivateClaim | None:
    """Take the claim of an entry, or return None while somebody else holds it.

    Raises `OSError` when the claim file cannot be made or locked; `FileNotFoundError` means that the shard is missing.
    """
    try:
        for _ in range(_MOST_TRIES):
            try:
                claim = Claim(entry_path, mode="x+", access=access)
                is_new = True
            except FileExistsError:
                claim = Claim(entry_path, access=access)
                is_new = False
            try:
                try:
                    is_free = locking()(claim.number, blocking=False)
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise
                    claim.drop_unsigned()
                    return PrivateClaim(entry_path, owner, access=access)
                if not is_free:
                    claim.release()
                    return None
                if claim.is_in_place():
                    if is_new or claim.empty():
                        claim.sign(owner)
                        if not is_new:
                            _remove_drafts(entry_path, owner)
                        return claim
                    os.unlink(claim.path)
                claim.release()  # its owner is done meanwhile: look for a new one
            except BaseException:
                claim.close()
                raise
    except OSError as error:
        if error.errno is None:  # a timeout
            remove_leftover(entry_path + CLAIM_SUFFIX)
        raise
    except BaseException:
        remove_leftover(entry_path + CLAIM_SUFFIX)  # perhaps we had made the file
        raise
    return PrivateClaim(entry_path, owner, access=access)  # a file system that does not see what it has just opened


def remove_leftover(path: str, keyring: Keyring | None = None, *, below: int | None = None) -> bool:
    """Remove a claim file or a draft that nobody holds, and what is none; return whether it is gone.

    Where others may write, `path` is a name, and `below` the folder that it is in.

    A draft stays as long as the claim beside it is held. A private claim is not locked while its owner computes: it
    stays as long as that process is known to live.
    """
    claim, _, draft = path.rpartition(CLAIM_SUFFIX)
    claim += CLAIM_SUFFIX
    if draft and identity_at(claim, below) is not None and not _remove_unheld(claim, keyring, below):
        return False
    return _remove_unheld(path, keyring, below)


def _remove_unheld(path: str, keyring: Keyring | None, below: int | None) -> bool:
    make_way(path, below)
    try:
        fd = uninterrupted(partial(os.open, dir_fd=below), path, os.O_RDWR | SAFE_FLAGS)
    except FileNotFoundError:
        return True
    try:
        if not locking()(fd, blocking=False):
            return False
        if not path.endswith(CLAIM_SUFFIX):
            owner = owner_in(os.pread(fd, MAX_RECORD, 0), path.rpartition(CLAIM_SUFFIX)[0], keyring)
            if owner is not None and owner.is_alive():
                return False
        ours = os.fstat(fd)
        if identity_at(path, below) == (ours.st_ino, ours.st_dev):
            os.unlink(path, dir_fd=below)
        return True
    finally:
        os.closerange(fd, fd + 1)


def _remove_drafts(entry_path: str, owner: Record) -> None:
    """Remove what was left of the last owner of a claim, who was killed, beside that claim."""
    folder, name = os.path.split(entry_path)
    keyring = make_keyring([owner.key])
    try:
        for other in os.listdir(folder):
            if other.startswith(f"{name}{CLAIM_SUFFIX}-"):
                _remove_unheld(f"{folder}/{other}", keyring, None)
    except OSError as error:
        pass_on(error)  # else a leftover, which a sweep removes


class Flight:
    """One computation of this process that other threads may wait for. `stored` says whether there is a result.

    `lost` says that it was dropped while it was computed, so that calls made since then need another.

    It is under way while `busy` is held, which whoever computes holds in a `with`: an interrupt cannot leave it so.
    `claim` is what it holds while it computes, `awaits` are the entries that calls wait for which are made for it, and
    `turns` when calls took theirs that would not wait for it any longer.
    """

    __slots__ = ("awaits", "busy", "claim", "lost", "native_id", "path", "stored", "thread", "turns")

    def __init__(self, path: str) -> None:
        self.path = path
        self.claim: Claim | PrivateClaim | None = None
        self.lost = False
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

    def drop(self, entry_path: str) -> None:
        """Have nobody join the computation of an entry any more: its result is not wanted."""
        with self._lock:
            self._by_path.pop(entry_path, None)

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
