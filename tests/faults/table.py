"""Make the tables of docs/reliability.md: from what a hunt noted, and from the pages about damage and single edits.

python -m tests.faults.table [build/hunt.jsonl]
"""

from __future__ import annotations

import datetime
import itertools
import os
import platform
import sys
from pathlib import Path

from tests.faults.hunting import PROMISES, Finding, read_notes

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def summed(findings: list[Finding]) -> list[Finding]:
    """One row for each thing that was tried: the cases of a parametrised test are added up."""
    rows: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        test = finding.test.partition("[")[0]
        key = (finding.promise, finding.what, test)
        before = rows.get(key, finding._replace(rounds=0, failures=0))
        rounds, failures = before.rounds + finding.rounds, before.failures + finding.failures
        rows[key] = finding._replace(rounds=rounds, failures=failures, test=test)
    return sorted(rows.values(), key=lambda row: (PROMISES.index(row.promise), row.test))


def table(findings: list[Finding]) -> str:
    """The rows by promise, in order of weight, with the total."""
    rows = summed(findings)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    shares = " and ".join(f"{share:g}" for share in sorted({finding.share for finding in findings}))
    lines = [
        f"{today}; {machine}; PCACHE_HUNT={shares}.\n",
        "| promise | what was tried | rounds | failures | test |",
        "|---|---|--:|--:|---|",
    ]
    lines += [f"| {row.promise} | {row.what} | {row.rounds:,} | {row.failures} | `{row.test}` |" for row in rows]
    lines.append(f"| | together | {sum(row.rounds for row in rows):,} | {sum(row.failures for row in rows)} | |")
    return "\n".join(lines) + "\n"


def with_table(page: str, command: str, made: str) -> str:
    """The page with another table in the place that a command makes."""
    begin, end = f"<!-- made by `{command}` -->\n", "<!-- end -->\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{made}{end}{after}"


def first_table(page: str) -> str:
    """The first table of a page."""
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), page.splitlines())
    return "\n".join(itertools.takewhile(lambda line: line.startswith("|"), lines)) + "\n"


def up_to_date(page: str) -> str:
    """The page with the tables of other pages as they are now."""
    for command, source in (("make damage", "damage.md"), ("make mutants", "mutants.md")):
        page = with_table(page, command, first_table((ROOT / "benchmarks" / source).read_text()))
    return page


def main() -> None:
    page = up_to_date(PAGE.read_text())
    if len(sys.argv) > 1:
        page = with_table(page, "make hunt", table(read_notes(Path(sys.argv[1]))))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
