"""A program with functions that are another one in each process, and what runs of it leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.running import ROOT, write

PROGRAM = """
import uuid
from pcache import cached
RUN_ID = str(uuid.uuid4())
LIMIT = 3
class Model:
    stamp = uuid.uuid4().hex
def helper(n, token=uuid.uuid4().hex):
    return n, len(token)
@cached
def simulate(n):
    return n, len(RUN_ID)
@cached
def model(n):
    return n, len(Model.stamp)
@cached
def default(n):
    return helper(n)
@cached
def limited(n):
    return n + LIMIT
def main():
    simulate(1), simulate(2), model(1), default(1), limited(1)
if __name__ == "__main__":
    main()
"""
SEEN = "job:RUN_ID differs in every process and counts like a constant: the last 3 versions differ in nothing else"
ADVICE = (
    "if results do not depend on it, use @cached(ignore=['job:RUN_ID']), or ignore_globals in [tool.pcache];"
    " otherwise pass it as an argument"
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Program:
    """The program in a folder of its own, with its cache and key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self._environment = {"PCACHE_DIR": str(self.cache), "XDG_CONFIG_HOME": str(folder / "config")}
        write(folder / "pyproject.toml", "").chmod(0o644)
        write(folder / "job.py", PROGRAM)

    def edit(self, before: str, after: str) -> None:
        text = (self.folder / "job.py").read_text()
        assert before in text
        write(self.folder / "job.py", text.replace(before, after))

    def run(self, *command: str) -> Outcome:
        """Run Python in the folder, by default the program itself."""
        done = subprocess.run(
            [sys.executable, "-W", "always", *(command or ("job.py",))],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self._environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def warnings(self) -> list[str]:
        """What a run of the program is warned of."""
        done = self.run()
        assert done.code == 0, done.err
        return [line.partition("PcacheWarning: ")[2] for line in done.err.splitlines() if "PcacheWarning: " in line]

    def pcache(self, *arguments: str) -> Outcome:
        return self.run("-m", "pcache", *arguments)
