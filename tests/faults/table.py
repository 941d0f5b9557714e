"""Make the table of docs/reliability.md from what a hunt noted.

python -m tests.faults.table build/hunt.jsonl
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path

from tests.faults.hunting import PROMISES, Finding, read_notes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by `make hunt` -->\n", "<!-- end -->\n"


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
    lines = [
        f"{today}; {machine}.\n",
        "| promise | what was tried | rounds | failures | test |",
        "|---|---|--:|--:|---|",
    ]
    lines += [f"| {row.promise} | {row.what} | {row.rounds:,} | {row.failures} | `{row.test}` |" for row in rows]
    lines.append(f"| | together | {sum(row.rounds for row in rows):,} | {sum(row.failures for row in rows)} | |")
    return "\n".join(lines) + "\n"


def with_table(page: str, made: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{made}{END}{after}"


def main() -> None:
    PAGE.write_text(with_table(PAGE.read_text(), table(read_notes(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
