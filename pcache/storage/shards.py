"""List and empty the shards of a cache directory, each through its descriptor.

Nothing here reads an entry. Safe for any number of threads and processes: files that appear or disappear meanwhile may
be listed or not. A shard that is not safe to use is left out; the others are listed all the same.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from functools import partial
from itertools import groupby, islice

from pcache.entry.format import new_tuple
from pcache.errors import DirectoryError
from pcache.layout import CLAIM_SUFFIX, NAME_LENGTH, entries_folder, shard_in
from pcache.startup import TYPE_CHECKING, TypeVar, late, pattern
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.permissions import PRIVATE, Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.entry import mtime
    from pcache.signing.keyring import Keyring
    from pcache.storage import claim as claims
    from pcache.storage import store
    from pcache.storage.store import Claimed, StoredFile
    from pcache.system import directories, mounts
else:
    store = late("pcache.storage.store")
    claims = late("pcache.storage.claim")
    mtime = late("pcache.entry.mtime")
    mounts = late("pcache.system.mounts")
    directories = late("pcache.system.directories")

T = TypeVar("T")

_SHARD = pattern(r"[0-9a-f]{2}")
_ENTRY = pattern(r"[0-9a-f]{16}-[0-9a-f]{40}")
_KIND = 0o170000  # the bits of a mode that say what kind of file it is
_CLAIM = pattern(r"[0-9a-f]{16}-[0-9a-f]{40}\.claim(-[0-9a-f]{8})?")
_PRIVATE_CLAIM_AGE = 24 * 3600  # seconds after which a claim that cannot be locked is a leftover
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # errors that are not the fault of the folder


class Shards:
    """The entries below one root, by the names and status of their files."""

    def __init__(self, root: str, *, network: bool | None = None, access: Access = PRIVATE) -> None:
        self.root = root
        self.access = access
        self.entries = entries_folder(root)
        self._network = network

    @property
    def network(self) -> bool:
        """Whether the root is on a network file system; determined by the first write."""
        if self._network is None:
            self._network = mounts.is_network(self.root)
        return self._network

    def place(self, name: str) -> str:
        """The path of an entry."""
        return f"{self.entries}/{name[17:19]}/{name}"  # as `shard_in`, which is a call more

    def delete(self, name: str) -> bool:
        """Remove an entry; return whether it was there. Raises `DirectoryError` if it cannot be removed."""
        return self.access.remove(self.root, self.place(name))

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        """Remove entries, shard by shard, and return those that were there; appends the errors to `refusals`."""
        gone: list[StoredFile] = []

        def remove(opened: directories.OpenFolder) -> None:
            for item in group:
                try:
                    if opened.remove(item.path[-NAME_LENGTH:]):
                        gone.append(item)
                except OSError as error:
                    raise_if_interrupt(error)
                    refusals.append(directories.not_removed(item.path, error))

        for shard, same in groupby(sorted(items, key=store.shard_of), store.shard_of):
            group = list(same)
            try:
                self.inside(f"{self.entries}/{shard}", remove)
            except DirectoryError as error:
                refusals.append(error)
        return gone

    def inside(self, folder: str, act: Callable[[directories.OpenFolder], T]) -> T | None:
        """The result of `act` on a folder below the root, None if there is no such folder."""
        return self.access.inside(self.root, folder, act)

    def _of_shard(
        self, shard: str, act: Callable[[directories.OpenFolder], list[T]], refusals: list[OSError] | None = None
    ) -> list[T]:
        """The result of `act` on a shard; empty for one that is not safe to use or cannot be read."""
        try:
            return self.inside(f"{self.entries}/{shard}", act) or []
        except DirectoryError as error:
            if getattr(error.__cause__, "errno", None) in _PASSING:
                raise
            if refusals is not None:
                refusals.append(error)
            return []

    def shards(self) -> list[str]:
        """The names of the existing shards, in order; raises `DirectoryError` if their folder is not safe to use."""
        items = self.inside(self.entries, lambda opened: [item for item in opened.items() if _is_folder(item)])
        return sorted(item.name for item in items or () if _SHARD.fullmatch(item.name))

    def scan(self, shards: Iterable[str] | None = None, refusals: list[OSError] | None = None) -> Iterator[StoredFile]:
        """List all entries, or those of some shards. Ones that appear or disappear meanwhile may be listed or not.

        `refusals` gets the errors of shards that were left out.
        """
        for shard in self.shards() if shards is None else shards:
            yield from self._of_shard(shard, entries_in, refusals)

    def entry(self, name: str) -> StoredFile | None:
        """One entry by its name, None if there is none; raises `OSError`."""
        path = self.place(name)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        length, stamped = status.st_size, mtime.unpack(status.st_mtime_ns)
        return store.StoredFile(name[:16], name[17:], store.on_disk(length), length, path, *stamped)

    def count(self) -> int:
        """The number of files, mostly entries; reads names only, which takes a fifth of the time."""
        return sum(len(self.names_in(shard)) for shard in self.shards())

    def claims(self, shards: Iterable[str] | None = None) -> Iterator[Claimed]:
        """List all claim files, held or left over, or those of some shards."""
        for shard in self.shards() if shards is None else shards:
            for name in self.names_in(shard):
                if _CLAIM.fullmatch(name):
                    path = f"{self.entries}/{shard}/{name}"
                    yield store.Claimed(name[:NAME_LENGTH], path, not name.endswith(CLAIM_SUFFIX))

    def names_in(self, shard: str) -> list[str]:
        """The names of all files in a shard, of any kind."""
        return self._of_shard(shard, directories.OpenFolder.names)

    def sweep(
        self, shards: Iterable[str] | None = None, keyring: Keyring | None = None, most: int = sys.maxsize
    ) -> int:
        """Remove leftover claims of killed processes, everywhere or in some shards; return how many.

        `keyring` authenticates the owners of private claims, which stay while these live. Checks about `most` claims.
        """
        removed = 0
        for shard in self.shards() if shards is None else shards:
            looked_at = self._of_shard(shard, partial(self._sweep_in, keyring, most))
            removed, most = removed + sum(looked_at), max(most - len(looked_at), 1)
        return removed

    def _sweep_in(self, keyring: Keyring | None, most: int, opened: directories.OpenFolder) -> list[bool]:
        removed = []
        for name in islice(filter(_CLAIM.fullmatch, opened.names()), most):
            try:
                if name.endswith(CLAIM_SUFFIX) or not self.network:
                    path, below = opened.at(name)
                    removed.append(claims.remove_leftover(path, keyring, below=below))
                elif abs(time.time() - opened.status(name).st_mtime) > _PRIVATE_CLAIM_AGE:
                    removed.append(opened.remove(name))
            except OSError as error:
                raise_if_interrupt(error)  # else vanished, or we may not remove it: the next sweep tries again
        return removed


def is_in_place(shard: str, name: str) -> bool:
    """Whether a file in a shard is named as an entry or a claim of that shard."""
    return shard_in(name) == shard and bool(_ENTRY.fullmatch(name) or _CLAIM.fullmatch(name))


def _is_folder(item: os.DirEntry[str]) -> bool:
    return item.is_dir(follow_symlinks=False)


def entries_in(opened: directories.OpenFolder) -> list[StoredFile]:
    """The entries in a shard."""
    # Written without calls: each microsecond here is a second for a million entries.
    found = []
    for item in opened.items():
        name = item.name
        if len(name) != NAME_LENGTH or not _ENTRY.fullmatch(name):
            continue
        try:
            status = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # removed since it was listed
        if status.st_mode & _KIND == stat.S_IFDIR:
            continue
        length = status.st_size
        path, stamped = f"{opened.path}/{name}", mtime.unpack(status.st_mtime_ns)
        found.append(new_tuple(store.StoredFile, (name[:16], name[17:], store.on_disk(length), length, path, *stamped)))
    return found
