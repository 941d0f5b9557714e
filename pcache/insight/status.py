"""Which results the code on disk leaves behind: what `git status` is for code. Nothing of a program is imported or run.

A function is current if a version of it that has results, or that has adopted some, is the code on disk. For any other
the version that was seen last is compared with the files.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass

from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING
from pcache.versions import on_disk, registry, source_records
from pcache.versions.sources import Files, root_of_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from pcache.insight.revision import Revision
    from pcache.signing.keyring import Keyring
    from pcache.storage.directory import Directory
    from pcache.versions.comparison import Comparison
    from pcache.versions.differences import Difference
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.source_records import Recorded

    State = Literal["edited", "calls", "unknown", "broken", "gone"]

_MOST_VERSIONS = 20  # of one function, those seen last, that are compared with the files
_OF_CLASS = ("function", "class", "constant", "name")  # see versions/adoption.py


@dataclass(frozen=True, slots=True)
class FunctionStatus:
    """A cached function whose code on disk is another version than the one with results.

    The `entries` of version `function_id` took `seconds` to compute. By `state` the next run computes them anew
    ("edited"), only those of calls that leave out a parameter ("calls"), or perhaps ("unknown": not to be told without
    running); or the function cannot run, as a file cannot be compiled ("broken"), or is no longer there ("gone").
    `edits` say what differs, `note` what is broken or gone, `adopt` is the command that keeps the results, if one does.
    """

    function: str
    function_id: str
    state: State
    file: str
    entries: int
    seconds: float
    edits: tuple[Difference, ...]
    note: str = ""
    adopt: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What the code on disk leaves behind; `current` functions have the code of their results.

    `unlooked` are functions of notebooks and prompts, which have no file to compare with.
    """

    functions: tuple[FunctionStatus, ...]
    current: int
    unlooked: int

    @property
    def entries(self) -> int:
        return sum(one.entries for one in self.functions)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.functions)


def status(directory: Directory, paths: Sequence[str], revision: Revision | None = None, options: str = "") -> Status:
    """The functions whose files lie below some paths, compared with these files.

    With a `revision` only the results of its code count, and differences are those to it. `options` are given to
    commands that are named.
    """
    keyring = directory.keys.look()
    if keyring is not None and (known := registry.read_all(directory.functions, keyring)):
        return _Looking(directory, known, paths, keyring, revision, options).status()
    if next(iter(directory.store.scan()), None) is not None:
        raise ConfigError(
            f"nothing in {directory.location} was stored with one of the signing keys at hand, so which code made it"
            " is not known; `pcache doctor` says more",
            setting="signing_key",
        )
    return Status((), 0, 0)


class _Looking:
    """One look at a directory and the files."""

    def __init__(
        self,
        directory: Directory,
        known: Mapping[str, FunctionVersion],
        paths: Sequence[str],
        keyring: Keyring,
        revision: Revision | None,
        options: str,
    ) -> None:
        self.folder, self.keyring, self.known, self.options = directory.functions, keyring, known, options
        self.paths = [os.path.realpath(path) for path in paths]
        self.files = Files()
        self.files_before = None if revision is None else Files(revision.read)
        self.entries: Counter[str] = Counter()
        self.costs: Counter[str] = Counter()
        for item in directory.store.scan():
            self.entries[item.function_id] += 1
            self.costs[item.function_id] += item.cost_ns
        self.adopted = {
            i: {one.function_id for one in registry.read_adopted(self.folder, i, keyring)} for i in self.known
        }

    def status(self) -> Status:
        by_name: dict[tuple[str, str], list[FunctionVersion]] = defaultdict(list)
        unlooked = set()
        for version in self.known.values():
            if not any(self.entries[i] for i in self._with_adopted(version)):
                continue
            if version.name.startswith("__main__:") or not version.file.endswith(".py") or _is_packed(version.file):
                unlooked.add(version.name)
            elif place := self._place_of(version):
                by_name[version.name, place].append(version)
        found, current = [], 0
        for versions in by_name.values():
            versions.sort(key=lambda version: -version.first_seen)
            left, is_current = self._look(versions[:_MOST_VERSIONS])
            current += is_current
            found += [left] if left is not None else []
        found.sort(key=lambda one: (-one.seconds, one.function))
        return Status(tuple(found), current, len(unlooked))

    def _with_adopted(self, version: FunctionVersion) -> set[str]:
        return {version.function_id} | self.adopted[version.function_id]

    def _place_of(self, version: FunctionVersion) -> str:
        """The file of a version, where it lies below the paths: as recorded, or moved there with its program."""
        file = os.path.realpath(version.file)
        if not os.path.exists(file) and (moved := self._moved(version)):
            return moved
        return file if any(file == path or file.startswith(os.path.join(path, "")) for path in self.paths) else ""

    def _moved(self, version: FunctionVersion) -> str:
        root = root_of_module(version.name.partition(":")[0], version.file)
        places = [os.path.join(path, os.path.relpath(version.file, root)) for path in self.paths] if root else []
        return next((place for place in places if os.path.isfile(place)), "")

    def _look(self, versions: Sequence[FunctionVersion]) -> tuple[FunctionStatus | None, bool]:
        """What is left behind of one function, and whether it is current; neither if the revision has no results."""
        found: list[tuple[FunctionVersion, Comparison]] = []
        for version in versions:
            recorded = source_records.read(self.folder, version, self.keyring)
            comparison = self._compare(version, recorded)
            if comparison.is_same:
                return None, True
            if self.files_before is not None:
                before = on_disk.program_of(version, recorded, self.files_before)
                if on_disk.compare(version, recorded, before, self.keyring).is_another:
                    continue  # not the version of the revision
                recorded = source_records.of_program(version, before, self.keyring, version.signed_by)
                comparison = self._compare(version, recorded)
            found.append((version, comparison))
        if not found:
            return None, False
        found.sort(key=lambda pair: pair[1].is_another)  # the nearest, and of these the last
        return self._left(*found[0]), False

    def _compare(self, version: FunctionVersion, recorded: Recorded | None) -> Comparison:
        folders = [path for path in self.paths if os.path.isdir(path)]
        program = on_disk.program_of(version, recorded, self.files, folders)
        return on_disk.compare(version, recorded, program, self.keyring)

    def _left(self, version: FunctionVersion, comparison: Comparison) -> FunctionStatus:
        ids = self._with_adopted(version)
        state, edits, note = _state_of(comparison)
        is_method = "." in version.name.rpartition("<locals>.")[2] and version.parameters[:1] in (("self",), ("cls",))
        can_adopt = state in ("edited", "unknown") and not (is_method and any(one.kind in _OF_CLASS for one in edits))
        target = f"{shlex.quote(version.name)} --from {version.function_id}"
        return FunctionStatus(
            version.name,
            version.function_id,
            state,
            version.file,
            sum(self.entries[i] for i in ids),
            sum(self.costs[i] for i in ids) / 1e9,
            edits,
            note,
            f"pcache {self.options}adopt {target}" if can_adopt else "",
        )


def _is_packed(path: str) -> bool:
    """Whether a path leads into an archive."""
    while not os.path.exists(path) and (above := os.path.dirname(path)) != path:
        path = above
    return os.path.isfile(path) and not path.endswith(".py")


def _state_of(comparison: Comparison) -> tuple[State, tuple[Difference, ...], str]:
    if comparison.gone:
        renamed = f"; {comparison.renamed} has its code now" if comparison.renamed else ""
        return "gone", (), comparison.gone + renamed
    if comparison.broken:
        return "broken", (), "; ".join(comparison.broken)
    if comparison.edits:
        return "edited", tuple(comparison.edits), ""
    if comparison.doubts:
        return "unknown", tuple(comparison.doubts), ""
    return "calls", tuple(comparison.calls), ""


def lines(found: Status) -> Iterator[tuple[int, str]]:
    """The text with the depth of each line."""
    from pcache.text.phrases import counted  # late for start-up time
    from pcache.text.units import format_duration

    for one in found.functions:
        amount = f"{counted(one.entries, 'result')}, {format_duration(one.seconds)}"
        yield 0, f"{one.function}: {_WHAT[one.state]} ({amount})"
        if one.note:
            yield 1, one.note
        for edit in one.edits:
            yield 1, str(edit)
        if one.adopt:
            yield 1, f"to keep its results: {one.adopt}"


_WHAT: dict[State, str] = {
    "edited": "will be computed anew",
    "calls": "calls that leave out a parameter whose default was edited will be computed anew",
    "unknown": "may be computed anew, which cannot be told without running",
    "broken": "cannot run",
    "gone": "is gone",
}
