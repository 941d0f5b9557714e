"""What the charts of a page show: figures of plotly, as plain data, each with a table of the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcache.report import formatting, tables, time_charts
from pcache.report.figures import BAR, MARGIN, Chart, axis, layout, level_bars, short_name, text
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.insight.records import FunctionStats
    from pcache.report.distributions import Distribution
    from pcache.report.survey import Survey

_TILES = 40  # functions in the treemap; the rest is one tile
_GAINS = 16  # functions in the chart of gains
_AROUND = 90  # pixels for the axis and the legend


def charts(survey: Survey) -> dict[str, Chart]:
    """The charts that have something to show, by name."""
    made = (
        _gain(survey.stats.functions),
        _disk(survey.stats.functions),
        *time_charts.of(survey),
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
            [short_name(item.name) for item in some],
            [item.net_seconds for item in some],
            gains,
            [f"{item.name}: {gain}, {counted(item.hits, 'hit')}" for item, gain in zip(some, gains, strict=True)],
        ),
        tables.gains(called),
        note=f"The time that hits saved, less what keys, looking and storing took at misses.{rest}",
    )


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
