"""What may know what, how large the parts are, and what a hit does and does not do."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pcache
from pcache import Cache
from tests.processes import KEY, PRELUDE, ROOT, run

PACKAGE = Path(pcache.__file__).parent

# A module imports only those above it, at its head or late. What stands on one line knows nothing of its neighbours.
ORDER = """
clocks counted depth errors eviction files folders looking method opcodes reports tally
forks interrupts memo
culprit modes mounts units ways compression trust
provenance nesting
additions endings keysource outfile plain sealed summary
opened notices named extensions remembered
hearsay
access
guard
dispatch entry locking owner rules
drafts ledger options config keys payload registry removals stamp
claim counters history home
flights
shards
occupancy
arguments differences kinds reader reducers codes parts unhashable
anatomy
guards inspection making publishing sources store superseded uses
values mentions libraries
fences recompression removing room signature waiting walk
fingerprint storing
shown
callables flow
captured versions explanation
adoption calls
decorator
cache selection
leftovers
listings upkeep loading trials
diagnosis
metrics report
__init__
cli
__main__
"""
RANK = {name: rank for rank, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
# Loaded when somebody looks after a cache, and take one; cache only hands its calls over.
LATE_AND_KNOWN = {("cache", "upkeep"), ("cache", "listings")}


def modules() -> dict[str, list[Path]]:
    """The files of each module; those of the command line are one."""
    found: dict[str, list[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        found.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    return found


def imports_of(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports when it runs, wherever in it."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from visit(other)
            return
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            parts = (node.module or "").split(".")
            if parts == ["pcache"]:
                yield from (alias.name if alias.name in RANK else "__init__" for alias in node.names)
            elif parts[0] == "pcache":
                yield parts[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pcache."))
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return visit(ast.parse(path.read_text()))


def test_every_module_has_its_place() -> None:
    """The order names each module of the package."""
    assert set(modules()) - set(RANK) == set(), "put the new module where it belongs in ORDER"


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_upward(name: str) -> None:
    """A module imports only what stands above it in the order."""
    for path in modules()[name]:
        for target in set(imports_of(path)) - {name}:
            assert RANK[target] < RANK[name] or (name, target) in LATE_AND_KNOWN, f"{path.name} imports {target}"


def test_the_house_is_described() -> None:
    """docs/design.md lists each module once, below those that it imports."""
    text = (PACKAGE.parent / "docs" / "design.md").read_text()
    block = text.partition("## The house")[2].split("```")[1]
    names = [line.split()[0].removesuffix(".py").rstrip("/") for line in block.strip().splitlines()]
    assert sorted(names) == sorted(set(modules()) - {"__init__", "__main__"})
    for name in names:
        for path in modules()[name]:
            late = {target for target in imports_of(path) if (name, target) in LATE_AND_KNOWN}
            above = set(names[: names.index(name)]) | {name, "__init__"} | late
            assert set(imports_of(path)) <= above, f"{path.name} imports what stands below {name}"


@pytest.mark.parametrize("name", sorted(modules()))
def test_modules_are_small(name: str) -> None:
    """No module has more than 350 lines."""
    for path in modules()[name]:
        assert len(path.read_text().splitlines()) <= 350, path.name


def test_only_the_payload_unpickles() -> None:
    """One module names pickle's loading; a broad `except` stands where other people's code runs, and at the edge."""
    loading, broad = set(), set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if re.search(r"\bpickle\.loads?\b|Unpickler\b", text):
            loading.add(path.name)
        if re.search(r"except (Base)?Exception\b", re.sub(r"except BaseException:\n(.*\n)*?\s+raise\n", "", text)):
            broad.add(path.name)
    assert loading == {"payload.py"}
    assert broad == {"culprit.py", "decorator.py", "flow.py", "guard.py"}


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


def python_calls(function: object, *arguments: object) -> list[str]:
    """The Python functions that a call enters, without those of binding arguments and making the key."""
    entered: list[str] = []
    excluded = 0

    def watch(frame: object, event: str, _: object) -> None:
        nonlocal excluded
        if event not in ("call", "return"):
            return
        name = frame.f_code.co_name  # type: ignore[attr-defined]
        if excluded or name in ("bind", "address") or frame.f_code.co_filename.startswith("<pcache"):  # type: ignore[attr-defined]
            excluded += 1 if event == "call" else -1
        elif event == "call":
            entered.append(name)

    sys.setprofile(watch)
    try:
        function(*arguments)  # type: ignore[operator]
    finally:
        sys.setprofile(None)
    return entered


def square(n: int) -> int:
    return n * n


def test_the_calls_of_a_warm_hit(tmp_path: Path) -> None:
    """A warm hit makes at most 12 Python calls besides those that make the key, and one that reads the file 15."""
    cached = Cache(tmp_path / "cache", signing_key=KEY).cached(square)
    cached(3)
    cached(3)  # looks at the directories, once per process
    os.utime(cached._calls.of((3,), {}).address.path, (time.time() - 10,) * 2)  # not written just now
    reading = python_calls(cached, 3)
    assert "read_value" in reading
    assert len(reading) <= 15, reading
    entered = python_calls(cached, 3)
    assert entered[0] == "__call__"
    assert {"look_up", "read"} <= set(entered)
    assert len(entered) <= 12, entered


TRACED = """
import time
cached = cache.cached(lambda n: n + 1)
cached(1), cached(2)
cache.flow.store.read(cached._calls.of((2,), {}).address, cache.flow.keys.keyring, "once")
again = Cache(sys.argv[1], signing_key=bytes(range(32))).cached(cached.__wrapped__)
again(2)
os.utime(cached._calls.of((1,), {}).address.path, (time.time() - 10,) * 2)  # not written just now
os.path.exists("/begin-of-hit")
first = again(1)
os.path.exists("/begin-of-hit")
second = again(1)
os.path.exists("/begin-of-hit")
"""


def test_the_system_calls_of_a_warm_hit(tmp_path: Path) -> None:
    """A second hit looks at one file, and a first one opens, reads and closes it; no lock, no write."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    log = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-o", str(log), sys.executable, "-c", PRELUDE + TRACED, str(tmp_path / "cache")]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    hits = [part.splitlines()[1:-1] for part in log.read_text().split("/begin-of-hit")[1:3]]
    first, second = ([re.sub(r"^\d+ +", "", line).partition("(")[0] for line in hit] for hit in hits)
    assert first.count("openat") == 1
    assert set(first) <= {
        *("openat", "fstat", "newfstatat", "lstat", "read", "close", "close_range", "getuid", "brk")
    }, first
    # Four directories are looked at for the first key in a shard, once per process.
    assert len(first) <= 14, first
    assert second in (["newfstatat"], ["lstat"]), second
