"""Locks on files, by the operating system: they die with the process that holds them, also when it is killed.

A lock is held while other code runs, which may close any descriptor (`os.closerange` where a program becomes a daemon,
a second `close`) and get its number for a file of its own. So a descriptor is ours only as long as it is the file that
we opened, by device and inode, which is checked before each use; else its number is forgotten. What another thread does
between the check and the use cannot be prevented.

After a fork the child closes its copies of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import errno
import functools
import io
import operator
import os
import sys
import time
from _weakref import ref

from pcache.startup import TYPE_CHECKING, Any, TypeVar
from pcache.system.clock import Stopwatch
from pcache.system.fork import whole
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.notices import log
from pcache.system.permissions import PRIVATE, Access

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.system.directories import OpenFolder

R = TypeVar("R")
_close: Any = io.FileIO.close

# Weak references, so that a lock which an interrupt leaked is released by garbage collection. No `WeakSet`: what it
# forgets one with is written in Python, and an interrupt that comes there is lost.
_held: set[ref[Lock]] = set()
_ELSEWHERE = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)  # held by another; some file systems say EACCES
_PAUSE = 0.001  # seconds between two attempts
_FEW = 16  # locks that any process may hold


Identity = tuple[int, int]  # inode and device of a file
_identity_in: Any = operator.itemgetter(1, 2)  # of a status


def identity_of(fd: int) -> Identity | None:
    """The identity of a descriptor's file; None if it is closed."""
    try:
        found: Identity = _identity_in(os.fstat(fd))
    except OSError as error:
        raise_if_interrupt(error)
        return None
    return found


def identity_at(path: str, below: int | None = None) -> Identity | None:
    """The identity of the file that has a name; None if there is none."""
    try:
        found: Identity = _identity_in(os.stat(path, dir_fd=below, follow_symlinks=False))
    except FileNotFoundError:
        return None
    return found


class Opened(io.FileIO):
    """A file that is open while foreign code runs. Its descriptor is used only while it still is that file's.

    Opening and closing it are C functions: no signal comes between, even when it is collected.
    """

    number = -1  # of the descriptor, also when it is closed
    identity: Identity | None = None

    def __init__(self, path: str, mode: str, opener: Callable[[str, int], int]) -> None:
        self.path = path
        begin, how, number = super().__init__, (path, mode, True, opener), self.fileno
        # In one line: no signal comes between opening it and recording what it is.
        _, self.number, self.identity = uninterrupted(begin, *how), (fd := number()), _identity_in(os.fstat(fd))

    def is_ours(self) -> bool:
        """Whether the descriptor is open and still that of the file opened here; else it is forgotten."""
        try:
            return _identity_in(os.fstat(self.number)) == self.identity or self._forget()
        except OSError as error:
            raise_if_interrupt(error)
            return error.errno != errno.EBADF or self._forget()  # closed; else the disk does not answer

    def status(self) -> os.stat_result | None:
        """The file's status, None if the descriptor is no longer ours."""
        try:
            status = os.fstat(self.number)
        except OSError as error:
            raise_if_interrupt(error)
            return None
        return status if _identity_in(status) == self.identity else None

    def _forget(self) -> bool:
        self.close = _nothing  # type: ignore[method-assign]
        return False

    def use(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R | None:
        """Call a function that uses the descriptor, as long as it is ours."""
        return function(*args, **kwargs) if self.is_ours() else None  # in one line: nothing comes between

    def is_in_place(self) -> bool:
        """Whether the file still has its name: another process may have renamed or removed it."""
        return self.identity is not None and identity_at(self.path) == self.identity

    def release(self) -> None:
        """Close the descriptor, if it is ours."""
        try:
            _close(self) if self.is_ours() else None  # as `use`
        except OSError as error:
            raise_if_interrupt(error)  # else it is closed all the same, and what was written is checked when it is read

    # What `with` and collecting call, a C function: `close` of the object, which does nothing once it is forgotten.
    # Python's own finalizer would warn as well.
    __del__: Any = property(operator.attrgetter("close"))

    @property
    def fd(self) -> int:
        """The descriptor, -1 when it is closed or forgotten."""
        return -1 if self.closed or self.close is _nothing else self.number


class Lock(Opened):
    """A file whose lock is held, or is about to be. Released by closing it; never inherited by a forked child."""

    def __init__(
        self,
        path: str,
        mode: str = "r+",
        *,
        access: Access | OpenFolder = PRIVATE,
        opener: Callable[[str, int], int] | None = None,
    ) -> None:
        try:
            with whole:
                _held.add(ref(self, _held.discard))
                super().__init__(path, mode, opener or access.open)
        except BaseException:
            self.close()
            raise

    def release(self) -> None:
        """Close the descriptor, which frees the lock."""
        with whole:
            super().release()

    def close_copy(self) -> None:
        """In a child: close a copy that a thread of the parent was about to close, outside of `whole`.

        Copies that were forgotten are left alone, as in the parent.
        """
        if self.identity is not None and identity_of(self.number) == self.identity:
            os.closerange(self.number, self.number + 1)
        self.identity = None


class Unlocked:
    """In place of a lock that is not needed: `contextlib` has one, and takes a millisecond to load."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def _nothing() -> None:
    """Replaces `close` when the descriptor's number belongs to another file."""


def try_lock(
    path: str, wait: float = 0.0, *, access: Access | OpenFolder = PRIVATE, by: Callable[..., bool] | None = None
) -> Lock | None:
    """Take the lock of a file that exists only for this; None while another process holds it for `wait` seconds.

    Where others may write, the file's folder is opened, and passed as `access`. `by` locks its descriptor instead of
    `locking()`. Raises `OSError` when the file cannot be made or locked.
    """
    lock = Lock(path, access=access)
    try:
        if _took(lock, by or locking(), wait):
            return lock
        lock.release()
    except BaseException:
        lock.close()
        raise
    return None


def _took(lock: Lock, by: Callable[..., bool], wait: float) -> bool:
    """Whether a lock was free within so many seconds."""
    clock = Stopwatch()
    while not by(lock.fd, blocking=False):
        if clock.passed() >= wait:
            return False
        clock.pause(_PAUSE)
    return True


def is_crowded() -> bool:
    """Whether the locks of this process use a quarter of the descriptors that it may have open.

    That happens when nested computations lose their context (a `Context` or thread of its own for each).
    """
    if len(_held) < _FEW:
        return False
    try:
        import resource  # late for start-up time, and not there on Windows
    except ImportError:
        return False
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most != resource.RLIM_INFINITY and len(_held) >= most // 4


def take(folder: OpenFolder, name: str, wait: float, *, idle: float) -> Lock | None:
    """Take a lock that only saves work, as `try_lock`; also from a holder that gives no sign for `idle` seconds.

    The holder may have been stopped, or want to stop others: then the file is replaced, and the old lock has no effect.
    `show` is the sign.
    """
    path = os.path.join(folder.path, name)
    lock = try_lock(path, wait, access=folder, by=_library())
    if lock is None and is_idle(idle, *folder.at(name)):
        say_held(path)
        folder.remove(name)
        lock = try_lock(path, access=folder, by=_library())
    if lock is not None:
        try:
            show(lock)
        except BaseException:
            lock.close()
            raise
    return lock


@functools.cache
def say_held(path: str) -> None:
    """Log once for each file that its lock is not waited for."""
    log("%s is locked by a program that does nothing with it: pcache goes on without it; see `pcache doctor`.", path)


def show(lock: Lock) -> None:
    """Show that the holder of a lock is at work."""
    try:
        os.utime(lock.fd)
    except OSError as error:
        raise_if_interrupt(error)  # else the file of another user, who shares the directory


def is_idle(seconds: float, path: str, below: int | None = None) -> bool:
    """Whether the holder of a file's lock has not shown for some time that it is at work."""
    try:
        return abs(time.time() - os.stat(path, dir_fd=below, follow_symlinks=False).st_mtime) > seconds
    except FileNotFoundError:
        return False


@functools.cache
def _library() -> Callable[..., bool]:
    """That of filelock, for upkeep: loading it takes 45 to 70 ms, more than all else of a process's first miss."""
    with whole:
        from filelock import lock_descriptor  # late for start-up time

    return lock_descriptor


if sys.platform == "win32":
    locking = _library
else:
    from fcntl import LOCK_EX, LOCK_NB, flock

    def locking() -> Callable[..., bool]:
        """The function that locks a descriptor: `lock(fd, blocking=False)` returns whether it did."""
        return _lock

    def _lock(fd: int, *, blocking: bool) -> bool:
        """The same lock as filelock takes, without the 80 modules that this loads."""
        try:
            flock(fd, LOCK_EX if blocking else LOCK_EX | LOCK_NB)
        except OSError as error:
            raise_if_interrupt(error)
            if error.errno in _ELSEWHERE:
                return False
            raise
        return True


def _after_fork_in_child() -> None:
    for lock in [reference() for reference in list(_held)]:
        if lock is not None:
            lock.release()  # closes this process' copy; unlocking would free the parent's lock
            lock.close_copy()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
