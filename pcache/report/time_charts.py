"""What the charts of a page show over time: figures of plotly, as plain data, each with a table of the same numbers."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from pcache.report import formatting, tables
from pcache.report.figures import Chart, axis, layout, short_name, text, title
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pcache.report.survey import Survey
    from pcache.report.timeline import Stretch, Timeline

_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0), ("milliseconds", 1e-3))
_LINES = ("good", "other", "third", "fourth", "fifth")  # colours of functions, those that gain or lose most
_FEW = 8  # stretches of time: of fewer, bars are no wider than a part in so many


def of(survey: Survey) -> Iterator[Chart | None]:
    """The charts over time, None for one that has nothing to show."""
    yield _calls(survey.timeline)
    yield _time(survey.timeline)
    yield _gains(survey.timeline)


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
    unit, seconds = _unit(most)
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


def _gains(timeline: Timeline) -> Chart | None:
    """A line for each of the functions that gained or lost most: what it has gained so far."""
    names = sorted({name for item in timeline.stretches for name in item.gains})
    sums = {
        name: list(itertools.accumulate(item.gains.get(name, 0.0) for item in timeline.stretches)) for name in names
    }
    most = max((abs(so_far) for line in sums.values() for so_far in line), default=0.0)
    if not most or not timeline.is_long:
        return None
    names.sort(key=lambda name: -abs(sums[name][-1]))
    lines = [(name, sums[name], f"var(--{color})") for name, color in zip(names, _LINES, strict=False)]
    unit, seconds = _unit(most)
    ends = [item.start + timeline.width for item in timeline.stretches]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": text(short_name(name)),
            "x": [_local(moment) for moment in (ends[0] - timeline.width, *ends)],
            "y": [round(so_far / seconds, 6) for so_far in (0.0, *line)],
            "line": {"color": color, "width": 2},
            "customdata": [[text(name), formatting.duration(so_far).shown] for so_far in (0.0, *line)],
            "hovertemplate": "%{customdata[0]}<br><b>%{customdata[1]} so far</b><extra></extra>",
        }
        for name, line, color in lines
    ]
    return Chart(
        "course",
        "Net gain over time, by function",
        f"Lines: what {counted(len(lines), 'function')} gained so far, most of all {formatting.visible(lines[0][0])}:"
        f" {formatting.duration(lines[0][1][-1]).shown}.",
        {
            "data": traces,
            "layout": layout(
                340, xaxis=_time_axis(timeline), yaxis=axis(nticks=6, title=title(unit.capitalize())), showlegend=True
            ),
        },
        tables.course(timeline, [(name, line) for name, line, _ in lines]),
        note=f"The {len(lines)} that gained or lost most, of {len(names):,}." if names[len(lines) :] else "",
    )


def _unit(most: float) -> tuple[str, float]:
    """The unit for an axis of times up to `most` seconds, and its length in seconds."""
    return next(((name, size) for name, size in _UNITS if most >= 2 * size), _UNITS[-1])


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
