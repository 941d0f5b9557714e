"""Functions that are another one in each process: who is told what, by real programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.changing import ADVICE, SEEN, Program
from tests.support.running import write


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "project")


def about(function: str, lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(f"results of job:{function} are not found again: ")]


def test_the_third_process_is_warned(program: Program) -> None:
    """Once, with the global, what was computed by those before, and both ways out; the first two are not."""
    assert program.warnings() == program.warnings() == []
    (told,) = about("simulate", program.warnings())
    advice = ADVICE[0].upper() + ADVICE[1:]
    lost = r"Since \d{4}-\d\d-\d\d \d\d:00, 4 calls took [\d.]+ .?s to compute"
    assert re.fullmatch(
        rf"results of job:simulate are not found again: {re.escape(SEEN)}\. {lost}\. {re.escape(advice)}\.", told
    )


def test_edits_of_a_constant(program: Program) -> None:
    """A number that somebody edits before each run is no such global, also when it was edited since."""
    told = []
    for n in range(3, 7):
        told += program.warnings()
        program.edit(f"LIMIT = {n}", f"LIMIT = {n + 1}")
    assert about("limited", told) == []
    assert about("simulate", told) != []
    functions = json.loads(program.pcache("stats", "--json").out)["functions"]
    found = {item["name"]: item["changing_globals"] for item in functions}
    assert found["job:limited"] is None
    assert found["job:simulate"]["versions"] == 4
    assert "`pcache adopt`" in program.pcache("explain", "job:limited(1)").out


def test_a_constant_that_is_set_from_elsewhere(program: Program) -> None:
    """What the file gives as its value counts only if it is the one that was used."""
    program.edit("def main():", "def main():\n    global LIMIT\n    LIMIT = uuid.uuid4().int % 10**9 + 10")
    for _ in range(2):
        program.warnings()
    assert "job:LIMIT differs in every process" in about("limited", program.warnings())[0]


@pytest.mark.parametrize("function", ["model", "default"])
def test_what_ignore_cannot_name(program: Program, function: str) -> None:
    """For attributes of classes and for defaults no `ignore=` is advised that would be refused."""
    for _ in range(2):
        program.warnings()
    (told,) = about(function, program.warnings())
    assert "differs in every process" in told
    assert 'ignore=["module:NAME"]' in told
    assert "ignore=['" not in told


def test_several_globals(program: Program) -> None:
    """All of them are named, and what is advised for them works."""
    program.edit("return n, len(RUN_ID)", "return n, len(RUN_ID + NOW)")
    program.edit("LIMIT = 3", "LIMIT = 3\nNOW = uuid.uuid4().hex")
    for _ in range(2):
        program.warnings()
    (told,) = about("simulate", program.warnings())
    assert "job:NOW, job:RUN_ID differ in every process and count like constants: the last 3 versions" in told
    assert "use @cached(ignore=['job:NOW', 'job:RUN_ID'])" in told
    program.edit("@cached\ndef simulate", "@cached(ignore=['job:NOW', 'job:RUN_ID'])\ndef simulate")
    assert about("simulate", program.warnings() + program.warnings()) == []


def test_the_way_out_ends_it(program: Program) -> None:
    """With the setting of the project the function is found again, and nobody tells of it any more."""
    for _ in range(3):
        program.warnings()
    write(program.folder / "pyproject.toml", '[tool.pcache]\nignore_globals = ["job:RUN_ID"]\n').chmod(0o644)
    assert about("simulate", program.warnings() + program.warnings()) == []
    functions = json.loads(program.pcache("stats", "--json").out)["functions"]
    (simulate,) = (item for item in functions if item["name"] == "job:simulate")
    assert (simulate["changing_globals"], simulate["hits"]) == (None, 2)
    assert program.pcache("explain", "job:simulate(1)").out.startswith("simulate(n=1): hit")


def test_where_nothing_is_counted(program: Program) -> None:
    """Without counters it is told all the same, without numbers."""
    for _ in range(3):
        program.warnings()
    assert program.pcache("stats", "--zero", "--yes").code == 0
    lines = program.pcache("explain", "job:simulate").out.splitlines()
    assert lines[:3] == ["job:simulate", f"  {SEEN}", f"  {ADVICE}"]
