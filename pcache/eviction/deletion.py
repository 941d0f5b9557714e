"""Remove entries: delete the files, note why, and update the usage of the directory."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field

from pcache.counters import tombstones
from pcache.eviction import usage
from pcache.eviction.usage import Amount
from pcache.layout import usage_path
from pcache.startup import TYPE_CHECKING
from pcache.storage.store import shard_of
from pcache.system.interrupts import raise_if_interrupt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pcache.storage.directory import Directory
    from pcache.storage.store import Store, StoredFile

    Progress = Callable[[int, int], object]  # called with the number done and the total

EVICTED = "evicted"  # the only cause that is counted
_BATCH = 8192  # entries after which their removal is noted
_FEW = 256  # entries that one thread removes in any case
# Threads help where removing waits for the disk: on ext4 with `discard` one thread removes 8,000 files a second, 8
# threads 20,000. Elsewhere they slow each other down.
_THREADS = 8
_SLOW = 30e-6  # seconds to remove one file, from which threads help


@dataclass(frozen=True, slots=True)
class Removed:
    """How much `clear`, `evict` or `verify` removed, or with `dry_run` would remove: `bytes` on disk.

    `seconds` is the time that computing it took, where that is known.
    """

    entries: int = 0
    bytes: int = 0
    seconds: float = field(default=0.0, compare=False)

    def plus(self, items: Sequence[StoredFile]) -> Removed:
        """The sum of this and some entries."""
        seconds = sum(item.cost_ns for item in items) / 1e9
        return Removed(self.entries + len(items), self.bytes + total_size(items), self.seconds + seconds)


def remove(
    directory: Directory,
    victims: Iterable[StoredFile],
    cause: str,
    total: int,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Removed:
    """Remove all entries that can be removed; then raise the first `DirectoryError`, if there was any.

    With `dry_run` only add up their sizes.
    """
    removed, done = Removed(), 0
    refusals: list[OSError] = []
    for batch in _batches(victims):
        gone = batch
        if not dry_run:
            gone = list(_delete(directory.store, batch, refusals))
            record(directory, gone, cause)
            free(directory, gone)
        removed, done = removed.plus(gone), done + len(batch)
        if progress is not None:
            progress(done, max(total, done))
    if refusals:
        raise refusals[0]
    return removed


def record(directory: Directory, gone: Sequence[StoredFile], cause: str) -> None:
    """Note which entries were removed, and why; evicted ones are counted as well. Failures are silent."""
    keyring = directory.keys.keyring or try_call(directory.keys.look)[0]
    names = (item.function_id + item.key for item in gone)
    tombstones.note(directory.location, names, cause, keyring, directory.access)
    if cause == EVICTED and gone:
        cost_ns = sum(item.cost_ns for item in gone)
        directory.ledger.count("", evicted=len(gone), evicted_bytes=total_size(gone), evicted_ns=cost_ns)


def free(directory: Directory, gone: Sequence[StoredFile]) -> None:
    """Subtract removed entries from the usage file; if that fails, running processes check once unnecessarily."""
    path = usage_path(directory.location)
    if not gone or not os.path.exists(path):
        return
    less = {shard: Amount(-n, -size) for shard, (n, size) in enumerate(usage.by_shard(gone)) if n}
    try:
        usage.add(path, less, access=directory.access)
    except OSError as error:
        raise_if_interrupt(error)  # else busy, or a read-only disk


def total_size(items: Iterable[StoredFile]) -> int:
    """The bytes of some entries on disk."""
    return sum(item.size for item in items)


def _batches(victims: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    source = iter(victims)
    while batch := list(itertools.islice(source, _BATCH)):
        yield batch


def _delete(store: Store, batch: list[StoredFile], refusals: list[OSError]) -> Iterator[StoredFile]:
    """Delete entries, and yield those that were there."""

    def delete(items: list[StoredFile]) -> list[StoredFile]:
        return store.delete_entries(items, refusals)

    batch.sort(key=shard_of)  # each shard is opened once or twice
    first, rest = batch[:_FEW], batch[_FEW:]
    started = time.perf_counter()
    yield from delete(first)
    if time.perf_counter() - started < _SLOW * len(first) or not rest:
        yield from delete(rest)
        return
    from concurrent.futures import ThreadPoolExecutor  # late for start-up time

    with ThreadPoolExecutor(_THREADS) as threads:
        for gone in threads.map(delete, [rest[at : at + _FEW] for at in range(0, len(rest), _FEW)]):
            yield from gone
