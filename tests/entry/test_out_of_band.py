"""Large arrays, frames and tensors lie outside of the pickle stream, and come back as their own pickles would."""

from __future__ import annotations

import array
import mmap
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pcache.entry.compression import MAP_MIN
from pcache.entry.pickling import dump, load_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache import Cache

try:
    import torch
except ImportError:
    torch: Any = None  # type: ignore[no-redef]

N = MAP_MIN // 8
FLOATS = np.arange(4 * N, dtype="f8")
STREAM = 24 << 10  # bytes that a pickle takes at most: without contents, or with the small ones that stay in it


def round_trip(value: object) -> tuple[Any, int]:
    """A value as a hit would load it, and the length of its stream."""
    payload = dump(value)
    return load_with([bytearray(buffer) for buffer in payload.buffers])(payload.stream), len(payload.stream)


ARRAYS: dict[str, Callable[[], Any]] = {
    "dates": lambda: FLOATS.astype("M8[s]"),
    "dates of the other byte order": lambda: FLOATS.astype(">M8[D]"),
    "durations in columns": lambda: np.asfortranarray(FLOATS.astype("m8[ns]").reshape(-1, 4)),
    "dates with gaps": lambda: FLOATS.astype("M8[s]").reshape(-1, 4)[:, ::2],
    "every second column": lambda: FLOATS.reshape(-1, 4)[:, ::2],
    "backwards": lambda: FLOATS[::-1],
    "broadcast": lambda: np.broadcast_to(np.arange(4.0), (N, 4)),
    "axes in another order": lambda: FLOATS.reshape(4, 2, -1).transpose(1, 0, 2),
    "records": lambda: np.rec.fromarrays([FLOATS, FLOATS.astype("i4")], names="a,b"),
    "texts": lambda: FLOATS.astype("U8")[::2],
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    value = ARRAYS[name]()
    found, length = round_trip(value)
    like = pickle.loads(pickle.dumps(value, 5))
    assert length < STREAM
    assert (type(found), found.dtype, found.shape, found.strides) == (type(like), value.dtype, like.shape, like.strides)
    assert np.array_equal(found, value)
    assert found.flags.writeable


def test_an_array_of_a_file(tmp_path: Any) -> None:
    """What a `memmap` held is stored; the file that it belonged to is not."""
    value = np.memmap(tmp_path / "file", "f8", "w+", shape=(2 * N,))
    value[:] = 1.5
    found, length = round_trip(value)
    assert length < STREAM
    assert type(found) is np.memmap
    assert found.filename is None
    assert (found == 1.5).all()


def test_an_array_of_python() -> None:
    for code in "bBhHiIlLqQfd":
        value = array.array(code, bytes(range(128)) * (MAP_MIN // 128))
        found, length = round_trip(value)
        assert length < STREAM
        assert (found.typecode, found) == (code, value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(10).astype("M8[s]"),
        np.arange(20)[::2],
        np.array([{}, None] * N)[::2],
        array.array("d", [1.0]),
        pl.DataFrame({"a": [1, 2]}),
        pl.Series([1.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_small_or_of_objects_is_pickled_as_its_class_says(value: Any) -> None:
    assert dump(value).stream == pickle.dumps(value, 5)


def test_attributes_of_subclasses_are_kept() -> None:
    """An array that carries more than its elements is pickled as before."""
    records = np.rec.fromarrays([FLOATS], names="a")
    records.unit = "m"
    found, _ = round_trip(records)
    assert found.unit == "m"
    frame = pl.DataFrame({"a": FLOATS})
    frame.unit = "m"  # type: ignore[attr-defined]
    found, _ = round_trip(frame)
    assert found.unit == "m"


def test_dates_in_frames_of_pandas() -> None:
    times = pd.date_range("2024", periods=2 * N, freq="s", tz="Europe/Vienna")
    value = pd.DataFrame({"at": times, "took": times - times[0], "x": np.arange(2.0 * N)})
    found, length = round_trip(value)
    assert length < STREAM
    pd.testing.assert_frame_equal(found, value)
    assert found.dtypes.equals(value.dtypes)


POLARS: dict[str, Callable[[], pl.Series]] = {
    "floats": lambda: pl.Series("x", FLOATS),
    "none": lambda: pl.Series("x", [None, 1, 2] * N),
    "not a number": lambda: pl.Series("x", [float("nan"), None, -0.0] * N),
    "booleans": lambda: pl.Series("x", [True, None, False] * (4 * MAP_MIN)),
    "texts": lambda: pl.Series("x", ["a", "a longer text that is not inlined", None] * N),
    "bytes": lambda: pl.Series("x", [b"a", b"a longer content that is not inlined"] * N),
    "dates": lambda: pl.Series("x", FLOATS.astype("M8[us]")).cast(pl.Date),
    "times": lambda: pl.Series("x", FLOATS.astype("M8[us]")).dt.replace_time_zone("Europe/Vienna"),
    "durations": lambda: pl.Series("x", FLOATS.astype("m8[ms]")),
    "lists": lambda: pl.Series("x", [[1.0, 2.0], None, []] * N),
    "arrays": lambda: pl.Series("x", FLOATS.reshape(-1, 4)),
    "sorted": lambda: pl.Series("x", FLOATS).set_sorted(),
    "sorted downwards": lambda: pl.Series("x", FLOATS[::-1].copy()).set_sorted(descending=True),
    "chunks": lambda: pl.Series("x", FLOATS).append(pl.Series("x", FLOATS)),
    "a slice": lambda: pl.Series("x", FLOATS)[3:-5],
}


@pytest.mark.parametrize("name", POLARS)
def test_series_and_frames_of_polars(name: str) -> None:
    pytest.importorskip("pyarrow")
    series = POLARS[name]()
    frame = pl.DataFrame({"first": series, "ü": series.alias("ü")})
    found, length = round_trip(series)
    assert length < STREAM
    assert found.equals(series, check_dtypes=True, check_names=True, null_equal=True)
    assert found.flags == series.flags
    found, length = round_trip(frame)
    assert length < STREAM
    assert found.equals(frame)
    assert found.schema == frame.schema


@pytest.mark.parametrize(
    "make",
    [
        lambda: pl.Series("x", ["a", "b", None] * MAP_MIN, dtype=pl.Categorical),
        lambda: pl.Series("x", ["a", "b", None] * MAP_MIN, dtype=pl.Enum(["b", "a"])),
        lambda: pl.Series("x", [{"a": 1, "b": "c"}] * N),
        lambda: pl.Series("x", FLOATS).cast(pl.Decimal(20, 2)),
        lambda: pl.Series("x", [None] * (8 * MAP_MIN)),
    ],
    ids="categories enum structs decimals nothing".split(),
)
def test_types_that_arrow_has_not_are_pickled_by_polars(make: Callable[[], pl.Series]) -> None:
    series = make()
    frame = pl.DataFrame({"x": series, "y": series})
    for value in (series, frame):
        found, _ = round_trip(value)
        assert found.equals(value)
        assert dump(value).stream == pickle.dumps(value, 5)
    assert found.schema == frame.schema


@pytest.mark.skipif(torch is None, reason="torch is not installed")
@pytest.mark.parametrize("kind", "float32 float64 float16 bfloat16 int8 int64 bool complex64 uint8".split())
def test_tensors(kind: str) -> None:
    value = torch.arange(8 * N).reshape(4, -1).to(getattr(torch, kind))
    found, length = round_trip(value)
    assert length < STREAM
    assert (found.dtype, found.shape, found.stride()) == (value.dtype, value.shape, value.stride())
    assert torch.equal(found, value)
    found[0, 0] = 1  # writable


@pytest.mark.skipif(torch is None, reason="torch is not installed")
def test_a_trained_model_of_torch() -> None:
    """Weights are parameters, which hold a tensor; what has a gradient, gaps or a view is pickled by torch."""
    model = torch.nn.Linear(512, 512)
    found, length = round_trip(model)
    assert length < STREAM
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), model.parameters(), strict=True))
    assert all(one.requires_grad and one.is_leaf for one in found.parameters())
    whole = torch.arange(8.0 * N).reshape(4, -1)
    for value in (whole.clone().requires_grad_(), whole.T, whole[:, ::2], whole.to_sparse()):
        found, _ = round_trip(value)
        assert (found.requires_grad, found.layout, found.stride() if not found.is_sparse else ()) == (
            value.requires_grad,
            value.layout,
            value.stride() if not value.is_sparse else (),
        )
        assert torch.equal(found.to_dense(), value.to_dense())


def memory_of(value: Any) -> object:
    """The object whose memory an array shows."""
    while (below := value.obj if isinstance(value, memoryview) else getattr(value, "base", None)) is not None:
        value = below
    return value


def test_many_small_arrays_share_one_map(cache: Cache) -> None:
    """A list of small arrays is mapped once if it is large in all, but for the first few KiB, which are read."""

    @cache.cached
    def arrays(n: int) -> list[np.ndarray]:
        return [np.random.default_rng(i).random(2000) for i in range(n)]

    first = arrays(100)
    found = arrays(100)
    owners = {id(memory_of(one)): memory_of(one) for one in found}
    assert [type(owner) for owner in owners.values()] == [bytearray, mmap.mmap]
    found[0][:] = found[3][:] = -1  # which stays in this list
    assert all(map(np.array_equal, arrays(100), first))
    assert arrays.cache_info()[:2] == (2, 1)


def test_a_frame_of_polars_is_mapped(cache: Cache) -> None:
    pytest.importorskip("pyarrow")

    @cache.cached
    def frame() -> pl.DataFrame:
        return pl.DataFrame({"x": FLOATS, "s": ["a", "b"] * (2 * N)})

    first = frame()
    assert frame().equals(first)
    assert frame().sort("x", descending=True).equals(first.sort("x", descending=True))
    assert frame.cache_info()[:2] == (2, 1)
