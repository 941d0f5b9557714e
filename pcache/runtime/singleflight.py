"""One computation of a key among the threads of this process, and the computations around the current one."""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

from pcache.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.storage.store import HeldClaim


class Flight:
    """One computation of this process that other threads may wait for. `stored` says whether there is a result.

    `lost` says that it was dropped while it was computed, so that calls made since then need another.

    It is under way while `busy` is held, which whoever computes holds in a `with`: an interrupt cannot leave it so.
    `claim` is what it holds while it computes, `awaits` are the entries that calls wait for which are made for it, and
    `turns` when calls took theirs that would not wait for it any longer.
    """

    __slots__ = ("awaits", "busy", "claim", "function_id", "lost", "native_id", "place", "stored", "thread", "turns")

    def __init__(self, place: str, function_id: bytes) -> None:
        self.place = place
        self.function_id = function_id
        self.claim: HeldClaim | None = None
        self.lost = False
        self.awaits: list[str] = []
        self.turns: list[float] = []
        self.native_id = threading.get_native_id()
        self.busy = threading.Lock()  # an Event takes 5 us to make
        self.stored = True
        self.thread = threading.get_ident()

    @property
    def over(self) -> bool:
        """Whether the computation has come to its end."""
        return not self.busy.locked()

    def wait(self, seconds: float | None) -> bool:
        """Wait for the end; return whether it came in time."""
        if not uninterrupted(self.busy.acquire, True, -1 if seconds is None else seconds):
            return False
        self.busy.release()
        return True


class Flights:
    """The computations under way in this process, by the place of the entry. Safe for threads; empty after a fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget them all, and a lock that a thread held which did not survive the fork."""
        self._lock = threading.RLock()  # reentrant: a signal handler may call a cached function
        self.notes = threading.RLock()  # of what flights say in their claims
        self._by_place: dict[str, Flight] = {}

    def enter(self, place: str, flight: Flight) -> Flight:
        """Return the flight of an entry: the given one, which is busy, unless another is under way."""
        with self._lock:
            other = self._by_place.get(place)
            if other is not None and not other.over:
                return other
            self._by_place[place] = flight  # also over one whose leader was interrupted before it could leave
            return flight

    def get(self, place: str) -> Flight | None:
        """The computation of an entry that is under way."""
        return self._by_place.get(place)

    def all(self) -> list[Flight]:
        """The computations that are under way."""
        with self._lock:
            return list(self._by_place.values())

    def drop(self, place: str) -> None:
        """Have nobody join the computation of an entry any more: its result is not wanted."""
        with self._lock:
            self._by_place.pop(place, None)

    def leave(self, place: str, flight: Flight) -> None:
        """Forget a flight, if it is that of the entry."""
        with self._lock:
            if self._by_place.get(place) is flight:
                del self._by_place[place]


flights = Flights()

# What is being computed up-stack, by the place of the entry: a call that needs itself does not wait, it computes.
computing: ContextVar[Mapping[str, Flight]] = ContextVar("pcache_computing", default=MappingProxyType({}))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=flights.reset)
