"""Encode a pickled result as the bytes of an entry."""

from __future__ import annotations

from pcache.entry import format as entry_format
from pcache.entry.compression import STORED, Packer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.entry.compression import Shares
    from pcache.entry.format import Facts
    from pcache.signing.keyring import Keyring


def encode_entry(
    stream: Any,
    buffers: Iterable[memoryview],
    facts: Facts,
    meta: bytes,
    compression: str | int,
    keyring: Keyring,
    shares: Shares = STORED,
    *,
    mapped: bool,
) -> list[Any]:
    """Return an entry as pieces: a pickle's stream and its buffers, compressed where that pays.

    What is not compressed stays in the memory that it is in. `mapped` says whether the buffers would be mapped.
    """
    packer = Packer(compression, facts.cost_ns, shares, mapped=mapped)
    packed = packer.stream(stream)
    return entry_format.encode(facts, meta, packed, [packer.buffer(buffer) for buffer in buffers], keyring)
