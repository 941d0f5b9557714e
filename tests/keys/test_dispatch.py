"""Who says what stands for an object in keys, and who is asked first."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pcache
from pcache import Cache, ConfigError, UnhashableArgument, register_key
from pcache.keys.dispatch import register_reducer
from tests.key_values import key_of
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("registrations")


class Connection:
    """A class of somebody else, which cannot be pickled."""

    def __init__(self, url: str = "x", *, timeout: int = 1) -> None:
        self.url, self.timeout = url, timeout
        self.lock = threading.Lock()


class Pooled(Connection):
    """A subclass of it."""


class Keyed:
    """A class that says itself what matters."""

    def __init__(self, matters: Any, other: Any = None) -> None:
        self.matters, self.other = matters, other

    def __pcache_key__(self) -> Any:
        return self.matters


class KeyedConnection(Connection):
    """A subclass of a class of somebody else that says itself what matters."""

    def __pcache_key__(self) -> Any:
        return self.timeout


def url_of(connection: Connection) -> str:
    return connection.url


def timeout_of(connection: Connection) -> int:
    return connection.timeout


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=bytes(32))


def test_a_registered_function_stands_for_its_class() -> None:
    """What it returns counts, wherever the object lies, and nothing else of it."""
    with pytest.raises(TypeError, match="lock"):
        key_of(Connection())
    assert register_key(Connection, url_of) is url_of
    assert key_of(Connection("a")) == key_of(Connection("a", timeout=5)) != key_of(Connection("b"))
    assert key_of({"db": [Connection("a")]}) == key_of({"db": [Connection("a", timeout=5)]})
    assert len({key_of(value) for value in (Connection("a"), "a", ["a"], ("a",))}) == 4


def test_it_covers_subclasses_which_stay_different() -> None:
    """An instance of a subclass is another value than one of the class."""
    register_key(Connection, url_of)
    assert key_of(Pooled("a")) == key_of(Pooled("a")) != key_of(Connection("a"))


def test_as_a_decorator() -> None:
    """It leaves the function as it is."""

    @register_key(Connection)
    def key_of_connection(connection: Connection) -> str:
        return connection.url

    assert key_of_connection(Connection("a")) == "a"
    assert key_of(Connection("a")) == key_of(Connection("a", timeout=5))


def test_by_name() -> None:
    """The full name of a class does for it and its subclasses."""
    register_key(f"{__name__}.Connection", url_of)
    assert key_of(Connection("a")) == key_of(Connection("a", timeout=5)) != key_of(Connection("b"))
    assert key_of(Pooled("a")) == key_of(Pooled("a", timeout=5))


def test_by_the_name_under_which_a_class_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages define classes elsewhere than they document them: any name under which it can be found does."""
    package = types.ModuleType("some_package")
    package.Connection = Connection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_package", package)
    register_key("some_package.Connection", url_of)
    assert key_of(Connection("a")) == key_of(Connection("a", timeout=5))


def test_by_name_before_the_library_is_imported() -> None:
    """Registering imports nothing; the class is known once something else imports it."""
    program = """
        import sys
        import pcache
        from tests.key_values import encode
        pcache.register_key("fractions.Fraction", lambda f: round(float(f), 3))
        assert "fractions" not in sys.modules
        import fractions
        one, other = fractions.Fraction(1, 3), fractions.Fraction(3333, 10000)
        assert b"".join(encode(one)) == b"".join(encode(other))
    """
    program = program.replace("from tests.key_values", "from pcache.keys.encoder")
    command = [sys.executable, "-c", textwrap.dedent(program)]
    subprocess.run(command, env={"PYTHONPATH": f"{ROOT}"}, check=True)


def test_the_later_of_two_registrations_counts() -> None:
    """By class or by name; also when keys were made in between."""
    register_key(Connection, url_of)
    by_url = key_of(Connection("a", timeout=5))
    register_key(f"{__name__}.Connection", timeout_of)
    assert key_of(Connection("a", timeout=5)) == key_of(Connection("b", timeout=5)) != by_url
    register_key(Connection, url_of)
    assert key_of(Connection("a", timeout=5)) == by_url


def test_two_functions_that_return_the_same_differ() -> None:
    """Their code is part of the key: an edited one never finds what the old one stored."""
    keys = []
    for body in ("c.url", "c.url", "c.url + ''", "c.url  # why"):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(f"def it(c):\n    return {body}", namespace)
        register_key(Connection, namespace["it"])
        keys.append(key_of(Connection("a")))
    assert keys[0] == keys[1] == keys[3] != keys[2]


def test_helpers_of_the_function_count() -> None:
    """An edit of what it calls is an edit of it."""
    keys = []
    for suffix in ("''", "''", "'/'"):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(f"def helper(url):\n    return url.rstrip({suffix})\ndef it(c):\n    return helper(c.url)", namespace)
        register_key(Connection, namespace["it"])
        keys.append(key_of(Connection("a")))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("way", ["registered", "own"])
def test_the_code_of_the_users_class_counts(way: str) -> None:
    """A method that was edited may be what the function calls, whoever says what counts of the instance."""
    keys = []
    for result in (1, 1, 2):
        source = f"class it:\n    def method(self):\n        return {result}\n"
        if way == "own":
            source += "    def __pcache_key__(self):\n        return 'same'\n"
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(source, namespace)
        if way == "registered":
            register_key(namespace["it"], id_of_all)
        keys.append(key_of(namespace["it"]()))
    assert keys[0] == keys[1] != keys[2]


def id_of_all(_value: object) -> str:
    return "same"


def test_the_nearest_class_decides_and_there_the_registration() -> None:
    """A subclass' `__pcache_key__` comes before a registration for its base, one for itself before its own method."""
    register_key(Connection, url_of)
    assert key_of(KeyedConnection("a", timeout=1)) == key_of(KeyedConnection("b", timeout=1))
    assert key_of(KeyedConnection("a", timeout=1)) != key_of(KeyedConnection("a", timeout=2))
    register_key(KeyedConnection, url_of)
    assert key_of(KeyedConnection("a", timeout=1)) == key_of(KeyedConnection("a", timeout=2))
    assert key_of(Keyed(1, 2)) == key_of(Keyed(1, 3)) != key_of(Keyed(2))


def test_registrations_come_before_what_pcache_brings() -> None:
    """A user may want arrays to count by their shape."""
    before = key_of(np.zeros(3))
    register_key("numpy.ndarray", np.shape)
    assert key_of(np.zeros(3)) == key_of(np.ones(3)) not in (before, key_of(np.zeros(4)))
    register_reducer(np.ndarray, lambda array, _: "never asked")
    assert key_of(np.zeros(3)) == key_of(np.ones(3)) != key_of(np.zeros(4))


def test_the_option_of_a_function_comes_first(cache: Cache) -> None:
    """`key=` of one function replaces the argument before anything is asked about it."""
    register_key(Connection, url_of)
    cached = cache.cached(key={"connection": timeout_of})(lambda connection: connection.url)
    assert cached.key(Connection("a", timeout=5)) == cached.key(Connection("b", timeout=5))
    assert cached.key(Connection("a", timeout=5)) != cached.key(Connection("a", timeout=6))


def failing(_connection: Connection) -> Any:
    raise LookupError("no url here")


def lock_of(connection: Connection) -> Any:
    return connection.lock


@pytest.mark.parametrize(
    ("function", "why"), [(failing, "raised LookupError: no url here"), (lock_of, "cannot pickle '_thread.lock'")]
)
def test_a_failing_function_is_named(cache: Cache, function: Callable[[Any], Any], why: str) -> None:
    """The error names parameter and path of the object, and what went wrong."""
    register_key(Connection, function)
    with pytest.raises(UnhashableArgument) as caught:
        cache.cached(repr)({"db": [Connection()]})
    assert (caught.value.parameter, caught.value.path) == ("obj", "obj['db'][0]")
    assert caught.value.type_name == "Connection"
    assert why in str(caught.value)


def test_interrupts_pass(cache: Cache) -> None:
    """What is no Exception is none of the cache's business."""

    def interrupt(_connection: Connection) -> Any:
        raise KeyboardInterrupt

    register_key(Connection, interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.cached(repr)(Connection())


WRONG: list[tuple[tuple[Any, ...], str]] = [
    ((3,), "takes a class, or the full name of one such as 'psycopg.Connection', not 3"),
    ((Connection(), url_of), "takes a class"),
    ((None, url_of), "takes a class"),
    (("Connection", url_of), "full name of a class with its module"),
    (("", url_of), "full name"),
    (("a.b c", url_of), "full name"),
    (("a..b", url_of), "full name"),
    ((Connection, "url"), "'url' is not callable; pass a function of one value that returns"),
    ((Connection, 3), "is not callable"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments(arguments: tuple[Any, ...], message: str) -> None:
    """The error says what was given, and what it takes; nothing is registered."""
    with pytest.raises(ConfigError, match=r"register_key\(") as caught:
        register_key(*arguments)
    assert message in str(caught.value)
    assert caught.value.setting == "register_key"
    with pytest.raises(TypeError, match="lock"):
        key_of(Connection())


def test_a_decorator_of_nothing_callable() -> None:
    """It is refused when it is applied."""
    with pytest.raises(ConfigError, match="not callable"):
        register_key(Connection)(3)  # type: ignore[arg-type]


class Refusing:
    """A class of somebody else that refuses to be pickled itself."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


def test_the_ways_out_that_fit(cache: Cache) -> None:
    """The message names the class at fault; where that is Python's own, one that holds it can say what counts."""

    def fetch(config: Any) -> None: ...

    with pytest.raises(UnhashableArgument) as caught:
        cache.cached(fetch)({"db": Refusing()})
    assert "config['db'] is a Refusing: not to be pickled" in str(caught.value)
    assert f"__pcache_key__ method on its class, or pcache.register_key('{__name__}.Refusing'," in str(caught.value)
    with pytest.raises(UnhashableArgument) as caught:
        cache.cached(fetch)({"db": Connection()})
    assert "config['db'].lock is a lock" in str(caught.value)
    assert "a __pcache_key__ method on the class that holds it, or pcache.register_key(its_class," in str(caught.value)


def test_following_the_message_helps(cache: Cache) -> None:
    """Registering the class under the name in the message gives the call a key."""
    register_key(f"{__name__}.Refusing", lambda _: None)
    cached = cache.cached(lambda config: len(config))
    assert cached({"db": Refusing()}) == 1
    assert cached.exists({"db": Refusing()})
    assert not cached.exists({"cache": Refusing()})


def test_it_is_public() -> None:
    """It is part of the package's surface."""
    assert pcache.register_key is register_key
    assert "register_key" in pcache.__all__
