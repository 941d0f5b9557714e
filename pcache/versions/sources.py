"""Source files of a program, on disk or in a revision: their statements by the names that these make, and their code.

Files are parsed and compiled, never run.
"""

from __future__ import annotations

import os
from types import CodeType

from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.fork import made_once
from pcache.system.interrupts import attempt
from pcache.versions.source_text import nested_in, read_source
from pcache.versions.syntax import (
    DEFINITIONS,
    IMPORTS,
    all_in,
    blocks_of,
    called_on,
    digest_of_text,
    is_of_the_program,
    kind_of,
    names_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_ONLY_THE_TREE = 0x400  # see fingerprint/builders.py
DEGREES = (0, 1, 2)  # levels of optimization


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
        self.tree: Any = None
        try:
            self.tree = compile(text, path, "exec", _ONLY_THE_TREE, dont_inherit=True)
        except SyntaxError as error:
            self.error = f"line {error.lineno}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            self.error = str(error) or type(error).__name__
        self.bound: dict[str, list[Bound]] = {}
        self.changed: dict[str, list[Any]] = {}  # statements that change what a name means
        self.stars: list[Any] = []  # `from module import *`
        self._codes: dict[int, dict[str, list[CodeType]]] = {}
        for statement in [] if self.tree is None else self.tree.body:
            if not is_of_the_program(statement):
                self._take_in(statement, statement)
            if b"global " in text and kind_of(statement) in DEFINITIONS:
                self._take_in_setter(statement)
        self._follow_aliases()

    def _take_in(self, statement: Any, outer: Any) -> None:
        bound, changed = names_in(statement)
        for name in bound:
            self.bound.setdefault(name, []).append(Bound(statement, outer))
        for name in changed - bound:
            self.changed.setdefault(name, []).append(outer)
        if kind_of(statement) == "ImportFrom" and statement.names[0].name == "*":
            self.stars.append(statement)
        for inner in () if kind_of(statement) in DEFINITIONS else blocks_of(statement):
            self._take_in(inner, outer)

    def _follow_aliases(self) -> None:
        """What is done with `S = P.add_subparsers()` may change `P`."""
        of = {name: root for name, bound in self.bound.items() for one in bound if (root := called_on(one.statement))}
        for alias in list(of):
            statements = [*(one.outer for one in self.bound[alias]), *self.changed.get(alias, [])]
            name, seen = alias, {alias}
            while name in of and (name := of[name]) not in seen:
                seen.add(name)
                if name in self.bound and kind_of(self.bound[name][0].statement) not in (*DEFINITIONS, *IMPORTS):
                    known = self.changed.setdefault(name, [])
                    known += [one for one in statements if not any(one is other for other in known)]

    def _take_in_setter(self, definition: Any) -> None:
        """A function that sets global names when it is called."""
        for node in all_in(definition):
            for name in node.names if kind_of(node) == "Global" else ():
                self.changed.setdefault(name, []).append(definition)

    @made_once
    def digest(self) -> str:
        return digest_of_text(repr(self.text))

    def codes(self, degree: int) -> dict[str, list[CodeType]]:
        """The code in the file by qualified name, at a level of optimization."""
        if degree not in self._codes:
            found: dict[str, list[CodeType]] = {}
            for code in attempt(self._compiled, degree)[0] or ():
                found.setdefault(code.co_qualname, []).append(code)
            self._codes[degree] = found
        return self._codes[degree]

    def _compiled(self, degree: int) -> list[CodeType]:
        return list(nested_in(compile(self.text, self.path, "exec", dont_inherit=True, optimize=degree)))


class Files:
    """Source files by path, each read once: from the disk, or by what `read` says; `parsed` are some known before."""

    def __init__(
        self, read: Callable[[str], bytes | None] = read_source, parsed: Mapping[str, Source] | None = None
    ) -> None:
        self.are_on_disk = read is read_source
        self.known: dict[str, Source | None] = {}
        self._read = read
        self._parsed = parsed or {}

    def at(self, path: str) -> Source | None:
        """The file at a path; None if there is none."""
        if path not in self.known:
            text, before = self._read(path), self._parsed.get(path)
            is_same = before is not None and before.text == text
            self.known[path] = before if is_same else None if text is None else Source(path, text)
        return self.known[path]


class Program:
    """The modules of one program: at places that `place` knows, or else below some folders."""

    def __init__(self, files: Files, place: Callable[[str], str], roots: Iterable[str]) -> None:
        self.is_on_disk = files.are_on_disk
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
