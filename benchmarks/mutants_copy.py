"""A copy of the repository in which one module at a time is edited, and tests run in forked processes. Linux only."""

from __future__ import annotations

import compileall
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # half of a test run's start; the two that are needed are named
HERE = Path(__file__).resolve().parents[1]
MEMORY = 12 << 30  # what an edited loop may take


class Outcome(NamedTuple):
    """What became of a run of tests: which failed, whether because of the time, and how long each took."""

    code: int
    failed: str = ""
    late: bool = False
    seconds: dict[str, float] = {}  # noqa: RUF012 - never changed


class Watch:
    """A plugin that runs some tests first and the fast ones before the slow, sets limits, and notes the times."""

    def __init__(self, first: Sequence[str], seconds: dict[str, float], left_out: Container[str] = ()) -> None:
        self.first, self.known, self.left_out = list(first), seconds, left_out
        self.seconds: Counter[str] = Counter()
        self.failed, self.late = "", False

    def limit(self, name: str) -> float:
        return 5 + 10 * self.known.get(name, 10)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid not in self.left_out]
        if self.known:
            items[:] = [item for item in items if item.nodeid in self.known]
        items.sort(key=lambda item: (item.nodeid not in self.first, self.known.get(item.nodeid, 0)))
        for item in items:
            item.add_marker(pytest.mark.timeout(self.limit(item.nodeid)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed and not self.failed:
            self.failed, self.late = report.nodeid, report.duration >= self.limit(report.nodeid)


class Copy:
    """A copy of the repository in which one module at a time is edited, and tests run in forked processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        self.temporary = folder / "temporary"
        self.answer = folder / "answer"
        self.output = folder / "output"
        shutil.copytree(HERE, self.folder, ignore=shutil.ignore_patterns(".?*", "build", "__pycache__"))
        compileall.compile_dir(self.folder / "pcache", quiet=1)

    def put(self, module: str, text: str) -> None:
        path = self.folder / "pcache" / f"{module.replace('.', '/')}.py"
        path.write_text(text)
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()  # its time and size may be those of the next text

    def run(self, tests: Sequence[str], watch: Watch, *, all_of_them: bool = False) -> Outcome:
        """Run tests in a fork, in a process group of its own, of which nothing is left afterwards."""
        self.answer.unlink(missing_ok=True)
        limit = 30 + 3 * sum(watch.known.values()) if watch.known else 900
        child = os.fork()
        if child == 0:
            self._child(tests, watch, all_of_them)
        ended = os.pidfd_open(child)
        in_time = bool(select.select([ended], [], [], limit)[0])
        os.close(ended)
        try:
            os.killpg(child, signal.SIGKILL)  # not waited for yet, so the number is still its own
        except ProcessLookupError:
            pass  # it had no time to found its group
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._unmount()
        if not in_time or not self.answer.exists():
            return Outcome(code or 1, "the run as a whole", not in_time)
        return Outcome(code, **json.loads(self.answer.read_text()))

    def _child(self, tests: Sequence[str], watch: Watch, all_of_them: bool) -> None:
        code = 70
        try:
            os.setsid()
            log = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            for stream in (1, 2):
                os.dup2(log, stream)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
            os.chdir(self.folder)
            sys.path[:] = [str(self.folder), *(path for path in sys.path if Path(path).resolve() != HERE)]
            os.environ["PYTHONPATH"] = str(self.folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
                del sys.modules[name]  # those of the copy are wanted
            plugins = "-p pytest_timeout -p no:cacheprovider -q --tb=line".split()
            options = [*plugins, f"--basetemp={self.temporary}", *([] if all_of_them else ["-x"])]
            # Bytecode of tests is kept from the first run, that of an edited module never.
            sys.dont_write_bytecode = not all_of_them
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            code = int(pytest.main([*options, *tests], plugins=[watch]))
            answer = {"failed": watch.failed, "late": watch.late, "seconds": watch.seconds}
            self.answer.write_text(json.dumps(answer))
        finally:
            os._exit(code)

    def _unmount(self) -> None:
        """Detach the small disks of a test that was ended."""
        for line in Path("/proc/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(str(self.temporary)):
                subprocess.run(["umount", place], check=False)
