"""Call a cached function and say how its result was got: what `f.call(...)` does."""

from __future__ import annotations

import time

from pcache.runtime.calls import Answer
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.entry.reader import Address, Loaded
    from pcache.runtime.calls import Call
    from pcache.runtime.job import Job


class _Watched:
    """A cached function as its `__call__` knows it, for one call: keeps what was found, and the job if it missed."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._flow = _WatchedFlow(function._flow, self)
        self.found: Loaded | None = None
        self.job: Job | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def _found_earlier(self, call: Call, started: int | None = None) -> Loaded | None:
        self.found = self._function._found_earlier(call, started)
        return self.found

    def _job(self, call: Call, since_ns: int, began_ns: int = 0) -> Job:
        self.job = job = self._function._job(call, since_ns, began_ns)
        return job  # type: ignore[no-any-return]

    def _awaited(self, *args: Any) -> Any:
        return type(self._function)._awaited(self, *args)

    def _missed(self, *args: Any) -> Any:
        missed = self._function._missed(*args)
        self.job = missed and missed.job
        return missed

    def told(self, value: Any, cost_ns: int) -> Answer[Any]:
        """A result with how it was got, by a call that took so many nanoseconds."""
        found = self.found
        if self.job is not None:
            found, cost_ns = self.job.run.found, self.job.run.took_ns or cost_ns
        if found is None or found.value is not value:
            return Answer(value, False, 0.0, cost_ns / 1e9)
        header = found.header
        return Answer(value, True, max(time.time() - header.created_ns / 1e9, 0.0), header.cost_ns / 1e9)


class _WatchedFlow:
    """Its flow, whose look-up is kept."""

    def __init__(self, flow: Any, watched: _Watched) -> None:
        self._flow = flow
        self._watched = watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._flow, name)

    def look_up(self, address: Address) -> Loaded:
        self._watched.found = found = self._flow.look_up(address)
        return found  # type: ignore[no-any-return]


def answer(
    plain_call: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Answer[Any]:
    """Call a cached function by the `__call__` of its class, and say how the result was got."""
    watched = _Watched(function)
    started = time.perf_counter_ns()
    value = plain_call(watched, *args, **kwargs)
    return watched.told(value, time.perf_counter_ns() - started)


async def awaited(
    plain_call: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Answer[Any]:
    """The same for a coroutine function."""
    watched = _Watched(function)
    started = time.perf_counter_ns()
    value = await plain_call(watched, *args, **kwargs)
    return watched.told(value, time.perf_counter_ns() - started)
