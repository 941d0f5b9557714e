"""Objects are looked at, never asked."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any
from unittest import mock

import pytest

from pcache.objects.lookup import attributes_of, is_a, look, member, module_of, qualname_of


class Raising:
    """Raises when it is asked anything."""

    __slots__ = ("__dict__", "kept", "unset")
    __module__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError


def test_nothing_of_theirs_runs() -> None:
    """Properties, `__getattr__` and `__class__` of an object are not called."""
    value = Raising()
    value.kept = 3
    value.other = 4
    assert (look(value, "kept"), look(value, "unset", "none"), look(value, "other")) == (3, "none", 4)
    assert (look(value, "missing"), module_of(value), module_of(Raising)) == (None, "", "")
    assert attributes_of(value) == {"other": 4}
    assert not is_a(value, FunctionType)


def test_liars_are_known() -> None:
    """A mock that was made after a function says that it is one."""
    assert isinstance(mock.Mock(spec=test_liars_are_known), FunctionType)
    assert not is_a(mock.Mock(spec=test_liars_are_known), FunctionType)


@pytest.mark.parametrize("value", [len, int, "".join, functools.lru_cache(look), look, Raising])
def test_names(value: Any) -> None:
    """Functions written in C or in Python, classes and wrappers have the names that they say."""
    assert qualname_of(value) == value.__qualname__
    assert module_of(value) in (value.__module__, "", "builtins")


def test_members() -> None:
    """The nearest base of a class counts, and descriptors stay what they are."""
    assert member(bool, "__add__") is vars(int)["__add__"]
    assert isinstance(member(Raising, "__class__"), property)
    assert member(bool, "nothing", 7) == 7
