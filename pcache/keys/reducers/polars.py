"""polars: frames and series by names, types and values; neither chunks nor what lies below missing values counts.

Every column is taken apart into series without missing values, which polars writes in one form only.
"""

from __future__ import annotations

import io
import sys

from pcache.keys.dispatch import once_a_call, register_reducer
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.digests import Content

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


@once_a_call
def _frame(frame: Any, _encoder: Writer) -> object:
    return (frame.shape, frame.get_columns())


def _series(series: Any, encoder: Writer) -> object:
    if type(series.dtype).__name__ == "Object":
        return (series.name, "Object", series.to_list())
    return (series.name, series.dtype, len(series), encoder.once(series, lambda: _digest(series)))


def _lazy(_frame: object, _encoder: Writer) -> object:
    """Refuse a query: what it reads can change while the query stays the same."""
    raise TypeError("a LazyFrame is a query, and what it reads may change; pass what collect() returns")


def _digest(series: Any) -> str:
    hasher = Content()
    _feed(hasher, series)
    return hasher.hexdigest()


def _feed(hasher: Any, series: Any) -> None:
    """Hash the positions of missing values, then the others; each part begins with its length or a fixed number."""
    polars: Any = sys.modules["polars"]
    kind = type(series.dtype).__name__
    hasher.update(f"{kind} {len(series)} {series.null_count()};".encode())
    if series.null_count() and kind != "Null":
        _write(hasher, series.is_null().cast(polars.UInt8))
        series = series.drop_nulls()
    if kind in ("Categorical", "Enum", "Decimal"):
        series = series.cast(polars.String)
        kind = "String"
    if kind == "String":
        _write(hasher, series.str.len_bytes())
        hasher.update((series.str.join("").item() if len(series) else "").encode())
    elif kind == "Binary":
        _write(hasher, series.bin.size())
        hasher.update(b"".join(series.to_list()))
    elif kind == "Struct":
        for field in series.struct.fields:
            _feed(hasher, series.struct.field(field))
    elif kind == "Array":
        _feed(hasher, series.explode() if series.dtype.size else series[:0].explode())
    elif kind == "List":
        lengths = series.list.len()
        _write(hasher, lengths)
        _feed(hasher, series.filter(lengths > 0).explode())
    elif kind == "Boolean":
        _write(hasher, series.cast(polars.UInt8))
    elif series.dtype.is_numeric() or series.dtype.is_temporal():
        _write(hasher, series.to_physical())
    elif kind != "Null":
        raise TypeError(f"series of type {series.dtype} are not known to pcache")


def _write(hasher: Any, series: Any) -> None:
    """Hash numbers, none of which is missing.

    A missing value is appended, since only some series record that they have none.
    """
    stream = io.BytesIO()
    frame = series.alias("").extend_constant(None, 1).rechunk().to_frame()
    frame.write_ipc_stream(stream, compression="uncompressed")
    hasher.update(stream.getbuffer())


register_reducer("polars.dataframe.frame.DataFrame", _frame)
register_reducer("polars.series.series.Series", _series)
register_reducer("polars.lazyframe.frame.LazyFrame", _lazy)
register_reducer("polars.lazyframe.group_by.LazyGroupBy", _lazy)
