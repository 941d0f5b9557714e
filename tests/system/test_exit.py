"""What is gathered in memory is written when a process ends, however it was started, and never by a forked child."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcache.system.exit import Unfinished
from tests.support.processes import ROOT, run

# Writes a letter for each thing that was gathered.
GATHERING = """
import os, sys
from pcache.system.exit import Unfinished
class Gatherer(Unfinished):
    def __init__(self, path):
        self.path, self.gathered = path, ""
        super().__init__()
    def flush(self):
        text, self.gathered = self.gathered, ""
        if text:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(fd, text.encode())
            os.close(fd)
    def let_go(self):
        self.flush()
    def reset(self):
        self.gathered = ""
"""


class Noted(Unfinished):
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        super().__init__()

    def let_go(self) -> None:
        self.notes.append("flushed")


def test_an_object_that_is_half_made_is_not_written() -> None:
    """What an interrupt came to before an object was made has nothing to write."""
    noted = Noted.__new__(Noted)
    noted.notes = notes = []
    del noted
    gc.collect()
    assert notes == []


def test_an_object_that_is_dropped_is_written() -> None:
    """What an object gathered is written when nobody has it any more, also when it refers to itself."""
    notes: list[str] = []
    noted = Noted(notes)
    del noted
    gc.collect()
    assert notes == ["flushed"]
    noted = Noted(notes)
    noted.itself = noted  # type: ignore[attr-defined]
    del noted
    gc.collect()
    assert notes == ["flushed"] * 2


PLAIN = (
    GATHERING
    + """
gatherer = Gatherer(sys.argv[2])
gatherer.gathered = "p"
how = sys.argv[3]
if how == "raise":
    try:
        raise SystemExit(0)
    finally:
        gatherer.gathered += "q"
if how in ("fork", "fork and exit"):
    child = os.fork()
    if child == 0:
        gatherer.gathered += "c"
        os._exit(0) if how == "fork" else sys.exit(0)
    os.waitpid(child, 0)
if how == "in a function":
    def work():
        inner = Gatherer(sys.argv[2])
        inner.gathered = "i"
    work()
if how == "late":
    import atexit
    atexit.register(lambda: setattr(gatherer, "gathered", gatherer.gathered + "l"))
"""
)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("end", "p"), ("raise", "pq"), ("fork", "p"), ("fork and exit", "cp"), ("in a function", "ip"), ("late", "pl")],
)
def test_the_end_of_a_process(tmp_path: Path, how: str, expected: str) -> None:
    """A process that ends writes what it gathered, once; a child writes what is its own."""
    run(PLAIN, tmp_path / "cache", tmp_path / "log", how)
    assert (tmp_path / "log").read_text() == expected


WORKERS = """
import multiprocessing, sys
import gathering
def outer(path, start):
    gathering.work(path, "o")
    worker = multiprocessing.get_context(start).Process(target=gathering.work, args=(path, "i"))
    worker.start()
    worker.join()
if __name__ == "__main__":
    path, start, how = sys.argv[1:]
    context = multiprocessing.get_context(start)
    gathering.work(path, "p")
    if how == "nested":
        worker = context.Process(target=outer, args=(path, start))
    else:
        worker = context.Process(target=gathering.failing if how == "fails" else gathering.work, args=(path, "w"))
    worker.start()
    worker.join()
"""
MODULE = (
    GATHERING
    + """
gatherers = []
def work(path, letter):
    if not gatherers:
        gatherers.append(Gatherer(path))
    gatherers[0].gathered += letter
def failing(path, letter):
    work(path, letter)
    sys.exit(3)
"""
)


@pytest.mark.parametrize(("how", "expected"), [("once", "pw"), ("fails", "pw"), ("nested", "iop")])
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers(tmp_path: Path, start: str, how: str, expected: str) -> None:
    """Workers of each kind, and workers of workers, write what they gathered, once."""
    (tmp_path / "gathering.py").write_text(MODULE)
    (tmp_path / "script.py").write_text(WORKERS)
    subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "log"), start, how],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        check=True,
        timeout=100,
    )
    assert sorted((tmp_path / "log").read_text()) == sorted(expected)
