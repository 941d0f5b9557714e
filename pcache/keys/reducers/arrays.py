"""numpy: arrays and scalars by dtype, shape and elements in C order.

Memory layout does not count: C or Fortran order, strides, the array below a view, writability.
"""

from __future__ import annotations

import os
import sys

from pcache.keys.dispatch import once_a_call, register_reducer
from pcache.objects.extra_state import is_twin
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.digests import Content, digest_of

if TYPE_CHECKING:
    from pcache.keys.writer import Writer

_PADDED_LONG_DOUBLE = not hasattr(os, "uname") or os.uname().machine in ("x86_64", "i686")
_FOREIGN = 2  # numpy.dtype.isbuiltin of a type from another package
_BLOCK = 1 << 20  # bytes of an array that are put in C order at a time


def _array(array: Any, encoder: Writer) -> object:
    dtype = array.dtype
    if dtype.names is not None:
        # Field by field: the padding between the fields of a structured array is not part of its value.
        return (
            _dtype(dtype),
            array.shape,
            encoder.once(array, lambda: [array[name] for name in dtype.names], "fields"),
        )
    if dtype.hasobject or dtype.kind == "T":
        return (_dtype(dtype), array.shape, array.ravel().tolist())
    return (_dtype(dtype), array.shape, encoder.once(array, lambda: content_digest(array)))


@once_a_call
def _subclass(array: Any, encoder: Writer) -> object:
    """A matrix, record or text array as a plain array: reshaping and indexing them mean something else."""
    return _array(array.view(sys.modules["numpy"].ndarray), encoder)


def _dtype(dtype: Any) -> object:
    if dtype.metadata is not None:
        return ("metadata", dict(dtype.metadata), _kind(dtype))
    return _kind(dtype)


def _kind(dtype: Any) -> object:
    if dtype.subdtype is not None:
        return (_dtype(dtype.subdtype[0]), dtype.subdtype[1])
    if dtype.names is not None:
        fields = [(name, _dtype(dtype.fields[name][0]), *dtype.fields[name][1:]) for name in dtype.names]
        plain = dtype.type.__name__ == "void"  # else the elements are records, whose fields are attributes
        content = (dtype.itemsize, fields, *(["aligned"] if dtype.isalignedstruct else []))
        return content if plain else (*content, dtype.type)
    if dtype.kind == "T":
        return (dtype.str, dtype.coerce, getattr(dtype, "na_object", ...))
    if dtype.kind in "iufc" and is_twin(dtype):
        return (dtype.str, dtype.char)  # two C types of one size, such as long and long long
    # Dtypes of other packages, such as float8 and int4, may have the same `str`.
    return (dtype.str, dtype.name) if dtype.isbuiltin == _FOREIGN else dtype.str


def content_digest(array: Any) -> str:
    """The digest, in hexadecimal, of the elements in C order: in place, or block by block if memory has others."""
    if array.dtype.char in "gG" and _PADDED_LONG_DOUBLE:
        # Six of the sixteen bytes of an 80-bit float are padding of arbitrary content.
        parts = array.flatten().view("u1").reshape(-1, 16)
        parts[:, 10:] = 0
        return digest_of(parts.reshape(-1)).hex()
    if array.flags.c_contiguous:
        return digest_of(array.reshape(-1).view("u1") if array.size else b"").hex()
    content = Content()
    raw = array.view(f"V{array.itemsize}").flat  # as bytes: other dtypes would be converted to native byte order here
    elements = max(1, _BLOCK // array.itemsize)
    for start in range(0, array.size, elements):
        content.update(raw[start : start + elements].tobytes())
    return content.hexdigest()


def _scalar(scalar: Any, encoder: Writer) -> object:
    """A numpy scalar by dtype and value: as a zero-dimensional array, which leaves padding out."""
    content = _array(scalar.reshape(()), encoder)
    if isinstance(scalar, (str, bytes)) and scalar[-1:] in ("\0", b"\0"):  # arrays strip zeros at the end
        return (content, len(scalar))
    return content


def _dtype_itself(dtype: Any, _encoder: Writer) -> object:
    """A dtype as pickle writes it; with both, if it shares its pickle with another C type."""
    return (dtype.str, dtype.char, dtype.metadata) if dtype.kind in "iufc" and is_twin(dtype) else NotImplemented


@once_a_call
def _masked(array: Any, _encoder: Writer) -> object:
    """A masked array without the data below its mask.

    An array without a mask differs from one whose mask is all false: `a.mask[0]` tells. A fill value that was never
    asked for also differs from an equal one, which `a.astype()` passes on.
    """
    if array.dtype.names is not None:
        data: object = [array[name] for name in array.dtype.names]
    elif array.mask.any():
        data = array.data[~array.mask]
    else:
        data = array.data
    mask = None if array._mask is sys.modules["numpy"].ma.nomask else array.mask
    content = (array.shape, array.baseclass, data, mask, array._fill_value, array.hardmask)
    return (_dtype(array.dtype), *content, _rest(array))


def _rest(array: Any) -> object:
    """The other attributes of a masked array."""
    return [array._optinfo, array._basedict] if array._optinfo or array._basedict else []


register_reducer("numpy.dtype", _dtype_itself, subclasses=True)
register_reducer("numpy.ma.MaskedArray", _masked)
register_reducer("numpy.ma.core.MaskedArray", _masked)
for _name in ("numpy.ndarray", "numpy.memmap"):
    register_reducer(_name, _array)
for _name in ("numpy.matrix", "numpy.rec.recarray", "numpy.recarray", "numpy.char.chararray"):
    register_reducer(_name, _subclass)
_SCALARS = (
    "bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 longlong ulonglong float16 float32 float64 longdouble"
    " complex64 complex128 clongdouble datetime64 timedelta64 str_ bytes_ void"
)
for _name in _SCALARS.split():
    register_reducer(f"numpy.{_name}", _scalar)
