"""Only type-checked: what `cached` makes of methods."""

from __future__ import annotations

from typing import Any, assert_type

from pcache import Cache, CachedFunction, cached
from pcache.method import CachedMethod

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

    @classmethod
    @cached
    def made(cls, n: int) -> str:
        return cls.__name__ * n

    @property
    @cached
    def summary(self) -> str:
        return str(self.rate)


class Child(Model):
    def more(self) -> list[float]:
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


def known_limits_of_mypy() -> None:
    """Right at run time: mypy binds a static method that has a `__get__`, and does not bind such a class method."""
    model.static(3)  # type: ignore[call-arg]
    Model.made(3)  # type: ignore[call-arg, arg-type]


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
