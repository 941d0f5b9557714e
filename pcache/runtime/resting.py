"""Guess which idle threads and processes may be waiting for a call, as Python does not tell.

Python does not tell for whom a thread of a pool works, nor who holds a lock that a function wants. So a computation
whose thread has been idle for a minute, waiting for other threads, is assumed to wait for every call that waits in its
process, and a parent process that is idle for seconds to wait for its children. One call then computes for itself, a
second one after twice the time, and a third: usually unnecessarily, since functions also wait for their own threads.

Idle threads are recognized on Linux only.

The thread of an event loop is idle whenever none of its tasks has anything to do. Of a computation in a task it counts
where the task stands: in a lock, a queue, a group or another task for a minute, and not in reading a socket.
"""

from __future__ import annotations

import os
import threading

from pcache.runtime.singleflight import flights
from pcache.startup import TYPE_CHECKING, late
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.runtime import loops
    from pcache.runtime.singleflight import Flight
    from pcache.storage.claim_owner import Owner
else:
    loops = late("pcache.runtime.loops")

LOOK = 0.5  # seconds between two checks
PATIENCE = 5.0  # idle seconds after which a parent process may be waiting for a child that wants its result
WITH_THREADS = 12  # times as long for a thread of this process: usually it has nothing to do with the call
_TURNS = 3  # calls that may compute for themselves per computation: if it waits for none of them, more would not help
_MUCH = 0.02  # share of the time: a thread that runs for longer is not idle
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
# Kernel functions in which threads sleep that wait for others: locks, event loops, polling (joblib's).
_PLACES = ("futex", "ep_poll", "epoll", "nanosleep")


class Resting:
    """What a waiting call has observed of threads that may be waiting for it."""

    __slots__ = ("_seen", "_turn")

    def __init__(self) -> None:
        # By process and thread: since when it is idle, and its running time then. Of a task where it stands, by 0 and
        # the id of its flight.
        self._seen: dict[tuple[int, int], tuple[float, int]] = {}
        self._turn: Flight | None = None

    def flights_of(self, others: Iterable[Flight], moment: float) -> list[Flight]:
        """The computations of this process that are idle, waiting for other threads or tasks."""
        return [flight for flight in others if self._is_idle(flight, moment, WITH_THREADS * PATIENCE)]

    def _is_idle(self, flight: Flight, moment: float, patience: float) -> bool:
        if flight.task is None:
            here = flight.thread == threading.get_ident()
            return not here and self._has_rested(os.getpid(), flight.native_id, _PLACES, moment, patience)
        place, key = loops.standing(flight.task, flight.awaited), (0, id(flight))
        since, before = self._seen.setdefault(key, (moment, place))
        if not place or place != before:
            del self._seen[key]
            return False
        return moment - since >= patience

    def is_parent(self, owner: Owner | None, moment: float) -> bool:
        """Whether the owner is a parent or ancestor of this process, and is idle."""
        if owner is None or owner.pid == os.getpid() or not owner.is_here() or not _is_ancestor(owner.pid):
            return False
        return self._has_rested(owner.pid, owner.thread, (), moment, PATIENCE)

    def take_turn(self, resting: Iterable[Flight], moment: float) -> bool:
        """Whether the call may compute for itself what one of these computations may wait for; holds until `end`."""
        self._turn = next((flight for flight in resting if _takes_turn(flight, moment)), None)
        return self._turn is not None

    def end(self) -> None:
        """Release the turn."""
        if self._turn is not None:
            self._turn.turns.pop()
            self._turn = None

    def _has_rested(self, pid: int, thread: int, places: tuple[str, ...], moment: float, patience: float) -> bool:
        """Whether a thread has been idle for `patience` seconds, as far as this call has seen."""
        ran = _ran(pid, thread, places)
        since, before = self._seen.setdefault((pid, thread), (moment, ran or 0))
        if ran is None or (ran - before) / _TICK > _MUCH * max(moment - since, LOOK):
            del self._seen[pid, thread]
            return False
        return moment - since >= patience


def _takes_turn(flight: Flight, moment: float) -> bool:
    """Whether a call may go ahead of an idle computation: the first one at once, the next after twice the time."""
    with flights.notes:
        patience = WITH_THREADS * PATIENCE * 2 ** len(flight.turns)
        if len(flight.turns) >= _TURNS or (flight.turns and moment - flight.turns[-1] < patience):
            return False
        flight.turns.append(moment)
        return True


def _ran(pid: int, thread: int, places: tuple[str, ...]) -> int | None:
    """The running time of a sleeping thread in clock ticks; None if it does not sleep, or not in these places."""
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
