"""The operations of a code object."""

from __future__ import annotations

import functools
from opcode import EXTENDED_ARG, HAVE_ARGUMENT, opmap, opname, stack_effect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHE = opmap["CACHE"]
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


def operations_of(body: bytes) -> list[tuple[int, int]]:
    """Operations with extended arguments: a docstring takes an index among the constants and shifts the others."""
    found = []
    argument = 0
    for at in range(0, len(body), 2):
        operation = body[at]
        if operation == _CACHE:
            continue  # the interpreter's inline cache, always zero here
        argument = argument << 8 | body[at + 1]
        if operation != EXTENDED_ARG:
            found.append((operation, argument))
            argument = 0
    return found


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
