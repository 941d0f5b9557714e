"""What stands for the values that code uses: constants, containers, descriptors, partials, instances.

Functions, classes and modules in them are written by whoever follows these.
"""

from __future__ import annotations

import sys
from enum import Enum
from functools import partial, partialmethod
from itertools import islice
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
from pcache.looking import (
    attributes_of,
    bases_of,
    class_name,
    is_a,
    is_exactly,
    kept,
    look,
    member,
    members_of,
    qualname_of,
)
from pcache.parts import CONTAINERS, SCALARS, digest_of
from pcache.provenance import is_user_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.additions import Author
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
_NUMBERS = frozenset((int, float))
_MAX_READ = 1 << 24  # items of an object's own iterator, which may have no end
# Of objects of these nothing changes in place.
_IMMUTABLE = frozenset(
    "builtins datetime decimal _decimal fractions inspect ipaddress operator pathlib pathlib._local re typing uuid"
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
        if is_exactly(value, SCALARS):
            if type(value) is bytearray:
                self._walk.watch(value, Encoding())
            return ("value", blake3(b"".join(encode(value))).digest(16))
        if is_exactly(value, CONTAINERS):
            return self.container(value, path)
        return self.wrapper(value, path)

    def container(self, value: Any, path: str) -> object:
        """A container by its items, in an order that no hash seed changes; large ones are tables, not code."""
        if len(value) > _MAX_ITEMS or len(self._open) > _MAX_NESTED:
            return self.constant(value, path)
        if type(value) in READERS:
            self._walk.watch(value, READERS[type(value)])
        if isinstance(value, (tuple, list)) and all(is_exactly(item, SCALARS) for item in value):
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
                self._written[key] = value, (class_name(value), digest_of(write()))
            finally:
                self._open.pop()
        return self._written[key][1]

    def constant(self, value: object, path: str, *, straight: bool = False) -> object:
        """A value as it would be an argument; without a key, its class."""
        if type(value) in READERS or module_name(type(value)) not in _IMMUTABLE:
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
        if is_a(value, (staticmethod, classmethod)):
            return (class_name(value), self.reference(kept(value, "__func__"), path))
        if is_a(value, property):
            places = {"fget": "", "fset": ".setter", "fdel": ".deleter"}
            return (class_name(value), [self.reference(kept(value, name), path + places[name]) for name in places])
        if is_a(value, (partial, partialmethod)):
            parts = [kept(value, name) for name in ("func", "args", "keywords")]
            return (class_name(value), [self.reference(part, path) for part in parts])
        if is_a(value, MethodType):
            return ("method", self.reference(value.__func__, path), self.reference(value.__self__, path))
        if is_a(value, MappingProxyType):
            self._walk.watch(value, READERS[MappingProxyType])
            return ("proxy", self.nested(value, lambda: self.reference(dict(value), path)))
        if is_a(value, File):
            return ("file", note(read_or_miss(value.path)).digest)
        if is_user_code(cls):
            return self.instance(value, path)
        # Cached functions and functools wrappers keep the function in one attribute, others of functools in the other.
        wrapped = look(value, "__wrapped__")
        wrapped = look(value, "func") if type(wrapped) is not FunctionType else wrapped
        own = module_name(cls).partition(".")[0]
        if type(wrapped) is FunctionType:
            kind = look(value, "options_digest") if own == "pcache" else self.reference(cls, path)
            dispatched = self.reference(look(value, "dispatcher"), path)
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
        if member(type(value), "_member_map_") is not None:
            name = look(value, "_name_")
            return ("member", kind, name if type(name) is str else None, self.reference(look(value, "_value_"), path))
        if member(type(value), "__pcache_key__") is not None or len(self._open) > _MAX_NESTED:
            return ("object", kind, self.constant(value, path))
        self._walk.watch(value, Attributes(_counters(type(value))))
        return ("object", kind, self.nested(value, lambda: self.state(value, path)))

    def state(self, value: Any, path: str) -> object:
        author = author_of(type(value))
        taken, error = attempt(_taken_by_pickle, value, author)
        if error is not None:  # it cannot be pickled, or says what no pickle can be made of
            taken = ((None, [], attributes_of(value), [], []), None)
        (make, arguments, state, items, pairs), found = taken
        written = [self.reference(part, path) for part in (make, arguments)]
        for part in (*(state if type(state) is tuple else (state,)), *((found,) if found else ())):
            if type(part) is dict:
                counters = _counters(type(value))
                named = {key: item for key, item in part.items() if type(key) is str}
                rest = [[key, item] for key, item in part.items() if type(key) is not str]
                left = {key for key in counters & named.keys() if is_exactly(named[key], _NUMBERS)}
                kept_keys = sorted(named.keys() - left)
                written.append([(key, self.reference(named[key], f"{path}.{key}")) for key in kept_keys])
                written += [self.reference(rest, path)] if rest else []
            else:
                written.append(self.reference(part, path))
        written.append(self.reference([items, pairs], path))
        return written


def _taken_by_pickle(value: Any, author: Author | None) -> tuple[tuple[Any, Any, Any, Any, Any], Any]:
    """What pickle would make an object of, in full, and what it would drop; raises whatever its hooks raise."""
    if author is None:
        reduced, found = value.__reduce_ex__(4), None
    else:
        reduced, found, _ = reduced_with(value, author, 4)
    if type(reduced) is not tuple:
        raise TypeError("it is pickled by name")
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    listed = [[] if given is None else list(islice(given, _MAX_READ)) for given in (items, pairs)]
    if max(map(len, listed)) == _MAX_READ:
        raise TypeError("its items do not end")
    return (make, list(arguments), state, listed[0], [list(pair) for pair in listed[1]]), found


def _is_machinery(value: object) -> bool:
    """Whether an object of the standard library counts by its class alone; a plain value of a kind never does."""
    module = module_name(type(value))
    names = (module, module.partition(".")[0], f"{module}.{qualname_of(type(value))}")
    return not is_a(value, (int, float, str, bytes, tuple, Enum)) and not _MACHINERY.isdisjoint(names)


def _counters(cls: type) -> frozenset[str]:
    """The attributes that methods of a class count up, other than those that put an instance together."""
    members = [item for base in bases_of(cls) for item in members_of(base).items() if item[0] not in _BUILDERS]
    functions = [found for _, found in members if type(found) is FunctionType]
    return frozenset().union(*(facts_of(function.__code__).counters for function in functions))
