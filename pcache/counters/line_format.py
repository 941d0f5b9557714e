"""The lines of the ledger, and the numbers in them. No files.

    line = hour function (TAB counter SP number)*

The content of the files is authenticated before it comes here. A line with impossible numbers is damaged.
"""

from __future__ import annotations

import time

from pcache.startup import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOUR = 3600
COUNTED = b"counters"  # the kind of what is sealed
FULL = 256 << 10  # bytes of appended lines, from which they are merged
MAX_SIZE = 32 * FULL  # of appended lines; nothing is appended to a longer file
Amounts = dict[tuple[int, str, str], int]  # by hour (since 1970), function and counter

_HOURLY = 31 * 24  # hours for which every hour is kept; older counts are kept by day
_LAST_HOUR, _MOST = 2_000_000, 1 << 128  # the year 2198


def lines_of(amounts: Amounts) -> Iterator[str]:
    """A line for each hour and function."""
    rows: dict[tuple[int, str], dict[str, int]] = {}
    for (hour, function, counter), amount in amounts.items():
        rows.setdefault((hour, function), {})[counter] = amount
    for (hour, function), counters in rows.items():
        yield line_of(hour, function, counters)


def line_of(hour: int, function: str, counters: Mapping[str, int]) -> str:
    """The counts of one function in one hour."""
    name = "".join(char if char.isprintable() else "?" for char in function)
    pairs = "".join(f"\t{counter} {amount}" for counter, amount in counters.items())
    return f"{hour} {name}{pairs}"


def add(amounts: Amounts, text: str) -> int:
    """Add the counts in lines; return how many could not be read."""
    damaged = 0
    for line in text.splitlines():
        if not line:
            continue
        try:
            place, *counters = line.split("\t")
            hour, _, function = place.partition(" ")
            if not all(map(str.isprintable, (place, *counters))):
                raise ValueError
            when = _number(hour, _LAST_HOUR)
            pairs = [pair.partition(" ") for pair in counters]
            found = {(when, function, counter): _number(amount, _MOST) for counter, _, amount in pairs}
        except ValueError:
            damaged += 1
            continue
        for key, number in found.items():
            amounts[key] = amounts.get(key, 0) + number
    return damaged


def _number(text: str, limit: int) -> int:
    number = int(text)
    if not 0 <= number < limit:
        raise ValueError
    return number


class Totals(NamedTuple):
    """The merged counts: since when, which files belong to them and were merged into them, and their lines."""

    since: float = 0.0
    aside: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    lines: str = ""

    def text(self) -> str:
        return f"{self.since:.0f}\t{' '.join(self.aside)}\t{' '.join(self.merged)}\n{self.lines}"


def totals_of(text: str) -> Totals:
    """Parse the totals in a text."""
    first, _, lines = text.partition("\n")
    try:
        since, aside, merged = first.split("\t")
        # Written in whole seconds, it may be half a second ahead.
        start = min(float(_number(since, HOUR * _LAST_HOUR)), time.time() + 1)
    except ValueError:
        return Totals()
    return Totals(start, tuple(aside.split()), tuple(merged.split()), lines)


def by_day(amounts: Amounts, now: float) -> Amounts:
    """The same counts, old ones by day."""
    oldest = int(now) // HOUR - _HOURLY
    merged: Amounts = {}
    for (hour, function, counter), amount in amounts.items():
        key = (hour if hour >= oldest else hour // 24 * 24, function, counter)
        merged[key] = merged.get(key, 0) + amount
    return merged
