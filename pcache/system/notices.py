"""Warnings, each given once, and log lines. Neither ever stops a call."""

from __future__ import annotations

import sys

from pcache.startup import TYPE_CHECKING, Literal, late, whole
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.errors import PcacheWarning
    from pcache.text import printable
else:
    printable = late("pcache.text.printable")

_given: set[object] = set()


def log(message: str, *args: object, level: Literal["debug", "info", "warning"] = "warning") -> None:
    """Log to the logger "pcache". Programs that read more than warnings have imported `logging` before."""
    if level != "warning" and "logging" not in sys.modules:
        return
    try_call(_log, message, args, level)  # a handler may be any code


def _log(message: str, args: tuple[object, ...], level: str) -> None:
    import logging  # late for start-up time: most processes never have anything to say

    logger = logging.getLogger("pcache")
    if not logger.isEnabledFor(getattr(logging, level.upper())):
        return
    # A name or path may contain line breaks, or move the cursor.
    shown = (printable.printable(arg) if isinstance(arg, str) else arg for arg in args)
    getattr(logger, level)(message, *shown)


def show(level: str) -> None:
    """Have log lines from a level on, "info" or "debug", shown on standard error if the program handles none."""
    with whole:
        from pcache.system.log_handler import show  # late for start-up time: most programs do not ask for it

    try_call(show, level)


def warn_once(cause: object, message: str, category: type[PcacheWarning]) -> None:
    """Warn, unless a warning for the same cause was given in this process.

    Where warnings are turned into errors the message is logged: the caller of a cached function gets its result.
    """
    if cause in _given or sys.is_finalizing():
        return
    _given.add(cause)
    _, error = try_call(_warn, message, category)  # the program may have replaced how warnings are shown
    if error is not None:
        log("%s", message)


def _warn(message: str, category: type[PcacheWarning]) -> None:
    import warnings  # late for start-up time

    warnings.warn(printable.printable(message), category, stacklevel=_stacklevel())


def _stacklevel() -> int:
    """The stack level of the first caller outside of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pcache":
        level, frame = level + 1, frame.f_back
    return level


def forget() -> None:
    """Forget which warnings were given."""
    _given.clear()
