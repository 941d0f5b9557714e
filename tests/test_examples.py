"""The jobs in `examples/` run, in small, and are found when they are run again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What is computed of a small job, and found by the second pass.
JOBS = {
    "csv_pipeline.py": (1000, 4),
    "parameter_sweep.py": (2, 4),
    "model_search.py": (60, 12),
    "run_notebook.py": (20, 4),
    "embeddings.py": (10, 10),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_found_when_it_runs_again(name: str, own_home: Path) -> None:
    """Three passes have one result; the first computes and stores, and the second computes nothing."""
    size, calls = JOBS[name]
    command = [sys.executable, str(ROOT / "examples" / name), "--size", str(size), "--rounds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(own_home / "ipython")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    lines = {line[:22].strip(): line[22:].split() for line in done.stdout.splitlines()}
    assert lines["calls computed"] == ["0", str(calls), "0"]
    assert int(lines["calls found"][2]) > 0
    assert lines["calls found"][0] == "0"
    assert "PcacheWarning" not in done.stderr


def test_every_example_is_on_the_page() -> None:
    """docs/examples.md has each program with the command that measures it."""
    page = (ROOT / "docs" / "examples.md").read_text()
    assert set(re.findall(r"^python examples/(\w+\.py)$", page, re.M)) == JOBS.keys()
