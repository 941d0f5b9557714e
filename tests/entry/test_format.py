"""The bytes of an entry: whatever was encoded is decoded, and anything else is damaged or foreign."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pcache.entry import format as entry_format
from pcache.entry.compression import RAW, ZSTD, Part, compress_buffer, compress_stream
from pcache.entry.format import Facts, Header, decode, encode
from pcache.entry.inspector import inspect_file
from pcache.entry.reader import Address, read_value
from pcache.errors import DamagedEntry, ExpiredEntry, ForeignEntry
from pcache.signing.keyring import make_keyring
from tests.support.processes import FACTS, KEY, OTHER_RING, RING, Block, entry_bytes, joined

HERE = Path(__file__).parent.parent
SECOND = 10**9

times = st.integers(0, entry_format.NEVER)
facts_of_entries = st.builds(
    Facts, st.binary(min_size=20, max_size=20), st.binary(min_size=8, max_size=8), *[times] * 3, st.integers(0, 65535)
)
texts = st.text("aß\0", max_size=9)
metas = st.dictionaries(texts, st.integers() | texts, max_size=3)
# Random bytes do not shrink; repeated ones of 4 KiB and more do.
bodies = st.binary(max_size=200) | st.builds(bytes.__mul__, st.binary(min_size=1, max_size=9), st.integers(0, 3000))
settings_of_compression = st.sampled_from(["auto", "none", 1, 9])

SMALL = {
    "without a buffer": entry_bytes({"a": 1}),
    "a raw buffer": entry_bytes([Block(b"0123456789")]),
    "two buffers, one compressed": entry_bytes([Block(b"raw"), Block(b"z" * 5000)]),
}


@settings(deadline=None, max_examples=150)
@given(facts_of_entries, metas, bodies, st.lists(bodies, max_size=5), settings_of_compression)
def test_round_trip(facts: Facts, meta: dict, stream: bytes, buffers: list[bytes], setting: str | int) -> None:
    """What was encoded is decoded: facts, meta, stream and buffers, compressed or not."""
    parts = [compress_buffer(memoryview(buffer), setting) for buffer in buffers]
    data = joined(facts, json.dumps(meta).encode(), compress_stream(stream, setting), parts)
    header, found_meta, found_stream, found_buffers = decode(data, RING)
    assert (*header[:2], *header[3:6], header.flags) == facts
    assert (header.key_id, type(found_stream)) == (RING.signing, bytes)
    assert (found_meta, found_stream, [bytes(buffer) for buffer in found_buffers]) == (meta, stream, buffers)
    assert all(row.offset % 64 == 0 for row in entry_format.table_of(data, header, len(data)))


def test_a_small_entry_is_checked_as_a_whole() -> None:
    """Nothing may follow it, another's key is told from damage, and an entry has no marks unless it is given some."""
    data = SMALL["without a buffer"]
    with pytest.raises(DamagedEntry, match="lengths"):
        entry_format.read_header(data + b"x", len(data) + 1)
    header = entry_format.read_header(data, len(data))
    assert (header.flags, FACTS.flags) == (0, 0)
    assert entry_format.meta_of(memoryview(data), header) == decode(data, RING)[1]
    entry_format.check_identity(header, FACTS.key, FACTS.function_id)
    with pytest.raises(ForeignEntry, match="not one of ours"):
        entry_format.authenticate(data, header, OTHER_RING)


@pytest.mark.parametrize("setting", ["none", 1])
def test_what_is_only_checked(setting: str | int) -> None:
    """A stream and a buffer in pieces pass as they are, and not with another length or digest."""
    stream, stored = compress_stream(b"z" * 5000, setting), compress_buffer(memoryview(b"y" * 5000), setting)
    data = joined(FACTS, b"{}", stream, [stored])
    header = entry_format.read_header(data, len(data))
    entry_format.check_stream(data, header)
    with pytest.raises(DamagedEntry):
        entry_format.check_stream(data, header._replace(stream_raw_length=header.stream_raw_length + 1))
    [row] = entry_format.table_of(data, header, len(data))
    body = data[row.offset :]
    entry_format.check_pieces(row, lambda: [body[:7], body[7:]])
    for wrong in (row._replace(digest=bytes(32)), row._replace(raw_length=row.raw_length + 1)):
        with pytest.raises(DamagedEntry):
            entry_format.check_pieces(wrong, lambda: [body[:7], body[7:]])


@pytest.mark.parametrize("size", [0, 65535, 65536, 65537, 1 << 20])
def test_a_stream_of_any_size_is_signed_alike(size: int) -> None:
    """Small heads are joined before they are signed and large ones are not; both are read the same way."""
    stream = (bytes(range(256)) * (size // 256 + 1))[:size]
    buffers = [Part(b"one", 3, RAW), Part(b"two", 3, RAW)]
    header, _, found, bodies = decode(joined(FACTS, b"", Part(stream, size, RAW), buffers), RING)
    assert (header.n_buffers, found, bodies) == (2, stream, [b"one", b"two"])


def test_small_heads_are_one_piece_and_large_streams_are_not_copied() -> None:
    """What is small is one write; what is large is written, and read again, from where it lies."""
    assert len(encode(FACTS, b"{}", Part(b"small", 5, RAW), [], RING)) == 1
    stream = bytes(1 << 20)
    pieces = encode(FACTS, b"{}", Part(stream, len(stream), RAW), [], RING)
    assert any(piece is stream for piece in pieces)
    data = b"".join(pieces)
    assert entry_format.stream_of(data, entry_format.read_header(data, len(data))).obj is data


def every_flipped_bit(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            yield bytes(changed)


def shortened(data: bytes) -> Iterator[bytes]:
    yield from (data[:length] for length in range(len(data)))


def lengthened(data: bytes) -> Iterator[bytes]:
    yield from (data + more for more in (b"\0", b"x", b"\0" * 64, data, data[:1]))


def with_bytes_taken_out(data: bytes) -> Iterator[bytes]:
    yield from (data[:at] + data[at + 1 :] for at in range(len(data)))


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("damage", [every_flipped_bit, shortened, lengthened, with_bytes_taken_out])
def test_damage(data: bytes, damage: Callable[[bytes], Iterator[bytes]]) -> None:
    """Each single flipped bit, cut, added or missing byte raises `DamagedEntry`, and nothing else."""
    decode(data, RING)
    for changed in damage(data):
        with pytest.raises(DamagedEntry):
            decode(changed, RING)


@settings(max_examples=300)
@given(st.binary(max_size=400), st.booleans())
def test_noise(noise: bytes, begins_well: bool) -> None:
    """Any bytes at all raise `DamagedEntry`, also behind a magic that is right."""
    with pytest.raises(DamagedEntry):
        decode(entry_format.MAGIC + noise if begins_well else noise, RING)


def test_swapped_buffers() -> None:
    """Two buffers of one size that changed places are damage: each digest belongs to its place."""
    data = joined(FACTS, b"", Part(b"", 0, RAW), [Part(b"a" * 64, 64, RAW), Part(b"b" * 64, 64, RAW)])
    with pytest.raises(DamagedEntry, match="digest"):
        decode(data[:-128] + data[-64:] + data[-128:-64], RING)


@pytest.mark.parametrize("field", ["meta_length", "stream_length", "n_buffers"])
@pytest.mark.parametrize("name", SMALL)
def test_lengths_that_do_not_fit_are_damage(field: str, name: str) -> None:
    """A header that announces more than the file holds is refused before anybody takes memory for it."""
    data = SMALL[name]
    header = entry_format.read_header(data, len(data))
    more = entry_format.HEADER.pack(*header._replace(**{field: getattr(header, field) + len(data)}))
    with pytest.raises(DamagedEntry, match="lengths"):
        entry_format.read_header(data[: entry_format.HEADER_AT] + more, len(data))


def signed_again(data: bytes, at: int, new: bytes) -> bytes:
    """An entry with other bytes somewhere in its head, and the tag that belongs to them."""
    end = entry_format.read_header(data, len(data)).head_length
    head = data[entry_format.HEADER_AT : at] + new + data[at + len(new) : end]
    return entry_format.MAGIC + blake3(head, key=RING.signing_key).digest() + head + data[end:]


def test_what_a_faulty_writer_signs_is_damage() -> None:
    """Under a right tag a wrong proof is refused, and so is a buffer that does not start where it has to."""
    data = joined(FACTS, b"", Part(b"", 0, RAW), [Part(b"b" * 64, 64, RAW)])
    assert decode(signed_again(data, entry_format.META_AT, data[entry_format.META_AT :][:8]), RING)[3] == [b"b" * 64]
    with pytest.raises(DamagedEntry, match="proof"):
        decode(signed_again(data, entry_format.META_AT - 12, bytes(8)), RING)
    table = struct.pack("<Q", entry_format.table_of(data, decode(data, RING)[0], len(data))[0].offset + 64)
    with pytest.raises(DamagedEntry, match="does not start"):
        decode(signed_again(data, entry_format.META_AT, table) + bytes(64), RING)


def test_another_key_is_foreign() -> None:
    """An intact entry of a key that is not ours is foreign, and not called damaged."""
    with pytest.raises(ForeignEntry) as caught:
        decode(entry_bytes(1, ring=OTHER_RING), RING)
    assert OTHER_RING.signing.hex() in caught.value.detail


def test_a_flipped_header_of_another_key_is_damaged() -> None:
    """Without its key the check still tells a damaged header; the rest of a foreign entry is not looked at."""
    data = entry_bytes({"a": 1}, ring=OTHER_RING)
    for at, changed in enumerate(every_flipped_bit(data)):
        in_header = (
            at // 8 < entry_format.HEADER_AT - entry_format.TAG_SIZE
            or entry_format.HEADER_AT <= at // 8 < entry_format.META_AT
        )
        with pytest.raises(DamagedEntry if in_header else ForeignEntry):
            decode(changed, RING)


def test_any_key_of_the_ring_verifies() -> None:
    """An older key of a rotation still reads its entries; new ones are signed by the first."""
    both = make_keyring([KEY, b"o" * 32])
    assert decode(entry_bytes(1, ring=make_keyring([b"o" * 32])), both)[0].key_id == make_keyring([b"o" * 32]).signing
    assert decode(entry_bytes(1, ring=both), both)[0].key_id == RING.signing


def wanted(expires_ns: int, now_ns: int, ttl_ns: int | None, created_ns: int = 1000 * SECOND) -> None:
    facts = FACTS._replace(created_ns=created_ns, expires_ns=expires_ns)
    header = decode(entry_bytes(1, facts), RING)[0]
    entry_format.check_age(header, now_ns, ttl_ns)


@pytest.mark.parametrize(
    ("expires", "now", "ttl"),
    [
        (entry_format.NEVER, 1000, None),
        (entry_format.NEVER, 0, None),  # the clock was set back, and age does not matter
        (entry_format.NEVER, 10**9, None),
        (1010, 1000, None),
        (1010, 1009, None),
        (entry_format.NEVER, 1009, 10),
        (entry_format.NEVER, 940, 10),  # a clock a minute behind is an ordinary one
    ],
)
def test_young_enough(expires: int, now: int, ttl: int | None) -> None:
    """An entry is good until the second at which it expires, by its writer's limit and by its reader's."""
    wanted(expires if expires == entry_format.NEVER else expires * SECOND, now * SECOND, ttl and ttl * SECOND)


@pytest.mark.parametrize(
    ("expires", "now", "ttl"),
    [
        (1010, 1010, None),
        (1010, 10**9, None),
        (1010, 1010, 10**6),  # the reader is more patient than the writer
        (entry_format.NEVER, 1010, 10),
        (2000, 1010, 10),  # the writer was more patient than the reader
        (entry_format.NEVER, 939, 10),  # the clock was set back by more than a minute: the age is not known
        (2000, 939, None),
        (1000, 1000, None),
    ],
)
def test_too_old(expires: int, now: int, ttl: int | None) -> None:
    """An entry expires by its writer's limit or its reader's, whichever is stricter, or when it is from the future."""
    with pytest.raises(ExpiredEntry):
        wanted(expires if expires == entry_format.NEVER else expires * SECOND, now * SECOND, ttl and ttl * SECOND)


@pytest.mark.parametrize("change", [{"key": b"k" * 20}, {"function_id": b"f" * 8}])
def test_the_entry_of_another_call_is_damage(change: dict[str, bytes]) -> None:
    """An authentic entry under another call's name is not that call's, in key and in function."""
    header = decode(entry_bytes(1, FACTS._replace(**change)), RING)[0]
    with pytest.raises(DamagedEntry, match="another call"):
        entry_format.check_identity(header, FACTS.key, FACTS.function_id)


@pytest.mark.parametrize("kind", [entry_format.STREAM, 2, 255])
def test_another_kind_is_damage(tmp_path: Path, kind: int) -> None:
    """What is signed as of this format but of another kind is refused alike by all that read files."""
    stream = b"N."
    head = entry_format.encode_header(FACTS, kind, RAW, (0, len(stream), len(stream), 0), RING) + stream
    data = entry_format.MAGIC + blake3(head, key=KEY).digest() + head
    path = tmp_path / "entry"
    path.write_bytes(data)
    for read in (
        lambda: decode(data, RING),
        lambda: inspect_file(str(path), RING),
        lambda: read_value(str(path), Address("", FACTS.key, FACTS.function_id, None), RING, 0, "once"),
    ):
        with pytest.raises(DamagedEntry, match=f"kind {kind} is not that of format 1"):
            read()


@pytest.mark.parametrize("declared", [0, 1, 4999, 5001, 1 << 40, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("codec", [RAW, ZSTD, 2, 255])
@pytest.mark.parametrize("where", ["stream", "buffer"])
def test_a_wrong_length_is_damage_even_when_signed(declared: int, codec: int, where: str) -> None:
    """An entry of our own key that declares another length than its parts have is damaged, whatever the codec."""
    body = compress_stream(b"z" * 5000).data if codec == ZSTD else b"z" * 5000
    wrong, right = Part(body, declared, codec), Part(b"", 0, RAW)
    data = joined(FACTS, b"", wrong if where == "stream" else right, [wrong] if where == "buffer" else [])
    with pytest.raises(DamagedEntry):
        decode(data, RING)


@pytest.mark.parametrize("meta", [b"{", b"[]", b"1", b"\xff", b'{"a":}'])
def test_a_meta_part_that_is_no_object_is_damage(meta: bytes) -> None:
    """The meta part is a JSON object or nothing."""
    with pytest.raises(DamagedEntry, match="meta"):
        decode(joined(FACTS, meta, Part(b"", 0, RAW), []), RING)
    assert decode(joined(FACTS, b"", Part(b"", 0, RAW), []), RING)[1] == {}


GOLDEN = {
    "format1-plain": {"answer": 42, "name": "päckchen", "none": None},
    "format1-compressed": "never stale, never mixed up\n" * 1000,
    "format1-buffers": [bytearray(b"raw"), bytearray(), bytearray(b"shrinks" * 1000), 2.5],
    "format1-ttl": (True, -(10**30), b"\x00\xff"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files(name: str) -> None:
    """Files written in 2026 are read by every later release; they are never written again."""
    header, meta, stream, buffers = decode((HERE / "golden" / "entries" / f"{name}.pce").read_bytes(), RING)
    assert pickle.loads(stream, buffers=buffers) == GOLDEN[name]
    expires = 1_767_225_600 * SECOND if name == "format1-ttl" else entry_format.NEVER
    assert header[:6] == (bytes(range(20)), bytes(range(8)), RING.signing, 1_767_222_000 * SECOND, expires, 5 * SECOND)
    assert meta == {"function": "golden:f", "arguments": "n=3", "result": name, "type": type(GOLDEN[name]).__name__}


def struct_fields(layout: struct.Struct, names: list[str]) -> list[tuple[str, int, int]]:
    """Name, offset and size of each field of a struct; the fields without a value are called zero."""
    fields, at = [], 0
    left = iter(names)
    for count, code in re.findall(r"(\d*)([a-zA-Z])", layout.format):
        size = struct.calcsize(f"<{count}{code}") if code in "sx" else struct.calcsize(f"<{code}")
        for _ in range(1 if code in "sx" or not count else int(count)):
            fields.append(("zero" if code == "x" else next(left), at, size))
            at += size
    assert (at, list(left)) == (layout.size, [])
    return fields


def documented(section: str) -> list[tuple[str, int, int]]:
    """The fields in the first table below a heading of docs/format.md."""
    text = (HERE.parent / "docs" / "format.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    return [(name, int(at), int(size)) for name, at, size in rows]


def test_the_document_describes_the_structs() -> None:
    """The byte tables of docs/format.md name every field of the structs, at its place and with its size."""
    assert documented("Prefix") == [
        ("magic", 0, len(entry_format.MAGIC)),
        ("tag", len(entry_format.MAGIC), entry_format.TAG_SIZE),
    ]
    assert documented("Header") == struct_fields(entry_format.HEADER, list(Header._fields))
    assert documented("Table row") == struct_fields(entry_format.TABLE_ROW, list(entry_format.BufferRow._fields))
    text = (HERE.parent / "docs" / "format.md").read_text()
    assert f"| {entry_format.FORMAT} | 2026 |" in text
    assert f"multiple of {entry_format.ALIGNMENT}" in text


def test_the_pieces_make_up_the_file() -> None:
    """The pieces of an entry are written one after the other and make up exactly the file that is read."""
    pieces = encode(FACTS, b"{}", Part(b"s" * 100_000, 100_000, RAW), [Part(memoryview(b"b" * 10), 10, RAW)], RING)
    data = b"".join(bytes(piece) for piece in pieces)
    header = entry_format.read_header(data, len(data))
    assert header.head_length + (-header.head_length % 64) + 10 == len(data)
