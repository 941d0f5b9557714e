"""Does a test fail when pcache is edited? Every single edit of six modules, and the tests that should notice.

    python benchmarks/mutants.py [--module NAME ...] [--only TEXT] [--every N] [--quick] [--known FILE] [--write]
    python benchmarks/mutants.py --pairs FILE

The source is edited in a copy of the repository. A process that has everything but pcache in memory forks for each
mutant and runs the tests of its module there, the fast ones and those that saw its neighbours first, until one fails
or takes too long. What survives has to stand in tests/faults/mutants_left.txt with a reason, and nothing else may
stand there: otherwise this exits with 1. `--write` writes benchmarks/mutants.md, `--only` tries the mutants that have
this text in their place or lines, `--every` one of so many. `--quick` tries the fast tests of the first group alone,
and takes the list's word for what is in it: that survives. `--known` notes in a file what came of each, and a run with
the same file tries no more what was killed: it goes on where another was ended, or tries only what survived, after new
tests (no changed ones) or a quick run. `--pairs` tries each mutant of such a list with the test that its note names,
as tests/faults/test_mutants.py does. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE)]

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from mutants_copy import Copy, Watch  # noqa: E402

from tests.faults.mutation import LEFT, Listed, Mutant, mutants, read_edits  # noqa: E402

PAGE = Path(__file__).with_name("mutants.md")
WARM = ("numpy", "pandas", "blake3", "filelock", "json", "pickletools", "platformdirs", "hypothesis.strategies")

SLOW = 0.5  # seconds; tests that take longer see only what all the others let pass

# In groups, one after the other: most mutants are gone after the first.
TESTS: dict[str, tuple[str, ...]] = {
    "entry.format": ("entry/test_format", "entry/test_reader signing/test_keyring"),
    "storage.claim": (
        "storage/test_claim",
        "storage/test_local signing/test_keyring system/test_locks",
        "runtime/test_flow runtime/test_processes",
    ),
    "storage.claim_owner": (
        "storage/test_claim",
        "runtime/test_flow signing/test_keyring",
        "insight/test_doctor insight/test_explanation runtime/test_processes",
    ),
    "storage.local": (
        "storage/test_local test_cache",
        "entry/test_reader signing/test_keyring storage/test_claim maintenance/test_cleanup fingerprint/test_walk"
        " runtime/test_flow",
        "test_architecture",
    ),
    "storage.root": ("storage/test_local test_cache", "maintenance/test_cleanup", "test_architecture"),
    "storage.recent": ("storage/test_local entry/test_reader", "test_cache runtime/test_flow", "test_architecture"),
    "keys.encoder": ("keys/test_encoder", "keys/test_dispatch test_results"),
    "signing.keyring": (
        "signing/test_keyring storage/test_local",
        "test_cache cli/test_key versions/test_registry",
        "entry/test_main_module",
    ),
    "signing.key_source": (
        "signing/test_keyring signing/test_key_source",
        "test_cache cli/test_key insight/test_doctor",
        "entry/test_main_module",
    ),
}


class Known:
    """What runs that ended have found out, in a file of lines: outcome or "test", digest or name, seconds."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.facts = [tuple(json.loads(line)) for line in lines]
        self.tests = {name: seconds for kind, name, seconds in self.facts if kind == "test"}
        self.outcomes = {name: kind for kind, name, _ in self.facts if kind != "test"}

    def add(self, kind: str, name: str, seconds: float) -> None:
        self.facts.append((kind, name, seconds))
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(self.facts[-1]) + "\n")

    def minutes(self, names: set[str]) -> int:
        """How long it took to try some mutants, all runs together."""
        return round(sum(seconds for _, name, seconds in self.facts if name in names) / 60)


class Hunt:
    """The mutants of one module."""

    def __init__(self, copy: Copy, module: str, quick: bool, known: Known) -> None:
        self.copy, self.module, self.known = copy, module, known
        self.source = (HERE / "pcache" / f"{module.replace('.', '/')}.py").read_text()
        names = TESTS[module][:1] if quick else TESTS[module]
        groups = [[f"tests/{name}.py" for name in group.split()] for group in names]
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
        outcome = self.copy.run(group, Watch([], {}, self.known.tests), all_of_them=True)
        if outcome.code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.exit(f"the tests fail without an edit:\n{self.copy.output.read_text()}")
        self.copy.put(self.module, self.source)  # drops its bytecode
        for name, seconds in outcome.seconds.items():
            self.known.add("test", name, seconds)
        before = {name: took for name, took in self.known.tests.items() if name.partition("::")[0] in group}
        return before | outcome.seconds

    def outcome(self, mutant: Mutant, is_listed: bool) -> str:
        """What became of a mutant, now or in a run before."""
        name, started = digest(mutant), time.monotonic()
        if self.known.outcomes.get(name, "survived") != "survived":
            return self.known.outcomes[name]
        outcome = self.tried(mutant)
        if is_listed and outcome != "survived":
            outcome = self.tried(mutant)  # before it is called a mistake in the list
        self.known.add(outcome, name, time.monotonic() - started)
        return outcome

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


def hunt(copy: Copy, module: str, options: argparse.Namespace, known: Known) -> tuple[Row, list[Mutant], list[Mutant]]:
    """Try the mutants of a module; return what to say of it, the survivors and the others."""
    trials = Hunt(copy, module, options.quick, known)
    found: dict[str, list[Mutant]] = {"killed": [], "late": [], "survived": []}
    every = mutants(module, trials.source, options.only)[:: options.every]
    listed = {left[:3] for left in read_edits(LEFT)}
    for number, mutant in enumerate(every):
        is_listed = mutant.name in listed
        outcome = "survived" if options.quick and is_listed else trials.outcome(mutant, is_listed)
        found[outcome].append(mutant)
        if outcome == "survived" and not is_listed:
            print("{}\n- {}\n+ {}\nsurvived\n".format(*mutant.name), flush=True)
        if number % 50 == 49:
            print(f"{module}: {number + 1} of {len(every)}", file=sys.stderr, flush=True)
    copy.put(module, trials.source)  # as the tests of the next module want it
    minutes = known.minutes(set(map(digest, every)))
    gone = [*found["killed"], *found["late"]]
    counts = (len(every), len(gone), len(found["late"]), len(found["survived"]))
    return Row(module, *counts, percent(*counts), minutes, time.strftime("%Y-%m-%d")), found["survived"], gone


def digest(mutant: Mutant) -> str:
    """A name for it and the source that it is an edit of."""
    return hashlib.sha256(mutant.text.encode()).hexdigest()


def percent(mutants: int, killed: int, *_: int) -> str:
    return f"{100 * killed / max(mutants, 1):.1f}"


def complaints(module: str, survivors: list[Mutant], gone: list[Mutant], whole: bool) -> Iterator[str]:
    """How a module's survivors differ from the list."""
    listed = {left[:3] for left in read_edits(LEFT) if left.where.partition(":")[0] == module}
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
        "survives is listed in `tests/faults/mutants_left.txt`, each with a reason. A row is of the source as",
        "it was when it was tried.",
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
        module = name[0].partition(":")[0]
        source = (HERE / "pcache" / f"{module.replace('.', '/')}.py").read_text()
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
    parser.add_argument("--known", type=Path)
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
        rows, problems, known = {}, [], Known(options.known)
        for module in options.module or TESTS:
            row, survivors, gone = hunt(copy, module, options, known)
            rows[module] = row
            problems += complaints(module, survivors, gone, whole=not options.only and options.every == 1)
    print(page(rows))
    if options.write:
        PAGE.write_text(page(rows))
    print("\n".join(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
