"""Tables: aligned columns that fit the width of a terminal; a pipe gets everything in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pcache.cli.output import GAP, NARROWEST, clean, cut, say, terminal_width, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Column(NamedTuple):
    """A column of a table. `cut` says where text that does not fit is cut; "" means never."""

    title: str
    right: bool = False
    cut: Literal["", "start", "middle", "end"] = ""


def say_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, most: int | None = None) -> None:
    """Print rows below titles; on a terminal only the first `most`.

    Made by hand, because rich lays out 2,300 rows a second: a listing of 100,000 entries would take 40 s instead of 1.
    """
    table = list(rows)
    width = terminal_width()
    left_out = 0 if width is None or most is None else len(table[most:])
    del table[len(table) - left_out :]
    title, *lines = table_lines(columns, table, width)
    say(title, bold=True)
    if lines:
        say("\n".join(lines))  # one write, since each is flushed
    if left_out:
        say(f"... and {left_out:,} more")


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None) -> list[str]:
    """Titles and rows as lines of at most `width`, as far as the columns may be cut."""
    table = [[clean(cell) for cell in row] for row in rows]
    by_column = zip(*([column.title for column in columns], *table), strict=True)
    widths = [max(map(width_of, cells)) for cells in by_column]
    if width is not None:
        _shrink(widths, columns, width - len(GAP) * (len(columns) - 1))
    return [_line(row, columns, widths) for row in ([column.title for column in columns], *table)]


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = cut(cell, column.cut, width)
        padding = " " * (width - width_of(text))
        parts.append(padding + text if column.right else text + padding)
    return GAP.join(parts).rstrip()


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Shrink the widest of the columns that may be cut, until all fit."""
    while sum(widths) > room:
        index = max(range(len(widths)), key=lambda i: (bool(columns[i].cut), widths[i]))
        if not columns[index].cut or widths[index] <= NARROWEST:
            return  # too narrow a terminal: it breaks the lines itself
        widths[index] -= 1
