"""Parts: what a result depends on, by labels that people read."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.fingerprint import Fingerprint, fingerprint_of, of_callable
from pcache.fingerprint.parts import Part, Parts

HELPERS = """
import math
import numpy
LIMIT = 3
def clean(x, low=0.5, *, steps=(1, 2)):
    return numpy.clip(x, low, LIMIT) * math.pi
def other(x):
    return x
class Model:
    rate = 0.25
    def __init__(self, value): self.value = value
    def predict(self): return self.value * self.rate
    @property
    def size(self): return scaled(1)
def times(factor):
    def scale(x): return x * factor
    return scale
scaled = times(7)
"""
MAIN = """
from helpers import clean, Model
def entry(x):
    return Model(clean(x)).predict()
"""


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> Any:
    """Import modules from texts, in this order; return the last."""
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        module = ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(path.read_text(), path, "exec"), vars(module))
    return module


def parts_of(folder: Path, monkeypatch: pytest.MonkeyPatch, helpers: str, main: str = MAIN) -> dict[str, Part]:
    """The parts of `main.entry`."""
    found: Fingerprint = fingerprint_of(write(folder, monkeypatch, helpers=helpers, demo=main).entry)
    return found.parts


def differing(one: dict[str, Part], other: dict[str, Part]) -> set[str]:
    """The labels of the parts that two fingerprints do not share."""
    digests = [{label: part.digest for label, part in parts.items()} for parts in (one, other)]
    return {label for label in digests[0].keys() | digests[1] if digests[0].get(label) != digests[1].get(label)}


def test_the_parts_of_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is reached has a part of its own, with what people want to see of it."""
    found = parts_of(tmp_path, monkeypatch, HELPERS)
    helpers = str(tmp_path / "helpers.py")
    assert {label: part.shown for label, part in found.items()} == {
        "function demo:entry": str(tmp_path / "demo.py"),
        "name demo:clean": "helpers:clean",
        "name demo:Model": "helpers:Model",
        "function helpers:clean": helpers,
        "constant helpers:clean(low)": "0.5",
        "constant helpers:clean(steps)": "(1, 2)",
        "constant helpers:LIMIT": "3",
        "class helpers:Model": "",
        "constant helpers:Model.rate": "0.25",
        "function helpers:Model.__init__": helpers,
        "function helpers:Model.predict": helpers,
        "function helpers:Model.size": helpers,
        "function helpers:times.<locals>.scale (helpers:scaled)": helpers,
        "constant helpers:scaled(factor)": "7",
        "package numpy": sys.modules["numpy"].__version__,
        "package python": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    assert {len(part.digest) for part in found.values()} == {16}


EDITS = {
    "LIMIT = 3": ("LIMIT = 4", "constant helpers:LIMIT"),
    "low=0.5": ("low=0.25", "constant helpers:clean(low)"),
    "(1, 2)": ("(1, 3)", "constant helpers:clean(steps)"),
    "* math.pi": ("+ math.pi", "function helpers:clean"),
    "rate = 0.25": ("rate = 0.5", "constant helpers:Model.rate"),
    "self.value * ": ("self.value + ", "function helpers:Model.predict"),
    "return scaled(1)": ("return scaled(2)", "function helpers:Model.size"),
    "x * factor": ("x - factor", "function helpers:times.<locals>.scale (helpers:scaled)"),
    "times(7)": ("times(8)", "constant helpers:scaled(factor)"),
    "return x\n": ("return x + 1\n", ""),
    "def other": ("def aside(x): return LIMIT\ndef other", ""),
}


@pytest.mark.parametrize("text", EDITS)
def test_an_edit_changes_the_part_that_it_touches(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The difference of two versions names what was edited, and nothing else."""
    edit, label = EDITS[text]
    before = parts_of(tmp_path, monkeypatch, HELPERS)
    assert differing(before, parts_of(tmp_path, monkeypatch, HELPERS.replace(text, edit))) == {label} - {""}


def test_an_inserted_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one new part, and its caller the one that changed, whatever order names are met in."""
    inserted = HELPERS.replace("return numpy", "a_helper()\n    return numpy") + "def a_helper(): pass\n"
    before = parts_of(tmp_path, monkeypatch, HELPERS)
    found = differing(before, parts_of(tmp_path, monkeypatch, inserted))
    assert found == {"function helpers:a_helper", "function helpers:clean"}


def test_a_name_with_another_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was meant is gone, what is meant is new, and the name says so; swapped names are told apart."""
    before = parts_of(tmp_path, monkeypatch, HELPERS)
    main = MAIN.replace("clean, Model", "other as clean, Model")
    found = parts_of(tmp_path, monkeypatch, HELPERS, main)
    assert {"function helpers:other", "function helpers:clean", "name demo:clean"} <= differing(before, found)
    assert found["name demo:clean"].shown == "helpers:other"
    both = "from helpers import {} as a, {} as b\ndef entry(x): return a(x), b(x)"
    one, swapped = (
        parts_of(tmp_path, monkeypatch, HELPERS, both.format(*names))
        for names in (("clean", "other"), ("other", "clean"))
    )
    assert differing(one, swapped) == {"name demo:a", "name demo:b"}


def test_function_parts_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling the file that is shown gives the same digests, without running any of it."""
    found = parts_of(tmp_path, monkeypatch, HELPERS)
    on_disk: dict[str, str] = {}

    def visit(code: CodeType) -> None:
        on_disk[f"function helpers:{code.co_qualname}"] = facts_of(code).digest.hex()[:16]
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                visit(constant)

    visit(compile((tmp_path / "helpers.py").read_text(), "elsewhere.py", "exec"))
    functions = {label: part for label, part in found.items() if label.startswith("function helpers:")}
    assert len(functions) == 5
    assert all(on_disk[label.partition(" (")[0]] == part.digest for label, part in functions.items())


def test_labels_are_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambdas and local functions are told apart by where they were met, and if that does not help by number."""
    main = """
    def deco(function):
        def wrapper(x): return function(x)
        return wrapper
    @deco
    def one(x): return x
    @deco
    def two(x): return x
    KEYS = [lambda x: x, lambda x: -x]
    def entry(x):
        return one(x) + two(x) + KEYS[0](x)
    """
    found = parts_of(tmp_path, monkeypatch, "", main)
    assert {label for label in found if label.startswith("function")} == {
        "function demo:entry",
        "function demo:deco.<locals>.wrapper (demo:one)",
        "function demo:deco.<locals>.wrapper (demo:two)",
        "function demo:one",
        "function demo:two",
        "function demo:<lambda> (demo:KEYS)",
        "function demo:<lambda> (demo:KEYS) (2)",
    }
    numbered = Parts()
    assert [numbered.unique("a") for _ in range(3)] == ["a", "a (2)", "a (3)"]


def test_a_name_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that hides a builtin, and one that does so no more while it is still called by another name."""
    main = "def sum(x): return 1\ntotal = sum\n{}def entry(x): return sum(x), total(x)"
    before = parts_of(tmp_path, monkeypatch, "", main.format(""))
    assert differing(before, parts_of(tmp_path, monkeypatch, "", main.format("del sum\n"))) == {"name demo:sum"}


def test_the_parts_of_what_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, code, files and modules each have a part; where files lie does not count."""
    module = write(tmp_path, monkeypatch, helpers=HELPERS)
    digests = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "table.csv").write_text("1,2")
        found = of_callable(module.other, "own", ("x", module.clean, module, folder / "table.csv", len))
        digests.add(found.digest)
    shown = {label: part.shown for label, part in found.parts.items() if "depends_on" in label or "file" in label}
    assert shown == {
        "depends_on[0]": "str(1)",
        "depends_on[1]": "helpers:clean",
        "depends_on[2]": "helpers",
        "file helpers.py": str(tmp_path / "helpers.py"),
        "file depends_on[3]": str(tmp_path / "b" / "table.csv"),
        "depends_on[4]": "builtins.len",
    }
    assert "function helpers:other" in found.parts
    assert len(digests) == 1
