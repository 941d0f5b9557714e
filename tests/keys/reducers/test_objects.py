"""Instances, classes, functions and modules in keys."""

from __future__ import annotations

import dataclasses
import enum
import functools
import http
import importlib
import pickle
import re
import subprocess
import sys
import textwrap
import types
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import attrs
import numpy as np
import pydantic
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.key_values import key_of
from tests.support.alike import Groups, check
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass
class Point:
    """A dataclass that holds an array and remembers what it computed."""

    x: Any
    y: Any = 0
    tags: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A dataclass with slots."""

    x: Any
    y: Any = 0


@attrs.define
class Settings:
    """A class of attrs with slots."""

    x: Any
    tags: set[str] = attrs.field(factory=set)


@attrs.frozen
class Constant:
    """A hashable class of attrs, whose `__hash__` holds another number in every process."""

    x: Any


@attrs.define(slots=False)
class Plain:
    """A class of attrs without slots."""

    x: Any


class Model(pydantic.BaseModel):
    """A model of pydantic, whose schema holds another address in every process."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    limits: ClassVar[dict[str, int]] = {"low": 1}
    a: int = 1
    tags: set[str] = set()
    child: Model | None = None
    array: Any = None


class OpenModel(pydantic.BaseModel):
    """A model that takes further fields, and has a private one."""

    model_config = pydantic.ConfigDict(extra="allow")
    a: int = 1
    _seen: int = pydantic.PrivateAttr(default=0)


@pydantic.dataclasses.dataclass
class CheckedPoint:
    """A dataclass of pydantic."""

    x: int = 1


class Pair(NamedTuple):
    """A named tuple."""

    left: Any
    right: Any = 0


class OtherPair(NamedTuple):
    """Another one of the same fields."""

    left: Any
    right: Any = 0


class Color(enum.Enum):
    """An enumeration with an alias."""

    RED = 1
    GREEN = 2
    ROUGE = RED


class Level(enum.IntEnum):
    """Members that are integers."""

    LOW = 1


class Access(enum.Flag):
    """Members that combine."""

    READ = 1
    WRITE = 2


class Text(str):
    """A text with attributes."""


class Number(int):
    """A number of its own kind."""


class Items(list[Any]):
    """A list with attributes."""


class Table(dict[str, Any]):
    """A dict with attributes."""


def with_note(value: Any, note: str) -> Any:
    value.note = note
    return value


def adder(n: Any) -> Any:
    return lambda x: x + n


def open_model(**fields: Any) -> Any:
    return OpenModel(**fields)


def seen(model: Any, times: int) -> Any:
    model._seen = times
    return model


def shown(model: Any) -> Any:
    """A model after everything that pydantic computes on demand was asked for."""
    assert repr(model)
    assert model.model_dump_json()
    assert type(model).model_json_schema()
    assert model == model.model_copy()
    return model


def groups() -> Groups:
    """Objects that are alike, and those that only look so."""
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 1])
    wide = np.zeros((3, 4))
    wide[:, ::4] = x
    words = ["north", "south", "east"]
    forest = functools.partial(RandomForestClassifier, n_estimators=2, random_state=1)
    return {
        "dataclass": [
            Point(1),
            Point(x=1, y=0),
            dataclasses.replace(Point(2), x=1),
            pickle.loads(pickle.dumps(Point(1))),
        ],
        "dataclass of another number": [Point(True)],
        "dataclass of an array": [Point(x), Point(wide[:, ::4]), Point(np.asfortranarray(x))],
        "dataclass of a set": [Point(1, tags=set(words)), Point(1, tags=set(words[1:] + words[:1]))],
        "frozen": [Frozen(1), Frozen(1, 0), dataclasses.replace(Frozen(2), x=1)],
        "attrs": [Settings(1), attrs.evolve(Settings(2), x=1), pickle.loads(pickle.dumps(Settings(1)))],
        "attrs of a set": [Settings(1, set(words)), Settings(1, set(words[1:] + words[:1]))],
        "attrs, frozen": [Constant(1), Constant(x=1)],
        "attrs, hashed": [{Constant(2): 1}, {Constant(2): 1}],
        "attrs without slots": [Plain(1), Plain(1)],
        "model": [Model(), shown(Model()), pickle.loads(pickle.dumps(Model())), Model.model_validate({})],
        "model, said": [Model(a=1), shown(Model(a=1)), Model.model_validate({"a": "1"})],
        "model, copied": [
            Model(a=1, tags=set(words)),
            Model(a=1, tags=set(words[1:] + words[:1])).model_copy(deep=True),
        ],
        "model of a model": [Model(child=Model(a=2)), Model(child={"a": 2})],
        "model of an array": [Model(array=x), Model(array=wide[:, ::4])],
        "open model": [open_model(a=1), open_model(a=1)],
        "open model with more": [open_model(a=1, b=2), open_model(a=1, b=2)],
        "open model, private": [seen(open_model(a=1), 3), seen(open_model(a=1), 3)],
        "checked dataclass": [CheckedPoint(2), CheckedPoint("2")],  # type: ignore[arg-type]
        "class of models": [Model, shown(Model()).__class__],
        "named tuple": [Pair(1), Pair(1, 0), Pair(2)._replace(left=1)],
        "other named tuple": [OtherPair(1)],
        "tuple": [(1, 0)],
        "member": [Color.RED, Color(1), Color["RED"], Color.ROUGE],
        "other member": [Color.GREEN],
        "integer member": [Level.LOW],
        "flags": [Access.READ | Access.WRITE, Access(3)],
        "flag": [Access.READ],
        "enumeration": [Color],
        "status": [http.HTTPStatus.OK, http.HTTPStatus(200)],
        "flags of re": [re.I | re.M, re.M | re.I],
        "text": ["a"],
        "kind of text": [Text("a")],
        "text with a note": [with_note(Text("a"), "x"), with_note(Text("a"), "x")],
        "number": [1],
        "kind of number": [Number(1)],
        "items": [Items([1])],
        "items with a note": [with_note(Items([1]), "x")],
        "table": [Table(a=1)],
        "table with a note": [with_note(Table(a=1), "x")],
        "lambda": [adder(1), adder(1)],
        "lambda with a number of another type": [adder(True)],
        "lambda with an array": [adder(x), adder(wide[:, ::4])],
        "partial": [functools.partial(adder, 1), functools.partial(adder, 1)],
        "method": [Point(1).__eq__, Point(1).__eq__],
        "method of another": [Point(2).__eq__],
        "estimator": [Ridge(), Ridge(alpha=1.0), pickle.loads(pickle.dumps(Ridge()))],
        "other estimator": [Ridge(alpha=2.0)],
        "fitted": [Ridge().fit(x, y), Ridge().fit(x.copy(), y)],
        "fitted to other numbers": [Ridge().fit(x, y[::-1])],
        "pipeline": [make_pipeline(StandardScaler(), Ridge()), make_pipeline(StandardScaler(), Ridge())],
        "forest": [forest().fit(x, y), forest().fit(x.copy(), y)],
        "other forest": [forest().fit(x, y[::-1])],
        "module of Python": [re, importlib.import_module("re")],
        "submodule of Python": [importlib.import_module("importlib.util")],
        "package": [np],
        "subpackage": [np.linalg],
    }


def test_alike() -> None:
    """What an object was made with, and how it was asked before, does not count; what it holds does."""
    check(groups())


def test_which_fields_of_a_model_were_set_counts() -> None:
    """A function sees it: `model_dump(exclude_unset=True)` leaves the others out."""
    assert Model() == Model(a=1)
    assert key_of(Model()) != key_of(Model(a=1))


EDITS = {
    "pydantic": (
        "class it(pydantic.BaseModel):\n    a: {} = {}",
        "int 1",
        "float 1",
        "int 2",
        "int pydantic.Field(1,gt=0)",
    ),
    "attrs": (
        "@attrs.define\nclass it:\n    a: {} = {}",
        "int 1",
        "int 2",
        "int attrs.field(default=1,converter=float)",
    ),
    "attrs, frozen": ("@attrs.frozen\nclass it:\n    a: {} = {}", "int 1", "int 2"),
    "dataclass": ("@dataclasses.dataclass\nclass it:\n    a: {} = {}", "int 1", "int 2"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_class_has_another_key(kind: str) -> None:
    """Generated methods and schemas are part of a class, without the numbers in them that no other process has."""
    template, *edits = EDITS[kind]

    def made(edit: str) -> Any:
        namespace = {"__name__": "__main__", "attrs": attrs, "pydantic": pydantic, "dataclasses": dataclasses}
        exec(template.format(*edit.split()), namespace)
        return namespace["it"]

    keys = [key_of(made(edit)()) for edit in edits]
    assert len(set(keys)) == len(edits)
    assert [key_of(made(edit)()) for edit in edits] == keys


# Modules


def module_from(folder: Path, source: str, name: str = "settings_of_test") -> Any:
    """A module of the user's, as a new process would import it."""
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return importlib.import_module(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second would not be seen
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_modules_of_the_user_count_by_source_and_content(folder: Path) -> None:
    """Another source, a constant that was set since, and an edited function make another argument."""
    source = (
        "import threading\nLIMIT = 3\nTABLE = {'a': [1]}\nlock = threading.Lock()\ndef f(x):\n    return x + LIMIT\n"
    )
    first = key_of(module_from(folder, source))
    module = module_from(folder, source)
    assert key_of(module) == first
    module.LIMIT = 4
    second = key_of(module)
    module.LIMIT = 3
    module.TABLE["a"].append(2)
    third = key_of(module)
    edited = key_of(module_from(folder, source.replace("x + LIMIT", "x - LIMIT")))
    other_lock = key_of(module_from(folder, source.replace("Lock()", "Lock() if LIMIT else None")))
    assert len({first, second, third, edited, other_lock}) == 5
    assert key_of([module_from(folder, source)]) == key_of([module_from(folder, source)])


def test_modules_that_know_each_other(folder: Path) -> None:
    """A circle of imports ends, and an edit anywhere in it counts."""
    one = "import circle_two\nNAME = 'one'\ndef f():\n    return circle_two.g()\n"
    two = "import circle_one\ndef g():\n    return {}\n"
    keys = []
    for number in (1, 1, 2):
        (folder / "circle_two.py").write_text(two.format(number))
        sys.modules.pop("circle_two", None)
        keys.append(key_of(module_from(folder, one, "circle_one")))
    assert keys[0] == keys[1] != keys[2]


def test_modules_of_python_count_by_version() -> None:
    """The name is part of the key, and Python's version, where the code is not ours to follow."""
    posix = importlib.import_module("posixpath")
    assert len({key_of(module) for module in (sys, re, posix, types, np, np.linalg)}) == 6
    assert key_of({"module": sys}) == key_of({"module": importlib.import_module("sys")})


def test_modules_made_at_run_time_count_by_what_they_hold(folder: Path) -> None:
    """Their name says nothing, be it that of another module."""
    for name in ("made_here", "json", "numpy"):
        made = [types.ModuleType(name) for _ in range(3)]
        for module, value in zip(made, (1, 1, 2), strict=True):
            module.value = value  # type: ignore[attr-defined]
        assert key_of(made[0]) == key_of(made[1]) != key_of(made[2])
    sys.modules["made_here"] = types.ModuleType("made_here")
    before = key_of(sys.modules["made_here"])
    sys.modules["made_here"].value = 1  # type: ignore[attr-defined]
    assert key_of(sys.modules["made_here"]) != before


def test_a_main_program_passes_its_modules(folder: Path) -> None:
    """A module of the program's folder has one key in every process that runs it."""
    (folder / "options.py").write_text("DEPTH = {'a', 'b', 'c'}\ndef f():\n    return DEPTH\n")
    program = "import options\nfrom tests.key_values import key_of\nprint(key_of(options))"
    environment = {"PYTHONPATH": f"{ROOT}:{folder}"}
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
