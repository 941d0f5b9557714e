"""Source code of modules that a function imports when it runs, and that may not be loaded yet."""

from __future__ import annotations

import os
import sys
import time

from pcache.fingerprint import known_code
from pcache.fingerprint.bytecode import facts_of
from pcache.objects.lookup import attributes_of, look, text, title_of
from pcache.objects.user_code import is_user_file
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late
from pcache.system.interrupts import attempt, try_call

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from pcache.system import file_content

    Import = tuple[str, int, tuple[str, ...]]
else:
    file_content = late("pcache.system.file_content")


class Source(NamedTuple):
    """A user's module by its file. `digest` is that of its code, if it compiles."""

    name: str
    path: str
    digest: bytes
    reading: file_content.Reading
    module: str  # its import name


def files_of(module: ModuleType) -> list[Source]:
    """The Python files of a module: its own, and for a package all below its folder."""
    own, title = text(attributes_of(module).get("__file__")), title_of(module)
    if not own:
        return []
    if os.path.basename(own) != "__init__.py":
        return [_source(f"{title}.py", own, title)]
    top = os.path.dirname(own)
    found = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names if name.endswith(".py")]
    return [_inside(title, os.path.relpath(path, top), path) for path in sorted(found)]


def _inside(package: str, relative: str, path: str) -> Source:
    steps = relative.removesuffix(".py").removesuffix("__init__").replace(os.sep, ".").strip(".")
    return _source(f"{package}/{relative}", path, f"{package}.{steps}" if steps else package)


def _source(name: str, path: str, module: str) -> Source:
    reading = file_content.read(path)
    return Source(name, path, reading.digest, reading, module)


def imported(imports: Iterable[Import], package: str, finder: Finder) -> tuple[list[Source], list[str]]:
    """What import statements load: the user's modules, with those that these import, and top-level names of others.

    Nothing is imported for this. Names that the finder was asked for before are left out.
    """
    sources: list[Source] = []
    others: list[str] = []
    waiting = [name for one in sorted(imports) for name in _candidates(*one, package)]
    for name in waiting:  # grows meanwhile
        if name in finder.asked:
            continue
        finder.asked.add(name)
        path = finder.file_of(name)
        if path:
            source, further = _read(name, path)
            sources.append(source)
            waiting += further
        elif "." not in name:
            others.append(name)
    return sources, others


def _candidates(name: str, level: int, taken: tuple[str, ...], package: str) -> list[str]:
    """The modules that an import statement may load: parent packages, and names that it takes from the last of them."""
    if level:
        above = package.split(".")
        name = ".".join([*above[: len(above) - level + 1], *([name] if name else [])])
    steps = name.split(".")
    return [".".join(steps[: i + 1]) for i in range(len(steps))] + [f"{name}.{item}" for item in taken if item != "*"]


class Finder:
    """Finds where an import would find modules, during one walk. Nothing is imported for this.

    Most names that import statements take from a module are no modules, and most modules were looked for before. So
    what was found in a folder is remembered until the folder changes.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self._specs: dict[str, Any] = {}
        self._changed: dict[str, int | None] = {}  # when folders changed last

    def file_of(self, name: str) -> str:
        """The file of a user's module; empty for any other, and where there is none."""
        path = text(look(self._spec_of(name), "origin"))
        return path if is_user_file(path) and os.path.isfile(path) else ""

    def _spec_of(self, name: str) -> Any:
        if name not in self._specs:
            self._specs[name] = look(sys.modules.get(name), "__spec__") or self._find(name)
        return self._specs[name]

    def _find(self, name: str) -> Any:
        from importlib.machinery import PathFinder  # late for start-up time: imports inside of functions are rare
        from importlib.util import find_spec

        package = name.rpartition(".")[0]
        if not package:
            return try_call(find_spec, name)[0]
        found = look(self._spec_of(package), "submodule_search_locations")
        folders = try_call(tuple, found or ())[0] or ()
        state = folders, tuple(map(self._state_of, folders))
        if (known := _found.get(name)) is not None and known[0] == state:
            return known[1]
        spec = try_call(PathFinder.find_spec, name, list(folders))[0] if folders else None
        if None not in state[1]:
            _found[name] = state, spec
        return spec

    def _state_of(self, folder: str) -> int | None:
        """When a folder changed last; None if it may change again within the same tick, or is no folder."""
        if folder not in self._changed:
            status = try_call(os.stat, folder)[0]
            settled = status is not None and time.time_ns() - status.st_mtime_ns > _SETTLED
            self._changed[folder] = status.st_mtime_ns if status is not None and settled else None
        return self._changed[folder]


_found: dict[str, tuple[tuple[tuple[str, ...], tuple[int | None, ...]], Any]] = {}  # with the state of the folders
_SETTLED = 2 * 10**9  # nanoseconds after which another change has another time
# Modules whose files changed while they were loaded: it is unknown which code runs.
doubted: set[str] = set()


def _read(name: str, path: str) -> tuple[Source, list[str]]:
    """A module by its code, and the modules that it may load; remembered until the file changes."""
    reading = file_content.unknown(path) if name in doubted else file_content.read(path)
    digest, further = _code_of(name, path, reading.digest)
    return Source(name, path, reading.digest if name in doubted else digest, reading, name), further


def _code_of(name: str, path: str, content: bytes) -> tuple[bytes, list[str]]:
    known = known_code.modules
    if (name, content) not in known:
        with open(path, "rb") as file:
            code, is_code = attempt(compile, file.read(), path, "exec")
        if not is_code:
            return content, []
        facts = facts_of(code)
        package = name if os.path.basename(path).startswith("__init__.") else name.rpartition(".")[0]
        further = [found for one in sorted(facts.imports) for found in _candidates(*one, package)]
        known[name, content] = facts.digest, further
    return known[name, content]
