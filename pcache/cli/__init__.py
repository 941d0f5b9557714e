"""The command line: parsing and printing only; `maintenance`, `insight` and `signing` do the work.

No command unpickles a result, but for `check`, which computes one and compares.
"""

from __future__ import annotations

import click

from pcache import __version__
from pcache.cli import clean, config, explain, key, ls, options, top
from pcache.cli.app import Program
from pcache.cli.check import check
from pcache.cli.completion import completion
from pcache.cli.doctor import doctor
from pcache.cli.report import report
from pcache.cli.stats import stats
from pcache.cli.status import status

__all__ = ["main"]


@click.group("pcache", cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@options.cache_dir
@click.version_option(__version__, message="pcache %(version)s")
def main() -> None:
    """Look into and look after a directory of stored function results.

    \b
    pcache stats                        what is there, and the time it saved
    pcache ls --sort size --limit 10    the largest results
    pcache evict --max-age 30d          remove what was not used for a month

    Exits with 0 when all is well, with 1 when a problem was found or nothing matched, with 2 when the command line or
    the configuration cannot be used.
    """


for command in (ls.directory, stats, top.top, report, ls.list_entries, ls.show, config.config):
    main.add_command(command)
for command in (status, explain.explain, explain.adopt, check):
    main.add_command(command)
for command in (clean.clear, clean.evict, clean.verify, clean.recompress, doctor, key.key, completion):
    main.add_command(command)
