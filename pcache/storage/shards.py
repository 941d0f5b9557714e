"""List and empty the shards of a cache directory, each through its descriptor.

Nothing here reads an entry. Safe for any number of threads and processes: what appears or disappears meanwhile is
listed or not. A shard that is not ours is left out, and stops no other.
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
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pcache.entry import mtime
from pcache.entry.format import new_tuple
from pcache.errors import DirectoryError
from pcache.layout import entries_folder
from pcache.storage import claim as claims
from pcache.storage.claim_owner import CLAIM_SUFFIX
from pcache.system.directories import OpenFolder, unusable
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.mounts import is_network
from pcache.system.permissions import PRIVATE, Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.signing.keyring import Keyring

T = TypeVar("T")

_SHARD = re.compile(r"[0-9a-f]{2}")
_ENTRY, _ENTRY_LENGTH = re.compile(r"[0-9a-f]{16}-[0-9a-f]{40}").fullmatch, 57
_KIND = 0o170000  # the bits of a mode that say what kind of file it is
_CLAIM = re.compile(r"[0-9a-f]{16}-[0-9a-f]{40}\.claim(-[0-9a-f]{8})?")
_BLOCK = 4096  # bytes in which file systems give out room
_PRIVATE_CLAIM_AGE = 24 * 3600  # seconds after which a claim that cannot be locked counts as a leftover
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what says nothing of the folder that was to be opened


class StoredFile(NamedTuple):
    """One entry as its name and one `stat` show it: `size` is the room it takes on disk, `length` the file's.

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


def on_disk(length: int) -> int:
    """The room that a file takes, in whole blocks: what a limit is about."""
    return -(-length // _BLOCK) * _BLOCK


class Shards:
    """The entries below one root, by the names and status of their files."""

    def __init__(self, root: str, *, network: bool | None = None, access: Access = PRIVATE) -> None:
        self.root = root
        self.access = access
        self.entries = entries_folder(root)
        self._network = network

    @property
    def network(self) -> bool:
        """Whether the root is on a network file system; found out by the first write."""
        if self._network is None:
            self._network = is_network(self.root)
        return self._network

    def delete(self, path: str) -> bool:
        """Remove a file below the root; return whether it was there. Raises `DirectoryError` where that is not ours."""
        folder, name = os.path.split(path)

        def remove(opened: OpenFolder) -> bool:
            try:
                return opened.remove(name)
            except OSError as error:
                raise_if_interrupt(error)
                raise _refusal(path, error) from error

        return bool(self.inside(folder, remove))

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        """Remove entries, shard by shard, and return those that were there; `refusals` gets what prevented others."""
        gone: list[StoredFile] = []

        def remove(opened: OpenFolder) -> None:
            for item in group:
                try:
                    if opened.remove(item.path[-_ENTRY_LENGTH:]):
                        gone.append(item)
                except OSError as error:
                    raise_if_interrupt(error)
                    refusals.append(_refusal(item.path, error))

        for shard, same in groupby(sorted(items, key=shard_of), shard_of):
            group = list(same)
            try:
                self.inside(f"{self.entries}/{shard}", remove)
            except DirectoryError as error:
                refusals.append(error)
        return gone

    def inside(self, folder: str, act: Callable[[OpenFolder], T]) -> T | None:
        """What `act` says of a folder below the root, None where there is no such folder."""
        opened = self.access.enter(self.root, folder)
        if opened is None:
            return None
        try:
            return act(opened)
        except OSError as error:
            raise_if_interrupt(error)
            if isinstance(error, DirectoryError):
                raise
            raise unusable(folder, error) from error
        finally:
            os.closerange(opened.fd, opened.fd + 1)

    def _of_shard(
        self, shard: str, act: Callable[[OpenFolder], list[T]], refusals: list[OSError] | None = None
    ) -> list[T]:
        """What `act` finds in a shard; nothing in one that is not ours or cannot be read, which stops no other."""
        try:
            return self.inside(f"{self.entries}/{shard}", act) or []
        except DirectoryError as error:
            if getattr(error.__cause__, "errno", None) in _PASSING:
                raise
            if refusals is not None:
                refusals.append(error)
            return []

    def shards(self) -> list[str]:
        """The names of the shards that there are, in order; raises `DirectoryError` where they are not ours."""
        items = self.inside(self.entries, lambda opened: [item for item in opened.items() if _is_folder(item)])
        return sorted(item.name for item in items or () if _SHARD.fullmatch(item.name))

    def scan(self, shards: Iterable[str] | None = None, refusals: list[OSError] | None = None) -> Iterator[StoredFile]:
        """List all entries, or those of some shards. What appears or disappears meanwhile may be in the list or not.

        `refusals` gets why a shard was left out.
        """
        for shard in self.shards() if shards is None else shards:
            yield from self._of_shard(shard, entries_in, refusals)

    def entry(self, function_id: str, key: str) -> StoredFile | None:
        """One entry by its name, None where there is none; raises `OSError`."""
        path = f"{self.entries}/{key[:2]}/{function_id}-{key}"
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        length, stamped = status.st_size, mtime.unpack(status.st_mtime_ns)
        return StoredFile(function_id, key, on_disk(length), length, path, *stamped)

    def count(self) -> int:
        """How many files there are, entries for the most part; by names only, which takes a fifth of the time."""
        return sum(len(self.names_in(shard)) for shard in self.shards())

    def claim_paths(self, shards: Iterable[str] | None = None) -> Iterator[str]:
        """List all claim files, held or left over, or those of some shards."""
        for shard in self.shards() if shards is None else shards:
            for name in self.names_in(shard):
                if _CLAIM.fullmatch(name):
                    yield f"{self.entries}/{shard}/{name}"

    def names_in(self, shard: str) -> list[str]:
        """The names of all files in a shard, whatever they are."""
        return self._of_shard(shard, OpenFolder.names)

    def sweep(
        self, shards: Iterable[str] | None = None, keyring: Keyring | None = None, most: int = sys.maxsize
    ) -> int:
        """Remove the claims that killed processes left behind, everywhere or in some shards; return how many.

        `keyring` tells those of private claims that belong to processes which live. Looks at `most` claims, about.
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
                raise_if_interrupt(error)  # else vanished, or not ours to remove: the next sweep will see
        return removed


def shard_of(item: StoredFile) -> str:
    """The name of the shard that an entry lies in."""
    return item.key[:2]


def is_in_place(shard: str, name: str) -> bool:
    """Whether a file in a shard is named as an entry or a claim of that shard."""
    return name[17:19] == shard and bool(_ENTRY(name) or _CLAIM.fullmatch(name))


def _is_folder(item: os.DirEntry[str]) -> bool:
    return item.is_dir(follow_symlinks=False)


def _refusal(path: str, error: OSError) -> DirectoryError:
    return DirectoryError(f"{path} cannot be removed ({error.strerror})", path=path, reason="os")


def entries_in(opened: OpenFolder) -> list[StoredFile]:
    """The entries in a shard."""
    # Written flat: a million entries take as many seconds as this takes microseconds.
    found = []
    for item in opened.items():
        name = item.name
        if len(name) != _ENTRY_LENGTH or not _ENTRY(name):
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
