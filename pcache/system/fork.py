"""Sections that must not be running when the process forks: the child has no thread to finish them.

Modules are loaded, and descriptors of locks are opened and closed, as a whole. A module that another thread is loading
while a process is forked can never be loaded in the child, which waits for it for ever; a descriptor that is
unknown there keeps a lock held as long as the child lives.
"""

from __future__ import annotations

import os
import sys
import threading

from pcache.startup import TYPE_CHECKING, Any, Generic, TypeVar, whole
from pcache.system.clock import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LATE", "made_once", "process_token", "whole"]
T = TypeVar("T")
_PATIENCE = 10.0  # seconds that a fork waits for sections of at most some 100 ms
_IMPORTS = 1.0  # seconds that it waits for imports of other threads, which may wait for the forking thread
# The modules that we import late, and their imports; C modules come with one of these. A child could never import one
# that another thread was importing at the fork. Other imports of threads, which may take seconds, are not waited for.
LATE = frozenset(
    "pcache ast backports bisect compression concurrent contextlib copy dataclasses decimal difflib dis enum"
    " fcntl filelock fnmatch gc glob grp hashlib hmac importlib inspect ipaddress itertools json linecache logging"
    " math mmap ntpath numbers opcode pathlib pickle pickletools platform pwd random re resource secrets string struct"
    " textwrap token tokenize traceback typing urllib warnings weakref zlib".split()
)
_taken: list[bool] = []
_token = os.urandom(16)


class made_once(Generic[T]):  # noqa: N801 - reads as a decorator
    """An attribute that is made when it is first asked for, as by `functools.cached_property`, without a lock.

    Before Python 3.12 that has one for all objects of a class: a child that was forked while another thread made the
    attribute would wait for it for ever. Of two threads each may make one.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        made = self._make(instance)
        vars(instance)[self._make.__name__] = made
        return made


def process_token() -> bytes:
    """Bytes that no other process has, not even a forked child.

    Made at import, not on first use: two threads that ask at once would each get their own, and compute the same call
    twice.
    """
    return _token


def _before() -> None:
    # Before a fork `logging` takes its lock, which imports need: a thread that waits for them must not hold it. Whether
    # its hook runs before ours depends on what was imported first.
    lock: Any = getattr(sys.modules.get("logging"), "_lock", None)
    if lock is None or not lock._is_owned():
        _wait()
    else:
        lock.release()
        _wait()
        lock.acquire()


def _wait() -> None:
    # Most modules are imported late, and not all of them under `whole`.
    clock = Stopwatch()
    while _loads_elsewhere() and clock.passed() < _IMPORTS:
        clock.pause(0.001)
    _taken.append(whole.acquire(timeout=_PATIENCE))


def _loads_elsewhere() -> bool:
    """Whether another thread is loading a module of ours. Python has no public way to ask."""
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    ours = [reference() for name, reference in list(locks.items()) if name.partition(".")[0] in LATE]
    owners = {getattr(lock, "owner", None) for lock in ours}
    return bool(owners - {None, threading.get_ident()})


def _after_in_parent() -> None:
    if _taken.pop():
        whole.release()


def _after_in_child() -> None:
    global _token  # noqa: PLW0603 - one per process
    _token = os.urandom(16)
    if _taken.pop():
        whole.release()
    else:
        whole._at_fork_reinit()  # type: ignore[attr-defined]
    _taken.clear()  # of a fork that another thread was about to make


if sys.platform != "win32":
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
