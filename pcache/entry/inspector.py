"""Check an entry's file as a hit does, and read its metadata. Nothing is unpickled."""

from __future__ import annotations

import functools
import os

from pcache.entry import format as entry_format
from pcache.entry import streams
from pcache.entry.format import STREAM
from pcache.entry.main_module import means_the_same, names_mean_the_same
from pcache.entry.pickle_imports import imports_of
from pcache.entry.pickling import names as names_anything
from pcache.entry.reader import OTHER_MODULE, check_paddings, open_entry, read_head, read_into
from pcache.errors import DamagedEntry, Miss
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, TypeVar
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pcache.entry.format import BufferRow, Header
    from pcache.entry.reader import Address, Opener
    from pcache.signing.keyring import Keyring


T = TypeVar("T")

_PIECE = 1 << 20  # bytes


class Inspection(NamedTuple):
    """The content of an entry's file, its tag checked; nothing was unpickled.

    Of a stored stream of a generator, `imports` are the names in its chunks, which are left out.
    """

    header: Header
    meta: Mapping[str, Any]
    stream: bytes
    rows: list[Any]  # `BufferRow`, or `ChunkRow`
    imports: tuple[str, ...] | None = None


class CheckedEntry(NamedTuple):
    """An open entry, its tag checked: `head` is what that covers, all but the buffers, or the chunks of a stream."""

    fd: int
    status: os.stat_result
    header: Header
    head: Any  # bytes-like
    rows: list[Any]


def examine(place: str, keyring: Keyring, act: Callable[[CheckedEntry], T], open_it: Opener = open_entry) -> T:
    """Call `act` with an open entry, its tag checked, and return its result; raises `Miss`, also for errors in `act`.

    Not a context manager: a generator would leave the file open if an interrupt came before its `with` begins.
    """
    fd, status = open_it(place, any_owner=keyring.any_owner)
    try:
        size = status.st_size
        if streams.is_stream(os.pread(fd, len(streams.MAGIC), 0)):
            header, whole = streams.read_head(functools.partial(_read, fd), size, keyring)
            return act(CheckedEntry(fd, status, header, whole, streams.rows_of(whole, header)))
        header, head = read_head(fd, size, keyring)
        return act(CheckedEntry(fd, status, header, head, entry_format.table_of(head, header, size)))
    except MemoryError as error:
        raise DamagedEntry("it claims more memory than there is") from error
    except OSError as error:
        raise_if_interrupt(error)
        raise Miss("damaged", detail=f"it cannot be read: {error.strerror}") from error
    finally:
        os.closerange(fd, fd + 1)


def inspect_file(
    place: str, keyring: Keyring, *, buffers: bool = False, stream: bool = True, open_it: Opener = open_entry
) -> Inspection:
    """Check an entry's tag, and with `buffers` all its digests, without unpickling; raises `Miss`.

    Without `stream` the pickle stream, which may be long, is left out; `buffers` still checks that it unpacks.
    """

    def inspect(entry: CheckedEntry) -> Inspection:
        header, head = entry.header, entry.head
        if header.kind == STREAM:
            imports = _checked_chunks(entry, named=stream) if buffers else ()
            return Inspection(header, entry_format.meta_of(head, header), b"", entry.rows, imports)
        unpacked = bytes(entry_format.stream_of(head, header)) if stream else b""
        if buffers:
            if not stream:
                entry_format.check_stream(head, header)
            check_paddings(entry.fd, header, entry.rows)
            for row in entry.rows:
                entry_format.check_pieces(row, functools.partial(_pieces, entry.fd, row))
        return Inspection(header, entry_format.meta_of(head, header), unpacked, entry.rows)

    return examine(place, keyring, inspect, open_it)


def _read(fd: int, length: int, offset: int) -> bytearray:
    """So many bytes of a file; raises `DamagedEntry` where there are fewer."""
    data = bytearray(length)
    read_into(fd, memoryview(data), offset)
    return data


def _checked_chunks(entry: CheckedEntry, *, named: bool) -> tuple[str, ...]:
    """Check all chunks of a stream, one after the other; return the names in them that loading would import."""
    names: set[str] = set()
    for row in entry.rows:
        raw = streams.unpacked(row, _read(entry.fd, row.length, row.offset))
        if named:
            for pickle in filter(names_anything, map(bytes, streams.pickles_in(row, raw))):
                names.update(imports_of(pickle))
    return tuple(sorted(names))


def _pieces(fd: int, row: BufferRow) -> Iterator[bytes]:
    """The stored bytes of a buffer, which may be larger than memory."""
    done = 0
    while done < row.length:
        piece = os.pread(fd, min(_PIECE, row.length - done), row.offset + done)
        if not piece:
            raise DamagedEntry("it was cut short while being read")
        done += len(piece)
        yield piece


def check_file(place: str, address: Address, keyring: Keyring, now_ns: int, open_it: Opener = open_entry) -> Header:
    """Check everything that a hit checks except for unpickling, and return the header; raises `Miss`."""
    inspection = inspect_file(place, keyring, buffers=True, open_it=open_it)
    header = inspection.header
    entry_format.check_identity(header, address.key, address.function_id)
    entry_format.check_age(header, now_ns, address.ttl_ns)
    if inspection.imports is not None:
        if header.flags and not names_mean_the_same(header.flags, inspection.imports, address.home, may_be_none=True):
            raise Miss("unloadable", detail=OTHER_MODULE)
    elif header.flags and not means_the_same(header.flags, inspection.stream, address.home):
        raise Miss("unloadable", detail=OTHER_MODULE)
    return header
