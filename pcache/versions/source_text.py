"""The text of source files, and the code that is nested in what they compile to. Files are read, never run."""

from __future__ import annotations

import os

from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)  # do not block on a FIFO that took a file's place
_LONGEST = 4 << 20  # bytes of a source file


def read_source(path: str, most: int = _LONGEST) -> bytes | None:
    """The first so many bytes of a source file, all if that is below 0; None if it cannot be read."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _WITHOUT_WAITING)) as opened:
            return opened.read(most) or b""
    except OSError as error:
        raise_if_interrupt(error)
        return None


def nested_in(code: CodeType) -> Iterator[CodeType]:
    """The code of the functions and classes in some code."""
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield constant
            yield from nested_in(constant)
