"""Results that are not stored, since the code or a file that they depend on changed while they were computed."""

from __future__ import annotations

from pcache.errors import StoreWarning
from pcache.startup import TYPE_CHECKING
from pcache.storage.store import DURABLE
from pcache.system.interrupts import attempt
from pcache.system.notices import log, warn_once
from pcache.text.units import format_duration

if TYPE_CHECKING:
    from pcache.counters.pending import Ledger
    from pcache.runtime.job import Job

_MOST = 3  # that are named


def refuse_changed(ledger: Ledger, job: Job, cost_ns: int) -> bool:
    """Count a result that is not stored, and say so; warn once of one that took a second or more. Returns False."""
    ledger.count(job.name, **{"errors.changed": 1})
    if cost_ns < DURABLE:
        log("%s: a result is not stored, as code or a file that it uses changed meanwhile", job.name, level="info")
        return False
    names, _ = attempt(job.changes)
    what = ", ".join((names or ["code or a file that it uses"])[:_MOST])
    warn_once(
        (job.name, "changed meanwhile"),
        f"a result of {job.name}, which took {format_duration(cost_ns / 1e9)}, is not stored: {what} changed while it"
        ' was computed. A global that affects no result may be named in ignore=, as in ignore=["module:NAME"].',
        StoreWarning,
    )
    return False
