"""A line for each call where PCACHE_LOG asks for it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.processes import PRELUDE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PROGRAM = """
import logging
{configured}
@cache.cached
def simulate(n, api_token="t"):
    return 1 // n
simulate(3), simulate(3), simulate.refresh(3)
try:
    simulate(0)
except ZeroDivisionError:
    pass
@cache.cached(summaries=False)
def quiet(n):
    return n
quiet(4)
{later}
quiet(5)
"""
DURATION = r"[\d.]+ [mu]?s"


def lines_of(folder: Path, configured: str = "", later: str = "") -> list[str]:
    """What the program writes to standard error, without durations."""
    script = PRELUDE + PROGRAM.format(configured=configured, later=later)
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [re.sub(DURATION, "TIME", line) for line in done.stderr.splitlines()]


COMPUTED = [
    "pcache: __main__:simulate(n=3, api_token=(not shown)): computed in TIME (absent)",
    "pcache: __main__:simulate(n=3, api_token=(not shown)): computed in TIME (refreshed)",
    "pcache: __main__:simulate(n=0, api_token=(not shown)): raised ZeroDivisionError after TIME (absent)",
    "pcache: __main__:quiet(...): computed in TIME (absent)",
    "pcache: __main__:quiet(...): computed in TIME (absent)",
]


def test_lines_of_computed_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `info` each call that is computed is a line on standard error; without the variable nothing is."""
    assert lines_of(tmp_path / "silent") == []
    monkeypatch.setenv("PCACHE_LOG", "info")
    assert lines_of(tmp_path / "told") == COMPUTED


def test_lines_of_hits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `debug` hits are lines as well, with the age of their results and what these had cost."""
    monkeypatch.setenv("PCACHE_LOG", "debug")
    lines = lines_of(tmp_path)
    assert "pcache: __main__:simulate(n=3, api_token=(not shown)): hit, made TIME ago in TIME" in lines
    assert set(COMPUTED) < set(lines)


def test_handlers_of_the_program_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program handles log lines, before or later, they go there and nowhere else."""
    monkeypatch.setenv("PCACHE_LOG", "info")
    configured = "logging.basicConfig(format='mine %(message)s')"
    lines = lines_of(tmp_path / "a", configured=configured)
    assert [line.partition(" ")[0] for line in lines] == ["mine"] * 5
    lines = lines_of(tmp_path / "b", later=configured)
    assert [line.partition(" ")[0] for line in lines] == ["pcache:"] * 4 + ["mine"]


def test_a_handler_that_fails_stops_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without standard error gets its results."""
    monkeypatch.setenv("PCACHE_LOG", "debug")
    assert lines_of(tmp_path, configured="sys.stderr = None") == []
