"""The operations of a code object."""

from __future__ import annotations

import functools
from itertools import compress, count
from opcode import EXTENDED_ARG, HAVE_ARGUMENT, opmap, opname, stack_effect

from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CACHE = opmap["CACHE"]
_IDLE = bytes(number for number in range(256) if opname[number] in ("CACHE", "NOP", "NOT_TAKEN"))
# What operations are that differ from others only in speed.
_PARTS = {
    opmap[name]: bytes(opmap[part] for part in parts.split())
    for name, parts in {
        "LOAD_FAST_BORROW": "LOAD_FAST",
        "LOAD_FAST_LOAD_FAST": "LOAD_FAST LOAD_FAST",
        "LOAD_FAST_BORROW_LOAD_FAST_BORROW": "LOAD_FAST LOAD_FAST",
        "STORE_FAST_LOAD_FAST": "STORE_FAST LOAD_FAST",
        "STORE_FAST_STORE_FAST": "STORE_FAST STORE_FAST",
        "RETURN_CONST": "LOAD_CONST RETURN_VALUE",
    }.items()
    if name in opmap
}
_COMPOSED = _PARTS.keys() | {EXTENDED_ARG}
_TWO_VARIABLES = frozenset(number for number in _PARTS if opname[number].count("FAST") > 1)


def marks_of(*operations: Iterable[int]) -> bytes:
    """A table for `bytes.translate` with 1 for some operations and 0 for others."""
    table = bytearray(256)
    for number in set().union(*operations):
        if number < len(table):  # others are names within the compiler, from Python 3.12 on
            table[number] = 1
    return bytes(table)


_MARKED = marks_of(_COMPOSED)
_LASTING = marks_of(set(range(256)).difference(_IDLE))
_HOW_MANY = dict.fromkeys((*_IDLE, EXTENDED_ARG), 0) | {one: len(parts) for one, parts in _PARTS.items()}
_COUNTS = bytes(_HOW_MANY.get(one, 1) for one in range(256))
# How many objects an operation takes, where that does not follow from its effect on the stack.
_TAKES = {
    **dict.fromkeys("UNARY_NOT UNARY_NEGATIVE UNARY_INVERT TO_BOOL FORMAT_SIMPLE GET_ITER GET_AWAITABLE".split(), 1),
    **dict.fromkeys("UNPACK_SEQUENCE UNPACK_EX CALL_INTRINSIC_1 CONVERT_VALUE YIELD_VALUE LIST_TO_TUPLE".split(), 1),
    **dict.fromkeys("COMPARE_OP IS_OP FORMAT_WITH_SPEC IMPORT_NAME SET_FUNCTION_ATTRIBUTE".split(), 2),
}
_ONE_FROM_MANY = ("BUILD_", "CALL_", "FORMAT_VALUE", "MAKE_FUNCTION")  # operations that make one object


def numbers_of(names: str) -> frozenset[int]:
    """The numbers of operations, of those that this Python has."""
    return frozenset(opmap[name] for name in names.split() if name in opmap)


def plain_operations(body: bytes) -> tuple[bytes, Sequence[int]]:
    """The operations of code and their arguments, but for what depends on the lines of its source.

    Those that do nothing are left out, and those that do what two others do are taken apart: `counts_of` has how many
    come from each. Arguments are extended, as a docstring takes an index among the constants and shifts the others.
    """
    kinds = body[::2]
    lasting = kinds.translate(None, _IDLE)
    arguments = bytes(compress(body[1::2], kinds.translate(_LASTING)))
    return (lasting, arguments) if _COMPOSED.isdisjoint(kinds) else _taken_apart(lasting, list(arguments))


def counts_of(body: bytes) -> bytes:
    """How many plain operations there are for each two bytes of code."""
    return body[::2].translate(_COUNTS)


def _taken_apart(kinds: bytes, arguments: list[int]) -> tuple[bytes, list[int]]:
    plain = bytearray()
    found: list[int] = []
    done = 0
    for at in compress(count(), kinds.translate(_MARKED)):
        plain += kinds[done:at]
        found += arguments[done:at]
        done = at + 1
        kind, argument = kinds[at], arguments[at]
        if kind == EXTENDED_ARG:
            arguments[done] |= argument << 8
        else:
            plain += _PARTS[kind]
            found += ((argument >> 4, argument & 15) if kind in _TWO_VARIABLES else (argument, 0))[: len(_PARTS[kind])]
    return bytes(plain + kinds[done:]), found + arguments[done:]


def placed_operations_of(body: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Operations, each with its place, its argument and the place that jumps from it count from."""
    argument, start, at = 0, 0, 0
    while at < len(body):
        operation = body[at]
        argument = argument << 8 | body[at + 1]
        at += 2
        if operation == EXTENDED_ARG:
            continue
        while at < len(body) and body[at] == _CACHE:
            at += 2
        yield start, operation, argument, at
        argument, start = 0, at


@functools.cache
def taken_by(operation: int, argument: int) -> tuple[int, int]:
    """How many objects an operation takes from the stack, and by how many that then is longer."""
    effect = stack_effect(operation, argument if operation >= HAVE_ARGUMENT else None, jump=False)
    takes = _TAKES.get(opname[operation])
    if takes is None:
        takes = 1 - effect if opname[operation].startswith(_ONE_FROM_MANY) else max(-effect, 0)
    return takes, effect
