"""Calls that a function cannot tell apart are one: below decorators, and whatever the order of keywords is."""

from __future__ import annotations

import functools
import locale
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pcache import Cache, ConfigError
from pcache.keys.binder import make_binder

# Functions that look names up in their options, and nothing else.


def item(**options: Any) -> Any:
    return options["a"], options["b"]


def item_by_variable(name: str = "a", **options: Any) -> Any:
    return options[name]


def get(**options: Any) -> Any:
    return options.get("a", 1), options.get("b")


def pop(**options: Any) -> Any:
    first = options.pop("a", None)
    if options:
        raise TypeError("too many")
    return first


def membership(**options: Any) -> Any:
    return "a" in options and "b" not in options


def in_a_loop(names: Any = ("a", "b"), **options: Any) -> Any:
    return "".join([str(name) for name in names if name != "c"]) if options else list(names)


def in_a_text(**options: Any) -> Any:
    return f"{options['a']}, {options['b']!r}"


def assigned(**options: Any) -> Any:
    options["c"] = 1
    options.setdefault("d", 2)
    del options["c"]
    return options["a"]


def unused(**options: Any) -> Any:
    return 1


def truth(x: int = 0, **options: Any) -> Any:
    while not options:
        return 0
    return x


BY_NAME: list[Any] = [item, item_by_variable, get, pop, membership, in_a_loop, in_a_text, assigned, unused, truth]

# Functions that see their order.


def returned(**options: Any) -> Any:
    return options


def handed(**options: Any) -> Any:
    return list(options)


def unpacked(**options: Any) -> Any:
    return returned(**options)


def iterated(**options: Any) -> Any:
    found = []
    for name in options:
        found.append(name)  # noqa: PERF402 - what is tested
    return found


def items(**options: Any) -> Any:
    return "&".join(f"{name}={value}" for name, value in options.items())


def copied(**options: Any) -> Any:
    options = {**options}
    return next(iter(options))


def captured(**options: Any) -> Any:
    def inner() -> Any:
        return list(options)

    return inner()


def variables(**options: Any) -> Any:
    return locals()


def frame(**options: Any) -> Any:
    import sys

    return list(sys._getframe().f_locals["options"])


def evaluated(**options: Any) -> Any:
    return eval("list(options)")


def last(**options: Any) -> Any:
    return options.popitem()


def renamed(**options: Any) -> Any:
    same = options
    return list(same)


def chosen(**options: Any) -> Any:
    return options or 3


def shown(**options: Any) -> Any:
    return f"{options}"


def key_of_another(**options: Any) -> Any:
    return {"x": 1}.get("y", options)


def method_taken(**options: Any) -> Any:
    return list(options.get.__self__)  # type: ignore[attr-defined]


def reversed_options(**options: Any) -> Any:
    return [*reversed(options)]


def compared(**options: Any) -> Any:
    return [name for name, _ in sorted(options.items(), key=lambda pair: 0)]


def annotated(**options: Any) -> Any:
    match options:
        case {"a": 1, **rest}:
            return list(rest)
    return list(options)


IN_ORDER: list[Any] = [returned, handed, unpacked, iterated, items, copied, captured, variables, frame, evaluated]
IN_ORDER += [last, renamed, chosen, shown, key_of_another, method_taken, reversed_options, compared, annotated]
IN_ORDER += [dict, functools.partial(returned, c=1)]


@pytest.mark.parametrize("function", BY_NAME)
def test_keywords_that_are_looked_up_by_name(function: Callable[..., Any]) -> None:
    """Their order is not part of the call."""
    bind = make_binder(function).bind
    assert bind(b=1, a=2, c=3) == bind(c=3, a=2, b=1) != bind(a=1, b=2, c=3)


@pytest.mark.parametrize("function", IN_ORDER)
def test_keywords_whose_order_can_be_seen(function: Callable[..., Any], cache: Cache) -> None:
    """Two orders are two calls, and each gets what the function makes of it."""
    cached = cache.cached(function)
    first, second = {"b": 1, "a": 2, "z": 3}, {"z": 3, "a": 2, "b": 1}
    for options in (first, second, first, second):
        assert repr(cached(**options)) == repr(function(**options))
    assert make_binder(function).bind(**first) != make_binder(function).bind(**second)


def test_single_options_that_are_dropped_keep_the_order_of_the_others() -> None:
    """What `ignore=` and `key=` say of single options leaves the others as they were given."""
    bind = make_binder(returned, ignore=["z"], key_functions={"a": str}).bind
    assert bind(b=1, z=0, a=2) == ([("b", 1), ("a", "2")],) != bind(a=2, b=1)
    assert make_binder(get, ignore=["z"], key_functions={"a": str}).bind(b=1, z=0, a=2) == ([("a", "2"), ("b", 1)],)


# Decorators that hand on what they are given.

LOG: list[str] = []
LOCK = threading.RLock()


def plainly(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def timed(function: Any) -> Any:
    @functools.wraps(function)
    def anything(*a: Any, **k: Any) -> Any:
        LOG.append(f"{function.__name__} begins")
        try:
            result = function(*a, **k)
        finally:
            LOG.append("ends")
        return result

    return anything


def retried(times: int) -> Any:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for _ in range(times):
                try:
                    return function(*args, **kwargs)
                except OSError:
                    LOG.append("again")
            return function(*args, **kwargs)

        return wrapper

    return decorate


def locked(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with LOCK:
            return {"result": function(*args, **kwargs)}

    return wrapper


def with_first(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(x: Any, *args: Any, **kwargs: Any) -> Any:
        LOG.append(str(x))
        return function(x, *args, **kwargs)

    return wrapper


def as_lambda(function: Any) -> Any:
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs) + 1)


class Timer:
    """A decorator that is a class."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return self.function(*args, **kwargs)


# Decorators that could tell, or that change something.


class Counter(Timer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return len(args), self.function(*args, **kwargs)


class Exchanger(Timer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.function = lambda *args, **kwargs: (args, kwargs)
        return self.function(*args, **kwargs)


class Other(Timer):
    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.function = lambda *args, **kwargs: (args, kwargs)


class Property(Timer):
    @property
    def chosen(self) -> Any:
        return lambda *args, **kwargs: (args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.chosen(*args, **kwargs)


def counted(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return len(args), function(*args, **kwargs)

    return wrapper


def printed(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return f"{function.__name__}({kwargs})", function(*args, **kwargs)

    return wrapper


def doubled(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        args = tuple(arg * 2 for arg in args)
        return function(*args, **kwargs)

    return wrapper


def filled(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("y", 7)
        return function(*args, **kwargs)

    return wrapper


def with_more(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(1, *args, **kwargs)

    return wrapper


def with_a_name(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, z=3, **kwargs)

    return wrapper


def without_names(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args)

    return wrapper


def another(function: Any) -> Any:
    def other(a: Any = 5, b: Any = 6, **c: Any) -> Any:
        return a, b, c

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return other(*args, **kwargs)

    return wrapper


def exchanged(function: Any) -> Any:
    wrapped = function

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal wrapped
        wrapped = lambda x=0, y=0, **more: (x, y, more)  # noqa: E731
        return wrapped(*args, **kwargs)

    return wrapper


def closed_over(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        def names() -> Any:
            return sorted(kwargs)

        return names(), function(*args, **kwargs)

    return wrapper


def first_changed(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(x: Any, *args: Any, **kwargs: Any) -> Any:
        x = x + len(args) if isinstance(x, int) else x
        return function(x, *args, **kwargs)

    return wrapper


def other_first(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(y: Any = 9, *args: Any, **kwargs: Any) -> Any:
        return function(y, *args, **kwargs)

    return wrapper


def looking_around(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        LOG.append("looks")
        seen = len(locals()["args"])
        return seen, function(*args, **kwargs)

    return wrapper


def dispatching(function: Any) -> Any:
    return functools.singledispatch(function)


def area(x: Any, y: Any = 2, *, z: Any = 0) -> Any:
    return [x, y, z]


FORMS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, 2), {}),
    ((1,), {"y": 2}),
    ((1,), {"z": 0}),
    ((1, 2), {"z": 0}),
]
BY_NAME_ALONE: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((), {"x": 1}), ((), {"y": 2, "x": 1})]


@pytest.mark.parametrize("decorate", [plainly, timed, retried(3), locked, with_first, Timer])
def test_forms_of_a_call_below_a_decorator(cache: Cache, decorate: Any) -> None:
    """A wrapper that hands on what it is given cannot tell the forms of a call apart: the function runs once."""
    runs: list[int] = []

    def noting(x: Any, y: Any = 2, *, z: Any = 0) -> Any:
        runs.append(x)
        return [x, y, z]

    cached = cache.cached(code="none")(decorate(decorate(noting)))
    keys = {cached.key(*args, **kwargs) for args, kwargs in FORMS + BY_NAME_ALONE}
    results = [cached(*args, **kwargs) for args, kwargs in FORMS + BY_NAME_ALONE]
    assert (len(keys), runs) == (1, [1])
    assert results == [results[0]] * len(results)


TELLING = [counted, printed, doubled, filled, with_more, with_a_name, without_names, another, exchanged, closed_over]
TELLING += [first_changed, other_first, looking_around, dispatching, Counter, Exchanger, Other, Property]


@pytest.mark.parametrize("decorate", [*TELLING, as_lambda, plainly, locked, with_first, Timer])
@pytest.mark.parametrize("around", [lambda function: function, plainly, functools.lru_cache(), with_first, Timer])
def test_no_form_gets_the_result_of_another(cache: Cache, decorate: Any, around: Any) -> None:
    """Whatever a wrapper does with its arguments, each form of a call gets what the wrapper makes of it, or raises."""

    def outcome(function: Any, args: Any, kwargs: Any) -> str:
        try:
            return repr(function(*args, **kwargs))
        except Exception as error:
            return type(error).__name__

    function = around(decorate(area))
    cached = cache.cached(function)
    for args, kwargs in [*FORMS, *BY_NAME_ALONE, *FORMS, ((), {}), ((1,), {"x": 1})]:
        assert outcome(cached, args, kwargs) == outcome(function, args, kwargs), (args, kwargs)


def test_options_name_the_parameters_of_the_function_below(cache: Cache) -> None:
    """`ignore=` and `key=` take the names that the function has, however it is passed; others are refused."""

    @cache.cached(ignore=["z"], key={"y": lambda y: y % 2})
    @timed
    def use(x: int, y: int = 2, z: int = 0) -> int:
        return x + y + z

    assert len({use.key(1), use.key(1, 4), use.key(1, 4, 5), use.key(z=3, x=1)}) == 1
    assert use.key(1) != use.key(1, 3)
    with pytest.raises(ConfigError, match="it has x, y, z"):
        cache.cached(ignore=["kwargs"])(use.__wrapped__)


def test_methods_below_a_decorator(cache: Cache) -> None:
    """A method whose decorator takes `self` by name, or anything, has its own parameters too."""

    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            LOG.append(type(self).__name__)
            return function(self, *args, **kwargs)

        return wrapper

    class Thing:
        @cache.cached
        @logged
        def named(self, x: int, y: int = 2) -> int:
            return x + y

        @cache.cached
        @plainly
        def unnamed(self, x: int, y: int = 2) -> int:
            return x + y

    thing = Thing()
    for method in (thing.named, thing.unnamed):
        assert len({method.key(1), method.key(x=1), method.key(1, 2), method.key(y=2, x=1)}) == 1
        assert method(1) == method(x=1) == 3


def test_wrappers_of_the_standard_library(cache: Cache) -> None:
    """What hands on more than arguments, or less, binds by what it takes itself."""

    @contextmanager
    def opened(x: int, y: int = 2) -> Iterator[int]:
        yield x

    binder = make_binder(opened)
    assert binder.names == ("args", "kwds")
    assert make_binder(plainly(functools.lru_cache(area))).names == ("x", "y", "z")
    assert make_binder(plainly(locale.format_string)).names == ("f", "val", "grouping", "monetary")


def test_wrappers_in_a_circle() -> None:
    """A wrapper that says it wraps itself is bound by its own parameters."""

    def decorate() -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return wrapper(*args, **kwargs)

        wrapper.__wrapped__ = wrapper  # type: ignore[attr-defined]
        return wrapper

    assert make_binder(decorate()).names == ("args", "kwargs")
