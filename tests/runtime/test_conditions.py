"""Options that look at single results: stored exceptions, what is stored and how long it counts, and soft expiry."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigError, Miss, PcacheWarning, UnpicklableResultWarning
from pcache.config.conditions import Conditions
from tests.support.processes import KEY

HOUR = 3600 * 10**9


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


class Counted:
    """A function cached with some options, which returns how often it was called, or does what it is told."""

    def __init__(self, cache: Cache, does: Any = None, **options: Any) -> None:
        self.runs = 0

        @cache.cached(ignore=["self"], **options)
        def count(n: int, self: Counted) -> Any:
            self.runs += 1
            return self.runs if does is None else does(n, self.runs)

        self.function = count

    def __call__(self, n: int = 0) -> Any:
        return self.function(n, self)


def fail(n: int, run: int) -> int:
    raise ([ValueError, KeyError][n])(n)


def test_exceptions_are_stored_and_raised_again(cache: Cache) -> None:
    """A hit raises the exception as it was, with a note; others are computed at each call."""
    failing = Counted(cache, fail, exceptions=(ValueError, OSError))
    with pytest.raises(ValueError, match="0") as first:
        failing(0)
    assert not hasattr(first.value, "__notes__")
    assert first.traceback[-1].name == "fail"
    with pytest.raises(ValueError, match="0") as again:
        failing(0)
    assert again.value.args == (0,)
    assert again.value.__notes__ == ["This exception was stored by pcache 0 s ago; the function was not called."]
    with pytest.raises(ValueError, match="0"):
        failing.function.get(0, failing)
    for _ in range(2):
        with pytest.raises(KeyError):
            failing(1)
    assert failing.runs == 3
    assert failing.function.exists(0, failing)


def test_who_does_not_store_exceptions_does_not_find_them(cache: Cache) -> None:
    """Without the option the same function is another version, which computes."""
    with pytest.raises(ValueError, match="0"):
        Counted(cache, fail, exceptions=ValueError)(0)
    other = Counted(cache, fail)
    with pytest.raises(ValueError, match="0") as caught:
        other(0)
    assert other.runs == 1
    assert not hasattr(caught.value, "__notes__")


def test_an_exception_that_cannot_be_pickled(cache: Cache) -> None:
    """It reaches the caller, with one warning."""

    class Local(ValueError):
        pass

    def local(n: int, run: int) -> int:
        raise Local(n)

    failing = Counted(cache, local, exceptions=ValueError)
    with pytest.warns(UnpicklableResultWarning), pytest.raises(Local):
        failing(0)
    assert not failing.function.exists(0, failing)


def test_store_if_chooses_results(cache: Cache) -> None:
    """What it refuses is returned and computed again; statistics say why."""
    counted = Counted(cache, store_if=lambda result: result > 2)
    assert [counted() for _ in range(5)] == [1, 2, 3, 3, 3]
    assert cache.stats().errors_by_kind == {"unwanted": 2}


@pytest.mark.parametrize("option", ["store_if", "valid_if", "ttl"])
def test_an_option_that_fails(cache: Cache, option: str) -> None:
    """The caller gets the result; one warning names the option."""
    counted = Counted(cache, **{option: lambda result: 1 / 0})
    with pytest.warns(PcacheWarning, match=f"given as {option}= of .* failed with ZeroDivisionError: division by zero"):
        assert [counted(), counted()] == [1, 2]


def test_valid_if_is_asked_at_each_hit(cache: Cache) -> None:
    """A stored result that it does not accept is computed again, and `get` says why."""
    counted = Counted(cache, valid_if=lambda result: result > 1)
    assert counted() == 1
    with pytest.raises(Miss, match=r"expired \(valid_if= does not accept it\)"):
        counted.function.get(0, counted)
    assert [counted(), counted()] == [2, 2]


def test_a_ttl_for_each_result(cache: Cache) -> None:
    """A function of the result says how long it counts; None is for ever."""
    counted = Counted(cache, ttl=lambda result: "1us" if result < 3 else None)
    assert [counted() for _ in range(5)] == [1, 2, 3, 3, 3]


def renewed() -> None:
    """Wait for the threads that renew results."""
    for thread in threading.enumerate():
        if thread.name.startswith("renew "):
            thread.join()


def test_a_stale_result_serves_while_it_is_renewed(cache: Cache) -> None:
    """An expired result is returned at once, and another thread computes it anew, once."""
    go_on = threading.Event()

    def slow(n: int, run: int) -> int:
        if run > 1:
            assert go_on.wait(30)
        return run

    counted = Counted(cache, slow, ttl="1us", stale="1h")
    assert [counted() for _ in range(5)] == [1, 1, 1, 1, 1]
    go_on.set()
    renewed()
    assert counted.runs == 2
    assert counted.function.get(0, counted) == 2


def test_another_process_that_renews_is_enough(cache: Cache) -> None:
    """While somebody else computes the result anew, nobody waits and nobody computes it as well."""
    began, go_on = threading.Event(), threading.Event()

    def slow(n: int, run: int) -> int:
        if run > 1:
            began.set()
            assert go_on.wait(30)
        return run

    counted = Counted(cache, slow, ttl="1us", stale="1h")
    counted()
    thread = threading.Thread(target=counted.function.refresh, args=(0, counted))
    thread.start()
    assert began.wait(30)
    assert counted() == 1
    renewed()
    go_on.set()
    thread.join()
    assert counted.runs == 2


def test_a_renewal_that_fails(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """The old result goes on serving, and the log says what happened."""
    caplog.set_level(logging.INFO, "pcache")

    def failing(n: int, run: int) -> int:
        return 1 // (run == 1)

    counted = Counted(cache, failing, ttl="1us", stale="1h")
    assert counted() == counted() == 1
    renewed()
    assert counted.function.get(0, counted) == 1
    assert "renewing a result failed: ZeroDivisionError" in caplog.text


def test_what_is_older_than_stale_is_computed(cache: Cache) -> None:
    """After both times the call waits for a new result."""
    counted = Counted(cache, ttl="1us", stale="1us")
    assert [counted(), counted(), counted()] == [1, 2, 3]


def test_an_early_refresh_comes_the_earlier_the_dearer(cache: Cache) -> None:
    """Whether it is time is left to chance: hardly ever for what is cheap, at once for what would take for ever."""
    conditions = Conditions(fresh_ns=HOUR, refreshes_early=True)
    assert not any(conditions.is_late(0, None, 1, n) for n in range(1000))
    assert all(conditions.is_late(0, None, 10**30, n) for n in range(1000))
    assert conditions.is_late(0, None, 1, HOUR)
    halves = sum(conditions.is_late(0, None, HOUR, HOUR // 2) for _ in range(4000))
    assert 0.5 < halves / 4000 < 0.7  # exp(-1/2)


def test_what_is_cheap_is_not_stored(cache: Cache) -> None:
    """Below `min_cost=` results are computed each time, and statistics say so."""
    counted, dear = Counted(cache, min_cost="1h"), Counted(cache, min_cost=0, version=2)
    assert [counted(), counted(), dear(), dear()] == [1, 2, 1, 1]
    assert cache.stats().errors_by_kind == {"cheap": 2}


def test_conditions_go_with_the_function(cache: Cache, tmp_path: Path) -> None:
    """Methods, pickles and maps have them too."""

    class Odd:
        @cache.cached(exceptions=ValueError)
        def half(self, n: int) -> int:
            if n % 2:
                raise ValueError(n)
            return n // 2

    for _ in range(2):
        zero, error, one = Odd().half.map([0, 1, 2], on_error="return")
        assert (zero, repr(error), one) == (0, "ValueError(1)", 1)
    assert error.__notes__
    again = pickle.loads(pickle.dumps(cache.cached(store_if=bool)(abs)))
    assert [again(0), again(-1)] == [0, 1]
    assert [again.exists(0), again.exists(-1)] == [False, True]


WRONG: dict[str, dict[str, Any]] = {
    "stale= needs ttl=: without one no result expires": {"stale": "1h"},
    "early_refresh= needs ttl=": {"early_refresh": True},
    "store_if= takes a function of the result, not 3": {"store_if": 3},
    "valid_if= takes a function of the result, not 'x'": {"valid_if": "x"},
    "exceptions= takes classes of exceptions, such as ValueError, not ": {"exceptions": [KeyboardInterrupt]},
    "min_cost= cannot read 'soon'": {"min_cost": "soon"},
    "stale= cannot read 'long'": {"stale": "long", "ttl": 1},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options(cache: Cache, message: str) -> None:
    """Each is one sentence, at decoration."""
    with pytest.raises(ConfigError, match=message):
        cache.cached(**WRONG[message])(abs)


# Checking what is stored


def test_a_checked_hit_tells_of_chance(cache: Cache) -> None:
    """A share of hits is computed again; where the result differs is named once, and the new result is stored."""
    calls: list[int] = []

    @cache.cached(check=1.0, ignore=["calls"])
    def train(n: int, calls: list[int]) -> dict[str, Any]:
        calls.append(n)
        return {"name": "x", "loss": [0.5, [1.0, float(len(calls))]]}

    train(3, calls)
    with pytest.warns(
        PcacheWarning, match=r"train\(n=3\) returned something else .* result\['loss'\]\[1\]\[1\] differs"
    ):
        assert train(3, calls)["loss"][1][1] == 2.0
    assert train.get(3, calls)["loss"][1][1] == 2.0
    assert cache.stats().errors_by_kind == {"impure": 1}


def test_a_checked_hit_of_a_pure_function(cache: Cache) -> None:
    """Equal results say nothing; without a share nothing is computed again."""
    counted = Counted(cache, lambda n, run: {"a": {1, 2}, "b": float("nan")}, check="100%")
    assert [len(counted()) for _ in range(3)] == [2, 2, 2]
    assert counted.runs == 3
    assert cache.stats().errors_by_kind == {}
    never = Counted(cache, check=0, version=2)
    assert [never(), never()] == [1, 1]


def test_the_settings_may_ask_for_checks(tmp_path: Path) -> None:
    """`Cache(check=)` holds for functions that say nothing of it."""
    cache = Cache(tmp_path / "cache", signing_key=KEY, check=1)
    counted, exempt = Counted(cache, lambda n, run: n), Counted(cache, check=0, version=2)
    assert [counted(), counted()] == [0, 0]
    assert [exempt(), exempt()] == [1, 1]
    assert counted.runs == 2


@pytest.mark.parametrize("share", [2, "x", True])
def test_a_share_that_is_none(cache: Cache, share: Any) -> None:
    """A share of hits is a number from 0 to 1."""
    with pytest.raises(ConfigError, match=r"check= cannot use .*; give a share from 0 to 1, such as 0\.01"):
        cache.cached(check=share)(abs)


async def numbers_later(n: int) -> AsyncIterator[int]:
    yield n


def numbers(n: int) -> Iterator[int]:
    yield n


@pytest.mark.parametrize("function", [numbers, numbers_later])
def test_the_settings_ask_for_no_checks_of_streams(tmp_path: Path, function: Any) -> None:
    """A share of hits for all functions concerns those that have one result; given to a stream it is refused."""
    cached = Cache(tmp_path / "cache", signing_key=KEY, check=1).cached(function)
    assert cached.name.endswith(function.__name__)
    with pytest.raises(ConfigError, match=f"check= is not for .*generator functions, and {function.__name__} is one"):
        Cache(tmp_path / "cache", signing_key=KEY).cached(check=1)(function)
