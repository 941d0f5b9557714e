"""Who makes calls: executors of concurrent.futures and their like, dask, joblib and ray, seen alike.

Each takes chunks of calls and hands out what became of them, in any order.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from queue import SimpleQueue

from pcache.batch.worker import work
from pcache.errors import ConfigError
from pcache.objects.lookup import bases_of, full_name
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, Protocol
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.batch.worker import Answer, Chunk


class Done(NamedTuple):
    """What became of a chunk: answers to its calls, or why there are none."""

    chunk: Chunk
    answers: list[Answer] | None
    error: BaseException | None = None


class Workers(Protocol):
    """Some workers: how many, and chunks for them. `submit` raises what the executor raises."""

    count: int

    def submit(self, chunk: Chunk) -> None:
        """Hand out a chunk."""

    def next(self) -> Done:
        """Wait for a chunk that is done."""

    def let_go(self) -> None:
        """Begin with none of the chunks that are left; those that were begun go on."""


def workers_of(executor: Any) -> Workers:
    """The workers of what was given as `executor=`; raises `ConfigError`."""
    names = {full_name(base) for base in bases_of(type(executor))}
    if "joblib.parallel.Parallel" in names:
        return _Parallel(executor)
    if executor is sys.modules.get("ray", workers_of):
        return _Ray(executor)
    if not callable(getattr(executor, "submit", None)):
        raise ConfigError(
            "executor= takes an executor of concurrent.futures or its like (with `submit`), a dask Client, a"
            f" joblib.Parallel or the module ray, not {summarize_value(executor)}",
            setting="executor",
            value=executor,
        )
    return _Futures(executor, {"pure": False} if "distributed.client.Client" in names else {})


class _Futures:
    """An executor whose `submit` returns a future that takes callbacks."""

    def __init__(self, executor: Any, options: dict[str, Any]) -> None:
        self._executor = executor
        self._options = options
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._chunks: dict[int, tuple[Chunk, Any]] = {}  # what was handed out, by the future's id
        self.count = _count_of(executor)

    def submit(self, chunk: Chunk) -> None:
        future = self._executor.submit(work, chunk, **self._options)
        self._chunks[id(future)] = chunk, future
        future.add_done_callback(self._done.put)

    def next(self) -> Done:
        future = self._done.get()
        chunk, _ = self._chunks.pop(id(future))
        return Done(chunk, *try_call(future.result))

    def let_go(self) -> None:
        for _, future in self._chunks.values():
            future.cancel()


def _count_of(executor: Any) -> int:
    """How many workers there are, as far as the executor says."""
    cores: Callable[[], dict[str, int]] | None = getattr(executor, "ncores", None)
    count: Any = sum((try_call(cores)[0] or {}).values()) if cores is not None else None  # dask
    count = count or getattr(executor, "_max_workers", None)
    return max(1, count) if type(count) is int else os.cpu_count() or 1


class _Parallel:
    """A `joblib.Parallel`, which is given as many chunks at once as keep its workers busy."""

    def __init__(self, parallel: Any) -> None:
        joblib: Any = sys.modules["joblib"]
        self._parallel = parallel
        self._delayed = joblib.delayed
        self._left: list[Chunk] = []
        self._done: deque[Done] = deque()
        self.count = max(1, joblib.effective_n_jobs(parallel.n_jobs))

    def submit(self, chunk: Chunk) -> None:
        self._left.append(chunk)

    def next(self) -> Done:
        if not self._done:
            chunks, self._left = self._left, []
            answers, error = try_call(lambda: list(self._parallel(map(self._delayed(work), chunks))))
            self._done += [Done(chunk, answers and answers[i], error) for i, chunk in enumerate(chunks)]
        return self._done.popleft()

    def let_go(self) -> None:
        self._left = []


class _Ray:
    """The workers of ray, whose module is given."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._work = ray.remote(work)
        self._chunks: dict[Any, Chunk] = {}
        if not ray.is_initialized():
            ray.init()
        self.count = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def submit(self, chunk: Chunk) -> None:
        self._chunks[self._work.remote(chunk)] = chunk

    def next(self) -> Done:
        [reference], _ = self._ray.wait(list(self._chunks), num_returns=1)
        return Done(self._chunks.pop(reference), *try_call(self._ray.get, reference))

    def let_go(self) -> None:
        for reference in self._chunks:
            self._ray.cancel(reference, force=False)
