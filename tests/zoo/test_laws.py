"""Keys are equal exactly when types, values and order are, for whatever values are put together in whatever way.

Values are made from recipes; two recipes differ exactly when what they make does. The second recipe of a pair is the
first one with nothing, or one thing, changed, so that both answers are tried.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import pathlib
import re
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.hunting import rounds
from tests.key_values import key_of
from tests.support import kinds

Recipe = tuple[str, Any]

ZONES = {
    "none": None,
    "utc": dt.UTC,
    "ist": dt.timezone(dt.timedelta(hours=5, minutes=30), "IST"),
    "other ist": dt.timezone(dt.timedelta(hours=2), "IST"),
    "berlin": zoneinfo.ZoneInfo("Europe/Berlin"),
}
LEAVES: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "int": (st.one_of(st.integers(-3, 3), st.integers()), int),
    "bool": (st.booleans(), bool),
    "none": (st.just(0), lambda _: None),
    "float": (st.one_of(st.sampled_from([0.0, -0.0, 1.0]), st.floats()).map(float.hex), float.fromhex),
    "complex": (st.sampled_from(["1+0j", "1-0j", "1j", "0j"]), complex),
    "str": (st.one_of(st.sampled_from(["", "1", "a", "a\0"]), st.text(max_size=4)), str),
    "bytes": (st.one_of(st.sampled_from([b"", b"1", b"a\0"]), st.binary(max_size=4)), bytes),
    "bytearray": (st.binary(max_size=2), bytearray),
    "Decimal": (st.sampled_from(["1", "1.0", "1E+1", "-0", "0", "NaN", "Infinity"]), decimal.Decimal),
    "Fraction": (st.sampled_from(["1/3", "1", "2"]), fractions.Fraction),
    "date": (st.integers(1, 3), lambda day: dt.date(2026, 1, day)),
    "datetime": (
        st.tuples(st.integers(1, 2), st.sampled_from(sorted(ZONES)), st.integers(0, 1)),
        lambda parts: dt.datetime(2026, 10, 25, parts[0], tzinfo=ZONES[parts[1]], fold=parts[2]),
    ),
    "timedelta": (st.integers(-2, 2), lambda n: dt.timedelta(microseconds=n)),
    "UUID": (st.integers(0, 3), lambda n: uuid.UUID(int=n)),
    "Path": (st.sampled_from(["a", "b", "/a"]), pathlib.PurePosixPath),
    "windows path": (st.sampled_from(["a", "b"]), pathlib.PureWindowsPath),
    "pattern": (st.tuples(st.sampled_from("ab"), st.sampled_from([0, re.I])), lambda parts: re.compile(*parts)),
    "enum": (st.sampled_from(["red", "blue"]), kinds.Colour),
    "flag": (st.integers(0, 2), lambda n: kinds.Access(2 * n)),
    "scalar": (
        st.tuples(st.sampled_from("bhilqfd"), st.integers(0, 2)),
        lambda parts: np.dtype(parts[0]).type(parts[1]),
    ),
    "array": (
        st.tuples(st.sampled_from(["<i4", ">i4", "<f4", "<i8"]), st.lists(st.integers(0, 2), max_size=3)),
        lambda parts: np.array(parts[1], dtype=parts[0]),
    ),
    "series": (st.lists(st.integers(0, 2), min_size=1, max_size=2), lambda items: pd.Series(items, dtype="i8")),
    "timestamp": (
        st.tuples(st.integers(1, 2), st.sampled_from(sorted(ZONES))),
        lambda parts: pd.Timestamp(2026, 1, parts[0], tz=ZONES[parts[1]]),
    ),
    "type": (st.sampled_from([int, str, kinds.Plain, np.int64, type(None)]), lambda found: found),
}
leaves = st.sampled_from(sorted(LEAVES)).flatmap(lambda kind: LEAVES[kind][0].map(lambda value: (kind, value)))

SEQUENCES: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "deque": collections.deque,
    "short deque": lambda items: collections.deque(items, maxlen=9),
    "plain": lambda items: kinds.Plain("", list(items)),
    "pair": lambda items: kinds.Pair(list(items), None),
    "list beside an array": lambda items: [list(items), np.array([None])],
    "dict of a tuple": lambda items: dict.fromkeys(["only"], tuple(items)),
}
MAPPINGS: dict[str, Any] = {
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "defaultdict": lambda items: collections.defaultdict(list, items),
    "namespace": lambda items: types.SimpleNamespace(**dict(items)),
    "proxy": lambda items: types.MappingProxyType(dict(items)),
    "chain": lambda items: collections.ChainMap(dict(items)),
}
SETS: dict[str, Any] = {"set": set, "frozenset": frozenset}
KEYS = st.sampled_from("abcde")

recipes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(SEQUENCES)), st.lists(inner, max_size=3)),
        st.tuples(
            st.sampled_from(sorted(MAPPINGS)), st.lists(st.tuples(KEYS, inner), max_size=3, unique_by=lambda p: p[0])
        ),
        st.tuples(st.sampled_from(sorted(SETS)), st.lists(st.text(max_size=2), unique=True, max_size=4).map(sorted)),
    ),
    max_leaves=8,
)


def made(recipe: Recipe) -> Any:
    """What a recipe makes, anew."""
    kind, content = recipe
    if kind in SEQUENCES:
        return SEQUENCES[kind]([made(item) for item in content])
    if kind in MAPPINGS:
        return MAPPINGS[kind]([(name, made(item)) for name, item in content])
    if kind in SETS:
        return SETS[kind](content)
    return LEAVES[kind][1](content)


def changed(recipe: Recipe, data: st.DataObject) -> Recipe:
    """The same recipe, or one with another leaf, kind or order somewhere in it."""
    kind, content = recipe
    group = next((group for group in (SEQUENCES, MAPPINGS, SETS) if kind in group), None)
    if group is None:
        return data.draw(st.one_of(st.just(recipe), LEAVES[kind][0].map(lambda value: (kind, value)), leaves))
    what = data.draw(st.sampled_from(["nothing", "kind", "order", "inside", "fewer"]))
    if what == "kind":
        return data.draw(st.sampled_from(sorted(group))), content
    if what == "order" and group is not SETS:
        return kind, data.draw(st.permutations(content))
    if what == "fewer":
        return kind, content[:-1]
    if what == "inside" and content and group is not SETS:
        at = data.draw(st.integers(0, len(content) - 1))
        item = content[at]
        new = changed(item, data) if group is SEQUENCES else (item[0], changed(item[1], data))
        return kind, [*content[:at], new, *content[at + 1 :]]
    return recipe


@given(recipes, st.data())
@settings(deadline=None, max_examples=rounds(500, 20_000))
def test_keys_are_equal_exactly_when_types_values_and_order_are(recipe: Recipe, data: st.DataObject) -> None:
    """Whatever is changed, and nothing else, changes the key."""
    other = changed(recipe, data)
    assert (key_of(made(recipe)) == key_of(made(other))) == (repr(recipe) == repr(other))
