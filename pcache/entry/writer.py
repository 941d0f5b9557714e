"""Encode a pickled result as the bytes of an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcache.entry import format as entry_format
from pcache.entry.compression import compress_buffer, compress_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.entry.format import Facts
    from pcache.signing.keyring import Keyring


def encode_entry(
    stream: bytes, buffers: Iterable[memoryview], facts: Facts, meta: bytes, compression: str | int, keyring: Keyring
) -> list[Any]:
    """Return an entry as pieces: a pickle's stream and its buffers, compressed where that pays."""
    parts = [compress_buffer(buffer, compression) for buffer in buffers]
    return entry_format.encode(facts, meta, compress_stream(stream, compression), parts, keyring)
