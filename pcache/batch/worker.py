"""What a worker does with a chunk of calls, and how it proves that what it stores is found by who sent them.

A worker may be a thread, a process of this machine or one of another. It stores results only where its function is of
the same version, and its cache the same directory with the same key: it has to find the claim that the sender holds
there, whose record only the key authenticates. Else it computes, and the sender stores. No key is ever sent.
"""

from __future__ import annotations

import os
import time

from pcache.batch import calls
from pcache.runtime.modes import disabled, refreshing
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.storage.claim_owner import owner_record
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.batch.calls import Cached, Outcome
    from pcache.runtime.modes import Mode
    from pcache.storage.claim_owner import Owner
    from pcache.storage.store import HeldClaim

_SENT = 64 << 10  # bytes of an entry from which the sender reads it itself, as arrays are mapped then

STORED, VALUE, LOOSE, ERROR, FOREIGN = "stored", "value", "not stored", "error", "other code"


class Proof(NamedTuple):
    """A claim that the sender holds: the name of its entry, which is never stored, and what its record says."""

    name: str
    owner: Owner


class Chunk(NamedTuple):
    """Calls for a worker: their arguments with the names of their entries, and what they have in common."""

    function: Cached
    function_id: str
    calls: Sequence[tuple[str, tuple[Any, ...]]]
    common: Mapping[str, Any]
    mode: Mode | None
    proof: Proof | None
    pid: int


class Answer(NamedTuple):
    """What became of a call: one of the words above, its result or exception, and the nanoseconds that it took.

    `STORED` results are for the sender to read, `LOOSE` ones for it to store.
    """

    kind: str
    value: Any = None
    cost_ns: int = 0


def take_proof(function: Cached) -> tuple[HeldClaim, Proof] | None:
    """Hold a claim of no entry, for workers to find; None where nothing can be stored."""
    flow = function._flow
    name = f"{function._calls.version.hex_id}-{os.urandom(20).hex()}"
    keyring, done = attempt(flow.saving.writing)
    if not done:
        return None
    claim, _ = attempt(lambda: flow.store.claim(name, owner_record(f"{function.name}, spread", keyring)))
    if claim is None:
        return None
    owner = flow.store.owner_at(flow.store.place(name), keyring)
    if owner is None:
        claim.abandon()
        return None
    return claim, Proof(name, owner)


def work(chunk: Chunk) -> list[Answer]:
    """Make the calls of a chunk; called by a worker."""
    function = chunk.function
    if chunk.mode == "disabled":
        with disabled():
            return [_computed(function, args, chunk.common) for _, args in chunk.calls]
    here = os.getpid() == chunk.pid
    if not here:
        version, _ = attempt(lambda: function._calls.version.hex_id)
        if version != chunk.function_id:
            return [Answer(FOREIGN)] * len(chunk.calls)
        if not _holds(chunk.proof, function):
            with disabled():
                return [_computed(function, args, chunk.common) for _, args in chunk.calls]
    arguments = [args for _, args in chunk.calls]
    if chunk.mode == "refreshing":
        with refreshing():
            outcomes = [calls.call(function, args, chunk.common) for args in arguments]
    else:
        outcomes = list(calls.one_by_one(function, iter(arguments), chunk.common, ordered=True))
    return [
        _answer(function, outcome, "" if here else name)
        for outcome, (name, _) in zip(outcomes, chunk.calls, strict=True)
    ]


def _holds(proof: Proof | None, function: Cached) -> bool:
    """Whether the sender's claim is seen, through our own directory and with our own key."""
    if proof is None:
        return False
    store, keys = function._flow.store, function._flow.keys
    keyring, _ = attempt(lambda: keys.keyring or keys.look())
    found, _ = attempt(lambda: store.owner_at(store.place(proof.name), keyring))
    return bool(found == proof.owner)


def _computed(function: Cached, args: tuple[Any, ...], common: Mapping[str, Any]) -> Answer:
    """The answer to a call that is not stored here."""
    started = time.perf_counter_ns()
    outcome = calls.call(function, args, common)
    cost_ns = time.perf_counter_ns() - started
    return Answer(LOOSE, outcome.value, cost_ns) if outcome.error is None else Answer(ERROR, outcome.error)


def _answer(function: Cached, outcome: Outcome, name: str) -> Answer:
    if outcome.error is not None:
        return Answer(ERROR, outcome.error)
    if name:
        entry, _ = attempt(lambda: function._flow.store.entry(name))
        if entry is not None and entry.length > _SENT:
            return Answer(STORED)
    return Answer(VALUE, outcome.value)
