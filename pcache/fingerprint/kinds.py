"""How objects of the standard library and of packages count, where a key or their parts would say too much.

An object may be of the process and not what a program wrote, say how far the program has got, or belong to a package.
"""

from __future__ import annotations

import sys
from functools import partial
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType

from pcache.keys.dispatch import AS_PICKLED, in_turn, resolve, resolved
from pcache.keys.names import module_name
from pcache.objects.lookup import attributes_of, class_name, is_a, is_exactly, member, module_of, qualname_of
from pcache.objects.user_code import is_user_module
from pcache.startup import Any

# How objects of the standard library count whose state was not set by a program (`os.environ`), differs in each
# process, or says how far a program has got. The name of a class precedes that of its module or package.
BY_CLASS, BY_MAKING, IN_PARTS, AS_VALUE = range(4)
_KINDS = {
    # They hold nothing that a result could depend on: locks, logs, threads, importers.
    **dict.fromkeys(
        "_abc _frozen_importlib _frozen_importlib_external _thread abc codecs importlib logging"
        " multiprocessing os sys threading tkinter warnings".split(),
        BY_CLASS,
    ),
    # By the code that makes them.
    **dict.fromkeys(
        "_asyncio _io _queue _thread._local _weakref _weakrefset asyncio concurrent contextlib.AsyncExitStack"
        " contextlib.ExitStack contextlib._GeneratorContextManager contextlib._AsyncGeneratorContextManager"
        " ctypes.CDLL http io itertools logging.LoggerAdapter queue socket ssl subprocess.Popen tempfile"
        " threading.Barrier threading.BoundedSemaphore threading.Semaphore threading.Thread threading.Timer unittest"
        " urllib.request weakref xmlrpc".split(),
        BY_MAKING,
    ),
    **dict.fromkeys(["argparse"], IN_PARTS),  # the name of a parser is that of the script
    **dict.fromkeys(
        "_io.BytesIO _io.StringIO argparse.Namespace http.cookies itertools.repeat logging.BufferingFormatter"
        " logging.Filter logging.Formatter logging.PercentStyle logging.StrFormatStyle logging.StringTemplateStyle"
        " urllib.request.Request".split(),
        AS_VALUE,
    ),
}
CYTHON = frozenset(("cython_function_or_method", "fused_cython_function"))  # each module has its own such classes
_BY_REFERENCE = (FunctionType, type, ModuleType)
_BUILT = frozenset((list, tuple, dict))
_HOLDERS = (set, frozenset, MethodType, MappingProxyType)  # taken apart with what they hold


def kind_of(value: object) -> int | None:
    """How an object of a library counts, if that is known; a plain value always counts as a value.

    Objects refused as arguments, since reading changes them or their source may change, count by their making.
    """
    cls = type(value)
    reducer = _reducer_of(cls)
    if reducer is not None and reducer.__qualname__.startswith("_refuse"):
        return BY_MAKING
    module = module_name(cls)
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names or is_a(value, (int, float, str, bytes, tuple)) or _is_member(value):
        return None
    if module == "logging" and _is_made_by_hand(value):
        return BY_MAKING
    names = (f"{module}.{qualname_of(cls)}", module, root)
    return next((_KINDS[name] for name in names if name in _KINDS), None)


def _is_member(value: object) -> bool:
    """Whether a value is a member of an enumeration. Where `enum` is not loaded there are none."""
    enum = sys.modules.get("enum")
    return enum is not None and is_a(value, enum.Enum)


def is_generator(value: object) -> bool:
    """Whether an object makes random numbers: it moves on with each of them."""
    module = module_name(type(value))
    return module == "random" or module.startswith("numpy.random.")


def _is_made_by_hand(value: Any) -> bool:
    """Whether a logger was not made by `getLogger`; loggers that it makes say nothing about results."""
    logging = sys.modules["logging"]
    known = logging.Logger.manager.loggerDict.get(attributes_of(value).get("name"))
    return type(value) is logging.Logger and known is not value and logging.root is not value


def is_known(part: Any) -> bool:
    """Whether an object is represented by something other than its parts: a name, a key, or a package's own object."""
    cls = type(part)
    if is_exactly(part, _BUILT):
        return False
    if cls is BuiltinFunctionType:
        return part.__self__ is None or is_a(part.__self__, ModuleType) or known_as(part) is not None
    if (
        is_a(part, _BY_REFERENCE)
        or class_name(part) in CYTHON
        or any(member(cls, name) is not None for name in ("_member_map_", "__pcache_key__"))
    ):
        return True
    if kind_of(part) in (BY_CLASS, BY_MAKING):
        return True
    if is_a(part, _HOLDERS):
        return False
    reducer = _reducer_of(cls)
    return (reducer is not None and reducer not in AS_PICKLED) or name_in_package(part) is not None


def _reducer_of(cls: type) -> Any:
    """The reducer for objects of a class, whatever their shape."""
    reducer: Any = resolved[id(cls)] if id(cls) in resolved else resolve(cls)
    while type(reducer) is partial and reducer.func is in_turn:
        reducer = reducer.args[1]
    return reducer


def known_as(method: Any) -> tuple[str, str] | None:
    """The module and name of a bound method of an object that a package made itself: `random.randint`.

    The data of such an object belongs to the process (random numbers), or follows from the package's version.
    """
    known = name_in_package(method.__self__)
    return known and (known[0], f"{known[1]}.{method.__name__}")


def name_in_package(value: Any) -> tuple[str, str] | None:
    """The module and name under which a package holds this instance of one of its classes."""
    module = module_of(type(value))
    if module in ("", "builtins") or is_user_module(module) or module not in sys.modules:
        return None
    members = list(attributes_of(sys.modules[module]).items())
    return next(((module, name) for name, found in members if found is value and type(name) is str), None)
