"""Interrupts at any moment: the caller gets them, nobody else notices, and the next call is an ordinary one.

An interrupt is Ctrl-C, a timeout that a signal handler raises, `sys.exit` in one, or what another thread has raised
here. What may be left is a claim file that nobody holds, when a second interrupt comes within the clearing up of the
first: the next miss takes it over, and `clear`, `evict` and `verify(repair=True)` sweep it.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.hunting import LONG, rounds
from tests.processes import ROOT

Evidence = Callable[[str, str, int, int], None]


def hunt(folder: Path, kind: str, share: int, *operations: str) -> tuple[int, int, str]:
    """Interrupt operations at one of `share` moments, a random one first; return how many hit, failed, and what."""
    command = [sys.executable, "-m", "tests.faults.interrupted", folder, kind, share, random.randrange(10**9)]
    done = subprocess.run([*map(str, command), *operations], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    counted = [line for line in lines if len(line) > 2]
    assert counted
    assert all(int(fired) for _, fired, _ in counted), done.stdout  # each was hit
    faults = "\n".join(" ".join(line) for line in lines if len(line) == 2)
    return sum(int(line[1]) for line in counted), sum(int(line[2]) for line in counted), faults


KINDS = {
    "interrupt": "Ctrl-C at every moment of every operation",
    "timeout": "a TimeoutError of a signal handler",
    "own timeout": "another exception of a signal handler",
    "exit": "sys.exit in a signal handler",
    "thread": "an exception raised by another thread",
    "thread timeout": "a TimeoutError raised by another thread",
}


@pytest.mark.parametrize("kind", KINDS)
def test_interrupts(tmp_path: Path, evidence: Evidence, kind: str) -> None:
    """Interrupted at an exact moment, each operation raises what it was interrupted by and leaves nothing behind."""
    fired, failures, faults = hunt(tmp_path, kind, (1 if kind == "interrupt" else 2) if LONG else 120)
    evidence("never in the way", KINDS[kind], fired, failures)
    assert failures == 0, faults
