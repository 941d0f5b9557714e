"""Single edits of a program: each that changes what it does changes the fingerprint of its entry, and no other does."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mutants import APP, Mutant, differing, mutants, print_of

PLAIN = {name: ast.unparse(ast.parse(text)) for name, text in APP.items()}

# What the generator edits and nobody sees, or the documents say does not count.
UNSEEN = {
    "app.entry": {
        "constant in '2'": "defaults of the entry are bound arguments",
        "type in '2'": "the same",
    },
    "app.helpers": {
        "dropped keyword in 'functools.lru_cache(maxsize=8)'": "how many results are remembered is no part of them",
        "constant in '8'": "the same",
        "decorator in '@functools.wraps(function)'": "a name for people",
        "without line 'return None' in '@functools.wraps(function)'": "the function ends there",
    },
}


def runs_at_import(mutant: Mutant) -> bool:
    """Whether the edited function is called at import: what it makes changes with it."""
    names = "retry plain make_adder fresh tagged Registering Plugin.__init Base.__init__ Base.run Settings.__init__"
    return mutant.function.startswith(tuple(names.split()))


@pytest.mark.parametrize("module", [name for name, text in APP.items() if text])
def test_no_edit_is_missed(module: str) -> None:
    """Every edit that the generator makes is seen, and in the part of the function that it is in."""
    before = print_of(PLAIN)
    missed: list[str] = []
    elsewhere = []
    seen = 0
    for mutant in mutants({module: PLAIN[module]}):
        try:
            after = print_of({**PLAIN, module: mutant.text})
        except Exception:
            continue
        found = differing(before, after)
        assert bool(found) == (before.digest != after.digest)
        seen += 1
        own = f"function {module}:{mutant.function}"
        changed = {label.partition(" (")[0].partition(".<locals>")[0] for label in found if found[label] == "changed"}
        if not found:
            missed.append(mutant.title)
        # Which attribute code assigns also decides what is state, and no constant.
        rest = changed - {own} if "self.start" not in mutant.title else set()
        if found and mutant.function and (own not in changed or rest) and not runs_at_import(mutant):
            elsewhere.append((mutant[:3], found))
    assert sorted(missed) == sorted(UNSEEN.get(module, ()))
    assert elsewhere == []
    assert seen >= {"app.deep.sub": 3, "app.deep.sub.leaf": 10}.get(module, 90)


# By hand: module, text, what takes its place, and the parts that differ.
EDITS: list[tuple[str, str, str, str]] = [
    ("entry", "WEIGHT = 2.5", "WEIGHT = 2", "constant app.entry:WEIGHT"),
    ("entry", '("north", "south")', '["north", "south"]', "constant app.entry:NAMES"),
    ("entry", '{"x", "y"}', '{"x", "z"}', "constant app.entry:ALLOWED"),
    ("entry", "[2, 3]}", "[3, 2]}", "constant app.entry:CODES"),
    ("entry", "h.scale, 2, offset=1", "h.scale, 2, offset=2", "constant app.entry:DOUBLE"),
    ("entry", "h.scale, 2, offset=1", "h.clean, 2, offset=1", "constant app.entry:DOUBLE; function app.helpers:scale"),
    ("entry", 'attrgetter("rate")', 'attrgetter("limit")', "constant app.entry:PICK"),
    ("entry", 'attrgetter("rate")', 'itemgetter("rate")', "constant app.entry:PICK"),
    ("entry", "lambda v: v - 1", "lambda v: v - 2", "function app.entry:<lambda> (app.entry:KEYS) (2)"),
    ("entry", "KEYS = [lambda v: v + 1, lambda v: v - 1]", "KEYS = [abs, abs]", "constant app.entry:KEYS"),
    ("entry", '"half": h.half', '"half": h.clean', "constant app.entry:TABLE"),
    ("entry", '"tidy": tidy', '"neat": tidy', "constant app.entry:TABLE"),
    ("entry", "Config(3,", "Config(4,", "constant app.entry:CONFIG"),
    ("entry", 'Plugin("least")', 'Plugin("most")', "constant app.entry:LEAST"),
    ("entry", 'Plugin("least")', 'Heavy("least")', "constant app.entry:LEAST"),
    ("entry", "by=h.SHIFT", "by=h.LIMIT", "constant app.entry:Local.__call__(by)"),
    ("entry", "scale: int = 4", "scale: int = 5", "constant app.entry:Local.scale"),
    ("entry", "class Local(Base):", "class Local(Base, Plugin.__bases__[0]):", "class app.entry:Local"),
    ("entry", "class Local(Base):", "class Mixin:\n    pass\nclass Local(Mixin, Base):", "class app.entry:Local"),
    ("entry", "LOCAL = Local(5)", "LOCAL = Local(6)", "constant app.entry:LOCAL"),
    ("entry", "LOCAL = Local(5)", "LOCAL = Local(5)\nLOCAL.extra = 1", "constant app.entry:LOCAL"),
    (
        "entry",
        "clean as tidy",
        "half as tidy",
        "name app.entry:tidy; constant app.entry:TABLE; function app.helpers:clean",
    ),
    ("entry", "LOCAL = Local(5)", "LOCAL = Local(5)\nh, models = models, h", "name app.entry:h; name app.entry:models"),
    ("entry", "from app.flow import steps", "from app.flow import later as steps", "name app.entry:steps"),
    ("entry", "total = WEIGHT * x", "total = WEIGHT @ x", "function app.entry:entry"),
    ("entry", "def entry(x, y=2)", "def entry(x, *, y=2)", "function app.entry:entry"),
    ("helpers", "LIMITS = [1, 2, (3,", "LIMITS = [1, 2, (4,", "constant app.entry:LIMITS"),
    ("helpers", "@retry(3, wait=0.25)", "@retry(4, wait=0.25)", "constant app.helpers:retried(times)"),
    ("helpers", "@retry(3, wait=0.25)\n", "", "name app.entry:retried"),
    ("helpers", "@retry(3, wait=0.25)\n", "@plain\n", "name app.entry:retried"),
    (
        "helpers",
        "if attempt == times - 1",
        "if attempt == times",
        "function app.helpers:retry.<locals>.decorate.<locals>.wrapper (app.helpers:retried)",
    ),
    (
        "helpers",
        "(ValueError, KeyError)",
        "(ValueError, models.Refused)",
        "function app.helpers:retry.<locals>.decorate.<locals>.wrapper (app.helpers:retried)",
    ),
    ("helpers", "FALLBACK = -1", "FALLBACK = -1.0", "constant app.helpers:FALLBACK"),
    ("helpers", "low=0.5, *, high=None", "low=0.25, *, high=None", "constant app.helpers:clean(low)"),
    ("helpers", "low=0.5, *, high=None", "low=0.5, *, high=10", "constant app.helpers:clean(high)"),
    ("helpers", "def clean(x, low=0.5, *,", "def clean(x, low=LIMIT, *,", "constant app.helpers:clean(low)"),
    ("helpers", "make_adder(11)", "make_adder(12)", "constant app.helpers:ADD(n)"),
    ("helpers", "return x + n", "return n + x", "function app.helpers:make_adder.<locals>.add (app.helpers:ADD)"),
    ("helpers", "@functools.lru_cache(maxsize=8)\n", "", "constant app.helpers:remembered"),
    ("helpers", "ADD(x) & 255", "ADD(x) & 256", "function app.helpers:remembered"),
    ("helpers", "@contextlib.contextmanager\n", "", "name app.entry:managed"),
    ("helpers", "yield x + 1", "yield x + 2", "function app.helpers:managed"),
    ("helpers", "x * x + settings.unit", "x + settings.unit", "function app.helpers:_ (app.entry:area[int])"),
    ("helpers", "@area.register(str)", "@area.register(bytes)", "name app.entry:area"),
    ("helpers", "@area.register(str)\n", "", "name app.entry:area; function app.helpers:of_text"),
    ("helpers", "area.bonus = 9", "area.bonus = 10", "constant app.helpers:area.bonus"),
    ("helpers", "settings.unit = 13", "settings.unit = 14", "constant app.helpers:settings.unit"),
    ("models", "code = 41", "code = 42", "constant app.models:Refused.code"),
    ("models", "class Refused(Exception)", "class Refused(OSError)", "class app.models:Refused"),
    ("models", "made.number = 19", "made.number = 20", "function app.models:Registering.__call__"),
    ("models", "weight=23", "weight=24", "constant app.models:Heavy.weight"),
    ("models", "cls.weight = weight", "cls.weight = -weight", "function app.models:Plugin.__init_subclass__"),
    ("models", "return item * 3", "return item * 4", "function app.models:Plugin.__class_getitem__"),
    ("models", "return self.name\n", "return self\n", "function app.models:Plugin.__enter__"),
    ("models", "@tagged\n", "", "class app.models:Base"),
    ("models", "shift = 29", "shift = 30", "constant app.models:Base.shift"),
    ("models", '"high": (2, 3)', '"high": (2, 4)', "constant app.models:Base.limits"),
    ("models", "return self.start * 2", "return self.start * 3", "function app.models:Base.fast"),
    ("models", "value // 2", "value // 3", "function app.models:Base.fast (app.models:Base.fast.setter)"),
    ("models", "if i % 3)", "if i % 4)", "function app.models:Base.slow"),
    ("models", "return x or 31", "return x or 32", "function app.models:Base.fixed"),
    ("models", "    @staticmethod\n", "", "class app.models:Base"),
    ("models", "cls(start + 1)", "cls(start + 2)", "function app.models:Base.made"),
    ("models", "partialmethod(fast.fget)", "partialmethod(fast.fget, 1)", "class app.models:Base"),
    ("models", "return x + 37", "return x + 38", "function app.models:Base._"),
    ("models", "depth = 43", "depth = 44", "constant app.models:Base.Inner.depth"),
    ("models", "[self.depth] * 2", "[self.depth] * 3", "function app.models:Base.Inner.go"),
    ("models", "RED = 1", "RED = 2", "constant app.models:Color.RED"),
    ("models", "    RED = 1\n", "    BLUE = 0\n    RED = 1\n", "constant app.models:Color._member_names_"),
    ("models", "enum.Enum", "str, enum.Enum", "class app.models:Color"),
    ("models", "y: int = 47", "y: int = 48", "constant app.models:Point._field_defaults"),
    ("models", "abs(self.x) + abs(self.y)", "abs(self.x) - abs(self.y)", "function app.models:Point.norm"),
    ("models", "rate: float = 0.5", "rate: float = 0.75", "constant app.models:Config.rate"),
    ("models", "default_factory=fresh", "default_factory=list", "function app.models:fresh"),
    ("models", "return [BONUS]", "return [BONUS, 1]", "function app.models:fresh"),
    ("models", "BONUS = 17", "BONUS = 18", "constant app.models:BONUS"),
    ("models", '("limit", "name")', '("limit", "rate")', "constant app.models:Config.__match_args__"),
    ("models", "order=True", "order=False", "class app.models:Config"),
    ("models", "order=True", "frozen=True", "class app.models:Config"),
    ("models", "    rate: float = 0.5\n", "", "class app.models:Config"),
    ("models", "Slotted(59)", "Slotted(60)", "constant app.models:SLOTTED"),
    ("models", '("a",)', '("a", "b")', "constant app.models:Slotted.__slots__"),
    ("models", "Union[int, float]", "Union[int, str]", "constant app.models:Number"),
    ("models", 'case {"key": value}', 'case {"kez": value}', "function app.models:describe"),
    ("models", "case [first, *_]", "case [*_, first]", "function app.models:describe"),
    ("flow", "count = 0", "count = 3", "making app.flow:count"),
    ("flow", 'b"raw"', '"raw"', "constant app.flow:TYPES"),
    ("flow", "1j, True", "1j, 1", "constant app.flow:TYPES"),
    ("flow", "{x!r:>{4}}", "{x!s:>{4}}", "function app.flow:steps"),
    ("flow", "(size := len(text)) > 10", "(size := len(text)) > 11", "function app.flow:steps"),
    ("flow", "first, *others = args", "*others, first = args", "function app.flow:steps"),
    ("flow", "del rest[-1]", "del rest[0]", "function app.flow:steps"),
    ("flow", "        nonlocal size\n", "        size = 5\n", "function app.flow:steps"),
    ("flow", "global count\n", "count = 1\n", "function app.flow:steps"),
    ("flow", "self.start <<= 1", "self.start <<= 2", "function app.flow:steps"),
    ("flow", "start = 5", "start = 6", "function app.flow:steps"),
    ("flow", 'getattr(app.helpers, "half")', 'getattr(app.helpers, "clean")', "function app.flow:steps"),
    ("flow", "yield from [received, -x]", "yield [received, -x]", "function app.flow:gen"),
    ("flow", "async for item in result", "for item in result", "function app.flow:work"),
    ("flow", "await y.get(67)", "y.get(67)", "function app.flow:work"),
    ("deep.sub", "Settings(71)", "Settings(72)", "constant app.deep.sub:SETTINGS"),
    ("deep.sub.leaf", "FACTOR = 73", "FACTOR = 74", "constant app.deep.sub.leaf:FACTOR"),
    ("deep.sub.leaf", "return 79", "return 80", "function app.deep.sub.leaf:__getattr__"),
    ("deep.sub.leaf", "ratio = 0.125", "ratio = -0.125", "constant app.deep.sub.leaf:ratio"),
    ("deep.sub.leaf", "x * FACTOR", "x / FACTOR", "function app.deep.sub.leaf:grow"),
]


def test_edits_by_hand() -> None:
    """Each is seen, and among the parts that differ is the one that was edited."""
    before = print_of(APP)
    wrong = []
    for name, old, new, labels in EDITS:
        text = APP[f"app.{name}"]
        assert old in text, old
        after = print_of({**APP, f"app.{name}": text.replace(old, new, 1)})
        found = differing(before, after)
        assert bool(found) == (before.digest != after.digest)
        if not found or not set(filter(None, labels.split("; "))) <= set(found):
            wrong.append((old, new, labels, found))
    assert wrong == []
    assert len(EDITS) > 100


# Neutral edits, of every module at once: pattern and what takes its place.
NEUTRAL = {
    "comments": (r"(?m)^( *)(return|def|class|if|for) ", r"\1# why\n\1\2 "),
    "trailing comments": (r"(?m)(:|\))$", r"\1  # why"),
    "blank lines": (r"(?m)^( *)(return|def|class|if|for) ", r"\n\n\1\2 "),
    "above": (r"\A", '"""What it is."""\n' + "# line\n" * 40),
    "something below": (r"\Z", "\n\ndef aside(x):\n    return x + LATER\n\n\nLATER = 5\n\n\nclass Aside:\n    y = 1\n"),
    "an import": (r"\A", "import json, string as letters\nfrom os.path import join as path_join\n"),
    "a type": (r"\A", "from typing import TypeAlias\nNames: TypeAlias = list[str]\n"),
    "quotes": (r'"(\w+)"', r"'\1'"),
    "parentheses": (r"(?m)return (x .*\w)$", r"return (\1)"),
    "wider indentation": (r"(?m)^( +)", r"\1\1"),
    "annotated results": (r"(?m)^def (\w+)\((.*)\):$", r"def \1(\2) -> 'list[int]':"),
    "an annotated parameter": (r"def (clean|half|scale)\((\w+),", r"def \1(\2: 'int',"),
    "the order of a set": (r'{"x", "y"}', '{"y", "x"}'),
    "a number as written": (r"\b255\b", "0xFF"),
    "a folded constant": (r"\b255\b", "5 * 51"),
    "other docstrings": (r'"""(.+?)"""', '"""Something else."""'),
    "no docstrings": (r' *"""(What is|Half|A heavy|Helpers|Classes).*?"""\n', ""),
    "the order of imports": (r"import contextlib\nimport functools\n", "import functools\nimport contextlib\n"),
    "the order of methods": (
        r"(?s)(    def __enter__.*?)(    def __exit__.*?)\n\n",
        r"\2\n\n\1\n",
    ),
    "the order of functions": (r"(?s)(def scale\(.*?\n\n\n)(def half\(.*?\n\n\n)", r"\2\1"),
    "the order of constants": (r"LIMIT = 100\nSHIFT = 7\n", "SHIFT = 7\nLIMIT = 100\n"),
    "the order of implementations": (r"(?s)(@area.register\(str\).*?\n\n\n)(@area.register\(models.*?\n\n\n)", r"\2\1"),
    "a constant by way of another": (r"LIMIT = 100", "HUNDRED = 100\nLIMIT = HUNDRED"),
    "a longer way to the same": (r"LIMITS = \[1, 2, ", "LIMITS = [3 - 2, len('ab'), "),
}


@pytest.mark.parametrize("edit", NEUTRAL)
def test_neutral_edits(edit: str) -> None:
    """What changes no code that runs changes no part."""
    pattern, new = NEUTRAL[edit]
    edited = {name: re.sub(pattern, new, text) if text else "" for name, text in APP.items()}
    assert edited != APP
    after, before = print_of(edited), print_of(APP)
    assert differing(before, after) == {}
    assert after.digest == before.digest


def test_written_anew() -> None:
    """A formatter that leaves no comment and no line as it was."""
    assert print_of(PLAIN).digest == print_of(APP).digest


def test_docstrings_one_by_one() -> None:
    """A docstring for each function and class: none of them counts."""
    before = print_of(APP).digest
    for name, text in APP.items():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                body = node.body
                kept = body[1:] if ast.get_docstring(node) else body
                node.body = [ast.parse('"""What it does."""').body[0], *kept]
                assert print_of({**APP, name: ast.unparse(tree)}).digest == before, node.name
                node.body = body


SEEDED = """
from tests.support.mutants import APP, print_of
found = print_of(APP)
print(found.digest.hex(), sorted((label, part.digest) for label, part in found.parts.items()))
"""


def test_every_process_agrees() -> None:
    """Fingerprint and parts are the same in every process and under every hash seed."""
    root = Path(__file__).parent.parent.parent
    runs = {
        subprocess.run(
            [sys.executable, "-c", SEEDED],
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(runs) == 1
