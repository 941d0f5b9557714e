"""The command that makes a page about a cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM, UNUSABLE
from pcache.cli.output import clean, say
from pcache.system import output_file
from pcache.text.progress import Progress
from pcache.text.units import format_size

if TYPE_CHECKING:
    from pcache.cache import Cache

_STDOUT = "-"
_LIBRARIES = ("plotly", "jinja2", "markupsafe")


class Missing(click.ClickException):
    """A library that only some commands need is not installed."""

    exit_code = UNUSABLE


@click.command(short_help="Write a page with charts about the cache.")
@options.cache_dir
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="report.html",
    show_default=True,
    help="The file to write or replace; - is standard output.",
)
@options.since
@click.option("--open", "browse", is_flag=True, help="Show the page in a browser.")
@click.pass_context
def report(ctx: click.Context, output: str, since: float, browse: bool) -> None:
    """Write a page with charts about the cache: one HTML file, which loads nothing from the network.

    It shows what is stored, by function, size and age, hit rate and time saved over time, and the entries that took
    longest to compute. It holds names of functions and summaries of arguments, so only you can read a new file.

    \b
    pcache report --open
    pcache report --since 30d -o /tmp/cache.html
    pcache report --since 2026-11-01
    """
    if browse and output == _STDOUT:
        raise click.UsageError("--open shows a file: it does not go with -o -", ctx)
    cache = options.open_cache()
    if not os.path.isdir(cache.location):
        say(f"pcache: {clean(cache.location)} does not exist yet: there is nothing to report.", err=True)
        ctx.exit(PROBLEM)
    page = _make(cache, since)
    if output == _STDOUT:
        click.echo(page, nl=False)
        return
    _write(output, page)
    say(f"{clean(output)}: {format_size(len(page))}")
    if browse and not _browse(output):
        say("pcache: no browser was found to show it in.", err=True)
        ctx.exit(PROBLEM)


def _make(cache: Cache, since: float) -> bytes:
    try:
        from pcache import report as page  # late: needs libraries that a cache does not
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _LIBRARIES:
            raise
        raise Missing("the report needs plotly and Jinja2: python -m pip install plotly jinja2") from error
    with Progress("Listing") as progress:
        # An unpaired surrogate, as in the path of a file that is not named in UTF-8, cannot be encoded.
        return page.make(cache, since, progress=progress).encode("utf-8", "backslashreplace")


def _write(output: str, page: bytes) -> None:
    try:
        output_file.write(output, page)
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from error  # and not the name of a temporary file


def _browse(output: str) -> bool:
    import webbrowser  # late for start-up time
    from pathlib import Path

    try:
        return webbrowser.open(Path(output).resolve().as_uri())
    except webbrowser.Error:
        return False
