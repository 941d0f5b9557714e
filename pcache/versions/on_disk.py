"""How the code on disk differs from a recorded version of a function. Files are read and compiled, never run.

Each part of a version is looked for in the files of its program: functions by their code, constants by the value that
is written there or by what makes them, classes and names by what makes them. What can be told only by running is in
`doubts`: the difference that there may be.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys

from pcache.fingerprint.builders import making_in
from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.parts import digest_of
from pcache.objects.summary import shown_part, summarize_value
from pcache.objects.user_code import package_of
from pcache.startup import TYPE_CHECKING, pattern
from pcache.system import file_content
from pcache.system.interrupts import attempt
from pcache.versions import own_definition, source_records
from pcache.versions.comparison import Comparison
from pcache.versions.differences import KINDS, Difference
from pcache.versions.evaluation import evaluate
from pcache.versions.makers import Makers, Place
from pcache.versions.registry import part_digest
from pcache.versions.sources import Program, root_of_module
from pcache.versions.static_values import digests_of_value
from pcache.versions.version import PART_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.signing.keyring import Keyring
    from pcache.versions.makers import Maker
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.source_records import Recorded
    from pcache.versions.sources import Compiled, Files, Source

_FUNCTION = pattern(r"function ([^\s:]+):(\S+)(?: \(([^\s:]+):([^\s()]+).*\))?")
_IN_FILE = pattern(r"(\w+) ([^\s:]+):(\S+)")
_UNSEEN = ("ignored", "constant sys:argv")  # parts that no edit of a file changes


def program_of(version: FunctionVersion, recorded: Recorded | None, files: Files, below: Iterable[str] = ()) -> Program:
    """The program of a version, as its files are now; those below some folders come first."""
    places = dict(recorded.files) if recorded is not None else {}
    for label, (_, shown) in version.parts.items():
        if (match := _FUNCTION.match(label)) and shown.endswith(".py") and os.path.isabs(shown):
            places.setdefault(match[3] or match[1] if "<" in match[2] else match[1], shown)
    module = version.name.partition(":")[0]
    places[module] = version.file
    roots = {root_of_module(module, version.file): None}
    roots |= {root_of_module(module, path): None for module, path in places.items()}
    roots.pop("", None)
    folders = list(below)

    def place(module: str) -> str:
        path = places.get(module, "")
        if folders and (root := root_of_module(module, path)):
            moved = [os.path.join(folder, os.path.relpath(path, root)) for folder in folders]
            return next((one for one in moved if files.at(one) is not None), path)
        return path

    return Program(files, place, [*folders, *roots])


def compare(version: FunctionVersion, recorded: Recorded | None, program: Program, keyring: Keyring) -> Comparison:
    """Compare a version with the code of a program."""
    return _Comparing(version, recorded, program, keyring).compare()


class _Comparing:
    """One comparison."""

    def __init__(self, version: FunctionVersion, recorded: Recorded | None, program: Program, keyring: Keyring) -> None:
        self.version = version
        self.recorded = recorded
        self.program = program
        self.keyring = keyring
        self.makers = Makers(program, version.parts)
        self.found = Comparison()
        # Names of modules that parts are about.
        self.known = {(match[2], match[3]) for label in version.parts if (match := _IN_FILE.match(label))}
        self.codes: list[Compiled] = []  # of the version, as they are in the files

    def compare(self) -> Comparison:
        module, _, path = self.version.name.partition(":")
        source = self.program.find(module)
        if source is None:
            self.found.gone = f"{self.version.file or module} is gone"
            return self.found
        if source.error:
            self.found.broken.append(_unusable(source))
            return self.found
        definition = self.makers.definition(module, path)
        if definition is None and "<" not in path and not self._is_somewhere(source, path):
            self.found.gone = f"{path} is no longer in {source.path}"
            self.found.renamed = self._renamed(module, path, source)
            return self.found
        now = ".".join(map(str, sys.version_info[:3]))
        if self.version.python.split(".")[:2] != now.split(".")[:2]:
            self.found.edits.append(Difference("python", "", "changed", self.version.python, now))
        if definition is not None:
            own_definition.compare(self.version, self.recorded, self.makers, definition, self.keyring, self.found)
        for label, (digest, shown) in sorted(
            self.version.parts.items(), key=lambda part: part[0].split()[0] != "function"
        ):
            self._part(label, digest, shown)
        self._shadowed()
        if self.found.edits or self.found.broken:
            self.found.doubts.clear()  # decided already
        return self.found

    def _is_somewhere(self, source: Source, path: str) -> bool:
        top = path.partition(".")[0]
        return top in source.bound

    def _renamed(self, module: str, path: str, source: Source) -> str:
        """The function that has the code which the version's own had."""
        digest = self.version.parts.get(f"function {module}:{path}", ("", ""))[0]
        label = f"function {module}:{path}"
        for name, codes in source.codes.items():
            if any(self.is_digest(label, one.digest, digest) for one in codes):
                return f"{module}:{name}"
        return ""

    def is_digest(self, label: str, found: str, recorded: str) -> bool:
        return part_digest(label, found, self.version.signed_by, self.keyring) == recorded

    def _edit(self, label: str, now: str = "", change: str = "changed", *, sure: bool = True) -> None:
        kind, _, name = label.partition(" ")
        kind, name = (kind, name) if kind in KINDS else ("depends_on", label.removeprefix("depends_on"))
        before = self.version.parts.get(label, ("", ""))[1]
        found = Difference(kind, name, change, before, shown_part(label, now))
        target = self.found.edits if sure else self.found.doubts
        if found not in target:
            target.append(found)

    def _part(self, label: str, digest: str, shown: str) -> None:
        kind = label.partition(" ")[0]
        if label.startswith(_UNSEEN):
            return
        if kind == "function":
            self._function(label, digest, shown)
        elif kind in ("class", "constant", "name"):
            self._made(label, digest, shown)
        elif kind == "making":
            self._making(label, digest)
        elif kind == "package":
            self._package(label, digest, shown)
        elif kind == "file":
            self._file(label, digest, shown)

    # Functions

    def _function(self, label: str, digest: str, shown: str) -> None:
        match = _FUNCTION.match(label)
        if match is None or not shown.endswith(".py"):
            return  # generated, as by a dataclass: what it is made of is looked at
        module, path, anchor_module, anchor = match.groups()
        source = self._usable(label, module, shown)
        if source is None or f"name {module}:@pytest_ar" in self.version.parts:
            return
        codes = source.codes.get(path, [])
        if "<lambda>" in path and anchor is not None:
            codes = self._within(source, anchor_module, anchor, codes)
        same = [one for one in codes if self.is_digest(label, one.digest, digest)]
        elsewhere = [one for all_codes in source.codes.values() for one in all_codes]
        # A function may have been given another name than its code has.
        if not same and (path.partition(".")[0] in source.bound and (not codes or len(codes) == 0)):
            same = [one for one in elsewhere if self.is_digest(label, one.digest, digest)]
        if not same and codes and "<locals>" not in path:
            same = [
                one
                for one in elsewhere
                if "<locals>" in one.code.co_qualname and self.is_digest(label, one.digest, digest)
            ]
        self.codes += same[:1]
        if not same:
            self._edit(label, source.path if codes else "", "changed" if codes else "removed")

    def _within(self, source: Source, module: str, anchor: str, codes: list[Compiled]) -> list[Compiled]:
        """The code that stands in the statements of a name, if any does."""
        place = self.makers.place_of(module, anchor.partition(".")[0])
        if not isinstance(place, Place) or self.program.find(place.module) is not source:
            return codes
        lines = [(one.outer.lineno, one.outer.end_lineno) for one in source.bound.get(place.name, [])]
        return [one for one in codes if any(start <= one.line <= end for start, end in lines)] or codes

    def _usable(self, label: str, module: str, shown: str) -> Source | None:
        source = self.program.find(module)
        if source is None and shown:
            self._edit(label, "", "removed")
        elif source is not None and source.error:
            if (text := _unusable(source)) not in self.found.broken:
                self.found.broken.append(text)
            return None
        return source

    # What is made by statements

    def _made(self, label: str, digest: str, shown: str) -> None:
        if label.startswith("constant os:environ["):
            name = label.partition("[")[2].rpartition("]")[0]
            value = os.environ.get(name)
            if value is not None and not self.is_digest(label, digest_of(value).hex()[:PART_DIGITS], digest):
                self._edit(label, sure=False)
            return None
        match = _IN_FILE.match(label.replace(" class ", " ", 1).replace(" function ", " ", 1))
        source = None if match is None else self.program.find(match[2])
        if match is None or source is None:
            return self._lost(label, match[2] if match else "")
        if source.error:
            self._usable(label, match[2], "")
            return None
        maker, _ = attempt(self.makers.of, label)
        if maker is None:
            if not self._is_of_a_class(match[2], match[3]):
                self._edit(
                    label, change="removed", sure=match[3].partition(".")[0].partition("(")[0] not in source.bound
                )
            return None
        before = None if self.recorded is None else self.recorded.made.get(label)
        own, used = source_records.digests(label, maker, self.version.signed_by, self.keyring)
        if label.startswith("constant ") and self._by_value(label, digest, shown, maker, before, (own, used)):
            return None
        if before == (own, used):
            return None
        if label.startswith("name ") and (before is None or before[0] != own):
            place, steps = match[3].partition("(")[0], ()
            meaning = self.makers.meaning(match[2], (*place.split("."), *steps))
            if meaning is not None and (meaning == shown or shown.endswith(f"({meaning})")):
                return None
            self._edit(label, meaning or "", sure=meaning is not None and before is not None)
        elif before is None:
            if not self._is_unedited(source):
                self._edit(label, sure=False)
        else:
            self._edit(
                label, source.path if label.startswith("class") else "", sure=self._is_sure(label, before[0], own)
            )

    @staticmethod
    def _is_sure(label: str, before: str, now: str) -> bool:
        """Whether other statements make another part: classes are what their statements say."""
        return label.startswith("class ") and before != now

    def _by_value(
        self, label: str, digest: str, shown: str, maker: Maker, before: tuple[str, str] | None, now: tuple[str, str]
    ) -> bool:
        """Decide by the value that is written in the file; False where there is none."""
        if maker.value is None:
            return False
        value, is_known = attempt(evaluate, self.makers, maker.module, maker.value)
        if not is_known or not (maker.is_alone or isinstance(value, _UNCHANGING)):
            return False
        name = label.rpartition(":")[2].rpartition(".")[2]
        codes = [one.code for one in self.codes]
        if any(self.is_digest(label, one, digest) for one in digests_of_value(value, name, codes)):
            return True
        if before == now:
            return True  # it is changed in other ways while the program is loaded
        if before is None and self._is_unedited(self.program.find(maker.module)):
            return True
        is_sure = before is not None or shown != summarize_value(value)
        self._edit(label, summarize_value(value), sure=is_sure)
        return True

    def _is_of_a_class(self, module: str, path: str) -> bool:
        """Whether a part is made with its class: the class itself is a part, too."""
        steps = path.partition("(")[0].split(".")
        names = (".".join(steps[:count]) for count in range(1, len(steps)))
        return any(f"class {module}:{name}" in self.version.parts for name in names)

    def _lost(self, label: str, module: str) -> None:
        """A part in a module without a file: of a package, made by hand, or gone."""
        known = self.recorded is not None and module in self.recorded.files
        if known or any(
            label.startswith(f"{kind} {module}:") for kind in ("class", "constant") if self._had_file(module)
        ):
            self._edit(label, change="removed")

    def _had_file(self, module: str) -> bool:
        return any(
            label.startswith(f"function {module}:")
            for label in self.version.parts
            if self.version.parts[label][1].endswith(".py")
        )

    def _is_unedited(self, source: Source | None) -> bool:
        """Whether no file of the program was changed since the version was first seen."""
        files = [one.path for one in (source,) if one is not None] + list(self.program.places().values())
        return all(_edited(path) <= self.version.first_seen for path in files)

    def _making(self, label: str, digest: str) -> None:
        module, _, path = label.partition(" ")[2].partition(":")
        if any(self.is_digest(label, digest_of(one).hex()[:PART_DIGITS], digest) for one in ("imported", "unknown")):
            return None
        source = self._usable(label, module, "")
        if source is None:
            return self._lost(label, module)
        tree = ast.Module(source.body, [])
        for is_moving in (True, False):
            code = making_in(tree, source.path, path, is_moving=is_moving).code
            if code is not None and self.is_digest(label, facts_of(code).digest.hex()[:PART_DIGITS], digest):
                return None
        self._edit(label, source.path)

    def _package(self, label: str, digest: str, shown: str) -> None:
        name = label.partition(" ")[2]
        if name == "python":
            return  # said already
        version = package_of(name)[1]
        if version == shown or self.is_digest(label, digest_of(version).hex()[:PART_DIGITS], digest):
            return
        self._edit(
            label, version or "not installed", sure=bool(version) and version[:1].isdigit() == shown[:1].isdigit()
        )

    def _file(self, label: str, digest: str, shown: str) -> None:
        if label.startswith("file import "):
            source = self._usable(label, label.removeprefix("file import "), shown)
            if source is None:
                return
            code, is_code = attempt(compile, source.text, source.path, "exec")
            now = facts_of(code).digest if is_code else b""
        else:
            reading, is_read = attempt(file_content.read_or_miss, shown)
            now = reading.digest if is_read else b""
        if not self.is_digest(label, now.hex()[:PART_DIGITS], digest):
            self._edit(label, shown)

    def _shadowed(self) -> None:
        """Names of builtins that the code uses, and that its modules have now."""
        for one in list(self.codes):
            for module in {label[0] for label in self.known}:
                source = self.program.find(module)
                if source is None or not any(one in codes for codes in source.codes.values()):
                    continue
                for name in facts_of(one.code).global_names & vars(builtins).keys() & source.bound.keys():
                    if not any(
                        known == (module, name)
                        or (known[0] == module and known[1].startswith((f"{name}.", f"{name}(")))
                        for known in self.known
                    ):
                        self._edit(f"name {module}:{name}", source.path, "added")


_UNCHANGING = (int, float, complex, str, bytes, tuple, frozenset, type(None), range)


def _unusable(source: Source) -> str:
    return f"{source.path} cannot be compiled: {source.error}"


def _edited(path: str) -> float:
    """When a file got its content, in seconds since 1970; the end of time for one that is gone."""
    status, is_there = attempt(os.stat, path)
    return max(status.st_mtime, status.st_ctime) if is_there else float("inf")
