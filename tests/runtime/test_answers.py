"""What `call` and `get_or` tell of a call, and how calls that waited are counted."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Answer, Cache, UnhashableArgument


def draw(n: int = 0, default: object = None) -> bytes:
    """Random bytes: equal ones were computed once."""
    return os.urandom(8)


def test_an_answer_says_how_its_result_was_got(cache: Cache) -> None:
    """It is computed by the first call, and found by later ones, which know its age and what it cost."""
    made = cache.cached(draw)
    first, second = made.call(1), made.call(n=1)
    assert type(first) is Answer
    assert (first.hit, first.age, second.hit) == (False, 0.0, True)
    assert first.value == second.value == made(1)
    assert second.age >= 0.0
    assert second.cost == pytest.approx(first.cost)
    assert first.cost > 0
    assert made.cache_info()[:2] == (2, 1)
    value, hit, _age, _cost = made.call(1)
    assert (value, hit) == (first.value, True)


def test_answers_without_the_cache(cache: Cache) -> None:
    """Inside of blocks, and for arguments without a key, the result is computed; exceptions pass."""
    made = cache.cached(draw)
    made(1)
    with pcache.disabled():
        assert made.call(1).hit is False
    with pcache.refreshing():
        assert made.call(1).hit is False
    assert cache.cached(unhashable="compute")(len).call([threading.Lock()])[:2] == (1, False)
    with pytest.raises(UnhashableArgument):
        made.call(threading.Lock())
    with pytest.raises(TypeError, match="takes from 0 to 2 positional arguments"):
        made.call(1, 2, 3)
    assert made.call(1).hit


def test_answers_of_functions_that_call_others(cache: Cache) -> None:
    """What is found inside of a computation, also by the function itself, is not what the call found."""

    @cache.cached
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib.call(5)[:2] == (5, False)
    assert fib.call(6)[:2] == (8, False)
    assert fib.call(6)[:2] == (8, True)


def test_answers_of_coroutine_functions(cache: Cache) -> None:
    """They are awaited."""

    @cache.cached
    async def draw_later(n: int) -> bytes:
        return os.urandom(n)

    async def both() -> tuple[Answer[bytes], Answer[bytes]]:
        return await draw_later.call(8), await draw_later.call(8)  # type: ignore[misc]  # a coroutine here

    first, second = asyncio.run(both())
    assert (first.hit, second.hit) == (False, True)
    assert first.value == second.value
    assert second.cost == pytest.approx(first.cost)


def test_answers_that_are_exceptions(cache: Cache) -> None:
    """What is stored as an exception is raised."""

    @cache.cached(exceptions=ZeroDivisionError)
    def divide(n: int) -> float:
        return 1 / n

    for n in (0, 0):
        with pytest.raises(ZeroDivisionError):
            divide.call(n)
    assert divide.call(2)[:2] == (0.5, False)
    assert divide.call(2)[:2] == (0.5, True)
    assert divide.get_or(None, 3) is None


class Model:
    def __init__(self, n: int) -> None:
        self.n = n


def test_calls_of_methods(cache: Cache) -> None:
    """Bound methods have both."""
    Model.fit = cache.cached(draw_of)  # type: ignore[attr-defined]
    bound: Any = Model(1).fit  # type: ignore[attr-defined]
    assert bound.get_or("none", 2) == "none"
    assert bound.call(2).hit is False
    assert bound.call(2).value == bound.get_or("none", 2)


def draw_of(self: Model, n: int) -> bytes:
    return os.urandom(8)


def test_get_or_takes_the_default_first(cache: Cache) -> None:
    """The default is returned where nothing is stored, and no parameter of the function can mean it."""
    made = cache.cached(draw)
    assert made.get_or(None, 1) is None
    assert made.get_or("x", default="y") == "x"
    assert made.get_or("x", 1, default="y") == "x"
    stored = made(default="y")
    assert made.get_or("x", default="y") == stored
    assert not made.exists(1)
    with pytest.raises(TypeError):
        made.get_or()  # type: ignore[call-arg]


def test_who_waited_has_a_hit(tmp_path: Path) -> None:
    """A call that gets what another thread was computing counts as a hit, and its answer says so."""
    inside, leave = threading.Event(), threading.Event()
    cached = Cache(tmp_path / "cache").cached(ignore=["inside", "leave"])(slow_of)
    found: list[Answer[bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(cached.call(1, inside, leave))) for _ in range(3)]
    threads[0].start()
    assert inside.wait(60)
    for thread in threads[1:]:
        thread.start()
    try:
        while cached._misses < 3:  # all have missed before the first one has a result
            threading.Event().wait(0.001)
    finally:
        leave.set()
    for thread in threads:
        thread.join()
    assert sorted(answer.hit for answer in found) == [False, True, True]
    assert len({answer.value for answer in found}) == 1
    assert cached.cache_info()[:2] == (2, 1)
    cached.cache_clear()
    assert cached.cache_info()[:2] == (0, 0)


def slow_of(n: int, inside: threading.Event, leave: threading.Event) -> bytes:
    inside.set()
    leave.wait()
    return os.urandom(8)
