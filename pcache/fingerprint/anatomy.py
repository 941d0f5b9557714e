"""Take an object apart that has no pickle, or that contains itself.

What comes out is a flat list that says the same in every process. Objects that are met again are written as numbers, so
that circles end; members of sets come in an order that no hash seed changes; a number that is the address of an object
met on the way is written as that object; attributes that are called caches or hashes are left out, since the object is
the same without them.
"""

from __future__ import annotations

import copyreg
import gc
import os
import sys
from itertools import islice
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)

from blake3 import blake3

from pcache.fingerprint.parts import SCALARS
from pcache.keys.encoder import encode
from pcache.keys.names import type_name
from pcache.objects.class_memo import ByClass
from pcache.objects.lookup import (
    attributes_of,
    bases_of,
    flags_of,
    is_a,
    is_exactly,
    look,
    member,
    members_of,
    module_of,
)
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late, pattern
from pcache.system.interrupts import attempt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable
    from re import Match

    from pcache.objects import extra_state
    from pcache.objects.extra_state import Author
else:
    extra_state = late("pcache.objects.extra_state")

_MOST, _MOST_PIECES = 5_000, 100_000  # objects visited, and the parts they hold: 50 ms
_MAX_READ = 1 << 24  # items of an object's own iterator, which may have no end
_NUMBER = pattern("[0-9]{8,}|0x[0-9a-f]{8,}")  # of an address in a text
LIKE_ADDRESSES = pattern(b"\x8a\x06|[0-9]{12}|0x[0-9a-f]{8}")  # in a pickle: a number of six bytes, or digits
SMALLEST_ADDRESS = 1 << 20
_HASH_SHIFT = 4  # the hash of an object that defines none is its address without the last bits, which are zero
_NAMED_AFTER_THE_PROGRAM = frozenset(("prog", "_prog_prefix"))  # attributes of parsers, unless set explicitly
PRIVATE = "__pydantic_private__"  # the slot of a model with the dict of its private attributes
_KEPT = pattern("cache|memo(?!ry)")
# Counters of the objects of a kind that the process made before: of SQLAlchemy, Django, WTForms, marshmallow.
_COUNTS = frozenset(("_creation_order", "creation_counter", "_creation_counter", "_creation_index"))
_SIZE = type.__dict__["__basicsize__"].__get__
_HEAP, _POINTER = 1 << 9, 8  # flag of classes that statements make; bytes of a pointer
_MISSING = object()
_UNTOLD = frozenset(("__dict__", "__weakref__", "__class__", "__doc__", "__signature__", "__vectorcalloffset__"))
_OPEN = frozenset(("functools", "wrapt"))  # packages whose C objects hold nothing but their references


class TooMuch(Exception):
    """An object has more parts than are examined."""


class _Known(NamedTuple):
    part: Any


class Anatomy:
    """The parts of one object.

    `is_known(part)` says whether a part need not be taken apart, since `write(part)` represents it. `unseen` are the
    classes, made in C and without a pickle, of parts that may hold more than their attributes and references, each with
    whether it has any of these.
    """

    def __init__(self, is_known: Callable[[Any], bool], write: Callable[[Any], object], *, most: int = _MOST) -> None:
        self.unseen: dict[type, bool] = {}
        self.addresses = 0  # how many were found
        self._most = most
        self._is_known = is_known
        self._write = write
        self._found: list[object] = []
        self._hashes: set[int] = set()  # of texts: they differ in each process
        self._numbers: dict[int, int] = {}  # by id
        self._kept: list[object] = []  # alive, so that no id is reused

    def take_apart(self, root: object) -> list[object]:
        """All that an object holds; raises `TooMuch`."""
        waiting: list[Any] = [root]
        while waiting:
            part = waiting.pop()
            if is_exactly(part, SCALARS):
                self._found.append(part)
                continue
            number = self._numbers.setdefault(id(part), len(self._kept))
            if number < len(self._kept):
                self._found.append(("again", number))
                continue
            if number == self._most:
                raise TooMuch
            self._kept.append(part)
            if part is not root and self._is_known(part):
                self._found.append(_Known(part))  # written once the rest is known not to be too much
                continue
            pieces = self._pieces(part)
            self._found.append(("holds", len(pieces)))
            waiting.extend(reversed(pieces))
            if len(self._found) + len(waiting) > _MOST_PIECES:
                raise TooMuch
        self._hashes = {hash(part) for part in self._found if type(part) is str}
        return [self._written(part) for part in self._found]

    def _pieces(self, part: Any) -> list[Any]:
        """The parts of an object, its class first, in an order of their own."""
        cls = type(part)
        if cls is tuple or cls is list:
            return [cls.__name__, *part]
        if cls is dict:
            return ["dict", *(piece for pair in list(part.items()) for piece in pair)]
        if is_a(part, (set, frozenset)):
            kind: Any = set if is_a(part, set) else frozenset  # a subclass may iterate in another way
            members = sorted(kind.__iter__(part), key=_at_first_sight)
            return [cls, len(members), *members, *_named(shown_of(part), cls)]
        if cls is BuiltinFunctionType:
            return ["method", part.__name__, part.__self__]
        if cls is MethodType:
            return ["method", part.__func__, part.__self__]
        if cls is MappingProxyType:
            return ["proxy", *gc.get_referents(part)]
        author = extra_state.author_of(cls)
        taken, is_taken = attempt(taken_by_pickle, part, author)
        if not is_taken:  # it has no pickle, or is pickled by name
            return [cls, *self._by_looking(part)]
        (make, arguments, state, items, pairs), added = taken
        pieces = [cls, make, *arguments]
        for states in (*(state if type(state) is tuple else (state,)), *((added,) if added else ())):
            pieces += _named(states, cls) if type(states) is dict else [states]
        return [*pieces, items, pairs]

    def _by_looking(self, part: Any) -> list[Any]:
        """The attributes and slots of an object, and its other references if its class was written in C."""
        cls = type(part)
        shown = shown_of(part)
        pieces = _named(shown, cls)
        if is_of_c(cls):
            known = {id(item) for item in (cls, attributes_of(part), *shown.values())}
            pieces += [item for item in gc.get_referents(part) if id(item) not in known]
            if not _shows_all(cls):
                self.unseen[cls] = self.unseen.get(cls, True) and len(pieces) > len(_named({}, cls))
        return pieces

    def _written(self, part: object) -> object:
        """A part without values of this process alone: the addresses of objects, the hashes of texts."""
        if type(part) is _Known:
            return ("known", self._write(part.part))
        if type(part) is int and abs(part) > SMALLEST_ADDRESS:
            if part in self._hashes:
                return "hash of a text"
            address = next((one for one in (part, part << _HASH_SHIFT) if one in self._numbers), None)
            self.addresses += address is not None
            return part if address is None else ("address", self._numbers[address])
        if type(part) is str:
            return _NUMBER.sub(self._numbered, part) if len(part) > 8 else part  # noqa: PLR2004 - digits of an address
        return part

    def _numbered(self, found: Match[str]) -> str:
        number = self._numbers.get(int(found.group(), 0 if found.group().startswith("0x") else 10))
        self.addresses += number is not None
        return found.group() if number is None else f"<{number}>"


def holds_addresses(value: object, is_known: Callable[[Any], bool]) -> bool:
    """Whether an object's pickle contains the address of one of its parts, and so differs in each process."""
    anatomy = Anatomy(is_known, lambda _: None)
    try_call(anatomy.take_apart, value)
    return anatomy.addresses > 0


def taken_by_pickle(value: Any, author: Author | None) -> tuple[tuple[Any, Any, Any, Any, Any], Any]:
    """What pickle would make of an object, in full, and what it would leave out; raises whatever its hooks raise."""
    registered = copyreg.dispatch_table.get(type(value)) if type(type(value)) is type else None
    if registered is not None:
        reduced, found = registered(value), None
    elif author is None:
        reduced, found = value.__reduce_ex__(4), None
    else:
        reduced, found, _ = extra_state.reduced_with(value, author, 4)
    if type(reduced) is not tuple:
        raise TypeError("it is pickled by name")
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    listed = [[] if given is None else list(islice(given, _MAX_READ)) for given in (items, pairs)]
    if max(map(len, listed)) == _MAX_READ:
        raise TypeError("its iterator does not end")
    return (make, list(arguments), state, listed[0], [list(pair) for pair in listed[1]]), found


def _named(state: dict[Any, Any], cls: type) -> list[Any]:
    """The attributes of an object by name, without those that use fills in."""
    kept = {name: value for name, value in list(state.items()) if not _is_filled_in(cls, name, value)}
    for name in _NAMED_AFTER_THE_PROGRAM & kept.keys():
        program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
        kept[name] = kept[name].removeprefix(program) if type(kept[name]) is str else kept[name]
    ordered = [*sorted(name for name in kept if type(name) is str), *(name for name in kept if type(name) is not str)]
    return ["attributes", len(kept), *(piece for name in ordered for piece in (name, kept[name]))]


def _is_filled_in(cls: type, name: object, value: object) -> bool:
    """Whether use fills in an attribute, or it is a number of this process.

    Its name says so, or only a descriptor such as `cached_property` sets it.
    """
    if type(name) is not str:
        return False
    if name in _COUNTS or "hash" in name:
        return value is None or type(value) is int
    if _is_put_by_a_descriptor(cls, name):
        return True
    return bool(_KEPT.search(name)) and (value is None or not is_exactly(value, SCALARS))


_put_by_descriptors: ByClass[dict[str, bool]] = ByClass()


def _is_put_by_a_descriptor(cls: type, name: str) -> bool:
    known = _put_by_descriptors.get(id(cls))
    if known is None:
        known = _put_by_descriptors.keep(cls, {})
    if name not in known:
        entry = type(member(cls, name))
        computes = member(entry, "__get__") is not None and member(entry, "__set__") is None
        known[name] = (
            computes
            and entry is not FunctionType
            and not any(name in extra_state.set_by(base) for base in bases_of(cls)[:-1])
        )
    return known[name]


def _at_first_sight(part: Any) -> bytes:
    """A sort key for the members of a set: their types, and the plain values that they hold."""
    if is_exactly(part, SCALARS):
        return blake3(b"".join(encode(part))).digest()
    if is_a(part, (type, FunctionType, ModuleType)):
        return blake3(f"{look(part, '__module__')} {look(part, '__qualname__')}".encode()).digest()
    if type(part) in (tuple, frozenset):
        plain = sorted(_at_first_sight(item) for item in part if is_exactly(item, SCALARS))
    else:
        named = [item for item in attributes_of(part).items() if type(item[1]) is str]
        plain = sorted(_at_first_sight(f"{name}={value}") for name, value in named if not _NUMBER.search(value))
    return blake3(b"".join(encode((type_name(type(part)), plain)))).digest()


def shown_of(part: object) -> dict[str, Any]:
    """The attributes and slots of an object."""
    shown = dict(attributes_of(part))
    for base in bases_of(type(part)):
        for name, entry in members_of(base).items():
            if type(entry) is MemberDescriptorType and name not in _UNTOLD:
                value = look(part, name, _MISSING)
                if value is not _MISSING:
                    shown.setdefault(name, value)
    if type(private := shown.get(PRIVATE)) is dict:  # of pydantic's models
        shown.update(private)
    return shown


def is_of_c(cls: type) -> bool:
    """Whether objects of a class may hold more than attributes and slots: C code may keep data in them."""
    return not all(map(is_of_python, bases_of(cls)[:-1]))


def _shows_all(cls: type) -> bool:
    """Whether all that C code keeps in objects of a class is known to be objects that they refer to."""
    return all(is_of_python(base) or module_of(base).partition(".")[0] in _OPEN for base in bases_of(cls)[:-1])


def is_of_python(cls: type) -> bool:
    """Whether a class adds only attributes and slots to its base, and no data of C code."""
    base = cls.__base__
    more = _SIZE(cls) - (_SIZE(base) if base is not None else 0)
    if not more:
        return True
    members = members_of(cls)
    slots = sum(type(entry) is MemberDescriptorType for entry in members.values())
    declared = not members.keys().isdisjoint(("__slots__", "__dict__", "__weakref__"))
    return (
        bool(flags_of(cls) & _HEAP) and declared and more - _POINTER * slots <= 2 * _POINTER
    )  # a dict, weak references
