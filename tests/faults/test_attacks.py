"""Nothing that was planted in a cache directory is ever executed, in any disguise and place.

`sandbox` shows that the pickles are dangerous; `attacks_program` calls every function of pcache while they are there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache.entry.pickle_imports import imports_of
from pcache.signing.keyring import key_to_text
from tests.faults.disguises import DISGUISES, PLACES
from tests.faults.hunting import rounds
from tests.faults.pickles import collection
from tests.support.processes import KEY, ROOT

pytest.importorskip("sklearn")
Evidence = Callable[[str, str, int, int], None]


def child(program: str, *arguments: object, **environment: str) -> Any:
    """Run `main` of one of our modules to its end, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.faults.{program} import main; main()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    (tmp_path / "cage").mkdir()
    return tmp_path / "cage" / "canary"


def test_the_pickles_are_dangerous(canary: Path) -> None:
    """The control: plain `pickle.loads` lets nearly all of them act, according to the interpreter."""
    found = collection(str(canary))
    endless = [name for name, malice in found.items() if malice.endless]
    left_out = set(endless[rounds(3, len(endless)) :])
    outcomes = child("sandbox", canary, *(name for name in found if name not in left_out))
    assert len({malice.stream for malice in found.values()}) == len(found) >= 150
    assert [name for name, outcome in outcomes.items() if found[name].acts and not outcome] == []
    assert sum(map(bool, outcomes.values())) >= 120
    assert len(set(outcomes.values())) >= 50  # different effects


def test_nothing_that_was_planted_runs(tmp_path: Path, canary: Path, evidence: Evidence) -> None:
    """Each pickle in each disguise and place: no code, no hang, no memory, no wrong result, no error but ours."""
    steps = rounds(20, 1), rounds(40, 3), rounds(60, 1)
    told = child("attacks_program", tmp_path / "cache", canary, *steps, PCACHE_KEY=key_to_text(KEY))
    planted, calls, failures = told["entries"] + told["places"], told["calls"], told["failures"] + told["warm"]
    what = f"{told['pickles']} malicious pickles in {len(DISGUISES)} disguises and {len(PLACES)} places: {calls} calls"
    evidence("never executes what it did not write", what, planted, len(failures))
    assert failures == []
    assert planted >= 300
    assert told["more_memory"] < 128 << 20
    assert [line.split()[1] for line in told["control"]] == ["pickle.find_class", "os.system"]


def test_the_threat_model_names_tests_that_are() -> None:
    """Each test that SECURITY.md names exists."""
    page = (ROOT / "SECURITY.md").read_text()
    texts = {path.stem: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = set(re.findall(r"\btest_\w+", page)) - texts.keys()
    assert len(named) >= 30
    assert [name for name in named if not any(f"def {name}(" in text for text in texts.values())] == []
    assert set(re.findall(r"faults/(\w+)::", page)) <= texts.keys()


def test_names_are_read_without_running_any(canary: Path, evidence: Evidence) -> None:
    """For a malicious pickle that we signed ourselves, `show` only lists the names that it would import."""
    found = collection(str(canary))
    named = {name: imports_of(malice.stream) for name, malice in found.items()}
    evidence("never executes what it did not write", "names of malicious pickles read by `show`", len(named), 0)
    for name in ("GLOBAL", "INST", "OBJ", "names of the memo", "names by PUT and GET", "names in UNICODE"):
        assert any(import_.endswith((".system", "eval")) for import_ in named[name]), (name, named[name])
    silent = [name for name, malice in found.items() if malice.acts and not named[name]]
    assert silent == ["too long: billion laughs"]  # it needs no name
    assert not canary.exists()
