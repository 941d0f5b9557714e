"""Begin to produce a stream, or join a production of this process; and store a stream that the user gives."""

from __future__ import annotations

from pcache.entry.reader import Loaded
from pcache.errors import Miss
from pcache.runtime.production import Production
from pcache.runtime.saving import CannotWrite
from pcache.runtime.singleflight import computing, flights
from pcache.runtime.spooling import Spool
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.entry.format import Header
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job
    from pcache.runtime.production import Reader
    from pcache.runtime.singleflight import Flight


def produce(own: Production, flow: Flow, reader: Reader, known: Header | None) -> Production | Loaded:
    """Let a production of a stream that was not found begin, or join another one; or return what was stored meanwhile.

    `known` is the header of an entry that turned out to be damaged, which looks as if it were not.
    """
    reader.source = own  # at once: if an interrupt comes, it leaves this
    own.join(reader)
    found = own if own.place in computing.get() else _entered(flow, own, known)
    if isinstance(found, Loaded):
        own.dismiss()
        return found
    if found is not own and isinstance(found, Production):
        reader.source = found
        if found.join(reader):
            own.dismiss()
            return found
        reader.source = own
    if own.spool is None:
        own.share_no_longer()
    return own


def _entered(flow: Flow, own: Production, known: Header | None) -> Flight | Loaded:
    """Let others join a production that can be stored; or return another one, or what was stored meanwhile."""
    job = own.job
    with own.busy:  # who joins meanwhile waits
        if job.since_ns:
            _spool(flow, own, anew=True)  # first: it lets nobody join those that began before
            flights.enter(own.place, own)
            return own
        found = flights.enter(own.place, own)
        if found is not own:
            return found
        _spool(flow, own)
        if own.spool is not None and flow.store.is_there(job.address.name):
            loaded, is_stored = attempt(flow.look_up, job.address)
            if is_stored and loaded.header != known:
                flow.ledger.count(job.name, waited=1)
                return loaded  # type: ignore[no-any-return]
        return own


def _spool(flow: Flow, own: Production, *, anew: bool = False) -> None:
    """Give a production a spool; not where another process stores the stream, or nothing can be stored."""
    job, saving = own.job, flow.saving
    spool = own.spool = Spool(flow.settings.compression, job.address.home)
    try:
        claim = saving.claim_anew(job) if anew else saving.claim(job, private=job.is_deep)
    except CannotWrite:
        claim = None
    if claim is None:
        own.spool = None
    else:
        spool.claim = claim


def put(flow: Flow, job: Job, items: Iterable[Any]) -> bool:
    """Store the items of an iterable as those of a call, replacing any others; return whether they are stored."""
    own = Production(flow, job._replace(inputs_hold=lambda: True), Miss("refreshed"), lambda _: True)
    try:
        _spool(flow, own, anew=True)
        iterator = iter(items)
        while own.spool is not None:
            try:
                item = next(iterator)
            except StopIteration as stop:
                return own.publish(stop.value)
            own.keep(item)
        return False
    finally:
        own.dismiss()
