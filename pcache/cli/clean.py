"""Commands that look after the directory: clear, evict, verify."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.completion import complete_function, complete_level
from pcache.cli.output import SHORT_KEY, amount, clean, say, say_json
from pcache.cli.progress import Progress
from pcache.cli.tables import Column, say_table
from pcache.errors import ConfigError
from pcache.text.phrases import age, brief, counted
from pcache.text.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from pcache.eviction.deletion import Removed
    from pcache.maintenance.records import Candidate, Verified

_CANDIDATE_COLUMNS = (
    Column("Key"),
    Column("Function", cut="start"),
    Column("Size", right=True),
    Column("Cost", right=True),
    Column("Last used", right=True),
)
_MANY_ROWS = 40  # on a terminal; a pipe gets them all


@click.command(short_help="Remove all entries, or those of a function.")
@click.argument("function", required=False, shell_complete=complete_function)
@options.cache_dir
@click.option("--superseded", is_flag=True, help="Only code versions that are no longer on disk.")
@click.option(
    "--unused-for",
    metavar="AGE",
    callback=options.parsed_by(parse_duration),
    help="Only entries not used for this long, such as 36h or 30d.",
)
@click.option(
    "--larger-than", metavar="SIZE", callback=options.parsed_by(parse_size), help="Only entries larger on disk."
)
@options.dry_run
@options.yes
@options.as_json
def clear(
    function: str | None,
    superseded: bool,
    unused_for: float | None,
    larger_than: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove the entries of FUNCTION, or after a question all entries.

    FUNCTION is a name with or without its module, a module, or a pattern such as 'stats:*'. The directory itself stays.
    Programs may go on using the cache meanwhile: they compute again.

    \b
    pcache clear simulate --dry-run
    pcache clear --superseded
    pcache clear --larger-than 100MB --unused-for 30d
    pcache clear --yes
    """
    from pcache.maintenance import cleanup  # late for start-up time

    cache = options.open_to_remove(dry_run=dry_run)
    which: Any = {"superseded": superseded, "unused_for": unused_for, "larger_than": larger_than}
    is_narrow = superseded or unused_for is not None or larger_than is not None
    if dry_run:
        _say_candidates(cleanup.candidates(cache.directory, function, **which), "clear", as_json=as_json)
        return
    if function is None or is_narrow:
        planned = cleanup.clear(cache.directory, function, dry_run=True, **which)
        if planned.entries:
            what = "the superseded results" if superseded else "the chosen results" if is_narrow else "all"
            size = amount(planned.entries, planned.bytes)
            options.confirm(f"remove {what} of {function or clean(cache.location)} ({size})", yes=yes)
    with Progress("clearing") as progress:
        removed = cleanup.clear(cache.directory, function, progress=progress, **which)
    _say_removed(removed, "There was nothing to clear.", as_json=as_json)


def _say_removed(removed: Removed, nothing: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"dry_run": False, "entries": removed.entries, "bytes": removed.bytes, "seconds": removed.seconds})
        return
    took = f", which had taken {format_duration(removed.seconds)} to compute" if removed.seconds else ""
    say(f"Removed {amount(removed.entries, removed.bytes)}{took}." if removed.entries else nothing)


@click.command(short_help="Remove the least valuable entries, down to limits.")
@options.cache_dir
@click.option(
    "--max-size",
    metavar="SIZE",
    callback=options.parsed_by(parse_size),
    help="Size that may remain, such as 500MB or '2 GiB'.",
)
@click.option("--max-entries", type=click.IntRange(min=0), metavar="N", help="How many entries may remain.")
@click.option(
    "--max-age", metavar="AGE", callback=options.parsed_by(parse_duration), help="Time without use, such as 36h or 30d."
)
@click.option("--function", metavar="NAME", shell_complete=complete_function, help="Only entries of this function.")
@options.dry_run
@options.as_json
def evict(
    max_size: int | None,
    max_entries: int | None,
    max_age: float | None,
    function: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the least valuable entries until the limits are met.

    Expired entries are removed first, then those of code versions that are no longer on disk, then those that were
    cheap to compute for their size and not used for long (with `policy = "lru"` the least recently used). Without a
    limit here those of the settings apply, which programs keep by themselves while they store results.

    \b
    pcache evict --max-size 2GiB --dry-run
    pcache evict --max-age 30d --function simulate
    """
    from pcache.maintenance import cleanup  # late for start-up time

    cache = options.open_to_remove(dry_run=dry_run)
    if dry_run:
        limits = cleanup.limits_of(cache.directory, max_size, max_entries, max_age)
        _say_candidates(cleanup.candidates(cache.directory, function, limits), "evict", as_json=as_json)
        return
    with Progress("evicting") as progress:
        removed = cleanup.evict(cache.directory, max_size, max_entries, max_age, function, progress=progress)
    _say_removed(removed, "There was nothing to evict: the limits are met.", as_json=as_json)


def _say_candidates(found: list[Candidate], verb: str, *, as_json: bool) -> None:
    size, cost, now = sum(item.size for item in found), sum(item.cost for item in found), time.time()
    if as_json:
        from dataclasses import asdict  # late for start-up time

        candidates = [asdict(item) for item in found]
        report = {"dry_run": True, "entries": len(found), "bytes": size, "seconds": cost}
        say_json({**report, "candidates": candidates})
        return
    if not found:
        say(f"There is nothing to {verb}.")
        return
    digits = SHORT_KEY if sys.stdout.isatty() else None
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
        most=_MANY_ROWS,
    )
    say(f"\nWould remove {amount(len(found), size)}. Nothing was removed.")
    if cost:
        say(f"Computing that took about {format_duration(cost)}.")


@click.command()
@options.cache_dir
@click.option("--repair", is_flag=True, help="Remove damaged entries, and what killed processes left behind.")
@click.option("-n", "--dry-run", is_flag=True, help="With --repair: only say what it would remove.")
@options.as_json
@click.pass_context
def verify(ctx: click.Context, repair: bool, dry_run: bool, as_json: bool) -> None:
    """Check every byte of every entry. Nothing is unpickled.

    Exits with 1 when entries are damaged, or foreign: signed with an unknown key. Neither is ever loaded.

    \b
    pcache verify
    pcache verify --repair
    """
    from pcache.maintenance import cleanup  # late for start-up time

    cache = options.open_to_remove(dry_run=dry_run or not repair)
    with Progress("verifying") as progress:
        found = cleanup.verify(cache.directory, repair=repair, dry_run=dry_run, progress=progress)
    if as_json:
        from dataclasses import asdict  # late for start-up time

        say_json({"dry_run": dry_run, **asdict(found)})
    else:
        _say_verified(found, repair=repair, dry_run=dry_run)
    if found.problems:
        ctx.exit(PROBLEM)


def _say_verified(found: Verified, *, repair: bool, dry_run: bool) -> None:
    checked, digits = amount(found.checked, found.bytes), SHORT_KEY if sys.stdout.isatty() else None
    if found.problems:
        say_table(
            [Column("Key"), Column("Problem"), Column("Evidence", cut="end")],
            [
                (problem.key[:digits], problem.reason, problem.detail)
                for problem in sorted(found.problems, key=lambda problem: (problem.reason, problem.key))
            ],
            most=_MANY_ROWS,
        )
        reasons = Counter(problem.reason for problem in found.problems)
        summary = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()))
        say(f"\nChecked {checked}: {summary}.")
    else:
        say(f"Checked {checked}: all are intact." if found.checked else "There was nothing to verify.")
    if repair:
        say(f"{'Would remove' if dry_run else 'Removed'} {amount(found.removed.entries, found.removed.bytes)}.")
    elif any(problem.reason == "damaged" for problem in found.problems):
        say("`pcache verify --repair` removes damaged entries.", err=True)
    if found.leftovers:
        say(f"Removed {counted(found.leftovers, 'leftover')} of killed processes.")


@click.command(short_help="Pack stored results tighter, or unpack them.")
@click.argument("function", required=False, shell_complete=complete_function)
@options.cache_dir
@click.option(
    "--level",
    required=True,
    metavar="LEVEL",
    shell_complete=complete_level,
    help="A zstd level from -7 (fast) to 22 (small), or 'auto', or 'none'.",
)
@click.option(
    "--older-than",
    metavar="AGE",
    callback=options.parsed_by(parse_duration),
    help="Only entries not used for this long.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only show the new sizes; this takes as long as doing it.")
@options.as_json
def recompress(function: str | None, level: str, older_than: float | None, dry_run: bool, as_json: bool) -> None:
    """Compress stored results anew, all or those of FUNCTION. Nothing is unpickled.

    Results that would not become smaller by a block are left as they are. With 'none' results grow, and large arrays
    are mapped again instead of being unpacked. Programs may go on using the cache meanwhile. New results are compressed
    as the setting `compression` says.

    \b
    pcache recompress --level 19 --older-than 30d
    pcache recompress simulate --level none
    """
    from pcache.maintenance import cleanup  # late for start-up time

    cache = options.open_to_remove(dry_run=dry_run)
    with Progress("recompressing") as progress:
        try:
            found = cleanup.recompress(
                cache.directory, level, function, older_than=older_than, dry_run=dry_run, progress=progress
            )
        except ConfigError as error:
            if error.setting == "function":
                raise
            raise click.BadParameter(str(error), param_hint="--level") from error
    if as_json:
        from dataclasses import asdict  # late for start-up time

        say_json({"dry_run": dry_run, **asdict(found)})
        return
    would = "Would recompress" if dry_run else "Recompressed"
    change = f": {format_size(found.before)} become {format_size(found.after)}" if found.entries else ""
    say(f"{would} {counted(found.entries, 'entry')}{change}.")
    if found.skipped:
        say(f"{counted(found.skipped, 'entry')} could not be read, or changed meanwhile.", err=True)
