"""Looking after a cache directory: statistics, listings, eviction, clearing, verification.

Everything works from names and sizes where it can, tolerates other processes that read and write meanwhile, and never
unpickles a result.
"""

from __future__ import annotations

import fnmatch
import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pcache import registry
from pcache.decorator import CachedFunction
from pcache.entry import NEVER
from pcache.errors import ConfigError, Miss
from pcache.eviction import Limits, plan
from pcache.reader import inspect_file
from pcache.reports import (
    BufferInfo,
    EntryDetails,
    EntryInfo,
    FunctionStats,
    InFlight,
    Problem,
    Removed,
    Stats,
    Verified,
)
from pcache.store import require_ours
from pcache.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.cache import Cache
    from pcache.reader import Inspection
    from pcache.store import StoredFile

    Selection = CachedFunction[..., Any] | str | None
    Progress = Callable[[int, int], object]

UNKNOWN = "?"


def stats(cache: Cache) -> Stats:
    """Entries and bytes, in all and by function."""
    store = cache.flow.store
    names = _names(cache)
    files: dict[str, list[StoredFile]] = defaultdict(list)
    for item in store.scan():
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
        entries=sum(function.entries for function in functions),
        bytes=sum(function.bytes for function in functions),
        max_size=cache.settings.max_size,
        max_entries=cache.settings.max_entries,
        functions=tuple(functions),
        in_flight=tuple(InFlight(owner.call, owner.host.partition("/")[0], owner.pid) for owner in store.in_flight()),
    )


def _names(cache: Cache) -> dict[str, str]:
    known = registry.read_all(cache.flow.store.functions, cache.flow.keys.keyring)
    return {function_id: facts.name for function_id, facts in known.items()}


def selected_ids(cache: Cache, selection: Selection) -> set[str] | None:
    """The function ids that a function, a name, a part of a name or a pattern such as `pkg.*` stands for; None for all.

    A cached function stands for all its versions. Raises `ConfigError` for a name that matches nothing.
    """
    if selection is None:
        return None
    names = _names(cache)
    if isinstance(selection, CachedFunction):
        return {selection.function_id} | {i for i, name in names.items() if name == selection.name}
    found = {i for i, name in names.items() if _matches(name, i, selection)}
    if not found:
        known = ", ".join(sorted(set(names.values()))[:5]) or "none"
        raise ConfigError(
            f"no cached function matches {selection!r}; known functions: {known}", setting="function", value=selection
        )
    return found


def _matches(name: str, function_id: str, pattern: str) -> bool:
    if any(char in pattern for char in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern in (name, name.partition(":")[2], name.partition(":")[0], function_id)


def _select(files: Iterable[StoredFile], ids: set[str] | None) -> list[StoredFile]:
    return [item for item in files if ids is None or item.function_id in ids]


def entries(cache: Cache, selection: Selection) -> Iterator[EntryInfo]:
    """The entries with what they say of themselves, the latest used first."""
    found = _select(cache.flow.store.scan(), selected_ids(cache, selection))
    found.sort(key=lambda item: item.used_ns, reverse=True)
    names = _names(cache)
    for item in found:
        info = _info(cache, item, names.get(item.function_id, UNKNOWN))
        if info is not None:
            yield info


def _inspect(cache: Cache, item: StoredFile, *, buffers: bool = False) -> Inspection:
    keyring = cache.flow.keys.keyring
    if keyring is None:
        raise Miss("foreign", detail="there is no signing key here")
    inspection = inspect_file(item.path, keyring, buffers=buffers)
    if inspection.header.key.hex() != item.key or inspection.header.function_id.hex() != item.function_id:
        raise Miss("damaged", detail="it is the entry of another key")
    return inspection


def _info(cache: Cache, item: StoredFile, name: str) -> EntryInfo | None:
    """What one entry says of itself; None when it was removed meanwhile."""
    try:
        return _describe(item, name, _inspect(cache, item))
    except Miss as miss:
        if miss.reason == "absent":
            return None
        problem = f"{miss.reason}: {miss.detail}"
    used = item.used_ns / 1e9
    return EntryInfo(
        item.key, item.function_id, name, "", "", "", item.size, used, used, None, 0.0, "", item.path, problem
    )


def _describe(item: StoredFile, name: str, inspection: Inspection) -> EntryInfo:
    header, meta = inspection.header, inspection.meta
    return EntryInfo(
        key=item.key,
        function_id=item.function_id,
        function=str(meta.get("function", name)),
        arguments=str(meta.get("arguments", "")),
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
    found = [item for item in cache.flow.store.scan() if item.key.startswith(key.lower())]
    if len(found) > 1:
        raise ConfigError(f"{len(found)} keys start with {key}; give more of it", setting="key", value=key)
    if not found:
        raise Miss("absent", key=key, detail=f"no key starts with {key}")
    inspection = _inspect(cache, found[0], buffers=True)
    return EntryDetails(
        info=_describe(found[0], UNKNOWN, inspection),
        stream_length=inspection.header.stream_length,
        stream_raw_length=inspection.header.stream_raw_length,
        buffers=tuple(BufferInfo(row.length, row.raw_length, row.codec != 0) for row in inspection.rows),
        imports=tuple(imports_of(inspection.stream)),
    )


def imports_of(stream: bytes) -> list[str]:
    """The names that unpickling a stream would import, found without running any of it."""
    import pickletools

    names: set[str] = set()
    texts: list[str] = []  # strings pushed so far: STACK_GLOBAL takes the last two
    memo: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STACK_GLOBAL" and len(texts) >= 2:  # noqa: PLR2004 - module and name
            names.add(f"{texts[-2]}.{texts[-1]}")
        elif opcode.name == "GLOBAL":
            names.add(str(argument).replace(" ", "."))
        elif opcode.name == "MEMOIZE":
            memo.append(texts[-1] if texts else "")
        elif "UNICODE" in opcode.name:
            texts.append(str(argument))
        elif opcode.name in ("BINGET", "LONG_BINGET") and isinstance(argument, int) and argument < len(memo):
            texts.append(memo[argument])
    return sorted(names)


def _remove(cache: Cache, victims: list[StoredFile], *, dry_run: bool, progress: Progress | None = None) -> Removed:
    entries_removed = bytes_removed = 0
    for done, item in enumerate(victims, 1):
        if dry_run or cache.flow.store.delete(item.path):
            entries_removed += 1
            bytes_removed += item.size
        if progress is not None:
            progress(done, len(victims))
    return Removed(entries_removed, bytes_removed)


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
    """Remove the least recently used entries until the limits are met."""
    if not require_ours(cache.location):
        return Removed(0, 0)
    limits = Limits(
        None if max_size is None else parse_size(max_size),
        max_entries,
        None if max_age is None else parse_duration(max_age),
    )
    if limits == Limits():
        limits = Limits(cache.settings.max_size, cache.settings.max_entries)
    if limits.max_entries is not None and limits.max_entries < 0:
        raise ConfigError("max_entries is a number of entries, 0 or more", setting="max_entries", value=max_entries)
    found = _select(cache.flow.store.scan(), selected_ids(cache, selection))
    removed = _remove(cache, plan(found, limits, time.time_ns()), dry_run=dry_run, progress=progress)
    if not dry_run:
        _sweep(cache)
    return removed


def clear(
    cache: Cache, selection: Selection = None, *, dry_run: bool = False, progress: Progress | None = None
) -> Removed:
    """Remove the entries of a function, or all; the root and what is not ours stay."""
    if not require_ours(cache.location):
        return Removed(0, 0)
    ids = selected_ids(cache, selection)
    removed = _remove(cache, _select(cache.flow.store.scan(), ids), dry_run=dry_run, progress=progress)
    if not dry_run:
        for path in list(registry.paths(cache.flow.store.functions)):
            if ids is None or os.path.basename(path).removesuffix(".json") in ids:
                cache.flow.store.delete(path)
        _sweep(cache)
    return removed


def _sweep(cache: Cache) -> int:
    for path in registry.paths(cache.flow.store.functions, temporary=True):
        cache.flow.store.delete(path)
    return cache.flow.store.sweep()


def verify(cache: Cache, *, repair: bool = False, progress: Progress | None = None) -> Verified:
    """Check every tag and digest; with `repair`, remove damaged entries and leftover claims."""
    require_ours(cache.location)
    found = list(cache.flow.store.scan())
    problems, damaged = [], []
    checked = size = 0
    for done, item in enumerate(found, 1):
        try:
            _inspect(cache, item, buffers=True)
        except Miss as miss:
            if miss.reason != "absent":  # removed meanwhile
                problems.append(Problem(item.path, item.key, miss.reason, miss.detail))
                damaged += [item] if miss.reason == "damaged" else []
        checked += 1
        size += item.size
        if progress is not None:
            progress(done, len(found))
    removed = _remove(cache, damaged, dry_run=False) if repair else Removed(0, 0)
    leftovers = _sweep(cache) if repair else 0
    return Verified(checked, size, tuple(problems), leftovers, removed)
