"""How the code in files differs from a recorded version of a function. Files are read and compiled, never run.

Each part of a version is looked for in the files of its program: functions by their code, constants by the value that
is written there or by what makes them, classes and names by what makes them.
"""

from __future__ import annotations

import builtins
import os
import sys

from pcache.fingerprint.bytecode import facts_of
from pcache.objects.user_code import package_of
from pcache.startup import TYPE_CHECKING, pattern
from pcache.system import file_content
from pcache.system.interrupts import attempt
from pcache.versions import own_definition
from pcache.versions.comparison import Comparing
from pcache.versions.differences import Difference
from pcache.versions.made_parts import compare_made, compare_making
from pcache.versions.names import Place
from pcache.versions.sources import DEGREES, Program, root_of_module
from pcache.versions.syntax import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType

    from pcache.signing.keyring import Keyring
    from pcache.versions.comparison import Comparison
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.source_records import Recorded
    from pcache.versions.sources import Files, Source

# A function: its module and name, and where one that another made was met.
_FUNCTION = pattern(r"function ([^\s:]+):(\S+)(?: \(([^\s:]+):([^\s()]+).*\))?")
_KINDS = {"FunctionDef": "function", "AsyncFunctionDef": "function", "ClassDef": "class"}
_NAMED = pattern(r"\w+ (?:class |function )?([^\s:]+):([^\s.(]+)(?:.* \(([^\s:]+):([^\s.()]+))?")


def program_of(version: FunctionVersion, recorded: Recorded | None, files: Files, below: Iterable[str] = ()) -> Program:
    """The program of a version, as its files are now; those below some folders come first."""
    module = version.name.partition(":")[0]
    places = {module: version.file, **(recorded.files if recorded is not None else {})}
    for label, (_, shown) in version.parts.items():
        if (match := _FUNCTION.match(label)) and shown.endswith(".py") and os.path.isabs(shown):
            places.setdefault(match[1], shown)
    roots = list(filter(None, (root_of_module(name, path) for name, path in places.items())))
    folders = list(below)

    def place(name: str) -> str:
        path = places.get(name, "")
        root = root_of_module(name, path)
        moved = [os.path.join(folder, os.path.relpath(path, root)) for folder in folders] if root else []
        return next((one for one in moved if files.at(one) is not None), path)

    return Program(files, place, [*folders, *roots])


def compare(version: FunctionVersion, recorded: Recorded | None, program: Program, keyring: Keyring) -> Comparison:
    """Compare a version with the code of a program."""
    one = Comparing(version, recorded, program, keyring)
    module, _, path = version.name.partition(":")
    if program.find(module) is None:
        one.found.gone = f"{version.file or module} is gone"
        return one.found
    if (source := one.usable(module)) is None:
        return one.found
    if "<" not in path and path.partition(".")[0] not in source.bound:
        one.found.gone = f"{path} is no longer in {source.path}"
        one.found.renamed = _renamed(one, source, module)
        return one.found
    now = ".".join(map(str, sys.version_info[:3]))
    if version.python.split(".")[:2] != now.split(".")[:2]:
        one.found.edits.append(Difference("python", "", "changed", version.python, now))
    own_definition.compare(one)
    functions = [label for label in version.parts if label.startswith("function ")]
    for label in dict.fromkeys((*functions, *version.parts)):  # how code reads a table is known by the functions
        _compare_part(one, label, *version.parts[label])
    _compare_meanings(one)
    if one.found.is_another:
        one.found.doubts.clear()  # it is decided already
    return one.found


def _renamed(one: Comparing, source: Source, module: str) -> str:
    """The function that has the code which the version's own had."""
    label = f"function {one.version.name}"
    digest = one.version.parts.get(label, ("", ""))[0]
    everything = [code for degree in DEGREES for codes in source.codes(degree).values() for code in codes]
    return next((f"{module}:{code.co_qualname}" for code in everything if one.has_code(label, code, digest)), "")


def _compare_part(one: Comparing, label: str, digest: str, shown: str) -> None:
    kind = label.partition(" ")[0]
    if kind == "function" and shown.endswith(".py"):  # others are generated, as a dataclass does from its fields
        _compare_function(one, label, digest, shown)
    elif kind in ("class", "constant", "name") and label != "constant sys:argv":
        compare_made(one, label, digest, shown)
    elif kind == "making":
        compare_making(one, label, digest)
    elif kind == "package" and label != "package python":
        _compare_package(one, label, digest, shown)
    elif kind == "file":
        _compare_file(one, label, digest, shown)


def _compare_function(one: Comparing, label: str, digest: str, shown: str) -> None:
    match = _FUNCTION.match(label)
    if match is None or f"name {match[1]}:@pytest_ar" in one.version.parts:
        return  # pytest rewrote the asserts of the module: what ran differs from the file
    module, path, *met_at = match.groups()
    if one.program.find(module) is None:
        if not os.path.exists(f"{shown}c"):  # compiled only
            one.edit(label, change="removed")
        return
    if (source := one.usable(module)) is None:
        return
    own = False
    for degree in DEGREES:
        codes = source.codes(degree)
        named = codes.get(path, [])
        candidates = _within(one, source, met_at, named) if "<lambda>" in path and all(met_at) else list(named)
        own = own or bool(named)
        # A function may have been given another name than its code has: always, or by what a decorator returns.
        everything = [code for group in codes.values() for code in group]
        if not named and path.partition(".")[0] in source.bound:
            candidates = everything
        elif "<locals>" not in path:
            candidates += [code for code in everything if "<locals>" in code.co_qualname]
        found = next((code for code in candidates if one.has_code(label, code, digest)), None)
        if found is not None:
            one.codes.append((source, found))
            _compare_condition(one, label)
            return
    one.edit(label, source.path if own else "", "changed" if own else "removed")


def _compare_condition(one: Comparing, label: str) -> None:
    """A function that is defined under a condition, or several times."""
    before, maker = one.made_before(label), one.makers.of_choice(label)
    if before is not None and before != (None if maker is None else one.made_now(label, maker)):
        one.edit(label, sure=False)


def _within(one: Comparing, source: Source, met_at: Sequence[str], codes: list[CodeType]) -> list[CodeType]:
    """The code that stands in the statements of the name where a function was met, if any does."""
    module, path = met_at
    place = one.makers.place_of(module, path.partition(".")[0])
    if not isinstance(place, Place) or one.program.find(place.module) is not source:
        return list(codes)
    lines = [(bound.outer.lineno, bound.outer.end_lineno) for bound in source.bound.get(place.name, [])]
    inside = [code for code in codes if any(start <= code.co_firstlineno <= end for start, end in lines)]
    return inside or list(codes)


def _compare_package(one: Comparing, label: str, digest: str, shown: str) -> None:
    """A package by its version, which a distribution may spell otherwise than the package itself.

    Where it is not installed, the program runs in another environment than this.
    """
    version = package_of(label.partition(" ")[2])[1]
    if version != shown and not one.is_token(label, version, digest):
        one.edit(label, version or "not installed here", sure=version[:1].isdigit() and shown[:1].isdigit())


def _compare_file(one: Comparing, label: str, digest: str, shown: str) -> None:
    """A module that a function's body imports, or a declared file."""
    if label.startswith("file import "):
        module = label.removeprefix("file import ").partition(" ")[0]
        source = one.usable(module)
        code = None if source is None else attempt(compile, source.text, source.path, "exec")[0]
        now = facts_of(code).digest.hex() if code is not None else ""
        if source is None and one.program.find(module) is not None:
            return  # it cannot be compiled
    else:
        reading, is_read = attempt(file_content.read_or_miss, shown)
        now = reading.digest.hex() if is_read else ""
    if not one.is_digest(label, now, digest):
        one.edit(label, shown)


def _compare_meanings(one: Comparing) -> None:
    """Names that had no part, since they meant builtins or modules of that name, and that mean something else now.

    The parts say nothing of a `__getattr__` that a module has now, either.
    """
    groups = [match.groups() for match in map(_NAMED.match, one.version.parts) if match is not None]
    known = {found[at : at + 2] for found in groups for at in (0, 2)}
    modules = {id(source): name for name in {found[0] for found in groups} if (source := one.program.find(name))}
    for source, code in one.codes:
        module = modules.get(id(source), "")
        for name in facts_of(code).global_names & source.bound.keys():
            meaning = one.makers.meaning(module, (name,))
            is_known = (module, name) in known or meaning == name
            if not is_known and (hasattr(builtins, name) or (meaning and ":" not in meaning)):
                kind = _KINDS.get(kind_of(source.bound[name][0].statement), "name")
                one.edit(f"{kind} {module}:{name}", source.path if kind in _KINDS.values() else meaning, "added")
    for module in modules.values():
        found = one.program.find(module)
        is_new = found is not None and "__getattr__" in found.bound
        if is_new and (module, "__getattr__") not in known and not one.is_unedited():
            one.edit(f"function {module}:__getattr__", change="added", sure=False)
