"""Dependencies that are reached only by reflection: annotations, docstrings, subclasses, modules in tables.

A module in a table, or passed to a helper, is used by the code that takes it out; annotations, docstrings and
subclasses affect behaviour only where some code reads them. So these wait until all mentioned names are known.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType

from pcache.fingerprint.parts import digest_of
from pcache.objects.lookup import attributes_of, is_a, is_exactly, members_of, module_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.fingerprint.findings import Findings

annotations_of = vars(type)["__annotations__"].__get__
_EMPTY = frozenset((dict, tuple, str, type(None)))  # objects of these types may be empty
# Set by the class statement or by its first use; adds nothing to what the members say.
OF_CLASSES = frozenset(
    "__doc__ __module__ __qualname__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __annotations__"
    " __annotate__ __annotate_func__ __annotations_cache__ __type_params__ __parameters__ __orig_bases__"
    " _value_repr_ __slotnames__ _abc_impl"
    # Of pydantic: made from the fields, the settings and the validators, with addresses in it.
    " __pydantic_core_schema__ __pydantic_validator__ __pydantic_serializer__"
    " __pydantic_setattr_handlers__"  # filled in when attributes are first set
    # Of enums: made from the members; combined flags add to it when they are first used.
    " _value2member_map_ _hashable_values_ _unhashable_values_ _unhashable_values_map_".split()
)
_INCIDENTAL = frozenset(("__name__", "__doc__", "__wrapped__"))
# The attribute that code reads if it mentions one of these.
_READERS = {
    "__annotations__": frozenset(
        "__annotations__ get_annotations get_type_hints signature getfullargspec fields __dataclass_fields__".split()
    ),
    "__doc__": frozenset(("__doc__", "getdoc")),
    "__orig_bases__": frozenset(("__orig_bases__", "get_original_bases")),
}


def follow_mentions(walk: Findings) -> None:
    """Follow what the walk deferred; the walk continues where this finds more, until nothing is left."""
    names = frozenset().union(*(facts.names for facts in walk.facts))
    _carried_modules(walk, names)
    _attributes_of_functions(walk, names)
    read = [attribute for attribute, readers in _READERS.items() if names & readers]
    subclasses = "__subclasses__" in names
    if not read and not subclasses:
        return
    for found, label, path in list(walk.queue):
        for attribute in read:
            value = _read(found, attribute)
            if (value or not is_exactly(value, _EMPTY)) and (part := f"constant {label}.{attribute}") not in walk.parts:
                walk.parts.add(part, digest_of(walk.reference(value, f"{path}.{attribute}")), "")
        if subclasses and is_a(found, type):
            walk.watch(found, _subclasses)
        # By module, since these are imported in one order or another, and in each as they are written.
        below = sorted(type.__subclasses__(found), key=module_of) if subclasses and is_a(found, type) else []
        if below and (part := f"name {label}.__subclasses__") not in walk.parts:
            walk.parts.add(part, digest_of([walk.reference(one, path) for one in below]), "")


def _subclasses(cls: type) -> tuple[type, ...]:
    return tuple(type.__subclasses__(cls))


def _read(found: Any, attribute: str) -> Any:
    if not is_a(found, type):
        return try_call(getattr, found, attribute, None)[0]  # of a function
    if attribute == "__annotations__":
        return try_call(annotations_of, found)[0]
    return docstring_of(found) if attribute == "__doc__" else members_of(found).get(attribute)  # not of a base class


def docstring_of(cls: type) -> Any:
    """The docstring of a class; a mark where it was made of a dataclass' fields, which say the same.

    Such a text has defaults and types as `repr` shows them, with their addresses.
    """
    text = members_of(cls).get("__doc__")
    if type(text) is str and "__dataclass_fields__" in members_of(cls) and text.startswith(f"{cls.__name__}("):
        signature = try_call(sys.modules["inspect"].signature, cls)[0]
        if text == f"{cls.__name__}{signature}".replace(" -> None", ""):
            return "as the fields say"
    return text


def _carried_modules(walk: Findings, names: frozenset[str]) -> None:
    """Of modules in tables, attributes and arguments: all names that any followed code mentions."""
    assigned = {name.rpartition(".")[2] for facts in walk.facts for name in facts.assigned if "." in name}
    wanted = (names | {"__getattr__"}) - _INCIDENTAL - assigned
    done = 0
    while done < len(walk.carried):  # grows meanwhile
        module = list(walk.carried.values())[done]
        done += 1
        members = attributes_of(module)
        for name in sorted(wanted & members.keys()):
            if is_a(members[name], ModuleType):
                walk.reference(members[name], name)
            walk.bind(members, name, f"{walk.space(members)}:{name}")


def _attributes_of_functions(walk: Findings, names: frozenset[str]) -> None:
    """Of functions in tables and arguments: their attributes, except those that code counts up or fills."""
    holders = [(found, path) for found, _, path in walk.queue if type(found) is FunctionType and vars(found)]
    if not holders:
        return
    changed = frozenset().union(*(facts.assigned | facts.changed | facts.counters for facts in walk.facts))
    wanted = names - {name.rpartition(".")[2] for name in changed} - _INCIDENTAL
    for function, path in holders:
        for name in sorted(wanted & vars(function).keys()):
            walk.bind(vars(function), name, f"{path}.{name}")
