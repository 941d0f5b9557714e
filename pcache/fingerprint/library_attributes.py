"""Attributes of packages and builtins that code uses, and that tests and tools may replace.

What an attribute meant when it was first looked at is taken for the package's own, unless it is code of the user's:
its version stands for it. What is found there later (`mock.patch.object(os, "getcwd", ...)`) counts while it is there.
"""

from __future__ import annotations

from types import FunctionType, ModuleType

from pcache.fingerprint.parts import is_plain
from pcache.objects.lookup import attributes_of, bases_of, flags_of, full_name, is_a, is_mock, members_of, title_of
from pcache.objects.user_code import is_user_code, is_user_module
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcache.fingerprint.findings import Findings

_INCIDENTAL = frozenset(("__name__", "__doc__"))
_IMMUTABLE = 1 << 8  # flag of classes written in C whose attributes cannot be set
# The first values seen of attributes, by the id of the module or class, which is kept alive.
_first_seen: dict[tuple[int, str], tuple[object, object]] = {}


def follow_library(walk: Findings, value: Any, wanted: frozenset[str]) -> None:
    """Guard what code may use of a package's module or class: all attributes whose names it mentions."""
    wanted, waiting, seen = wanted - _INCIDENTAL, [value], {id(value)}
    for owner in waiting:  # grows meanwhile
        if is_a(owner, ModuleType) and not is_user_module(title_of(owner)):
            found = list(_follow(walk, owner, attributes_of(owner), wanted))
            waiting += [one for one in found if is_a(one, ModuleType) and id(one) not in seen]
            seen.update(map(id, found))
        elif is_a(owner, type) and not is_user_code(owner):
            _follow_class(walk, owner, wanted)


def _follow_class(walk: Findings, cls: type, wanted: frozenset[str]) -> None:
    """Follow names in a class and its bases; a class earlier in the order may be given a name that a base has."""
    missing: list[tuple[Mapping[str, Any], frozenset[str]]] = []
    for base in bases_of(cls):
        members = walk.members.setdefault(id(base), members_of(base))
        here = wanted & members.keys()
        for nearer, names in missing:
            for name in here & names:
                walk.look(nearer, name)
        if not flags_of(base) & _IMMUTABLE:
            list(_follow(walk, base, members, here))
            missing.append((members, wanted - here))


def _follow(walk: Findings, owner: Any, members: Mapping[str, Any], wanted: frozenset[str]) -> Iterator[object]:
    for name in sorted(wanted & members.keys()):
        value = walk.look(members, name)
        if (id(members), name) not in walk.noted and _is_replaced(value, owner, name):
            walk.noted.add((id(members), name))
            place = full_name(owner) if is_a(owner, type) else title_of(owner)
            walk.note(value, f"{place}.{name}")
        yield value


def _is_replaced(value: Any, owner: object, name: str) -> bool:
    """Whether a name means something other than the package's own object; objects that are not code change by use."""
    if is_mock(value) or (is_a(value, (FunctionType, type)) and is_user_code(value)):
        return True
    first = _first_seen.setdefault((id(owner), name), (owner, value))[1]
    return value is not first and (callable(value) or is_plain(value))
