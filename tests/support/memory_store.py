"""A store that keeps entries in the memory of one process: the interface of a `Store` without files.

It is part of the tests, to show that the code above a store does not know where entries are kept.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pcache.entry import mtime
from pcache.entry.pickling import is_loaded_here, loading
from pcache.entry.reader import Address, Loaded, read_value
from pcache.entry.streams import open_stream
from pcache.errors import LoadingItself, Miss
from pcache.layout import shard_in
from pcache.storage.claim_owner import Owner, Record, owner_in
from pcache.storage.drafts import Draft
from pcache.storage.store import Claimed, HeldClaim, StoredFile, on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pcache.signing.keyring import Keyring
    from pcache.system.permissions import Access


class Kept(NamedTuple):
    """An entry: its bytes, and the time stamp that says when it was used."""

    data: bytes
    mtime_ns: int


class MemoryClaim:
    """A claim in memory. It stands as long as its store knows it under its name."""

    def __init__(self, store: MemoryStore, name: str, key: str, owner: Record) -> None:
        self.lost = False
        self.stored: os.stat_result | None = None
        self.store, self.name, self.key, self.owner = store, name, key, owner
        self.said = owner.sealed(store.place(name))

    def __enter__(self) -> MemoryClaim:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def amend(self, awaits: Sequence[str]) -> None:
        self.said = self.owner.sealed(self.store.place(self.name), awaits)

    def is_standing(self) -> bool:
        return self.store.held.get(self.key) is self

    def draft(self) -> Draft:
        with tempfile.TemporaryDirectory() as folder:
            return Draft(f"{folder}/draft")

    def publish(
        self, pieces: Sequence[Any], *, durable: bool, replaces_nothing: bool, mtime_ns: int, draft: Draft | None = None
    ) -> int:
        del durable, replaces_nothing
        data = b"".join(pieces)
        if draft is not None:
            data += os.pread(draft.number, os.fstat(draft.number).st_size, len(data))
        with self.store.lock:
            self.lost = self.store.held.pop(self.key, None) is not self
            if not self.lost:
                self.store.kept[self.name] = Kept(data, mtime_ns)
        return 0 if self.lost else len(data)

    def abandon(self) -> bool:
        with self.store.lock:
            return self.is_standing() and self.store.held.pop(self.key) is self


class MemoryStore:
    """Entries and claims in two tables. Its location makes its places unique among stores."""

    network = False
    spelled: ClassVar[Mapping[bytes, Address]] = {}

    def __init__(self, location: str, access: Access) -> None:
        del access
        self.location = location
        self.lock = threading.RLock()
        self.kept: dict[str, Kept] = {}
        self.held: dict[str, MemoryClaim] = {}  # by the name of the entry, with a suffix if it is private

    def place(self, name: str) -> str:
        return f"memory:{self.location}:{name}"

    def read(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        place, now_ns = self.place(address.name), time.time_ns()
        if place in loading and is_loaded_here(place):
            raise LoadingItself("unloadable", detail="this thread is already loading it")
        loaded = read_value(place, address, keyring, now_ns, verify, self.open)
        header, uses = loaded.header, mtime.unpack(loaded.mtime_ns).uses + 1
        stamp = mtime.pack(mtime.Stamp(now_ns, header.cost_ns, header.expires_ns, uses))
        with self.lock:
            if address.name in self.kept:
                self.kept[address.name] = self.kept[address.name]._replace(mtime_ns=stamp)
        return loaded

    def stream(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        return open_stream(self.place(address.name), address, keyring, time.time_ns(), self.open)

    def open(self, place: str, *, any_owner: bool = False) -> tuple[int, os.stat_result]:
        del any_owner
        kept = self.kept.get(place.rpartition(":")[2])
        if kept is None:
            raise Miss("absent")
        with tempfile.TemporaryFile() as file:
            file.write(kept.data)
            file.flush()
            os.utime(file.fileno(), ns=(kept.mtime_ns, kept.mtime_ns))
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            return os.dup(file.fileno()), os.fstat(file.fileno())

    def hold(self, limit: int) -> None:
        del limit  # everything is in memory

    def remember(self, address: Address, pieces: Sequence[Any], stream: bytes, status: os.stat_result) -> None:
        del address, pieces, stream, status

    def is_there(self, name: str) -> bool:
        return name in self.kept

    def is_large(self, name: str, limit: int) -> bool:
        return name in self.kept and len(self.kept[name].data) >= limit

    def entry(self, name: str) -> StoredFile | None:
        kept = self.kept.get(name)
        if kept is None:
            return None
        length = len(kept.data)
        stamped = mtime.unpack(kept.mtime_ns)
        return StoredFile(name[:16], name[17:], on_disk(length), length, self.place(name), *stamped)

    def shards(self) -> list[str]:
        return sorted({shard_in(name) for name in [*self.kept, *self.held]})

    def scan(self, shards: Iterable[str] | None = None, refusals: list[OSError] | None = None) -> Iterator[StoredFile]:
        del refusals
        wanted = None if shards is None else set(shards)
        for name in sorted(self.kept):
            if (wanted is None or shard_in(name) in wanted) and (item := self.entry(name)) is not None:
                yield item

    def count(self) -> int:
        return len(self.kept)

    def claim(self, name: str, owner: Record) -> MemoryClaim | None:
        with self.lock:
            if name in self.held:
                return None
            return self.held.setdefault(name, MemoryClaim(self, name, name, owner))

    def private_claim(self, name: str, owner: Record) -> MemoryClaim:
        key = f"{name}-{os.urandom(4).hex()}"
        return self.held.setdefault(key, MemoryClaim(self, name, key, owner))

    def replace(
        self, item: StoredFile, read: os.stat_result, pieces: Sequence[Any], claim: HeldClaim, *, durable: bool
    ) -> bool:
        del durable
        name = f"{item.function_id}-{item.key}"
        with self.lock:
            kept = self.kept.get(name)
            if kept is None or not claim.is_standing() or len(kept.data) != read.st_size:
                return False
            self.kept[name] = Kept(b"".join(pieces), kept.mtime_ns)
        return True

    def concerns_one(self, error: Exception, name: str) -> bool:
        del error, name
        return False

    def claims(self, shards: Iterable[str] | None = None) -> Iterator[Claimed]:
        wanted = None if shards is None else set(shards)
        for key, claim in list(self.held.items()):
            if wanted is None or shard_in(claim.name) in wanted:
                yield Claimed(claim.name, self.place(key), key != claim.name)

    def owner(self, claimed: Claimed, keyring: Keyring | None) -> Owner | None:
        claim = self.held.get(claimed.place.rpartition(":")[2])
        return None if claim is None else owner_in(claim.said, self.place(claim.name), keyring)

    def owner_at(self, place: str, keyring: Keyring | None) -> Owner | None:
        claim = self.held.get(place.rpartition(":")[2]) if place.startswith(f"memory:{self.location}:") else None
        return None if claim is None else owner_in(claim.said, place, keyring)

    def release(self, name: str) -> bool:
        return self.held.pop(name, None) is not None

    def sweep(self, shards: Iterable[str] | None = None, keyring: Keyring | None = None, most: int = 1 << 30) -> int:
        del shards, keyring, most
        return 0  # claims end with the process

    def forbid(self, name: str) -> None:
        with self.lock:
            for key, claim in list(self.held.items()):
                if claim.name == name:
                    del self.held[key]

    def fence(self, is_meant: Callable[[Claimed], bool]) -> list[str]:
        names = [claimed.name for claimed in self.claims() if is_meant(claimed)]
        for name in names:
            self.forbid(name)
        return [self.place(name) for name in names]

    def delete(self, name: str) -> bool:
        return self.kept.pop(name, None) is not None

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        del refusals
        return [item for item in items if self.delete(f"{item.function_id}-{item.key}")]
