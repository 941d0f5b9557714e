"""The first use of a class changes it: Python notes in it what pickling found. Results are stored all the same."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
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
