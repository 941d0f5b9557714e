"""Objects of other people's, in every place where a function can meet one, are looked at and never asked."""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache import Cache, PcacheWarning, UnhashableArgument
from tests.foreign import ASKED, KINDS
from tests.processes import KEY


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's, with the functions of a text."""
    module = ModuleType("foreign_user")
    monkeypatch.setitem(sys.modules, "foreign_user", module)
    exec(compile(PROGRAM, "/nowhere/foreign_user.py", "exec"), vars(module))
    return module


PROGRAM = """
THING = TABLE = HOLDER = other = None

class Holder:
    pass

def reads(n):
    if n < 0:
        return THING, THING.value, THING(n), TABLE["thing"], HOLDER.thing, other.THING, other.THING.value
    return n + 1

def helper(n):
    return reads(n)

def helped(n):
    return helper(n)

def taken(thing):
    return 1

def also(n, *things, **named):
    return n + 1

def inside(n):
    if n < 0:
        return Below, Below.member
    return n + 1

def reflects(n):
    if n < 0:
        return getattr(THING, "value"), THING.__doc__, THING.__annotations__, THING.__subclasses__()
    return n + 1
"""


def place_global(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    user.THING = thing
    yield user.reads, (1,)
    yield user.reflects, (1,)


def place_table(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    user.TABLE = {"thing": thing, "list": [thing]}
    yield user.helped, (1,)


def place_attribute(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    user.HOLDER = user.Holder()
    user.HOLDER.thing = thing
    yield user.helped, (1,)


def place_module(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    user.other = ModuleType("foreign_other")
    user.other.THING = thing
    yield user.reads, (1,)


def place_default(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    def given(n: int, value: Any = thing, *, named: Any = thing) -> int:
        return n + 1

    yield given, (1, None)
    user.THING = given
    yield user.reads, (1,)


def place_default_left_out(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    def given(n: int, value: Any = thing) -> int:
        return n + 1

    yield given, (1,)


def place_cell(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    def holding(n: int) -> Any:
        return thing if n < 0 else n + 1

    yield holding, (1,)
    user.THING = holding
    yield user.reads, (1,)


def place_argument(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    yield user.taken, (thing,)
    yield user.also, (1, [thing], {"a": (thing,)})


def place_member(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    user.Below = type("Below", (), {"member": 1, "__module__": "foreign_user"})
    try:
        user.Below.member = thing
    except Exception:  # `__set_name__` and the like are Python's to ask
        return
    yield user.inside, (1,)
    yield user.taken, (user.Below,)
    yield user.taken, (user.Below(),)


def place_base(user: ModuleType, thing: Any) -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
    base = thing if issubclass(type(thing), type) else type(thing)
    try:
        user.Below = types.new_class("Below", (base,), {}, lambda names: names.update(__module__="foreign_user"))
    except Exception:  # it may be no base
        return
    yield user.inside, (1,)
    yield user.taken, (user.Below,)
    try:
        made = user.Below()
    except BaseException:
        return
    yield user.taken, (made,)


PLACES = {name.removeprefix("place_"): place for name, place in list(globals().items()) if name.startswith("place_")}
# What pickle asks an object for that it comes to: a part of one, where it gives up before.
PICKLING = set("__reduce_ex__ __reduce__ __getstate__ __class__ __pcache_key__ copyreg".split())
KEYLESS = {"argument", "base", "member", "default", "default_left_out"}  # where it is an argument, or inside of one


def asked_by(work: Callable[[], object]) -> set[str]:
    """What objects were asked for by something that may fail."""
    ASKED.clear()
    with contextlib.suppress(BaseException):
        work()
    return set(ASKED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_calls_with_foreign_objects(cache: Cache, user: ModuleType, kind: str, place: str) -> None:
    """The call returns what the function returns, with at most one warning; only what pickle asks for is asked for."""
    thing = KINDS[kind]()
    pickling = asked_by(lambda: pickle.dumps(thing, 5))
    for function, arguments in PLACES[place](user, thing):
        pickling |= asked_by(lambda: pickle.dumps(arguments, 5))  # noqa: B023 - called at once
        cached = cache.cached(function)
        ASKED.clear()
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            for _ in range(2):
                try:
                    result = cached(*arguments)
                except UnhashableArgument as error:
                    result = function(*arguments) if place in KEYLESS and len(str(error)) < 1000 else error
                assert result == (1 if function is user.taken else 2)
        assert {one for one in set(ASKED) - pickling if one.split()[-1] not in PICKLING} == set()
        said = [str(one.message) for one in given if issubclass(one.category, PcacheWarning)]
        assert len(said) <= 1
        assert all(len(text) < 1000 for text in said)
