"""Edits of real code, taken for the user's, and of what state begins with: each changes the function's id.

`benchmarks/stale.py` looks for more of them in larger packages.
"""

from __future__ import annotations

import calendar
import json
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.package_edits import copied, hunt
from tests.support.running import write

# State of all kinds, and a function that reaches it.
STATEFUL = """
from collections import deque
from random import Random

COUNT = 5
MEMO = {"a": 1}
LOG = deque([1, 2], 7)
SEED = 42
RNG = Random(SEED)
ADD = LOG.append


def counted(n):
    def step(by=3):
        nonlocal n
        n += by
        return n
    return step


STEP = counted(11)


class Model:
    made = 1
    kept = None
    names = ["x"]

    def __init__(self, path, scale=2):
        self.path = path
        self.weights = None
        self.calls = 13
        self.scale = scale
        self.queue = deque([17])
        self.put = self.queue.append

    @classmethod
    def hit(cls):
        cls.made = cls.made + 1
        if not hasattr(cls, "late"):
            cls.late = {19}
        if cls.kept is None:
            cls.kept = [23]
        cls.names.append("y")

    @staticmethod
    def fill(of):
        of.weights = [len(of.path), 29]

    def run(self, x):
        self.calls += 1
        self.put(x)
        if self.weights is None:
            self.fill(self)
        return x * self.weights[0] + self.scale


MODEL = Model("w", 4)


def through_default(x, model=Model("v", 31)):
    return model.run(x)


def remembered(x, memo={"first": 37}):
    memo[x] = memo.get(x, 41) + 1
    return memo[x]


def entry(x):
    global COUNT
    COUNT += 1
    MEMO[x] = MEMO.get(x, 0) + COUNT
    ADD(x)
    Model.hit()
    return MODEL.run(x) + STEP() + RNG.random() + through_default(x) + remembered(x) + len(LOG)
"""


@pytest.mark.parametrize(("module", "edits"), [(json, 12), (calendar, 10), (textwrap, 8)])
def test_edits_of_the_standard_library(module: ModuleType, edits: int, tmp_path: Path) -> None:
    """Copies under other names, which are the user's code."""
    source, name = Path(str(module.__file__)), f"{module.__name__}_copy"
    folder = copied(name, source.parent if source.name == "__init__.py" else source, tmp_path / "copy")
    for path in folder.rglob("*.py"):
        path.write_text(re.sub(r"(from|import) json\b", r"\1 json_copy", path.read_text()))
    outcome = hunt(folder, name, edits, functions=4)
    assert outcome.missed == []
    assert sum(outcome.seen.values()) == edits


def test_edits_of_state(tmp_path: Path) -> None:
    """What counters, memos, queues, generators and attributes begin with."""
    source = write(tmp_path / "source" / "stateful.py", STATEFUL)
    outcome = hunt(copied("stateful", source, tmp_path / "copy"), "stateful", 60, functions=9)
    assert outcome.missed == []
    assert outcome.seen["making"] > 8
