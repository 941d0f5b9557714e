"""A cached function: what `@cached` makes of a function.

It keeps the function's signature, docstring and name, adds methods, and can be pickled. `runtime/flow.py` looks up.
"""

from __future__ import annotations

import sys
import time

from pcache.batch.mapped import Mapped
from pcache.counters.tally import CacheInfo
from pcache.entry.reader import own_cost_of
from pcache.errors import LoadingItself, Miss, Uncached, UnhashableArgument, without_tracebacks
from pcache.keys.dispatch import register_reducer
from pcache.keys.names import names_itself
from pcache.runtime.boundary import passes
from pcache.runtime.calls import Answer, Asking, Call, Calls
from pcache.runtime.likeness import take_after
from pcache.runtime.modes import mode
from pcache.runtime.singleflight import computing
from pcache.startup import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, late, overload
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache import method
    from pcache.config.options import Options
    from pcache.entry.reader import Loaded
    from pcache.insight import explanation
    from pcache.insight.explanation import Explanation, Question
    from pcache.keys.encoder import LargeContents
    from pcache.maintenance import cleanup
    from pcache.runtime import answers, invalidation, telling
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job
    from pcache.runtime.misses import Deep
    from pcache.versions.adoption import Adoption
else:
    method = late("pcache.method")
    cleanup = late("pcache.maintenance.cleanup")
    answers = late("pcache.runtime.answers")
    explanation = late("pcache.insight.explanation")
    invalidation = late("pcache.runtime.invalidation")
    telling = late("pcache.runtime.telling")

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

_SOME = 15  # of 16 hits do not ask whether counts are to be written
_clock = time.perf_counter_ns


class CachedFunction(Asking[P, R], Mapped[P, R]):
    """A function whose results are stored on disk.

    Safe for threads, processes and forks: if several need the same missing result, one computes it and the others wait.
    On network file systems each computes for itself. Every hit returns a fresh object, which the caller may change.
    """

    __slots__ = ("__dict__", "__weakref__", "_address", "_bind", "_calls", "_flow", "_hits_before", "_is_over",
                 "_misses", "_options", "_refresh", "_some", "_tally", "options_digest")  # fmt: skip

    def __init__(self, function: Callable[P, R], flow: Flow, options: Options) -> None:
        take_after(self, function)
        self._flow = flow = flow.of_function(function)
        self._options = options
        self._calls = Calls(function, self, flow, options)
        self._bind = self._calls.bind
        self._address = self._calls.address
        self._refresh = flow.settings.refresh
        self._some = 0 if flow.settings.log == "debug" else _SOME
        self._misses = self._hits_before = 0  # the latter before `cache_clear`
        self._tally = flow.ledger.tally(self)
        self._is_over = sys.is_finalizing  # kept here: when the interpreter exits, modules lose their globals
        self.options_digest = self._calls.options_digest

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:  # noqa: PLR0912, PLR0915 - flat, as a hit pays for calls
        # Everything is guarded but the function's own call, which comes last: its exceptions get no context of pcache.
        found: Loaded | None = None
        job: Job | None = None
        deep: Deep | None = None
        try:
            asked = mode.get()
            values = None
            if not self._flow.passive and asked != "disabled":
                try:
                    values = self._bind(*args, **kwargs)
                except TypeError as error:  # the call does not fit the signature: calling the function says so
                    if isinstance(error, UnhashableArgument):
                        raise
            if values is not None:
                tally = self._tally
                started = _clock()
                large: LargeContents = {}
                address = self._address(values, large)
                since_ns = time.time_ns() if asked == "refreshing" or self._refresh else 0
                try:
                    if since_ns:
                        raise Miss("refreshed")
                    found = self._flow.look_up(address)
                except Miss as error:
                    miss = without_tracebacks(error)
                else:
                    tally.hits += 1
                    tally.saved_ns += own_cost_of(found) if computing.get() else found.header.cost_ns
                    tally.read_bytes += found.identity[1]
                    if not tally.hits & self._some or not tally.name:
                        self._look(values, found)
                    tally.hit_ns += _clock() - started
                    return found.value  # type: ignore[no-any-return]
                if type(miss) is not LoadingItself:
                    call = Call(args, kwargs, values, address, large)
                    found = None if since_ns else self._found_earlier(call, started)
                    if found is None:
                        misses, job = self._flow.misses, self._job(call, since_ns, started)
                    if job is not None and job.is_deep:
                        deep = misses.begin(job)
                        job = job if deep is not None else None
        except RecursionError:
            job = None  # the stack has no room for anything else
        except BaseException as error:
            if not self._is_over() and passes(error, self._calls.label, self._options.unhashable):
                raise
        if found is not None:
            return found.value  # type: ignore[no-any-return]
        if job is None:
            return self.__wrapped__(*args, **kwargs)
        if deep is not None:
            try:
                result = self.__wrapped__(*args, **kwargs)
            except BaseException:
                misses.drop(job, deep)
                raise
            return misses.keep(job, miss, deep, result)  # type: ignore[no-any-return]
        return misses.compute(job, miss)  # type: ignore[no-any-return]

    def _job(self, call: Call, since_ns: int, began_ns: int = 0) -> Job:
        """Count a miss, and return the job of computing it; raises `NotRecorded` where results are only replayed."""
        self._flow.expect_recorded(self, call)
        job = self._calls.job(call, since_ns, began_ns)
        self._misses += 1
        return job

    def _look(self, values: tuple[Any, ...] | None, found: Loaded) -> None:
        """Write what was counted when that is due; not at the first hit, since a short process does so as it ends.

        Where every hit is to be told, each comes here.
        """
        if self._tally.name:
            self._flow.ledger.look(time.time_ns())
        else:
            self._tally.name = self.name
        if values is not None and not self._some:
            attempt(telling.tell_hit, self._calls, values, found)

    def _found(self, call: Call) -> Loaded:
        """Return the stored result of a call; raises `Miss`."""
        try:
            return self._flow.look_up(call.address)
        except Miss:
            if (found := self._found_earlier(call)) is None:
                raise
            return found

    def _found_earlier(self, call: Call, started: int | None = None) -> Loaded | None:
        """The result of a call that an adopted version has stored, if any; with `started` it is counted as a hit."""
        for address in self._calls.earlier(call):
            try:
                found = self._flow.look_up(address)
            except Miss:
                continue
            if started is not None:
                self._count(found, started, call.values)
            return found
        return None

    def _count(self, found: Loaded, started: int, values: tuple[Any, ...] | None = None) -> None:
        """Count a hit, as `__call__` does in its own lines."""
        self._tally.hits += 1
        self._tally.saved_ns += own_cost_of(found) if computing.get() else found.header.cost_ns
        self._tally.read_bytes += found.identity[1]
        if not self._tally.hits & self._some or not self._tally.name:
            self._look(values, found)
        self._tally.hit_ns += _clock() - started

    # The calls of a cached function

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Answer[R]:
        """Call the function, and return its result with how it was got: `value`, `hit`, `age` and `cost` in seconds.

        >>> import tempfile, pcache
        >>> square = pcache.Cache(tempfile.mkdtemp()).cached(lambda n: n * n)
        >>> square.call(3).hit, square.call(3).hit
        (False, True)
        """
        return answers.answer(CachedFunction.__call__, self, args, kwargs)

    def put(self, result: R, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Store `result` as the result of this call; return whether it could be stored."""
        try:
            job = self._calls.job(self._calls.of(args, kwargs))
        except Uncached:
            return False
        return self._flow.saving.put(job, result)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, replace its stored result and return it."""
        since_ns = time.time_ns()
        job: Job | None = None
        try:
            misses, job = self._flow.misses, self._job(self._calls.of(args, kwargs), since_ns)
        except BaseException as error:
            if isinstance(error, TypeError) or passes(error, self._calls.label):
                raise
        if job is None:
            return self.__wrapped__(*args, **kwargs)
        return misses.compute(job, Miss("refreshed"))  # type: ignore[no-any-return]

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the stored result of this call; return whether one was removed."""
        if self._flow.settings.read_only:
            return False
        try:
            call = self._calls.of(args, kwargs)
        except Uncached:
            return False
        gone = invalidation.invalidate(self._flow.directory, (call.address, *self._calls.earlier(call)))
        if gone:
            self._flow.saving.limiter.give_back(gone, self.name)
        return bool(gone)

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Say whether this call would hit, if not why, and what differs from the stored calls that are most like it.

        Print the explanation, or read its attributes in programs. Nothing is computed.

        >>> import tempfile, pcache
        >>> cache = pcache.Cache(tempfile.mkdtemp())
        >>> @cache.cached
        ... def square(n):
        ...     return n * n
        >>> square(3)
        9
        >>> print(square.explain(4).nearest[0].differences[0])
        argument n: 3 -> 4
        """
        try:
            return explanation.explain(self.question(args, kwargs))
        except Uncached as error:
            return explanation.of_uncached(self.name, error)

    def question(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Question:
        """The input of `explain` for a call."""
        bypass: str = self._flow.passive or mode.get() or ("refreshing" if self._refresh else "")
        call = self._calls.of(args, kwargs)
        job, earlier = self._calls.job(call), tuple(self._calls.earlier(call))
        told = call.address, earlier, job.digests, job.summary(), self._calls.named_files(call), bypass
        return explanation.Question(self._flow, job.version, *told)

    def adopt(
        self,
        earlier: str | None = None,
        *,
        added: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        confirm: Callable[[Adoption], bool] | None = None,
    ) -> Adoption:
        """Take over the results of an earlier version of this function, after an edit that does not change them.

        `earlier` is the beginning of its id, by default the latest that has results and the same parameters. `added`
        gives the values that its calls had for parameters added since. The outcome lists what changed; `dry_run` stops
        there, and `confirm` is asked before anything is done. Other processes see the adoption when they start.

        Raises `NothingToAdopt` when no earlier version has results, and `ConfigError` when its parameters differ.

        >>> simulate.adopt(dry_run=True)  # doctest: +SKIP
        >>> simulate.adopt(added={"method": "exact"})  # doctest: +SKIP
        """
        return self._calls.adopt(earlier, added or {}, dry_run, confirm)

    def cache_info(self) -> CacheInfo:
        """Hits and misses of this process, the limit of entries, and the entries of this version on disk."""
        function_id, _ = attempt(lambda: self.function_id)  # None, which no entry has, for one that cannot be cached
        stored = sum(item.function_id == function_id for item in self._flow.store.scan())
        waited = self._calls.waited  # which had counted as misses until they found what another had computed
        hits, misses = self._tally.hits + waited - self._hits_before, self._misses - waited
        return CacheInfo(hits, misses, self._flow.settings.max_entries, stored)

    def cache_clear(self) -> None:
        """Remove all stored results of every version of this function, and reset the counters."""
        cleanup.clear(self._flow.directory, self)
        self._misses = self._calls.waited
        self._hits_before = self._tally.hits + self._misses

    def cache_parameters(self) -> dict[str, object]:
        """Return the options of the decorator, and where results are stored."""
        flow = self._flow
        return {**self._options._asdict(), "maxsize": flow.settings.max_entries, "location": flow.directory.location}

    def stored_in(self, flow: Flow) -> CachedFunction[P, R]:
        """The same function with its results in another directory."""
        is_here = flow.directory.location == self._flow.directory.location
        return self if is_here else type(self)(self.__wrapped__, flow, self._options)

    @property
    def function_id(self) -> str:
        """The id of this function's running code version, 16 hexadecimal digits."""
        return self._calls.version.hex_id

    @property
    def name(self) -> str:
        """`module:qualified.name`, as the command line shows it."""
        return self._calls.name

    # Being a function

    # Type checkers see neither `classmethod` nor `staticmethod` beside another decorator: to them, what takes the class
    # first is a class method, and what does not take the instance a static one. mypy compares with callables only.
    @overload
    def __get__(  # type: ignore[misc]  # not every cached function takes a class
        self: Callable[Concatenate[type[S], Q], R], instance: S | None, owner: type[S]
    ) -> method.CachedMethod[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunction[P, R]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> method.CachedMethod[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> CachedFunction[P, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else method.CachedMethod(self, instance)

    def __reduce__(self) -> Any:
        if names_itself(self):
            return self.__qualname__
        return type(self), (self.__wrapped__, self._flow, self._options)

    def __repr__(self) -> str:
        return f"<cached {self._calls.label} in {self._flow.directory.location}>"


register_reducer(CachedFunction, lambda function, _encoder: function.__wrapped__)
