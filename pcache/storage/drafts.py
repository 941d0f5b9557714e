"""Drafts: private files in which an entry is written before it gets its name.

Each draft has a unique name, and only its maker writes into it. A small entry needs none: it is written into the claim,
which also only its maker writes to. So published bytes never change, even where each host has its own locks and two
processes hold one claim. A sweep recognises the drafts of killed processes: a draft beside a held claim belongs to the
owner, and others are locked while they are written.
"""

from __future__ import annotations

import errno
import os

from pcache.entry.format import length_of
from pcache.layout import CLAIM_SUFFIX
from pcache.startup import TYPE_CHECKING, Any, Protocol
from pcache.system.interrupts import raise_if_interrupt, stands
from pcache.system.locks import Opened, identity_at, locking
from pcache.system.permissions import PRIVATE
from pcache.system.safefiles import NO_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from pcache.storage.claim_owner import Record
    from pcache.system.permissions import Access

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # the file system has no locks, or none left
AT_ONCE = 64 << 10  # bytes up to which joining the pieces is cheaper than to write them as they are
_TOGETHER = 512  # pieces given to the system at once, which takes 1,024

if TYPE_CHECKING:

    class Standing(Protocol):
        """What a draft needs of its claim."""

        entry_path: str

        def is_standing(self) -> bool:
            """Whether the claim was not removed, and this is the process that took it."""

    class Held(Standing, Protocol):
        """A claim that can be published."""

        lost: bool
        stored: os.stat_result | None

        def abandon(self) -> bool:
            """Release the claim; return whether it still stood."""


class TakenAway(OSError):
    """The program closed our descriptor, whose number may now belong to another file."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EBADF, "the program closed a descriptor of pcache's", path)


class Draft(Opened):
    """A file that becomes an entry. Use it in a `with`, which closes it in any case."""

    stored: os.stat_result | None = None  # its status once it has the entry's name

    def __init__(self, path: str, *, access: Access = PRIVATE, is_new: bool = True, locks: bool = False) -> None:
        try:
            super().__init__(path, "x+" if is_new else "r+", access.make if is_new else access.reopen)
            if locks:
                self.lock()
        except FileExistsError:
            raise
        except BaseException:
            self.close()
            if is_new:
                unlink_if_there(path)  # an interrupt may have come after it was made
            raise

    def lock(self) -> None:
        """Tell sweeps that the file is being written. Without locks a sweep may remove it, which does no other harm."""
        try:
            self.use(locking(), self.number, blocking=False)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise

    def put(self, pieces: Sequence[Any], at: int) -> None:
        """Write pieces from a place on; raises `OSError`."""
        write_all(self, pieces, at)

    def take(self, length: int, at: int) -> bytes:
        """Read what was written, also when the file is an entry by now; nothing where that is impossible."""
        return self.use(os.pread, self.number, length, at) or b""

    def publish(self, claim: Standing, pieces: Sequence[Any], *, durable: bool, over: bool, mtime_ns: int) -> int:
        """Write an entry and give it its name; return its size, 0 if the claim no longer stands.

        `over` says that an existing entry must stay until it is replaced. Invalidating removes the claim, then the
        drafts, and then the entry. The draft exists when the claim is checked: if the claim is removed after the check,
        the renaming fails, or the entry is removed.
        """
        size = 0
        try:
            written = write_into(self, pieces, mtime_ns)
            if claim.is_standing():
                if not over:
                    unlink_if_there(claim.entry_path)
                os.rename(self.path, claim.entry_path)
                size, self.stored = written, self.status()
                if durable:
                    self.use(os.fsync, self.number)  # after the renaming, so that the new name is on the disk too
        except FileNotFoundError:
            if stands(self.path):
                raise
        return size

    def withdraw(self, entry_path: str) -> None:
        """Remove the entry that this file has become, unless another has replaced it."""
        if identity_at(entry_path) == self.identity:
            unlink_if_there(entry_path)

    def drop(self) -> None:
        """Remove the file, if it is still a draft."""
        try:
            if self.identity is not None and self.is_in_place():
                unlink_if_there(self.path)
        except OSError as error:
            raise_if_interrupt(error)  # else a leftover, which a sweep removes


def write_into(file: Opened, pieces: Sequence[Any], mtime_ns: int) -> int:
    """Write all pieces, then set access and modification time; return the number of bytes. Raises `OSError`."""
    fd, total, times = file.number, length_of(pieces), (mtime_ns, mtime_ns)
    done = 0
    if total <= AT_ONCE:
        pieces = (data := b"".join(pieces),)
        # Check and use in one line, as in `Opened.use`, which would be one more call for each.
        done, _ = (file.is_ours() and (os.pwrite(fd, data, 0), os.utime(fd, ns=times))) or _stop(file)  # type: ignore[func-returns-value]
    if done < total:
        write_all(file, pieces)
        file.use(os.utime, fd, ns=times)
    return total


def write_all(file: Opened, pieces: Sequence[Any], at: int = 0) -> None:
    """Write pieces one after the other into a file, from its start or `at`, out of the memory that they are in."""
    left = [view.cast("B") for piece in pieces if (view := memoryview(piece)).nbytes]
    first = 0
    while first < len(left):
        count = file.use(os.pwritev, file.number, left[first : first + _TOGETHER], at)
        count = count if count and count > 0 else _stop(file)
        at += count
        while first < len(left) and count >= len(left[first]):
            count -= len(left[first])
            first += 1
        if count:  # a write may end early
            left[first] = left[first][count:]


def _stop(file: Opened) -> Any:
    raise TakenAway(file.path)


class PrivateClaim:
    """A claim that does not exclude others: a draft that is made at the start, under a name of its own.

    For file systems without reliable locks; for calls that store without computing, or do not wait for another process;
    and for a thread that holds many claims. While the function runs the draft is neither open nor locked: its record
    names the owner. Removing the draft removes the claim.
    """

    fd = -1  # what its owner waits for is not recorded
    lost = False
    stored: os.stat_result | None = None
    _over = True  # until the draft is made

    def __init__(self, entry_path: str, owner: Record, access: Access = PRIVATE, *, locks: bool = True) -> None:
        self.entry_path = entry_path
        self.path = draft_path(entry_path)
        self._access = access
        self._locks = locks
        self._pid = os.getpid()
        self._said = owner.sealed(entry_path)
        try:
            with Draft(self.path, access=access) as draft:
                self._identity = draft.identity
                draft.use(os.write, draft.number, self._said)
                draft.release()
        except BaseException:
            unlink_if_there(self.path)  # the name is unique
            raise
        self._over = False

    def __del__(self) -> None:
        if not self._over:  # an interrupt came before the caller received it
            self.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # nothing is held

    def amend(self, awaits: Sequence[str]) -> None:
        """Do nothing: no call waits for a private claim."""

    def is_standing(self) -> bool:
        """Whether the claim was not removed, and this is the process that took it."""
        return identity_at(self.path) == self._identity and os.getpid() == self._pid

    def draft(self) -> Draft:
        """Make a draft for an entry that is written piece by piece; raises `OSError`."""
        return Draft(draft_path(self.entry_path), access=self._access, locks=self._locks)

    def publish(
        self,
        pieces: Sequence[Any],
        *,
        durable: bool,
        replaces_nothing: bool,
        mtime_ns: int,
        draft: Draft | None = None,
    ) -> int:
        """Write an entry and make it visible under its name, as a claim does."""
        how: dict[str, Any] = {"durable": durable, "over": not replaces_nothing, "mtime_ns": mtime_ns}
        try:
            size = self._publish(pieces, **how) if draft is None else publish_draft(self, draft, pieces, **how)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            size = 0  # removed, or something else has its name
        self.lost = not size
        return size

    def _publish(self, pieces: Sequence[Any], *, durable: bool, over: bool, mtime_ns: int) -> int:
        if not self.is_standing():
            return 0
        with Draft(self.path, access=self._access, is_new=False) as draft:
            try:
                if self._locks:
                    draft.lock()
                # A newer file may reuse the inode of ours.
                if draft.use(os.pread, draft.number, len(self._said) + 1, 0) != self._said:
                    return 0
                draft.use(os.ftruncate, draft.number, 0)
                size = draft.publish(self, pieces, durable=durable, over=over, mtime_ns=mtime_ns)
                self.stored = draft.stored
                return size
            finally:
                draft.release()

    def abandon(self) -> bool:
        """Remove the draft; return whether it was there."""
        try:
            removed = self.is_standing() and unlink_if_there(self.path)
        except OSError as error:
            raise_if_interrupt(error)  # else a leftover, which a sweep removes
            removed = False
        self._over = True
        return removed


def publish_draft(claim: Held, draft: Draft, pieces: Sequence[Any], *, durable: bool, over: bool, mtime_ns: int) -> int:
    """Make a draft the entry of a claim, and release that; return its size, 0 if the claim was lost meanwhile.

    `pieces` are written at its start: all of an entry, or what is missing there.
    """
    size = 0
    try:
        size = draft.publish(claim, pieces, durable=durable, over=over, mtime_ns=mtime_ns)
        claim.stored = draft.stored
        if not claim.abandon():
            claim.lost, size = True, 0
            draft.withdraw(claim.entry_path)
    finally:
        if not size:
            draft.drop()
    return size


def draft_path(entry_path: str) -> str:
    """A unique name, which listings do not take for an entry."""
    return f"{entry_path}{CLAIM_SUFFIX}-{os.urandom(4).hex()}"


def unlink_if_there(path: str) -> bool:
    """Remove a file; return whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
