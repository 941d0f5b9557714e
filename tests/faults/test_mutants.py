"""The tests are tested: removing one check from pcache's source makes the test that is named for it fail.

`mutants_seen.txt` lists a few of the edits that `make mutants` makes, with those tests.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.mutation import LEFT, mutants, read_edits
from tests.support.processes import ROOT

SEEN = Path(__file__).with_name("mutants_seen.txt")


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root makes files of other users")
def test_whoever_takes_a_check_out_breaks_a_test(evidence: Callable[[str, str, int, int], None]) -> None:
    """Removing each check alone makes its test fail, which passes otherwise."""
    command = [sys.executable, ROOT / "benchmarks" / "mutants.py", "--pairs", SEEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    outcomes, edits = done.stdout.split(), read_edits(SEEN)
    assert len(outcomes) == len(edits), done.stderr
    survivors = [edit for edit, outcome in zip(edits, outcomes, strict=True) if outcome != "killed"]
    evidence("never executes what it did not write", "one check taken out of the source", len(edits), len(survivors))
    assert survivors == []


def test_every_kind_of_edit() -> None:
    """The generator makes exactly the documented edits, each of which can be compiled."""
    source = "def f(a):\n '''Text.'''\n if a < 1 and not a:\n  raise ValueError('a text of words')\n return [a]"
    found = {after for where, _, after, text in mutants("module", source) if where == "module:f" and ast.parse(text)}
    assert found == {
        *("if True", "if False", "if a < 1 or not a", "if a < 1", "if not a", "if a <= 1 and (not a)"),
        *("if a >= 1 and (not a)", "if a < 2 and (not a)", "if a < 0 and (not a)", "if a < 1 and a"),
        *("pass", "return None"),
    }


def test_the_list_of_survivors_has_reasons() -> None:
    """Each edit that no test notices is listed once, with a reason, and applies to the current source."""
    edits = read_edits(LEFT)
    assert len({edit[:3] for edit in edits}) == len(edits)
    modules = {edit.where.partition(":")[0] for edit in edits}
    sources = {name: (ROOT / "pcache" / f"{name.replace('.', '/')}.py").read_text() for name in modules}
    unknown = [
        edit
        for edit in edits
        if not mutants(edit.where.partition(":")[0], sources[edit.where.partition(":")[0]], "\n".join(edit[:3]))
    ]
    assert unknown == []
    assert [edit for edit in edits if len(edit.note) < 10] == []
