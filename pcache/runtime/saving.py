"""Save a result: take the claim, pack the bytes, keep the limits; and report failures.

Whatever goes wrong here, the caller of a cached function gets the result.
"""

from __future__ import annotations

import errno
import os
import time
from functools import partial

from pcache.entry.format import length_of
from pcache.entry.pickling import culprit_of, dump
from pcache.errors import (
    DamagedEntry,
    Miss,
    PcacheWarning,
    SigningKeyError,
    StoreWarning,
    UnpicklableResult,
    UnpicklableResultWarning,
)
from pcache.eviction.limiter import Limiter
from pcache.objects.lookup import look
from pcache.runtime.packing import pack, pack_stream
from pcache.startup import TYPE_CHECKING, Any, TypeVar, late
from pcache.storage.claim_owner import owner_record
from pcache.storage.store import DURABLE
from pcache.system.exit import Unfinished
from pcache.system.fork import whole
from pcache.system.interrupts import raise_if_interrupt, stands, try_call
from pcache.system.notices import warn_once
from pcache.text.phrases import a_thing
from pcache.versions import kept_code, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.runtime import changed, invalidation
    from pcache.runtime.job import Job
    from pcache.runtime.spooling import Spool
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim_owner import Record
    from pcache.storage.directory import Directory
    from pcache.storage.store import HeldClaim
    from pcache.versions import moments, source_records
    from pcache.versions.registry import FunctionVersion
else:
    changed = late("pcache.runtime.changed")
    invalidation = late("pcache.runtime.invalidation")
    moments = late("pcache.versions.moments")
    source_records = late("pcache.versions.source_records")

C = TypeVar("C")

_CODE = ("function ", "package ")  # labels of parts

_STOP_WRITING = 60.0  # seconds before the next try after a write failed
_TICK = 0.02  # seconds by which a file may seem older than the clock says
_AS_IF = f"Functions are computed as if there were no cache; {{}} again after {_STOP_WRITING:.0f} s."
# Errors that pass: all descriptors are in use, or the program closed one of pcache's.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.EBADF)


class CannotWrite(Exception):
    """Nothing is written now: the cache is read-only, a write failed recently, or there is no signing key."""


def _how(cost_ns: int, miss: Miss, mtime_ns: int) -> dict[str, Any]:
    """How a claim publishes what took so long and had missed."""
    replaces_nothing = isinstance(miss, DamagedEntry) or miss.reason in ("expired", "unloadable")
    return {"durable": cost_ns >= DURABLE, "replaces_nothing": replaces_nothing, "mtime_ns": mtime_ns}


class Saving(Unfinished):
    """Saves results in one cache directory. Safe for threads, processes and forks."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._settings = directory.settings
        self._keys = directory.keys
        self._store = directory.store
        self._ledger = directory.ledger
        self._limiter: Limiter | None = None  # made when the first result is stored
        self._registered: dict[str, str] = {}  # paths of the registry's files of versions, by id
        self._unlooked: dict[str, tuple[FunctionVersion, bool]] = {}  # of which results were stored since that, by id
        self._stopped_until = 0.0
        self._keyless_until = 0.0
        super().__init__()

    def reset(self) -> None:
        """Leave to the parent of a forked child what it has to look at."""
        self._unlooked = {}

    def flush(self) -> None:
        """Look whether the records of versions still stand of which results were stored since they were seen."""
        while self._unlooked and self._keys.keyring is not None:
            self._register_anew(*self._unlooked.popitem()[1], self._keys.keyring)

    def let_go(self) -> None:
        """The same."""
        self.flush()

    def claim(self, job: Job, *, private: bool = False) -> HeldClaim | None:
        """Take the claim of a job, None while another process holds it; raises `CannotWrite`.

        A `private` one does not exclude others, and is always free.
        """
        return self._take(self._store.private_claim if private else self._store.claim, job)

    def _take(self, take: Callable[[str, Record], C], job: Job) -> C:
        keyring = self.writing()
        try:
            return take(job.address.name, owner_record(job.name, keyring))
        except OSError as error:
            self.refuse(error, job.address.name)
            raise CannotWrite from error

    def claim_anew(self, job: Job) -> HeldClaim:
        """A claim for a result that replaces any other, also one that is being computed; raises `CannotWrite`."""
        return self._take(self._fenced_claim, job)

    def put(self, job: Job, result: object) -> bool:
        """Store a result given by the user, replacing any other; return whether it is stored."""
        job, miss = job._replace(inputs_hold=lambda: True), Miss("refreshed")
        claim: HeldClaim | None = None
        try:
            claim = self.claim_anew(job)
            return self.settle(claim, job, result, 0, miss)
        except CannotWrite:
            return False
        except BaseException:
            if claim is not None:
                claim.abandon()  # an interrupt may have come before `settle` began
            raise

    def _fenced_claim(self, name: str, record: Record) -> HeldClaim:
        """A claim that cancels earlier ones: a computation under way does not replace the result that is put."""
        invalidation.forbid(self._store, name)
        return self._store.private_claim(name, record)

    def settle(self, claim: HeldClaim, job: Job, result: object, cost_ns: int, miss: Miss) -> bool:
        """Store a result under a claim and release the claim; return whether it is stored."""
        with claim:
            try:
                try:
                    return self.publish(claim, job, result, cost_ns, miss, time.time_ns())
                finally:
                    claim.abandon()
            except BaseException:
                claim.abandon()  # again, in case an interrupt came during the first time
                raise

    def publish(self, claim: HeldClaim, job: Job, result: object, cost_ns: int, miss: Miss, created_ns: int) -> bool:
        """Store a result under a held claim; return whether it is stored."""
        if not job.inputs_hold():
            return changed.refuse_changed(self._directory.ledger, job, cost_ns)
        if (timed := job if job.conditions is None else self._allowed(job, result, cost_ns)) is None:
            return False
        payload, error = try_call(dump, result)
        if error is not None:
            self.unpicklable(job, result, error)
            return False
        keyring = self._keys.ensure()
        pieces, mtime_ns = pack(payload, result, timed, created_ns, cost_ns, self._settings.compression, keyring)
        write = partial(claim.publish, pieces, **_how(cost_ns, miss, mtime_ns))
        if not self._write(job, length_of(pieces), cost_ns, keyring, write):
            return False
        if not payload.buffers and claim.stored is not None:
            self._store.remember(job.address, pieces, payload.stream, claim.stored)
        return True

    def publish_stream(self, spool: Spool, job: Job, cost_ns: int, miss: Miss, created_ns: int) -> bool:
        """Store a stream that was spooled to its end; return whether it is stored."""
        if not job.inputs_hold():
            return changed.refuse_changed(self._directory.ledger, job, cost_ns)
        keyring = self._keys.ensure()
        head, footer, mtime_ns = pack_stream(spool.rows, spool.flags, job, created_ns, cost_ns, keyring)
        length = len(head) + spool.length + len(footer)
        write = partial(spool.publish, head, footer, **_how(cost_ns, miss, mtime_ns))
        return self._write(job, length, cost_ns, keyring, write)

    def _write(self, job: Job, length: int, cost_ns: int, keyring: Keyring, write: Callable[[], int]) -> bool:
        """Make an entry of so many bytes by a function that returns its size; return whether it is stored."""
        name, limiter = job.name, self.limiter
        if reason := limiter.refusal(length, name):
            self.too_large(job, reason)
            return False
        try:
            if not self._store.network:  # without locks, only `evict` keeps limits
                limiter.make(job.address.name, length, name, cost_ns)
            published = write()
        except OSError as refusal:
            self.refuse(refusal, job.address.name)
            return False
        if not published:  # `clear` or `invalidate` removed the claim meanwhile
            if job.since_ns:  # after a refresh the old entry must not be found, though it is not removed yet
                try_call(self._store.delete, job.address.name)
            return False
        self._register(job, keyring)
        self._ledger.count(name, stored=1, written_bytes=length)
        return True

    def _allowed(self, job: Job, result: object, cost_ns: int) -> Job | None:
        """The job with the time for which its result is kept; None if it is not to be stored."""
        conditions: Any = job.conditions
        if refusal := conditions.refusal(job.name, result, cost_ns):
            self._ledger.count(job.name, **{f"errors.{refusal}": 1})
            return None
        kept_ns, is_known = conditions.kept_ns(job.name, result, job.address.ttl_ns)
        return job._replace(address=job.address._replace(ttl_ns=kept_ns)) if is_known else None

    @property
    def limiter(self) -> Limiter:
        """Keeps the limits of the directory."""
        if self._limiter is None:
            made = Limiter(self._directory)
            with whole:  # two threads may have made one: the first one counts
                self._limiter = self._limiter or made
        return self._limiter

    def _register(self, job: Job, keyring: Keyring) -> None:
        """Keep the record of a job's version in the registry; looked at once a second, and when the process ends."""
        function_id = job.version.function_id
        path = self._registered.get(function_id)
        if path is not None and registry.was_seen(path):
            self._unlooked.setdefault(function_id, (job.version, job.summaries))
            return
        self._register_anew(job.version, job.summaries, keyring)
        if path is None:
            folder = self._directory.functions
            is_noted = _is_plain(job) or stands(registry.source_path(folder, function_id, keyring.signing_key))
            if not is_noted:  # without it `pcache status` tells less, so that nobody is warned
                try_call(source_records.write, folder, job.version, keyring, self._directory.access)
            kept_code.keep(self._directory.location, job.function, keyring, self._directory.access)

    def _register_anew(self, facts: FunctionVersion, summaries: bool, keyring: Keyring) -> None:
        folder, function_id = self._directory.functions, facts.function_id
        self._unlooked.pop(function_id, None)
        # `clear`, of this process or another, removes the file of a function that goes on storing results.
        if function_id in self._registered and registry.is_there(self._registered[function_id]):
            return
        try:
            path = registry.write(folder, facts, keyring, summaries=summaries, access=self._directory.access)
        except OSError as error:
            raise_if_interrupt(error)
            if os.path.exists(self._directory.location):  # else the program has removed it, with all results
                self._say(error, f"the names of functions cannot be stored in {folder}", "Results are stored.")
            return
        self._registered[function_id] = path
        registry.is_there(path)
        if (try_call(os.path.getmtime, path)[0] or 0.0) >= facts.first_seen - _TICK:
            self._warn_of_moments(facts, keyring)

    def _warn_of_moments(self, facts: FunctionVersion, keyring: Keyring) -> None:
        """Say once if the function, of which this is a new version, is another one in each process, and why."""
        known, _ = try_call(registry.latest, self._directory.functions, keyring, facts.name)
        if len(known or ()) < registry.IN_A_ROW:
            return
        found = try_call(moments.of_running, self._directory, known, facts, keyring)[0]
        if found is not None:
            advice = found.advice[:1].upper() + found.advice[1:]
            message = f"results of {facts.name} are not found again: {found.text}. {advice}."
            warn_once((facts.name, "moments", *found.names), message, PcacheWarning)

    def writing(self) -> Keyring:
        """The keys to sign with; raises `CannotWrite`."""
        if self._settings.read_only or not self._settings.max_size or time.monotonic() < self._stopped_until:
            raise CannotWrite
        return self._keys.keyring or self._ensure_keyring()

    def _ensure_keyring(self) -> Keyring:
        """The signing keys; without one nothing is stored, and no directory made."""
        if time.monotonic() < self._keyless_until:
            raise CannotWrite
        try:
            return self._keys.ensure()
        except SigningKeyError as error:
            self.refuse(error)
            raise CannotWrite from error

    def unpicklable(self, job: Job, result: object, error: BaseException) -> None:
        culprit = culprit_of(result, error)
        self._ledger.count(job.name, **{"errors.unpicklable": 1})
        message = (
            f"the result of {job.name} cannot be stored: {culprit.path} is {a_thing(culprit.type_name)}, which cannot"
            f" be pickled ({culprit.error}). The caller got it, and it will be computed at every call."
        )
        if job.strict:
            raise UnpicklableResult(
                message, function=job.name, path=culprit.path, type_name=culprit.type_name
            ) from error
        warn_once((job.name, "unpicklable"), message, UnpicklableResultWarning)

    def too_large(self, job: Job, reason: str) -> None:
        self._ledger.count(job.name, **{"errors.too_large": 1})
        warn_once(
            (job.name, "too large"),
            f"a result of {job.name} is not stored: {reason}. The caller got it, and it will be computed at every call;"
            " a larger max_size= or PCACHE_MAX_SIZE would keep it.",
            StoreWarning,
        )

    def refuse(self, error: Exception, name: str = "") -> None:
        """Warn once per cause that writing the entry `name` failed.

        Nothing is written for a minute then, unless only one file or shard is affected, or the program had no
        descriptors left.
        """
        if isinstance(error, OSError):
            raise_if_interrupt(error)
        if isinstance(error, SigningKeyError):
            self._keyless_until = time.monotonic() + _STOP_WRITING  # unless a lookup finds a key before
            self._say(error, "results are neither stored nor read", _AS_IF.format("a key is looked for"))
            return
        of_system = error if getattr(error, "errno", None) else error.__cause__  # why a folder could not be opened
        if isinstance(of_system, OSError) and of_system.errno in _PASSING:
            self._say(of_system, "a result is not stored", "The caller got it, and it will be computed again.")
            return
        if name and self._store.concerns_one(error, name):
            self._say(
                error,
                f"a result cannot be stored as {self._store.place(name)}",
                "It is computed at every call; others are stored.",
            )
            return
        self._stopped_until = time.monotonic() + _STOP_WRITING
        self._say(error, f"results cannot be stored in {self._directory.location}", _AS_IF.format("storing is tried"))

    def _say(self, error: Exception, what: str, consequence: str) -> None:
        cause = getattr(error, "errno", None) or str(error)
        kind = errno.errorcode.get(cause, "OS") if isinstance(cause, int) else type(error).__name__
        self._ledger.count("", **{f"errors.{kind}": 1})
        text = f"{os.strerror(cause)}" if isinstance(cause, int) else cause.rstrip(".")
        where = (
            "" if isinstance(error, SigningKeyError) else self._directory.location
        )  # a missing key affects all directories
        warn_once((where, cause), f"{what}: {text}. {consequence}", StoreWarning)


def _is_plain(job: Job) -> bool:
    """Whether a version consists of functions and packages alone, and no call can leave out a parameter."""
    function = job.function
    given = any(look(function, name) for name in ("__defaults__", "__kwdefaults__", "__closure__"))
    is_method = "." in job.name.rpartition(":")[2]
    return not given and not is_method and all(label.startswith(_CODE) for label in job.version.parts)
