"""One call that missed: how to compute it, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.runtime.singleflight import computing
from pcache.system.interrupts import CONTEXT, TRACEBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pcache.entry.reader import Address
    from pcache.versions.registry import FunctionVersion

_DEEP = 16  # computations inside of each other, each of which takes a descriptor and six calls


class Run:
    """What came of the one call of a function that a job is for: nothing yet, a result, or what it raised."""

    __slots__ = ("done", "error", "result", "traceback")

    def __init__(self) -> None:
        self.done = False
        self.error: BaseException | None = None
        self.result: Any = None
        self.traceback: TracebackType | None = None  # of the error, from the function on

    def raises(self, error: BaseException) -> bool:
        """Whether this is what the function raised; it is then given its traceback without the frames of ours."""
        if self.error is not error:
            return False
        TRACEBACK.__set__(error, self.traceback)
        self.error = self.traceback = None  # its frames would hold this, and this the error
        return True

    def end(self) -> Any:
        """Return the result; or raise again what the function raised, with the context that it had."""
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
    """One call that missed: where its result belongs and how it is computed."""

    address: Address
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    version: FunctionVersion
    summary: Callable[[], dict[str, str]]
    digests: Mapping[str, bytes]
    strict: bool
    lock_timeout: float | None
    since_ns: int  # only a result made later will do; 0 for any
    summaries: bool  # whether what is stored says for people what it is about
    inputs_hold: Callable[[], bool]  # whether the files that the key was made of are untouched
    run: Run  # what came of it so far
    look_again: Callable[[int], None]  # at its arguments, after a run of so many nanoseconds

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def is_deep(self) -> bool:
        """Whether so many computations are around it that it is to take few frames of Python's, and no descriptors."""
        return len(computing.get()) >= _DEEP
