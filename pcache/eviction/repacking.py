"""Store one result anew in another form: compressed otherwise, all else as it was. Nothing is unpickled."""

from __future__ import annotations

from pcache.entry import format as entry_format
from pcache.entry.compression import LATER, would_be_mapped
from pcache.entry.format import PICKLE, Facts, length_of
from pcache.entry.inspector import examine
from pcache.entry.reader import check_paddings, read_buffer
from pcache.entry.writer import encode_entry
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.storage.claim_owner import owner_record
from pcache.storage.store import DURABLE, name_of, on_disk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from pcache.entry.format import Header
    from pcache.entry.inspector import CheckedEntry
    from pcache.signing.keyring import Keyring
    from pcache.storage.store import Store, StoredFile

_WORTH = 0.95  # share of its size on disk that an entry must shrink to; others are left as they are


class _Anew(NamedTuple):
    """An entry in its new form, with the header and the status of the file that was read."""

    header: Header
    status: os.stat_result
    pieces: list[Any]


def repack(
    store: Store,
    keyring: Keyring,
    item: StoredFile,
    setting: str | int,
    *,
    who: str,
    is_meant: Callable[[CheckedEntry], bool] | None = None,
    dry_run: bool = False,
) -> int | None:
    """Store an entry in another form, if that makes it smaller; return its new length, None if that cannot be done now.

    Readers get either the old or the new file. An entry that is being computed anew, was replaced meanwhile, or is not
    `meant`, is left as it is. With "none" entries grow. Raises `Miss` for one that is damaged or gone, and `OSError`.
    """
    packed = examine(
        item.path, keyring, lambda entry: _packed_anew(entry, keyring, item, setting, is_meant), store.open
    )
    if packed is None:
        return None
    length = length_of(packed.pieces)
    shrinks = on_disk(length) <= item.size * _WORTH
    if not shrinks and (setting != "none" or length == item.length):
        return item.length
    if dry_run:
        return length
    claim = store.claim(name_of(item.function_id, item.key), owner_record(who, keyring))
    if claim is None:
        return None
    with claim:
        try:
            durable = packed.header.cost_ns >= DURABLE  # as the entry that is replaced
            return length if store.replace(item, packed.status, packed.pieces, claim, durable=durable) else None
        finally:
            claim.abandon()


def _packed_anew(
    entry: CheckedEntry,
    keyring: Keyring,
    item: StoredFile,
    setting: str | int,
    is_meant: Callable[[CheckedEntry], bool] | None,
) -> _Anew | None:
    """The entry in its new form; None if it is that of another call, not meant, or a stream, whose chunks stay."""
    header, head = entry.header, entry.head
    if header.kind != PICKLE:
        return None
    if header.key.hex() != item.key or header.function_id.hex() != item.function_id:
        return None
    if is_meant is not None and not is_meant(entry):
        return None
    check_paddings(entry.fd, header, entry.rows)
    facts = Facts(header.key, header.function_id, header.created_ns, header.expires_ns, header.cost_ns, header.flags)
    meta = bytes(head[entry_format.META_AT : entry_format.META_AT + header.meta_length])
    buffers = (memoryview(read_buffer(entry.fd, row)) for row in entry.rows)
    mapped = would_be_mapped(row.raw_length for row in entry.rows)
    stream = entry_format.stream_of(head, header)
    pieces = encode_entry(stream, buffers, facts, meta, setting, keyring, LATER, mapped=mapped)
    return _Anew(header, entry.status, pieces)
