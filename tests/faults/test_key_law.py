"""The law of keys, on values that hypothesis makes: equal if, and only if, type, value and order are."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import decimal
import fractions
import math
import pickle
import struct
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.hunting import rounds
from tests.key_values import key_of

EXAMPLES = rounds(2_000, 20_000)
# Few of each kind, and similar ones, so that equal values occur, and values that are equal only by `==`.
SAME = [0, 1, -1, 0.0, -0.0, 1.0, True, False, None, "", "1", "a", b"", b"1", b"a", 0j, math.nan, decimal.Decimal(1)]
ALIKE = [decimal.Decimal("1.0"), fractions.Fraction(1), dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), range(1), 256]
hashable_leaves = st.one_of(
    st.sampled_from([*SAME, *ALIKE, frozenset(), (), uuid.UUID(int=1), dt.timedelta(0), range(0, 4, 2), ...]),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=1))])),
)
hashables = st.recursive(
    hashable_leaves, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)), max_leaves=6
)
values = st.recursive(
    st.one_of(hashables, st.just([]), st.just({}), st.builds(bytearray, st.binary(max_size=3))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=3),
        st.builds(collections.deque, st.lists(inner, max_size=2), st.sampled_from([None, 2, 3])),
        st.builds(collections.OrderedDict, st.dictionaries(hashables, inner, max_size=2)),
        st.builds(slice, inner, inner),
    ),
    max_leaves=10,
)


def said(value: Any) -> str:
    """A description of a value by type, content and order, made in another way than pickle's."""
    kind = type(value).__name__
    if isinstance(value, float):
        return f"{kind} {struct.pack('>d', value).hex()}"
    if isinstance(value, complex):
        return f"{kind} {said(value.real)} {said(value.imag)}"
    if isinstance(value, (set, frozenset)):
        return f"{kind} {{{', '.join(sorted(map(said, value)))}}}"
    if isinstance(value, dict):
        return f"{kind} {[(said(key), said(item)) for key, item in value.items()]}"
    if isinstance(value, collections.deque):
        return f"{kind} {value.maxlen} {list(map(said, value))}"
    if isinstance(value, (list, tuple)):
        return f"{kind} {list(map(said, value))}"
    if isinstance(value, slice):
        return f"{kind} {said([value.start, value.stop, value.step])}"
    if isinstance(value, range):
        return f"{kind} {said([value.start, value.stop, value.step])}"
    return f"{kind} {value!r}"


def changed(value: Any) -> list[Any]:
    """Values that are similar to a given one, and mostly different."""
    found: list[Any] = [[value], (value,), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        found += [value[::-1], list(value), tuple(value), value[:-1], type(value)(map(_other, value))]
    if isinstance(value, dict):
        found += [dict(reversed(value.items())), dict(value), collections.OrderedDict(value), list(value.items())]
    if isinstance(value, (set, frozenset)):
        found += [set(value), frozenset(value)]
    return found


def _other(item: Any) -> Any:
    """A different item that is equal by `==`, if there is one."""
    return {1: True, 0: False}.get(item, item) if type(item) is int else item


@pytest.mark.timeout(1200)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(values, values)
def test_keys_are_equal_if_and_only_if_values_are(one: Any, other: Any) -> None:
    """After any change, the key differs if, and only if, the value does."""
    key, text = key_of(one), said(one)
    for value in (other, *changed(one)):
        assert (key_of(value) == key) is (said(value) == text)
