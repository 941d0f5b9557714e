"""Arguments that name files by text or `Path`: these count by their name, and what the files hold does not count.

Looked for only on request: by `files="warn"` at calls, and when a call is explained.
"""

from __future__ import annotations

import os
import sys
from itertools import chain, islice

from pcache.errors import FileArgumentWarning
from pcache.objects.lookup import is_a
from pcache.objects.summary import is_secret
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import attempt
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pcache.keys.binder import Binder

_LONGEST = 4096  # characters of a path
_MOST = 1000  # parts of an argument that are looked at


class NamedFile(NamedTuple):
    """A file that an argument names; `path` is empty where the parameter's name says that its value is secret."""

    parameter: str
    path: str
    changed: float  # when its content was last written, in seconds since 1970
    touched: float  # when anything of it changed last: its content, its name, its rights


def find(names: Sequence[str], values: Sequence[object]) -> Iterator[NamedFile]:
    """The files that arguments name, at any depth of plain containers."""
    for name, value in zip(names, values, strict=True):
        for part in parts_of(value, _MOST):
            if (path := _path_in(part)) and os.path.isfile(path):
                status, found = attempt(os.stat, path)
                if found:
                    yield NamedFile(name, "" if is_secret(name) else path, status.st_mtime, status.st_ctime)


def parts_of(value: object, most: int) -> Iterator[object]:
    """The items of plain containers at any depth, of the first `most` parts; anything else itself."""
    queue = [value]
    for part in queue:
        if is_a(part, (list, tuple, set, frozenset, dict)):
            queue += islice(chain(part, part.values()) if is_a(part, dict) else part, max(0, most - len(queue)))
        else:
            yield part


def _path_in(value: object) -> str:
    """The path that a value may be; empty if it is none."""
    pathlib = sys.modules.get("pathlib")
    if pathlib is not None and is_a(value, pathlib.PurePath):
        value, _ = attempt(os.fspath, value)  # its class may be anybody's
    return value if type(value) is str and 0 < len(value) <= _LONGEST else ""


def watching(binder: Binder, function: Callable[[], str]) -> Callable[..., tuple[Any, ...]]:
    """A binder's `bind` that warns once for each parameter that was given the name of a file."""
    bind, names, said = binder.bind, binder.names, set[str]()

    def bind_and_look(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        values = bind(*args, **kwargs)
        if len(said) < len(names):
            waiting = [(name, value) for name, value in zip(names, values, strict=True) if name not in said]
            found, _ = attempt(list, find(*zip(*waiting, strict=True)))  # which iterates over containers of any class
            for file in found or ():
                if file.parameter not in said:
                    said.add(file.parameter)
                    _warn(function(), file)
        return values

    return bind_and_look


def _warn(function: str, file: NamedFile) -> None:
    which = f"the file {file.path}" if file.path else "a file"
    warn_once(
        (function, "named file", file.parameter),
        f"{function}: argument {file.parameter!r} names {which}, which counts by its name alone: what it holds may"
        " change unnoticed. If the function reads it, pass pcache.File(...).",
        FileArgumentWarning,
    )
