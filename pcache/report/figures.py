"""Parts that the figures of plotly have in common: texts, layouts, axes, and bars that lie.

A colour is the name of a variable of `page.css`, which `page.js` looks up, so that charts are light or dark as their
page is. Texts are escaped: plotly reads markup in them.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.report import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.report.tables import Table

MARGIN = {"l": 0, "r": 6, "t": 8, "b": 8}
BAR = 34  # pixels that a class of bars takes
_LONGEST = 22  # characters of a name beside a bar or in a legend
_TALL_BAR = 40  # of one with two lines beside it


class Chart(NamedTuple):
    """A figure under a title. `summary` describes it in a sentence, for people who cannot see it."""

    name: str
    title: str
    summary: str
    figure: dict[str, Any]
    table: Table
    note: str = ""


def text(content: str) -> str:
    """A text that a figure shows unchanged."""
    return escape(formatting.visible(content).replace("\n", " "), quote=False)


def short_name(name: str) -> str:
    """A function's name without its module, or the end of a long one, which tells more than its beginning."""
    name = name.partition(":")[2] or name
    return name if len(name) <= _LONGEST else f"\u2026{name[-_LONGEST:]}"


def layout(height: int, **more: Any) -> dict[str, Any]:
    return {
        "height": height,
        "margin": MARGIN,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "var(--text)"},
        "hoverlabel": {
            "bgcolor": "var(--page)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--text)"},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "dragmode": False,
        **more,
    }


def axis(**more: Any) -> dict[str, Any]:
    return {
        "fixedrange": True,
        "automargin": True,
        "gridcolor": "var(--line)",
        "zerolinecolor": "var(--strong-line)",
        "linecolor": "var(--strong-line)",
        **more,
    }


def title(words: str) -> dict[str, Any]:
    return {"text": words, "font": {"size": 12}, "standoff": 12}


def level_bars(
    names: Sequence[str],
    values: Sequence[float],
    shown: Sequence[str],
    hover: Sequence[str],
    color: str = "var(--good)",
) -> dict[str, Any]:
    """A figure of a bar for each name, the first on top; what is below nothing has another colour, to the left.

    Values stand below the names: beside bars they would have no room on a phone.
    """
    labels = [f"{text(name)}<br><b>{text(value)}</b>" for name, value in zip(names, shown, strict=True)]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": list(range(len(names))),  # names may be alike once they are cut
                "x": list(values),
                "marker": {"color": [color if value >= 0 else "var(--other)" for value in values]},
                "customdata": [[text(words)] for words in hover],
                "hovertemplate": "%{customdata[0]}<extra></extra>",
            }
        ],
        "layout": layout(
            20 + _TALL_BAR * len(names),
            xaxis=axis(showgrid=False, showticklabels=False, zeroline=True, showline=False),
            yaxis=axis(
                autorange="reversed",
                showgrid=False,
                zeroline=False,
                showline=False,
                ticks="outside",
                ticklen=6,
                tickcolor="rgba(0,0,0,0)",
                tickvals=list(range(len(names))),
                ticktext=labels,
            ),
            bargap=0.45,
        ),
    }
