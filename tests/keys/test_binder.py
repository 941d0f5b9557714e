"""The binder: every way to write a call gives the same values, and what is ignored or replaced is so however passed."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache import Cache, ConfigError, UnhashableArgument
from pcache.keys.binder import make_binder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=bytes(32))


def everything(a: Any, b: Any = 2, /, c: Any = 3, *rest: Any, d: Any, e: Any = 5, **options: Any) -> Any:
    return (a, b, c, rest, d, e, options)


def options_only(**options: Any) -> Any:
    return options


def free(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def plain(x: Any, y: Any = 2) -> Any:
    return x, y


def keyword_only(*, x: Any, y: Any = 2) -> Any:
    return x, y


def positional_only(x: Any, y: Any = 2, /) -> Any:
    return x, y


def nothing() -> None:
    return None


def shadowing(self: Any, bind: Any, values: Any = 1, **function: Any) -> Any:
    return self, bind, values, function


# What the names and values are


def test_all_kinds_of_parameters() -> None:
    """One value per parameter in the order of the signature, options as pairs."""
    binder = make_binder(everything)
    assert binder.names == ("a", "b", "c", "rest", "d", "e", "options")
    values = dict(zip(binder.names, binder.bind(1, d=4), strict=True))
    assert values == {"a": 1, "b": 2, "c": 3, "rest": (), "d": 4, "e": 5, "options": []}
    values = dict(zip(binder.names, binder.bind(1, 7, 8, 9, 10, d=4, e=6, z=0, y=1, a=2), strict=True))
    expected = {"a": 1, "b": 7, "c": 8, "rest": (9, 10), "d": 4, "e": 6, "options": [("z", 0), ("y", 1), ("a", 2)]}
    assert values == expected


def test_a_function_without_parameters() -> None:
    """There is one call, and it has no values."""
    assert make_binder(nothing).bind() == ()
    with pytest.raises(TypeError):
        make_binder(nothing).bind(1)


@pytest.mark.parametrize("function", [plain, keyword_only])
def test_defaults_given_or_not_are_the_same_call(function: Callable[..., Any]) -> None:
    """Leaving out a default, giving it and giving it by name bind alike."""
    bind = make_binder(function).bind
    assert bind(x=1) == bind(x=1, y=2) == bind(y=2, x=1) != bind(x=1, y=3)


def test_positional_and_keyword_forms_are_the_same_call() -> None:
    """`f(1)`, `f(x=1)`, `f(1, 2)`, `f(1, y=2)` bind alike."""
    bind = make_binder(plain).bind
    assert bind(1) == bind(x=1) == bind(1, 2) == bind(1, y=2) == (1, 2)


def test_positional_only_names_are_free_for_options() -> None:
    """An option may be called like a positional-only parameter without taking its place."""
    bind = make_binder(everything).bind
    assert bind(1, d=4, a=9) != bind(1, d=4)
    assert bind(1, d=4, a=9) != bind(9, d=4)
    with pytest.raises(TypeError):
        make_binder(positional_only).bind(x=1)


def test_parameters_may_have_any_name() -> None:
    """Names that the binder or the cached function use themselves are as good as any."""
    binder = make_binder(shadowing)
    assert binder.bind(1, bind=2, function=3) == (1, 2, 1, [("function", 3)])


def test_defaults_are_the_objects_of_the_function() -> None:
    """A default that changed in place counts as it is now."""

    def collect(x: Any, seen: Any = []) -> Any:  # noqa: B006 - what is tested
        return x, seen

    bind = make_binder(collect).bind
    before = bind(1)[1]
    before.append(1)
    assert bind(1) == (1, [1])


@given(
    args=st.lists(st.integers(0, 3), max_size=3),
    kwargs=st.dictionaries(st.sampled_from("abcdexy"), st.integers(0, 3), max_size=4),
)
def test_the_binder_accepts_what_the_function_accepts(args: list[int], kwargs: dict[str, int]) -> None:
    """Two calls bind alike exactly when Python gives the function the same values, and fail when Python refuses."""
    binder = make_binder(everything)
    try:
        *values, options = everything(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            binder.bind(*args, **kwargs)
    else:
        assert binder.bind(*args, **kwargs) == (*values, list(options.items()))


# ignore=


@pytest.mark.parametrize("ignored", ["y", ["y"], ("y",), {"y"}])
def test_ignored_parameters_play_no_part(ignored: Any) -> None:
    """An ignored parameter is dropped whether it is passed by position, by name or not at all."""
    binder = make_binder(plain, ignore=ignored)
    assert binder.names == ("x",)
    assert binder.bind(1) == binder.bind(1, 5) == binder.bind(1, y=6) == binder.bind(y=7, x=1) == (1,)


@pytest.mark.parametrize("name", ["a", "b", "c", "rest", "d", "e", "options"])
def test_every_kind_can_be_ignored(name: str) -> None:
    """Ignoring one parameter drops that one and no other."""
    binder = make_binder(everything, ignore=[name])
    assert set(binder.names) == {"a", "b", "c", "rest", "d", "e", "options"} - {name}
    one = dict(zip(binder.names, binder.bind(1, 2, 3, 4, d=5, e=6, z=7), strict=True))
    full = {"a": 1, "b": 2, "c": 3, "rest": (4,), "d": 5, "e": 6, "options": [("z", 7)]}
    del full[name]
    assert one == full


def test_all_parameters_can_be_ignored() -> None:
    """A function of which nothing counts has one call."""
    binder = make_binder(plain, ignore=["x", "y"])
    assert binder.bind(1) == binder.bind(2, 3) == ()


def test_single_options_can_be_ignored() -> None:
    """Names that are no parameter are options where the function takes options."""
    bind = make_binder(free, ignore=["session"]).bind
    assert bind(1, session=1) == bind(1, session=2) == bind(1) != bind(1, other=1)


def test_ignoring_a_positional_only_parameter_keeps_the_option_of_that_name() -> None:
    """The option is another value; it stays."""
    bind = make_binder(everything, ignore=["a"]).bind
    assert bind(1, d=4) == bind(2, d=4) != bind(1, d=4, a=1) != bind(1, d=4, a=2)


def test_ignored_values_need_no_key(cache: Cache) -> None:
    """What is ignored is never looked at, so it may be anything, by position or by name."""
    cached = cache.cached(ignore=["y"])(plain)
    generator = (i for i in "ab")
    assert cached.key(1, generator) == cached.key(1, y=generator) == cached.key(1)
    assert list(generator) == ["a", "b"]


# key=


def test_key_functions_replace_values() -> None:
    """The value of the key function stands for the argument, default included."""
    bind = make_binder(plain, key_functions={"y": str}).bind
    assert bind(1) == bind(1, "2") == bind(1, y=2) == (1, "2")


def test_key_functions_of_whole_groups_and_single_options() -> None:
    """`*rest` gives its tuple and `**options` its dict to a key function; a single option its value."""
    assert make_binder(free, key_functions={"args": len}).bind(5, 6, 7) == (3, [])
    assert make_binder(free, key_functions={"kwargs": sorted}).bind(b=1, a=2) == ((), ["a", "b"])
    bind = make_binder(free, key_functions={"a": abs}).bind
    assert bind(a=-1, b=-1) == bind(a=1, b=-1) == ((), [("a", 1), ("b", -1)])


def test_a_failing_key_function_says_which_one(cache: Cache) -> None:
    """The exception names function, parameter and type, and keeps the cause."""
    cached = cache.cached(key={"x": len})(plain)
    with pytest.raises(UnhashableArgument, match="key function of parameter 'x'") as caught:
        cached(5)
    assert (caught.value.function, caught.value.parameter, caught.value.type_name) == ("plain", "x", "int")
    assert isinstance(caught.value.__cause__, TypeError)


def test_ignored_and_replaced_names_are_in_the_source() -> None:
    """What the source says identifies the binder: other names dropped are another source."""
    sources = {
        make_binder(free, ignore=ignore, key_functions=replaced).source
        for ignore in ((), ("a",), ("b",), ("a", "b"), ("args",))
        for replaced in ({}, {"c": abs}, {"d": abs})
    }
    assert len(sources) == 15


# Errors at decoration


@pytest.mark.parametrize("options", [{"ignore": ["z"]}, {"key": {"z": str}}])
def test_unknown_names_are_refused_at_decoration(cache: Cache, options: dict[str, Any]) -> None:
    """The message has the unknown name and those that the function has."""
    with pytest.raises(ConfigError, match=r"'z'.* plain; it has x, y") as caught:
        cache.cached(**options)(plain)
    assert (caught.value.setting, caught.value.value) == (next(iter(options)), "z")


def test_unknown_names_of_a_function_without_parameters(cache: Cache) -> None:
    """Where there is nothing to name, the message says so."""
    with pytest.raises(ConfigError, match="it has none"):
        cache.cached(ignore=["x"])(nothing)


def test_a_key_function_must_be_callable(cache: Cache) -> None:
    """A value in place of the function is refused at decoration."""
    with pytest.raises(ConfigError, match="takes a function"):
        cache.cached(key={"x": 5})(plain)  # type: ignore[dict-item]


# Callables that are no functions


class Caller:
    """A callable object."""

    def __call__(self, x: int, y: int = 2) -> int:
        return x * y

    def method(self, x: int, y: int = 2) -> int:
        return x + y


class Made:
    """A class whose instances are made from arguments."""

    def __init__(self, x: int, y: int = 2) -> None:
        self.x, self.y = x, y


def add(x: int, y: int = 2, *, z: int = 3) -> int:
    return x + y + z


@pytest.mark.parametrize("function", [Caller(), Caller().method, Made, functools.partial(add, z=5)])
def test_callables_bind_by_their_signature(function: Callable[..., Any]) -> None:
    """Objects, bound methods, classes and partials have the same calls as a function of their signature."""
    bind = make_binder(function).bind
    assert bind(1) == bind(x=1) == bind(1, 2) == bind(1, y=2) != bind(2)


def test_partials_by_position_and_name() -> None:
    """What a partial has fixed by position is gone, what it has fixed by name is a default that can be overridden."""
    bind = make_binder(functools.partial(add, 1, z=5)).bind
    assert bind() == bind(2) == bind(y=2, z=5) != bind(z=6)
    bind = make_binder(functools.partial(add, y=7)).bind
    assert bind(1) == bind(x=1, y=7) != bind(1, y=8)


@pytest.mark.parametrize("function", [divmod, len, sorted, sum, print, isinstance, "".join, [].append, round])
def test_builtins_with_a_signature(function: Callable[..., Any]) -> None:
    """Builtins that tell their parameters are bound by them."""
    assert len(make_binder(function).names) == len(inspect.signature(function).parameters)


@pytest.mark.parametrize("function", [dict, max, min, int, type, range, zip])
def test_callables_without_a_signature(function: Callable[..., Any]) -> None:
    """What does not tell its parameters takes any: forms of a call may have two keys, two calls never one."""
    bind = make_binder(function).bind
    assert bind("1") != bind("2")
    assert bind("1") == bind("1")


# Through the cached function


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1})]
)
def test_calls_that_do_not_fit_get_pythons_own_error(cache: Cache, args: Any, kwargs: Any) -> None:
    """The message of the TypeError is that of the plain function."""
    with pytest.raises(TypeError) as expected:
        plain(*args, **kwargs)
    with pytest.raises(TypeError) as caught:
        cache.cached(plain)(*args, **kwargs)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("name", ["key", "exists", "get", "refresh", "invalidate"])
def test_the_calls_of_a_cached_function_name_the_function(cache: Cache, name: str) -> None:
    """A call that does not fit is reported under the function's name there too, not under that of the binder."""
    with pytest.raises(TypeError, match=r"^plain\(\) missing 1 required positional argument: 'x'"):
        getattr(cache.cached(plain), name)()


def test_type_errors_of_the_function_pass(cache: Cache) -> None:
    """A TypeError raised inside of the function is its own."""

    def fail(x: int) -> None:
        raise TypeError(f"inside {x}")

    with pytest.raises(TypeError, match="inside 1"):
        cache.cached(fail)(1)


def test_equal_forms_have_one_key_and_one_result(cache: Cache) -> None:
    """`f(1)`, `f(x=1)`, `f(1, 2)` share an entry: the function runs once."""
    calls: list[int] = []
    cached = cache.cached(ignore=["log"])(appending)
    results = [cached(1, calls), cached(x=1, log=calls), cached(1, log=calls, y=2), cached(y=2, x=1, log=calls)]
    assert results == [(1, 2)] * 4
    assert calls == [1]


def appending(x: int, log: list[int], y: int = 2) -> tuple[int, int]:
    log.append(x)
    return x, y


# What the peers mix up


def test_positional_options_are_not_keywords(cache: Cache) -> None:
    """diskcache: `f(1, None, 'a', 5)` and `f(1, a=5)` are one call there."""
    cached = cache.cached(free)
    keys = {cached.key(1, None, "a", 5), cached.key(1, a=5), cached.key(1, ("a", 5)), cached.key(1, [("a", 5)])}
    assert len(keys) == 4


def test_varargs_cannot_be_named(cache: Cache) -> None:
    """cachier: `w(5)` and `w(__varargs_0__=5)` are one call there."""
    cached = cache.cached(free)
    names = ("__varargs_0__", "args", "kwargs", "_pcache_options", "x")
    assert len({cached.key(5), cached.key((5,)), *(cached.key(**{name: 5}) for name in names)}) == 7


def test_groups_do_not_run_into_each_other(cache: Cache) -> None:
    """An argument more on one side and less on the other is another call."""
    cached = cache.cached(everything)
    keys = {
        cached.key(1, 2, 3, d=4),
        cached.key(1, 2, 3, (), d=4),
        cached.key(1, 2, 3, 4, d=4),
        cached.key(1, 2, 3, (4,), d=4),
        cached.key(1, 2, (3,), d=4),
        cached.key(1, 2, 3, d=4, options=[]),
        cached.key(1, 2, 3, d=4, rest=()),
        cached.key(1, 2, 3, d=4, e=[]),
    }
    assert len(keys) == 8
