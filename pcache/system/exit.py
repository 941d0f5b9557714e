"""Flush buffered data when an object or its process ends, and discard it in a forked child.

`atexit` is not all of it: a worker of multiprocessing that was forked ends without calling its functions.
"""

from __future__ import annotations

import atexit
import os
import sys
from _weakrefset import WeakSet

from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable


class Unfinished:
    """Buffers in memory what belongs on disk: written when it is collected, or this process ends."""

    _gathers = False  # an interrupt may come before `__init__` is done

    def __init__(self) -> None:
        """Call this last: a half-made object has nothing to write."""
        self._gathers = True
        _unfinished.add(self)
        _arrange()

    def flush(self) -> object:
        """Write the buffered data; never raises."""

    def reset(self) -> None:
        """Discard it: in a forked child it belongs to the parent."""

    def let_go(self) -> None:
        """Write the buffered data when the object is collected: in the middle of anything, even of an import.

        So this takes no lock that others may hold, imports nothing slow, and never raises.
        """

    def __del__(self, is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if self._gathers and not is_over():  # at the end of a process everything was written before
            try_call(self.let_go)


_unfinished: WeakSet[Unfinished] = WeakSet()
_arranged: set[int] = set()  # ids of processes


def flush_all() -> None:
    """Write the buffered data of all objects; never raises."""
    for _ in range(2):  # an eviction adds counts to an object that may have been flushed before
        for unfinished in list(_unfinished):
            try_call(unfinished.flush)


def _reset() -> None:
    for unfinished in list(_unfinished):
        unfinished.reset()


class _Mark:
    """Lives as long as this module: multiprocessing refers to its after-fork callbacks weakly."""


_mark = _Mark()


def _arrange() -> None:
    """Have multiprocessing call us at the end of a worker, before it ends the process by force."""
    util = sys.modules.get("multiprocessing.util")
    if util is None or os.getpid() in _arranged:
        return
    _arrange_worker()
    util.register_after_fork(_mark, _arrange_worker)


def _arrange_worker(*_: object) -> None:
    """Arrange it in a worker: multiprocessing clears the table, sometimes after it has loaded the program."""
    _arranged.add(os.getpid())
    sys.modules["multiprocessing.util"].Finalize(None, flush_all, exitpriority=10)


atexit.register(flush_all)
if sys.platform != "win32":
    os.register_at_fork(before=_arrange, after_in_child=_reset)
