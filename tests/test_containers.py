"""The page on containers, CI and several machines: its commands do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "containers.md").read_text()
[JOB] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RECIPES = dict(re.findall(r"## ([^\n]+)\n.*?```sh\n(.*?)```", PAGE, re.DOTALL))


def test_there_is_a_recipe_in_each_section() -> None:
    assert len(RECIPES) == PAGE.count("\n## ") == PAGE.count("```sh\n") == 3


@pytest.mark.parametrize("title", RECIPES)
def test_recipes_compute_once(tmp_path: Path, title: str) -> None:
    """Each line that says so computes, and the others find the result, without a warning."""
    (tmp_path / "job.py").write_text(JOB)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, words in (("python", ""), ("pcache", " -m pcache")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (tools / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PCACHE", "XDG"))}
    done = subprocess.run(
        ["bash", "-euc", RECIPES[title]],
        env={**kept, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "computing\n"
    assert RECIPES[title].count("python job.py") == 2
