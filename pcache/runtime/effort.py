"""How far a call goes that misses: all the way, or not to the point where it waits for others or computes."""

from __future__ import annotations

from _contextvars import ContextVar
from operator import is_

from pcache.errors import NotNow
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.runtime.job import Job


class Effort:
    """One call at a time that goes less far: it raises `NotNow` where it would compute, or else wait for others.

    `args` are the arguments of the call while it is made. Calls inside of it go all the way. For one thread.
    """

    __slots__ = ("args", "computes", "function")

    def __init__(self, function: Callable[..., Any], *, computes: bool) -> None:
        self.function = function
        self.computes = computes
        self.args: tuple[Any, ...] | None = None

    def begin(self, args: tuple[Any, ...]) -> None:
        """Have the call with these arguments go less far, until `args` is None again."""
        self.args = args
        _effort.set(self)

    def concerns(self, job: Job) -> bool:
        """Whether a job is that of the call."""
        args = self.args
        return (
            job.function is self.function and len(job.args) == len(args or ()) and all(map(is_, job.args, args or ()))
        )


_effort: ContextVar[Effort | None] = ContextVar("pcache_effort", default=None)


def check_effort(job: Job, *, waits: bool = False) -> None:
    """Raise `NotNow` if the call of a job was not to compute, or not to wait, which it is about to do now."""
    effort = _effort.get()
    if effort is None or effort.args is None:
        return
    if (waits or not effort.computes) and effort.concerns(job):
        raise NotNow(job.address.name)
