"""`pcache check`: a call is computed again and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT, run, write

PROGRAM = """
import asyncio, os, sys
from pcache import Cache
cache = Cache(os.path.join(os.path.dirname(__file__), "cache"), signing_key=bytes(range(32)))

@cache.cached
def steady(n):
    return {"n": n}

@cache.cached
def chance(n):
    return {"n": n, "loss": [0.5, os.urandom(8)]}

async def taken(items):
    return [item async for item in items]

@cache.cached
def items(n, sure):
    yield n
    return 2 * n if sure else os.urandom(8)

@cache.cached
async def later(n, sure):
    return n if sure else os.urandom(8)

@cache.cached
async def items_later(n, sure):
    yield n if sure else os.urandom(8)

if __name__ == "__main__":
    steady(1), chance(1), list(items(1, True)), list(items(1, False)), asyncio.run(later(2, True))
    asyncio.run(taken(items_later(2, True)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run(write(tmp_path / "jobs.py", PROGRAM))
    return tmp_path


def check(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pcache", "-C", str(folder / "cache"), "check", *arguments]
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PCACHE_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout or done.stderr).strip()


def test_what_is_computed_is_compared_with_what_is_stored(folder: Path) -> None:
    """Equal results exit with 0; for others the path to the difference is told."""
    assert check(folder, "steady(1)") == (0, "the result equals the stored one")
    assert check(folder, "chance(1)") == (1, "result['loss'][1] differs from the stored one")


def test_what_is_not_stored_is_computed_twice(folder: Path) -> None:
    """It says so, and stores nothing."""
    assert check(folder, "steady(2)") == (0, "the result equals that of a second run, as none is stored")
    code, text = check(folder, "--json", "chance(2)")
    assert (code, json.loads(text)) == (
        1,
        {"equal": False, "differs": "result['loss'][1]", "compared_with": "computed"},
    )
    assert check(folder, "steady(2)")[1].endswith("as none is stored")


def test_what_is_no_call(folder: Path) -> None:
    """A name alone, and arguments that do not fit, are refused in one sentence."""
    code, text = check(folder, "steady")
    assert code == 2
    assert "give a call to compute, such as 'steady(1, x=2)'" in text
    code, text = check(folder, "steady(1, 2)")
    assert (code, "takes 1 positional argument" in text) == (2, True)


@pytest.mark.parametrize("name", ["items", "later", "items_later"])
def test_other_kinds_of_functions(folder: Path, name: str) -> None:
    """What is awaited is awaited, and streams are taken to their end, with what a generator returns."""
    compared = "the stored one" if name == "items" else "that of a second run, as none is stored"
    assert check(folder, f"{name}(1, True)") == (0, f"the result equals {compared}")
    code, text = check(folder, f"{name}(1, False)")
    part = {"items": "[1]", "later": "", "items_later": "[0]"}[name]
    assert (code, text) == (1, f"result{part} differs from {compared}")
