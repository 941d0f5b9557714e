"""What stands for the values that code uses: constants, containers, descriptors, partials, instances.

Functions, classes and modules in them are written by whoever follows these.
"""

from __future__ import annotations

import sys
from enum import Enum
from functools import partial, partialmethod
from struct import Struct
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.additions import author_of, reduced_with
from pcache.anatomy import Anatomy, TooMuch, is_of_c, shown_of
from pcache.codes import facts_of
from pcache.culprit import attempt
from pcache.dispatch import resolve, resolved
from pcache.files import File, note, read_or_miss
from pcache.keys import Nesting, encode, module_name, type_name
from pcache.looking import is_a, look, module_of
from pcache.parts import digest_of
from pcache.provenance import is_user_code, is_user_module

if TYPE_CHECKING:
    from collections.abc import Callable

_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, type(...), slice, range))
_BY_REFERENCE = (FunctionType, type, ModuleType)
_BUILT = frozenset((list, tuple, dict))
_HOLDERS = (set, frozenset, MethodType, MappingProxyType)  # taken apart with what they hold
_DESCRIPTORS = (staticmethod, classmethod, property, partial, partialmethod)
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))
# Of the standard library, objects of these modules are values even where they contain themselves.
_VALUE_MODULES = frozenset(
    "array builtins collections configparser datetime decimal fractions functools ipaddress operator pathlib re string"
    " types typing uuid xml zoneinfo".split()
)
# How objects of the standard library count whose state is not what a program wrote (`os.environ`), is another one in
# each process, or says how far a program has got. The name of a class goes before that of its module or package.
_BY_CLASS, _BY_MAKING, _IN_PARTS, _AS_VALUE = range(4)
_KINDS = {
    # They hold nothing that a result could depend on: locks, logs, threads, what imports modules.
    **dict.fromkeys(
        "_abc _frozen_importlib _frozen_importlib_external _thread _weakref _weakrefset abc codecs importlib logging"
        " multiprocessing os sys threading tkinter warnings weakref".split(),
        _BY_CLASS,
    ),
    # By the code that makes them.
    **dict.fromkeys(
        "_asyncio _io asyncio concurrent contextlib.AsyncExitStack contextlib.ExitStack"
        " contextlib._GeneratorContextManager contextlib._AsyncGeneratorContextManager ctypes.CDLL http io itertools"
        " logging.LoggerAdapter queue socket ssl subprocess.Popen tempfile threading.Barrier"
        " threading.BoundedSemaphore threading.Semaphore threading.Thread threading.Timer unittest urllib.request"
        " xmlrpc".split(),
        _BY_MAKING,
    ),
    **dict.fromkeys(["argparse"], _IN_PARTS),  # the name of a parser is that of the script
    **dict.fromkeys(
        "_io.BytesIO _io.StringIO argparse.Namespace http.cookies itertools.repeat logging.BufferingFormatter"
        " logging.Filter logging.Formatter logging.PercentStyle logging.StrFormatStyle logging.StringTemplateStyle"
        " urllib.request.Request".split(),
        _AS_VALUE,
    ),
}
_NAMESPACES = frozenset(("argparse.Namespace", "types.SimpleNamespace"))  # part by part: one may have no key
_BUILDERS = frozenset(("__init__", "__new__", "__post_init__"))
_MAX_ITEMS = 1000
_MAX_NESTED = 50


class Values:
    """Writes values; `reference(value, path)` says what stands for anything at all.

    `path` is where a value was met: a function that has no name of its own is called after it.
    """

    def __init__(
        self,
        reference: Callable[[Any, str], object],
        package: Callable[[str, str], object],
        ended: Callable[..., None],
    ) -> None:
        self.reference = reference
        self.package = package
        self._ended = ended
        self._open: list[int] = []  # ids of the containers being written
        self._written: dict[
            int, tuple[object, object, frozenset[tuple[type, bool]]]
        ] = {}  # containers, and what stands for them
        self._ends: set[tuple[type, bool]] = (
            set()
        )  # of the container being written, the classes of parts that were not seen whole

    def token(self, value: Any, path: str) -> object:
        """What stands for anything but functions, classes and modules."""
        cls = type(value)
        if cls in _SCALARS:
            return ("value", blake3(b"".join(encode(value))).digest(16))
        if cls in _CONTAINERS:
            return self.container(value, path)
        return self.wrapper(value, path)

    def container(self, value: Any, path: str) -> object:
        """A container by its items, in an order that no hash seed changes; large ones are tables, not code."""
        if len(value) > _MAX_ITEMS or len(self._open) > _MAX_NESTED:
            return self.constant(value, path)
        if isinstance(value, (tuple, list)) and all(type(item) in _SCALARS for item in value):
            return ("value", blake3(b"".join(encode(value))).digest(16))

        def write() -> object:
            # Copies: another thread may change it meanwhile.
            if isinstance(value, dict):
                return [[self.reference(part, path) for part in item] for item in list(value.items())]
            items = [self.reference(item, path) for item in list(value)]
            return sorted(map(digest_of, items)) if isinstance(value, (set, frozenset)) else items

        return self.nested(value, write)

    def nested(self, value: object, write: Callable[[], object]) -> object:
        """What stands for something that may contain itself, or be met often."""
        key = id(value)
        if key in self._open:
            return ("cycle", self._open.index(key))
        if key not in self._written:
            around, self._ends = self._ends, set()
            self._open.append(key)
            try:
                self._written[key] = value, (type(value).__name__, digest_of(write())), frozenset(self._ends)
            finally:
                self._open.pop()
                self._ends |= around
        for cls, seen in self._written[key][2]:
            self.end(cls, seen=seen)
        return self._written[key][1]

    def end(self, cls: type, *, seen: bool = False) -> None:
        """Say that an object was not seen whole, and whether something of it was."""
        self._ends.add((cls, seen))
        self._ended(cls, seen=seen)

    def constant(self, value: object, path: str, *, straight: bool = False) -> object:
        """A value as it would be an argument; without a key, by its parts."""
        chunks, error = attempt(encode, value, Nesting(lambda part: self.reference(part, path), straight=straight))
        if error is None:
            return ("value", blake3(b"".join(chunks)).digest(16))
        return self.made(value, path) if hasattr(type(value), "__next__") else self.in_parts(value, path)

    def in_parts(self, value: object, path: str) -> object:
        """An object by what it consists of."""
        return ("object", self.reference(type(value), path), self.nested(value, lambda: self.taken_apart(value, path)))

    def taken_apart(self, value: object, path: str) -> object:
        """What an object consists of, as far as that is not too much."""
        anatomy = Anatomy(_is_known, lambda part: self.known(part, path))
        try:
            found = anatomy.take_apart(value)
        except TooMuch:
            self.end(type(value))
            return None
        for cls, seen in anatomy.unseen.items():
            self.end(cls, seen=seen)
        return found

    def known(self, part: Any, path: str) -> object:
        """What stands for a part that is not taken apart."""
        if _kind_of(part) in (_BY_CLASS, _BY_MAKING):
            return self.machinery(part, path)
        if (known := name_in_package(part)) and not is_a(part, _BY_REFERENCE):
            return self.package(*known)
        return self.reference(part, path)

    def machinery(self, value: object, path: str) -> object:
        """What changes while a program runs, by its class; and by the code that makes it, where that says something."""
        return (
            self.made(value, path) if _kind_of(value) == _BY_MAKING else ("object", self.reference(type(value), path))
        )

    def made(self, value: object, path: str) -> object:
        self.end(type(value))
        return ("object", self.reference(type(value), path))

    def wrapper(self, value: Any, path: str) -> object:
        """Descriptors, partials, decorated functions and other objects."""
        cls = type(value)
        if is_a(value, _DESCRIPTORS):
            return self.of_functions(value, path)
        if cls is MethodType:
            return ("method", self.reference(value.__func__, path), self.reference(value.__self__, path))
        if cls is MethodWrapperType:
            return ("method", value.__name__, self.reference(value.__self__, path))
        if cls is MappingProxyType:
            return ("proxy", self.nested(value, lambda: self.reference(dict(value), path)))
        if cls is File:
            return ("file", note(read_or_miss(value.path)).digest)
        if is_user_code(cls):
            return self.instance(value, path)
        own = module_name(cls).partition(".")[0]
        if own in ("pcache", "functools") and (wrapper := self.of_functools(value, path)):
            return wrapper
        kind = _kind_of(value)
        if own == "pcache" or kind in (_BY_CLASS, _BY_MAKING):
            return self.machinery(value, path)
        if type_name(cls) in _NAMESPACES:
            return ("object", self.reference(cls, path), self.nested(value, lambda: self.state(value, path)))
        if cls is Struct:  # has no key
            return ("object", self.reference(cls, path), value.format)
        if kind == _IN_PARTS:
            return self.in_parts(value, path)
        # What contains itself is the machinery of a framework: it may be large, and is taken apart within bounds.
        return self.constant(value, path, straight=own not in _VALUE_MODULES)

    def of_functions(self, value: Any, path: str) -> object:
        """Descriptors and partials by the functions in them, and by what a subclass of theirs adds."""
        cls = type(value)
        if is_a(value, (staticmethod, classmethod)):
            return (cls.__name__, self.reference(value.__func__, path), *self.beyond(value, path))
        if is_a(value, property):
            places = zip((value.fget, value.fset, value.fdel), ("", ".setter", ".deleter"), strict=True)
            parts = [self.reference(part, path + place) for part, place in places]
            return (cls.__name__, parts, *self.beyond(value, path))
        parts = [self.reference(part, path) for part in (value.func, value.args, value.keywords)]
        return (cls.__name__, parts, *self.beyond(value, path))

    def beyond(self, value: Any, path: str) -> tuple[object, ...]:
        """What an object of a subclass has that those of Python's own class do not."""
        cls = type(value)
        if cls in _DESCRIPTORS:
            return ()
        shown = shown_of(value)
        kept = [(name, self.reference(shown[name], f"{path}.{name}")) for name in sorted(shown, key=str)]
        return (self.reference(cls, path), kept)

    def of_functools(self, value: Any, path: str) -> object:
        """Cached functions and wrappers of functools by the function in them; None for anything else."""
        wrapped = look(value, "__wrapped__") or look(value, "func")
        if not is_a(wrapped, FunctionType):
            return None
        cls = type(value)
        kind = look(value, "options_digest") if module_name(cls).startswith("pcache") else self.reference(cls, path)
        return ("wrapper", kind, self.reference(wrapped, path), self.reference(look(value, "dispatcher"), path))

    def instance(self, value: Any, path: str) -> object:
        """An instance of a class of the user's by its class and by what pickle would take of it, part by part.

        What methods of the class count up says how often they ran. A part that has no key counts by its class.
        """
        kind = self.reference(type(value), path)
        if hasattr(type(value), "_member_map_"):
            return ("member", kind, _attribute(value, "_name_"), self.reference(_attribute(value, "_value_"), path))
        if hasattr(type(value), "__pcache_key__") or len(self._open) > _MAX_NESTED:
            return ("object", kind, self.constant(value, path))
        return ("object", kind, self.nested(value, lambda: self.state(value, path)))

    def state(self, value: Any, path: str) -> object:
        author, found = author_of(type(value)), None
        if author is None:
            reduced, error = attempt(value.__reduce_ex__, 4)
        else:
            reduced, error = attempt(reduced_with, value, author, 4)
            reduced, found, _ = reduced or (None, None, True)
        if error is not None and is_of_c(type(value)):
            return self.taken_apart(value, path)
        if error is not None or not isinstance(reduced, tuple):
            reduced = (None, (), shown_of(value))
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        written = [self.reference(part, path) for part in (make, list(arguments))]
        for part in (*(state if isinstance(state, tuple) else (state,)), *((found,) if found else ())):
            if type(part) is dict:
                counters = _counters(type(value))
                kept = {key: item for key, item in part.items() if not (key in counters and type(item) in (int, float))}
                written.append([(key, self.reference(kept[key], f"{path}.{key}")) for key in sorted(kept, key=str)])
            else:
                written.append(self.reference(part, path))
        written.append(self.reference([list(items or ()), [list(pair) for pair in pairs or ()]], path))
        return written


def _kind_of(value: object) -> int | None:
    """How an object of the standard library counts, if that is known; a plain value of a kind always as one."""
    cls = type(value)
    module = module_name(cls)
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names or is_a(value, (int, float, str, bytes, tuple, Enum)):
        return None
    names = (f"{module}.{cls.__qualname__}", module, root)
    return next((_KINDS[name] for name in names if name in _KINDS), None)


def _is_known(part: Any) -> bool:
    """Whether something else than its parts stands for an object: a name, a key, or what a package's own object is."""
    cls = type(part)
    if cls in _BUILT:
        return False
    if cls is BuiltinFunctionType:
        return part.__self__ is None or is_a(part.__self__, ModuleType) or known_as(part) is not None
    if is_a(part, _BY_REFERENCE) or hasattr(cls, "_member_map_") or hasattr(cls, "__pcache_key__"):
        return True
    if _kind_of(part) in (_BY_CLASS, _BY_MAKING):
        return True
    if is_a(part, _HOLDERS):
        return False
    reducer = resolved[cls] if cls in resolved else resolve(cls)
    if reducer is not None and reducer.__name__ not in ("_as_pickled", "_refuse_iterator"):
        return True
    return name_in_package(part) is not None


def known_as(method: Any) -> tuple[str, str] | None:
    """The module and name of a bound method of an object that a package made itself: `random.randint`.

    What such an object holds is of the process (random numbers), or says nothing that the package's version does not.
    """
    known = name_in_package(method.__self__)
    return known and (known[0], f"{known[1]}.{method.__name__}")


def name_in_package(value: Any) -> tuple[str, str] | None:
    """The module and name under which the package that an object's class is of holds that very object."""
    module = module_of(type(value))
    if module in ("", "builtins") or is_user_module(module) or module not in sys.modules:
        return None
    return next(((module, name) for name, found in list(vars(sys.modules[module]).items()) if found is value), None)


def _counters(cls: type) -> frozenset[str]:
    """The attributes that methods of a class count up, other than those that put an instance together."""
    members = [item for base in cls.__mro__ for item in vars(base).items() if item[0] not in _BUILDERS]
    functions = [member for _, member in members if isinstance(member, FunctionType)]
    return frozenset().union(*(facts_of(function.__code__).counters for function in functions))


def _attribute(value: Any, name: str) -> Any:
    """An attribute of an object that may compute, or refuse, any of them."""
    return attempt(getattr, value, name, None)[0]
