"""List and empty the shards of a cache directory, each through its descriptor.

Nothing here reads an entry. Safe for any number of threads and processes: files that appear or disappear meanwhile may
be listed or not. A shard that is not safe to use is left out; the others are listed all the same.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, TypeVar

from pcache.entry import mtime
from pcache.entry.format import new_tuple
from pcache.errors import DirectoryError
from pcache.layout import entries_folder
from pcache.storage import claim as claims
from pcache.storage.claim_owner import CLAIM_SUFFIX
from pcache.storage.store import NAME_LENGTH, Claimed, StoredFile, on_disk, shard_in, shard_of
from pcache.system.directories import OpenFolder, not_removed
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.mounts import is_network
from pcache.system.permissions import PRIVATE, Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.signing.keyring import Keyring

T = TypeVar("T")

_SHARD = re.compile(r"[0-9a-f]{2}")
_ENTRY = re.compile(r"[0-9a-f]{16}-[0-9a-f]{40}").fullmatch
_KIND = 0o170000  # the bits of a mode that say what kind of file it is
_CLAIM = re.compile(r"[0-9a-f]{16}-[0-9a-f]{40}\.claim(-[0-9a-f]{8})?")
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
            self._network = is_network(self.root)
        return self._network

    def place(self, name: str) -> str:
        """The path of an entry."""
        return f"{self.entries}/{shard_in(name)}/{name}"

    def delete(self, name: str) -> bool:
        """Remove an entry; return whether it was there. Raises `DirectoryError` if it cannot be removed."""
        return self.access.remove(self.root, self.place(name))

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        """Remove entries, shard by shard, and return those that were there; appends the errors to `refusals`."""
        gone: list[StoredFile] = []

        def remove(opened: OpenFolder) -> None:
            for item in group:
                try:
                    if opened.remove(item.path[-NAME_LENGTH:]):
                        gone.append(item)
                except OSError as error:
                    raise_if_interrupt(error)
                    refusals.append(not_removed(item.path, error))

        for shard, same in groupby(sorted(items, key=shard_of), shard_of):
            group = list(same)
            try:
                self.inside(f"{self.entries}/{shard}", remove)
            except DirectoryError as error:
                refusals.append(error)
        return gone

    def inside(self, folder: str, act: Callable[[OpenFolder], T]) -> T | None:
        """The result of `act` on a folder below the root, None if there is no such folder."""
        return self.access.inside(self.root, folder, act)

    def _of_shard(
        self, shard: str, act: Callable[[OpenFolder], list[T]], refusals: list[OSError] | None = None
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
        return StoredFile(name[:16], name[17:], on_disk(length), length, path, *stamped)

    def count(self) -> int:
        """The number of files, mostly entries; reads names only, which takes a fifth of the time."""
        return sum(len(self.names_in(shard)) for shard in self.shards())

    def claims(self, shards: Iterable[str] | None = None) -> Iterator[Claimed]:
        """List all claim files, held or left over, or those of some shards."""
        for shard in self.shards() if shards is None else shards:
            for name in self.names_in(shard):
                if _CLAIM.fullmatch(name):
                    path = f"{self.entries}/{shard}/{name}"
                    yield Claimed(name[:NAME_LENGTH], path, not name.endswith(CLAIM_SUFFIX))

    def names_in(self, shard: str) -> list[str]:
        """The names of all files in a shard, of any kind."""
        return self._of_shard(shard, OpenFolder.names)

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

    def _sweep_in(self, keyring: Keyring | None, most: int, opened: OpenFolder) -> list[bool]:
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
    return shard_in(name) == shard and bool(_ENTRY(name) or _CLAIM.fullmatch(name))


def _is_folder(item: os.DirEntry[str]) -> bool:
    return item.is_dir(follow_symlinks=False)


def entries_in(opened: OpenFolder) -> list[StoredFile]:
    """The entries in a shard."""
    # Written without calls: each microsecond here is a second for a million entries.
    found = []
    for item in opened.items():
        name = item.name
        if len(name) != NAME_LENGTH or not _ENTRY(name):
            continue
        try:
            status = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # removed since it was listed
        if status.st_mode & _KIND == stat.S_IFDIR:
            continue
        length = status.st_size
        path, stamped = f"{opened.path}/{name}", mtime.unpack(status.st_mtime_ns)
        found.append(new_tuple(StoredFile, (name[:16], name[17:], on_disk(length), length, path, *stamped)))
    return found
