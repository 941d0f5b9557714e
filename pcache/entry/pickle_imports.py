"""Which names a pickle would import, read from its opcodes; nothing is unpickled."""

from __future__ import annotations

import pickletools
from pickletools import markobject

from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pickletools import OpcodeInfo

UNKNOWN = "?"


def imports_of(stream: bytes) -> list[str]:
    """The names that unpickling a stream would import, found without running any of it.

    Follows the stack as the unpickler does, so that no name can be disguised; "?" is one that cannot be determined.
    """
    names: set[str] = set()
    stack: list[object] = []
    memo: dict[object, object] = {}
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            names.update(_import_of(opcode.name, argument, stack))
            _follow(opcode, argument, stack, memo)
    except ValueError:
        names.add(UNKNOWN)  # authentic bytes that are no pickle, or one of a later protocol
    return sorted(names)


def _import_of(opcode: str, argument: object, stack: list[object]) -> Iterator[str]:
    if opcode in ("GLOBAL", "INST"):
        yield str(argument).replace(" ", ".", 1)
    elif opcode.startswith("EXT"):
        yield f"copyreg extension {argument}"
    elif opcode == "STACK_GLOBAL":
        parts = [part for part in stack[-2:] if isinstance(part, str)]
        yield ".".join(parts) if len(parts) == 2 else UNKNOWN  # noqa: PLR2004 - module and name


def _follow(opcode: OpcodeInfo, argument: object, stack: list[object], memo: dict[object, object]) -> None:
    """Apply an opcode to the stack, which holds strings and marks; any other object is None."""
    name, takes, top = opcode.name, opcode.stack_before, stack[-1] if stack else None
    if name == "MEMOIZE" or "PUT" in name:
        memo[len(memo) if name == "MEMOIZE" else argument] = top
        return
    taken = len(takes)
    if markobject in takes:
        taken = takes.index(markobject)
        while stack and stack.pop() is not markobject:
            pass
    del stack[max(0, len(stack) - taken) :]
    pushed: object = None
    if name == "MARK":
        pushed = markobject
    elif name == "DUP":
        pushed = top
    elif "GET" in name:
        pushed = memo.get(argument)
    elif "UNICODE" in name or "STRING" in name:
        pushed = argument
    stack += [pushed] * len(opcode.stack_after)
