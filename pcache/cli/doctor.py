"""The command that looks for what is wrong: doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pcache.cli import options
from pcache.cli.app import PROBLEM
from pcache.cli.output import clean, is_styled, say, say_json, styled, terminal_width
from pcache.errors import ConfigError
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.insight.records import Finding

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command(short_help="Look for what is wrong, and say what to do.")
@options.cache_dir
@options.as_json
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Look at the cache directory, its disk, the signing key and the settings, and say what to do about problems.

    Locks, renames and times are tried in a temporary folder, which is removed again. Nothing else is written, and no
    result is loaded; a directory that does not exist is not made. Exits with 1 for a problem, but not for a note.

    \b
    pcache doctor
    pcache doctor --json | jq '.[] | select(.state != "ok")'
    """
    from pcache import __version__
    from pcache.insight import doctor  # late for start-up time

    try:
        options.settings()  # raises for errors of the command line
    except ConfigError:
        pass  # errors of a file or the environment are findings
    found = doctor.diagnose(options.given_directory(), __version__)
    if as_json:
        say_json([finding._asdict() for finding in found])
    else:
        _say(found)
    if any(finding.state == "problem" for finding in found):
        ctx.exit(PROBLEM)


def _say(found: Sequence[Finding]) -> None:
    if terminal_width() is None:
        wide = max(len(finding.check) for finding in found)
        for finding in found:
            say(f"{finding.state:<7}  {finding.check:<{wide}}  {clean(finding.text)}".rstrip())
            if finding.advice:
                say(f"{'':<7}  {'':<{wide}}  -> {clean(finding.advice)}")
    else:
        _say_table(found)
    problems, notes = (sum(finding.state == state for finding in found) for state in ("problem", "note"))
    said = [counted(count, thing) for count, thing in ((problems, "problem"), (notes, "note")) if count]
    say()
    say(f"{' and '.join(said)}." if said else "All is well.", bold=True)


def _say_table(found: Sequence[Finding]) -> None:
    from rich.console import Console  # late for start-up time
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        text = Text(clean(finding.text))
        if finding.advice:
            text.append(f"\n-> {clean(finding.advice)}", style="bold" if is_styled() else "")
        state = Text.from_ansi(styled(finding.state, fg=_COLOURS[finding.state]))
        table.add_row(state, finding.check, text)
    Console(no_color=not is_styled(), highlight=False).print(table)
