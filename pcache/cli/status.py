"""The command status: which results the code on disk leaves behind."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.output import say, say_json, say_tree
from pcache.text.phrases import counted
from pcache.text.units import format_duration

if TYPE_CHECKING:
    from pcache.insight.status import Status


@click.command(short_help="Say which results edits leave behind.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True))
@options.cache_dir
@click.option("--since", metavar="REF", help="Compare with the code of a git revision, such as ORIG_HEAD after a pull.")
@options.as_json
@click.pass_context
def status(ctx: click.Context, paths: tuple[str, ...], since: str | None, as_json: bool) -> None:
    """Say what the next run will compute anew because code was edited, and what that takes.

    Looks at the cached functions whose files lie below PATHS, by default the current folder: which function, helper,
    class or constant is another than when the results were made, how many results that leaves behind and how long they
    took to compute, and the command that keeps them. Files are compiled and compared, never imported or run.

    Exits with 1 if anything is left behind, or may be; so it can warn in a hook.

    \b
    pcache status
    pcache status src --since ORIG_HEAD
    """
    from dataclasses import asdict  # late for start-up time

    from pcache.insight import status as insight  # late for start-up time
    from pcache.insight.revision import Revision

    cache = options.open_cache()
    chosen = paths or (os.curdir,)
    first = os.path.realpath(chosen[0])
    revision = None if since is None else Revision(first if os.path.isdir(first) else os.path.dirname(first), since)
    given = options.given_directory()
    found = insight.status(cache.directory, chosen, revision, f"-C {shlex.quote(given)} " if given else "")
    if as_json:
        say_json({**asdict(found), "entries": found.entries, "seconds": found.seconds})
    else:
        say_tree(insight.lines(found))
        _say_sum(found)
    if found.functions:
        ctx.exit(PROBLEM)


def _say_sum(found: Status) -> None:
    if found.functions:
        results, functions = counted(found.entries, "result"), counted(len(found.functions), "function")
        say(f"\n{results} of {functions}, which took {format_duration(found.seconds)} to compute.")
    else:
        say(f"Nothing is left behind: the code of {counted(found.current, 'function')} is that of its results.")
    if found.unlooked:
        say(f"{counted(found.unlooked, 'function')} of notebooks and prompts could not be compared with a file.")
