"""How long a hunt for faults goes on, and where it notes what it found.

`make test` runs each hunt for some seconds, `make hunt` (PCACHE_HUNT=1) for minutes, PCACHE_HUNT=0.25 goes a quarter of
the way. A hunt notes what it tried and how often that failed; `make hunt` makes the table of docs/reliability.md from
these notes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

# Read here: every test drops the settings of the environment.
SHARE = float(os.environ.get("PCACHE_HUNT", "0"))
LONG = SHARE > 0
_NOTES = os.environ.get("PCACHE_HUNT_NOTES")

PROMISES = ("never wrong", "never in the way", "never executes what it did not write", "once", "bounded")


class Finding(NamedTuple):
    """One row of the table: which promise was tried how (`what`), in so many rounds, and how many of them broke it.

    `share` is how far the hunt went: 1 for all the way.
    """

    promise: str
    what: str
    rounds: int
    failures: int
    test: str
    share: float = SHARE


def rounds(short: int, long: int) -> int:
    """How many rounds to go: `short` within the ordinary tests, `long` in a hunt, or a share of the way between."""
    return round(short + (long - short) * SHARE)


def note(finding: Finding) -> None:
    """Keep a finding for the table, where somebody asked for one."""
    assert finding.promise in PROMISES
    if _NOTES:
        with Path(_NOTES).open("a") as notes:
            notes.write(json.dumps(finding._asdict()) + "\n")


def read_notes(path: Path) -> list[Finding]:
    return [Finding(**json.loads(line)) for line in path.read_text().splitlines()]
