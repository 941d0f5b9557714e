"""What is said of arguments: a function that changes one is told of, once, and its result is stored."""

from __future__ import annotations

import collections
import random
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pcache import Cache, ChangedArgumentWarning
from tests.key_values import evaluate, golden, seed_values


class Model:
    """An object with state."""

    def __init__(self) -> None:
        self.weights = [0.0]

    def fit(self) -> None:
        self.weights.append(1.0)


class Slotted:
    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = 0


# How a value is made, and changed.
CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "generator": (lambda: np.random.default_rng(0), lambda rng: rng.random()),
    "legacy generator": (lambda: np.random.RandomState(0), lambda rng: rng.random()),
    "random.Random": (lambda: random.Random(0), lambda rng: rng.random()),
    "list": (list, lambda items: items.append(1)),
    "nested": (lambda: {"a": [{}]}, lambda items: items["a"][0].update(b=1)),
    "set": (set, lambda items: items.add(1)),
    "list in a tuple": (lambda: (1, []), lambda items: items[1].append(1)),
    "bytearray": (bytearray, lambda data: data.extend(b"x")),
    "deque": (lambda: collections.deque([1, 2]), lambda items: items.rotate()),
    "order of a dict": (lambda: collections.OrderedDict(a=1, b=2), lambda items: items.move_to_end("a")),
    "object": (Model, lambda model: model.fit()),
    "slots": (Slotted, lambda item: setattr(item, "state", 1)),
    "array": (lambda: np.zeros(9), lambda values: values.fill(1)),
    "array in a list": (lambda: [np.zeros(9)], lambda values: values[0].fill(1)),
    "part of an array": (lambda: np.zeros(9)[::2], lambda values: values.fill(1)),
    "array of objects": (lambda: np.array([[1], 2], dtype=object), lambda values: values[0].append(1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_arguments_are_told_of_once(cache: Cache, name: str) -> None:
    """One warning names the parameter; the result is that of the value before, and is found for an equal one."""
    make, change = CHANGES[name]
    runs = []

    @cache.cached
    def use(n: int, thing: Any) -> int:
        runs.append(change(thing))
        return n

    with pytest.warns(ChangedArgumentWarning, match="argument 'thing', a") as caught:
        assert [use(n, make()) for n in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert len(caught) == 1
    assert len(runs) == 2


@pytest.mark.filterwarnings("error")
def test_values_that_are_only_looked_at(cache: Cache) -> None:
    """Nothing is said of a value of any type that stays as it is."""
    values = {**seed_values(), **{name: evaluate(name) for name in golden()}}

    @cache.cached
    def use(thing: Any, *more: Any, **options: Any) -> int:
        return 1

    for value in values.values():
        assert use(value, [value], option=[value]) == 1


def test_pandas_objects(cache: Cache) -> None:
    """A column that is added to a frame, or a cell that is set, is a change."""
    pandas = pytest.importorskip("pandas", reason="its frames are what is changed")

    @cache.cached
    def add(frame: Any) -> None:
        frame["b"] = 1

    @cache.cached
    def put(series: Any) -> None:
        series.iloc[0] = 7

    with pytest.warns(ChangedArgumentWarning, match="'frame', a DataFrame"):
        add(pandas.DataFrame({"a": [1]}))
    with pytest.warns(ChangedArgumentWarning, match="'series', a Series"):
        put(pandas.Series([1]))


@pytest.mark.parametrize("how", ["*rest", "**options", "self"])
def test_each_kind_of_parameter(cache: Cache, how: str) -> None:
    """What `*args` and `**kwargs` collect, and the instance of a method, count as any other."""

    class Thing:
        @cache.cached
        def use(self, *rest: Any, **options: Any) -> None:
            if how == "self":
                self.state = 1
            for items in (*rest, *options.values()):
                items.append(1)

    with pytest.warns(ChangedArgumentWarning, match=f"argument '{how.strip('*')}'"):
        Thing().use(*[[]] * (how == "*rest"), **{"option": []} if how == "**options" else {})


@pytest.mark.filterwarnings("error")
def test_what_is_not_part_of_the_key(cache: Cache) -> None:
    """An argument that is ignored, or that a key function stands for, may be changed."""

    @cache.cached(ignore=["log"], key={"model": lambda model: "one model"})
    def use(log: list[int], model: Model) -> int:
        log.append(1)
        model.fit()
        return len(log)

    assert use([], Model()) == 1


def test_large_values_are_not_read_again(cache: Cache) -> None:
    """What takes long to read is looked at again only where that is a small part of the run."""

    @cache.cached
    def use(values: Any, pause: float) -> None:
        values[0] = 1
        time.sleep(pause)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use(np.zeros(1 << 20), 0)
    with pytest.warns(ChangedArgumentWarning, match="'values'"):
        use(np.zeros(1 << 15), 0.02)  # 256 KiB


def test_deep_recursion_tells_too(cache: Cache) -> None:
    """Calls far inside of each other are looked at as any other."""

    @cache.cached
    def use(n: int, items: list[int]) -> int:
        if n == 0:
            items.append(1)
            return 0
        return use(n - 1, [n]) + 1

    with pytest.warns(ChangedArgumentWarning, match="'items'"):
        assert use(30, []) == 30


def test_functions_of_packages_may_change_what_they_are_given(cache: Cache) -> None:
    """Whoever wrote the program can do nothing about it, and its author knows."""
    shuffled = cache.cached(random.shuffle)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shuffled(list(range(50))) is None
