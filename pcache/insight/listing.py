"""Statistics, listings, and one entry in detail.

Everything works from names and sizes where it can, tolerates other processes that read and write meanwhile, and never
unpickles a result.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict

from pcache.counters import ledger
from pcache.counters.line_format import HOUR
from pcache.entry.format import NEVER
from pcache.entry.pickle_imports import imports_of
from pcache.errors import ConfigError, Miss
from pcache.eviction import usage
from pcache.insight import activity
from pcache.insight.records import (
    Activity,
    BufferInfo,
    EntryDetails,
    EntryInfo,
    FunctionStats,
    InFlight,
    Period,
    Stats,
    VersionInfo,
)
from pcache.maintenance.selection import NAMELESS, inspect_entry, listing, names_of, select, selected_ids
from pcache.objects.summary import arguments_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import raise_if_interrupt
from pcache.versions import registry
from pcache.versions.differences import of_versions
from pcache.versions.moments import of_functions
from pcache.versions.superseded import superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pcache.counters.ledger import Reading
    from pcache.entry.inspector import Inspection
    from pcache.eviction.deletion import Progress
    from pcache.maintenance.selection import Selection
    from pcache.storage.directory import Directory
    from pcache.storage.store import StoredFile
    from pcache.versions.registry import FunctionVersion

_SHOWN = 5  # names or keys in a message
_SHOWN_DIGITS = 12  # of such a key
_FILE_ORDERS: Mapping[str, Callable[[StoredFile], tuple[int, str]]] = {
    "used": lambda item: (-item.used_ns, item.key),
    "size": lambda item: (-item.size, item.key),
}
_INFO_ORDERS: Mapping[str, Callable[[EntryInfo], tuple[float | str, ...]]] = {
    "age": lambda info: (info.created, info.key),
    "cost": lambda info: (-info.cost, info.key),
    "saved": lambda info: (-info.saved, -info.cost, info.key),
}
_MANY = 100_000  # entries, from which `stats` lists a sample
_TIME_TO_LIST = 0.5  # seconds
SORTS = (*_FILE_ORDERS, *_INFO_ORDERS)


def stats(directory: Directory, since: float = 0.0, *, exact: bool = False, progress: Progress | None = None) -> Stats:
    """Entries, bytes and counts since a time, in all and by function.

    Of more than 100,000 entries only as many shards are listed as half a second allows, unless `exact` is set.
    """
    files, share = sample(directory, exact=exact, progress=progress)
    return stats_of(directory, files, share, since)


class _Sums:
    """The sums over the entries of one function version; kept instead of a million entries."""

    def __init__(self, item: StoredFile) -> None:
        self.entries = self.size = self.used_ns = 0
        self.smallest = item

    def add(self, item: StoredFile) -> None:
        self.entries += 1
        self.size += item.size
        self.used_ns = max(self.used_ns, item.used_ns)
        if item.length < self.smallest.length:
            self.smallest = item


def stats_of(
    directory: Directory, files: Iterable[StoredFile], share: Callable[[], float] = lambda: 1.0, since: float = 0.0
) -> Stats:
    """As `stats`, of entries that are listed elsewhere; `share`, called afterwards, is their part of all entries."""
    directory.ledger.flush()
    reading = ledger.read(directory.location, directory.keys.look())
    acts = activity.by_function(reading, since)
    sums: dict[str, _Sums] = {}
    for item in files:
        if item.function_id not in sums:
            sums[item.function_id] = _Sums(item)
        sums[item.function_id].add(item)
    looked_at = share()
    keyring = directory.keys.look()
    known = registry.read_all(directory.functions, keyring)
    names = names_of(directory, (found.smallest for found in sums.values()), known)
    changing = of_functions(known.values(), keyring, lambda: reading)
    ids: dict[str, list[str]] = {name: [] for name in acts if name}
    for function_id in sums:
        ids.setdefault(names.get(function_id, NAMELESS), []).append(function_id)
    functions = [
        FunctionStats(
            **_counted(acts.get(name)),
            name=name,
            function_ids=tuple(sorted(own)),
            entries=round(sum(sums[i].entries for i in own) / looked_at),
            bytes=round(sum(sums[i].size for i in own) / looked_at),
            last_used=max((sums[i].used_ns for i in own), default=0) / 1e9,
            changing_globals=changing.get(name),
        )
        for name, own in ids.items()
    ]
    functions.sort(key=lambda function: (-function.bytes, function.name))
    settings = directory.settings
    return Stats(
        **_counted(activity.of_all(reading, since)),
        location=directory.location,
        entries=sum(function.entries for function in functions),
        bytes=sum(function.bytes for function in functions),
        max_size=settings.max_size,
        max_entries=settings.max_entries,
        min_free=settings.min_free,
        ttl=settings.ttl,
        free=_free(directory.location),
        since=max(since, _counted_since(directory, reading)),
        looked_at=looked_at,
        damaged_records=reading.damaged,
        functions=tuple(functions),
        in_flight=tuple(_in_flight(directory)) if looked_at == 1 else (),
    )


def _counted_since(directory: Directory, reading: Reading) -> float:
    """When counting began. Counts are kept by the hour, of which the first one began before the directory was made."""
    made = directory.made_at()
    return made if reading.since <= made < reading.since + HOUR else reading.since


def sample(
    directory: Directory, *, exact: bool, progress: Progress | None
) -> tuple[Iterator[StoredFile], Callable[[], float]]:
    """The entries of all shards, or of as many as time allows; and a function that then says which part it was."""
    store = directory.store
    shards = store.shards()
    is_large = not exact and usage.known_entries(directory.location) > _MANY
    if is_large:
        # Keys are spread evenly, whatever the function. The program may have seeded the generator of `random`.
        shards.sort(key=lambda _: os.urandom(8))
    listed = 0

    def entries() -> Iterator[StoredFile]:
        nonlocal listed
        deadline = time.monotonic() + _TIME_TO_LIST
        for shard in shards:
            yield from store.scan([shard])
            listed += 1
            if progress is not None:
                progress(listed, len(shards))
            if is_large and time.monotonic() > deadline:
                return

    return entries(), lambda: listed / len(shards) if shards else 1.0


def _counted(activity: Activity | None) -> dict[str, Any]:
    return {} if activity is None else {name: getattr(activity, name) for name in Activity.__slots__}


def _free(location: str) -> int:
    """Bytes that are free on the disk, if known."""
    while location and not os.path.isdir(location):
        location = os.path.dirname(location)
    try:
        disk = os.statvfs(location)
    except OSError as error:
        raise_if_interrupt(error)
        return 0
    except AttributeError:  # Windows
        return 0
    return disk.f_bavail * disk.f_frsize


def periods(directory: Directory, since: float = 0.0) -> tuple[Period, ...]:
    """The counts by hour, and by day for those older than a month; the earliest first."""
    directory.ledger.flush()
    return activity.over_time(ledger.read(directory.location, directory.keys.look()), since)


def versions(directory: Directory, selection: Selection = None) -> list[VersionInfo]:
    """The code versions of functions, those seen last first, each with its differences from the one before it."""
    keyring, folder = directory.keys.look(), directory.functions
    known, files = registry.read_all(folder, keyring), list(directory.store.scan())
    ids = None if selection is None else selected_ids(names_of(directory, files, known), selection)
    gone = superseded(folder, keyring, known)
    entries_of: dict[str, list[StoredFile]] = defaultdict(list)
    for item in files:
        entries_of[item.function_id].append(item)
    changing = of_functions(known.values(), keyring, lambda: ledger.read(directory.location, keyring))
    found: list[VersionInfo] = []
    before: dict[str, FunctionVersion] = {}
    for version in sorted(known.values(), key=lambda version: version.first_seen):
        previous = before.get(version.name)
        before[version.name] = version
        if ids is not None and version.function_id not in ids:
            continue
        own = entries_of[version.function_id]
        found.append(
            VersionInfo(
                function=version.name,
                function_id=version.function_id,
                first_seen=version.first_seen,
                python=version.python,
                file=version.file,
                entries=len(own),
                bytes=sum(item.size for item in own),
                superseded=gone.get(version.function_id, ""),
                adopted=tuple(item.function_id for item in registry.read_adopted(folder, version.function_id, keyring)),
                differences=() if previous is None else of_versions(previous, version, keyring),
                changing_globals=changing.get(version.name),
            )
        )
    return found[::-1]


def _in_flight(directory: Directory) -> Iterator[InFlight]:
    keyring = directory.keys.look()
    for claimed in directory.store.claims():
        owner = directory.store.owner(claimed, keyring)
        if owner is not None and not owner.is_dead():
            yield InFlight(owner.call, owner.host.partition("/")[0], owner.pid, owner.since_ns / 1e9)


def entries(
    directory: Directory, selection: Selection = None, *, sort: str = "used", limit: int | None = None
) -> Iterator[EntryInfo]:
    """The entries with their metadata, the first `limit` of them in the order `sort`.

    That is the latest "used" first, the greatest "size", "age" or "cost" first; the last two read all entries.
    """
    files, names = listing(directory)
    return described(directory, select(files, selected_ids(names, selection)), names, sort=sort, limit=limit)


def described(
    directory: Directory,
    files: list[StoredFile],
    names: Mapping[str, str],
    *,
    sort: str = "used",
    limit: int | None = None,
) -> Iterator[EntryInfo]:
    """As `entries`, for entries that were listed already; `names` are those of functions by id."""
    found = sorted(files, key=_FILE_ORDERS.get(sort, _FILE_ORDERS["used"]))
    infos = (_info(directory, item, names.get(item.function_id, NAMELESS)) for item in found)
    there = (info for info in infos if info is not None)
    return itertools.islice(sorted(there, key=_INFO_ORDERS[sort]) if sort in _INFO_ORDERS else there, limit)


def _info(directory: Directory, item: StoredFile, name: str) -> EntryInfo | None:
    """The description of one entry; None if it was removed meanwhile."""
    try:
        return _describe(item, name, inspect_entry(directory, item))
    except Miss as miss:
        return None if miss.reason == "absent" else _unreadable(item, name, miss)


def _unreadable(item: StoredFile, name: str, miss: Miss) -> EntryInfo:
    used = item.used_ns / 1e9
    return EntryInfo(
        item.key,
        item.function_id,
        name,
        arguments="",
        result="",
        result_type="",
        size=item.length,
        created=used,
        used=used,
        expires=None,
        cost=0.0,
        python="",
        path=item.path,
        problem=f"{miss.reason}: {miss.detail}",
    )


def _describe(item: StoredFile, name: str, inspection: Inspection) -> EntryInfo:
    header, meta = inspection.header, inspection.meta
    return EntryInfo(
        key=item.key,
        function_id=item.function_id,
        function=str(meta.get("function", name)),
        arguments=arguments_of(meta),
        result=str(meta.get("result", "")),
        result_type=str(meta.get("type", "")),
        size=item.length,
        created=header.created_ns / 1e9,
        used=max(header.created_ns, item.used_ns) / 1e9,  # the time of use is blurred, and may be set by anybody
        expires=None if header.expires_ns == NEVER else header.expires_ns / 1e9,
        cost=header.cost_ns / 1e9,
        python=str(meta.get("python", "")),
        path=item.path,
        uses=item.uses,
        saved=(item.uses - 1) * header.cost_ns / 1e9,
    )


def details(directory: Directory, key: str) -> EntryDetails:
    """All details of the entry whose key starts with `key`; raises `Miss`, or `ConfigError` when several do."""
    start = key.lower()
    files, names = listing(directory, [start[:2]] if len(start) > 1 else None)
    found = sorted((item for item in files if item.key.startswith(start)), key=lambda item: item.key)
    if len(found) > 1:
        some = ", ".join(item.key[: max(_SHOWN_DIGITS, len(key) + 4)] for item in found[:_SHOWN])
        raise ConfigError(
            f"{len(found)} keys start with {key!r:.80}; give more digits of one of {some}"
            + (", ..." if len(found) > _SHOWN else ""),
            setting="key",
            value=key,
        )
    if not found:
        raise Miss("absent", key=key, detail=f"no key starts with {key!r:.80}")
    item = found[0]
    name = names.get(item.function_id, NAMELESS)
    try:
        inspection = inspect_entry(directory, item, buffers=True)
    except Miss as miss:
        if miss.reason == "absent":  # removed meanwhile
            raise
        return EntryDetails(_unreadable(item, name, miss), 0, 0, (), ())
    rows = inspection.rows if inspection.imports is None else ()  # chunks of a stream are no buffers
    return EntryDetails(
        info=_describe(item, name, inspection),
        stream_length=inspection.header.stream_length,
        stream_raw_length=inspection.header.stream_raw_length,
        buffers=tuple(BufferInfo(row.length, row.raw_length, row.codec != 0) for row in rows),
        imports=tuple(imports_of(inspection.stream)) if inspection.imports is None else inspection.imports,
    )
