"""Run the key functions of a decorator: what they raise names the parameter. Loaded where there are any."""

from __future__ import annotations

from pcache.errors import UnhashableArgument
from pcache.objects import culprit
from pcache.objects.lookup import class_name
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable


def guarded(label: str, name: str, function: Callable[[Any], object]) -> Callable[[Any], object]:
    """Wrap a key function so that its failure names the parameter."""

    def replace(value: Any) -> object:
        result, error = try_call(function, value)
        if error is not None:
            raise _failed(f"{label}: the key function of parameter {name!r}", label, name, value, error) from error
        return result

    return replace


def guarded_call(label: str, function: Callable[..., object]) -> Callable[..., object]:
    """The same for a function of the whole call."""

    def replace(*args: Any, **kwargs: Any) -> object:
        result, error = try_call(lambda: function(*args, **kwargs))
        if error is not None:
            raise _failed(f"{label}: the key function of the call", label, "call", args, error) from error
        return result

    return replace


def _failed(what: str, label: str, name: str, value: object, error: BaseException) -> UnhashableArgument:
    return UnhashableArgument(
        f"{what} failed: {culprit.described(error)}",
        function=label,
        parameter=name,
        type_name=class_name(value),
        path=name,
    )
