"""Looking like a function: what frameworks read of one, and what copies of one are.

A cached function is an object with calls of its own (`get`, `refresh`), which bind to instances as it does;
`docs/decisions.md` says why it is no plain function, and what that costs. What can be shown without being one is here;
results are not known here. Keys and fingerprints do not read these attributes: they ask for `__wrapped__`.
"""

from __future__ import annotations

import functools
from operator import attrgetter
from types import FunctionType

from pcache.objects.lookup import attributes_of, code_of, look
from pcache.startup import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Self

P = ParamSpec("P")
R = TypeVar("R")


class Likeness(Generic[P, R]):
    """Shows what the wrapped function has, and is itself when it is copied, as functions are.

    The attributes cannot be set: a change would not reach what binds arguments. What a subclass keeps for itself lies
    in slots, so that `functools.wraps`, which copies the dict, takes over only what is the function's.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # else the annotations of this class would be those of what has none
        __name__: str
        __qualname__: str
        __wrapped__: Callable[P, R]

        @property
        def __code__(self) -> CodeType: ...
        @property
        def __defaults__(self) -> tuple[Any, ...] | None: ...
        @property
        def __kwdefaults__(self) -> dict[str, Any] | None: ...
        @property
        def __globals__(self) -> dict[str, Any]: ...
        @property
        def __closure__(self) -> tuple[Any, ...] | None: ...
    else:
        __code__ = property(attrgetter("__wrapped__.__code__"))
        __defaults__ = property(attrgetter("__wrapped__.__defaults__"))
        __kwdefaults__ = property(attrgetter("__wrapped__.__kwdefaults__"))
        __globals__ = property(attrgetter("__wrapped__.__globals__"))
        __closure__ = property(attrgetter("__wrapped__.__closure__"))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: Any) -> Self:
        return self


class CoroutineLikeness:
    """Shows that a wrapper is a coroutine function, as `inspect` and `asyncio` find out, also when it is bound."""

    __slots__ = ()

    @property
    def __code__(self: Any) -> CodeType:
        return code_of(self.__wrapped__)  # type: ignore[return-value]  # else it would not be a coroutine function

    @property
    def __defaults__(self: Any) -> tuple[Any, ...] | None:
        return look(self.__wrapped__, "__defaults__")  # type: ignore[no-any-return]

    @property
    def __kwdefaults__(self: Any) -> dict[str, Any] | None:
        return look(self.__wrapped__, "__kwdefaults__")  # type: ignore[no-any-return]


def take_after(wrapper: Any, function: Callable[..., Any]) -> None:
    """Copy name, docstring and attributes of a function to its wrapper.

    Those of other callable objects are looked up without running their code.
    """
    if type(function) is FunctionType:
        functools.update_wrapper(wrapper, function, updated=())
    else:
        for name in functools.WRAPPER_ASSIGNMENTS:
            if (value := look(function, name)) is not None:
                setattr(wrapper, name, value)
    for name, value in attributes_of(function).items():
        # An attribute `key` or `get` of the function must not hide the wrapper's.
        if type(name) is str and not hasattr(type(wrapper), name):
            setattr(wrapper, name, value)
    wrapper.__wrapped__ = function
