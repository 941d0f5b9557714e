"""`pcache status`: what it says will be computed is what the next run computes. Nothing of the program runs for it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.insight import listing
from tests.support import status_program
from tests.support.running import ROOT, run, write

_OF_KEYS = {"parameters", "key", "depends_on", "version", "python"}  # kinds that are no parts of a fingerprint


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with pcache at hand."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def pcache(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(folder, sys.executable, "-m", "pcache", "-C", str(folder / "cache"), *arguments)


def status_of(folder: Path, *arguments: str) -> dict[str, Any]:
    """What `pcache status --json` says in a folder, and its exit code."""
    done = pcache(folder, "status", "--json", *arguments)
    assert done.returncode in (0, 1), done.stderr
    return {**json.loads(done.stdout), "code": done.returncode}


def told(report: dict[str, Any], *states: str) -> set[str]:
    """The functions in some states, or in any, by their last names."""
    names = (one["function"] for one in report["functions"] if one["state"] in states or not states)
    return {name.rpartition(":")[2].rpartition(".")[2] for name in names}


def computed_by_run(folder: Path) -> set[str]:
    """The functions that a run of the program computes."""
    (folder / "ran").unlink(missing_ok=True)
    run(folder / "main.py")
    return set((folder / "ran").read_text().split())


def false_lines(folder: Path, report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Edits of which the versions that ran before and after know nothing; an edited class may differ in a member."""
    truth: dict[str, list[tuple[str, str]]] = {}
    for version in listing.versions(Cache(folder / "cache").directory):
        truth.setdefault(version.function, [(one.kind, one.name) for one in version.differences])
    lines = [
        (one["function"], edit["kind"], edit["name"])
        for one in report["functions"]
        if one["state"] == "edited" and not one["function"].endswith("Worker.work")
        for edit in one["edits"]
        if edit["kind"] not in _OF_KEYS
    ]

    def is_true(function: str, kind: str, name: str) -> bool:
        known = truth[function]
        return (kind, name) in known or (kind == "class" and any(one[1].startswith(f"{name}.") for one in known))

    return [line for line in lines if not is_true(*line)]


def edit(folder: Path, edits: tuple[status_program.Edit, ...]) -> None:
    for one in edits:
        path = folder / one.file
        text = path.read_text()
        assert text.count(one.before) == 1, one.what
        path.write_text(text.replace(one.before, one.after))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program, and the results of one run."""
    folder = tmp_path / "program"
    for name, text in status_program.files().items():
        write(folder / name, text)
    assert len(computed_by_run(folder)) == len(status_program.TASKS) + 1
    return folder


def test_what_it_says_is_what_the_next_run_computes(program: Path) -> None:
    """Fifty edits in three rounds: no false line, none missing, and one function of which it cannot be told."""
    assert status_of(program)["code"] == 0
    unknown = []
    for edits in status_program.ROUNDS:
        edit(program, edits)
        report = status_of(program)
        computed = computed_by_run(program)
        assert computed == {name for one in edits for name in one.computes}
        unknown += sorted(told(report, "unknown"))
        assert told(report, "edited", "calls") == computed - set(unknown)
        assert false_lines(program, report) == []
        assert report["code"] == bool(computed)
    assert unknown == ["t_chosen", "t_documented", "t_instance", "t_set"]


def test_without_a_record_of_sources(program: Path) -> None:
    """Versions that an earlier release recorded are compared by their parts; what these do not say cannot be told."""
    for path in (program / "cache" / "v1" / "functions").glob("*.source"):
        path.unlink()
    edit(program, status_program.ROUNDS[0][:4])
    edit(program, status_program.ROUNDS[1][:9])  # none of them changes anything
    report = status_of(program)
    wanted = {name for one in status_program.ROUNDS[0][:4] for name in one.computes}
    assert told(report, "edited") == wanted
    assert computed_by_run(program) <= told(report)
    assert len(told(report, "unknown")) < len(status_program.TASKS) / 2


SCRIPT = """
import helpers
from pcache import Cache
open("imported", "a").write("x")
cache = Cache("cache")
@cache.cached
def simulate(n):
    return helpers.clean(n)
if __name__ == "__main__":
    simulate(1), simulate(2)
"""
HELPERS = "def clean(x):\n    return x\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A folder with a script, a helper, and the results of one run."""
    folder = tmp_path / "script"
    write(folder / "helpers.py", HELPERS)
    run(write(folder / "simulation.py", SCRIPT))
    (folder / "imported").unlink()
    return folder


def test_an_edit_with_what_it_costs(script: Path) -> None:
    """The edit, the results and seconds, and the command that keeps them, which then does; nothing is imported."""
    write(script / "helpers.py", "def clean(x):\n    return x + 0\n")
    done = pcache(script, "status")
    first, change, keep, _, total = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith("simulation:simulate: will be computed anew (2 results, ")
    assert change == "  function helpers:clean was edited (helpers.py)"
    assert total.startswith("2 results of 1 function, which took ")
    assert not (script / "imported").exists()
    keeping = shlex.split(keep.partition(": ")[2])
    assert command(script, sys.executable, "-m", *keeping, "--yes").returncode == 0
    assert pcache(script, "status").stdout.startswith("Nothing is left behind: the code of 1 function")


@pytest.mark.parametrize(
    ("file", "text", "state", "note"),
    [
        ("helpers.py", "def clean(x:\n", "broken", "helpers.py cannot be compiled: line 1: "),
        ("simulation.py", SCRIPT.replace("simulate", "run"), "gone", "; simulation:run has its code now"),
        ("simulation.py", "", "gone", "simulate is no longer in "),
        ("simulation.py", None, "gone", "simulation.py is gone"),
        ("helpers.py", None, "edited", ""),
        ("helpers.py", "import json as clean\n", "edited", ""),
    ],
)
def test_what_cannot_run_any_more(script: Path, file: str, text: str | None, state: str, note: str) -> None:
    """Files that do not compile, functions that were removed or renamed, files that are gone."""
    (script / file).unlink()
    if text is not None:
        write(script / file, text)
    (found,) = status_of(script)["functions"]
    assert found["state"] == state
    assert note in found["note"]
    assert bool(found["adopt"]) == (state == "edited")


def test_only_what_lies_below_the_paths(script: Path, tmp_path: Path) -> None:
    """By default that is the current folder; a program that was moved is found in it."""
    write(script / "helpers.py", "def clean(x):\n    return 3\n")
    (tmp_path / "elsewhere").mkdir()
    done = command(tmp_path / "elsewhere", sys.executable, "-m", "pcache", "-C", str(script / "cache"), "status")
    assert done.stdout.startswith("Nothing is left behind: the code of 0 functions")
    assert told(status_of(script, "simulation.py")) == {"simulate"}
    assert told(status_of(script, "helpers.py")) == set()
    moved = Path(shutil.move(script, tmp_path / "moved"))
    assert told(status_of(moved), "edited") == {"simulate"}


def git(folder: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def test_since_a_revision(script: Path) -> None:
    """Results of a revision's code are left behind by what was committed since; the working tree stays as it is."""
    git(script, "init", "--initial-branch=main")
    git(script, "add", "helpers.py", "simulation.py")
    git(script, "commit", "-m", "one")
    git(script, "checkout", "-b", "branch")
    write(script / "helpers.py", "def clean(x):\n    return 3\n")
    git(script, "commit", "-am", "two")
    run(script / "simulation.py")
    before = {path.name: path.read_bytes() for path in script.glob("*.py")}
    assert status_of(script)["code"] == 0
    assert told(status_of(script, "--since", "main")) == set()  # both versions have results
    shutil.rmtree(script / "cache")
    git(script, "checkout", "main")
    run(script / "simulation.py")
    git(script, "checkout", "branch")
    (found,) = status_of(script, "--since", "main")["functions"]
    assert [edit["name"] for edit in found["edits"]] == ["helpers:clean"]
    assert status_of(script, "--since", "branch")["functions"] == []
    assert {path.name: path.read_bytes() for path in script.glob("*.py")} == before


@pytest.mark.parametrize("arguments", [("--since", "nothing"), ("--since", "--help"), ("missing",)])
def test_what_cannot_be_used(script: Path, arguments: tuple[str, ...]) -> None:
    """No repository, no such revision, no such path: a sentence, and exit code 2."""
    done = pcache(script, "status", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("pcache: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_module_beside_it_is_not_run(script: Path) -> None:
    """A constructor of Python's own is called, and not a file of that name which an import would find here."""
    text = SCRIPT.replace("helpers.clean(n)", "SHARE * n").replace("import helpers", "from fractions import Fraction")
    folder = script / "below"
    program = write(folder / "simulation.py", text.replace("cache =", "SHARE = Fraction(1, 3)\ncache ="))
    run(program)
    shutil.move(folder / "cache", script / "cache2")
    write(script / "fractions.py", "open('ran', 'w')\nfrom numbers import *\n")
    write(program, program.read_text().replace("Fraction(1, 3)", "Fraction(1, 4)"))
    done = command(script, sys.executable, "-m", "pcache", "-C", "cache2", "status", "below")
    assert "constant simulation:SHARE" in done.stdout, done.stderr
    assert not (script / "ran").exists()


def test_results_of_another_key(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored with a key that is not at hand says nothing, and is not taken for current."""
    monkeypatch.setenv("HOME", str(script / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(script / "home" / "config"))
    done = pcache(script, "status")
    assert done.returncode == 2
    assert "was stored with one of the signing keys at hand" in done.stderr


def test_clear_removes_what_was_noted_of_sources(program: Path) -> None:
    """Once all results are gone, nothing is known of the sources either."""
    folder = program / "cache" / "v1" / "functions"
    assert list(folder.glob("*.source"))
    Cache(program / "cache").clear()
    assert list(folder.iterdir()) == []
