"""Attributes that objects of the user's classes compute when they are first asked for: they follow from the rest.

A class says so by a `cached_property`, or by a method that takes nothing but its object, looks whether a private
attribute is set, and sets it. As only such methods mention the attribute, whoever reads it would compute the same.
Values that may have been changed since count all the same.
"""

from __future__ import annotations

import sys
from functools import cached_property
from opcode import opmap, opname
from types import CodeType, FunctionType, MemberDescriptorType

from pcache.fingerprint.anatomy import shown_of
from pcache.fingerprint.bytecode import NAME_SHIFT, facts_of, is_of_attrs
from pcache.fingerprint.dataflow import uses_of
from pcache.fingerprint.inputs import BUILDERS, inputs_of
from pcache.fingerprint.parts import SCALARS
from pcache.fingerprint.reached import functions_in
from pcache.objects.bytecode import numbers_of, placed_operations_of
from pcache.objects.class_memo import ByClass
from pcache.objects.lookup import attributes_of, bases_of, is_a, is_exactly, member, members_of, module_of
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcache.fingerprint.inputs import Once

_ATTRIBUTES = numbers_of("LOAD_ATTR STORE_ATTR DELETE_ATTR LOAD_METHOD")
_LOAD, _STORE, _CONSTANT, _RETURN = (opmap[name] for name in "LOAD_ATTR STORE_ATTR LOAD_CONST RETURN_VALUE".split())
_BRANCHES = frozenset(one for one, name in enumerate(opname) if "JUMP" in name and "_IF_" in name)
_NEXT = 4  # operations between a look at an attribute and the branch
_TAKES_MORE = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # flags of `*args` and `**kw`, of generators and coroutines

_remembered: ByClass[frozenset[str]] = ByClass()
_computed: ByClass[frozenset[str]] = ByClass()


def remembered_by(cls: type) -> frozenset[str]:
    """The attributes that `cached_property` of a user's class fills in: state, whoever reads them first."""
    known = _remembered.get(id(cls))
    if known is None:
        known = _remembered.keep(cls, frozenset(_cached_properties(cls)))
    return known


def _cached_properties(cls: type) -> Iterator[str]:
    for name, entry in _members(cls):
        if is_a(entry, cached_property):
            yield name
        elif name == "__getattr__" and is_a(entry, FunctionType) and is_of_attrs(entry.__code__):
            yield from entry.__globals__.get("cached_properties") or ()  # in a class with slots


def computed_by(cls: type, value: Any, once: Once) -> frozenset[str]:
    """The private attributes that an object has not computed yet, or whose values cannot have been changed since."""
    names = _computed.get(id(cls))
    if names is None:
        names = _computed.keep(cls, frozenset(_computed_in(cls, once)))
    if not names:
        return names
    held = shown_of(value)
    return frozenset(name for name in names if is_exactly(held.get(name), SCALARS))


def _members(cls: type) -> list[tuple[str, Any]]:
    return [item for base in bases_of(cls) if is_user_code(base) for item in members_of(base).items()]


def _computed_in(cls: type, once: Once) -> Iterator[str]:
    functions = [function for _, value in _members(cls) for function in functions_in(value)]
    names = {name for one in functions for name in _sets(one.__code__)}
    if not names:
        return
    outside: bool | None = None
    beside = [one for one in attributes_of(sys.modules.get(module_of(cls))).values() if type(one) is FunctionType]
    for name in sorted(names):
        there = member(cls, name)
        if (there is None or type(there) is MemberDescriptorType) and not _mention(beside, name):
            mention = _mention(functions, name)
            if all(_leaves_unset(one, name) or _fills(one, name) for one in mention):
                outside = any(_takes_from_outside(one, once) for one in functions) if outside is None else outside
                if not outside:
                    yield name


def _mention(functions: list[FunctionType], name: str) -> list[FunctionType]:
    return [one for one in functions if name in facts_of(one.__code__).names]


def _sets(code: CodeType) -> Iterator[str]:
    """The private attributes that a method sets which takes nothing but its object."""
    if code.co_argcount == 1 and not code.co_kwonlyargcount and not code.co_flags & _TAKES_MORE:
        for path in uses_of(code).bound:
            if path[:2] == ("local", code.co_varnames[0]) and len(path.steps) == 1 and path.steps[0].startswith("._"):
                yield path.steps[0][1:]


def _leaves_unset(function: FunctionType, name: str) -> bool:
    """Whether a method that builds objects does nothing with an attribute but to set it to None."""
    code = function.__code__
    operations = list(placed_operations_of(code.co_code))
    return code.co_name in BUILDERS and all(
        operations[at][1] == _STORE and _is_none(code, *operations[at - 2][1:3]) for at in _on(code, operations, name)
    )


def _is_none(code: CodeType, operation: int, argument: int) -> bool:
    return operation == _CONSTANT and code.co_consts[argument] is None


def _fills(function: FunctionType, name: str) -> bool:
    """Whether a method sets an attribute only where it is not set."""
    code = function.__code__
    operations = list(placed_operations_of(code.co_code))
    places = _on(code, operations, name)
    if name not in _sets(code) or not places or operations[places[0]][1] != _LOAD:
        return False
    following = [operation for _, operation, _, _ in operations[places[0] + 1 :][:_NEXT]]
    tries = following[:1] == [_RETURN] and code.co_exceptiontable
    return bool(tries or not _BRANCHES.isdisjoint(following))


def _takes_from_outside(function: FunctionType, once: Once) -> bool:
    """Whether code takes more than what the program says: its arguments, the environment, files."""
    values, reads = inputs_of(function.__code__, function.__globals__, once)
    return reads or bool(values)


def _on(code: CodeType, operations: list[tuple[int, int, int, int]], name: str) -> list[int]:
    """The places of operations on an attribute of that name."""
    return [
        at
        for at, (_, operation, argument, _) in enumerate(operations)
        if operation in _ATTRIBUTES and code.co_names[argument >> NAME_SHIFT.get(operation, 0)] == name
    ]
