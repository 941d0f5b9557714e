"""The bytes of a stored stream: what was written is read, and anything else is damaged or foreign."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcache.entry import format as entry_format
from pcache.entry import streams
from pcache.entry.compression import Part, compress_stream
from pcache.entry.format import META_AT, Facts
from pcache.entry.inspector import inspect_file
from pcache.entry.pickling import dump_whole
from pcache.entry.reader import Address, read_value
from pcache.entry.streams import ChunkRow, open_stream
from pcache.errors import Miss, without_tracebacks
from pcache.signing.keyring import Keyring
from tests.entry.test_format import HERE, documented, struct_fields
from tests.support.processes import FACTS, OTHER_RING, RING, entry_bytes

ADDRESS = Address("", FACTS.key, FACTS.function_id, None)
CHUNKS: list[list[Any]] = [[0, "one", None], [b"z" * 5000, [1, 2]], [{"three": 3.0}]]


def stream_bytes(
    chunks: Sequence[list[Any]],
    value: Any = "returned",
    facts: Facts = FACTS,
    ring: Keyring = RING,
    meta: bytes = b"{}",
    setting: str | int = 1,
) -> bytes:
    """The file of a stream whose items are in given chunks."""
    parts = [
        (len(items), compress_stream(streams.join_chunk(list(map(dump_whole, items))), setting)) for items in chunks
    ]
    end = dump_whole(value)
    rows: list[ChunkRow] = []
    at = META_AT
    for count, part in (*parts, (0, Part(end, len(end), 0))):
        rows.append(streams.row_of(at, count, part))
        at += len(part.data)
    head, footer = streams.encode(facts, meta, rows, ring)
    return b"".join((head, *(part.data for _, part in parts), end, footer))


def read(path: Path, address: Address = ADDRESS) -> tuple[list[Any], Any]:
    """All items of a stored stream, and what the generator returned."""
    stored = open_stream(str(path), address, RING, FACTS.created_ns).value
    *chunks, last = [list(stored.chunk(number)) for number in range(len(stored.rows))]
    return [item for chunk in chunks for item in chunk], last[0]


def reason_of(path: Path, address: Address = ADDRESS) -> str:
    try:
        found = read(path, address)
    except Miss as miss:
        return without_tracebacks(miss).reason
    return f"{found!r:.99}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "entry"


plain = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(plain, min_size=1, max_size=4), max_size=4), plain, st.sampled_from(["none", 1]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, chunks: list[Any], value: Any, setting: str) -> None:
    """What was written is read, in any number of chunks, compressed or not."""
    path = tmp_path_factory.getbasetemp() / "stream"
    path.write_bytes(stream_bytes(chunks, value, setting=setting))
    assert read(path) == ([item for chunk in chunks for item in chunk], value)


@pytest.mark.parametrize("more", [0, 100_000])
def test_every_flipped_bit_is_a_miss(path: Path, more: int) -> None:
    """In a small file each flipped bit and each cut, in a large one those of each part, are the miss `damaged`."""
    chunks = [*CHUNKS, [os.urandom(more)]] if more else CHUNKS
    data = stream_bytes(chunks)
    path.write_bytes(data)
    assert read(path) == ([item for chunk in chunks for item in chunk], "returned")
    table_at = len(data) - streams.CHUNK_ROW.size * (len(chunks) + 1)
    parts = [*range(META_AT + 20), *random.sample(range(META_AT, table_at), 60), *range(table_at - 9, len(data))]
    with open(path, "r+b", buffering=0) as file:
        for number, at in enumerate(parts if more else range(len(data))):
            for bit in [number % 8] if more else range(8):
                os.pwrite(file.fileno(), bytes([data[at] ^ 1 << bit]), at)
                assert reason_of(path) == "damaged", (at, bit)
            os.pwrite(file.fileno(), data[at : at + 1], at)
        for length in [*random.sample(range(len(data)), 40), len(data) - 1, META_AT, 0]:
            path.write_bytes(data[:length])
            assert reason_of(path) == "damaged", length
    path.write_bytes(data + b"\0")
    assert reason_of(path) == "damaged"
    path.write_bytes(data)
    assert reason_of(path).startswith("([0")


def test_nothing_is_unpickled_before_the_tag_and_the_digest(path: Path, tmp_path: Path) -> None:
    """A pickle that someone without the key put in place of a chunk is not loaded, whatever they change with it."""

    class Canary:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "canary"), "w")

    data, planted = stream_bytes([[bytes(300)]], setting="none"), stream_bytes([[Canary()]], ring=OTHER_RING)
    body = streams.join_chunk([dump_whole(Canary())])
    changed = data[:META_AT] + body + data[META_AT + len(body) :]
    for bad in (planted, changed, data[:META_AT] + planted[META_AT:], planted[:40] + data[40:]):
        path.write_bytes(bad)
        assert reason_of(path) in ("damaged", "foreign")
    assert not (tmp_path / "canary").exists()


def test_what_a_faulty_writer_signs_is_damage(path: Path) -> None:
    """Under a right tag chunks that overlap, a table without an end and lengths that are wrong are refused."""
    rows = [streams.row_of(META_AT, 1, Part(b"abcdefgh", 8, 0)), streams.row_of(META_AT + 8, 0, Part(b"N.", 2, 0))]
    wrong = [
        rows[:1],
        [],
        [rows[0], rows[1]._replace(offset=META_AT)],
        [rows[0]._replace(items=0), rows[1]],
        [rows[0], rows[1]._replace(items=1)],
        [rows[0]._replace(raw_length=9), rows[1]],
        [rows[0]._replace(codec=7), rows[1]],
        [rows[0]._replace(items=3), rows[1]],
    ]
    for table in wrong:
        head, footer = streams.encode(FACTS, b"{}", table, RING)
        chunks = b"abcdefghN."[: sum(row.length for row in table)]
        path.write_bytes(head + chunks + footer)
        assert reason_of(path) == "damaged", table


def test_an_entry_is_of_one_format(path: Path) -> None:
    """Where a stream is asked for another entry is damaged, and the other way round: the magic is looked at first."""
    path.write_bytes(entry_bytes({"a": 1}))
    assert reason_of(path) == "damaged"
    for data in (stream_bytes(CHUNKS), stream_bytes([[bytes(100_000)]], setting="none")):
        path.write_bytes(data)
        with pytest.raises(Miss, match="magic is not that of format 1"):
            read_value(str(path), ADDRESS, RING, FACTS.created_ns, "once")


def test_other_misses(path: Path) -> None:
    """Another key's is foreign, an old one expired, another call's damaged, and none absent."""
    assert reason_of(path) == "absent"
    path.write_bytes(stream_bytes(CHUNKS, ring=OTHER_RING))
    assert reason_of(path) == "foreign"
    path.write_bytes(stream_bytes(CHUNKS, facts=FACTS._replace(expires_ns=FACTS.created_ns)))
    assert reason_of(path) == "expired"
    path.write_bytes(stream_bytes(CHUNKS, facts=FACTS._replace(key=b"k" * 20)))
    assert reason_of(path) == "damaged"


def test_an_inspection(path: Path) -> None:
    """Metadata, items and imports are read without unpickling, and every chunk is checked."""
    data = stream_bytes([*CHUNKS, [Decimal(1)]], meta=json.dumps({"function": "m:f"}).encode())
    path.write_bytes(data)
    found = inspect_file(str(path), RING, buffers=True)
    assert (found.meta, found.imports) == ({"function": "m:f"}, ("decimal.Decimal",))
    assert [row.items for row in found.rows] == [3, 2, 1, 1, 0]
    path.write_bytes(data[:META_AT] + b"\xff" + data[META_AT + 1 :])
    assert inspect_file(str(path), RING).meta == {"function": "m:f"}
    with pytest.raises(Miss, match="digest"):
        inspect_file(str(path), RING, buffers=True, stream=False)


def test_golden_file() -> None:
    """A file of format 2 written in 2026 is read by every later release; it is never written again."""
    path = HERE / "golden" / "entries" / "format2-stream.pce"
    address = Address("", bytes(range(20)), bytes(range(8)), None)
    stored = open_stream(str(path), address, RING, 1_767_222_000 * 10**9).value
    assert read(path, address) == ([*range(10), "päckchen", "stream " * 2000], {"returned": True})
    assert stored.header[2:6] == (RING.signing, 1_767_222_000 * 10**9, entry_format.NEVER, 5 * 10**9)
    assert [(row.items, row.codec) for row in stored.rows] == [(11, 0), (1, 1), (0, 0)]
    assert inspect_file(str(path), RING).meta == {"function": "golden:g", "type": "generator", "result": "12 items"}


def test_the_document_describes_the_struct() -> None:
    """docs/format.md names every field of a chunk's row, at its place and with its size."""
    assert documented("Chunk row") == struct_fields(streams.CHUNK_ROW, list(ChunkRow._fields))
    text = (HERE.parent / "docs" / "format.md").read_text()
    assert f"| {streams.FORMAT} | 2026 |" in text
