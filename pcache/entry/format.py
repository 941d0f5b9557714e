"""The bytes of an entry, format 1: encode and decode. No files, no pickles.

Little-endian. `docs/format.md` describes it in prose, and a test compares its tables with the structs below.

    entry    = magic(8) tag(32) header meta stream table padding buffers
    magic    = "PCACHE" 0x00 format
    tag      = keyed BLAKE3 over header, meta, stream and table, as stored
    header   = key(20) function_id(8) key_id(8) created_ns(8) expires_ns(8) cost_ns(8)
               kind(1) codec(1) flags(2) meta_length(4) stream_length(8) stream_raw_length(8) n_buffers(4)
               proof(8) check(4)
    table    = per buffer: offset(8) length(8) raw_length(8) codec(1) in_segments(1) zero(6) digest(32)
    buffers  = each at a multiple of 64, zeros between them

The head is what the tag covers: everything up to and including the table. A buffer has its own digest in the table, so
that it can be mapped before it is read. `proof` is a short tag of the header alone: it authenticates the lengths of a
large entry before memory is allocated for it. `check` is a digest of header and proof without a key, used only if the
signing key is unknown: then an intact header means that another user wrote the entry (foreign), else it is damaged.
"""

from __future__ import annotations

from _operator import _compare_digest as compare_digest  # hmac's, which imports OpenSSL
from _struct import Struct

from blake3 import blake3

from pcache.entry.compression import RAW
from pcache.errors import DamagedEntry, ExpiredEntry, ForeignEntry, Miss
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, late
from pcache.system.digests import SEGMENT, Content, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pcache.entry import compression
    from pcache.signing import seal
    from pcache.signing.keyring import Keyring
else:
    seal = late("pcache.signing.seal")
    compression = late("pcache.entry.compression")

# History. 1: 2026, the first.
FORMAT = 1
MAGIC = b"PCACHE\x00" + bytes([FORMAT])
HEADER = Struct("<20s8s8sqqqBBHIQQI8s4s")
TABLE_ROW = Struct("<QQQBB6x32s")
TAG_SIZE = 32
ALIGNMENT = 64
PICKLE, STREAM = 0, 1  # kinds: a protocol-5 pickle stream with its buffers out of band; that of `entry/streams.py`
NEVER = (1 << 63) - 1  # expires_ns of an entry without a ttl

_TAG_AT = len(MAGIC)
HEADER_AT = SEAL_SIZE = _TAG_AT + TAG_SIZE  # the seal: magic and tag, which no two entries share
META_AT = HEADER_AT + HEADER.size
_PROOF_SIZE, _CHECK_SIZE = 8, 4
_CHECK_AT = META_AT - _CHECK_SIZE
_PROOF_AT = _CHECK_AT - _PROOF_SIZE
_JOINED = 64 << 10  # bytes of a stream from which copying it takes longer than a second write
_CLOCK_SKEW_NS = 60 * 10**9  # a creation time further in the future means that a clock was set back


class Header(NamedTuple):
    """The fixed part of an entry, in the order of its bytes. Times are nanoseconds since 1970, cost nanoseconds."""

    key: bytes
    function_id: bytes
    key_id: bytes
    created_ns: int
    expires_ns: int
    cost_ns: int
    kind: int
    codec: int
    flags: int
    meta_length: int
    stream_length: int
    stream_raw_length: int
    n_buffers: int
    proof: bytes
    check: bytes

    @property
    def head_length(self) -> int:
        """Bytes up to the end of the table."""
        return META_AT + self.meta_length + self.stream_length + self.n_buffers * TABLE_ROW.size


# Makes a named tuple without a Python call, which `Header(...)` would take: hits and listings make many.
new_tuple = tuple.__new__


class BufferRow(NamedTuple):
    """The position of one buffer in the file, and the digest of its stored bytes; `in_segments` says how it is made.

    0: BLAKE3, whatever the length; 1: `system/digests.py`.
    """

    offset: int
    length: int
    raw_length: int
    codec: int
    in_segments: int
    digest: bytes


class Facts(NamedTuple):
    """Facts for an entry's header: which call it is of, when it was made, its cost, and the flags of `main_module`."""

    key: bytes
    function_id: bytes
    created_ns: int
    expires_ns: int
    cost_ns: int
    flags: int = 0


def encode(
    facts: Facts, meta: bytes, stream: compression.Part, buffers: Sequence[compression.Part], keyring: Keyring
) -> list[Any]:
    """Return the bytes of an entry as pieces to be written one after the other."""
    rows: list[bytes] = []
    bodies: list[Any] = []
    end = META_AT + len(meta) + len(stream.data) + len(buffers) * TABLE_ROW.size
    for part in buffers:
        size = memoryview(part.data).nbytes
        padding = -end % ALIGNMENT
        end += padding
        rows.append(TABLE_ROW.pack(end, size, part.raw_length, part.codec, size > SEGMENT, digest_of(part.data)))
        bodies += (bytes(padding), part.data)
        end += size
    lengths = (len(meta), len(stream.data), stream.raw_length, len(buffers))
    header = encode_header(facts, PICKLE, stream.codec, lengths, keyring)
    if len(stream.data) < _JOINED:
        head = b"".join((header, meta, stream.data, *rows))
        return [MAGIC + blake3(head, key=keyring.signing_key).digest() + head, *bodies]
    pieces = [header, meta, stream.data, b"".join(rows)]
    hasher = blake3(key=keyring.signing_key)
    for piece in pieces:
        hasher.update(piece)
    return [MAGIC + hasher.digest(), *pieces, *bodies]


def encode_header(facts: Facts, kind: int, codec: int, lengths: tuple[int, int, int, int], keyring: Keyring) -> bytes:
    """The header of an entry, with its proof and check; `lengths` are its last four numbers."""
    fields = (*facts[:2], keyring.signing, *facts[2:5], kind, codec, facts.flags)
    header = HEADER.pack(*fields, *lengths, b"", b"")[: -_PROOF_SIZE - _CHECK_SIZE]
    header += blake3(header, key=keyring.signing_key).digest(_PROOF_SIZE)
    return header + blake3(header).digest(_CHECK_SIZE)


def read_header(data: Any, file_size: int, magic: bytes = MAGIC, kind: int = PICKLE) -> Header:
    """Return the header of an entry whose file starts with `data` and is `file_size` bytes long.

    Checks magic and kind, and that the lengths fit into the file; nothing is authentic yet. Raises `DamagedEntry`.
    """
    if len(data) < META_AT:
        raise DamagedEntry("too short for a header")
    if data[:_TAG_AT] != magic:
        raise DamagedEntry(f"the magic is not that of format {magic[-1]}")
    header: Header = new_tuple(Header, HEADER.unpack_from(data, HEADER_AT))
    if header.kind != kind:
        raise DamagedEntry(f"kind {header.kind} is not that of format {magic[-1]}")
    # The same as `head_length`, without its Python call.
    end = META_AT + header.meta_length + header.stream_length + header.n_buffers * TABLE_ROW.size
    if end > file_size or (header.n_buffers == 0 and end != file_size):
        raise DamagedEntry("the lengths do not add up to the file's size")
    return header


def authenticate(head: Any, header: Header, keyring: Keyring) -> None:
    """Check the tag of a whole head; raises `DamagedEntry`, or `ForeignEntry` if the signing key is unknown."""
    key = keyring.keys.get(header.key_id)
    if key is None:
        raise _not_ours(head, header)
    if not compare_digest(blake3(head[HEADER_AT:], key=key).digest(), head[_TAG_AT:HEADER_AT]):
        raise DamagedEntry("the tag does not match")


def check_proof(start: Any, header: Header, keyring: Keyring) -> None:
    """Check that a header is authentic, before memory is allocated for its lengths; raises as `authenticate` does."""
    key = keyring.keys.get(header.key_id)
    if key is None:
        raise _not_ours(start, header)
    if not compare_digest(blake3(start[HEADER_AT:_PROOF_AT], key=key).digest(_PROOF_SIZE), header.proof):
        raise DamagedEntry("the header's proof does not match")


def _not_ours(start: Any, header: Header) -> Miss:
    """Why the key id of a header is unknown: an intact header of another user, or damage."""
    if blake3(start[HEADER_AT:_CHECK_AT]).digest(_CHECK_SIZE) == header.check:
        return ForeignEntry(f"signed with the key {header.key_id.hex()}, which is not one of ours")
    return DamagedEntry("the header does not match its check")


def check_identity(header: Header, key: bytes, function_id: bytes) -> None:
    """Raise `DamagedEntry` for an authentic entry under the name of another."""
    if header.key != key or header.function_id != function_id:
        raise DamagedEntry("it is the entry of another call")


def check_age(header: Header, now_ns: int, ttl_ns: int | None) -> None:
    """Raise `ExpiredEntry` if an entry is older than the reader's `ttl_ns`, or than its writer allowed."""
    if ttl_ns is None and header.expires_ns == NEVER:
        return
    created = header.created_ns
    if now_ns >= header.expires_ns or (ttl_ns is not None and now_ns - created >= ttl_ns):
        raise ExpiredEntry(f"made {(now_ns - created) / 1e9:.0f} s ago")
    if created > now_ns + _CLOCK_SKEW_NS:
        raise ExpiredEntry("made in the future: the clock was set back, and its age is unknown")


def stream_of(data: Any, header: Header) -> Any:
    """Return the pickle stream of an authenticated head."""
    start = META_AT + header.meta_length
    stream = memoryview(data)[start : start + header.stream_length]
    if header.codec != RAW:
        return compression.decompress(stream, header.codec, header.stream_raw_length)
    if header.stream_raw_length != header.stream_length:
        raise DamagedEntry("the stream has another length than declared")
    return stream


def meta_of(data: Any, header: Header) -> Mapping[str, Any]:
    """Return the metadata of an authenticated head: function, argument summary, result type, python, pid."""
    try:
        meta = seal.parse(bytes(data[META_AT : META_AT + header.meta_length]) or b"{}")
    except ValueError as error:
        raise DamagedEntry(f"the meta part is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise DamagedEntry("the meta part is not a JSON object")
    return {name: value for name, value in meta.items() if _is_sound(name, value)}


def _is_sound(name: str, value: object) -> bool:
    """Whether a member of the meta part has the type that its readers expect; others are left out."""
    if name in ("arguments", "digests") and isinstance(value, dict):
        return all(isinstance(text, str) for text in value.values())
    return isinstance(value, (str, int, float)) and name != "digests"


def table_of(data: Any, header: Header, file_size: int) -> list[BufferRow]:
    """Return the buffer table of an authenticated head, whose rows must fill the rest of the file."""
    table_at = META_AT + header.meta_length + header.stream_length
    rows = [BufferRow(*row) for row in TABLE_ROW.iter_unpack(data[table_at : header.head_length])]
    end = header.head_length
    for row in rows:
        if row.offset != end + -end % ALIGNMENT:
            raise DamagedEntry("a buffer does not start where the one before ends")
        end = row.offset + row.length
    if end != file_size:
        raise DamagedEntry("the lengths do not add up to the file's size")
    return rows


def check_stream(data: Any, header: Header) -> None:
    """Check what `stream_of` checks, without unpacking the stream as a whole."""
    if header.codec == RAW:
        stream_of(data, header).release()
        return
    start = META_AT + header.meta_length
    with memoryview(data)[start : start + header.stream_length] as stream:
        compression.check_unpacked([stream], header.codec, header.stream_raw_length)


def check_buffer(row: BufferRow, stored: Any) -> None:
    """Check the stored bytes of one buffer against the table; raises `DamagedEntry`."""
    digest = digest_of(stored) if row.in_segments else blake3(stored).digest()
    if not compare_digest(digest, row.digest) or row.in_segments > 1:
        raise DamagedEntry("a buffer does not match its digest")


def check_pieces(row: BufferRow, read: Callable[[], Iterable[Any]]) -> None:
    """Check one buffer, whose pieces each `read()` yields, and that it unpacks; raises `DamagedEntry`."""
    hasher: Any = Content() if row.in_segments else blake3()
    for piece in read():
        hasher.update(piece)
    if not compare_digest(hasher.digest(), row.digest) or row.in_segments > 1:
        raise DamagedEntry("a buffer does not match its digest")
    if row.codec != RAW:
        compression.check_unpacked(read(), row.codec, row.raw_length)
    elif row.raw_length != row.length:
        raise DamagedEntry("a buffer has another length than declared")


def paddings(header: Header, rows: Sequence[BufferRow]) -> list[tuple[int, int]]:
    """Return start and end of the gaps between table and buffers, which must hold zeros; some are empty."""
    ends = [header.head_length, *(row.offset + row.length for row in rows)]
    return [(end, row.offset) for end, row in zip(ends, rows, strict=False)]


def check_padding(gap: Any) -> None:
    """Raise `DamagedEntry` unless a gap holds only zeros."""
    if any(gap):
        raise DamagedEntry("the padding before a buffer is not zero")


def decode(data: Any, keyring: Keyring) -> tuple[Header, Mapping[str, Any], bytes, list[bytes]]:
    """Check a whole entry held in memory and return its header, meta, stream and buffers.

    Raises `DamagedEntry` or `ForeignEntry` and nothing else. Identity and age are the caller's to check.
    """
    header = read_header(data, len(data))
    check_proof(data, header, keyring)
    authenticate(data[: header.head_length], header, keyring)
    rows = table_of(data, header, len(data))
    for start, end in paddings(header, rows):
        check_padding(data[start:end])
    buffers = []
    for row in rows:
        stored = data[row.offset : row.offset + row.length]
        check_buffer(row, stored)
        buffers.append(unpack_buffer(row, stored))
    return header, meta_of(data, header), bytes(stream_of(data, header)), buffers


def unpack_buffer(row: BufferRow, stored: Any) -> Any:
    """Return the unpacked bytes of a checked buffer."""
    if row.codec != RAW:
        return compression.decompress(stored, row.codec, row.raw_length)
    if row.raw_length != row.length:
        raise DamagedEntry("a buffer has another length than declared")
    return stored


def head_of(pieces: Sequence[Any]) -> tuple[bytes, Header]:
    """The seal and the header of an entry that `encode` made."""
    first = pieces[0]
    header = (first, HEADER_AT) if len(first) > SEAL_SIZE else (pieces[1], 0)
    return first[:SEAL_SIZE], new_tuple(Header, HEADER.unpack_from(*header))


def length_of(pieces: Sequence[Any]) -> int:
    """The number of bytes of all pieces."""
    if len(pieces) == 1 and type(pieces[0]) is bytes:
        return len(pieces[0])  # a small entry
    return sum(memoryview(piece).nbytes for piece in pieces)
