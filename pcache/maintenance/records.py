"""The results of maintenance: frozen records, in bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass

from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from pcache.eviction.deletion import Removed


@dataclass(frozen=True, slots=True)
class Recompressed:
    """The number of entries that were recompressed, their bytes on disk before and after, and how many were skipped.

    Those skipped are being computed anew, damaged or gone.
    """

    entries: int
    before: int
    after: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that `clear` or `evict` would remove, judged by name and size; `cost` is exact to a sixth."""

    key: str
    function: str
    size: int
    used: float
    cost: float


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that is not usable: its place, the reason of the miss, and the check that failed."""

    path: str
    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of checking every tag and digest.

    `leftovers` counts the claim files of killed processes that were removed; without `repair` it is 0.
    """

    checked: int
    bytes: int
    problems: tuple[Problem, ...]
    leftovers: int
    removed: Removed
