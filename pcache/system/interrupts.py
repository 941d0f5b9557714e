"""Signal safety: leak nothing when a signal interrupts, and let the exceptions of signal handlers through.

Python checks for signals after each call of a C function, when a function starts and when a loop goes back. There a
signal handler may raise, as Ctrl-C does, or another thread's exception arrive. So there is no such place between
acquiring a resource and the `try` or `with` that releases it. What releases it is itself a C function, since a Python
function may be interrupted before its first line: `os.closerange(fd, fd + 1)`, which also ignores errors of closing, as
nothing depends on them.
"""

from __future__ import annotations

import os
import sys
from _signal import NSIG, getsignal  # type: ignore[import-not-found]  # `signal` takes longer to load
from functools import partial
from itertools import starmap
from threading import get_ident, main_thread
from types import FunctionType, MethodType

from pcache.errors import PcacheError
from pcache.startup import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

# How Python accesses the traceback of an exception. By name it would go through the exception's class, and may run
# other code: a frozen one, such as a dataclass, refuses to be set.
TRACEBACK: Any = BaseException.__traceback__
CONTEXT: Any = BaseException.__context__
_ARGS: Any = BaseException.args

_GREEN = frozenset(("gevent", "greenlet", "eventlet"))  # they throw into a green thread, to end it or time it out
_DEBUGGERS = frozenset(("bdb",))  # their exception for quitting is raised wherever the program is
_EXITS = frozenset(("exit", "_exit", "exit_thread"))  # functions that code calls to raise SystemExit itself
_MAIN = ("__main__", "__mp_main__")  # they may have no file
_OF_THE_SYSTEM = frozenset(kind for kind in (OSError, *OSError.__subclasses__()) if kind.__module__ == "builtins")
_MADE_UP = 8  # bytes of the code of `PyCode_NewEmpty`


def uninterrupted(function: Callable[..., R], *args: Any) -> R:
    """Call a C function; no signal is checked between its return and the caller's next call.

    After an ordinary call a signal may raise before the result is assigned. Unpacking an iterator is not a call, nor is
    returning.
    """
    [result] = starmap(function, (args,))
    return result


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception was not caused by the code that it was raised in, but asks the program to stop.

    Told by its origin, since any code may raise any class: it is Ctrl-C; a signal handler is among its frames; another
    thread has thrown it, as libraries for timeouts do; or a debugger has, or a library for green threads.
    """
    kind = type(error)
    if issubclass(kind, (KeyboardInterrupt, RecursionError)):
        return issubclass(kind, KeyboardInterrupt)
    traceback, last = TRACEBACK.__get__(error), None
    handlers = _handlers() if get_ident() == main_thread().ident else None  # only there they run
    while traceback is not None:
        last, frame = traceback, traceback.tb_frame
        if handlers is not None and frame.f_back is not None and (frame.f_code in handlers or _is_handler(frame)):
            return True
        traceback = traceback.tb_next
    if _is_of(kind, _DEBUGGERS if issubclass(kind, Exception) else _GREEN):
        return True
    return last is not None and _is_from_a_thread(error, last.tb_frame.f_code, last.tb_lasti)


def _is_handler(frame: Any) -> bool:
    """Whether a frame is a signal handler's: its arguments are a signal's number and the interrupted frame.

    None of ours is. To read the variables of one that handles the exception would tie both together, until garbage is
    collected, and with them the arguments of calls.
    """
    code, module = frame.f_code, frame.f_globals.get("__name__")
    if type(module) is str and module.startswith("pcache."):
        return False
    names = code.co_varnames[: code.co_argcount + bool(code.co_flags & 0x04)]  # CO_VARARGS
    given = [frame.f_locals.get(name) for name in names]
    given += [item for items in given if type(items) is tuple for item in items]
    numbers = [item for item in given if type(item) is int and 0 < item < NSIG]
    return bool(numbers) and any(item is frame.f_back for item in given)


def _handlers() -> set[Any]:
    """The code of the installed handlers: one may have deleted its arguments (`del signum, frame`)."""
    codes = set()
    for number in range(1, NSIG):
        handler: Any = getsignal(number)
        while type(handler) in (partial, MethodType):
            handler = handler.func if type(handler) is partial else handler.__func__
        if type(handler) is not FunctionType:
            handler = getattr(type(handler), "__call__", None)  # noqa: B004 - its code, not whether there is one
        codes.add(getattr(handler, "__code__", None))
    return codes


def _is_of(kind: type, packages: frozenset[str]) -> bool:
    """Whether a class, or one of its bases, is from one of these packages."""
    return any(str(base.__module__).partition(".")[0] in packages for base in kind.__mro__)


def _is_from_a_thread(error: BaseException, code: Any, at: int) -> bool:
    """Whether another thread raised an exception, in the frame that its traceback ends with.

    Python raises those at three kinds of instructions. Where a function starts or a loop goes back nothing else raises.
    After a call it may have been what was called; but a function written in C raises exceptions that are as well, and
    other threads a class: Python makes an object of it without arguments. What C code raises ends in a frame without
    code of its own.
    """
    try:
        from opcode import opname  # late for start-up time: only failures come here
    except ImportError:
        return False  # at the end of the interpreter, or where Python's own files cannot be read, or `import` is taken
    if not code.co_consts and len(code.co_code) <= _MADE_UP:
        return False  # a frame that Cython makes for a traceback, whose code never ran
    instruction = opname[code.co_code[at]] if 0 <= at < len(code.co_code) - 1 else ""
    if "JUMP_BACKWARD" in instruction or (instruction == "RESUME" and not code.co_code[at + 1] & 3):
        return True
    if not instruction.startswith(("CALL", "PRECALL", "RESUME")):
        return False
    kind, args = type(error), _ARGS.__get__(error)
    if kind is SystemExit:
        return not args and not _EXITS.intersection(code.co_names)
    if kind is TimeoutError:
        return not args
    return (not args or not issubclass(kind, Exception)) and _is_of_python(kind)


def _is_of_python(kind: type) -> bool:
    """Whether a class was written in Python. A `_queue.Empty` was not, nor what extensions call a panic."""
    name = str(kind.__module__)
    if name.partition(".")[0] in sys.builtin_module_names or name.startswith("asyncio."):
        return False  # the latter because futures written in C raise some of them
    file = getattr(sys.modules.get(name), "__file__", None)
    return file.endswith((".py", ".pyc")) if isinstance(file, str) else name in _MAIN


def raise_if_interrupt(error: OSError) -> None:
    """Raise an exception again that is not the system's: `TimeoutError`, which timeouts raise, is an `OSError` as well.

    The guard at the edge decides whether the caller gets it.
    """
    if error.errno is None and not isinstance(error, PcacheError):
        raise error
    if type(error) in _OF_THE_SYSTEM and error.errno is not None:
        # The usual case, for which the rest of this would look longer: no code but ours is among its frames, so that no
        # handler raised it; and it has a number, which no exception has that another thread raises by its class.
        traceback = TRACEBACK.__get__(error)
        while traceback is not None and str(traceback.tb_frame.f_globals.get("__name__")).startswith("pcache."):
            traceback = traceback.tb_next
        if traceback is None:
            return
    if is_interrupt(error):
        raise error


def stands(path: str) -> bool:
    """Whether a path exists; as `os.path.lexists`, which swallows a `TimeoutError` as well."""
    try:
        os.lstat(path)
    except OSError as error:
        raise_if_interrupt(error)
        return False
    return True


def try_call(function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Call foreign code; return its result and None, or None and the exception that it raised."""
    try:
        return function(*args), None
    except BaseException as error:  # a panic of Rust and `sys.exit` as well: none of it may reach the caller
        if is_interrupt(error):
            raise
        return None, error


def attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
    """The same for who does not ask which exception it was; whether there was none.

    An exception that is kept in a variable keeps all callers of its frame, until garbage is collected.
    """
    try:
        return function(*args), True
    except BaseException as error:
        if is_interrupt(error):
            raise
        return None, False
