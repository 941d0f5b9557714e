"""What a cache reports of itself: frozen records, in bytes, seconds, and seconds since 1970."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from pcache.startup import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from pcache.versions.differences import Difference
    from pcache.versions.moments import ChangingGlobals

    State = Literal["ok", "note", "problem"]

_ENOUGH = 10  # calls
_MUCH = 1.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The counts of calls by all processes; those of running processes are up to some seconds behind.

    `saved_seconds` is what the results of hits took to compute, less the time that the hits took. `computed_seconds` is
    the time of functions without the cached calls inside of them, which count for themselves; a hit inside of a cached
    call saves no more than that. `store_seconds` is what misses took beyond computing: keys, looking, storing. `waited`
    are hits that another thread or process computed meanwhile. `misses_by_reason` has the reasons of `Miss`,
    `errors_by_kind` why results were not stored.
    """

    hits: int = 0
    misses: int = 0
    waited: int = 0
    stored: int = 0
    saved_seconds: float = 0.0
    computed_seconds: float = 0.0
    hit_seconds: float = 0.0
    store_seconds: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    evicted: int = 0
    evicted_bytes: int = 0
    evicted_seconds: float = 0.0
    misses_by_reason: Mapping[str, int] = field(default_factory=dict)
    errors_by_kind: Mapping[str, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float | None:
        """The part of calls that hit; None if there were none."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else None

    @property
    def costs_more(self) -> bool:
        """Whether caching took more time than it saved, over enough calls or seconds to tell.

        What was computed once and never asked for again gains nothing either, but may do so tomorrow. So a hit, or what
        a miss takes beyond computing, has to take longer than computing does.
        """
        calls = self.hits + self.misses
        if self.net_seconds >= 0 or (calls < _ENOUGH and self.net_seconds > -_MUCH):
            return False
        compute = (self.computed_seconds + self.saved_seconds + self.hit_seconds) / max(calls, 1)
        return compute < max(self.seconds_a_hit, self.seconds_a_miss)

    @property
    def net_seconds(self) -> float:
        """The time that caching saved in all, less all that it took; negative if it took more."""
        return self.saved_seconds - self.store_seconds

    @property
    def seconds_a_hit(self) -> float:
        return self.hit_seconds / max(self.hits, 1)

    @property
    def seconds_a_miss(self) -> float:
        """What a miss took beyond computing."""
        return self.store_seconds / max(self.misses, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period(Activity):
    """The counts of an hour or, long ago, a day that began at `start` (seconds since 1970)."""

    start: float
    functions: Mapping[str, Activity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStats(Activity):
    """One cached function, all its code versions together. `name` is "?" for results whose function is not known.

    `bytes` is the size on disk, `last_used` 0 for a function without entries. `changing_globals` are those that make
    the function another one in each process, if there are any.
    """

    name: str
    function_ids: tuple[str, ...]
    entries: int
    bytes: int
    last_used: float
    changing_globals: ChangingGlobals | None = None


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One code version of a cached function.

    `superseded` says why the code on disk is another one; it is empty if it is the same, or if that is unknown.
    `adopted` are the ids of versions whose results count as this one's, `differences` those from the version seen
    before. `changing_globals` are those that make the function another one in each process, if there are any.
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
    changing_globals: ChangingGlobals | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """A running computation: its function, the process that computes it, and since when (seconds since 1970)."""

    function: str
    host: str
    pid: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Activity):
    """A cache directory at a glance: names, sizes and counts since `since` (seconds since 1970).

    `looked_at` is the part of the directory that was listed: below 1 it is a random sample, and the numbers of entries
    and bytes by function are estimates. `free` is the free space on the disk. `damaged_records` counts unreadable
    records of the counters.
    """

    location: str
    entries: int
    bytes: int
    max_size: int
    max_entries: int | None
    min_free: float
    ttl: float | None
    free: int
    since: float
    looked_at: float
    damaged_records: int
    functions: tuple[FunctionStats, ...]
    in_flight: tuple[InFlight, ...]


def as_plain(found: Activity) -> dict[str, Any]:
    """The fields of a record for JSON, with derived values: rates, and whether a function costs more."""
    plain = {**asdict(found), "hit_rate": found.hit_rate, "net_seconds": found.net_seconds}
    if isinstance(found, Stats):
        plain["functions"] = [{**as_plain(item), "costs_more": item.costs_more} for item in found.functions]
    return plain


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """One entry, as its authenticated header and metadata describe it; `problem` says why they cannot be read.

    `size` is the file's length. `saved` is the seconds that its noted uses would have taken: at least that, since a use
    is noted once a minute at most.
    """

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
    uses: int = 1
    saved: float = 0.0
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

    Of an entry with a `problem` only `info` is known.
    """

    info: EntryInfo
    stream_length: int
    stream_raw_length: int
    buffers: tuple[BufferInfo, ...]
    imports: tuple[str, ...]


class Finding(NamedTuple):
    """One check of the doctor: its outcome, and what to do about it (empty if there is nothing to do)."""

    check: str
    state: State
    text: str
    advice: str = ""
