"""Looking after a cache directory: eviction, clearing, verification.

Everything works from names and sizes where it can, tolerates other processes that read and write meanwhile, and never
unpickles a result.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

from pcache import registry, removals
from pcache.errors import ConfigError, Miss
from pcache.eviction import Limits, plan
from pcache.opcodes import UNKNOWN
from pcache.reports import Candidate, Problem, Removed, Verified
from pcache.selection import inspect_entry, listing, select, selected_ids
from pcache.store import GENERATION, check_root, require_ours
from pcache.superseded import superseded as old_versions
from pcache.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.cache import Cache
    from pcache.selection import Selection
    from pcache.store import StoredFile

    Progress = Callable[[int, int], object]  # called with how many entries are done, and of how many

_LEFT_BEHIND = 3600  # seconds after which nobody is still writing a small file


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
    victims = plan(select(files, selected_ids(names, selection)), limits, time.time_ns(), policy=cache.settings.policy)
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
    cache: Cache,
    selection: Selection = None,
    *,
    superseded: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Removed:
    """Remove the entries of a function, or all; the root and what is not ours stay.

    With `superseded` only those of versions that the code on disk does not have any more.
    """
    if not _can_remove(cache, dry_run=dry_run):
        return Removed(0, 0)
    found, _, ids = _chosen(cache, selection, superseded=superseded)
    removed = _remove(cache, found, "cleared", dry_run=dry_run, progress=progress)
    if not dry_run:
        for path in list(registry.paths(cache.flow.store.functions)):
            if ids is None or os.path.basename(path).partition(".")[0] in ids:
                cache.flow.store.delete(path)
        _sweep(cache)
    return removed


def candidates(
    cache: Cache, selection: Selection = None, limits: Limits | None = None, *, superseded: bool = False
) -> list[Candidate]:
    """The entries that `evict` with these limits, or `clear` without any, would remove now."""
    if not _can_remove(cache, dry_run=True):
        return []
    found, names, _ = _chosen(cache, selection, superseded=superseded)
    victims = found if limits is None else plan(found, limits, time.time_ns(), policy=cache.settings.policy)
    return [
        Candidate(item.key, names.get(item.function_id, UNKNOWN), item.size, item.used_ns / 1e9, item.cost_ns / 1e9)
        for item in victims
    ]


def _chosen(
    cache: Cache, selection: Selection, *, superseded: bool
) -> tuple[list[StoredFile], dict[str, str], set[str] | None]:
    """The entries that are meant, the names of functions by id, and the ids that are meant."""
    files, names = listing(cache)
    ids = selected_ids(names, selection)
    if superseded:
        gone = old_versions(cache.flow.store.functions, cache.flow.keys.look())
        ids = set(gone) if ids is None else ids & gone.keys()
    return select(files, ids), names, ids


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
    return Removed(len(removed), sum(item.size for item in removed), sum(item.cost_ns for item in removed) / 1e9)


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
