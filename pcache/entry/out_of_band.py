"""Large contents that the pickles of their classes copy into the stream, kept out of it so that they are mapped.

numpy keeps dates and times, arrays with gaps and its own subclasses in the stream, Python's `array` all of its items,
polars and torch everything. Only what is large and plain is taken out here; all else is pickled as its class says.
"""

from __future__ import annotations

import sys
from array import array
from importlib.util import find_spec
from pickle import PickleBuffer

from pcache.entry.compression import MAP_MIN
from pcache.objects.lookup import attributes_of, full_name
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    Reducer = Callable[[Any], Any]
    Parts = tuple[Callable[..., Any], tuple[Any, ...]]  # what makes an object, and from what

# Types of polars that Arrow has as well, by how their names begin.
_SHARED_WITH_ARROW = tuple("Int UInt Float Boolean String Binary Date Time Duration List Array".split())
_NOT_SHARED = ("Categorical", "Enum", "Object", "Struct", "Decimal", "Unknown", "Null")


def kept_apart(cls: type, usual: Reducer) -> Reducer:
    """The function that pickles objects of a class with large contents out of band, and others as usual."""
    large = _LARGE.get(full_name(cls))
    return usual if large is None else lambda found: large(found) or usual(found)


def _array_of_numpy(found: Any) -> Parts | None:
    if found.nbytes < MAP_MIN or found.dtype.hasobject:
        return None
    has_buffer = found.dtype.kind not in "mM"  # numpy makes none of dates and times
    plain = found if has_buffer else found.view("i8")
    if not _is_dense(plain):
        plain = plain.copy()  # its own pickle leaves out gaps as well
    if not has_buffer:
        return dated, (plain, found.dtype)
    return None if plain is found else plain.__reduce_ex__(5)


def _is_dense(found: Any) -> bool:
    """Whether the elements of an array lie side by side, in whatever order of its axes."""
    axes = sorted(range(found.ndim), key=lambda axis: -found.strides[axis])
    return bool(found.transpose(axes).flags.c_contiguous)


def dated(counts: Any, dtype: Any) -> Any:
    """An array of dates or times from its counts of seconds, days or other units."""
    return counts.view(dtype)


def _subclass_of_numpy(found: Any) -> Parts | None:
    if found.nbytes < MAP_MIN or found.dtype.hasobject or (attributes_of(found).keys() - _OF_FILES):
        return None
    return seen_as, (found.view(sys.modules["numpy"].ndarray), type(found))


_OF_FILES = frozenset(("_mmap", "filename", "offset", "mode"))  # attributes of a `memmap`, which no pickle holds


def seen_as(found: Any, cls: type) -> Any:
    """An array of numpy as one of another of its classes."""
    return found.view(cls)


def _array_of_python(found: array[Any]) -> Parts | None:
    return (typed, (found.typecode, PickleBuffer(found))) if len(found) * found.itemsize >= MAP_MIN else None


def typed(typecode: str, content: Any) -> array[Any]:
    """An array of Python from the bytes of its items."""
    found = array(typecode)
    found.frombytes(content)
    return found


def _frame_of_polars(frame: Any) -> Parts | None:
    """A data frame by its Arrow table, which shares its memory, if that is all there is to it."""
    series = frame.get_columns()
    is_plain = attributes_of(frame).keys() <= {"_df"} and all(map(_is_shared, series))
    if not is_plain or frame.estimated_size() < MAP_MIN or not _has_arrow():
        return None
    return framed, (_to_arrow(frame), [_order_of(one) for one in series])


def _series_of_polars(series: Any) -> Parts | None:
    is_plain = attributes_of(series).keys() <= {"_s"} and _is_shared(series)
    if not is_plain or series.estimated_size() < MAP_MIN or not _has_arrow():
        return None
    return first_column, (_to_arrow(series.to_frame()), [_order_of(series)])


def framed(table: Any, orders: list[bool | None]) -> Any:
    """A data frame of polars from an Arrow table; `orders` says which columns are known to be sorted, and how."""
    import polars  # who loads one of its frames has it

    frame: Any = polars.from_arrow(table, rechunk=False)
    known = [(name, order) for name, order in zip(table.column_names, orders, strict=True) if order is not None]
    return frame.with_columns(polars.col(name).set_sorted(descending=order) for name, order in known)


def first_column(table: Any, orders: list[bool | None]) -> Any:
    """A series of polars from an Arrow table of one column."""
    return framed(table, orders).to_series()


def _to_arrow(frame: Any) -> Any:
    return frame.to_arrow(compat_level=sys.modules["polars"].CompatLevel.newest())


def _order_of(series: Any) -> bool | None:
    flags = series.flags
    return True if flags["SORTED_DESC"] else False if flags["SORTED_ASC"] else None


def _is_shared(series: Any) -> bool:
    """Whether polars and Arrow have the type of a series in common."""
    name = str(series.dtype)
    return name.startswith(_SHARED_WITH_ARROW) and not any(other in name for other in _NOT_SHARED)


def _has_arrow() -> bool:
    return "pyarrow" in sys.modules or find_spec("pyarrow") is not None


def _tensor(tensor: Any) -> Parts | None:
    """A dense tensor in the memory of the processor, without a history, by the array that shares its memory."""
    torch = sys.modules["torch"]
    is_plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.requires_grad
    is_plain = is_plain and tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg() or tensor.is_quantized)
    if not is_plain or attributes_of(tensor) or tensor.numel() * tensor.element_size() < MAP_MIN:
        return None
    shared, is_done = attempt(lambda: tensor.flatten().view(torch.uint8).numpy())
    return (tensor_of, (shared, tensor.dtype, tuple(tensor.shape))) if is_done else None


def tensor_of(content: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    """A tensor of torch from the bytes of its elements."""
    import torch  # who loads one of its tensors has it

    return torch.from_numpy(content).view(dtype).reshape(shape)


_LARGE: dict[str, Callable[[Any], Parts | None]] = {
    "numpy.ndarray": _array_of_numpy,
    "numpy.memmap": _subclass_of_numpy,
    "numpy.rec.recarray": _subclass_of_numpy,
    "numpy.recarray": _subclass_of_numpy,
    "array.array": _array_of_python,
    "polars.dataframe.frame.DataFrame": _frame_of_polars,
    "polars.series.series.Series": _series_of_polars,
    "torch.Tensor": _tensor,
}
