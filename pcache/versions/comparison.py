"""What is found while a version of a function is compared with files, and what every part is compared by."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.parts import digest_of
from pcache.objects.summary import shown_part
from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import attempt
from pcache.versions import source_records
from pcache.versions.differences import KINDS, Difference
from pcache.versions.makers import Makers
from pcache.versions.registry import part_digest
from pcache.versions.version import PART_DIGITS

if TYPE_CHECKING:
    from types import CodeType

    from pcache.signing.keyring import Keyring
    from pcache.versions.makers import Maker
    from pcache.versions.registry import FunctionVersion
    from pcache.versions.source_records import Recorded
    from pcache.versions.sources import Program, Source


@dataclass
class Comparison:
    """What is another than in a version.

    `edits` are sure, `doubts` can be told only by running. `calls` are parameters whose default is another one: only
    calls that leave these out have another result. `broken` says which files cannot be compiled, `gone` that the
    function is no longer there, and `renamed` which one has its code.
    """

    edits: list[Difference] = field(default_factory=list)
    doubts: list[Difference] = field(default_factory=list)
    calls: list[Difference] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    gone: str = ""
    renamed: str = ""

    @property
    def is_same(self) -> bool:
        return not (self.edits or self.doubts or self.calls or self.is_unusable)

    @property
    def is_another(self) -> bool:
        """Whether it is surely another version."""
        return bool(self.edits) or self.is_unusable

    @property
    def is_unusable(self) -> bool:
        return bool(self.broken or self.gone)


class Comparing:
    """A version that is being compared with a program. `codes` are its functions, as far as the files have them."""

    def __init__(self, version: FunctionVersion, recorded: Recorded | None, program: Program, keyring: Keyring) -> None:
        self.version = version
        self.recorded = recorded
        self.program = program
        self.keyring = keyring
        self.makers = Makers(program, version.parts)
        self.found = Comparison()
        self.codes: list[tuple[Source, CodeType]] = []

    def has_code(self, label: str, code: CodeType, recorded: str) -> bool:
        """Whether code is the recorded one of a function."""
        return self.is_digest(label, facts_of(code).digest.hex(), recorded)

    def is_digest(self, label: str, found: str, recorded: str) -> bool:
        """Whether a digest is the recorded one of a part."""
        return part_digest(label, found[:PART_DIGITS], self.version.signed_by, self.keyring) == recorded

    def is_token(self, label: str, found: object, recorded: str) -> bool:
        """The same of what represents something."""
        return self.is_digest(label, digest_of(found).hex(), recorded)

    def made_before(self, label: str) -> tuple[str, str] | None:
        """The digests of what made something, if they were recorded."""
        return None if self.recorded is None else self.recorded.made.get(label)

    def made_now(self, label: str, maker: Maker) -> tuple[str, str]:
        return source_records.digests(label, maker, self.version.signed_by, self.keyring)

    def edit(self, label: str, now: str = "", change: str = "changed", *, sure: bool = True) -> None:
        """Note that a part is another one."""
        kind, _, name = label.partition(" ")
        kind, name = (kind, name) if kind in KINDS else ("depends_on", label.removeprefix("depends_on"))
        before = self.version.parts.get(label, ("", ""))[1]
        found = Difference(kind, name, change, before, shown_part(label, now))
        target = self.found.edits if sure else self.found.doubts
        if found not in target:
            target.append(found)

    def usable(self, module: str) -> Source | None:
        """The source of a module; None, which is noted, if it cannot be compiled, or if there is none."""
        source = self.program.find(module)
        if source is None or not source.error:
            return source
        text = f"{source.path} cannot be compiled: {source.error}"
        if text not in self.found.broken:
            self.found.broken.append(text)
        return None

    def is_unedited(self) -> bool:
        """Whether no file of the program was changed since the version was first seen."""
        files = self.program.places().values()
        return self.program.is_on_disk and all(_edited(path) <= self.version.first_seen for path in files)


def _edited(path: str) -> float:
    """When a file got its content, in seconds since 1970."""
    status, is_there = attempt(os.stat, path)
    return float(max(status.st_mtime, status.st_ctime)) if is_there else float("inf")
