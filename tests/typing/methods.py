"""Only type-checked: what `cached` makes of methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, assert_type

from pcache import Cache, CachedFunction, cached
from pcache.method import CachedMethod

MYPY = False  # a name that mypy takes for true
T = TypeVar("T")
cache = Cache()


class Model:
    rate = 0.5

    @cached
    def fit(self, n: int, *, deep: bool = False) -> list[float]:
        return [self.rate] * n

    @cache.cached(ttl="1h", ignore=["self"])
    def name(self) -> str:
        return type(self).__name__

    @staticmethod
    @cached
    def static(n: int) -> bytes:
        return bytes(n)

    @cached
    @staticmethod
    def static_below(n: int) -> bytes:
        return bytes(n)

    @staticmethod
    @cached(ttl="1h")
    def static_of_nothing() -> bytes:
        return b""

    @staticmethod
    @cached
    def static_of_a_class(kind: type[int], n: int) -> bytes:
        return bytes(kind(n))

    @classmethod
    @cached
    def made(cls, n: int) -> str:
        return cls.__name__ * n

    @cached
    @classmethod
    def made_below(cls, n: int, *, deep: bool = False) -> str:
        return cls.__name__ * n

    @classmethod
    @cache.cached(version=2)
    def made_with_options(cls, n: int) -> str:
        return cls.__name__ * n

    @cached
    def twice(self, value: T) -> list[T]:
        return [value, value]

    @cached
    async def waited_for(self, n: int) -> str:
        return str(n)

    @property
    @cached
    def summary(self) -> str:
        return str(self.rate)


class Child(Model):
    def more(self) -> list[float]:
        self.static(3)
        self.made(3)
        return super().fit(3)


model = Model()


def bound() -> None:
    """A bound method takes what is left without `self`."""
    assert_type(model.fit(1), list[float])
    assert_type(model.fit(1, deep=True), list[float])
    assert_type(model.name(), str)
    assert_type(Child().fit(1), list[float])
    assert_type(Model.static(3), bytes)
    assert_type(model.summary, str)
    model.fit("x")  # type: ignore[arg-type]
    model.fit()  # type: ignore[call-arg]
    model.fit(1, deeper=True)  # type: ignore[call-arg]
    model.name(1)  # type: ignore[call-arg]


def class_methods() -> None:
    """In either order of the decorators they take what is left without the class, on it and on instances."""
    assert_type(Model.made(3), str)
    assert_type(Child.made(3), str)
    assert_type(model.made(3), str)
    assert_type(Model.made_below(3, deep=True), str)
    assert_type(Child().made_below(n=3), str)
    assert_type(Model.made_with_options(3), str)
    assert_type(model.made_with_options(3), str)
    assert_type(Model.made.get(3), str)
    assert_type(Model.made_below.put("x", 3, deep=True), bool)
    Model.made("x")  # type: ignore[arg-type]
    Model.made(Model, 3)  # type: ignore[call-arg, arg-type]
    model.made_below(3, deeper=True)  # type: ignore[call-arg]
    Model.made_with_options.key()  # type: ignore[call-arg]
    keeps: Callable[[int], str] = Model.made
    keeps(3)


def static_methods() -> None:
    """In either order they are cached functions, on the class and on instances."""
    assert_type(Model.static(3), bytes)
    assert_type(model.static(n=3), bytes)
    assert_type(Model.static_below(3), bytes)
    assert_type(Child().static_below(3), bytes)
    assert_type(model.static_of_nothing(), bytes)
    assert_type(Model.static_of_a_class(int, n=3), bytes)
    assert_type(model.static_of_a_class(bool, 3), bytes)
    assert_type(model.static.get(3), bytes)
    Model.static("x")  # type: ignore[arg-type]
    model.static()  # type: ignore[call-arg]
    model.static_of_nothing(1)  # type: ignore[call-arg]
    function: CachedFunction[[int], bytes] = model.static
    function(3)


def generic_methods() -> None:
    """Bound to an instance they are known to pyright only: mypy loses what `__get__` would have to solve."""
    assert_type(Model.twice(model, 3), list[int])
    if not MYPY:
        assert_type(model.twice(3), list[int])


async def coroutines() -> None:
    assert_type(await model.waited_for(3), str)
    await model.waited_for("x")  # type: ignore[arg-type]


def names() -> None:
    """What methods are called, and what lies below, is known."""
    assert_type(model.fit.__name__, str)
    assert_type(model.fit.__qualname__, str)
    assert_type(model.fit.__module__, str)
    assert_type(model.fit.__doc__, str | None)
    assert_type(Model.made.__name__, str)
    assert_type(Model.fit.__wrapped__(model, 1), list[float])


def unbound() -> None:
    """On the class it is the cached function, and takes the instance."""
    assert_type(Model.fit(model, 1), list[float])
    assert_type(Model.fit.get(model, 1), list[float])
    function: CachedFunction[..., list[float]] = Model.fit
    function(model, 1)
    Model.fit(1)  # type: ignore[call-arg, arg-type]


def calls() -> None:
    """The calls of a cached function are there without `self`."""
    method: CachedMethod[..., list[float]] = model.fit
    method.key(1)
    assert_type(model.fit.key(1, deep=True), str)
    assert_type(model.fit.get(1), list[float])
    assert_type(model.fit.refresh(1), list[float])
    assert_type(model.fit.put([0.5], 1), bool)
    assert_type(model.fit.exists(1), bool)
    assert_type(model.fit.invalidate(1), bool)
    assert_type(Model.static.get(3), bytes)
    model.fit.get("x")  # type: ignore[arg-type]
    model.fit.put(["x"], 1)  # type: ignore[list-item]
    model.fit.key(1, 2)  # type: ignore[call-arg, arg-type]


def overridden(child: Child) -> Any:
    return child.more()
