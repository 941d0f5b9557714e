"""When and how the parts of an entry are compressed.

Only where it pays: a file takes a block anyway, so nothing below 4 KiB is compressed; a pickle stream is stored
compressed if that saves a fifth; a buffer, which could otherwise be mapped without a copy, only if that saves half.
zstd is the standard library's from Python 3.14 on and `backports.zstd` before; it is loaded when first needed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.errors import DamagedEntry
from pcache.system.fork import whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

RAW, ZSTD = 0, 1
MIN_SIZE = 4096  # bytes; opening a zstd context costs 7 us, and the file takes a block of 4 KiB in any case
_STREAM_KEEPS = 0.8
_BUFFER_KEEPS = 0.5
_PROBE = 64 << 10
_PROBE_PIECES = 16
_DEFAULT_LEVEL = 1
_MAX_LENGTH = 1 << 48  # bytes
_PIECE = 1 << 20


class Part(NamedTuple):
    """One part of an entry as it is stored: `data` is `raw_length` bytes long once decoded by `codec`."""

    data: Any
    raw_length: int
    codec: int


def _zstd() -> ModuleType:
    # Late for start-up time: entries below 4 KiB never need it.
    with whole:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    return zstd


def compress_stream(data: bytes, setting: str | int = "auto") -> Part:
    """Return the stored form of a pickle stream; `setting` is "auto", "none" or a zstd level."""
    return _compress(data, len(data), setting, _STREAM_KEEPS)


def compress_buffer(view: memoryview, setting: str | int = "auto") -> Part:
    """Return the stored form of a flat buffer of bytes. Of large ones a sample of 16 places is compressed first."""
    size = view.nbytes
    if setting == "auto" and size > 2 * _PROBE:
        piece = _PROBE // _PROBE_PIECES
        step = (size - piece) // (_PROBE_PIECES - 1)
        probe = b"".join(view[i * step : i * step + piece] for i in range(_PROBE_PIECES))
        if len(_zstd().compress(probe, _DEFAULT_LEVEL)) > len(probe) * _BUFFER_KEEPS:
            return Part(view, size, RAW)
    return _compress(view, size, setting, _BUFFER_KEEPS)


def _compress(data: Any, size: int, setting: str | int, keeps: float) -> Part:
    if setting == "none" or size < MIN_SIZE:
        return Part(data, size, RAW)
    packed = _zstd().compress(data, _DEFAULT_LEVEL if setting == "auto" else int(setting))
    return Part(packed, size, ZSTD) if len(packed) <= size * keeps else Part(data, size, RAW)


def decompress(data: Any, codec: int, raw_length: int) -> bytes:
    """Return exactly `raw_length` bytes, or raise `DamagedEntry`. Never allocates more than that."""
    if codec != ZSTD:
        raise DamagedEntry(f"unknown codec {codec}")
    if raw_length >= _MAX_LENGTH:
        raise DamagedEntry("a part declares a length beyond any memory")
    zstd = _zstd()
    decompressor = zstd.ZstdDecompressor()
    try:
        raw: bytes = decompressor.decompress(data, max_length=raw_length)
        if len(raw) == raw_length and not decompressor.eof:
            # The frame's closing bytes may still be unread when the output has its length.
            raw += decompressor.decompress(b"", max_length=1)
    except zstd.ZstdError as error:
        raise DamagedEntry(f"zstd: {error}") from error
    if len(raw) != raw_length or not decompressor.eof or decompressor.unused_data:
        raise DamagedEntry("a part decompresses to another length than declared")
    return raw


def check_unpacked(pieces: Iterable[Any], codec: int, raw_length: int) -> None:
    """Raise `DamagedEntry` as `decompress` does, for data that comes in pieces; takes a few MiB of memory."""
    if codec != ZSTD:
        raise DamagedEntry(f"unknown codec {codec}")
    zstd = _zstd()
    decompressor = zstd.ZstdDecompressor()
    length = 0
    try:
        for piece in pieces:
            if decompressor.eof:
                raise DamagedEntry("there are bytes after the end of a part")
            length += len(decompressor.decompress(piece, max_length=_PIECE))
            while not (decompressor.needs_input or decompressor.eof or length > raw_length):
                length += len(decompressor.decompress(b"", max_length=_PIECE))
    except zstd.ZstdError as error:
        raise DamagedEntry(f"zstd: {error}") from error
    if length != raw_length or not decompressor.eof or decompressor.unused_data:
        raise DamagedEntry("a part decompresses to another length than declared")
