"""Operating-system locks on files: they die with whoever holds them, also by a kill.

After a fork the child closes its copies of the descriptors, which leaves the parent's locks alone.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING

from pcache.plain import open_own

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

# Weak, so that one which an interrupt left in nobody's hands is collected, and lets go.
_held: weakref.WeakSet[Lock] = weakref.WeakSet()
_PAUSE = 0.001  # seconds between two tries


class Lock:
    """A descriptor whose lock is held, or is about to be. Released by closing it; never inherited by a forked child."""

    __slots__ = ("__weakref__", "fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        _held.add(self)

    def release(self) -> None:
        """Close the descriptor, which frees the lock."""
        _held.discard(self)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: str, wait: float = 0.0) -> Lock | None:
    """Take the lock of a file that is there for this alone, None while somebody else holds it for `wait` seconds.

    Raises `OSError` when the file cannot be made or locked.
    """
    lock = Lock(open_own(path, os.O_RDWR | os.O_CREAT), path)
    try:
        deadline = time.monotonic() + wait
        while not locking()(lock.fd, blocking=False):
            if time.monotonic() >= deadline:
                lock.release()
                return None
            time.sleep(_PAUSE)
    except BaseException:
        lock.release()
        raise
    return lock


@functools.cache
def locking() -> Callable[..., bool]:
    """What locks a descriptor: `lock(fd, blocking=False)` says whether it could."""
    from filelock import lock_descriptor  # late for start-up time: 45 ms, and a hit needs no lock

    return lock_descriptor


def _after_fork_in_child() -> None:
    for lock in list(_held):
        lock.release()  # closes this process' copy; unlocking would free the parent's lock


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
