"""Processes in different pid, time and user namespaces need one result of a shared directory.

Locks work across namespaces, pids and start times do not: where these have another meaning the owner of a claim is
judged by its lock alone. `/proc` may be missing, or be that of another namespace.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.hunting import LONG, rounds
from tests.support.processes import PRELUDE, ROOT, claims_below

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="only root makes namespaces of all kinds"
)
Evidence = Callable[[str, str, int, int], None]

# Each has a different pid there, as other processes were started before it.
_LATER = 'for i in $(seq $NUMBER); do /bin/true; done; "$@"; exit $?'
KINDS = {
    "none": [],
    "pid": ["--fork", "--pid", "--mount-proc", "bash", "-c", _LATER, "bash"],
    "pid, another /proc": ["--fork", "--pid", "bash", "-c", _LATER, "bash"],
    "pid, no /proc": ["--fork", "--pid", "--mount", "bash", "-c", f"umount -l /proc; {_LATER}", "bash"],
    "no /proc": ["--mount", "bash", "-c", 'umount -l /proc; exec "$@"', "bash"],
    "time": ["--fork", "--time", "--boottime", "100000", "--monotonic", "5000"],
    "user": ["--user", "--map-root-user"],
    "pid and user": ["--user", "--map-root-user", "--fork", "--pid", "--mount-proc"],
}

# Each prints that it is ready, and computes when told to, slowly enough for the others to arrive.
NEEDING = """
import time
@cache.cached(code="none")
def f(n):
    fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b".")
    os.close(fd)
    time.sleep(float(sys.argv[3]))
    return [n] * 100
cache.cached(lambda n: n)(0)
say("ready")
hear()
say(f(1) == [1] * 100)
"""


_numbers = itertools.count()


def start(kind: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + NEEDING, *map(str, arguments)]
    if kind != "none":
        command = ["unshare", *KINDS[kind], *command]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBER": str(3 * next(_numbers))}
    return subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def together(tmp_path: Path, kinds: list[str], seconds: float) -> tuple[list[str], int]:
    """Let processes of these kinds need a result at once; return their output, and how often it was computed."""
    log = tmp_path / "log"
    started = [start(kind, tmp_path / "cache", log, seconds) for kind in kinds]
    for kind, process in zip(kinds, started, strict=True):
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            for other in started:
                os.killpg(other.pid, signal.SIGKILL)
            pytest.skip(f"no namespace of kind {kind}: {process.communicate()[1][-200:]}")
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=100)[0].strip() for process in started]
    return said, len(log.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_four_of_a_kind(tmp_path: Path, kind: str, evidence: Evidence) -> None:
    """Each in its own namespaces: one computes, for longer than it takes to check the owner, and three wait."""
    said, computed = together(tmp_path, [kind] * 4, 1.5)
    evidence("once", f"four processes in namespaces of their own ({kind}) need a result", 1, computed - 1)
    assert (said, computed, claims_below(tmp_path)) == (["True"] * 4, 1, [])


def test_pairs(tmp_path: Path, evidence: Evidence) -> None:
    """Of two processes in any two kinds of namespaces only one computes."""
    pairs = list(itertools.combinations(KINDS, 2))
    chosen = pairs * rounds(1, 5) if LONG else random.sample(pairs, 3)
    more = []
    for number, pair in enumerate(chosen):
        (tmp_path / f"{number}").mkdir()
        said, computed = together(tmp_path / f"{number}", list(pair), 1.2)
        assert said == ["True"] * 2, pair
        more += [pair] * (computed - 1)
    evidence("once", "two processes in two kinds of namespaces need a result", len(chosen), len(more))
    assert more == []


@pytest.mark.parametrize("kind", ["pid", "time"])
def test_an_owner_in_another_namespace_that_is_killed(tmp_path: Path, kind: str) -> None:
    """Its lock is released, and a waiting process computes."""
    owner = start(kind, tmp_path / "cache", tmp_path / "log", 60)
    waiting = start("none", tmp_path / "cache", tmp_path / "log", 0)
    for process in (owner, waiting):
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            os.killpg(owner.pid, signal.SIGKILL)
            pytest.skip("no such namespace")
        process.stdin.write("\n")
        process.stdin.flush()
        while not claims_below(tmp_path):
            pass
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()
    assert waiting.communicate(timeout=100)[0] == "True\n"
    assert claims_below(tmp_path) == []
