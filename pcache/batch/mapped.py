"""What makes a cached function map over many arguments; the rest is loaded by the first map."""

from __future__ import annotations

from pcache.startup import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcache.batch import mapping
else:
    mapping = late("pcache.batch.mapping")

P = ParamSpec("P")
R = TypeVar("R")


class Mapped(Generic[P, R]):
    """A function with a method `map`."""

    __slots__ = ()

    def map(
        self,
        items: Iterable[Any],
        /,
        *more: Iterable[Any],
        executor: Any = None,
        chunk: int | None = None,
        ordered: bool = True,
        on_error: Literal["raise", "return"] = "raise",
        progress: Callable[[int, int | None], object] | bool | None = None,
        **common: Any,
    ) -> Iterator[R]:
        """Return the results of many calls one by one, as `map` does; `common` are arguments of each of them.

        Each call is computed once, and stored as soon as it is: an interrupt loses only what is under way. `executor`
        makes the calls that miss, `chunk` at a time (by default what takes a quarter of a second): one of
        concurrent.futures or its like, a dask `Client`, a `joblib.Parallel` or the module `ray`. Without `ordered`
        results come as they are ready. With `on_error="return"` exceptions take the places of results. `progress` is
        called with the number of results so far and the total, None if that is not known; by default a bar is shown
        on a terminal if it takes more than a second.

        >>> import tempfile, pcache
        >>> cache = pcache.Cache(tempfile.mkdtemp())
        >>> @cache.cached
        ... def power(base, exponent):
        ...     return base**exponent
        >>> list(power.map(range(4), exponent=2))
        [0, 1, 4, 9]
        """
        options: Any = {"executor": executor, "chunk": chunk, "ordered": ordered, "on_error": on_error}
        itself: Any = self
        return mapping.map_calls(itself, (items, *more), common, progress=progress, **options)
