"""How deeply pickle may recurse: as deep as is safe, whatever limit the program has set.

Up to Python 3.11 the pickler, which is written in C, goes as deep as `sys.setrecursionlimit` allows. With a high limit
that is until the stack of C ends, and the process with it: at 19,000 objects inside of each other where it has 8 MiB.
From 3.12 on Python keeps a limit for C that nobody can raise.

The limit is that of all threads, and others may rely on it, so it stays as it is. What is lowered meanwhile is what
Python has noted for this one thread: how many calls it may still make. That is safe with a stack of 1 MiB or more; how
large that of a thread is cannot be asked (`threading.stack_size()` sets it).
"""

from __future__ import annotations

import sys

from pcache.startup import Any

MOST = 3_000  # calls: 0.7 MiB of a stack at most, while small ones have 1 MiB
RAISED = MOST if sys.version_info < (3, 12) and sys.implementation.name == "cpython" else sys.maxsize
_ROOM_AT, _LIMIT_AT = 32, 36  # offsets in the thread state, in all releases of 3.11: remaining calls, and the most
_SOME = 400  # remaining calls, from which on not the caller but a value is too deep

recursion_limit = sys.getrecursionlimit  # above `RAISED` it is not safe to pickle without `lower`


def lower() -> int:
    """Limit this thread to `MOST` calls inside those that it is in; return the argument for `give_back`."""
    found = _room()
    if found is None or found.value <= MOST:
        return 0
    excess = found.value - MOST
    found.value = MOST  # the last thing done: an interrupt after it comes within the caller's `try`
    return int(excess)


def give_back(excess: int) -> None:
    """Undo what `lower` did, in the same thread."""
    if excess and (found := _room()) is not None:
        found.value += excess


def _room() -> Any:
    """The number of calls that this thread may still make; None where it is not found at its offset."""
    import ctypes  # late for start-up time: few programs raise the limit

    state = ctypes.pythonapi.PyThreadState_Get
    state.restype = ctypes.c_void_p
    address = state()
    if ctypes.c_int.from_address(address + _LIMIT_AT).value != recursion_limit():
        return None
    return ctypes.c_int.from_address(address + _ROOM_AT)


def has_room() -> bool:
    """Whether this thread can make some hundred more calls; otherwise the caller is deep, not a value."""
    try:
        return _descend(_SOME)
    except RecursionError:
        return False


def _descend(calls: int) -> bool:
    return not calls or _descend(calls - 1)
