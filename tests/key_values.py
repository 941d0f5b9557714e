"""The values of the key tests, in a module of its own so that child processes make the same ones.

Run as a script, it prints the keys of `seed_values()`, or of the golden expressions, as JSON.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import http
import importlib
import ipaddress
import json
import math
import operator
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import pcache
from pcache.keys.encoder import digest, encode

GOLDEN = Path(__file__).parent / "golden" / "keys.json"
WORDS = ("north", "south", "east", "west", "Zürich", "", "a b", "c")


def key_of(value: object) -> str:
    """The key of a value by itself."""
    return digest(b"golden 1\x00", encode(value)).hex()


def cyclic_list() -> list[Any]:
    """A list that contains itself."""
    made: list[Any] = [1, "two"]
    made.append(made)
    return made


def cyclic_dict() -> dict[str, Any]:
    """A dict that contains itself."""
    made: dict[str, Any] = {"a": 1}
    made["self"] = [made]
    return made


class Late:
    """A module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.name), attribute)


NAMES: dict[str, Any] = {
    "cyclic_list": cyclic_list,
    "cyclic_dict": cyclic_dict,
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
    "defaultdict": collections.defaultdict,
    "deque": collections.deque,
    "dt": dt,
    "Decimal": decimal.Decimal,
    "partial": functools.partial,
    "math": math,
    "operator": operator,
    "uuid": uuid,
    "np": np,
    "Fraction": fractions.Fraction,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
    "ZoneInfo": zoneinfo.ZoneInfo,
    "re": re,
    "http": http,
    "ip_address": ipaddress.ip_address,
    "array": array.array,
    "SimpleNamespace": types.SimpleNamespace,
    "MappingProxyType": types.MappingProxyType,
    "ChainMap": collections.ChainMap,
    "UserDict": collections.UserDict,
    "sparse": Late("scipy.sparse"),
    "Image": Late("PIL.Image"),
}


def golden() -> dict[str, str]:
    """The golden expressions with their keys."""
    pairs: dict[str, str] = json.loads(GOLDEN.read_text())
    return pairs


def evaluate(expression: str) -> Any:
    """Make the value of a golden expression."""
    return eval(expression, dict(NAMES))


class Node:
    """An instance that may know others."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    """An instance without a dict."""

    __slots__ = ("x", "y")

    def __init__(self, x: Any, y: Any = None) -> None:
        self.x, self.y = x, y


class Tags(set[Any]):
    """A set with attributes."""


class FrozenTags(frozenset[Any]):
    """A frozenset with attributes."""


class BareTags(set[Any]):
    """A set with a slot and no dict."""

    __slots__ = ("tag",)
    tag: object


@dataclasses.dataclass
class Record:
    """A plain dataclass."""

    name: str
    parts: Any = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen dataclass with slots."""

    name: str
    parts: Any = ()


class Pair(NamedTuple):
    """A named tuple."""

    left: Any
    right: Any


class Color(enum.Enum):
    """An enumeration."""

    RED = "red"
    GREEN = "green"


class Access(enum.Flag):
    """A flag, whose combinations are made on demand."""

    READ = 1
    WRITE = 2


def with_captured(value: Any) -> Any:
    """A function that captures a value."""

    def captured() -> Any:
        return value

    return captured


def with_set_in_body(word: str) -> bool:
    """A function whose constant is a frozenset."""
    return word in {"north", "south", "east", "west"}


def with_class_in_body() -> type:
    """A function that makes a class which assigns many attributes."""

    class Local:
        def __init__(self) -> None:
            self.north = self.south = self.east = self.west = self.up = self.down = 0

    return Local


def ring() -> Node:
    """Two instances that know each other, each in a set of the other."""
    first, second = Node(name="first"), Node(name="second")
    first.others, second.others = {second, "x", "y"}, frozenset([first, "z"])
    return first


def seed_values() -> dict[str, Any]:
    """Values of which some part has an order that depends on the hash seed."""
    words = frozenset(WORDS)
    tags, frozen_tags, bare_tags = Tags(WORDS), FrozenTags(WORDS), BareTags(WORDS)
    tags.kind, bare_tags.tag = set(WORDS), set(WORDS)
    cycle: list[Any] = [set(WORDS)]
    cycle.append(cycle)
    return {
        "set": set(WORDS),
        "many": [frozenset([word, i]) for i in range(60) for word in WORDS],
        "frozenset": words,
        "mixed": {1, "1", b"1", None, 2.5, (1, "x"), words},
        "nested": frozenset([words, frozenset([words, "x"]), frozenset()]),
        "dict value": {"a": [set(WORDS)], "b": {"c": words}},
        "dict key": {words: 1, ("x", words): 2},
        "instance state": Node(tags=set(WORDS), more=[words]),
        "slots": Slotted(set(WORDS), words),
        "set subclass": tags,
        "frozenset subclass": frozen_tags,
        "slotted set subclass": bare_tags,
        "subclass in set": {frozen_tags, words},
        "dataclass": Record("r", set(WORDS)),
        "frozen dataclass": {Frozen("f", words), Frozen("g", words)},
        "named tuple": Pair(words, {words}),
        "enum": {Color.RED, Color.GREEN},
        "flags": {Access.READ, Access.READ | Access.WRITE},
        "cycle": cycle,
        "ring": ring(),
        "function": with_set_in_body,
        "function that makes a class": with_class_in_body,
        "captured": with_captured(set(WORDS)),
        "partial": functools.partial(sorted, set(WORDS)),
        "bound method": tags.union,
        "classes": {Node, Slotted, Color, Access, Record, int},
        "functions": {with_captured, len, with_set_in_body},
        "fractions": {fractions.Fraction(1, 3), decimal.Decimal("0.1"), uuid.UUID(int=5)},
        "paths": {pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("c")},
        "object array": np.array([set(WORDS), words, None], dtype=object),
        "counter": collections.Counter(sorted(WORDS)),
        "keyed by cached": {"arguments": (1, 2), "options": {"flag": {True, "x"}}},
    }


if __name__ == "__main__":
    assert pcache
    values = {name: evaluate(name) for name in golden()} if "golden" in sys.argv else seed_values()
    sys.stdout.write(json.dumps({name: key_of(value) for name, value in values.items()}))
