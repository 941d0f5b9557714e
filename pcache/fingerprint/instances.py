"""Instances of a user's class: by their pickled state, part by part.

Attributes that code on the way sets are state, and those that methods of the class count up do not count.
"""

from __future__ import annotations

from types import FunctionType

from pcache.fingerprint.anatomy import PRIVATE, SMALLEST_ADDRESS, is_of_c, shown_of, taken_by_pickle
from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.guards import Attributes, items_reader
from pcache.fingerprint.inputs import BUILDERS
from pcache.fingerprint.lazily import computed_by, remembered_by
from pcache.fingerprint.reached import functions_in
from pcache.fingerprint.reflection import annotations_of
from pcache.fingerprint.uses import ANY
from pcache.objects.class_memo import ByClass
from pcache.objects.extra_state import author_of
from pcache.objects.lookup import attributes_of, bases_of, is_exactly, look, member, members_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Values(Protocol):
        """What writes the parts of an instance."""

        walk: Any

        def reference(self, value: Any, path: str) -> object: ...
        def taken_apart(self, value: object, path: str) -> object: ...
        def constant(self, value: object, path: str) -> object: ...
        def nested(self, value: object, write: Callable[[], object]) -> object: ...
        def is_deep(self) -> bool: ...


_NUMBERS = frozenset((int, float))
# What `enum` sets on members.
_OF_MEMBERS = frozenset(("_name_", "_value_", "_sort_order_", "__objclass__", "_inverted_"))


def instance_of(values: Values, value: Any, path: str) -> object:
    """An instance of a user's class by its class and its pickled state, part by part.

    Attributes that methods of the class count up do not count; a part without a key counts by its class.
    """
    kind, cls, walk = values.reference(type(value), path), type(value), values.walk
    if member(cls, "_member_map_") is not None:
        name = look(value, "_name_")
        own = values.reference(look(value, "_value_"), path)
        return ("member", kind, name if type(name) is str else None, own, *_of_member(values, value, path))
    if member(cls, "__pcache_key__") is not None or values.is_deep():
        return ("object", kind, values.constant(value, path))
    walk.state.meet(value)
    fields = _fields_of(walk, value)
    moves = _moves(walk, value, fields)
    if fields or moves:
        walk.ends.note_moving(cls)
    named = _named_by(cls) if ANY in fields else None
    walk.watch(value, Attributes(cls, _counters_of(walk, cls) | fields, named))
    if not moves and (items := items_reader(cls)):
        walk.watch(value, items)
    return ("object", kind, values.nested(value, lambda: state_of(values, value, path)))


def _moves(walk: Any, value: object, fields: frozenset[str]) -> bool:
    """Whether code on the way changes what an instance of a container's subclass holds."""
    return "[]" in fields or (walk.state.is_object(value) and walk.state.trusts(walk.ends.site))


def _of_member(values: Values, value: Any, path: str) -> list[object]:
    """What a program has set on a member of an enum."""
    held = attributes_of(value)
    fields = _fields_of(values.walk, value)
    names = sorted(name for name in held.keys() - _OF_MEMBERS - fields if type(name) is str)
    values.walk.watch(value, Attributes(type(value), fields))
    return [(name, values.reference(held[name], f"{path}.{name}")) for name in names]


def _fields_of(walk: Any, value: Any) -> frozenset[str]:
    """The attributes of an instance that are state, if code says what they start with."""
    cls = type(value)
    fields: frozenset[str] = walk.state.fields(cls) | remembered_by(cls) | computed_by(cls, value, walk.state.once)
    if ANY in fields:
        fields |= {name for name in shown_of(value) if type(name) is str} - _named_by(cls)
    return fields if walk.state.trusts(walk.ends.site) else frozenset()


_names: ByClass[frozenset[str]] = ByClass()


def _named_by(cls: type) -> frozenset[str]:
    """The attributes that code of a class sets by name: those that it sets by computed names are others."""
    known = _names.get(id(cls))
    if known is None:
        members = [item for base in bases_of(cls)[:-1] for item in members_of(base).items()]
        functions = [function for _, value in members for function in functions_in(value)]
        names = {name for name, value in members if member(type(value), "__get__") is None}
        names.update(*(facts_of(function.__code__).stored for function in functions))
        for base in bases_of(cls):
            names.update(attempt(annotations_of, base)[0] or ())
        known = _names.keep(cls, frozenset(names))
    return known


def state_of(values: Values, value: Any, path: str) -> object:
    """The state of an instance as its pickle has it, part by part."""
    fields = _fields_of(values.walk, value)
    taken: Any = None
    is_taken = False
    if not _moves(values.walk, value, fields):
        taken, is_taken = attempt(taken_by_pickle, value, author_of(type(value)))
        if not is_taken and is_of_c(type(value)):
            return values.taken_apart(value, path)
    if not is_taken:  # what it holds does not count, or it cannot be pickled
        taken = ((None, [], shown_of(value), [], []), None)
    (make, arguments, state, items, pairs), found = taken
    written = [values.reference(part, path) for part in (make, _without_hashes(arguments, state))]
    for part in (*(state if type(state) is tuple else (state,)), *((found,) if found else ())):
        if type(part) is dict and type(part.get("__dict__")) is dict:
            written += _nested(values, part, type(value), fields, path)
        elif type(part) is dict:
            written += _named(values, part, type(value), fields, path)
        elif part is not None or not fields:  # there is no state as long as no attribute is set
            written.append(values.reference(part, path))
    written.append(values.reference([items, pairs], path))
    return written


def _nested(values: Values, held: dict[Any, Any], cls: type, fields: frozenset[str], path: str) -> list[object]:
    """A state that has an object's attributes in dicts, beside the names of those that were set: as of pydantic."""
    written: list[object] = []
    for name, part in held.items():
        if name in ("__dict__", PRIVATE) and type(part) is dict:
            written.append((name, _named(values, part, cls, fields, path)))
        else:
            written.append((name, values.reference(part - fields if type(part) is set else part, path)))
    return written


def _without_hashes(arguments: list[Any], state: Any) -> list[Any]:
    """Arguments without the hashes of texts beside them: these differ in each process, and follow from the text."""
    if not any(type(part) is int and is_large(part) for part in arguments):
        return arguments
    beside = (*arguments, *(state.values() if type(state) is dict else ()))
    hashes = {hash(part) for part in beside if type(part) is str}
    return ["hash of a text" if type(part) is int and is_large(part) and part in hashes else part for part in arguments]


def added_to(values: Values, value: Any, path: str) -> list[object]:
    """The attributes of an object beyond those that C code keeps, as far as they are no state."""
    fields = _fields_of(values.walk, value)
    if fields:
        values.walk.ends.note_moving(type(value))
    return _named(values, shown_of(value), type(value), fields, path)


def _named(values: Values, held: dict[Any, Any], cls: type, fields: frozenset[str], path: str) -> list[object]:
    """Attributes by name, without those that code on the way sets, counts up or fills in."""
    named = {key: item for key, item in held.items() if type(key) is str}
    rest = [[key, item] for key, item in held.items() if type(key) is not str]
    left = {key for key in _counters_of(values.walk, cls) & named.keys() if is_exactly(named[key], _NUMBERS)}
    left |= {key for key, item in named.items() if "hash" in key and type(item) is int and is_large(item)}
    kept_keys = sorted(named.keys() - left - fields)
    written: list[object] = [[(key, values.reference(named[key], f"{path}.{key}")) for key in kept_keys]]
    return (written if kept_keys or not fields else []) + ([values.reference(rest, path)] if rest else [])


def is_large(number: int) -> bool:
    """Whether a number may be an address or a hash."""
    return abs(number) > SMALLEST_ADDRESS


def _counters_of(walk: Any, cls: type) -> frozenset[str]:
    """The attributes that methods of a class count up, other than methods that build an instance."""
    known = walk.counters.get(id(cls))
    if known is None:
        members = [item for base in bases_of(cls) for item in members_of(base).items() if item[0] not in BUILDERS]
        functions = [found for _, found in members if type(found) is FunctionType]
        known = frozenset().union(*(facts_of(function.__code__).counters for function in functions))
        walk.counters[id(cls)] = known
    return known  # type: ignore[no-any-return]
