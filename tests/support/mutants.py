"""A program of several modules whose entry reaches all of it, and single edits of it.

The texts are imported anew for each edit, under the same names.
"""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from pcache.fingerprint.fingerprint import Fingerprint, fingerprint_of

ENTRY = '''
"""What is cached."""
import functools
import operator
from app import helpers as h, models
from app.deep import sub
import app.deep.sub.leaf
from app.helpers import area, clean as tidy, managed, retried, LIMITS
from app.models import *
from app.flow import steps

WEIGHT = 2.5
NAMES = ("north", "south")
CODES = {"a": 1, "b": [2, 3]}
ALLOWED = frozenset({"x", "y"})
DOUBLE = functools.partial(h.scale, 2, offset=1)
PICK = operator.attrgetter("rate")
KEYS = [lambda v: v + 1, lambda v: v - 1]
TABLE = {"tidy": tidy, "half": h.half}
CONFIG = Config(3, name="main")
LEAST = Plugin("least")
state = {"calls": 0}


class Local(Base):
    scale: int = 4

    def run(self, x):
        return super().run(x) * self.scale + self.shift

    def __call__(self, x, by=h.SHIFT):
        return self.run(x) + by


LOCAL = Local(5)


def entry(x, y=2):
    total = WEIGHT * x + tidy(x, 3)
    total += LOCAL(x) + DOUBLE(x) + KEYS[0](x)
    if x in ALLOWED and NAMES[0] != "north":
        total -= CODES["a"]
    for name, function in TABLE.items():
        total += function(y)
    if not (0 < total <= h.LIMIT):
        total = area(x) if area(x) else area("x")
    with managed(x) as value:
        total += value - retried(x, y)
    total += models.describe(Color.RED, Point(1, 2), CONFIG) + PICK(CONFIG)
    total += sub.leaf.grow(x) + app.deep.sub.leaf.FACTOR + sub.SETTINGS.depth
    state["calls"] += 1
    return steps(x, [total, LIMITS[1:2]], *NAMES, key=LEAST, **CODES)
'''

HELPERS = '''
"""Helpers of all kinds."""
import contextlib
import functools
from app import models

LIMIT = 100
SHIFT = 7
LIMITS = [1, 2, (3, "four")]


def retry(times, *, wait=0):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            for attempt in range(times):
                try:
                    return function(*args, **kwargs)
                except (ValueError, KeyError) as error:
                    if attempt == times - 1:
                        raise RuntimeError("failed") from error
                except models.Refused:
                    continue
                finally:
                    wait
            return None
        return wrapper
    return decorate


def plain(function):
    def inner(x, y):
        return function(x, y) or FALLBACK
    return inner


FALLBACK = -1


def clean(x, low=0.5, *, high=None):
    if low < x < (high or LIMIT):
        return x - low
    return low if x < low else -x


def scale(factor, x, offset=0):
    return factor * x + offset


def half(x):
    """Half of it."""
    return x / 2


@retry(3, wait=0.25)
def retried(x, y):
    return x ** y % 7


def make_adder(n):
    def add(x):
        return x + n
    return add


ADD = make_adder(11)


@functools.lru_cache(maxsize=8)
def remembered(x):
    return ADD(x) & 255


@plain
def guarded(x, y):
    return [x, y]


@contextlib.contextmanager
def managed(x):
    yield x + 1
    opened.remove(x) if x in opened else None


opened = []


@functools.singledispatch
def area(x):
    return remembered(x)


@area.register
def _(x: int):
    return x * x + settings.unit


@area.register(str)
def of_text(x):
    return len(x) // 2


@area.register(models.Point)
def _(x):
    return x.x + area.bonus


area.bonus = 9


def settings():
    return guarded(settings.unit, 1)


settings.unit = 13
'''

MODELS = '''
"""Classes of all kinds."""
import abc
import dataclasses
import enum
import functools
from typing import NamedTuple, Union

Number = Union[int, float]
BONUS = 17


def fresh():
    return [BONUS]


def tagged(cls):
    cls.tag = cls.__name__.lower()
    return cls


class Refused(Exception):
    code = 41


class Registering(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.number = 19
        return made


class Plugin(metaclass=Registering):
    def __init__(self, name):
        self.name = name

    def __init_subclass__(cls, weight=1, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.weight = weight

    def __class_getitem__(cls, item):
        return item * 3

    def __enter__(self):
        return self.name

    def __exit__(self, *error):
        return False


class Heavy(Plugin, weight=23):
    """A heavy one."""
    unit = "kg"


@tagged
class Base(abc.ABC):  # noqa: B024
    shift = 29
    limits = {"low": 1, "high": (2, 3)}

    def __init__(self, start):
        self.start = start
        self.calls = 0

    @abc.abstractmethod
    def run(self, x):
        self.calls += 1
        return x - self.start + self.fast + self.slow + self.fixed(x) + type(self).made(1).start

    @property
    def fast(self):
        return self.start * 2

    @fast.setter
    def fast(self, value):
        self.start = value // 2

    @functools.cached_property
    def slow(self):
        return sum(i for i in range(self.start) if i % 3)

    @staticmethod
    def fixed(x):
        return x or 31

    @classmethod
    def made(cls, start):
        return cls(start + 1)

    bigger = functools.partialmethod(fast.fget)

    @functools.singledispatchmethod
    def show(self, x):
        return x

    @show.register
    def _(self, x: int):
        return x + 37

    class Inner:
        depth = 43

        def go(self):
            return [self.depth] * 2


class Color(enum.Enum):
    RED = 1
    GREEN = "green"

    def label(self):
        return self.name + "!"


class Point(NamedTuple):
    x: int
    y: int = 47

    def norm(self):
        return abs(self.x) + abs(self.y)


@dataclasses.dataclass(order=True)
class Config:
    limit: int
    rate: float = 0.5
    items: list = dataclasses.field(default_factory=fresh)
    name: str = "none"
    __match_args__ = ("limit", "name")

    def total(self):
        return self.limit * self.rate


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a=53):
        self.a = a


SLOTTED = Slotted(59)


def describe(color, point, config):
    match config:
        case Config(0, name):
            return len(name)
        case Config(limit=1) | None:
            return 1
        case [first, *_]:
            return first
        case {"key": value} if value > 3:
            return value
        case _:
            pass
    made = Heavy("x")[2] if isinstance(color, Color) else SLOTTED.a
    return made + point.norm() + config.total() + isinstance(color, Number)
'''

FLOW = '''
"""Statements of all kinds."""
import app.helpers
from app import entry as main

count = 0
TYPES = (int, Ellipsis, b"raw", 1j, True)


def steps(x, rest, *args, key=None, **kwargs):
    global count
    count += 1
    text = f"{x!r:>{4}} and {len(rest)} of {TYPES[0]}"
    if (size := len(text)) > 10:
        rest[0:2] = [size]
    first, *others = args
    del rest[-1]
    values = {k: v for k, v in kwargs.items() if k is not None}
    unique = {abs(v) for v in others if v not in (1, 2)}
    pairs = sorted(((a, b) for a in values for b in unique), key=lambda pair: pair[1])
    while pairs:
        pair = pairs.pop()
        if pair[0] == first:
            break
        if not pair[1]:
            continue
    else:
        text = text.upper()
    assert size >= 0, "small"

    def inner(depth=2):
        nonlocal size
        size -= 1
        return inner(depth - 1) if depth else size

    class Counter:
        start = 5

        def next(self):
            self.start <<= 1
            return self.start

    chosen = getattr(app.helpers, "half")(x) if x else later(x)
    made = [inner(), Counter().next(), chosen, gen(x), work(x)]
    return [*made, key, choose(x), main.WEIGHT, text[::2], rest[:3], *unique]


def later(x):
    from app import lazy
    return lazy.value(x)


def gen(x):
    received = yield x + 61
    yield from [received, -x]


async def work(x):
    async with x as y:
        result = await y.get(67)
    async for item in result:
        print(item, sep=", ")
    return [i async for i in result if i]


if TYPES:
    def choose(x):
        return x
'''

SUB = """
from app.deep.sub import leaf


class Settings:
    def __init__(self, depth):
        self.depth = depth


SETTINGS = Settings(71)
"""

LEAF = """
FACTOR = 73


def grow(x):
    return x * FACTOR + ratio


def __getattr__(name):
    return 79


ratio = 0.125
"""

APP = {
    "app": "",
    "app.entry": ENTRY,
    "app.helpers": HELPERS,
    "app.models": MODELS,
    "app.flow": FLOW,
    "app.deep": "",
    "app.deep.sub": SUB,
    "app.deep.sub.leaf": LEAF,
}
_PACKAGES = ("app", "app.deep", "app.deep.sub")


class _Texts(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Imports modules from texts."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.texts:
            return None
        spec = importlib.util.spec_from_file_location(
            name,
            self.get_filename(name),
            loader=self,
            submodule_search_locations=[name] if name in _PACKAGES else None,
        )
        assert spec is not None
        spec.cached = None
        return spec

    def get_filename(self, fullname: str) -> str:
        return "/nowhere/" + fullname.replace(".", "/") + ("/__init__.py" if fullname in _PACKAGES else ".py")

    def get_source(self, fullname: str) -> str:
        return self.texts[fullname]

    def get_code(self, fullname: str) -> CodeType:
        text = self.texts[fullname]
        if (fullname, text) not in _compiled:
            _compiled[fullname, text] = compile(text, self.get_filename(fullname), "exec")
        return _compiled[fullname, text]

    def is_package(self, fullname: str) -> bool:
        return fullname in _PACKAGES


_compiled: dict[tuple[str, str], CodeType] = {}


def load(texts: Mapping[str, str], module: str = "app.entry") -> Any:
    """Import the modules anew; return one of them."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]
    finder = _Texts(texts)
    sys.meta_path.insert(0, finder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an edit may compare with a literal by `is`
            return importlib.import_module(module)
    finally:
        sys.meta_path.remove(finder)


def print_of(texts: Mapping[str, str]) -> Fingerprint:
    """The fingerprint of the entry of a program."""
    return fingerprint_of(load(texts).entry)


def differing(one: Fingerprint, other: Fingerprint) -> dict[str, str]:
    """The labels of the parts that differ, each with how: gone, new or changed."""
    found = {}
    for label in sorted(one.parts.keys() | other.parts.keys()):
        before, after = one.parts.get(label), other.parts.get(label)
        if before is None or after is None:
            found[label] = "new" if before is None else "gone"
        elif before.digest != after.digest:
            found[label] = "changed"
    return found


class Mutant(NamedTuple):
    """One edit: its kind, module and function, and the module's text after it."""

    title: str
    module: str
    function: str  # qualified name of the outermost function around it; "" for code that runs at import
    text: str


_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Eq,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Not: ast.USub,
    ast.USub: ast.Invert,
}


def edits_of(node: ast.AST) -> Iterator[tuple[str, dict[str, Any]]]:
    """Single edits of a node, as the fields to replace."""
    for field in ("op", "ops"):
        operator = getattr(node, field, None)
        first = operator[0] if isinstance(operator, list) else operator
        if type(first) in _SWAPS:
            swapped = _SWAPS[type(first)]()
            yield "operator", {field: [swapped, *operator[1:]] if isinstance(operator, list) else swapped}
    match node:
        case ast.Constant(value=bool(value)):
            yield "constant", {"value": not value}
            yield "type", {"value": int(value)}
        case ast.Constant(value=int(value)):
            yield "constant", {"value": value + 1}
            yield "type", {"value": float(value)}
        case ast.Constant(value=float() | complex() as value):
            yield "constant", {"value": value * 2}
        case ast.Constant(value=str() | bytes() as value):
            yield "constant", {"value": value + value[:1]}
        case ast.Constant(value=None):
            yield "constant", {"value": 0}
        case ast.BinOp(left=left, right=right):
            yield "operands", {"left": right, "right": left}
        case ast.BoolOp(values=values) | ast.JoinedStr(values=values):
            yield "order", {"values": values[::-1]}
        case ast.Compare(comparators=[*_, last], left=left):
            yield "compared", {"left": last}
        case ast.IfExp(body=body, orelse=orelse):
            yield "branches", {"body": orelse, "orelse": body}
        case ast.Call(args=[first, second, *rest]):
            yield "arguments", {"args": [second, first, *rest]}
            yield "dropped argument", {"args": [first, *rest]}
        case ast.Call(keywords=[_, *rest]):
            yield "dropped keyword", {"keywords": rest}
        case ast.Attribute(attr=attr) | ast.MatchValue(value=ast.Attribute(attr=attr)):
            yield "attribute", {"attr": attr + "_"}
        case ast.List(elts=elts) | ast.Tuple(elts=elts) if len(elts) > 1:
            yield "order", {"elts": elts[::-1]}
        case ast.List(elts=elts):
            yield "tuple", {"elts": [*elts, ast.Constant(0)]}
        case ast.Dict(keys=keys, values=values) if len(keys) > 1:
            yield "order", {"keys": keys[::-1], "values": values[::-1]}
        case ast.If(body=body, orelse=orelse) if orelse:
            yield "branches", {"body": orelse, "orelse": body}
        case ast.If(test=test) | ast.While(test=test):
            yield "condition", {"test": ast.UnaryOp(ast.Not(), test)}
        case ast.For(orelse=[]) | ast.While(orelse=[]):
            yield "else", {"orelse": node.body}
        case ast.Return(value=ast.expr() as value):
            yield "result", {"value": ast.Tuple([value], ast.Load())}
        case ast.comprehension(ifs=[_, *rest]):
            yield "filter", {"ifs": rest}
        case ast.comprehension(iter=iterated):
            yield "filter", {"ifs": [iterated]}
        case ast.FormattedValue(conversion=conversion):
            yield "conversion", {"conversion": ord("a") if conversion == ord("r") else ord("r")}
        case ast.Slice(lower=lower, upper=upper) if lower or upper:
            yield "slice", {"lower": upper, "upper": lower}
        case ast.ExceptHandler(type=ast.Tuple(elts=[first, *_])):
            yield "exception", {"type": first}
        case ast.ExceptHandler(type=ast.expr()):
            yield "exception", {"type": ast.Name("OSError", ast.Load())}
        case ast.match_case(guard=ast.expr()):
            yield "guard", {"guard": None}
        case ast.MatchClass(kwd_attrs=[first, *_]):
            yield "attribute", {"kwd_attrs": [first + "_"]}
        case ast.FunctionDef(decorator_list=[_, *rest]) | ast.ClassDef(decorator_list=[_, *rest]):
            yield "decorator", {"decorator_list": rest}
        case ast.ClassDef(bases=[_, *rest]):
            yield "base", {"bases": rest}
        case ast.arguments(defaults=[_, *rest]):
            yield "default", {"defaults": rest}
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        if isinstance(node, ast.Module) or not isinstance(statements, list):
            continue
        for i, statement in enumerate(statements):
            if not isinstance(statement, (ast.Pass, ast.FunctionDef, ast.Global, ast.Nonlocal)) and not _is_doc(
                statement
            ):
                kept = [*statements[:i], ast.Pass(), *statements[i + 1 :]]
                yield f"without line {ast.unparse(statement).splitlines()[0]!r}", {field: kept}


def _is_doc(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """The nodes of a module that run, each with the qualified name of the outermost function it is in."""

    def visit(node: ast.AST, scope: str, function: str) -> Iterator[tuple[ast.AST, str]]:
        if _is_doc(node):
            return
        yield node, function
        if not function and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = scope + node.name
            for child in (*node.decorator_list, *getattr(node, "bases", ()), *getattr(node, "keywords", ())):
                yield from visit(child, scope, "")
            if isinstance(node, ast.ClassDef):
                for child in node.body:
                    yield from visit(child, inner + ".", "")
                return
            yield from visit(ast.arguments([], [], None, [], [], None, node.args.defaults), scope, "")
            for child in node.body:
                yield from visit(child, inner + ".<locals>.", inner)
            return
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, scope, function)

    yield from visit(tree, "", "")


def mutants(texts: Mapping[str, str]) -> Iterator[Mutant]:
    """All single edits of the functions and of the code at import that change what Python compiles."""
    for module, text in texts.items():
        tree = ast.parse(text)
        before = compile(ast.unparse(tree), module, "exec")
        for node, function in places(tree):
            for title, fields in edits_of(node):
                line = f"{title} in {ast.unparse(node).splitlines()[0]!r}" if hasattr(node, "lineno") else title
                kept = {name: getattr(node, name) for name in fields if hasattr(node, name)}
                for name, value in fields.items():
                    setattr(node, name, value)
                edited = ast.unparse(copy.copy(tree))
                for name, value in kept.items():
                    setattr(node, name, value)
                compiled = _compile(edited, module)
                if compiled is not None and compiled != before:
                    yield Mutant(line, module, function, edited)


def _compile(text: str, module: str) -> CodeType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile(text, module, "exec")
    except SyntaxError:
        return None
