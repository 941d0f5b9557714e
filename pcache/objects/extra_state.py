"""State of an object that the pickle of a base class leaves out.

`datetime`, `Decimal`, `Counter`, numpy's arrays and many more are pickled by a `__reduce__` that knows nothing of what
a subclass adds: attributes and slots are lost. A function sees them, so keys hold them, and so do results.
"""

from __future__ import annotations

import copyreg
import sys
from _pickle import PicklingError  # as `pickle` has it, which takes longer to import
from array import array
from collections import OrderedDict, deque
from functools import partial
from opcode import EXTENDED_ARG, opmap
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType

from pcache.objects.class_memo import ByClass
from pcache.objects.lookup import attributes_of, bases_of, look, member, members_of, module_of, qualname_of, slots_of
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PICKLING = frozenset(("__reduce_ex__", "__reduce__", "__getstate__"))
# Packages whose own classes take attributes from outside, but lose them, or a subclass's name, when pickled.
_BARE = frozenset(("python", "numpy", "pandas", "polars", "PIL"))
# The pickles of these hold all attributes. Reading those of an object without any changes its pickle.
_COMPLETE = (BaseException, partial, deque, OrderedDict, bytearray, set, frozenset, array)
_SHARED = frozenset(("enum", "logging"))  # objects of these exist once per process, and are not made anew by loading
_STORE_ATTR = opmap["STORE_ATTR"]
_DICT_AT = type.__dict__["__dictoffset__"].__get__
_UNSET = object()
_PROTOCOL = 5
# What exceptions also have in C, but which follows from the rest or says how they came here.
_OF_NO_ACCOUNT = frozenset(("args", "characters_written", "exceptions", "message", "__dict__", "__traceback__"))
_PLAIN = (bool, int, str, bytes)


class Author(NamedTuple):
    """The base of a class that defines how its objects are pickled.

    Attributes known to the base are left to it, unless the class itself `mentions` them. `slots` are those of the
    class.
    """

    base: type
    mentions: frozenset[str]
    slots: tuple[str, ...]
    is_complete: bool  # the base pickles all attributes, slots aside
    own_state: bool  # the class has a `__getstate__` that the base does not call


_authors: ByClass[Author | None] = ByClass()


def author_of(cls: type) -> Author | None:
    """The author of the pickles of a class; None if they leave nothing out. Remembered for each class."""
    try:
        return _authors[id(cls)]
    except KeyError:
        return _authors.keep(cls, _find_author(cls))


def _find_author(cls: type) -> Author | None:
    if issubclass(cls, type):
        return None
    author = _author_of_attributes(cls)
    return author_beyond(cls, cls) if author is None and issubclass(cls, BaseException) else author


def _author_of_attributes(cls: type) -> Author | None:
    for base in bases_of(cls)[:-1]:
        says = _PICKLING & members_of(base).keys()
        if says and not (says == {"__getstate__"} and is_user_code(base)):
            break
    else:
        return None
    if not is_same_author(base, cls):
        return author_beyond(
            cls, next(one for one in bases_of(cls) if base in bases_of(one) and is_same_author(base, one))
        )
    if party_of(cls) == "":
        return None if base is cls else author_beyond(base, base)
    return author_beyond(cls, cls) if takes_attributes(cls) and not issubclass(base, _COMPLETE) else None


def takes_attributes(cls: type) -> bool:
    """Whether others put attributes on the objects of a library's class, such as `frame.unit = "m"`."""
    return bool(_DICT_AT(cls)) and party_of(cls) in _BARE


def author_beyond(cls: type, base: type) -> Author:
    """The author of a class's pickles among its bases, or the class itself."""
    bases = bases_of(cls)
    before = bases[: [one is base for one in bases].index(True)]
    mentions = (members_of(one).keys() | name for one in before for name in map(_mentions, members_of(one).values()))
    return Author(
        base,
        frozenset().union(*mentions),
        tuple(slot for one in before for slot in _slots(one)),
        is_complete=issubclass(base, _COMPLETE),
        own_state=any("__getstate__" in members_of(one) for one in before),
    )


def party_of(cls: type) -> str:
    """The author of a class: a package, "python", or nothing for the user's code."""
    root = module_of(cls).partition(".")[0]
    if is_user_code(cls):
        return ""
    return "python" if root in sys.stdlib_module_names else root


def is_same_author(base: type, cls: type) -> bool:
    """Whether the author of a base knows a class."""
    return base is cls or party_of(base) == party_of(cls)


def added(obj: Any, author: Author) -> Any:
    """The attributes of an object that its pickle leaves out, by name; empty if there are none.

    Where the class has a `__getstate__` of its own, what that returns.
    """
    if author.own_state:
        return obj.__getstate__()
    if party_of(author.base) == "":  # users know what they leave out
        return {}
    attributes = {} if author.is_complete else attributes_of(obj)
    found = {name: value for name, value in attributes.items() if _is_added(name, author)}
    for slot in author.slots:
        value = look(obj, slot, _UNSET)
        if value is not _UNSET:
            found[slot] = value
    return found


def _is_added(name: str, author: Author) -> bool:
    if name[:1] == "_" and (name[-1:] == "_" or module_of(author.base) == "enum"):
        return False
    if not _DICT_AT(author.base) or name in author.mentions:
        return True
    return name[:1] != "_" and name not in _known_to_all(author.base)


def reduced_with(obj: Any, author: Author, protocol: int) -> tuple[Any, Any, bool]:
    """What pickle makes of an object, what that leaves out, and whether it names the class of the object."""
    found = added(obj, author)
    reduced = obj.__reduce_ex__(protocol)
    if not isinstance(reduced, tuple):  # the name of a global
        return reduced, found, True
    if isinstance(obj, BaseException) and type(found) is dict:
        if reduced[2:] == ({},):  # its attributes were read, of which there are none
            reduced = reduced[:2]
        found = {**found, **_besides_arguments(obj, reduced)}
    return reduced, {} if _covers(reduced, found) else found, _names(reduced, type(obj))


_fields_known: ByClass[dict[str, Any]] = ByClass()


def _fields(cls: type) -> dict[str, Any]:
    """What exceptions of a class keep outside their attributes: `__cause__`, `lineno`, `name`, `reason`, ..."""
    try:
        return _fields_known[id(cls)]
    except KeyError:
        bases = [base for base in bases_of(cls) if module_of(base) == "builtins" and issubclass(base, BaseException)]
        fields = {
            name: member
            for base in reversed(bases)
            for name, member in sorted(members_of(base).items())
            if type(member) in (GetSetDescriptorType, MemberDescriptorType) and name not in _OF_NO_ACCOUNT
        }
        return _fields_known.keep(cls, fields)


def _besides_arguments(error: BaseException, reduced: tuple[Any, ...]) -> dict[str, Any]:
    """The fields of an exception that loading its pickle would not restore, such as its cause."""
    found = {}
    cls: type = type(error)
    for name, field in _fields(cls).items():
        try:
            value = field.__get__(error)
        except (AttributeError, TypeError):  # not set
            continue
        if not (value is None or value is False):
            found[name] = value
    if not found:
        return found
    known = [reduced[1], *reduced[1]]
    known += [inner for part in reduced[1] if isinstance(part, tuple) for inner in part]
    for state in reduced[2:3]:
        known += state.values() if isinstance(state, dict) else ()
    found = {name: value for name, value in found.items() if not any(_is_same(value, one) for one in known)}
    if "__cause__" in found:  # setting `__cause__` also sets this one
        found["__suppress_context__"] = error.__suppress_context__
    return found


def _is_same(value: object, other: object) -> bool:
    return value is other or (type(value) in _PLAIN and type(value) is type(other) and value == other)


def _covers(reduced: tuple[Any, ...], found: Any) -> bool:
    """Whether the state in a reduced object holds what was found besides."""
    state = reduced[2] if len(reduced) > 2 else None  # noqa: PLR2004 - function, arguments, state
    if type(found) is not dict:
        return state is found
    parts = [state, *(state.values() if isinstance(state, dict) else state if isinstance(state, (tuple, list)) else ())]
    return any(isinstance(part, dict) and found.keys() <= part.keys() for part in parts)


def _names(reduced: tuple[Any, ...], cls: type) -> bool:
    make, arguments = reduced[:2]
    parts = [make, look(make, "__self__"), *arguments]
    parts += [inner for part in arguments if isinstance(part, (tuple, list)) for inner in part]
    return any(part is cls for part in parts)


def whole(obj: Any, protocol: int) -> Any:
    """An object reduced with what its pickle would leave out; None where that is nothing.

    Raises `PicklingError` where it would be loaded as an object of another class.
    """
    cls = type(obj)
    author = author_of(cls)
    if author is None or module_of(author.base) in _SHARED or is_in_table(cls):
        return None
    reduced, found, is_named = reduced_with(obj, author, protocol)
    if not isinstance(reduced, tuple):
        return reduced
    of_base = reduced[0] is author.base or party_of(author.base) in _BARE
    if not is_named and author.base is not cls and of_base:
        raise PicklingError(f"it would be loaded as a {qualname_of(author.base)}, whose pickles lose subclasses")
    make, arguments, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
    if author.own_state:
        return reduced if state is not None else (make, arguments, found, items, pairs, setter)
    return (make, arguments, (state, setter, found), items, pairs, restore) if found else reduced


def exactly(cls: type) -> Callable[[Any], Any] | None:
    """The function that pickles objects of a numpy class without losing anything; None for all other classes."""
    if not str(cls.__module__).startswith("numpy"):
        return None
    names = [f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__]
    if names[0] in ("numpy.str_", "numpy.bytes_"):
        return _characters
    return _c_type if "numpy.dtype" in names else None


def _characters(text: Any) -> Any:
    """A numpy text or bytes with the zeros at its end, which its own pickle strips."""
    if text[-1:] not in ("\0", b"\0"):
        return text.__reduce_ex__(_PROTOCOL)
    return type(text), (str.__str__(text) if isinstance(text, str) else bytes(memoryview(text)),)


def _c_type(dtype: Any) -> Any:
    """A numpy dtype as the C type that it is: `long` and `long long` may have one size, and then one pickle."""
    if dtype.kind in "iufc" and dtype.metadata is None and is_twin(dtype):
        return sys.modules["numpy"].dtype, (dtype.byteorder.strip("=|") + dtype.char,)
    return dtype.__reduce_ex__(_PROTOCOL)


def is_twin(dtype: Any) -> bool:
    """Whether a numpy dtype has the same description as another C type."""
    is_foreign = dtype.isbuiltin == 2  # noqa: PLR2004 - of a type from another package
    return not is_foreign and bool(sys.modules["numpy"].dtype(dtype.str).num != dtype.num)


def restore(obj: Any, states: tuple[Any, Any, dict[str, Any]]) -> None:
    """Give an object that is being loaded its state, and then what its pickle left out."""
    state, setter, found = states
    if setter is not None:
        setter(obj, state)
    elif state is not None and hasattr(obj, "__setstate__"):
        obj.__setstate__(state)
    elif state is not None:
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        _set(obj, {**(attributes or {}), **(slots or {})})
    _set(obj, found)


def _set(obj: Any, values: dict[str, Any]) -> None:
    """Set attributes without calling any `__setattr__`, or properties that keep them in the dict."""
    slots = {slot for cls in bases_of(type(obj)) for slot in _slots(cls)}
    if isinstance(obj, BaseException):
        cls: type = type(obj)
        slots |= _fields(cls).keys()
    for name, value in values.items():
        if name in slots:
            slot = member(type(obj), name)
            if type(slot) is MemberDescriptorType:
                slot.__set__(obj, value)  # some classes written in C refuse the `__setattr__` of `object`
            else:
                object.__setattr__(obj, name, value)
        else:
            getattr(obj, "__dict__", {})[name] = value


def _slots(cls: type) -> list[str]:
    """The names of the slots of a class that was written in Python."""
    return slots_of(cls) if "__slots__" in members_of(cls) else []


def is_in_table(cls: type) -> bool:
    """Whether `copyreg` has a reducer for objects of a class; its metaclass may not allow the lookup."""
    if type(cls) is type:
        return cls in copyreg.dispatch_table
    return try_call(copyreg.dispatch_table.__contains__, cls)[0] is True


def _functions(member: Any) -> Iterator[FunctionType]:
    for name in ("", "__func__", "fget", "fset", "func", "__wrapped__"):
        found = look(member, name) if name else member
        if type(found) is FunctionType:
            yield found


def _mentions(member: Any) -> set[str]:
    return {name for function in _functions(member) for name in function.__code__.co_names}


_names_known: ByClass[frozenset[str]] = ByClass()


def _known_to_all(base: type) -> frozenset[str]:
    """The names that a class and its bases know. Rarely called: reading the code of those of pandas takes 10 ms."""
    try:
        return _names_known[id(base)]
    except KeyError:
        return _names_known.keep(
            base, frozenset(name for one in bases_of(base)[:-1] for name in set(members_of(one)) | set_by(one))
        )


def set_by(cls: type) -> set[str]:
    """The attributes that the methods of a class set."""
    names = set()
    for function in (function for one in members_of(cls).values() for function in _functions(one)):
        code, high = function.__code__, 0
        for op, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
            if op == _STORE_ATTR:
                names.add(code.co_names[high | low])
            high = (high | low) << 8 if op == EXTENDED_ARG else 0
        if not {"__setattr__", "setattr", "__dict__"}.isdisjoint(code.co_names):
            names.update(text for text in code.co_consts if isinstance(text, str))
    return names
