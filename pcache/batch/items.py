"""Functions that compute many items in one call, cached item by item: `@cached.batch(over="texts")`.

A call looks up each item, and passes on only what is missing, in batches. An item's entry is that of a call with this
one item, in a container of this kind: it depends neither on what else was in a batch nor on the batches' size. Claims
are taken without waiting: what others compute is waited for when everything of one's own is stored. Each batch is
stored before the next one begins. As `runtime/misses.py`, this is a generator: it runs without a pause for calls that
block their thread, and yields to the event loop for tasks.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from pcache.batch.containers import KINDS, kind_of
from pcache.errors import Miss, Uncached, without_tracebacks
from pcache.runtime.boundary import passes
from pcache.runtime.modes import mode
from pcache.runtime.saving import CannotWrite
from pcache.runtime.singleflight import Flight, computing, flights, innermost, leave
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.interrupts import try_call, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcache.batch.calls import Cached
    from pcache.entry.reader import Loaded
    from pcache.keys.encoder import LargeContents
    from pcache.runtime import calls, tasks
    from pcache.runtime.job import Job
    from pcache.runtime.misses import Steps
    from pcache.storage.store import HeldClaim
else:
    tasks = late("pcache.runtime.tasks")

_USUAL, _DICT = "builtins.list", "builtins.dict"
_MANY = 32  # items that are looked up, or claimed, without giving other tasks a turn: a millisecond or two
MOST = 256  # items in a batch at most: each holds a claim, which is a descriptor


class Call:
    """One call of a batch function: its items, and how to call the function with some of them."""

    def __init__(self, function: Cached, args: tuple[Any, ...], kwargs: Mapping[str, Any], over: str, at: int) -> None:
        self.function = function
        self._args = args
        self._kwargs = kwargs
        self._over = over
        self._at = at
        self.whole = kwargs[over] if over in kwargs else args[at]
        self.kind = kind_of(self.whole)
        self.items: list[Any] = KINDS[self.kind].items(self.whole) if self.kind else []
        self.error: BaseException | None = None  # that the function raised
        self.returned: Any = None  # by the function, for all items and in one call, where that is odd
        self.has_returned = False
        self.tasks: tasks.Tasks | None = None  # how it waits, if its function is a coroutine function

    def arguments(self, value: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments of the call with another value for its items."""
        if self._over in self._kwargs:
            return self._args, {**self._kwargs, self._over: value}
        return (*self._args[: self._at], value, *self._args[self._at + 1 :]), self._kwargs

    def one(self, item: Any) -> calls.Call:
        """The call for one item. What a function makes of a list it may not make of a tuple."""
        made = self.function._calls.of(*self.arguments(item))
        if self.kind == _USUAL:
            return made
        large: LargeContents = {}
        return made._replace(address=self.function._calls.address((*made.values, self.kind), large), large=large)

    def found(self, one: calls.Call) -> Loaded:
        """The stored result of an item; raises `Miss`. Adopted versions have those of lists."""
        return self.function._found(one) if self.kind == _USUAL else self.function._flow.look_up(one.address)

    def computed(self, places: Sequence[int], own: Sequence[Flight] = ()) -> Steps:
        """Call the function with the items at some places; return the kind of its container, and their results.

        `own` are the computations that this is. Raises what the function raises, and `OddResult`.
        """
        args, kwargs = self.arguments(KINDS[self.kind].some(self.whole, places))
        try:
            returned = self.function.__wrapped__(*args, **kwargs)
            if self.tasks is not None:
                for flight in own:
                    flight.awaited = returned
                returned = yield from returned.__await__()
        except BaseException as error:
            self.error = error
            raise
        finally:
            for flight in own:
                flight.awaited = None
        kind, results = kind_of(returned), None
        if kind and (kind == _DICT) == (self.kind == _DICT):
            results = try_call(KINDS[kind].results, returned, [self.items[place] for place in places])[0]
        if results is None:
            raise OddResult(returned, len(places) == len(self.items))
        return kind, results


class _Wanted:
    """An item that is missing: the places where it is asked for, and how to store it; `job` is None if it cannot be."""

    __slots__ = ("claim", "flight", "job", "miss", "places", "result")

    def __init__(self, place: int, job: Job | None, miss: Miss) -> None:
        self.places = [place]
        self.job = job
        self.miss = miss
        self.flight: Flight | None = None
        self.claim: HeldClaim | None = None
        self.result: tuple[str, Any] | None = None


class OddResult(Exception):
    """The function returned something else than a result for each item; that is `args[0]`."""


def compute(call: Call, max_batch: int) -> Any:
    """Return the results for the items of a call; raises what the function raises, and `OddResult`."""
    try:
        return finished(steps(call, max_batch))
    except RuntimeError as error:
        if call.error is None or error.__cause__ is not call.error:
            raise
        stopped = call.error  # a `StopIteration`, which Python lets no generator raise
    raise stopped


def finished(steps: Steps) -> Any:
    """What a generator returns that does not wait."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits")


def steps(call: Call, max_batch: int) -> Steps:
    """As `compute`, for tasks too."""
    found: list[tuple[str, Any] | None] = [None] * len(call.items)
    if call.tasks is not None and len(call.items) > _MANY:
        wanted = yield from call.tasks.in_thread(_look, call, found).__await__()
    else:
        wanted = _look(call, found)
    waiting: list[_Wanted] = []
    for start in range(0, len(wanted), max_batch):
        yield from _run_some(call, wanted[start : start + max_batch], waiting)
    for one in waiting:
        yield from _wait(call, one)
    for one in wanted:
        for place in one.places:
            found[place] = one.result if place == one.places[0] else _copy(call, one)
    kinds = {kind for kind, _ in found}  # type: ignore[misc]  # all are there
    kind = kinds.pop() if len(kinds) == 1 else _USUAL
    return KINDS[kind].joined([result for _, result in found], call.items)  # type: ignore[misc]  # the same


def _copy(call: Call, one: _Wanted) -> tuple[str, Any]:
    """The result of an item that is asked for a second time: an object of its own where it is stored."""
    if one.job is not None:
        loaded, _ = try_call(call.function._flow.look_up, one.job.address)
        if loaded is not None:
            return loaded.value  # type: ignore[no-any-return]
    return one.result  # type: ignore[return-value]  # it is there


def _look(call: Call, found: list[tuple[str, Any] | None]) -> list[_Wanted]:
    """Look up each item, and return those that are missing, each once."""
    function, wanted = call.function, dict[str, _Wanted]()
    since_ns = time.time_ns() if mode.get() == "refreshing" or function._flow.settings.refresh else 0
    for place, item in enumerate(call.items):
        started = time.perf_counter_ns()
        try:
            one = call.one(item)
        except Uncached as error:
            wanted[str(place)] = _Wanted(place, None, error)
            continue
        name = one.address.name
        if name in wanted:
            wanted[name].places.append(place)
            continue
        try:
            if since_ns:
                raise Miss("refreshed")
            loaded = call.found(one)
        except Miss as miss:
            wanted[name] = _Wanted(place, function._job(one, since_ns, started), without_tracebacks(miss))
        else:
            function._count(loaded, started)
            found[place] = loaded.value
    return list(wanted.values())


def _run_some(call: Call, wanted: list[_Wanted], waiting: list[_Wanted]) -> Steps:
    """Compute and store some missing items in one call of the function, but for those that others compute now."""
    own: list[_Wanted] = []
    with ExitStack() as stack:
        for number, one in enumerate(wanted):
            if _take(call, one, stack, waiting):
                own.append(one)
            if call.tasks is not None and number % _MANY == _MANY - 1:
                yield from call.tasks.breathe().__await__()
        if not own:
            return
        innermost_before = innermost()
        started, began_ns = time.perf_counter_ns(), time.time_ns()
        kind, results = yield from _run(call, own)
        cost_ns = (time.perf_counter_ns() - started) // len(own)
        store = partial(_store_all, call, own, kind, results, cost_ns, began_ns + cost_ns)
        if call.tasks is None:
            store()
        else:
            yield from call.tasks.in_thread(store).__await__()
        if innermost_before is not None:
            innermost_before.nested_ns += time.perf_counter_ns() - started


def _run(call: Call, own: list[_Wanted]) -> Steps:
    """Call the function. Calls inside know that these items are being computed."""
    around, under_way = computing.get(), [one.flight for one in own if one.flight is not None]
    token = uninterrupted(computing.set, {**around, **{flight.place: flight for flight in under_way}})
    try:
        return (yield from call.computed([one.places[0] for one in own], under_way))
    except BaseException as error:
        for flight in under_way:  # the task was cancelled: other calls go on in its place
            flight.cancelled = call.tasks is not None and not issubclass(type(error), Exception)
        raise
    finally:
        if call.tasks is None:
            computing.reset(token)
        else:
            leave(around, *under_way)


def _store_all(call: Call, own: list[_Wanted], kind: str, results: list[Any], cost_ns: int, created_ns: int) -> None:
    for one, result in zip(own, results, strict=True):
        one.result = kind, result
        _store(call, one, cost_ns, created_ns)


def _take(call: Call, one: _Wanted, stack: ExitStack, waiting: list[_Wanted]) -> bool:
    """Whether to compute an item here; takes its claim. Else it is stored by now, or noted as to be waited for."""
    job, flow = one.job, call.function._flow
    if job is None:
        return True
    place = flow.store.place(job.address.name)
    if place in computing.get():
        return True  # it is computed around this call, which may not wait for itself
    flight = Flight(place, job.address.function_id, call.tasks and call.tasks.task)
    with ExitStack() as taken:
        taken.callback(flight.ring)
        taken.enter_context(flight.busy)
        if flights.enter(place, flight) is not flight:
            waiting.append(one)
            return False
        taken.callback(flights.leave, place, flight)
        try:
            claim = flow.saving.claim(job)
        except CannotWrite:
            stack.push(taken.pop_all())
            return True
        if claim is None:
            waiting.append(one)
            return False
        taken.enter_context(claim)
        taken.callback(claim.abandon)
        if (found := flow.misses.found(job)) is not None:
            one.result = flow.misses.waited(job, found)
            return False
        one.flight, one.claim, flight.claim, flight.stored = flight, claim, claim, False
        stack.push(taken.pop_all())
        return True


def _store(call: Call, one: _Wanted, cost_ns: int, created_ns: int) -> None:
    """Store the result of an item, and count what it took."""
    job, flow = one.job, call.function._flow
    if job is None:
        return
    try:
        job.run.took(cost_ns, 0)
        flow.ledger.count(job.name, **{f"misses.{one.miss.reason}": 1, "computed_ns": cost_ns})
        try_call(job.look_again, cost_ns)
        if one.claim is not None and one.flight is not None:
            one.flight.stored = flow.saving.publish(one.claim, job, one.result, cost_ns, one.miss, created_ns)
            one.flight.claim, one.flight.lost = None, one.claim.lost
    except BaseException as error:
        if passes(error, job.name):
            raise


def _wait(call: Call, one: _Wanted) -> Steps:
    """Wait for an item that another thread or process computes; compute it if that comes to nothing."""
    place, job, misses = one.places[0], one.job, call.function._flow.misses
    if job is None:
        return

    def alone(*_: Any, **__: Any) -> tuple[str, Any]:
        kind, results = finished(call.computed([place]))
        return kind, results[0]

    async def alone_awaited(*_: Any, **__: Any) -> tuple[str, Any]:
        kind, results = await tasks.Awaited(call.computed([place]))
        return kind, results[0]

    if call.tasks is None:
        one.result = misses.compute(job._replace(function=alone), one.miss)
    else:
        function: Any = call.function
        waits = function._computed(misses, job._replace(function=alone_awaited), one.miss, call.tasks)
        one.result = yield from waits.__await__()
