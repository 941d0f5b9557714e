"""A clock that nobody can set, and waits that end even where that clock stands still.

Programs and their tests stop clocks (freezegun, libfaketime, a patched `time.monotonic`). A limit that is asked of such
a clock alone never comes, so what was slept counts as well.
"""

from __future__ import annotations

import functools
import time

_GREEN = ("gevent", "eventlet")  # their sleep lets other green threads run, one of which may be waited for
# Partial objects: tools that replace the functions of `time` wherever they find them do not find these.
now = functools.partial(time.monotonic)
_sleep = functools.partial(time.sleep)


class Stopwatch:
    """The time that something has been waited for, in seconds."""

    __slots__ = ("_began", "_slept")

    def __init__(self) -> None:
        self._began = now()
        self._slept = 0.0

    def pause(self, seconds: float) -> None:
        """Sleep, in a program of green threads as these do, whenever it was patched for them."""
        patched = str(getattr(time.sleep, "__module__", ""))
        (time.sleep if patched.partition(".")[0] in _GREEN else _sleep)(seconds)
        self._slept += seconds

    def add(self, seconds: float) -> None:
        """Add time that was waited in another way."""
        self._slept += seconds

    def passed(self) -> float:
        """The seconds since this was made: by the clock, but at least those that were slept."""
        return max(now() - self._began, self._slept)
