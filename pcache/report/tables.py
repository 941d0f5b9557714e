"""What the tables of a page hold, in the words they show it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pcache.insight import causes
from pcache.report import formatting
from pcache.report.formatting import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.insight.records import FunctionStats
    from pcache.report.distributions import Distribution
    from pcache.report.survey import Survey
    from pcache.report.timeline import Timeline

_SHORT_KEY = 8
FIRST_TIME = "first time"
REASONS = {
    FIRST_TIME: "called for the first time, as far as is known: what was removed long ago, and the results of other"
    " versions of the code that are gone, cannot be told from it",
    causes.EDITED: "the same call has a result of an earlier version of the code, which `pcache explain` compares",
    "evicted": "removed for lack of room, and computed again",
    "cleared": "removed by `clear`, and computed again",
    "invalidated": "removed by `invalidate`, and computed again",
    "removed as damaged": "removed by `verify`, and computed again",
    "expired": "older than its ttl",
    "damaged": "the file differs from what was written",
    "foreign": "signed with an unknown key",
    "unloadable": "its types cannot be loaded any more",
    "refreshed": "computed anew on request",
}
KINDS = {
    "raised": "the function raised an exception",
    "unpicklable": "the result cannot be pickled",
    "impure": "check= found another result than the stored one",
    "cheap": "it took less than min_cost=",
    "unwanted": "store_if= did not want it",
    "changed": "code or a file that it uses changed meanwhile",
    "too_large": "the result is larger than the cache takes",
}


class Column(NamedTuple):
    title: str
    number: bool = True


class Table(NamedTuple):
    """Rows below titles; the first cell of a row says what the row is about."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]


def _table(titles: str, rows: Sequence[tuple[Text, ...]]) -> Table:
    """A table of titles such as `Function* Size`; a star marks columns of words, not numbers."""
    columns = tuple(Column(title.strip(" *"), not title.endswith("*")) for title in titles.split("|"))
    return Table(columns, tuple(rows))


def functions(survey: Survey) -> Table:
    """What matters most of each function, those that gain most first."""
    return _table(
        "Function*|Net gain|Saved|Hit rate|Hits|Misses|Entries|Size|Last used",
        [
            (
                formatting.name(item.name),
                formatting.duration(item.net_seconds),
                formatting.duration(item.saved_seconds),
                formatting.share(item.hit_rate),
                formatting.number(item.hits),
                formatting.number(item.misses),
                formatting.number(item.entries),
                formatting.size(item.bytes),
                formatting.ago(item.last_used, survey.now),
            )
            for item in by_gain(survey.stats.functions)
        ],
    )


def details(survey: Survey) -> Table:
    """All other counts by function."""
    return _table(
        "Function*|Computed|Storing took|Hits took|Stored|Waited|Read|Written|Errors",
        [
            (
                formatting.name(item.name),
                formatting.duration(item.computed_seconds),
                formatting.duration(item.store_seconds),
                formatting.duration(item.hit_seconds),
                formatting.number(item.stored),
                formatting.number(item.waited),
                formatting.size(item.read_bytes),
                formatting.size(item.written_bytes),
                formatting.number(sum(item.errors_by_kind.values())),
            )
            for item in by_gain(survey.stats.functions)
        ],
    )


def gains(functions: Sequence[FunctionStats]) -> Table:
    """What the cache of each function gained, and of what that consists."""
    return _table(
        "Function*|Net gain|Saved|Keys and storing|One computation|One hit",
        [
            (
                formatting.name(item.name),
                formatting.duration(item.net_seconds),
                formatting.duration(item.saved_seconds),
                formatting.duration(item.store_seconds),
                formatting.duration(item.computed_seconds / max(item.misses, 1)),
                formatting.duration(item.seconds_a_hit),
            )
            for item in functions
        ],
    )


def by_gain(functions: Sequence[FunctionStats]) -> list[FunctionStats]:
    return sorted(functions, key=lambda item: (-item.net_seconds, item.name))


def disk(functions: Sequence[FunctionStats]) -> Table:
    """The size on disk, by function."""
    total = sum(item.bytes for item in functions)
    return _table(
        "Function*|Size|Share|Entries|Hit rate",
        [
            (
                formatting.name(item.name),
                formatting.size(item.bytes),
                formatting.share(item.bytes / total if total else 0.0),
                formatting.number(item.entries),
                formatting.share(item.hit_rate),
            )
            for item in functions
            if item.entries
        ],
    )


def costly(functions: Sequence[FunctionStats]) -> Table:
    """Functions whose caching took more time than it saved."""
    return _table(
        "Function*|Calls|Net gain|One computation|Key and storing|One hit",
        [
            (
                formatting.name(item.name),
                formatting.number(item.hits + item.misses),
                formatting.duration(item.net_seconds),
                formatting.duration(item.computed_seconds / max(item.misses, 1)),
                formatting.duration(item.seconds_a_miss),
                formatting.duration(item.seconds_a_hit),
            )
            for item in functions
            if item.costs_more
        ],
    )


def over_time(timeline: Timeline) -> Table:
    """Every stretch of time with calls, the latest first."""
    return _table(
        "When*|Hits|Misses|Hit rate|Saved|Computed",
        [
            (
                formatting.name(timeline.name(stretch)),
                formatting.number(stretch.hits),
                formatting.number(stretch.misses),
                formatting.share(stretch.hit_rate),
                formatting.duration(stretch.saved),
                formatting.duration(stretch.computed),
            )
            for stretch in reversed(timeline.stretches)
            if stretch.hits or stretch.misses or stretch.saved or stretch.computed
        ],
    )


def misses(survey: Survey) -> dict[str, int]:
    """Misses by cause: the reasons of the ledger, with those whose result was absent told apart as far as is known."""
    by_cause = dict(survey.stats.misses_by_reason)
    absent = by_cause.pop("absent", 0)
    for cause, number in survey.again.items():
        by_cause[cause] = min(number, absent)  # a result may have been put there, without a call
        absent -= by_cause[cause]
    return {**by_cause, FIRST_TIME: absent}


def course(timeline: Timeline, lines: Sequence[tuple[str, Sequence[float]]]) -> Table:
    """What functions had gained by the end of each stretch of time, the latest first."""
    return _table(
        "When*|Function*|Net gain so far",
        [
            (formatting.name(timeline.name(stretch)), formatting.words(name), formatting.duration(line[place]))
            for place, stretch in reversed(list(enumerate(timeline.stretches)))
            for name, line in lines
        ],
    )


def tallied(title: str, amounts: Mapping[str, int], meanings: Mapping[str, str]) -> Table:
    """Misses by reason or errors by kind, the most frequent first."""
    total = sum(amounts.values())
    return _table(
        f"{title}*|Number|Share|What it means*",
        [
            (
                formatting.name(what),
                formatting.number(n),
                formatting.share(n / total if total else 0.0),
                formatting.words(meanings.get(what, "the result could not be written")),
            )
            for what, n in by_number(amounts)
        ],
    )


def by_number(amounts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((what, n) for what, n in amounts.items() if n), key=lambda item: (-item[1], item[0]))


def spread(title: str, classes: Distribution) -> Table:
    """Entries and bytes by class."""
    entries, room = sum(item.entries for item in classes), sum(item.bytes for item in classes)
    return _table(
        f"{title}*|Entries|Share of entries|Size|Share of size",
        [
            (
                formatting.name(item.label),
                formatting.number(item.entries),
                formatting.share(item.entries / entries),
                formatting.size(item.bytes),
                formatting.share(item.bytes / room if room else 0.0),
            )
            for item in classes
        ],
    )


def expensive(survey: Survey) -> Table:
    """The usable entries that took longest to compute."""
    return _table(
        "Function*|Cost|Arguments*|Size|Age|Last used|Key*",
        [
            (
                formatting.name(info.function),
                formatting.duration(info.cost),
                formatting.words(info.arguments or formatting.NOTHING),
                formatting.size(info.size),
                formatting.lasting(info.created, survey.now),
                formatting.ago(info.used, survey.now),
                Text(info.key[:_SHORT_KEY], info.key, number=False),
            )
            for info in survey.expensive
            if not info.problem
        ],
    )


def in_flight(survey: Survey) -> Table:
    """The running computations."""
    return _table(
        "Function*|For|By process*",
        [
            (
                formatting.name(item.function),
                formatting.lasting(item.since, survey.now),
                formatting.name(f"{item.pid} on {item.host}"),
            )
            for item in survey.stats.in_flight
        ],
    )
