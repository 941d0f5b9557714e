"""Drafts: private files in which an entry is written before it gets its name.

A draft is made by us alone, under a name that nobody else has; nobody else writes into it. A small entry takes none: it
is written into the claim, which only its maker ever writes to. So bytes that are published never change, also where
locks are known to one host only and two hold one claim. A sweep knows what killed processes left: a draft beside a
claim that is held is its owner's, and others are locked while they are written.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Protocol

from pcache.entry.format import length_of
from pcache.storage.claim_owner import CLAIM_SUFFIX
from pcache.system.interrupts import raise_if_interrupt, stands
from pcache.system.locks import Opened, identity_at, locking
from pcache.system.permissions import PRIVATE
from pcache.system.safefiles import NO_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from pcache.storage.claim_owner import Record
    from pcache.system.permissions import Access

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # of a file system, or none are left
AT_ONCE = 64 << 10  # bytes that cost less to copy together than a call for each piece

if TYPE_CHECKING:

    class Standing(Protocol):
        """A claim, as its draft knows it."""

        entry_path: str

        def is_standing(self) -> bool:
            """Whether nobody has removed the claim, and this is the process that took it."""


class TakenAway(OSError):
    """The descriptor that was to be written to is somebody else's by now."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EBADF, "the program closed a descriptor of pcache's", path)


class Draft(Opened):
    """A file that becomes an entry. To be used in a `with`, which closes it whatever comes."""

    def __init__(self, path: str, *, access: Access = PRIVATE, is_new: bool = True) -> None:
        try:
            super().__init__(path, "x+" if is_new else "r+", access.make if is_new else access.reopen)
        except FileExistsError:
            raise
        except BaseException:
            self.close()
            if is_new:
                unlink_if_there(path)  # an interrupt may have come when it was made
            raise

    def lock(self) -> None:
        """Have a sweep know that somebody writes. Where that cannot be had it may remove the file, and no more."""
        try:
            self.use(locking(), self.number, blocking=False)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise

    def publish(self, claim: Standing, pieces: Sequence[Any], *, durable: bool, over: bool, mtime_ns: int) -> int:
        """Write an entry and give it its name; return its size, 0 when the claim does not stand any more.

        `over` says that the entry which stands there is of worth. Who wants no results of before removes the claim,
        then the drafts, and then the entry. So when it is asked whether the claim stands the draft is there: whatever
        happens after the question, the renaming fails, or the entry is removed.
        """
        size = 0
        try:
            written = write_into(self, pieces, mtime_ns)
            if claim.is_standing():
                if not over:
                    unlink_if_there(claim.entry_path)
                os.rename(self.path, claim.entry_path)
                size = written
                if durable:
                    self.use(os.fsync, self.number)  # after the renaming, so that the new name is there too
        except FileNotFoundError:
            if stands(self.path):
                raise
        return size

    def withdraw(self, entry_path: str) -> None:
        """Remove the entry that this has become, unless another stands there by now."""
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
    """Write all, then set the times of access and change; return the number of bytes. Raises `OSError`."""
    fd, total, times = file.number, length_of(pieces), (mtime_ns, mtime_ns)
    done = 0
    if total <= AT_ONCE:
        pieces = (data := b"".join(pieces),)
        # Question and use in one line: see `Opened.use`, which is a call more for each.
        done, _ = (file.is_ours() and (os.pwrite(fd, data, 0), os.utime(fd, ns=times))) or _stop(file)  # type: ignore[func-returns-value]
    if done < total:
        at = 0
        for piece in pieces:
            at = _write_at(file, at, piece)
        file.use(os.utime, fd, ns=times)
    return total


def _write_at(file: Opened, at: int, piece: Any) -> int:
    """Write one piece at its place; return where the next one begins."""
    if not memoryview(piece).nbytes:
        return at
    with memoryview(piece) as view, view.cast("B") as rest:
        done = 0
        while done < len(rest):  # a write may end early
            count = file.use(os.pwrite, file.number, rest[done:], at + done)
            done += count if count and count > 0 else _stop(file)
    return at + done


def _stop(file: Opened) -> Any:
    raise TakenAway(file.path)


class PrivateClaim:
    """A claim that excludes nobody: a draft that is there from the beginning, under a name of its own.

    For file systems without locks, or where they cannot be relied upon; for who stores without having computed, or does
    not wait for another; and for a thread that holds many claims. While the function runs nothing of it is open or
    locked: its record says whose it is. Removing the draft is removing the claim.
    """

    fd = -1  # nobody reads what its owner waits for
    lost = False
    _over = True  # until the draft is there

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
            unlink_if_there(self.path)  # nobody else has this name
            raise
        self._over = False

    def __del__(self) -> None:
        if not self._over:  # an interrupt came before whoever asked for it had it
            self.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass  # nothing is held

    def amend(self, awaits: Sequence[str]) -> None:
        """Nothing is said: no call waits for who excludes nobody."""

    def is_standing(self) -> bool:
        """Whether nobody has removed the claim, and this is the process that took it."""
        return identity_at(self.path) == self._identity and os.getpid() == self._pid

    def publish(self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int) -> int:
        """Write an entry and make it visible under its name, as a claim does."""
        try:
            size = self._publish(pieces, durable=durable, over=not replaces_nothing, mtime_ns=mtime_ns)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            size = 0  # gone, or something else stands there
        self.lost = not size
        return size

    def _publish(self, pieces: Sequence[Any], *, durable: bool, over: bool, mtime_ns: int) -> int:
        if not self.is_standing():
            return 0
        with Draft(self.path, access=self._access, is_new=False) as draft:
            try:
                if self._locks:
                    draft.lock()
                # A file that was made since then may have the inode of ours.
                if draft.use(os.pread, draft.number, len(self._said) + 1, 0) != self._said:
                    return 0
                draft.use(os.ftruncate, draft.number, 0)
                return draft.publish(self, pieces, durable=durable, over=over, mtime_ns=mtime_ns)
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


def draft_path(entry_path: str) -> str:
    """A name that nobody else has, and that listings know as no entry."""
    return f"{entry_path}{CLAIM_SUFFIX}-{os.urandom(4).hex()}"


def unlink_if_there(path: str) -> bool:
    """Remove a file; return whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
