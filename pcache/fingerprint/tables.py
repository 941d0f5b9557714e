"""Dicts and namespaces: by what code on the way reads of them, where that is seen."""

from __future__ import annotations

import builtins
from collections import defaultdict
from opcode import opmap
from types import FunctionType

from pcache.fingerprint.guards import READERS, Picked
from pcache.fingerprint.instances import is_large
from pcache.fingerprint.parts import digest_of
from pcache.fingerprint.uses import KEYS, key_of
from pcache.objects.bytecode import numbers_of, placed_operations_of
from pcache.objects.lookup import attributes_of, class_name, look
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.fingerprint.instances import Values

_EMPTY = frozenset((int, float, str, bytes, bool, list, dict, set, tuple, frozenset))
_UNKNOWN = object()
_CONSTANT, _GLOBAL, _RETURN = (opmap[name] for name in "LOAD_CONST LOAD_GLOBAL RETURN_VALUE".split())
_RETURN_CONSTANT = opmap.get("RETURN_CONST")
_IDLE = numbers_of("RESUME NOP")
_MAX_ITEMS = 1000  # of a table that is looked at item by item


def table_of(values: Values, value: Any, path: str) -> object:
    """A dict or namespace by what code on the way reads of it; in its order only where that can matter."""
    steps = values.walk.state.reads(value)
    held = value if isinstance(value, dict) else attributes_of(value)
    if steps is None or len(held) > _MAX_ITEMS or values.walk.state.is_object(value):
        return values.reference(value, path)
    default = values.reference(look(value, "default_factory"), path)
    fills = type(value) is defaultdict and KEYS not in steps  # whose items code on the way only looks up
    if "[]" in steps:
        values.walk.watch(value, _set_in if fills else READERS[type(value)])
        held = _without_defaults(value) if fills else held
        return ("any item", default, sorted(map(digest_of, pairs_of(values, held, path))))
    moving = moving_in(values, value) | (held.keys() - _without_defaults(value).keys() if fills else frozenset())
    picked = Picked(tuple(key for key in map(key_of, sorted(steps - {KEYS})) if key not in moving))
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


def _set_in(table: defaultdict[Any, Any]) -> tuple[Any, ...]:
    """What a dict holds beyond that which a look at a missing item adds."""
    held = _without_defaults(table)
    return (table.default_factory, *held, *held.values())


def _without_defaults(table: defaultdict[Any, Any]) -> dict[Any, Any]:
    """The items that say more than that they were looked up: others than the dict itself would make."""
    made = _made_by(table.default_factory)
    return dict(table) if made is _UNKNOWN else {key: item for key, item in table.items() if not _is_same(item, made)}


def _is_same(item: Any, made: Any) -> bool:
    return item is made or (type(item) is type(made) and type(item) in _EMPTY and item == made)


def _made_by(factory: Any) -> Any:
    """What a function without arguments returns, if it need not be called for that."""
    if type(factory) is type and factory in _EMPTY:
        return factory()
    if type(factory) is not FunctionType or factory.__closure__:
        return _UNKNOWN
    code = factory.__code__
    operations = [(kind, at) for _, kind, at, _ in placed_operations_of(code.co_code) if kind not in _IDLE]
    if [kind for kind, _ in operations] in ([_CONSTANT, _RETURN], [_RETURN_CONSTANT]):
        return code.co_consts[operations[0][1]]
    if [kind for kind, _ in operations] == [_GLOBAL, _RETURN]:
        name = code.co_names[0]
        return factory.__globals__.get(name, vars(builtins).get(name, _UNKNOWN))
    return _UNKNOWN


def _key(values: Values, key: object, path: str) -> object:
    """A key; one that is the address of a global object or builtin, which differs in each process, by its name."""
    if type(key) is int and is_large(key) and values.walk.ends.site is not None:
        for name, value in (*list(values.walk.ends.site[0].items()), *vars(builtins).items(), ("()", ())):
            if id(value) == key:
                return ("address", name)
    return values.reference(key, path)
