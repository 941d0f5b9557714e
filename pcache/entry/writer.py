"""From a pickled result to the bytes of its entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcache.entry import format as entry_format
from pcache.entry.compression import compress_buffer, compress_stream

if TYPE_CHECKING:
    from pcache.entry.format import Facts
    from pcache.entry.pickling import Payload
    from pcache.signing.keyring import Keyring


def encode_entry(payload: Payload, facts: Facts, meta: bytes, compression: str | int, keyring: Keyring) -> list[Any]:
    """Return an entry as pieces, each part of the payload compressed where that pays."""
    stream = compress_stream(payload.stream, compression)
    buffers = [compress_buffer(buffer, compression) for buffer in payload.buffers]
    return entry_format.encode(facts, meta, stream, buffers, keyring)
