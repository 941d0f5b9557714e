"""The command stats: what is there, what the cache did, and what that saved."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from pcache.cli import options
from pcache.cli.advice import say_advice, say_first
from pcache.cli.output import clean, estimated, say, say_facts, say_json
from pcache.cli.tables import Column, say_table
from pcache.config.settings import to_leave_free
from pcache.layout import ledger_folder
from pcache.text.phrases import age, clock, counted, percent
from pcache.text.progress import Progress
from pcache.text.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.insight.records import Activity, Period, Stats

_HOUR = 3600  # counts are kept by the hour
_INDENT = 12  # of the facts
_NEARLY_FULL = 2  # times `min_free`
_FUNCTION_COLUMNS = (
    Column("Function", cut="start"),
    Column("Entries", right=True),
    Column("Size", right=True),
    Column("Hits", right=True),
    Column("Rate", right=True),
    Column("Net gain", right=True),
    Column("Last used", right=True),
)
RUNNING_COLUMNS = (Column("Being computed", cut="start"), Column("For", right=True), Column("By process", cut="end"))


@click.command(short_help="Show hits, time saved, entries and limits.")
@options.cache_dir
@options.since
@click.option("--plot", is_flag=True, help="Draw hits, misses and time saved over time.")
@click.option("--exact", is_flag=True, help="List even a very large directory in full, which takes a while.")
@click.option("--zero", is_flag=True, help="Set the counters to zero; results stay.")
@options.yes
@options.as_json
def stats(since: float, plot: bool, exact: bool, zero: bool, yes: bool, as_json: bool) -> None:
    """Show what is stored, how often it was used, and the time it saved.

    Time saved is what the results of hits had taken to compute, less the time that the hits took. By function: entries,
    bytes, hits and hit rate, time saved, last use. Then, if there are any: running computations, functions that are
    faster without the cache or are computed again in every process, misses and errors that need attention.

    Counts are those of all programs; those of a running one arrive every few seconds. Of more than 100,000 entries a
    random sample is listed, marked by "about".

    \b
    pcache stats
    pcache stats --since 7d --plot
    pcache stats --json | jq '.functions[] | {name, hit_rate, saved_seconds}'
    pcache stats --zero --yes
    """
    if zero:
        if since or plot or exact or as_json:
            raise click.UsageError("--zero goes with --yes only", click.get_current_context())
        _zero(yes=yes)
        return
    if yes:
        raise click.UsageError("--yes goes with --zero only", click.get_current_context())
    from pcache.insight import listing  # late for start-up time
    from pcache.insight.records import as_plain

    cache = options.open_cache()
    with Progress("listing") as progress:
        found = listing.stats(cache.directory, since, exact=exact, progress=progress if exact else None)
    periods = listing.periods(cache.directory, since) if plot else ()
    if as_json:
        say_json({**as_plain(found), **({"periods": [as_plain(period) for period in periods]} if plot else {})})
    elif not (found.functions or _is_active(found) or found.damaged_records):
        _say_nothing(found)
    elif plot:
        _say_over_time(found, periods, since)
    else:
        _say_stats(found, since)


def _zero(*, yes: bool) -> None:
    """Reset the counters after confirmation."""
    from pcache.counters import ledger  # late for start-up time

    cache = options.open_to_remove(dry_run=False)
    found = cache.stats()
    folder, keyring = ledger_folder(cache.location), cache.directory.keys.look()
    if keyring is None or not found.since or not os.path.isdir(folder):
        say("There was nothing to reset: nothing is counted yet.")
        return
    what = f"{counted(found.hits, 'hit')}, {_misses(found.misses)}, {format_duration(found.saved_seconds)} saved"
    options.confirm(f"forget what was counted in {clean(cache.location)} ({what})", yes=yes)
    if not ledger.merge(folder, keyring, zero=True, access=cache.directory.access):
        raise click.ClickException("another program is merging the counters; try again")
    say(f"The counters are zero; there were {what}.")


def _say_over_time(found: Stats, periods: Sequence[Period], since: float) -> None:
    from pcache.cli.plot import say_plot  # late for start-up time

    say_facts([("directory", found.location)], indent=_INDENT)
    _say_activity(found, since)
    if periods:
        say()
        say_plot(periods, since, time.time())


def _say_stats(found: Stats, since: float) -> None:
    now = time.time()
    say_first(found)
    _say_contents(found)
    _say_activity(found, since)
    _say_functions(found, now)
    _say_running(found, now)
    say_advice(found)


def _say_nothing(found: Stats) -> None:
    there = os.path.isdir(found.location)
    state = "is empty: no results, and nothing counted" if there else "does not exist yet: the first result makes it"
    say(f"{clean(found.location)} {state}.")
    _say_running(found, time.time())


def _say_running(found: Stats, now: float) -> None:
    if found.in_flight:
        say()
        rows = [(item.function, age(item.since, now), f"{item.pid} on {item.host}") for item in found.in_flight]
        say_table(RUNNING_COLUMNS, rows)


def _say_contents(found: Stats) -> None:
    entries, size = _estimate(found, found.entries), format_size(found.bytes)
    if found.max_entries is not None:
        entries += f" of at most {found.max_entries:,} ({percent(found.entries / max(found.max_entries, 1))})"
    say_facts(
        [
            ("directory", found.location),
            ("entries", entries),
            (
                "size",
                f"{_about(found)}{size} of at most {format_size(found.max_size)}"
                f" ({percent(found.bytes / max(found.max_size, 1))})",
            ),
            ("free disk", _free(found)),
            ("ttl", "" if found.ttl is None else f"results are used for {format_duration(found.ttl)}"),
        ],
        indent=_INDENT,
    )


def _free(found: Stats) -> str:
    """The free space of the disk, if it is nearly too little."""
    import shutil  # late for start-up time

    try:
        total = shutil.disk_usage(found.location).total
    except OSError:
        return ""
    at_least = to_leave_free(found.min_free, total)
    if found.free > _NEARLY_FULL * at_least:
        return ""
    return f"{format_size(found.free)} ({percent(found.free / total)}); below {format_size(at_least)} nothing is added"


def _say_activity(found: Stats, since: float) -> None:
    say()
    if not _is_active(found):
        when = f" since {clock(since // _HOUR * _HOUR)}" if since else ""
        say(f"Nothing was counted{when or ' yet'}.")
        return
    rate = found.hit_rate
    counted_since = since // _HOUR * _HOUR if found.since == since else found.since
    gone = f"{counted(found.evicted, 'entry')}, {format_size(found.evicted_bytes)}"
    cost = f", which had taken {format_duration(found.evicted_seconds)}" if found.evicted_seconds else ""
    say_facts(
        [
            ("time saved", _saved(found)),
            ("net gain", _net(found) if found.store_seconds else ""),
            (
                "hit rate",
                "" if rate is None else f"{percent(rate)}: {counted(found.hits, 'hit')}, {_misses(found.misses)}",
            ),
            ("waited", f"{counted(found.waited, 'hit')}, computed by another call meanwhile" if found.waited else ""),
            ("computed", f"for {format_duration(found.computed_seconds)}" if found.computed_seconds else ""),
            ("evicted", f"{gone}{cost}" if found.evicted else ""),
            ("counted", f"since {clock(counted_since)}, {age(counted_since, time.time())} ago"),
        ],
        indent=_INDENT,
        bold="time saved",
    )


def _is_active(found: Activity) -> bool:
    return bool(found.hits or found.misses or found.evicted)


def _saved(found: Activity) -> str:
    if found.saved_seconds >= 0:
        return format_duration(found.saved_seconds)
    return f"none: hits took {format_duration(-found.saved_seconds)} longer than computing"


def _net(found: Activity) -> str:
    """What is left of the time saved after all that misses took beyond computing."""
    took = f"keys and storing took {format_duration(found.store_seconds)}"
    net = found.net_seconds
    return f"{format_duration(net)}: {took}" if net >= 0 else f"none yet: {took}, {format_duration(-net)} more"


def _misses(number: int) -> str:
    return "1 miss" if number == 1 else f"{number:,} misses"


def _say_functions(found: Stats, now: float) -> None:
    if not found.functions:
        return
    say()
    say_table(
        _FUNCTION_COLUMNS,
        [
            (
                item.name,
                _estimate(found, item.entries),
                format_size(item.bytes),
                f"{item.hits:,}",
                "" if item.hit_rate is None else percent(item.hit_rate),
                "" if item.hit_rate is None else format_duration(item.net_seconds),
                f"{age(item.last_used, now)} ago" if item.last_used else "",
            )
            for item in found.functions
        ],
    )


def _about(found: Stats) -> str:
    return "about " if found.looked_at < 1 else ""


def _estimate(found: Stats, number: int) -> str:
    """A number of entries; an estimate from a sample is `about 1,230,000`."""
    if found.looked_at == 1:
        return f"{number:,}"
    return f"about {estimated(number):,}"
