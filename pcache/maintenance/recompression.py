"""Recompress stored results. Nothing is unpickled."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pcache.entry import format as entry_format
from pcache.entry.format import Facts, length_of
from pcache.entry.inspector import examine
from pcache.entry.reader import check_paddings, read_buffer
from pcache.entry.writer import encode_entry
from pcache.errors import Miss
from pcache.maintenance.records import Recompressed
from pcache.storage.claim import DURABLE
from pcache.storage.claim_owner import CLAIM_SUFFIX, owner_record
from pcache.storage.shards import on_disk
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.locks import Lock, locking

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcache.entry.format import Header
    from pcache.entry.inspector import CheckedEntry
    from pcache.eviction.deletion import Progress
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim import Claim
    from pcache.storage.drafts import PrivateClaim
    from pcache.storage.local import Store
    from pcache.storage.shards import StoredFile

_WORTH = 0.95  # of the room on disk: what would take more than that is left as it is


def recompress(
    store: Store,
    keyring: Keyring,
    files: Iterable[StoredFile],
    setting: str | int,
    total: int,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Recompressed:
    """Pack entries by "none", "auto" or a zstd level, where that changes how much room they take by a block or more.

    Readers get the old or the new file, whole. An entry that is being computed anew, or cannot be read, is left alone.
    With "none" entries grow: large arrays can be mapped then.
    """
    entries = before = after = 0
    skipped = 0
    for done, item in enumerate(files, 1):
        try:
            length = _recompress(store, keyring, item, setting, dry_run=dry_run)
        except Miss:
            length = None
        except OSError as error:
            raise_if_interrupt(error)
            length = None
        if length is None:
            skipped += 1
        elif length != item.length:
            entries += 1
            before, after = before + item.size, after + on_disk(length)
        if progress is not None:
            progress(done, max(total, done))
    return Recompressed(entries, before, after, skipped)


def _recompress(store: Store, keyring: Keyring, item: StoredFile, setting: str | int, *, dry_run: bool) -> int | None:
    """Return the length that an entry has then, None when it cannot be had now."""
    packed = examine(item.path, keyring, lambda entry: _packed_anew(entry, keyring, item, setting))
    if packed is None:
        return None
    header, status, pieces = packed
    length = length_of(pieces)
    shrinks = on_disk(length) <= item.size * _WORTH
    if not shrinks and (setting != "none" or length == item.length):
        return item.length
    if dry_run:
        return length
    claim = store.claim(item.path, owner_record("pcache recompress", keyring))
    if claim is None:
        return None
    with claim:
        try:
            durable = header.cost_ns >= DURABLE  # what is replaced is on the disk
            return length if _replace(store, item, status, pieces, claim, durable=durable) else None
        finally:
            claim.abandon()


def _packed_anew(
    entry: CheckedEntry, keyring: Keyring, item: StoredFile, setting: str | int
) -> tuple[Header, os.stat_result, list[Any]] | None:
    """The pieces of an entry that says the same; None if it is that of another call."""
    header, head = entry.header, entry.head
    if header.key.hex() != item.key or header.function_id.hex() != item.function_id:
        return None
    check_paddings(entry.fd, header, entry.rows)
    facts = Facts(header.key, header.function_id, header.created_ns, header.expires_ns, header.cost_ns, header.flags)
    meta = bytes(head[entry_format.META_AT : entry_format.META_AT + header.meta_length])
    buffers = (memoryview(read_buffer(entry.fd, row)) for row in entry.rows)
    pieces = encode_entry(entry_format.stream_of(head, header), buffers, facts, meta, setting, keyring)
    return header, entry.status, pieces


def _replace(
    store: Store,
    item: StoredFile,
    read: os.stat_result,
    pieces: Sequence[Any],
    claim: Claim | PrivateClaim,
    *,
    durable: bool,
) -> bool:
    """Write an entry beside the one that was read, and rename it over that; return whether it was still there."""
    place, name = os.path.split(item.path)
    folder = store.access.enter(store.root, place)
    if folder is None:
        return False
    temporary = f"{name}{CLAIM_SUFFIX}-{os.urandom(4).hex()}"  # as a claim it is swept away if we are killed
    try:
        with Lock(temporary, "x+", access=folder) as lock:
            with suppress(OSError):  # where there are no locks, leftovers are told by their age
                locking()(lock.fd, blocking=False)
            for piece in pieces:
                with memoryview(piece) as view, view.cast("B") as rest:
                    done = 0
                    while done < len(rest):
                        done += lock.write(rest[done:])
            os.utime(lock.fd, ns=(read.st_mtime_ns, read.st_mtime_ns))
            # Somebody who stores a result without computing it could still do so between this look and the renaming;
            # the result that was there before would then stay.
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
