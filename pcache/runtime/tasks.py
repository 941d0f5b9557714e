"""How calls wait that run in a task of an event loop: without blocking its thread.

Cancelling comes in where a task waits, and is no failure of the cache: `threw` tells it. What takes long (hashing,
reading or writing a large content) is done by a thread of its own, which has ended when the call goes on, cancelled or
not. None of the program's pools of threads is used: all of them may be waiting for this very call.
"""

from __future__ import annotations

import os
import sys
from _contextvars import copy_context
from _thread import start_new_thread
from itertools import islice, starmap

from pcache.keys.file import File
from pcache.objects.lookup import look, module_of
from pcache.runtime.loops import current
from pcache.runtime.resting import LOOK
from pcache.runtime.singleflight import Busy, computing
from pcache.startup import TYPE_CHECKING, Any, TypeVar
from pcache.storage.store import DURABLE
from pcache.system.interrupts import is_interrupt, try_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping

    from pcache.runtime.deadlock import Wait
    from pcache.runtime.job import Job
    from pcache.runtime.singleflight import Flight
    from pcache.storage.store import Store

T = TypeVar("T")

LARGE = 256 << 10  # bytes that take a millisecond or two; a thread takes 0.1 ms
SELDOM = 10 * LOOK  # seconds between two looks of a wait for which another one looks
_MOST = 32  # threads at a time; what comes then is done at once
_MANY, _SOME = 4096, 16  # items that are many; items that are looked at
_DEPTH = 2  # levels of containers that are looked into
SMALL = frozenset((int, float, complex, bool, type(None)))
_BYTES = frozenset((bytes, bytearray, str))
_ITEMS = frozenset((list, tuple, set, frozenset, dict))
_HEAVY = frozenset(("numpy", "pandas", "polars", "pyarrow", "scipy", "torch"))  # packages whose objects hold much

_working: set[_Work] = set()
_background: set[Any] = set()  # tasks of asyncio


class _Work(Busy):
    """A call of a function in a thread."""

    __slots__ = ("_call", "outcome")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self._call = (copy_context().run, function, *args)
        self.outcome: tuple[Any, BaseException | None] = None, RuntimeError("the thread was stopped")

    def start(self) -> bool:
        """Start the thread; return whether there is one."""
        if sys.is_finalizing() or len(_working) >= _MOST:
            return False
        self.busy.acquire()
        _working.add(self)
        try:
            # As `interrupts.uninterrupted`: no interrupt comes between the start and its end.
            [_] = starmap(start_new_thread, ((self._run, ()),))
        except (RuntimeError, MemoryError) as error:
            _working.discard(self)
            if is_interrupt(error):
                raise
            return False
        return True

    def _run(self) -> None:
        try:
            self.outcome = try_call(*self._call)
        finally:
            _working.discard(self)
            self.busy.release()
            self.ring()

    def result(self) -> Any:
        """What the function returned; or raise its exception."""
        value, error = self.outcome
        if error is None:
            return value
        del self.outcome  # its frames keep arguments alive
        try:
            raise error
        finally:
            del error


class Tasks:
    """The way in which one call waits. For one task.

    `task` tells recursion; where it is not known what drives the coroutine, the call `can_wait` for nobody.
    """

    __slots__ = ("_loop", "_thrown", "can_wait", "has_large_arguments", "task")

    def __init__(self) -> None:
        self._loop = current()
        self._thrown: BaseException | None = None
        self.can_wait = self._loop is not None
        self.task: object = object() if self._loop is None else self._loop.task
        self.has_large_arguments = False

    def threw(self, error: BaseException) -> bool:
        """Whether an exception came from the loop while the call waited: it was cancelled, or its coroutine closed.

        Python raises a `GeneratorExit` anew in each coroutine that it closes.
        """
        if self._thrown is not error and type(error) is not GeneratorExit:
            return False
        self._thrown = None  # avoids a reference cycle through the frames
        return True

    async def read(self, store: Store, name: str, look: Callable[[Any], T], what: Any) -> T:
        """Look for a result: in a thread if the entry of that name is large."""
        return await self.in_thread(look, what) if store.is_large(name, LARGE) else look(what)

    async def of_arguments(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        """Call a function that hashes the arguments of a call: in a thread if these are large."""
        return await self.in_thread(function, args, kwargs) if are_large(args, kwargs) else function(args, kwargs)

    async def store(self, publish: Callable[[], None], job: Job, result: object, cost_ns: int) -> None:
        """Store a result: in a thread if that takes long, as it is large, not known to be small, or written through."""

        def look_and_publish() -> None:
            try_call(job.look_again, cost_ns)
            publish()

        if self.has_large_arguments:
            await self.in_thread(look_and_publish)
        elif cost_ns >= DURABLE or weigh(result, LARGE) >= LARGE:
            await self.in_thread(publish)
        else:
            publish()

    async def pause(self, wait: Wait, seconds: float) -> None:
        """Sleep."""
        await self._hear(self._loop.bell().wait(seconds))  # type: ignore[union-attr]  # only where calls can wait
        wait.slept(seconds)

    async def breathe(self) -> None:
        """Give other tasks a turn."""
        if self._loop is not None:
            await self._hear(self._loop.give_way())

    async def join(self, busy: Busy, seconds: float | None) -> bool:
        """Wait for the end of something, at most so long; return whether it ended."""
        bell = self._loop.bell()  # type: ignore[union-attr]  # only where calls can wait
        busy.bells[bell] = None
        try:
            if not busy.over:  # asked after the bell was hung up, which is rung after the end
                await self._hear(bell.wait(seconds))
        finally:
            busy.bells.pop(bell, None)
        return busy.over

    async def _hear(self, awaited: Awaitable[None]) -> None:
        """Wait for something of the loop's, and note what comes in meanwhile."""
        try:
            await awaited
        except BaseException:
            self._thrown = sys.exception()
            raise

    async def for_flight(self, wait: Wait, flight: Flight) -> bool:
        """Wait for another computation; return whether it ended, within the time limit and without a deadlock.

        Of the many tasks that may wait for one flight, one looks whether that is endless, and those that are part of
        computations themselves.
        """
        while self.can_wait:
            if flight.watcher is None:
                flight.watcher = wait
            try:
                looks = flight.watcher is wait or bool(computing.get())
                passed, seconds = wait.passed(), wait.until_look(LOOK if looks else SELDOM)
                if await self.join(flight, seconds):
                    wait.end()
                    return True
                if wait.gives_up(passed + seconds, looks=looks):
                    return False
            finally:
                if flight.watcher is wait:
                    flight.watcher = None
        return False

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread, or here if there is none to have.

        It runs to its end also if the task is cancelled meanwhile; that is raised afterwards.
        """
        work = _Work(function, args)
        if not self.can_wait or not work.start():
            return function(*args)
        while not work.over:
            try:
                await self.join(work, None)
            except GeneratorExit:
                work.wait(None)  # the loop is gone: in its thread nobody else waits
                raise
            except BaseException:
                if self._thrown is None:
                    raise
        if self._thrown is not None:
            raise self._thrown
        await self._hear(self._loop.cancel_now())  # type: ignore[union-attr]
        result: T = work.result()
        return result


def in_background(function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> bool:
    """Have the loop run a coroutine function in a task of its own; return whether there is a loop that is known.

    Nobody waits for it: a loop that ends cancels it. It has a copy of the context, and is part of no computation.
    """
    loop, context = current(), copy_context()
    if loop is None:
        return False
    context.run(computing.set, {})
    if loop.running is None:
        loop.library.lowlevel.spawn_system_task(function, *args, context=context)
    else:
        task = context.run(loop.running.create_task, function(*args))
        _background.add(task)  # asyncio keeps no task alive
        task.add_done_callback(_background.discard)
    return True


class Awaited:
    """A generator that is awaited."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps


class Reading(Busy):
    """Finding out which code a function runs, in a thread, as that may take as long as an import; once."""

    __slots__ = ("_find", "done")

    def __init__(self, find: Callable[[], object]) -> None:
        super().__init__()
        self._find = find
        self.done = False

    async def end(self, tasks: Tasks) -> None:
        """Do it, or wait for the task that does."""
        if self.busy.acquire(blocking=False):
            try:
                if not self.done:  # by a thread of another loop, since its caller looked
                    await tasks.in_thread(self._find)
            finally:
                self.done = True
                self.busy.release()
                self.ring()
        elif tasks.can_wait:
            await tasks.join(self, SELDOM)  # a forked child has no thread that reads


def are_large(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether hashing the arguments of a call is left to a thread."""
    return any(type(value) not in SMALL and weigh(value, 0) >= LARGE for value in (*args, *kwargs.values()))


def weigh(value: Any, unknown: int, depth: int = _DEPTH) -> int:
    """About how many bytes a value holds, without running its code; `unknown` for what cannot be looked into."""
    kind = type(value)
    if kind in SMALL:
        return 32
    if kind in _BYTES:
        return len(value)
    if kind in _ITEMS:
        return _weigh_items(value.values() if kind is dict else value, len(value), unknown, depth)
    if kind is File:
        return LARGE
    if module_of(kind).partition(".")[0] in _HEAVY:
        size = getattr(value, "nbytes", None)
        return size if type(size) is int else LARGE
    if type(members := look(value, "__dict__")) is dict:
        return max(unknown, _weigh_items(members.values(), len(members), unknown, depth))
    return unknown


def _weigh_items(items: Iterable[Any], count: int, unknown: int, depth: int) -> int:
    if count > _MANY:
        return LARGE
    if not depth or not count:
        return unknown if count else 0
    some = [weigh(item, unknown, depth - 1) for item in islice(items, _SOME)]
    return 32 * count + sum(some) * count // len(some)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_working.clear)
    os.register_at_fork(after_in_child=_background.clear)
