"""What was found when a version of a function was compared with files."""

from __future__ import annotations

from dataclasses import dataclass, field

from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from pcache.versions.differences import Difference


@dataclass
class Comparison:
    """What is another than in a version: surely, perhaps, and whether the function can be found and compiled at all.

    `broken` says why a file cannot be used. `calls` are parameters whose default is another one: only calls that leave
    these out have another result.
    """

    edits: list[Difference] = field(default_factory=list)
    doubts: list[Difference] = field(default_factory=list)
    calls: list[Difference] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    gone: str = ""
    renamed: str = ""

    @property
    def is_same(self) -> bool:
        return not (self.edits or self.doubts or self.calls or self.broken or self.gone)
