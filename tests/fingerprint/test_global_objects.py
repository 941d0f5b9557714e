"""Objects under a global name, whatever they are of: an edit of one is noticed, and no process sees another object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import global_objects
from tests.support.processes import ROOT

Prints = dict[str, tuple[str, str]]


def prints(folder: Path, value: int, seed: str, names: list[str]) -> Prints:
    """The fingerprints of a process that has the modules with this value in them."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{global_objects.module_of(name)}.py").write_text(
            global_objects.KINDS[name].replace("VALUE", str(value))
        )
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONHASHSEED": seed}
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.global_objects", json.dumps(names)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: tuple(said) for name, said in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Prints]:
    """One process, another one that does the same in another order, and one after an edit."""
    folder, names = tmp_path_factory.mktemp("objects"), list(global_objects.KINDS)
    return [
        prints(folder / "before", 1, "1", names),
        prints(folder / "before", 1, "77", names[::-1]),
        prints(folder / "after", 2, "1", names),
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", global_objects.KINDS)
def test_a_kind_of_object(name: str, three: list[Prints]) -> None:
    """Another value is other code; the same is the same code under each hash seed, whatever was done before."""
    (first, reason), (again, _), (edited, _) = (said[name] for said in three)
    if reason:
        pytest.skip(reason)
    assert first == again, "it differs between processes"
    assert first != edited, "its edit is not noticed"
