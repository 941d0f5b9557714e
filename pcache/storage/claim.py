"""The right to compute one missing key.

A claim is an operating-system lock on a file beside the future entry, with a record of its owner. The system releases
the lock when the owner dies, so a killed process never blocks others. Only the maker of the file writes into it: a
small result is written into the claim, which is then renamed, a large one into a draft beside it. Correctness never
depends on the lock: the last rename wins, and every version of an entry is whole. Nothing here knows the format of
entries.

Removing a claim also tells its owner that the result is no longer valid: see `runtime/invalidation.py`.

Processes have one lock per key; the threads of a process wait in memory (`runtime/singleflight.py`). After a fork the
child closes its copies of the descriptors, which does not affect the parent's locks.
"""

from __future__ import annotations

import os
from functools import partial

from pcache.entry.format import length_of
from pcache.layout import CLAIM_SUFFIX
from pcache.signing.keyring import make_keyring
from pcache.startup import TYPE_CHECKING, Any
from pcache.storage.claim_owner import MAX_OWNER, MAX_RECORD, owner_in
from pcache.storage.drafts import (
    AT_ONCE,
    NO_LOCKS,
    Draft,
    PrivateClaim,
    TakenAway,
    draft_path,
    publish_draft,
    unlink_if_there,
    write_into,
)
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.locks import Lock, identity_at, locking
from pcache.system.ownership import SAFE_FLAGS
from pcache.system.permissions import PRIVATE
from pcache.system.safefiles import make_way, read_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.signing.keyring import Keyring
    from pcache.storage.claim_owner import Record
    from pcache.system.permissions import Access

_MOST_TRIES = 100  # attempts to make a claim file that is still in place when locked


class Claim(Lock):
    """A claim that is held. Publish or abandon it, in the process that took it; a forked child can do neither.

    `lost` says whether it was removed by others, so that its result is not stored.
    """

    lost = False
    stored: os.stat_result | None = None

    def __init__(
        self, entry_path: str, suffix: str = CLAIM_SUFFIX, mode: str = "r+", *, access: Access = PRIVATE
    ) -> None:
        self.entry_path = entry_path
        self._access = access
        self._owner: Record | None = None
        self._said = b""
        super().__init__(entry_path + suffix, mode, access=access, opener=access.make if mode == "x+" else access.visit)

    def sign(self, owner: Record) -> None:
        """Write the owner's record; only into a claim that is in place and empty."""
        self._owner, self._said = owner, owner.sealed(self.entry_path)
        try:
            self.use(os.write, self.number, self._said)
        except OSError:
            try:
                os.unlink(self.path)  # a full disk: an empty claim must not stay
            except OSError as error:
                raise_if_interrupt(error)
            raise

    def drop_unsigned(self) -> None:
        """Release a claim file that cannot be locked, and remove it unless its owner has signed it."""
        try:
            if not os.fstat(self.fd).st_size and self.is_in_place():
                os.unlink(self.path)
        except OSError as error:
            raise_if_interrupt(error)  # else a leftover, as in `abandon`
        self.release()

    def amend(self, awaits: Sequence[str]) -> None:
        """Write which results the owner waits for; only into a claim that is held and not being published."""
        if self._owner is None:
            return
        record = self._owner.sealed(self.entry_path, awaits)
        if len(record) <= MAX_OWNER and self.use(os.pwrite, self.number, record, 0) == len(record):
            self._said = record
            self.use(os.ftruncate, self.number, len(record))

    def is_standing(self) -> bool:
        """Whether the claim is still there and ours.

        If the program closed our descriptor the lock is gone; then our record in the file proves that it is ours.
        """
        return self.is_in_place() and (self.is_ours() or self._says_ours())

    def _says_ours(self) -> bool:
        try:
            return bool(self._said) and read_plain(self.path, len(self._said)) == self._said
        except OSError as error:
            raise_if_interrupt(error)
            return False

    def draft(self) -> Draft:
        """Make a draft for an entry that is written piece by piece; raises `OSError`."""
        return Draft(draft_path(self.entry_path), access=self._access)

    def publish(
        self,
        pieces: Sequence[Any],
        *,
        durable: bool,
        replaces_nothing: bool,
        mtime_ns: int,
        draft: Draft | None = None,
    ) -> int:
        """Write an entry and make it visible under its name; return its size, 0 if the claim was lost meanwhile.

        `durable` waits until bytes and name are on the disk. `replaces_nothing` says that an existing file of that name
        is useless, so it may be unlinked first: renaming over it makes ext4 flush, which takes 20 times as long.
        `mtime_ns` becomes the file's modification time. A `draft` of this claim holds all but `pieces`, which go to its
        start; it stays open.
        Raises `OSError` if it cannot be written; the claim is then still held.
        """
        if self.closed:
            return 0
        how: dict[str, Any] = {"durable": durable, "over": not replaces_nothing, "mtime_ns": mtime_ns}
        if draft is not None:
            return publish_draft(self, draft, pieces, **how)
        if length_of(pieces) <= AT_ONCE:
            try:
                return self._become(pieces, **how)
            except TakenAway:
                pass  # the program closed our descriptor: a draft has its own
        try:
            draft = self.draft()
        except FileNotFoundError:
            self.lost = True  # the folder is gone, and the claim with it
            self.abandon()
            return 0
        with draft:
            try:
                return publish_draft(self, draft, pieces, **how)
            finally:
                draft.release()

    def _become(self, pieces: Sequence[Any], *, durable: bool, over: bool, mtime_ns: int) -> int:
        """Write a small entry into the claim file and rename that; return its size, 0 if the claim was lost.

        Only its maker has written to this file, see `try_claim`. Making another file would double the time to store a
        small result. Writing a large one would hide the owner's record for too long. If the claim is removed and taken
        anew between check and renaming, the new claim is renamed: a damaged entry, which is a miss.
        """
        size = write_into(self, pieces, mtime_ns)
        if size < len(self._said):
            self.use(os.ftruncate, self.number, size)
            self.use(os.utime, self.number, ns=(mtime_ns, mtime_ns))
        self.lost = not self.is_in_place()
        if not self.lost:
            try:
                if not over:
                    unlink_if_there(self.entry_path)
                os.rename(self.path, self.entry_path)
            except FileNotFoundError:
                if self.is_in_place():
                    raise
                self.lost = True  # removed just now, and perhaps taken anew by another process
        if not self.lost:
            self.stored = self.status()
        if durable and not self.lost:
            self.use(os.fsync, self.number)  # after the renaming, so that the new name is on the disk too
        self.release()
        return 0 if self.lost else size

    def abandon(self) -> bool:
        """Remove the claim file while still holding it, and release it; return whether it was still there and ours.

        Does nothing if the claim is no longer held.
        """
        if self.closed:
            return False
        stood = False
        try:
            # At worst, if the program closed our descriptor, this removes another claim that reuses the inode.
            if stood := self.is_in_place():
                os.unlink(self.path)
        except OSError as error:
            # else a leftover: the next call for this key takes it over, `evict` and `clear` remove it
            raise_if_interrupt(error)
        self.release()  # skipped after an interrupt: the claim can be abandoned again
        return stood


def try_claim(entry_path: str, owner: Record, access: Access = PRIVATE) -> Claim | PrivateClaim | None:
    """Take the claim of an entry, or return None while another process holds it.

    Raises `OSError` if the claim file cannot be made or locked; `FileNotFoundError` means that the shard is missing.
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
                    if is_new:
                        claim.sign(owner)
                        return claim
                    # The owner was killed. Only its maker may write into a claim, so it is not reused: where each host
                    # has its own locks, the owner may live on another host.
                    os.unlink(claim.path)
                    _remove_drafts(entry_path, owner)
                claim.release()  # not in place, as its owner is done, or removed above: make a new one
            except BaseException:
                claim.close()
                raise
    except OSError as error:
        if error.errno is None:  # a timeout
            remove_leftover(entry_path + CLAIM_SUFFIX)
        raise
    except BaseException:
        remove_leftover(entry_path + CLAIM_SUFFIX)  # we may have made the file
        raise
    return PrivateClaim(entry_path, owner, access=access)  # a file system that does not show files it has just opened


def remove_leftover(path: str, keyring: Keyring | None = None, *, below: int | None = None) -> bool:
    """Remove a claim file or a draft that is not held, or any other file of that name; return whether it is gone.

    Where others may write, `path` is a name in the open folder `below`.

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
    """Remove the drafts of the last owner of a claim, who was killed."""
    folder, name = os.path.split(entry_path)
    keyring = make_keyring([owner.key])
    try:
        for other in os.listdir(folder):
            if other.startswith(f"{name}{CLAIM_SUFFIX}-"):
                _remove_unheld(f"{folder}/{other}", keyring, None)
    except OSError as error:
        raise_if_interrupt(error)  # else a leftover, which a sweep removes
