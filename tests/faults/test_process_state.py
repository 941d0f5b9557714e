"""No operation of pcache changes the global state of a process."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.process_state_program import OPERATIONS

ROOT = Path(__file__).resolve().parent.parent.parent
Evidence = Callable[[str, str, int, int], None]


def environment(folder: Path) -> dict[str, str]:
    """A home and a key for the test."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PCACHE_", "XDG_"))},
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "OPENBLAS_NUM_THREADS": "1",  # its threads end at a fork
        "PCACHE_KEY": base64.b64encode(bytes(range(32))).decode(),
    }


def differences(folder: Path, operation: str) -> dict[str, Any]:
    """The global state that an operation changes in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.process_state_program", str(folder / "cache"), operation],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds some results."""
    folder = tmp_path_factory.mktemp("stored")
    script = (
        "import sys; from tests.faults.process_state_program import *; tools = Tools(sys.argv[1])\n"
        "for n in range(10): tools.double(n)\n"
        "tools.large(2)"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(folder / "cache")],
        env=environment(folder),
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=100,
    )
    return folder


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_leaves_the_process_as_it_was(
    stored: Path, tmp_path: Path, operation: str, evidence: Evidence
) -> None:
    """Random numbers, signals, masks, limits, filters, hooks, streams, threads, modules, descriptors: all as before."""
    folder = tmp_path / "copy"
    shutil.copytree(stored, folder)
    found = differences(folder, operation)
    evidence("never in the way", "process-wide state, before and after an operation in a new process", 1, bool(found))
    assert found == {}
