"""What may know what, how large the parts are, and what a hit does and does not do."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pcache
from pcache import Cache
from tests.support import house
from tests.support.processes import KEY, PRELUDE, ROOT, place_of, run

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


def test_the_house_is_described() -> None:
    """docs/design.md has the rooms and the drawing as they are; `python tests/support/house.py --write` makes them."""
    assert house.DESIGN.read_text() == house.text_with(house.drawing(house.graph()))


def test_the_top_floor_is_small() -> None:
    """A stranger reads at most 24 names."""
    assert len(set(map(house.room_of, house.modules())) - {"__init__", "__main__"}) <= 24


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
        if re.search(r"\bpickle\.loads?\b|Unpickler\b", text):
            loading.add(path.name)
        if re.search(r"except (Base)?Exception\b", re.sub(r"except BaseException:\n(.*\n)*?\s+raise\n", "", text)):
            broad.add(path.name)
    assert loading == {"pickling.py"}
    assert broad == {"interrupts.py", "function.py", "flow.py", "boundary.py"}


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
    os.utime(place_of(cached, 3), (time.time() - 10,) * 2)  # not written just now
    reading = python_calls(cached, 3)
    assert "read_value" in reading
    assert len(reading) <= 15, reading
    entered = python_calls(cached, 3)
    assert entered[0] == "__call__"
    assert {"look_up", "read"} <= set(entered)
    assert len(entered) <= 12, entered


TRACED = """
import time
from tests.support.processes import place_of
cached = cache.cached(lambda n: n + 1)
cached(1), cached(2)
cache.flow.store.read(cached._calls.of((2,), {}).address, cache.flow.keys.keyring, "once")
again = Cache(sys.argv[1], signing_key=bytes(range(32))).cached(cached.__wrapped__)
again(2)
os.utime(place_of(cached, 1), (time.time() - 10,) * 2)  # not written just now
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
