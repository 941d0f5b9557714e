"""Keys: the same for equal values in every process and for ever, another for every value that differs."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime as dt
import enum
import functools
import hashlib
import io
import json
import math
import os
import pickle
import random
import struct
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pcache import Cache, UnhashableArgument
from pcache.keys import encoder
from pcache.keys.dispatch import register_reducer
from pcache.keys.encoder import Nesting, encode, encode_short, nesting_with
from pcache.keys.names import module_name
from tests import key_values
from tests.key_values import (
    Access,
    BareTags,
    Color,
    Frozen,
    FrozenTags,
    Node,
    Pair,
    Record,
    Slotted,
    Tags,
    evaluate,
    golden,
    key_of,
    with_captured,
)

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=bytes(32))


def child(*arguments: str, **environment: str) -> str:
    """Run Python to its end in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def variants(*sources: str) -> list[Any]:
    """The object `it` that each source text defines, as `__main__` would define it after each edit of one file."""
    made = []
    for source in sources:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(textwrap.dedent(source), "script.py", "exec"), namespace)
        made.append(namespace["it"])
    return made


# Golden vectors


def test_golden_keys() -> None:
    """The keys of about 150 values are those that the first release gave them.

    `golden/keys.json` maps expressions to `key_values.key_of` of their values. It was written once, under Python 3.11,
    and holds under every later one. A difference means that every stored result is lost: such a change is a new format
    generation with a file of its own, never an edit of this one. New values may be added. Left out is what differs
    between versions of Python (functions, classes and instances of the user's, modules) or of a library that moves its
    classes (numpy's bool and masked arrays, frames, tables, tensors).
    """
    expected = golden()
    assert {text: key_of(evaluate(text)) for text in expected} == expected
    assert len(expected) == len(set(expected.values())) >= 100


def test_golden_keys_in_a_new_process() -> None:
    """They hold where nothing but the values was imported, under another hash seed."""
    assert json.loads(child(key_values.__file__, "golden", PYTHONHASHSEED="12345")) == golden()


def test_keys_under_twenty_hash_seeds() -> None:
    """Sets anywhere in a value, in functions and in classes leave the key the same whatever order they iterate in."""
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda seed: child("-m", "tests.key_values", PYTHONHASHSEED=str(seed)), range(20)))
    first, *others = map(json.loads, runs)
    unstable = {name for run in others for name in first if run[name] != first[name]}
    assert unstable == set()
    assert len(set(first.values())) == len(first)


# Laws

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.sampled_from([Color.RED, Color.GREEN, Access.READ | Access.WRITE, ..., int, len, Node, math.sqrt, range(3)]),
)
hashables = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=4),
        st.frozensets(inner, max_size=4).map(FrozenTags),
        st.builds(Pair, inner, inner),
        st.builds(Frozen, st.text(max_size=2), inner),
    ),
    max_leaves=6,
)
values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.sets(hashables, max_size=4).map(Tags),
        st.builds(Slotted, inner, inner),
        st.builds(Record, st.text(max_size=2), inner),
        st.builds(lambda a, b: Node(a=a, b=b), inner, inner),
        st.builds(lambda a: Node(same=a, again=a), inner),
        st.builds(functools.partial, st.sampled_from([len, sorted]), inner),
    ),
    max_leaves=12,
)


@given(values)
@settings(deadline=None, max_examples=200)
def test_a_copy_has_the_same_key(value: Any) -> None:
    """What pickle makes of a value is another object of the same content, so it has the same key."""
    key = key_of(value)
    assert key == key_of(value) == key_of(pickle.loads(pickle.dumps(value))) == key_of(copy.deepcopy(value))


@given(st.lists(st.one_of(st.text(max_size=3), st.integers(0, 999), st.binary(max_size=2)), max_size=8))
@settings(deadline=None)
def test_the_history_of_a_set_does_not_matter(members: list[Any]) -> None:
    """Sets of one content, made in another order, grown and shrunk, have one key."""
    grown = set(range(1000, 1500)).union(reversed(members))
    grown.difference_update(range(1000, 1500))
    assert key_of(set(members)) == key_of(grown) == key_of(set(frozenset(members)))
    assert key_of(frozenset(members)) == key_of(frozenset(grown))


def written(value: Any) -> Any:
    """A value as plain text in which type, content and order show, and the order of sets does not."""
    if isinstance(value, float):
        return f"float {struct.pack('>d', value).hex()}"
    if isinstance(value, complex):
        return f"complex {struct.pack('>dd', value.real, value.imag).hex()}"
    if type(value) in (list, tuple):
        return f"{type(value).__name__} ({', '.join(map(written, value))})"
    if type(value) in (set, frozenset):
        return f"{type(value).__name__} ({', '.join(sorted(map(written, value)))})"
    if type(value) is dict:
        return f"dict ({', '.join(f'{written(k)}: {written(v)}' for k, v in value.items())})"
    return f"{type(value).__name__} {value!r}"


alike = st.sampled_from([0, 1, True, False, 0.0, -0.0, 1.0, 1j, "", "1", b"", b"1", None, "None", (), frozenset()])
plain = st.recursive(
    st.one_of(alike, alike, scalars.filter(lambda value: not isinstance(value, type))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(alike, inner, max_size=3),
        st.sets(alike, max_size=3),
        st.frozensets(alike, max_size=3),
    ),
    max_leaves=6,
)


@given(plain, plain)
@settings(deadline=None, max_examples=500)
def test_keys_are_equal_exactly_when_the_structures_are(one: Any, other: Any) -> None:
    """Two values that are written alike have one key, two that are not have two."""
    assert (key_of(one) == key_of(other)) == (written(one) == written(other))


@given(plain, st.data())
@settings(deadline=None)
def test_a_small_change_anywhere_changes_the_key(value: Any, data: st.DataObject) -> None:
    """Wrapping, doubling or replacing a value gives another key."""
    other = data.draw(plain)
    for changed in ([value], (value,), {"": value}, [value, value], {"a": value, "b": None}, [value, other]):
        assert key_of(changed) != key_of(value) or written(changed) == written(value)
    assert (key_of([value, other]) == key_of([other, value])) == (written(value) == written(other))


DISTINCT: list[Any] = [
    *(1, 1.0, True, 1 + 0j, "1", b"1", bytearray(b"1"), Decimal(1), Decimal("1.0"), Fraction(1), np.int64(1)),
    *(0, 0.0, -0.0, False, None, "", b"", bytearray(), (), [], {}, set(), frozenset(), 0j, complex(0.0, -0.0)),
    *((1, 2), [1, 2], {1, 2}, frozenset({1, 2}), {1: 2}, {1: None, 2: None}, range(1, 3), slice(1, 2), Pair(1, 2)),
    *(("a b", "c"), ("a", "b c"), ("a", "b", "c"), ("a b c",), "a b c", ["a", "b"], "['a', 'b']"),
    *({"a": 1, "b": 2}, {"b": 2, "a": 1}, collections.OrderedDict(a=1, b=2), [("a", 1), ("b", 2)], Node(a=1, b=2)),
    *(collections.Counter(), collections.defaultdict(), collections.defaultdict(int), collections.deque()),
    *([[]], [()], [[], []], [[[]]], ([],), {"": []}, [None], [""], [0], [False], {0}, {False}, {""}, {None}),
    *({1, 1.5}, {1, "1"}, {1, "1", b"1"}, {(1,)}, {frozenset({1})}, {frozenset()}, Tags({1}), FrozenTags({1})),
    *(float("nan"), float("inf"), float("-inf"), "nan", ..., NotImplemented, int, float, "int", len, sorted, Node),
    *(dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, fold=1), dt.time(), dt.timedelta()),
    *(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), PurePosixPath("a"), "a", UUID(int=1), Color.RED, "red", Slotted("red")),
    *("sorted", ("sorted", [1]), ("set", ("sorted", [1])), ("cycle", 0), np.array([1]), np.array([[1]]), [1]),
]


def test_listed_values_have_distinct_keys() -> None:
    """Values that are equal or look alike, but differ in type, order or content, have a key each."""
    by_key: dict[str, list[Any]] = {}
    for value in DISTINCT:
        by_key.setdefault(key_of(value), []).append(value)
    assert [group for group in by_key.values() if len(group) > 1] == []


def test_dict_order_counts_anywhere() -> None:
    """A function can see the order of a dict, of an instance's attributes and of keyword arguments inside a partial."""
    for make in (dict, Node, collections.OrderedDict, functools.partial(functools.partial, len)):
        assert key_of(make(a=1, b=2)) != key_of(make(b=2, a=1))


# Identity


def test_identity_plays_no_part() -> None:
    """`[t, t]` and `[t, copy of t]` are equal values."""
    for part in ("text" * 5, b"bytes", (1, 2), [1, 2], {"a": 1}, {1, "x"}, Node(a=1), 10**30, np.arange(3), 1.5):
        twin = pickle.loads(pickle.dumps(part))
        assert key_of([part, part]) == key_of([part, twin]) == key_of([twin, part])
        assert key_of({"a": part, "b": part}) == key_of({"a": part, "b": twin})
        assert key_of(Node(a=part, b=(part,))) == key_of(Node(a=twin, b=(part,)))


def test_interned_strings_are_no_different() -> None:
    """A string made at run time has the key of the literal, as a value, a dict key and an attribute."""
    made = "".join(["na", "me"])
    assert key_of(["name", "name"]) == key_of(["name", made])
    node = Node()
    node.__dict__[made] = 1
    assert key_of(node) == key_of(Node(name=1))


def test_keys_do_not_depend_on_what_was_encoded_before() -> None:
    """The encoder is used again after successes, failures and from other threads without a trace."""
    expected = key_of(["x", {1, "2"}])
    for other in (threading.Lock(), [1] * 100_000, {"a": {1, None}}, key_values.cyclic_list(), np.zeros(10)):
        with_failure = isinstance(other, type(threading.Lock()))
        if with_failure:
            with pytest.raises(TypeError):
                key_of([other])
        else:
            key_of(other)
        assert key_of(["x", {1, "2"}]) == expected


def test_an_encoder_is_used_again_as_if_it_were_new() -> None:
    """What is left of the last value would count against the next one."""
    encode(1)
    [*others, spare] = encoder._spare
    encode([1, "2"])
    assert encoder._spare[-1] is spare
    assert len(encoder._spare) == len(others) + 1
    assert (spare.output.size, spare.output.chunks) == (0, [])
    for nesting in (spare.nesting, Nesting()):
        assert (nesting.count, nesting.cycles) == (0, 0)
        assert (nesting.ids, nesting.contents, nesting.found) == ([], {}, {})


def test_threads_do_not_disturb_each_other() -> None:
    """Keys made by many threads at once are those made by one."""
    work = [[i, str(i), {i, str(i)}, [b"x" * i] * 3, Node(v=i)] for i in range(300)]
    expected = [key_of(value) for value in work]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(key_of, work)) == expected


# Sets


def test_sets_nested_anywhere() -> None:
    """A set has the key of an equal one with another history, wherever it lies."""
    one, other = set(range(0, 800, 8)), set(range(792, -1, -8))
    other |= set(range(10_000))
    other &= one
    wraps: list[Callable[[Any], Any]] = [
        lambda s: s,
        lambda s: {"a": {"b": [s]}},
        lambda s: Node(s=s),
        lambda s: Slotted(s),
        lambda s: {frozenset(s), "x"},
        lambda s: frozenset([frozenset([frozenset(s)]), 1]),
        Tags,
        FrozenTags,
        BareTags,
        lambda s: {FrozenTags(s)},
        lambda s: np.array([s, 1], dtype=object),
        with_captured,
        lambda s: functools.partial(len, s),
        lambda s: collections.deque([s]),
    ]
    for wrap in wraps[1:]:
        assert key_of(wrap(one)) == key_of(wrap(other))
        assert key_of(wrap(one)) != key_of(wrap(one | {1}))
        assert key_of(wrap(one)) != key_of(wrap({str(i) for i in one}))


def test_attributes_of_set_subclasses_count() -> None:
    """What an instance of a set subclass has besides its members is part of its value, in a dict or in slots."""
    for cls, name in ((Tags, "kind"), (FrozenTags, "kind"), (BareTags, "tag")):
        made = [cls("ab"), cls("ab"), cls("ab"), cls("abc")]
        for member, value in zip(made, (1, 1, 2, 1), strict=True):
            setattr(member, name, value)
        assert key_of(made[0]) == key_of(made[1])
        assert len({key_of(member) for member in made}) == 3


class Bag(set[Any]):
    """A set subclass that says itself how it is pickled."""

    def __reduce__(self) -> Any:
        return Bag, (sorted(self, key=str), len(self))


def test_set_subclasses_may_reduce_themselves() -> None:
    """Their own `__reduce__` decides."""
    assert key_of(Bag("ab")) == key_of(Bag("ba")) != key_of(Bag("abc"))


class Sack(set[Any]):
    """A set subclass that says so for one protocol."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Sack, (sorted(self, key=str), protocol)


def test_set_subclasses_may_reduce_themselves_by_protocol() -> None:
    """Their own `__reduce_ex__` decides."""
    assert key_of(Sack("ab")) == key_of(Sack("ba")) != key_of(Sack("abc"))
    assert b"sorted" not in b"".join(encode(Sack("ab")))


def test_sets_of_a_million_members_have_keys() -> None:
    """The size of a set is no reason to refuse it."""
    assert len(key_of([{"a": {(i,) for i in range(1_000_001)}}])) == 40


@pytest.mark.parametrize("n", [1, 48, 49, 50, 51, 100, 1000])
def test_any_number_of_frozensets(n: int) -> None:
    """Values with many frozensets have keys, which do not depend on whether they are one object or many.

    The C pickler counts every frozenset as a level that it is in and never leaves.
    """
    wraps: list[Callable[[Any], Any]] = [
        list,
        tuple,
        lambda s: {"a": [{"s": x} for x in s]},
        lambda s: [[x] for x in s],
    ]
    for wrap in wraps:
        one = frozenset([1])
        assert key_of(wrap([one] * n)) == key_of(wrap([frozenset([1]) for _ in range(n)]))
        assert key_of(wrap([frozenset([i]) for i in range(n)])) != key_of(wrap([frozenset([i]) for i in range(n + 1)]))
    assert len(key_of({frozenset([i]): i for i in range(n)})) == 40


def test_types_of_set_members_count() -> None:
    """`{1}`, `{True}` and `{1.0}` are equal and different."""
    assert len({key_of(value) for value in ({1}, {True}, {1.0}, {1 + 0j}, {"1"}, {b"1"}, {Decimal(1)}, {(1,)})}) == 8


# Cycles and repetition


def cyclic_set() -> Any:
    node = Node(name="n")
    node.members = {node, "a", "b"}
    return node.members


def cyclic_frozenset() -> Any:
    node = Node(name="n")
    node.members = frozenset([frozenset([node, 1]), frozenset([node, 2])])
    return [node]


def cyclic_tags() -> Any:
    tags = Tags("abc")
    tags.owner = Node(tags=tags)
    return tags


def cyclic_closure() -> Any:
    def first() -> Any:
        return second

    def second() -> Any:
        return {first, "x"}

    return first


def cyclic_slots() -> Any:
    made = Slotted(1)
    made.y = [made]
    return made


def cyclic_keys() -> Any:
    node = Node(a=1)
    node.table = {node: node, (node, 1): {node}}
    return node


CYCLES = [
    *(key_values.cyclic_list, key_values.cyclic_dict, key_values.ring, cyclic_set, cyclic_frozenset, cyclic_tags),
    *(cyclic_closure, cyclic_slots, cyclic_keys),
]


@pytest.mark.parametrize("make", CYCLES)
def test_cyclic_values_have_keys(make: Callable[[], Any]) -> None:
    """A value that contains itself has a key, the same for a copy made alike, another than with a part changed."""
    assert key_of(make()) == key_of(make()) != key_of([make(), 1])


def set_in_itself(kind: type, size: int) -> Any:
    """A set of so many members, one of which holds it."""
    inner = functools.partial(len)
    made = kind([inner, *map(str, range(size - 1))])
    inner.__setstate__((len, (made,), {}, {}))  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(set, "640dac8eadab515b4e951ff431aa093adea5122e"), (frozenset, "3eea2bde1438f72c381d2199ffd9357f79aff41a")],
)
def test_sets_in_themselves_keep_their_keys(kind: type, expected: str) -> None:
    """Their keys are as stable as those of other values; so is how often they may be written again."""
    assert key_of(set_in_itself(kind, 3)) == expected
    assert key_of([set_in_itself(kind, 1000)] * 5) == key_of([set_in_itself(kind, 1000)] * 5)
    with pytest.raises(RecursionError):
        key_of([set_in_itself(kind, 1667)] * 4)


class Knot:
    """Hashed by its number; refers to others by a set, or by a list."""

    def __init__(self, number: int) -> None:
        self.number, self.known, self.listed = number, set(), []  # type: ignore[var-annotated]

    def __hash__(self) -> int:
        return hash(str(self.number))  # by the seed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Knot) and self.number == other.number


def knots(size: int, known: int = 0, listed: int = 0) -> list[Knot]:
    """So many that know each other, the same in every process."""
    chance = random.Random(size)
    made = [Knot(number) for number in range(size)]
    for knot in made:
        knot.known.update(made[at] for at in chance.sample(range(size), known))
        knot.listed += [made[at] for at in chance.sample(range(size), listed)]
    return made


KNOTTED = """
import json, time
from tests.keys.test_encoder import key_of, knots, set_in_itself
MADE = {
    "few": lambda: knots(8, known=3),
    "more": lambda: knots(60, known=3),
    "many": lambda: knots(10_000, known=5),
    "lists": lambda: set(knots(50, listed=5)),
    "long lists": lambda: set(knots(1000, listed=5)),
    "both": lambda: knots(1000, known=5, listed=5)[0],
    "sets": lambda: [set_in_itself(set, 1000)] * 5,
    "frozensets": lambda: [set_in_itself(frozenset, 1000)] * 5,
    "too many": lambda: [set_in_itself(set, 1667)] * 4,
}
found = {}
for name, make in MADE.items():
    value, since = make(), time.process_time()
    try:
        found[name] = key_of(value)
    except RecursionError:
        found[name] = "none"
    assert time.process_time() - since < 20, name
print(json.dumps(found))
"""


def test_knots_of_sets_have_one_key_or_none() -> None:
    """In every process, whatever the hash seed; and the search for one ends."""
    one, other, third = (child("-c", KNOTTED, PYTHONHASHSEED=seed) for seed in "123")
    assert one == other == third
    keys = json.loads(one)
    assert {name for name, key in keys.items() if key == "none"} >= {"more", "many", "both", "too many"}
    assert "none" not in (keys["few"], keys["lists"], keys["sets"], keys["frozensets"])


def test_a_set_of_large_members_keeps_its_key() -> None:
    """Also where its members are encoded by themselves, in several chunks."""
    assert key_of({1, "x" * 70_000}) == "160d3dad3ee2c5a926f7fa1fd438148ccf0364fa"


@pytest.mark.parametrize("kind", [frozenset, FrozenTags])
def test_sets_too_deep_in_each_other(kind: type) -> None:
    """They have no key, and that is found out at once."""
    value: Any = 1
    for _ in range(400):
        value = kind([value])
    with pytest.raises(RecursionError):
        key_of([value])


def test_functions_in_themselves_may_be_repeated() -> None:
    """What is in a cycle is written each time that it is met."""
    one, other = cyclic_closure(), cyclic_closure()
    assert key_of([one] * 3) == key_of([other] * 3) != key_of([one] * 2)


def test_sets_may_take_more_than_their_pickle() -> None:
    """No limit of length applies to what was short enough without the order of its sets."""
    assert sum(map(len, encode([set()] * 500_000))) > 8 << 20


def test_cycles_in_object_arrays_end() -> None:
    """An array that contains itself is refused in the end, not followed for ever; one in a cycle of others is not."""
    array = np.array([None, 1], dtype=object)
    array[0] = array
    with pytest.raises(RecursionError):
        key_of(array)
    node = Node(array=np.array([None, 1], dtype=object))
    node.array[0] = node
    assert key_of(node) == key_of(pickle.loads(pickle.dumps(node)))


def test_other_cycles_have_other_keys() -> None:
    """Content, length and the place where the cycle closes count."""
    short, long = [1], [1, [1]]
    short.append(short)  # type: ignore[arg-type]
    long[1].append(long)  # type: ignore[union-attr]
    other = [2]
    other.append(other)  # type: ignore[arg-type]
    assert len({key_of(value) for value in (short, long, other, [1, [1, 1]])}) == 4


@pytest.mark.parametrize("levels", [1, 48, 49, 50, 51, 60, 150])
def test_cycles_that_close_far_above(levels: int) -> None:
    """A cycle through many lists, dicts and instances has a key that says how long it is."""

    def circle(length: int) -> Any:
        bottom: list[Any] = []
        top: Any = bottom
        for i in range(length):
            top = ({"a": top}, [top], Node(a=top))[i % 3]
        bottom.append(top)
        return top

    assert key_of(circle(levels)) == key_of(circle(levels)) != key_of(circle(levels + 3))


@pytest.mark.parametrize("size", [2, 4, 9, 50])
@pytest.mark.timeout(60, func_only=True)
def test_graphs_whose_nodes_have_sets_of_nodes_end(size: int) -> None:
    """Nodes that know each other through sets have as many orders as there are paths: small graphs only have keys."""

    def graph() -> Any:
        nodes = [Node(number=i) for i in range(size)]
        for node in nodes:
            node.near = set(nodes)
        return nodes[0]

    try:
        assert key_of(graph()) == key_of(graph())
    except RecursionError:
        assert size > 4


def test_large_sets_beside_a_cycle_have_keys() -> None:
    """What lies beside a cycle is not held against it, however much it is."""
    beside = [{(i, j) for i in range(10)} for j in range(3000)]
    assert key_of([key_values.ring(), beside]) == key_of([key_values.ring(), beside])


@pytest.mark.parametrize("make", [key_values.cyclic_list, key_values.cyclic_dict, key_values.ring, cyclic_set])
def test_a_cycle_beside_something_large(make: Callable[[], Any]) -> None:
    """Neither what is larger than the limit of spelling out nor a cycle is refused, nor both of them together."""
    large = bytes(9 << 20)
    assert key_of([large, make()]) == key_of([large, make()]) != key_of([large, [make()]])
    assert key_of([make(), large]) == key_of([make(), large]) != key_of([large, make()])


def test_cyclic_arguments_of_a_call_end(cache: Cache) -> None:
    """A cached function takes them, and finds the result again for an equal one."""
    cached = cache.cached(len)
    assert cached(key_values.cyclic_list()) == 3
    assert cached.exists(key_values.cyclic_list())


def doubled(levels: int, join: Callable[[Any, Any], Any], start: Any = ()) -> Any:
    value = start
    for _ in range(levels):
        value = join(value, value)
    return value


REPEATED: dict[str, Callable[[Any, Any], Any]] = {
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "dict": lambda a, b: {1: a, 2: b},
    "frozenset": lambda a, b: frozenset([(a, 1), (b, 2)]),
    "set in instance": lambda a, b: Node(s={1, 2}, a=a, b=b),
    "slots": Slotted,
    "subclass": lambda a, b: FrozenTags([(a, 1), (b, 2)]),
    "mixed": lambda a, b: ([a], {"x": frozenset([1])}, b),
    "captured": lambda a, b: with_captured([a, b]),
}


@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.timeout(30, func_only=True)
def test_repeated_parts_end_quickly(kind: str) -> None:
    """Sixty levels of `y = join(y, y)` spell out to 2**60 parts; they are known by their sixty, or refused."""
    try:
        assert key_of(doubled(60, REPEATED[kind])) == key_of(doubled(60, REPEATED[kind]))
        assert key_of(doubled(60, REPEATED[kind])) != key_of(doubled(59, REPEATED[kind]))
    except RecursionError:  # sets and functions in each other take several levels of Python's stack
        assert kind in ("frozenset", "subclass", "captured")


@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.timeout(30, func_only=True)
def test_twenty_levels_of_repeated_parts_have_keys(kind: str) -> None:
    """What is repeated a million times by twenty levels of sharing has a key, whatever it is made of."""
    assert key_of(doubled(20, REPEATED[kind])) == key_of(doubled(20, REPEATED[kind]))


@pytest.mark.timeout(60, func_only=True)
def test_repeated_parts_beside_a_large_one_end() -> None:
    """A value of some megabytes that also repeats its parts is not spelled out either."""
    script = """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        from tests.key_values import key_of
        y = []
        for _ in range(60):
            y = [y, y]
        print(key_of([b"x" * (3 << 20), y]))
    """
    assert len(child("-c", textwrap.dedent(script)).strip()) == 40


def test_repetition_below_the_limit_is_spelled_out() -> None:
    """A part that is used often in a value of ordinary size has the key of as many equal parts."""
    part = ["some text", 1, 2.5]
    assert key_of([part] * 10_000) == key_of([list(part) for _ in range(10_000)])


@pytest.mark.parametrize(
    ("size", "copies", "others", "spelled_out"),
    [
        *((1 << 20, 7, 0, True), (1 << 20, 9, 0, False), (1 << 20, 9, 1 << 18, True), (1 << 20, 10, 1 << 18, False)),
        (1 << 19, 12, 0, True),
    ],
)
def test_what_counts_as_repetition(size: int, copies: int, others: int, spelled_out: bool) -> None:
    """More than 8 MiB that the memo makes eight times shorter: the key of these says that parts are shared.

    Both figures are part of such keys.
    """
    part, rest = [b"x" * size], b"y" * others
    apart = [[bytes(bytearray(part[0]))] for _ in range(copies)]
    assert (key_of([[part] * copies, rest]) == key_of([[apart[0], *apart[1:]], rest])) is spelled_out


def test_long_values_do_not_depend_on_identity() -> None:
    """Beyond the size at which repetition is suspected, distinct contents still decide alone."""
    one = [f"{i:020}" for i in range(800_000)]
    assert key_of(one) == key_of([f"{i:020}" for i in range(800_000)])
    other = [*one]
    other[400_000] += "x"
    assert key_of(one) != key_of(other)


# Depth: in processes of their own, so that a crash of the interpreter is a failed test

DEEP = """
    import functools, sys, threading, time
    from pcache import Cache, UnhashableArgument
    from tests.key_values import Node, Slotted

    joins = {
        "list": lambda v: [v], "tuple": lambda v: (v,), "dict": lambda v: {"a": v}, "instance": lambda v: Node(next=v),
        "slots": Slotted, "frozenset": lambda v: frozenset([v]), "partial": lambda v: functools.partial(len, v),
        "mixed": lambda v: [{"a": (v,)}], "closure": lambda v: (lambda: v),
    }
    def f(config, other=None):
        return 5
    f = Cache(sys.argv[1]).cached(f)
    def refused(kind):
        value = None
        for _ in range(100_000):
            value = joins[kind](value)
        since = time.perf_counter()
        try:
            f(value)
        except UnhashableArgument as error:
            print(kind, error.function, error.parameter, "nested too deeply" in str(error), "ignore=" in str(error),
                len(str(error)) < 2000, time.perf_counter() - since < 20)
        while isinstance(value, frozenset):  # taken apart by hand: not ours to crash in
            (value,) = value
    for kind in sys.argv[2:]:
        refused(kind)
        thread = threading.Thread(target=refused, args=(kind,))
        thread.start()
        thread.join()
    print("alive", f(1))
"""


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "instance", "slots", "frozenset", "partial", "mixed"])
def test_very_deep_arguments_are_refused(kind: str, tmp_path: Path) -> None:
    """A hundred thousand levels raise UnhashableArgument, in the main thread and in another, and crash nothing."""
    lines = child("-c", textwrap.dedent(DEEP), str(tmp_path / "cache"), kind).splitlines()
    assert lines == [f"{kind} f config True True True True"] * 2 + ["alive 5"]


def test_ordinary_depth_is_no_problem() -> None:
    """Fifty levels of anything have a key, and fifteen of sets and functions."""
    for kind, join in REPEATED.items():
        value: Any = None
        for _ in range(15 if kind in ("frozenset", "subclass", "captured") else 50):
            value = join(value, 1)
        assert key_of(value) != key_of(join(value, 1))


# Large values


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros(200_000_000, dtype="u1"),
        lambda: np.ones((20_000, 1250)),
        lambda: np.zeros((5000, 5000)).T,
        lambda: np.zeros((2, 50_000_000), dtype="u2")[:, ::2],
        lambda: np.zeros(50_000_000, dtype="u2")[::2],
        lambda: np.zeros((3, 4_000_000, 2), dtype="f8")[:, ::-1],
        lambda: bytes(200_000_000),
        lambda: bytearray(200_000_000),
        lambda: {"a": [np.zeros(25_000_000)]},
    ],
    ids=["bytes array", "floats", "transposed", "wide strides", "strided", "reversed", "bytes", "bytearray", "nested"],
)
def test_large_buffers_are_not_copied(make: Callable[[], Any]) -> None:
    """The key of 100 to 200 MB costs less than 20 MB of memory, however they lie."""
    value = make()
    tracemalloc.start()
    try:
        key_of(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_large_values_differ_by_one_byte() -> None:
    """A single changed byte at the start, in the middle or at the end of 20 MB changes the key."""
    value = bytearray(20_000_000)
    found = {key_of(value), key_of(bytes(value))}
    for position in (0, 10_000_000, len(value) - 1):
        value[position] = 1
        found |= {key_of(value), key_of(bytes(value)), key_of([bytes(value)])}
        value[position] = 0
    assert len(found) == 11


def test_out_of_band_buffers_count_by_content_and_shape() -> None:
    """Buffers that objects hand to pickle out of band are part of the value: content, writability, format, shape."""
    raw = bytearray(struct.pack("<2i", 1, 2))
    buffers = [
        raw,
        bytes(raw),
        bytearray(8),
        memoryview(raw).cast("i"),
        memoryview(raw).cast("f"),
        memoryview(raw).cast("B", (2, 4)),
    ]
    assert len({key_of(pickle.PickleBuffer(buffer)) for buffer in buffers}) == 6
    assert key_of(pickle.PickleBuffer(raw)) == key_of(pickle.PickleBuffer(bytearray(raw)))
    assert encode(pickle.PickleBuffer(b"onetwo"))[-1].decode() == f"6 B (6,) {blake3(b'onetwo').hexdigest()}"


def test_parts_of_one_buffer_are_not_taken_for_each_other() -> None:
    """What is found out about a whole object is remembered by its identity; what is cut from it has its own content."""
    one, two = (memoryview(b"onetwo")[at : at + 3] for at in (0, 3))
    pairs = [(a, b) for a in (one, two) for b in (one, two)]
    assert len({key_of([pickle.PickleBuffer(part) for part in pair]) for pair in pairs}) == 4
    assert key_of([pickle.PickleBuffer(one)] * 2) == key_of([pickle.PickleBuffer(b"one")] * 2)


def test_sets_of_large_members_are_sorted() -> None:
    """The opcode of a set may be the first of its chunk, where the members before it are chunks of their own."""
    for members in ([bytes([n]) * 70_000 for n in (1, 2, 3)], [f"{n}" * 70_000 for n in (1, 2, 3)]):
        for kind in (set, frozenset):
            assert b"sorted" in b"".join(map(bytes, encode(kind(members))))
    for rest in ([set()], [set(), [None] * 100]):
        assert b"digests" in b"".join(map(bytes, encode([bytes(70_000), *rest])))


def test_many_frozensets_in_a_large_value() -> None:
    """What is miscounted may be large as well."""
    many = [frozenset([number]) for number in range(100)]
    assert key_of([many, bytes(9 << 20)]) == key_of([[*many], bytes(9 << 20)]) != key_of([many, bytes(8 << 20)])


def test_values_without_sets_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, bytes and lengths of frames that look like the opcode of a set cost no second pass."""
    monkeypatch.setattr(encoder, "_SetEncoder", None)
    for value in (b"\x8f\x91" * 40_000, "x" * 70_000, [b"\x8f" * 70_000, "y" * 70_000, b"\x91" * 70_000, 1]):
        assert encode(value)
    for length in range(60, 240):  # among them all those of which the frame has such a length
        assert encode([None] * length)
        assert encode([b"x" * 70_000, [None] * length])


def test_short_encodings() -> None:
    """What is within the limit, to the byte, is returned; of what is longer there is nothing."""
    for value in ("text" * 10, [1.5, {"a": None}]):
        size = sum(map(len, encode(value)))
        assert encode_short(value, {}, size) == encode(value)
        assert encode_short(value, {}, size - 1) is None


def test_large_contents_are_hashed_once() -> None:
    """What one encoding has hashed another one that is given it takes from there, and nobody else does."""
    raw, notes = bytearray(b"raw"), {}  # type: ignore[var-annotated]
    encode(pickle.PickleBuffer(raw), large=notes)
    assert list(notes) == [(id(raw), "raw")]
    array, large = np.arange(10), {}  # type: ignore[var-annotated]
    expected = encode([array], large=large)
    assert large != {}
    assert encode([array], nesting_with(large)) == expected
    large.update({known: (owner, "another digest") for known, (owner, _) in large.items()})
    assert encode([array], nesting_with(large)) == encode_short([array], large, 10_000) != expected
    large.clear()
    encode([1], large=large)
    assert encode([array]) == expected
    assert large == {}


def test_straight_values_alone() -> None:
    """Where a value that contains itself is of no use it is given up at once; others are as ever."""
    with pytest.raises(ValueError, match="cyclic"):
        encode(key_values.cyclic_list(), Nesting(straight=True))
    assert encode([1, {"a"}], Nesting(straight=True)) == encode([1, {"a"}])


def test_modules_have_one_name() -> None:
    """What another version of Python calls a module, or a worker its main one, is the same in keys."""
    names = {"pathlib._local": "pathlib", "__mp_main__": "__main__", "pathlib": "pathlib", None: ""}
    assert module_name(object()) == ""
    assert {name: module_name(types.SimpleNamespace(__module__=name)) for name in names} == names


# What has no key


class Session:
    """Something that cannot be pickled, some way down."""

    def __init__(self) -> None:
        self.retries = 3
        self.db = Node(url="x", lock=threading.Lock())


@pytest.mark.parametrize(
    ("make", "path", "type_name"),
    [
        (Session, "config.db.lock", "lock"),
        (threading.Lock, "config", "lock"),
        (lambda: (i for i in ()), "config", "generator"),
        (lambda: [iter([1])], "config[0]", "list_iterator"),
        (lambda: io.FileIO(os.devnull), "config", "FileIO"),
        (lambda: {"a": [1, (threading.Lock(),)]}, "config['a'][1][0]", "lock"),
        (lambda: Slotted(threading.Lock()), "config.x", "lock"),
        (lambda: {"a": memoryview(np.array([None]))}, "config['a']", "memoryview"),
    ],
    ids=["nested", "lock", "generator", "iterator", "file", "containers", "slots", "memory of objects"],
)
def test_what_has_no_key(cache: Cache, make: Callable[[], Any], path: str, type_name: str) -> None:
    """The exception names function, parameter, type and path, and the message the ways out."""

    def fetch(name: str, config: Any = None) -> str:
        return name

    cached, value = cache.cached(fetch), make()
    for call in (lambda: cached("x", value), lambda: cached("x", config=value), lambda: cached.key("x", value)):
        with pytest.raises(UnhashableArgument) as caught:
            call()
        error = caught.value
        assert (error.parameter, error.type_name, error.path) == ("config", type_name, path)
        assert error.function.endswith("fetch")
        words = (error.function, path, type_name, "ignore=['config']", "key={'config': ", "__pcache_key__")
        assert all(word in str(error) for word in words)
    assert cache.cached(ignore=["config"])(fetch)("x", value) == "x"
    assert cache.cached(key={"config": lambda _: 1})(fetch)("x", value) == "x"
    getattr(value, "close", lambda: None)()


def test_hooks_may_raise_anything(cache: Cache) -> None:
    """An exception of somebody's pickle hook becomes UnhashableArgument with that exception as its cause."""

    class Odd:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def __reduce__(self) -> Any:
            raise self.error

    cached = cache.cached(len)
    for error in (ValueError("no"), KeyError(), ZeroDivisionError("x"), MemoryError(), AttributeError("a\nb")):
        with pytest.raises(UnhashableArgument) as caught:
            cached([Odd(error)])
        assert caught.value.__cause__ is error
        assert caught.value.type_name.endswith("Odd")


def test_interrupts_pass(cache: Cache) -> None:
    """What is no Exception, such as an interrupt, is none of the cache's business."""

    class Interrupting:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached(len)([Interrupting()])


# Functions and classes as arguments


def test_lambdas_on_one_line() -> None:
    """checkpointer: two lambdas of one line are one there."""
    pair = (lambda x: x + 1, lambda x: x + 2)
    assert key_of(pair[0]) != key_of(pair[1])


def test_closures_differ_by_what_they_capture() -> None:
    """Functions of one code with different captured values are different; with equal ones they are equal."""
    assert key_of(with_captured(1)) == key_of(with_captured(1)) != key_of(with_captured(True))
    assert key_of(with_captured([1])) != key_of(with_captured([2]))
    captured = [1]
    function = with_captured(captured)
    before = key_of(function)
    captured.append(2)
    assert key_of(function) != before


def test_defaults_of_functions_count() -> None:
    """Positional and keyword-only defaults are part of a function that is passed."""
    sources = ("x", "x=1", "x=2", "x=1.0", "*, x=1", "*, x=2", "x, /", "*x", "**x", "y")
    made = variants(*(f"def it({source}): return 0" for source in sources))
    assert len({key_of(function) for function in made}) == len(sources)


def test_an_edited_function_has_another_key() -> None:
    """A user's function counts by its code; a comment is no edit."""
    made = variants("def it(x): return x", "def it(x):\n    # why\n    return x", "def it(x): return x + 1")
    assert key_of(made[0]) == key_of(made[1]) != key_of(made[2])


def test_wrapped_functions_count_by_their_code() -> None:
    """A function behind `lru_cache`, `wraps` or a cached function has another key once it is edited."""
    source = "import functools\n@functools.lru_cache\ndef it(x): return x + {}"
    one, same, other = variants(source.format(1), source.format(1), source.format(2))
    main = sys.modules["__main__"]
    found = []
    for function in (one, same, other):
        main.it = function  # type: ignore[attr-defined]
        found.append(key_of(function))
    del main.it  # type: ignore[attr-defined]
    assert found[0] == found[1] != found[2]


def test_a_cached_function_as_argument(cache: Cache) -> None:
    """It counts by the function it caches, wherever it caches it."""
    one, other = variants("def it(x): return x", "def it(x): return x + 1")
    assert key_of(cache.cached(one)) == key_of(cache.cached(ttl=5)(one)) != key_of(cache.cached(other))


def method_returning(n: Any) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return n

    return method


class Methods:
    """Methods that share a name."""

    one = method_returning(1)
    two = method_returning(2)

    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def method(self) -> Any:
        return self.value

    @classmethod
    def of_class(cls) -> Any:
        return cls

    @staticmethod
    def alone() -> int:
        return 1


def test_bound_methods_count_by_instance_and_function() -> None:
    """The instance's state and the function itself, not only its name, make a bound method."""
    assert key_of(Methods(1).method) == key_of(Methods(1).method) != key_of(Methods(2).method)
    assert key_of(Methods().one) != key_of(Methods().two)
    node = Node()
    lambdas = (types.MethodType(lambda self: 1, node), types.MethodType(lambda self: 2, node))
    assert key_of(lambdas[0]) != key_of(lambdas[1])
    assert len({key_of(f) for f in (Methods.of_class, Methods.alone, Methods.method, Methods().method)}) == 4


def test_builtin_methods_count_by_their_object() -> None:
    """`[1].append` and `[2].append`, `str.upper` and `str.lower` are different."""
    made = ([1].append, [2].append, [1].extend, "a".upper, "b".upper, str.upper, str.lower, int.__add__, len)
    assert len({key_of(method) for method in made}) == len(made)
    assert key_of([1].append) == key_of([1].append)


def test_partials_count_by_function_and_arguments() -> None:
    """Function, positional and keyword arguments of a partial are all part of it."""
    partial = functools.partial
    made = (partial(int), partial(int, "1"), partial(int, "1", base=2), partial(int, base=2), partial(float), int)
    assert len({key_of(value) for value in made}) == 6
    assert key_of(partial(partial(int, "1"), base=2)) == key_of(partial(int, "1", base=2))


CLASS = """
class it:
    limit = {limit}
    def method(self):
        return {result}
    @property
    def size(self):
        return {size}
    @staticmethod
    def alone():
        return {alone}
    class Inner:
        depth = {depth}
"""
SETTING = {"limit": "1", "result": "1", "size": "1", "alone": "1", "depth": "1"}


@pytest.mark.parametrize("part", SETTING)
@pytest.mark.parametrize("new", ["2", "1.0", "True"])
def test_an_edited_class_has_another_key(part: str, new: str) -> None:
    """A user's class, and an instance of it, change their keys with any part of what the class defines."""
    one, same, other = variants(
        CLASS.format(**SETTING), CLASS.format(**SETTING), CLASS.format(**{**SETTING, part: new})
    )
    assert key_of(one) == key_of(same) != key_of(other)
    assert key_of(one()) == key_of(same()) != key_of(other())


@pytest.mark.parametrize(
    "pair", [("[1, 2]", "[1, 3]"), ("{1, 2}", "{1, 3}"), ("{'a': [1]}", "{'a': [2]}"), ("()", "[]")]
)
def test_containers_in_class_attributes_count(pair: tuple[str, str]) -> None:
    """An edited list, set or dict in a class body is an edit like any other."""
    one, other = variants(*(f"class it:\n    names = {text}" for text in pair))
    assert key_of(one) != key_of(other)
    assert key_of(one()) != key_of(other())


def class_capturing(n: Any) -> Any:
    class Local:
        def method(self) -> Any:
            return n

    return Local


def test_what_the_methods_of_a_class_capture_counts() -> None:
    """Classes of one body made with different values are different, and so are their instances."""
    assert key_of(class_capturing(1)) == key_of(class_capturing(1)) != key_of(class_capturing(2))
    assert key_of(class_capturing(1)()) != key_of(class_capturing(2)())


def test_methods_that_use_super_capture_their_class() -> None:
    """The class that such a method refers to is itself, which is no endless story."""
    source = "class it(dict):\n    def get(self, key):\n        return super().get(key), __class__, {}"
    one, same, other = variants(source.format(1), source.format(1), source.format(2))
    assert key_of(one) == key_of(same) != key_of(other)


def test_base_classes_count() -> None:
    """An edit of a base class of the user's changes the key of instances of a subclass."""
    source = "class Base:\n    def method(self):\n        return {}\nclass it(Base):\n    pass"
    one, same, other = variants(source.format(1), source.format(1), source.format(2))
    assert key_of(one()) == key_of(same()) != key_of(other())


def test_classes_of_the_standard_library_count_by_name() -> None:
    """Their code is Python's: the key names them, and holds no digest that would change from release to release."""
    for cls in (dict, collections.OrderedDict, Decimal, dt.datetime, UUID, threading.Thread, type, Exception):
        assert cls.__qualname__.encode() in b"".join(encode(cls))
        assert hashlib.sha256(b"".join(encode(cls))).digest_size == 32
        assert len(b"".join(encode(cls))) < 60


def test_instances_of_all_kinds() -> None:
    """Slots, dataclasses, named tuples, enumerations and exceptions count by type and content."""
    makers: list[Callable[[Any], Any]] = [
        Slotted,
        lambda v: Slotted(1, v),
        lambda v: Record("r", v),
        lambda v: Frozen("f", v),
        lambda v: Pair(1, v),
        lambda v: Pair(v, 1),
        lambda v: ValueError(v),
        lambda v: Node(v=v),
        lambda v: types.SimpleNamespace(v=v),
        lambda v: collections.ChainMap({1: v}),
    ]
    found = set()
    for make in makers:
        assert key_of(make(1)) == key_of(make(1))
        found |= {key_of(make(value)) for value in (1, 2, True, "1", [1], {1})}
    assert len(found) == 6 * len(makers) - 1  # Pair(1, 1) twice
    assert len({key_of(value) for value in (Color.RED, Color.GREEN, Access.READ, Access.WRITE, "red", 1)}) == 6


def test_unset_slots_are_no_none() -> None:
    """A slot that was never set differs from one that holds None."""
    unset = Slotted.__new__(Slotted)
    assert key_of(unset) != key_of(Slotted(None))


def test_subclasses_of_builtins_count_as_what_they_are() -> None:
    """Type, content and attributes of a list, dict, str or int subclass all count."""
    for base, content, other in ((list, [1], [2]), (dict, {1: 1}, {1: 2}), (str, "a", "b"), (int, 1, 2)):
        cls = type(f"My{base.__name__}", (base,), {"__module__": __name__})
        made, twin, changed = cls(content), cls(content), cls(content)
        changed.note = 1  # type: ignore[attr-defined]
        assert key_of(made) == key_of(twin)
        assert len({key_of(value) for value in (made, changed, cls(other), content)}) == 4


# __pcache_key__ and the registry


class Keyed:
    """An object that says itself what matters, and could not be pickled."""

    def __init__(self, matters: Any) -> None:
        self.matters = matters
        self.lock = threading.Lock()

    def __pcache_key__(self) -> Any:
        return self.matters


class KeyedSub(Keyed):
    """Another class that says the same."""


class KeyedList(list[Any]):
    """A list of which only the length matters."""

    def __pcache_key__(self) -> Any:
        return len(self)


class KeyedSet(set[Any]):
    """A set of which only the length matters."""

    def __pcache_key__(self) -> Any:
        return len(self)


@dataclasses.dataclass(frozen=True, slots=True)
class KeyedFrozen:
    """A hashable object of which only one field matters."""

    name: str
    note: str

    def __pcache_key__(self) -> Any:
        return self.name


def test_pcache_key_stands_for_the_object() -> None:
    """What `__pcache_key__` returns and the class's name decide, wherever the object lies."""
    assert key_of(Keyed(1)) == key_of(Keyed(1)) != key_of(Keyed(2))
    assert len({key_of(value) for value in (Keyed(1), KeyedSub(1), 1, Keyed(True), Keyed({1}), Keyed([1]))}) == 6
    assert key_of({"a": [Keyed({"x", "y"})]}) == key_of({"a": [Keyed({"y", "x"})]})
    assert key_of({KeyedFrozen("a", "1"), 1}) == key_of({KeyedFrozen("a", "2"), 1})


def test_pcache_key_on_subclasses_of_builtins() -> None:
    """It decides for a list or set subclass too, before pickle's own idea of them."""
    for cls in (KeyedList, KeyedSet):
        assert key_of(cls([1, 2])) == key_of(cls([3, 4])) != key_of(cls([1]))
        assert key_of([cls([1, 2])]) != key_of([2])


def test_a_failing_pcache_key_is_named(cache: Cache) -> None:
    """An exception in `__pcache_key__`, or a value without a key, raises UnhashableArgument with the path."""

    class Failing:
        def __pcache_key__(self) -> Any:
            raise LookupError("nothing here")

    for value, why in ((Failing(), "nothing here"), (Keyed(threading.Lock()), "lock")):
        with pytest.raises(UnhashableArgument, match=why) as caught:
            cache.cached(len)([value])
        assert caught.value.path.startswith("obj[0]")


class Foreign:
    """A class of somebody else, which cannot be pickled."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stream = (i for i in ())


class ForeignSub(Foreign):
    """A subclass of it."""


@pytest.mark.usefixtures("registrations")
def test_registered_reducers_by_type_and_name() -> None:
    """A registered type covers its subclasses, which stay different; a name only the class itself."""
    with pytest.raises(TypeError):
        key_of(Foreign("a"))
    register_reducer(f"{__name__}.Foreign", lambda obj, _: obj.name)
    assert key_of(Foreign("a")) == key_of(Foreign("a")) != key_of(Foreign("b"))
    with pytest.raises(TypeError):
        key_of(ForeignSub("a"))
    register_reducer(Foreign, lambda obj, _: obj.name)
    assert key_of(ForeignSub("a")) == key_of(ForeignSub("a")) != key_of(Foreign("a"))


@pytest.mark.usefixtures("registrations")
def test_a_reducer_may_decline() -> None:
    """NotImplemented means: as pickle does."""
    before = key_of(Node(a=1))
    register_reducer(Node, lambda _obj, _encoder: NotImplemented)
    assert key_of(Node(a=1)) == before


# Processes and __main__


def test_main_of_a_worker_process_is_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers see the main module as `__mp_main__`: functions, classes, instances and enumerations have equal keys."""
    source = """
        import enum, functools, dataclasses
        class C:
            def method(self): return 1
        class E(enum.Enum):
            A = 1
        @dataclasses.dataclass
        class D:
            x: int = 1
        def f(x): return x
        @functools.lru_cache
        def g(x): return x
        it = [C, C(), C().method, E, E.A, {E.A: C}, D(), f, functools.partial(f, 1), lambda: 1, {f, C}]
    """
    parts = []
    for name in ("__main__", "__mp_main__"):
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(textwrap.dedent(source), "script.py", "exec"), module.__dict__)
        parts.append([key_of(value) for value in module.it])
    assert parts[0] == parts[1]


def test_functions_of_another_module_are_others() -> None:
    """The module's name is part of a function's and of a class's key."""
    found = set()
    for name in ("__main__", "first", "second"):
        namespace: dict[str, Any] = {"__name__": name}
        exec("def it(n):\n    return lambda: n", namespace)
        found.add(key_of(namespace["it"](1)))
    assert len(found) == 3


# What the peers mix up or miss


def test_views_of_one_array_are_different(cache: Cache) -> None:
    """checkpointer: `a[:10]` and `a[10:]` have one key there, of the array below."""
    cached = cache.cached(lambda a: float(a.sum()))
    array = np.arange(20.0)
    assert cached(array[:10]) == 45
    assert cached(array[10:]) == 145
    assert cached.key(array[:10]) == cached.key(np.arange(10.0))


def test_arrays_that_differ_in_the_middle(cache: Cache) -> None:
    """cachew and percache key on text, which leaves out the middle of an array."""
    one, other = np.zeros(10_000), np.zeros(10_000)
    other[5_000] = 1
    assert cache.cached(np.sum)(one) == 0
    assert cache.cached(np.sum)(other) == 1


def test_a_frozenset_of_text_hits_in_a_new_process(tmp_path: Path) -> None:
    """joblib, diskcache and cachier miss in every run."""
    script = textwrap.dedent("""
        import os, sys
        from pcache import Cache
        cached = Cache(sys.argv[1]).cached(lambda words: os.getpid())
        print(cached(frozenset(["north", "south", "east", "west"])))
    """)
    first, second = (child("-c", script, str(tmp_path / "c"), PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second


def test_a_decimal_nan_as_dict_key() -> None:
    """joblib#1847: it crashes the hasher there."""
    assert key_of({Decimal("NaN"): 1}) == key_of({Decimal("NaN"): 1}) != key_of({Decimal("1"): 1})


def test_equal_paths_have_equal_keys() -> None:
    """A path counts by what it says, not by the pieces it was made of."""
    assert key_of(Path("a/b")) == key_of(Path("a", "b")) == key_of(Path("a") / "b") != key_of(Path("a/c"))
    assert key_of(PurePosixPath("a")) != key_of("a")


def test_keys_take_the_time_they_may() -> None:
    """The key of a small call is a matter of microseconds, also after many different classes were seen."""
    for i in range(2000):
        key_of(type(f"T{i}", (), {"__module__": "__main__"}))
    since = time.perf_counter()
    for _ in range(1000):
        key_of((1, "text", [1, 2]))
    assert time.perf_counter() - since < 1


def test_enumerations_count_by_what_they_define() -> None:
    """A member whose value was edited is another argument, and so is one of an edited enumeration."""
    made = variants(
        *(f"import enum\nclass it(enum.Enum):\n    A = {a}\n    B = {b}" for a, b in ((1, 2), (1, 2), (1, 3)))
    )
    assert key_of(made[0].A) == key_of(made[1].A) != key_of(made[2].A)
    assert key_of(made[0].B) != key_of(made[2].B)
    assert issubclass(made[0], enum.Enum)
