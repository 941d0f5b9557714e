"""Blocks in which calls go otherwise, as decorators too, and functions that the settings switch off by name."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, ConfigError, Miss
from tests.support.processes import run


def draw(n: int = 0) -> bytes:
    """Random bytes: equal ones were computed once."""
    return os.urandom(8)


def test_blocks_as_decorators(cache: Cache) -> None:
    """Each call of a decorated function is such a block, which ends with it, also when it raises."""
    made = cache.cached(draw)

    @pcache.disabled()
    def aside(n: int, *, fails: bool = False) -> bytes:
        """What it does."""
        return made(n // (not fails))

    @pcache.refreshing()
    def anew(n: int) -> bytes:
        return made(n)

    stored = made(1)
    assert (aside.__name__, aside.__doc__) == ("aside", "What it does.")
    assert aside(1) != aside(1) != stored == made(1)
    with pytest.raises(ZeroDivisionError):
        aside(1, fails=True)
    assert stored == made(1) != anew(1) == made(1)


def test_blocks_around_coroutine_functions(cache: Cache) -> None:
    """The block holds while the coroutine runs, for its task alone, and what is decorated stays what it was."""
    made = cache.cached(draw)

    @pcache.disabled()
    async def aside(n: int, inside: asyncio.Event, leave: asyncio.Event) -> bytes:
        inside.set()
        await leave.wait()
        return made(n)

    async def both() -> tuple[bytes, bytes]:
        inside, leave = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(aside(1, inside, leave))
        await inside.wait()
        outside = made(1)
        leave.set()
        return outside, await task

    stored = made(1)
    outside, drawn = asyncio.run(both())
    assert inspect.iscoroutinefunction(aside)
    assert outside == stored != drawn


def test_one_block_decorates_calls_at_once(cache: Cache) -> None:
    """Threads that are inside of the same decorated function, and its recursion, do not end each other's block."""
    made, meeting = cache.cached(draw), threading.Barrier(2)

    @pcache.disabled()
    def aside(depth: int) -> list[bytes]:
        drawn = aside(depth - 1) if depth else []
        meeting.wait(60)
        return [*drawn, made(1)]

    found: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(aside(2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({drawn for one in found for drawn in one}) == 6
    assert not made.exists(1)


def test_what_a_block_cannot_decorate() -> None:
    """What goes on after its call, and what is no function, is refused in one sentence."""

    def items() -> Any:
        yield 1

    for thing in (items, 3, classmethod(draw)):
        with pytest.raises(
            ConfigError, match=r"^disabled\(\) decorates functions and coroutine functions, not "
        ) as caught:
            pcache.disabled()(thing)  # type: ignore[type-var]
        assert "\n" not in str(caught.value)


def test_a_decorated_function_can_be_cached(cache: Cache) -> None:
    """`@cached` above a block stores the function's own results, and methods get their instance."""

    class Model:
        @cache.cached
        @pcache.disabled()
        def fit(self, n: int) -> bytes:
            return os.urandom(n)

        @pcache.max_age("1h")
        @cache.cached
        def score(self, n: int) -> bytes:
            return os.urandom(n)

    assert Model().fit(8) == Model().fit(n=8)
    assert Model().score(8) == Model().score(n=8)


# max_age


def test_results_that_are_too_old_are_computed_anew(cache: Cache) -> None:
    """Inside of the block an older result is computed again and replaced; outside it served, and `get` says why."""
    made = cache.cached(draw)
    old = made(1)
    with pcache.max_age(3600):
        assert made(1) == old
    with pcache.max_age(0):
        assert made.exists(1) is False
        with pytest.raises(Miss, match="asks for newer results") as caught:
            made.get(1)
        assert caught.value.reason == "refreshed"
        assert not made.explain(1).hit
        new = made(1)
    assert old != new == made(1)
    assert made.cache_info()[:2] == (2, 2)


def test_the_shortest_age_counts(cache: Cache) -> None:
    """Of blocks inside of each other, and the function's own `ttl=`, the shortest is what counts."""
    made = cache.cached(ttl="1 us")(draw)
    with pcache.max_age("1h"):
        assert made(1) != made(1)
    forever = cache.cached(draw)
    old = forever(1)
    with pcache.max_age(0):
        with pcache.max_age("1h"):
            assert forever(1) != old
        with pcache.disabled():
            assert forever(1) != forever(1)


@pytest.mark.parametrize("age", ["soon", -1, None, "2 fortnights"])
def test_what_is_no_age(age: Any) -> None:
    """It is refused where the block is made."""
    with pytest.raises(ConfigError, match=r"^max_age\(\): cannot read "):
        pcache.max_age(age)


# Functions that are switched off by name


def test_functions_are_switched_off_by_pattern(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_DISABLE with patterns has the calls of those functions pass the cache by, and no others."""
    monkeypatch.setenv("PCACHE_DISABLE", f"other:*, {__name__}:dr*")
    again = Cache(cache.location)
    made, other = again.cached(draw), again.cached(os.urandom)
    assert made(1) != made(1)
    assert not made.exists(1)
    assert (made.explain(1).hit, made.explain(1).reason) == (False, "disabled")
    assert other(8) == other(8)


PATTERNS = """
from pcache import cached
@cached
def f(n):
    return os.urandom(8)
f(1)
say(f(1) == f(1), cached(os.urandom)(8) == cached(os.urandom)(8))
"""


def test_patterns_in_files(own_home: Path, tmp_path: Path) -> None:
    """A settings file lists the patterns."""
    config = own_home / "config" / "pcache" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('disable = ["*:f"]')
    assert run(PATTERNS, tmp_path) == ["False True"]


def test_room_for_nothing(tmp_path: Path) -> None:
    """With `max_size=0` calls pass the cache by, nothing is stored, no directory is made, and nothing fails."""
    cache = Cache(tmp_path / "cache", max_size=0)
    made: Any = cache.cached(draw)
    assert made(1) != made(1) != made.refresh(1)
    assert made.put(b"given", 1) is False
    assert made.invalidate(1) is False
    assert (made.exists(1), made.cache_info().currsize) == (False, 0)
    assert not (tmp_path / "cache").exists()


def test_room_for_nothing_leaves_what_others_stored(cache: Cache) -> None:
    """A process that stores nothing removes nothing of what is there, but what it is told to."""
    made = cache.cached(draw)
    stored = made(1), made(2)
    nothing = Cache(cache.location, max_size=0)
    without = nothing.cached(draw)
    assert without(1) not in stored
    assert without.invalidate(2) is True
    nothing.flow.saving.limiter.flush()
    assert made(1) == stored[0]


def test_no_room_for_one_function(cache: Cache, own_home: Path) -> None:
    """`max_size = 0` for a pattern switches off the functions that it fits."""
    config = own_home / "config" / "pcache" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'[functions."{__name__}:*"]\nmax_size = 0')
    made = Cache(cache.location).cached(draw)
    assert made(1) != made(1)
