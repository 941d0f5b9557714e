"""Calls that the cache has no part in: computed each time, neither looked up nor stored."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from pcache import Cache, Miss

MOCKED = "it meets an object of unittest.mock"


class Service:
    """Something that tests replace."""

    def fetch(self, x: int) -> int:
        return x


def fetch(x: int) -> int:
    return x


class Holder:
    """An object with a part."""

    def __init__(self, part: object) -> None:
        self.part = part


def module_with(part: object) -> ModuleType:
    made = ModuleType("made_here")
    made.part = part  # type: ignore[attr-defined]
    return made


MOCKS: dict[str, Callable[[], object]] = {
    "Mock": mock.Mock,
    "MagicMock": mock.MagicMock,
    "NonCallableMock": mock.NonCallableMock,
    "AsyncMock": mock.AsyncMock,
    "spec": lambda: mock.Mock(spec=int),
    "attribute": lambda: mock.Mock().attribute,
    "function with autospec": lambda: mock.create_autospec(fetch),
    "class with autospec": lambda: mock.create_autospec(Service),
    "instance with autospec": lambda: mock.create_autospec(Service, instance=True),
    "method with autospec": lambda: mock.create_autospec(Service().fetch),
    "call": lambda: mock.call(1),
    "call of an attribute": lambda: mock.call.fetch(1),
    "calls of one": lambda: [*mock.Mock().mock_calls, mock.call()],
    "in containers": lambda: [1, {"a": (mock.Mock(),)}],
    "in a set": lambda: {mock.Mock()},
    "in an object": lambda: Holder(mock.Mock()),
    "in a module": lambda: module_with(mock.Mock()),
}


@pytest.mark.parametrize("name", MOCKS)
def test_mocks_as_arguments(cache: Cache, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is computed of a mock is not stored and not looked up; the log says so."""
    value, calls = MOCKS[name](), []

    @cache.cached
    def use(thing: Any) -> int:
        calls.append(thing)
        return len(calls)

    with caplog.at_level(logging.INFO, "pcache"):
        assert (use(value), use(value), use.refresh(value)) == (1, 2, 3)
    assert caplog.messages == [f"a call of {use.__qualname__} is computed without the cache: {MOCKED}"] * 3
    assert list(cache.entries()) == []


def test_what_is_said_of_a_call_without_the_cache(cache: Cache) -> None:
    """It has no result, no key and nothing to store or drop; `explain` says why."""

    @cache.cached
    def use(thing: Any) -> int:
        return 1

    thing = mock.Mock()
    assert (use.exists(thing), use.put(2, thing), use.invalidate(thing)) == (False, False, False)
    for ask in (use.get, use.key):
        with pytest.raises(Miss, match=MOCKED) as caught:
            ask(thing)
        assert caught.value.reason == "uncached"
    explanation = use.explain(thing)
    assert (explanation.hit, explanation.reason, explanation.detail) == (
        False,
        "uncached",
        f"{MOCKED}: every call computes",
    )


def test_captured_mocks(cache: Cache) -> None:
    """A function that captures a mock is computed at each call."""
    source = mock.Mock(side_effect=[1, 2, 3])

    @cache.cached
    def use() -> Any:
        return source()

    assert [use(), use(), use()] == [1, 2, 3]


def test_sentinels_have_keys(cache: Cache) -> None:
    """A sentinel stands for nothing else: it is keyed by its name."""
    calls = []

    @cache.cached
    def use(thing: Any) -> int:
        calls.append(thing)
        return len(calls)

    assert [use(mock.sentinel.a), use(mock.sentinel.a), use(mock.sentinel.b)] == [1, 1, 2]


def test_arguments_of_calls_without_the_cache_are_let_go(cache: Cache) -> None:
    """Nothing of ours keeps the arguments of such a call alive."""

    @cache.cached
    def use(thing: Any) -> int:
        return 1

    holder = Holder(mock.Mock())
    before = sys.getrefcount(holder)
    use(holder)
    assert sys.getrefcount(holder) == before
