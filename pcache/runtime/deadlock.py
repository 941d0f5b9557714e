"""Whether waiting could deadlock, or earlier owners keep failing, and how a call stops waiting.

Calls wait only for owners whose record in the claim is authentic: anyone who can write into the directory could hold a
lock there. For an owner that was stopped (SIGSTOP, a debugger) they wait a limited time.

A call that waits notes this in the computations that it is part of: in memory, and in their claims, where other
processes see it. Now and then it follows the chain from the result that it waits for to what its owner waits for, and
on. If the chain comes back to a computation around the call itself, this is a deadlock, and the call computes for
itself.

Not every wait is recorded: `runtime/resting.py` guesses which threads, tasks and processes may be waiting for a call. A
call that blocks its thread keeps the tasks of that thread from going on: their computations wait for it.

If one owner after the other ends without a result (it raises, or cannot be stored), queueing would take as long as all
of them together: a call that has seen two owners fail does not wait for the third.

A call that waits less than half a second does none of this.
"""

from __future__ import annotations

import threading

from pcache.runtime.resting import LOOK, Resting
from pcache.runtime.singleflight import computing, flights
from pcache.startup import TYPE_CHECKING
from pcache.system.clock import Stopwatch, now
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from typing import Self

    from pcache.runtime.singleflight import Flight
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim_owner import Owner
    from pcache.storage.directory import Directory
    from pcache.storage.store import Store

# Seconds that calls wait for a claim without an authentic owner; an owner signs its claim within a millisecond.
PROOF = 1.0
STOPPED = 600.0  # seconds for which an owner that was stopped is waited for
_OWNERS = 2  # owners that failed before a call stops waiting
_FAR = 1000  # entries followed in search of a circle


class Wait:
    """The wait of one call, from its first look until it has its result."""

    __slots__ = ("_blocks", "_clock", "_keys", "_limit", "_owners", "_place", "_resting", "_state", "_store", "_told")

    def __init__(self, place: str, directory: Directory, limit: float | None = None, *, blocks: bool = True) -> None:
        self._place = place
        self._blocks = blocks  # its thread, and no task
        self._store, self._keys = directory.store, directory.keys
        self._limit = limit
        self._clock = Stopwatch()
        self._state = ("unproven", 0.0)  # what is wrong with the holder of the claim, and since when
        self._owners: set[tuple[int, int]] = set()  # process and thread
        self._told: list[Flight] = []
        self._resting: Resting | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self._resting is not None:
            self._resting.end()

    def passed(self) -> float:
        """The seconds that the call has waited so far."""
        return self._clock.passed()

    def pause(self, seconds: float) -> None:
        """Sleep."""
        self._clock.pause(seconds)

    def slept(self, seconds: float) -> None:
        """Note that the call has slept without blocking its thread."""
        self._clock.add(seconds)

    def is_over(self) -> bool:
        """Whether the call has waited for its time limit."""
        return self._limit is not None and self.passed() >= self._limit

    def owner(self) -> Owner | None:
        """The authentic owner of the claim, if any."""
        return self._store.owner_at(self._place, self._keys.keyring)

    def is_in_vain(self, owner: Owner | None) -> str:
        """Why not to wait any longer for the holder of the claim; empty while waiting makes sense."""
        passed = self.passed()
        if owner is None or owner.is_dead():
            state, patience = "unproven", PROOF
        else:
            state, patience = "stopped" if owner.is_stopped() else "", STOPPED
        if state != self._state[0]:
            self._state = (state, passed)
        return state if passed - self._state[1] >= patience else ""

    def end(self) -> None:
        """Note that this call no longer waits."""
        for flight in self._told:
            _note(flight, self._place, over=True)
        self._told.clear()

    def for_flight(self, flight: Flight) -> bool:
        """Wait for another thread; return whether it ended, within the time limit and without a deadlock."""
        while True:
            passed, seconds = self.passed(), self.until_look()
            if flight.wait(seconds):
                self.end()
                return True
            if self.gives_up(passed + seconds):
                return False

    def until_look(self, seconds: float = LOOK) -> float:
        """How long to wait before the next look: so many seconds, or what is left until the limit."""
        return seconds if self._limit is None else min(seconds, max(0.0, self._limit - self.passed()))

    def gives_up(self, waited: float, *, looks: bool = True) -> bool:
        """Whether to stop waiting, having waited for so long; asks whether it is endless only if it `looks`."""
        self._clock.add(max(0.0, waited - self.passed()))  # in case the clock stands still
        if self.is_over() or (looks and self.is_endless()):
            self.end()
            return True
        return False

    def is_endless(self) -> bool:
        """Whether to stop waiting: the owner waits for this call, or may do so, or earlier owners keep failing."""
        moment, owner = now(), self.owner()
        if owner is not None:
            self._owners.add((owner.pid, owner.thread))
            if len(self._owners) > _OWNERS:
                return True
        above, guess = list(computing.get().values()), self._resting or Resting()
        self._resting = guess
        if self._blocks:
            here = [one for one in flights.all() if one.task is not None and one.thread == threading.get_ident()]
            above += [flight for flight in here if flight not in above]
        resting = guess.flights_of((flight for flight in flights.all() if flight not in above), moment)
        for flight in above + resting:
            if flight not in self._told:
                self._told.append(flight)
                _note(flight, self._place)
        reached = _reached(self._place, self._store, self._keys.keyring)
        if any(flight.place in reached for flight in above) or guess.is_parent(owner, moment):
            return True
        return guess.take_turn((flight for flight in resting if flight.place in reached), moment)


def detach_claim(flight: Flight) -> None:
    """Detach the claim of a computation: it is about to be published or abandoned."""
    with flights.notes:
        flight.claim = None


def _note(flight: Flight, place: str, *, over: bool = False) -> None:
    """Note in a computation that a call inside of it waits for the entry of a place."""
    with flights.notes:
        (flight.awaits.remove if over else flight.awaits.append)(place)
        if flight.claim is not None:
            try:
                flight.claim.amend(flight.awaits)
            except OSError as error:
                raise_if_interrupt(error)  # else a full disk: other processes do not see the wait


def _reached(place: str, store: Store, keyring: Keyring | None) -> set[str]:
    """All entries that waiting for one entry depends on: those that its owner waits for, and so on."""
    reached: set[str] = set()
    ahead = [place]
    while ahead and len(reached) < _FAR:
        place = ahead.pop()
        if place not in reached:
            reached.add(place)
            flight, owner = flights.get(place), store.owner_at(place, keyring)
            ahead += [*(flight.awaits if flight else ()), *(owner.awaits if owner else ())]
    return reached
