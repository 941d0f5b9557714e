"""How the commands print: tables, facts, JSON and progress.

Whatever comes from a cache directory goes through `clean` before it reaches a terminal. A terminal gets lines that fit
its width; a pipe gets everything in full, in aligned columns. Nothing here knows what is printed.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pcache.signing.keyring import WAYS_OUT
from pcache.text.phrases import counted
from pcache.text.printable import printable
from pcache.text.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Literal, Self

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_GAP = "  "
_NARROWEST = 8  # cells that a column keeps, however narrow the terminal is
_SHOW_AFTER = 1.0  # seconds of work before a progress bar appears
_REDRAW_AFTER = 0.1
_DIGITS = 3  # of an estimate
NO_PLACE = f"and no place to keep one in; {WAYS_OUT}"
clean = printable
SHORT_KEY = 8  # digits of a key that are shown; a longer listing may have two keys with the same


class Column(NamedTuple):
    """A column of a table. `cut` says where text that does not fit loses its cells; "" means that it is never cut."""

    title: str
    right: bool = False
    cut: Literal["", "start", "middle", "end"] = ""


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


def say_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, most: int | None = None) -> None:
    """Print rows below a line of titles, on a terminal the first `most` of them.

    Made by hand, because rich lays out 2,300 rows a second: a listing of 100,000 entries would take 40 s instead of 1.
    """
    table = list(rows)
    width = terminal_width()
    left_out = 0 if width is None or most is None else len(table[most:])
    del table[len(table) - left_out :]
    title, *lines = table_lines(columns, table, width)
    say(title, bold=True)
    if lines:
        say("\n".join(lines))  # one write: each would be flushed
    if left_out:
        say(f"... and {left_out:,} more")


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None) -> list[str]:
    """Titles and rows as lines that are no wider than `width`, where the columns may be cut."""
    table = [[clean(cell) for cell in row] for row in rows]
    by_column = zip(*([column.title for column in columns], *table), strict=True)
    widths = [max(map(width_of, cells)) for cells in by_column]
    if width is not None:
        _shrink(widths, columns, width - len(_GAP) * (len(columns) - 1))
    return [_line(row, columns, widths) for row in ([column.title for column in columns], *table)]


def say_facts(facts: Iterable[tuple[str, str | Sequence[str]]], *, indent: int = 0, bold: str = "") -> None:
    """Print labels with a value each, or with several below each other; what is empty is left out.

    Values begin at column `indent` or further right; the label `bold` stands out with its value.
    """
    import textwrap  # late for start-up time

    shown = [(label, [value] if isinstance(value, str) else value) for label, value in facts if value]
    indent = max([indent, *(len(label) + len(_GAP) for label, _ in shown)])
    width = terminal_width()
    for label, values in shown:
        lines = [clean(value) for value in values]
        if width is not None and label != "file":  # a path is copied, and the terminal itself may break it
            room = max(_NARROWEST, width - indent)
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
    """A number of which only a sample is known, in three digits."""
    return round(number, _DIGITS - len(str(number)))


def fitting(text: str, width: int) -> str:
    """A line that is no wider than so many cells."""
    return _cut(text, "end", width)


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = _cut(cell, column.cut, width)
        padding = " " * (width - width_of(text))
        parts.append(padding + text if column.right else text + padding)
    return _GAP.join(parts).rstrip()


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Take from the widest of the columns that may be cut, until all fit."""
    while sum(widths) > room:
        index = max(range(len(widths)), key=lambda i: (bool(columns[i].cut), widths[i]))
        if not columns[index].cut or widths[index] <= _NARROWEST:
            return  # too narrow a terminal: it breaks the lines itself
        widths[index] -= 1


def _cut(text: str, where: str, width: int) -> str:
    if not where or width_of(text) <= width:
        return text
    if width < 1:
        return ""
    room = width - 1  # the ellipsis takes a cell
    left = {"start": 0, "middle": room // 3, "end": room}[where]
    return _first(text, left) + "\u2026" + _first(text[::-1], room - left)[::-1]


def _first(text: str, width: int) -> str:
    """As much of a text as fits into so many cells."""
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
    """The width of the terminal that is printed on; None where that is a pipe or a file."""
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


class Progress:
    """A progress bar on the terminal's standard error, for work that takes more than about a second.

    A context manager; called with how much is done, and of how much.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._drawn = time.monotonic() + _SHOW_AFTER - _REDRAW_AFTER
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._drawn < _REDRAW_AFTER or not sys.stderr.isatty():
            return
        self._drawn = now
        if self._bar is None or self._task is None:
            self._bar = _make_bar()
            self._task = self._bar.add_task(self._what)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _make_bar() -> Bar:
    from rich import progress  # late for start-up time
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
