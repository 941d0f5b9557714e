"""What a dry run lists: the entries that would be removed, or their sums by function."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pcache.cli.output import SHORT_KEY, amount, say, say_json
from pcache.cli.tables import Column, say_table
from pcache.text.phrases import age, brief
from pcache.text.units import format_duration, format_size

if TYPE_CHECKING:
    from pcache.maintenance.records import Candidate

_CANDIDATE_COLUMNS = (
    Column("Key"),
    Column("Function", cut="start"),
    Column("Size", right=True),
    Column("Cost", right=True),
    Column("Last used", right=True),
)
_SUM_COLUMNS = (
    Column("Function", cut="start"),
    Column("Entries", right=True),
    Column("Size", right=True),
    Column("Cost", right=True),
    Column("Last used", right=True),
)
MANY_ROWS = 40  # on a terminal; a pipe gets them all


def say_candidates(found: list[Candidate], verb: str, *, by_function: bool = False, as_json: bool) -> None:
    """Print what would be removed: the entries, or with `by_function` their sums."""
    size, cost = sum(item.size for item in found), sum(item.cost for item in found)
    if as_json:
        from dataclasses import asdict  # late for start-up time

        report = {"dry_run": True, "entries": len(found), "bytes": size, "seconds": cost}
        say_json({**report, "functions": sums(found), "candidates": [asdict(item) for item in found]})
        return
    if not found:
        say(f"There is nothing to {verb}.")
        return
    if by_function:
        _say_sums(found)
    else:
        _say_entries(found)
    say(f"\nWould remove {amount(len(found), size)}. Nothing was removed.")
    if cost:
        say(f"Computing that took about {format_duration(cost)}.")


def sums(found: list[Candidate]) -> list[dict[str, Any]]:
    """What would be removed of each function, the most computing first."""
    groups: dict[str, list[Candidate]] = {}
    for item in found:
        groups.setdefault(item.function, []).append(item)
    found_sums = [
        {
            "function": name,
            "entries": len(items),
            "bytes": sum(item.size for item in items),
            "seconds": sum(item.cost for item in items),
            "used": max(item.used for item in items),
        }
        for name, items in groups.items()
    ]
    return sorted(found_sums, key=lambda one: (-one["seconds"], -one["bytes"], one["function"]))


def _say_sums(found: list[Candidate]) -> None:
    now = time.time()
    say_table(
        _SUM_COLUMNS,
        [
            (
                one["function"],
                f"{one['entries']:,}",
                format_size(one["bytes"]),
                brief(one["seconds"]) if one["seconds"] else "?",
                f"{age(one['used'], now)} ago",
            )
            for one in sums(found)
        ],
    )


def _say_entries(found: list[Candidate]) -> None:
    now, digits = time.time(), SHORT_KEY if sys.stdout.isatty() else None
    say_table(
        _CANDIDATE_COLUMNS,
        [
            (
                item.key[:digits],
                item.function,
                format_size(item.size),
                brief(item.cost) if item.cost else "?",
                f"{age(item.used, now)} ago",
            )
            for item in found
        ],
        most=MANY_ROWS,
    )
