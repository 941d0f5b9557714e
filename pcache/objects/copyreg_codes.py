"""Extension codes of `copyreg`: numbers that pickle writes instead of names.

The number means something else in another process, or nothing. So neither keys nor results hold one.
"""

from __future__ import annotations

import copyreg
import sys
from types import FunctionType

from pcache.objects.lookup import is_a
from pcache.startup import Any
from pcache.system.interrupts import try_call

_PROTOCOL = 5
numbers: dict[tuple[str, str], int] = copyreg._extension_registry  # type: ignore[attr-defined]  # pickle reads it, too


def numbered(obj: Any) -> tuple[str, str] | None:
    """The module and name of an object that pickle would write as a number; call only if there are any."""
    if is_a(obj, (type, FunctionType)):
        name: Any = obj.__qualname__
    else:
        reduce = copyreg.dispatch_table.get(type(obj))
        name = try_call(obj.__reduce_ex__, _PROTOCOL)[0] if reduce is None else try_call(reduce, obj)[0]
    if not isinstance(name, str):
        return None
    import pickle  # late for start-up time

    found = (str(pickle.whichmodule(obj, name)), name)  # type: ignore[attr-defined]  # as pickle itself finds it
    return found if found in numbers else None


def by_name(module: str, name: str) -> Any:
    """The object under a name: called by the pickles of results."""
    __import__(module)
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found
