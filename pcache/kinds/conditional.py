"""A cached function whose options look at results: stored exceptions, and results that are renewed while they serve."""

from __future__ import annotations

import os
import threading
import time

from pcache.config.conditions import Conditions, Raised
from pcache.errors import NotNow
from pcache.function import CachedFunction
from pcache.keys.dispatch import register_reducer
from pcache.runtime.checked_flow import CheckedFlow
from pcache.runtime.checking import difference, say_difference
from pcache.runtime.effort import Effort
from pcache.runtime.modes import mode
from pcache.startup import TYPE_CHECKING, Any, ParamSpec, TypeVar
from pcache.system.interrupts import attempt, try_call
from pcache.system.notices import log
from pcache.text.phrases import age

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.config.options import Options
    from pcache.runtime.calls import Answer
    from pcache.runtime.flow import Flow

P = ParamSpec("P")
R = TypeVar("R")


if TYPE_CHECKING:

    class _Function(CachedFunction[..., Any]):
        """What conditions need to know of a cached function."""

else:
    _Function = object


class Conditional(_Function):
    """A cached function with conditions, in front of the class of its kind."""

    __slots__ = ()

    def __init__(self, function: Any, flow: Flow, options: Options) -> None:
        conditions = options.conditions or Conditions()
        checked = CheckedFlow(flow, conditions, lambda: self.name)
        super().__init__(function, checked, options)
        self._late = checked.late
        self._conditions = conditions
        self._renewing: set[tuple[int, str]] = set()  # processes, and names of entries
        if conditions.exceptions:
            self._calls.runs = self._keeping_errors(function, conditions.exceptions)

    def _keeping_errors(self, function: Callable[..., Any], kinds: tuple[type[Exception], ...]) -> Callable[..., Any]:
        """The function, with exceptions of these kinds as results."""

        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except kinds as error:
                return Raised(error, time.time_ns())

        return run

    def get(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of this call, or raise `Miss` with the reason; or the stored exception."""
        return result_of(super().get(*args, **kwargs))

    def _compare(self, before: Any, after: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Warn once if two outcomes of a call differ: of exceptions, the class and the arguments count."""
        if type(before) is Raised and type(after) is Raised:
            before, after = [(type(one.error).__name__, one.error.args) for one in (before, after)]
        if (path := difference(before, after)) is not None:
            self._flow.ledger.count(self.name, **{"errors.impure": 1})
            say_difference(self.name, self._calls.shown(self._calls.of(args, kwargs).values), path)

    def _to_renew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, str] | None:
        """A late result that is to be renewed, and is noted as that; None where there is nothing to do."""
        name, _ = attempt(lambda: self._calls.of(args, kwargs).address.name)
        if name is None or name not in self._late:
            return None
        self._late.pop(name, None)
        this = os.getpid(), name
        if this in self._renewing:
            return None
        self._renewing.add(this)
        return this

    def _is_renewed(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether another process has renewed a result; else computing it raises `NotNow` where another one does."""
        attempt(self._found, self._calls.of(args, kwargs))
        if self._late.pop(name, self) is self:
            return True
        effort = Effort(self._calls.runs, computes=True)
        effort.begin(args)
        return False

    def _renewed(self, this: tuple[int, str], error: BaseException | None) -> None:
        """Note the end of renewing a result. The old one serves until it expires."""
        self._renewing.discard(this)
        if type(error) is NotNow:
            self._misses -= 1
        elif error is not None:
            log("%s: renewing a result failed: %r", self.name, error)


class ConditionalFunction(Conditional, CachedFunction[P, R]):
    """A cached function with conditions, safe as any other.

    A result that is renewed while it serves is computed in a thread, for which the program's end waits.
    """

    __slots__ = ("_conditions", "_late", "_renewing")

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._conditions.checks_now() and not self._flow.passive and mode.get() is None:
            return self.checked(*args, **kwargs)
        value = super().__call__(*args, **kwargs)
        if self._late:
            self._renew(args, kwargs)
        return result_of(value)  # type: ignore[no-any-return]

    def checked(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, store the result and return it; warn once if it is not the one that was stored.

        Where nothing is stored, this is an ordinary call.
        """
        before, is_stored = attempt(lambda: CachedFunction.get(self, *args, **kwargs))
        if not is_stored:
            return result_of(super().__call__(*args, **kwargs))  # type: ignore[no-any-return]
        after = super().refresh(*args, **kwargs)
        self._compare(before, after, args, kwargs)
        return result_of(after)  # type: ignore[no-any-return]

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Answer[R]:
        """Call the function, and return its result with how it was got; or raise its exception."""
        answer = super().call(*args, **kwargs)
        if self._late:
            self._renew(args, kwargs)
        return answer._replace(value=result_of(answer.value))

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, replace its stored result and return it."""
        return result_of(super().refresh(*args, **kwargs))  # type: ignore[no-any-return]

    def _renew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute a call anew in a thread, if its result is late and no other thread does."""
        if (this := self._to_renew(args, kwargs)) is None:
            return
        _, error = try_call(
            threading.Thread(target=self._run, args=(this, args, kwargs), name=f"renew {this[1]}").start
        )
        if error is not None:  # no thread to be had: a later call tries again
            self._renewing.discard(this)

    def _run(self, this: tuple[int, str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute a call anew, unless another process does so or has done so just now."""
        _, error = try_call(self._anew, this[1], args, kwargs)
        self._renewed(this, error)

    def _anew(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute a call anew; raises `NotNow` if another thread or process does."""
        if not self._is_renewed(name, args, kwargs):
            super().refresh(*args, **kwargs)


def result_of(value: Any) -> Any:
    """The result of a call, or its exception: a stored one says from when it is."""
    if type(value) is not Raised:
        return value
    error, when_ns = value
    if error.__traceback__ is None:
        ago = age(when_ns / 1e9, time.time())
        error.add_note(f"This exception was stored by pcache {ago} ago; the function was not called.")
    try:
        raise error
    finally:
        del error, value  # avoids a cycle through the frame


register_reducer(ConditionalFunction, lambda function, _encoder: function.__wrapped__)
