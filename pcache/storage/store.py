"""What a store of entries and claims can do, whatever it is made of.

An entry is known by its name, the function's id and the key. Where that is kept its store alone knows: it says so as a
`place`, a text that no other store uses, and that others only hand back, compare and show. `storage/local.py` keeps
entries as files below a directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from pcache.entry.reader import Address, Loaded
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim_owner import Owner, Record

DURABLE = 10**9  # nanoseconds of computing from which a result is worth an fsync
_BLOCK = 4096  # bytes in which file systems give out room
NAME_LENGTH = 57  # characters of an entry's name: 16 digits of a function's id, a hyphen, 40 digits of a key


class StoredFile(NamedTuple):
    """One entry as a listing shows it: `size` is the room it takes, `length` its bytes, `path` where that is.

    Times are nanoseconds since 1970; `pcache.entry.mtime` says how exact they are.
    """

    function_id: str
    key: str
    size: int
    length: int
    path: str
    used_ns: int
    cost_ns: int
    expires_ns: int
    uses: int


class Claimed(NamedTuple):
    """A claim that is there, held or left over: for which entry, and where. `is_private` excludes nobody."""

    name: str
    place: str
    is_private: bool


def name_of(function_id: str, key: str) -> str:
    """What an entry is called in every store."""
    return f"{function_id}-{key}"


def on_disk(length: int) -> int:
    """The room that an entry of so many bytes takes, in whole blocks: what a limit is about."""
    return -(-length // _BLOCK) * _BLOCK


def shard_in(name: str) -> str:
    """The shard that an entry is in, by its name: the first two digits of its key."""
    return name[17:19]


def shard_of(item: StoredFile) -> str:
    """The shard that an entry is in."""
    return item.key[:2]


class HeldClaim(Protocol):
    """The right to compute one missing result. Publish or abandon it, in the process that took it."""

    lost: bool  # whether it was removed, so that what was computed under it is not stored

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def amend(self, awaits: Sequence[str]) -> None:
        """Say which results the owner waits for, by place."""

    def is_standing(self) -> bool:
        """Whether nobody has removed or taken over the claim."""

    def publish(self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int) -> int:
        """Store an entry, whole or not at all; return its size, 0 when the claim was lost meanwhile."""

    def abandon(self) -> bool:
        """Let go; return whether the claim still stood. Does nothing when it is not held any more."""


class Store(Protocol):
    """Entries and claims by name, in 256 shards. Safe for any number of threads and processes.

    A reader sees a whole entry or none. What appears or disappears while something is listed is in the list or not.
    Everything raises `OSError` for what the system refuses, `DirectoryError` among them.
    """

    @property
    def network(self) -> bool:
        """Whether claims exclude no other process, as on a network file system."""

    def place(self, name: str) -> str:
        """Where an entry is kept, or would be."""

    # Reading

    def read(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        """Return a stored result, and note that it was used; raises `Miss`."""

    def open(self, place: str, *, any_owner: bool = False) -> tuple[int, os.stat_result]:
        """Open an entry for reading: a descriptor, which the caller closes, and its status; raises `Miss`."""

    def is_there(self, name: str) -> bool:
        """Whether there is an entry, intact or not, as far as can be told without reading it."""

    def entry(self, name: str) -> StoredFile | None:
        """One entry as a listing shows it, None where there is none."""

    def shards(self) -> list[str]:
        """The names of the shards that there are, in order."""

    def scan(self, shards: Iterable[str] | None = None, refusals: list[OSError] | None = None) -> Iterator[StoredFile]:
        """List all entries, or those of some shards; `refusals` gets why a shard was left out."""

    def count(self) -> int:
        """How many entries there are, about."""

    # Storing

    def claim(self, name: str, owner: Record) -> HeldClaim | None:
        """Take the claim of an entry, None while another thread or process holds it."""

    def private_claim(self, name: str, owner: Record) -> HeldClaim:
        """A claim that excludes nobody and overwrites what is there."""

    def replace(
        self, item: StoredFile, read: os.stat_result, pieces: Sequence[Any], claim: HeldClaim, *, durable: bool
    ) -> bool:
        """Store other bytes that say the same in the place of those that were read; return whether they still were."""

    def concerns_one(self, error: Exception, name: str) -> bool:
        """Whether an entry could not be stored for a reason that does not concern others."""

    # Claims

    def claims(self, shards: Iterable[str] | None = None) -> Iterator[Claimed]:
        """List all claims, held or left over, or those of some shards."""

    def owner(self, claimed: Claimed, keyring: Keyring | None) -> Owner | None:
        """Who made a claim, None where no key vouches for that."""

    def owner_at(self, place: str, keyring: Keyring | None) -> Owner | None:
        """Who computes the entry of a place, of this store or another of its kind; None when nobody is known to."""

    def release(self, name: str) -> bool:
        """Remove the claim of an owner that is gone; return whether it was there."""

    def sweep(self, shards: Iterable[str] | None = None, keyring: Keyring | None = None, most: int = ...) -> int:
        """Remove the claims of processes that are gone, looking at `most` of them; return how many those were."""

    # Removing

    def forbid(self, name: str) -> None:
        """Have no result stored as one entry whose computation began before."""

    def fence(self, is_meant: Callable[[Claimed], bool]) -> list[str]:
        """The same for all entries whose claims are meant, by place."""

    def delete(self, name: str) -> bool:
        """Remove an entry; return whether it was there."""

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        """Remove entries and return those that were there; `refusals` gets what prevented others."""
