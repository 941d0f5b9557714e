"""What an entry's file says, checked as a hit checks it; nothing is unpickled."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.entry import format as entry_format
from pcache.entry.main_module import means_the_same
from pcache.entry.reader import OTHER_MODULE, open_entry, read_into
from pcache.errors import DamagedEntry, EntryError, Miss
from pcache.system.interrupts import pass_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcache.entry.format import BufferRow, Header
    from pcache.entry.reader import Address
    from pcache.signing.keyring import Keyring


_PIECE = 1 << 20  # bytes


class Inspection(NamedTuple):
    """What an entry's file says, its tag checked; nothing was unpickled."""

    header: Header
    meta: Mapping[str, Any]
    stream: bytes
    rows: list[BufferRow]


def inspect_file(path: str, keyring: Keyring, *, buffers: bool = False, stream: bool = True) -> Inspection:
    """Check an entry's tag, and with `buffers` all its digests, without unpickling; raises `Miss`.

    Without `stream` what may be long stays packed and is left out; with `buffers` that it unpacks is still checked.
    """
    fd, status = open_entry(path, any_owner=keyring.any_owner)
    try:
        size = status.st_size
        beginning = os.pread(fd, entry_format.META_AT, 0)
        header = entry_format.read_header(beginning, size)
        entry_format.check_proof(beginning, header, keyring)
        data = memoryview(bytearray(header.head_length))
        read_into(fd, data, 0)
        entry_format.authenticate(data, header, keyring)
        rows = entry_format.table_of(data, header, size)
        unpacked = bytes(entry_format.stream_of(data, header)) if stream else b""
        if buffers and not stream:
            entry_format.check_stream(data, header)
        if buffers:
            for start, end in entry_format.paddings(header, rows):
                entry_format.check_padding(os.pread(fd, end - start, start))
            for row in rows:
                entry_format.check_pieces(row, functools.partial(_pieces, fd, row))
        return Inspection(header, entry_format.meta_of(data, header), unpacked, rows)
    except EntryError as error:
        raise Miss(error.reason, detail=error.detail) from error
    except MemoryError as error:
        raise Miss("damaged", detail="it claims more memory than there is") from error
    except OSError as error:
        pass_on(error)
        raise Miss("damaged", detail=f"it cannot be read: {error.strerror}") from error
    finally:
        os.closerange(fd, fd + 1)


def _pieces(fd: int, row: BufferRow) -> Iterator[bytes]:
    """The stored bytes of a buffer, which may be larger than memory."""
    done = 0
    while done < row.length:
        piece = os.pread(fd, min(_PIECE, row.length - done), row.offset + done)
        if not piece:
            raise DamagedEntry("it was cut short while being read")
        done += len(piece)
        yield piece


def check_file(address: Address, keyring: Keyring, now_ns: int) -> Header:
    """Check all that a hit checks, short of unpickling, and return the header; raises `Miss`."""
    inspection = inspect_file(address.path, keyring, buffers=True)
    header = inspection.header
    try:
        entry_format.check_identity(header, address.key, address.function_id)
        entry_format.check_age(header, now_ns, address.ttl_ns)
    except EntryError as error:
        raise Miss(error.reason, detail=error.detail) from error
    if header.flags and not means_the_same(header.flags, inspection.stream, address.home):
        raise Miss("unloadable", detail=OTHER_MODULE)
    return header
