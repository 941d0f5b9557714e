"""The first use of a class changes it: Python notes in it what pickling found. Results are stored all the same."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache import Cache, StoreWarning
from tests.support.processes import KEY

T = typing.TypeVar("T")


def classes() -> dict[str, tuple[type, Callable[[], Any]]]:
    """Classes that nobody has used yet, each with what makes an object of it."""

    class Plain:
        def __init__(self) -> None:
            self.n = 1

    class Slots:
        __slots__ = ("n",)

    @dataclasses.dataclass
    class Data:
        n: int = 1

    class Named(typing.NamedTuple):
        n: int = 1

    class Colour(enum.Enum):
        RED = 1

    class Flag(enum.Flag):
        A = 1
        B = 2

    class Generic(typing.Generic[T]):
        n = 1

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def run(self) -> int: ...

    class Below(Abstract):
        def run(self) -> int:
            return 1

    @typing.runtime_checkable
    class Structure(typing.Protocol):
        def run(self) -> int: ...

    class Lazy:
        @functools.cached_property
        def parts(self) -> list[int]:
            return [1]

    class OfDict(dict[str, int]):
        pass

    class Metaclass(type):
        pass

    class OfMetaclass(metaclass=Metaclass):
        pass

    class Counting:
        made = 0

        def __init__(self) -> None:
            Counting.made += 1

    class Sized(Plain, collections.abc.Sized):
        def __len__(self) -> int:
            return 1

    class Dispatching:
        @functools.singledispatchmethod
        def of(self, what: object) -> object:
            return what

    made = (Plain, Slots, Data, Named, Generic, Lazy, OfDict, OfMetaclass, Counting, Sized, Dispatching)
    return {
        **{cls.__name__: (cls, cls) for cls in made},
        "Enum": (Colour, lambda: Colour.RED),
        "Flag": (Flag, lambda: Flag.A | Flag.B),
        "Abstract": (Abstract, Below),
        "Protocol": (Structure, Below),
    }


SOURCE = """
def known(value):
    return isinstance(value, Class)
def mentioned(value):
    return Class is not None and make is not None
def made(value):
    return make() is not None
"""


@pytest.mark.parametrize("does", ["known", "mentioned", "made"])
@pytest.mark.parametrize("kind", classes())
def test_the_first_call_is_stored(tmp_path: Path, kind: str, does: str) -> None:
    """Of a function that names the class of its argument, which is then pickled for the first time, too."""
    namespace: dict[str, Any] = {"__name__": "jobs"}
    namespace["Class"], namespace["make"] = classes()[kind]
    exec(SOURCE, namespace)
    cached = Cache(tmp_path / "cache", signing_key=KEY).cached(namespace[does])
    value = 1 if does == "made" else namespace["make"]()
    cached(value)
    assert cached.exists(value)


class Rebinding:
    """What is written to rebinds a global of a module."""

    def __init__(self, module: ModuleType, value: object) -> None:
        self._module, self._value = module, value

    def write(self, text: str) -> int:
        vars(self._module)["TABLE"] = self._value
        return len(text)


@pytest.mark.parametrize(("value", "stored"), [({"a": [1, 2]}, True), ({"a": [1, 3]}, False), (None, False)])
def test_what_says_the_same_after_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, stored: bool
) -> None:
    """Where another object stands than before, a new look decides whether it is the code that the key is of."""
    module = ModuleType("rebinding")
    exec(
        "TABLE = {'a': [1, 2]}\ndef first(n):\n    found = TABLE['a'][0]\n    print(n)\n    return found", vars(module)
    )
    cached = Cache(tmp_path / "cache", signing_key=KEY).cached(vars(module)["first"])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Rebinding(module, value))
        cached(1)
    assert len(list(cached._flow.store.scan())) == stored
    assert cached.exists(1) == stored


def test_a_dear_result_that_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning names what changed meanwhile, and `stats` counts each; what is cheap is told in the log alone."""
    module = ModuleType("rebinding")
    source = "TABLE = {'a': 1}\ndef first(seconds):\n    time.sleep(seconds)\n    print(TABLE['a'])\n    return 1"
    exec(f"import time\n{source}", vars(module))
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached = cache.cached(vars(module)["first"])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Rebinding(module, {"a": 2}))
        cached(0.0)
        patch.setattr(sys, "stdout", Rebinding(module, {"a": 3}))
        with pytest.warns(
            StoreWarning, match=r"first, which took 1.* s, is not stored: constant rebinding:TABLE changed"
        ):
            cached(1.0)
    assert cache.stats().errors_by_kind == {"changed": 2}
    assert cache.stats().entries == 0
