"""What the charts of a page show: figures of plotly, as plain data, each with a table of the same numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.report import formatting, tables
from pcache.report.figures import BAR, MARGIN, axis, layout, level_bars, text, title
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pcache.insight.records import FunctionStats
    from pcache.report.distributions import Distribution
    from pcache.report.survey import Survey
    from pcache.report.tables import Table
    from pcache.report.timeline import Stretch, Timeline

_TILES = 40  # functions in the treemap; the rest is one tile
_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0), ("milliseconds", 1e-3))
_GAINS = 16  # functions in the chart of gains
_LONGEST = 22  # characters of a name beside a bar
_FEW = 8  # stretches of time: of fewer, bars are no wider than a part in so many
_AROUND = 90  # pixels for the axis and the legend


class Chart(NamedTuple):
    """A figure under a title. `summary` describes it in a sentence, for people who cannot see it."""

    name: str
    title: str
    summary: str
    figure: dict[str, Any]
    table: Table
    note: str = ""


def charts(survey: Survey) -> dict[str, Chart]:
    """The charts that have something to show, by name."""
    made = (
        _gain(survey.stats.functions),
        _disk(survey.stats.functions),
        _calls(survey.timeline),
        _time(survey.timeline),
        _misses(tables.misses(survey)),
        _spread("ages", "Last used", "By last use", survey.ages),
        _spread("sizes", "File size", "By size", survey.sizes),
        _spread("costs", "Cost", "By cost", survey.costs),
    )
    return {chart.name: chart for chart in made if chart is not None}


def _disk(functions: Sequence[FunctionStats]) -> Chart | None:
    """A tile for each function, its area the size on disk, its colour the hit rate."""
    stored = [item for item in functions if item.bytes]
    if not stored:
        return None
    total = sum(item.bytes for item in stored)
    tiles = [(item.name, item.bytes, item.entries, item.hit_rate) for item in stored[:_TILES]]
    if rest := stored[_TILES:]:
        room, entries = sum(item.bytes for item in rest), sum(item.entries for item in rest)
        tiles.append((f"{counted(len(rest), 'other function')}", room, entries, None))
    first = stored[0]
    return Chart(
        "disk",
        "Disk use by function",
        f"Treemap of {counted(len(stored), 'function')}. The largest, {formatting.visible(first.name)}, has"
        f" {formatting.share(first.bytes / total).shown} of {formatting.size(total).shown}.",
        {
            "data": [_treemap(tiles, total)],
            "layout": layout(340, uniformtext={"minsize": 11, "mode": "hide"}, margin={**MARGIN, "r": 0, "b": 0}),
        },
        tables.disk(functions),
    )


def _treemap(tiles: Sequence[tuple[str, int, int, float | None]], total: int) -> dict[str, Any]:
    """Tiles, each with a name, a size on disk, a number of entries and a hit rate."""
    return {
        "type": "treemap",
        "ids": [str(place) for place in range(len(tiles))],
        "labels": [text(name.partition(":")[2] or name) for name, *_ in tiles],
        "parents": [""] * len(tiles),
        "values": [room for _, room, *_ in tiles],
        "customdata": [
            [
                text(name),
                formatting.size(room).shown,
                formatting.share(room / total).shown,
                counted(entries, "entry"),
                _rate(rate),
            ]
            for name, room, entries, rate in tiles
        ],
        "texttemplate": "<b>%{label}</b><br>%{customdata[1]}",
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}, %{customdata[2]} of all"
        "<br>%{customdata[3]}<br>%{customdata[4]}<extra></extra>",
        "marker": {
            "colors": [f"var(--{_rate_step(rate)})" for *_, rate in tiles],
            "line": {"width": 2, "color": "var(--page)"},
            "pad": {"t": 0, "l": 0, "r": 0, "b": 0},
            "cornerradius": 4,
        },
        "textfont": {"size": 13, "color": [f"var(--on-{_rate_step(rate)})" for *_, rate in tiles]},
        "textposition": "middle center",
        "pathbar": {"visible": False},
        "root": {"color": "rgba(0,0,0,0)"},
        "tiling": {"pad": 0},
    }


def _rate(rate: float | None) -> str:
    return "no calls counted" if rate is None else f"hit rate {formatting.share(rate).shown}"


def _rate_step(rate: float | None) -> str:
    """One of five steps of hit rates, as in the legend of the page."""
    return "rate-none" if rate is None else f"rate-{min(4, int(rate * 5))}"


def _calls(timeline: Timeline) -> Chart | None:
    """Hits and misses as bars, above them the hit rate."""
    if not timeline.is_long or not any(item.hits or item.misses for item in timeline.stretches):
        return None
    hits = _bars(timeline, "Hits", "var(--good)", lambda item: item.hits, lambda item: f"{item.hits:,}")
    misses = _bars(timeline, "Misses", "var(--other)", lambda item: item.misses, lambda item: f"{item.misses:,}")
    rate = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "Hit rate",
        "x": [_local(item.start + timeline.width / 2) for item in timeline.stretches],
        "y": [item.hit_rate for item in timeline.stretches],
        "yaxis": "y2",
        "line": {"color": "var(--text)", "width": 2},
        "marker": {"size": 5, "color": "var(--text)"},
        "connectgaps": False,
        "customdata": [[formatting.share(item.hit_rate).shown, timeline.name(item)] for item in timeline.stretches],
        "hovertemplate": "%{customdata[1]}<br><b>Hit rate %{customdata[0]}</b><extra></extra>",
    }
    drawn = layout(
        400,
        barmode="stack",
        xaxis=_time_axis(timeline) | {"anchor": "y"},
        yaxis=axis(domain=[0, 0.56], rangemode="tozero", nticks=5, tickformat=",", title=title("Calls")),
        yaxis2=axis(domain=[0.66, 1], range=[0, 1.04], tickformat=".0%", nticks=3, title=title("Hit rate")),
    )
    hit, missed = (sum(getattr(item, what) for item in timeline.stretches) for what in ("hits", "misses"))
    return Chart(
        "calls",
        "Hits, misses and hit rate over time",
        f"A bar for each {timeline.unit}: {counted(hit, 'hit')} and"
        f" {counted(missed, 'miss')} in all. A line shows the hit rate,"
        f" {formatting.share(hit / (hit + missed)).shown} over all.",
        {"data": [hits, misses, rate], "layout": drawn},
        tables.over_time(timeline),
    )


def _time(timeline: Timeline) -> Chart | None:
    """Time saved and time computed, side by side."""
    most = max((max(abs(item.saved), item.computed) for item in timeline.stretches), default=0.0)
    if not most or not timeline.is_long:
        return None
    unit, seconds = next(((name, size) for name, size in _UNITS if most >= 2 * size), _UNITS[-1])
    traces = [
        _bars(
            timeline,
            title,
            color,
            lambda item, what=what: round(getattr(item, what) / seconds, 6),  # type: ignore[misc]
            lambda item, what=what: formatting.duration(getattr(item, what)).shown,  # type: ignore[misc]
            part=(place, 2),
        )
        for place, (title, color, what) in enumerate(
            (("Saved", "var(--good)", "saved"), ("Computed", "var(--other)", "computed"))
        )
    ]
    drawn = layout(
        300, barmode="overlay", xaxis=_time_axis(timeline), yaxis=axis(nticks=6, title=title(unit.capitalize()))
    )
    saved, computed = (sum(getattr(item, what) for item in timeline.stretches) for what in ("saved", "computed"))
    return Chart(
        "time",
        "Time saved and time computed",
        f"Bars for each {timeline.unit}: {formatting.duration(saved).shown} saved and"
        f" {formatting.duration(computed).shown} computed in all.",
        {"data": traces, "layout": drawn},
        tables.over_time(timeline),
        note="Saved is what the results of hits had taken to compute, less the time that the hits took.",
    )


def _bars(
    timeline: Timeline,
    title: str,
    color: str,
    value: Callable[[Stretch], float],
    shown: Callable[[Stretch], str],
    part: tuple[int, int] = (0, 1),
) -> dict[str, Any]:
    """A bar for each stretch of time; `part` is its position and how many bars share the stretch."""
    place, parts = part
    room = 1000 * timeline.width  # in milliseconds, as plotly counts time
    wide = 0.88 * min(1.0, len(timeline.stretches) / _FEW)  # of the room
    return {
        "type": "bar",
        "name": title,
        "x": [_local(item.start) for item in timeline.stretches],
        "y": [value(item) for item in timeline.stretches],
        "offset": round(room * ((1 - wide) / 2 + wide * place / parts)),
        "width": round(room * wide / parts),
        "marker": {"color": color, "line": {"width": 0}},
        "customdata": [[shown(item), timeline.name(item)] for item in timeline.stretches],
        "hovertemplate": "%{customdata[1]}<br><b>" + title + " %{customdata[0]}</b><extra></extra>",
    }


def _time_axis(timeline: Timeline) -> dict[str, Any]:
    begin, end = timeline.stretches[0].start, timeline.stretches[-1].start + timeline.width
    return axis(type="date", range=[_local(begin), _local(end)], showgrid=False, nticks=6, tickangle=0)


def _local(moment: float) -> str:
    """A time as plotly expects it: in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _gain(functions: Sequence[FunctionStats]) -> Chart | None:
    """A bar for each function that was called: what it gained, or lost, by its cache."""
    called = [item for item in tables.by_gain(functions) if item.hits or item.misses]
    if not called:
        return None
    half = _GAINS // 2
    some = called if len(called) <= _GAINS else called[:half] + called[-half:]
    gains = [formatting.duration(item.net_seconds).shown for item in some]
    total = sum(item.net_seconds for item in called)
    rest = "" if some is called else f" The {half} that gain most and the {half} that gain least, of {len(called):,}."
    return Chart(
        "gain",
        "Net gain by function",
        f"Bars for {counted(len(some), 'function')}, {formatting.duration(total).shown} in all. Most by"
        f" {formatting.visible(some[0].name)}, {gains[0]}; least by {formatting.visible(some[-1].name)}, {gains[-1]}.",
        level_bars(
            [_end_of(item.name.partition(":")[2] or item.name) for item in some],
            [item.net_seconds for item in some],
            gains,
            [f"{item.name}: {gain}, {counted(item.hits, 'hit')}" for item, gain in zip(some, gains, strict=True)],
        ),
        tables.gains(called),
        note=f"The time that hits saved, less what keys, looking and storing took at misses.{rest}",
    )


def _end_of(name: str) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= _LONGEST else f"\u2026{name[-_LONGEST:]}"


def _misses(amounts: Mapping[str, int]) -> Chart | None:
    """A bar for each cause, the most frequent on top."""
    causes = tables.by_number(amounts)
    if not causes:
        return None
    total = sum(n for _, n in causes)
    return Chart(
        "misses",
        "Misses by cause",
        "Bars: " + ", ".join(f"{formatting.visible(cause)} {n:,}" for cause, n in causes) + ".",
        level_bars(
            [cause for cause, _ in causes],
            [n for _, n in causes],
            [f"{n:,}" for _, n in causes],
            [f"{cause}: {counted(n, 'miss')}, {formatting.share(n / total).shown}" for cause, n in causes],
            "var(--other)",
        ),
        tables.tallied("Cause", amounts, tables.REASONS),
    )


def _spread(name: str, column: str, title: str, classes: Distribution) -> Chart | None:
    """Two bars for each class: its part of the entries and of the disk space."""
    if not classes[1:]:
        return None  # all are alike, which a sentence says
    entries, room = sum(item.entries for item in classes), sum(item.bytes for item in classes)
    parts = (
        (
            "Entries",
            "var(--good)",
            [(item.entries / entries, counted(item.entries, "entry")) for item in classes],
        ),
        ("Size", "var(--third)", [(item.bytes / (room or 1), formatting.size(item.bytes).shown) for item in classes]),
    )
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": heading,
            "y": [item.label for item in classes],
            "x": [part for part, _ in values],
            "marker": {"color": color},
            "customdata": [[shown, formatting.share(part).shown] for part, shown in values],
            "hovertemplate": "<b>%{y}</b><br>%{customdata[0]}, %{customdata[1]}<extra></extra>",
        }
        for heading, color, values in parts
    ]
    drawn = layout(
        _AROUND + BAR * len(classes),
        barmode="group",
        xaxis=axis(tickformat=".0%", rangemode="tozero", nticks=5),
        yaxis=axis(type="category", autorange="reversed", showgrid=False),
        bargap=0.3,
    )
    most, largest = max(classes, key=lambda item: item.entries), max(classes, key=lambda item: item.bytes)
    return Chart(
        name,
        title,
        f"Bars: most entries, {most.entries:,} of {entries:,}, are in the class {most.label}; most of the room,"
        f" {formatting.size(largest.bytes).shown} of {formatting.size(room).shown}, is taken by the class"
        f" {largest.label}.",
        {"data": traces, "layout": drawn},
        tables.spread(column, classes),
    )
