"""Buffers above 4 MiB, whose digests are made in segments, and those that the first entries of format 1 have."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from blake3 import blake3

from pcache.entry import format as entry_format
from pcache.entry.compression import RAW, Part
from pcache.entry.format import decode
from pcache.entry.inspector import inspect_file
from pcache.entry.reader import Address, read_value
from pcache.errors import DamagedEntry, Miss
from pcache.system.digests import SEGMENT, digest_of
from tests.support.processes import FACTS, RING, Block, entry_bytes, joined

CONTENT = blake3(b"content").digest(3 * SEGMENT + 777)
GOLDEN = "a7e670c60ac39b4735871ab1a998cfd4319df9245c0b61dbe3d9b63d39481eb1"
ADDRESS = Address("name", FACTS.key, FACTS.function_id, None)


def with_row(data: bytes, **change: object) -> bytes:
    """An entry with a changed row of its only buffer, and the tag that belongs to it."""
    header = entry_format.read_header(data, len(data))
    [row] = entry_format.table_of(data, header, len(data))
    at = header.head_length - entry_format.TABLE_ROW.size
    head = data[entry_format.HEADER_AT : at] + entry_format.TABLE_ROW.pack(*row._replace(**change))
    return entry_format.MAGIC + blake3(head, key=RING.signing_key).digest() + head + data[header.head_length :]


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, len(CONTENT)])
def test_the_digest_in_the_table(size: int) -> None:
    """Up to 4 MiB rows are those of the first release; above, a mark says that the digest is made in segments."""
    content = CONTENT[:size]
    data = joined(FACTS, b"", Part(b"", 0, RAW), [Part(content, size, RAW)])
    [row] = entry_format.table_of(data, decode(data, RING)[0], len(data))
    assert (row.in_segments, row.digest) == (size > SEGMENT, digest_of(content))
    assert (row.digest == blake3(content).digest()) == (size <= SEGMENT)


def test_golden_entry() -> None:
    """The very bytes of an entry with a large buffer, as the first release writes them; a file would be large."""
    data = joined(FACTS, b"{}", Part(b"stream", 6, RAW), [Part(CONTENT, len(CONTENT), RAW), Part(b"small", 5, RAW)])
    assert blake3(data).hexdigest() == GOLDEN


def test_entries_of_before_are_read(tmp_path: Path) -> None:
    """Entries of format 1 without the mark have BLAKE3 of the whole buffer; each digest is taken as what it is."""
    value = [Block(CONTENT)]
    data = entry_bytes(value)
    old = with_row(data, in_segments=0, digest=blake3(CONTENT).digest())
    for one in (data, old):
        assert bytes(decode(one, RING)[3][0]) == CONTENT
        (tmp_path / "entry").write_bytes(one)
        assert read_value(str(tmp_path / "entry"), ADDRESS, RING, FACTS.created_ns, "always").value == value
        inspect_file(str(tmp_path / "entry"), RING, buffers=True)
    for change in ({"in_segments": 0}, {"digest": blake3(CONTENT).digest()}, {"in_segments": 2}, {"in_segments": 255}):
        with pytest.raises(DamagedEntry, match="digest"):
            decode(with_row(data, **change), RING)
    with pytest.raises(DamagedEntry, match="digest"):
        decode(with_row(old, in_segments=1), RING)


@pytest.mark.parametrize("verify", ["always", "once"])
def test_damage_anywhere_is_a_miss(tmp_path: Path, verify: str) -> None:
    """A flipped bit in each segment, swapped segments, cut and added bytes: never a value."""
    path = tmp_path / "entry"
    part = Part(CONTENT, len(CONTENT), RAW)
    data = joined(FACTS, b"", Part(b"no pickle", 9, RAW), [part])
    header = decode(data, RING)[0]
    [row] = entry_format.table_of(data, header, len(data))
    assert row.in_segments == 1
    chance = random.Random(2)
    edges = range(row.offset, row.offset + row.length, SEGMENT)
    places = [edge + move for edge in edges for move in (0, chance.randrange(700))] + [edge - 1 for edge in edges[1:]]
    changed = []
    for at in [*places, len(data) - 1]:
        one = bytearray(data)
        one[at] ^= 1 << chance.randrange(8)
        changed.append(bytes(one))
    first, second, rest = (row.offset + count * SEGMENT for count in range(3))
    changed.append(data[:first] + data[second:rest] + data[first:second] + data[rest:])
    changed += [data[:-1], data[:-SEGMENT], data + b"\0"]
    for one in changed:
        path.write_bytes(one)
        with pytest.raises(Miss) as caught:
            read_value(str(path), ADDRESS, RING, FACTS.created_ns, verify)
        assert caught.value.reason == "damaged"
        with pytest.raises(DamagedEntry):
            inspect_file(str(path), RING, buffers=True)
        with pytest.raises(DamagedEntry):
            decode(one, RING)
