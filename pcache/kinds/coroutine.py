"""A cached coroutine function: what `@cached` makes of an `async def`.

A call returns a coroutine. All that is done is done when that runs, as with the body of any coroutine: what is around
the `await` (`disabled()`, a computation) counts. Hits read inline, since a thread takes longer; large contents are
hashed and read in a thread. All other methods are those of functions, and do not wait.
"""

from __future__ import annotations

import time

from pcache.entry.reader import Loaded
from pcache.errors import LoadingItself, Miss, UnhashableArgument, without_tracebacks
from pcache.function import CachedFunction
from pcache.keys.dispatch import register_reducer
from pcache.objects.lookup import qualname_of
from pcache.runtime.boundary import passes
from pcache.runtime.calls import Answer, Call
from pcache.runtime.likeness import CoroutineLikeness
from pcache.runtime.modes import mode
from pcache.runtime.singleflight import innermost
from pcache.runtime.tasks import LARGE, SMALL, Awaited, Reading, Tasks, weigh
from pcache.startup import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar, late

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pcache.config.options import Options
    from pcache.runtime import answers
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job
    from pcache.runtime.misses import Deep, Misses
else:
    answers = late("pcache.runtime.answers")

P = ParamSpec("P")
T = TypeVar("T")

_clock = time.perf_counter_ns


class _Missed(NamedTuple):
    """A call that missed; `deep` if it is computed deep inside of others."""

    job: Job
    miss: Miss
    misses: Misses
    deep: Deep | None


class CachedCoroutine(CoroutineLikeness, CachedFunction[P, "Coroutine[Any, Any, T]"], Generic[P, T]):
    """A coroutine function whose results are stored on disk.

    Safe for tasks, threads and processes: if several need the same missing result, one computes it and the others wait,
    without blocking their event loops. It computes in the task of its caller. When that is cancelled, another that
    waits takes over.
    """

    __slots__ = ("_reading", "_shown")

    def __init__(self, function: Callable[P, Coroutine[Any, Any, T]], flow: Flow, options: Options) -> None:
        super().__init__(function, flow, options)
        self._shown = qualname_of(function) or "coroutine"
        vars(self).setdefault("__name__", self._shown)  # `inspect` asks nothing of what has no name: a partial object
        self._reading = Reading(self._calls.find_version)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        if self._flow.passive:
            return self.__wrapped__(*args, **kwargs)
        values = None
        try:
            values = self._bind(*args, **kwargs)
        except TypeError as error:  # the call does not fit the signature: calling the function says so
            if not isinstance(error, UnhashableArgument):
                return self.__wrapped__(*args, **kwargs)
        coroutine: Any = self._awaited(args, kwargs, values)
        coroutine.__qualname__ = self._shown  # warnings and tasks show it
        return coroutine  # type: ignore[no-any-return]

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Return a coroutine that computes this call anew, replaces its stored result and returns it."""
        values = None
        try:
            values = self._bind(*args, **kwargs)
        except UnhashableArgument:
            pass  # raised where it is awaited
        coroutine: Any = self._awaited(args, kwargs, values, refreshes=True)
        coroutine.__qualname__ = self._shown
        return coroutine  # type: ignore[no-any-return]

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Answer[T]]:  # type: ignore[override]
        """Return a coroutine that calls the function, and returns the result with how it was got."""
        return answers.awaited(CachedCoroutine.__call__, self, args, kwargs)

    async def _awaited(  # noqa: PLR0912, PLR0915 - flat, as a hit pays for calls
        self, args: tuple[Any, ...], kwargs: dict[str, Any], values: tuple[Any, ...] | None, *, refreshes: bool = False
    ) -> T:
        # As `CachedFunction.__call__`: everything is guarded but the function's own call, which comes last.
        found: Loaded | None = None
        missed: _Missed | None = None
        tasks: Tasks | None = None
        asked = "refreshing" if refreshes else mode.get()
        if asked != "disabled":
            try:
                if values is None:
                    values = self._bind(*args, **kwargs)  # fails as it did before, now inside of the guard
                started, large = _clock(), dict[Any, Any]()
                if not self._reading.done:
                    tasks = Tasks()
                    await self._reading.end(tasks)
                for value in values:
                    if type(value) not in SMALL and weigh(value, 0) >= LARGE:
                        tasks = tasks or Tasks()
                        tasks.has_large_arguments = True
                        break
                if tasks is not None and tasks.has_large_arguments:
                    address = await tasks.in_thread(self._address, values, large)
                else:
                    address = self._address(values, large)
                since_ns = time.time_ns() if asked or self._refresh else 0
                try:
                    if since_ns:
                        raise Miss("refreshed")
                    if self._flow.store.is_large(address.name, LARGE):
                        tasks = tasks or Tasks()
                        found = await tasks.in_thread(self._flow.look_up, address)
                    else:
                        found = self._flow.look_up(address)
                except Miss as error:
                    miss = without_tracebacks(error)
                else:
                    self._count(found, started, values)
                    return found.value  # type: ignore[no-any-return]
                if type(miss) is not LoadingItself:
                    call = Call(args, kwargs, values, address, large)
                    found = None if since_ns else self._found_earlier(call, started)
                    missed = None if found else self._missed(call, miss, since_ns, started)
            except RecursionError:
                missed = None  # the stack has no room for anything else
            except BaseException as error:
                if tasks is not None and tasks.threw(error):
                    raise
                if not self._is_over() and passes(error, self._calls.label, self._options.unhashable):
                    raise
        if found is not None:
            return found.value  # type: ignore[no-any-return]
        if missed is None:
            return await self.__wrapped__(*args, **kwargs)
        job, miss, misses, deep = missed
        if deep is None:
            return await self._computed(misses, job, miss, tasks or Tasks())
        try:
            result = await self.__wrapped__(*args, **kwargs)
        except BaseException:
            misses.drop(job, deep)
            raise
        return misses.keep(job, miss, deep, result)  # type: ignore[no-any-return]

    def _missed(self, call: Call, miss: Miss, since_ns: int, began_ns: int) -> _Missed | None:
        """What a call that missed is computed with; None if it is to be computed without the cache."""
        misses, job = self._flow.misses, self._job(call, since_ns, began_ns)
        deep = misses.begin(job) if job.is_deep else None
        return None if job.is_deep and deep is None else _Missed(job, miss, misses, deep)

    async def _computed(self, misses: Misses, job: Job, miss: Miss, tasks: Tasks) -> T:
        """Compute a missing result, as `Misses.compute` does."""
        run, around = job.run, innermost()
        try:
            try:
                return await Awaited(misses.steps(job, miss, tasks))  # type: ignore[no-any-return]
            finally:
                misses.count_time(job, around)
                misses.ledger.look(time.time_ns())
        except BaseException as error:
            if run.raises(error) or tasks.threw(error) or passes(error, job.name):
                raise
        if run.done or run.error is not None:
            return run.end()  # type: ignore[no-any-return]
        return await job.function(*job.args, **job.kwargs)  # type: ignore[no-any-return]

    if TYPE_CHECKING:

        def get(self, /, *args: P.args, **kwargs: P.kwargs) -> T: ...  # type: ignore[override]
        def put(self, result: T, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...  # type: ignore[override]


register_reducer(CachedCoroutine, lambda function, _encoder: function.__wrapped__)
