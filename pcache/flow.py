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

from pcache.claim import computing, flights, owner_record, read_owner
from pcache.culprit import attempt
from pcache.errors import (
    DirectoryError,
    Miss,
    SigningKeyError,
    StoreWarning,
    UnpicklableResult,
    UnpicklableResultWarning,
)
from pcache.notices import log, warn_once
from pcache.trust import UNSIGNED, check_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.claim import Claim, Flight
    from pcache.config import Settings
    from pcache.reader import Address, Loaded
    from pcache.registry import FunctionVersion
    from pcache.store import Store
    from pcache.trust import Keyring, KeySource

_STOP_WRITING = 60.0  # seconds without a try after a write was refused
_PAUSE_SHARE, _PAUSE_MIN, _PAUSE_MAX = 0.05, 0.0005, 0.05  # of the time waited so far; seconds
_LOOK_AT_OWNER = 0.5  # seconds between two looks at whether the owner still lives
_SAY_WAITING = 60.0  # seconds of waiting after which a log line says for whom
_DURABLE = 10**9  # nanoseconds of computing from which a result is worth an fsync

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
        self.passive = settings.disable
        self._stopped_until = 0.0
        self._registered: set[str] = set()
        self._not_private = False  # without a signing key, in a directory that others can change
        if keys.keyring is None and not keys.has_place():
            attempt(self._ensure_keyring)  # no home: find out now whether the directory is private

    def look_up(self, address: Address) -> Loaded:
        """Return a stored result; raises `Miss`. Takes no lock and writes nothing."""
        if self._not_private:
            raise Miss("foreign", detail="there is no place for a signing key, and others can change the directory")
        try:
            keyring = self.keys.keyring or self.keys.look()
            if keyring is None:
                raise Miss("absent", detail="there is no signing key yet")
            return self.store.read(address, keyring, self.settings.verify)
        except (DirectoryError, SigningKeyError) as error:
            self._refuse(error)
            raise Miss("foreign", detail=str(error)) from error

    def compute(self, job: Job, miss: Miss) -> Any:
        """Compute a missing result once among all threads and processes, store it and return it."""
        if miss.reason == "unloadable":
            log("%s: a stored result could not be loaded and is computed again: %s", job.name, miss.detail)
        if job.address.path in computing.get():
            return _run(job)
        deadline = None if job.lock_timeout is None else time.monotonic() + job.lock_timeout
        while True:
            flight, leads = flights.enter(job.address.path)
            if leads:
                try:
                    return self._lead(job, flight, miss, deadline)
                finally:
                    flights.leave(job.address.path, flight)
            if flight.thread == threading.get_ident():
                return _run(job)  # recursion that lost its context variables
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not flight.wait(remaining) or not flight.stored:
                return _run(job)
            try:
                return self._look_again(job).value
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
            return loaded.value
        flight.stored = False
        try:
            started = time.perf_counter_ns()
            result = _run(job)
            cost_ns = time.perf_counter_ns() - started
            if claim is not None:
                flight.stored = self.publish(claim, job, result, cost_ns, miss)
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
                claim = self.claim(job)
            except _CannotWrite:
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

    def claim(self, job: Job) -> Claim | None:
        """Take the claim of a job, None while somebody else holds it; raises `_CannotWrite` when nothing is written."""
        self._check_writing()
        try:
            return self.store.claim(job.address.path, owner_record(job.name))
        except OSError as error:
            self._refuse(error)
            raise _CannotWrite from error

    def put(self, job: Job, result: object) -> bool:
        """Store a result that was not computed here, over whatever is there; return whether it is there now."""
        try:
            self._check_writing()
            claim = self.store.private_claim(job.address.path, owner_record(job.name))
        except _CannotWrite:
            return False
        except OSError as error:
            self._refuse(error)
            return False
        try:
            return self.publish(claim, job, result, 0, Miss("refreshed"))
        finally:
            claim.abandon()

    def publish(self, claim: Claim, job: Job, result: object, cost_ns: int, miss: Miss) -> bool:
        """Store a result under a claim that is held; return whether it is there now."""
        from pcache import publishing  # late for start-up time: a hit encodes nothing

        payload, error = attempt(publishing.dump, result)
        if error is not None:
            self._unpicklable(job, result, error)
            return False
        keyring = self.keys.ensure()
        pieces = publishing.encode(payload, result, job, cost_ns, self.settings, keyring)
        try:
            claim.publish(
                pieces,
                durable=cost_ns >= _DURABLE,
                replaces_nothing=miss.reason in ("damaged", "expired", "unloadable"),
            )
            self._register(job, keyring)
        except OSError as refusal:
            self._refuse(refusal)
            return False
        return True

    def _register(self, job: Job, keyring: Keyring) -> None:
        from pcache import registry  # late for start-up time: a hit registers nothing

        facts = job.version
        # `clear`, of this process or another, removes the file of a function that goes on storing results.
        if facts.function_id not in self._registered or not registry.exists(self.store.functions, facts.function_id):
            registry.write(self.store.functions, facts, keyring, summaries=self.settings.summaries)
            self._registered.add(facts.function_id)

    def _check_writing(self) -> None:
        if self.settings.read_only or time.monotonic() < self._stopped_until:
            raise _CannotWrite
        self._ensure_keyring()

    def _ensure_keyring(self) -> None:
        """Have a signing key. Without a place for one, nothing is read or written unless the directory is private."""
        try:
            if self.keys.ensure() is UNSIGNED:
                check_private(self.store.root)
        except (DirectoryError, SigningKeyError) as error:
            self.passive = self._not_private = True
            self._refuse(error)
            raise _CannotWrite from error

    def _unpicklable(self, job: Job, result: object, error: Exception) -> None:
        from pcache.payload import culprit_of  # late for start-up time

        culprit = culprit_of(result, error)
        message = (
            f"the result of {job.name} cannot be stored: {culprit.path} is a {culprit.type_name}, which cannot be"
            f" pickled ({culprit.error}). The caller got it, and it will be computed at every call."
        )
        if job.strict:
            raise UnpicklableResult(
                message, function=job.name, path=culprit.path, type_name=culprit.type_name
            ) from error
        warn_once((job.name, "unpicklable"), message, UnpicklableResultWarning)

    def _refuse(self, error: Exception) -> None:
        """Writing failed: say so once per cause, and do not try again for a minute."""
        self._stopped_until = time.monotonic() + _STOP_WRITING
        cause = getattr(error, "errno", None) or str(error)
        text = f"{os.strerror(cause)}" if isinstance(cause, int) else cause
        warn_once(
            (self.store.root, cause),
            f"results cannot be stored in {self.store.root}: {text}. Functions are computed as if there were no cache;"
            f" storing is tried again after {_STOP_WRITING:.0f} s.",
            StoreWarning,
        )


class _CannotWrite(Exception):
    """Nothing is written now: read-only, refused a moment ago, or without a safe place for a key."""


def _run(job: Job) -> Any:
    """Compute, known to calls further down as being computed."""
    token = computing.set(computing.get() | {job.address.path})
    try:
        return job.function(*job.args, **job.kwargs)
    finally:
        computing.reset(token)
