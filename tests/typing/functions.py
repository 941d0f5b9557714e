"""Only type-checked: what `cached` makes of functions. A `type: ignore` that is not needed fails the check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, assert_type, overload

from pcache import (
    Answer,
    Cache,
    CachedFunction,
    CacheInfo,
    cached,
    default_cache,
    disabled,
    max_age,
    refreshing,
    register_key,
)

T = TypeVar("T")
cache = Cache(
    "results", max_size="20 GiB", memory=0, ttl=timedelta(days=1), ignore_globals=["*:RUN_ID"], signing_key=[b"", ""]
)


@cached
def bare(n: int, *, seed: int = 0) -> float:
    return n + seed


@cached()
def empty(n: int) -> str:
    return str(n)


@cached(
    ttl="7d", ignore=["seed"], key={"n": abs}, version=2, depends_on=[len], strict=True, summaries=False, cache=cache
)
def optioned(n: int, *, seed: int = 0) -> list[int]:
    return [n, seed]


@cache.cached
def on_cache(path: Path) -> bytes:
    return path.read_bytes()


@cache.cached(ttl=timedelta(hours=1), lock_timeout=5, version=("a", 1), summaries=True)
def on_cache_optioned(*parts: str, **options: bool) -> tuple[str, ...]:
    return parts


@cached
def generic(value: T) -> T:
    return value


@cached
async def coroutine(n: int) -> int:
    return n


@cache.cached(ttl="1h")
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@cached
async def later_numbers(n: int) -> AsyncIterator[int]:
    yield n


@overload
def doubled(value: int) -> int: ...
@overload
def doubled(value: str) -> str: ...
@cached
def doubled(value: Any) -> Any:
    return value * 2


def calls() -> None:
    """The call keeps its parameters and its result."""
    assert_type(bare(1), float)
    assert_type(bare(1, seed=2), float)
    assert_type(empty(1), str)
    assert_type(optioned(1, seed=2), list[int])
    assert_type(on_cache(Path()), bytes)
    assert_type(on_cache_optioned("a", "b", verbose=True), tuple[str, ...])
    assert_type(bare.__wrapped__(1), float)


def other_kinds() -> None:
    """Functions of any type, with several signatures, and those that return iterators stay what they are."""
    assert_type(generic(3), int)
    assert_type(generic("a"), str)
    assert_type(cached(version=2)(generic)([1]), list[int])
    assert_type(numbers(3), Iterator[int])
    assert_type(doubled(3), int)
    assert_type(doubled("a"), str)
    numbers("a")  # type: ignore[arg-type]
    doubled(3.5)  # type: ignore[call-overload]


async def coroutines() -> None:
    """A coroutine function is one to checkers: its calls are awaited, and it is passed where one is expected."""
    assert_type(await coroutine(3), int)
    await coroutine("a")  # type: ignore[arg-type]
    awaited: Callable[[int], Awaitable[int]] = coroutine
    assert_type(await awaited(3), int)
    async for number in later_numbers(3):
        assert_type(number, int)


def looking_like_a_function() -> None:
    """Checkers know the attributes of a function, and that they are not for setting."""
    assert_type(bare.__name__, str)
    assert_type(bare.__qualname__, str)
    assert_type(bare.__module__, str)
    assert_type(bare.__doc__, str | None)
    assert_type(bare.__code__, CodeType)
    assert_type(bare.__defaults__, tuple[Any, ...] | None)
    assert_type(bare.__globals__["__name__"], Any)
    bare.__code__ = plain.__code__  # type: ignore[misc]


@cached(ttl="1h")
async def coroutine_optioned(n: int) -> str:
    return str(n)


@Cache().cached
async def coroutine_on_cache(n: int) -> str:
    return str(n)


async def awaited() -> None:
    """What coroutine functions return is awaited, and what `refresh` returns; with options and without."""
    assert_type(await coroutine(1), int)
    assert_type(await coroutine_optioned(n=1), str)
    assert_type(await coroutine_on_cache(1), str)
    assert_type(await coroutine.refresh(1), int)


def wrong_calls() -> None:
    """What the function does not take is flagged."""
    bare("1")  # type: ignore[arg-type]
    bare()  # type: ignore[call-arg]
    bare(1, 2)  # type: ignore[call-arg]
    bare(1, sed=2)  # type: ignore[call-arg]
    empty(n="x")  # type: ignore[arg-type]
    on_cache_optioned("a", verbose="yes")  # type: ignore[arg-type]
    assert_type(bare(1), int)  # type: ignore[assert-type]


def other_calls() -> None:
    """The calls of a cached function take the arguments of the call that they are about."""
    assert_type(bare.key(1, seed=2), str)
    assert_type(bare.exists(1), bool)
    assert_type(bare.get(1, seed=2), float)
    assert_type(bare.get_or(None, 1, seed=2), float | None)
    assert_type(bare.call(1, seed=2), Answer[float])
    assert_type(bare.call(1).value, float)
    bare.get_or(None, "1")  # type: ignore[arg-type]
    assert_type(bare.refresh(1), float)
    assert_type(bare.invalidate(1), bool)
    assert_type(bare.put(0.5, 1, seed=2), bool)
    bare.get("1")  # type: ignore[arg-type]
    bare.key()  # type: ignore[call-arg]
    bare.exists(1, seeds=2)  # type: ignore[call-arg]
    bare.put("x", 1)  # type: ignore[arg-type]
    bare.put(0.5)  # type: ignore[call-arg]
    bare.invalidate(1, 2)  # type: ignore[call-arg]


def information() -> None:
    """The counters have the fields of functools."""
    info = bare.cache_info()
    assert_type(info, CacheInfo)
    assert_type(info.hits, int)
    assert_type(info.maxsize, int | None)
    assert_type(bare.cache_parameters(), dict[str, object])
    assert_type(bare.function_id, str)
    assert_type(bare.name, str)
    bare.cache_clear()


def plain(n: int, flag: bool = False) -> str:
    return str(n)


def applied() -> None:
    """Decorators work as functions too."""
    assert_type(cached(plain)(1, flag=True), str)
    assert_type(cache.cached(plain)(1), str)
    assert_type(cached(version=2)(plain).get(1), str)
    assert_type(cached(unhashable="compute")(plain)(1), str)
    keeps: Callable[[int, bool], str] = cached(plain)
    keeps(1, True)
    wrapped: CachedFunction[[int], str] = empty
    wrapped(1)
    wrapped("x")  # type: ignore[arg-type]


def wrong_options() -> None:
    """Options that do not exist, or of another type, are flagged."""
    cached(tttl=3)  # type: ignore[call-overload]
    cached(ttl=[1])  # type: ignore[call-overload]
    cached("7d")  # type: ignore[call-overload]
    cached(key={"n": 3})  # type: ignore[dict-item]
    cached(ignore=[3])  # type: ignore[list-item]
    cached(strict="yes")  # type: ignore[call-overload]
    cached(unhashable="ignore")  # type: ignore[call-overload]
    cached(cache=3)  # type: ignore[call-overload]
    cache.cached(cache=cache)  # type: ignore[call-overload]
    Cache("results", max_sise=1)  # type: ignore[call-arg]
    Cache("results", max_entries="x")  # type: ignore[arg-type]


def contexts() -> None:
    with disabled(), refreshing(), max_age("1h"), max_age(timedelta(hours=1)):
        assert_type(default_cache(), Cache)
    assert_type(disabled()(plain)(1), str)
    assert_type(max_age(3600)(bare)(1), float)
    max_age(3600)(bare).get(1)  # type: ignore[attr-defined]
    assert_type(cached(cache=Path("results"), key=plain)(plain)(1), str)


def for_scikit_learn(function: Callable[..., Any]) -> None:
    cache.cache(function, ignore=["verbose"])(1, 2)
    assert_type(cache.location, str)


def length(text: str) -> int:
    return len(text)


def registrations() -> None:
    """A registered function takes what it is registered for, and stays what it is."""
    assert_type(register_key(str, length)("x"), int)
    assert_type(register_key(str)(length)("x"), int)
    register_key("psycopg.Connection", lambda connection: connection.info.dsn)
    register_key("psycopg.Connection")(length)
    register_key(bytes, length)  # type: ignore[arg-type]
    register_key(bytes)(length)  # type: ignore[arg-type]
    register_key(3, length)  # type: ignore[call-overload]
