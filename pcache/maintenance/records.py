"""What maintenance reports: frozen records, in bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcache.eviction.deletion import Removed


@dataclass(frozen=True, slots=True)
class Recompressed:
    """How many entries were packed anew, the bytes on disk that they took before and take now, and how many were left.

    Those left are being computed anew, damaged or gone.
    """

    entries: int
    before: int
    after: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that `clear` or `evict` would remove, as names and sizes tell; `cost` is exact to a sixth."""

    key: str
    function: str
    size: int
    used: float
    cost: float


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that is not usable: where it lies, the miss it is, and the check that failed."""

    path: str
    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of checking every tag and digest.

    `leftovers` counts the claim files of killed processes that were removed; without `repair` none are looked for.
    """

    checked: int
    bytes: int
    problems: tuple[Problem, ...]
    leftovers: int
    removed: Removed
