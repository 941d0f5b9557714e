"""Batch functions: one entry an item, and the function gets only what is missing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcache import Cache, ConfigError, Miss, PcacheWarning, UnhashableArgument, disabled, refreshing
from tests.support.processes import KEY
from tests.support.running import run, write


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


def squared(numbers: Any, times: int) -> Any:
    """A result for each number, in a container of the same kind."""
    if isinstance(numbers, dict):
        return {name: times * n * n for name, n in numbers.items()}
    if isinstance(numbers, np.ndarray):
        return times * numbers * numbers
    return type(numbers)(times * n * n for n in numbers)


class Squares:
    """A batch function of each kind of container, and the calls that reached it."""

    def __init__(self, cache: Cache, **options: Any) -> None:
        self.calls: list[Any] = []

        @cache.batch(over="numbers", ignore=["calls"], **options)
        def squares(numbers: Any, calls: list[Any], times: int = 1) -> Any:
            calls.append(list(numbers.items() if isinstance(numbers, dict) else numbers))
            return squared(numbers, times)

        self.function = squares

    def of(self, numbers: Any, **options: Any) -> Any:
        return self.function(numbers, self.calls, **options)


def test_only_missing_items_reach_the_function(cache: Cache) -> None:
    """Results are in the order of the items, those that are asked for twice are computed once."""
    squares = Squares(cache)
    assert squares.of([3, 1, 3]) == [9, 1, 9]
    assert squares.of([2, 1, 4, 2]) == [4, 1, 16, 4]
    assert squares.of([4, 3]) == [16, 9]
    assert squares.of([3], times=2) == [18]
    assert squares.calls == [[3, 1], [2, 4], [3]]
    assert squares.function.of_one.cache_info()[:2] == (3, 5)
    assert squares.of([]) == []


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_size_of_batches_does_not_count(cache: Cache, size: int) -> None:
    """Entries are the same whatever went together; each batch has at most so many items."""
    squares = Squares(cache, max_batch=size)
    assert squares.of([1, 2, 3, 4, 5]) == [1, 4, 9, 16, 25]
    assert max(map(len, squares.calls)) == size
    again = Squares(cache, max_batch=7)
    assert again.of([5, 4, 3, 2, 1, 6]) == [25, 16, 9, 4, 1, 36]
    assert again.calls == [[6]]


def test_kinds_of_containers(cache: Cache) -> None:
    """Tuples, arrays and dicts come back as the function returns them, and are not mixed up."""
    squares = Squares(cache)
    for _ in range(2):
        assert squares.of((1, 2)) == (1, 4)
        assert squares.of([1, 2]) == [1, 4]
        assert squares.of({"a": 1, "b": 3}) == {"a": 1, "b": 9}
        found = squares.of(np.array([[1.0, 2.0], [3.0, 4.0]]))
        assert (found == [[1.0, 4.0], [9.0, 16.0]]).all()
        assert squares.of(np.array([2, 3], dtype="i2")).dtype == np.dtype("i2")
    assert len(squares.calls) == 5
    assert squares.of({"b": 1, "a": 1}) == {"b": 1, "a": 1}
    assert squares.calls[-1] == [("b", 1)]


def test_results_are_objects_of_their_own(cache: Cache) -> None:
    """An item that is asked for twice has two results, which may be changed."""

    @cache.batch(over="numbers")
    def lists(numbers: list[int]) -> list[list[int]]:
        return [[n] for n in numbers]

    first, second = lists([1, 1])
    assert first == second == [1]
    assert first is not second
    first.append(2)
    assert lists([1]) == [[1]]


def test_an_interrupt_keeps_earlier_batches(cache: Cache) -> None:
    """What was computed before is stored, and the exception passes as it is."""

    @cache.batch(over="numbers", max_batch=2)
    def same(numbers: list[int]) -> list[int]:
        if 5 in numbers:
            raise KeyboardInterrupt("five")
        return numbers

    with pytest.raises(KeyboardInterrupt, match="five"):
        same([1, 2, 3, 5, 6])
    assert [same.of_one.exists(n) for n in (1, 2, 3, 5, 6)] == [True, True, False, False, False]


ODD = {"too few": [1], "too many": [1, 2, 3, 4], "nothing": None, "a generator": iter("ab"), "a dict": {"a": 1}}


@pytest.mark.parametrize("returned", ODD.values(), ids=ODD)
def test_odd_results_are_returned_and_not_stored(cache: Cache, returned: Any) -> None:
    """A result that is none for each item reaches the caller, with one warning."""

    @cache.batch(over="numbers", ignore=["returned"])
    def odd(numbers: list[int], returned: Any) -> Any:
        return returned if 7 in numbers else numbers

    assert odd([1], None) == [1]
    with pytest.warns(PcacheWarning, match="and not a list, a tuple, an array or a dict with a result for each item"):
        assert odd([7, 8], returned) is returned
    assert odd([1, 7, 8], returned) is returned
    assert not odd.of_one.exists(7, None)


def test_other_containers_pass(cache: Cache) -> None:
    """What cannot be taken apart is computed without the cache, with one warning."""
    squares = Squares(cache)
    with pytest.warns(PcacheWarning, match="numbers takes a list, a tuple, an array or a dict, not"):
        assert squares.of({3, 1}) == {9, 1}
    assert len(squares.calls) == 1


def test_items_without_a_key(cache: Cache) -> None:
    """An item that has no key raises as an argument would, or is computed among the others."""
    lock = threading.Lock()
    with pytest.raises(UnhashableArgument):
        Squares(cache).of([1, lock])

    @cache.batch(over="things", unhashable="compute")
    def kinds(things: list[Any]) -> list[str]:
        return [type(thing).__name__ for thing in things]

    assert kinds([1, lock, 2, lock]) == ["int", "lock", "int", "lock"]
    assert kinds.of_one.exists(2)


def test_modes(cache: Cache) -> None:
    """`disabled` and `refreshing` concern all items."""
    squares = Squares(cache)
    squares.of([1, 2])
    with disabled():
        assert squares.of([2, 3]) == [4, 9]
    with refreshing():
        assert squares.of([1, 2]) == [1, 4]
    assert squares.calls == [[1, 2], [2, 3], [1, 2]]
    assert not squares.function.of_one.exists(3, [])


def test_methods_take_batches(cache: Cache) -> None:
    """A batch method's instance counts for the key."""

    class Model:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @cache.batch(over="numbers")
        def scaled(self, numbers: list[int]) -> list[int]:
            return [self.factor * n for n in numbers]

    assert Model(2).scaled([1, 2]) == [2, 4]
    assert Model(3).scaled(numbers=[2, 3]) == [6, 9]


def test_others_are_waited_for_last(cache: Cache) -> None:
    """Items that another thread computes are neither computed twice nor keep others from being stored."""
    began, go_on, calls = threading.Event(), threading.Event(), []

    @cache.batch(over="numbers", ignore=["who"], max_batch=2)
    def same(numbers: list[int], who: str) -> list[int]:
        calls.append((who, numbers))
        if who == "other":
            began.set()
            assert go_on.wait(30)
        elif 5 in numbers:
            go_on.set()
        return numbers

    thread = threading.Thread(target=same, args=([2, 3], "other"))
    thread.start()
    assert began.wait(30)
    assert same([1, 2, 3, 4, 5], "main") == [1, 2, 3, 4, 5]
    thread.join()
    assert sorted(n for _, numbers in calls for n in numbers) == [1, 2, 3, 4, 5]


def test_a_batch_inside_of_itself(cache: Cache) -> None:
    """A function that asks for its own item while it computes it gets it computed, and nothing waits for itself."""

    @cache.batch(over="numbers")
    def deep(numbers: list[int], levels: int = 3) -> list[int]:
        return deep(numbers, levels - 1) if levels else numbers

    @cache.batch(over="numbers", ignore=["inside"])
    def itself(numbers: list[int], inside: bool = False) -> list[int]:
        return numbers if inside else itself(numbers, inside=True)

    assert deep([1, 2]) == [1, 2]
    assert itself([1, 2]) == [1, 2]


def test_what_was_stored_meanwhile_is_not_computed_again(cache: Cache) -> None:
    """A batch's items are looked up once more under their claims: other calls may have stored them by then."""
    computed: list[list[int]] = []

    @cache.batch(over="numbers", ignore=["inside"], max_batch=1)
    def squares(numbers: list[int], inside: bool = False) -> list[int]:
        computed.append(numbers)
        if numbers == [1] and not inside:
            assert squares([2, 3], inside=True) == [4, 9]
        return [n * n for n in numbers]

    assert squares([1, 2, 3, 4]) == [1, 4, 9, 16]
    assert computed == [[1], [2], [3], [4]]
    assert squares.of_one.cache_info()[:2] == (2, 4)
    with refreshing():
        assert squares([1, 2]) == [1, 4]
    assert computed[4:] == [[1], [2], [3]]


def test_processes_share_items(tmp_path: Path) -> None:
    """Another process finds the items that one has stored."""
    program = """
    import sys
    from pcache import Cache
    cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
    @cache.batch(over="words")
    def lengths(words):
        print("computing", *words)
        return [len(word) for word in words]
    print(*lengths(sys.argv[2:]))
    """
    script = write(tmp_path / "program.py", program)
    assert run(script, tmp_path / "cache", "a", "bb") == ["computing a bb", "1 2"]
    assert run(script, tmp_path / "cache", "bb", "ccc") == ["computing ccc", "2 3"]


def test_methods_of_one_item(cache: Cache) -> None:
    """`of_one` looks up, forgets and explains single items."""
    squares = Squares(cache)
    squares.of([4])
    one = squares.function.of_one
    assert one.get(4, [])[1] == 16
    assert one.invalidate(4, [])
    with pytest.raises(Miss):
        one.get(4, [])


WRONG: dict[str, dict[str, Any]] = {
    "batch takes over='PARAMETER'": {"over": 3},
    "over= names 'word', which is no parameter of .*lengths that counts for its key": {"over": "word"},
    "over= names 'more', which is no parameter": {"over": "more"},
    "max_batch= takes a number of items from 1 to 256, not 0": {"over": "words", "max_batch": 0},
    "max_batch= takes a number of items from 1 to 256, not 1000": {"over": "words", "max_batch": 1000},
    "cached has no option 'tll'": {"over": "words", "tll": 3},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options(cache: Cache, message: str) -> None:
    """Each is one sentence, at decoration."""

    def lengths(words: list[str], *more: str) -> list[int]:
        return [len(word) for word in words]

    with pytest.raises(ConfigError, match=message):
        cache.batch(**WRONG[message])(lengths)


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_class_and_static_methods(cache: Cache, kind: Any) -> None:
    """A batch stands below what makes them, and says so where it does not."""

    def lengths(*arguments: Any) -> list[int]:
        raise AssertionError("never called")

    with pytest.raises(ConfigError, match=f"belongs below @{kind.__name__}, not above it"):
        cache.batch(over="words")(kind(lengths))

    class Words:
        @staticmethod
        @cache.batch(over="words")
        def static(words: list[str]) -> list[int]:
            return [len(word) for word in words]

        @classmethod
        @cache.batch(over="words")
        def of_class(cls, words: list[str]) -> list[str]:
            return [cls.__name__ + word for word in words]

    for _ in range(2):
        assert Words.static(["a", "bb"]) == [1, 2]
        assert Words().of_class(["a"]) == ["Wordsa"]
