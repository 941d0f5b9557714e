"""The bytes of a stored stream, format 2: what a generator yields, in chunks. Write them, and read them chunk by chunk.

    entry  = magic(8) tag(32) header chunks meta table
    tag    = keyed BLAKE3 over header, meta and table
    header = that of format 1, where `stream_length` is the length of all chunks and `n_buffers` their number
    chunk  = length(4) of each item, then the pickles of the items
    table  = per chunk: offset(8) length(8) raw_length(8) items(4) codec(1) zero(3) digest(32)

The last chunk has no items: it is the pickle of what the generator returned. The file is written in this order but for
magic, tag and header, which come last: one that was not finished begins with zeros. Whoever reads checks the tag first,
which covers the digest of each chunk, and a chunk against its digest before anything in it is unpickled.
"""

from __future__ import annotations

from _operator import _compare_digest as compare_digest  # see entry/format.py
from _struct import Struct
from itertools import accumulate, chain, islice, pairwise, starmap

from blake3 import blake3

from pcache.entry import format as entry_format
from pcache.entry.compression import RAW, decompress
from pcache.entry.format import META_AT, STREAM, new_tuple
from pcache.entry.main_module import means_the_same
from pcache.entry.pickling import load, loading
from pcache.entry.reader import OTHER_MODULE, Loaded, open_entry, read_into
from pcache.errors import DamagedEntry, Miss
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.digests import digest_of
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.locks import Opened

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from pcache.entry.compression import Part
    from pcache.entry.format import Facts, Header
    from pcache.entry.reader import Address, Opener
    from pcache.keys.names import Home
    from pcache.signing.keyring import Keyring

FORMAT = 2
MAGIC = b"PCACHE\x00" + bytes([FORMAT])
_FORM = (MAGIC, STREAM)
CHUNK_ROW = Struct("<QQQIB3x32s")
LENGTH = Struct("<I")
LONGEST_ITEM = (1 << 32) - 1  # bytes of its pickle
_AT_ONCE = 64 << 10  # bytes of a file that is read whole
_SMALL = 1 << 10  # bytes of an item


class ChunkRow(NamedTuple):
    """The position of one chunk in the file, how many items it holds, and the content digest of its stored bytes."""

    offset: int
    length: int
    raw_length: int
    items: int
    codec: int
    digest: bytes


# Writing


def join_chunk(pickles: Sequence[bytes]) -> bytes:
    """The unpacked bytes of a chunk of items."""
    return b"".join((*map(LENGTH.pack, map(len, pickles)), *pickles))


def row_of(offset: int, items: int, part: Part) -> ChunkRow:
    """The row of a chunk that is stored as `part`."""
    return ChunkRow(offset, len(part.data), part.raw_length, items, part.codec, digest_of(part.data))


def encode(facts: Facts, meta: bytes, rows: Sequence[ChunkRow], keyring: Keyring) -> tuple[bytes, bytes]:
    """What stands before the chunks of an entry and what stands behind them."""
    lengths = (len(meta), sum(row.length for row in rows), sum(row.raw_length for row in rows), len(rows))
    header = entry_format.encode_header(facts, STREAM, RAW, lengths, keyring)
    footer = meta + b"".join(starmap(CHUNK_ROW.pack, rows))
    return MAGIC + blake3(header + footer, key=keyring.signing_key).digest() + header, footer


# Reading


def is_stream(start: bytes) -> bool:
    """Whether a file that starts so says to be of this format."""
    return start[: len(MAGIC)] == MAGIC


def header_of(read: Callable[[int], bytes], size: int) -> Header:
    """The header of an entry of any format, from the beginning of its file; raises `DamagedEntry`."""
    start = read(META_AT)
    return entry_format.read_header(start, size, *(_FORM if is_stream(start) else ()))


def read_head(read: Callable[[int, int], Any], size: int, keyring: Keyring) -> tuple[Header, bytes]:
    """Read and check all of a file but its chunks: its header, and that with magic, tag, meta and table; raises `Miss`.

    `read(length, offset)` reads of the file. Memory is taken only after the header's proof.
    """
    start = read(min(META_AT, size), 0)
    header = entry_format.read_header(start, size, *_FORM)
    if header.head_length != size:
        raise DamagedEntry("the lengths do not add up to the file's size")
    entry_format.check_proof(start, header, keyring)
    at = META_AT + header.stream_length
    head = bytes(start) + read(size - at, at)
    entry_format.authenticate(head, header, keyring)
    return header, head


def rows_of(head: bytes, header: Header) -> list[ChunkRow]:
    """The table of an authenticated head, whose chunks must fill the place between header and meta part."""
    rows = [ChunkRow(*row) for row in CHUNK_ROW.iter_unpack(head[META_AT + header.meta_length :])]
    end = META_AT
    for row in rows:
        if row.offset != end or (row.items == 0) != (row is rows[-1]):
            raise DamagedEntry("a chunk is not where it has to be")
        end += row.length
    if not rows or end != META_AT + header.stream_length:
        raise DamagedEntry("the lengths do not add up to the file's size")
    return rows


def unpacked(row: ChunkRow, stored: Any) -> Any:
    """The unpacked bytes of a chunk, checked; raises `DamagedEntry`."""
    if len(stored) != row.length or not compare_digest(digest_of(stored), row.digest):
        raise DamagedEntry("a chunk does not match its digest")
    raw = stored if row.codec == RAW else decompress(stored, row.codec, row.raw_length)
    if len(raw) != row.raw_length or len(raw) < row.items * LENGTH.size:
        raise DamagedEntry("a chunk has another length than declared")
    return raw


def pickles_in(row: ChunkRow, raw: Any) -> Iterator[Any]:
    """The pickles of the items in a chunk; that of what the generator returned in the last one.

    Nothing is made before it is asked for: a chunk may have some hundred thousand.
    """
    begin = row.items * LENGTH.size
    if not row.items:
        return iter((raw,))
    # Copies of small items take half of the time that views of them take.
    whole = bytes(raw) if row.raw_length < row.items * _SMALL else memoryview(raw)
    lengths = chain.from_iterable(LENGTH.iter_unpack(whole[:begin]))
    return map(whole.__getitem__, starmap(slice, pairwise(accumulate(lengths, initial=begin))))


def loaded_from(row: ChunkRow, raw: Any, flags: int, home: Home | None) -> Iterator[Any]:
    """Unpickle the items of a checked chunk, each when it is asked for: through `taken`. Raises `Miss`."""
    if flags and not means_the_same(flags, pickles_in(row, raw), home, is_chunk=True):
        raise Miss("unloadable", detail=OTHER_MODULE)
    return map(load, pickles_in(row, raw))


def taken(batch: Iterator[Any], count: int, place: str) -> list[Any]:
    """The next items of a chunk, which are unpickled now; raises whatever their pickles raise."""
    loads = place  # `pickling.is_loaded_here` looks for it: what is unpickled may ask for the same stream again
    loading[loads] = None
    try:
        return list(islice(batch, count))
    finally:
        loading.pop(loads, None)


class _File(Opened):
    """The file of an entry, open for reading while its consumer's code runs."""

    def __init__(self, place: str, open_it: Opener, *, any_owner: bool) -> None:
        self.found: list[os.stat_result] = []

        def opener(path: str, _flags: int) -> int:
            fd, status = open_it(path, any_owner=any_owner)
            self.found.append(status)
            return fd

        try:
            super().__init__(place, "r", opener)
        except BaseException:
            self.close()
            raise

    def read_at(self, length: int, offset: int) -> bytes | bytearray:
        """Read so many bytes; raises `DamagedEntry` where there are fewer."""
        data = bytearray(length)
        if not self.is_ours():
            raise DamagedEntry("the program closed a descriptor of pcache's")
        read_into(self.number, memoryview(data), offset)
        return data


class Stored:
    """A stored stream that was found: all but its chunks is checked. For one consumer at a time.

    Its file stays open meanwhile, so that the entry can be removed while it is read.
    """

    def __init__(self, read: Callable[[int, int], Any], place: str, header: Header, rows: list[ChunkRow]) -> None:
        self._read = read
        self.place = place
        self._home: Home | None = None
        self._file: _File | None = None  # none is open of a small one
        self.header = header
        self.rows = rows
        self.read_bytes = 0

    def close(self) -> None:
        """Close its file; nothing can be read any more."""
        if self._file is not None:
            self._file.release()

    @property
    def items(self) -> int:
        """How many items there are in all."""
        return sum(row.items for row in self.rows)

    def chunk(self, number: int) -> Iterator[Any]:
        """The items of a chunk, or what the generator returned; raises `Miss`, and what their pickles raise."""
        row = self.rows[number]
        try:
            stored = self._read(row.length, row.offset)
        except OSError as error:
            raise_if_interrupt(error)
            raise Miss("damaged", detail=f"it cannot be read: {error.strerror}") from error
        self.read_bytes += row.length
        return loaded_from(row, unpacked(row, stored), self.header.flags, self._home)


def open_stream(place: str, address: Address, keyring: Keyring, now_ns: int, open_it: Opener = open_entry) -> Loaded:
    """Open a stored stream, checked in the order of `reader.read_value`, all but its chunks; raises `Miss`."""
    file: _File | None = None
    try:
        file = _File(place, open_it, any_owner=keyring.any_owner)
        [status] = file.found
        size = status.st_size
        read: Callable[[int, int], Any] = file.read_at
        if size <= _AT_ONCE:
            read = _reader_of(bytes(read(size, 0)))
        header, head = read_head(read, size, keyring)
        entry_format.check_identity(header, address.key, address.function_id)
        entry_format.check_age(header, now_ns, address.ttl_ns)
        found = Stored(read, place, header, rows_of(head, header))
        found._home = address.home
        if size > _AT_ONCE:
            found._file, file = file, None
    except OSError as error:
        raise_if_interrupt(error)
        raise Miss("damaged", detail=f"it cannot be read: {error.strerror}") from error
    finally:
        if file is not None:
            try:
                file.close()  # a C function, and nobody else had the descriptor meanwhile
            except OSError as error:
                raise_if_interrupt(error)
    identity = (status.st_ino, status.st_size, status.st_ctime_ns)
    return new_tuple(Loaded, (found, header, status.st_mtime_ns, None, identity))


def _reader_of(data: bytes) -> Callable[[int, int], bytes]:
    """Reads of a file that is in memory."""
    return lambda length, offset: data[offset : offset + length]
