"""A cached function bound to an instance or class."""

from __future__ import annotations

from itertools import repeat
from types import MethodType

from pcache.startup import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.insight.explanation import Explanation
    from pcache.runtime.calls import Answer

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")

if TYPE_CHECKING:
    R_co = TypeVar("R_co", covariant=True)

    class Cached(Protocol[P, R_co]):
        """A cached function, as its methods know it."""

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        def key(self, /, *args: P.args, **kwargs: P.kwargs) -> str: ...
        def exists(self, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def get(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        def get_or(self, default: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any: ...
        def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Answer[R_co]: ...
        def put(self, result: Any, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool: ...
        def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation: ...
        def map(self, items: Iterable[Any], /, *more: Iterable[Any], **options: Any) -> Iterator[R_co]: ...
        @property
        def __wrapped__(self) -> Callable[P, R_co]: ...


class CachedMethod(Generic[P, R]):
    """A cached function bound to an instance, whose pickled state is part of every key."""

    # The callable lies in a slot, where Python finds it without a frame of ours: recursive methods go as deep as
    # functions do.
    if not TYPE_CHECKING:  # pyright takes what lies in a slot for no method
        __slots__ = ("__call__", "__dict__", "__weakref__")

    def __init__(self, function: Cached[..., R], instance: object) -> None:
        self.__call__ = MethodType(function.__call__, instance)  # type: ignore[method-assign]
        self.__func__ = function
        self.__self__ = instance
        self.__doc__ = function.__doc__

    if TYPE_CHECKING:
        __name__: str
        __qualname__: str
        __wrapped__: Callable[..., R]

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def key(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call, 40 hexadecimal digits."""
        return self.__func__.key(self.__self__, *args, **kwargs)

    def exists(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether this call has a live entry."""
        return self.__func__.exists(self.__self__, *args, **kwargs)

    def get(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, or raise `Miss` with the reason; never computes."""
        return self.__func__.get(self.__self__, *args, **kwargs)

    def get_or(self, default: D, /, *args: P.args, **kwargs: P.kwargs) -> R | D:
        """Return the stored result of this call, or `default` if there is none; never computes."""
        return self.__func__.get_or(default, self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Answer[R]:
        """Call the method, and return its result with how it was got: `value`, `hit`, `age` and `cost` in seconds."""
        return self.__func__.call(self.__self__, *args, **kwargs)

    def put(self, result: R, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Store `result` as that of this call; return whether it could be stored."""
        return self.__func__.put(result, self.__self__, *args, **kwargs)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, replace its stored result and return it."""
        return self.__func__.refresh(self.__self__, *args, **kwargs)

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the stored result of this call; return whether there was one."""
        return self.__func__.invalidate(self.__self__, *args, **kwargs)

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Say whether this call would hit, and what differs from the stored calls that are most like it."""
        return self.__func__.explain(self.__self__, *args, **kwargs)

    def map(self, items: Iterable[Any], /, *more: Iterable[Any], **options: Any) -> Iterator[R]:
        """Return the results of many calls one by one; as `CachedFunction.map`."""
        return self.__func__.map(repeat(self.__self__), items, *more, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":
            import inspect  # loaded already by callers that ask for this

            return inspect.signature(MethodType(self.__func__.__wrapped__, self.__self__))
        return getattr(self.__func__, name)  # cache_info, __name__, __doc__ and the like

    def __reduce__(self) -> Any:
        return getattr, (self.__self__, self.__func__.__name__)  # type: ignore[attr-defined]  # set by update_wrapper

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CachedMethod) and self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} of {object.__repr__(self.__self__)}>"

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))


class CachedClassMethod(classmethod):  # type: ignore[type-arg]  # its parameters are those of the function it holds
    """A cached class method: from Python 3.13 on, `classmethod` itself would bind it without the extra calls."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return CachedMethod(self.__func__, type(instance) if owner is None else owner)  # type: ignore[arg-type]
