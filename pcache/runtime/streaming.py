"""Calls of cached generator functions: what a call returns, where its items come from, and what is sent to it.

A call returns a generator that does nothing before its first item is asked for, as the function's own would: the key is
made then, of the arguments as the function's code sees them.
"""

from __future__ import annotations

import functools
import time
from opcode import opmap, opname

from pcache.entry.reader import Loaded, own_cost_of
from pcache.errors import (
    ConfigError,
    LoadingItself,
    Miss,
    PcacheWarning,
    Uncached,
    UnhashableArgument,
    without_tracebacks,
)
from pcache.objects.lookup import code_of
from pcache.runtime.boundary import passes
from pcache.runtime.consuming import Reader, items
from pcache.runtime.flow import DerivedFlow
from pcache.runtime.modes import mode
from pcache.runtime.producing import produce, put
from pcache.runtime.production import Production
from pcache.runtime.singleflight import computing
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

    from pcache.config.options import Options
    from pcache.counters.tally import Tally
    from pcache.entry.streams import Stored
    from pcache.runtime.calls import Call, Calls
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job

_MOST_NESTED = 32  # computations around a call, from which on it is computed without the cache: each takes 7 frames
_clock = time.perf_counter_ns
_YIELD, _RESUME, _POP = opmap["YIELD_VALUE"], opmap["RESUME"], opmap["POP_TOP"]
_IDLE = frozenset(number for number in range(256) if opname[number] in ("CACHE", "NOP", "NOT_TAKEN", "EXTENDED_ARG"))


def uses_what_is_sent(code: CodeType) -> bool:
    """Whether the value of a `yield` in the code of a generator is used; that of `yield from` comes from elsewhere."""
    body = [pair for pair in zip(code.co_code[::2], code.co_code[1::2], strict=True) if pair[0] not in _IDLE]
    for at, (operation, _) in enumerate(body):
        if operation == _YIELD:
            (resume, how), (then, _) = body[at + 1 : at + 3]
            if resume == _RESUME and how & 3 == 1 and then != _POP:
                return True
    return False


class _Streams:
    """A store whose results are streams."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.read = store.stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class StreamFlow(DerivedFlow):
    """The flow of the calls of generator functions."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.store: Any = _Streams(flow.store)


if TYPE_CHECKING:

    class _Function:
        """What this module needs to know of a cached function."""

        __wrapped__: Callable[..., Any]
        _calls: Calls
        _flow: Flow
        _options: Options
        _tally: Tally
        _refresh: bool
        _bind: Callable[..., tuple[Any, ...]]

        def __init__(self, function: Any, flow: Flow, options: Options) -> None: ...
        def _found(self, call: Call) -> Loaded: ...
        def _job(self, call: Call, since_ns: int, began_ns: int = 0) -> Job: ...
        def _look(self, values: tuple[Any, ...] | None, found: Loaded) -> None: ...
        def get(self, /, *args: Any, **kwargs: Any) -> Any: ...
        def invalidate(self, /, *args: Any, **kwargs: Any) -> bool: ...

else:
    _Function = object


class Streaming(_Function):
    """A generator function whose items are stored on disk, as they come.

    A call returns a fresh iterator. Its items are stored when the last one was taken; what is not taken to its end is
    not stored. A hit reads them a chunk at a time. Safe for threads, processes and forks, as `CachedFunction`.
    """

    __slots__ = ()

    production: type[Production] = Production

    def __init__(self, function: Any, flow: Flow, options: Options) -> None:
        streams = StreamFlow(flow)
        super().__init__(function, streams, options)
        if uses_what_is_sent(self.__code__):
            streams.passive = streams.passive or "uncached"
            warn_once(
                (self._calls.label, "sent"),
                f"calls of {self._calls.label} are computed without the cache: it uses the value of a yield, so that"
                " its items depend on what its caller sends to it.",
                PcacheWarning,
            )

    @property
    def __code__(self) -> CodeType:
        """As `inspect.isgeneratorfunction` looks for it."""
        return code_of(self.__wrapped__)  # type: ignore[return-value]  # else it would not be a generator function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        asked = mode.get()
        if self._flow.passive or asked == "disabled" or len(computing.get()) >= _MOST_NESTED:
            return self.__wrapped__(*args, **kwargs)
        return self._items(args, kwargs, time.time_ns() if asked == "refreshing" or self._refresh else 0)

    def exists(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether this call has a live entry, as far as its head tells."""
        try:
            self._found(self._calls.of(args, kwargs)).value.close()
        except Miss:
            return False
        return True

    def get(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return an iterator of the stored items of this call, or raise `Miss` with the reason; never computes."""
        return self._items(args, kwargs, 0, super().get(*args, **kwargs))

    def call(self, /, *_args: Any, **_kwargs: Any) -> Any:
        """Raises `ConfigError`: how a stream is got shows when it is consumed."""
        text = f"call says how one result was got, and {self._calls.label} gives a stream of items: iterate over a call"
        raise ConfigError(text, setting="call", value=self)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return an iterator that computes this call anew and, taken to its end, replaces what is stored."""
        return self.__wrapped__(*args, **kwargs) if self._flow.passive else self._items(args, kwargs, time.time_ns())

    def put(self, result: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store the items of an iterable as those of this call, and what it returns; return whether that is stored."""
        try:
            job = self._calls.job(self._calls.of(args, kwargs))
        except Uncached:
            return False
        return not self._flow.passive and put(self._flow, job, result)

    def _items(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], since_ns: int, stored: Any = None) -> Any:
        _, error = try_call(functools.partial(self._bind, *args, **kwargs))
        if isinstance(error, TypeError) and not isinstance(error, UnhashableArgument):
            return self.__wrapped__(*args, **kwargs)  # the call does not fit the signature, which this says
        made = self._consumer(args, kwargs, since_ns, stored)
        made.__name__, made.__qualname__ = self.__wrapped__.__name__, self.__wrapped__.__qualname__
        return made

    def _consumer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], since_ns: int, stored: Any) -> Any:
        """The generator that a call returns."""
        return items(Reader(self, args, kwargs, since_ns, stored))

    def source_for(self, reader: Reader, miss: Miss | None = None) -> Stored | Production | None:
        """Where a call's items come from, after a miss or a first look; None to call the function without the cache."""
        source, error = try_call(self._source_for, reader, miss)
        if error is not None and passes(error, self._calls.label, self._options.unhashable):
            raise error
        return source  # type: ignore[no-any-return]

    def _source_for(self, reader: Reader, miss: Miss | None) -> Stored | Production | None:
        started = _clock()
        return self._source_of(self._calls.of(reader.args, reader.kwargs), reader, miss, started)

    def _source_of(self, call: Call, reader: Reader, miss: Miss | None, started: int) -> Stored | Production | None:
        """The source of a call whose key is known."""
        if miss is None and reader.since_ns:
            miss = Miss("refreshed")
        if miss is None:
            try:
                found = self._found(call)
            except LoadingItself:
                return None
            except Miss as error:
                miss = without_tracebacks(error)
            else:
                self.hit(reader, found, _clock() - started)
                return found.value  # type: ignore[no-any-return]
        job = self._job(call, reader.since_ns, started)
        self._flow.misses.tell(job, miss)
        own = self.production(self._flow, job, miss, self._is_unchanged)
        source = produce(own, self._flow, reader, reader.damaged)
        if isinstance(source, Loaded):
            self.hit(reader, source, 0)
            return source.value  # type: ignore[no-any-return]
        return source

    def hit(self, reader: Reader, found: Loaded, took_ns: int) -> None:
        """Count a hit; what it saves is counted when its consumer ends."""
        reader.saves_ns = own_cost_of(found) if computing.get() else found.header.cost_ns
        tally = self._tally
        tally.hits += 1
        tally.hit_ns += took_ns
        self._look(None, found)

    def saved(self, reader: Reader, stored: Stored) -> None:
        """Count what a hit has saved: of the cost of the stream, as much as its consumer has had of the items."""
        share = 1.0 if reader.is_over else reader.given / max(stored.items, 1)
        self._tally.saved_ns += int(reader.saves_ns * share)
        self._tally.read_bytes += stored.read_bytes

    def waited(self) -> None:
        """Count a hit that another consumer in this process has computed."""
        self._flow.ledger.count(self._calls.name, hits=1, waited=1)

    def _is_unchanged(self, job: Job) -> bool:
        """Whether the arguments of a call still have the key that they had."""
        return self._calls.of(job.args, job.kwargs).address.key == job.address.key
