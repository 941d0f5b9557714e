"""What a code object does, and which names it uses.

Comments, blank lines, line numbers, docstrings and file names play no part. Constants are canonical: a set literal in a
body is a frozenset whose order changes with the hash seed. Digests differ between Python versions, as bytecode does.
"""

from __future__ import annotations

import sys
from opcode import hasconst, hasname, opmap
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from pcache.fingerprint import known_code
from pcache.fingerprint.uses import CHANGING_FUNCTIONS, CHANGING_METHODS
from pcache.keys.encoder import encode
from pcache.objects.bytecode import numbers_of, operations_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_HAS_CONST = frozenset(hasconst)
_HAS_NAME = frozenset(hasname)
_STORE_NAME = opmap["STORE_NAME"]
_INCIDENTAL = frozenset(("__doc__", "__firstlineno__"))
_SET_IN_BODIES = _INCIDENTAL | {"__annotations__"}  # by class statements in functions, which do not read it
_LOAD_GLOBAL = opmap["LOAD_GLOBAL"]  # its argument is twice the index of the name, plus a flag
_LOAD_NAME = numbers_of("LOAD_NAME LOAD_FROM_DICT_OR_GLOBALS")
_STORE_GLOBAL = frozenset((opmap["STORE_GLOBAL"], opmap["DELETE_GLOBAL"]))
_IMPORT_NAME = opmap["IMPORT_NAME"]
_LOAD_SMALL_INT = opmap.get("LOAD_SMALL_INT")  # from 3.14 on: the number itself
_STORE_SUBSCR, _COPY = opmap["STORE_SUBSCR"], opmap["COPY"]
_STORE_ATTRIBUTE = frozenset((opmap["STORE_ATTR"], opmap["DELETE_ATTR"]))
_LOAD_ATTRIBUTE = numbers_of("LOAD_ATTR LOAD_METHOD")
_ON_ATTRIBUTES = _LOAD_ATTRIBUTE | _STORE_ATTRIBUTE | {_COPY}
# Operations that load one object; some of 3.13 and later load two.
_LOADS = frozenset(
    opmap[name]
    for name in (
        "LOAD_CONST LOAD_DEREF LOAD_FAST LOAD_FAST_BORROW LOAD_FAST_CHECK LOAD_GLOBAL LOAD_NAME LOAD_SMALL_INT"
    ).split()
    if name in opmap
)
# How many flag bits an argument has below the index of its name.
_NAME_SHIFT = {opmap["LOAD_GLOBAL"]: 1}
if sys.version_info >= (3, 12):
    _NAME_SHIFT |= {opmap["LOAD_ATTR"]: 1, opmap["LOAD_SUPER_ATTR"]: 2}
_CHANGING_METHODS = frozenset(
    "add append appendleft clear discard extend extendleft insert pop popitem popleft remove setdefault update".split()
)
_CHANGING = CHANGING_METHODS | CHANGING_FUNCTIONS
_CHANGING_OPERATIONS = frozenset((opmap["STORE_SUBSCR"], opmap["DELETE_SUBSCR"], opmap.get("STORE_SLICE")))
_STORE_VARIABLE = frozenset((opmap["STORE_DEREF"], opmap["DELETE_DEREF"]))
_SETTING = frozenset(("setattr", "delattr", "__setattr__", "__delattr__", "__dict__", "vars"))
# Where code calls one of these, texts in it may name attributes or globals.
REFLECTION = frozenset("getattr vars attrgetter methodcaller globals __dict__".split())


class CodeFacts(NamedTuple):
    """A code object with the code nested in it.

    `digest` stands for what it does; `global_names` are looked up in its module, without those that it assigns itself
    (a counter is not a constant); `names` are all names it mentions, attributes too, and `imports` are the import
    statements in its body: module, level, names taken from it. `assigned` and `changed` are the globals, and attributes
    of globals (`state.count`), that it assigns, or whose objects it changes in place. `counters` are the attributes, of
    any object, that it adds to. `handed` are the globals that it does more with than read or set an attribute: it may
    pass them to a helper. `stored` are the globals, attributes and captured variables, of any object, that it assigns,
    and `mutates` says whether it changes any container in place.
    """

    digest: bytes
    global_names: frozenset[str]
    names: frozenset[str]
    imports: frozenset[tuple[str, int, tuple[str, ...]]]
    assigned: frozenset[str]
    changed: frozenset[str]
    counters: frozenset[str]
    handed: frozenset[str]
    stored: frozenset[str]
    mutates: bool


def facts_of(code: CodeType) -> CodeFacts:
    """Read a code object; remembered for the next time."""
    found: CodeFacts | None = known_code.facts.get(code) or known_code.recall(known_code.facts, code)
    return found or known_code.note(known_code.facts, code, _read(code))


def _read(code: CodeType) -> CodeFacts:
    operations = operations_of(code.co_code)
    loaded, imports = _names_used(code, operations)
    assigned, changed, counters, handed = _names_changed(code, operations)
    stored = set(_names_stored(code, operations))
    mutates = any(operation in _CHANGING_OPERATIONS for operation, _ in operations)
    names = set(code.co_names) - _SET_IN_BODIES
    if len(names) < len(code.co_names):
        names.update(_attribute_name(code, *one) for one in operations if one[0] in _LOAD_ATTRIBUTE)
    for nested in (facts_of(value) for value in code.co_consts if isinstance(value, CodeType)):
        loaded |= nested.global_names
        names |= nested.names
        imports |= nested.imports
        assigned |= nested.assigned
        changed |= nested.changed
        counters |= nested.counters
        handed |= nested.handed
        stored |= nested.stored
        mutates = mutates or nested.mutates
    if names & REFLECTION:
        names.update(_texts(code))
    if "globals" in names:
        loaded.update(_texts(code))
    content = (
        _instructions(code, operations),
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & 0xFFFF,  # CO_HAS_DOCSTRING lies above
        code.co_exceptiontable,
    )
    digest = blake3(b"".join(encode(content))).digest()
    return CodeFacts(
        digest,
        frozenset(loaded - assigned),
        frozenset(names),
        frozenset(imports),
        frozenset(assigned),
        frozenset(changed),
        frozenset(counters),
        frozenset(handed),
        frozenset(stored | names if names & _SETTING else stored),
        mutates or not names.isdisjoint(_CHANGING),
    )


def _texts(value: object) -> Iterator[str]:
    """The identifiers among the constants of code that looks attributes up by name."""
    if isinstance(value, str):
        yield from (part for part in value.split(".") if part.isidentifier())
    elif isinstance(value, (tuple, frozenset, CodeType)):
        for item in value.co_consts if isinstance(value, CodeType) else value:
            yield from _texts(item)


def _instructions(code: CodeType, operations: list[tuple[int, int]]) -> list[object]:
    """The bytecode with constants and names instead of their indexes, which a docstring would shift."""
    content: list[object] = []
    skipped = _incidental_operations(code, operations)
    for at, (operation, argument) in enumerate(operations):
        if operation in _HAS_CONST:
            if at not in skipped:
                content += (operation, _constant(code.co_consts[argument]))
        elif operation in _HAS_NAME:
            if at not in skipped:
                shift = _NAME_SHIFT.get(operation, 0)
                content += (operation | (argument & ((1 << shift) - 1)) << 8, code.co_names[argument >> shift])
        else:
            content.append(operation | argument << 8)
    return content


def _incidental_operations(code: CodeType, operations: list[tuple[int, int]]) -> set[int]:
    """The operations of a class or module body that set its docstring or line number."""
    if _INCIDENTAL.isdisjoint(code.co_names):
        return set()
    found = set()
    for at, (operation, argument) in enumerate(operations):
        if operation == _STORE_NAME and code.co_names[argument] in _INCIDENTAL:
            found |= {at - 1, at}
    return found


def _global_name(code: CodeType, operation: int, argument: int) -> str | None:
    """The global name that an operation looks up, if any."""
    if operation == _LOAD_GLOBAL:
        return code.co_names[argument >> 1]
    return code.co_names[argument] if operation in _LOAD_NAME else None


def _attribute_name(code: CodeType, operation: int, argument: int) -> str:
    return code.co_names[argument >> _NAME_SHIFT.get(operation, 0)]


def _names_used(
    code: CodeType, operations: list[tuple[int, int]]
) -> tuple[set[str], set[tuple[str, int, tuple[str, ...]]]]:
    """The global names that code loads, and its imports."""
    names: set[str] = set()
    imports: set[tuple[str, int, tuple[str, ...]]] = set()
    constants: list[object] = [0, None]  # an import statement loads its level and its names before
    for operation, argument in operations:
        if operation in _HAS_CONST:
            constants.append(code.co_consts[argument])
        elif operation == _LOAD_SMALL_INT:
            constants.append(argument)
        elif (name := _global_name(code, operation, argument)) is not None:
            names.add(name)
        elif operation == _IMPORT_NAME:
            level, taken = constants[-2:]
            level = level if isinstance(level, int) else 0
            imports.add((code.co_names[argument], level, taken if isinstance(taken, tuple) else ()))
    return names, imports


def _names_changed(code: CodeType, operations: list[tuple[int, int]]) -> tuple[set[str], set[str], set[str], set[str]]:
    """The globals that code assigns, those whose objects it changes in place, the attributes it adds to, and the
    globals that it does more with than read or set an attribute.
    """
    assigned: set[str] = set()
    changed: set[str] = set()
    counters: set[str] = set()
    handed: set[str] = set()
    for at, (operation, argument) in enumerate(operations):
        if operation in _STORE_GLOBAL:
            assigned.add(code.co_names[argument])
        elif operation == _COPY and operations[at + 1][0] in _LOAD_ATTRIBUTE:
            counters.add(_attribute_name(code, *operations[at + 1]))  # self.count += ...
        if (name := _global_name(code, operation, argument)) is None:
            continue
        following = operations[at + 1 : at + 5]
        if not following or following[0][0] not in _ON_ATTRIBUTES:
            handed.add(name)
        if following and following[0][0] == _COPY:
            following = following[1:]  # state.count += ...
            if following[0][0] in _LOAD_ATTRIBUTE:
                assigned.add(f"{name}.{_attribute_name(code, *following[0])}")
        if following and following[0][0] in _STORE_ATTRIBUTE:
            assigned.add(f"{name}.{_attribute_name(code, *following[0])}")
        if _is_changed(code, following):
            changed.add(name)
        if following and following[0][0] in _LOAD_ATTRIBUTE and _is_changed(code, operations[at + 2 : at + 6]):
            changed.add(f"{name}.{_attribute_name(code, *following[0])}")
    return assigned, changed, counters, handed


def _names_stored(code: CodeType, operations: list[tuple[int, int]]) -> Iterator[str]:
    """The names of globals, attributes and captured variables that code assigns or deletes."""
    for operation, argument in operations:
        if operation in _STORE_ATTRIBUTE or operation in _STORE_GLOBAL:
            yield code.co_names[argument]
        elif operation in _STORE_VARIABLE:
            yield _variable_name(code, argument)


def _variable_name(code: CodeType, at: int) -> str:
    """The name of a local variable by its index: a captured parameter is among the parameters."""
    names = code.co_varnames + tuple(name for name in code.co_cellvars if name not in code.co_varnames)
    return (names + code.co_freevars)[at]


def _is_changed(code: CodeType, following: list[tuple[int, int]]) -> bool:
    """Whether operations change the object that was loaded before them in place."""
    kinds = [operation for operation, _ in following]
    if not kinds:
        return False
    if kinds[0] in _LOAD_ATTRIBUTE:
        return _attribute_name(code, *following[0]) in _CHANGING_METHODS
    # TABLE[x] = ..., TABLE[x] += ..., but not other[n + TABLE] = ...
    return kinds[0] in _LOADS and (kinds[1:2] == [_STORE_SUBSCR] or kinds[1:3] == [_COPY, _COPY])


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return ("code", facts_of(value).digest)
    if isinstance(value, tuple):
        return ("tuple", [_constant(item) for item in value])
    return value


def is_of_attrs(code: CodeType) -> bool:
    """Whether attrs made a method: its `__hash__` contains the hash of a text, which differs in each process."""
    return code.co_filename.startswith("<attrs generated")
