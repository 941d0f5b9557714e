"""The interface of a store of entries and claims, independent of where it keeps them.

An entry is known by its name, the function's id and the key. Only its store knows where it is kept, and names that by a
`place`, a text that is unique among stores. Other code only passes places back, compares and shows them.
`storage/local.py` keeps entries as files below a directory.
"""

from __future__ import annotations

from pcache.startup import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from pcache.entry.reader import Address, Loaded
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim_owner import Owner, Record

DURABLE = 10**9  # nanoseconds of computing from which a result is worth an fsync
_BLOCK = 4096  # bytes of a block, in which file systems allocate space


class StoredFile(NamedTuple):
    """One entry as a listing shows it: `size` is its space on disk, `length` its bytes, `path` its place.

    Times are nanoseconds since 1970; `pcache.entry.mtime` documents how exact they are.
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
    """An existing claim, held or left over: for which entry, and where. A private one does not exclude others."""

    name: str
    place: str
    is_private: bool


def name_of(function_id: str, key: str) -> str:
    """The name of an entry, the same in every store."""
    return f"{function_id}-{key}"


def on_disk(length: int) -> int:
    """The space that an entry of so many bytes takes, in whole blocks: limits apply to this."""
    return -(-length // _BLOCK) * _BLOCK


def shard_of(item: StoredFile) -> str:
    """The shard that an entry is in."""
    return item.key[:2]


class OpenDraft(Protocol):
    """A file of a claim's owner, in which an entry is written piece by piece. For one writer; others may read."""

    def put(self, pieces: Sequence[Any], at: int) -> None:
        """Write pieces from a place on."""

    def take(self, length: int, at: int) -> bytes:
        """Read what was written; nothing where that is impossible."""

    def drop(self) -> None:
        """Remove it, unless it is an entry by now; what was written can still be read."""

    def release(self) -> None:
        """Close it."""


class HeldClaim(Protocol):
    """The right to compute one missing result. Publish or abandon it, in the process that took it."""

    lost: bool  # whether it was removed by others, so that its result is not stored
    stored: os.stat_result | None  # the status of the file that became the entry, when it did; None if not known

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def amend(self, awaits: Sequence[str]) -> None:
        """Record the places of the results that the owner waits for."""

    def is_standing(self) -> bool:
        """Whether the claim is still there and ours."""

    def draft(self) -> OpenDraft:
        """Make a file for an entry that is written piece by piece."""

    def publish(
        self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int, draft: Any = None
    ) -> int:
        """Store an entry, whole or not at all; return its size, 0 if the claim was lost meanwhile.

        With a `draft` of this claim, `pieces` are the start of the entry, and the draft holds the rest.
        """

    def abandon(self) -> bool:
        """Release the claim; return whether it still stood. Does nothing if it is no longer held."""


class Store(Protocol):
    """Entries and claims by name, in 256 shards. Safe for any number of threads and processes.

    A reader sees a whole entry or none. Entries that appear or disappear during a listing may be in it or not. All
    methods raise `OSError` for failures of the system, among them `DirectoryError`.
    """

    @property
    def network(self) -> bool:
        """Whether claims exclude no other process, as on a network file system."""

    def place(self, name: str) -> str:
        """The place where an entry is kept, or would be."""

    @property
    def spelled(self) -> Mapping[bytes, Address]:
        """The addresses of entries that are held in memory, by `Address.spelling`."""

    # Reading

    def hold(self, limit: int) -> None:
        """Hold at most so many bytes of entries in the memory of this process; 0 holds none."""

    def read(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        """Return a stored result, and note that it was used; raises `Miss`."""

    def stream(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        """Return a stored stream, open, and note that it was used; raises `Miss`."""

    def open(self, place: str, *, any_owner: bool = False) -> tuple[int, os.stat_result]:
        """Open an entry for reading: a descriptor, which the caller closes, and its status; raises `Miss`."""

    def is_there(self, name: str) -> bool:
        """Whether there is an entry, intact or not, without reading it."""

    def is_large(self, name: str, limit: int) -> bool:
        """Whether reading an entry takes so many bytes or more; False if there is none."""

    def entry(self, name: str) -> StoredFile | None:
        """One entry as a listing shows it, None if there is none."""

    def shards(self) -> list[str]:
        """The names of the existing shards, in order."""

    def scan(self, shards: Iterable[str] | None = None, refusals: list[OSError] | None = None) -> Iterator[StoredFile]:
        """List all entries, or those of some shards; `refusals` gets the errors of shards that were left out."""

    def count(self) -> int:
        """The approximate number of entries."""

    # Storing

    def claim(self, name: str, owner: Record) -> HeldClaim | None:
        """Take the claim of an entry, None while another thread or process holds it."""

    def private_claim(self, name: str, owner: Record) -> HeldClaim:
        """A claim that does not exclude others, and replaces an existing entry."""

    def replace(
        self, item: StoredFile, read: os.stat_result, pieces: Sequence[Any], claim: HeldClaim, *, durable: bool
    ) -> bool:
        """Replace an entry by other bytes of the same result; return False if it is no longer the one that was read."""

    def remember(self, address: Address, pieces: Sequence[Any], stream: bytes, status: os.stat_result) -> None:
        """Note the pickle stream of an entry without buffers that this process has just stored."""

    def concerns_one(self, error: Exception, name: str) -> bool:
        """Whether an entry could not be stored for a reason that does not affect others."""

    # Claims

    def claims(self, shards: Iterable[str] | None = None) -> Iterator[Claimed]:
        """List all claims, held or left over, or those of some shards."""

    def owner(self, claimed: Claimed, keyring: Keyring | None) -> Owner | None:
        """The owner of a claim, None if no key authenticates its record."""

    def owner_at(self, place: str, keyring: Keyring | None) -> Owner | None:
        """Who computes the entry of a place, of this store or another of its kind; None if unknown or not computed."""

    def release(self, name: str) -> bool:
        """Remove the claim of a dead owner; return whether it was there."""

    def sweep(self, shards: Iterable[str] | None = None, keyring: Keyring | None = None, most: int = ...) -> int:
        """Remove the claims of dead processes, checking about `most` claims; return how many were removed."""

    # Removing

    def forbid(self, name: str) -> None:
        """Let no computation that began before store its result as this entry."""

    def fence(self, is_meant: Callable[[Claimed], bool]) -> list[str]:
        """The same for all entries whose claims are meant; return their places."""

    def delete(self, name: str) -> bool:
        """Remove an entry; return whether it was there."""

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        """Remove entries and return those that were there; appends the errors to `refusals`."""
