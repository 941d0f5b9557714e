"""Operating-system locks on files: they die with whoever holds them, also by a kill.

After a fork the child closes its copies of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING

from pcache.access import PRIVATE, Access
from pcache.forks import whole
from pcache.interrupts import pass_on, uninterrupted
from pcache.notices import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.opened import OpenFolder

# Weak, so that one which an interrupt left in nobody's hands is collected, and lets go. No `WeakSet`: what it
# forgets one with is written in Python, and an interrupt that comes there is lost.
_held: set[weakref.ref[Lock]] = set()
_PAUSE = 0.001  # seconds between two tries


class Lock(io.FileIO):
    """A file whose lock is held, or is about to be. Released by closing it; never inherited by a forked child.

    All that opens and closes it is written in C: no signal comes between, also when it is collected.
    """

    number = -1  # of the descriptor, also when it is closed

    def __init__(self, path: str, mode: str = "r+", *, access: Access | OpenFolder = PRIVATE) -> None:
        self.path = path
        try:
            with whole:
                _held.add(weakref.ref(self, _held.discard))
                uninterrupted(super().__init__, path, mode, True, access.open)
                self.number = self.fileno()
        except BaseException:
            self.close()
            raise

    def release(self) -> None:
        """Close the descriptor, which frees the lock."""
        with whole:
            try:
                self.close()
            except OSError as error:
                pass_on(error)  # else it is closed all the same, and what was written is checked when it is read

    def close_copy(self) -> None:
        """In a child: close what a thread of the parent had in hand to close, as a `with` does outside of `whole`."""
        try:
            is_open = os.path.samestat(os.fstat(self.number), os.stat(self.path))
        except OSError:
            return  # it is closed
        if is_open:
            os.closerange(self.number, self.number + 1)

    __del__ = io.FileIO.close  # without the warning that Python's own gives

    @property
    def fd(self) -> int:
        """The descriptor, -1 when it is closed."""
        return -1 if self.closed else self.fileno()


def try_lock(path: str, wait: float = 0.0, *, access: Access | OpenFolder = PRIVATE) -> Lock | None:
    """Take the lock of a file that is there for this alone, None while somebody else holds it for `wait` seconds.

    Where others may write, the folder that it is in is opened, and given as `access`.
    Raises `OSError` when the file cannot be made or locked.
    """
    lock = Lock(path, access=access)
    try:
        deadline = time.monotonic() + wait
        while not locking()(lock.fd, blocking=False):
            if time.monotonic() >= deadline:
                lock.release()
                return None
            time.sleep(_PAUSE)
    except BaseException:
        lock.close()
        raise
    return lock


def take(folder: OpenFolder, name: str, wait: float, *, idle: float) -> Lock | None:
    """Take a lock that only saves work, as `try_lock`; from whoever shows no sign of it for `idle` seconds, too.

    Who holds it may have been stopped, or want to stop others: then the file is replaced, and he holds what nobody asks
    for. `show` is the sign.
    """
    path = os.path.join(folder.path, name)
    lock = try_lock(path, wait, access=folder)
    if lock is None and is_idle(idle, *folder.at(name)):
        say_held(path)
        folder.remove(name)
        lock = try_lock(path, access=folder)
    if lock is not None:
        show(lock)
    return lock


@functools.cache
def say_held(path: str) -> None:
    """Say once of each file that its lock is not waited for."""
    log("%s is locked by a program that does nothing with it: pcache goes on without. `pcache doctor` says more.", path)


def show(lock: Lock) -> None:
    """Show that whoever holds a lock is at work."""
    try:
        os.utime(lock.fd)
    except OSError as error:
        pass_on(error)  # else the file of another user, who shares the directory


def is_idle(seconds: float, path: str, below: int | None = None) -> bool:
    """Whether whoever holds the lock of a file has not shown for some time that he is at work."""
    try:
        return abs(time.time() - os.stat(path, dir_fd=below, follow_symlinks=False).st_mtime) > seconds
    except FileNotFoundError:
        return False


@functools.cache
def locking() -> Callable[..., bool]:
    """What locks a descriptor: `lock(fd, blocking=False)` says whether it could."""
    with whole:
        from filelock import lock_descriptor  # late for start-up time: 45 ms, and a hit needs no lock

    return lock_descriptor


def _after_fork_in_child() -> None:
    for lock in [reference() for reference in list(_held)]:
        if lock is not None:
            lock.release()  # closes this process' copy; unlocking would free the parent's lock
            lock.close_copy()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
