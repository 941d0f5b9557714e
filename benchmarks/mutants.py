"""Does a test fail when pcache is edited? Every single edit of five modules, and the tests that should notice.

    python benchmarks/mutants.py [--module NAME ...] [--only TEXT] [--every N] [--quick] [--write]
    python benchmarks/mutants.py --pairs FILE

The source is edited in a copy of the repository. A process that has everything but pcache in memory forks for each
mutant and runs the tests of its module there, the fast ones and those that saw its neighbours first, until one fails
or takes too long. What survives has to stand in tests/faults/mutants_left.txt with a reason, and nothing else may
stand there: otherwise this exits with 1. `--write` writes benchmarks/mutants.md, `--only` tries the mutants that have
this text in their place or lines, `--every` one of so many, `--quick` leaves out the slow tests. `--pairs` tries each
mutant of such a list with the test that its note names: tests/faults/test_mutants.py does. Linux only.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import json
import os
import platform
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # half of a test run's start; the two that are needed are named
HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE)]

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from tests.faults.mutation import LEFT, Listed, Mutant, mutants, read_edits  # noqa: E402

PAGE = Path(__file__).with_name("mutants.md")
WARM = ("numpy", "pandas", "blake3", "filelock", "json", "pickletools", "platformdirs", "hypothesis.strategies")
MEMORY = 12 << 30  # what an edited loop may take

SLOW = 0.5  # seconds; tests that take longer see only what all the others let pass

# In groups, one after the other: most mutants are gone after the first.
TESTS: dict[str, tuple[str, ...]] = {
    "entry": ("entry", "reader trust"),
    "claim": ("claim", "store trust locking", "flow processes"),
    "store": ("store cache", "reader trust claim upkeep walk flow", "architecture"),
    "keys": ("keys", "dispatch results"),
    "trust": ("trust store", "cache cli_keys registry", "home"),
}


class Outcome(NamedTuple):
    """What became of a run of tests: which failed, whether because of the time, and how long each took."""

    code: int
    failed: str = ""
    late: bool = False
    seconds: dict[str, float] = {}  # noqa: RUF012 - never changed


class Watch:
    """A plugin that runs some tests first and the fast ones before the slow, sets limits, and notes the times."""

    def __init__(self, first: Sequence[str], seconds: dict[str, float]) -> None:
        self.first, self.known = list(first), seconds
        self.seconds: Counter[str] = Counter()
        self.failed, self.late = "", False

    def limit(self, name: str) -> float:
        return 5 + 10 * self.known.get(name, 10)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
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
        path = self.folder / "pcache" / f"{module}.py"
        path.write_text(text)
        for stale in (path.parent / "__pycache__").glob(f"{module}.*"):
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


class Hunt:
    """The mutants of one module."""

    def __init__(self, copy: Copy, module: str, quick: bool) -> None:
        self.copy, self.module = copy, module
        self.source = (HERE / "pcache" / f"{module}.py").read_text()
        groups = [[f"tests/test_{name}.py" for name in group.split()] for group in TESTS[module]]
        times = [self._baseline(group) for group in groups]
        self.groups = [
            (group, {name: took for name, took in known.items() if (took < SLOW) == fast})
            for fast in ((True,) if quick else (True, False))
            for group, known in zip(groups, times, strict=True)
        ]
        self.killers: dict[str, list[str]] = {}

    def _baseline(self, group: list[str]) -> dict[str, float]:
        """How long each test takes; they all pass."""
        self.copy.put(self.module, self.source)
        outcome = self.copy.run(group, Watch([], {}), all_of_them=True)
        if outcome.code:
            sys.exit(f"the tests fail without an edit:\n{self.copy.output.read_text()}")
        self.copy.put(self.module, self.source)  # drops its bytecode
        return outcome.seconds

    def tried(self, mutant: Mutant) -> str:
        """What became of a mutant: killed, late or survived. Who was late is asked twice: the machine may be busy."""
        self.copy.put(self.module, mutant.text)
        for group, seconds in self.groups:
            first = self.killers.get(mutant.where, [])
            outcome = self.copy.run(group, Watch(first, seconds))
            if outcome.late:
                outcome = self.copy.run(group, Watch([outcome.failed], seconds))
            if outcome.code:
                self.killers[mutant.where] = [outcome.failed, *first[:3]]
                return "late" if outcome.late else "killed"
        return "survived"


class Row(NamedTuple):
    """One line of the table, as it stands there."""

    module: str
    mutants: int
    killed: int
    late: int
    survivors: int
    percent: str
    minutes: int
    date: str


def hunt(copy: Copy, module: str, options: argparse.Namespace) -> tuple[Row, list[Mutant], list[Mutant]]:
    """Try the mutants of a module; return what to say of it, the survivors and the others."""
    started = time.monotonic()
    trials = Hunt(copy, module, options.quick)
    found: dict[str, list[Mutant]] = {"killed": [], "late": [], "survived": []}
    every = mutants(module, trials.source, options.only)[:: options.every]
    listed = {left[:3] for left in read_edits(LEFT)}
    for number, mutant in enumerate(every):
        outcome = trials.tried(mutant)
        if outcome != "survived" and mutant.name in listed:
            outcome = trials.tried(mutant)  # before it is called a mistake in the list
        found[outcome].append(mutant)
        if outcome == "survived" and mutant.name not in listed:
            print("{}\n- {}\n+ {}\nsurvived\n".format(*mutant.name), flush=True)
        if number % 50 == 49:
            print(f"{module}: {number + 1} of {len(every)}", file=sys.stderr, flush=True)
    minutes = round((time.monotonic() - started) / 60)
    gone = [*found["killed"], *found["late"]]
    counts = (len(every), len(gone), len(found["late"]), len(found["survived"]))
    return Row(module, *counts, percent(*counts), minutes, time.strftime("%Y-%m-%d")), found["survived"], gone


def percent(mutants: int, killed: int, *_: int) -> str:
    return f"{100 * killed / max(mutants, 1):.1f}"


def complaints(module: str, survivors: list[Mutant], gone: list[Mutant], whole: bool) -> Iterator[str]:
    """How a module's survivors differ from the list."""
    listed = {left[:3] for left in read_edits(LEFT) if left.where.partition(".")[0] == module}
    names = {mutant.name for mutant in survivors}
    for name in sorted(names - listed):
        yield "survived, and is not in the list: {}: {} -> {}".format(*name)
    for name in sorted(listed & {mutant.name for mutant in gone} - names):
        yield "is in the list, and was killed: {}: {} -> {}".format(*name)
    for name in sorted(listed - names - {mutant.name for mutant in gone} if whole else ()):
        yield "is in the list, and is no mutant any more: {}: {} -> {}".format(*name)


def page(rows: dict[str, Row]) -> str:
    """The table, with the rows of the modules that were not tried as they were."""
    written = re.findall(r"(?m)^\| (\w+) \| (.*) \|$", PAGE.read_text() if PAGE.exists() else "")
    cells = {name: (name, *rest.split(" | ")) for name, rest in written} | rows
    table = [Row(*cells[name][:1], *map(int, cells[name][1:5]), *cells[name][5:]) for name in TESTS if name in cells]
    sums = [sum(row[at] for row in table) for at in range(1, 5)]  # type: ignore[misc]
    lines = [
        "# Mutants",
        "",
        "Made by `make mutants` (`python benchmarks/mutants.py --write`): single edits of pcache's source, and whether",
        "a test fails with them. A mutant is killed by a failing test, or by one that takes ten times as long. What",
        "survives is listed in `tests/faults/mutants_left.txt`, each with a reason.",
        "",
        f"CPython {platform.python_version()} on {platform.system()}, one process.",
        "",
        "| module | mutants | killed | of these by time | survivors | killed, % | minutes | date |",
        "| --- | --: | --: | --: | --: | --: | --: | --- |",
        *("| " + " | ".join(map(str, row)) + " |" for row in table),
        "",
        "All: {0} mutants, {1} killed ({4} %), {3} survivors.".format(*sums, percent(*sums)),
    ]
    return "\n".join(lines) + "\n"


def try_pairs(copy: Copy, pairs: Sequence[Listed]) -> int:
    """Try each mutant with its own test, which passes without it; print a word for each."""
    if copy.run(sorted({f"tests/{edit.note}" for edit in pairs}), Watch([], {}), all_of_them=True).code:
        sys.exit(f"the tests fail without an edit:\n{copy.output.read_text()}")
    outcomes = []
    for *name, test in pairs:
        module = name[0].partition(".")[0]
        source = (HERE / "pcache" / f"{module}.py").read_text()
        (text,) = (each.text for each in mutants(module, source, "\n".join(name)) if each.name == tuple(name))
        copy.put(module, text)
        outcomes.append("killed" if copy.run([f"tests/{test}"], Watch([], {})).code else "survived")
        copy.put(module, source)
        print(outcomes[-1], flush=True)
    return int("survived" in outcomes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", choices=list(TESTS))
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--pairs", type=Path)
    options = parser.parse_args()
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, phases=list(hypothesis.Phase)[:3]
    )
    hypothesis.settings.load_profile("mutants")
    with tempfile.TemporaryDirectory(prefix="pcache-mutants-", ignore_cleanup_errors=True) as folder:
        copy = Copy(Path(folder))
        if options.pairs:
            gc.freeze()
            return try_pairs(copy, read_edits(options.pairs))
        for name in WARM:
            __import__(name)
        gc.freeze()  # pytest collects garbage at its end: not in what all forks share
        rows, problems = {}, []
        for module in options.module or TESTS:
            row, survivors, gone = hunt(copy, module, options)
            rows[module] = row
            problems += complaints(module, survivors, gone, whole=not options.only and options.every == 1)
    print(page(rows))
    if options.write:
        PAGE.write_text(page(rows))
    print("\n".join(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
