"""How the commands print: lines, facts, trees and JSON.

Whatever comes from a cache directory goes through `clean` before it reaches a terminal. A terminal gets lines that fit
its width; a pipe gets everything in full, in aligned columns. Nothing here knows what is printed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pcache.signing.keyring import WAYS_OUT
from pcache.text.phrases import counted
from pcache.text.printable import printable
from pcache.text.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


GAP = "  "  # between columns
NARROWEST = 8  # cells that a column keeps, however narrow the terminal is
_DIGITS = 3  # significant digits of an estimate
NO_PLACE = f"and no place to keep one in; {WAYS_OUT}"
clean = printable
SHORT_KEY = 8  # digits of a key that are shown; in longer listings two keys may share them


def say(text: str = "", *, err: bool = False, bold: bool = False) -> None:
    click.echo(styled(text, bold=True) if bold else text, err=err)


def hint(text: str) -> None:
    """Print advice on standard error, wrapped where that is a terminal."""
    if not sys.stderr.isatty():
        say(text, err=True)
        return
    import shutil  # late for start-up time
    import textwrap

    say("\n".join(textwrap.wrap(text, shutil.get_terminal_size().columns, break_on_hyphens=False)), err=True)


def say_json(report: object) -> None:
    import json  # late for start-up time

    click.echo(json.dumps(report, indent=2))


def say_facts(facts: Iterable[tuple[str, str | Sequence[str]]], *, indent: int = 0, bold: str = "") -> None:
    """Print labels with a value each, or with several below each other; empty ones are left out.

    Values begin at column `indent` or further right; the label `bold` is in bold type, with its value.
    """
    import textwrap  # late for start-up time

    shown = [(label, [value] if isinstance(value, str) else value) for label, value in facts if value]
    indent = max([indent, *(len(label) + len(GAP) for label, _ in shown)])
    width = terminal_width()
    for label, values in shown:
        lines = [clean(value) for value in values]
        if width is not None and label != "file":  # a path is for copying, and the terminal itself may break it
            room = max(NARROWEST, width - indent)
            lines = [part for line in lines for part in textwrap.wrap(line, room, break_on_hyphens=False)]
        for first, line in zip((label, *[""] * len(lines)), lines, strict=False):
            say(f"{first:<{indent}}{line}", bold=label == bold)


def say_tree(lines: Iterable[tuple[int, str]]) -> None:
    """Print lines below each other by their depth: as a tree on a terminal, indented in a pipe."""
    if terminal_width() is None:
        for depth, text in lines:
            say("  " * depth + clean(text))
        return
    from rich.console import Console  # late for start-up time
    from rich.text import Text
    from rich.tree import Tree

    branches: list[Tree] = []
    roots: list[Tree] = []
    for depth, text in lines:
        tree = Tree(Text(clean(text), style="bold" if depth == 0 and is_styled() else ""))
        del branches[depth:]
        if branches:
            branches[-1].children.append(tree)
        else:
            roots.append(tree)
        branches.append(tree)
    for root in roots:
        Console(no_color=not is_styled()).print(root)


def amount(entries: int, size: int) -> str:
    """`1,234 entries, 1.2 GiB`."""
    return f"{counted(entries, 'entry')}, {format_size(size)}"


def estimated(number: int) -> int:
    """An estimated number, rounded to three digits."""
    return round(number, _DIGITS - len(str(number)))


def fitting(text: str, width: int) -> str:
    """A line cut to at most `width` cells."""
    return cut(text, "end", width)


def cut(text: str, where: str, width: int) -> str:
    if not where or width_of(text) <= width:
        return text
    if width < 1:
        return ""
    room = width - 1  # the ellipsis takes a cell
    left = {"start": 0, "middle": room // 3, "end": room}[where]
    return _first(text, left) + "\u2026" + _first(text[::-1], room - left)[::-1]


def _first(text: str, width: int) -> str:
    """As much of a text as fits into `width` cells."""
    text = text[:width]
    while width_of(text) > width:
        text = text[:-1]
    return text


def width_of(text: str) -> int:
    """The width of a text on a terminal: East Asian characters take two cells, combining ones none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # late for start-up time

    return cell_len(text)


def terminal_width() -> int | None:
    """The width of the terminal; None if standard output is a pipe or a file."""
    if not sys.stdout.isatty():
        return None
    import shutil  # late for start-up time

    return shutil.get_terminal_size().columns


def styled(text: str, **style: Any) -> str:
    """A text in a style of `click.style`, where the terminal shows styles."""
    return click.style(text, **style) if text and is_styled() else text


def is_styled() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def has_blocks() -> bool:
    """Whether bars can be drawn of block characters."""
    try:
        "\u2588\u2591\u2026".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return os.environ.get("TERM") != "dumb"
