"""Remove results so that no computation begun before can bring them back.

Who changed what a function reads, and drops its results, must not get an old one again from a computation that was
under way meanwhile, in whatever process. Removing its claim tells it so. The order is what counts: who publishes writes
a draft, asks whether the claim stands, renames the draft, and asks again. Who drops removes the claim, then the drafts,
then the entry. If the question came before the claim was gone, the draft is there by then: it is among those that are
removed, and cannot be renamed, or it was renamed already, and is the entry that is removed. A small result is written
into the claim itself, which cannot be renamed once it is gone: there the renaming is the question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcache.eviction.deletion import record
from pcache.runtime.singleflight import flights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pcache.entry.reader import Address
    from pcache.storage.directory import Directory
    from pcache.storage.store import Claimed, Store, StoredFile


def invalidate(directory: Directory, addresses: Iterable[Address]) -> list[StoredFile]:
    """Remove entries, and have none stored that was begun before this returns; return those that were there.

    Raises `OSError` for what is there and cannot be removed.
    """
    gone: list[StoredFile] = []
    refusals: list[OSError] = []
    for address in addresses:
        forbid(directory.store, address.name)
        found = directory.store.entry(address.name)
        gone += directory.store.delete_entries([found], refusals) if found is not None else []
    record(directory, gone, "invalidated")
    if refusals:
        raise refusals[0]
    return gone


def forbid(store: Store, name: str) -> None:
    """Have no result stored as one entry that was begun before."""
    store.forbid(name)
    flights.drop(store.place(name))


def fence(store: Store, is_meant: Callable[[Claimed], bool]) -> None:
    """The same for many entries, by their claims; the caller then removes the entries."""
    for place in store.fence(is_meant):
        flights.drop(place)
