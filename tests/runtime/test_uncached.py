"""Calls that the cache has no part in: computed each time, neither looked up nor stored."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from pcache import Cache, Miss, PcacheWarning, UnhashableArgument

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


@pytest.mark.parametrize("options", [{"version": mock.Mock()}, {"key": {"x": mock.Mock(return_value=1)}}])
def test_mocks_as_options(cache: Cache, options: dict[str, Any]) -> None:
    """A mock in the place of a `version=` or of a key function is no error either: each call is computed."""
    runs = []

    @cache.cached(**options)
    def use(x: int) -> int:
        runs.append(x)
        return x

    assert [use(1), use(1)] == runs == [1, 1]
    assert (use.exists(1), use.cache_info().currsize) == (False, 0)


def test_cached_mocks(cache: Cache) -> None:
    """A mock that is cached itself is called each time."""
    for thing in (mock.Mock(return_value=3), mock.create_autospec(fetch, return_value=3)):
        cached = cache.cached(thing)
        assert [cached(1), cached(x=1), cached(1)] == [3, 3, 3]
        assert thing.call_count == 3


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


# Arguments without a key


def count(first: Any, second: Any = None) -> int:
    return 1


def test_arguments_without_a_key_may_be_computed(cache: Cache) -> None:
    """With `unhashable="compute"` such a call runs each time; one warning names the parameter."""
    runs = []

    @cache.cached(unhashable="compute")
    def use(lock: Any, other: Any = None) -> int:
        runs.append(1)
        return len(runs)

    with pytest.warns(PcacheWarning) as caught:
        assert [use(threading.Lock()), use(threading.Lock()), use.refresh(threading.Lock())] == [1, 2, 3]
    assert len(caught) == 1
    assert "argument 'lock' has no key" in str(caught[0].message)
    with pytest.warns(PcacheWarning, match="argument 'other' has no key"):
        use(1, {"a": [iter(())]})
    assert [use(1), use(1)] == [5, 5]


def test_what_is_said_of_arguments_without_a_key(cache: Cache) -> None:
    """Such a call has no result to get and nothing to store; `explain` says which argument is at fault."""

    @cache.cached(unhashable="compute")
    def use(lock: Any) -> int:
        return 1

    lock = threading.Lock()
    assert (use.exists(lock), use.put(2, lock), use.invalidate(lock)) == (False, False, False)
    with pytest.raises(Miss, match="argument 'lock' has no key"):
        use.get(lock)
    assert use.explain(lock).reason == "uncached"
    assert "argument 'lock' has no key" in str(use.explain(lock))


def test_key_functions_that_fail(cache: Cache) -> None:
    """A key function that fails leaves an argument without a key."""

    @cache.cached(unhashable="compute", key={"thing": lambda thing: thing.name})
    def use(thing: Any) -> int:
        return 1

    with pytest.warns(PcacheWarning, match="the key function of parameter 'thing' failed"):
        assert use(3) == 1


def test_what_the_function_raises_is_its_own(cache: Cache) -> None:
    """An argument without a key in a call further down is that call's, and what it raises passes."""

    @cache.cached
    def strict(lock: Any) -> int:
        return 1

    @cache.cached(unhashable="compute")
    def use(lock: Any) -> int:
        return strict(lock)

    with pytest.warns(PcacheWarning, match=r"\buse\b"), pytest.raises(UnhashableArgument, match=r"\bstrict\b"):
        use(threading.Lock())
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        use()


@pytest.mark.parametrize("make", [lambda cache: cache.cache, lambda cache: cache.cache(verbose=0)])
def test_caches_given_as_memory_never_raise(cache: Cache, make: Callable[[Cache], Any]) -> None:
    """Who is given a cache in the place of joblib's `Memory` does not know of keys: the call is computed."""
    use = make(cache)(count)
    with pytest.warns(PcacheWarning, match="argument 'first' has no key"):
        assert [use(threading.Lock()), use(threading.Lock())] == [1, 1]


def test_the_default_is_an_error(cache: Cache) -> None:
    """Without the option an argument without a key raises, and says so before anything is computed."""
    with pytest.raises(UnhashableArgument):
        cache.cached(count)(threading.Lock())
