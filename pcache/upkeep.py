"""Looking after a cache directory: statistics, listings, eviction, clearing, verification.

Everything works from names and sizes where it can, tolerates other processes that read and write meanwhile, and never
unpickles a result.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pcache import registry, removals
from pcache.claim import CLAIM_SUFFIX, read_owner
from pcache.entry import NEVER
from pcache.errors import ConfigError, Miss
from pcache.eviction import Limits, plan
from pcache.opcodes import UNKNOWN, imports_of
from pcache.reports import (
    BufferInfo,
    Candidate,
    EntryDetails,
    EntryInfo,
    FunctionStats,
    InFlight,
    Problem,
    Removed,
    Stats,
    Verified,
)
from pcache.selection import inspect_entry, listing, select, selected_ids
from pcache.store import GENERATION, check_root, require_ours
from pcache.summary import arguments_of
from pcache.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pcache.cache import Cache
    from pcache.reader import Inspection
    from pcache.selection import Selection
    from pcache.store import StoredFile

    Progress = Callable[[int, int], object]  # called with how many entries are done, and of how many

_LEFT_BEHIND = 3600  # seconds after which nobody is still writing a small file
_SHOWN = 5  # names or keys in a message
_SHOWN_DIGITS = 12  # of such a key
_FILE_ORDERS: Mapping[str, Callable[[StoredFile], tuple[int, str]]] = {
    "used": lambda item: (-item.used_ns, item.key),
    "size": lambda item: (-item.size, item.key),
}
_INFO_ORDERS: Mapping[str, Callable[[EntryInfo], tuple[float, str]]] = {
    "age": lambda info: (info.created, info.key),
    "cost": lambda info: (-info.cost, info.key),
}
SORTS = (*_FILE_ORDERS, *_INFO_ORDERS)


def stats(cache: Cache) -> Stats:
    """Entries and bytes, in all and by function."""
    found, names = listing(cache)
    files: dict[str, list[StoredFile]] = defaultdict(list)
    for item in found:
        files[names.get(item.function_id, UNKNOWN)].append(item)
    functions = [
        FunctionStats(
            name=name,
            function_ids=tuple(sorted({item.function_id for item in items})),
            entries=len(items),
            bytes=sum(item.size for item in items),
            last_used=max(item.used_ns for item in items) / 1e9,
        )
        for name, items in files.items()
    ]
    functions.sort(key=lambda function: (-function.bytes, function.name))
    return Stats(
        location=cache.location,
        entries=len(found),
        bytes=sum(item.size for item in found),
        max_size=cache.settings.max_size,
        max_entries=cache.settings.max_entries,
        functions=tuple(functions),
        in_flight=tuple(_in_flight(cache)),
    )


def _in_flight(cache: Cache) -> Iterator[InFlight]:
    for path in cache.flow.store.claim_paths():
        owner = read_owner(path.removesuffix(CLAIM_SUFFIX))
        if owner is None or owner.is_dead():
            continue
        try:
            since = os.stat(path, follow_symlinks=False).st_mtime  # the record is written when the claim is taken
        except OSError:
            continue  # done meanwhile
        yield InFlight(owner.call, owner.host.partition("/")[0], owner.pid, since)


def entries(
    cache: Cache, selection: Selection = None, *, sort: str = "used", limit: int | None = None
) -> Iterator[EntryInfo]:
    """The entries with what they say of themselves, the first `limit` of them in the order `sort`.

    That is the latest "used" first, the greatest "size", "age" or "cost" first; the last two read all entries.
    """
    files, names = listing(cache)
    found = select(files, selected_ids(names, selection))
    found.sort(key=_FILE_ORDERS.get(sort, _FILE_ORDERS["used"]))
    infos = (_info(cache, item, names.get(item.function_id, UNKNOWN)) for item in found)
    there = (info for info in infos if info is not None)
    return itertools.islice(sorted(there, key=_INFO_ORDERS[sort]) if sort in _INFO_ORDERS else there, limit)


def _info(cache: Cache, item: StoredFile, name: str) -> EntryInfo | None:
    """What one entry says of itself; None when it was removed meanwhile."""
    try:
        return _describe(item, name, inspect_entry(cache, item))
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
        size=item.size,
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
        size=item.size,
        created=header.created_ns / 1e9,
        used=item.used_ns / 1e9,
        expires=None if header.expires_ns == NEVER else header.expires_ns / 1e9,
        cost=header.cost_ns / 1e9,
        python=str(meta.get("python", "")),
        path=item.path,
    )


def details(cache: Cache, key: str) -> EntryDetails:
    """Everything about the entry whose key starts with `key`; raises `Miss`, or `ConfigError` when several do."""
    files, names = listing(cache)
    found = sorted((item for item in files if item.key.startswith(key.lower())), key=lambda item: item.key)
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
    name = names.get(item.function_id, UNKNOWN)
    try:
        inspection = inspect_entry(cache, item, buffers=True)
    except Miss as miss:
        if miss.reason == "absent":  # removed meanwhile
            raise
        return EntryDetails(_unreadable(item, name, miss), 0, 0, (), ())
    return EntryDetails(
        info=_describe(item, name, inspection),
        stream_length=inspection.header.stream_length,
        stream_raw_length=inspection.header.stream_raw_length,
        buffers=tuple(BufferInfo(row.length, row.raw_length, row.codec != 0) for row in inspection.rows),
        imports=tuple(imports_of(inspection.stream)),
    )


def evict(
    cache: Cache,
    max_size: Any = None,
    max_entries: int | None = None,
    max_age: Any = None,
    selection: Selection = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Removed:
    """Remove the least recently used entries until the limits are met; without any, those of the settings."""
    limits = limits_of(cache, max_size, max_entries, max_age)
    if not _can_remove(cache, dry_run=dry_run):
        return Removed(0, 0)
    files, names = listing(cache)
    victims = plan(select(files, selected_ids(names, selection)), limits, time.time_ns())
    removed = _remove(cache, victims, "evicted", dry_run=dry_run, progress=progress)
    if not dry_run:
        _sweep(cache)
    return removed


def limits_of(cache: Cache, max_size: Any = None, max_entries: Any = None, max_age: Any = None) -> Limits:
    """The limits that were given, else those of the settings; raises `ConfigError`."""
    if max_size is None and max_entries is None and max_age is None:
        return Limits(cache.settings.max_size, cache.settings.max_entries)
    if max_entries is not None and (isinstance(max_entries, bool) or not isinstance(max_entries, int)):
        max_entries = -1
    if max_entries is not None and max_entries < 0:
        raise ConfigError("max_entries is a whole number, 0 or more", setting="max_entries", value=max_entries)
    return Limits(
        None if max_size is None else parse_size(max_size),
        max_entries,
        None if max_age is None else parse_duration(max_age),
    )


def clear(
    cache: Cache, selection: Selection = None, *, dry_run: bool = False, progress: Progress | None = None
) -> Removed:
    """Remove the entries of a function, or all; the root and what is not ours stay."""
    if not _can_remove(cache, dry_run=dry_run):
        return Removed(0, 0)
    files, names = listing(cache)
    ids = selected_ids(names, selection)
    removed = _remove(cache, select(files, ids), "cleared", dry_run=dry_run, progress=progress)
    if not dry_run:
        for path in list(registry.paths(cache.flow.store.functions)):
            if ids is None or os.path.basename(path).removesuffix(".json") in ids:
                cache.flow.store.delete(path)
        _sweep(cache)
    return removed


def candidates(cache: Cache, selection: Selection = None, limits: Limits | None = None) -> list[Candidate]:
    """The entries that `evict` with these limits, or `clear` without any, would remove now."""
    if not _can_remove(cache, dry_run=True):
        return []
    files, names = listing(cache)
    found = select(files, selected_ids(names, selection))
    victims = found if limits is None else plan(found, limits, time.time_ns())
    return [
        Candidate(item.key, names.get(item.function_id, UNKNOWN), item.size, item.used_ns / 1e9) for item in victims
    ]


def _can_remove(cache: Cache, *, dry_run: bool) -> bool:
    """Return whether there may be entries, in a cache that is not read-only; raise `DirectoryError` if it is not ours.

    The tag is written before anything below `v1`, so a root that another process is making now is no foreign one.
    """
    if not check_root(cache.location) or not os.path.lexists(os.path.join(cache.location, GENERATION)):
        return False
    return require_ours(cache.location) and (dry_run or not cache.settings.read_only)


def _remove(
    cache: Cache, victims: list[StoredFile], cause: str, *, dry_run: bool, progress: Progress | None = None
) -> Removed:
    """Remove what can be removed; then raise the first `OSError`, if there was any."""
    removed: list[StoredFile] = []
    refusal: OSError | None = None
    for done, item in enumerate(victims, 1):
        try:
            if dry_run or cache.flow.store.delete(item.path):
                removed.append(item)
        except OSError as error:
            refusal = refusal or error
        if progress is not None:
            progress(done, len(victims))
    if not dry_run:
        removals.note(cache.location, (item.path for item in removed), cause)
    if refusal is not None:
        raise refusal
    return Removed(len(removed), sum(item.size for item in removed))


def _sweep(cache: Cache) -> int:
    """Remove what killed processes left behind; return how many claims that were."""
    for path in registry.paths(cache.flow.store.functions, temporary=True):
        try:
            if time.time() - os.stat(path).st_mtime > _LEFT_BEHIND:
                cache.flow.store.delete(path)
        except OSError:
            continue  # renamed by its writer meanwhile
    return cache.flow.store.sweep()


def verify(cache: Cache, *, repair: bool = False, dry_run: bool = False, progress: Progress | None = None) -> Verified:
    """Check every tag and digest; with `repair`, remove damaged entries and leftover claims.

    With `dry_run` as well, count them only.
    """
    repair = repair and _can_remove(cache, dry_run=dry_run)
    found = list(cache.flow.store.scan())
    problems, damaged = [], []
    checked = size = 0
    for done, item in enumerate(found, 1):
        try:
            inspect_entry(cache, item, buffers=True)
        except Miss as miss:
            if miss.reason != "absent":  # removed meanwhile
                problems.append(Problem(item.path, item.key, miss.reason, miss.detail))
                damaged += [item] if _is_beyond_use(miss) else []
        checked += 1
        size += item.size
        if progress is not None:
            progress(done, len(found))
    removed = _remove(cache, damaged, "removed as damaged", dry_run=dry_run) if repair else Removed(0, 0)
    leftovers = _sweep(cache) if repair and not dry_run else 0
    return Verified(checked, size, tuple(problems), leftovers, removed)


def _is_beyond_use(miss: Miss) -> bool:
    """Whether an entry's bytes were read and are wrong: one that cannot be opened now may be read again later."""
    error = miss.__cause__
    return miss.reason == "damaged" and (not isinstance(error, OSError) or error.errno == errno.ELOOP)
