"""The part of a value that defeats pickle: it is found wherever it lies, and nothing of the value is run or changed."""

from __future__ import annotations

import collections
import functools
import pickle
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pcache.objects.culprit import Culprit, find_culprit
from pcache.system.interrupts import try_call
from tests.key_values import Frozen, FrozenTags, Node, Pair, Record, Slotted, Tags, with_captured

LOCK = threading.Lock()


def found_in(value: object) -> Culprit:
    """What `find_culprit` says of a value that cannot be pickled."""
    _, error = try_call(pickle.dumps, value)
    assert error is not None
    return find_culprit(value, "config", pickle.dumps, error)


class Private:
    """Slots whose names are mangled."""

    __slots__ = ("__lock", "other")

    def __init__(self) -> None:
        self.__lock = LOCK
        self.other = 1


class OneSlot:
    """A single slot, given as text."""

    __slots__ = "only"  # noqa: PLC0205 - what is tested

    def __init__(self) -> None:
        self.only = LOCK


class Sub(OneSlot):
    """A dict besides an inherited slot."""


class Listing(list[Any]):
    """A list with attributes."""

    def __init__(self, *items: Any, **attributes: Any) -> None:
        super().__init__(items)
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, ""),
        ([1, LOCK], "[1]"),
        ((1, [LOCK]), "[1][0]"),
        ({"a": LOCK}, "['a']"),
        ({"a": {1: {None: LOCK}}}, "['a'][1][None]"),
        ({(1, 2): LOCK}, "[<tuple>]"),
        ({"x" * 100: LOCK}, "['" + "x" * 36 + "...]"),
        ({LOCK: 1}, " key <lock>"),
        ({1, LOCK}, " member <lock>"),
        (frozenset([LOCK]), " member <lock>"),
        (Tags([LOCK]), " member <lock>"),
        (FrozenTags([Pair(1, LOCK)]), " member <Pair>[1]"),
        (Node(a=1, db=Node(lock=LOCK)), ".db.lock"),
        (Node(parts=[1, {"x": Slotted(1, LOCK)}]), ".parts[1]['x'].y"),
        (SimpleNamespace(a=LOCK), ".a"),
        (Record("r", LOCK), ".parts"),
        (Frozen("f", (LOCK,)), ".parts[0]"),
        (Pair(1, LOCK), "[1]"),
        (OneSlot(), ".only"),
        (Sub(), ".only"),
        (Private(), ".__lock"),
        (Listing(1, lock=LOCK), ".lock"),
        (Listing(LOCK), "[0]"),
        (collections.defaultdict(None, a=LOCK), "['a']"),
        (collections.OrderedDict(a=LOCK), "['a']"),
        (collections.deque([1, LOCK]), "[1]"),
        (functools.partial(print, 1, LOCK), ".args[1]"),
        (functools.partial(print, end=LOCK), ".keywords['end']"),
        (ValueError("x", LOCK), ".args[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_paths(value: object, path: str) -> None:
    """The path leads from the value to the smallest part that fails, in the words of Python."""
    culprit = found_in(value)
    assert (culprit.path, culprit.type_name) == (f"config{path}", "lock")
    assert "cannot pickle '_thread.lock'" in culprit.error


def test_captured_values() -> None:
    """A function is followed into what it captures."""

    def refuse(value: Any) -> None:
        """Fail on a lock, and on a function that captures one."""
        cells = getattr(value, "__closure__", None) or ()
        if value is LOCK or any(cell.cell_contents is LOCK for cell in cells):
            raise TypeError("a lock")

    assert find_culprit(with_captured(LOCK), "f", refuse, TypeError("a lock")).type_name == "lock"


def test_objects_that_know_each_other() -> None:
    """A child that knows its parent does not lead the search in circles: what it finds is the lock beside."""
    parent = Node(name="app")
    parent.child = Node(parent=parent)
    parent.child.children = [parent, {"up": parent}]
    parent.lock = LOCK
    assert found_in(parent.child)[:2] == ("config.parent.lock", "lock")
    assert found_in(parent)[:2] == ("config.lock", "lock")
    circle: list[Any] = [1]
    circle += [circle, [circle], LOCK]
    assert found_in(circle)[:2] == ("config[3]", "lock")


def test_circles_without_a_smallest_part() -> None:
    """Where a value fails although none of its parts does by itself, the value is named."""

    def refuse(value: Any) -> None:
        if isinstance(value, (list, dict)):
            raise RecursionError("too deep")

    circle: list[Any] = []
    circle.append({"x": circle})
    culprit = find_culprit(circle, "config", refuse, RecursionError("too deep"))
    assert culprit.path.startswith("config")
    assert len(culprit.path) < 100


def test_modules_and_classes_are_not_searched() -> None:
    """A module or a class is the culprit itself, not something in its namespace."""
    assert found_in({"m": sys})[:2] == ("config['m']", "module")
    local = type("Local", (), {"lock": LOCK})
    assert found_in([local])[:2] == ("config[0]", "type")


def test_paths_are_bounded() -> None:
    """A path of a thousand levels stops after a hundred."""
    value: Any = LOCK
    for _ in range(300):
        value = [value]
    assert len(found_in(value).path) < 500


def test_nobodys_repr_is_run() -> None:
    """Keys and members of other types are named by their type."""

    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("repr was run")

        __str__ = __repr__

    class Text(str):
        __slots__ = ()

        def __repr__(self) -> str:
            raise AssertionError("repr was run")

    assert found_in({Loud(): LOCK}).path.endswith("Loud>]")
    assert found_in({Text("a"): LOCK}).path.endswith("Text>]")


def test_generators_and_iterators_are_not_consumed() -> None:
    """Looking for the culprit leaves a generator where it was."""
    generator = (i for i in range(3))
    assert found_in([generator, 1])[:2] == ("config[0]", "generator")
    assert list(generator) == [0, 1, 2]


def test_attributes_that_raise() -> None:
    """Slots that are not set, and hooks that raise anything, are passed over."""

    class Odd:
        __slots__ = ("a", "b")

        def __init__(self) -> None:
            self.b = LOCK

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError(name)

    assert found_in(Odd()).path == "config.b"


def test_long_messages_are_cut() -> None:
    """Only the start of the first line of an error is kept."""

    def refuse(value: Any) -> None:
        raise ValueError("x" * 500 + "\nsecond line")

    culprit = find_culprit(1, "config", refuse, ValueError("x" * 500 + "\nsecond line"))
    assert len(culprit.error) < 250
    assert "\n" not in culprit.error


def test_attempt_returns_what_happened() -> None:
    """A result with no error, or an error with no result; what is no Exception passes."""
    assert try_call(len, "abc") == (3, None)
    result, error = try_call(len, 3)
    assert result is None
    assert isinstance(error, TypeError)
    with pytest.raises(KeyboardInterrupt):
        try_call(_interrupt)


def _interrupt() -> None:
    raise KeyboardInterrupt
