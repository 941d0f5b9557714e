"""pandas in keys: what a frame holds counts, how it came about does not."""

from __future__ import annotations

import datetime as dt
import pickle
import tracemalloc
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.key_values import key_of
from tests.support.alike import Groups, check

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT_DTYPES = ["object", "str", "string", "string[python]", "string[pyarrow]", "category"]


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2, 3], "b": [1.5, np.nan, 2.5], "s": ["x", None, "z"], **columns})


def by_columns(frame: pd.DataFrame) -> pd.DataFrame:
    made = pd.DataFrame(index=frame.index)
    for name in frame:
        made[name] = frame[name]
    made.columns = frame.columns
    return made


HISTORIES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "copied": lambda f: f.copy(),
    "pickled": lambda f: pickle.loads(pickle.dumps(f)),
    "column by column": by_columns,
    "joined columns": lambda f: pd.concat([f[["a", "b"]], f[["s"]]], axis=1),
    "reordered columns": lambda f: f[["s", "b", "a"]][["a", "b", "s"]],
    "joined rows": lambda f: pd.concat([f.iloc[:1], f.iloc[1:]]),
    "slice": lambda f: pd.concat([f, f], ignore_index=True).iloc[:3],
    "filtered": lambda f: pd.concat([f, f], ignore_index=True)[[True] * 3 + [False] * 3].reset_index(drop=True),
    "cast": lambda f: f.astype({"a": "f8"}).astype({"a": "i8"}),
    "consolidated": lambda f: f.assign(x=1, y=2).drop(columns=["x", "y"]),
    "overwritten": lambda f: f.assign(a=0).assign(a=f["a"]),
    "used": lambda f: (f.describe(), f.sort_values("b"), f["s"].isin(["x"]), repr(f), f)[-1],
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("text", TEXT_DTYPES)
def test_the_history_of_a_frame_does_not_matter(history: str, text: str) -> None:
    """Equal frames have equal keys however their blocks came together, with text of any dtype."""
    frame = table().astype({"s": text})
    made = HISTORIES[history](table().astype({"s": text}))
    if text == "category":
        made = made.astype({"s": frame["s"].dtype})
    pd.testing.assert_frame_equal(made, frame)
    assert key_of(made) == key_of(frame)


NULLABLE: list[Any] = [
    pd.array([1, 2, None], dtype="Int64"),
    pd.array([1.5, 2, None], dtype="Float64"),
    pd.array([True, False, None], dtype="boolean"),
    pd.array(["x", "y", None], dtype="category"),
    pd.array(["2024-01-01", "2024-01-02", None], dtype="datetime64[ns, UTC]"),
    pd.array(["2024-01-01", "2024-01-02", None], dtype="datetime64[s]"),
    pd.array([1, 2, None], dtype="timedelta64[s]"),
    pd.array(["2024-01", "2024-02", None], dtype="period[M]"),
    pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3]),
    pd.arrays.SparseArray([0, 0, 1]),
    pd.array([1, 2, None], dtype="int64[pyarrow]"),
    pd.array(["x", "y", None], dtype="string[pyarrow]"),
]


@pytest.mark.parametrize("array", NULLABLE, ids=lambda array: str(array.dtype))
def test_extension_arrays(array: Any) -> None:
    """Slices and joins of series, indexes and bare arrays of any dtype count by their values."""
    series = pd.Series(array, name="v")
    double = pd.concat([series, series], ignore_index=True)
    assert double.dtype == series.dtype
    assert key_of(double.iloc[:3]) == key_of(double.iloc[3:].reset_index(drop=True)) == key_of(series)
    assert key_of(double.iloc[:3].to_frame()) == key_of(series.to_frame())
    assert key_of(double.iloc[:3].array) == key_of(array) == key_of(array.copy())
    assert key_of(pd.Index(double.iloc[:2])) == key_of(pd.Index(series.iloc[:2]))
    for other in (double.iloc[1:4], series.iloc[::-1], series.iloc[:2], series.rename("w"), series.astype(object)):
        assert key_of(other) != key_of(series)


def test_hidden_values_below_missing_ones() -> None:
    """What a masked array holds where a value is missing is not part of it."""
    one, other = pd.array([1, 2, None], dtype="Int64"), pd.array([1, 2, 7], dtype="Int64")
    other[2] = pd.NA
    assert key_of(pd.Series(one)) == key_of(pd.Series(other)) != key_of(pd.Series([1, 2, 0], dtype="Int64"))


def test_what_tells_frames_apart() -> None:
    """Names, order and types of columns, dtypes, values, index, attrs, and being a frame at all count."""
    frame = table()
    labelled = frame.copy()
    labelled.attrs["unit"] = "m"
    other = [
        frame,
        labelled,
        frame[["b", "a", "s"]],
        frame.rename(columns={"a": "A"}),
        frame.astype({"a": "f8"}),
        frame.astype({"a": "i4"}),
        frame.astype({"a": "Int64"}),
        frame.astype({"s": "object"}),
        frame.astype({"s": "category"}),
        frame.set_index("a"),
        frame.set_index("a", drop=False),
        frame.iloc[::-1],
        frame.iloc[:2],
        frame.set_axis([0, 1, 3]),
        frame.set_axis(pd.Index([0, 1, 2], name="n")),
        frame.set_axis(pd.Index(["a", "b", "s"], name="n"), axis=1),
        frame[["a"]],
        frame["a"],
        frame["a"].to_numpy(),
        frame["a"].rename("b"),
        frame["a"].rename(None),
        frame.T,
        pd.DataFrame(),
        pd.DataFrame(index=[0, 1]),
        pd.DataFrame(columns=["a"]),
        pd.Series(dtype="f8"),
    ]
    assert len({key_of(value) for value in other}) == len(other)


def test_duplicate_column_names() -> None:
    """Columns of one name are each looked at."""
    made = [pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]) for _ in range(3)]
    made[1].iloc[1, 1] = 5
    made[2].iloc[1, 0] = 5
    assert len({key_of(frame) for frame in made}) == 3


columns = st.sampled_from(["int", "float", "text", "bool", "date", "category", "nullable"])


def filled(kind: str, numbers: list[int]) -> pd.Series:
    """A column of a kind, from small numbers."""
    texts = [str(number) for number in numbers]
    makers: dict[str, Callable[[], pd.Series]] = {
        "int": lambda: pd.Series(numbers, dtype="i8"),
        "float": lambda: pd.Series(numbers, dtype="f8"),
        "text": lambda: pd.Series(texts, dtype="str"),
        "bool": lambda: pd.Series([number % 2 == 0 for number in numbers], dtype="bool"),
        "date": lambda: pd.Series(pd.to_datetime(numbers, unit="D", utc=True)),
        "category": lambda: pd.Series(pd.Categorical(texts, categories=[str(i) for i in range(10)])),
        "nullable": lambda: pd.Series([None if number == 0 else number for number in numbers], dtype="Int64"),
    }
    return makers[kind]()


@given(
    st.lists(st.tuples(columns, st.lists(st.integers(0, 9), min_size=3, max_size=3)), min_size=1, max_size=4), st.data()
)
@settings(deadline=None, max_examples=60)
def test_every_cell_counts(content: list[tuple[str, list[int]]], data: st.DataObject) -> None:
    """Changing one cell changes the key exactly when the cell changed."""
    frame = pd.DataFrame({i: filled(kind, numbers) for i, (kind, numbers) in enumerate(content)})
    column, row = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 2))
    kind, numbers = content[column]
    changed = [*numbers]
    changed[row] = data.draw(st.integers(0, 9))
    other = frame.copy()
    other[column] = filled(kind, changed)
    assert (key_of(other) == key_of(frame)) == frame.equals(other)


INDEXES: dict[str, Callable[[], Any]] = {
    "range": lambda: pd.RangeIndex(3),
    "int": lambda: pd.Index([0, 1, 2]),
    "uint": lambda: pd.Index([0, 1, 2], dtype="u8"),
    "float": lambda: pd.Index([0.0, 1, 2]),
    "text": lambda: pd.Index(["a", "b", "c"]),
    "object": lambda: pd.Index(["a", "b", "c"], dtype=object),
    "named": lambda: pd.Index([0, 1, 2], name="n"),
    "dates": lambda: pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03"]),
    "daily": lambda: pd.date_range("2024-01-01", periods=3, freq="D"),
    "utc": lambda: pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03"], tz="UTC"),
    "vienna": lambda: pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03"], tz="Europe/Vienna"),
    "times": lambda: pd.timedelta_range(0, periods=3, freq="D"),
    "periods": lambda: pd.period_range("2024-01", periods=3, freq="M"),
    "quarters": lambda: pd.period_range("2024-01", periods=3, freq="Q"),
    "intervals": lambda: pd.interval_range(0, 3),
    "left intervals": lambda: pd.interval_range(0, 3, closed="left"),
    "categories": lambda: pd.CategoricalIndex(["a", "b", "a"]),
    "ordered": lambda: pd.CategoricalIndex(["a", "b", "a"], ordered=True),
    "more categories": lambda: pd.CategoricalIndex(["a", "b", "a"], categories=["a", "b", "c"]),
    "other order": lambda: pd.CategoricalIndex(["a", "b", "a"], categories=["b", "a"]),
    "multi": lambda: pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
    "named multi": lambda: pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["x", None]),
    "other multi": lambda: pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 2)]),
}


def test_indexes_have_keys_of_their_own() -> None:
    """Kind, name, dtype, time zone, frequency, categories and values tell indexes, and frames with them, apart."""
    assert len({key_of(make()) for make in INDEXES.values()}) == len(INDEXES)
    frames = [pd.DataFrame({"v": [1, 2, 3]}, index=make()) for make in INDEXES.values()]
    assert len({key_of(frame) for frame in frames}) == len(INDEXES)


@pytest.mark.parametrize("name", INDEXES)
def test_using_an_index_leaves_its_key(name: str) -> None:
    """What an index caches when it is used (hash tables, uniqueness, texts) is not part of it."""
    index = INDEXES[name]()
    before = key_of(index)
    assert key_of(INDEXES[name]()) == before == key_of(index.copy()) == key_of(pickle.loads(pickle.dumps(index)))
    assert index.is_unique in (True, False)
    assert index.is_monotonic_increasing in (True, False)
    index.get_loc(index[1])
    assert len(list(index)) == len(repr(index)[:3]) == 3
    assert key_of(index) == before


def test_levels_of_a_multiindex_are_history() -> None:
    """Unused levels and their order do not matter, the values and names do."""
    made = pd.MultiIndex.from_product([["a", "b", "c"], [1, 2]], names=["x", "y"])
    assert key_of(made[:4]) == key_of(pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", "y"]))
    assert key_of(made[:4]) == key_of(made[:4].remove_unused_levels())
    assert key_of(made[:4]) != key_of(made[:4].rename(["y", "x"])) != key_of(made[:4].swaplevel())


def test_time_zones_and_units() -> None:
    """The same instants in another zone or unit are other values."""
    times = pd.Series(pd.to_datetime(["2024-01-01 12:00", None], utc=True))
    zones = [times, times.dt.tz_convert("Europe/Vienna"), times.dt.tz_localize(None), times.dt.as_unit("s")]
    assert len({key_of(series) for series in zones}) == 4


def test_sets_in_columns() -> None:
    """A column may hold sets."""
    words = ["north", "south", "east"]
    one, other = (pd.DataFrame({"s": [set(order), 1]}) for order in (words, words[::-1]))
    assert key_of(one) == key_of(other) != key_of(pd.DataFrame({"s": [set(words[:2]), 1]}))


class Located(pd.api.extensions.ExtensionArray):
    """An extension array of another package, which knows more than its dtype says."""

    def __init__(self, values: Any, system: str) -> None:
        self.values, self.system = np.asarray(values), system

    dtype = pd.api.extensions.ExtensionDtype()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, item: Any) -> Any:
        return self.values[item] if isinstance(item, int) else Located(self.values[item], self.system)


def test_extension_arrays_of_other_packages() -> None:
    """They count by what pickle says of them: dtype and values may not be all."""
    made = [Located([1, 2], "WGS 84"), Located([1, 2], "WGS 84"), Located([1, 2], "ETRS89"), Located([1, 3], "WGS 84")]
    assert key_of(made[0]) == key_of(made[1])
    assert len({key_of(array) for array in made}) == 3


def with_flags(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_flags(allows_duplicate_labels=False)


def with_attrs(frame: pd.DataFrame, **attrs: Any) -> pd.DataFrame:
    made = frame.copy()
    made.attrs.update(attrs)
    return made


def missing_over(dtype: str, below: Any) -> Any:
    """A masked extension array with any value below what is missing."""
    array = pd.array([type(below)(1), below], dtype=dtype)
    array[1] = pd.NA
    return array


def groups() -> Groups:
    """Frames and series that are alike, and those that only look so."""
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [1.5, np.nan, 2.5], "c": [True, False, True], "s": ["x", None, "z"]})
    blocks = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["p", "q"])
    arrow = pd.Series([1, None, 3], dtype="int64[pyarrow]")
    texts = pd.Series(["a", None, "ccc"], dtype="string[pyarrow]")
    lists = pd.Series([[1], None, [2, 3]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    multi = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    return {
        "frame": [frame, by_columns(frame), pickle.loads(pickle.dumps(frame)), pd.concat([frame[:1], frame[1:]])],
        "without duplicates": [with_flags(frame), with_flags(by_columns(frame))],
        "with attrs": [with_attrs(frame, unit="m"), with_attrs(by_columns(frame), unit="m")],
        "with other attrs": [with_attrs(frame, unit="s")],
        "one block": [
            blocks,
            by_columns(blocks),
            pd.DataFrame({"p": [0.0, 2, 4], "q": [1.0, 3, 5]}),
            blocks.T.copy().T,
        ],
        "fortran block": [pd.DataFrame(np.asfortranarray(np.arange(6.0).reshape(3, 2)), columns=["q", "p"])],
        "series": [frame["a"], frame["a"].copy(), pd.concat([frame["a"][:1], frame["a"][1:]])],
        "multi": [frame[:0].reindex(multi), by_columns(frame[:0].reindex(multi))],
        "Int64": [missing_over("Int64", 2), missing_over("Int64", 9)],
        "Int32": [missing_over("Int32", 2), missing_over("Int32", 9)],
        "Float64": [missing_over("Float64", 2), missing_over("Float64", 9)],
        "boolean": [missing_over("boolean", True), missing_over("boolean", False)],
        "arrow": [arrow, pd.concat([arrow[:1], arrow[1:]]), pd.concat([arrow, arrow], ignore_index=True)[:3]],
        "arrow texts": [
            texts,
            pd.concat([texts[:1], texts[1:]]),
            pd.Series(["x", "a", None, "ccc"], dtype="string[pyarrow]")[1:].reset_index(drop=True),
        ],
        "arrow lists": [lists, pd.concat([lists[:2], lists[2:]])],
        "category": [
            pd.Series(["a", "b"], dtype="category"),
            pd.Series(pd.Categorical(["b", "a", "b"], categories=["a", "b"]))[1:].reset_index(drop=True),
        ],
        "category in another order": [pd.Series(pd.Categorical(["a", "b"], categories=["b", "a"]))],
        "ordered category": [pd.Series(pd.Categorical(["a", "b"], ordered=True))],
        "interval": [pd.Series(pd.arrays.IntervalArray.from_breaks([0, 1, 2]))],
        "timestamp": [
            pd.Timestamp("2024-01-01", tz="Europe/Vienna"),
            pd.Timestamp(datetime(2024, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/Vienna"))).as_unit(
                pd.Timestamp("2024-01-01").unit
            ),
        ],
        "naive timestamp": [pd.Timestamp("2024-01-01")],
        "not a time": [pd.NaT],
        "missing": [pd.NA],
    }


def test_alike() -> None:
    """Blocks, chunks and what lies below missing values do not count; flags, attrs and categories do."""
    check(groups())


def test_an_arrow_column_is_not_taken_apart() -> None:
    """The key of a million numbers in an Arrow column is made of its buffers, not of a million objects."""
    series = pd.Series(np.arange(1_000_000), dtype="int64[pyarrow]")
    key_of(series[:1])
    tracemalloc.start()
    try:
        key_of(series)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


class Zone(dt.tzinfo):
    """A time zone that is called like any other of its kind."""

    def __init__(self, hours: float = 0) -> None:
        self.hours = hours

    def __getinitargs__(self) -> tuple[float]:
        return (self.hours,)

    def utcoffset(self, _time: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=self.hours)

    def dst(self, _time: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)

    def tzname(self, _time: dt.datetime | None) -> str:
        return "IST"

    __repr__ = __str__ = lambda _zone: "IST"


ZONES: dict[str, Callable[[float], dt.tzinfo]] = {
    "own": Zone,
    "fixed": lambda hours: dt.timezone(dt.timedelta(hours=hours), "IST"),
}
WITH_TIMES: dict[str, Callable[[Any], Any]] = {
    "index": lambda index: index,
    "empty": lambda index: index[:0],
    "array": lambda index: index.array,
    "dtype": lambda index: [index.dtype],
    "series": pd.Series,
    "frame": lambda index: pd.DataFrame({"t": index}),
    "columns": lambda index: pd.DataFrame([[1]], columns=index),
    "categories": lambda index: pd.Series(pd.Categorical(index)),
    "category": lambda index: pd.CategoricalDtype(index),
    "levels": lambda index: pd.MultiIndex.from_product([[1], index]),
    "spans": lambda index: pd.arrays.IntervalArray.from_breaks(index.append(index + pd.Timedelta("1h"))),
    "objects": lambda index: pd.Series(index.to_list(), dtype=object),
    "Timestamp": lambda index: index[0],
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("where", WITH_TIMES)
def test_time_zones_of_one_name(where: str, zone: str) -> None:
    """Zones count by what they are, wherever they lie: the same instant is another hour in India and in Israel."""
    utc = pd.DatetimeIndex(["2024-01-01 10:00"], tz="UTC")
    india, israel, twin = (WITH_TIMES[where](utc.tz_convert(ZONES[zone](hours))) for hours in (5.5, 2, 5.5))
    assert key_of(india) == key_of(twin) != key_of(israel)


def test_frequencies_of_one_name() -> None:
    """Holidays and working days of a frequency count: `shift` goes by them."""
    day = pd.offsets.CustomBusinessDay
    frequencies = [
        day(),
        day(holidays=["2024-01-04"]),
        day(weekmask="Mon Tue Wed"),
        pd.offsets.BusinessHour(start="10:00"),
    ]
    keys = [[key_of(pd.date_range("2024-01-02", periods=2, freq=one)) for one in frequencies] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(frequencies)


def test_the_fold_of_a_timestamp() -> None:
    """The second 2:30 of the night in which clocks are set back is another time, which pickle does not say."""
    first, second = (pd.Timestamp(dt.datetime(2023, 10, 29, 2, 30, fold=fold)) for fold in (0, 1))
    assert key_of(first) == key_of(pd.Timestamp(first)) != key_of(second)
