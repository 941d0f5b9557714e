"""Lets the threads and tasks of this process compute a key once, and keeps track of the computations around a call."""

from __future__ import annotations

import os
import sys
import threading
from _contextvars import ContextVar
from types import MappingProxyType

from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.runtime.loops import Bell
    from pcache.storage.store import HeldClaim


class Busy:
    """Something under way while `busy` is held. Threads wait for that lock; tasks leave a bell, and are rung for."""

    __slots__ = ("bells", "busy")

    def __init__(self) -> None:
        self.busy = threading.Lock()  # an Event takes 5 us to make
        self.bells: dict[Bell, None] = {}

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return not self.busy.locked()

    def wait(self, seconds: float | None) -> bool:
        """Block this thread until the end; return whether it ended in time."""
        if not uninterrupted(self.busy.acquire, True, -1 if seconds is None else seconds):
            return False
        self.busy.release()
        return True

    def ring(self) -> None:
        """Wake the tasks that wait; after `busy` was released, so that who comes later sees that it is over."""
        for bell in list(self.bells):
            bell.ring()


class Flight(Busy):
    """One computation of this process that other threads and tasks may wait for.

    `stored` says whether there is a result, `lost` that it was invalidated meanwhile, so that calls made since then
    need another, and `cancelled` that its task was cancelled while it computed, so that another one takes over.

    It is under way while `busy` is held; its thread holds that in a `with`, so that an interrupt releases it. `task` is
    the task of an event loop that computes, None for a call that blocks its thread; it awaits `awaited`. `watcher` is
    the wait that looks now and then whether waiting for it could be endless, for those of other tasks.

    `claim` is the claim it holds, `awaits` are the entries that calls inside of it wait for, and `turns` the times at
    which other calls stopped waiting for it. `nested_ns` is the time of the cached calls inside of it that missed.
    """

    __slots__ = (
        "awaited",
        "awaits",
        "cancelled",
        "claim",
        "function_id",
        "lost",
        "native_id",
        "nested_ns",
        "place",
        "stored",
        "task",
        "thread",
        "turns",
        "watcher",
    )

    def __init__(self, place: str, function_id: bytes, task: object = None) -> None:
        self.place = place
        self.function_id = function_id
        self.claim: HeldClaim | None = None
        self.lost = False
        self.nested_ns = 0
        self.awaits: list[str] = []
        self.turns: list[float] = []
        self.native_id = threading.get_native_id()
        self.busy = threading.Lock()  # as `Busy` does, without its call
        self.bells = {}
        self.stored = True
        self.cancelled = False
        self.thread = threading.get_ident()
        self.task = task
        self.awaited: object = None
        self.watcher: object = None

    @property
    def rests(self) -> bool:
        """Whether nothing runs, though it is not over: a generator, between two items."""
        return False


class Flights:
    """The computations under way in this process, by the place of the entry. Safe for threads; empty after a fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget them all, and the lock, which a thread may have held that did not survive the fork."""
        self._lock = threading.RLock()  # reentrant: a signal handler may call a cached function
        self.notes = threading.RLock()  # guards what flights write into their claims
        self._by_place: dict[str, Flight] = {}

    def enter(self, place: str, flight: Flight) -> Flight:
        """Return the flight of an entry: the given one, which is busy, unless another is under way."""
        with self._lock:
            other = self._by_place.get(place)
            if other is not None and not other.over:
                return other
            self._by_place[place] = flight  # replaces one whose thread was interrupted before it could leave
            return flight

    def get(self, place: str) -> Flight | None:
        """The computation of an entry that is under way."""
        return self._by_place.get(place)

    def all(self) -> list[Flight]:
        """The computations that are under way."""
        with self._lock:
            return [flight for flight in self._by_place.values() if not flight.rests]

    def drop(self, place: str) -> None:
        """Let no more threads wait for the computation of an entry: its result is invalid."""
        with self._lock:
            self._by_place.pop(place, None)

    def leave(self, place: str, flight: Flight) -> None:
        """Forget a flight, if it is still that of the entry."""
        with self._lock:
            if self._by_place.get(place) is flight:
                del self._by_place[place]


flights = Flights()

# The computations around the current call, by the place of the entry: a recursive call computes and does not wait.
computing: ContextVar[Mapping[str, Flight]] = ContextVar("pcache_computing", default=MappingProxyType({}))


def innermost() -> Flight | None:
    """The computation that the current call is part of."""
    around = list(computing.get().values())
    return around[-1] if around else None


def leave(around: Mapping[str, Flight], *ended: Flight) -> None:
    """Note that what follows is not part of computations of a task, unless they were among those around it before.

    Not by a token: coroutines that are driven by hand in one context end in any order, and one that is thrown away is
    closed in any context.
    """
    inside = computing.get()
    gone = {one.place for one in ended if inside.get(one.place) is one and around.get(one.place) is not one}
    if gone:
        computing.set({place: one for place, one in inside.items() if place not in gone})


if sys.platform != "win32":
    os.register_at_fork(after_in_child=flights.reset)
