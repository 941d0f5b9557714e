"""Values of every kind that pickle supports, each with a check that an unpickled one equals the first.

A module of its own, so that a second process can import the classes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import math
import operator
import pathlib
import pickle
import re
import tempfile
import types
import uuid
import zoneinfo
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import Callable


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Plain:
    name: str
    parts: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    when: dt.date


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
    y: int


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlotted:
    x: int
    inner: Slotted


class HandSlotted:
    __slots__ = ("a", "b")

    def __init__(self, a: int) -> None:
        self.a = a  # b stays unset

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HandSlotted) and self.a == other.a and hasattr(self, "b") == hasattr(other, "b")

    __hash__ = None  # type: ignore[assignment]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Access(enum.IntFlag):
    READ = 4
    WRITE = 2


class Failure(Exception):
    """A custom exception that, unlike Exception itself, keeps its cause when pickled."""

    def __init__(self, code: int, *, cause: BaseException | None = None) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.__cause__ = cause

    def __reduce__(self) -> Any:
        return functools.partial(Failure, cause=self.__cause__), (self.code,)


class OpenLog:
    """Holds an open file: leaves it out of its state and opens it again."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = open(path, encoding="utf-8")  # noqa: SIM115 - that is what the class is about

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "position": self.file.tell()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self.file = open(self.path, encoding="utf-8")  # noqa: SIM115
        self.file.seek(state["position"])


def reopen(path: str) -> ReducedLog:
    return ReducedLog(path)


class ReducedLog(OpenLog):
    """The same through `__reduce__`."""

    def __reduce__(self) -> Any:
        return reopen, (self.path,)


class Singleton:
    def __reduce__(self) -> str:
        return "THE_ONE"


THE_ONE = Singleton()


class Node:
    """Refers to any object, itself included."""

    me: Any

    def __init__(self, name: str) -> None:
        self.name = name


class Blob:
    """Gives its bytes to pickle out of band."""

    def __init__(self, data: Any) -> None:
        self.data = np.frombuffer(data, "u1")

    def __reduce_ex__(self, protocol: int) -> Any:
        return Blob, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and np.array_equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]


class Text(str):
    """A subclass of a builtin with an attribute."""

    __slots__ = ("note",)


def noted(text: str, note: str) -> Text:
    value = Text(text)
    value.note = note
    return value


@dataclasses.dataclass
class Adder:
    amount: int

    def add(self, x: int) -> int:
        return x + self.amount


def function_by_name(x: int) -> int:
    return x + 1


def same(first: Any, again: Any) -> None:
    """Assert equality by type and value, down through containers; arrays also by layout and rights."""
    assert type(first) is type(again)
    if isinstance(first, np.ndarray):
        assert (first.dtype, first.shape) == (again.dtype, again.shape)
        assert again.flags.c_contiguous or not first.flags.c_contiguous
        assert again.flags.f_contiguous or not first.flags.f_contiguous
        assert first.flags.writeable == again.flags.writeable
        np.testing.assert_array_equal(first, again, strict=True)
    elif isinstance(first, (pd.DataFrame, pd.Series, pd.Index)):
        assert first.equals(again)
        assert str(getattr(first, "dtypes", "")) == str(getattr(again, "dtypes", ""))
        assert getattr(first, "attrs", None) == getattr(again, "attrs", None)
    elif isinstance(first, (pl.DataFrame, pl.Series)):
        assert first.equals(again)
    elif isinstance(first, BaseException):
        same((first.args, vars(first), first.__cause__), (again.args, vars(again), again.__cause__))
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(again)
        for a, b in zip(first, again, strict=True):
            same(a, b)
    elif isinstance(first, dict):
        same(list(first.items()), list(again.items()))
    elif isinstance(first, (float, decimal.Decimal)):
        assert repr(first) == repr(again)  # nan, and the sign of zero
    else:
        assert first == again


def same_list_in_itself(_first: Any, again: Any) -> None:
    assert again[1] is again


def same_dict_in_itself(_first: Any, again: Any) -> None:
    assert again["me"] is again


def same_node(first: Any, again: Any) -> None:
    assert again.name == first.name
    assert again.me.me is again


def same_sharing(_first: Any, again: Any) -> None:
    assert again == [[1], [1], ([1], [1])]
    assert again[0] is again[1] is again[2][0]
    assert again[2][1] is not again[0]


def same_file(first: OpenLog, again: OpenLog) -> None:
    with contextlib.closing(first.file), contextlib.closing(again.file):
        assert again.file.fileno() != first.file.fileno()
        assert again.file.read() == first.file.read() != ""


def same_model(first: Any, again: Any) -> None:
    rows = np.linspace(-3, 3, 30).reshape(-1, 2)
    np.testing.assert_array_equal(first.predict_proba(rows), again.predict_proba(rows))


def same_singleton(_first: Any, again: Any) -> None:
    assert again is THE_ONE


def same_attribute(first: Any, again: Any) -> None:
    same(first, again)
    assert first.note == again.note


def same_repr(first: Any, again: Any) -> None:
    assert type(first) is type(again)
    assert repr(first) == repr(again)


def same_numbers(first: Any, again: Any) -> None:
    np.testing.assert_array_equal(first, again, strict=True)


def same_call(first: Any, again: Any) -> None:
    assert again(41) == first(41) == 42


def list_in_itself() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def dict_in_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["me"] = value
    return value


def node_in_itself() -> Node:
    outer, inner = Node("outer"), Node("inner")
    outer.me, inner.me = inner, outer
    return outer


def sharing() -> list[Any]:
    part = [1]
    return [part, part, (part, [1])]


def open_log(cls: Callable[[str], OpenLog]) -> OpenLog:
    with tempfile.NamedTemporaryFile("w", dir=pathlib.Path.home(), delete=False) as file:
        file.write("one\ntwo\n")
    log = cls(file.name)
    if cls is OpenLog:
        log.file.seek(4)
    return log


def failure_with_cause() -> Exception:
    return Failure(7, cause=KeyError("inner", 1))


def noted_error() -> Exception:
    error = ValueError("text", 3, {"a": None})
    error.add_note("seen before")
    return error


def readonly(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


def noise(size: int) -> np.ndarray[Any, Any]:
    """Floats that do not compress; the same in every process."""
    return np.random.default_rng(size).random(size)


def structured() -> np.ndarray[Any, Any]:
    return np.array([(1, 2.5, b"ab"), (2, -0.0, b"")], dtype=[("n", "<i4"), ("x", ">f8"), ("s", "S3")])


def frame() -> pd.DataFrame:
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    value = pd.DataFrame(
        {
            "n": np.arange(4),
            "x": [0.5, math.nan, math.inf, -0.0],
            "text": ["a", None, "", "ü"],
            "kind": pd.Categorical(["u", "v", "u", "u"], categories=["v", "u"], ordered=True),
            "when": pd.date_range("2026-03-28", periods=4, tz=zone),
            "maybe": pd.array([1, None, 3, 4], dtype="Int64"),
        },
        index=pd.MultiIndex.from_tuples([(0, "a"), (0, "b"), (1, "a"), (1, "b")], names=["i", None]),
    )
    value.attrs["unit"] = "m"
    return value


def polars_frame() -> pl.DataFrame:
    return pl.DataFrame({"n": [1, None, 3], "s": ["a", None, "c"], "deep": [[1], [], [2, 3]]})


def model() -> Any:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, rows.sum(axis=1) > 0)


class Case(NamedTuple):
    """How to make a value, and how to check that another one equals it."""

    make: Callable[[], Any]
    check: Callable[[Any, Any], None] = same


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

ZOO: dict[str, Case] = {
    "none": Case(lambda: None),
    "bool": Case(lambda: [True, False]),
    "numbers": Case(lambda: [0, -1, 2**70, 1.5, -0.0, math.nan, math.inf, 1 + 2j]),
    "text": Case(lambda: ["", "ü", "\ud800", "x" * 300]),
    "large text": Case(lambda: "".join(map(str, range(300_000)))),
    "bytes": Case(lambda: [b"", b"\0\xff", bytearray(b"abc")]),
    "large bytes": Case(lambda: [noise(50_000).tobytes(), bytearray(noise(70_000).tobytes())]),
    "containers": Case(lambda: {"l": [1, (2,)], "s": {1, 2}, "f": frozenset([1]), (1, None): {}, 3: {"b": 1, "a": 2}}),
    "collections": Case(
        lambda: [
            collections.deque([1, 2], maxlen=2),
            collections.OrderedDict(b=1, a=2),
            collections.defaultdict(list, a=[1]),
            collections.Counter("aab"),
            types.SimpleNamespace(a=1),
            range(3, 9, 2),
            slice(1, None, 2),
            ...,
            NotImplemented,
        ]
    ),
    "named tuple": Case(lambda: Pair([1], Pair(None, "x"))),
    "list in itself": Case(list_in_itself, same_list_in_itself),
    "dict in itself": Case(dict_in_itself, same_dict_in_itself),
    "instances in a ring": Case(node_in_itself, same_node),
    "shared parts": Case(sharing, same_sharing),
    "dataclass": Case(lambda: Plain("a", [Plain("b")])),
    "frozen dataclass": Case(lambda: Frozen("a", dt.date(2026, 1, 31))),
    "slotted dataclass": Case(lambda: [Slotted(1, 2), FrozenSlotted(3, Slotted(4, 5))]),
    "unset slot": Case(lambda: HandSlotted(1)),
    "enum": Case(lambda: [Colour.BLUE, Access.READ | Access.WRITE, {Colour.RED: 1}]),
    "exception": Case(noted_error),
    "exception with a cause": Case(failure_with_cause),
    "exception of the system": Case(lambda: FileNotFoundError(2, "No such file", "a.txt")),
    "file through state": Case(lambda: open_log(OpenLog), same_file),
    "file through reduce": Case(lambda: open_log(ReducedLog), same_file),
    "singleton": Case(lambda: THE_ONE, same_singleton),
    "subclass of str": Case(lambda: noted("a", "b"), same_attribute),
    "function by name": Case(lambda: function_by_name, same_call),
    "names": Case(lambda: [len, dict, Plain, np.add, operator.attrgetter, type(None), math.pi]),
    "partial": Case(lambda: functools.partial(operator.add, 1), same_call),
    "bound method": Case(lambda: Adder(1).add, same_call),
    "decimals": Case(lambda: [decimal.Decimal("1.10"), decimal.Decimal("NaN"), fractions.Fraction(1, 3)]),
    "times": Case(
        lambda: [
            dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")),
            dt.datetime(2026, 1, 1),
            dt.time(12, tzinfo=dt.UTC),
            dt.timedelta(days=-1, microseconds=1),
        ]
    ),
    "names of things": Case(
        lambda: [uuid.UUID(int=5), pathlib.PurePosixPath("/a/b"), ipaddress.ip_address("::1"), re.compile("a+", re.I)]
    ),
    "array": Case(lambda: np.arange(12).reshape(3, 4)),
    "array in Fortran order": Case(lambda: np.asfortranarray(noise(12).reshape(3, 4))),
    "array view": Case(lambda: np.arange(100)[10:60:5]),
    "array reversed": Case(lambda: np.arange(12).reshape(3, 4)[::-1, ::-1]),
    "array structured": Case(structured),
    "array without elements": Case(lambda: np.zeros((0, 3), "f4")),
    "array without dimensions": Case(lambda: np.array(5.5)),
    "array of objects": Case(lambda: np.array([None, "a", [1]], dtype=object)),
    "array of text": Case(lambda: np.array(["a", "bcd"])),
    "array of times": Case(lambda: np.array(["2026-01-01", "NaT"], dtype="datetime64[ns]")),
    "array big-endian": Case(lambda: np.arange(5, dtype=">i8")),
    "array read-only": Case(lambda: readonly(np.arange(5))),
    "array broadcast": Case(lambda: np.broadcast_to(np.arange(3.0), (4, 3)), same_numbers),
    "array masked": Case(lambda: np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]), same_repr),
    "scalars of numpy": Case(lambda: [np.float32(1.5), np.datetime64("2026-01-01", "ns"), np.int8(-3)]),
    "large array": Case(lambda: noise(200_000).reshape(400, 500)),
    "large array in Fortran order": Case(lambda: np.asfortranarray(noise(200_000).reshape(400, 500))),
    "large array read-only": Case(lambda: readonly(noise(200_000))),
    "large array that compresses": Case(lambda: np.zeros((300, 1000))),
    "several arrays": Case(lambda: {"a": noise(40_000), "b": [noise(50_000), np.arange(3)], "c": np.zeros(0)}),
    "pandas frame": Case(frame),
    "pandas parts": Case(lambda: [frame()["x"], frame().index]),
    "pandas times": Case(lambda: [pd.Timestamp(2026, 1, 1, tz=BERLIN), pd.Timedelta("1h"), pd.NaT, pd.NA], same_repr),
    "large pandas frame": Case(lambda: pd.DataFrame({"a": noise(100_000), "b": np.arange(100_000) % 7})),
    "polars frame": Case(polars_frame),
    "large polars frame": Case(lambda: pl.DataFrame({"a": noise(100_000)})),
    "arrow table": Case(lambda: pa.table({"n": [1, None, 3], "s": ["a", None, "c"], "l": [[1], None, [2]]})),
    "large arrow table": Case(lambda: pa.table({"a": noise(100_000)}).slice(1000, 90_000)),
    "fitted model": Case(model, same_model),
    "out of band": Case(lambda: [Blob(b"small"), Blob(noise(1000).tobytes())]),
    "out of band and large": Case(lambda: Blob(noise(100_000).tobytes())),
}


def make(name: str) -> Any:
    """The function whose results the tests store."""
    return ZOO[name].make()
