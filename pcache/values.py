"""What stands for the values that code uses: constants, containers, descriptors, partials, instances.

Functions, classes and modules in them are written by whoever follows these.
"""

from __future__ import annotations

import sys
from enum import Enum
from functools import partial, partialmethod
from struct import Struct
from types import FunctionType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.additions import author_of, reduced_with
from pcache.codes import facts_of
from pcache.culprit import attempt
from pcache.files import File, note, read_or_miss
from pcache.guards import READERS, Attributes, Encoding
from pcache.keys import Nesting, encode, module_name, type_name
from pcache.parts import CONTAINERS, SCALARS, digest_of
from pcache.provenance import is_user_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.walk import Walk

# Of the standard library, objects of these modules are values even where they contain themselves.
_VALUE_MODULES = frozenset(
    "array builtins collections configparser datetime decimal fractions functools ipaddress operator pathlib re string"
    " types typing uuid xml zoneinfo".split()
)
# The state of these is not what a program wrote (`os.environ`, the name of a parser is that of the script), is another
# one in each process, or says how far a program has got: they count by their class, as what has no key does (locks).
_MACHINERY = frozenset(
    "_abc _asyncio _frozen_importlib _frozen_importlib_external _io _thread _weakref _weakrefset abc asyncio codecs"
    " argparse.ArgumentParser concurrent contextlib ctypes.CDLL http importlib io itertools logging multiprocessing os"
    " socket ssl subprocess.Popen sys tempfile threading tkinter unittest urllib.request warnings weakref"
    " xmlrpc".split()
)
_NAMESPACES = frozenset(("argparse.Namespace", "types.SimpleNamespace"))  # part by part: one may have no key
_BUILDERS = frozenset(("__init__", "__new__", "__post_init__"))
# Of objects of these nothing changes in place.
_IMMUTABLE = frozenset(
    "datetime decimal _decimal fractions inspect ipaddress operator pathlib pathlib._local re typing uuid"
    " zoneinfo".split()
)
_MAX_ITEMS = 1000
_MAX_NESTED = 50


class Values:
    """Writes values; `reference(value, path)` says what stands for anything at all.

    `path` is where a value was met: a function that has no name of its own is called after it.
    """

    def __init__(self, walk: Walk) -> None:
        self.reference = walk.reference
        self._walk = walk
        self._open: list[int] = []  # ids of the containers being written
        self._written: dict[int, tuple[object, object]] = {}  # containers, and what stands for them

    def token(self, value: Any, path: str) -> object:
        """What stands for anything but functions, classes and modules."""
        cls = type(value)
        if cls in SCALARS:
            if cls is bytearray:
                self._walk.watch(value, Encoding())
            return ("value", blake3(b"".join(encode(value))).digest(16))
        if cls in CONTAINERS:
            return self.container(value, path)
        return self.wrapper(value, path)

    def container(self, value: Any, path: str) -> object:
        """A container by its items, in an order that no hash seed changes; large ones are tables, not code."""
        if len(value) > _MAX_ITEMS or len(self._open) > _MAX_NESTED:
            return self.constant(value, path)
        if type(value) in READERS:
            self._walk.watch(value, READERS[type(value)])
        if isinstance(value, (tuple, list)) and all(type(item) in SCALARS for item in value):
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
            self._open.append(key)
            try:
                self._written[key] = value, (type(value).__name__, digest_of(write()))
            finally:
                self._open.pop()
        return self._written[key][1]

    def constant(self, value: object, path: str, *, straight: bool = False) -> object:
        """A value as it would be an argument; without a key, its class."""
        if module_name(type(value)) not in _IMMUTABLE:
            self._walk.watch(value, Encoding())
        chunks, error = attempt(encode, value, Nesting(lambda part: self.reference(part, path), straight=straight))
        if error is not None:
            return self.unknown(value, path)
        return ("value", blake3(b"".join(chunks)).digest(16))

    def unknown(self, value: object, path: str) -> object:
        """What has no key: its class; where no other object may stand for it, that very object."""
        own = self._walk.only_this(value, path)
        return ("object", self.reference(type(value), path), *own)

    def wrapper(self, value: Any, path: str) -> object:
        """Descriptors, partials, decorated functions and other objects."""
        cls = type(value)
        if isinstance(value, (staticmethod, classmethod)):
            return (cls.__name__, self.reference(value.__func__, path))
        if isinstance(value, property):
            places = zip((value.fget, value.fset, value.fdel), ("", ".setter", ".deleter"), strict=True)
            return (cls.__name__, [self.reference(part, path + place) for part, place in places])
        if isinstance(value, (partial, partialmethod)):
            parts = (value.func, value.args, value.keywords)
            return (cls.__name__, [self.reference(part, path) for part in parts])
        if isinstance(value, MethodType):
            return ("method", self.reference(value.__func__, path), self.reference(value.__self__, path))
        if isinstance(value, MappingProxyType):
            self._walk.watch(value, READERS[MappingProxyType])
            return ("proxy", self.nested(value, lambda: self.reference(dict(value), path)))
        if isinstance(value, File):
            return ("file", note(read_or_miss(value.path)).digest)
        if is_user_code(cls):
            return self.instance(value, path)
        # Cached functions and functools wrappers keep the function in one attribute, others of functools in the other.
        wrapped = _attribute(value, "__wrapped__") or _attribute(value, "func")
        own = module_name(cls).partition(".")[0]
        if isinstance(wrapped, FunctionType):
            kind = _attribute(value, "options_digest") if own == "pcache" else self.reference(cls, path)
            dispatched = self.reference(_attribute(value, "dispatcher"), path)
            return ("wrapper", kind, self.reference(wrapped, path), dispatched)
        if self._walk.strict and own != "pcache":
            return self.constant(value, path)
        if own == "pcache" or (own in sys.stdlib_module_names and _is_machinery(value)):
            return ("object", self.reference(cls, path))
        if type_name(cls) in _NAMESPACES:
            self._walk.watch(value, Attributes(frozenset()))
            return ("object", self.reference(cls, path), self.nested(value, lambda: self.state(value, path)))
        if cls is Struct:  # has no key
            return ("object", self.reference(cls, path), value.format)
        # What contains itself is the machinery of a framework rather than a value; it changes while it is used.
        return self.constant(value, path, straight=own not in _VALUE_MODULES)

    def instance(self, value: Any, path: str) -> object:
        """An instance of a class of the user's by its class and by what pickle would take of it, part by part.

        What methods of the class count up says how often they ran. A part that has no key counts by its class.
        """
        kind = self.reference(type(value), path)
        if hasattr(type(value), "_member_map_"):
            return ("member", kind, _attribute(value, "_name_"), self.reference(_attribute(value, "_value_"), path))
        if hasattr(type(value), "__pcache_key__") or len(self._open) > _MAX_NESTED:
            return ("object", kind, self.constant(value, path))
        self._walk.watch(value, Attributes(_counters(type(value))))
        return ("object", kind, self.nested(value, lambda: self.state(value, path)))

    def state(self, value: Any, path: str) -> object:
        author, found = author_of(type(value)), None
        if author is None:
            reduced, error = attempt(value.__reduce_ex__, 4)
        else:
            reduced, error = attempt(reduced_with, value, author, 4)
            reduced, found, _ = reduced or (None, None, True)
        if error is not None or not isinstance(reduced, tuple):
            reduced = (None, (), _attribute(value, "__dict__"))
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


def _is_machinery(value: object) -> bool:
    """Whether an object of the standard library counts by its class alone; a plain value of a kind never does."""
    module = module_name(type(value))
    names = (module, module.partition(".")[0], f"{module}.{type(value).__qualname__}")
    return not isinstance(value, (int, float, str, bytes, tuple, Enum)) and not _MACHINERY.isdisjoint(names)


def _counters(cls: type) -> frozenset[str]:
    """The attributes that methods of a class count up, other than those that put an instance together."""
    members = [item for base in cls.__mro__ for item in vars(base).items() if item[0] not in _BUILDERS]
    functions = [member for _, member in members if isinstance(member, FunctionType)]
    return frozenset().union(*(facts_of(function.__code__).counters for function in functions))


def _attribute(value: Any, name: str) -> Any:
    """An attribute of an object that may compute, or refuse, any of them."""
    return attempt(getattr, value, name, None)[0]
