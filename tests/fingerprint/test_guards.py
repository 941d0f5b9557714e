"""Whatever a version was made of is looked at again: nothing stale in this process, nothing wrong left for the next."""

from __future__ import annotations

import abc
import builtins
import functools
import math
import os
import sys
from collections import Counter, UserDict, deque
from functools import partial, singledispatch
from pathlib import Path, PosixPath
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from pcache import Cache
from tests.support.processes import run
from tests.support.running import load

if TYPE_CHECKING:
    from collections.abc import Callable


def program(text: str, tmp_path: Path, name: str = "guarded_program") -> ModuleType:
    """A module of the user's, loaded from a file."""
    (tmp_path / f"{name}.py").write_text(text)
    module: ModuleType = load(tmp_path / f"{name}.py", name)
    return module


REACHED = """
import functools
from functools import partial

def rate(): return 2
def price(n): return n * rate()
def timer(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs): return function(*args, **kwargs)
    return wrapper
class Shop:
    def __call__(self, n): return price(n)
    def sell(self, n): return price(n)
    @classmethod
    def all(cls, n): return price(n)
table = {"price": price}
holder = [lambda n: price(n)]
def looked_up(n): return table["price"](n)
def held(n): return holder[0](n)
WAYS = {
    "decorated": timer(price), "twice": timer(timer(price)), "partial": partial(price), "object": Shop(),
    "method": Shop().sell, "class method": Shop.all, "table": looked_up, "list": held,
    "partial of decorated": partial(timer(price)),
}
"""
WAYS = "decorated|twice|partial|object|method|class method|table|list|partial of decorated".split("|")


def replace_helper(module: Any) -> None:
    module.rate = eval("lambda: 1000", vars(module))


def replace_code(module: Any) -> None:
    module.rate.__code__ = (lambda: 1000).__code__


def edit_and_reload(module: Any) -> None:
    path = Path(module.__file__)
    path.write_text(path.read_text().replace("return 2", "return 1000"))
    exec(compile(path.read_text(), str(path), "exec"), vars(module))  # what `importlib.reload` does


@pytest.mark.parametrize("change", [replace_helper, replace_code])
@pytest.mark.parametrize("way", WAYS)
def test_a_helper_that_changes_is_noticed(way: str, change: Any, cache: Cache, tmp_path: Path) -> None:
    """Whichever way leads to a helper: once it is another one, calls compute, and under another version."""
    module = program(REACHED, tmp_path)
    cached = cache.cached(module.WAYS[way])
    assert (cached(1), cached(1)) == (2, 2)
    before = cached.function_id, cached.key(7)
    change(module)
    assert (cached(1), cached(7)) == (1000, 7000)
    assert cached.function_id != before[0] or cached.key(7) != before[1]


def test_a_module_that_is_loaded_again(cache: Cache, tmp_path: Path) -> None:
    """A table that the module made anew leads to new code."""
    module = program(REACHED, tmp_path)
    cached = cache.cached(module.looked_up)
    assert cached(1) == 2
    edit_and_reload(module)
    assert cached(1) == 1000


NEXT = """
import functools, sys
from pcache import cached
def timer(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs): return function(*args, **kwargs)
    return wrapper
def rate(): return 2
@cached
@timer
def price(n): return n * rate()
if not FIRST:
    say(price(7))
else:
    price(1)
    def rate(): return 1000
    say(price(7))
"""


def test_what_new_code_computes_is_not_of_the_old(tmp_path: Path) -> None:
    """What was computed with a helper defined again is not found by a process that has the old one."""
    assert run(NEXT.replace("FIRST", "True"), tmp_path) == ["7000"]
    assert run(NEXT.replace("FIRST", "False"), tmp_path) == ["14"]


class Scaled:
    """Scales by an attribute, which somebody may set."""

    def __init__(self) -> None:
        self.factor = 2
        self.parts = {"deep": [1]}

    def __call__(self, n: int) -> int:
        return n * self.factor * self.parts["deep"][0]

    def times(self, n: int) -> int:
        return self(n)


@pytest.mark.parametrize("make", [lambda o: o, lambda o: o.times, lambda o: partial(o.times)])
def test_an_object_that_changes(make: Any, cache: Cache) -> None:
    """An object that is called, or whose method is, counts by what it holds at the call."""
    scaled = Scaled()
    cached = cache.cached(make(scaled))
    assert cached(1) == 2
    scaled.factor = 5
    assert cached(1) == 5
    scaled.parts["deep"][0] = 3
    assert cached(1) == 15


class Slotted:
    __slots__ = ("rate",)

    def __init__(self) -> None:
        self.rate = 1


class Table(dict[str, int]):
    pass


class Listed(list[int]):
    pass


class Queued(deque[int]):
    pass


class Members(set[int]):
    pass


SLOTTED, TABLE, LISTED, QUEUED, MEMBERS = Slotted(), Table(a=1), Listed([1]), Queued([1]), Members([1])
CONFIG: dict[str, Any] = {"rate": 2, "more": {"deep": [1]}}
LIMITS = [1, 2, 3]
SCALED = Scaled()
NAMES = {"a"}


@pytest.mark.parametrize(
    ("function", "change"),
    [
        (lambda n: n * CONFIG["rate"], lambda: CONFIG.__setitem__("rate", 7)),
        (lambda n: n * CONFIG["more"]["deep"][0], lambda: CONFIG["more"]["deep"].__setitem__(0, 9)),
        (lambda n: n + len(LIMITS), lambda: LIMITS.append(4)),
        (lambda n: n + LIMITS[0], lambda: LIMITS.__setitem__(0, 40)),
        (lambda n: n * SCALED.factor, lambda: setattr(SCALED, "factor", 11)),
        (lambda n: n + len(NAMES), lambda: NAMES.add("b")),
        (lambda n: n * SLOTTED.rate, lambda: setattr(SLOTTED, "rate", 5)),
        (lambda n: n * TABLE["a"], lambda: TABLE.__setitem__("a", 5)),
        (lambda n: n * LISTED[0], lambda: LISTED.__setitem__(0, 5)),
        (lambda n: n * QUEUED[0], lambda: QUEUED.__setitem__(0, 5)),
        (lambda n: n + len(MEMBERS), lambda: MEMBERS.add(9)),
    ],
)
def test_a_global_that_is_changed_in_place(function: Any, change: Any, cache: Cache) -> None:
    """Between two calls, by somebody else: the next one computes."""
    cached = cache.cached(function)
    before = cached(1)
    assert cached(1) == before == function(1)
    change()
    assert cached(1) == function(1) != before


MEMO: dict[int, int] = {}


class Counted:
    """Counts its calls, in the class and in the instance."""

    calls = 0

    def __init__(self) -> None:
        self.own = 0

    def run(self, n: int) -> int:
        type(self).calls += 1
        self.own += 1
        return n


COUNTED = Counted()


def remember(n: int) -> int:
    memo = MEMO
    memo[n] = n
    return COUNTED.run(n)


def test_what_the_function_itself_changes_is_no_other_version(cache: Cache) -> None:
    """A memo that it fills and counters: found again, in this process and the next."""
    cached = cache.cached(remember)
    before = cached.function_id
    assert [cached(n) for n in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert cached.function_id == before
    assert COUNTED.own == 2


class Lazy:
    """Loads something when it is first asked for."""

    @functools.cached_property
    def model(self) -> list[int]:
        return [2]


LAZY = Lazy()


def test_what_is_loaded_on_demand_is_no_other_version(cache: Cache) -> None:
    """A `cached_property` of a global that the first call fills in."""
    cached = cache.cached(lambda n: n * LAZY.model[0])
    before = cached.function_id
    assert [cached(1), cached(2), cached(1)] == [2, 4, 2]
    assert (cached.function_id, cached.cache_info().currsize) == (before, 2)


def test_a_recursive_function_with_a_memo(cache: Cache) -> None:
    """What it changed so far is no other version for the calls that it makes itself."""
    seen: list[int] = []

    @cache.cached
    def count(n: int) -> int:
        seen.append(n)
        return 0 if n == 0 else 1 + count(n - 1)

    assert count(5) == 5
    assert count(5) == count(4) + 1 == 5
    assert seen == [5, 4, 3, 2, 1, 0]


def helper(n: int) -> int:
    return n


BEFORE = helper


def replacing(n: int) -> int:
    sys.modules[__name__].__dict__["helper"] = lambda n: n + 100
    return helper(n)


def test_code_that_changes_while_it_runs(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result is stored only if the version under which it was computed still holds."""

    cached = cache.cached(replacing)
    key = cached.key(1)
    assert cached(1) == 101
    monkeypatch.setattr(sys.modules[__name__], "helper", BEFORE)
    assert cached.key(1) == key
    assert not cached.exists(1)


@pytest.mark.parametrize(
    ("function", "owner", "name"),
    [
        (lambda: os.getcwd(), os, "getcwd"),
        (lambda: os.path.exists("/"), os.path, "exists"),
        (lambda: math.floor(2.5), math, "floor"),
        (lambda: Path("/").exists(), Path, "exists"),
        (lambda: PosixPath("/").exists(), PosixPath, "exists"),  # which inherits it
        (lambda: Counter().get("a"), Counter, "get"),  # from a class that nobody can change
        (lambda: UserDict(a=1).pop("a"), UserDict, "pop"),  # from a class two floors down
        (lambda: functools.reduce(max, [1]), functools, "reduce"),
        (lambda: ascii("ä"), builtins, "ascii"),
    ],
)
def test_a_patched_attribute_of_a_package(function: Any, owner: Any, name: str, cache: Cache) -> None:
    """What a test puts in the place of a package's function counts as long as it is there."""
    cached = cache.cached(function)
    first, version = cached(), cached.function_id
    with mock.patch.object(owner, name, lambda *_: "patched"):  # noqa: PT008 - a mock would not be cached
        assert cached() == "patched"
        assert cached.function_id != version
    assert (cached(), cached.function_id) == (first, version)


def test_a_constant_of_a_package(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that was put in the place of another."""
    cached = cache.cached(lambda: math.tau)
    assert cached() == math.tau
    monkeypatch.setattr(math, "tau", 6)
    assert cached() == 6


class Base(abc.ABC):  # noqa: B024
    """Takes other classes for subclasses."""


class Other:
    """No subclass of it, yet."""

    def answer(self) -> object:
        return "own"


def test_a_class_that_is_registered_later(cache: Cache) -> None:
    """`isinstance` says something else after `ABC.register`."""
    cached = cache.cached(lambda: isinstance(Other(), Base))
    assert not cached()
    Base.register(Other)
    assert cached()


def test_a_subclass_that_is_defined_later(cache: Cache) -> None:
    """Code that asks for subclasses finds one more."""
    cached = cache.cached(lambda: len(Scaled.__subclasses__()))
    assert cached() == 0
    later = type("Later", (Scaled,), {})
    assert cached() == 1
    del later


def test_an_implementation_that_is_registered_later(cache: Cache) -> None:
    """`singledispatch`, cached itself: a late `register` computes anew."""

    @singledispatch
    def show(value: object) -> str:
        return "generic"

    cached = cache.cached(show)
    assert cached(1) == "generic"
    show.register(int, lambda value: "int")
    assert cached(1) == "int"


def test_arrays_that_change_in_place(cache: Cache) -> None:
    """Small ones are looked at in each call; of large ones nothing wrong is stored."""
    np = pytest.importorskip("numpy")
    small, large = np.zeros(3), np.zeros(100_000)
    both = cache.cached(lambda n: n + small[0] + large[0])
    assert both(1) == 1
    small[0] = 1
    assert both(1) == 2
    large[0] = 10
    assert both(2) == 13
    assert not both.exists(3)
    assert both(1) == 12


def test_a_large_global_is_hashed_once_and_not_in_hits(cache: Cache) -> None:
    np = pytest.importorskip("numpy")
    large = np.arange(1_000_000)
    cached = cache.cached(lambda n: n + int(large[0]))
    hashed = counted_calls("content_digest", lambda: cached.key(1))
    assert hashed == 1
    assert cached(1) == 1
    assert counted_calls("content_digest", lambda: cached(1)) == 0


def counted_calls(name: str, action: Callable[[], object]) -> int:
    """How often functions of a name are called meanwhile."""
    calls = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_name == name

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


class Tallied(Other):
    """Inherits what it answers, and counts in its class."""

    count = 0

    def counted(self) -> object:
        Tallied.count += 1
        return self.answer()


TALLIED = Tallied()


def test_a_name_that_a_class_with_state_only_inherits(cache: Cache) -> None:
    """One that is put in front of an inherited one is noticed, also beside attributes that code on the way sets."""
    cached = cache.cached(lambda: TALLIED.counted())
    first, version = cached(), cached.function_id
    with mock.patch.object(Tallied, "answer", lambda *_: "patched"):  # noqa: PT008 - a mock would not be cached
        assert cached() == "patched"
        assert cached.function_id != version
    assert (cached(), cached.function_id) == (first, version)
