"""The operations of a code object."""

from __future__ import annotations

from opcode import EXTENDED_ARG, opmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHE = opmap["CACHE"]


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
