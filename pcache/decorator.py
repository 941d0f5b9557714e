"""`@cached`, which stores results in the cache of the current settings, or in a given one."""

from __future__ import annotations

import os

from pcache.cache import Cache
from pcache.errors import ConfigError
from pcache.function import CachedFunction
from pcache.objects.lookup import is_a
from pcache.objects.summary import summarize_value
from pcache.signing.keyring import hidden
from pcache.startup import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar, overload
from pcache.storage.directory import absolute
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from typing import Unpack

    from pcache.batch.function import BatchFunction
    from pcache.config.options import CachedOptions


P = ParamSpec("P")
R = TypeVar("R")


_default: dict[tuple[Any, ...], Cache] = {}


def default_cache() -> Cache:
    """The cache of the current settings; the same object as long as these do not change."""
    return _cache_at(None)


def _cache_at(location: str | None) -> Cache:
    names = sorted(name for name in os.environ if name.startswith("PCACHE_"))
    environment = tuple((name, hidden(os.environ[name])) for name in names)  # PCACHE_KEY is among them
    where, _ = attempt(os.getcwd)  # it may be gone
    state = (location, environment, where, *map(os.environ.get, ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")))
    if state not in _default:
        _default[state] = Cache(location)
    return _default[state]


def _chosen(cache: Cache | str | os.PathLike[str] | None) -> Cache:
    """The cache that is given, that of a folder, of which there is one, or that of the settings."""
    if cache is None or is_a(cache, (str, os.PathLike)):
        return _cache_at(cache and absolute(os.fspath(cache)))
    if not is_a(cache, Cache):
        text = f"cache= takes a pcache.Cache or the path of a folder, not {summarize_value(cache)}"
        raise ConfigError(text, setting="cache", value=cache)
    return cache  # type: ignore[no-any-return]


def batch(
    *,
    over: str,
    max_batch: int = 256,
    cache: Cache | str | os.PathLike[str] | None = None,
    **options: Unpack[CachedOptions],
) -> Callable[[Callable[P, R]], BatchFunction[P, R]]:
    """Cache the results of a function of many items one by one; as `Cache.batch`, by default in the default cache."""
    return _chosen(cache).batch(over=over, max_batch=max_batch, **options)


if TYPE_CHECKING:

    class Decorator(Protocol):
        """`cached`, as type checkers see it."""

        @overload
        def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
        @overload
        def __call__(
            self, /, *, cache: Cache | str | os.PathLike[str] | None = None, **options: Unpack[CachedOptions]
        ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
        def batch(
            self,
            *,
            over: str,
            max_batch: int = 256,
            cache: Cache | str | os.PathLike[str] | None = None,
            **options: Unpack[CachedOptions],
        ) -> Callable[[Callable[P, R]], BatchFunction[P, R]]:
            """Cache the results of a function of many items one by one."""

    cached: Decorator
else:

    def cached(
        function: Callable[..., Any] | None = None,
        /,
        *,
        ttl: float | str | timedelta | Callable[[Any], float | str | timedelta | None] | None = None,
        version: object = None,
        ignore: Iterable[str] = (),
        key: Mapping[str, Callable[[Any], object]] | Callable[..., object] | None = None,
        depends_on: Iterable[object] = (),
        strict: bool = False,
        lock_timeout: float | str | timedelta | None = None,
        code: Literal["deep", "own", "none"] = "deep",
        summaries: bool | None = None,
        unhashable: Literal["raise", "compute"] = "raise",
        files: Literal["silent", "warn"] | None = None,
        exceptions: type[Exception] | Iterable[type[Exception]] = (),
        store_if: Callable[[Any], object] | None = None,
        valid_if: Callable[[Any], object] | None = None,
        stale: float | str | timedelta | None = None,
        early_refresh: bool = False,
        min_cost: float | str | timedelta | None = None,
        check: float | str | None = None,
        cache: Cache | str | os.PathLike[str] | None = None,
        **unknown: Any,
    ) -> Any:
        """Cache a function's results on disk, in the default cache or in `cache`; options as for `Cache.cached`.

        `cache` is a `Cache` or the path of a folder, which has one in each process.

        >>> import tempfile
        >>> @cached(cache=Cache(tempfile.mkdtemp()), ignore=["verbose"])
        ... def area(width: float, height: float, verbose: bool = False) -> float:
        ...     return width * height
        >>> area(3, 4), area(3, height=4, verbose=True), area.cache_info().hits
        (12, 12, 1)
        """
        given = locals()
        return _chosen(cache)._decorate(function, given)

    cached.batch = batch
