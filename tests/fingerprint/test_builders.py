"""The code that makes a global object which does not say what it holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcache.insight.explanation import Explanation
from tests.support.processes import ROOT, run

# What is used is `it` of `main`; `N` is what is edited. An iterator shows nothing of what is in it.
PROGRAMS = {
    "in the statement": {"main": "import itertools\nC = itertools.count(N)\ndef it(): return C"},
    "in a name that it uses": {"main": "import itertools\nn = N\nC = itertools.count(n)\ndef it(): return C"},
    "in a function that makes it": {
        "main": "import itertools\ndef made(): return itertools.count(N)\nC = made()\ndef it(): return C"
    },
    "in a module that it is imported from": {
        "helpers": "import itertools\nC = itertools.count(N)",
        "main": "from helpers import C as counter\ndef it(): return counter",
    },
    "in a module that all is imported from": {
        "helpers": "import itertools\nC = itertools.count(N)",
        "main": "from helpers import *\ndef it(): return C",
    },
    "in a module whose attribute it is": {
        "helpers": "import itertools\nC = itertools.count(N)",
        "main": "import helpers\ndef it(): return helpers.C",
    },
    "in a call that changes it": {
        "main": "import contextlib\nC = contextlib.ExitStack()\nC.callback(print, N)\ndef it(): return C"
    },
    "in what is set in it": {"main": "import queue\nC = queue.Queue()\nC.size = N\ndef it(): return C"},
    "in what is done with another name of it": {
        "main": "import sqlite3\nC = sqlite3.connect(':memory:')\ncursor = C.cursor()\ncursor.execute('select N')\n"
        "def it(): return C"
    },
    "in a function that knows it and is called": {
        "main": "import queue\nC = queue.Queue()\ndef fill():\n    C.put(N)\nfill()\ndef it(): return C"
    },
    "in a decorator that knows it": {
        "main": "import queue\nC = queue.Queue()\ndef fill(f):\n    C.put(N)\n    return f\n@fill\ndef one(): pass\n"
        "def it(): return C"
    },
    "in a branch": {
        "main": "import itertools\nif N == 1:\n    C = iter('a')\nelse:\n    C = iter('b')\ndef it(): return C"
    },
    "in a loop": {"main": "import queue\nC = queue.Queue()\nfor n in range(N):\n    C.put(n)\ndef it(): return C"},
    "in a function that it decorates": {
        "main": "import unittest.mock\nC = unittest.mock.Mock()\n@C.add\ndef one(): return N\ndef it(): return C"
    },
    "in a class": {"main": "import itertools\nclass A:\n    c = itertools.count(N)\ndef it(): return A"},
    "in an object that holds it": {
        "main": "import itertools\nclass A:\n    def __init__(self, c): self.c = c\nC = A(itertools.count(N))\n"
        "def it(): return C"
    },
    "in a default": {
        "main": "import itertools\ndef helper(x, c=itertools.count(N)): return next(c)\ndef it(): return helper(1)"
    },
    "in what a function captures": {
        "main": "import itertools\ndef make(c):\n    def inner(): return next(c)\n    return inner\n"
        "helper = make(itertools.count(N))\ndef it(): return helper()"
    },
    "in the function that another one captures from": {
        "helpers": "import itertools\ndef make():\n    c = itertools.count(N)\n    def inner(): return next(c)\n"
        "    return inner\n",
        "main": "from helpers import make\nhelper = make()\ndef it(): return helper()",
    },
    "in a method that counts": {"main": "import itertools\nC = itertools.count(N).__next__\ndef it(): return C()"},
    "in code that is evaluated": {"main": "K = N\nC = compile('K + 1', '', 'eval')\ndef it(): return eval(C)"},
}
ASK = """
import sys
from main import it
from pcache.fingerprint.fingerprint import fingerprint_of
print(fingerprint_of(it).digest.hex())
"""


def print_of(folder: Path, program: dict[str, str], number: int) -> str:
    """The fingerprint of `it` in a new process."""
    for name, text in program.items():
        (folder / f"{name}.py").write_text(text.replace("N", str(number)) + "\n")
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, "-B", "-c", ASK], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("where", PROGRAMS)
def test_an_edit_of_what_makes_an_object(where: str, tmp_path: Path) -> None:
    """An edit of a statement that makes an object is an edit of what uses it."""
    found = [print_of(tmp_path, PROGRAMS[where], number) for number in (1, 2, 1)]
    assert found[0] == found[2] != found[1]


LEFT_OUT = {
    "another statement": "C = iter('a')\nother = N\ndef it(): return C",
    "a function that uses it": "C = iter('a')\ndef other(): return next(C), N\ndef it(): return C",
    "a call of a function that does not use it": "C = iter('a')\ndef other(): return N\nother()\ndef it(): return C",
    "what only the program does": "C = iter('a')\ndef it(): return C\nif __name__ == '__main__':\n    next(C), N",
    "what is printed": "C = iter('a')\ndef it(): return C\nprint(C, N, file=__import__('sys').stderr)",
    "a lock": "import threading\nC = threading.Lock()\nD = C, N\ndef it(): return C",
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_does_not_make_an_object(what: str, tmp_path: Path) -> None:
    """What else a module does plays no part."""
    first, second = (print_of(tmp_path, {"main": LEFT_OUT[what]}, number) for number in (1, 2))
    assert first == second


EDITED = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
path = pathlib.Path(sys.argv[2], "edited_while_running.py")
from edited_while_running import it
path.write_text(path.read_text().replace("'a'", "'b'"))
from pcache.fingerprint.fingerprint import fingerprint_of
say(*(f"{label}={shown}" for label, (_, shown) in fingerprint_of(it).parts.items() if label.startswith("making")))
"""


def test_a_file_that_is_edited_while_the_program_runs(tmp_path: Path) -> None:
    """What is in the file then made no object of this process; its class is all that counts."""
    (tmp_path / "edited_while_running.py").write_text("C = iter('a')\ndef it(): return C\n")
    (line,) = run(EDITED, tmp_path / "cache", tmp_path)
    assert line.endswith("str_ascii_iterator, by its class alone")


def test_what_counts_by_its_class_is_named(tmp_path: Path) -> None:
    """`explain` says so, and what can be done."""
    script = "exec('C = iter([1])')\n@cache.cached\ndef f(): return C\nsay(f.explain())"
    lines = run(script, tmp_path)
    assert any("C counts list_iterator, by its class alone: an edit of it may go unnoticed" in line for line in lines)
    assert Explanation("m:f", "", "", "", hit=True, reason="hit").by_class == ()
