"""A small program of several modules, with edits of it: each touches one cached function, or none."""

from __future__ import annotations

from typing import NamedTuple

FILES = {
    "study/__init__.py": "from .values import *\n",
    "study/values.py": '''
"""Constants."""
import re
from fractions import Fraction

from pcache import File

LIMIT = 10
DOUBLE = LIMIT * 2
BASE = 3
TOTAL = BASE + 1
TABLE = {"a": 1, "b": 2}
WHOLE = {"x": 1, "y": 2}
NAMES = ("n", "m")
TITLE = f"limit {LIMIT}"
PATTERN = re.compile("a+")
SHARE = Fraction(1, 3)
LATE = 1
LATE = 2
DATA = File("data.txt")
KEY = lambda x: x + 1
OTHER_KEY = lambda x: x + 2
''',
    "study/models.py": '''
import dataclasses
import enum
import logging
from typing import NamedTuple

log = logging.getLogger(__name__)


class Base:
    """A base."""

    def scale(self):
        return 2


class Model(Base):
    rate = 0.5

    def __init__(self, n):
        self.n = n

    def run(self):
        return self.n * self.scale()


class Rated:
    rate = 0.5
    limit = 3

    def run(self):
        return self.rate


class Prop:
    @property
    def double(self):
        return 4


@dataclasses.dataclass
class Conf:
    a: int = 1
    b: float = 2.0


@dataclasses.dataclass
class Shape:
    width: int = 1


CONF = Conf(a=3)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: int
    y: int = 3
''',
    "study/tools.py": """
from functools import partial, wraps

from .values import LIMIT


def deepest(x):
    return x + 1


def deep(x):
    return deepest(x)


def body(x):
    return x * 2


def low(x, floor=0, *, most=LIMIT):
    return max(floor, min(x, most))


def retry(n):
    def decorate(function):
        @wraps(function)
        def wrapper(*args):
            for _ in range(n):
                pass
            return function(*args)

        return wrapper

    return decorate


@retry(3)
def again(x):
    return x


def clean(x):
    return x


clean.limit = 4
tidy = body
half = partial(low, floor=1)
count = 0
seen = {"start": 0}


def counter(x):
    global count
    count += 1
    return x


def collect(x):
    seen[x] = 1
    return x


def moved(x):
    return x - 1


def dropped(x):
    return x - 2


def inner(x):
    def nested(y):
        return y + 1

    return nested(x)


FAST = True
if FAST:
    def chosen(x):
        return x + 20
else:
    def chosen(x):
        return x + 30


def documented(x):
    "Return it."
    return x


def unused(x):
    return x
""",
    "study/places.py": """
def elsewhere(x):
    return x - 1
""",
    "study/tasks.py": """
import math
import os

from pcache import Cache

from study import models, tools, values
from study.tools import dropped, moved

cache = Cache("cache")
cached = cache.cached
tools.RATE = 2


def ran(name):
    os.write(9, (name + "\\n").encode())


CODE
""",
    "data.txt": "a",
    "main.py": """
import os
import sys

os.dup2(os.open("ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 9)
from study import tasks

if __name__ == "__main__":
    for name in sorted(vars(tasks)):
        if name.startswith("t_"):
            vars(tasks)[name](1)
    tasks.Worker().work(1)
""",
}
WORKER = """

class Worker:
    @cached
    def work(self, x):
        ran("work")
        return self.step(x)

    def step(self, x):
        return x
"""
# Cached functions by name: what they return, and how they are decorated.
TASKS = {
    "own": "x + 1",
    "helper": "tools.body(x)",
    "deep": "tools.deep(x)",
    "limit": "values.LIMIT",
    "computed": "values.TOTAL",
    "double": "values.DOUBLE",
    "item": 'values.TABLE["a"]',
    "whole": "list(values.WHOLE)",
    "names": "values.NAMES",
    "title": "values.TITLE",
    "pattern": "values.PATTERN.pattern",
    "share": "values.SHARE",
    "key": "values.KEY(x)",
    "low": "tools.low(x)",
    "again": "tools.again(x)",
    "attribute": "tools.clean.limit",
    "tidy": "tools.tidy(x)",
    "half": "tools.half(x)",
    "counter": "tools.counter(x)",
    "collect": "tools.collect(x)",
    "moved": "moved(x)",
    "dropped": "dropped(x)",
    "nested": "tools.inner(x)",
    "model": "models.Model(x).run()",
    "rated": "models.Rated().run()",
    "prop": "models.Prop().double",
    "conf": "models.Conf(1).a",
    "shape": "models.Shape().width",
    "instance": "models.CONF.a",
    "color": "models.Color.RED.value",
    "point": "models.Point(1).y",
    "log": "models.log.name",
    "text": 'f"{x} of {x}"',
    "lambda": "(lambda y: y + 1)(x)",
    "chained": "t_own(x)",
    "math": "math.floor(x)",
    "builtin": "sum([x])",
    "default": "k",
    "late": "values.LATE",
    "data": "open(values.DATA).read()",
    "chosen": "tools.chosen(x)",
    "documented": "tools.documented.__doc__",
    "set": "tools.RATE",
    "versioned": "x",
    "ignoring": "x",
}
SIGNATURES = {"default": "x, k=2", "ignoring": "x, verbose=False"}
DECORATORS = {"versioned": "@cached(version=1)", "ignoring": '@cached(ignore=["verbose"])'}


def files() -> dict[str, str]:
    """The files of the program as it is at first."""
    code = "\n\n".join(
        f"{DECORATORS.get(name, '@cached')}\n"
        f"def t_{name}({SIGNATURES.get(name, 'x')}):\n"
        f"    ran('t_{name}')\n"
        f"    return {value}\n"
        for name, value in TASKS.items()
    )
    code += WORKER
    return {name: text.replace("CODE", code) for name, text in FILES.items()}


class Edit(NamedTuple):
    """An edit of one file, and the functions that are computed anew after it."""

    what: str
    file: str
    before: str
    after: str
    computes: tuple[str, ...]


VALUES, MODELS, TOOLS, TASKS_FILE = "study/values.py", "study/models.py", "study/tools.py", "study/tasks.py"
# Rounds of edits that touch different functions, so that one run of the program shows what each of them does.
ROUNDS = (
    (
        Edit("body", TASKS_FILE, "return x + 1", "return x + 2", ("t_own", "t_chained")),
        Edit("helper", TOOLS, "return x * 2", "return x * 3", ("t_helper", "t_tidy")),
        Edit("helper of a helper", TOOLS, "return x + 1\n\n\ndef deep(", "return x + 5\n\n\ndef deep(", ("t_deep",)),
        Edit(
            "constant that others use",
            VALUES,
            "LIMIT = 10",
            "LIMIT = 11",
            ("t_limit", "t_double", "t_title", "t_low", "t_half"),
        ),
        Edit("read item of a dict", VALUES, '"a": 1, ', '"a": 5, ', ("t_item",)),
        Edit("order of a dict", VALUES, '"x": 1, "y": 2', '"y": 2, "x": 1', ("t_whole",)),
        Edit("class attribute", MODELS, "    rate = 0.5\n    limit", "    rate = 0.7\n    limit", ("t_rated",)),
        Edit("method of a base", MODELS, "        return 2", "        return 3", ("t_model",)),
        Edit("property", MODELS, "return 4", "return 5", ("t_prop",)),
        Edit(
            "new field of a dataclass",
            MODELS,
            "    b: float = 2.0",
            "    b: float = 2.0\n    c: int = 1",
            ("t_conf", "t_instance"),
        ),
        Edit("enum member", MODELS, "BLUE = 2", "BLUE = 4", ("t_color",)),
        Edit("default of a named tuple", MODELS, "y: int = 3", "y: int = 4", ("t_point",)),
        Edit("version=", TASKS_FILE, "version=1", "version=2", ("t_versioned",)),
        Edit("ignore=", TASKS_FILE, '@cached(ignore=["verbose"])', "@cached", ("t_ignoring",)),
        Edit("f-string", TASKS_FILE, "{x} of {x}", "{x} in {x}", ("t_text",)),
        Edit("lambda", TASKS_FILE, "lambda y: y + 1", "lambda y: y + 3", ("t_lambda",)),
        Edit(
            "shadowed builtin",
            TASKS_FILE,
            "import math\n",
            "import math\n\ndef sum(x):\n    return 3\n",
            ("t_builtin",),
        ),
        Edit("decorator's argument", TOOLS, "@retry(3)", "@retry(4)", ("t_again",)),
        Edit("attribute of a function", TOOLS, "clean.limit = 4", "clean.limit = 5", ("t_attribute",)),
        Edit("initial value of a counter", TOOLS, "count = 0", "count = 7", ("t_counter",)),
        Edit("initial value of a dict", TOOLS, '"start": 0', '"start": 1', ("t_collect",)),
        Edit("nested function", TOOLS, "return y + 1", "return y + 2", ("t_nested",)),
        Edit(
            "moved function",
            TASKS_FILE,
            "import dropped, moved",
            "import dropped\nfrom study.places import elsewhere as moved",
            ("t_moved",),
        ),
        Edit("module-level lambda", VALUES, "KEY = lambda x: x + 1", "KEY = lambda x: x + 2", ("t_key",)),
    ),
    (
        Edit("docstring", VALUES, '"""Constants."""', '"""Constants, and more."""', ()),
        Edit("comment", TOOLS, "def deep(x):", "# deep\ndef deep(x):  # it is", ()),
        Edit("docstring of a function", TOOLS, "def body(x):", 'def body(x):\n    "Twice."', ()),
        Edit("annotations", TOOLS, "def moved(x):", "def moved(x: int) -> int:", ()),
        Edit("format", VALUES, 'NAMES = ("n", "m")', "NAMES = (\n    'n',\n    'm',\n)", ()),
        Edit("computed otherwise", VALUES, "TOTAL = BASE + 1", "TOTAL = 4", ()),
        Edit("unread item of a dict", VALUES, '"b": 2', '"b": 3', ()),
        Edit("unused function", TOOLS, "def unused(x):\n    return x", "def unused(x):\n    return x + 9", ()),
        Edit("docstring of a class", MODELS, '"""A base."""', '"""The base."""', ()),
        Edit("order of methods", TASKS_FILE, "import math\n", "import itertools\nimport math\n", ()),
        Edit(
            "new import and constant",
            MODELS,
            "import logging\n",
            "import json\nimport logging\n\nNEW = json.dumps(1)\n",
            (),
        ),
        Edit("option without effect", TASKS_FILE, "@cached(version=2)", "@cached(version=2, ttl=3600)", ()),
        Edit("order of members", MODELS, "    rate = 0.7\n    limit = 3", "    limit = 3\n    rate = 0.7", ()),
    ),
    (
        Edit("tuple", VALUES, "'m',", "'k',", ("t_names",)),
        Edit("literal of a package's class", VALUES, "Fraction(1, 3)", "Fraction(1, 4)", ("t_share",)),
        Edit("compiled pattern", VALUES, '"a+"', '"b+"', ("t_pattern",)),
        Edit("constant that a constant uses", VALUES, "BASE = 3", "BASE = 4", ()),
        Edit("default of a helper", TOOLS, "floor=0", "floor=-1", ("t_low", "t_half")),
        Edit("default of the function itself", TASKS_FILE, "k=2", "k=3", ("t_default",)),
        Edit("other name for a function", TOOLS, "tidy = body", "tidy = deep", ("t_tidy",)),
        Edit("type of a field", MODELS, "width: int", "width: float", ("t_shape",)),
        Edit("second value", VALUES, "LATE = 2", "LATE = 3", ("t_late",)),
        Edit("first value", VALUES, "LATE = 1", "LATE = 0", ()),
        Edit("content of a file", "data.txt", "a", "b", ("t_data",)),
        Edit("condition", TOOLS, "FAST = True", "FAST = False", ("t_chosen",)),
        Edit("docstring that is read", TOOLS, '"Return it."', '"Give it."', ("t_documented",)),
        Edit("attribute of a module", TASKS_FILE, "tools.RATE = 2", "tools.RATE = 3", ("t_set",)),
        Edit("instance", MODELS, "Conf(a=3)", "Conf(a=4)", ("t_instance",)),
        Edit("deleted helper", TASKS_FILE, "from study.tools import dropped\n", "dropped = abs\n", ("t_dropped",)),
        Edit(
            "method beside a cached one",
            TASKS_FILE,
            "def step(self, x):\n        return x",
            "def step(self, x):\n        return x + 1",
            ("work",),
        ),
        Edit(
            "renamed method",
            MODELS,
            "def run(self):\n        return self.n * self.scale()",
            "def run(self):\n        return self.scale() * self.n",
            ("t_model",),
        ),
        Edit(
            "meaning of a module's name",
            TASKS_FILE,
            "import itertools\nimport math\n",
            "import cmath as math\n\nmath.floor = round\n",
            ("t_math",),
        ),
    ),
)
