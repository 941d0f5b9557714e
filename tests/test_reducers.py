"""Arrays and frames in keys: what they hold counts, how they came about does not."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pcache import reducers
from tests.key_values import key_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

assert reducers

DTYPES = "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16 >i4 >f8 >c16 >M8[s] M8[ns] M8[D] m8[us] U3 >U3 S3 V5 g G O".split()


def example(dtype: str, shape: tuple[int, ...] = (4, 3)) -> Any:
    """An array of distinct values."""
    count = int(np.prod(shape))
    if dtype.startswith("V"):
        return np.arange(count * 5, dtype="u1").view(dtype).reshape(shape)
    return np.arange(count).astype("?" if dtype == "?" else dtype).reshape(shape)


# Arrays


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_does_not_matter(dtype: str) -> None:
    """C and Fortran order, strides, views, reversed and read-only copies of one content have one key."""
    array = example(dtype)
    wide = np.zeros((8, 9), dtype=array.dtype)
    wide[::2, ::3] = array
    double = np.zeros((8, 3), dtype=array.dtype)
    double[4:] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    twins = [
        array.copy(),
        np.asfortranarray(array),
        array.T.copy().T,
        wide[::2, ::3],
        array[::-1].copy()[::-1],
        double[4:],
        frozen,
        array if dtype.startswith(">") else pickle.loads(pickle.dumps(array)),  # pickle brings the machine's order
        np.broadcast_to(array, (2, 4, 3))[1],
    ]
    assert {key_of(twin) for twin in twins} == {key_of(array)}


def test_dtypes_shapes_and_types_count() -> None:
    """Arrays of other dtypes, byte orders and shapes differ from each other, from lists and from scalars."""
    arrays = [np.zeros(3, dtype=dtype) for dtype in DTYPES]
    arrays += [np.zeros(shape) for shape in ((3, 1), (1, 3), (1, 1, 3), (0,), (0, 3), (3, 0), (), (2,), (4,))]
    others = [[0.0, 0.0, 0.0], (0.0,) * 3, np.float64(0), 0.0, np.zeros(3).tobytes(), np.zeros(3).view(np.recarray)]
    assert len({key_of(value) for value in [*arrays, *others]}) == len(arrays) + len(others)


@given(
    hnp.arrays(
        dtype=st.sampled_from(["i4", "f8", "u1", "?", "c8", "M8[s]", "U2"]),
        shape=hnp.array_shapes(max_dims=3, max_side=4),
    ),
    st.data(),
)
@settings(deadline=None)
def test_every_element_counts(array: Any, data: st.DataObject) -> None:
    """Changing one element changes the key, and changing it back restores it."""
    changed = array.copy()
    position = tuple(data.draw(st.integers(0, side - 1)) for side in array.shape)
    changed[position] = data.draw(hnp.from_dtype(array.dtype))
    assert (key_of(changed) == key_of(array)) == (changed.tobytes() == array.tobytes())
    changed[position] = array[position]
    assert key_of(changed) == key_of(array)


@given(
    hnp.arrays(
        dtype=st.sampled_from(["i2", "f4", "O"]),
        shape=hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
        elements=st.integers(0, 9),
    ),
    st.data(),
)
@settings(deadline=None)
def test_views_have_the_keys_of_their_copies(array: Any, data: st.DataObject) -> None:
    """Any slice or transposition has the key of a contiguous copy."""
    index = data.draw(hnp.basic_indices(array.shape))
    for view in (array[index], array.T, np.moveaxis(array, 0, -1)):
        assert key_of(view) == key_of(np.array(view)) if isinstance(view, np.ndarray) else True


def test_large_arrays_in_any_layout() -> None:
    """Blocks in which strided arrays are read leave no trace, and every block counts."""
    for shape in ((3, 500_000), (500_000, 3), (2, 2, 400_000), (1_500_001,)):
        array = np.arange(int(np.prod(shape)), dtype="f8").reshape(shape)
        padded = np.zeros((*shape[:-1], shape[-1] * 2))
        padded[..., ::2] = array
        for twin in (np.asfortranarray(array), padded[..., ::2]):
            assert key_of(twin) == key_of(array)
        padded[..., ::2].reshape(-1)[-1] = 0
        padded[(-1,) * (len(shape) - 1)][-2] = -1
        assert key_of(padded[..., ::2]) != key_of(array)


def test_special_floats() -> None:
    """NaN equals itself; the zeros, the infinities and NaNs of other bits differ."""
    assert key_of(np.array([np.nan])) == key_of(np.array([np.nan]))
    other_nan = np.array([0x7FF8000000000001], dtype="u8").view("f8")
    values = [np.array([v]) for v in (0.0, -0.0, np.inf, -np.inf, np.nan)] + [other_nan]
    assert len({key_of(value) for value in values}) == 6
    assert key_of(np.array(["NaT"], dtype="M8[s]")) != key_of(np.array(["NaT"], dtype="m8[s]"))


def test_object_arrays() -> None:
    """Objects count by value, type and place; sets in them by content."""
    array = np.array([[1, "a"], [None, {"x", "y"}]], dtype=object)
    assert key_of(array) == key_of(np.asfortranarray(array)) == key_of(np.array(array.tolist(), dtype=object))
    for place, value in (((0, 0), True), ((0, 1), "b"), ((1, 0), 0), ((1, 1), {"x"})):
        changed = array.copy()
        changed[place] = value
        assert key_of(changed) != key_of(array)


RECORD = np.dtype([("a", "i1"), ("b", "f8"), ("c", "U2")], align=True)


def test_padding_of_structured_arrays_is_no_content() -> None:
    """The bytes between fields may hold anything; fields, names, offsets and size count."""
    clean = np.zeros(3, dtype=RECORD)
    garbage = np.full(3 * RECORD.itemsize, 0xAB, dtype="u1").view(RECORD)
    for name in RECORD.names or ():
        garbage[name] = clean[name]
    assert clean.tobytes() != garbage.tobytes()
    assert key_of(clean) == key_of(garbage) == key_of(garbage[::-1])
    assert key_of(clean[0]) == key_of(garbage[0])
    changed = clean.copy()
    changed["c"][1] = "z"
    assert key_of(changed) != key_of(clean)


def test_structured_dtypes_count() -> None:
    """Field names, types, order, offsets, nesting and size all tell structured arrays apart."""
    layouts: list[Any] = [
        [("a", "i4"), ("b", "i4")],
        [("b", "i4"), ("a", "i4")],
        [("a", "i4"), ("c", "i4")],
        [("a", "i4"), ("b", "u4")],
        [("a", "i4"), ("b", "i4", (1,))],
        [("a", "i4"), ("b", [("x", "i4")])],
        {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 8]},
        {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]},
        {"names": ["a", "b"], "formats": ["i4", "i4"], "itemsize": 16},
        {"names": ["a", "b"], "formats": ["i4", "i4"], "itemsize": 24},
    ]
    assert len({key_of(np.zeros(2, dtype=np.dtype(layout))) for layout in layouts}) == len(layouts)


@pytest.mark.skipif(np.dtype("g").itemsize < 16 or np.finfo("g").nmant != 63, reason="no padded extended precision")
def test_padding_of_extended_precision_is_no_content() -> None:
    """The six bytes beside an 80-bit float may hold anything."""
    one = np.array([1, 2], dtype="g") / 3
    raw = one.view("u1").copy()
    raw[10:16] = raw[26:32] = 0xAB
    other = raw.view("g")
    assert (one == other).all()
    assert key_of(one) == key_of(other) != key_of(one + np.finfo("g").eps)
    assert key_of(one[0]) == key_of(other[0])
    assert key_of(one.astype("G")) == key_of(raw.view("G").view("g").astype("G"))


def test_memory_maps(tmp_path: Path) -> None:
    """A mapped array counts by its content, not by file, mode or offset."""
    np.save(tmp_path / "a.npy", np.arange(10.0))
    np.save(tmp_path / "b.npy", np.arange(10.0))
    one, other = (np.load(tmp_path / name, mmap_mode=mode) for name, mode in (("a.npy", "r"), ("b.npy", "c")))
    assert key_of(one) == key_of(other) != key_of(one[1:])
    assert key_of(one[2:5]) == key_of(other[2:5])


def test_scalars() -> None:
    """Numpy's scalars count by type and value, and are no Python numbers."""
    values = [np.dtype(dtype).type(1) for dtype in "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 g c8 c16 G".split()]
    values += [np.float64(v) for v in (0.0, -0.0, 2.0, np.nan)] + [
        np.str_("1"),
        np.bytes_(b"1"),
        1,
        1.0,
        True,
        "1",
        b"1",
    ]
    values += [
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01", "s"),
        np.datetime64("NaT", "s"),
        np.timedelta64(1, "s"),
    ]
    assert len({key_of(value) for value in values}) == len(values)
    assert all(key_of(value) == key_of(pickle.loads(pickle.dumps(value))) for value in values)


def test_subclasses_and_masks() -> None:
    """Record and masked arrays count as what they are."""
    base = np.arange(6.0).reshape(2, 3)
    made = [
        base,
        base.view(np.recarray),
        np.ma.array(base),
        np.ma.array(base, mask=base > 2),
        np.ma.array(base, mask=base > 3),
    ]
    assert len({key_of(value) for value in made}) == 5
    assert key_of(np.ma.array(base, mask=base > 2)) == key_of(np.ma.array(base.copy(), mask=base > 2))


def test_dtypes_and_functions_of_numpy() -> None:
    """Dtypes, universal functions and generators are arguments too."""
    values = [np.dtype("f8"), np.dtype(">f8"), np.dtype("i8"), np.float64, np.sin, np.cos, np.sum, RECORD]
    assert len({key_of(value) for value in values}) == len(values)
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    assert key_of(one) == key_of(other) != key_of(np.random.default_rng(2))
    other.random()
    assert key_of(one) != key_of(other)


# Frames

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


# Other libraries, which bring their own pickles


def test_polars() -> None:
    """Equal frames and series of polars have equal keys, other values, names and dtypes others."""
    frame = pl.DataFrame({"a": [1, 2, 3], "s": ["x", None, "z"]})
    assert key_of(frame) == key_of(frame.clone()) == key_of(pl.concat([frame, frame])[:3])
    other = [
        frame.with_columns(a=pl.lit(1)),
        frame.rename({"a": "b"}),
        frame[:2],
        frame.cast({"a": pl.Int32}),
        frame["a"],
    ]
    assert len({key_of(value) for value in [frame, *other]}) == 6


def test_arrow() -> None:
    """Equal tables of pyarrow have equal keys, and other values others."""
    made = pa.table({"a": [1, 2, 3], "s": ["x", None, "z"]})
    assert key_of(made) == key_of(pa.table({"a": [1, 2, 3], "s": ["x", None, "z"]}))
    assert len({key_of(value) for value in (made, made.slice(1), made.rename_columns(["b", "s"]), made["a"])}) == 4


def test_estimators() -> None:
    """Parameters and fitted state of scikit-learn's estimators count."""
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 2.0])
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=2.0))
    assert key_of(Ridge()) == key_of(Ridge()) != key_of(Ridge(alpha=2.0))
    assert key_of(Ridge().fit(x, y)) == key_of(Ridge().fit(x.copy(), y)) != key_of(Ridge())
    assert key_of(Ridge().fit(x, y)) != key_of(Ridge().fit(x, y + 1))
    assert key_of(pipeline) == key_of(pickle.loads(pickle.dumps(pipeline))) != key_of(make_pipeline(Ridge(alpha=2.0)))
