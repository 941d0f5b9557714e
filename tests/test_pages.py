"""The pages for tests with pytest and for people who come from other caches: what they show happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT, run, write

DOCS = ROOT / "docs"
WAYS = sorted(path.name for path in DOCS.glob("from_*.md"))


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by their names, which stand in their first lines."""
    return dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, re.DOTALL))


@pytest.mark.parametrize("name", WAYS)
def test_the_examples_print_what_they_say(tmp_path: Path, name: str) -> None:
    """The example of each page, in a process of its own."""
    if name == "from_joblib.md":
        pytest.importorskip("joblib")
    page = (DOCS / name).read_text()
    [expected] = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    lines = run(write(tmp_path / "example.py", files_of(page)["example.py"]), warnings="default")
    assert lines == expected.splitlines()


def test_record_and_replay(tmp_path: Path) -> None:
    """The commands of the page: one run computes, the next does not, and a call that is missing fails its test."""
    page = (DOCS / "pytest.md").read_text()
    [commands] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    files = files_of(page)
    assert set(files) == {"library.py", "test_library.py"}
    for name, text in files.items():
        write(tmp_path / name, text)
    tool = write(tmp_path / "bin" / "pytest", f'#!/bin/sh\nexec "{sys.executable}" -m pytest -p pytest_pcache "$@"\n')
    tool.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PCACHE")}
    path = f"{tool.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", commands],
        env={**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("computing 12") == 1
    assert done.stdout.endswith("failed: 1\n")
    [shown] = re.findall(r"```\n(\.\.\. is replayed.*?)```", page, re.DOTALL)
    for line in shown.splitlines():
        start, _, end = line.strip().partition(" ... ")
        assert start.strip(". ") in done.stdout, line
        assert end.partition(" ... ")[0].strip(". ") in done.stdout, line
