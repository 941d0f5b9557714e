"""One call that missed: how to compute it, and its outcome."""

from __future__ import annotations

import time

from pcache.runtime.singleflight import computing
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import CONTEXT, TRACEBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pcache.config.conditions import Conditions
    from pcache.entry.reader import Address, Loaded
    from pcache.versions.registry import FunctionVersion

_DEEP = 16  # nested computations, each of which takes a descriptor and six calls


class Waits:
    """How many calls of one function got what another thread or process had computed meanwhile."""

    number = 0


class Run:
    """The outcome of a job's one call of its function: nothing yet, a result, or the exception it raised.

    Or it was not called, and `found` is what another thread or process has computed. `reason` says why the call missed.

    Times are nanoseconds of a clock of their own: when the call of the cached function began, how long the function
    took, and how long without the cached calls inside of it, which have entries of their own.
    """

    __slots__ = ("began_ns", "done", "error", "found", "own_ns", "reason", "result", "took_ns", "traceback", "waits")

    def __init__(self, began_ns: int = 0, waits: Waits | None = None) -> None:
        self.began_ns = began_ns or time.perf_counter_ns()
        self.took_ns = self.own_ns = 0
        self.done = False
        self.error: BaseException | None = None
        self.result: Any = None
        self.traceback: TracebackType | None = None  # of the error, from the function on
        self.found: Loaded | None = None
        self.reason = ""
        self.waits = waits or Waits()

    def took(self, elapsed_ns: int, nested_ns: int) -> None:
        """Note how long the function took, and how long the cached calls inside of it."""
        self.took_ns, self.own_ns = elapsed_ns, max(elapsed_ns - nested_ns, 0)

    def waited(self, found: Loaded) -> Any:
        """Note that another thread or process has computed the result, and return it."""
        self.found = found
        self.waits.number += 1
        return found.value

    def raises(self, error: BaseException) -> bool:
        """Whether this is the exception of the function; if so, remove the frames of pcache from its traceback."""
        if self.error is not error:
            return False
        TRACEBACK.__set__(error, self.traceback)
        self.error = self.traceback = None  # avoids a reference cycle through the frames
        return True

    def became(self, error: BaseException) -> bool:
        """Whether this stands for the function's `StopIteration`, which Python lets no generator raise."""
        return type(error) is RuntimeError and error.__cause__ is not None and error.__cause__ is self.error

    def end(self) -> Any:
        """Return the result, or raise the function's exception again, with its original context."""
        error = self.error
        if error is None:
            return self.result
        context = CONTEXT.__get__(error)
        try:
            self.raises(error)
            raise error
        finally:
            CONTEXT.__set__(error, context)
            del error


class Job(NamedTuple):
    """One call that missed: where to store its result and how to compute it."""

    address: Address
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    version: FunctionVersion
    summary: Callable[[], dict[str, str]]
    digests: Mapping[str, bytes]
    strict: bool
    lock_timeout: float | None
    since_ns: int  # only a result whose computation began later is accepted; 0 for any
    summaries: bool  # whether to store readable summaries of arguments and result
    inputs_hold: Callable[[], bool]  # whether code and files are as they were when the key was made
    run: Run  # its outcome so far
    look_again: Callable[[int], None]  # checks its arguments after a run of so many nanoseconds
    conditions: Conditions | None = None  # what the options say of its result
    changes: Callable[[], list[str]] = list  # files and parts of the code that changed since the key was made

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def is_deep(self) -> bool:
        """Whether so many computations are around it that it should use few stack frames and no descriptors."""
        return len(computing.get()) >= _DEEP


tellers: list[Callable[[Job, int], object]] = []  # they hear of each job that ended, after so many nanoseconds
