"""What code does with the objects that it gives to a call: hands on, changes, or looks something up in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcache.fingerprint.uses import (
    CHANGING_FUNCTIONS,
    CHANGING_METHODS,
    UNKNOWN,
    Method,
    Path,
    item_step,
    literal_in,
    paths_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Reader(Protocol):
        """What reads a code object, and what it has found."""

        bound: set[Path]
        changed: set[Path]
        given: set[tuple[Path, int, Path]]
        handed: set[Path]
        met: set[Path]
        stack: list[Any]

        def hand(self, values: Iterable[Any]) -> None: ...
        def load(self, paths: frozenset[Path]) -> None: ...


_LOOKING = frozenset(("isinstance", "id"))  # functions that do nothing with what they are given


def apply(reader: Reader, function: Any, arguments: list[Any]) -> None:
    """Call a function or method with arguments."""
    if type(function) is Method:
        _apply_method(reader, function, arguments)
        return
    names = {(path.steps or (path.name,))[-1].removeprefix(".") for path in paths_of(function)}
    first, literal = (arguments or [UNKNOWN])[0], literal_in(arguments[1:2])
    if names & CHANGING_FUNCTIONS:
        reader.changed |= paths_of(first)
        reader.hand(arguments[1:])
    elif names == {"type"} and len(arguments) == 1:
        reader.stack.append(first)  # as `__class__`
        return
    elif names & {"setattr", "delattr"} and literal:
        reader.bound |= {path.step(f".{literal}") for path in paths_of(first)}
        reader.hand(arguments[2:])
    elif names & {"getattr", "hasattr"} and literal:
        reader.load(frozenset(path.step(f".{literal}") for path in paths_of(first)))
        return
    elif names == {"len"}:
        reader.met |= {path.step("[]") for path in paths_of(first)}
    elif not names & _LOOKING:
        _give(reader, paths_of(function), arguments)
    reader.stack.append(UNKNOWN)


def _apply_method(reader: Reader, method: Method, arguments: list[Any]) -> None:
    if method.name in CHANGING_METHODS:
        reader.changed |= method.owners
        reader.hand(arguments)
    elif method.name in CHANGING_FUNCTIONS:  # of a module
        reader.changed |= paths_of((arguments or [UNKNOWN])[0])
        reader.hand(arguments[1:])
    elif method.name == "get" and arguments:
        reader.hand(arguments)
        reader.load(frozenset(path.step(item_step(arguments[0])) for path in method.owners))
        return
    else:
        reader.handed |= method.owners
        _give(reader, frozenset(path.step(f".{method.name}") for path in method.owners), arguments)
    reader.stack.append(UNKNOWN)


def _give(reader: Reader, functions: frozenset[Path], arguments: list[Any]) -> None:
    reader.hand(arguments)
    for position, argument in enumerate(arguments):
        reader.given |= {(of, position, path) for of in functions for path in paths_of(argument)}
