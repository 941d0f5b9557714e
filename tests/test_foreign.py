"""Objects of other people's, in every place where a function can meet one, are looked at and never asked."""

from __future__ import annotations

import contextlib
import gc
import pickle
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import types
import warnings
import weakref
import xmlrpc.client
import xmlrpc.server
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache import Cache, ConfigError, PcacheWarning, StoreWarning, UnhashableArgument, register_key
from pcache.fingerprint.constants import Values
from tests.support import foreign
from tests.support.foreign import ASKED, KINDS
from tests.support.processes import KEY
from tests.support.running import run, write


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


# CPython crashes on a call of a partial that holds itself.
CALLED = [kind for kind in KINDS if callable(KINDS[kind]()) and kind != "a partial of itself"]


@pytest.mark.parametrize("kind", CALLED)
def test_foreign_objects_cached_themselves(cache: Cache, kind: str) -> None:
    """An object that is called like a function is asked for nothing but what pickle asks for, and then called."""
    thing = KINDS[kind]()
    pickling = asked_by(lambda: pickle.dumps(thing, 5))
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        ASKED.clear()
        cached = cache.cached(thing)
        assert {one for one in set(ASKED) - pickling if one.split()[-1] not in PICKLING} == set()
        outcomes = [outcome_of(call) for call in (thing, cached, cached)]
    assert all(outcome is outcomes[0] or outcome is UnhashableArgument for outcome in outcomes)
    assert sum(issubclass(one.category, PcacheWarning) for one in given) <= 2  # of the key, and of the result


def outcome_of(call: Callable[[], object]) -> object:
    """The type of a result, or of what was raised."""
    try:
        return type(call())
    except BaseException as error:
        return type(error)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what it was asked."""
    asked: list[str] = []
    made = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
    made.register_instance(types.SimpleNamespace(_dispatch=lambda method, arguments: asked.append(method) or 1))
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}", asked
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_sent_to_a_server(cache: Cache, user: ModuleType, place: str, server: tuple[str, list[str]]) -> None:
    """What stands for a server, or for a function of one, is asked for nothing that would have to be fetched."""
    url, asked = server
    with xmlrpc.client.ServerProxy(url) as proxy:
        for thing in (proxy, proxy.add):
            for function, arguments in PLACES[place](user, thing):
                with contextlib.suppress(UnhashableArgument), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    cached = cache.cached(function)
                    assert cached(*arguments) == cached(*arguments)
                    assert str(cached.explain(*arguments))
        assert asked == []
        cached = cache.cached(proxy.add)
        assert [cached(1), cached(1)] == [1, 1]
        assert set(asked) == {"add"}


def test_nothing_waits_for_a_server_that_hangs(cache: Cache, user: ModuleType) -> None:
    """A proxy of a server that never answers is no reason to wait."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        user.THING = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert cache.cached(user.reads)(1) == 2
        with contextlib.suppress(UnhashableArgument):
            assert cache.cached(user.taken)(user.THING) == 1
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called
            silent.accept()


def test_classes_that_are_made_anew_do_not_pile_up(cache: Cache) -> None:
    """Of ten thousand classes, each with what its methods hold, few outlive their calls."""
    living: weakref.WeakSet[type] = weakref.WeakSet()

    def made(number: int) -> Any:
        class Made:
            __slots__ = ("n",)

            def run(self) -> int:
                return number

        living.add(Made)
        return Made

    @cache.cached(code="none")
    def take(thing: Any) -> int:
        return 1

    started = time.perf_counter()
    keys = {take.key(made(number)) for number in range(5000)} | {take.key(made(number)()) for number in range(5000)}
    assert len(keys) == 10_000
    gc.collect()
    assert len(living) < 500
    assert time.perf_counter() - started < 120


def test_a_printed_gigabyte(cache: Cache) -> None:
    """What objects say of themselves is not asked for messages: neither of options, nor of what cannot be cached."""
    huge = foreign.Huge()
    ASKED.clear()
    with pytest.raises(ConfigError, match=r"not Huge|Huge is not"):
        cache.cached(huge)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"not Huge|Huge is not"):
        register_key(huge)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match=r"not Huge|Huge is not"):
        register_key(int, huge)
    with pytest.raises(ConfigError, match=r"not Huge|Huge is not"):
        cache.cached(key={"x": huge})(lambda x: x)  # type: ignore[dict-item]
    assert ASKED == []


def test_a_warning_names_the_global_at_fault(cache: Cache, user: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while a version is found, the call is computed, and one warning says at which global."""

    written = Values.token

    def fails(self: Values, value: Any, path: str) -> object:
        if type(value) is foreign.Answering:
            raise ZeroDivisionError("never seen")  # what nobody has thought of
        return written(self, value, path)

    user.THING = foreign.Answering()
    monkeypatch.setattr(Values, "token", fails)
    cached = cache.cached(user.helped)
    with pytest.warns(StoreWarning, match="at foreign_user:THING with ZeroDivisionError: never seen") as given:
        assert [cached(1), cached(1)] == [2, 2]
    assert len(given) == 1


def test_functions_that_cython_compiled_below_the_decorator(tmp_path: Path) -> None:
    """A function cached inside of a Cython module is found again, until the module is built anew."""
    compiling = pytest.importorskip("Cython.Compiler.Main", reason="Cython is not installed")
    if shutil.which("gcc") is None:
        pytest.skip("there is no compiler here")
    script = write(tmp_path / "main.py", "import fast\nprint(fast.f(1), fast.f(x=1), fast.f.cache_info().misses)")
    suffix, include = sysconfig.get_config_var("EXT_SUFFIX"), sysconfig.get_paths()["include"]
    printed = []
    for factor in (10, 10, 20):
        write(
            tmp_path / "fast.pyx", f"from pcache import cached\n@cached\ndef f(x, y=2):\n    return x * {factor} + y\n"
        )
        compiling.compile(str(tmp_path / "fast.pyx"), compiling.CompilationOptions(language_level=3))
        command = ["gcc", "-shared", "-fPIC", "-O0", f"-I{include}", "fast.c", "-o", f"fast{suffix}"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        printed += run(script, PCACHE_DIR=str(tmp_path / "cache"))
    assert printed == ["12 12 1", "12 12 0", "22 22 1"]
