"""What code depends on only because code elsewhere on the way says so.

A module in a table, or handed to a helper, is used by whoever takes it out; annotations, docstrings and subclasses say
something about behaviour only where some code reads them. So these wait until all that the code mentions is known.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from pcache.culprit import attempt
from pcache.parts import digest_of

if TYPE_CHECKING:
    from pcache.walk import Walk

_INCIDENTAL = frozenset(("__name__", "__doc__", "__wrapped__"))
# Which attribute the code reads where it mentions one of these.
_READERS = {
    "__annotations__": frozenset(
        "__annotations__ get_annotations get_type_hints signature getfullargspec fields __dataclass_fields__".split()
    ),
    "__doc__": frozenset(("__doc__", "getdoc")),
    "__orig_bases__": frozenset(("__orig_bases__", "get_original_bases")),
}


def follow_mentions(walk: Walk) -> None:
    """Follow what the walk came by and left; it goes on where this finds more, and then asks again."""
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
            if value and (part := f"constant {label}.{attribute}") not in walk.parts:
                walk.parts.add(part, digest_of(walk.reference(value, f"{path}.{attribute}")), "")
        if subclasses and isinstance(found, type):
            walk.watch(found, _subclasses)
        below: list[type] = type.__subclasses__(found) if subclasses and isinstance(found, type) else []
        if below and (part := f"name {label}.__subclasses__") not in walk.parts:
            walk.parts.add(part, digest_of([walk.reference(one, path) for one in below]), "")


def _subclasses(cls: type) -> tuple[type, ...]:
    return tuple(type.__subclasses__(cls))


def _read(found: Any, attribute: str) -> Any:
    if isinstance(found, type) and attribute not in vars(found) and attribute != "__annotations__":
        return None  # a base class' own
    return attempt(getattr, found, attribute, None)[0]


def _carried_modules(walk: Walk, names: frozenset[str]) -> None:
    """Of modules in tables, attributes and arguments: all that any code on the way mentions."""
    assigned = {name.rpartition(".")[2] for facts in walk.facts for name in facts.assigned if "." in name}
    wanted = (names | {"__getattr__"}) - _INCIDENTAL - assigned
    done = 0
    while done < len(walk.carried):  # grows meanwhile
        module = list(walk.carried)[done]
        done += 1
        members = vars(module)
        for name in sorted(wanted & members.keys()):
            if isinstance(members[name], ModuleType):
                walk.reference(members[name], name)
            walk.bind(members, name, f"{walk.space(members)}:{name}")


def _attributes_of_functions(walk: Walk, names: frozenset[str]) -> None:
    """Of functions in tables and arguments: their attributes, but for those that code counts up or fills."""
    holders = [(found, path) for found, _, path in walk.queue if isinstance(found, FunctionType) and vars(found)]
    if not holders:
        return
    changed = frozenset().union(*(facts.assigned | facts.changed | facts.counters for facts in walk.facts))
    wanted = names - {name.rpartition(".")[2] for name in changed} - _INCIDENTAL
    for function, path in holders:
        for name in sorted(wanted & vars(function).keys()):
            walk.bind(vars(function), name, f"{path}.{name}")
