"""Loops inside of what closes: on CPython 3.13 an interrupt at the end of some passes by the `finally` around them."""

from __future__ import annotations

import dis
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

import pcache

PACKAGE = Path(pcache.__file__).parent
# What is around the loop gives nothing back: it tells one error from another, or ends a view or a generator.
HARMLESS = {
    "batch/calls.py one_by_one",
    "batch/calls.py _ready",
    "batch/spreading.py _Spread._outcomes",
    "batch/spreading.py _Spread._take",
    "cli/top.py _draw",
    "entry/compression.py decompress",
    "entry/compression.py check_unpacked",
    "entry/inspector.py _pieces",
    "eviction/deletion.py _batches",
    "fingerprint/changes.py Changes._changed_ways",
    "fingerprint/inputs.py _methods_of",
    "fingerprint/layout.py _ways",
    "objects/bytecode.py placed_operations_of",
    "objects/library_names.py _lineage",
    "runtime/loops.py _frames_of",
    "system/digests.py _leaf_of_file",
    "system/file_content.py _digest",
    "system/file_content.py links_to",
    "system/interrupts.py _is_handler",
    "versions/syntax.py all_in",
    # Loops turn signals into cancellations, which come in where they wait.
    "runtime/task_streams.py items",
    "runtime/task_streams.py TaskReader.aclose",
    "runtime/task_streams.py TaskReader.step_awaited",
}


def nested_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_in(constant)


def passes_by(code: CodeType) -> bool:
    """Whether a jump back is in no range of a handler that covers what is before it and where it goes."""
    if not code.co_exceptiontable or dis.opmap["JUMP_BACKWARD"] not in code.co_code[::2]:
        return False
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # from 3.11 on
    instructions = list(dis.get_instructions(code))

    def handlers(at: int) -> set[int]:
        return {entry.target for entry in entries if entry.start <= at < entry.end}

    return any(
        (handlers(before.offset) & handlers(jump.argval)) - handlers(jump.offset)
        for before, jump in itertools.pairwise(instructions)
        if jump.opname == "JUMP_BACKWARD"
    )


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="others run the handlers")
def test_no_loop_goes_back_inside_of_what_closes() -> None:
    """Where it does, it is moved into a function of its own, inside of which there is no handler."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for code in nested_in(compile(path.read_text(), str(path), "exec")):
            if passes_by(code):
                found.add(f"{path.relative_to(PACKAGE)} {code.co_qualname}")
    assert found == HARMLESS
