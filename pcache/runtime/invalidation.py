"""Remove results so that no computation begun before can bring them back.

After a function's inputs changed and its results were removed, a computation that was under way in any process must not
store an old result. Removing its claim prevents that, because of the order of steps. Publishing writes a draft, checks
that the claim stands, renames the draft, and checks again. Removing removes the claim, then the drafts, then the entry.
If the check came before the claim was removed, the draft existed by then: either it is removed with the other drafts
and cannot be renamed, or it was already renamed and is the entry that is removed. A small result is written into the
claim itself, which cannot be renamed once it is removed: there the renaming is the check.
"""

from __future__ import annotations

from pcache.eviction.deletion import record
from pcache.runtime.singleflight import flights
from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pcache.entry.reader import Address
    from pcache.storage.directory import Directory
    from pcache.storage.store import Claimed, Store, StoredFile


def invalidate(directory: Directory, addresses: Iterable[Address]) -> list[StoredFile]:
    """Remove entries, and let no computation begun before this returns store them; return those that were there.

    Raises `OSError` if one cannot be removed.
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
    """Let no computation that began before store its result as this entry."""
    store.forbid(name)
    flights.drop(store.place(name))


def fence(store: Store, is_meant: Callable[[Claimed], bool]) -> None:
    """The same for all entries whose claim is meant; the caller then removes the entries."""
    for place in store.fence(is_meant):
        flights.drop(place)
