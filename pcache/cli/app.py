"""How the program runs: a group of commands whose errors are sentences and whose exit codes mean something.

0: done. 1: a problem was found, or nothing matched. 2: the command line or the configuration cannot be used.
130: interrupted. 141: the reader of the output stopped reading, as after `| head`.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import click

from pcache.cli.output import clean
from pcache.errors import Miss, NothingToAdopt, PcacheError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBLEM = 1
UNUSABLE = 2
_INTERRUPTED = 130
_NO_READER = 141


class Commands(click.Group):
    """Commands in the order in which they were added. Without any command their help is printed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.invoke_without_command, self.no_args_is_help = True, False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result


class Program(Commands):
    """All commands, with errors as sentences and exit codes with a meaning."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit, or without `standalone_mode` return the exit code."""
        # Characters that the terminal's encoding lacks are escaped.
        streams = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")]
        before = [stream.errors for stream in streams]
        for stream in streams:
            stream.reconfigure(errors="backslashreplace")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = self._run(args, prog_name or "pcache", complete_var, extra)
        if standalone_mode:
            sys.exit(code)
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)  # they belong to the program that runs a command
        return code

    def _run(self, args: Sequence[str] | None, name: str, complete_var: str | None, extra: Mapping[str, Any]) -> int:
        try:
            code = super().main(args, name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.Abort:
            return _INTERRUPTED
        except click.UsageError as error:
            path = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
            return _complain(error.format_message().rstrip(".") + path, error.exit_code)
        except click.ClickException as error:
            return _complain(error.format_message(), error.exit_code)
        except BrokenPipeError:
            return _stop_writing()
        except Miss as miss:
            return _complain(miss.detail or str(miss), PROBLEM)
        except PcacheError as error:
            unmatched = isinstance(error, NothingToAdopt) or getattr(error, "setting", "") == "function"
            return _complain(str(error), PROBLEM if unmatched else UNUSABLE)
        except OSError as error:
            reason = error.strerror or str(error)
            return _complain(f"{error.filename}: {reason}" if error.filename else reason, PROBLEM)
        return code if isinstance(code, int) else 0

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click itself would exit with 1, which here means that a problem was found
            return _stop_writing()


def _complain(message: str, code: int) -> int:
    """Print one sentence on standard error."""
    click.echo(f"pcache: {clean(' '.join(message.split()))}", err=True)
    return code


def _stop_writing() -> int:
    """Discard what is still buffered, so that Python does not complain when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return _NO_READER


def _show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    click.echo(f"pcache: {clean(str(message))}", err=True)
