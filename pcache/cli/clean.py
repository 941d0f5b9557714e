"""Commands that look after the directory: clear, evict, verify."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.candidates import MANY_ROWS, say_candidates
from pcache.cli.completion import complete_function, complete_level
from pcache.cli.output import SHORT_KEY, amount, clean, say, say_json
from pcache.cli.tables import Column, say_table
from pcache.errors import ConfigError
from pcache.text.phrases import counted
from pcache.text.progress import Progress
from pcache.text.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from pcache.cache import Cache
    from pcache.eviction.deletion import Removed
    from pcache.maintenance.records import Verified


@click.command(short_help="Remove all entries, or those of functions.")
@click.argument("functions", nargs=-1, metavar="[FUNCTION]...", shell_complete=complete_function)
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
    functions: tuple[str, ...],
    superseded: bool,
    unused_for: float | None,
    larger_than: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove the entries of each FUNCTION, or all entries.

    FUNCTION is a name with or without its module, a module, or a pattern such as 'pkg.*' or '*:train'. The directory
    itself stays. Programs may go on using the cache meanwhile: they compute again.

    On a terminal it asks first where all would go, or what took more than a minute to compute; in a script it removes
    nothing without --yes.

    \b
    pcache clear simulate 'pkg.*' --dry-run
    pcache clear --superseded
    pcache clear --larger-than 100MB --unused-for 30d
    pcache clear --yes
    """
    from pcache.maintenance import cleanup  # late for start-up time

    cache, chosen = options.open_to_remove(dry_run=dry_run, may_be_missing=True), functions or None
    which: Any = {"superseded": superseded, "unused_for": unused_for, "larger_than": larger_than}
    is_narrow = superseded or unused_for is not None or larger_than is not None
    if dry_run:
        found = cleanup.candidates(cache.directory, chosen, **which)
        say_candidates(found, "clear", by_function=superseded, as_json=as_json)
        return
    if not yes:
        what = "the superseded results" if superseded else "the chosen results" if is_narrow else "all"
        _confirm(cache, functions, what, cleanup.clear(cache.directory, chosen, dry_run=True, **which))
    with Progress("clearing") as progress:
        removed = cleanup.clear(cache.directory, chosen, progress=progress, **which)
    _say_removed(removed, f"There was nothing to clear{_why(cache)}.", as_json=as_json)


def _confirm(cache: Cache, functions: tuple[str, ...], what: str, planned: Removed) -> None:
    """Ask about removing what was planned of some functions, or of all."""
    from pcache.maintenance import cleanup  # late for start-up time

    everything = not functions and planned.entries >= cleanup.clear(cache.directory, dry_run=True).entries
    whose = ", ".join(map(clean, functions)) or clean(cache.location)
    options.confirm_loss(f"{what} of {whose}", planned, everything=everything, yes=False)


def _why(cache: Cache) -> str:
    """Why there was nothing to remove, if the directory may have been spelled wrong."""
    return "" if os.path.lexists(cache.location) else f": {clean(cache.location)} does not exist"


def _say_removed(removed: Removed, nothing: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"dry_run": False, "entries": removed.entries, "bytes": removed.bytes, "seconds": removed.seconds})
        return
    took = f", which had taken {format_duration(removed.seconds)} to compute" if removed.seconds else ""
    say(f"Removed {amount(removed.entries, removed.bytes)}{took}." if removed.entries else nothing)


@click.command(short_help="Remove the least valuable entries, down to limits.")
@click.argument("functions", nargs=-1, metavar="[FUNCTION]...", shell_complete=complete_function)
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
@click.option(
    "--function",
    "more",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_function,
    help="Only entries of this function, as FUNCTION.",
)
@options.dry_run
@options.yes
@options.as_json
def evict(
    functions: tuple[str, ...],
    max_size: int | None,
    max_entries: int | None,
    max_age: float | None,
    more: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove the least valuable entries, of each FUNCTION or of all, until the limits are met.

    Expired entries are removed first, then those of code versions that are no longer on disk, then those that were
    cheap to compute for their size and not used for long (with `policy = "lru"` the least recently used). Without a
    limit here those of the settings apply, which programs keep by themselves while they store results. FUNCTION is as
    for `pcache clear`, and so is when it asks.

    \b
    pcache evict --max-size 2GiB --dry-run
    pcache evict --max-age 30d simulate 'pkg.*'
    pcache evict --yes                          # in a script
    """
    from pcache.maintenance import cleanup  # late for start-up time

    cache, functions = options.open_to_remove(dry_run=dry_run, may_be_missing=True), functions + more
    limits, chosen = (max_size, max_entries, max_age), functions or None
    if dry_run:
        found = cleanup.candidates(cache.directory, chosen, cleanup.limits_of(cache.directory, *limits))
        say_candidates(found, "evict", as_json=as_json)
        return
    if not yes:
        planned = cleanup.evict(cache.directory, *limits, chosen, dry_run=True)
        _confirm(cache, functions, "the least valuable results", planned)
    with Progress("evicting") as progress:
        removed = cleanup.evict(cache.directory, *limits, chosen, progress=progress)
    _say_removed(removed, f"There was nothing to evict{_why(cache) or ': the limits are met'}.", as_json=as_json)


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
            most=MANY_ROWS,
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
