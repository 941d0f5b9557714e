"""The module that a function is at home in, however the program was started.

`python script.py` runs as `__main__` what others import as `script`, and a pool's workers see it as `__mp_main__`. The
function's name is the same in all of them, so they share results. What pickle knows by name is not: a `__main__.Point`
is the class of the program that runs, and `script.Point` another one. Where the function's code mentions the class, its
fingerprint keeps them apart. A class that no analysis sees is why entries are marked here, and looked at when read.
"""

from __future__ import annotations

import functools
import os
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.keys.encoder import module_name
from pcache.objects.culprit import attempt
from pcache.objects.lookup import attributes_of, look, qualname_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAIN = ("__main__", "__mp_main__")
_MISSING = object()
SHARED, MADE_BY_MAIN, MADE_BY_IMPORT = 0, 1, 2  # flags of an entry


class Home(NamedTuple):
    """Where a function comes from: `name` is that of its module as an import says it, `namespace` the module's names.

    `namespace` is None for what is no plain function of the module it names, such as one that a decorator made.
    """

    name: str
    is_main: bool
    namespace: Mapping[str, Any] | None


def home_of(function: Callable[..., Any]) -> Home:
    """Find the home of a function; notebooks, REPLs and `python -c` stay `__main__`."""
    module = module_name(function) or module_name(type(function))
    is_main = module == "__main__"
    names = look(function, "__globals__")
    names = names if type(names) is dict else {}
    own = text(names.get("__name__"))
    if own != module and not (is_main and own in _MAIN):
        return Home(module, is_main, None)
    return Home(import_name(names), is_main, names)


def import_name(namespace: Mapping[str, Any]) -> str:
    """The name of a module as an import says it, by its names; that of a notebook or REPL is `__main__`."""
    name, file = text(namespace.get("__name__")), text(namespace.get("__file__"))
    if name not in _MAIN:
        return name
    if not file.endswith(".py"):
        return "__main__"
    stem, package = os.path.basename(file).removesuffix(".py"), text(namespace.get("__package__"))
    return f"{package}.{stem}" if package else stem


def flags_of(stream: bytes, home: Home | None) -> int:
    """The mark of an entry: whether its pickle names the function's own module, and how that was loaded."""
    if home is None or home.namespace is None:
        return SHARED
    if home.is_main:
        named = b"main__" in stream and any(_names(stream, module) for module in _MAIN)
        return MADE_BY_MAIN if named else SHARED
    return MADE_BY_IMPORT if home.name.encode() in stream and _names(stream, home.name) else SHARED


def _names(stream: bytes, module: str) -> bool:
    """Whether a pickle, or one of an older protocol inside of it, may name a module. Data that looks so counts too."""
    name = module.encode()
    return b"\x8c" + bytes([len(name) & 0xFF]) + name in stream or b"c" + name + b"\n" in stream


def means_the_same(flags: int, stream: Any, home: Home | None) -> bool:
    """Whether what a marked entry's pickle finds in its module is what the function finds in its own.

    True in the program that made it, since there both are one module. Nothing is imported: that would run a script.
    """
    if home is None or home.namespace is None or flags not in (MADE_BY_MAIN, MADE_BY_IMPORT):
        return False
    module = "__main__" if flags == MADE_BY_MAIN else home.name
    loaded = attributes_of(sys.modules.get(module))
    if loaded is home.namespace:
        return True
    from pcache.entry.pickle_imports import (
        imports_of,  # late for start-up time: the program that made an entry needs no look at it
    )

    names = set()
    for imported in imports_of(bytes(stream)):
        for prefix in _MAIN if flags == MADE_BY_MAIN else (module,):
            if imported.startswith(f"{prefix}."):
                names.add(imported[len(prefix) + 1 :].partition(".")[0])
    return bool(names) and all(loaded.get(name, _MISSING) is home.namespace.get(name) for name in names)


def take_after(wrapper: Any, function: Callable[..., Any]) -> None:
    """Give what stands for a function its name, docstring and attributes.

    An object that is called like one may stand for anything, and is not asked for any.
    """
    if type(function) is FunctionType:
        functools.update_wrapper(wrapper, function, updated=())
    else:
        for name in functools.WRAPPER_ASSIGNMENTS:
            if (value := look(function, name)) is not None:
                setattr(wrapper, name, value)
    for name, value in attributes_of(function).items():
        # The function's own `key` or `get` must not hide ours.
        if type(name) is str and not hasattr(type(wrapper), name):
            setattr(wrapper, name, value)
    wrapper.__wrapped__ = function


def names_itself(obj: Any) -> bool:
    """Whether a pickle of `obj` is to refer to it by name; to be asked by its `__reduce__`.

    Plain pickle can only write the names of functions. But dill and cloudpickle write those of `__main__` by value, for
    processes in which that is another program, or was forked before the function was there; cloudpickle those of
    modules, too, that it was told of. They must be given a function then.
    """
    found: Any = sys.modules.get(text(look(obj, "__module__")))
    for part in qualname_of(obj).split("."):
        found, _ = attempt(getattr, found, part, None)  # as pickle looks for it
    if found is not obj:
        return False
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__") == "pickle" and frame.f_back is not None:
        frame = frame.f_back  # the pickler that is written in Python, of which dill's is a subclass
    pickler, is_main = str(frame.f_globals.get("__name__")), module_name(obj) == "__main__"
    if pickler.endswith("cloudpickle.cloudpickle"):  # also the copies in joblib and others
        chosen = frame.f_globals.get("_PICKLE_BY_VALUE_MODULES", ())
        return not (is_main or any(f"{obj.__module__}.".startswith(f"{module}.") for module in chosen))
    return not (is_main and pickler == "dill._dill")
