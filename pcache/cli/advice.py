"""What statistics call for: functions that gain nothing by a cache and why, misses and errors with what they mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pcache.cli.output import hint, say, say_tree
from pcache.cli.tables import Column, say_table
from pcache.signing.keyring import ONE_KEY
from pcache.text.phrases import counted, percent
from pcache.text.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.insight.records import FunctionStats, Stats

_ORDINARY = {"absent", "refreshed"}  # reasons of misses that need no action
_DEAR_COLUMNS = (Column("Costs more than it saves", cut="start"), Column("Why"))
_MISS_COLUMNS = (Column("Misses", right=True), Column("Reason"), Column("Which means", cut="end"))
_ERROR_COLUMNS = (Column("Errors", right=True), Column("Kind"), Column("Which means", cut="end"))
_REASONS = {
    "absent": "not stored yet, or evicted since",
    "refreshed": "a new result was asked for",
    "expired": "older than its ttl",
    "damaged": "the file was changed or cut: see `pcache verify`",
    "foreign": "signed with another key: `pcache key --help`",
    "unloadable": "it needs a class or package that is missing or has changed",
}
_KINDS = {
    "raised": "the function raised: nothing is stored",
    "unpicklable": "computed at every call: a warning names the part at fault",
    "impure": "another result than the stored one: check= found that chance or time plays a part",
    "cheap": "not stored, as it took less than min_cost=",
    "unwanted": "not stored, as store_if= did not want it",
    "changed": "not stored, as code or a file that it uses changed meanwhile",
    "too_large": "computed at every call: max_size is too small",
    "ENOSPC": "the disk is full: lower max_size, or raise min_free",
    "EDQUOT": "your quota is used up: lower max_size",
    "EROFS": "the disk is read-only: PCACHE_READ_ONLY=1 stops trying",
    "EACCES": "no right to write there: `ls -ld` the directory",
    "DirectoryError": "the directory was refused: a warning says why",
    "SigningKeyError": "the signing key cannot be used: `pcache config`",
}


def say_first(found: Stats) -> None:
    """Print what makes the rest look well though nothing is found again: results signed with another key."""
    if foreign := found.misses_by_reason.get("foreign", 0):
        say(f"{counted(foreign, 'call')} found a result signed with another key, and computed it again:", bold=True)
        say(f"{ONE_KEY}.")
        say()


def say_advice(found: Stats) -> None:
    """Print a table for each kind of problem, and hints on standard error; usually nothing."""
    _say_dear(found.functions)
    _say_changing(found.functions)
    _say_reasons(_MISS_COLUMNS, found.misses_by_reason if set(found.misses_by_reason) - _ORDINARY else {}, _REASONS)
    _say_reasons(_ERROR_COLUMNS, found.errors_by_kind, _KINDS)
    _say_hints(found)


def _say_dear(functions: Sequence[FunctionStats]) -> None:
    """Functions that are faster without the cache, with the figures that say so."""
    rows = [(item.name, _why_dear(item)) for item in functions if item.costs_more]
    if rows:
        say()
        say_table(_DEAR_COLUMNS, rows)
        say("Without @cached they are faster; cache what calls them instead.")


def _why_dear(item: FunctionStats) -> str:
    parts = []
    if item.misses:
        parts.append(f"computing {format_duration(item.computed_seconds / item.misses)}")
        parts.append(f"key and storing {format_duration(item.seconds_a_miss)}")
    parts.append(f"a hit {format_duration(item.seconds_a_hit)}" if item.hits else "never hit")
    return f"{format_duration(-item.net_seconds)} lost: {', '.join(parts)}"


def _say_changing(functions: Sequence[FunctionStats]) -> None:
    """Functions whose results are not found again, with the globals at fault."""
    for item in functions:
        if item.changing_globals is not None:
            say()
            seen, advice = item.changing_globals.text, item.changing_globals.advice
            say_tree([(0, f"Results of {item.name} are not found again"), (1, seen), (1, advice)])


def _say_reasons(columns: Sequence[Column], numbers: Mapping[str, int], meanings: Mapping[str, str]) -> None:
    if not numbers:
        return
    rows = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    say()
    say_table(columns, [(f"{number:,}", kind, meanings.get(kind) or _of_system(kind)) for kind, number in rows])


def _of_system(kind: str) -> str:
    """What an error of the system means, by its name."""
    import errno  # late for start-up time

    number = getattr(errno, kind, None)
    return os.strerror(number) if kind.isupper() and isinstance(number, int) else ""


def _say_hints(found: Stats) -> None:
    if found.looked_at < 1:
        hint(
            f"About: {percent(found.looked_at)} of the directory was listed. `pcache stats --exact` lists it all,"
            " and what is being computed."
        )
    if any(item.name == "?" for item in found.functions):
        hint("Entries of the function ? cannot be read here: `pcache verify` says why.")
    if found.damaged_records:
        hint(
            f"{counted(found.damaged_records, 'record')} of the counters cannot be read, so some counts are lost;"
            " results are not affected. `pcache stats --zero` starts the counters again."
        )
