"""What may be held in memory of an entry that was read: the bytes that its value is unpickled from."""

from __future__ import annotations

from pcache.entry.format import SEAL_SIZE, new_tuple
from pcache.startup import Any, NamedTuple
from pcache.system.interrupts import is_interrupt

LARGEST = 4 << 20  # bytes of an entry that may be held
AT_ONCE = 64 << 10  # of them, bytes that are held when an entry is first read
NOTHING = -1


class Kept(NamedTuple):
    """An unpacked pickle stream with its out-of-band buffers, and the first bytes of the entry's file."""

    stream: bytes
    buffers: tuple[bytes, ...]
    seal: bytes


def keep(stream: Any, copies: tuple[bytes, ...], head: Any, to_keep: int) -> Kept | None:
    """What may be held of an entry, whose file begins with `head`; None if it is too large for that."""
    if len(stream) > to_keep:
        return None
    try:
        return new_tuple(Kept, (bytes(stream), copies, bytes(head[:SEAL_SIZE])))
    except MemoryError as error:
        if is_interrupt(error):
            raise
        return None


def copies_of(buffers: list[Any], to_keep: int) -> tuple[bytes, ...] | None:
    """Copies of buffers, as a value shares its own; None for mapped ones, which cost no memory, and for large ones."""
    if sum(map(len, buffers)) > to_keep or any(type(buffer) is not bytearray for buffer in buffers):
        return None
    try:
        return tuple(map(bytes, buffers))
    except MemoryError as error:
        if is_interrupt(error):
            raise
        return None
