"""What a code object does, and which names it uses.

Comments, line breaks, line numbers, docstrings and file names play no part. Constants are canonical: a set literal in a
body is a frozenset whose order changes with the hash seed. Digests differ between Python versions, as bytecode does.
"""

from __future__ import annotations

import marshal
import sys
from itertools import compress, count
from opcode import hasconst, hasname, opmap
from types import CodeType

from blake3 import blake3

from pcache.fingerprint import known_code
from pcache.fingerprint.layout import JUMPS, written
from pcache.fingerprint.uses import CHANGING_FUNCTIONS, CHANGING_METHODS
from pcache.keys.encoder import encode
from pcache.objects.bytecode import marks_of, numbers_of, placed_operations_of, plain_operations
from pcache.startup import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Operations = tuple[bytes, Sequence[int]]  # and their arguments

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
_ATTRIBUTE = _LOAD_ATTRIBUTE | _STORE_ATTRIBUTE
_ON_ATTRIBUTES = _ATTRIBUTE | {_COPY}
# Operations that load one object.
_LOADS = numbers_of("LOAD_CONST LOAD_DEREF LOAD_FAST LOAD_FAST_CHECK LOAD_GLOBAL LOAD_NAME LOAD_SMALL_INT")
# How many flag bits an argument has below the index of its name.
NAME_SHIFT = {opmap["LOAD_GLOBAL"]: 1}
if sys.version_info >= (3, 12):
    NAME_SHIFT |= {opmap["LOAD_ATTR"]: 1, opmap["LOAD_SUPER_ATTR"]: 2}
_CHANGING_METHODS = frozenset(
    "add append appendleft clear discard extend extendleft insert pop popitem popleft remove setdefault update".split()
)
_CHANGING = CHANGING_METHODS | CHANGING_FUNCTIONS
_CHANGING_OPERATIONS = frozenset(
    opmap[name] for name in ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE") if name in opmap
)
_STORE_VARIABLE = frozenset((opmap["STORE_DEREF"], opmap["DELETE_DEREF"]))
_SETS_ITEM = (bytes((_STORE_SUBSCR,)), bytes((_COPY, _COPY)))
_TELLING = marks_of(
    {_LOAD_GLOBAL, _IMPORT_NAME, _COPY},
    _LOAD_NAME,
    _STORE_ATTRIBUTE,
    _STORE_GLOBAL,
    _STORE_VARIABLE,
    _CHANGING_OPERATIONS,
)
_WORDED = marks_of(_HAS_NAME, _HAS_CONST, JUMPS, {opmap["STORE_FAST"]})
_NOTHING = bytes((opmap["NOP"], 0))
_CONSTANT = marks_of(_HAS_CONST)
_POP_TOP = opmap["POP_TOP"]
_SIMPLE = frozenset(
    (str, int, type(None), bool, float, complex, bytes, type(...))
)  # constants that are written as they are
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
    `texts` are the identifiers among its constants, and `mutates` says whether it changes any container in place.
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
    texts: frozenset[str]
    mutates: bool


def facts_of(code: CodeType) -> CodeFacts:
    """Read a code object; remembered for the next time."""
    found: CodeFacts | None = known_code.facts.get(code) or known_code.recall(known_code.facts, code)
    return found or known_code.note(known_code.facts, code, _read(code))


def _read(code: CodeType) -> CodeFacts:
    body = _without_incidental(code)
    operations = plain_operations(body)
    found = _Names()
    found.read(code, operations)
    names = set(code.co_names) - _SET_IN_BODIES
    if len(names) < len(code.co_names):
        loads = (at for at, kind in enumerate(operations[0]) if kind in _LOAD_ATTRIBUTE)
        names.update(_attribute_name(code, operations, at) for at in loads)
    for value in code.co_consts:
        if isinstance(value, CodeType):
            nested = facts_of(value)
            found.add(nested)
            names |= nested.names
    if names & REFLECTION:
        names |= found.texts
    if "globals" in names:
        found.loaded |= found.texts
    content = (
        written(body, code.co_exceptiontable, operations, _words(code, operations)),
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & 0xFFFF,  # CO_HAS_DOCSTRING lies above
    )
    digest = blake3(marshal.dumps(content, 0)).digest()  # later formats show which texts are interned
    return CodeFacts(
        digest,
        frozenset(found.loaded - found.assigned),
        frozenset(names),
        frozenset(found.imports),
        frozenset(found.assigned),
        frozenset(found.changed),
        frozenset(found.counters),
        frozenset(found.handed),
        frozenset(found.stored | names if names & _SETTING else found.stored),
        frozenset(found.texts),
        found.mutates or not names.isdisjoint(_CHANGING),
    )


def _texts(value: object) -> Iterator[str]:
    """The identifiers in a constant."""
    if isinstance(value, str):
        yield from (part for part in value.split(".") if part.isidentifier())
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from _texts(item)


def _words(code: CodeType, operations: Operations) -> list[object]:
    """The operations with constants and names instead of their indexes, which a docstring would shift."""
    kinds, arguments = operations
    words: list[object] = [kind | argument << 8 for kind, argument in zip(kinds, arguments, strict=True)]
    for at in compress(count(), kinds.translate(_WORDED)):
        kind, argument = kinds[at], arguments[at]
        if kind in _HAS_NAME:
            shift = NAME_SHIFT.get(kind, 0)
            words[at] = (kind | (argument & ((1 << shift) - 1)) << 8, code.co_names[argument >> shift])
        elif kind in _HAS_CONST:
            value = code.co_consts[argument]
            words[at] = (kind, value if type(value) in _SIMPLE else _constant(value))
        elif kind in JUMPS:
            words[at] = JUMPS[kind]
        elif words[at] == words[at + 1]:
            words[at] = _POP_TOP  # of `_, _ = pair`: so 3.13 does if both are on one line
    return words


def _without_incidental(code: CodeType) -> bytes:
    """Bytecode without what sets the docstring or line number of a class or module in its body."""
    if _INCIDENTAL.isdisjoint(code.co_names):
        return code.co_code
    body = bytearray(code.co_code)
    value = 0  # where the operations for the value begin
    for start, kind, argument, following in placed_operations_of(code.co_code):
        if kind == _STORE_NAME and code.co_names[argument] in _INCIDENTAL:
            body[value:following] = _NOTHING * ((following - value) // 2)
        value = start if kind in _HAS_CONST or kind == _LOAD_SMALL_INT else following
    return bytes(body)


class _Names:
    """The names that code uses, as `CodeFacts` has them, while they are collected."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.imports: set[tuple[str, int, tuple[str, ...]]] = set()
        self.assigned: set[str] = set()
        self.changed: set[str] = set()
        self.counters: set[str] = set()
        self.handed: set[str] = set()
        self.stored: set[str] = set()
        self.texts: set[str] = set()
        self.mutates = False

    def add(self, nested: CodeFacts) -> None:
        self.loaded |= nested.global_names
        self.imports |= nested.imports
        self.assigned |= nested.assigned
        self.changed |= nested.changed
        self.counters |= nested.counters
        self.handed |= nested.handed
        self.stored |= nested.stored
        self.texts |= nested.texts
        self.mutates = self.mutates or nested.mutates

    def read(self, code: CodeType, operations: Operations) -> None:
        names, (kinds, arguments) = code.co_names, operations
        for at in compress(count(), kinds.translate(_TELLING)):
            kind, argument = kinds[at], arguments[at]
            if kind == _LOAD_GLOBAL:
                self.load(names[argument >> 1], code, operations, at + 1)
            elif kind in _LOAD_NAME:
                self.load(names[argument], code, operations, at + 1)
            elif kind in _STORE_ATTRIBUTE:
                self.stored.add(names[argument])
            elif kind in _STORE_GLOBAL:
                self.assigned.add(names[argument])
                self.stored.add(names[argument])
            elif kind in _STORE_VARIABLE:
                self.stored.add(_variable_name(code, argument))
            elif kind == _IMPORT_NAME:  # its level and the names that it takes are loaded before
                level = _constant_at(code, operations, at - 2)
                taken = _constant_at(code, operations, at - 1)
                self.imports.add(
                    (names[argument], level if isinstance(level, int) else 0, taken if isinstance(taken, tuple) else ())
                )
            elif kind == _COPY:
                if kinds[at + 1] in _LOAD_ATTRIBUTE:
                    self.counters.add(_attribute_name(code, operations, at + 1))  # self.count += ...
            else:
                self.mutates = True
        for at in set(compress(arguments, kinds.translate(_CONSTANT))):  # a docstring is loaded by no operation
            self.texts.update(_texts(code.co_consts[at]))

    def load(self, name: str, code: CodeType, operations: Operations, at: int) -> None:
        """Note a global that was loaded, and what code does with it from an index on."""
        kind = operations[0][at]
        self.loaded.add(name)
        if kind not in _ON_ATTRIBUTES:
            self.handed.add(name)
        elif kind in _LOAD_ATTRIBUTE:
            if _is_changed(code, operations, at + 1):
                self.changed.add(f"{name}.{_attribute_name(code, operations, at)}")
        else:
            at += kind == _COPY  # state.count += ...
            if operations[0][at] in _ATTRIBUTE:
                self.assigned.add(f"{name}.{_attribute_name(code, operations, at)}")
        if _is_changed(code, operations, at):
            self.changed.add(name)


def _attribute_name(code: CodeType, operations: Operations, at: int) -> str:
    return code.co_names[operations[1][at] >> NAME_SHIFT.get(operations[0][at], 0)]


def _constant_at(code: CodeType, operations: Operations, at: int) -> object:
    """The constant that an operation loads."""
    argument = operations[1][at]
    return argument if operations[0][at] == _LOAD_SMALL_INT else code.co_consts[argument]


def _variable_name(code: CodeType, at: int) -> str:
    """The name of a local variable by its index: a captured parameter is among the parameters."""
    names = code.co_varnames + tuple(name for name in code.co_cellvars if name not in code.co_varnames)
    return (names + code.co_freevars)[at]


def _is_changed(code: CodeType, operations: Operations, at: int) -> bool:
    """Whether operations from an index on change the object that was loaded before them in place."""
    kinds = operations[0]
    if kinds[at] in _LOAD_ATTRIBUTE:
        return _attribute_name(code, operations, at) in _CHANGING_METHODS
    # TABLE[x] = ..., TABLE[x] += ..., but not other[n + TABLE] = ...
    return kinds[at] in _LOADS and kinds.startswith(_SETS_ITEM, at + 1)


def _constant(value: object) -> object:
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, CodeType):
        return ["code", facts_of(value).digest]
    if type(value) is tuple:
        return tuple(map(_constant, value))
    return ["value", b"".join(encode(value))]  # a frozenset, or what some tool has put there


def is_of_attrs(code: CodeType) -> bool:
    """Whether attrs made a method: its `__hash__` contains the hash of a text, which differs in each process."""
    return code.co_filename.startswith("<attrs generated")
