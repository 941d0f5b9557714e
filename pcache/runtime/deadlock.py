"""Whether waiting could deadlock, or earlier owners keep failing, and how a call stops waiting.

Only who proves it is waited for: whose record in the claim is authentic. Anybody who can write into the directory could
hold a lock there. And an owner that was stopped (SIGSTOP, a debugger) is waited for a while, not for ever.

A call that waits says so with the computations that it is made for: in memory, and in the claims which these hold, for
other processes to see. Now and then it looks where that leads: from the result that it waits for to what its owner
waits for, and on. If that comes back to a computation of its own, nobody in the circle can go on, and the call computes
for itself.

Not every wait is seen. Python does not tell for whom a thread of a pool works, nor who holds a lock that a function
wants. So a computation whose thread has rested for a minute, waiting for other threads, is taken to wait for every call
that waits in its process, and a parent that rests for seconds for its children. One call then computes for itself, a
second one after twice the time, and a third: most often in vain, since functions also rest that wait for threads of
their own.

Where one owner after the other ends without a result (it raises, or cannot be stored), waiting in a queue would take as
long as all of them together: who has seen two of them go does not wait for the third.

Nothing of this is done before a call has waited for half a second. Resting is known on Linux only.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pcache.runtime.singleflight import computing, flights
from pcache.system.clock import Stopwatch, now
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from typing import Self

    from pcache.runtime.singleflight import Flight
    from pcache.signing.keyring import Keyring
    from pcache.storage.claim_owner import Owner
    from pcache.storage.directory import Directory
    from pcache.storage.store import Store

LOOK = 0.5  # seconds between two looks
PROOF = (
    1.0  # seconds after which a claim is held by nobody whom we would wait for; its owner signs it within a millisecond
)
STOPPED = 600.0  # seconds for which an owner that was stopped is waited for
PATIENCE = 5.0  # seconds of rest after which a parent process may be waiting for a child that wants its result
_WITH_THREADS = 12  # times as long for a thread of this process: most often it has nothing to do with the call
_TURNS = 3  # calls that may go ahead of one computation: if it waits for none of them, more would not help either
_MUCH = 0.02  # of the time in which a thread runs: it does not rest
_OWNERS = 2  # that came to no result, after which nobody waits for the next one
_FAR = 1000  # entries on the way of a circle
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
# Where threads sleep that wait for other threads: locks, event loops, pauses between two looks (joblib's).
_PLACES = ("futex", "ep_poll", "epoll", "nanosleep")


class Wait:
    """What one call waits for, from its first look until it has its result."""

    __slots__ = ("_clock", "_keys", "_limit", "_owners", "_place", "_rests", "_state", "_store", "_told", "_turn")

    def __init__(self, place: str, directory: Directory, limit: float | None = None) -> None:
        self._place = place
        self._store, self._keys = directory.store, directory.keys
        self._limit = limit
        self._clock = Stopwatch()
        self._state = ("unproven", 0.0)  # what is wrong with the holder of the claim, and since when
        self._owners: set[tuple[int, int]] = set()  # process and thread
        self._told: list[Flight] = []
        self._rests: dict[tuple[int, int], tuple[float, int]] = {}  # threads: since when, and what they had run then
        self._turn: Flight | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self._turn is not None:
            self._turn.turns.pop()

    def passed(self) -> float:
        """The seconds that the call has waited so far."""
        return self._clock.passed()

    def pause(self, seconds: float) -> None:
        """Sleep."""
        self._clock.pause(seconds)

    def is_over(self) -> bool:
        """Whether the call has waited as long as it was asked to."""
        return self._limit is not None and self.passed() >= self._limit

    def owner(self) -> Owner | None:
        """Who holds the claim and can prove it."""
        return self._store.owner_at(self._place, self._keys.keyring)

    def is_in_vain(self, owner: Owner | None) -> str:
        """Why the holder of the claim is not waited for any longer; empty as long as they are."""
        passed = self.passed()
        if owner is None or owner.is_dead():
            state, patience = "unproven", PROOF
        else:
            state, patience = "stopped" if owner.is_stopped() else "", STOPPED
        if state != self._state[0]:
            self._state = (state, passed)
        return state if passed - self._state[1] >= patience else ""

    def end(self) -> None:
        """Say that this call does not wait any more."""
        for flight in self._told:
            _note(flight, self._place, over=True)
        self._told.clear()

    def for_flight(self, flight: Flight) -> bool:
        """Wait for another thread; return whether it came to an end, in time and without a circle."""
        while True:
            passed = self.passed()
            seconds = LOOK if self._limit is None else min(LOOK, max(0.0, self._limit - passed))
            if flight.wait(seconds):
                break
            self._clock.add(max(0.0, passed + seconds - self.passed()))  # where the clock stands
            if self.is_over() or self.is_endless():
                self.end()
                return False
        self.end()
        return True

    def is_endless(self) -> bool:
        """Whether to wait no longer: who computes waits for this call, or may do so, or one after the other fails."""
        moment, owner = now(), self.owner()
        if owner is not None:
            self._owners.add((owner.pid, owner.thread))
            if len(self._owners) > _OWNERS:
                return True
        above = list(computing.get().values())
        resting = [flight for flight in flights.all() if flight not in above and self._rests_here(flight, moment)]
        for flight in above + resting:
            if flight not in self._told:
                self._told.append(flight)
                _note(flight, self._place)
        reached = _reached(self._place, self._store, self._keys.keyring)
        if any(flight.place in reached for flight in above) or self._is_for_a_parent(owner, moment):
            return True
        self._turn = next(
            (flight for flight in resting if flight.place in reached and _takes_turn(flight, moment)), None
        )
        return self._turn is not None

    def _rests_here(self, flight: Flight, moment: float) -> bool:
        """Whether a computation of another thread waits for other threads."""
        if flight.thread == threading.get_ident():
            return False
        return self._has_rested(os.getpid(), flight.native_id, _PLACES, moment, _WITH_THREADS * PATIENCE)

    def _is_for_a_parent(self, owner: Owner | None, moment: float) -> bool:
        """Whether a process that started this one, or that one, computes what is waited for, and rests meanwhile."""
        if owner is None or owner.pid == os.getpid() or not owner.is_here() or not _is_ancestor(owner.pid):
            return False
        return self._has_rested(owner.pid, owner.thread, (), moment, PATIENCE)

    def _has_rested(self, pid: int, thread: int, places: tuple[str, ...], moment: float, patience: float) -> bool:
        """Whether a thread has rested for so many seconds, as far as this call has seen."""
        ran = _ran(pid, thread, places)
        since, before = self._rests.setdefault((pid, thread), (moment, ran or 0))
        if ran is None or (ran - before) / _TICK > _MUCH * max(moment - since, LOOK):
            del self._rests[pid, thread]
            return False
        return moment - since >= patience


def detach_claim(flight: Flight) -> None:
    """Detach the claim of a computation: it is about to be published or abandoned."""
    with flights.notes:
        flight.claim = None


def _note(flight: Flight, place: str, *, over: bool = False) -> None:
    """Say with a computation that a call waits which is made for it."""
    with flights.notes:
        (flight.awaits.remove if over else flight.awaits.append)(place)
        if flight.claim is not None:
            try:
                flight.claim.amend(flight.awaits)
            except OSError as error:
                raise_if_interrupt(error)  # else a full disk: other processes do not see it


def _reached(place: str, store: Store, keyring: Keyring | None) -> set[str]:
    """Where waiting for an entry leads: to those that its owner waits for, and on."""
    reached: set[str] = set()
    ahead = [place]
    while ahead and len(reached) < _FAR:
        place = ahead.pop()
        if place not in reached:
            reached.add(place)
            flight, owner = flights.get(place), store.owner_at(place, keyring)
            ahead += [*(flight.awaits if flight else ()), *(owner.awaits if owner else ())]
    return reached


def _takes_turn(flight: Flight, moment: float) -> bool:
    """Whether a call may compute what a resting thread computes: the first one, then one after twice the time."""
    with flights.notes:
        patience = _WITH_THREADS * PATIENCE * 2 ** len(flight.turns)
        if len(flight.turns) >= _TURNS or (flight.turns and moment - flight.turns[-1] < patience):
            return False
        flight.turns.append(moment)
        return True


def _ran(pid: int, thread: int, places: tuple[str, ...]) -> int | None:
    """For how long a sleeping thread has run, in clock ticks; None if it does not sleep, or not in these places."""
    folder = f"/proc/{pid}/task/{thread}"
    try:
        with open(f"{folder}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open(f"{folder}/wchan") as file:
            place = file.read()
        sleeps = fields[0] == b"S" and (not places or place == "0" or any(name in place for name in places))
        return int(fields[11]) + int(fields[12]) if sleeps else None
    except OSError as error:
        raise_if_interrupt(error)
        return None
    except (IndexError, ValueError):
        return None


def _is_ancestor(pid: int) -> bool:
    parent = os.getppid()
    while parent > 1 and parent != pid:
        try:
            with open(f"/proc/{parent}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError as error:
            raise_if_interrupt(error)
            return False
        except (IndexError, ValueError):
            return False
    return parent == pid
