"""How long a hunt for faults goes on, and where it notes its findings.

`make test` runs each hunt for some seconds, `make hunt` (PCACHE_HUNT=1) for minutes, PCACHE_HUNT=0.25 for a quarter of
that. A hunt notes what it tried and how often that failed; `make hunt` makes the table of docs/reliability.md from
these notes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

# Read at import: every test removes pcache's variables from the environment.
SHARE = float(os.environ.get("PCACHE_HUNT", "0"))
LONG = SHARE > 0
_NOTES = os.environ.get("PCACHE_HUNT_NOTES")

PROMISES = ("never wrong", "never in the way", "never executes what it did not write", "once", "bounded")


class Finding(NamedTuple):
    """One row of the table: which promise was tried how (`what`), the number of rounds, and how many broke it.

    `share` is the length of the hunt: 1 for the full length.
    """

    promise: str
    what: str
    rounds: int
    failures: int
    test: str
    share: float = SHARE


def rounds(short: int, long: int) -> int:
    """The number of rounds: `short` within the ordinary tests, `long` in a full hunt, in between for a share."""
    return round(short + (long - short) * SHARE)


def note(finding: Finding) -> None:
    """Write a finding for the table, if one is wanted."""
    assert finding.promise in PROMISES
    if _NOTES:
        with Path(_NOTES).open("a") as notes:
            notes.write(json.dumps(finding._asdict()) + "\n")


def read_notes(path: Path) -> list[Finding]:
    return [Finding(**json.loads(line)) for line in path.read_text().splitlines()]
