"""Event loops: which task runs, bells that wake one from any thread, and where a task stands.

asyncio, and trio where the program has loaded it; whatever else drives a coroutine cannot wait. Nothing is bound to a
loop for longer than a wait lasts, and no library is loaded here.
"""

from __future__ import annotations

import sys

from pcache.startup import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    class Bell(Protocol):
        """Wakes one task once."""

        def ring(self) -> None:
            """Wake the task, from any thread; nothing happens if its loop has ended."""

        async def wait(self, seconds: float | None) -> None:
            """Wait for the bell, at most so long; with None even if the task is cancelled, where that is possible."""


# Modules in which a task waits for other tasks or threads, and functions in them that wait for nobody.
_TOGETHER = frozenset(
    "asyncio.locks asyncio.queues asyncio.taskgroups asyncio.tasks asyncio.threads asyncio.staggered asyncio.runners"
    " trio._sync trio._channel trio._core._parking_lot trio._core._run trio._threads".split()
)
_ALONE = frozenset(("sleep", "sleep_until", "sleep_forever"))
_TASKS = frozenset(("Task", "_GatheringFuture"))  # what an asyncio task awaits without a frame of Python
_INNER = ("cr_await", "gi_yieldfrom", "ag_await")
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_INNERMOST = 3  # frames of the library that are looked at: trio's traps are called by what waits


class _AsyncioBell:
    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._future = loop.create_future()

    def ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._rung)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits in it any more

    def _rung(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        timer = None if seconds is None else self._loop.call_later(seconds, self._rung)
        try:
            await self._future
        finally:
            if timer is not None:
                timer.cancel()


class _TrioBell:
    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def ring(self) -> None:
        try:
            self._token.run_sync_soon(self._event.set)
        except self._trio.RunFinishedError:
            pass  # the loop is closed, and nobody waits in it any more

    async def wait(self, seconds: float | None) -> None:
        scope = self._trio.CancelScope(shield=True) if seconds is None else self._trio.move_on_after(seconds)
        with scope:
            await self._event.wait()


class Loop(NamedTuple):
    """The loop that runs the current coroutine, by its library, and the task that it is part of."""

    library: Any
    task: object
    running: Any  # asyncio's loop

    def bell(self) -> Bell:
        """A bell for this task."""
        return _TrioBell(self.library) if self.running is None else _AsyncioBell(self.running)

    async def give_way(self) -> None:
        """Let other tasks run; raises a cancellation."""
        await (self.library.sleep(0) if self.running is not None else self.library.lowlevel.checkpoint())

    async def cancel_now(self) -> None:
        """Raise a cancellation that came while it was held off, where the loop has not raised it."""
        if self.running is None:
            await self.library.lowlevel.checkpoint_if_cancelled()


def current() -> Loop | None:
    """The loop that the calling coroutine runs in; None if it is not known."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and (running := asyncio._get_running_loop()) is not None:
        task = asyncio.current_task(running)
        if task is not None:
            return Loop(asyncio, task, running)
    trio: Any = sys.modules.get("trio")
    if trio is not None:
        try:
            return Loop(trio, trio.lowlevel.current_task(), None)
        except RuntimeError:
            pass  # no task of trio's
    return None


def standing(task: object, awaited: object) -> int:
    """A number for the place in which a task waits for other tasks or threads; 0 if it does not.

    `awaited` is the coroutine that the task awaits. Asked from any thread, so a task may run on meanwhile.
    """
    frames = list(_frames_of(awaited))
    awaits = getattr(task, "_fut_waiter", None)
    if type(awaits).__name__ not in _TASKS:
        innermost = [(frame.f_globals.get("__name__"), frame.f_code.co_name) for frame in frames[-_INNERMOST:]]
        if not any(module in _TOGETHER for module, _ in innermost) or any(name in _ALONE for _, name in innermost):
            return 0
    return hash((id(awaits), *((id(frame), frame.f_lasti) for frame in frames))) or 1


def _frames_of(awaited: object) -> Iterator[Any]:
    """The frames of a coroutine and of those that it awaits, from the outside in."""
    while awaited is not None:
        frame = next((found for name in _FRAMES if (found := getattr(awaited, name, None)) is not None), None)
        if frame is not None:
            yield frame
        awaited = next((found for name in _INNER if (found := getattr(awaited, name, None)) is not None), None)
