"""What code does with objects by calling functions and methods with them."""

from __future__ import annotations

from opcode import opmap
from types import CodeType

from pcache.fingerprint.uses import (
    ANY,
    CALLED,
    CHANGING_FUNCTIONS,
    CHANGING_METHODS,
    COPY,
    KEYS,
    OWN_DICT,
    PAIRS,
    SUPER,
    UNKNOWN,
    Constant,
    Method,
    Path,
    Uses,
    attributes_among,
    item_step,
    literal_in,
    paths_of,
)
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_BY_KEY = frozenset("pop setdefault __setitem__ __delitem__".split())
# Methods of texts that are written, and functions that return the items of what they are given.
_STREAMING = frozenset("write writelines truncate seek read readline readlines".split())
_SAME_ITEMS = frozenset("sorted list tuple reversed iter set frozenset dict".split())
_LONGEST = 3  # steps of a function whose result is followed
_SET_FUNCTION_ATTRIBUTE = opmap.get("SET_FUNCTION_ATTRIBUTE")  # from 3.13 on
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
        self.returned: set[Path] = set()
        self.iterated: dict[CodeType, frozenset[Path]] = {}  # what generator expressions are given
        self.own: frozenset[Path] = UNKNOWN  # the first parameter
        self.stack: list[Any] = []

    def pop(self, count: int = 1) -> list[Any]:
        """Take objects from the stack, in the order in which they were put there."""
        missing = max(count - len(self.stack), 0)
        first = len(self.stack) - count + missing
        taken = [UNKNOWN] * missing + self.stack[first:]
        del self.stack[first:]
        return taken

    def found(self) -> Uses:
        """What was found in the end."""
        return Uses(
            frozenset(self.bound),
            frozenset(self.changed),
            frozenset(self.given),
            frozenset(self.handed),
            frozenset(self.met),
            frozenset(self.called),
            frozenset(self.filled),
            frozenset(self.returned),
        )

    def hand(self, values: Iterable[Any]) -> None:
        for value in values:
            paths = value.owners if type(value) is Method else paths_of(value)
            self.handed |= {path for path in paths if not path.is_made()}

    def load(self, paths: frozenset[Path]) -> None:
        self.met |= paths
        self.stack.append(paths)

    def apply(self, function: Any, arguments: list[Any], keywords: tuple[str, ...]) -> None:
        """Call a function or method with arguments, the last of them by name."""
        if type(function) is Method:
            self.apply_method(function, arguments, keywords)
            return
        if type(function) is Constant and isinstance(function.value, CodeType) and arguments:
            self.iterated[function.value] = self.iterated.get(function.value, UNKNOWN) | paths_of(arguments[0])
        names = {(path.steps or (path.name,))[-1].removeprefix(".") for path in paths_of(function)}
        first, literal = (arguments or [UNKNOWN])[0], literal_in(arguments[1:2])
        if names & CHANGING_FUNCTIONS:
            self.changed |= paths_of(first)
            self.hand(arguments[1:])
        elif names == {"type"} and len(arguments) == 1:
            self.stack.append(first)  # an attribute of an object's class is one of the object
            return
        elif names & {"setattr", "delattr"}:
            self.set_attribute(paths_of(first), arguments[1:])
        elif names == {"vars"} and len(arguments) == 1:
            self.hand(arguments)
            self.load(frozenset(path.step(OWN_DICT) for path in paths_of(first)))
            return
        elif names & {"getattr", "hasattr"} and literal:
            self.load(frozenset(path.step(f".{literal}") for path in paths_of(first)))
            return
        elif names == {"super"} and not arguments:
            self.stack.append(frozenset(path.step(SUPER) for path in self.own))
            return
        elif names == {"len"}:
            self.met |= {path.step(step) for path in paths_of(first) for step in ("[]", KEYS)}
        elif not names & _LOOKING:
            self.give(paths_of(function), arguments, keywords)
            if names == {"print"} and "file" in keywords:
                self.changed |= paths_of(arguments[len(arguments) - len(keywords) + keywords.index("file")])
            self.stack.append(self.result_of(paths_of(function), names, paths_of(first)))
            return
        self.stack.append(UNKNOWN)

    def apply_method(self, method: Method, arguments: list[Any], keywords: tuple[str, ...]) -> None:
        if method.name in CHANGING_METHODS:
            key = literal_in(arguments[:1]) if method.name in _BY_KEY else ""
            self.change_in_place(method.owners, key or ANY)
            self.hand(arguments)
        elif method.name in ("__setattr__", "__delattr__"):  # of `object`, which is given the object, or of it
            is_given = len(arguments) > 1 + (method.name == "__setattr__")
            self.set_attribute(paths_of(arguments[0]) if is_given else method.owners, arguments[is_given:])
        elif method.name in CHANGING_FUNCTIONS:  # of a module
            self.changed |= paths_of((arguments or [UNKNOWN])[0])
            self.hand(arguments[1:])
        elif method.name == "get" and arguments:
            self.hand(arguments)
            self.met |= {path.step(KEYS) for path in method.owners}
            self.load(frozenset(path.step(item_step(arguments[0])) for path in method.owners))
            return
        else:
            self.handed |= method.owners
            if method.name in _STREAMING:
                self.changed |= method.owners
            self.stack.append(self.result_of_method(method))
            self.give(frozenset(path.step(f".{method.name}") for path in method.owners), arguments, keywords)
            return
        self.stack.append(UNKNOWN)

    def change_in_place(self, paths: frozenset[Path], name: str = ANY) -> None:
        """Note that objects are changed; in their own dicts by one name, or by any."""
        self.bound |= attributes_among(paths, name)
        self.changed |= {path for path in paths if path.steps[-1:] not in ((OWN_DICT,), (COPY,))}

    def set_attribute(self, paths: frozenset[Path], arguments: list[Any]) -> None:
        """Set or delete an attribute by its name, the first of the arguments; it may be computed."""
        self.bound |= {path.step(f".{literal_in(arguments[:1]) or ANY}") for path in paths}
        self.hand(arguments[1:])

    def give(self, functions: frozenset[Path], arguments: list[Any], keywords: tuple[str, ...]) -> None:
        self.hand(arguments)
        places = [*range(len(arguments) - len(keywords)), *keywords]
        for place, argument in zip(places, arguments, strict=False):
            self.given |= {(of, place, path) for of in functions for path in paths_of(argument)}

    def result_of(self, functions: frozenset[Path], names: set[str], first: frozenset[Path]) -> frozenset[Path]:
        """What a call of a function returns, which is given some object first."""
        if names & _SAME_ITEMS:
            return frozenset(path.step(COPY) for path in first)
        if names == {"enumerate"}:
            return frozenset(path.step(PAIRS) for path in first)
        return frozenset(path.step(CALLED) for path in functions if self.is_followed(path))

    def result_of_method(self, method: Method) -> frozenset[Path]:
        if method.name == "values":
            return method.owners
        if method.name == "items":
            return frozenset(path.step(PAIRS) for path in method.owners)
        step = f".{method.name}"
        return frozenset(path.step(step, CALLED) for path in method.owners if self.is_followed(path))

    def is_followed(self, path: Path) -> bool:
        """Whether results of a function may be known: not of what is passed, nor of what a call returned."""
        own = path.root != "local" or Path("local", path.name) in self.own
        return own and len(path.steps) < _LONGEST and CALLED not in path.steps

    def make_function(self, argument: int) -> None:
        """Put a function on the stack as its code; before 3.13 with defaults and what it captures."""
        [made] = self.pop()
        self.hand(self.pop((argument & 15).bit_count() if _SET_FUNCTION_ATTRIBUTE is None else 0))
        self.stack.append(made)

    def add_to_function(self, _: int) -> None:
        attribute, made = self.pop(2)
        self.hand([attribute])
        self.stack.append(made)

    def enter(self, _: int) -> None:
        owners = self.pop()
        self.hand(owners)
        self.stack += [UNKNOWN, frozenset(path.step(".__enter__", CALLED) for path in paths_of(owners[0]))]

    def give_back(self, _: int) -> None:
        values = self.pop()
        self.hand(values)
        self.returned |= paths_of(values[0])
