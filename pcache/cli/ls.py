"""Commands that look and change nothing: dir, ls, show."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.completion import complete_function, complete_key
from pcache.cli.output import SHORT_KEY, clean, say, say_facts, say_json
from pcache.cli.tables import Column, say_table
from pcache.text.phrases import age, brief, counted
from pcache.text.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.insight.records import BufferInfo, EntryDetails, EntryInfo

_SORTS = ("used", "size", "age", "cost", "saved")
_MANY_BUFFERS = 8
_ENTRY_COLUMNS = (
    Column("Key"),
    Column("Function", cut="start"),
    Column("Arguments", cut="end"),
    Column("Size", right=True),
    Column("Age", right=True),
    Column("Cost", right=True),
    Column("Saved", right=True),
)


@click.command("dir")
@options.cache_dir
def directory() -> None:
    """Print the cache directory, whether it exists or not.

    \b
    pcache dir
    du -sh "$(pcache dir)"
    """
    path = options.settings().directory
    # A script gets the exact bytes of the path.
    click.echo(clean(path) if sys.stdout.isatty() else os.fsencode(path))


@click.command("ls", short_help="List entries with arguments, size, age, cost and use.")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...", shell_complete=complete_function)
@options.cache_dir
@options.as_json
@click.option("--sort", type=click.Choice(_SORTS), default="used", show_default=True, help="What comes first.")
@click.option("-l", "--limit", type=click.IntRange(1, 1 << 40), metavar="N", help="List the first N only.")
def list_entries(patterns: tuple[str, ...], as_json: bool, sort: str, limit: int | None) -> None:
    """List entries: the latest used first, or the largest, oldest, most expensive or most useful.

    PATTERN is a function's name with or without its module, a module, or a pattern such as 'pkg.*' or '*:train'; of
    several each counts. Age is the time since a result was computed, cost the time that took. Saved is the time that
    its uses would have taken to compute, at least: after the first only one use a minute is noted, at most 30 in all.

    \b
    pcache ls
    pcache ls simulate 'pkg.*' --sort cost --limit 10
    pcache ls --sort saved --json | jq '.[0] | {function, arguments, uses, saved}'
    """
    from dataclasses import asdict  # late for start-up time

    from pcache.insight import listing  # late for start-up time

    cache, now = options.open_cache(), time.time()
    found = list(listing.entries(cache.directory, patterns or None, sort=sort, limit=limit))
    if as_json:
        say_json([{**asdict(info), "age": max(0.0, now - info.created)} for info in found])
        return
    if not found:
        say(f"There are no entries in {clean(cache.location)}.", err=True)
        return
    digits = SHORT_KEY if sys.stdout.isatty() else None
    say_table(
        _ENTRY_COLUMNS,
        [
            (
                info.key[:digits],
                info.function,
                info.problem or ("(expired) " if _is_expired(info, now) else "") + info.arguments,
                format_size(info.size),
                "" if info.problem else age(info.created, now),
                "" if info.problem else brief(info.cost),
                "" if info.problem else brief(info.saved),
            )
            for info in found
        ],
    )


def _is_expired(info: EntryInfo, now: float) -> bool:
    return info.expires is not None and info.expires <= now


@click.command(short_help="Show one entry without loading it.")
@click.argument("key", shell_complete=complete_key)
@options.cache_dir
@options.as_json
@click.pass_context
def show(ctx: click.Context, key: str, as_json: bool) -> None:
    """Show one entry: its metadata, and what loading it would import.

    KEY is the beginning of a key, long enough that no other key begins so. Nothing is unpickled, imported or executed.
    Exits with 1 for an entry that cannot be used.

    \b
    pcache show 3fa8
    pcache show 3fa8 --json
    """
    from dataclasses import asdict  # late for start-up time

    from pcache.insight import listing  # late for start-up time

    found, now = listing.details(options.open_cache().directory, key), time.time()
    if as_json:
        report = asdict(found)
        say_json({**report.pop("info"), "age": max(0.0, now - found.info.created), **report})
    else:
        _say_details(found, now)
    if found.info.problem:
        ctx.exit(PROBLEM)


def _say_details(found: EntryDetails, now: float) -> None:
    info = found.info
    names = [("key", info.key), ("function", f"{info.function} (version {info.function_id})")]
    size, used, file = ("size", format_size(info.size)), ("used", _when(info.used, now)), ("file", info.path)
    if info.problem:
        say_facts([*names, size, used, file, ("unusable", info.problem)])
        return
    say_facts(
        [
            *names,
            ("arguments", info.arguments),
            ("result", info.result),
            ("type", info.result_type),
            size,
            ("computed", f"{_when(info.created, now)} by Python {info.python or '?'}"),
            ("cost", format_duration(info.cost)),
            used,
            (
                "saved",
                f"at least {format_duration(info.saved)}, by {counted(info.uses - 1, 'hit')}" if info.saved else "",
            ),
            ("expires", _expiry(info, now)),
            file,
            ("pickle", _packed(found.stream_length, found.stream_raw_length)),
            ("buffers", _buffers(found.buffers)),
            ("imports", found.imports or "nothing"),
        ]
    )
    if found.imports:
        say("\nLoading this entry would import these names. Nothing was loaded or executed.")


def _when(since: float, now: float) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))} ({age(since, now)} ago)"


def _expiry(info: EntryInfo, now: float) -> str:
    if info.expires is None:
        return "never"
    if _is_expired(info, now):
        return f"expired {age(info.expires, now)} ago"
    return f"in {brief(float(round(info.expires - now)))}"


def _packed(length: int, raw_length: int) -> str:
    return format_size(length) + (f", unpacked {format_size(raw_length)}" if raw_length != length else "")


def _buffers(buffers: Sequence[BufferInfo]) -> list[str]:
    lines = [_packed(buffer.length, buffer.raw_length) for buffer in buffers[:_MANY_BUFFERS]]
    if rest := buffers[_MANY_BUFFERS:]:
        lines.append(f"and {len(rest):,} more, {format_size(sum(buffer.length for buffer in rest))}")
    return lines
