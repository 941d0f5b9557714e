"""The flow of a miss: claim, look again, compute, publish. Loaded by the first one.

The promises depend on this order: another process may publish between a call's look and its claim. Whatever goes wrong
with the cache, the function's result reaches the caller, and its own exceptions pass unchanged. As a generator it runs
without a pause for calls that block their thread, and yields to the event loop for tasks (`runtime/tasks.py`).
"""

from __future__ import annotations

import threading
import time
from functools import partial

from pcache.errors import ForeignEntry, Miss, StoreWarning, without_tracebacks
from pcache.runtime.boundary import passes
from pcache.runtime.deadlock import PROOF, Wait, detach_claim
from pcache.runtime.effort import check_effort
from pcache.runtime.job import Job, tellers
from pcache.runtime.resting import LOOK
from pcache.runtime.saving import CannotWrite
from pcache.runtime.singleflight import Flight, computing, flights, innermost, leave
from pcache.signing.keyring import ONE_KEY
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import TRACEBACK, raise_if_interrupt, try_call, uninterrupted
from pcache.system.notices import log, warn_once

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pcache.entry.reader import Address, Loaded
    from pcache.runtime.saving import Saving
    from pcache.runtime.tasks import Tasks
    from pcache.storage.claim_owner import Owner
    from pcache.storage.directory import Directory
    from pcache.storage.store import HeldClaim, Store

    Steps = Generator[Any, Any, Any]  # yields what an event loop waits for; nothing where there are no `Tasks`

_PAUSE_SHARE, _PAUSE_MIN, _PAUSE_MAX = 0.05, 0.0005, 0.05  # a share of the time waited so far; seconds
_SAY_WAITING = 60.0  # seconds of waiting after which a log line names the owner


class Deep(NamedTuple):
    """The state of a call that is computed deep inside of others: a private claim, and when it began.

    `around` is the computation that it is part of, `nested_ns` the time of what had missed in that before.
    """

    claim: HeldClaim
    began_ns: int
    around: Flight
    nested_ns: int


class Misses:
    """Computes and stores what is missing in one cache directory. Safe for threads, processes and forks."""

    def __init__(
        self, directory: Directory, store: Store, look_up: Callable[[Address], Loaded], saving: Saving
    ) -> None:
        self.directory = directory
        self.store = store
        self.ledger = directory.ledger
        self.look_up = look_up
        self.saving = saving

    def compute(self, job: Job, miss: Miss) -> Any:
        """Compute a missing result once among all threads and processes, store it and return it.

        Whatever fails here, the function is called exactly once, and its result returned or its exception raised.
        """
        run, around = job.run, innermost()
        try:
            try:
                self.steps(job, miss).send(None)
            except StopIteration as end:  # how a generator returns
                return end.value
            finally:
                self.count_time(job, around)
                self.ledger.look(time.time_ns())
        except RecursionError as error:  # nothing is called here: the stack is full
            if error is run.error:
                TRACEBACK.__set__(error, run.traceback)
                run.error = run.traceback = None
                raise
        except BaseException as error:
            if run.raises(error) or (not run.became(error) and passes(error, job.name)):
                raise
        if run.done or run.error is not None:
            return run.end()
        return job.function(*job.args, **job.kwargs)

    def count_time(self, job: Job, around: Flight | None) -> None:
        """Count what a miss took beyond its computation; and all of it to the computation that it is part of."""
        run, elapsed_ns = job.run, time.perf_counter_ns() - job.run.began_ns
        for tell in tellers:
            try_call(tell, job, elapsed_ns)
        if run.took_ns:  # else another process has computed it
            self.ledger.count(job.name, store_ns=max(elapsed_ns - run.took_ns, 0))
        if around is not None:
            around.nested_ns += elapsed_ns

    def begin(self, job: Job) -> Deep | None:
        """Take a private claim for a call that is computed deep inside of others; None where that is impossible."""
        try:
            claim = self.saving.claim(job, private=True)
        except CannotWrite:
            claim = None
        around = innermost()
        if claim is None or around is None:
            return None
        return Deep(claim, time.perf_counter_ns(), around, around.nested_ns)

    def drop(self, job: Job, deep: Deep) -> None:
        """Release what `begin` took: the function raised, and the caller gets that exception, whatever fails here."""
        try:
            deep.claim.abandon()
        except BaseException as error:
            if passes(error, job.name):
                raise

    def keep(self, job: Job, miss: Miss, deep: Deep, result: Any) -> Any:
        """Store a result that was computed deep inside of others; return it."""
        try:
            cost_ns, run = time.perf_counter_ns() - deep.began_ns, job.run
            run.took(cost_ns, deep.around.nested_ns - deep.nested_ns)
            self.ledger.count(job.name, **{f"misses.{miss.reason}": 1, "computed_ns": run.own_ns})
            try_call(job.look_again, cost_ns)
            self.saving.settle(deep.claim, job, result, cost_ns, miss)
            deep.around.nested_ns = deep.nested_ns
            self.count_time(job, deep.around)
        except RecursionError:
            pass  # a later call stores it
        except BaseException as error:
            if passes(error, job.name):
                raise
        return result

    def steps(self, job: Job, miss: Miss, tasks: Tasks | None = None) -> Steps:
        """Compute a missing result, in a task of an event loop if `tasks` are given; `job.run` has its outcome."""
        check_effort(job)
        self.tell(job, miss)
        place = self.store.place(job.address.name)
        above, task = computing.get().get(place), tasks and tasks.task
        if above is not None and not above.over:
            return (yield from self._run(job, miss, above, tasks))[0]
        with Wait(place, self.directory, job.lock_timeout, blocks=tasks is None) as wait:
            while True:
                own = Flight(place, job.address.function_id, task)
                try:
                    with own.busy:
                        try:
                            flight = flights.enter(place, own)
                            if flight is own:
                                return (yield from self._lead(job, flight, miss, wait, tasks))
                        finally:
                            flights.leave(place, own)
                finally:
                    if own.bells:
                        own.ring()
                is_here = flight.thread == threading.get_ident()
                if is_here and flight.task is task:  # recursion that lost its context variables
                    return (yield from self._run(job, miss, flight, tasks))[0]
                check_effort(job, waits=True)
                if tasks is not None:
                    ended = yield from tasks.for_flight(wait, flight).__await__()
                else:  # a task of this thread goes on only when this call returns
                    ended = not is_here and wait.for_flight(flight)
                if not ended or not (flight.stored or flight.lost or flight.cancelled):
                    return (yield from self._run_alone(job, miss, tasks))
                try:
                    return self.waited(job, (yield from self._read(self._look_again, job, tasks)))
                except Miss as again:
                    miss = without_tracebacks(again)

    def tell(self, job: Job, miss: Miss) -> None:
        """Log why a call missed; warn where users can do something about it."""
        job.run.reason = miss.reason
        log("%s: miss, %s%s", job.name, miss.reason, miss.detail and f" ({miss.detail})", level="debug")
        if type(miss) is ForeignEntry:
            warn_once(
                (self.directory.location, "foreign"),
                f"a result of {job.name} in {self.directory.location} was {miss.detail}: it is computed again and"
                " replaced, as are those of this process wherever the other key is in use."
                f" {ONE_KEY[:1].upper()}{ONE_KEY[1:]}.",
                StoreWarning,
            )
        if miss.reason == "unloadable":
            log("%s: a stored result could not be loaded and is computed again: %s", job.name, miss.detail)

    def _read(self, look: Callable[[Job], Any], job: Job, tasks: Tasks | None) -> Steps:
        """Look for a result."""
        if tasks is None:
            return look(job)
        return (yield from tasks.read(self.store, job.address.name, look, job).__await__())

    def _look_again(self, job: Job) -> Loaded:
        loaded = self.look_up(job.address)
        if loaded.header.created_ns - loaded.header.cost_ns < job.since_ns:
            raise Miss("refreshed")  # its computation began before the refresh was asked for
        return loaded

    def _lead(  # noqa: PLR0912 - one loop, in which the order counts
        self, job: Job, flight: Flight, miss: Miss, wait: Wait, tasks: Tasks | None
    ) -> Steps:
        """Take the claim and compute; or return the result that another process has computed meanwhile."""
        started = wait.passed()
        look_at_owner, say_waiting = started + LOOK, started + _SAY_WAITING
        alone = tasks is not None and not tasks.can_wait
        while True:
            try:
                claim = self.saving.claim(job, private=alone)
            except CannotWrite:
                break
            if claim is not None:
                with claim:  # closes it in any case: others wait for its lock
                    try:
                        wait.end()
                        return (yield from self._compute_once(job, flight, claim, miss, tasks))
                    except BaseException:
                        claim.abandon()  # again, in case an interrupt came during the first time
                        raise
            if (found := (yield from self._read(self.found, job, tasks))) is not None:
                return self.waited(job, found)
            check_effort(job, waits=True)
            passed = wait.passed()
            if wait.is_over():
                break
            if passed >= look_at_owner:
                look_at_owner = passed + LOOK
                owner = wait.owner()
                if owner is not None and owner.is_dead() and self._remove_dead_owner(job.address):
                    continue
                if reason := wait.is_in_vain(owner):
                    alone = True
                    self._say_in_vain(reason, owner)
                    continue
                if wait.is_endless():
                    break
                if passed >= say_waiting:
                    say_waiting = passed + _SAY_WAITING
                    stopped = ", which is stopped" if owner is not None and owner.is_stopped() else ""
                    log("waiting for %s for %.0f s%s; lock_timeout= limits this", owner, passed - started, stopped)
            pause = min(max((passed - started) * _PAUSE_SHARE, _PAUSE_MIN), _PAUSE_MAX)
            if tasks is None:
                wait.pause(pause)
            else:
                yield from tasks.pause(wait, pause).__await__()
        wait.end()
        flight.stored = False
        return (yield from self._run(job, miss, flight, tasks))[0]

    def _say_in_vain(self, reason: str, owner: Owner | None) -> None:
        """Say once why calls do not wait for the holder of a claim."""
        if reason == "stopped":
            log("%s is stopped and not waited for any longer; the result is computed here", owner)
            return
        warn_once(
            (self.directory.location, reason),
            f"a process without the signing key holds the claim of a result in {self.directory.location}: calls wait"
            f" {PROOF:.0f} s for it and then compute for themselves. Check who may write there; a program that uses an"
            " older version of pcache has the same effect.",
            StoreWarning,
        )

    def _compute_once(self, job: Job, flight: Flight, claim: HeldClaim, miss: Miss, tasks: Tasks | None) -> Steps:
        """Compute and store under a claim, unless another process has done so between our look and our claim."""
        try:
            found = self.found(job) if tasks is None else (yield from self._read(self.found, job, tasks))
            if found is not None:
                return self.waited(job, found)
            flight.stored, flight.claim = False, claim
            began_ns = time.time_ns()
            result, cost_ns = yield from self._run(job, miss, flight, tasks)
            detach_claim(flight)
            if tasks is None:
                self._publish(job, flight, claim, miss, result, cost_ns, began_ns)
            else:
                publish = partial(self._publish, job, flight, claim, miss, result, cost_ns, began_ns)
                yield from tasks.store(publish, job, result, cost_ns).__await__()
            return result
        finally:
            detach_claim(flight)
            claim.abandon()

    def _publish(
        self, job: Job, flight: Flight, claim: HeldClaim, miss: Miss, result: Any, cost_ns: int, began_ns: int
    ) -> None:
        flight.stored = self.saving.publish(claim, job, result, cost_ns, miss, began_ns + cost_ns)
        flight.lost = claim.lost

    def found(self, job: Job) -> Loaded | None:
        """Look again: another process may have published meanwhile."""
        if not self.store.is_there(job.address.name):
            return None  # the usual case, and cheaper than a lookup
        try:
            return self._look_again(job)
        except Miss:
            return None

    def _remove_dead_owner(self, address: Address) -> bool:
        """Remove the claim of a dead owner; return whether it was there."""
        try:
            return self.store.release(address.name)
        except OSError as error:
            raise_if_interrupt(error)
            return False  # else we may not remove it

    def _run_alone(self, job: Job, miss: Miss, tasks: Tasks | None) -> Steps:
        """Compute without waiting for the other process that computes the same."""
        flight = Flight(self.store.place(job.address.name), job.address.function_id, tasks and tasks.task)
        with flight.busy:
            return (yield from self._run(job, miss, flight, tasks))[0]

    def _run(self, job: Job, miss: Miss, flight: Flight, tasks: Tasks | None) -> Steps:
        """Compute; return the result and the nanoseconds that it took. Calls inside know that it is being computed."""
        around = computing.get()
        inside = {**around, flight.place: flight}
        run, nested_ns, awaited = job.run, flight.nested_ns, flight.awaited
        started = time.perf_counter_ns()
        token = uninterrupted(computing.set, inside)
        try:
            result = job.function(*job.args, **job.kwargs)
            if tasks is not None:
                flight.awaited = result
                result = yield from result.__await__()
            run.result = result
            run.done = True
        except BaseException as error:
            run.error, run.traceback = error, TRACEBACK.__get__(error).tb_next
            run.took(time.perf_counter_ns() - started, flight.nested_ns - nested_ns)
            # The task was cancelled, or the coroutine closed: another call goes on in its place.
            flight.cancelled = tasks is not None and not issubclass(type(error), Exception)
            failed = {} if flight.cancelled else {"errors.raised": 1}
            self.ledger.count(job.name, **{f"misses.{miss.reason}": 1}, **failed)
            raise
        finally:
            computing.reset(token) if tasks is None else leave(around, flight)
            flight.awaited = awaited
        cost_ns = time.perf_counter_ns() - started
        run.took(cost_ns, flight.nested_ns - nested_ns)
        self.ledger.count(job.name, **{f"misses.{miss.reason}": 1, "computed_ns": run.own_ns})
        if tasks is None or not tasks.has_large_arguments:
            try_call(job.look_again, cost_ns)  # else where the result is stored: what is computed is not to be lost
        return result, cost_ns

    def waited(self, job: Job, loaded: Loaded) -> Any:
        """Count and return a result that another thread or process computed meanwhile."""
        self.ledger.count(job.name, hits=1, waited=1, read_bytes=loaded.identity[1])
        return job.run.waited(loaded)
