"""A cache: a directory with its settings and keys, the functions cached in it, and its maintenance."""

from __future__ import annotations

import os

from pcache.config.options import GIVEN, make_options
from pcache.config.rules import RULES
from pcache.errors import ConfigError
from pcache.function import CachedFunction
from pcache.keys.dispatch import register_library, register_reducer
from pcache.objects.lookup import is_a, kind_of
from pcache.objects.summary import summarize_value
from pcache.runtime.flow import Flow
from pcache.signing.key_source import Wanted
from pcache.signing.keyring import hidden
from pcache.startup import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, late, overload
from pcache.storage.directory import Directory, absolute
from pcache.versions.version import label_of, shown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import timedelta
    from typing import Self, Unpack

    from pcache import method
    from pcache.batch import awaited
    from pcache.batch import function as batch_function
    from pcache.config.options import CachedOptions, Options
    from pcache.eviction.deletion import Removed
    from pcache.insight import listing
    from pcache.insight.records import EntryInfo, FunctionStats, Period, Stats, VersionInfo
    from pcache.kinds import async_generator, conditional, conditional_async, coroutine, generator
    from pcache.maintenance import cleanup
    from pcache.maintenance.records import Recompressed, Verified
else:
    async_generator = late("pcache.kinds.async_generator")
    conditional = late("pcache.kinds.conditional")
    conditional_async = late("pcache.kinds.conditional_async")
    coroutine = late("pcache.kinds.coroutine")
    generator = late("pcache.kinds.generator")
    method = late("pcache.method")
    awaited = late("pcache.batch.awaited")
    batch_function = late("pcache.batch.function")
    listing = late("pcache.insight.listing")
    cleanup = late("pcache.maintenance.cleanup")

P = ParamSpec("P")
R = TypeVar("R")


class Cache:
    """Function results in one directory.

    `location` is the directory, by default that of the settings. Sizes are bytes or text such as "20 GiB", durations
    seconds, `timedelta` or text such as "2h30m". `memory` limits what a process holds of entries; 0 is nothing.
    `ignore_globals` lists globals that do not affect results, as `module:NAME`. `signing_key` is base64 of 32 bytes, or
    several such keys, of which the first signs. `shared` is for a directory that a group shares, and requires a given
    key. Other values come from environment, project file, user file or defaults (`pcache config` shows which).

    Raises `ConfigError`, `DirectoryError` or `SigningKeyError` for values that cannot be used. Storing the first result
    makes the directory. Any number of threads, processes and `Cache` objects may share a directory on one machine; on a
    network file system a result may be computed twice.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        *,
        max_size: int | str | None = None,
        max_entries: int | None = None,
        min_free: float | str | None = None,
        policy: Literal["value", "lru"] | None = None,
        ttl: float | str | timedelta | None = None,
        compression: str | int | None = None,
        verify: str | None = None,
        memory: int | str | None = None,
        summaries: bool | None = None,
        lock_timeout: float | str | timedelta | None = None,
        ignore_globals: list[str] | tuple[str, ...] | None = None,
        files: Literal["silent", "warn"] | None = None,
        check: float | str | None = None,
        read_only: bool | None = None,
        shared: bool | None = None,
        signing_key: str | bytes | Iterable[str | bytes] | None = None,
    ) -> None:
        if not isinstance(signing_key, Wanted):
            signing_key = hidden(signing_key)  # tracebacks of errors below show the variables of this frame
        given = locals()
        arguments = {rule.name: given[rule.name] for rule in RULES if rule.name in given}
        arguments["directory"] = None if location is None else absolute(os.fspath(location))
        self._use(Directory(arguments, signing_key))

    @classmethod
    def over(cls, directory: Directory) -> Self:
        """A cache of a directory that is already open."""
        cache = cls.__new__(cls)
        cache._use(directory)
        return cache

    def _use(self, directory: Directory) -> None:
        self.directory, self.settings, self.flow = directory, directory.settings, Flow(directory)

    @property
    def location(self) -> str:
        """The directory, as an absolute path."""
        return self.settings.directory

    def __repr__(self) -> str:
        # Must work during `__init__`: a traceback with the values of variables shows it when a setting is refused.
        return f"Cache({self.location!r})" if "settings" in vars(self) else "Cache()"

    def __reduce__(self) -> Any:
        return _restore, self.directory.__reduce__()[1]

    @overload
    def cached(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def cached(self, /, **options: Unpack[CachedOptions]) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
    def cached(
        self,
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
        **unknown: Any,
    ) -> Any:
        """Cache a function's results here; use it with or without parentheses.

        `ttl` limits their age; `version` is any value, and changing it leaves old results unused; `ignore` names
        parameters that are not part of the key; `key` replaces an argument by a function of it, or is a function that
        gets all arguments and returns what counts; `depends_on` lists what else results depend on; with `strict` a
        result that cannot be pickled raises `UnpicklableResult`; `lock_timeout` limits how long a call waits for
        another process that computes the same; with `summaries=False` values are not stored as text; with
        `unhashable="compute"` a call whose argument has no key is computed, with one warning; with `files="warn"` an
        argument that names a file, whose content does not count, is named in a warning. Exceptions of the classes in
        `exceptions` are stored and raised again; `store_if` and `valid_if` are asked whether a result is to be stored,
        and accepted later, and `ttl` may be such a function; `stale` is how long an expired result serves while it is
        renewed, which `early_refresh` begins before; what took less than `min_cost` is not stored; `check` is the share
        of hits that are computed again and compared.

        >>> import tempfile
        >>> cache = Cache(tempfile.mkdtemp())
        >>> @cache.cached
        ... def square(n: int) -> int:
        ...     print("computing")
        ...     return n * n
        >>> square(3), square(n=3)
        computing
        (9, 9)
        """
        return self._decorate(function, locals())

    def _decorate(self, function: Any, given: Mapping[str, Any]) -> Any:
        """Wrap a function, or return a decorator, with the options among what was given."""
        options = {name: given[name] for name in GIVEN} | given["unknown"]
        return (lambda decorated: self._wrap(decorated, options)) if function is None else self._wrap(function, options)

    def batch(
        self, *, over: str, max_batch: int = 256, **options: Unpack[CachedOptions]
    ) -> Callable[[Callable[P, R]], batch_function.BatchFunction[P, R]]:
        """Cache the results of a function of many items one by one; the function gets only what is missing.

        `over` names the parameter that takes the items, as a list, tuple, array or dict; the function returns a result
        for each, in their order or by their keys. It is called with at most `max_batch` items at a time, and results
        are stored after each call. Other `options` are those of `cached`.

        >>> import tempfile
        >>> cache = Cache(tempfile.mkdtemp())
        >>> @cache.batch(over="words")
        ... def lengths(words: list[str]) -> list[int]:
        ...     print("computing", words)
        ...     return [len(word) for word in words]
        >>> lengths(["a", "bb"]), lengths(["bb", "ccc"])
        computing ['a', 'bb']
        computing ['ccc']
        ([1, 2], [2, 3])
        """
        batch_function.check_batch(over, max_batch)

        def decorate(function: Callable[P, R]) -> batch_function.BatchFunction[P, R]:
            batch_function.check_function(function)
            of_one = self._wrap(function, options, over)
            is_awaited = kind_of(function) == "coroutine"
            return (awaited.AwaitedBatch if is_awaited else batch_function.BatchFunction)(of_one, over, max_batch)

        return decorate

    def cache(self, func: Callable[..., Any] | None = None, ignore: Iterable[str] = (), **_unused: Any) -> Any:
        """As joblib's `Memory.cache`, for scikit-learn: other options have no effect, calls without a key compute."""
        options: dict[str, Any] = {"ignore": ignore or (), "unhashable": "compute"}
        return self.cached(**options) if func is None else self._wrap(func, options)

    def _wrap(self, function: Any, options: Mapping[str, Any], over: str = "") -> Any:
        if is_a(function, classmethod):
            return method.CachedClassMethod(self._wrap(function.__func__, options))
        if is_a(function, staticmethod):
            return staticmethod(self._wrap(function.__func__, options))
        made, kind = self.options_of(function, options)._replace(over=over), kind_of(function)
        if kind == "coroutine":
            of_coroutines = (
                coroutine.CachedCoroutine if made.conditions is None else conditional_async.ConditionalCoroutine
            )
            return of_coroutines(function, self.flow, made)
        if kind == "generator":
            return generator.make(function, self.flow, made)
        if kind == "asynchronous generator":
            return async_generator.make(function, self.flow, made)
        kind_of_results = CachedFunction if made.conditions is None else conditional.ConditionalFunction
        return kind_of_results(function, self.flow, made)

    def options_of(self, function: Any, options: Mapping[str, Any]) -> Options:
        """The options of a decorator for one function, completed by the settings; raises `ConfigError`."""
        if not callable(function):
            text = f"cached takes a function, not {summarize_value(function)}; options are given by name, as in"
            raise ConfigError(f"{text} cached(ttl='7d')", setting="function", value=function)
        settings = self.settings
        own = settings.of_function(shown_name(function, label_of(function))) if settings.functions else settings
        has_result = kind_of(function) in ("function", "coroutine")
        return make_options(**options).completed(own, settings, has_result=has_result)

    # Maintenance and reports

    def stats(self, since: float = 0.0, *, exact: bool = False) -> Stats:
        """Entries and bytes, hits, misses and time saved, in all and by function, and what is being computed.

        Calls are counted from `since` on (seconds since 1970, to the hour). Reads names and sizes only; beyond 100,000
        entries it reads a sample, unless `exact` is set, which takes some 5 us an entry.
        """
        return listing.stats(self.directory, since, exact=exact)

    def periods(self, since: float = 0.0) -> tuple[Period, ...]:
        """The counters over time: by hour, and by day for times more than a month ago."""
        return listing.periods(self.directory, since)

    def functions(self) -> Iterator[FunctionStats]:
        """The cached functions, the one with the most bytes first."""
        return iter(self.stats().functions)

    def entries(self, function: CachedFunction[..., Any] | str | None = None) -> Iterator[EntryInfo]:
        """The entries, of one function (or those whose name matches a pattern) or of all, the latest used first."""
        return listing.entries(self.directory, function)

    def versions(self, function: CachedFunction[..., Any] | str | None = None) -> list[VersionInfo]:
        """The code versions of functions, the newest first, each with what was edited since the one before.

        Nothing is imported: the files on disk are compiled to find out which versions they have.
        """
        return listing.versions(self.directory, function)

    def evict(
        self,
        *,
        max_size: int | str | None = None,
        max_entries: int | None = None,
        max_age: float | str | timedelta | None = None,
        function: CachedFunction[..., Any] | str | None = None,
        dry_run: bool = False,
    ) -> Removed:
        """Remove the least valuable entries until given limits are met once; storing keeps those of the settings."""
        return cleanup.evict(self.directory, max_size, max_entries, max_age, function, dry_run=dry_run)

    def clear(
        self,
        function: CachedFunction[..., Any] | str | None = None,
        *,
        superseded: bool = False,
        unused_for: float | str | timedelta | None = None,
        larger_than: int | str | None = None,
        dry_run: bool = False,
    ) -> Removed:
        """Remove the entries of one function, or of those whose name matches a pattern, or all.

        With `superseded` only those of code versions that the files on disk no longer have. Nothing is imported: the
        files are compiled and compared. Versions from notebooks, or made by another Python, stay. `unused_for` and
        `larger_than` restrict it to entries that were not used for so long, and take more space than that.
        """
        return cleanup.clear(
            self.directory,
            function,
            superseded=superseded,
            unused_for=unused_for,
            larger_than=larger_than,
            dry_run=dry_run,
        )

    def recompress(
        self,
        compression: str | int,
        function: CachedFunction[..., Any] | str | None = None,
        *,
        older_than: float | str | timedelta | None = None,
        dry_run: bool = False,
    ) -> Recompressed:
        """Recompress entries by "none", "auto" or a zstd level (-7 to 22), all or those not used for `older_than`.

        Nothing is unpickled. Programs may use the cache meanwhile: they read either the old file or the new one.
        """
        return cleanup.recompress(self.directory, compression, function, older_than=older_than, dry_run=dry_run)

    def verify(self, *, repair: bool = False) -> Verified:
        """Check every tag and digest; with `repair`, remove damaged entries. Nothing is unpickled."""
        return cleanup.verify(self.directory, repair=repair)


def _restore(arguments: dict[str, Any], *others: Any) -> Cache:
    return Cache.over(Directory(arguments, *others))


# The reducers of functions, arrays and frames are loaded by the first call, and not by the import.
register_library("", "pcache.fingerprint.reducers")
# Keys leave out the cache's signing keys: otherwise making or rotating one would change the key of a call.
register_reducer(Cache, lambda cache, _: (_restore, cache.directory.arguments))
