"""The lines in which the ledger is written, and the numbers that they stand for. No files.

    line = crc32 hour function (TAB counter SP number)*

Everything that does not match its check, or says what nothing comes to, is a damaged line.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOUR = 3600
Amounts = dict[tuple[int, str, str], int]  # by hour (since 1970), function and counter

_HOURLY = 31 * 24  # hours for which every hour is kept; what is older is kept by day
# A check is no signature: numbers that nothing comes to are those of a damaged line too.
_LAST_HOUR, _MOST = 2_000_000, 1 << 128  # the year 2198


def lines_of(amounts: Amounts) -> Iterator[str]:
    """A line for each hour and function."""
    rows: dict[tuple[int, str], dict[str, int]] = {}
    for (hour, function, counter), amount in amounts.items():
        rows.setdefault((hour, function), {})[counter] = amount
    for (hour, function), counters in rows.items():
        yield line_of(hour, function, counters)


def line_of(hour: int, function: str, counters: Mapping[str, int]) -> str:
    """What one function did in one hour."""
    from zlib import crc32  # late for start-up time

    name = "".join(char if char.isprintable() else "?" for char in function)
    pairs = "".join(f"\t{counter} {amount}" for counter, amount in counters.items())
    body = f"{hour} {name}{pairs}"
    return f"{crc32(body.encode()):08x} {body}"


def add(amounts: Amounts, text: str) -> int:
    """Add what lines say; return how many could not be read."""
    from zlib import crc32  # late for start-up time

    damaged = 0
    for line in text.splitlines():
        check, _, body = line.partition(" ")
        if not line:
            continue
        try:
            if int(check, 16) != crc32(body.encode()):
                raise ValueError
            place, *counters = body.split("\t")
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


def heading_of(totals: str) -> tuple[tuple[str, ...], float, str]:
    """The files that were merged into totals, since when it counts, and its lines."""
    from zlib import crc32  # late for start-up time

    first, _, rest = totals.partition("\n")
    check, _, text = first.partition(" ")
    try:
        if int(check.removeprefix("#"), 16) != crc32(text.encode()) or not check.startswith("#"):
            return (), 0.0, totals
        since, *merged = text.split(" ")
        # Written in whole seconds, it may be half a one ahead.
        return tuple(merged), min(float(_number(since, HOUR * _LAST_HOUR)), time.time() + 1), rest
    except ValueError:
        return (), 0.0, totals


def by_day(amounts: Amounts, now: float) -> Amounts:
    """The same numbers, those of long ago by day."""
    oldest = int(now) // HOUR - _HOURLY
    merged: Amounts = {}
    for (hour, function, counter), amount in amounts.items():
        key = (hour if hour >= oldest else hour // 24 * 24, function, counter)
        merged[key] = merged.get(key, 0) + amount
    return merged
