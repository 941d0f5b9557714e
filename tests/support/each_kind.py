"""Cached functions of each kind, which all do the same.

Not in the module of a test: pytest writes other code into that, which counts where methods are called.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from pcache import Cache

ran: Counter[Any] = Counter()


class Doors(dict[int, tuple[threading.Event, threading.Event]]):
    """By argument: what says that a call runs, and what lets it end. Whether it waits is no part of what it does."""

    def __pcache_key__(self) -> str:
        return "doors"


doors = Doors()


def work(n: int) -> int:
    """What functions of each kind do; some wait, some fail."""
    ran[n] += 1
    if n in doors:
        begun, go_on = doors[n]
        begun.set()
        assert go_on.wait(30)
    if n < 0:
        raise ValueError(n)
    return n


def function(n: int) -> int:
    return work(n)


async def coroutine(n: int) -> int:
    await asyncio.sleep(0)
    return work(n)


def generator(n: int) -> Iterator[int]:
    yield work(n)


async def asynchronous_generator(n: int) -> AsyncIterator[int]:
    await asyncio.sleep(0)
    yield work(n)


def method(self: Any, n: int) -> int:
    return work(n)


def static(n: int) -> int:
    return work(n)


def many(n: list[int]) -> list[int]:
    return [work(one) for one in n]


async def many_awaited(n: list[int]) -> list[int]:
    return [work(one) for one in n]


def many_static(n: list[int]) -> list[int]:
    return [work(one) for one in n]


def many_of_one(self: Any, n: list[int]) -> list[int]:
    return [work(one) for one in n]


def result(made: Any) -> Any:
    """What a call gives in the end."""
    if inspect.iscoroutine(made):
        return asyncio.run(made)
    if inspect.isasyncgen(made):

        async def items() -> list[Any]:
            return [item async for item in made]

        [made] = asyncio.run(items())
    if inspect.isgenerator(made):
        [made] = made
    return made


class Kind:
    """A kind of functions: `cached` gives one as it is called, `batch` one of many items.

    What `makes` something of a function in a class has that class; None is for functions of a module.
    """

    def __init__(self, plain: Any, many: Any = None, makes: Callable[[Any], Any] | None = None) -> None:
        self.plain = plain
        self._many = many
        self._makes = makes

    def cached(self, cache: Cache, **options: Any) -> Any:
        decorate = cache.cached(**{"code": "none", **options})
        return (
            decorate(self.plain)
            if self._makes is None
            else self._member(decorate(self._makes(self._named(self.plain))))
        )

    def batch(self, cache: Cache) -> Any:
        decorate, plain = cache.batch(over="n", code="none"), self._many or self.plain
        return decorate(plain) if self._makes is None else self._member(self._makes(decorate(self._named(plain))))

    def _named(self, plain: Any) -> Any:
        plain.__name__, plain.__qualname__ = "call", "Owner.call"
        return plain

    def _member(self, made: Any) -> Any:
        global Owner
        Owner = type("Owner", (), {"call": made, "__module__": __name__})
        return Owner().call


Owner: Any = None  # the class of the method that was made last
KINDS = {
    "function": Kind(function, many),
    "method": Kind(method, many_of_one, lambda cached: cached),
    "class method": Kind(method, many_of_one, classmethod),
    "static method": Kind(static, many_static, staticmethod),
    "coroutine function": Kind(coroutine, many_awaited),
    "generator function": Kind(generator),
    "asynchronous generator function": Kind(asynchronous_generator),
}
