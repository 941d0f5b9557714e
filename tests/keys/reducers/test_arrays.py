"""numpy in keys: what an array holds counts, how it came about does not."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.key_values import key_of
from tests.support.alike import Groups, check

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16 >i4 >f8 >c16 >M8[s] M8[ns] M8[D] m8[us] U3 >U3 S3 V5 g G O".split()


def example(dtype: str, shape: tuple[int, ...] = (4, 3)) -> Any:
    """An array of distinct values."""
    count = int(np.prod(shape))
    if dtype.startswith("V"):
        return np.arange(count * 5, dtype="u1").view(dtype).reshape(shape)
    return np.arange(count).astype("?" if dtype == "?" else dtype).reshape(shape)


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


def masked(order: str = "C", below: float = 0.0, **options: Any) -> Any:
    """A masked array with any values below its mask."""
    data = np.arange(6.0).reshape(2, 3)
    data[0, 1] = data[1, 2] = below
    mask = np.array([[0, 1, 0], [0, 0, 1]], dtype=bool)
    return np.ma.array(np.asarray(data, order=order), mask=np.asarray(mask, order=order), **options)


def masked_records(below: int) -> Any:
    """A structured masked array with any values below its mask."""
    made = np.ma.array([(1, 2.0, "x"), (3, 4.0, "y")], dtype=RECORD, mask=[(0, 1, 0), (0, 0, 1)])
    made.data["b"][0] = below
    made.data["c"][1] = str(below)
    return made


def touched(array: Any) -> Any:
    """The same array after its fill value was asked for, which `astype` hands on from then on."""
    assert array.fill_value is not None
    return array


def groups() -> Groups:
    """Arrays and scalars that are alike, and those that only look so."""
    base = np.arange(6.0).reshape(2, 3)
    records = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])
    as_records = np.dtype((np.record, records.dtype))
    wide = np.zeros((4, 6))
    wide[::2, ::2] = base
    return {
        "array": [
            base,
            np.asfortranarray(base),
            wide[::2, ::2],
            base[::-1].copy()[::-1],
            np.frombuffer(base.tobytes()).reshape(2, 3),
        ],
        "big endian": [base.astype(">f8"), np.asfortranarray(base.astype(">f8"))],
        "transposed": [base.T, base.T.copy()],
        "matrix": [base.view(np.matrix), np.asfortranarray(base).view(np.matrix)],
        "nan": [np.array([np.nan]), np.array([1.0, np.nan])[1:]],
        "zero dimensions": [np.array(1.0), base[0, 1:2].reshape(())],
        "scalar": [np.float64(1.0), base[0, 1]],
        "datetime": [np.array(["2024-01-01", "NaT"], dtype="M8[s]")],
        "datetime in days": [np.array(["2024-01-01", "NaT"], dtype="M8[D]")],
        "datetime scalar": [np.datetime64("2024-01-01", "s")],
        "masked": [masked(), masked("F"), masked(below=9), masked("F", below=np.nan)],
        "less masked": [np.ma.array(masked().data, mask=[[0, 1, 0], [0, 0, 0]])],
        "masked with a fill value": [masked(fill_value=7), masked("F", fill_value=7)],
        "masked, fill value looked at": [
            touched(masked()),
            masked(fill_value=1e20),
            pickle.loads(pickle.dumps(masked())),
        ],
        "masked for good": [masked(hard_mask=True)],
        "nothing masked": [np.ma.array(base, mask=False), np.ma.array(base, mask=np.zeros((2, 3)))],
        "no mask": [np.ma.array(base), np.ma.array(np.asfortranarray(base))],
        "masked scalar": [np.ma.masked, masked()[0, 1]],
        "masked integers": [np.ma.array([1, 2, 3], mask=[0, 1, 0]), np.ma.array([1, 9, 3], mask=[0, 1, 0])],
        "masked objects": [
            np.ma.array([1, {"x", "y"}], mask=[1, 0], dtype=object),
            np.ma.array([2, {"y", "x"}], mask=[1, 0], dtype=object),
        ],
        "masked records": [masked_records(0), masked_records(9)],
        "structured": [records, records[::-1]],
        "record array": [records.view(np.recarray), np.zeros(6, dtype=records.dtype).view(np.recarray)[::2]],
        "structured with records": [np.zeros(3, dtype=as_records), np.zeros(6, dtype=as_records)[::2]],
        "titles": [np.zeros(3, dtype=[(("first", "a"), "i4"), ("b", "f8")])],
        "metadata": [np.zeros(3, dtype=np.dtype("i4", metadata={"unit": "m"}))],
        "other metadata": [np.zeros(3, dtype=np.dtype("i4", metadata={"unit": "s"}))],
        "objects": [np.array([1, "a", None], dtype=object), np.array([[1, "a", None]], dtype=object).T[:, 0]],
        "texts": [np.array(["a", "b"])],
        "wide texts": [np.array(["a", "b"], dtype="U9")],
    }


def test_alike() -> None:
    """Memory layout and what lies below a mask do not count; dtype, shape, mask and fill value do."""
    check(groups())


def test_arguments_stay_as_they_are() -> None:
    """Making a key leaves a masked array without the fill value that asking for it would give it."""
    array = masked()
    key_of(array)
    assert array._fill_value is None
    assert array.astype("i4").fill_value == 999999


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy is too old")
def test_texts_of_variable_width() -> None:
    """What stands for a missing text is part of the dtype, also where none is missing."""
    kinds = [np.dtypes.StringDType(), np.dtypes.StringDType(na_object=None), np.dtypes.StringDType(coerce=False)]
    arrays = [np.array(["a", "b" * 40], dtype=kind) for kind in kinds]
    assert len({key_of(array) for array in arrays}) == 3
    assert key_of(arrays[0]) == key_of(np.array(["x", "a", "b" * 40], dtype=kinds[0])[1:])


def test_a_mask_costs_no_more_than_what_it_hides() -> None:
    """The key of a large masked array without masked elements is made where it lies."""
    array = np.ma.array(np.zeros(5_000_000), mask=np.zeros(5_000_000, dtype=bool))
    tracemalloc.start()
    try:
        key_of(array)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_what_arrays_of_one_text_differ_in() -> None:
    """Zeros at the end of text, alignment, and C types of one size: a program sees each."""
    fields = [("a", "i4"), ("b", "i4")]
    values: list[Any] = [np.str_(text) for text in ("", "\0", "a", "a\0", "a\0\0")]
    values += [np.bytes_(b"a"), np.bytes_(b"a\0")]
    values += [np.zeros(1, np.dtype(fields, align=align)) for align in (False, True)]
    values += [np.zeros(1, kind) for kind in (np.dtype("l"), np.dtype("q"), np.dtype("L"), np.dtype("Q"))]
    assert len({key_of(value) for value in values}) == len(values)
