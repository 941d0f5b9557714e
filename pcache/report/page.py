"""The page as HTML: templates, styles and scripts put together, with all that may not be markup escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pcache.insight.records import as_plain
from pcache.report import formatting, tables
from pcache.report.charts import charts
from pcache.text.phrases import counted

if TYPE_CHECKING:
    from pcache.report.formatting import Text
    from pcache.report.survey import Survey


class Headline(NamedTuple):
    """A number that stands out, with its name in the statistics."""

    stat: str
    title: str
    value: float | None
    text: Text
    note: str = ""


def render(survey: Survey) -> str:
    """The whole page."""
    library, script = get_plotlyjs(), _resource("page.js")
    environment = jinja2.Environment(
        autoescape=True,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else formatting.visible(str(value)),
    )
    environment.filters["breakable"] = breakable
    page = environment.from_string(_resource("page.html"))
    stats, found = survey.stats, charts(survey)
    return page.render(
        survey=survey,
        stats=stats,
        stats_json=as_plain(stats),
        charts=found,
        figures={name: chart.figure for name, chart in found.items()},
        entries=counted(stats.entries, "entry"),
        room=formatting.size(stats.bytes).shown,
        headlines=headlines(survey),
        summary=summary(survey),
        notices=notices(survey),
        functions=tables.functions(survey),
        details=tables.details(survey),
        alike=alike(survey),
        all_counted=all_counted(survey),
        costly=tables.costly(stats.functions),
        errors=tables.tallied("Error", stats.errors_by_kind, tables.KINDS),
        expensive=tables.expensive(survey),
        in_flight=tables.in_flight(survey),
        made=formatting.clock(survey.now),
        since=formatting.clock(survey.first) if survey.first else "",
        exact=exact,
        style=Markup(_resource("page.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        library=_packed(library),
        # No other script runs, whatever a name in the cache looks like, and nothing is loaded from anywhere.
        policy=f"default-src 'none'; script-src {_digest(script)} {_digest(library)}; style-src 'unsafe-inline';"
        " img-src data:; base-uri 'none'; form-action 'none'",
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _packed(library: str) -> str:
    """The library as a text that the page unpacks: 2 MB instead of 5."""
    return base64.b64encode(zlib.compress(library.encode(), 9)).decode()


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def headlines(survey: Survey) -> list[Headline]:
    """The most important numbers."""
    stats = survey.stats
    most = "" if stats.max_entries is None else f"of at most {stats.max_entries:,}"
    calls = stats.hits + stats.misses
    return [
        Headline(
            "net_seconds",
            "Net gain",
            stats.net_seconds,
            formatting.duration(stats.net_seconds),
            f"{formatting.duration(stats.saved_seconds).shown} saved by {counted(stats.hits, 'hit')}, less"
            f" {formatting.duration(stats.store_seconds).shown} for keys and storing",
        ),
        Headline(
            "hit_rate",
            "Hit rate",
            stats.hit_rate,
            formatting.share(stats.hit_rate),
            f"of {counted(calls, 'call')}",
        ),
        Headline(
            "computed_seconds",
            "Computed",
            stats.computed_seconds,
            formatting.duration(stats.computed_seconds),
            f"in {counted(stats.misses, 'miss')}",
        ),
        Headline("entries", "Entries", stats.entries, formatting.number(stats.entries), most or _of_functions(survey)),
        Headline(
            "bytes",
            "On disk",
            stats.bytes,
            formatting.size(stats.bytes),
            f"{formatting.share(stats.bytes / stats.max_size if stats.max_size else 1.0).shown} of"
            f" {formatting.size(stats.max_size).shown}",
        ),
        Headline(
            "evicted",
            "Evicted",
            stats.evicted,
            formatting.number(stats.evicted),
            f"{formatting.size(stats.evicted_bytes).shown},"
            f" {formatting.duration(stats.evicted_seconds).shown} of computing"
            if stats.evicted
            else "for lack of space",
        ),
    ]


def _of_functions(survey: Survey) -> str:
    return f"of {counted(sum(1 for item in survey.stats.functions if item.entries), 'function')}"


def summary(survey: Survey) -> str:
    """The whole cache in a sentence."""
    stats, calls = survey.stats, survey.stats.hits + survey.stats.misses
    if not calls:
        return "No calls were counted" + (f" since {formatting.date(survey.first)}." if survey.first else " yet.")
    start = f"Since {formatting.date(survey.first)}" if survey.first else "So far"
    net = formatting.duration(abs(stats.net_seconds)).shown
    worth = (
        f"the cache saved {net} in all" if stats.net_seconds >= 0 else f"the cache took {net} more than it saved so far"
    )
    answered = f"{formatting.share(stats.hit_rate).shown} of {counted(calls, 'call')} found a stored result"
    return f"{start}, {answered}; {worth}."


def alike(survey: Survey) -> list[str]:
    """What needs no chart, since all entries are alike in it."""
    spreads = (("last use", survey.ages), ("size", survey.sizes), ("cost", survey.costs))
    return [f"{what}: all {classes[0].label}" for what, classes in spreads if len(classes) == 1]


def all_counted(survey: Survey) -> str:
    """What is said instead of the charts over time while there is no course of time; empty if there is one."""
    if survey.timeline.is_long:
        return ""
    stats = survey.stats
    calls = f"{counted(stats.hits, 'hit')} and {counted(stats.misses, 'miss')}"
    when = [survey.timeline.name(stretch) for stretch in survey.timeline.stretches]
    return (
        f"{calls}, all on {when[0]}. From a second hour on, charts show the course."
        if when
        else "No calls were counted."
    )


def notices(survey: Survey) -> list[str]:
    """Warnings to read before trusting the rest."""
    stats = survey.stats
    said = []
    if stats.damaged_records:
        said.append(f"{counted(stats.damaged_records, 'record')} of the counters could not be read.")
    if any(item.name == "?" for item in stats.functions):
        said.append("Entries of the function ? cannot be read here: `pcache verify` says why.")
    if not stats.functions:
        said.append("There is nothing in this cache yet.")
    return said


def breakable(text: str) -> Markup:
    """A name that may be broken into lines where one of its parts ends."""
    return Markup("<wbr>").join(re.findall(r"[^:._]*[:._]+|[^:._]+", formatting.visible(text)))


def exact(value: float | None) -> str:
    """A number as programs read it."""
    return json.dumps(value)
