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
from pcache.versions.sources import Program, root_of_module
from pcache.versions.syntax import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.signing.keyring import Keyring
    from pcache.versions.comparison import Comparison
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.source_records import Recorded
    from pcache.versions.sources import Compiled, Files, Source

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
    found = (
        name for name, codes in source.codes.items() if any(one.is_digest(label, code.digest, digest) for code in codes)
    )
    return next((f"{module}:{name}" for name in found), "")


def _compare_part(one: Comparing, label: str, digest: str, shown: str) -> None:
    kind = label.partition(" ")[0]
    if kind == "function" and shown.endswith(".py"):  # others are generated, as a dataclass does from its fields
        _compare_function(one, label, digest)
    elif kind in ("class", "constant", "name") and label != "constant sys:argv":
        compare_made(one, label, digest, shown)
    elif kind == "making":
        compare_making(one, label, digest)
    elif kind == "package" and label != "package python":
        _compare_package(one, label, digest, shown)
    elif kind == "file":
        _compare_file(one, label, digest, shown)


def _compare_function(one: Comparing, label: str, digest: str) -> None:
    match = _FUNCTION.match(label)
    if match is None or f"name {match[1]}:@pytest_ar" in one.version.parts:
        return  # pytest rewrote the asserts of the module: what ran differs from the file
    module, path, *met_at = match.groups()
    if one.program.find(module) is None:
        one.edit(label, change="removed")
        return
    if (source := one.usable(module)) is None:
        return
    own = source.codes.get(path, [])
    if "<lambda>" in path and all(met_at):
        own = _within(one, source, met_at[0], met_at[1], own)
    candidates = list(own)
    everything = [code for codes in source.codes.values() for code in codes]
    # A function may have been given another name than its code has: always, or by what a decorator returns.
    if not own and path.partition(".")[0] in source.bound:
        candidates = everything
    elif "<locals>" not in path:
        candidates += [code for code in everything if "<locals>" in code.code.co_qualname]
    found = next((code for code in candidates if one.is_digest(label, code.digest, digest)), None)
    if found is None:
        one.edit(label, source.path if own else "", "changed" if own else "removed")
    else:
        one.codes.append((source, found))


def _within(one: Comparing, source: Source, module: str, path: str, codes: list[Compiled]) -> list[Compiled]:
    """The code that stands in the statements of a name, if any does."""
    place = one.makers.place_of(module, path.partition(".")[0])
    if not isinstance(place, Place) or one.program.find(place.module) is not source:
        return codes
    lines = [(bound.outer.lineno, bound.outer.end_lineno) for bound in source.bound.get(place.name, [])]
    return [code for code in codes if any(start <= code.line <= end for start, end in lines)] or codes


def _compare_package(one: Comparing, label: str, digest: str, shown: str) -> None:
    """A package by its version, which a distribution may spell otherwise than the package itself."""
    version = package_of(label.partition(" ")[2])[1]
    if version != shown and not one.is_token(label, version, digest):
        is_alike = version[:1].isdigit() and shown[:1].isdigit()
        one.edit(label, version or "not installed", sure=is_alike or not version)


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
    """Names that had no part, since they meant builtins or modules of that name, and that mean something else now."""
    groups = [match.groups() for match in map(_NAMED.match, one.version.parts) if match is not None]
    known = {found[at : at + 2] for found in groups for at in (0, 2)}
    modules = {id(source): name for name in {found[0] for found in groups} if (source := one.program.find(name))}
    for source, compiled in one.codes:
        module = modules.get(id(source), "")
        for name in facts_of(compiled.code).global_names & source.bound.keys():
            meaning = one.makers.meaning(module, (name,)) or ""
            is_known = (module, name) in known or meaning == name
            if not is_known and (hasattr(builtins, name) or (meaning and ":" not in meaning)):
                kind = _KINDS.get(kind_of(source.bound[name][0].statement), "name")
                one.edit(f"{kind} {module}:{name}", source.path if kind in _KINDS.values() else meaning, "added")
