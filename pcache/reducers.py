"""How arrays and frames are written in keys: by what they hold, not by how they came about.

A view and its copy, a Fortran and a C array, a frame and its reassembled twin have equal keys. The libraries are found
by the names of their types and never imported from here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.keys import register_reducer

if TYPE_CHECKING:
    from pcache.keys import Encoder

_PADDED_LONG_DOUBLE = not hasattr(os, "uname") or os.uname().machine in ("x86_64", "i686")
_FOREIGN = 2  # numpy.dtype.isbuiltin of a type that another package brought
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
    if dtype.subdtype is not None:
        return (_dtype(dtype.subdtype[0]), dtype.subdtype[1])
    if dtype.names is None:
        # Dtypes of other packages, such as float8 and int4, may share one text.
        return (dtype.str, dtype.name) if dtype.isbuiltin == _FOREIGN else dtype.str
    return (dtype.itemsize, [(name, _dtype(dtype.fields[name][0]), dtype.fields[name][1]) for name in dtype.names])


def _content_digest(array: Any) -> str:
    """BLAKE3, in hexadecimal, of the elements in C order: in place, or where they lie otherwise block by block."""
    if array.dtype.char in "gG" and _PADDED_LONG_DOUBLE:
        # Six of the sixteen bytes of an 80-bit float may hold anything.
        parts = array.flatten().view("u1").reshape(-1, 16)
        parts[:, 10:] = 0
        return blake3(parts).hexdigest()
    if array.flags.c_contiguous:
        return blake3(array.reshape(-1).view("u1") if array.size else b"").hexdigest()
    hasher = blake3()
    raw = array.view(f"V{array.itemsize}").flat  # as bytes: other dtypes are put into the machine's order here
    elements = max(1, _BLOCK // array.itemsize)
    for start in range(0, array.size, elements):
        hasher.update(raw[start : start + elements].tobytes())
    return hasher.hexdigest()


def _scalar(scalar: Any, encoder: Encoder) -> object:
    """A numpy scalar by dtype and value: as an array without dimensions, which leaves padding out."""
    return _array(scalar.reshape(()), encoder)


def _frame(frame: Any, _encoder: Encoder) -> object:
    """A pandas DataFrame by its columns, dtypes, index and values; its blocks are internal history."""
    columns = [_column(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return (frame.columns, frame.index, columns, frame.attrs)


def _series(series: Any, _encoder: Encoder) -> object:
    return (series.name, series.index, _column(series), series.attrs)


def _column(series: Any) -> object:
    """The values of a column or index: the numpy array where there is one, else the extension array."""
    return series.to_numpy() if type(series.dtype).__module__.startswith("numpy") else series.array


def _extension_array(array: Any, _encoder: Encoder) -> object:
    """An extension array of pandas by dtype and values; where one is missing, nothing below counts."""
    dtype = str(array.dtype)
    if dtype == "category":
        return (dtype, array.ordered, array.categories, array.codes)
    if hasattr(array, "asi8"):  # times, spans and periods
        return (dtype, array.asi8)
    if dtype.startswith("interval"):
        return (dtype, array.left, array.right)
    return (dtype, array.astype(object).tolist())


def _index(index: Any, _encoder: Encoder) -> object:
    """A pandas Index by its kind, names and values. A RangeIndex is said in less than the integers it stands for."""
    kind = type(index).__name__
    if kind == "RangeIndex":
        return (kind, index.name, index.start, index.stop, index.step)
    if kind == "MultiIndex":
        return (kind, list(index.names), [index.get_level_values(i) for i in range(index.nlevels)])
    return (kind, index.name, str(index.dtype), getattr(index, "freqstr", None), _column(index))


def _path(path: Any, _encoder: Encoder) -> object:
    """A path by its text: from Python 3.13 on, its pickle remembers how it was put together."""
    return str(path)


def _pydantic_decorator(decorator: Any, _encoder: Encoder) -> object:
    """A validator of a pydantic model, without the address of the model's class that it is found by."""
    return (decorator.cls_var_name, decorator.func, decorator.shim, decorator.info)


register_reducer("pydantic._internal._decorators.Decorator", _pydantic_decorator)
for _name in ("pathlib.PurePath", "pathlib._local.PurePath"):
    register_reducer(_name, _path, subclasses=True)
for _name in ("numpy.ndarray", "numpy.memmap"):
    register_reducer(_name, _array)
for _name in ("pandas.DataFrame", "pandas.core.frame.DataFrame"):
    register_reducer(_name, _frame)
for _name in ("pandas.Series", "pandas.core.series.Series"):
    register_reducer(_name, _series)
for _name in ("pandas.Index", "pandas.core.indexes.base.Index"):
    register_reducer(_name, _index, subclasses=True)
for _name in ("pandas.api.extensions.ExtensionArray", "pandas.core.arrays.base.ExtensionArray"):
    register_reducer(_name, _extension_array, subclasses=True)
_SCALARS = (
    "bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble complex64"
    " complex128 clongdouble datetime64 timedelta64 str_ bytes_ void"
)
for _name in _SCALARS.split():
    register_reducer(f"numpy.{_name}", _scalar)
