"""What may know what, how large the parts are, and what a hit does and does not do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pcache
from tests.support import house
from tests.support.processes import run

PACKAGE = Path(pcache.__file__).parent


def test_imports_go_down() -> None:
    """A file imports only from rooms below its own, also late and for types; and no files import each other."""
    imports = house.graph()
    assert house.wrong_arrows(imports) == []
    assert house.circles(imports) == []


def test_wrong_imports_are_seen() -> None:
    """The check itself: an import upwards, and files that import each other."""
    imports = {"keys.encoder": {"cache"}, "cache": {"keys.encoder", "errors"}, "errors": set[str]()}
    assert house.wrong_arrows(imports) == ["keys.encoder imports cache"]
    assert house.circles(imports) == ["keys.encoder -> cache -> keys.encoder"]


def test_late_modules_are_imported_for_types() -> None:
    """What `late` loads is the module that type checkers, and the drawing of the house, see under that name."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        for name, module in re.findall(r'^    (\w+) = late\("pcache\.([\w.]+)"\)$', text, re.MULTILINE):
            assert module in house.modules()
            room, _, last = f"pcache.{module}".rpartition(".")
            imports = ", ".join(re.findall(rf"^    from {re.escape(room)} import (.*)$", text, re.MULTILINE))
            assert (last if name == last else f"{last} as {name}") in imports.split(", "), path


def test_the_house_is_described() -> None:
    """docs/design.md has the rooms and the drawing as they are; `python tests/support/house.py --write` makes them."""
    assert house.DESIGN.read_text() == house.text_with(house.drawing(house.graph()))


def test_the_top_floor_is_small() -> None:
    """A stranger reads at most 27 names, besides those that only stand for others."""
    names_for_others = {"__init__", "__main__", "joblib", "metrics"}
    assert len(set(map(house.room_of, house.modules())) - names_for_others) <= 27


@pytest.mark.parametrize("name", sorted(house.modules()))
def test_modules_are_small(name: str) -> None:
    """No module has more than 350 lines."""
    assert len(house.modules()[name].read_text().splitlines()) <= 350


def test_only_stores_know_files_of_entries() -> None:
    """Above them everything asks a `Store`; `pcache doctor` looks at the files, and maintenance at the root's tag."""
    seam = {"storage.store", "storage.directory", "storage.claim_owner"}
    allowed = {"insight.doctor": {"storage.local", "storage.root"}, "maintenance.cleanup": {"storage.root"}}
    wrong = {
        name: extra
        for name, imported in house.graph().items()
        if not name.startswith("storage")
        and (extra := {one for one in imported if one.startswith("storage.")} - seam - allowed.get(name, set()))
    }
    assert wrong == {}


def test_only_one_module_unpickles() -> None:
    """One module names pickle's loading; a broad `except` stands where other people's code runs, and at the edge."""
    loading, broad = set(), set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if re.search(r"\bpickle\.loads?\b|\b_?pickle import .*\bloads?\b|Unpickler\b", text):
            loading.add(path.name)
        if re.search(r"except (Base)?Exception\b", re.sub(r"except BaseException:\n(.*\n)*?\s+raise\n", "", text)):
            broad.add(path.name)
    assert loading == {"pickling.py"}
    edges = {"function.py", "misses.py", "boundary.py", "calls.py", "items.py"}
    kinds = {
        "coroutine.py",
        "consuming.py",
        "async_generator.py",
        "task_streams.py",
        "conditional_async.py",
        "awaited.py",
    }
    assert broad == {"interrupts.py", *edges, *kinds}


def test_only_the_command_line_prints() -> None:
    """`print` is the command line's."""
    for path in PACKAGE.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert "print" not in names or "cli" in path.parts, path.name


IMPORTS = """
import sys
before = set(sys.modules)
import pcache
print(*sorted({name for name in set(sys.modules) - before}))
"""
HEAVY = """
filelock click rich zstandard compression backports numpy pandas inspect json dataclasses tomllib logging platformdirs
hashlib hmac subprocess pathlib tempfile typing_extensions random datetime asyncio multiprocessing shutil ast
"""


def test_what_an_import_loads() -> None:
    """`import pcache` loads nothing that only a miss, a report or the command line needs."""
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n" + IMPORTS]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in loaded} & set(HEAVY.split()) == set()
    assert not {"pcache.maintenance.cleanup", "pcache.entry.writer", "pcache.versions.registry", "pcache.cli"} & set(
        loaded
    )


FIRST_HIT = """
from pcache import cached
@cached
def f(n):
    return n
f(1)
say(*sorted(sys.modules))
"""


def test_what_a_first_hit_loads(tmp_path: Path) -> None:
    """A hit in a new process loads neither locks nor compression nor logging."""
    run(FIRST_HIT, tmp_path)
    (loaded,) = run(FIRST_HIT, tmp_path)
    forbidden = {"filelock", "backports.zstd", "compression.zstd", "logging", "inspect", "click", "rich", "numpy"}
    assert forbidden & set(loaded.split()) == set()
