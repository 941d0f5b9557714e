"""The ways to make a pickle look like an entry without having the signing key."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pcache.entry.format as codec
from pcache.entry.compression import RAW, ZSTD, Part, compress_stream
from pcache.entry.format import HEADER_AT, META_AT, NEVER, Facts
from pcache.signing.keyring import Keyring, key_id
from tests.support.processes import OTHER_RING, RING, ZEROS, joined

Made = Callable[[Any, bytes], bytes]
FORGED = Keyring(RING.signing, {RING.signing: b"a" * 32})  # another key under the id of ours
OLD_RING = Keyring(key_id(b"o" * 32), {key_id(b"o" * 32): b"o" * 32})


def entry_of(address: Any, stream: bytes, ring: Keyring, part: Part | None = None, **changes: Any) -> bytes:
    """A whole entry of a pickle, as pcache would write it with some signing key."""
    facts = Facts(address.key, address.function_id, 10**18, NEVER, 10**9)._replace(**changes)
    return joined(facts, b'{"function": "x:y"}', part or Part(stream, len(stream), RAW), [], ring)


def _other(address: Any, **changes: Any) -> bytes:
    """A true entry of ours, of a harmless result."""
    return entry_of(address, b"\x80\x05K\x02.", RING, **changes)


def _swapped(address: Any, stream: bytes) -> bytes:
    """Header, tag and meta of a true entry, with lengths that fit the pickle behind them."""
    wrong = entry_of(address, stream, FORGED)
    return _other(address)[:HEADER_AT] + wrong[HEADER_AT:]


def _kept(address: Any, stream: bytes) -> bytes:
    """A true entry of a result of the same length, in which nothing but the stream was replaced."""
    true = entry_of(address, bytes(len(stream)), RING)
    return true[: len(true) - len(stream)] + stream


def _format(address: Any, stream: bytes, number: int) -> bytes:
    data = bytearray(entry_of(address, stream, RING))
    data[7] = number
    return bytes(data)


def _retagged(address: Any, stream: bytes, tag: bytes) -> bytes:
    data = entry_of(address, stream, FORGED)
    return data[:8] + tag + data[HEADER_AT:]


def _buffered(address: Any, stream: bytes) -> bytes:
    """The pickle in the place of array contents, behind a stream that was not signed either."""
    facts = Facts(address.key, address.function_id, 10**18, NEVER, 0)
    return joined(facts, b"{}", Part(stream, len(stream), RAW), [Part(stream, len(stream), RAW)], FORGED)


def _declared(address: Any, stream: bytes) -> bytes:
    """A stream that unpacks to terabytes according to its header."""
    return entry_of(address, stream, FORGED, Part(stream, 1 << 47, ZSTD))


DISGUISES: dict[str, Made] = {
    "a garbage tag": lambda at, stream: _retagged(at, stream, os.urandom(32)),
    "a tag of zeros": lambda at, stream: _retagged(at, stream, bytes(32)),
    "a key of zeros": lambda at, stream: entry_of(at, stream, ZEROS),
    "another key": lambda at, stream: entry_of(at, stream, OTHER_RING),
    "a key that was removed": lambda at, stream: entry_of(at, stream, OLD_RING),
    "another key in our name": lambda at, stream: entry_of(at, stream, FORGED),
    "a short tag": lambda at, stream: entry_of(at, stream, RING)[:24] + entry_of(at, stream, RING)[HEADER_AT:],
    "the tag of another entry": lambda at, stream: _retagged(at, stream, _other(at, created_ns=5)[8:HEADER_AT]),
    "a swapped stream": _kept,
    "a swapped stream of another length": _swapped,
    "another call's": lambda at, stream: entry_of(at, stream, RING, key=bytes(20)),
    "another function's": lambda at, stream: entry_of(at, stream, RING, function_id=bytes(8)),
    "expired": lambda at, stream: entry_of(at, stream, RING, expires_ns=1),
    "format 0": lambda at, stream: _format(at, stream, 0),
    "format 2": lambda at, stream: _format(at, stream, 2),
    "format 255": lambda at, stream: _format(at, stream, 255),
    "a bare pickle": lambda at, stream: stream,
    "the magic and a pickle": lambda at, stream: codec.MAGIC + stream,
    "a packed pickle": lambda at, stream: bytes(compress_stream(stream * 9, 1).data),
    "behind a true entry": lambda at, stream: _other(at) + stream,
    "before a true entry": lambda at, stream: stream + _other(at),
    "without its end": lambda at, stream: entry_of(at, stream, RING)[:-1],
    "in a buffer": _buffered,
    "terabytes": _declared,
    "a header alone": lambda at, stream: entry_of(at, stream, RING)[:META_AT] + stream[:1],
}

# All other files below the root.
PLACES = (
    "CACHEDIR.TAG", ".gitignore", "v1/functions/{id}.{mark}.json", "v1/functions/{id}.adopted",
    "v1/functions/{other}.json", "v1/functions/{id}.{mark}.json.00000000", "v1/ledger/counters",
    "v1/ledger/counters.0123456789abcdef", "v1/ledger/totals", "v1/ledger/totals.new", "v1/ledger/removed",
    "v1/ledger/removed.1", "v1/ledger/occupancy", "v1/locks/evict", "v1/locks/ledger", "{entry}.claim",
    "{entry}.claim-01234567", "{entry}",
)  # fmt: skip
