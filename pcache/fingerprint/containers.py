"""Containers that code changes in place: what is known of the items in them, and what changing one changes."""

from __future__ import annotations

from collections import namedtuple
from functools import partial
from types import BuiltinFunctionType, MethodWrapperType

from pcache.fingerprint.uses import CHANGING_METHODS, TABLES, is_container, is_dict, items_of
from pcache.keys.names import type_name
from pcache.objects.lookup import bases_of, is_a, is_exactly, members_of
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    # ("name", id of a namespace, name), ("variable", id of a cell), ("field", id of a class, name), ("object", id),
    # ("late", id of a class, name): an attribute of the class itself, which it or a class below may not have yet,
    # ("item", id of a dict, key), ("attribute", id of a namespace, name); the field `[]` is what its instances contain
    Place = tuple[Any, ...]

CHANGING_SLOTS = ("__setitem__", "__delitem__", "__iadd__", "__ior__", "__isub__", "__iand__")
_CHANGING = CHANGING_METHODS.union(CHANGING_SLOTS)
_OF_FRAMES = ("loc", "iloc", "at", "iat")
_VIEWS = {
    "numpy.ndarray": ("flat",),
    "pandas.core.frame.DataFrame": _OF_FRAMES,
    "pandas.core.series.Series": _OF_FRAMES,
    "pandas.DataFrame": _OF_FRAMES,  # from pandas 3 on
    "pandas.Series": _OF_FRAMES,
}
PLAIN = frozenset((dict, list, set))
_METHODS_OF_C = frozenset((BuiltinFunctionType, MethodWrapperType))
MOST_ITEMS = 100  # of a container, whose classes are looked at
MISSING = object()
_TUPLE_GETTER = type(namedtuple("_One", ("it",)).it)  # type: ignore[attr-defined]


class View(NamedTuple):
    """An attribute of an array or frame that is changed by setting items of it: `frame.loc`."""

    of: Any


def view_of(value: Any, name: str) -> View | None:
    """What an attribute of an array or frame shows of it, if it can be changed by that."""
    views = _VIEWS.get(type_name(type(value)), ())
    return View(value) if name in views else None


def field_of(value: Any, entry: Any) -> Any:
    """What an entry of a class means for an instance: an item, of a named tuple; else itself."""
    return entry.__get__(value) if type(entry) is _TUPLE_GETTER else entry


def item_of(value: Any, key: Any) -> tuple[list[Place], Any] | None:
    """The place of an item by its key, and what is there; None where that cannot be told."""
    if is_dict(value):
        return [("item", id(value), key)], value.get(key, MISSING)
    if type(value) in (list, tuple) and type(key) is int and -len(value) <= key < len(value):
        return [], value[key]
    return None


def changed_in(places: list[Place], value: Any) -> Iterator[Place]:
    """The places of a container that is changed in place; nothing of another object."""
    if value is MISSING:
        yield from places
    elif type(value) is View:
        yield ("object", id(value.of))
    elif is_container(value):
        yield from places
        yield ("object", id(value))
    elif is_a(value, TABLES) and is_plain_below(type(value)):
        yield ("object", id(value))


def is_plain_below(cls: type) -> bool:
    """Whether a user's subclass of a container leaves it to that container how it is changed."""
    own = [base for base in bases_of(cls) if is_user_code(base)]
    return issubclass(cls, TABLES) and all(_CHANGING.isdisjoint(members_of(base)) for base in own)


def changes_its_own(value: Any) -> bool:
    """Whether an object is a method of a container, bound to it, that changes it."""
    return is_exactly(value, _METHODS_OF_C) and value.__name__ in CHANGING_METHODS and is_a(value.__self__, TABLES)


def changed_by(value: Any) -> Iterator[Any]:
    """The containers that the call of an object may change: those whose methods it is, or holds."""
    if changes_its_own(value):
        yield value.__self__
    elif type(value) is partial:
        yield from changed_by(value.func)
    elif is_exactly(value, PLAIN):
        for item in items_of(value)[:MOST_ITEMS]:
            if changes_its_own(item):
                yield item.__self__
