"""Remove results so that no computation begun before can bring them back.

Who changed what a function reads, and drops its results, must not get an old one again from a computation that was
under way meanwhile, in whatever process. Removing its claim tells it so. The order is what counts: who publishes writes
a draft, asks whether the claim stands, renames the draft, and asks again. Who drops removes the claim, then the drafts,
then the entry. If the question came before the claim was gone, the draft is there by then: it is among those that are
removed, and cannot be renamed, or it was renamed already, and is the entry that is removed. A small result is written
into the claim itself, which cannot be renamed once it is gone: there the renaming is the question.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pcache.eviction.deletion import record
from pcache.runtime.singleflight import flights
from pcache.storage.claim_owner import CLAIM_SUFFIX
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pcache.entry.reader import Address
    from pcache.storage.directory import Directory
    from pcache.storage.local import Store
    from pcache.storage.shards import StoredFile
    from pcache.system.directories import OpenFolder


def invalidate(directory: Directory, addresses: Iterable[Address]) -> list[StoredFile]:
    """Remove entries, and have none stored that was begun before this returns; return those that were there.

    Raises `OSError` for what is there and cannot be removed.
    """
    gone: list[StoredFile] = []
    refusals: list[OSError] = []
    for address in addresses:
        forbid(directory.store, address.path)
        found = directory.store.entry(address.function_id.hex(), address.key.hex())
        gone += directory.store.delete_entries([found], refusals) if found is not None else []
    record(directory, gone, "invalidated")
    if refusals:
        raise refusals[0]
    return gone


def forbid(store: Store, path: str) -> None:
    """Have no result stored as one entry that was begun before."""
    folder, name = os.path.split(path)
    claim = name + CLAIM_SUFFIX

    def remove(opened: OpenFolder) -> None:
        _remove(opened, claim)
        for other in opened.names():
            if other.startswith(f"{claim}-"):
                _remove(opened, other)

    store.inside(folder, remove)
    flights.drop(path)


def _remove(opened: OpenFolder, name: str) -> None:
    try:
        opened.remove(name)
    except OSError as error:
        raise_if_interrupt(error)  # else a folder, which is no claim; or a directory that we may not write to


def fence(store: Store, is_meant: Callable[[str], bool]) -> None:
    """The same for many entries, by the paths of their claims and drafts; the caller then removes the entries."""
    held = [path for path in store.claim_paths() if path.endswith(CLAIM_SUFFIX) and is_meant(path)]
    _forbid(store, held)
    # Listed when the claims are gone.
    drafts = [path for path in store.claim_paths() if not path.endswith(CLAIM_SUFFIX) and is_meant(path)]
    _forbid(store, drafts)
    for path in held + drafts:
        flights.drop(path.rpartition(CLAIM_SUFFIX)[0])


def _forbid(store: Store, paths: Iterable[str]) -> None:
    for path in paths:
        try:
            store.delete(path)
        except OSError as error:
            raise_if_interrupt(error)  # else a folder, which is no claim; or a directory that we may not write to
