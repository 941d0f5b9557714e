"""What frameworks do with a function that they are given: a probe each, which raises where that does not work.

    python -m tests.support.frameworks       # the table: a plain function, `@cached`, a wrapper that is a function

A probe gets a decorator and puts it on functions of its own. For frameworks that are not installed the table is empty.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import doctest
import enum
import functools
import importlib
import inspect
import pickle
import pydoc
import subprocess
import sys
import tempfile
import typing
import unittest.mock
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Decorate = Callable[[Any], Any]
PROBES: dict[str, Callable[[Decorate], None]] = {}
# What works only with a function of Python's own, and what to do instead.
REFUSED = {
    "`inspect.isfunction`": "False, as for `functools.lru_cache`; ask `callable`, or about `f.__wrapped__`",
    "`inspect.getfile`": "`inspect.getfile(inspect.unwrap(f))`",
    "`unittest.mock.create_autospec`": "`create_autospec(f.__wrapped__)`",
    "pydantic: `validate_call` over it": "put `@cached` over `@validate_call`",
    "pydantic: methods of models": "`model_config = {'ignored_types': (CachedFunction,)}`",
    "typeguard: `typechecked` over it": "put `@cached` over `@typechecked`",
    "APScheduler: a reference made of it": "give the job as text, `'module:name'`",
}
_SHOWN = ("__code__", "__defaults__", "__kwdefaults__", "__globals__", "__closure__", "__annotations__")


def probe(name: str) -> Callable[[Callable[[Decorate], None]], None]:
    """List a probe under the name that the table has."""

    def add(function: Callable[[Decorate], None]) -> None:
        PROBES[name] = function

    return add


def plain(n: int = 3, *, times: int = 2) -> int:
    """Multiply.

    >>> plain(2)
    4
    """
    return n * times


def home_of(decorated: Any) -> ModuleType:
    """A module that has the decorated function under its name, as the file of a program would."""
    module = ModuleType("function_of_a_program")
    decorated.__module__, sys.modules[module.__name__] = module.__name__, module
    vars(module)["plain"] = decorated
    return module


def copied() -> Any:
    """A function of its own, whose module can be set."""
    made = type(plain)(plain.__code__, globals(), "plain", plain.__defaults__)
    made.__kwdefaults__, made.__doc__ = plain.__kwdefaults__, plain.__doc__
    made.__annotations__ = plain.__annotations__
    return made


@probe("`inspect.isfunction`")
def _(decorate: Decorate) -> None:
    assert inspect.isfunction(decorate(plain))


@probe("`inspect.signature`, `get_type_hints`")
def _(decorate: Decorate) -> None:
    assert inspect.signature(decorate(plain)) == inspect.signature(plain)
    assert typing.get_type_hints(decorate(plain)) == typing.get_type_hints(plain)


@probe("`inspect.getsource`")
def _(decorate: Decorate) -> None:
    assert inspect.getsource(decorate(plain)) == inspect.getsource(plain)


@probe("`inspect.getfile`")
def _(decorate: Decorate) -> None:
    assert inspect.getfile(decorate(plain)) == __file__


@probe("`help`")
def _(decorate: Decorate) -> None:
    text = pydoc.render_doc(decorate(plain), renderer=pydoc.plaintext)
    assert "plain(n: " in text
    assert "Multiply." in text


@probe("`__code__`, `__defaults__`, `__kwdefaults__`, `__globals__`, `__closure__`, `__annotations__`")
def _(decorate: Decorate) -> None:
    decorated = decorate(plain)
    assert [getattr(decorated, name) for name in _SHOWN] == [getattr(plain, name) for name in _SHOWN]


@probe("`copy`, `deepcopy`")
def _(decorate: Decorate) -> None:
    decorated = decorate(lambda n: n)
    assert copy.copy(decorated) is decorated
    assert copy.deepcopy([decorated])[0] is decorated


@probe("`pickle`")
def _(decorate: Decorate) -> None:
    decorated = decorate(copied())
    home_of(decorated)
    assert pickle.loads(pickle.dumps(decorated)) is decorated


@probe("`functools.wraps`")
def _(decorate: Decorate) -> None:
    wrapper: Any = functools.wraps(decorate(plain))(lambda n: n)
    assert vars(wrapper).keys() <= {"__wrapped__", *functools.WRAPPER_ASSIGNMENTS}
    assert wrapper.__name__ == "plain"


@probe("`functools.singledispatch`")
def _(decorate: Decorate) -> None:
    def of_text(value: str) -> str:
        return "text"

    dispatched: Any = functools.singledispatch(decorate(lambda value: "any"))
    dispatched.register(decorate(of_text))
    assert (dispatched(3), dispatched("a")) == ("any", "text")


@probe("`functools.partialmethod`, `singledispatchmethod`")
def _(decorate: Decorate) -> None:
    class Model:
        def scale(self, n: int) -> int:
            return 10 * n

        twice = functools.partialmethod(decorate(scale), 2)
        show = functools.singledispatchmethod(decorate(scale))

    assert (Model().twice(), Model().show(3)) == (20, 30)


@probe("`abc.abstractmethod`")
def _(decorate: Decorate) -> None:
    class Base(abc.ABC):  # noqa: B024 - it has them below a decorator
        inside = decorate(abc.abstractmethod(lambda self: 1))
        outside = abc.abstractmethod(decorate(lambda self: 2))

    assert Base.__abstractmethods__ == {"inside", "outside"}


@probe("`enum`: no member")
def _(decorate: Decorate) -> None:
    class Colour(enum.Enum):
        RED = 1
        shade = decorate(lambda self: self.value)

    assert [colour.name for colour in Colour] == ["RED"]


@probe("`unittest.mock.create_autospec`")
def _(decorate: Decorate) -> None:
    specified = unittest.mock.create_autospec(decorate(plain))
    specified(1, times=3)
    try:
        specified(1, 2, 3)
    except TypeError:
        return
    raise AssertionError("any call is accepted")


@probe("dataclass: default, `asdict`")
def _(decorate: Decorate) -> None:
    decorated = decorate(plain)

    @dataclasses.dataclass
    class Settings:
        score: Any = decorated

    assert Settings().score(2) == 4
    assert dataclasses.asdict(Settings()) == {"score": decorated}


@probe("doctest")
def _(decorate: Decorate) -> None:
    module = home_of(decorate(copied()))
    (found,) = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert doctest.DocTestRunner().run(found).failed == 0


@probe("attrs: slots and `super()`")
def _(decorate: Decorate) -> None:
    attrs = importlib.import_module("attrs")

    class Base:
        def size(self) -> int:
            return 1

    @attrs.define
    class Model(Base):
        rate: float = 0.5

        @decorate
        def size(self) -> int:
            return super().size() + 1

    assert Model().size() == 2


@probe("pydantic: `validate_call` over it")
def _(decorate: Decorate) -> None:
    pydantic = importlib.import_module("pydantic")
    assert pydantic.validate_call(decorate(plain))("2") == 4


@probe("pydantic: `validate_call` under it")
def _(decorate: Decorate) -> None:
    pydantic = importlib.import_module("pydantic")
    checked = decorate(pydantic.validate_call(plain))
    assert (checked("2"), checked("2")) == (4, 4)


@probe("pydantic: callable fields of models")
def _(decorate: Decorate) -> None:
    pydantic = importlib.import_module("pydantic")
    decorated = decorate(plain)
    model = pydantic.create_model("Model", score=(Callable[..., Any], decorated))
    assert model().model_copy(deep=True).score is decorated


@probe("pydantic: methods of models")
def _(decorate: Decorate) -> None:
    model_with_a_method(decorate, ())


@probe("pydantic: methods of models with `ignored_types`")
def _(decorate: Decorate) -> None:
    from pcache import CachedFunction

    model_with_a_method(decorate, (CachedFunction,))


def model_with_a_method(decorate: Decorate, ignored: tuple[type, ...]) -> None:
    pydantic = importlib.import_module("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(ignored_types=ignored)
        rate: int = 2

        @decorate
        def scaled(self, n: int) -> int:
            return self.rate * n

    assert Model().scaled(3) == 6


@probe("hypothesis: `@given`")
def _(decorate: Decorate) -> None:
    hypothesis = importlib.import_module("hypothesis")
    seen = []

    def check(n: int) -> None:
        seen.append(n)

    given = hypothesis.given(hypothesis.strategies.integers())
    hypothesis.settings(max_examples=3, database=None)(given(decorate(check)))()
    assert seen


@probe("typeguard: `typechecked` over it")
def _(decorate: Decorate) -> None:
    refuses_text(importlib.import_module("typeguard").typechecked(decorate(plain)))


@probe("typeguard: `typechecked` under it")
def _(decorate: Decorate) -> None:
    refuses_text(decorate(importlib.import_module("typeguard").typechecked(plain)))


def refuses_text(function: Any) -> None:
    try:
        function("a")
    except importlib.import_module("typeguard").TypeCheckError:
        return
    raise AssertionError("nothing is checked")


@probe("click: commands and options")
def _(decorate: Decorate) -> None:
    click, testing = importlib.import_module("click"), importlib.import_module("click.testing")
    command = click.command()(click.option("--n", type=int, default=3)(decorate(lambda n: click.echo(n * 2))))
    assert testing.CliRunner().invoke(command, ["--n", "4"]).output == "8\n"


@probe("typer: commands")
def _(decorate: Decorate) -> None:
    typer, testing = importlib.import_module("typer"), importlib.import_module("typer.testing")
    app = typer.Typer()
    app.command()(decorate(plain))
    assert testing.CliRunner().invoke(app, ["--times", "4"]).exit_code == 0


@probe("FastAPI: routes and dependencies")
def _(decorate: Decorate) -> None:
    fastapi = importlib.import_module("fastapi")
    client = importlib.import_module("fastapi.testclient").TestClient
    app = fastapi.FastAPI()
    app.get("/plain")(decorate(plain))
    assert client(app).get("/plain?n=5").json() == 10


@probe("APScheduler: a reference made of it")
def _(decorate: Decorate) -> None:
    util = importlib.import_module("apscheduler.util")
    decorated = decorate(copied())
    home_of(decorated)
    assert util.ref_to_obj(util.obj_to_ref(decorated)) is decorated


@probe("APScheduler: a reference given as text")
def _(decorate: Decorate) -> None:
    decorated = decorate(copied())
    name = home_of(decorated).__name__
    assert importlib.import_module("apscheduler.util").ref_to_obj(f"{name}:plain") is decorated


@probe("pytest: fixtures and tests")
def _(decorate: Decorate) -> None:
    kind = getattr(decorate, "kind", "plain")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "test_in_it.py")
        file.write_text(
            "import pytest\nfrom tests.support.frameworks import decorators\n"
            f"decorate = decorators({folder!r})[{kind!r}]\n"
            "@pytest.fixture\n@decorate\ndef number():\n    return 3\n"
            "@decorate\ndef test_number(number):\n    assert number == 3\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "1 passed" in done.stdout, done.stdout


def decorators(folder: str) -> dict[str, Decorate]:
    """The decorators that are compared: none, `@cached`, and a function around what `@cached` makes."""
    from pcache import Cache

    inner, cache = Cache(Path(folder, "inner")), Cache(Path(folder, "cache"))

    def as_function(function: Any) -> Any:
        made = inner.cached(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return made(*args, **kwargs)

        return wrapper

    def as_it_is(function: Any) -> Any:
        return cache.cached(function)

    vars(as_function)["kind"], vars(as_it_is)["kind"] = "a function around it", "@cached"
    return {"plain": lambda function: function, "@cached": as_it_is, "a function around it": as_function}


def outcome(name: str, decorate: Decorate) -> str:
    """How a probe goes: yes, or what was raised; empty where the framework is not installed."""
    try:
        PROBES[name](decorate)
    except ModuleNotFoundError as error:
        return "" if error.name and not error.name.startswith("tests") else repr(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:80].removesuffix(": ")
    return "yes"


def page() -> str:
    """The table of docs/frameworks.md."""
    rows = [f"| {name} | {'no: ' + REFUSED[name] if name in REFUSED else 'yes'} |" for name in PROBES]
    return "\n".join(["|  | works |", "|---|---|", *rows])


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        compared = decorators(folder)
        rows = [["", *compared], ["---"] * (1 + len(compared))]
        rows += [[name, *(outcome(name, decorate) for decorate in compared.values())] for name in PROBES]
    sys.stdout.write("".join(f"| {' | '.join(row)} |\n" for row in rows))


if __name__ == "__main__":
    main()
