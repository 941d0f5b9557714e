"""Removing entries: files, the note that they are gone, and the room that is free again."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from typing import TYPE_CHECKING

from pcache import occupancy, removals
from pcache.occupancy import Amount
from pcache.reports import Removed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.store import Store, StoredFile

    Progress = Callable[[int, int], object]  # called with how many are done, and of how many

_BATCH = 4096  # entries, after which it is noted that they are gone
_FEW = 256  # entries that one thread removes
# Removing waits for the disk: on ext4 with `discard` one thread removed 8,000 files a second, 8 threads 20,000.
_THREADS = 8


def remove(
    store: Store, victims: Iterable[StoredFile], cause: str, total: int, progress: Progress | None = None
) -> Removed:
    """Remove what can be removed; then raise the first `OSError`, if there was any."""
    entries = size = cost_ns = done = 0
    refusals: list[OSError] = []
    for batch in _batches(victims):
        gone = list(_delete(store, batch, refusals))
        removals.note(store.root, (item.path for item in gone), cause)
        _make_known(store, gone)
        entries += len(gone)
        size += sum(item.size for item in gone)
        cost_ns += sum(item.cost_ns for item in gone)
        done += len(batch)
        if progress is not None:
            progress(done, max(total, done))
    if refusals:
        raise refusals[0]
    return Removed(entries, size, cost_ns / 1e9)


def _batches(victims: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    source = iter(victims)
    while batch := list(itertools.islice(source, _BATCH)):
        yield batch


def _delete(store: Store, batch: list[StoredFile], refusals: list[OSError]) -> Iterator[StoredFile]:
    """Delete files, and yield those that were there."""

    def delete(item: StoredFile) -> bool:
        try:
            return store.delete(item.path)
        except OSError as error:
            refusals.append(error)
            return False

    if len(batch) <= _FEW:
        yield from (item for item in batch if delete(item))
        return
    from concurrent.futures import ThreadPoolExecutor  # late for start-up time

    with ThreadPoolExecutor(_THREADS) as threads:
        for item, was_there in zip(batch, threads.map(delete, batch, chunksize=64), strict=True):
            if was_there:
                yield item


def _make_known(store: Store, gone: list[StoredFile]) -> None:
    """Tell running processes that there is room again; one that does not hear it looks once in vain."""
    path = occupancy.path_below(store.root)
    if not gone or not os.path.exists(path):
        return
    entries: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for item in gone:
        shard = int(item.key[:2], 16)
        entries[shard] -= 1
        sizes[shard] -= item.size
    try:
        occupancy.add(path, {shard: Amount(entries[shard], sizes[shard]) for shard in entries})
    except OSError:
        pass  # busy, or a disk that can only be read
