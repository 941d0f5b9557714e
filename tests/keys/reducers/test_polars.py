"""polars in keys: values, names and types count; chunks and what lies below missing values do not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pcache import Cache, UnhashableArgument
from tests.key_values import key_of
from tests.support.alike import Groups, check

TYPES: dict[str, tuple[Any, list[Any]]] = {
    "int": (pl.Int32, [1, None, 3, 4]),
    "uint": (pl.UInt64, [1, None, 3, 2**64 - 1]),
    "wide int": (pl.Int128, [1, None, 3, 2**100]),
    "float": (pl.Float32, [1.0, None, -0.0, float("nan")]),
    "bool": (pl.Boolean, [True, None, False, False]),
    "text": (pl.String, ["a", None, "", "b" * 40]),
    "bytes": (pl.Binary, [b"a", None, b"", b"b" * 40]),
    "list": (pl.List(pl.Int8), [[1], None, [], [2, None]]),
    "list of lists": (pl.List(pl.List(pl.String)), [[["x"]], None, [], [["y", None], None]]),
    "array": (pl.Array(pl.Int8, 2), [[1, 2], None, [3, None], [5, 6]]),
    "struct": (
        pl.Struct({"x": pl.Int32, "y": pl.List(pl.String)}),
        [{"x": 1, "y": ["a"]}, None, {"x": None, "y": None}, {"x": 2, "y": ["q", None]}],
    ),
    "categorical": (pl.Categorical, ["a", None, "b", "c"]),
    "enum": (pl.Enum(["c", "a", "b"]), ["a", None, "b", "c"]),
    "decimal": (pl.Decimal(10, 2), [Decimal("1.10"), None, Decimal(2), Decimal(3)]),
    "date": (pl.Date, [dt.date(2024, 1, 1), None, dt.date(2024, 1, 2), dt.date(2024, 1, 3)]),
    "datetime": (
        pl.Datetime("us", "UTC"),
        [dt.datetime(2024, 1, i, tzinfo=dt.UTC) if i else None for i in (1, 0, 2, 3)],
    ),
    "duration": (pl.Duration("ms"), [dt.timedelta(1), None, dt.timedelta(2), dt.timedelta(3)]),
    "time": (pl.Time, [dt.time(1), None, dt.time(2), dt.time(3)]),
    "null": (pl.Null, [None] * 4),
}


@pytest.mark.parametrize("name", TYPES)
def test_how_a_series_was_made_does_not_matter(name: str) -> None:
    """Slices of longer series and chunks anywhere have the key of the whole; every part counts."""
    kind, items = TYPES[name]
    series = pl.Series("v", items, dtype=kind)
    longer = pl.concat([series[2:], series, series[:1]], rechunk=False)
    chunks = pl.concat([series[:1], series[1:3], series[3:]], rechunk=False)
    twins = [series.clone(), longer[2:6], longer[2:6].rechunk(), longer.slice(1).slice(1, 4), chunks, chunks.rechunk()]
    twins.append(longer.to_frame().filter([False] * 2 + [True] * 4 + [False])["v"])
    assert {key_of(twin) for twin in twins} == {key_of(series)}
    assert {key_of(twin.to_frame()) for twin in twins} == {key_of(series.to_frame())}
    others = [series, series[:3], series[1:], series[[0, 0, 2, 3]], series.alias("w"), series.to_frame()]
    assert len({key_of(other) for other in others}) == (5 if name == "null" else 6) - (name == "null")


def groups() -> Groups:
    """Frames and series that are alike, and those that only look so."""
    frame = pl.DataFrame({"a": [1, None, 3], "s": ["x", None, "z"]})
    parts = pl.concat([frame[:1], frame[1:]], rechunk=False)
    texts = ["ab", "c"]
    made: Groups = {name: [pl.Series("v", items, dtype=kind)] for name, (kind, items) in TYPES.items()}
    return made | {
        "frame": [
            frame,
            parts,
            parts.rechunk(),
            pl.concat([frame, frame])[3:],
            frame.sort("a", maintain_order=True)[[1, 0, 2]],
        ],
        "other order of columns": [frame.select("s", "a")],
        "other name": [frame.rename({"a": "b"})],
        "narrow": [frame.cast({"a": pl.Int32})],
        "shorter": [frame[:2]],
        "filled": [frame.with_columns(a=pl.Series([1, 0, 3]))],
        "sorted": [pl.Series([1, 2, 3]), pl.Series([1, 2, 3]).sort(), pl.Series([1, 2, 3]).set_sorted()],
        "empty": [pl.DataFrame()],
        "no rows": [frame[:0], frame.clear()],
        "texts": [pl.Series(texts)],
        "texts cut elsewhere": [pl.Series(["a", "bc"])],
        "lists": [pl.Series([[1], [2, 3]])],
        "lists cut elsewhere": [pl.Series([[1, 2], [3]])],
        "lists with an empty one": [pl.Series([[1, 2, 3], []])],
        "lists with a missing one": [pl.Series([[1, 2, 3], None])],
        "lists of a missing value": [pl.Series([[1, 2, 3], [None]], dtype=pl.List(pl.Int64))],
        "other enum": [pl.Series("v", TYPES["enum"][1], dtype=pl.Enum(["a", "b", "c"]))],
        "objects": [pl.Series([{"x", "y"}, None], dtype=pl.Object), pl.Series([{"y", "x"}, None], dtype=pl.Object)],
        "expression": [pl.col("a") + 1, pl.col("a") + 1],
        "other expression": [pl.col("a") + 2],
        "type": [pl.Int64()],
    }


def test_alike() -> None:
    """Names, types and order count; flags such as "is sorted" do not."""
    check(groups())


def test_a_lazy_frame_has_no_key(tmp_path: Any) -> None:
    """A query may read what has changed since: the error says what to pass instead."""
    cached = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(repr)
    with pytest.raises(UnhashableArgument, match=r"obj\[0\] is a LazyFrame: .* pass what collect\(\) returns"):
        cached([pl.LazyFrame({"a": [1]})])
