"""Signals may interrupt anything: how what was just taken is not lost, and whose exception one is.

Python looks for signals after each call of a function written in C, when a function starts and when a loop goes back.
A signal handler may raise there, as Ctrl-C does, and other threads may have an exception raised. Where something is
taken that must be given back there is no such place between the taking and the `try` or `with` that gives it back; and
what gives it back is itself written in C, since a function written in Python may be interrupted before its first line:
`os.closerange(fd, fd + 1)`, which also keeps to itself what closing reports, as nothing depends on that.
"""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Any, TypeVar

from pcache.errors import PcacheError

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


def uninterrupted(function: Callable[..., R], *args: Any) -> R:
    """Call a function written in C; no signal is looked for between its return and the caller's next call.

    After an ordinary call a signal may raise before the result is assigned. Unpacking an iterator is no call, nor is
    returning.
    """
    [result] = starmap(function, (args,))
    return result


def is_interrupt(error: Exception) -> bool:
    """Whether an exception has nothing to do with the code that it was raised in: a handler of a signal raised it.

    Or another thread did, as libraries for timeouts do. That can be told from what it lacks: a `raise`, and a message.
    Those of Python itself may lack both.
    """
    traceback = error.__traceback__
    while traceback is not None:
        last, frame = traceback, traceback.tb_frame
        if frame.f_back is not None and _is_handler(frame):
            return True
        traceback = traceback.tb_next
    if error.args or error.__traceback__ is None:
        return False
    if type(error).__module__ == "builtins" and type(error) is not TimeoutError:
        return False
    from opcode import opname  # late for start-up time: only failures come here

    return "RAISE" not in opname[last.tb_frame.f_code.co_code[last.tb_lasti]]


def _is_handler(frame: Any) -> bool:
    """Whether a frame is that of a signal handler: it is given the frame that it interrupts."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + bool(code.co_flags & 0x04)]  # CO_VARARGS
    given = [frame.f_locals.get(name) for name in names]
    given += [item for items in given if type(items) is tuple for item in items]
    return bool([item for item in given if item is frame.f_back])


def pass_on(error: OSError) -> None:
    """Raise again what is not the operating system's: `TimeoutError`, which timeouts raise, is an `OSError` as well."""
    if (error.errno is None and not isinstance(error, PcacheError)) or is_interrupt(error):
        raise error
