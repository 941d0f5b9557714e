"""A log line for each call, where `log` asks for it: its arguments, how its result was got, and how long that took."""

from __future__ import annotations

import time

from pcache.objects.lookup import qualname_of
from pcache.objects.summary import in_one_line
from pcache.runtime.job import Job, tellers
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.notices import log, show
from pcache.text.phrases import age
from pcache.text.units import format_duration

if TYPE_CHECKING:
    from pcache.entry.reader import Loaded


def begin(level: str) -> None:
    """Tell of calls from now on, in lines from a level on: "info" or "debug"."""
    show(level)
    if tell_miss not in tellers:
        tellers.append(tell_miss)


def tell_hit(calls: Any, values: tuple[object, ...], found: Loaded) -> None:
    """`module:simulate(n=3): hit, made 2 h ago in 1.2 s`."""
    header = found.header
    ago, cost = age(header.created_ns / 1e9, time.time()), format_duration(header.cost_ns / 1e9)
    module = calls.name.partition(":")[0]
    log("%s:%s: hit, made %s ago in %s", module, calls.shown(values), ago, cost, level="debug")


def tell_miss(job: Job, elapsed_ns: int) -> None:
    """`module:simulate(n=3): computed in 1.2 s (absent)`."""
    run = job.run
    if run.found is not None:
        text = f"waited {format_duration(elapsed_ns / 1e9)} for another thread or process, which computed it"
    elif run.error is not None:
        text = f"raised {qualname_of(type(run.error))} after {format_duration(run.took_ns / 1e9)}"
    else:
        text = f"computed in {format_duration((run.took_ns or elapsed_ns) / 1e9)}"
    reason = f" ({run.reason})" if run.reason and run.found is None else ""
    shown = in_one_line(job.summary()) if job.summaries else "..."
    log("%s(%s): %s%s", job.name, shown, text, reason, level="info")
