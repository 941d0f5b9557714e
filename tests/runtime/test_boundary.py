"""Whatever fails around a cached function: its caller gets the result, or what the function itself raised."""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import queue
import random
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pcache import Cache, UnhashableArgument
from pcache.system import notices
from tests.support.processes import KEY, PRELUDE, ROOT, run


class PanicException(BaseException):
    """What extensions written in Rust raise: not an `Exception`."""


def nothing_there(*_: object) -> Any:
    """Raise an exception of C without a message."""
    return queue.SimpleQueue[int]().get_nowait()


def panic(*_: object) -> Any:
    raise PanicException("rust panicked")


def leave(*_: object) -> Any:
    sys.exit(3)


def frame_given(*_: object) -> Any:
    fail_in(sys._getframe())


def fail_in(frame: object) -> None:
    raise ValueError("a plain failure")


FAILURES = [nothing_there, panic, leave, frame_given]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    notices.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Cache(tmp_path / "cache", signing_key=KEY)


class Hooked:
    """Fails in one of its hooks, as soon as `fails` is set."""

    fails: Callable[..., Any] | None = None

    def __init__(self) -> None:
        self.x = 1


def hooked(hook: str, fails: Callable[..., Any]) -> type:
    made = type("Hooked", (Hooked,), {hook: property(fails) if hook == "shape" else fails})
    made.__module__, made.__qualname__ = __name__, "Hooked"
    return made


@pytest.mark.parametrize("fails", FAILURES)
@pytest.mark.parametrize("hook", ["__getstate__", "__reduce__", "__reduce_ex__", "shape"])
def test_hooks_of_results(cache: Cache, hook: str, fails: Any) -> None:
    """A result whose hook fails is returned, and so is one of the next call."""
    made = hooked(hook, fails)

    @cache.cached(code="none")
    def make() -> Any:
        return made()

    assert type(make()) is made
    assert type(make()) is made


@pytest.mark.parametrize("fails", FAILURES)
def test_hooks_of_stored_results(cache: Cache, fails: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored result that fails to load is computed again."""

    @cache.cached(code="none")
    def make() -> Any:
        return Hooked()

    make()
    monkeypatch.setattr(Hooked, "__setstate__", fails, raising=False)
    assert make().x == 1
    assert make().x == 1


@pytest.mark.parametrize("fails", FAILURES)
@pytest.mark.parametrize("hook", ["__getstate__", "__reduce__", "__reduce_ex__", "__pcache_key__"])
def test_hooks_of_arguments(cache: Cache, hook: str, fails: Any) -> None:
    """An argument whose hook fails has no key."""

    @cache.cached(code="none")
    def take(a: Any) -> int:
        return 1

    with pytest.raises(UnhashableArgument):
        take(hooked(hook, fails)())


@pytest.mark.parametrize("fails", FAILURES)
def test_key_functions(cache: Cache, fails: Any) -> None:
    """A key function that fails says so in the exception that a cached call has for it."""

    @cache.cached(code="none", key={"a": fails})
    def take(a: Any) -> int:
        return 1

    with pytest.raises(UnhashableArgument, match="key function of parameter 'a' failed"):
        take(1)


def test_dead_proxies(cache: Cache) -> None:
    """A weak reference that is dead raises at each look at it, also in the search for what is at fault."""
    import weakref

    gone = Hooked()
    proxy = weakref.proxy(gone)
    del gone

    @cache.cached(code="none")
    def take(a: Any) -> Any:
        return [a]

    with pytest.raises(UnhashableArgument):
        take(proxy)

    @cache.cached(code="none")
    def make() -> Any:
        return proxy

    assert type(make()) is weakref.ProxyType


def test_what_the_function_raises(cache: Cache) -> None:
    """It is the same object with the context that it had, and few frames of the cache in its traceback."""
    cause = KeyError("cause")

    @cache.cached(code="none")
    def fail() -> None:
        try:
            raise cause
        except KeyError:
            raise raised  # noqa: B904 - the context is what this is about

    raised = ValueError("its own")
    with pytest.raises(ValueError, match="its own") as caught:
        fail()
    assert caught.value is raised
    assert raised.__context__ is cause
    assert cause.__context__ is None
    frames = [frame.filename for frame in traceback.extract_tb(raised.__traceback__)]
    assert sum(f"{os.sep}pcache{os.sep}" in name and "tests" not in name for name in frames) <= 2


class Refuses(Exception):
    """An exception that cannot be changed nor asked, as a frozen dataclass that is one."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"not to be asked for {name!r}")


@pytest.mark.parametrize("depth", [0, 40])
def test_exceptions_that_refuse(cache: Cache, depth: int) -> None:
    """What the function raises is neither asked nor changed by names that its class has taken over; it runs once."""
    error, ran = Refuses(), []

    @cache.cached
    def fails(n: int) -> None:
        ran.append(n)
        fails(n - 1) if n else raising(error)

    assert caught(fails, depth) is error
    assert ran == list(range(depth, -1, -1))


def raising(error: BaseException) -> None:
    raise error


def caught(function: Callable[..., object], *args: object) -> BaseException | None:
    try:
        function(*args)
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize("name", ["len", "isinstance", "type", "any", "str", "__import__"])
def test_replaced_builtins(cache: Cache, name: str) -> None:
    """Where what the guard itself judges by was replaced by something that raises, the function is called, once."""
    ran = []

    @cache.cached
    def f(x: int) -> int:
        ran.append(x)
        return x

    found, before = 0, vars(builtins)[name]
    gc.collect()
    gc.disable()  # what other tests left behind would be collected without the builtin
    vars(builtins)[name] = panic  # a mock's own end would fail
    try:
        found = f(1)
    finally:
        builtins.__dict__[name] = before
        gc.enable()
    assert (found, ran) == (1, [1])


def test_what_the_function_raises_outlives_a_failure_after_it(cache: Cache) -> None:
    """Where clearing up fails as well, the caller gets what the function raised."""

    @cache.cached(code="none")
    def fail() -> None:
        raise raised

    raised = ValueError("its own")
    with (
        mock.patch("pcache.storage.claim.os.unlink", side_effect=MemoryError),
        pytest.raises(ValueError, match="its") as caught,
    ):
        fail()
    assert caught.value is raised
    assert raised.__context__ is None


def test_an_exception_that_is_being_handled_keeps_its_traceback(cache: Cache) -> None:
    """A miss within an `except` block leaves what is handled there alone."""

    @cache.cached(code="none")
    def double(x: int) -> int:
        return 2 * x

    handled = ConnectionError("x")
    try:
        raise handled
    except ConnectionError:
        assert double(2) == 4
    assert handled.__traceback__ is not None
    assert handled.__context__ is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_rings_of_causes(cache: Cache, length: int) -> None:
    """Exceptions that are the causes of each other stop nobody."""
    ring = [ValueError(i) for i in range(length)]
    for error, cause in zip(ring, [*ring[1:], ring[0]], strict=True):
        error.__cause__ = error.__context__ = cause

    @cache.cached(code="none")
    def double(x: int) -> int:
        return 2 * x

    try:
        raise ring[0]
    except ValueError:
        assert double(2) == 4
    assert [error.__cause__ for error in ring] == [*ring[1:], ring[0]]


def test_the_function_sees_no_exception_of_ours(cache: Cache) -> None:
    """What is handled while a function runs is what its caller handles, and what it raises has no other context."""

    @cache.cached(code="none")
    def seen() -> str:
        return repr(sys.exception())

    assert seen() == "None"
    try:
        raise KeyError("k")
    except KeyError:
        assert seen.refresh() == "KeyError('k')"


def test_recursion_as_deep_as_python_has_room(cache: Cache) -> None:
    """A cached function may call itself some hundred times; each result is stored, and no claim is left."""

    @cache.cached(code="none")
    def depth(n: int) -> int:
        return 0 if n == 0 else 1 + depth(n - 1)

    assert depth(200) == 200
    assert depth.cache_info().currsize > 150
    assert depth.exists(100)
    assert not list(cache.flow.store.claims())


# CPython 3.12 counts calls from C by themselves: objects that are called nest some 300 deep there, whatever the limit.
DEPTH, DESCRIPTORS = (200, 64) if sys.version_info[:2] == (3, 12) else (1200, 256)


def test_deep_recursion_holds_no_descriptors(tmp_path: Path) -> None:
    """With a raised limit and few descriptors every result of a recursion of many more calls is stored."""
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
sys.setrecursionlimit(10**5)
@cache.cached
def f(n): return 0 if n == 0 else 1 + f(n - 1)
say(f({DEPTH}), f.cache_info().currsize)
"""
    assert run(script, tmp_path / "cache") == [f"{DEPTH} {DEPTH + 1}"]


@pytest.mark.parametrize("inside", ["contextvars.Context().run(f, n - 1)", "pool(1).submit(f, n - 1).result()"])
def test_computations_that_do_not_know_of_each_other(tmp_path: Path, inside: str) -> None:
    """So it is too where each call within another has a context or a thread of its own."""
    script = f"""
import contextvars, resource
from concurrent.futures import ThreadPoolExecutor as pool
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
@cache.cached
def f(n): return 0 if n == 0 else 1 + {inside}
say(f(100), f.cache_info().currsize)
"""
    assert run(script, tmp_path / "cache") == ["100 101"]


def test_near_the_end_of_the_stack(cache: Cache) -> None:
    """Where the plain function has room for some calls, the cached one works; what is left is in order."""

    @cache.cached(code="none")
    def leaf(x: int) -> int:
        return x

    def descend(levels: int) -> int:
        return leaf(levels) if levels == 0 else descend(levels - 1)

    before = sum(1 for _ in traceback.walk_stack(None))
    failed = []
    for room in range(2, 120):
        try:
            assert descend(sys.getrecursionlimit() - before - room) == 0
        except RecursionError:
            failed.append(room)
        cache.clear(leaf)
    assert max(failed, default=0) <= 12
    assert not list(cache.flow.store.claims())
    assert leaf(7) == 7
    assert leaf.exists(7)


def test_an_argument_deep_in_the_stack_is_no_deep_argument(cache: Cache) -> None:
    """Where there is no room for a key the function is called; it is not said that its argument has none."""

    @cache.cached(code="none")
    def leaf(x: Any) -> int:
        return 5

    value: list[Any] = []
    for _ in range(60):
        value = [value]

    def descend(levels: int) -> int:
        return leaf(value) if levels == 0 else descend(levels - 1)

    before = sum(1 for _ in traceback.walk_stack(None))
    for room in range(20, 120, 5):
        assert descend(sys.getrecursionlimit() - before - room) == 5


class Interned:
    """One object for each name, made by a cached function: unpickling one asks for it again."""

    calls = 0
    name: str

    def __new__(cls, name: str) -> Interned:
        return MAKE["make"](cls, name)  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        return (Interned, (self.name,))


MAKE: dict[str, Any] = {}


def test_a_cached_constructor(cache: Cache) -> None:
    """A result that asks for itself while it is loaded is computed there, at once, and the call hits."""

    def make(cls: type, name: str) -> Any:
        Interned.calls += 1
        made = object.__new__(cls)
        made.name = name
        return made

    MAKE["make"] = cache.cached(code="none", ignore=["cls"])(make)
    Interned.calls = 0
    assert Interned("x").name == "x"
    assert Interned.calls == 1
    for again in range(1, 4):
        assert Interned("x").name == "x"
        assert Interned.calls == 1 + again
    assert MAKE["make"].cache_info().misses == 1


def test_the_programs_random_numbers(cache: Cache) -> None:
    """A seeded program draws the same numbers with a cold cache, a warm one and after reports."""

    @cache.cached(code="none")
    def double(x: int) -> int:
        return 2 * x

    random.seed(1)
    before = random.getstate()
    double(3)
    double(3)
    cache.stats()
    cache.evict()
    cache.verify()
    assert random.getstate() == before


def test_calls_at_the_end_of_the_interpreter(tmp_path: Path) -> None:
    """Functions of `atexit`, finalizers and threads get results, and nothing is written to standard error."""
    script = """
import atexit, sys, threading, time
first = f(1)
class Late:
    def __init__(self, f):
        self.f = f
    def __del__(self):
        for n in (1, 2, 3):
            assert self.f(n) == [n] * 100
late = Late(f)
sys.late = Late(f)
atexit.register(lambda: print(f(1)[0], f(5)[0], flush=True))
def go():
    n = 10
    while True:
        n += 1
        assert f(n) == [n] * 100
threading.Thread(target=go, daemon=True).start()
time.sleep(0.05)
"""
    program = [
        sys.executable,
        "-c",
        f"{PRELUDE}@cache.cached\ndef f(n): return [n] * 100\n{script}",
        tmp_path / "cache",
    ]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1 5\n", "")


def test_messages_run_nobodys_code(cache: Cache) -> None:
    """A hook whose exception cannot be shown, warnings and logs that fail: the caller gets the result."""

    class Unsayable(Exception):
        def __str__(self) -> str:
            raise PanicException("not even this")

    def refuse(*_: object) -> Any:
        raise Unsayable

    made = hooked("__reduce__", refuse)

    @cache.cached(code="none")
    def make() -> Any:
        return made()

    @cache.cached(code="none")
    def take(a: Any) -> int:
        return 1

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("warnings.warn", side_effect=PanicException("x")))
        stack.enter_context(mock.patch("logging.Logger.warning", side_effect=PanicException("x")))
        assert type(make()) is made
    with pytest.raises(UnhashableArgument):
        take(made())


def test_one_call(cache: Cache) -> None:
    """Where the cache fails before or after, the function runs once."""
    calls = []

    @cache.cached(code="none")
    def count(n: int) -> int:
        calls.append(n)
        return n

    for n, place in enumerate(
        ["pcache.runtime.misses.Wait", "pcache.runtime.saving.owner_record", "pcache.runtime.packing.encode_entry"]
    ):
        with mock.patch(place, side_effect=MemoryError):
            assert count(n) == n
    assert calls == [0, 1, 2]
    assert time.time_ns()
