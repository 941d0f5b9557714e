"""`pcache status`: what it says will be computed is what the next run computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import status_program
from tests.support.running import ROOT, run, write


def status_of(folder: Path, *arguments: str) -> dict[str, Any]:
    """What `pcache status --json` says in a folder, and its exit code."""
    command = [sys.executable, "-m", "pcache", "-C", "cache", "status", "--json", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {**json.loads(done.stdout), "code": done.returncode}


def told(report: dict[str, Any], *states: str) -> set[str]:
    """The functions in some states, by their last names."""
    names = (one["function"].rpartition(":")[2] for one in report["functions"] if one["state"] in states)
    return {name.rpartition(".")[2] for name in names}


def computed_by_run(folder: Path) -> set[str]:
    """The functions that a run of the program computes."""
    (folder / "ran").unlink(missing_ok=True)
    run(folder / "main.py")
    return set((folder / "ran").read_text().split())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    for name, text in status_program.files().items():
        write(folder / name, text)
    return folder


def test_what_it_says_is_what_the_next_run_computes(program: Path) -> None:
    """Fifty edits in three rounds: no function too many, none missing, and few that cannot be told."""
    everything = computed_by_run(program)
    assert len(everything) == len(status_program.TASKS) + 1
    assert status_of(program)["code"] == 0
    unknown = set()
    for edits in status_program.ROUNDS:
        for edit in edits:
            path = program / edit.file
            assert path.read_text().count(edit.before) == 1, edit.what
            path.write_text(path.read_text().replace(edit.before, edit.after))
        report = status_of(program)
        computed = computed_by_run(program)
        print(json.dumps(report, indent=1))
        print("COMPUTED", sorted(computed))
        print("EXPECTED", sorted({name for edit in edits for name in edit.computes}))
        print("EDITS", json.dumps(report))
        print("TOLD", sorted(told(report, "edited", "calls")), sorted(told(report, "unknown")))
