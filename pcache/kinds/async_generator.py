"""A cached asynchronous generator function: what `@cached` makes of an `async def` with `yield`."""

from __future__ import annotations

import time

from pcache.function import CachedFunction
from pcache.keys.dispatch import register_reducer
from pcache.kinds.refusal import refuse
from pcache.runtime.boundary import passes
from pcache.runtime.streaming import Streaming
from pcache.runtime.task_streams import TaskProduction, TaskReader, items
from pcache.runtime.tasks import Reading, Tasks
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.config.options import Options
    from pcache.entry.streams import Stored
    from pcache.errors import Miss
    from pcache.runtime.flow import Flow
    from pcache.runtime.production import Production


class CachedAsyncGenerator(Streaming, CachedFunction[Any, Any]):
    """An asynchronous generator function whose items are stored on disk, as they come.

    A call returns a fresh asynchronous iterator. Its items are stored when the last one was taken; what is not taken to
    its end is not stored. A hit reads them a chunk at a time, without blocking the event loop. Safe for tasks, threads,
    processes and forks: each consumer of a stream that is not stored yet has a run of its own.
    """

    __slots__ = ("_reading",)

    production = TaskProduction

    def __init__(self, function: Any, flow: Flow, options: Options) -> None:
        super().__init__(function, flow, options)
        self._reading = Reading(self._calls.find_version)

    def put(self, result: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store the items of an ordinary iterable as those of this call; return whether they are stored."""
        if hasattr(type(result), "__aiter__"):
            text = "put takes the items themselves, as in f.put([item async for item in items], ...)"
            raise TypeError(text)
        return super().put(iter(result), *args, **kwargs)

    def _consumer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], since_ns: int, stored: Any) -> Any:
        return items(TaskReader(self, args, kwargs, since_ns, stored))

    async def source_awaited(self, reader: TaskReader, miss: Miss | None = None) -> Stored | Production | None:
        """As `source_for`, without blocking the event loop."""
        tasks = Tasks()
        try:
            if not self._reading.done:
                await self._reading.end(tasks)
            started = time.perf_counter_ns()
            call = await tasks.of_arguments(self._calls.of, reader.args, reader.kwargs)
            return self._source_of(call, reader, miss, started)
        except BaseException as error:
            if tasks.threw(error) or passes(error, self._calls.label, self._options.unhashable):
                raise
        return None


def make(function: Any, flow: Flow, options: Options) -> CachedAsyncGenerator:
    """Cache an asynchronous generator function; raises `ConfigError` for options of functions with one result."""
    refuse(function, "asynchronous generator", options)
    return CachedAsyncGenerator(function, flow, options)


register_reducer(CachedAsyncGenerator, lambda function, _encoder: function.__wrapped__)
