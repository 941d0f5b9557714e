"""What a process does before it ends, and in a child that it forks.

`atexit` is not all of it: a worker of multiprocessing that was forked ends without calling its functions.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Protocol


class Unfinished(Protocol):
    """Something that gathers in memory what belongs on disk."""

    def flush(self) -> object:
        """Write what was gathered; never raises."""

    def reset(self) -> None:
        """Forget it: in a forked child it is the parent's."""


_unfinished: weakref.WeakSet[Unfinished] = weakref.WeakSet()
_arranged: set[int] = set()  # ids of processes


def register(unfinished: Unfinished) -> None:
    """Have `flush` called when this process ends and `reset` in its forked children, as long as the object lives."""
    _unfinished.add(unfinished)
    _arrange()


def _flush() -> None:
    for unfinished in list(_unfinished):
        unfinished.flush()


def _reset() -> None:
    for unfinished in list(_unfinished):
        unfinished.reset()


class _Mark:
    """Lives as long as this module: multiprocessing's table of what is called after a fork is a weak one."""


_mark = _Mark()


def _arrange(*_: object) -> None:
    """Have multiprocessing call us at the end of a worker, which it does before it ends the process by force."""
    util = sys.modules.get("multiprocessing.util")
    if util is None or os.getpid() in _arranged:
        return
    _arranged.add(os.getpid())
    util.Finalize(None, _flush, exitpriority=10)
    util.register_after_fork(_mark, _arrange)  # workers start with an empty table


atexit.register(_flush)
if sys.platform != "win32":
    os.register_at_fork(before=_arrange, after_in_child=_reset)
