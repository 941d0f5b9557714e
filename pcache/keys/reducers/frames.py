"""pandas: frames, series, indexes and extension arrays by what they hold; blocks are internal history."""

from __future__ import annotations

from pcache.keys.dispatch import once_a_call, register_reducer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.keys.writer import Writer


@once_a_call
def _frame(frame: Any, _encoder: Writer) -> object:
    columns = [_column(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return (frame.columns, frame.index, columns, *_labels(frame))


@once_a_call
def _series(series: Any, _encoder: Writer) -> object:
    return (series.name, series.index, _column(series), *_labels(series))


def _labels(values: Any) -> tuple[object, ...]:
    return values.attrs, values.flags.allows_duplicate_labels


def _column(series: Any) -> object:
    """The values of a column or index: the numpy array where there is one, else the extension array."""
    return series.to_numpy() if type(series.dtype).__module__.startswith("numpy") else series.array


@once_a_call
def _extension_array(array: Any, _encoder: Writer) -> object:
    """A pandas extension array by dtype and values; data below missing values does not count.

    Those of other packages may hold more, such as a coordinate system, and are encoded as pickle writes them.
    """
    if type(array).__module__.partition(".")[0] != "pandas":
        return NotImplemented
    dtype = str(array.dtype)
    if dtype == "category":
        return (dtype, array.ordered, array.categories, array.codes)
    if hasattr(array, "asi8"):  # times, spans and periods; zones and frequencies may share a name
        return (dtype, getattr(array.dtype, "tz", None), getattr(array, "freq", None), array.asi8)
    if dtype.startswith("interval"):
        return (dtype, array.left, array.right)
    if hasattr(array, "__arrow_array__") and "Arrow" in type(array).__name__:
        return (dtype, array.__arrow_array__())
    numbers = getattr(array.dtype, "numpy_dtype", None)
    if numbers is not None and numbers.kind in "biuf":
        return (dtype, array.isna(), array.to_numpy(numbers, na_value=numbers.type(0)))
    return (dtype, array.astype(object).tolist())


@once_a_call
def _index(index: Any, _encoder: Writer) -> object:
    """A pandas Index by its kind, names and values; a RangeIndex by its range."""
    kind = type(index).__name__
    if kind == "RangeIndex":
        return (kind, index.name, index.start, index.stop, index.step)
    if kind == "MultiIndex":
        return (kind, list(index.names), [index.get_level_values(i) for i in range(index.nlevels)])
    return (kind, index.name, str(index.dtype), getattr(index, "freq", None), _column(index))


def _timestamp(timestamp: Any, _encoder: Writer) -> object:
    """A point in time with its fold, which its pickle leaves out."""
    return (timestamp.value, timestamp.unit, timestamp.tz, timestamp.fold) if timestamp.fold else NotImplemented


for _name in ("pandas.DataFrame", "pandas.core.frame.DataFrame"):
    register_reducer(_name, _frame)
for _name in ("pandas.Series", "pandas.core.series.Series"):
    register_reducer(_name, _series)
for _name in ("pandas.Timestamp", "pandas._libs.tslibs.timestamps.Timestamp"):
    register_reducer(_name, _timestamp)
for _name in ("pandas.Index", "pandas.core.indexes.base.Index"):
    register_reducer(_name, _index, subclasses=True)
for _name in ("pandas.api.extensions.ExtensionArray", "pandas.core.arrays.base.ExtensionArray"):
    register_reducer(_name, _extension_array, subclasses=True)
