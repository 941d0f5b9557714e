"""What stands for `typing` while a program runs, patterns that are compiled late, and modules that are loaded late."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pcache import CachedFunction, startup


class Plain(NamedTuple):
    """As `typing` makes it."""

    name: str
    size: int = 3
    more: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.size


class Record(startup.NamedTuple):
    """As `startup` makes it."""

    name: str
    size: int = 3
    more: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.size


class Shown(startup.NamedTuple):
    secret: str

    def __repr__(self) -> str:
        return "Shown"


class Empty(startup.NamedTuple):
    """No fields."""


OBSERVED: list[Callable[[Any], Any]] = [
    lambda cls: cls("a"),
    lambda cls: cls("a", 4, more=(1,)),
    lambda cls: cls(size=1, name="b")._asdict(),
    lambda cls: cls("a")._replace(size=9),
    lambda cls: cls._make(["a", 1, ()]),
    lambda cls: cls("a").double,
    lambda cls: cls("a") == ("a", 3, ()),
    lambda cls: (cls._fields, cls._field_defaults, cls.__match_args__, cls.__doc__ is not None),
    lambda cls: repr(cls("a")).removeprefix(cls.__name__),
    lambda cls: pickle.loads(pickle.dumps(cls("a", 5))),
    lambda cls: copy.deepcopy(cls("a", more=(1, 2))),
    lambda cls: hasattr(cls("a"), "__dict__"),
    lambda cls: (type(cls), cls.__mro__[1:]),
    lambda cls: isinstance(cls("a"), tuple),
]


@pytest.mark.parametrize("observe", OBSERVED)
def test_records_are_as_those_of_typing(observe: Callable[[Any], Any]) -> None:
    """Records have the methods, fields, defaults and text of named tuples."""
    assert observe(Record) == observe(Plain)


@pytest.mark.parametrize(
    "arguments", [((), {}), (("a", 1, (), 2), {}), (("a",), {"other": 1}), (("a",), {"name": "b"})]
)
def test_records_take_their_fields(arguments: tuple[Any, Any]) -> None:
    """Other arguments are refused."""
    args, kwargs = arguments
    for _ in range(2):
        with pytest.raises(TypeError):
            Record(*args, **kwargs)
    with pytest.raises((TypeError, ValueError)):
        Record("a")._replace(other=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Record._make(["a"])


def test_what_a_record_defines_itself() -> None:
    """A record's own methods stay: one that hides a secret is not shown."""
    assert repr(Shown("secret")) == "Shown"
    assert Empty() == ()


def test_cached_functions_can_be_subscripted() -> None:
    """Programs write `CachedFunction[P, R]` in annotations that are evaluated."""
    assert CachedFunction[[int], str].__origin__ is CachedFunction  # type: ignore[attr-defined]


def test_patterns_are_those_of_re() -> None:
    """A late pattern has what a compiled one has."""
    digits = startup.pattern(r"[0-9]+")
    assert digits.findall("a12b3") == ["12", "3"]
    assert digits.fullmatch("12") is not None
    assert digits.pattern == r"[0-9]+"
    assert not hasattr(digits, "__len__")


LATE = """
import sys
from pcache.startup import late
page, path = late("pcache.eviction.policy"), "__path__"
before = "pcache.eviction.policy" in sys.modules
counted = page.Limits
print(before, counted is sys.modules["pcache.eviction.policy"].Limits, hasattr(page, "nothing"), hasattr(page, path))
"""


def test_modules_are_loaded_by_their_first_use() -> None:
    """A late module is the module itself, from the first use on."""
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "False"]
