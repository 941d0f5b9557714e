"""A fault at every step: at each file-system call of an operation in turn, the process is killed or the call fails.

Whatever fails, the caller gets the function's result, and the next process heals what is left by using it. A small C
library (`shim.c`) makes the calls fail, so these are the real calls of the program to the system.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.hunting import LONG
from tests.faults.operations import GROUPS
from tests.faults.shim import build
from tests.support.processes import ROOT, claims_below, run

FEWEST_CALLS = 2  # of an operation: a repeated hit checks its file twice


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def shim(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the shim into the programs that a test starts."""
    monkeypatch.setenv("LD_PRELOAD", str(library))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if possible: thousands of small directories are made and removed."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.usefixtures("shim")
def test_a_fault_at_every_step(group: str, folder: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """No failing call reaches the caller of a function, changes a value or causes lasting damage."""
    command = [sys.executable, "-m", "tests.faults.steps_program", str(folder), group, str(LONG)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    trials = sum(one["trials"] for one in found)
    problems = [f"{one['operation']}: {problem}" for one in found for problem in one["problems"]]
    wrong = [problem for problem in problems if "a wrong value" in problem]
    print(f"{group}: {trials} faults", *(f"{one['operation']} {one['steps']}" for one in found), sep="; ")  # noqa: T201
    evidence("never in the way", f"a fault at every file-system call: {group}", trials, len(problems))
    evidence("never wrong", f"a fault at every file-system call: {group}", trials, len(wrong))
    assert [one["operation"] for one in found] == list(GROUPS[group])
    assert all(
        one["steps"] >= max(FEWEST_CALLS, len(one["calls"]) // 2) and one["killed"] and one["applied"] and one["tried"]
        for one in found
    )
    assert problems == []


# The shim itself, and single calls under it

SHIM = """
from tests.faults.shim import Fault, Shim
shim = Shim()
shim.watch(sys.argv[1])
f = cache.cached(lambda n: [n] * 100, code="none")
"""


@pytest.mark.usefixtures("shim")
def test_the_shim_makes_the_chosen_call_fail(tmp_path: Path) -> None:
    """The chosen call fails with that errno, is cut short, or is done but reported as failed; others succeed."""
    script = """
os.mkdir(sys.argv[1])
def try_call(fault):
    shim.arm(fault, 2)
    fd = os.open(sys.argv[1] + "/file", os.O_CREAT | os.O_RDWR)
    try:
        written = os.write(fd, b"abcd"), os.write(fd, b"efgh")
    except OSError as error:
        written = error.strerror
    os.close(fd)
    shim.disarm()
    names, applied = shim.names(), shim.applied()
    with open(sys.argv[1] + "/file") as file:
        say(written, file.read(), *names, applied)
    os.unlink(sys.argv[1] + "/file")
for mode, number in ("pass", 0), ("fail", 28), ("fail though done", 5), ("short", 0), ("short, then fail", 28):
    try_call(Fault(mode, number))
"""
    assert [line.replace("64", "") for line in run(SHIM + script, tmp_path / "cache")] == [
        "(4, 4) abcdefgh create write write close 0",
        "No space left on device  create write close 1",
        "Input/output error abcd create write close 1",
        "(2, 4) abefgh create write write close 1",
        "No space left on device ab create write write close 1",
    ]


@pytest.mark.usefixtures("shim")
@pytest.mark.parametrize("number", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_results_are_stored_where_there_are_no_locks(tmp_path: Path, number: str) -> None:
    """Without locks a result may be computed more than once, but is stored all the same."""
    script = """
import errno
f(0)
shim.arm(Fault("pass"), 0)
f(1)
at = shim.names().index("flock") + 1
shim.arm(Fault("fail", getattr(errno, sys.argv[2]), "such calls from there on"), at)
f(2)
shim.disarm()
say(shim.applied() > 0, f.exists(2), *f.cache_info()[:2])
"""
    (line,) = run("import warnings; warnings.simplefilter('error')\n" + SHIM + script, tmp_path / "cache", number)
    assert line == "True True 0 3"
    assert claims_below(tmp_path) == []


@pytest.mark.usefixtures("shim")
def test_an_entry_that_cannot_be_read_now_is_not_removed(tmp_path: Path) -> None:
    """Reading fails twice, so the call is computed; the entry is replaced in one step, as it may be a good one."""
    script = """
import errno
cache.flow.store.hold(0)  # each hit reads
f(0), f(0)  # folders are looked at once
shim.arm(Fault("pass"), 0)
f(0)
at = shim.names().index("read") + 1
shim.arm(Fault("fail", errno.EIO, "such calls from there on"), at)
assert f(0) == [0] * 100
names = shim.names()
say(shim.applied(), "unlink" in names[: names.index("rename")])
"""
    assert run(SHIM + script, tmp_path / "cache") == ["2 False"]


@pytest.mark.usefixtures("shim")
def test_a_claim_file_that_is_never_seen_holds_nobody_up(tmp_path: Path) -> None:
    """If a file that was opened is reported missing, as by a client that caches directories, the call computes."""
    script = """
import errno
f(0)
shim.arm(Fault("pass"), 0)
f(1)
at = shim.names().index("flock") + 1
at += next(i for i, name in enumerate(shim.names()[at:], 1) if name.startswith("lstat"))
shim.arm(Fault("fail", errno.ENOENT, "such calls from there on"), at)
say(f(2) == [2] * 100, shim.applied() >= 100)
shim.disarm()
say(f(3) == [3] * 100)
"""
    assert run(SHIM + script, tmp_path / "cache") == ["True True", "True"]
