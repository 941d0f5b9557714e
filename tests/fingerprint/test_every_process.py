"""Code as it is found in packages has one fingerprint in every process, and another one after an edit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.running import run, write

if TYPE_CHECKING:
    from pathlib import Path

# A program and an edit of it; `f` is cached, and `a` is an argument where there is one.
PROGRAMS: dict[str, tuple[str, str, str]] = {
    "a docstring that a dataclass made": (
        "from dataclasses import dataclass\nfrom threading import RLock\ndef twice(x): return x * 2\n@dataclass\n"
        "class Work:\n    lock: RLock\n    run: object = twice\n    n: int = 1\ndef f(x): return Work.__doc__",
        "n: int = 1", "n: int = 2",
    ),
    "a dataclass as an argument": (
        "from dataclasses import dataclass\ndef twice(x): return x * 2\n@dataclass\nclass a:\n"
        "    run: object = twice\n    n: int = 1\ndef f(x): return x.__doc__",
        "n: int = 1", "n: int = 2",
    ),
    "a docstring like that of a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Work:\n    'Work(n: int = 1) runs.'\n    n: int = 1\n"
        "def f(x): return Work.__doc__", "runs", "walks",
    ),
    "addresses of Python's own objects as keys": (
        "SHOWN = dict.fromkeys(map(id, (None, Ellipsis, NotImplemented, (), int)), 1)\n"
        "def f(x): return SHOWN[id(None)] + len(SHOWN) + sum(SHOWN.values())", "()", "len",
    ),
    "a number that is the hash of a text": (
        "class Symbol(int):\n    def __new__(cls, name):\n        made = int.__new__(cls, hash(name))\n"
        "        made.name = name\n        return made\nclass Named(Symbol):\n"
        "    def __reduce__(self): return Named, (self.name, int(self))\nONE, TWO = Symbol('one'), Named('two')\n"
        "def f(x): return ONE.name, TWO.name", "'two'", "'three'",
    ),
    "subclasses in modules that are imported in one order or another": (
        "import importlib, os, shapes\nfor n in ('squares', 'circles')[:: 3 - 2 * int(os.environ['PYTHONHASHSEED'])]:\n"
        "    importlib.import_module(n)\ndef f(x): return {c.__name__ for c in shapes.Shape.__subclasses__()}, 1",
        "}, 1", "}, 2",
    ),
}  # fmt: skip

MODULES = {
    "shapes": "class Shape: pass",
    "squares": "from shapes import Shape\nclass Square(Shape): pass\nclass Oblong(Shape): pass",
    "circles": "from shapes import Shape\nclass Circle(Shape): pass",
}

DRIVER = """
import importlib, json, sys
from pcache import Cache
cache = Cache(sys.argv[1])
found = []
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    cached = cache.cached(module.f)
    found.append((cached.function_id, cached.key(getattr(module, "a", 1)), cached.function_id))
print(json.dumps(found))
"""


def ids_of(folder: Path, texts: list[str], seed: str) -> list[list[str]]:
    """The ids of each program's function, and the key of a call."""
    names = [f"program_{number}" for number in range(len(texts))]
    for name, text in (*zip(names, texts, strict=True), *MODULES.items()):
        write(folder / f"{name}.py", text)
    (line,) = run(write(folder / "driver.py", DRIVER), folder / "cache", *names, PYTHONHASHSEED=seed)
    found: list[list[str]] = json.loads(line)
    return found


def test_one_fingerprint_in_every_process(tmp_path: Path) -> None:
    """It is the same under another hash seed, and another one where an edit matters."""
    plain = [text for text, _, _ in PROGRAMS.values()]
    edited = [text.replace(old, new) for text, old, new in PROGRAMS.values()]
    assert all(map(str.__ne__, plain, edited))
    first, second = ids_of(tmp_path / "one", plain, "1"), ids_of(tmp_path / "one", plain, "2")
    after = ids_of(tmp_path / "two", edited, "1")
    assert [name for name, one, two in zip(PROGRAMS, first, second, strict=True) if one != two] == []
    assert [name for name, one, two in zip(PROGRAMS, first, after, strict=True) if one[1] == two[1]] == []
