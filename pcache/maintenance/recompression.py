"""Recompress stored results. Nothing is unpickled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pcache.entry import format as entry_format
from pcache.entry.format import Facts, length_of
from pcache.entry.inspector import examine
from pcache.entry.reader import check_paddings, read_buffer
from pcache.entry.writer import encode_entry
from pcache.errors import Miss
from pcache.maintenance.records import Recompressed
from pcache.storage.claim_owner import owner_record
from pcache.storage.store import DURABLE, name_of, on_disk
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.entry.format import Header
    from pcache.entry.inspector import CheckedEntry
    from pcache.eviction.deletion import Progress
    from pcache.signing.keyring import Keyring
    from pcache.storage.store import Store, StoredFile

_WORTH = 0.95  # share of its size on disk that an entry must shrink to; others are left as they are


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
    """Recompress entries by "none", "auto" or a zstd level, if that changes their size on disk by a block or more.

    Readers get either the old or the new file. An entry that is being computed anew, or cannot be read, is left as it
    is. With "none" entries grow: large arrays can then be mapped.
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
    """Return the new length of an entry, None if it cannot be recompressed now."""
    packed = examine(item.path, keyring, lambda entry: _packed_anew(entry, keyring, item, setting), store.open)
    if packed is None:
        return None
    header, status, pieces = packed
    length = length_of(pieces)
    shrinks = on_disk(length) <= item.size * _WORTH
    if not shrinks and (setting != "none" or length == item.length):
        return item.length
    if dry_run:
        return length
    claim = store.claim(name_of(item.function_id, item.key), owner_record("pcache recompress", keyring))
    if claim is None:
        return None
    with claim:
        try:
            durable = header.cost_ns >= DURABLE  # as the entry that is replaced
            return length if store.replace(item, status, pieces, claim, durable=durable) else None
        finally:
            claim.abandon()


def _packed_anew(
    entry: CheckedEntry, keyring: Keyring, item: StoredFile, setting: str | int
) -> tuple[Header, os.stat_result, list[Any]] | None:
    """The pieces of the entry in its new form; None if it is that of another call."""
    header, head = entry.header, entry.head
    if header.key.hex() != item.key or header.function_id.hex() != item.function_id:
        return None
    check_paddings(entry.fd, header, entry.rows)
    facts = Facts(header.key, header.function_id, header.created_ns, header.expires_ns, header.cost_ns, header.flags)
    meta = bytes(head[entry_format.META_AT : entry_format.META_AT + header.meta_length])
    buffers = (memoryview(read_buffer(entry.fd, row)) for row in entry.rows)
    pieces = encode_entry(entry_format.stream_of(head, header), buffers, facts, meta, setting, keyring)
    return header, entry.status, pieces
