"""Tab completion: of function names and keys, and the script that teaches it to a shell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from pcache.cli.options import open_cache
from pcache.cli.output import clean
from pcache.errors import PcacheError

if TYPE_CHECKING:
    from pcache.maintenance.records import Candidate

_VARIABLE = "_PCACHE_COMPLETE"


@add_completion_class
class Bash(BashComplete):
    """Completion for bash, which breaks words at a colon and replaces only what stands behind the last one.

    click takes the parts of a word for words. So the script sends the line as it was typed.
    """

    source_template = BashComplete.source_template.replace(
        'COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD',
        'COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS"',
    )
    _there = 0  # characters that stay on the line

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        *words, last = split_arg_string(f"{line}x")  # the cursor stands after the last word, or behind a space
        incomplete = last[:-1]
        is_quoted = line.endswith(incomplete) and line.removesuffix(incomplete)[-1:] in ("'", '"')
        if ":" in os.environ.get("COMP_WORDBREAKS", "") and not is_quoted:
            value = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
            self._there = value.rfind(":") + 1
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._there :]}"


def complete_function(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of functions, without their module where that is enough."""
    names = {item.function for item in _entries(ctx)}
    short = [name.partition(":")[2] for name in names]
    known = {brief if short.count(brief) == 1 else name for name, brief in zip(names, short, strict=True) if brief}
    if not any(name.startswith(incomplete) for name in known):
        known = names
    return [CompletionItem(clean(name)) for name in sorted(known) if name.startswith(incomplete)]


def complete_key(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Whole keys; shells that show descriptions get the function's name."""
    found = [item for item in _entries(ctx) if item.key.startswith(incomplete.lower())]
    return [CompletionItem(item.key, help=clean(item.function)) for item in sorted(found, key=lambda item: item.key)]


def complete_level(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Levels of compression."""
    levels = {"none": "unpacked", "auto": "as new results", "1": "fast", "3": "", "9": "", "19": "small"}
    return [CompletionItem(level, help=text) for level, text in levels.items() if level.startswith(incomplete)]


def _entries(ctx: click.Context) -> list[Candidate]:
    from pcache.maintenance import cleanup  # late for start-up time

    try:
        with ctx.scope(cleanup=False):
            return cleanup.candidates(open_cache().directory)
    except (click.ClickException, PcacheError, OSError):
        return []  # completing shows no message; the command itself will say what is wrong


@click.command(short_help="Print the script for tab completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete pcache's commands.

    \b
    eval "$(pcache completion bash)"      # in ~/.bashrc
    eval "$(pcache completion zsh)"       # in ~/.zshrc
    pcache completion fish > ~/.config/fish/completions/pcache.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "pcache", _VARIABLE).source())
