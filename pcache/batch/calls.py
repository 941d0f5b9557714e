"""One call of many, which does not wait for others or is only looked up; and many of them in turn."""

from __future__ import annotations

from collections import deque

from pcache.entry.format import new_tuple
from pcache.errors import Miss, NotNow
from pcache.runtime.effort import Effort
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pcache.entry.reader import Loaded
    from pcache.runtime.calls import Call, Calls
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job


_AHEAD = 256  # results held while others compute the one that is next


class Cached(Protocol):
    """A cached function, as batches know it."""

    _calls: Calls
    _flow: Flow
    _misses: int

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...
    def get(self, /, *args: Any, **kwargs: Any) -> Any: ...
    def _found(self, call: Call) -> Loaded: ...
    def _job(self, call: Call, since_ns: int, began_ns: int) -> Job: ...
    def _count(self, found: Loaded, started: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def __wrapped__(self) -> Callable[..., Any]: ...


class Outcome(NamedTuple):
    """What became of a call: its result, or the exception that it raised."""

    value: Any
    error: Exception | None = None


def call(function: Cached, args: tuple[Any, ...], common: Mapping[str, Any]) -> Outcome:
    """Call a cached function as anybody would, and wait for others if they compute the same."""
    try:
        return Outcome(function(*args, **common))
    except Exception as error:  # noqa: BLE001 - the function's own, which the caller gets in its turn
        return Outcome(None, error)


class Trial:
    """Makes calls that do not wait: `NotNow` is returned if another thread or process computes the result now.

    Without `computes` they are only looked up, and counted as hits: `NotNow` is returned where there is no result. What
    cannot be cached is computed.
    """

    def __init__(self, function: Cached, common: Mapping[str, Any], *, computes: bool) -> None:
        self._function = function
        self._common = common
        self._effort = Effort(function._calls.runs, computes=computes)

    def __call__(self, args: tuple[Any, ...]) -> Outcome | NotNow:
        effort = self._effort
        effort.begin(args)
        try:
            return new_tuple(Outcome, (self._function(*args, **self._common), None))
        except NotNow as busy:
            self._function._misses -= 1
            return busy.alone()
        except Exception as error:  # noqa: BLE001 - as above
            return Outcome(None, error)
        finally:
            effort.args = None


def one_by_one(
    function: Cached, arguments: Iterator[tuple[Any, ...]], common: Mapping[str, Any], *, ordered: bool
) -> Iterator[Outcome]:
    """The outcomes of calls that this thread makes, those that others compute at the end, or when their turn comes."""
    held: deque[tuple[tuple[Any, ...], Outcome | NotNow]] = deque()
    try_one, look_up = Trial(function, common, computes=True), Trial(function, common, computes=False)
    for args in arguments:
        outcome = try_one(args)
        if isinstance(outcome, NotNow) or (held and ordered):
            held.append((args, outcome))
        else:
            yield outcome
        if held:
            yield from _ready(look_up, held)
        if len(held) >= _AHEAD:
            yield _awaited(function, *held.popleft(), common)
    while held:
        yield _awaited(function, *held.popleft(), common)


def _ready(look_up: Trial, held: deque[tuple[tuple[Any, ...], Outcome | NotNow]]) -> Iterator[Outcome]:
    """The outcomes at the head that are there by now."""
    while held:
        args, outcome = held[0]
        if isinstance(outcome, NotNow):
            outcome = look_up(args)
        if isinstance(outcome, NotNow):
            return
        held.popleft()
        yield outcome


def _awaited(function: Cached, args: tuple[Any, ...], outcome: Outcome | NotNow, common: Mapping[str, Any]) -> Outcome:
    return call(function, args, common) if isinstance(outcome, NotNow) else outcome


def store(function: Cached, args: tuple[Any, ...], common: Mapping[str, Any], value: Any, cost_ns: int) -> bool:
    """Store a result that another process has computed; return whether it is stored."""
    from pcache.runtime.saving import CannotWrite  # late for start-up time

    saving = function._flow.saving
    job = function._calls.job(function._calls.of(args, common))
    job.run.took(cost_ns, 0)
    try:
        claim = saving.claim(job, private=True)
    except CannotWrite:
        return False
    return claim is not None and saving.settle(claim, job, value, cost_ns, Miss("absent"))
