"""Evict, clear, verify and recompress a cache directory.

Works from names and sizes where possible, tolerates other processes that read and write meanwhile, and never unpickles
a result.
"""

from __future__ import annotations

import itertools
import os
import time

from pcache.config.rules import read_compression
from pcache.errors import ConfigError, DamagedEntry, Miss
from pcache.eviction import usage
from pcache.eviction.deletion import EVICTED, Removed, remove
from pcache.eviction.policy import Limits
from pcache.eviction.victims import Chooser
from pcache.layout import generation_folder
from pcache.maintenance.leftovers import sweep
from pcache.maintenance.recompression import recompress as pack
from pcache.maintenance.records import Candidate, Problem, Recompressed, Verified
from pcache.maintenance.selection import NAMELESS, each, inspect_entry, names_of, selected_ids
from pcache.runtime.invalidation import fence
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.storage.root import check_root, is_there, keep_tag, require_ours
from pcache.system.directories import in_a_sentence
from pcache.text.units import parse_duration, parse_size
from pcache.versions import registry
from pcache.versions.superseded import superseded as old_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcache.eviction.deletion import Progress
    from pcache.maintenance.selection import Selection
    from pcache.storage.directory import Directory
    from pcache.storage.store import Claimed, StoredFile

_PORTION = 100_000  # entries that are held in memory together


@in_a_sentence
def evict(
    directory: Directory,
    max_size: Any = None,
    max_entries: int | None = None,
    max_age: Any = None,
    selection: Selection = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Removed:
    """Remove the least valuable entries until the given limits are met, by default those of the settings."""
    limits = limits_of(directory, max_size, max_entries, max_age)
    if not _can_remove(directory, dry_run=dry_run):
        return Removed()
    chosen = _choose(directory, selection)
    removed = Removed()
    for victims in _victims(chosen, limits):
        more = remove(directory, victims, EVICTED, len(victims), dry_run=dry_run, progress=progress)
        removed = Removed(removed.entries + more.entries, removed.bytes + more.bytes, removed.seconds + more.seconds)
    if not dry_run:
        sweep(directory)
    return removed


def _victims(chosen: Chosen, limits: Limits) -> Iterator[list[StoredFile]]:
    """The entries to remove, in portions that fit into memory."""
    portions = list(chosen.portions(chosen.directory.store.count()))
    parts = (list(chosen.files(shards)) for shards in portions)
    return Chooser(chosen.directory).of_parts(parts, len(portions), limits)


def limits_of(directory: Directory, max_size: Any = None, max_entries: Any = None, max_age: Any = None) -> Limits:
    """The given limits, or by default those of the settings; raises `ConfigError`."""
    if max_size is None and max_entries is None and max_age is None:
        return Limits(directory.settings.max_size, directory.settings.max_entries)
    if max_entries is not None and (isinstance(max_entries, bool) or not isinstance(max_entries, int)):
        max_entries = -1
    if max_entries is not None and max_entries < 0:
        raise ConfigError("max_entries is a whole number, 0 or more", setting="max_entries", value=max_entries)
    return Limits(
        None if max_size is None else parse_size(max_size),
        max_entries,
        None if max_age is None else parse_duration(max_age),
    )


@in_a_sentence
def clear(
    directory: Directory,
    selection: Selection = None,
    *,
    superseded: bool = False,
    unused_for: Any = None,
    larger_than: Any = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Removed:
    """Remove the entries of a function, or all; the root and other files in it stay.

    With `superseded` only those of versions that are no longer in the code on disk, with `unused_for` those that were
    not used for so long, with `larger_than` those that take more space.
    """
    if not _can_remove(directory, dry_run=dry_run):
        return Removed()
    chosen = _choose(directory, selection, superseded=superseded, unused_for=unused_for, larger_than=larger_than)
    if chosen.is_whole and not dry_run:
        _fence(chosen, selection)
    refusals: list[OSError] = []
    files = chosen.files(refusals=refusals)
    removed = remove(directory, files, "cleared", chosen.about(), dry_run=dry_run, progress=progress)
    if not dry_run:
        for path in list(registry.paths(directory.functions)):
            if chosen.is_whole and (chosen.ids is None or os.path.basename(path).partition(".")[0] in chosen.ids):
                registry.remove(directory.location, path, directory.access)
        sweep(directory)
        if refusals:
            raise refusals[0]  # tell the caller that entries are left
    return removed


def _fence(chosen: Chosen, selection: Selection) -> None:
    """Cancel the storing of results under way of the chosen functions, also of versions without results so far."""
    ids, store, keyring = chosen.ids, chosen.directory.store, chosen.directory.keys.look()
    names = {chosen.names[function_id] for function_id in ids or () if function_id in chosen.names}
    names |= {one.name for one in each(selection) if not isinstance(one, str)}

    def is_meant(claimed: Claimed) -> bool:
        if ids is None or claimed.name.partition("-")[0] in ids:
            return True
        owner = store.owner(claimed, keyring)
        return owner is not None and owner.call in names

    fence(store, is_meant)


@in_a_sentence
def candidates(
    directory: Directory,
    selection: Selection = None,
    limits: Limits | None = None,
    *,
    superseded: bool = False,
    unused_for: Any = None,
    larger_than: Any = None,
) -> list[Candidate]:
    """The entries that `evict` with these limits, or `clear` without any, would remove now."""
    if not _can_remove(directory, dry_run=True):
        return []
    chosen = _choose(directory, selection, superseded=superseded, unused_for=unused_for, larger_than=larger_than)
    names = chosen.names or names_of(directory, chosen.files())
    if limits is None:
        victims: Iterable[StoredFile] = chosen.files()
    else:
        victims = itertools.chain.from_iterable(_victims(chosen, limits))
    return [
        Candidate(item.key, names.get(item.function_id, NAMELESS), item.size, item.used_ns / 1e9, item.cost_ns / 1e9)
        for item in victims
    ]


class Chosen(NamedTuple):
    """A selection of entries: of versions (by id, None for all), unused since a time, larger than a size."""

    directory: Directory
    names: dict[str, str]
    ids: set[str] | None
    unused_since_ns: int | None
    larger_than: int

    @property
    def is_whole(self) -> bool:
        """Whether all entries of the versions are selected."""
        return self.unused_since_ns is None and self.larger_than < 0

    def files(self, shards: Iterable[str] | None = None, refusals: list[OSError] | None = None) -> Iterator[StoredFile]:
        """List them, anew at each call; `refusals` gets the errors of shards that were left out."""
        for item in self.directory.store.scan(shards, refusals):
            if (
                (self.ids is None or item.function_id in self.ids)
                and (self.unused_since_ns is None or item.used_ns < self.unused_since_ns)
                and item.size > self.larger_than
            ):
                yield item

    def portions(self, total: int) -> Iterator[list[str]]:
        """Shards whose entries fit into memory together: a million entries at once would take 600 MB."""
        shards = self.directory.store.shards()
        count = max(1, min(len(shards), round(total / _PORTION)))
        for first in range(count):
            yield shards[first::count]

    def by_portions(self, total: int) -> Iterator[StoredFile]:
        """List them, reading each portion as a whole, so that changes to its entries do not disturb the listing."""
        for shards in self.portions(total):
            yield from list(self.files(shards))

    def about(self) -> int:
        """Their number, at most, for a progress bar."""
        return usage.known_entries(self.directory.location)


def _choose(
    directory: Directory,
    selection: Selection,
    *,
    superseded: bool = False,
    unused_for: Any = None,
    larger_than: Any = None,
) -> Chosen:
    names = {} if selection is None else {**_computing(directory), **names_of(directory, directory.store.scan())}
    ids = selected_ids(names, selection)
    if superseded:
        gone = old_versions(directory.functions, directory.keys.look())
        ids = set(gone) if ids is None else ids & gone.keys()
    since = None if unused_for is None else time.time_ns() - int(parse_duration(unused_for) * 1e9)
    return Chosen(directory, names, ids, since, -1 if larger_than is None else parse_size(larger_than))


def _computing(directory: Directory) -> dict[str, str]:
    """The names by id of functions that are being computed: one that has stored nothing is only found here."""
    keyring = directory.keys.look()
    owners = ((claimed.name, directory.store.owner(claimed, keyring)) for claimed in directory.store.claims())
    return {name.partition("-")[0]: owner.call for name, owner in owners if owner is not None}


def _can_remove(directory: Directory, *, dry_run: bool) -> bool:
    """Whether there may be entries, in a cache that is not read-only; raises `DirectoryError` if it is not ours.

    The tag is written before anything below `v1`, so a root that another process is making now is not refused.
    """
    there = check_root(directory.location, directory.access)
    if not there or not is_there(generation_folder(directory.location)):
        return False
    if not require_ours(directory.location, directory.access) or dry_run or directory.settings.read_only:
        return dry_run
    keep_tag(directory.location, directory.access)
    return True


@in_a_sentence
def verify(
    directory: Directory, *, repair: bool = False, dry_run: bool = False, progress: Progress | None = None
) -> Verified:
    """Check every tag and digest; with `repair`, remove damaged entries and leftover claims.

    With `dry_run` as well, only count them.
    """
    repair = repair and _can_remove(directory, dry_run=dry_run)
    total = directory.store.count()
    problems, damaged = [], []
    checked = size = 0
    for item in _choose(directory, None).by_portions(total):
        miss = _check(directory, item)
        if miss is not None:
            problems.append(Problem(item.path, item.key, miss.reason, miss.detail))
            damaged += [item] if isinstance(miss, DamagedEntry) else []
        checked += 1
        size += item.size
        if progress is not None:
            progress(checked, max(total, checked))
    # Minutes may have passed: an entry that a call has replaced meanwhile stays.
    beyond = (item for item in damaged if isinstance(_check(directory, item), DamagedEntry))
    removed = remove(directory, beyond, "removed as damaged", len(damaged), dry_run=dry_run) if repair else Removed()
    leftovers = sweep(directory) if repair and not dry_run else 0
    return Verified(checked, size, tuple(problems), leftovers, removed)


@in_a_sentence
def recompress(
    directory: Directory,
    compression: Any,
    selection: Selection = None,
    *,
    older_than: Any = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Recompressed:
    """Recompress entries: "none", "auto" or a zstd level; with `older_than` those that were not used for so long."""
    setting = read_compression(compression)
    keyring = directory.keys.look()
    if keyring is None or not _can_remove(directory, dry_run=dry_run):
        return Recompressed(0, 0, 0, 0)
    chosen = _choose(directory, selection, unused_for=older_than)
    total = chosen.about()
    files = chosen.by_portions(total)
    return pack(directory.store, keyring, files, setting, total, dry_run=dry_run, progress=progress)


def _check(directory: Directory, item: StoredFile) -> Miss | None:
    """Why an entry cannot be used; None for one that is intact, or was removed since it was listed."""
    try:
        inspect_entry(directory, item, buffers=True, stream=False)
    except Miss as miss:
        return None if miss.reason == "absent" else miss.with_traceback(None)
    return None
