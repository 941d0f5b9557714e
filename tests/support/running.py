"""Scripts in separate processes, for the tests in which a second process must find what a first one stored."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pcache import Cache, CachedFunction

ROOT = Path(__file__).resolve().parent.parent.parent


def write(path: Path, text: str) -> Path:
    """Write a script; its text may be indented like the test around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def told_by(driver: str, folder: Path, programs: dict[str, str], **environment: str) -> dict[str, Any]:
    """What a driver, which is given the names of modules, prints of each as JSON; by the programs' own names."""
    names = {f"program_{number}": name for number, name in enumerate(programs)}
    for module, name in names.items():
        write(folder / f"{module}.py", programs[name])
    (line,) = run(write(folder / "driver.py", driver), folder / "cache", *names, **environment)
    return {names[module]: found for module, found in json.loads(line).items()}


def run(script: Path, *arguments: object, warnings: str = "error::UserWarning", **environment: str) -> list[str]:
    """Run `python script.py` to its end and return the lines that it printed; warnings are errors there too."""
    done = subprocess.run(
        [sys.executable, "-W", warnings, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def count_descriptors() -> int:
    """How many descriptors are open, after collecting those that earlier tests left to the garbage collector."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def station(monkeypatch: pytest.MonkeyPatch, text: str, edits: tuple[tuple[str, str], ...]) -> ModuleType:
    """The module `station` of a source text, each of the edits made in it."""
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    module = ModuleType("station")
    module.__file__ = "/nowhere/station.py"
    monkeypatch.setitem(sys.modules, "station", module)
    exec(compile(text, module.__file__, "exec"), vars(module))
    return module


def load(path: Path, name: str) -> Any:
    """Import a file as a module of a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cache_of(function: CachedFunction[..., Any]) -> Cache:
    """The cache that a function stores its results in."""
    cache = Cache.__new__(Cache)
    cache._use(function._flow.directory)
    return cache
