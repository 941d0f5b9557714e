"""Python's own types in keys: what a value means counts, not how it came about."""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import fractions
import functools
import io
import itertools
import operator
import pathlib
import pickle
import re
import struct
import types
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pcache import Cache, UnhashableArgument
from tests.key_values import key_of
from tests.support.alike import Groups, check

VIENNA = "Europe/Vienna"


class Strict(dict[str, int]):
    """A dict that knows what is missing."""

    def __missing__(self, key: str) -> int:
        return 5


def text_of(*parts: str) -> str:
    return "".join(parts)


def groups() -> Groups:
    """Values that are alike, and those that only look so."""
    hour = dt.datetime(2024, 10, 27, 2, 30)
    raw = bytes(range(12))
    table = {"a": 1, "b": 2}
    return {
        "path": [pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("a", "b"), pathlib.PurePosixPath("a") / "b"],
        "path of text": [text_of("a", "/b")],
        "windows path": [pathlib.PureWindowsPath("a/b"), pathlib.PureWindowsPath("a\\b")],
        "real path": [pathlib.Path("a/b")],
        "zone": [ZoneInfo(VIENNA), ZoneInfo.no_cache(VIENNA)],
        "other zone": [ZoneInfo("UTC")],
        "utc": [dt.UTC, dt.UTC],
        "offset": [dt.timezone(dt.timedelta(hours=1))],
        "named offset": [dt.timezone(dt.timedelta(hours=1), "CET")],
        "hour": [hour, dt.datetime.fromisoformat("2024-10-27T02:30")],
        "second hour": [hour.replace(fold=1)],
        "hour in a zone": [hour.replace(tzinfo=ZoneInfo(VIENNA)), hour.replace(tzinfo=ZoneInfo.no_cache(VIENNA))],
        "second hour in a zone": [hour.replace(tzinfo=ZoneInfo(VIENNA), fold=1)],
        "hour in utc": [hour.replace(tzinfo=dt.UTC)],
        "time in a zone": [dt.time(1, tzinfo=ZoneInfo(VIENNA)), dt.time(1, tzinfo=ZoneInfo.no_cache(VIENNA))],
        "date": [dt.date(2024, 10, 27), hour.date()],
        "midnight": [dt.datetime(2024, 10, 27)],
        "span": [dt.timedelta(days=1), dt.timedelta(hours=24)],
        "decimal": [decimal.Decimal("1.5"), decimal.Decimal(3) / 2],
        "decimal with a zero": [decimal.Decimal("1.50")],
        "fraction": [fractions.Fraction(1, 2), fractions.Fraction("0.5"), fractions.Fraction(2, 4)],
        "uuid": [uuid.UUID(int=5), uuid.UUID("00000000-0000-0000-0000-000000000005")],
        "range": [range(0, 6, 2), range(0, 10, 2)[:3]],
        "longer range": [range(0, 5, 2)],
        "empty range": [range(0)],
        "slice": [slice(1, None), slice(1, None, None)],
        "slice with a step": [slice(1, None, 1)],
        "pattern": [re.compile("a+"), re.compile(text_of("a", "+"))],
        "pattern without case": [re.compile("a+", re.IGNORECASE), re.compile("a+", re.I)],
        "pattern of bytes": [re.compile(b"a+")],
        "pattern's text": ["a+"],
        "memory": [
            memoryview(raw),
            memoryview(b"x" + raw)[1:],
            memoryview(np.frombuffer(raw, "u1")[::-1].copy())[::-1].toreadonly(),
        ],
        "writable memory": [memoryview(bytearray(raw)), memoryview(bytearray(raw + raw))[12:]],
        "integers in memory": [memoryview(raw).cast("i")],
        "memory of two dimensions": [memoryview(raw).cast("B", (3, 4))],
        "bytes": [raw],
        "mapping": [types.MappingProxyType(table), types.MappingProxyType(dict(table))],
        "mapping in another order": [types.MappingProxyType({"b": 2, "a": 1})],
        "mapping that knows more": [types.MappingProxyType(Strict(table)), types.MappingProxyType(Strict(table))],
        "keys": [table.keys(), dict(table).keys()],
        "keys of other values": [{"a": 1, "b": 3}.keys()],
        "values": [table.values()],
        "items": [table.items()],
        "ordered": [collections.OrderedDict(table), collections.OrderedDict([("a", 1), ("b", 2)])],
        "ordered keys": [collections.OrderedDict(table).keys()],
        "counter": [collections.Counter("aab"), collections.Counter(a=2, b=1)],
        "default": [collections.defaultdict(int, table), collections.defaultdict(int, dict(table))],
        "other default": [collections.defaultdict(list, table)],
        "no default": [collections.defaultdict(None, table)],
        "dict": [table, dict(table), {**table}],
        "subclass of dict": [Strict(table), Strict(dict(table))],
        "deque": [collections.deque([1, 2], 3), collections.deque([0, 1, 2, 1, 2][3:], maxlen=3)],
        "longer deque": [collections.deque([1, 2], 4)],
        "endless deque": [collections.deque([1, 2])],
        "chain of dicts": [collections.ChainMap({"a": 1}, {"b": 2}), collections.ChainMap({"a": 1}, {"b": 2})],
        "namespace": [types.SimpleNamespace(a=1, b=2)],
        "machine numbers": [array.array("d", [1.0, 2.0]), array.array("d", b"\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40")],
        "narrow machine numbers": [array.array("f", [1.0, 2.0])],
        "partial": [functools.partial(int, base=2), functools.partial(functools.partial(int), base=2)],
        "getter": [operator.itemgetter(1), operator.itemgetter(1)],
        "other getter": [operator.attrgetter("a")],
        "type of lists": [list[int], list[int]],
        "type of texts": [list[str]],
        "either type": [int | None],
        "match": [re.search("a(.)", "xab"), re.compile("a(.)").search("xab")],
        "match of another text": [re.search("a(.)", "xac")],
        "match elsewhere": [re.search("a(.)", "xxab")],
        "match of another pattern": [re.search("a(?P<rest>.)", "xab")],
        "match in a part": [re.compile("a(.)").search("xab", 1)],
        "stream": [io.StringIO("x"), io.StringIO("x")],
        "error": [ValueError("x"), ValueError("x")],
    }


def test_alike() -> None:
    """Names of zones, elements of memory and mappings below views count; caches and buffers do not."""
    check(groups())


ITERATORS: dict[str, Any] = {
    "generator": lambda: (i for i in range(3)),
    "list": lambda: iter([1]),
    "tuple": lambda: iter((1,)),
    "reversed": lambda: reversed([1]),
    "set": lambda: iter({1}),
    "dict": lambda: iter({1: 2}),
    "items": lambda: iter({1: 2}.items()),
    "text": lambda: iter("ab"),
    "range": lambda: iter(range(3)),
    "deque": lambda: iter(collections.deque([1])),
    "array": lambda: iter(array.array("i", [1])),
    "map": lambda: map(len, ["a"]),
    "filter": lambda: filter(None, [1]),
    "zip": lambda: zip([1], [2], strict=True),
    "enumerate": lambda: enumerate([1]),
    "count": itertools.count,
    "chain": lambda: itertools.chain([1]),
    "tee": lambda: itertools.tee([1])[0],
    "islice": lambda: itertools.islice([1], 1),
    "sentinel": lambda: iter(int, 0),
}


@pytest.mark.parametrize("name", ITERATORS)
def test_iterators_have_no_key(name: str, tmp_path: Any) -> None:
    """A hit would leave them unread: the error says what to pass, and nothing was taken out of them."""
    cached = Cache(tmp_path / "cache", signing_key=bytes(32)).cached(lambda data: list(data["rows"]))
    iterator = ITERATORS[name]()
    with pytest.raises(UnhashableArgument, match=r"data\['rows'\] is an? .*: reading an iterator uses it up") as caught:
        cached({"rows": iterator})
    assert caught.value.path == "data['rows']"
    assert list(itertools.islice(iterator, 2)) == list(itertools.islice(ITERATORS[name](), 2))


class Countdown:
    """An iterator of the user's."""

    def __init__(self, start: int) -> None:
        self.left = start

    def __iter__(self) -> Countdown:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


def test_iterators_of_the_user_count_by_their_state() -> None:
    """They are objects like others, and may be more than iterators."""
    used = Countdown(4)
    next(used)
    assert key_of(used) == key_of(Countdown(3)) != key_of(Countdown(4))


def test_a_zone_without_a_name_has_no_key() -> None:
    """Nothing tells two of them apart."""
    one_zone = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    zone = ZoneInfo.from_file(io.BytesIO(one_zone))
    with pytest.raises(pickle.PicklingError):
        key_of(zone)


def test_memory_of_objects_has_no_key() -> None:
    """Its elements are addresses."""
    with pytest.raises(TypeError, match="references to objects"):
        key_of(memoryview(np.array([None, 1])))


def test_a_zone_from_a_file_has_no_key() -> None:
    """A zone that was read from a file may bear the name of another."""
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    data = header + struct.pack(">lbb", 3600, 0, 0) + b"XXX\0"
    zone = ZoneInfo.from_file(io.BytesIO(data + data + b"\nXXX-1\n"), key=VIENNA)
    with pytest.raises(pickle.PicklingError):
        key_of(zone)
