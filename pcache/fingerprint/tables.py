"""Dicts and namespaces: by what code on the way reads of them, where that is seen."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from pcache.fingerprint.guards import READERS, Picked
from pcache.fingerprint.instances import is_large
from pcache.fingerprint.parts import digest_of
from pcache.fingerprint.uses import key_of
from pcache.objects.lookup import attributes_of, class_name, look

if TYPE_CHECKING:
    from pcache.fingerprint.instances import Values

_MAX_ITEMS = 1000  # of a table that is looked at item by item


def table_of(values: Values, value: Any, path: str) -> object:
    """A dict or namespace by what code on the way reads of it; in its order only where that can matter."""
    steps = values.walk.state.reads(value)
    held = value if isinstance(value, dict) else attributes_of(value)
    if steps is None or len(held) > _MAX_ITEMS or values.walk.state.is_object(value):
        return values.reference(value, path)
    default = values.reference(look(value, "default_factory"), path)
    if "[]" in steps:
        values.walk.watch(value, READERS[type(value)])
        return ("any item", default, sorted(map(digest_of, pairs_of(values, held, path))))
    moving = moving_in(values, value)
    picked = Picked(tuple(key for key in map(key_of, sorted(steps)) if key not in moving))
    values.walk.watch(value, picked)
    there = [key for key in picked.keys if key in held]
    return ("items", class_name(value), default, [(key, values.reference(held[key], path)) for key in there])


def pairs_of(values: Values, held: dict[Any, Any], path: str) -> list[list[object]]:
    """The items of a dict, in their order; without those that code on the way sets."""
    moving, pairs = moving_in(values, held), list(held.items())
    return [[_key(values, key, path), values.reference(item, path)] for key, item in pairs if key not in moving]


def moving_in(values: Values, held: Any) -> frozenset[Any]:
    """The keys of a dict whose items are state."""
    moving: frozenset[Any] = values.walk.state.items(held)
    if not values.walk.state.trusts(values.walk.ends.site):
        return frozenset()
    if moving:
        values.walk.ends.note_moving(type(held))
    return moving


def _key(values: Values, key: object, path: str) -> object:
    """A key; one that is the address of a global object or builtin, which differs in each process, by its name."""
    if type(key) is int and is_large(key) and values.walk.ends.site is not None:
        for name, value in (*list(values.walk.ends.site[0].items()), *vars(builtins).items(), ("()", ())):
            if id(value) == key:
                return ("address", name)
    return values.reference(key, path)
