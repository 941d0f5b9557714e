"""Which exceptions may leave a cached call, besides those of the function itself.

Everything but the function runs inside of one guard at the boundary: in `CachedFunction.__call__` up to the function's
call, and in `Misses.compute` around and after it. Code further down may raise anything.
"""

from __future__ import annotations

import sys

from pcache.errors import (
    ConfigError,
    NotNow,
    NotRecorded,
    PcacheWarning,
    StoreWarning,
    Uncached,
    UnhashableArgument,
    UnpicklableResult,
)
from pcache.objects.culprit import described, where
from pcache.objects.lookup import qualname_of
from pcache.system.interrupts import is_interrupt
from pcache.system.notices import log, warn_once

_PASSING = (NotNow, ConfigError, NotRecorded, UnhashableArgument, UnpicklableResult)


def passes(error: BaseException, name: str, unhashable: str = "raise") -> bool:
    """Whether to raise an exception that is not the function's own to the caller; else the user is warned once.

    Interrupts are raised, and the exceptions that cached calls add; `Uncached` is not. There is no warning of a
    `RecursionError`, which depends on where the call is made, nor when the interpreter exits. With
    `unhashable="compute"` an argument without a key does not raise.
    """
    try:
        return _judge(error, name, unhashable)
    except KeyboardInterrupt:
        raise
    except BaseException as another:
        if _came_just_now(another):
            raise
        return False


def _came_just_now(error: BaseException) -> bool:
    """Whether judging was interrupted; else it failed because Python itself is broken, as when `len` is replaced."""
    try:
        return is_interrupt(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - judging is impossible
        return False


def _judge(error: BaseException, name: str, unhashable: str) -> bool:
    kind = type(error)  # `isinstance` would run code of the exception, whose class may be the user's
    if kind is UnhashableArgument and unhashable == "compute":
        error = without_key(error)  # type: ignore[arg-type]
        kind = Uncached
    if kind is Uncached:
        _say(error, name)  # type: ignore[arg-type]
        return False
    if issubclass(kind, _PASSING) or is_interrupt(error):
        return True
    if not sys.is_finalizing() and not issubclass(kind, RecursionError):
        place = where(error)
        text = (
            f"a call of {name} goes on without the cache, which failed{place and ' at '}{place} with {described(error)}"
        )
        warn_once((name, "guard", qualname_of(kind), place), text, StoreWarning)
    return False


def without_key(error: UnhashableArgument) -> Uncached:
    """Turn the error of an argument without a key into a reason to compute the call."""
    return Uncached(str(error), parameter=error.parameter)


def _say(error: Uncached, name: str) -> None:
    """Warn or log that a call is computed without the cache."""
    if error.parameter:
        text = f"calls of {name} are computed without the cache: {error.detail}"
        warn_once((name, "no key", error.parameter), text, PcacheWarning)
    else:
        log("a call of %s is computed without the cache: %s", name, error.detail, level="info")
    error.__traceback__ = error.__context__ = None  # frames keep arguments alive
