"""The blocks `with disabled()`, `with refreshing()` and `with max_age("1h")`, which are decorators too."""

from __future__ import annotations

from _contextvars import ContextVar

from pcache.errors import ConfigError
from pcache.startup import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, late
from pcache.system.interrupts import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from pcache.objects import summary
    from pcache.text import units
else:
    summary = late("pcache.objects.summary")
    units = late("pcache.text.units")

P = ParamSpec("P")
R = TypeVar("R")

Mode = Literal["disabled", "refreshing"]
mode: ContextVar[Mode | None] = ContextVar("pcache_mode", default=None)
oldest_ns: ContextVar[int | None] = ContextVar("pcache_max_age", default=None)  # results older than that do not count
ages_asked: set[bool] = set()  # filled by the first `max_age`: hits of programs without one look no further


class _Block:
    """A context in which calls of cached functions go otherwise; as a decorator, each call of a function is one.

    It holds for this thread or task, and ends with the block.
    """

    def __enter__(self) -> None:
        self._token = self._begin()

    def __exit__(self, *_: object) -> None:
        self._token.var.reset(self._token)

    def _begin(self) -> Any:
        """Set what holds inside, and return the token that takes it back."""
        raise NotImplementedError

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Make each call of a function, or of a coroutine function, such a block."""
        import functools  # both late for start-up time: few programs decorate with blocks
        import inspect

        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            name = type(self).__name__
            raise ConfigError(
                f"{name}() decorates functions and coroutine functions, not {summary.summarize_value(function)}, which"
                f" goes on after its call; write `with {name}(...):` into it",
                setting=name,
                value=function,
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            token = self._begin()
            try:
                return function(*args, **kwargs)
            finally:
                token.var.reset(token)

        @functools.wraps(function)
        async def inside_task(*args: Any, **kwargs: Any) -> Any:
            token = self._begin()
            try:
                return await function(*args, **kwargs)  # type: ignore[misc]  # its result is a coroutine
            finally:
                token.var.reset(token)

        return inside_task if inspect.iscoroutinefunction(function) else inside  # type: ignore[return-value]


class disabled(_Block):  # noqa: N801 - reads as a function: `with disabled():`
    """Call the functions themselves inside of this context: nothing is looked up and nothing stored.

    >>> @disabled()
    ... def check(f, *args):
    ...     return f(*args)
    """

    def _begin(self) -> Any:
        return uninterrupted(mode.set, "disabled")


class refreshing(_Block):  # noqa: N801
    """Compute every call made inside of this context anew, and replace the stored results; a decorator too."""

    def _begin(self) -> Any:
        return uninterrupted(mode.set, "refreshing")


class max_age(_Block):  # noqa: N801
    """Take results inside of this context only if they are not older than an age, and compute the others anew.

    The age is seconds, a `timedelta` or text such as "2h30m". Of blocks inside of each other the shortest age counts,
    and so does the `ttl=` of a function that is shorter. Raises `ConfigError` for what is no age.

    >>> with max_age("1h"):
    ...     pass  # calls of cached functions
    """

    def __init__(self, age: float | str | timedelta) -> None:
        try:
            self._ns = int(units.parse_duration(age) * 1e9)
        except ConfigError as error:
            raise ConfigError(f"max_age(): {error}", setting="max_age", value=age) from error

    def _begin(self) -> Any:
        ages_asked.add(True)
        around = oldest_ns.get()
        return uninterrupted(oldest_ns.set, self._ns if around is None else min(around, self._ns))
