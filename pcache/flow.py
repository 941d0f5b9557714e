"""The flow of a hit and of a miss: look up, claim, compute, publish.

The order of things is what makes the promises true. A lookup takes no lock. Whoever misses takes the claim and looks
again, since another process may have published between its look and its claim. Whatever goes wrong with the cache, the
function's result reaches the caller, and the function's own exceptions pass unchanged.
"""

from __future__ import annotations

import os
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pcache.claim import computing, flights, read_owner
from pcache.errors import DirectoryError, Miss, SigningKeyError
from pcache.ledger import Ledger
from pcache.notices import log
from pcache.storing import CannotWrite, Storing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.claim import Claim, Flight
    from pcache.config import Settings
    from pcache.reader import Address, Loaded
    from pcache.registry import FunctionVersion
    from pcache.store import Store
    from pcache.trust import KeySource

_PAUSE_SHARE, _PAUSE_MIN, _PAUSE_MAX = 0.05, 0.0005, 0.05  # of the time waited so far; seconds
_LOOK_AT_OWNER = 0.5  # seconds between two looks at whether the owner still lives
_SAY_WAITING = 60.0  # seconds of waiting after which a log line says for whom

# Set by `disabled()` and `refreshing()`, for the calls made inside of them.
mode: ContextVar[Literal["disabled", "refreshing"] | None] = ContextVar("pcache_mode", default=None)


class Job(NamedTuple):
    """One call that missed: where its result belongs and how it is computed."""

    address: Address
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    version: FunctionVersion
    summary: Callable[[], dict[str, str]]
    digests: Mapping[str, bytes]
    strict: bool
    lock_timeout: float | None
    since_ns: int  # only a result made later will do; 0 for any

    @property
    def name(self) -> str:
        return self.version.name


class Flow:
    """Hits and misses of one cache directory. Safe for threads, processes and forks."""

    def __init__(self, settings: Settings, keys: KeySource, store: Store) -> None:
        self.settings = settings
        self.keys = keys
        self.store = store
        self.ledger = Ledger(store.root, read_only=settings.read_only)
        self.storing = Storing(settings, keys, store, self.ledger)
        self.passive = settings.disable or self.storing.not_private

    def look_up(self, address: Address) -> Loaded:
        """Return a stored result; raises `Miss`. Takes no lock and writes nothing."""
        if self.storing.not_private:
            raise Miss("foreign", detail="there is no place for a signing key, and others can change the directory")
        try:
            keyring = self.keys.keyring or self.keys.look()
            if keyring is None:
                raise Miss("absent", detail="there is no signing key yet")
            return self.store.read(address, keyring, self.settings.verify)
        except (DirectoryError, SigningKeyError) as error:
            self.storing.refuse(error, address.path)
            raise Miss("foreign", detail=str(error)) from error

    def compute(self, job: Job, miss: Miss) -> Any:
        """Compute a missing result once among all threads and processes, store it and return it."""
        log("%s: miss, %s%s", job.name, miss.reason, miss.detail and f" ({miss.detail})", level="debug")
        if miss.reason == "unloadable":
            log("%s: a stored result could not be loaded and is computed again: %s", job.name, miss.detail)
        try:
            return self._compute(job, miss)
        finally:
            self.ledger.look(time.time_ns())

    def _compute(self, job: Job, miss: Miss) -> Any:
        if job.address.path in computing.get():
            return self._run(job, miss)[0]
        deadline = None if job.lock_timeout is None else time.monotonic() + job.lock_timeout
        while True:
            flight, leads = flights.enter(job.address.path)
            if leads:
                try:
                    return self._lead(job, flight, miss, deadline)
                finally:
                    flights.leave(job.address.path, flight)
            if flight.thread == threading.get_ident():
                return self._run(job, miss)[0]  # recursion that lost its context variables
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not flight.wait(remaining) or not flight.stored:
                return self._run(job, miss)[0]
            try:
                return self._waited(job, self._look_again(job))
            except Miss as again:
                miss = again

    def _look_again(self, job: Job) -> Loaded:
        loaded = self.look_up(job.address)
        if loaded.header.created_ns < job.since_ns:
            raise Miss("refreshed")
        return loaded

    def _lead(self, job: Job, flight: Flight, miss: Miss, deadline: float | None) -> Any:
        claim, loaded = self._take_claim(job, deadline)
        if loaded is not None:
            return self._waited(job, loaded)
        flight.stored = False
        try:
            result, cost_ns = self._run(job, miss)
            if claim is not None:
                flight.stored = self.storing.publish(claim, job, result, cost_ns, miss)
            return result
        finally:
            if claim is not None:
                claim.abandon()

    def _take_claim(self, job: Job, deadline: float | None) -> tuple[Claim | None, Loaded | None]:
        """Return the claim, or the result that appeared meanwhile, or neither: then compute without storing."""
        started = time.monotonic()
        look_at_owner, say_waiting = started + _LOOK_AT_OWNER, started + _SAY_WAITING
        while True:
            try:
                claim = self.storing.claim(job)
            except CannotWrite:
                return None, None
            found = self._found(job, claim)
            if claim is not None or found is not None:
                return (None, found) if found is not None else (claim, None)
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return None, None
            if now >= look_at_owner:
                look_at_owner = now + _LOOK_AT_OWNER
                if self._remove_dead_owner(job.address.path):
                    continue
            if now >= say_waiting:
                say_waiting = now + _SAY_WAITING
                log(
                    "waiting for %s since %.0f s; lock_timeout= limits this",
                    read_owner(job.address.path),
                    now - started,
                )
            time.sleep(min(max((now - started) * _PAUSE_SHARE, _PAUSE_MIN), _PAUSE_MAX))

    def _found(self, job: Job, claim: Claim | None) -> Loaded | None:
        """Look again: another process may have published between our look and our claim."""
        self.store.relook(job.address.path)
        if not os.path.lexists(job.address.path):
            return None  # mostly so, and cheaper than a lookup
        try:
            found = self._look_again(job)
        except Miss:
            return None
        except BaseException:
            if claim is not None:
                claim.abandon()
            raise
        if claim is not None:
            claim.abandon()
        return found

    def _remove_dead_owner(self, path: str) -> bool:
        """A forked child of a dead owner may still hold its lock: take the file from under it.

        Should another waiter have made a new claim in between, two compute; the last rename wins.
        """
        owner = read_owner(path)
        return owner is not None and owner.is_dead() and self.store.delete(path + ".claim")

    def _run(self, job: Job, miss: Miss) -> tuple[Any, int]:
        """Compute, known to calls further down as being computed; return also the nanoseconds that it took."""
        token = computing.set(computing.get() | {job.address.path})
        started = time.perf_counter_ns()
        try:
            result = job.function(*job.args, **job.kwargs)
        except BaseException:
            self.ledger.count(job.name, **{f"misses.{miss.reason}": 1, "errors.raised": 1})
            raise
        finally:
            computing.reset(token)
        cost_ns = time.perf_counter_ns() - started
        self.ledger.count(job.name, **{f"misses.{miss.reason}": 1, "computed_ns": cost_ns})
        return result, cost_ns

    def _waited(self, job: Job, loaded: Loaded) -> Any:
        """A result that another thread or process computed meanwhile."""
        self.ledger.count(job.name, hits=1, waited=1, read_bytes=loaded.identity[1])
        return loaded.value
