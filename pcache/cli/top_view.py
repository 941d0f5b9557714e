"""What `top` shows: looks at a cache that repeat cheaply, and the lines of a screen made of one."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pcache.cli.output import clean, estimated, fitting, width_of
from pcache.cli.stats import RUNNING_COLUMNS
from pcache.cli.tables import Column, table_lines
from pcache.counters import ledger
from pcache.insight import activity, listing
from pcache.insight.records import Activity
from pcache.text.phrases import counted, percent
from pcache.text.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.cache import Cache
    from pcache.insight.records import Stats

_WINDOW = 10.0  # seconds over which a rate is averaged: programs write their counts every five
_LONG = 0.1  # seconds of listing, from which the directory is not listed at each refresh
_LIST_AFTER = 5.0  # but listed after so many seconds
_SHARE = 20  # or after this multiple of the time for listing
_LABEL = 10  # cells
_SHORTEST, _LONGEST = 6, 30  # cells of a bar
_FEWEST = 3  # lines that a table needs: titles, a row and a line before them
_FULL, _NEARLY = 1.0, 0.9  # of a limit
_FUNCTION_COLUMNS = (
    Column("Function", cut="start"),
    Column("Hits/s", right=True),
    Column("Misses/s", right=True),
    Column("Hits", right=True),
    Column("Rate", right=True),
    Column("Saved", right=True),
    Column("Size", right=True),
)
_OF_TWO_LOOKS = {"Hits/s", "Misses/s"}
_NARROW = 64  # cells, below which some columns are left out
_FOR_WIDE_ONES = {"Misses/s", "Hits", "Size"}


class Line(NamedTuple):
    """A line of the screen: its text, and its style in terms of rich."""

    text: str
    style: str = ""


_FOOT = Line("q quits. Counts of running programs arrive every few seconds.", "dim")


class Sample(NamedTuple):
    """The counts up to a time of the monotonic clock."""

    at: float
    total: Activity
    functions: Mapping[str, Activity]


class View(NamedTuple):
    """A snapshot of a cache. `stats` may be some seconds old; `before` is None if there is nothing to compare with.

    `started` is when `first` was taken, in seconds since 1970.
    """

    stats: Stats
    started: float
    first: Sample
    now: Sample
    before: Sample | None


class Monitor:
    """Takes snapshots of one cache; the directory is listed seldom if that takes long."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._samples: deque[Sample] = deque()
        self._list_after = float("-inf")

    def look(self) -> View:
        began = time.monotonic()
        if began >= self._list_after:
            self._stats = listing.stats(self._cache.directory)
            took = time.monotonic() - began
            self._list_after = began + (max(_LIST_AFTER, _SHARE * took) if took > _LONG else 0.0)
        reading = ledger.read(self._cache.location, self._cache.directory.keys.look())
        now = Sample(began, activity.of_all(reading, 0.0), activity.by_function(reading, 0.0))
        samples = self._samples
        if not samples or now.total.hits < samples[-1].total.hits or now.total.misses < samples[-1].total.misses:
            samples.clear()  # the counters were set to zero meanwhile
            self._first, self._started = now, time.time()
        while len(samples) > 1 and began - samples[1].at >= _WINDOW:
            samples.popleft()
        samples.append(now)
        return View(self._stats, self._started, self._first, now, samples[0] if len(samples) > 1 else None)


def screen(view: View, width: int, height: int, blocks: bool) -> list[Line]:
    """The lines of a screen of that size: the less space, the fewer lines."""
    lines = _head(view, width, blocks)
    room = height - len(lines) - 1
    running = _running(view.stats, width, max(room // 3, _FEWEST) - 1) if room >= 2 * _FEWEST else []
    room -= len(running)
    lines += _functions(view, width, room - 1) if room >= _FEWEST else []
    lines += running
    if len(lines) < height:
        lines += [Line("")] * (height - 1 - len(lines)) + [_FOOT]
    return [Line(fitting(line.text, width), line.style) for line in lines[:height]]


def snapshot(view: View, width: int | None, blocks: bool) -> list[Line]:
    """The lines of one snapshot, without those that need a second one."""
    lines = [*_head(view, width or 80, blocks), *_functions(view, width), *_running(view.stats, width)]
    return lines if width is None else [Line(fitting(line.text, width), line.style) for line in lines]


def _head(view: View, width: int, blocks: bool) -> list[Line]:
    stats, now = view.stats, view.now.total
    clock = time.strftime("%H:%M:%S")
    title = fitting(f"pcache top  {clean(stats.location)}", max(width - len(clock) - 2, 0))
    lines = [Line(title + " " * (width - width_of(title) - len(clock)) + clock, "bold")]
    if not stats.entries and not os.path.isdir(stats.location):
        lines.append(Line("This directory does not exist yet: the first result makes it."))
    size = f"{format_size(stats.bytes)} of {format_size(stats.max_size)}"
    about = "about " if stats.looked_at < 1 else ""
    entries = counted(estimated(stats.entries) if about else stats.entries, "entry")
    if stats.max_entries is None:
        lines.append(_bar("size", stats.bytes / max(stats.max_size, 1), f"{about}{size}, {entries}", width, blocks))
    else:
        lines.append(_bar("size", stats.bytes / max(stats.max_size, 1), about + size, width, blocks))
        entries += f" of {stats.max_entries:,}"
        lines.append(_bar("entries", stats.entries / max(stats.max_entries, 1), about + entries, width, blocks))
    since = _less(now, view.first.total)
    saved, rate = format_duration(now.saved_seconds), now.hit_rate
    facts = [("time saved", f"{saved} in all"), ("hit rate", "" if rate is None else f"{percent(rate)} in all")]
    if view.before is not None:
        own, when = since.hit_rate, time.strftime("%H:%M", time.localtime(view.started))
        facts[0] = ("time saved", f"{saved} in all, {format_duration(since.saved_seconds)} since {when}")
        if own is not None:
            facts[1] = ("hit rate", f"{facts[1][1]}, {percent(own)} since {when}")
        facts.append(("now", f"{_rate(view, '', 'hits')} hits/s, {_rate(view, '', 'misses')} misses/s"))
    styles = {"time saved": "bold"}
    return lines + [Line(f"{label:<{_LABEL}}  {text}", styles.get(label, "")) for label, text in facts if text]


def _bar(label: str, share: float, text: str, width: int, blocks: bool) -> Line:
    """How much of a limit is used."""
    part = f"{percent(share):>6}"
    room = min(width - _LABEL - len(part) - len(text) - 6, _LONGEST)
    full, light = ("\u2588", "\u2591") if blocks else ("#", ".")
    used = min(max(round(share * room), int(share > 0)), room)
    bar = f"{full * used}{light * (room - used)}  " if room >= _SHORTEST else ""
    style = "red" if share >= _FULL else "yellow" if share >= _NEARLY else ""
    return Line(f"{label:<{_LABEL}}  {bar}{part.lstrip() if not bar else part}  {text}", style)


def _less(now: Activity, before: Activity) -> Activity:
    """The counts between two times; only those that are shown."""
    return Activity(
        hits=now.hits - before.hits,
        misses=now.misses - before.misses,
        saved_seconds=now.saved_seconds - before.saved_seconds,
    )


def _between(view: View, function: str) -> Activity:
    """The counts of a function, or "" for all of them, since the sample before."""
    if view.before is None:
        return Activity()
    if not function:
        return _less(view.now.total, view.before.total)
    return _less(view.now.functions.get(function, Activity()), view.before.functions.get(function, Activity()))


def _rate(view: View, function: str, counter: str) -> str:
    """How often something was counted a second: `0`, `0.3`, `12`, `1,234`."""
    if view.before is None:
        return ""
    number: float = getattr(_between(view, function), counter) / max(view.now.at - view.before.at, 1e-3)
    return f"{number:.1f}" if 0 < number < _WINDOW else f"{number:,.0f}"


def _functions(view: View, width: int | None, most: int | None = None) -> list[Line]:
    """The functions: those most called lately first, then those that saved most time."""
    sizes = {item.name: format_size(item.bytes) for item in view.stats.functions}
    names = {name for name in view.now.functions if name} | set(sizes)
    totals = {name: view.now.functions.get(name, Activity()) for name in names}
    lately = {name: _calls(_between(view, name)) for name in names}
    columns = [column for column in _FUNCTION_COLUMNS if view.before is not None or column.title not in _OF_TWO_LOOKS]
    if width is not None and width < _NARROW:
        columns = [column for column in columns if column.title not in _FOR_WIDE_ONES]
    rows = []
    for name in sorted(names, key=lambda name: (-lately[name], -totals[name].saved_seconds, -totals[name].hits, name)):
        total, rate = totals[name], totals[name].hit_rate
        cells = {
            "Function": name,
            "Hits/s": _rate(view, name, "hits"),
            "Misses/s": _rate(view, name, "misses"),
            "Hits": f"{total.hits:,}",
            "Rate": "" if rate is None else percent(rate),
            "Saved": format_duration(total.saved_seconds) if total.hits else "",
            "Size": sizes.get(name, ""),
        }
        rows.append([cells[column.title] for column in columns])
    return _table(columns, rows, width, most)


def _calls(activity: Activity) -> int:
    return activity.hits + activity.misses


def _running(stats: Stats, width: int | None, most: int | None = None) -> list[Line]:
    """The running computations, the longest first."""
    if stats.looked_at < 1:
        return [Line(""), Line("Running computations are not listed for so large a directory.", "dim")]
    now = time.time()
    rows = [
        (item.function, format_duration(float(max(0, round(now - item.since)))), f"{item.pid} on {item.host}")
        for item in sorted(stats.in_flight, key=lambda item: item.since)
    ]
    return _table(RUNNING_COLUMNS, rows, width, most)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, most: int | None) -> list[Line]:
    """An empty line, titles and rows: at most `most` lines besides the empty one."""
    if not rows:
        return []
    shown = rows if most is None or len(rows) < most else rows[: max(most - 2, 1)]
    title, *lines = table_lines(columns, shown, width)
    if len(shown) < len(rows):
        lines.append(f"... and {len(rows) - len(shown):,} more")
    return [Line(""), Line(title, "bold"), *[Line(line) for line in lines[: None if most is None else most - 1]]]
