"""Keys of contents above 4 MiB, which are hashed in segments: nothing but the content counts, and all of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from pcache import File
from pcache.keys.encoder import digest
from pcache.system import file_content
from pcache.system.digests import SEGMENT, digest_of
from tests.key_values import key_of

NUMBERS = np.random.default_rng(1).integers(0, 256, 3 * SEGMENT + 1088, dtype="u1")


@pytest.mark.parametrize("dtype", ["u1", "f8", ">i4", "M8[s]", "S7", "V5", "c16", "g"])
def test_the_layout_of_a_large_array_does_not_count(dtype: str, tmp_path: Path) -> None:
    """In C or Fortran order, strided, reversed, read-only or mapped; also where segments cut through elements."""
    flat = NUMBERS[: len(NUMBERS) // 560 * 560]
    array = flat[:900_000].astype("g") if dtype == "g" else flat.view(dtype)
    array = array[: len(array) // 4 * 4].reshape(-1, 4)
    wide = np.zeros((len(array), 9), array.dtype)
    wide[:, ::2][:, :4] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    mapped = np.memmap(tmp_path / "array", array.dtype, "w+", shape=array.shape)
    mapped[:] = array
    twins = [np.asfortranarray(array), wide[:, ::2][:, :4], array[::-1].copy()[::-1], frozen]
    assert {key_of(twin) for twin in twins} == {key_of(array)}
    assert key_of(mapped) == key_of(np.memmap(tmp_path / "array", array.dtype, "r", shape=array.shape))
    assert key_of(array) != key_of(array.T)


def flipped(content: bytes) -> list[bytes]:
    """The content with one bit flipped, in each segment and at its edges."""
    chance = random.Random(1)
    places = [at + move for at in range(0, len(content), SEGMENT) for move in (0, chance.randrange(1000))]
    places += [at - 1 for at in range(SEGMENT, len(content), SEGMENT)] + [len(content) - 1]
    found = []
    for at in places:
        changed = bytearray(content)
        changed[at] ^= 1 << chance.randrange(8)
        found.append(bytes(changed))
    return found


def as_file(folder: Path, content: bytes) -> File:
    (folder / "file").write_bytes(content)
    return File(folder / "file")


def as_image(content: bytes) -> Any:
    return Image.frombytes("L", (100, len(content) // 100), content)


KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "text": lambda content: content.decode("latin-1"),
    "memoryview": memoryview,
    "array": lambda content: np.frombuffer(content, "u1"),
    "strided": lambda content: np.repeat(np.frombuffer(content, "u1"), 2)[::2],
    "frame": lambda content: pd.DataFrame({"a": np.frombuffer(content, "u1"), "b": 1}),
    "arrow": lambda content: pa.chunked_array([pa.array(np.frombuffer(content, "u1"))]),
    "arrow text": lambda content: pa.array(["a", content.decode("latin-1")]),
    "polars": lambda content: pl.Series(np.frombuffer(content, "u1")),
    "image": as_image,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_bit_counts(kind: str) -> None:
    """One flipped bit in any segment is another key, and so are swapped segments, one less and one more."""
    content = NUMBERS.tobytes()
    swapped = content[SEGMENT : 2 * SEGMENT] + content[:SEGMENT] + content[2 * SEGMENT :]
    contents = [content, *flipped(content), swapped, content[:-100], content + bytes(100)]
    keys = {key_of(KINDS[kind](one)) for one in contents}
    assert len(keys) == len(contents)
    assert key_of(KINDS[kind](bytes(bytearray(content)))) in keys


def test_each_bit_of_a_file_counts(tmp_path: Path) -> None:
    """A file's digest is that of its content, whatever it says about its length."""
    content = NUMBERS.tobytes()
    contents = [content, *flipped(content), content[:-1], content + b"\0", content[:SEGMENT], content[: SEGMENT + 1]]
    assert len({key_of(as_file(tmp_path, one)) for one in contents}) == len(contents)
    for one in contents:
        (tmp_path / "file").write_bytes(one)
        assert file_content.content_digest(str(tmp_path / "file")) == digest_of(one)
        with open(tmp_path / "file", "rb", buffering=0) as file:
            for said in (0, 1, SEGMENT + 1, len(one) - 1, len(one), len(one) + 1, 9 * SEGMENT):
                file.seek(0)
                assert file_content._digest(file, said) == (digest_of(one), len(one))


def test_chunks_do_not_count() -> None:
    """Arrow's and polars' chunks, and the pieces that a pickle is written in, leave no trace in a key."""
    whole = pa.array(NUMBERS)
    for cuts in ([SEGMENT], [1, SEGMENT + 1], [5, 2 * SEGMENT, 3 * SEGMENT]):
        chunks = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert key_of(pa.chunked_array(chunks)) == key_of(pa.chunked_array([whole]))
        parts = [pl.Series(NUMBERS[start:end]) for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert key_of(pl.concat(parts, rechunk=False)) == key_of(pl.Series(NUMBERS))
    part = NUMBERS.tobytes()
    assert key_of([part, "x", part]) == key_of([bytes(bytearray(part)), "x", bytes(bytearray(part))])
    assert key_of([part[:-1], part[-1:]]) != key_of([part, b""])


def test_how_an_encoding_is_cut_does_not_count() -> None:
    """A key is that of the bytes in all chunks, of which one may be as long as all of them."""
    for size in (SEGMENT - 1, SEGMENT, SEGMENT + 1, len(NUMBERS)):
        whole = NUMBERS.tobytes()[:size]
        cuts = [[whole], [whole, b""], [whole[:9], whole[9:]], [whole[at : at + 65536] for at in range(0, size, 65536)]]
        assert len({digest(b"prefix", chunks) for chunks in cuts}) == 1
    assert digest(b"prefix", [digest_of(whole)]) != digest(b"prefix", [whole])
