"""pyarrow in keys: values and types count; slices, chunks and what lies below missing values do not."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.key_values import key_of
from tests.support.alike import Groups, check

TYPES: dict[str, tuple[Any, list[Any]]] = {
    "int": (pa.int32(), [1, None, 3, 4]),
    "uint": (pa.uint32(), [1, None, 3, 4]),
    "float": (pa.float64(), [1.0, None, -0.0, float("nan")]),
    "bool": (pa.bool_(), [True, None, False, True]),
    "text": (pa.string(), ["a", None, "", "bcd"]),
    "large text": (pa.large_string(), ["a", None, "", "bcd"]),
    "text view": (pa.string_view(), ["a", None, "", "b" * 30]),
    "bytes": (pa.binary(), [b"a", None, b"", b"\0"]),
    "bytes view": (pa.binary_view(), [b"a", None, b"", b"b" * 30]),
    "fixed bytes": (pa.binary(2), [b"ab", None, b"cd", b"ee"]),
    "list": (pa.list_(pa.int64()), [[1], None, [], [2, None]]),
    "large list": (pa.large_list(pa.string()), [["x"], None, [], ["y", None]]),
    "fixed list": (pa.list_(pa.int8(), 2), [[1, 2], None, [3, None], [5, 6]]),
    "list of lists": (pa.list_(pa.list_(pa.int8())), [[[1], []], None, [None], [[2, None]]]),
    "map": (pa.map_(pa.string(), pa.int32()), [[("a", 1)], None, [], [("b", None), ("c", 2)]]),
    "struct": (
        pa.struct([("x", pa.int32()), ("y", pa.list_(pa.string()))]),
        [{"x": 1, "y": ["a"]}, None, {"x": None, "y": None}, {"x": 2, "y": ["q", None]}],
    ),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b", "a"]),
    "list of dictionary": (pa.list_(pa.dictionary(pa.int8(), pa.string())), [["a"], None, ["b", "a"], []]),
    "decimal": (pa.decimal128(10, 2), [Decimal("1.10"), None, Decimal(2), Decimal(3)]),
    "wide decimal": (pa.decimal256(50, 2), [Decimal("1.10"), None, Decimal(2), Decimal(3)]),
    "timestamp": (pa.timestamp("ns", "UTC"), [1, None, 2, 3]),
    "local timestamp": (pa.timestamp("ns", "Europe/Vienna"), [1, None, 2, 3]),
    "date": (pa.date32(), [dt.date(2024, 1, 1), None, dt.date(2024, 1, 2), dt.date(2024, 1, 3)]),
    "time": (pa.time64("us"), [dt.time(1), None, dt.time(2), dt.time(3)]),
    "duration": (pa.duration("s"), [1, None, 2, 3]),
    "interval": (pa.month_day_nano_interval(), [(1, 2, 3), None, (2, 3, 4), (1, 1, 1)]),
    "nulls": (pa.null(), [None] * 4),
}


@pytest.mark.parametrize("name", TYPES)
def test_how_an_array_was_made_does_not_matter(name: str) -> None:
    """Slices of longer arrays, joined parts and chunks anywhere have the key of the whole; every part counts."""
    kind, items = TYPES[name]
    array = pa.array(items, kind)
    longer = pa.concat_arrays([array[2:], array, array[:1]])
    joined = pa.concat_arrays([array[:1], array[1:]])
    assert key_of(array) == key_of(longer[2:6]) == key_of(joined) == key_of(longer.slice(1).slice(1, 4))
    chunks = pa.chunked_array([array[:1], array[1:2], array[2:2], array[2:]])
    assert key_of(chunks) == key_of(pa.chunked_array([array])) == key_of(pa.chunked_array([longer])[2:6])
    assert key_of(chunks) != key_of(array)
    others = [array, array[:3], array[1:], pa.concat_arrays([array[1:], array[:1]])]
    assert len({key_of(other) for other in others}) == (3 if name == "nulls" else 4) - (name == "nulls")


@pytest.mark.parametrize("name", TYPES)
def test_chunks_that_begin_or_end_with_missing_values(name: str) -> None:
    """Where values are missing counts from the start of a column, not of a chunk."""
    kind, items = TYPES[name]
    whole = pa.array([None, *items, None, None, *items], kind)
    keys = {key_of(pa.chunked_array([whole[:i], whole[i:]])) for i in range(len(whole))}
    assert len(keys) == 1


def over(below: int) -> Any:
    """An array whose buffer holds any number where a value is missing."""
    return pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), pa.array([1, below, 3]).buffers()[1]])


def extension(items: list[Any]) -> Any:
    """An array of an extension type."""
    return pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), [2]), pa.array(items, pa.list_(pa.int32(), 2))
    )


def union(items: list[int]) -> Any:
    return pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array(items), pa.array(["a", "b"])])


def groups() -> Groups:
    """Tables and arrays that are alike, and those that only look so."""
    table = pa.table({"a": [1, None, 3], "s": ["x", None, "z"]})
    parts = pa.concat_tables([table[:1], table[1:]])
    doubled = pa.concat_tables([table, table])
    dictionary = pa.array(["a", "b", "a"]).dictionary_encode()
    runs = pa.RunEndEncodedArray.from_arrays
    made: Groups = {name: [pa.array(items, kind)] for name, (kind, items) in TYPES.items()}
    return made | {
        "table": [table, parts, parts.combine_chunks(), doubled[3:], doubled[3:].combine_chunks()],
        "batch": [table.to_batches()[0], doubled.combine_chunks().to_batches()[0][3:]],
        "other order of columns": [table.select(["s", "a"])],
        "other names": [table.rename_columns(["b", "s"])],
        "with metadata": [table.replace_schema_metadata({"unit": "m"}), parts.replace_schema_metadata({"unit": "m"})],
        "shorter": [table[:2], doubled[3:5]],
        "column": [table["a"], parts["a"], pa.chunked_array([[1], [None], [3]])],
        "missing over 2": [over(2), over(9), pa.array([1, None, 3])],
        "nothing missing": [pa.array([1, 2, 3]), pa.array([0, 1, 2, 3])[1:]],
        "encoded": [dictionary, pa.concat_arrays([dictionary[:1], dictionary[1:]])],
        "encoded in another order": [pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int32()), ["b", "a"])],
        "encoded with more": [pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), ["a", "b", "c"])],
        "chunks with dictionaries of their own": [
            pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()]),
            pa.chunked_array([dictionary]),
        ],
        "runs": [runs([2, 3], [1, 5]), runs([1, 2, 3], [1, 1, 5]), runs([2, 3, 9], [1, 5, 7])[:3]],
        "extension": [extension([[1, 2], None]), extension([[0, 0], [1, 2], None])[1:]],
        "storage": [extension([[1, 2], None]).storage],
        "union": [union([1, 2]), union([1, 2])],
        "other union": [union([3, 2])],
        "table of unions": [pa.table({"u": union([1, 2])}), pa.table({"u": union([1, 2])})],
        "table of other unions": [pa.table({"u": union([3, 2])})],
        "empty": [pa.array([], pa.int64()), pa.array([1])[:0]],
        "empty text": [pa.array([], pa.string()), pa.array(["a"])[:0]],
        "no chunks": [pa.chunked_array([], pa.int32())],
        "scalar": [pa.scalar(1), pa.array([0, 1])[1]],
        "small scalar": [pa.scalar(1, pa.int8())],
        "list scalar": [pa.scalar([1, 2]), pa.array([[0], [1, 2]])[1]],
        "schema": [table.schema, parts.schema],
        "type": [pa.int64()],
        "buffer": [pa.py_buffer(b"x"), pa.py_buffer(b"xy")[:1]],
        "no value": [pa.scalar(None)],
    }


def test_alike() -> None:
    """Types, names, order, metadata and dictionaries count."""
    check(groups())


def test_lists_and_texts_of_other_lengths() -> None:
    """The same items in lists, texts or maps of other lengths differ."""
    lists = [[[1], [2, 3]], [[1, 2], [3]], [[1, 2, 3], []], [[], [1, 2, 3]]]
    assert len({key_of(pa.array(items)) for items in lists}) == 4
    assert len({key_of(pa.array(texts)) for texts in (["a", "bc"], ["ab", "c"], ["abc", ""], ["", "abc"])}) == 4


def test_large_columns_are_not_copied() -> None:
    """What misses no values is hashed where it lies, also from the middle of a buffer; only lengths are computed."""
    numbers = pa.array(range(1_000_000))
    texts = pa.array([b"x" * 1000]).take(pa.array([0] * 10_000))
    chunks = pa.chunked_array([texts] * 5)
    pool, default = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        key_of([numbers[1:], chunks[1:]])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(default)
    assert peak < 1_000_000
    assert pool.max_memory() < 1_000_000
