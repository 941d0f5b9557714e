"""The cache directory: where entries lie, how they come and go.

    <root>/CACHEDIR.TAG .gitignore
    <root>/v1/entries/<2 hex>/<function_id>-<key>[.claim]
    <root>/v1/functions/<function_id>.json
    <root>/v1/ledger/  <root>/v1/locks/

Names are hexadecimal only, so a listing tells key and function without opening a file. Lookups take no lock and write
nothing. Safe for any number of threads and processes: an entry appears by a rename and disappears by an unlink, so a
reader sees a whole one or none. On a network file system no locks are taken; computations may then run twice.
"""

from __future__ import annotations

import os
import re
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pcache.entry import mtime
from pcache.entry.pickling import is_loaded_here, loading
from pcache.entry.reader import Recent, read_value
from pcache.errors import DirectoryError, LoadingItself
from pcache.layout import GENERATION, TAG_FILE, entries_folder, functions_folder, generation_folder
from pcache.storage import claim as claims
from pcache.storage.drafts import PrivateClaim
from pcache.storage.shards import Shards, is_in_place
from pcache.system.interrupts import raise_if_interrupt, stands, uninterrupted
from pcache.system.locks import is_crowded
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import NO_FILE, read_plain, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.entry.reader import Address, Loaded
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim import Claim
    from pcache.storage.claim_owner import Record

_MAKERS = 20  # processes of a group that make a folder at once: each may put its own in the place of an empty one
T = TypeVar("T")

_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# This directory holds stored function results of pcache. It may be deleted at any time: results are computed again.
# For the tag see https://bford.info/cachedir/
"""
_TAG_MARK = b"stored function results of pcache"
_OWN_NAMES = frozenset((TAG_FILE, ".gitignore", GENERATION))
_LAYOUT = re.compile(r"(entries|functions|ledger|locks)(\.odd-[0-9a-f]{8}|\.[0-9a-f]{8})?")  # odd, or being made
_SHARDS, _FUNCTIONS = (
    re.compile(r"[0-9a-f]{2}(\..*)?"),
    re.compile(r"[0-9a-f]{16}(\.[0-9a-f]{16})?\.(json|adopted)(\..*)?"),
)
_TAG_AGE = 24 * 3600.0  # seconds after which the tag is touched; programs that remove old files count in days
# Recency is kept to the minute; a hit writes nothing else. An hour would make eviction a third worse where programs are
# run again within it, less than a minute wins nothing (docs/eviction.md).
_TOUCH_AFTER_NS = 60 * 10**9


class Store(Shards):
    """The entries below one root. The root is made by the first write, and checked by the first read or write."""

    def __init__(self, root: str, *, network: bool | None = None, access: Access = PRIVATE) -> None:
        super().__init__(root, network=network, access=access)
        self.functions = functions_folder(root)
        self._shard_at = slice(len(self.entries) + 1, len(self.entries) + 3)  # of an entry's path
        self._checked_shards: set[str] = set()
        self._recent = Recent()
        self._tag_due = 0.0
        try:
            check_root(root, access)
        except OSError as error:
            if isinstance(error, DirectoryError) and error.reason != "unknown":
                raise
            raise_if_interrupt(error)
            # else the system does not say now: whoever reads or writes looks again, and there it is a warning.

    def path(self, function_id: str, key: str) -> str:
        return f"{self.entries}/{key[:2]}/{function_id}-{key}"

    def read(self, address: Address, keyring: Keyring, verify: str) -> Loaded:
        """Return the stored result of an entry; raises `Miss`, and `DirectoryError` for a shard that is not ours."""
        path = address.path
        if loading and path in loading and is_loaded_here(path):
            raise LoadingItself("unloadable", detail="it is being loaded by what asks for it")
        now_ns = time.time_ns()
        loaded = self._recent.again(address, now_ns)
        if loaded is None:
            if path[self._shard_at] not in self._checked_shards:
                self._check_shard(path[self._shard_at])
            loaded = read_value(address, keyring, now_ns, verify)
            self._recent.keep(address, loaded, now_ns)
        if not -_TOUCH_AFTER_NS < now_ns - loaded.mtime_ns < _TOUCH_AFTER_NS:  # or to come: a clock was wrong
            self._touch(path, loaded, now_ns)
        return loaded

    def _check_shard(self, shard: str) -> None:
        """Refuse a shard that is a symbolic link, or that others can write to; looked at once per process."""
        paths = [self.root, f"{self.root}/{GENERATION}", self.entries, f"{self.entries}/{shard}"]
        for path in paths:  # in no generator: one that is closed half way loses an interrupt
            if not self.access.check(path):
                return
        self._checked_shards.add(shard)

    def _touch(self, path: str, loaded: Loaded, now_ns: int) -> None:
        """Note that an entry is in use, in the modification time of its file."""
        header, uses = loaded.header, mtime.unpack(loaded.mtime_ns).uses + 1
        mtime_ns = mtime.pack(mtime.Stamp(now_ns, header.cost_ns, header.expires_ns, uses))
        try:
            status = os.lstat(path)
            os.utime(path, ns=(now_ns, mtime_ns), follow_symlinks=False)
            if (status.st_ino, status.st_size, status.st_ctime_ns) != loaded.identity:
                return  # not the file that was read: what happened to it in between must not pass for our own change
            self._recent.renew(path, loaded.identity, os.lstat(path))
        except OSError as error:
            raise_if_interrupt(error)  # else a read-only or vanished file: its recency is lost, the result is not

    def refresh_listing(self, path: str) -> None:
        """Have a network file system notice a published entry: listing a directory renews what the client knows."""
        if self.network:
            try:
                os.listdir(os.path.dirname(path))
            except OSError as error:
                raise_if_interrupt(error)  # else the lookup that follows tells

    def claim(self, path: str, owner: Record) -> Claim | PrivateClaim | None:
        """Take the claim of an entry, None while another process holds it; raises `OSError` where none can be made."""
        if self.network or is_crowded():
            return self.private_claim(path, owner)
        return self._claim_with(claims.try_claim, path, owner)

    def private_claim(self, path: str, owner: Record) -> PrivateClaim:
        """A claim that excludes nobody and overwrites what is there."""
        return self._claim_with(partial(PrivateClaim, locks=not self.network), path, owner)

    def _claim_with(self, take: Callable[[str, Record, Access], T], path: str, owner: Record) -> T:
        shard = path[self._shard_at]
        if time.monotonic() > self._tag_due:
            self._keep_tag()
        if shard not in self._checked_shards:
            self._check_shard(shard)  # a refresh or a put comes here without a lookup
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
        """Have the tag look used, or be there again: what removes old files takes one that nobody touches."""
        self._tag_due = time.monotonic() + _TAG_AGE
        try:
            keep_tag(self.root, self.access)
        except OSError as error:
            raise_if_interrupt(error)  # else a root that is not there yet, or refused: who writes to it will see

    def _make_shard(self, shard: str) -> None:
        make_root(self.root, self.access)
        self.access.check_below(self.root, shard)


def is_there(path: str) -> bool:
    """Whether a file or directory exists; raises `OSError` when that cannot be told, where `lexists` would say no."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_ours(root: str) -> bool:
    """Whether a directory carries our tag; raises `OSError` when that cannot be told."""
    try:
        return _TAG_MARK in read_plain(os.path.join(root, TAG_FILE), 4096, linked=True)  # as in a copy of hard links
    except OSError as error:
        raise_if_interrupt(error)
        if error.errno in NO_FILE:
            return False
        raise


def check_root(root: str, access: Access = PRIVATE) -> bool:
    """Return whether the root exists; raise `DirectoryError` when it cannot be a cache directory.

    That is a file, a symbolic link, a directory of another user or one that others can write to, and any directory
    with other things in it that does not carry our tag: nothing there may be mistaken for ours.
    """
    if not access.check(root):
        return False
    if not is_ours(root) and (others := sorted(_listed(root) - _OWN_NAMES)):
        raise DirectoryError(
            f"the directory {root} holds other things ({others[0]!r}, ...) and is no pcache directory; choose an empty"
            " or a new one",
            path=root,
            reason="not ours",
        )
    return True


def _listed(root: str) -> set[str]:
    try:
        return set(os.listdir(root))
    except PermissionError:
        return set()  # who may not look into it reads and stores nothing there, and is told so then


def require_ours(root: str, access: Access = PRIVATE) -> bool:
    """Return whether `root` holds anything; raise `DirectoryError` unless that is ours: no other is emptied."""
    # Looked at before the tag, which is written before it: without it there is nothing to remove, and somebody may be
    # making the directory just now.
    filled = is_there(generation_folder(root))
    if not check_root(root, access) or not filled:
        return False
    if not is_ours(root) and not is_laid_out(root, access):
        raise DirectoryError(
            f"{root} does not carry the tag of a pcache directory (CACHEDIR.TAG), and holds other things in"
            f" {GENERATION}; move these away, or choose another directory",
            path=root,
            reason="not ours",
        )
    for folder in (generation_folder(root), entries_folder(root), functions_folder(root)):
        access.check(folder)  # a link in their place would lead the removal elsewhere
    return True


def is_laid_out(root: str, access: Access = PRIVATE) -> bool:
    """Whether a root without our tag is ours all the same, as what removes old files may have taken the tag.

    Nothing but our folders may be there, and in the shards nothing at all, or a file named as nobody else names one,
    and in its place. Whoever has such files loses results at most: nothing else is ever removed.
    """
    parts = generation_folder(root)
    try:
        check_root(root, access)
        if is_there(os.path.join(root, TAG_FILE)) or not all(map(_LAYOUT.fullmatch, os.listdir(parts))):
            return False  # a tag that another program wrote says whose it is
        shards = Shards(root, network=False, access=access)
        names = [(shard, name) for shard in shards.shards() for name in shards.names_in(shard)]
        for folder, ours in ((shards.entries, _SHARDS), (functions_folder(root), _FUNCTIONS)):
            if stands(folder) and not all(map(ours.fullmatch, os.listdir(folder))):
                return False
        return not names or any(is_in_place(shard, name) for shard, name in names)
    except OSError as error:
        raise_if_interrupt(error)
        return False


def keep_tag(root: str, access: Access = PRIVATE) -> None:
    """Touch the tag of a root that is ours, if that was long ago, or make it where there is none; raises `OSError`."""
    folder = access.enter(root, root)
    if folder is None:
        return
    try:
        if abs(time.time() - folder.status(TAG_FILE).st_mtime) < _TAG_AGE:
            return
        fd = folder.open(TAG_FILE, os.O_RDWR)
        try:
            os.utime(fd)
        finally:
            os.closerange(fd, fd + 1)
    except FileNotFoundError:
        make_root(root, access)
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def make_root(root: str, access: Access = PRIVATE) -> None:
    """Make the root with its tag, unless it is there; safe against others who do the same."""
    access.make_above(root)
    access.make_folder(root)
    check_root(root, access)
    _write_once(os.path.join(root, TAG_FILE), _TAG_TEXT.encode(), access, durable=True)
    try:
        _write_once(os.path.join(root, ".gitignore"), b"*\n", access, durable=False)
    except OSError as error:
        raise_if_interrupt(error)  # else nothing rests on it


def _write_once(path: str, data: bytes, access: Access, *, durable: bool) -> None:
    """Write a file, unless it is there with this content or another."""
    fd = uninterrupted(access.open, path, os.O_RDWR)
    try:
        there = os.read(fd, len(data))
        # New, or cut short by a full disk, a kill or a power cut, which may leave zeros.
        if there != data and data.startswith(there.rstrip(b"\0")):
            os.lseek(fd, 0, os.SEEK_SET)
            write_all(fd, data)
            if durable:
                os.fsync(fd)  # once per directory: nobody could clear one whose tag a power cut had emptied
    finally:
        os.close(fd)
