"""What a cache says of itself: frozen records, in base units (bytes, seconds, seconds since 1970)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcache.differences import Difference


@dataclass(frozen=True, slots=True)
class Removed:
    """How much `clear`, `evict` or `verify` removed, or with `dry_run` would remove."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that `clear` or `evict` would remove, as names and sizes tell."""

    key: str
    function: str
    size: int
    used: float


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """One cached function, all its code versions together. `name` is "?" for results whose function is not known."""

    name: str
    function_ids: tuple[str, ...]
    entries: int
    bytes: int
    last_used: float


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One code version of a cached function.

    `superseded` says why the code on disk is another one; it is empty where it is the same, or where that cannot be
    told. `adopted` are the ids of versions whose results count as this one's, `differences` those from the version seen
    before.
    """

    function: str
    function_id: str
    first_seen: float
    python: str
    file: str
    entries: int
    bytes: int
    superseded: str
    adopted: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class InFlight:
    """A computation under way: its function, the process that computes it, and since when (seconds since 1970)."""

    function: str
    host: str
    pid: int
    since: float


@dataclass(frozen=True, slots=True)
class Stats:
    """A cache directory at a glance, from names and sizes."""

    location: str
    entries: int
    bytes: int
    max_size: int
    max_entries: int | None
    functions: tuple[FunctionStats, ...]
    in_flight: tuple[InFlight, ...]


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """One entry, as its authenticated header and meta part describe it; `problem` says why they cannot be read."""

    key: str
    function_id: str
    function: str
    arguments: str
    result: str
    result_type: str
    size: int
    created: float
    used: float
    expires: float | None
    cost: float
    python: str
    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BufferInfo:
    """One out-of-band buffer of an entry: bytes as stored and as used, and whether it is compressed."""

    length: int
    raw_length: int
    compressed: bool


@dataclass(frozen=True, slots=True)
class EntryDetails:
    """One entry in depth. `imports` are the names that unpickling it would import; nothing was unpickled.

    Of an entry with a `problem` nothing is known but what `info` says.
    """

    info: EntryInfo
    stream_length: int
    stream_raw_length: int
    buffers: tuple[BufferInfo, ...]
    imports: tuple[str, ...]


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
