"""What the commands share: options, the cache they work on, and asking before something is lost."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from pcache.cli.output import amount
from pcache.config.settings import Settings, resolve
from pcache.errors import ConfigError
from pcache.text.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.cache import Cache
    from pcache.eviction.deletion import Removed

_DIRECTORY = "pcache.cli.directory"  # in the context's meta, which a command shares with its group
_MUCH = 60.0  # seconds of computing, from which removing is asked about


def parsed_by(parse: Callable[[str], float]) -> Callable[..., float | None]:
    """Read an option with a parser of `pcache.text.units`, whose error becomes an error of the option."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else parse(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    return callback


def offering(*words: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Complete an option of free text by words that make sense there."""
    return lambda _ctx, _param, incomplete: [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _complete_directory(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]  # the shell knows its directories


def _remember_directory(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    # Given before and after the command: the later one counts.
    if value is not None:
        ctx.meta[_DIRECTORY] = value


# Accepted before and after the command's name.
cache_dir = click.option(
    "-C",
    "--cache-dir",
    metavar="DIR",
    shell_complete=_complete_directory,
    callback=_remember_directory,
    expose_value=False,
    help="The cache directory; by default that of the settings.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON: sizes in bytes, times in seconds.")
dry_run = click.option("-n", "--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")

_DAYS = {"today": 0, "yesterday": 1}  # words for the midnight that so many days ago began


def _parse_since(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """Read a duration before now, an ISO date or time, or a word, as seconds since 1970; 0 when there is none."""
    from datetime import date, datetime, timedelta  # late for start-up time

    if value is None:
        return 0.0
    now, text = time.time(), value.strip()
    try:
        if (days := _DAYS.get(text.lower())) is not None:
            text = (date.today() - timedelta(days=days)).isoformat()
        is_date = "-" in text  # no duration has one, and a number alone is seconds
        moment = datetime.fromisoformat(text).timestamp() if is_date else now - parse_duration(text)
    except (ConfigError, ValueError, OverflowError, OSError) as error:
        message = (
            f"cannot read {value!r:.80} as a time; give a duration such as '7d', a date such as '2026-03-31', or"
            " 'yesterday'"
        )
        raise click.BadParameter(message, ctx, param) from error
    if moment > now:
        raise click.BadParameter(f"{value!r} lies in the future", ctx, param)
    return max(0.0, moment)


since = click.option(
    "--since",
    metavar="WHEN",
    callback=_parse_since,
    shell_complete=offering("1h", "24h", "7d", "30d", *_DAYS),
    help="Count since so long ago, such as 7d, or since a date, such as 2026-03-31 or yesterday. Precise to the hour.",
)


def given_directory() -> str | None:
    """The directory given on the command line, if any."""
    given: str | None = click.get_current_context().meta.get(_DIRECTORY)
    return given


def settings() -> Settings:
    """The settings in force, with the directory of the command line."""
    try:
        return resolve(directory=given_directory())
    except ConfigError as error:
        if error.origin != "argument":
            raise
        raise click.BadParameter(f"cannot use {error.value!r} as a directory", param_hint="--cache-dir") from error


def open_cache(*, may_be_missing: bool = False) -> Cache:
    """The cache that the command works on; nothing is created.

    Raises `NoCache` for a directory of the command line that is not there: it is spelled wrong. That of the settings
    may be one that no program has needed so far.
    """
    from pcache.cache import Cache  # late for start-up time

    cache = Cache(settings().directory)
    if not may_be_missing and given_directory() is not None and not os.path.lexists(cache.location):
        raise NoCache(f"no such cache: {cache.location}")
    return cache


def open_to_remove(*, dry_run: bool, may_be_missing: bool = False) -> Cache:
    """The cache to remove something from; raises `Refused` if it is read-only."""
    cache = open_cache(may_be_missing=may_be_missing)
    if cache.settings.read_only and not dry_run:
        raise Refused(f"the cache is read-only ({cache.settings.origins['read_only']}), so nothing is removed from it")
    return cache


class NoCache(click.ClickException):
    """There is no directory where the command line says that a cache is."""


class Refused(click.ClickException):
    """The request is refused because of settings or a missing `--yes`."""

    exit_code = 2


def confirm_loss(what: str, lost: Removed, *, everything: bool, yes: bool) -> None:
    """Ask before results are removed: the one rule of all commands that do so.

    On a terminal it asks where everything would go, or what took more than a minute to compute, or nobody knows how
    long. Elsewhere nothing is removed without `--yes`: whether a script works is not to depend on what results cost.
    """
    if yes or not lost.entries:
        return
    if _is_terminal() and not everything and 0 < lost.seconds <= _MUCH:
        return
    confirm(f"remove {what} ({said_to_be(lost)})", yes=False)


def said_to_be(lost: Removed) -> str:
    """`30 entries, 120 KiB, 3 h 12 min of computing`."""
    cost = f", {format_duration(lost.seconds)} of computing" if lost.seconds else ""
    return amount(lost.entries, lost.bytes) + cost


def confirm(action: str, *, yes: bool, consequence: str = "", option: str = "--yes") -> None:
    """Continue only if the user confirms `action`: exit with 1 if not; raise `Refused` without a terminal to ask on."""
    if yes:
        return
    if not _is_terminal():
        raise Refused(f"there is no terminal to ask on; to {action}, say {option}")
    question = f"{action[0].upper()}{action[1:]}?{consequence and ' '}{consequence}"
    if not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        click.get_current_context().exit(1)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
