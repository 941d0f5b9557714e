"""Hits, misses and time saved over time, as a row an hour, day, week or month: numbers with bars beside them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pcache.cli.output import fitting, has_blocks, say, styled, terminal_width
from pcache.text.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pcache.insight.records import Period

_MOST = 31  # rows, about: no screen shows more
_PIPE = 80  # cells, if there is no terminal
_GAP = "  "
_SHORTEST = 6  # cells of a bar; narrower ones are left out
_DAY = 86400
_HOURLY = 31 * _DAY  # older counts are by UTC day


class Row(NamedTuple):
    """The counts of one period."""

    label: str
    hits: int
    misses: int
    saved: float


class Step(NamedTuple):
    """A period that rows may have: its title, where one begins, how long it is at most, and its label."""

    title: str
    begin: Callable[[datetime], datetime]
    longest: timedelta
    label: str


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


_STEPS = (
    Step("Hour", lambda moment: moment.replace(minute=0, second=0, microsecond=0), timedelta(hours=1), "%a %H:%M"),
    Step("Day", _midnight, timedelta(days=1), "%a %d %b"),
    Step("Week of", lambda moment: _midnight(moment) - timedelta(days=moment.weekday()), timedelta(days=7), "%d %b %Y"),
    Step("Month", lambda moment: _midnight(moment).replace(day=1), timedelta(days=31), "%b %Y"),
)


def rows(periods: Sequence[Period], since: float, now: float) -> tuple[str, list[Row]]:
    """The title of the rows, and the rows from the first count to now, in local time, including empty ones."""
    times = [_middle(period.start, now) for period in periods]
    first, last = datetime.fromtimestamp(max(times[0], since)), datetime.fromtimestamp(max(now, times[-1]))
    step = next((step for step in _STEPS if last - step.begin(first) < _MOST * step.longest), _STEPS[-1])
    sums: dict[datetime, list[Period]] = defaultdict(list)
    for time, period in zip(times, periods, strict=True):
        sums[step.begin(max(datetime.fromtimestamp(time), first))].append(period)
    found, begin = [], step.begin(first)
    while begin <= last:
        there = sums[begin]
        found.append(
            Row(
                begin.strftime(step.label),
                sum(period.hits for period in there),
                sum(period.misses for period in there),
                sum(period.saved_seconds for period in there),
            )
        )
        begin = step.begin(begin + step.longest)
    return step.title, found


def _middle(start: float, now: float) -> float:
    """A time within a period: a UTC day may begin on the day before, in local time."""
    return start + _DAY / 2 if now - start > _HOURLY and start % _DAY == 0 else start


def say_plot(periods: Sequence[Period], since: float, now: float) -> None:
    """Print the rows, with bars as wide as there is room for."""
    title, found = rows(periods, since, now)
    width = terminal_width() or _PIPE
    full, light = ("\u2588", "\u2591") if has_blocks() else ("#", ".")
    texts = [
        (row.label, f"{row.hits:,}", f"{row.misses:,}", format_duration(row.saved) if row.hits else "") for row in found
    ]
    titles = (title, "Hits", "Misses", "Saved")
    widths = [max(map(len, column)) for column in zip(titles, *texts, strict=True)]
    room = width - sum(widths) - len(_GAP) * 5
    calls_room, saved_room = room - room * 2 // 5, room * 2 // 5
    if saved_room < _SHORTEST:
        calls_room, saved_room = room + len(_GAP), 0
    if calls_room < _SHORTEST:
        calls_room = 0
    most_calls, most_saved = max(row.hits + row.misses for row in found), max(row.saved for row in found)

    def line(texts: Sequence[str], calls: str, blank: int, saved: str) -> str:
        label, hits, misses, duration = texts
        numbers = [label.ljust(widths[0]), hits.rjust(widths[1]), misses.rjust(widths[2])]
        bars = [calls + " " * blank] if calls_room else []
        return _GAP.join([*numbers, *bars, duration.rjust(widths[3]), *([saved] if saved_room else [])]).rstrip()

    say(fitting(line(titles, "", calls_room, ""), width), bold=True)
    for row, text in zip(found, texts, strict=True):
        hits, misses = _cells(row.hits, most_calls, calls_room), _cells(row.misses, most_calls, calls_room)
        hits = min(hits, calls_room - misses)
        bar = styled(full * hits, fg="green") + styled(light * misses, fg="yellow")
        saved = styled(full * _cells(row.saved, most_saved, saved_room), fg="cyan")
        say(line(text, bar, calls_room - hits - misses, saved))
    if calls_room and most_calls:
        say(fitting(f"\n{full} hits, {light} misses; the longest bar is {most_calls:,}", width + 1))


def _cells(amount: float, most: float, room: int) -> int:
    """The cells of a bar: at least one if not empty, and at most `room`."""
    if amount <= 0 or not room:
        return 0
    return min(max(1, round(amount / most * room)), room)
