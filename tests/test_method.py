"""Cached functions in class bodies: methods of all kinds, keyed on the state of the instance they are called on."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import pickle
import threading
from typing import Any

import pytest

from pcache import Cache, Miss, UnhashableArgument


@pytest.fixture
def classes(cache: Cache) -> Any:
    """Classes whose cached methods return random bytes, so that equal results are one computation."""

    class Model:
        """State in attributes."""

        def __init__(self, rate: float = 0.5) -> None:
            self.rate = rate

        @cache.cached
        def fit(self, n: int = 0) -> bytes:
            """Fit it."""
            return os.urandom(8)

        @classmethod
        @cache.cached
        def made_inside(cls, n: int) -> tuple[str, bytes]:
            return cls.__name__, os.urandom(8)

        @cache.cached
        @classmethod
        def made_outside(cls, n: int) -> tuple[str, bytes]:
            return cls.__name__, os.urandom(8)

        @staticmethod
        @cache.cached
        def static_inside(n: int) -> bytes:
            return os.urandom(8)

        @cache.cached
        @staticmethod
        def static_outside(n: int) -> bytes:
            return os.urandom(8)

        @property
        @cache.cached
        def summary(self) -> bytes:
            return os.urandom(8)

        @functools.cached_property
        @cache.cached
        def once(self) -> bytes:
            return os.urandom(8)

    class Child(Model):
        def fit_too(self) -> bytes:
            return super().fit(1)

    class Slotted:
        __slots__ = ("rate",)

        def __init__(self, rate: float) -> None:
            self.rate = rate

        @cache.cached
        def fit(self, n: int = 0) -> bytes:
            return os.urandom(8)

    @dataclasses.dataclass(frozen=True, slots=True)
    class Frozen:
        rate: float

        @cache.cached
        def fit(self, n: int = 0) -> bytes:
            return os.urandom(8)

    class Namespace:
        pass

    for cls in (Model, Child, Slotted, Frozen):
        setattr(Namespace, cls.__name__, cls)
    return Namespace


@pytest.mark.parametrize("name", ["Model", "Slotted", "Frozen", "Child"])
def test_instances_of_equal_state_share_results(classes: Any, name: str) -> None:
    """A method's key is the state of its instance: equal ones share, others do not."""
    cls = getattr(classes, name)
    one, twin, other = cls(0.5), cls(0.5), cls(0.7)
    assert one.fit(1) == twin.fit(1) == one.fit(n=1) == cls.fit(one, 1)
    assert other.fit(1) != one.fit(1) != one.fit(2)


def test_a_changed_attribute_misses(classes: Any) -> None:
    """Changing, adding or deleting an attribute leads to another result, changing it back to the old one."""
    model = classes.Model(0.5)
    results = [model.fit()]
    for name, value in (("rate", 0.7), ("depth", 3), ("rate", 0.5)):
        setattr(model, name, value)
        results.append(model.fit())
    assert len(set(results)) == 4
    del model.depth
    assert model.fit() == results[0]


def test_state_deep_inside_counts(classes: Any) -> None:
    """A change in an object that the instance holds is a change of its state."""
    model = classes.Model({"rates": [0.1, 0.2]})
    first = model.fit()
    model.rate["rates"].append(0.3)
    assert model.fit() != first
    model.rate["rates"].pop()
    assert model.fit() == first


def test_own_idea_of_state(cache: Cache) -> None:
    """`__getstate__` decides what an instance is to pickle, and with it what counts."""

    class Session:
        def __init__(self, name: str) -> None:
            self.name = name
            self.lock = threading.Lock()

        def __getstate__(self) -> dict[str, str]:
            return {"name": self.name}

        @cache.cached
        def load(self, n: int) -> bytes:
            return os.urandom(8)

    assert Session("a").load(1) == Session("a").load(1) != Session("b").load(1)


def test_an_instance_without_a_key(cache: Cache) -> None:
    """An instance that cannot be pickled raises an error that names `self` and the attribute."""

    class Session:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        @cache.cached
        def load(self, n: int) -> bytes:
            return os.urandom(8)

        @cache.cached(ignore=["self"])
        def load_any(self, n: int) -> bytes:
            return os.urandom(8)

    with pytest.raises(UnhashableArgument, match=r"self\.lock is a lock") as caught:
        Session().load(1)
    assert (caught.value.parameter, caught.value.path) == ("self", "self.lock")
    assert Session().load_any(1) == Session().load_any(1) != Session().load_any(2)


def test_a_method_may_change_its_instance(cache: Cache) -> None:
    """The key is made of the state before the call, so that a method that notes something in itself hits."""

    class Counter:
        def __init__(self) -> None:
            self.calls = 0

        @cache.cached
        def count(self) -> bytes:
            self.calls += 1
            return os.urandom(8)

    assert Counter().count() == Counter().count()


def test_subclasses_have_results_of_their_own(classes: Any) -> None:
    """An instance of a subclass is another argument, as it may behave differently; `super()` reaches the parent's."""
    parent, child = classes.Model(0.5), classes.Child(0.5)
    assert child.fit(1) != parent.fit(1)
    assert child.fit_too() == child.fit(1)
    assert isinstance(classes.Child.fit, type(classes.Model.fit))


def test_overriding_methods_do_not_mix(cache: Cache) -> None:
    """A method and the one that overrides it have different results for the same instance."""

    class Base:
        @cache.cached
        def size(self) -> int:
            return 1

    class Derived(Base):
        @cache.cached
        def size(self) -> int:
            return super().size() + 1

    assert Derived().size() == Derived().size() == 2
    assert Base().size() == 1
    assert Base.size(Derived()) == 1


@pytest.mark.parametrize("name", ["made_inside", "made_outside"])
def test_class_methods(classes: Any, name: str) -> None:
    """Class methods are keyed on the class, in either order of the decorators, and called through instances too."""
    on_parent, on_child = getattr(classes.Model, name), getattr(classes.Child, name)
    assert on_parent(1) == on_parent(n=1) == getattr(classes.Model(3), name)(1)
    assert on_parent(1)[0] == "Model"
    assert on_child(1)[0] == "Child"
    assert on_parent(2) != on_parent(1)


@pytest.mark.parametrize("name", ["static_inside", "static_outside"])
def test_static_methods(classes: Any, name: str) -> None:
    """Static methods are cached functions, in either order of the decorators."""
    function = getattr(classes.Model, name)
    assert function(1) == function(n=1) == getattr(classes.Model(), name)(1) != function(2)
    assert function.get(1) == function(1)


def test_properties(classes: Any) -> None:
    """A cached property is keyed on the state of its instance; functools' one asks the disk once per instance."""
    one, twin, other = classes.Model(0.5), classes.Model(0.5), classes.Model(0.7)
    assert one.summary == twin.summary != other.summary
    assert classes.Model.summary.fget.get(one) == one.summary
    assert one.once == one.once == twin.once != other.once
    assert classes.Model.summary.fget.name.endswith("Model.summary")
    assert classes.Model.once.func.name.endswith("Model.once")


def test_bound_methods_have_the_calls_of_a_cached_function(classes: Any) -> None:
    """`key`, `get`, `put` and the like take the arguments of the bound call."""
    bound = classes.Model(0.5).fit
    with pytest.raises(Miss, match="absent"):
        bound.get(1)
    stored = bound(1)
    assert bound.get(1) == bound.get(n=1) == stored
    assert bound.exists(1)
    assert bound.refresh(1) != stored
    assert bound.put(b"given", 1) is True
    assert bound(1) == b"given"
    assert bound.key(1) == classes.Model.fit.key(classes.Model(0.5), 1) != bound.key(2)
    assert bound.invalidate(1) is True
    assert not bound.exists(1)
    assert bound.cache_info()[:2] == (1, 2)
    assert bound.cache_parameters()["ttl"] is None
    bound.cache_clear()
    assert bound.cache_info() == (0, 0, None, 0)


@pytest.mark.parametrize("name", ["made_outside", "static_inside", "static_outside"])
def test_class_and_static_methods_have_them_too(classes: Any, name: str) -> None:
    """The calls of a cached function are there on class methods (with `cached` outermost) and static methods."""
    bound = getattr(classes.Model, name)
    assert not bound.exists(1)
    assert bound(1) == bound.get(1)
    assert len(bound.key(1)) == 40
    assert bound.invalidate(1) is True


def test_a_bound_method_looks_like_one(classes: Any) -> None:
    """Name, docstring and signature are those of the plain bound method."""
    model = classes.Model()
    plain = classes.Model.fit.__wrapped__.__get__(model)
    assert (model.fit.__name__, model.fit.__doc__) == ("fit", "Fit it.")
    assert inspect.signature(model.fit) == inspect.signature(plain)
    assert model.fit.__self__ is model
    assert "fit" in repr(model.fit)


def test_bound_methods_are_equal_as_plain_ones_are(cache: Cache) -> None:
    """Two bound methods are equal if they are the same function on the same object, and then have equal hashes."""

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int

        @cache.cached
        def norm(self) -> int:
            return abs(self.x)

        def plain(self) -> int:
            return abs(self.x)

    one, twin = Point(1), Point(1)
    assert one == twin
    assert one.norm == one.norm
    assert (one.norm == twin.norm) is (one.plain == twin.plain)
    assert len({one.norm, one.norm, twin.norm}) == len({one.plain, one.plain, twin.plain})


def test_other_attributes_fail_as_usual(classes: Any) -> None:
    """An attribute that neither the method nor its function has raises AttributeError."""
    with pytest.raises(AttributeError, match="nonsense"):
        classes.Model().fit.nonsense  # noqa: B018 - the access is the test


def test_a_bound_method_as_an_argument(classes: Any, cache: Cache) -> None:
    """A bound cached method is an argument like any other: keyed on its function and the state of its instance."""

    @cache.cached
    def apply(method: Any) -> bytes:
        return b"" + method(1)

    assert apply(classes.Model(0.5).fit) == apply(classes.Model(0.5).fit) == classes.Model(0.5).fit(1)
    assert apply(classes.Model(0.7).fit) != apply(classes.Model(0.5).fit)


class Sensor:
    """At the top of the module, so that plain pickle finds it by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, n: int) -> tuple[str, int]:
        return self.name, n


def test_bound_methods_can_be_pickled(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound cached method travels with its instance."""
    monkeypatch.setattr(Sensor, "read", cache.cached(Sensor.read))
    bound = Sensor("a").read
    again = pickle.loads(pickle.dumps(bound))
    assert again(1) == bound(1) == ("a", 1)
    assert again.__func__ is bound.__func__
    assert bound.cache_info()[:2] == (1, 1)
