"""What is followed, how, and what ends it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache.fingerprint.fingerprint import Fingerprint, fingerprint_of

Print = Callable[[str], Fingerprint]


@pytest.fixture
def print_of(monkeypatch: pytest.MonkeyPatch) -> Print:
    """The fingerprint of `entry` in a text that is a module of its own; `helpers` beside it are what it names `h`."""

    def make(text: str) -> Fingerprint:
        helpers, _, main = text.rpartition("# main\n")
        for name in ("helpers", "demo"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for name, body in (("helpers", helpers), ("demo", main)):
            module: Any = sys.modules[name]
            exec(compile(textwrap.dedent(body), f"/nowhere/{name}.py", "exec"), vars(module))
        return fingerprint_of(module.entry)

    return make


# One text each, in which a number is what is edited, and the part that then differs.
FOLLOWED = {
    "a module's function called as what changes a list": (
        "def update(x): return x + {}\n# main\nimport helpers as h\ndef entry(x): return h.update(x)",
        "function helpers:update",
    ),
    "a number added to an index": ("N = {}\ndef entry(d, c): d[c + N] = 1", "constant demo:N"),
    "a number added to an index of what is added to": ("N = {}\ndef entry(d, c): d[c + N] += 1", "constant demo:N"),
    "a negative index": ("N = [{}]\ndef entry(d): d[-N] = 1", "constant demo:N"),
    "what is stored": ("N = [{}]\ndef entry(d, i): d[i] = N", "constant demo:N"),
    "what is stored in what is stored": ("N = [{}]\ndef entry(d, i): d.x[i] = d[i] = N", "constant demo:N"),
    "a frame's method called as what changes a set": (
        "import pandas\nTABLE = pandas.DataFrame(dict(a=[1, {}]))\ndef entry(x): return TABLE.add(x)",
        "constant demo:TABLE",
    ),
    "a method called as what changes a list": (
        "class Sum:\n    def add(self, x): return x + {}\nTOTAL = Sum()\ndef entry(x): return TOTAL.add(x)",
        "function demo:Sum.add",
    ),
    "an instance of the user's": (
        "class Scale:\n    def __init__(self, by): self.by = by\nSCALE = Scale({})\ndef entry(x): return SCALE",
        "constant demo:SCALE",
    ),
    "an instance inside of an instance": (
        "class Scale:\n    def __init__(self, by): self.by = by\nS = Scale([Scale({{1: {}}})])\ndef entry(x): return S",
        "constant demo:S",
    ),
    "a dict of the user's": (
        "class Table(dict): pass\nTABLE = Table(a={})\ndef entry(x): return TABLE",
        "constant demo:TABLE",
    ),
    "a registry": (
        "class Registry:\n    def __init__(self): self.found = []\n    def add(self, f): self.found.append(f)\n"
        "REGISTRY = Registry()\n@REGISTRY.add\ndef one(): return {}\ndef entry(x): return REGISTRY.found",
        "function demo:one",
    ),
    "a decorator that is a class": (
        "class Times:\n    def __init__(self, f): self.f = f\n    def __call__(self, x): return self.f(x)\n"
        "@Times\ndef twice(x): return x * {}\ndef entry(x): return twice(x)",
        "function demo:twice",
    ),
    "an object of a package": (
        "import numpy\nGENERATOR = numpy.poly1d([1, {}])\ndef entry(x): return GENERATOR(x)",
        "constant demo:GENERATOR",
    ),
    "a table": (
        "import pandas\nTABLE = pandas.DataFrame(dict(a=[1, {}]))\ndef entry(x): return TABLE",
        "constant demo:TABLE",
    ),
    "a package's object that holds a function": (
        "import numpy\ndef one(x): return {}\nEACH = numpy.vectorize(one)\ndef entry(x): return EACH(x)",
        "function demo:one",
    ),
    "an ordered dict of functions": (
        "import collections\ndef one(): return {}\nALL = collections.OrderedDict(one=one)\ndef entry(): return ALL",
        "function demo:one",
    ),
    "a default factory": (
        "import collections\ndef one(): return {}\nALL = collections.defaultdict(one)\ndef entry(): return ALL['a']",
        "function demo:one",
    ),
    "a read-only dict": (
        "import types\nALL = types.MappingProxyType(dict(one={}))\ndef entry(): return ALL",
        "constant demo:ALL",
    ),
    "a method of a list": ("GET = [1, {}].index\ndef entry(x): return GET(x)", "name demo:GET"),
    "a method of an instance": (
        "class Scale:\n    def run(self): return {}\nRUN = Scale().run\ndef entry(): return RUN()",
        "function demo:Scale.run",
    ),
    "getattr by a text": (
        "def clean(x): return {}\n# main\nimport helpers\ndef entry(x): return getattr(helpers, 'clean')(x)",
        "function helpers:clean",
    ),
    "getattr by one of several texts": (
        "def clean(x): return {}\n# main\nimport helpers\n"
        "def entry(x): return [getattr(helpers, n)(x) for n in ('other', 'clean')]",
        "function helpers:clean",
    ),
    "vars of a module": (
        "def clean(x): return {}\n# main\nimport helpers\ndef entry(x): return vars(helpers)['clean'](x)",
        "function helpers:clean",
    ),
    "globals by a text": (
        "def clean(x): return {}\ndef entry(x): return globals()['clean'](x)",
        "function demo:clean",
    ),
    "a function's attribute": (
        "def clean(x): return clean.low\nclean.low = {}\ndef entry(x): return clean(x)",
        "constant demo:clean.low",
    ),
    "a module's __getattr__": (
        "def __getattr__(name): return {}\n# main\nimport helpers\ndef entry(x): return helpers.anything",
        "function helpers:__getattr__",
    ),
    "a single dispatch method": (
        "import functools\nclass A:\n    @functools.singledispatchmethod\n    def f(self, x): return 0\n"
        "    @f.register\n    def _(self, x: int): return {}\ndef entry(x): return A().f(x)",
        "function demo:A._",
    ),
    "a context manager's function": (
        "import contextlib\n@contextlib.contextmanager\ndef held(x): yield {}\ndef entry(x):\n    with held(x): pass",
        "function demo:held",
    ),
    "a function of a long list": (
        "def one(x): return {}\nALL = [*range(2000), one]\ndef entry(x): return ALL",
        "function demo:one",
    ),
    "names of a class inside of a function": (
        "def one(): return {}\ndef entry(x):\n    class A:\n        class B:\n            z = one()\n    return A",
        "function demo:one",
    ),
    "a metaclass": (
        "class Meta(type):\n    def __len__(cls): return {}\nclass A(metaclass=Meta): pass\ndef entry(): return len(A)",
        "function demo:Meta.__len__",
    ),
    "an exception's class": (
        "class Wrong(Exception):\n    def __str__(self): return str({})\n"
        "def entry(x):\n    try:\n        return x()\n    except Wrong as error:\n        return str(error)",
        "function demo:Wrong.__str__",
    ),
    "what a star import brings": (
        "def clean(x): return {}\n# main\nfrom helpers import *\ndef entry(x): return clean(x)",
        "function helpers:clean",
    ),
    "a cached function": (
        "import pcache\n@pcache.cached(version={})\ndef one(x): return x\ndef entry(x): return one(x)",
        "constant demo:one",
    ),
    "the code of a cached function": (
        "import pcache\n@pcache.cached\ndef one(x): return x + {}\ndef entry(x): return one(x)",
        "function demo:one",
    ),
    "a function that two modules import in a circle": (
        "import demo\ndef clean(x): return demo.entry(x) + {}\n# main\nimport helpers\n"
        "def entry(x): return helpers.clean(x)",
        "function helpers:clean",
    ),
    "a compiled pattern": (
        "import re\nPATTERN = re.compile('a{{%d}}' % {})\ndef entry(x): return PATTERN.match(x)",
        "constant demo:PATTERN",
    ),
}

RUN = "def run(x): return x + {}\n# main\nimport helpers as h\n"
FOLLOWED |= {
    "a module in a table": (RUN + "T = dict(h=h)\ndef entry(x): return T[x].run(x)", "function helpers:run"),
    "a module in an instance": (
        RUN + "class A:\n    def __init__(self): self.h = h\nONE = A()\ndef entry(x): return ONE.h.run(x)",
        "function helpers:run",
    ),
    "a module in a class": (RUN + "class A:\n    own = h\ndef entry(x): return A.own.run(x)", "function helpers:run"),
    "a module that is a default": (
        RUN + "def use(x, m=h): return m.run(x)\ndef entry(x): return use(x)",
        "function helpers:run",
    ),
    "a module handed to a helper": (
        RUN + "def use(m, x): return m.run(x)\ndef entry(x): return use(h, x)",
        "function helpers:run",
    ),
    "an attribute of a function in a table": (
        "def one(x): return x\none.weight = {}\nT = [one]\ndef entry(x): return T[0].weight",
        "constant demo:one.weight",
    ),
    "a subclass that is looked up": (
        "class A: pass\nclass B(A):\n    def f(self): return {}\n"
        "def entry(x): return [one().f() for one in A.__subclasses__()]",
        "function demo:B.f",
    ),
    "a registered subclass": (
        "import abc\nclass A(abc.ABC): pass\nclass B: pass\nclass C: pass\nA.register([B, C][{} - 1])\n"
        "def entry(x): return isinstance(x, A)",
        "class demo:A",
    ),
    "annotations that are read": (
        "X = [int, str]\nclass A:\n    x: X[{} - 1]\ndef entry(x): return A.__annotations__",
        "constant class demo:A.__annotations__",
    ),
    "annotations of a function that are read": (
        "import inspect\nX = [int, str]\ndef one(x: X[{} - 1]): return x\ndef entry(x): return inspect.signature(one)",
        "constant function demo:one.__annotations__",
    ),
    "metadata of a field": (
        "from dataclasses import dataclass, field, fields\n@dataclass\nclass A:\n"
        "    x: int = field(default=1, metadata=dict(unit={}))\ndef entry(x): return fields(A)",
        "constant demo:A.__dataclass_fields__",
    ),
    "a docstring that is read": (
        "def one(): '{}'\ndef entry(): return one.__doc__",
        "constant function demo:one.__doc__",
    ),
    "type arguments of a base class": (
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]): pass\n"
        "class B(A[[int, str][{} - 1]]): pass\ndef entry(x): return B.__orig_bases__",
        "constant class demo:B.__orig_bases__",
    ),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_what_is_followed(case: str, print_of: Print) -> None:
    """An edit of it changes the fingerprint, in the part that is named."""
    text, label = FOLLOWED[case]
    before, same, after = (print_of(text.format(value)) for value in (1, 1, 2))
    assert before.digest == same.digest != after.digest
    assert before.parts[label].digest == same.parts[label].digest != after.parts[label].digest


NOT_FOLLOWED = {
    "a counter of an instance": (
        "class A:\n    def __init__(self): self.n = 0\n    def f(self): self.n += 1\nONE = A()\nONE.n = {}\n"
        "def entry(): return ONE.f()"
    ),
    "a counter of a function": (
        "def one(): one.calls += 1; return one.calls\none.calls = {}\ndef entry(): return one()"
    ),
    "an assigned attribute of a module": (
        "level = {}\n# main\nimport helpers as h\ndef entry():\n    h.level = 1\n    return h.level"
    ),
    "a table that the code fills": "T = dict(a={})\ndef entry(x):\n    T[x] = 1\n    return T[x]",
    "a function's table that the code fills": (
        "def one(x):\n    one.known[x] = 1\n    return one.known\none.known = dict(a={})\ndef entry(x): return one(x)"
    ),
    "a counter of a function in a table": (
        "def one(): one.calls += 1; return one.calls\none.calls = {}\nT = [one]\ndef entry(): return T[0]()"
    ),
    "an attribute of a module in a table that nobody mentions": (
        "low = {}\nhigh = 2\n# main\nimport helpers\nT = [helpers]\ndef entry(): return T[0].high"
    ),
    "the environment": "from os import environ\nenviron['PCACHE_TEST'] = str({})\ndef entry(): return environ",
    "a logger": "import logging\nLOG = logging.getLogger('x{}')\ndef entry(): LOG.info('x')",
    "an unused attribute of a module": "low = {}\nhigh = 2\n# main\nimport helpers\ndef entry(): return helpers.high",
    "the text of an annotation": "X = {}\ndef one(x: 'X') -> 'X': return x\ndef entry(x): return one(x)",
}


@pytest.mark.parametrize("case", NOT_FOLLOWED)
def test_what_is_not_followed(case: str, print_of: Print) -> None:
    """What the code changes itself, and what the program did not write, is no constant."""
    before, after = (print_of(NOT_FOLLOWED[case].format(value)) for value in (1, 2))
    assert before.digest == after.digest


def test_objects_that_have_no_key(print_of: Print) -> None:
    """Locks, open files and objects that refuse to be pickled count by their classes, and by what else they hold."""
    text = """
    import threading
    class Client:
        def __init__(self, size): self.lock, self.size = threading.Lock(), size
    class Refusing:
        def __init__(self): self.size = {0}
        def __reduce_ex__(self, protocol): raise TypeError("no")
    CLIENT = Client({1})
    REFUSING = Refusing()
    LOCK = threading.Lock()
    def entry(): return CLIENT, LOCK, REFUSING
    """
    before, same, one, other = (print_of(text.format(*values)) for values in ((1, 1), (1, 1), (1, 2), (2, 1)))
    assert before.digest == same.digest
    assert before.parts["constant demo:CLIENT"] != one.parts["constant demo:CLIENT"]
    assert before.parts["constant demo:REFUSING"] != other.parts["constant demo:REFUSING"]


def test_objects_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, print_of: Print) -> None:
    """They count by value, also where they contain themselves."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "a_package.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(folder)
    text = "import a_package\nTHING = a_package.Thing()\nTHING.size = {}\nTHING.other = {}\ndef entry(): return THING"
    values = [print_of(text.format(size, 1)).digest for size in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    circles = [print_of(text.format(size, "[THING]")).digest for size in (1, 1, 2)]
    assert circles[0] == circles[1] != circles[2]
    del sys.modules["a_package"]


def test_objects_that_contain_each_other_end(print_of: Print) -> None:
    """Instances in cycles, long chains of them, and lists that repeat their parts sixty levels deep."""
    found = print_of("""
    class Node:
        def __init__(self, name): self.name, self.links = name, []
    ONE, TWO = Node("one"), Node("two")
    ONE.links += [TWO, ONE]
    TWO.links += [ONE, entry] if "entry" in globals() else [ONE]
    CHAIN = Node("last")
    for i in range(3000):
        CHAIN, before = Node(i), CHAIN
        CHAIN.links.append(before)
    DEEP = [1]
    for _ in range(60):
        DEEP = [DEEP, DEEP]
    def entry(): return ONE, CHAIN, DEEP
    ONE.links.append(entry)
    """)
    assert {"constant demo:ONE", "constant demo:CHAIN", "constant demo:DEEP", "class demo:Node"} <= found.parts.keys()


def test_an_implementation_that_is_added_later(print_of: Print) -> None:
    """A single dispatch function that learns another type has another fingerprint."""
    text = "import functools\n@functools.singledispatch\ndef area(x): return 1\ndef entry(x): return area(x)"
    print_of(text)
    module: Any = sys.modules["demo"]
    before = fingerprint_of(module.entry)
    module.area.register(int, lambda x: 2)
    after = fingerprint_of(module.entry)
    assert before.digest != after.digest
    assert after is fingerprint_of(module.entry)


PYDANTIC = """
import pydantic
class Item(pydantic.BaseModel):
    price: float = pydantic.Field(default=1.0, gt={0})
    @pydantic.field_validator("price", mode="{1}")
    @classmethod
    def check(cls, value): return value * {2}
    nested: list["Item"] = []
ITEM = Item()
def entry(): return ITEM
"""


def test_pydantic_models(print_of: Print) -> None:
    """Fields, constraints and validators count; the addresses that a model keeps of classes do not."""
    pytest.importorskip("pydantic")
    edits = [(0, "after", 1), (0, "after", 1), (0.5, "after", 1), (0, "before", 1), (0, "after", 2)]
    kept = []  # two classes have the same address only one after the other
    digests = []
    for values in edits:
        digests.append(print_of(PYDANTIC.format(*values)).digest)
        kept.append(sys.modules["demo"])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_modules_that_nobody_registered() -> None:
    """A plugin loaded by hand is the user's, though `sys.modules` does not know it."""
    digests = set()
    for value in (1, 2):
        namespace: dict[str, Any] = {"__name__": "plugin_by_hand"}
        exec(f"LOW = {value}\ndef helper(): return LOW\ndef entry(): return helper()", namespace)
        found = fingerprint_of(namespace["entry"])
        assert "constant plugin_by_hand:LOW" in found.parts
        digests.add(found.digest)
    assert len(digests) == 2


def test_packages_without_an_init_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of modules is the user's, and its modules are followed."""
    (tmp_path / "loose_folder").mkdir()
    (tmp_path / "loose_folder" / "part.py").write_text("def clean(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("loose_folder.part")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("import loose_folder.part\ndef entry(x): return loose_folder.part.clean(x)", namespace)
    assert "function loose_folder.part:clean" in fingerprint_of(namespace["entry"]).parts
    del sys.modules["loose_folder"], sys.modules["loose_folder.part"]


IMPORTING = """
import sys
from pcache.fingerprint.fingerprint import fingerprint_of
sys.path.insert(0, {folder!r})
def entry(x):
    from late_package import middle, LIMIT
    import json
    return middle.run(x)
found = fingerprint_of(entry)
files = sorted(label for label in found.parts if label.startswith("file"))
print(found.digest.hex(), files, "late_package" in sys.modules)
"""


def test_imports_inside_of_functions(tmp_path: Path) -> None:
    """The modules that they load count by their code, without being imported: all of them, not only the first."""
    folder = tmp_path / "late_package"
    folder.mkdir()
    texts = {
        "__init__": "LIMIT = 1\n",
        "middle": "from . import last\ndef run(x):\n    return last.run(x)\n",
        "last": "import sys\nfrom late_package.middle import run as back\ndef run(x):\n    return x\n",
        "unused": "def run(x):\n    return x\n",
    }

    def run(**edits: str) -> str:
        for name, text in (texts | edits).items():
            (folder / f"{name}.py").write_text(text)
        command = [sys.executable, "-c", IMPORTING.format(folder=str(tmp_path))]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent.parent
        ).stdout

    before = run()
    labels = [f"file import late_package{name}" for name in ("", ".last", ".middle")]
    assert before.split(maxsplit=1)[1] == f"{labels} False\n"
    assert run(last=texts["last"].replace("return x", "return -x")) != before
    assert run(middle=texts["middle"].replace("last.run(x)", "last.run(-x)")) != before
    assert run(__init__="LIMIT = 2\n") != before
    assert run(unused="def run(x):\n    return 1\n", last="# why\n" + texts["last"]) == before
    assert run(last="def run(x: return") != before


def test_scripts_under_other_names(tmp_path: Path) -> None:
    """A script run by its file and by -m agrees on its functions, and so do texts; a renamed one does not."""
    text = textwrap.dedent("""
    from pcache.fingerprint.fingerprint import fingerprint_of
    class Model:
        rate = 2
        def run(self, x): return super().__eq__(x)
    def helper(x, y=3): return Model().run(x) + y
    def entry(x): return helper(x) if __name__ else None
    print(fingerprint_of(entry).digest.hex())
    """)
    (tmp_path / "one.py").write_text(text)
    (tmp_path / "two.py").write_text("\n\n# moved\n" + text)
    commands = [["one.py"], ["two.py"], ["-m", "one"], ["-c", text], ["-"]]
    prints = [
        subprocess.run(
            [sys.executable, *command],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        ).stdout
        for command in commands
    ]
    one, two, by_name, by_text, by_pipe = prints
    assert one == by_name
    assert by_text == by_pipe
    assert len({one, two, by_text}) == 3
