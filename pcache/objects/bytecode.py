"""The operations of a code object."""

from __future__ import annotations

from opcode import EXTENDED_ARG, opmap

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
