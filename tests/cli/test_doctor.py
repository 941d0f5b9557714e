"""`pcache doctor`: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pcache import Cache
from pcache.cli import main
from tests.support.changing import ADVICE, SEEN, Program
from tests.support.processes import ROOT


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def identity(n: int) -> int:
    return n


@pytest.fixture
def filled(cache: Cache) -> Cache:
    cache.cached(identity)(1)
    return cache


def test_a_fine_cache(filled: Cache) -> None:
    """Exits with 0, a line for each check."""
    result = run("-C", filled.location, "doctor")
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok       entries ") for line in lines)
    assert not any(line.startswith("problem") for line in lines)


def test_a_problem(filled: Cache) -> None:
    """Exits with 1, with the command that helps on a line of its own."""
    Path(filled.location).chmod(0o777)
    result = run("doctor", "-C", filled.location)
    assert result.exit_code == 1
    assert f"-> chmod 700 {filled.location}" in result.stdout
    assert "1 problem" in result.stdout.splitlines()[-1]


def test_json(filled: Cache) -> None:
    """A list of findings, each with a state."""
    result = run("doctor", "-C", filled.location, "--json")
    found = json.loads(result.stdout)
    assert {item["state"] for item in found} <= {"ok", "note"}
    assert set(found[0]) == {"check", "state", "text", "advice"}


def test_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory that is none exits with 2; a setting that is none is what doctor looks for."""
    assert run("doctor", "-C", "").exit_code == 2
    assert run("doctor", "--no-such-option").exit_code == 2
    monkeypatch.setenv("PCACHE_MAX_SIZE", "a lot")
    result = run("doctor", "-C", tmp_path / "cache")
    assert result.exit_code == 1
    assert "PCACHE_MAX_SIZE" in result.stdout


def test_on_a_terminal(filled: Cache) -> None:
    """A table whose text is folded, with nothing of the directory's name that a terminal would obey."""
    place = Path(filled.location).rename(Path(filled.location).parent / "evil\x1b[2Jname")
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "pcache", "doctor", "-C", str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "60"}
    process = subprocess.Popen(command, env=environment, stdin=end, stdout=end, stderr=end)
    os.close(end)
    said = b""
    try:
        while data := os.read(terminal, 4096):
            said += data
    except OSError:
        pass  # the program has ended
    os.close(terminal)
    assert process.wait() == 0, said
    assert b"\x1b[2J" not in said
    assert b"evil" in said
    assert b"ok" in said


def test_functions_that_are_others_in_each_process(tmp_path: Path) -> None:
    """A note for each, with what to do; functions that are found again have none."""
    program = Program(tmp_path / "project")
    notes = []
    for _ in range(3):
        assert program.run().code == 0
        found = json.loads(program.pcache("doctor", "--json").out)
        notes.append([item for item in found if item["check"] == "versions of code"])
    assert notes[:2] == [[], []]
    (note,) = (item for item in notes[2] if "job:simulate" in item["text"])
    assert note["text"].startswith(f"results of job:simulate are not found again: {SEEN}. Since ")
    assert (note["state"], note["advice"]) == ("note", ADVICE)
    assert not any("job:limited" in item["text"] for item in notes[2])
