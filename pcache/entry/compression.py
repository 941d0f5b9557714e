"""Which parts of an entry are compressed, and how.

Only where it pays: a hit may spend a small share of the seconds that it saves on unpacking, so what took an hour is
compressed and what took 50 ms is not. A buffer that would be mapped costs neither time nor memory uncompressed, and has
a tenth of that share. And it must save room: a file takes a block anyway, so nothing below 4 KiB is compressed; a
pickle stream is stored compressed if that saves a fifth, a buffer if it saves half. `docs/compression.md` compares
rules. The times are constants and not measured, so that the same result is always stored in the same form.

zstd is the standard library's from Python 3.14 on and `backports.zstd` before; it is loaded when first needed.
"""

from __future__ import annotations

import sys

from pcache.errors import DamagedEntry
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.fork import whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

RAW, ZSTD = 0, 1
MIN_SIZE = 4096  # bytes; opening a zstd context costs 7 us, and the file takes a block of 4 KiB in any case
MAP_MIN = 256 << 10  # bytes of all raw buffers from which a map is cheaper than copies
PACK_NS = 4.0  # nanoseconds to compress a byte by level 1: 2.3 to 3.4 were measured, 0.3 if it is noise
_UNPACK_NS = 2.0  # nanoseconds to unpack a byte: 0.7 to 1.9 were measured
_BEGIN_NS = 100_000.0  # to unpack anything at all: its share of loading zstd, which takes 5 ms once per process
_UNKNOWN_COST_NS = 10**9  # of results that were put, as for eviction
_STREAM_KEEPS = 0.8
_BUFFER_KEEPS = 0.5
_PROBE = 64 << 10
_PROBE_PIECES = 16
_DEFAULT_LEVEL = 1
_MAX_LENGTH = 1 << 48  # bytes
_PIECE = 1 << 20


class Shares(NamedTuple):
    """Which shares of the cost of a result a hit may spend on unpacking it."""

    unpacking: float
    mapped: float  # the same for buffers that would otherwise be mapped


STORED = Shares(0.01, 0.001)  # when a result is stored
LATER = Shares(0.03, 0.01)  # when it was not used for a time, or room is scarce


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


def unpacking_ns(size: int) -> float:
    """How long unpacking a part takes that is so many bytes long unpacked."""
    return _BEGIN_NS + _UNPACK_NS * size


def would_be_mapped(lengths: Iterable[int]) -> bool:
    """Whether buffers of such lengths are mapped when they are read, if they are stored as they are."""
    return sum(lengths) >= MAP_MIN


class Packer:
    """Packs the parts of one entry one after the other: by "auto" as long as a hit may still spend time on them.

    Other settings, "none" or a zstd level, do not ask for the cost, the seconds that a hit saves (0: unknown). `mapped`
    says whether its buffers would be mapped: see `would_be_mapped`.
    """

    def __init__(self, setting: str | int, cost_ns: int, shares: Shares = STORED, *, mapped: bool = False) -> None:
        self._setting = setting
        self._most_ns = shares.unpacking * (cost_ns or _UNKNOWN_COST_NS)
        self._most_mapped_ns = shares.mapped * (cost_ns or _UNKNOWN_COST_NS)
        self._buffers_ns = self._most_mapped_ns if mapped else self._most_ns
        self._spent_ns = 0.0

    def stream(self, data: Any) -> Part:
        """Return the stored form of a pickle stream."""
        size = memoryview(data).nbytes
        return self._counted(compress_stream(data, self._setting if self._pays(size, self._most_ns) else "none"))

    def buffer(self, view: memoryview) -> Part:
        """Return the stored form of a flat buffer of bytes."""
        pays = self._pays(view.nbytes, self._buffers_ns)
        return self._counted(compress_buffer(view, self._setting if pays else "none"))

    def may_pack(self, size: int, *, mapped: bool) -> bool:
        """Whether a part of at least so many bytes may be packed by "auto", if none was before."""
        return size >= MIN_SIZE and self._pays(size, self._most_mapped_ns if mapped else self._most_ns)

    def _pays(self, size: int, most_ns: float) -> bool:
        return self._setting != "auto" or self._spent_ns + unpacking_ns(size) <= most_ns

    def _counted(self, part: Part) -> Part:
        if part.codec != RAW:
            self._spent_ns += unpacking_ns(part.raw_length)
        return part


def compress_stream(data: Any, setting: str | int = "auto") -> Part:
    """Return the stored form of a pickle stream, whatever its cost; `setting` is "auto", "none" or a zstd level."""
    return _compress(data, memoryview(data).nbytes, setting, _STREAM_KEEPS)


def compress_buffer(view: memoryview, setting: str | int = "auto") -> Part:
    """The same for a flat buffer of bytes. Of large ones a sample of 16 places is compressed first."""
    size = view.nbytes
    if setting == "auto" and size > 2 * _PROBE:
        piece = _PROBE // _PROBE_PIECES
        step = (size - piece) // (_PROBE_PIECES - 1)
        probe = b"".join(view[i * step : i * step + piece] for i in range(_PROBE_PIECES))
        if len(_zstd().compress(probe, _DEFAULT_LEVEL)) > len(probe) * _BUFFER_KEEPS:
            return Part(view, size, RAW)
    return _compress(view, size, setting, _BUFFER_KEEPS)


def _compress(data: Any, size: int, setting: str | int, keeps: float) -> Part:
    """Compress piece by piece, and no further than it pays: at once, zstd takes the memory of its output twice."""
    if setting == "none" or size < MIN_SIZE:
        return Part(data, size, RAW)
    zstd = _zstd()
    level = _DEFAULT_LEVEL if setting == "auto" else int(setting)
    most = int(size * keeps)
    if size <= _PIECE:
        packed = zstd.compress(data, level)
    else:
        compressor, packed = zstd.ZstdCompressor(level), bytearray()
        with memoryview(data) as view:
            for at in range(0, size, _PIECE):
                packed += compressor.compress(view[at : at + _PIECE])
                if len(packed) > most:
                    break
            else:
                packed += compressor.flush()
    return Part(packed, size, ZSTD) if len(packed) <= most else Part(data, size, RAW)


def decompress(data: Any, codec: int, raw_length: int) -> bytearray:
    """Return exactly `raw_length` bytes, or raise `DamagedEntry`. Never allocates more than what there is.

    It is written into memory of the caller's own piece by piece: what zstd makes at once is copied twice.
    """
    if codec != ZSTD:
        raise DamagedEntry(f"unknown codec {codec}")
    if raw_length >= _MAX_LENGTH:
        raise DamagedEntry("a part declares a length beyond any memory")
    zstd = _zstd()
    decompressor = zstd.ZstdDecompressor()
    raw = bytearray()
    try:
        while not decompressor.eof:
            # One byte more than declared: the frame's closing bytes may be unread when the output has its length.
            piece = decompressor.decompress(data, max_length=min(_PIECE, raw_length - len(raw) + 1))
            raw += piece
            if len(raw) > raw_length or not (piece or decompressor.eof):
                break
            data = b""
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
