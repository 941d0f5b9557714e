"""pyarrow: tables, batches and arrays by type and values.

Neither slices, nor chunks, nor what the buffers hold where a value is missing counts. Fixed-width values and text are
hashed where they lie; only columns with missing values are first copied without those.
"""

from __future__ import annotations

import sys

from pcache.keys.dispatch import once_a_call, register_reducer
from pcache.keys.reducers import handles  # noqa: F401 - registers datasets and files, which read later
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.digests import Content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.keys.writer import Writer


class _UnknownType(Exception):
    """A union, a list view, or a type newer than this module: pickle writes these, with their layout."""


class _Column:
    """Digests of the values of one column, chunk after chunk: one for each level of its type.

    All but the lowest level say where values are missing and how long lists are.
    """

    def __init__(self) -> None:
        self.digests: dict[str, Content] = {}
        self.counts: dict[str, int] = {}
        self.dictionaries: dict[str, object] = {}
        self.types = sys.modules["pyarrow"].types

    def content(self) -> object:
        digests = sorted((path, hasher.hexdigest()) for path, hasher in self.digests.items())
        return (sorted(self.counts.items()), digests, sorted(self.dictionaries.items()))

    def feed(self, path: str, data: Any) -> None:
        self.digests.setdefault(path, Content()).update(data)

    def add(self, array: Any, path: str = "") -> None:
        """Add the values of one chunk; raises `_UnknownType`."""
        array = self.plain(array)
        before = self.counts.get(path, 0)
        self.counts[path] = before + len(array)
        if array.null_count:
            compute = sys.modules["pyarrow.compute"]
            places = compute.add(compute.indices_nonzero(array.is_null()), before)
            self.feed(f"{path}?", _fixed(places, 8))
            array = array.filter(array.is_valid())
        self.values(array, path)

    def plain(self, array: Any) -> Any:
        """The same values in a type that has offsets."""
        types = self.types
        if types.is_run_end_encoded(array.type):
            return sys.modules["pyarrow.compute"].run_end_decode(array)
        if types.is_string_view(array.type):
            return array.cast("large_string")
        if types.is_binary_view(array.type):
            return array.cast("large_binary")
        return array

    def values(self, array: Any, path: str) -> None:
        """Add values, none of which is missing."""
        kind, types = array.type, self.types
        if types.is_null(kind):
            return
        if types.is_boolean(kind):
            self.feed(path, _fixed(array.cast("uint8"), 1))
        elif types.is_dictionary(kind):
            self.dictionaries.setdefault(path, array.dictionary)
            self.add(array.indices, f"{path}#")
        elif types.is_struct(kind):
            for i, field in enumerate(array.flatten()):
                self.add(field, f"{path}.{i}")
        elif types.is_fixed_size_list(kind):
            self.add(array.flatten(), f"{path}[]")
        elif types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
            self.lists(array, path)
        elif _is_text(kind, types):
            self.texts(array, path)
        elif isinstance(kind, sys.modules["pyarrow"].BaseExtensionType):
            self.add(array.storage, f"{path}=")
        elif types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
            self.feed(path, _fixed(array, kind.bit_width // 8))
        else:
            raise _UnknownType

    def lists(self, array: Any, path: str) -> None:
        offsets = array.offsets
        self.feed(path, _lengths(offsets))
        start = offsets[0].as_py()
        length = offsets[-1].as_py() - start
        if self.types.is_map(array.type):
            self.add(array.keys.slice(start, length), f"{path}[k]")
            self.add(array.items.slice(start, length), f"{path}[v]")
        else:
            self.add(array.values.slice(start, length), f"{path}[]")

    def texts(self, array: Any, path: str) -> None:
        pyarrow: Any = sys.modules["pyarrow"]
        large = "large" in str(array.type)
        _, places, data = array.buffers()
        if not len(array):
            return
        offsets = pyarrow.Array.from_buffers(
            pyarrow.int64() if large else pyarrow.int32(), len(array) + 1, [None, places], offset=array.offset
        )
        self.feed(path, _lengths(offsets))
        start, end = offsets[0].as_py(), offsets[-1].as_py()
        if end > start:
            self.feed(f"{path}:", memoryview(data)[start:end])


def _is_text(kind: Any, types: Any) -> bool:
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(check(kind) for check in checks)


def _lengths(offsets: Any) -> Any:
    """The differences of offsets, as 64-bit integers: the offsets of a slice need not start at 0."""
    compute: Any = sys.modules["pyarrow.compute"]
    places = offsets.cast("int64")
    return _fixed(compute.subtract(places[1:], places[:-1]), 8)


def _fixed(array: Any, width: int) -> Any:
    """The bytes of a fixed-width array without missing values."""
    data = array.buffers()[1]
    if data is None or not len(array):
        return b""
    return memoryview(data)[array.offset * width : (array.offset + len(array)) * width]


def _column(kind: Any, chunks: Sequence[Any]) -> object:
    __import__("pyarrow.compute")
    column = _Column()
    try:
        for chunk in chunks:
            column.add(chunk)
    except _UnknownType:
        return NotImplemented
    return (kind, column.content())


@once_a_call
def _array(array: Any, _encoder: Writer) -> object:
    return _column(array.type, [array])


@once_a_call
def _chunked(array: Any, _encoder: Writer) -> object:
    return _column(array.type, array.unify_dictionaries().chunks)


@once_a_call
def _table(table: Any, _encoder: Writer) -> object:
    """A table or record batch by its schema, with the metadata in it, and its columns."""
    return (table.schema, table.num_rows, table.columns)


register_reducer("pyarrow.lib.Array", _array, subclasses=True)
register_reducer("pyarrow.lib.ChunkedArray", _chunked)
register_reducer("pyarrow.lib.Table", _table)
register_reducer("pyarrow.lib.RecordBatch", _table)
