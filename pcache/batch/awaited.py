"""What `@cached.batch(over=...)` makes of a coroutine function."""

from __future__ import annotations

from pcache.batch.function import BatchFunction
from pcache.batch.items import steps
from pcache.keys.dispatch import register_reducer
from pcache.objects.lookup import qualname_of
from pcache.runtime.boundary import passes
from pcache.runtime.likeness import CoroutineLikeness
from pcache.runtime.tasks import Awaited, Tasks
from pcache.startup import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

P = ParamSpec("P")
R = TypeVar("R")


class AwaitedBatch(CoroutineLikeness, BatchFunction[P, R]):
    """A coroutine function of many items, each of whose results is stored. Safe for tasks, threads and processes.

    Many items are looked up, and all are stored, by a thread, so that the event loop is not blocked.
    """

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        made: Any = self._awaited(args, kwargs)
        made.__qualname__ = qualname_of(self.__wrapped__)  # warnings and tasks show it
        return made  # type: ignore[no-any-return]

    async def _awaited(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        tasks, call = Tasks(), None
        function: Any = self.of_one
        wrapped: Any = self.__wrapped__
        try:
            if not function._reading.done:
                await function._reading.end(tasks)
            call = self._call(args, kwargs)
            if call is not None:
                call.tasks = tasks
                return await Awaited(steps(call, self._most))
        except BaseException as error:
            if tasks.threw(error) or (passes(error, function.name) if call is None else self._is_to_raise(error, call)):
                raise
        return call.returned if call is not None and call.has_returned else await wrapped(*args, **kwargs)


register_reducer(AwaitedBatch, lambda function, _encoder: function.__wrapped__)
