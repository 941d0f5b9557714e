"""Fingerprints: what changes what a function does changes them, and nothing else does.

Variants of a function are compiled from text, as each edit of one file would be. Here it is one function or one class
at a time, not what is followed from them into others.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcache.fingerprint.bytecode import facts_of
from pcache.fingerprint.fingerprint import fingerprint_of
from pcache.objects.user_code import is_user_code
from tests.key_values import Color, Frozen, Record, key_of
from tests.support.running import load

ROOT = Path(__file__).resolve().parent.parent.parent


def made(source: str, file: str = "script.py", name: str = "__main__") -> Any:
    """The object `it` that a source text defines."""
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(textwrap.dedent(source), file, "exec"), namespace)
    return namespace["it"]


def print_of(source: str, file: str = "script.py") -> str:
    """The fingerprint of the `it` in a source text."""
    return fingerprint_of(made(source, file)).digest.hex()


BASE = """
def it(x, y=2):
    total = 0
    for i in range(x):
        if i % 3 == 0 and i not in {3, 5, "a"}:
            total += i * y
    return [total, (1, "a"), lambda z: z + 1]
"""

NEUTRAL = {
    "comment": BASE.replace("total = 0", "total = 0  # start"),
    "comment line": BASE.replace("    for i", "    # why\n    for i"),
    "blank lines": BASE.replace("    for i", "\n\n    for i"),
    "docstring": BASE.replace("    total = 0", '    """What it does."""\n    total = 0'),
    "long docstring": BASE.replace("    total = 0", '    """What\n\n    it\n    does.\n    """\n    total = 0'),
    "moved down": "\n" * 300 + BASE,
    "something above": "OTHER = 1\ndef other():\n    return 2\n" + BASE,
    "quotes": BASE.replace('"a"', "'a'"),
    "spaces": BASE.replace("i * y", "i  *  y"),
    "parentheses": BASE.replace("i * y", "(i * y)"),
    "broken line": BASE.replace("i * y", "(i\n                * y)"),
    "trailing comma": BASE.replace("z + 1]", "z + 1,]"),
    "order of a set": BASE.replace('{3, 5, "a"}', '{"a", 5, 3}'),
    "number as written": BASE.replace("3 == 0", "0x3 == 0"),
    "folded constant": BASE.replace("z + 1", "z + (3 - 2)"),
    "return annotation": BASE.replace("y=2):", "y=2) -> list:"),
}

EDITS = {
    "constant": BASE.replace("total = 0", "total = 1"),
    "type of a constant": BASE.replace("total = 0", "total = 0.0"),
    "truth": BASE.replace("total = 0", "total = False"),
    "negative zero": BASE.replace("total = 0", "total = -0.0"),
    "operator": BASE.replace("i * y", "i + y"),
    "operands": BASE.replace("i * y", "y * i"),
    "comparison": BASE.replace("== 0", "!= 0"),
    "connective": BASE.replace(" and ", " or "),
    "negation": BASE.replace("not in", "in"),
    "member of a set": BASE.replace("{3, 5", "{3, 6"),
    "type in a set": BASE.replace("{3, 5", "{3, 5.0"),
    "constant in a tuple": BASE.replace('(1, "a")', '(1, "b")'),
    "type in a tuple": BASE.replace('(1, "a")', '(True, "a")'),
    "tuple to list": BASE.replace('(1, "a")', '[1, "a"]'),
    "lambda": BASE.replace("z + 1", "z + 2"),
    "builtin": BASE.replace("range(x)", "list(x)"),
    "statement": BASE.replace("    for i", "    x += 1\n    for i"),
    "indentation": BASE.replace("    return", "        return"),
    "early return": BASE.replace("    for i", "    return 1\n    for i"),
    "parameter name": BASE.replace("x, y", "x2, y").replace("range(x)", "range(x2)"),
    "parameter order": BASE.replace("x, y=2", "y, x=2"),
    "keyword-only": BASE.replace("x, y", "x, *, y"),
    "positional-only": BASE.replace("y=2", "y=2, /"),
    "rest": BASE.replace("y=2", "y=2, *rest"),
    "options": BASE.replace("y=2", "y=2, **options"),
    "generator": BASE.replace("return [", "yield ["),
    "coroutine": BASE.replace("def it", "async def it"),
    "text": BASE.replace('"a"}', '"A"}'),
    "bytes": BASE.replace('"a"}', 'b"a"}'),
}


def test_the_texts_differ() -> None:
    """No edit below is the text it started from."""
    assert all(text != BASE for text in (*NEUTRAL.values(), *EDITS.values()))


@pytest.mark.parametrize("edit", NEUTRAL)
def test_neutral_edits_keep_the_fingerprint(edit: str) -> None:
    """What does not change the code that runs does not count."""
    assert print_of(NEUTRAL[edit]) == print_of(BASE)


def test_edits_change_the_fingerprint() -> None:
    """Each edit has a fingerprint of its own."""
    by_print = collections.defaultdict(list)
    for name, text in {"none": BASE, **EDITS}.items():
        by_print[print_of(text)].append(name)
    assert [names for names in by_print.values() if len(names) > 1] == []


def test_file_names_do_not_count() -> None:
    """A notebook's cell lies in another temporary file in every session."""
    assert print_of(BASE, "/tmp/ipykernel_1/1.py") == print_of(BASE, "<stdin>") == print_of(BASE)


CONSTANTS = (
    *(
        "0",
        "0.0",
        "-0.0",
        "False",
        "0j",
        "complex(0, -0.0)",
        "None",
        "...",
        "''",
        "b''",
        "()",
        "1",
        "1.0",
        "True",
        "1j",
    ),
    *(
        "'1'",
        "b'1'",
        "(1,)",
        "(1.0,)",
        "(True,)",
        "((1,),)",
        "('1',)",
        "(0.0,)",
        "(-0.0,)",
        "(None,)",
        "2**70",
        "10**30",
    ),
    *("1 in {1, 2}", "1 in {1.0, 2}", "1 in {True, 2}", "1 in (1, 2)", "1 in {(1, 2)}", "1 in {'1', '2'}", "1e400"),
)


def test_constants_count_by_type_and_value() -> None:
    """Constants that are equal, or look alike, but differ in type or sign are different code."""
    prints = {print_of(f"def it():\n    return {text}") for text in CONSTANTS}
    assert len(prints) == len(CONSTANTS)
    assert len({print_of(f"it = lambda: {text}") for text in CONSTANTS}) == len(CONSTANTS)


# Docstrings


def test_docstrings_do_not_count() -> None:
    """Adding, changing or removing one is neutral, however many constants follow it."""
    for body in ("return 1", "pass", "return None", "x = 'text'; return x, 'text'", "yield 1"):
        bare = print_of(f"def it():\n    {body}")
        assert print_of(f"def it():\n    'one'\n    {body}") == bare == print_of(f"def it():\n    'text'\n    {body}")
    for count in (254, 255, 256, 257, 258):
        body = "".join(f"    x.append({i}.5)\n" for i in range(count))
        assert print_of(f"def it(x):\n{body}") == print_of(f"def it(x):\n    'doc'\n{body}")


def test_docstrings_of_nested_code_do_not_count() -> None:
    """That holds for functions and classes in the function's body, too."""
    for kind in ("def inner():", "class Inner:", "async def inner():"):
        source = "def it():\n    {}\n        {}\n        x = 1\n    return 5"
        assert print_of(source.format(kind, "'one'")) == print_of(source.format(kind, "'two'"))


def test_texts_that_look_like_docstrings_count() -> None:
    """A lambda has no docstring: its only constant is its result. A text that is returned is none either."""
    assert print_of("it = lambda: 'x'") != print_of("it = lambda: 'y'")
    assert print_of("def it(): return 'x'") != print_of("def it(): return 'y'")
    assert print_of("def it(): yield 'x'") != print_of("def it(): yield 'y'")
    assert print_of("def it():\n    'doc'\n    return 'x'") != print_of("def it():\n    'doc'\n    return 'y'")
    assert print_of("it = lambda: (lambda: 'x')") != print_of("it = lambda: (lambda: 'y')")
    assert print_of("def it(): return it.__doc__, 'x'") != print_of("def it(): return it.__doc__, 'y'")


# Nested code


@pytest.mark.parametrize(
    "body",
    [
        "def inner(): return {}\n    return inner()",
        "def inner(x={}): return x\n    return inner()",
        "def inner(*, x={}): return x\n    return inner()",
        "return (lambda: {})()",
        "return [i for i in range(9) if i != {}]",
        "return sum(i * {} for i in range(9))",
        "return {{i: {} for i in range(9)}}",
        "class Inner:\n        value = {}\n    return Inner.value",
        "class Inner:\n        def method(self): return {}\n    return Inner().method()",
        "def inner():\n        def innermost(): return {}\n        return innermost()\n    return inner()",
    ],
)
def test_nested_code_counts(body: str) -> None:
    """Functions, lambdas, comprehensions and classes in the body count with all that is in them."""
    prints = [print_of(f"def it():\n    {body.format(value)}") for value in ("1", "1", "2", "1.0", "True")]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_line_numbers_of_nested_classes_do_not_count() -> None:
    """From 3.13 on a class knows its line."""
    source = "def it():\n    class Inner:\n        def method(self):\n            self.a = 1\n    return Inner"
    assert print_of(source) == print_of("\n\n\n" + source) == print_of(source.replace(":\n    class", ":\n\n    class"))


def test_what_a_try_covers_counts() -> None:
    """The same instructions with another extent of the `try` do something else."""
    covered = "def it(a, b):\n    try:\n        a()\n        b()\n    except ValueError:\n        return 1"
    beside = "def it(a, b):\n    try:\n        a()\n    except ValueError:\n        return 1\n    else:\n        b()"
    assert print_of(covered) != print_of(beside)


def test_captured_names_and_their_order_count() -> None:
    """Which variables a nested function captures, and in which roles, is part of the code."""
    source = "def outer(a, b):\n    def it():\n        return {}\n    return it\nit = outer(1, 2)"
    assert len({print_of(source.format(body)) for body in ("a, b", "b, a", "a, a", "a", "(a, 1)")}) == 5


# Hash seeds

SEEDED = """
import json, sys
from pcache.fingerprint.fingerprint import fingerprint_of
def words(x):
    return x in {"north", "south", "east", "west"}
def nested(x):
    return [lambda y: y in {"north", "south", (1, "x"), None} for _ in x if x not in {"a", "b", "c"}]
def local():
    class Local:
        def __init__(self):
            self.north = self.south = self.east = self.west = self.up = self.down = 0
    return Local
class Table:
    names = {"north", "south", "east"}
    pairs = frozenset([("a", 1), ("b", 2), ("c", 3)])
    __slots__ = ("z", "a", "m")
    def method(self, allowed=frozenset(["x", "y", "z"])):
        return self in {"north", "south"} and allowed
def defaults(x, allowed=frozenset(["x", "y", "z"])):
    return allowed
def user():
    return defaults(1), Table, words
print(json.dumps([fingerprint_of(f).digest.hex() for f in (words, nested, local, Table, defaults, user)]))
"""


def test_hash_seeds_do_not_matter() -> None:
    """Set literals, sets in classes and defaults, and names of attributes have one order under every seed."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", SEEDED],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in range(8)
    ]
    prints = [json.loads(run.stdout) for run in runs]
    assert all(one == prints[0] for one in prints)
    assert len(set(prints[0])) == 6


# The memo


def test_codes_that_compare_equal_are_kept_apart() -> None:
    """Code objects are equal whatever some of their parts are; the memo must not mix them up."""
    for one, other in (("1", "True"), ("0.0", "-0.0"), ("(1,)", "(1.0,)"), ("1 in {1}", "1 in {True}")):
        first, second = (made(f"def it():\n    return {text}") for text in (one, other))
        assert facts_of(first.__code__).digest != facts_of(second.__code__).digest
        assert facts_of(first.__code__).digest == facts_of(made(f"def it():\n    return {one}").__code__).digest


@pytest.mark.parametrize("part", ["__code__", "__defaults__", "__kwdefaults__"])
def test_functions_replaced_in_place_are_noticed(part: str) -> None:
    """IPython's autoreload changes the function that there is: what is in it now counts, in callers of it too."""
    source = "def helper(x={0}, *, y={0}): return {0}\ndef it(): return helper()"
    function, other = made(source.format(1)), made(source.format(2))
    before = key_of(function), fingerprint_of(function).digest, fingerprint_of(function.__globals__["helper"]).digest
    setattr(function.__globals__["helper"], part, getattr(other.__globals__["helper"], part))
    after = key_of(function), fingerprint_of(function).digest, fingerprint_of(function.__globals__["helper"]).digest
    assert before[:2] != after[:2]
    assert before[2] != after[2] or part != "__code__"  # a function's own defaults are bound arguments


# Classes

CLASS = """
import functools
class Base:
    def inherited(self): return {inherited}
class it(Base):
    limit = {limit}
    names = [{item}]
    table = {{"a": {entry}}}
    def __init__(self, x={default}): self.x = x
    def method(self, *, y={keyword}): return {result}
    @property
    def size(self): return {size}
    @size.setter
    def size(self, value): self.x = {setter}
    @staticmethod
    def alone(): return {alone}
    @classmethod
    def create(cls): return {create}
    @functools.cached_property
    def slow(self): return {slow}
    @functools.lru_cache
    def kept(self): return {kept}
    class Inner:
        def method(self): return {inner}
    short = lambda self: {short}
"""
PARTS = "inherited limit item entry default keyword result size setter alone create slow kept inner short".split()


def test_every_part_of_a_class_counts() -> None:
    """Methods of all kinds, their defaults, attributes, nested and base classes: each edit is another class."""
    base = dict.fromkeys(PARTS, "1")
    prints = {print_of(CLASS.format(**{**base, part: new})) for part in PARTS for new in ("2", "1.0", "True")}
    prints.add(print_of(CLASS.format(**base)))
    assert len(prints) == 3 * len(PARTS) + 1
    assert print_of(CLASS.format(**base)) == print_of(
        "\n\n" + CLASS.format(**base).replace("limit", "# why\n    limit")
    )


def test_docstrings_and_annotations_of_classes_do_not_count() -> None:
    """A class may be documented without becoming another."""
    plain = print_of("class it:\n    x = 1\n    def method(self): return 1")
    assert print_of("class it:\n    'doc'\n    x = 1\n    def method(self): return 1") == plain
    assert print_of("class it:\n    x: int = 1\n    def method(self):\n        'doc'\n        return 1") == plain


def patched(name: str) -> Any:
    """A class with everything that the test below replaces."""
    return made(CLASS.format(**dict.fromkeys(PARTS, "1")), name=name)


@pytest.mark.parametrize(
    "patch",
    [
        lambda c: setattr(c, "method", lambda self: 2),
        lambda c: setattr(c, "added", 1),
        lambda c: delattr(c, "limit"),
        lambda c: setattr(c, "limit", 1.0),
        lambda c: setattr(c, "limit", True),
        lambda c: setattr(c, "size", property(lambda self: 2)),
        lambda c: setattr(c, "alone", staticmethod(lambda: 2)),
        lambda c: setattr(c.__bases__[0], "inherited", lambda self: 2),
        lambda c: setattr(c.Inner, "method", lambda self: 2),
    ],
    ids="method added removed equal-number truth property static base nested".split(),
)
def test_monkeypatched_classes_are_noticed(patch: Any) -> None:
    """A class that was changed since its first key has another one, and so have its instances."""
    cls = patched("__main__")
    instance = cls()
    before = key_of(cls), key_of(instance), key_of([{"a": instance}])
    assert before == (key_of(cls), key_of(instance), key_of([{"a": instance}]))
    patch(cls)
    after = key_of(cls), key_of(instance), key_of([{"a": instance}])
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_patch_taken_back() -> None:
    """The original method brings the original key."""
    cls = patched("__main__")
    before, method = key_of(cls()), cls.method
    cls.method = lambda self: 2
    assert key_of(cls()) != before
    cls.method = method
    assert key_of(cls()) == before


def test_classes_that_refer_to_each_other_end() -> None:
    """Twelve classes that all name each other, and a diamond of eighteen storeys, take no time."""
    classes = [type(f"C{i}", (), {"__module__": "__main__"}) for i in range(12)]
    for cls in classes:
        for i, other in enumerate(classes):
            setattr(cls, f"other{i}", other)
    assert len({fingerprint_of(cls).digest for cls in classes}) == 12
    below: Any = type("B", (), {"__module__": "__main__"})
    for _ in range(18):
        left, right = (type(name, (below,), {"__module__": "__main__"}) for name in ("L", "R"))
        below = type("B", (left, right), {"__module__": "__main__"})
    assert len(fingerprint_of(below).digest) == 32


def test_class_attributes_that_contain_themselves_end() -> None:
    """A list in a class that contains itself, or the class, is no endless story."""
    cls = type("C", (), {"__module__": "__main__", "items": [1]})
    cls.items.append(cls.items)  # type: ignore[attr-defined]
    cls.items.append(cls)  # type: ignore[attr-defined]
    assert key_of(cls) == key_of(cls)


def test_the_order_of_members_does_not_matter() -> None:
    """Moving a method within its class is neutral."""
    one = "class it:\n    def a(self): return 1\n    def b(self): return 2"
    other = "class it:\n    def b(self): return 2\n    def a(self): return 1"
    assert print_of(one) == print_of(other)


# Whose code it is


@pytest.mark.parametrize(
    ("folder", "mine"),
    [
        ("project", True),
        ("my-site-packages-demo", True),
        ("dist-packages.old", True),
        ("lib/site-packages", False),
        ("lib/site-packages/deep/package", False),
        ("lib/dist-packages", False),
    ],
)
def test_user_code_is_told_by_its_folder(tmp_path: Path, folder: str, mine: bool) -> None:
    """Installed packages lie in a folder called site-packages or dist-packages, not in one with a similar name."""
    name = f"provenance_{abs(hash(folder))}"
    path = tmp_path / folder / f"{name}.py"
    path.parent.mkdir(parents=True)
    path.write_text("def function(): pass\nclass Class: pass\n")
    try:
        module = load(path, name)
        assert (is_user_code(module.function), is_user_code(module.Class)) == (mine, mine)
    finally:
        del sys.modules[name]


def test_user_code_among_known_things() -> None:
    """The standard library, builtins, numpy, pytest and pcache are not the user's; tests and `__main__` are."""
    not_mine = (
        len,
        int,
        dict,
        json.dumps,
        collections.OrderedDict,
        Path,
        np.sum,
        np.ndarray,
        pytest.raises,
        key_of.__class__,
    )
    mine = (made("def it(): pass"), made("class it: pass"), print_of, Color, Frozen, Record)
    assert [thing for thing in not_mine if is_user_code(thing)] == []
    assert [thing for thing in mine if not is_user_code(thing)] == []
    assert is_user_code(made("def it(): pass", name="__mp_main__"))
    assert is_user_code(made("def it(): pass", name="nowhere.to.be.found"))


def test_functions_without_a_module() -> None:
    """A function whose `__module__` is missing or no text is refused or counted, never an error of another kind."""
    function = made("def it(): return 1")
    for name in (None, 5, ""):
        function.__module__ = name
        assert is_user_code(function) in (True, False)
