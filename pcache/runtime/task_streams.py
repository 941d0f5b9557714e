"""Streams of asynchronous generators: one run for one consumer, without blocking the event loop.

Only the consumer that began a run has its generator go on: what a generator has entered between two items (a time
limit, a group of tasks, a connection) may belong to the task that did. So nobody joins: who asks for a stream while it
is being produced computes for itself. What takes long, large items above all, is pickled, read and written by a thread.
"""

from __future__ import annotations

import sys
import time

from pcache.runtime.consuming import Reader
from pcache.runtime.production import ALONE, ENDED, ITEM, Production
from pcache.runtime.singleflight import computing, leave
from pcache.runtime.tasks import LARGE, Tasks, are_large, weigh
from pcache.startup import TYPE_CHECKING, Any
from pcache.storage.store import DURABLE
from pcache.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from pcache.errors import Miss

_clock = time.perf_counter_ns
_NOTHING = object()


class TaskProduction(Production):
    """One run of an asynchronous generator function, which its one consumer awaits."""

    _left_behind: Any = None  # the generator, once its consumer has left

    def join(self, reader: Any) -> bool:
        """Add the consumer; return whether it is the first one."""
        return not self._consumers and super().join(reader)

    async def go_on(self, tasks: Tasks) -> tuple[int, Any]:
        """Have the generator go on, as `pull`."""
        generator: Any = self._generator
        if self._is_over or self._is_halfway or generator is None or self.busy.locked():
            self.dismiss()
            return ALONE, None
        with self.busy:
            return await self._go_on(generator, tasks)

    async def _go_on(self, generator: AsyncGenerator[Any, Any], tasks: Tasks) -> tuple[int, Any]:
        around, started, ended, item = computing.get(), self._starts(), False, None
        self.task, self.awaited = tasks.task, generator
        uninterrupted(computing.set, {**around, self.place: self})
        try:
            item = await anext(generator)
        except StopAsyncIteration:
            ended = True
        except BaseException:
            self._failed(_clock() - started)
            raise
        finally:
            leave(around, self)
            self.awaited = None
        took_ns = _clock() - started
        self._took_ns += took_ns
        if self._takes_long(item, ended=ended):
            await tasks.in_thread(self._guarded, self._finish if ended else self.keep, item)
        else:
            self._guarded(self._finish if ended else self.keep, item)
        self._stored(around, _clock() - started, took_ns)
        if ended:
            self._end()
            return ENDED, None
        return ITEM, item

    def _takes_long(self, item: Any, *, ended: bool) -> bool:
        """Whether storing an item, or the end, is left to a thread."""
        if self.spool is None:
            return False
        if ended:
            return self._took_ns >= DURABLE or are_large(self.job.args, self.job.kwargs)
        return weigh(item, 0) >= LARGE

    def _close_generator(self, generator: Any) -> None:
        self._left_behind = generator

    async def aclose(self) -> None:
        """Close the generator of a run that was given up."""
        generator, self._left_behind = self._left_behind, None
        if generator is None or generator.ag_running:  # a loop that ends closes it at the same time
            return
        around = computing.get()
        uninterrupted(computing.set, {**around, self.place: self})
        try:
            await generator.aclose()
        finally:
            leave(around, self)


class TaskReader(Reader):
    """The place of a consumer that awaits its items."""

    of: Any

    def __init__(self, *place: Any) -> None:
        super().__init__(*place)
        self._miss: Miss | None = None  # why another source is needed
        self._closing: list[TaskProduction] = []
        self._plain: Any = None  # the function's own, without the cache

    async def begin_awaited(self) -> None:
        """As `begin`."""
        if self.source is None:
            self.source = await self.of.source_awaited(self)

    async def step_awaited(self) -> bool:
        """As `step`."""
        tasks = Tasks()
        while not await self._find(tasks):
            source = self.source
            if not isinstance(source, TaskProduction):
                return False
            if self.take(source, *await source.go_on(tasks)):
                return True
        return True

    async def _find(self, tasks: Tasks) -> bool:
        """As `find`, in a thread where a chunk is large."""
        source = self.source
        if source is not None and self.chunk < len(source.rows) and source.rows[self.chunk].raw_length >= LARGE:
            is_there = await tasks.in_thread(self.find)
        else:
            is_there = self.find()
        if self._miss is not None:
            miss, self._miss = self._miss, None
            self.source = await self.of.source_awaited(self, miss)
        return is_there

    def look_anew(self, miss: Miss) -> None:
        """Have the task find another source: that takes a claim, which a thread may hold for longer than the task."""
        self.source, self._miss = None, miss

    def _leave(self) -> None:
        if isinstance(self.source, TaskProduction):
            self._closing.append(self.source)
        super()._leave()

    async def aclose(self) -> None:
        """Leave the source, and close what is left of generators."""
        self.close()
        while self._closing:
            await self._closing.pop().aclose()
        if self._plain is not None and not self._plain.ag_running:
            await self._plain.aclose()

    async def has_next(self, sent: Any, thrown: BaseException | None) -> bool:
        """Put what comes next into `box`, in answer to what was sent or thrown; return whether there is anything."""
        if self._plain is None:
            if sent is None and thrown is None and (self.box or await self.step_awaited()):
                return True
            if self.is_over and sent is None and thrown is None:
                return False
            self._plain = await self._plain_awaited()
        try:
            item = await (self._plain.asend(sent) if thrown is None else self._plain.athrow(thrown))
        except StopAsyncIteration:
            return False
        self.box.append(item)
        return True

    async def _plain_awaited(self) -> AsyncGenerator[Any, Any]:
        """As `plain`."""
        generator = self.handed_over()
        if generator is None:
            generator = self.of.__wrapped__(*self.args, **self.kwargs)
            for _ in range(self.given):
                if await anext(generator, _NOTHING) is _NOTHING:
                    break
        return generator  # type: ignore[no-any-return]


async def items(reader: TaskReader, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> AsyncGenerator[Any, Any]:
    """The items of a call; from where something is sent or thrown, those of the function's own generator."""
    box, sent, thrown = reader.box, None, None
    try:
        await reader.begin_awaited()
        while (box and sent is None and thrown is None) or await reader.has_next(sent, thrown):
            sent = thrown = None
            try:
                sent = yield box.popleft()
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever the caller throws, the function may catch
                thrown = error
    finally:
        if not is_finalizing():
            try:
                reader.close()  # first: what is awaited may never come
            finally:
                await reader.aclose()
