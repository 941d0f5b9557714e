"""A Python function that fails, or returns nonsense, around a cached call: run as a script by test_hostile.

    python -m tests.faults.hostile_program FOLDER SHARE SEED

Each name that pcache uses of a module is replaced in turn, in one of `SHARE` trials. Prints the number of trials, and a
line for each that went wrong.
"""

from __future__ import annotations

import builtins
import errno
import faulthandler
import functools
import io
import json
import mmap
import os
import pickle
import random
import re
import stat
import struct
import sys
import threading
import time
import traceback
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pcache
from pcache import Cache
from pcache.system import notices
from tests.support.processes import KEY, place_of

MODULES: dict[str, Any] = {
    "os": os,
    "os.path": os.path,
    "time": time,
    "json": json,
    "threading": threading,
    "stat": stat,
    "struct": struct,
    "io": io,
    "zlib": zlib,
    "pickle": pickle,
    "mmap": mmap,
    "weakref": weakref,
    "re": re,
    "warnings": warnings,
    "functools": functools,
    "sys": sys,
}
KEPT = {("os", "_exit"), ("os", "fork"), ("sys", "exit")}
TIMEOUT = 20  # seconds after which a call counts as hanging


class Panic(BaseException):
    """An exception like those of extensions written in Rust."""


RAISED: list[BaseException] = [
    OSError(errno.EIO, "an error"),
    OSError("without a number"),
    PermissionError(),
    TimeoutError("no answer"),
    MemoryError(),
    ValueError("x" * 100_000),
    RuntimeError(),
    ReferenceError("weakly-referenced object no longer exists"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    StopIteration(),
    Panic("panicked"),
    SystemExit(3),
]
RETURNED: list[Any] = [None, mock.Mock(), mock.MagicMock(), "nonsense", b"", -1, [], object()]


def used() -> list[tuple[str, str]]:
    """The functions of modules that pcache calls as `module.name`, and `open`."""
    text = "\n".join(path.read_text() for path in Path(pcache.__file__).parent.rglob("*.py"))
    names = {
        (module, name)
        for module in MODULES
        for name in re.findall(rf"(?<![\w.]){re.escape(module)}\.(\w+)\b", text)
        if callable(getattr(MODULES[module], name, None)) and not isinstance(getattr(MODULES[module], name), type)
    }
    return [*sorted(names - KEPT), ("builtins", "open")]


def ways() -> Iterator[tuple[str, str, Any, bool]]:
    """The replaced function, its replacement, and whether that is raised."""
    for module, name in used():
        for error in RAISED:
            yield module, name, error, True
        for value in RETURNED:
            # The system takes a MagicMock for the number 1: used as a descriptor it is standard output. And CPython's
            # `os.closerange(-1, 0)` closes all descriptors of the process.
            if not (name == "open" and (value == -1 or isinstance(value, mock.MagicMock))):
                yield module, name, value, False


CALLS: list[int] = []


def listed(n: int) -> list[int]:
    CALLS.append(n)
    return [n] * 100


class Ground:
    """A cache, and arguments that were not used yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0

    def open(self) -> Any:
        return Cache(self.folder, signing_key=KEY, max_entries=2000).cached(code="none")(listed)

    def next(self) -> int:
        self.number += 1
        CALLS.clear()
        return self.number


def fresh_miss(ground: Ground) -> tuple[Callable[[], Any], Any, int, int]:
    function, n = ground.open(), ground.next()
    return functools.partial(function, n), function, n, 1


def second_miss(ground: Ground) -> tuple[Callable[[], Any], Any, int, int]:
    function = ground.open()
    function(ground.next())
    n = ground.next()
    return functools.partial(function, n), function, n, 1


def first_hit(ground: Ground) -> tuple[Callable[[], Any], Any, int, int]:
    n = ground.next()
    ground.open()(n)
    CALLS.clear()
    function = ground.open()
    return functools.partial(function, n), function, n, 0


def repeated_hit(ground: Ground) -> tuple[Callable[[], Any], Any, int, int]:
    n = ground.next()
    function = ground.open()
    function(n)
    path = place_of(function, n)
    aged = os.stat(path).st_mtime_ns - 10**10
    os.utime(path, ns=(aged, aged))
    function(n)
    CALLS.clear()
    return functools.partial(function, n), function, n, 0


OPERATIONS = [fresh_miss, second_miss, first_hit, repeated_hit]


def trial(ground: Ground, operation: Any, module: str, name: str, effect: Any, *, raises: bool) -> list[str]:
    """Do one operation with one function replaced; return what went wrong."""
    act, function, n, least = operation(ground)
    target = builtins if module == "builtins" else MODULES[module]
    original = getattr(target, name)
    problems = []

    def replaced(*_: Any, **__: Any) -> Any:
        if raises:
            raise effect
        return effect

    caught, value = "", None
    setattr(target, name, replaced)
    try:
        value = act()
    except BaseException:
        caught = "raised"
    finally:
        setattr(target, name, original)
        if isinstance(effect, BaseException):
            effect.__traceback__ = effect.__context__ = effect.__cause__ = None
    if caught:
        problems.append(f"raised {traceback.format_exc(limit=-4)}")
    elif value != [n] * 100:
        problems.append(f"returned {value!r:.80}")
    if not least <= len(CALLS) <= 1:
        problems.append(f"{len(CALLS)} calls of the function")
    if any(again(n) != [n] * 100 for again in (function, ground.open())):
        problems.append("a wrong result afterwards")
    if not ground.open().exists(n) and operation is not fresh_miss:
        problems.append("not stored afterwards")
    return problems


def main() -> None:
    """Do the given share of the trials; arguments: `folder share seed`."""
    folder, share, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("error")
    random.seed(seed)
    os.chdir(folder)  # nonsense may be taken for a file's name
    ground = Ground(folder / "cache")
    ground.open()(0)
    trials = 0
    chosen = [(way, operation) for way in ways() for operation in OPERATIONS]
    random.shuffle(chosen)
    for (module, name, effect, raises), operation in chosen[:: max(1, share)]:
        notices.forget()
        faulthandler.dump_traceback_later(TIMEOUT, exit=True)
        problems = trial(ground, operation, module, name, effect, raises=raises)
        faulthandler.cancel_dump_traceback_later()
        trials += 1
        for problem in problems:
            os.write(1, f"{operation.__name__} {module}.{name} {effect!r:.60}: {problem}\n\n".encode())
    cache = Cache(folder / "cache", signing_key=KEY)
    cache.verify(repair=True)
    for problem in cache.verify().problems:
        os.write(1, f"afterwards: {problem}\n\n".encode())
    os.write(1, f"{trials} trials".encode())


if __name__ == "__main__":
    main()
