"""The values of all libraries in other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.support.processes import ROOT

MODULES = "arrays frames arrow polars sparse images objects builtin tensors"


def keys_under(seed: int) -> dict[str, str]:
    """The key of each group of each test module, in a process with this hash seed."""
    modules = [f"tests.keys.reducers.test_{name}" for name in MODULES.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.alike", *modules]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_every_process_makes_the_same_keys() -> None:
    """Under three hash seeds, with addresses of its own, each process gives every value the same key."""
    first, *others = (keys_under(seed) for seed in (1, 2, 3))
    assert len(first) > 200
    for other in others:
        assert {name for name in first if first[name] != other.get(name)} == set()
