"""How arrays and frames are written in keys: by what they hold, not by how they came about.

A view and its copy, a Fortran and a C array, a frame and its reassembled twin have equal keys. The libraries are found
by the names of their types and never imported from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.keys import register_reducer

if TYPE_CHECKING:
    from pcache.keys import Encoder

_BLOCK = 1 << 20  # bytes of an array that are put in order at a time


def _array(array: Any, encoder: Encoder) -> object:
    """A numpy array by dtype, shape and content in C order."""
    dtype = array.dtype
    if dtype.names is not None:
        # Field by field: the padding between the fields of a structured array is not part of its value.
        return (_dtype(dtype), array.shape, [array[name] for name in dtype.names])
    if dtype.hasobject or dtype.kind == "T":
        return (_dtype(dtype), array.shape, array.ravel().tolist())
    return (_dtype(dtype), array.shape, encoder.digest_once(array, lambda: _content_digest(array)))


def _dtype(dtype: Any) -> object:
    if dtype.names is None:
        return dtype.str if dtype.kind not in "VT" or dtype.subdtype is None else (dtype.str, str(dtype.subdtype))
    return [(name, _dtype(dtype.fields[name][0]), dtype.fields[name][1]) for name in dtype.names]


def _content_digest(array: Any) -> str:
    """BLAKE3, in hexadecimal, of the elements in C order: in place, or where they lie otherwise block by block."""
    if array.flags.c_contiguous:
        return blake3(array.reshape(-1).view("u1") if array.size else b"").hexdigest()
    hasher = blake3()
    rows = max(1, _BLOCK // max(1, array.nbytes // len(array))) if array.ndim and len(array) else 1
    for start in range(0, len(array), rows):
        hasher.update(array[start : start + rows].tobytes())
    return hasher.hexdigest()


def _scalar(scalar: Any, _encoder: Encoder) -> object:
    """A numpy scalar by dtype and bytes."""
    dtype = scalar.dtype
    return (_dtype(dtype), scalar.item() if dtype.hasobject or dtype.names is not None else scalar.tobytes())


def _dtype_itself(dtype: Any, _encoder: Encoder) -> object:
    return _dtype(dtype)


def _frame(frame: Any, _encoder: Encoder) -> object:
    """A pandas DataFrame by its columns, dtypes, index and values; its blocks are internal history."""
    columns = [_column(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return (frame.columns, frame.index, columns, frame.attrs)


def _series(series: Any, _encoder: Encoder) -> object:
    return (series.name, series.index, _column(series), series.attrs)


def _column(series: Any) -> object:
    """The values of a column: the numpy array where there is one, else the extension array."""
    dtype = series.dtype
    return series.to_numpy() if type(dtype).__module__.startswith("numpy") else (str(dtype), series.array)


def _index(index: Any, _encoder: Encoder) -> object:
    """A pandas Index by its names and values. A RangeIndex says the same as the integers it stands for, in less."""
    kind = type(index).__name__
    if kind == "RangeIndex":
        return (kind, index.name, index.start, index.stop, index.step)
    if kind == "MultiIndex":
        return (kind, list(index.names), [index.get_level_values(i) for i in range(index.nlevels)])
    return (kind, index.name, str(index.dtype), _index_values(index))


def _index_values(index: Any) -> object:
    return index.to_numpy() if type(index.dtype).__module__.startswith("numpy") else index.array


for _name in ("numpy.ndarray", "numpy.memmap"):
    register_reducer(_name, _array)
for _module in ("pandas", "pandas.core.frame"):
    register_reducer(f"{_module}.DataFrame", _frame)
for _module in ("pandas", "pandas.core.series"):
    register_reducer(f"{_module}.Series", _series)
for _module, _class in (
    ("base", "Index"),
    ("range", "RangeIndex"),
    ("multi", "MultiIndex"),
    ("datetimes", "DatetimeIndex"),
    ("category", "CategoricalIndex"),
):
    register_reducer(f"pandas.core.indexes.{_module}.{_class}", _index)
    register_reducer(f"pandas.{_class}", _index)
_SCALARS = (
    "bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble complex64"
    " complex128 clongdouble datetime64 timedelta64 str_ bytes_ void"
)
for _name in _SCALARS.split():
    register_reducer(f"numpy.{_name}", _scalar)
