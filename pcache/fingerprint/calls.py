"""What code does with objects by calling functions and methods with them."""

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

_LOOKING = frozenset(("isinstance", "id"))  # functions that do nothing with what they are given


class Calls:
    """What was found of one code object so far, and the objects on its stack."""

    def __init__(self) -> None:
        self.bound: set[Path] = set()
        self.changed: set[Path] = set()
        self.given: set[tuple[Path, int | str, Path]] = set()
        self.handed: set[Path] = set()
        self.met: set[Path] = set()
        self.called: set[Path] = set()
        self.filled: set[Path] = set()
        self.stack: list[Any] = []

    def hand(self, values: Iterable[Any]) -> None:
        for value in values:
            self.handed |= value.owners if type(value) is Method else paths_of(value)

    def load(self, paths: frozenset[Path]) -> None:
        self.met |= paths
        self.stack.append(paths)

    def apply(self, function: Any, arguments: list[Any], keywords: tuple[str, ...]) -> None:
        """Call a function or method with arguments, the last of them by name."""
        if type(function) is Method:
            self.apply_method(function, arguments, keywords)
            return
        names = {(path.steps or (path.name,))[-1].removeprefix(".") for path in paths_of(function)}
        first, literal = (arguments or [UNKNOWN])[0], literal_in(arguments[1:2])
        if names & CHANGING_FUNCTIONS:
            self.changed |= paths_of(first)
            self.hand(arguments[1:])
        elif names == {"type"} and len(arguments) == 1:
            self.stack.append(first)  # an attribute of an object's class is one of the object
            return
        elif names & {"setattr", "delattr"} and literal:
            self.bound |= {path.step(f".{literal}") for path in paths_of(first)}
            self.hand(arguments[2:])
        elif names & {"getattr", "hasattr"} and literal:
            self.load(frozenset(path.step(f".{literal}") for path in paths_of(first)))
            return
        elif names == {"len"}:
            self.met |= {path.step("[]") for path in paths_of(first)}
        elif not names & _LOOKING:
            self.give(paths_of(function), arguments, keywords)
        self.stack.append(UNKNOWN)

    def apply_method(self, method: Method, arguments: list[Any], keywords: tuple[str, ...]) -> None:
        if method.name in CHANGING_METHODS:
            self.changed |= method.owners
            self.hand(arguments)
        elif method.name in CHANGING_FUNCTIONS:  # of a module
            self.changed |= paths_of((arguments or [UNKNOWN])[0])
            self.hand(arguments[1:])
        elif method.name == "get" and arguments:
            self.hand(arguments)
            self.load(frozenset(path.step(item_step(arguments[0])) for path in method.owners))
            return
        else:
            self.handed |= method.owners
            self.give(frozenset(path.step(f".{method.name}") for path in method.owners), arguments, keywords)
        self.stack.append(UNKNOWN)

    def give(self, functions: frozenset[Path], arguments: list[Any], keywords: tuple[str, ...]) -> None:
        self.hand(arguments)
        places = [*range(len(arguments) - len(keywords)), *keywords]
        for place, argument in zip(places, arguments, strict=False):
            self.given |= {(of, place, path) for of in functions for path in paths_of(argument)}
