"""The layout of a source plays no part: digests of the same code in other lines, and of code that differs in a jump."""

from __future__ import annotations

import ast
import io
import itertools
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from pcache.fingerprint.bytecode import CodeFacts, facts_of

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
# Modules with functions of all kinds: parsers, generators, coroutines, classes in functions, `try` in loops.
MODULES = """
_pydecimal _pyio argparse ast asyncio/base_events asyncio/tasks bdb calendar cmd code codecs collections/__init__
concurrent/futures/process configparser contextlib copy csv dataclasses difflib dis doctest email/message
email/header enum fractions ftplib functools gettext glob gzip heapq http/client http/cookiejar imaplib inspect
json/decoder json/encoder logging/__init__ mailbox multiprocessing/pool ntpath optparse pdb pickle platform
plistlib poplib posixpath
pprint pydoc random shlex shutil smtplib socket socketserver statistics string subprocess tarfile tempfile textwrap
threading timeit tokenize trace traceback types typing unittest/case unittest/mock urllib/parse urllib/request uuid
wave weakref xml/etree/ElementTree zipfile/__init__
""".split()
_HOLD = ("if", "elif", "while", "return", "with")  # what follows them can stand in parentheses
_FSTRINGS = tuple(getattr(tokenize, name, -1) for name in ("FSTRING_START", "FSTRING_END"))  # from 3.12 on


def compiled(source: str, level: int = 0) -> CodeType:
    return compile(source, "module.py", "exec", dont_inherit=True, optimize=level)


def of(source: str, level: int = 0) -> CodeFacts:
    return facts_of(compiled(textwrap.dedent(source), level))


def count(code: CodeType) -> int:
    return 1 + sum(count(value) for value in code.co_consts if isinstance(value, CodeType))


def scattered(source: str) -> str:
    """The same code with each token within brackets on a line of its own, more brackets, blank lines and comments."""
    text, indents = [], [""]
    for number, line in enumerate(logical_lines(source)):
        for token in line:
            if token.type == tokenize.INDENT:
                indents.append(token.string)
            elif token.type == tokenize.DEDENT:
                indents.pop()
        words = in_brackets([token.string for token in line if token.type not in (tokenize.INDENT, tokenize.DEDENT)])
        depth = 0
        text.append(f"\n# line {number}\n{indents[-1]}")
        for word in words:
            depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
            text.append(f"{word}\n" if depth else f"{word} ")
    return "".join([*text, "\n"])


def in_brackets(words: list[str]) -> list[str]:
    """A logical line with brackets around what follows its keyword, or is assigned."""
    depths = itertools.accumulate((word in ("(", "[", "{")) - (word in (")", "]", "}")) for word in words)
    outside = [word if not depth else "" for word, depth in zip(words, depths, strict=True)]
    if "lambda" in outside or len(words) < 3:
        return words
    end = outside.index(":") if words[-1] == ":" else len(words)
    if words[0] in _HOLD:
        return [words[0], "(", *words[1:end], ")", *words[end:]]
    if "=" in outside:
        start = len(outside) - outside[::-1].index("=")
        return [*words[:start], "(", *words[start:], ")"]
    return words


def logical_lines(source: str) -> Iterator[list[tokenize.TokenInfo]]:
    """The tokens of each logical line; a formatted string is one token."""
    line: list[tokenize.TokenInfo] = []
    lines = source.splitlines(keepends=True)
    opened: list[tuple[int, int]] = []  # where formatted strings begin
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == _FSTRINGS[0]:
            opened.append(token.start)
        elif token.type == _FSTRINGS[1]:
            (row, column), (last, end) = opened.pop(), token.end
            own = [*lines[row - 1 : last - 1], lines[last - 1][:end]]
            if not opened:
                line.append(token._replace(string="".join(own)[column:]))
        elif token.type == tokenize.NEWLINE:
            yield line
            line = []
        elif not opened and token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER):
            line.append(token)


def same_tree(one: str, other: str) -> bool:
    return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))


@pytest.mark.parametrize("name", [name for name in MODULES if (LIBRARY / f"{name}.py").exists()])
def test_the_standard_library_in_other_lines(name: str) -> None:
    """Statements on one line each, and a line for each token: nothing that is known of any code object changes."""
    source = (LIBRARY / f"{name}.py").read_text("utf-8")
    joined = ast.unparse(ast.parse(source))
    apart = scattered(joined)
    assert same_tree(joined, apart)
    assert count(compiled(apart)) > 5
    assert of(joined) == of(apart) == of(source)


# By hand: a program with a mark in it, and two texts for the mark.
SAME: dict[str, tuple[Any, ...]] = {
    "exchange": ("def f(a, b):\n    {}\n    return a", "a, b = b, a", "(\n        a,\n        b\n    ) = b, a"),
    "exchange in a loop": (
        "def f(a, b):\n    for c in a:\n        {}\n    return a",
        "a, b = b, a",
        "(a,\n         b) = b, a",
    ),
    "three": ("def f(a, b, c):\n    {}\n    return a", "a, b, c = c, b, a", "(a,\n        b,\n\n        c) = c, b, a"),
    "unused": ("def f(x):\n    {}\n    return a, _", "a, _, _ = x", "(a,\n        _,\n        _) = x"),
    "or of and": ("def f(a, b, c):\n    return {}", "a or (b and c) or a", "(\n  a\n  or (\n  b and c)\n  or a\n)"),
    "in a loop": ("def f(s):\n    return [x for x in s if {}]", "x and x.y", "(\n x\n and\n x\n.y\n)"),
    "short end": (
        "def f(x):\n    for i in x:\n        if i:\n            {}\n    return x",
        "break",
        "# why\n            break",
    ),
    "constant": ("def f(x):\n    return {}", "None", "(\n        None\n    )"),
    "with": ("def f(a):\n    with {}:\n        return 1", "a as b, a as c", "(\n    a as b,\n    a as c,\n)"),
    "assert": ("def f(a):\n    assert {}\n    return a", "a > 1, 'low'", "(\n   a\n   > 1\n), (\n   'low'\n)"),
    "pass": (
        "def f(a):\n    try:\n        a()\n    except ValueError:\n        {}\n    return a",
        "pass",
        "pass; pass",
    ),
    "text": ("def f(a):\n    return {}", "'one two'", "(\n    'one'\n    ' two'\n)"),
    "statements": ("def f(a):\n    {}\n    return a", "a = 1; a += 2", "a = 1\n\n    a += 2"),
    "endless": ("def f(a):\n    while True:\n        {}", "pass", "# nothing\n        pass\n        ..."),
}
# These differ in where a jump leads, or in what a handler covers, and in little else.
DIFFERENT: dict[str, tuple[Any, ...]] = {
    "exchange": ("def f(a, b):\n    {}\n    return a", "a, b = b, a", "b, a = b, a"),
    "same name": ("def f(a, b):\n    {}\n    return a", "a, a = b, b[0]", "a, a = b[0], b"),
    "leave a loop": ("def f(x):\n    for i in x:\n        if i:\n            {}\n        x()", "break", "continue"),
    "out of the loop": ("def f(x):\n    for i in x:\n        i()\n{}x()", " " * 8, " " * 4),
    "else of a loop": (
        "def f(x):\n    for i in x:\n        if i:\n            break\n{}x()\n    i()",
        "    else:\n        ",
        "    ",
    ),
    "or of and": ("def f(a, b, c):\n    return {}", "a or (b and c) or a", "a or b and (c or a)"),
    "out of try": (
        "def f(x):\n    try:\n        x()\n{}\n    return x",
        *(f"{one}    except E:\n        pass\n{other}" for one, other in (("        x()\n", ""), ("", "    x()\n"))),
    ),
    "into try": (
        "def f(x):\n{}    try:\n{}        x(2)\n    except E:\n        pass",
        ("    x(1)\n", ""),
        ("", "        x(1)\n"),
    ),
    "else of try": (
        "def f(x):\n    try:\n        x(1)\n{}    except E:\n        pass\n{}",
        ("        x(2)\n", ""),
        ("", "    else:\n        x(2)\n"),
    ),
    "start of a loop": (
        "def f(x):\n{}    while True:\n{}        x(2)",
        ("    x(1)\n", ""),
        ("", "        x(1)\n"),
    ),
    "in the handler": ("def f(x):\n    try:\n        x()\n    except E:\n        x()\n{}x()", " " * 8, " " * 4),
    "out of with": ("def f(x):\n    with x:\n        x()\n{}x()", " " * 8, " " * 4),
    "which handler": (
        "def f(x):\n try:\n  try:\n   x()\n  except {}:\n   return 1\n except {}:\n  return 2",
        ("A", "B"),
        ("B", "A"),
    ),
    "end of a handler": (
        "def f(x):\n    while x:\n        try:\n            x()\n        except E:\n            {}",
        "continue",
        "break",
    ),
    "handler of nothing": (
        "def f(x):\n    try:\n        while True:\n            pass\n    except E:\n        return {}",
        "1",
        "2",
    ),
    "branches": ("def f(x):\n    if {}:\n        return 1\n    return 2", "x", "not x"),
    "none": ("def f(x):\n    if {}:\n        return 1\n    return 2", "x is None", "x is not None"),
    "finally": ("def f(x):\n    try:\n        x()\n    finally:\n        x(1)\n{}x(2)", " " * 8, " " * 4),
    "while": ("def f(x):\n    while x:\n        x()\n        if x:\n            x(1)\n{}x(2)", " " * 12, " " * 8),
    "chain": ("def f(x):\n    return {}", "1 < x < 2", "1 < x and 1 < 2"),
}


def texts(case: tuple[Any, ...]) -> list[str]:
    return [case[0].format(*([one] if isinstance(one, str) else one)) for one in case[1:]]


@pytest.mark.parametrize("name", SAME)
def test_layout_plays_no_part(name: str) -> None:
    """Two layouts of one function, which the compiler makes different operations of, have one digest."""
    one, other = texts(SAME[name])
    assert of(one) == of(other)


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_jumps_lead_counts(name: str) -> None:
    """Functions that control takes another way through have two digests."""
    one, other = texts(DIFFERENT[name])
    assert of(one).digest != of(other).digest
    assert of(one).digest == of(scattered(ast.unparse(ast.parse(one)))).digest


OPTIMIZED = """
'''What the module is.'''
import sys

class Counter:
    '''Counts sys.path.'''
    first = 1
    class Inner:
        '''Inner.'''
    def add(self, other):
        '''Add self.first'''
        def nested(x):
            'nested'
            return getattr(x, "first", globals())
        return nested(other), [lambda: self.first]
    async def wait(self):
        '''Only this.'''

def empty():
    '''Only this.'''

if len(sys.argv) > 1:
    __doc__ = "another"
"""


@pytest.mark.parametrize("level", [1, 2])
def test_optimization_plays_no_part(level: int) -> None:
    """`-O` and `-OO` leave out asserts and docstrings: where there are none nothing changes."""
    plain = OPTIMIZED.replace("'''What the module is.'''", "").replace("'''Counts sys.path.'''", "'''Others'''")
    assert of(OPTIMIZED) == of(OPTIMIZED, level) == of(plain)
    debug = "def f(x):\n    if __debug__:\n        x()\n    return x"
    assert of(debug).digest != of(debug, level).digest == of("def f(x):\n    return x").digest


def test_endless_loops_end() -> None:
    """Loops without operations are written once, whichever way leads in."""
    endless = "while True:\n        pass"
    loops = f"def f(x):\n    if x:\n        {endless.replace('    ', '        ')}\n    {endless}"
    assert of(loops).digest != of(f"def f(x):\n    {endless}").digest
