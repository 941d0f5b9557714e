"""What `@cached.batch(over=...)` makes of a function."""

from __future__ import annotations

from types import MethodType

from pcache.batch.containers import ITEMS
from pcache.batch.items import MOST, Call, OddResult, compute
from pcache.errors import ConfigError, PcacheWarning
from pcache.keys.dispatch import register_reducer
from pcache.objects.summary import summarize_value
from pcache.runtime.boundary import passes
from pcache.runtime.likeness import take_after
from pcache.runtime.modes import mode
from pcache.startup import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.batch.calls import Cached

P = ParamSpec("P")
R = TypeVar("R")


class BatchFunction(Generic[P, R]):
    """A function of many items, each of whose results is stored. Safe for threads, processes and forks.

    `of_one` is the cached function of one item, whose methods `key`, `exists`, `get` and so on take one item in place
    of all; what it stores is the kind of container that the function returned, and the item's result.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, of_one: Cached, over: str, max_batch: int) -> None:
        take_after(self, of_one.__wrapped__)
        self.of_one = of_one
        self._over = over
        self._most = max_batch
        self._at = place_of(of_one, over)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            call = self._call(args, kwargs)
        except BaseException as error:
            if passes(error, self.of_one.name):
                raise
            call = None
        if call is None:
            return self.__wrapped__(*args, **kwargs)
        try:
            return compute(call, self._most)  # type: ignore[no-any-return]
        except BaseException as error:
            if self._is_to_raise(error, call):
                raise
        return call.returned if call.has_returned else self.__wrapped__(*args, **kwargs)

    def _is_to_raise(self, error: BaseException, call: Call) -> bool:
        """Whether to raise what came of a call; else the function is called, or has returned something odd."""
        if error is call.error:
            call.error = None  # avoids a cycle through the frames
            return True
        if type(error) is not OddResult:
            return passes(error, self.of_one.name)
        returned, call.has_returned = error.args
        call.returned = returned
        warn_once(
            (self.of_one.name, "odd batch"),
            f"{self.of_one.name} returned {summarize_value(returned)}, and not {ITEMS} with a result for each item: the"
            " caller gets it, and nothing is stored",
            PcacheWarning,
        )
        return False

    def _call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
        """The call, if its items can be told apart and there are any."""
        if self.of_one._flow.passive or mode.get() == "disabled" or not (self._over in kwargs or self._at < len(args)):
            return None
        call = Call(self.of_one, args, kwargs, self._over, self._at)
        if not call.kind:
            text = f"calls of {self.of_one.name} are computed without the cache: {self._over} takes {ITEMS}, not"
            warn_once((self.of_one.name, "items"), f"{text} {summarize_value(call.whole)}", PcacheWarning)
        return call if call.items else None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<cached by {self._over}, {self.of_one!r}>"


register_reducer(BatchFunction, lambda function, _encoder: function.__wrapped__)


def place_of(of_one: Cached, over: str) -> int:
    """The position of a parameter; raises `ConfigError` if there is none of that name, or it takes several values."""
    names = [form.partition("(")[2].rstrip(")") or form for form in of_one._calls.binder.form]
    if over not in names:
        raise ConfigError(
            f"over= names {over!r}, which is no parameter of {of_one._calls.label} that counts for its key and takes"
            f" one value; it has {', '.join(names) or 'none'}",
            setting="over",
            value=over,
        )
    import inspect  # late for start-up time: few functions take batches

    return list(inspect.signature(of_one.__wrapped__).parameters).index(over)


def check_function(function: object) -> None:
    """Raise `ConfigError` for what a class has in place of a function."""
    if isinstance(function, (classmethod, staticmethod)):
        text = f"batch takes a function: it belongs below @{type(function).__name__}, not above it"
        raise ConfigError(text, setting="function", value=function)


def check_batch(over: Any, max_batch: Any) -> None:
    """Raise `ConfigError` for options that cannot be used."""
    if type(over) is not str:
        raise ConfigError(
            f"batch takes over='PARAMETER', the name of the one that takes the items, not {summarize_value(over)}",
            setting="over",
            value=over,
        )
    if type(max_batch) is not int or not 1 <= max_batch <= MOST:
        raise ConfigError(
            f"max_batch= takes a number of items from 1 to {MOST}, not {summarize_value(max_batch)}",
            setting="max_batch",
            value=max_batch,
        )
