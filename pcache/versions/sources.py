"""Source files of a program, on disk or in a revision: their statements by the names that these make, and their code.

Files are parsed and compiled, never run.
"""

from __future__ import annotations

import os
from functools import cached_property
from types import CodeType

from blake3 import blake3

from pcache.fingerprint.bytecode import facts_of
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import attempt, raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Read = Callable[[str], bytes | None]

_ONLY_THE_TREE = 0x400  # see fingerprint/builders.py
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)  # do not block on a FIFO that took a file's place
_LONGEST = 4 << 20  # bytes of a source file
_DEFINITIONS = ("FunctionDef", "AsyncFunctionDef", "ClassDef")
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def read_file(path: str) -> bytes | None:
    """The content of a source file; None if it cannot be read."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _WITHOUT_WAITING)) as opened:
            return opened.read(_LONGEST) or b""
    except OSError as error:
        raise_if_interrupt(error)
        return None


class Compiled(NamedTuple):
    """A function's code in a file; `digest` has 16 digits, as the parts of a fingerprint."""

    digest: str
    line: int
    code: CodeType


class Bound(NamedTuple):
    """A statement that binds a name, and the statement of the module that it stands in, mostly itself."""

    statement: Any
    outer: Any


class Source:
    """The file of one module. `error` says why it cannot be compiled."""

    def __init__(self, path: str, text: bytes) -> None:
        self.path = path
        self.text = text
        self.is_package = os.path.basename(path) == "__init__.py"
        self.error = ""
        self.body: list[Any] = []
        try:
            self.body = compile(text, path, "exec", _ONLY_THE_TREE, dont_inherit=True).body  # type: ignore[attr-defined]
        except SyntaxError as error:
            self.error = f"line {error.lineno}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            self.error = str(error)
        self.bound: dict[str, list[Bound]] = {}
        self.changed: dict[str, list[Any]] = {}  # statements that change what a name means
        self.stars: list[Any] = []  # `from module import *`
        for statement in self.body:
            if not is_of_the_program(statement):
                self._take_in(statement, statement)
        if b"global " in text:
            self._take_in_setters()

    def _take_in(self, statement: Any, outer: Any) -> None:
        bound, changed = names_in(statement)
        for name in bound:
            self.bound.setdefault(name, []).append(Bound(statement, outer))
        for name in changed - bound:
            self.changed.setdefault(name, []).append(outer)
        if kind_of(statement) == "ImportFrom" and statement.names[0].name == "*":
            self.stars.append(statement)
        for inner in () if kind_of(statement) in _DEFINITIONS else blocks_of(statement):
            self._take_in(inner, outer)

    def _take_in_setters(self) -> None:
        """Functions that set global names when they are called."""
        for statement in self.body:
            if kind_of(statement) in _DEFINITIONS:
                for node in all_in(statement):
                    for name in node.names if kind_of(node) == "Global" else ():
                        self.changed.setdefault(name, []).append(statement)

    @cached_property
    def digest(self) -> str:
        return blake3(self.text).hexdigest(8)

    @cached_property
    def codes(self) -> dict[str, list[Compiled]]:
        """The code in the file by qualified name, for each optimization level."""
        found: dict[str, list[Compiled]] = {}
        for degree in (0, 1, 2):
            code, is_code = attempt(lambda: compile(self.text, self.path, "exec", dont_inherit=True, optimize=degree))  # noqa: B023
            for one in nested_in(code) if is_code else ():
                compiled = Compiled(facts_of(one).digest.hex()[:16], one.co_firstlineno, one)
                found.setdefault(one.co_qualname, []).append(compiled)
        return found


def nested_in(code: CodeType) -> Iterator[CodeType]:
    """The code of the functions and classes in some code."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from nested_in(constant)


def kind_of(node: Any) -> str:
    return type(node).__name__


def all_in(node: Any) -> Iterator[Any]:
    """A node of a syntax tree and all below it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        for field in node._fields:
            value = getattr(node, field, None)
            waiting += [one for one in (value if isinstance(value, list) else [value]) if hasattr(one, "_fields")]


def blocks_of(statement: Any) -> list[Any]:
    """The statements in a statement, and the handlers of exceptions in it."""
    return [one for field in _BLOCKS for one in getattr(statement, field, None) or ()]


def is_of_the_program(statement: Any) -> bool:
    """Whether a statement is `if __name__ == "__main__":`."""
    named = (node for node in all_in(statement.test) if kind_of(node) == "Name") if kind_of(statement) == "If" else ()
    return any(node.id == "__name__" for node in named)


def root_of(node: Any) -> str:
    """The name at the start of attributes, items and calls."""
    while kind_of(node) in ("Attribute", "Call", "Subscript", "Await", "Starred"):
        node = node.func if kind_of(node) == "Call" else node.value
    return node.id if kind_of(node) == "Name" else ""


def _flat(target: Any) -> list[Any]:
    return [one for item in target.elts for one in _flat(item)] if hasattr(target, "elts") else [target]


def names_in(statement: Any) -> tuple[set[str], set[str]]:
    """The names that a statement binds, and those that it changes or may change, those in its blocks aside."""
    kind = kind_of(statement)
    if kind in _DEFINITIONS:
        bare = [one for one in statement.decorator_list if kind_of(one) != "Name"]
        called = [one.func if kind_of(one) == "Call" else one for one in bare]
        return {statement.name}, {root_of(one) for one in called if kind_of(one) != "Name"} - {""}
    if kind in ("Import", "ImportFrom"):
        return {one.asname or one.name.partition(".")[0] for one in statement.names} - {"*"}, set()
    if kind == "Expr":
        shows = root_of(statement.value) == "print"
        return set(), set() if shows else {node.id for node in all_in(statement.value) if kind_of(node) == "Name"}
    targets = [*getattr(statement, "targets", ()), getattr(statement, "target", None)]
    targets += [one.optional_vars for one in getattr(statement, "items", ())]
    flat = [one for target in targets if target is not None for one in _flat(target)]
    bound = {one.id for one in flat if kind_of(one) == "Name"}
    if kind == "AnnAssign" and statement.value is None:
        return set(), set()
    changed = {root_of(one) for one in flat if kind_of(one) != "Name"} - {""}
    return (set(), bound | changed) if kind in ("AugAssign", "Delete") else (bound, changed)


class Files:
    """Source files by path, each read once. `read` says where from: the disk, or a revision."""

    def __init__(self, read: Read = read_file) -> None:
        self._read = read
        self._known: dict[str, Source | None] = {}

    def at(self, path: str) -> Source | None:
        """The file at a path; None if there is none."""
        if path not in self._known:
            text = self._read(path)
            self._known[path] = None if text is None else Source(path, text)
        return self._known[path]


class Program:
    """The modules of one program: at places that `place` knows, or else below some folders."""

    def __init__(self, files: Files, place: Callable[[str], str], roots: Iterable[str]) -> None:
        self._files = files
        self._place = place
        self._roots = list(dict.fromkeys(roots))
        self._found: dict[str, Source | None] = {}

    def find(self, module: str) -> Source | None:
        """The source of a module of the user's; None if no file is found."""
        if module not in self._found:
            sources = map(self._files.at, self._paths_of(module))
            self._found[module] = next((one for one in sources if one is not None), None)
        return self._found[module]

    def _paths_of(self, module: str) -> Iterator[str]:
        if path := self._place(module):
            yield path
        name = module.replace(".", os.sep)
        for root in self._roots if module else ():
            yield os.path.join(root, name, "__init__.py")
            yield os.path.join(root, f"{name}.py")

    def places(self) -> dict[str, str]:
        """The modules that were asked for and found, with their files."""
        return {module: source.path for module, source in self._found.items() if source is not None}


def root_of_module(module: str, path: str) -> str:
    """The folder that a module is imported from; empty if its path does not say."""
    place = module.replace(".", os.sep)
    for ending in (f"{os.sep}{place}.py", os.path.join(f"{os.sep}{place}", "__init__.py")):
        if path.endswith(ending):
            return path.removesuffix(ending) or os.sep
    return ""
