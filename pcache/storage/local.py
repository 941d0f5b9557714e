"""The store of entries in a cache directory: where they are kept, how they are stored and removed.

    <root>/CACHEDIR.TAG .gitignore
    <root>/v1/entries/<2 hex>/<function_id>-<key>[.claim]
    <root>/v1/functions/<function_id>.json
    <root>/v1/ledger/  <root>/v1/locks/

Names are hexadecimal, so a listing shows key and function without opening a file. Lookups take no lock and write
nothing. Safe for any number of threads and processes: an entry appears by a rename and disappears by an unlink, so a
reader sees a whole one or none. On a network file system no locks are taken; computations may then run twice.
"""

from __future__ import annotations

import errno
import os
import time
from functools import partial

from pcache.entry.format import head_of
from pcache.entry.kept import LARGEST, Kept
from pcache.entry.pickling import is_loaded_here, loading
from pcache.entry.reader import Loaded, open_entry, read_value
from pcache.errors import DirectoryError, LoadingItself
from pcache.layout import CLAIM_SUFFIX, GENERATION, NAME_LENGTH, shard_in
from pcache.startup import TYPE_CHECKING, Any, TypeVar, late
from pcache.storage.recent import Recent
from pcache.storage.root import TAG_AGE, check_root, keep_tag, make_root
from pcache.storage.shards import Shards
from pcache.system.interrupts import raise_if_interrupt, stands
from pcache.system.permissions import PRIVATE, Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pcache.entry import mtime, streams
    from pcache.entry.reader import Address
    from pcache.signing.keyring import Keyring
    from pcache.storage import claim as claims
    from pcache.storage import claim_owner, drafts
    from pcache.storage.claim import Claim
    from pcache.storage.claim_owner import Owner, Record
    from pcache.storage.store import Claimed, HeldClaim, StoredFile
    from pcache.system import locks
    from pcache.system.directories import OpenFolder
else:
    claims = late("pcache.storage.claim")
    mtime = late("pcache.entry.mtime")
    streams = late("pcache.entry.streams")
    locks = late("pcache.system.locks")
    claim_owner = late("pcache.storage.claim_owner")
    drafts = late("pcache.storage.drafts")

_MAKERS = 20  # processes of a group that make a folder at once: each may replace an empty one by its own
# Errors of writing an entry when a file, folder or link is in its way.
_ODD_FILE = frozenset(
    getattr(errno, name) for name in "EEXIST EISDIR ENOTDIR ENOTEMPTY ENXIO ELOOP ESPIPE EPERM EACCES EINVAL".split()
)
T = TypeVar("T")

# Recency is exact to a minute; a hit writes nothing else. An hour would make eviction a third worse where programs are
# run again within it; less than a minute gains nothing (docs/eviction.md).
_TOUCH_AFTER_NS = 60 * 10**9
# The first use is noted at once where computing took a thousand times as long as noting it: people look for it.
_DEAR_NS = 50 * 10**6


class LocalStore(Shards):
    """Entries as files below one root. The first write makes the root, the first read or write checks it.

    The place of an entry is its path. Implements `pcache.storage.store.Store`.
    """

    open = staticmethod(open_entry)

    def __init__(self, root: str, access: Access = PRIVATE, *, network: bool | None = None) -> None:
        super().__init__(root, network=network, access=access)
        self._checked_shards: set[str] = set()
        self._recent = Recent(is_network=lambda: self.network)
        self.spelled = self._recent.spelled
        self._tag_due = 0.0
        try:
            check_root(root, access)
        except OSError as error:
            if isinstance(error, DirectoryError) and error.reason != "unknown":
                raise
            raise_if_interrupt(error)
            # else the root cannot be checked now: reads and writes check again, and warn.

    def read(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        """Return the stored result of an entry; raises `Miss`, and `DirectoryError` for a shard that is not safe."""
        if loading and (path := self.place(address.name)) in loading and is_loaded_here(path):
            raise LoadingItself("unloadable", detail="this thread is already loading it")
        now_ns = time.time_ns()
        loaded = self._recent.again(address, now_ns)
        if loaded is None:
            name = address.name
            shard = name[17:19]  # as `shard_in`, and the path as `place`, which are calls more
            path = f"{self.entries}/{shard}/{name}"
            if shard not in self._checked_shards:
                self._check_shard(shard)
            loaded = read_value(path, address, keyring, now_ns, verify, to_keep=self._recent.to_keep(name))
            self._recent.keep(address, path, loaded, now_ns)
        if (
            not -_TOUCH_AFTER_NS < now_ns - loaded.mtime_ns < _TOUCH_AFTER_NS  # also if in the future: a wrong clock
            or (loaded.header.cost_ns > _DEAR_NS and mtime.is_unused(loaded.mtime_ns))
        ):
            self._touch(self.place(address.name), loaded, now_ns)
        return loaded

    def stream(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        """Return a stored stream, open; raises as `read` does. Each chunk is checked when it is read."""
        del verify
        path, now_ns = self.place(address.name), time.time_ns()
        if path in loading and is_loaded_here(path):
            raise LoadingItself("unloadable", detail="this thread is already loading it")
        if (shard := shard_in(address.name)) not in self._checked_shards:
            self._check_shard(shard)
        loaded = streams.open_stream(path, address, keyring, now_ns)
        if not -_TOUCH_AFTER_NS < now_ns - loaded.mtime_ns < _TOUCH_AFTER_NS:
            self._touch(path, loaded, now_ns)
        return loaded

    def hold(self, limit: int) -> None:
        self._recent.hold(limit)

    def remember(self, address: Address, pieces: Sequence[Any], stream: bytes, status: os.stat_result) -> None:
        """Hold an entry that this process has just stored, which counts as verified."""
        if not self._recent.limit or len(stream) > LARGEST:
            return
        seal, header = head_of(pieces)
        identity = (status.st_ino, status.st_size, status.st_ctime_ns)
        loaded = Loaded(None, header, status.st_mtime_ns, Kept(stream, (), seal), identity)
        self._recent.keep(address, self.place(address.name), loaded)

    def delete(self, name: str) -> bool:
        self._recent.forget(name)
        return super().delete(name)

    def delete_entries(self, items: Iterable[StoredFile], refusals: list[OSError]) -> list[StoredFile]:
        gone = super().delete_entries(items, refusals)
        for item in gone:
            self._recent.forget(item.path[-NAME_LENGTH:])
        return gone

    def _check_shard(self, shard: str) -> None:
        """Refuse a shard that is a symbolic link, or that others can write to; checked once, as are its folders."""
        above = () if self._checked_shards else (self.root, f"{self.root}/{GENERATION}", self.entries)
        for path in (*above, f"{self.entries}/{shard}"):  # not in a generator: closing one half way loses an interrupt
            if not self.access.check(path):
                return
        self._checked_shards.add(shard)

    def _touch(self, path: str, loaded: Loaded, now_ns: int) -> None:
        """Note in the modification time of an entry's file that it was used."""
        before = mtime.unpack(loaded.mtime_ns)
        stamp = mtime.Stamp(now_ns, before.cost_ns or loaded.header.cost_ns, loaded.header.expires_ns, before.uses + 1)
        mtime_ns = mtime.pack(stamp)
        try:
            status = os.lstat(path)
            os.utime(path, ns=(now_ns, mtime_ns), follow_symlinks=False)
            if (status.st_ino, status.st_size, status.st_ctime_ns) != loaded.identity:
                return  # not the file that was read: a change in between must not be taken for our own
            self._recent.renew(path, loaded.identity, os.lstat(path))
        except OSError as error:
            raise_if_interrupt(error)  # else a read-only or removed file: only its recency is lost

    def is_there(self, name: str) -> bool:
        """Whether the path of an entry exists; also if another host has just published it."""
        path = self.place(name)
        if self.network:
            try:
                os.listdir(os.path.dirname(path))  # refreshes the cache of a network file system's client
            except OSError as error:
                raise_if_interrupt(error)  # else the lookup that follows reports it
        return stands(path)

    def is_large(self, name: str, limit: int) -> bool:
        """Whether reading an entry takes so many bytes or more."""
        held = self._recent.size_of(name)
        if held is not None:
            return held >= limit
        try:
            return os.stat(self.place(name)).st_size >= limit
        except OSError as error:
            raise_if_interrupt(error)
            return False  # absent; else reading it reports why

    def claim(self, name: str, owner: Record) -> Claim | drafts.PrivateClaim | None:
        """Take the claim of an entry, None while another process holds it; raises `OSError` if it cannot be made."""
        if self.network or locks.is_crowded():
            return self.private_claim(name, owner)
        return self._claim_with(claims.try_claim, name, owner)

    def private_claim(self, name: str, owner: Record) -> drafts.PrivateClaim:
        """A claim that does not exclude others, and replaces an existing entry."""
        return self._claim_with(partial(drafts.PrivateClaim, locks=not self.network), name, owner)

    def _claim_with(self, take: Callable[[str, Record, Access], T], name: str, owner: Record) -> T:
        shard, path = shard_in(name), self.place(name)
        if time.monotonic() > self._tag_due:
            self._keep_tag()
        if shard not in self._checked_shards:
            self._check_shard(shard)  # a refresh or a put gets here without a lookup
        for _ in range(_MAKERS):
            try:
                return take(path, owner, self.access)
            except FileNotFoundError as error:
                raise_if_interrupt(error)
            try:
                self._make_shard(os.path.dirname(path))
            except FileNotFoundError as error:
                raise_if_interrupt(error)
        return take(path, owner, self.access)

    def _keep_tag(self) -> None:
        """Touch the tag, or make it again: programs that remove old files take those that are never touched."""
        self._tag_due = time.monotonic() + TAG_AGE
        try:
            keep_tag(self.root, self.access)
        except OSError as error:
            raise_if_interrupt(error)  # else the root does not exist yet, or is refused: the next write reports it

    def _make_shard(self, shard: str) -> None:
        make_root(self.root, self.access)
        self.access.check_below(self.root, shard)

    def owner(self, claimed: Claimed, keyring: Keyring | None) -> Owner | None:
        """The owner of a claim, None if no key authenticates its record."""
        return claim_owner.owner_of(claimed.place, keyring)

    def owner_at(self, place: str, keyring: Keyring | None) -> Owner | None:
        """Who computes the entry of a path, in this directory or another; None if unknown or not computed."""
        return claim_owner.read_owner(place, keyring)

    def release(self, name: str) -> bool:
        """Remove the claim file of a dead owner, whose forked child may still hold the lock.

        If another waiting process has made a new claim in between, that is removed and two processes compute.
        """
        return self.access.remove(self.root, self.place(name) + CLAIM_SUFFIX)

    def forbid(self, name: str) -> None:
        """Cancel computations of an entry that began before: remove its claim, then its drafts."""
        claim = name + CLAIM_SUFFIX

        def remove(opened: OpenFolder) -> None:
            _remove(opened, claim)
            for other in opened.names():
                if other.startswith(f"{claim}-"):
                    _remove(opened, other)

        self.inside(os.path.dirname(self.place(name)), remove)

    def fence(self, is_meant: Callable[[Claimed], bool]) -> list[str]:
        """The same for all entries whose claims are meant; return their places."""
        places = []
        for of_drafts in (False, True):  # drafts are listed after the claims were removed
            for claimed in [one for one in self.claims() if one.is_private == of_drafts and is_meant(one)]:
                try:
                    self.access.remove(self.root, claimed.place)
                except OSError as error:
                    raise_if_interrupt(error)  # else a folder, which is no claim; or a shard that we may not write to
                places.append(self.place(claimed.name))
        return places

    def concerns_one(self, error: Exception, name: str) -> bool:
        """Whether an entry could not be stored because something else is in its own place or its shard's."""
        path = self.place(name)
        if isinstance(error, DirectoryError):
            return error.path == os.path.dirname(path)
        in_the_way = stands(path) or stands(path + CLAIM_SUFFIX)
        return in_the_way and getattr(error, "errno", None) in _ODD_FILE

    def replace(
        self, item: StoredFile, read: os.stat_result, pieces: Sequence[Any], claim: HeldClaim, *, durable: bool
    ) -> bool:
        """Replace an entry by another file; return False if it is no longer the one that was read."""
        place, name = os.path.split(item.path)
        folder = self.access.enter(self.root, place)
        if folder is None:
            return False
        temporary = f"{name}{CLAIM_SUFFIX}-{os.urandom(4).hex()}"  # named as a claim, so that sweeps remove leftovers
        try:
            with locks.Lock(temporary, "x+", access=folder) as lock:
                try:
                    locks.locking()(lock.fd, blocking=False)
                except OSError as error:
                    raise_if_interrupt(error)  # else there are no locks: leftovers are recognised by their age
                drafts.write_all(lock, pieces)
                os.utime(lock.fd, ns=(read.st_mtime_ns, read.st_mtime_ns))
                # A `put` in another process may still store a result between this check and the renaming; it is lost
                # then, and the earlier result stays.
                if not claim.is_standing() or _identity(folder.status(name)) != _identity(read):
                    return False
                folder.rename(temporary, name)
                if durable:
                    os.fsync(lock.fd)
                return True
        finally:
            try:
                folder.remove(temporary)
            finally:
                os.closerange(folder.fd, folder.fd + 1)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_ctime_ns


def _remove(opened: OpenFolder, name: str) -> None:
    try:
        opened.remove(name)
    except OSError as error:
        raise_if_interrupt(error)  # else a folder, which is no claim; or a shard that we may not write to
