"""joblib's `Memory` with pcache's keys and files. Needs joblib; a cache itself does not.

The classes are subclasses of joblib's, as libraries ask for these. What joblib does with its own files is replaced:
`Memory` makes functions that are cached as by `Cache.cached`, and `Store` stands where joblib has its store backend.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time

from joblib import memory
from joblib.func_inspect import format_call
from joblib.logger import Logger

from pcache.entry import format as entry_format
from pcache.entry.inspector import inspect_file
from pcache.errors import ConfigError, Miss, PcacheWarning
from pcache.function import CachedFunction
from pcache.integrations.joblib_store import Store
from pcache.keys.names import Home, import_name, names_itself
from pcache.objects.lookup import attributes_of
from pcache.objects.summary import summarize
from pcache.runtime.invalidation import invalidate
from pcache.runtime.modes import mode
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from pcache.entry.reader import Address
    from pcache.runtime.calls import Call
    from pcache.runtime.job import Job

    Metadata = dict[str, Any]

expires_after = memory.expires_after

_MODES = (None, "r", "r+", "w+", "c")
# joblib 1.4.0 and 1.4.1 return the value alone.
_CALL_HAS_METADATA = isinstance(memory.NotMemorizedFunc(int).call(), tuple)


class MemorizedFunc(CachedFunction[..., Any], memory.MemorizedFunc):  # type: ignore[misc, unused-ignore]
    """A function that a `Memory` has cached: a `CachedFunction` that has joblib's methods as well."""

    def __init__(
        self,
        func: Callable[..., Any],
        location: Any,
        backend: str = "local",
        ignore: Any = None,
        mmap_mode: str | None = None,
        compress: Any = False,
        verbose: int = 1,
        timestamp: float | None = None,
        cache_validation_callback: Callable[[Metadata], Any] | None = None,
    ) -> None:
        store = location if isinstance(location, Store) else Store(location, compress)
        options = {"ignore": ignore or (), "unhashable": "compute"}
        super().__init__(func, store.cache.flow, store.cache.options_of(func, options))
        Logger.__init__(self)
        self.func = func
        self.ignore = ignore if ignore is not None else []
        self.store_backend, self.backend = store, backend
        self.mmap_mode, self.compress, self._verbose = mmap_mode, compress, verbose
        self.timestamp = time.time() if timestamp is None else timestamp
        self.cache_validation_callback = cache_validation_callback

    __repr__ = memory.MemorizedFunc.__repr__

    def __reduce__(self) -> Any:
        if names_itself(self):
            return self.__qualname__
        given = (self.func, self.store_backend, self.backend, self.ignore, self.mmap_mode, self.compress)
        return type(self), (*given, self._verbose, None, self.cache_validation_callback)

    @property
    def func_id(self) -> str:
        """`module:qualified.name`."""
        return self.name

    def _get_args_id(self, *args: Any, **kwargs: Any) -> str:
        return self.key(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a call anew and store its result; returns it with its metadata, if joblib's own does."""
        shown, _ = attempt(lambda: summarize(self._calls.binder.names, self._bind(*args, **kwargs)))
        started = time.time()
        result = self.refresh(*args, **kwargs)
        ended = time.time()
        return (result, _metadata(shown or {}, ended - started, ended)) if _CALL_HAS_METADATA else result

    def call_and_shelve(self, *args: Any, **kwargs: Any) -> Any:
        """Return a reference to the stored result of a call, which is computed if it is missing.

        What cannot be stored is in the reference itself.
        """
        found = self._valid(args, kwargs)
        if found is None:
            result = self(*args, **kwargs)
            found, _ = attempt(self._stored, args, kwargs)
            if found is None:
                return memory.NotMemorizedResult(result)
        address, metadata = found
        return MemorizedResult(
            self.store_backend, address, self.func_id, metadata, self._verbose - 1, self.mmap_mode, self.timestamp
        )

    def check_call_in_cache(self, *args: Any, **kwargs: Any) -> bool:
        """Whether a call has a stored result that may be used; nothing is computed or unpickled."""
        return self._valid(args, kwargs) is not None

    def clear(self, warn: bool = True) -> None:
        """Remove all stored results of this function."""
        if warn and self._verbose > 0:
            self.warn(f"Clearing function cache identified by {self.func_id}")
        self.cache_clear()

    def _valid(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Address, Metadata] | None:
        """What is stored of a call, unless the validation callback refuses it."""
        found: tuple[Address, Metadata] | None
        found, _ = attempt(self._stored, args, kwargs)  # what fails here fails in the call, which knows what to do
        if found is None or self.cache_validation_callback is None or self.cache_validation_callback(found[1]):
            return found
        return None

    def _stored(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Address, Metadata] | None:
        """Where the result of a call is stored, and its metadata."""
        flow = self._flow
        keyring = flow.keys.look()
        if flow.passive or mode.get() is not None or keyring is None:
            return None
        call = self._calls.of(args, kwargs)
        for address in (call.address, *self._calls.earlier(call)):
            place = flow.store.place(address.name)
            try:
                header = inspect_file(place, keyring, stream=False, open_it=flow.store.open).header
                entry_format.check_identity(header, address.key, address.function_id)
                entry_format.check_age(header, time.time_ns(), address.ttl_ns)
            except Miss:
                continue
            shown = summarize(self._calls.binder.names, call.values)
            return address, _metadata(shown, header.cost_ns / 1e9, header.created_ns / 1e9)
        return None

    def _job(self, call: Call, since_ns: int, began_ns: int = 0) -> Job:
        job = super()._job(call, since_ns, began_ns)
        return job._replace(function=self._aloud) if self._verbose > 0 else job

    def _aloud(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, and print what joblib prints."""
        attempt(lambda: sys.stdout.write(format_call(self.func, args, kwargs) + "\n"))
        started = time.time()
        result = self.func(*args, **kwargs)
        attempt(self._print_duration, time.time() - started)
        return result


class ValidatedFunc(MemorizedFunc):
    """One with a `cache_validation_callback`: each stored result is shown to it before it is used."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        found, _ = attempt(self._stored, args, kwargs)
        if found is None or self.cache_validation_callback is None or self.cache_validation_callback(found[1]):
            return super().__call__(*args, **kwargs)
        return self.refresh(*args, **kwargs)


def _metadata(shown: dict[str, str], duration: float, ended: float) -> Metadata:
    return {"duration": duration, "input_args": shown, "time": ended}


class MemorizedResult(memory.MemorizedResult):  # type: ignore[misc, unused-ignore]
    """A reference to a stored result. Small, and may be pickled; whoever loads it needs the key of the cache."""

    def __init__(
        self,
        store: Store,
        address: Address,
        func_id: str,
        metadata: Metadata,
        verbose: int = 0,
        mmap_mode: str | None = None,
        timestamp: float | None = None,
    ) -> None:
        Logger.__init__(self)
        self.store_backend, self._address = store, address
        self._call_id = (func_id, address.key.hex())
        self.metadata, self.duration = metadata, metadata["duration"]
        self.verbose, self.mmap_mode, self.timestamp = verbose, mmap_mode, timestamp

    def get(self) -> Any:
        """Return the result; raises `KeyError` when it is no longer there, or damaged."""
        flow = self.store_backend.cache.flow
        try:
            found = flow.look_up(self._address)
        except Miss as miss:
            raise KeyError(f"the result of a call of {self.func_id} is gone: {miss}") from None
        flow.ledger.count(self.func_id, hits=1, saved_ns=found.header.cost_ns, read_bytes=found.identity[1])
        return found.value

    def clear(self) -> None:
        """Remove the result."""
        flow = self.store_backend.cache.flow
        if not flow.settings.read_only and (gone := invalidate(flow.directory, [self._address])):
            flow.saving.limiter.give_back(gone, self.func_id)

    def __getstate__(self) -> dict[str, Any]:
        home = self._address.home
        address = self._address._replace(home=None, spelling=b"")  # both mean something in this process alone
        return {**vars(self), "timestamp": None, "_address": address, "_home": home and home.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        home = _home_here(state.pop("_home"))
        self.__dict__.update(state)
        self._address = self._address._replace(home=home)


def _home_here(name: str | None) -> Home | None:
    """The module of a function as this process has it, as a script or imported; None if it is not loaded."""
    for module in ("__main__", "__mp_main__", name):
        namespace = attributes_of(sys.modules.get(module)) if module else {}
        if namespace and import_name(namespace) == name:
            return Home(name, module != name, namespace)
    return None


class Memory(memory.Memory):  # type: ignore[misc, unused-ignore]
    """joblib's `Memory`, whose results lie in the folder `pcache` of `location`; with None nothing is cached.

        from pcache.joblib import Memory

        memory = Memory("results", verbose=0)

        @memory.cache
        def simulate(n): ...

    `compress` is a level of zstd, by default what pays. Large arrays are mapped whatever `mmap_mode` says, and changes
    of them are never written back. `backend_options` are options of `pcache.Cache`, such as `max_size`. Safe for
    threads and processes. Raises `ConfigError` for values that cannot be used.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        backend: str = "local",
        mmap_mode: str | None = None,
        compress: Any = False,
        verbose: int = 1,
        backend_options: Mapping[str, Any] | None = None,
    ) -> None:
        if backend != "local":
            raise ConfigError(
                f"backend= takes 'local', not {backend!r:.80}: pcache keeps results in files",
                setting="backend",
                value=backend,
            )
        if mmap_mode not in _MODES:
            raise ConfigError(
                f"mmap_mode= takes None, 'r', 'r+', 'w+' or 'c', not {mmap_mode!r:.80}",
                setting="mmap_mode",
                value=mmap_mode,
            )
        super().__init__(None, backend, mmap_mode=mmap_mode, verbose=verbose, backend_options=backend_options)
        self.location, self.compress = location, compress
        self.store_backend: Store | None = None if location is None else Store(location, compress, backend_options)

    def cache(
        self,
        func: Any = None,
        ignore: Any = None,
        verbose: int | None = None,
        mmap_mode: Any = False,
        cache_validation_callback: Any = None,
    ) -> Any:
        """Cache a function's results; use it with or without parentheses.

        `ignore` lists parameters that do not count. The callback gets the metadata of a stored result (`duration` and
        `time` in seconds, `input_args`) and says whether it may be used; else the call is computed anew.
        """
        if cache_validation_callback is not None and not callable(cache_validation_callback):
            raise ConfigError(
                f"cache_validation_callback needs to be callable. Got {cache_validation_callback!r:.80}.",
                setting="cache_validation_callback",
                value=cache_validation_callback,
            )
        options = {"ignore": ignore, "verbose": verbose, "mmap_mode": mmap_mode}
        if func is None:
            return functools.partial(self.cache, **options, cache_validation_callback=cache_validation_callback)
        if self.store_backend is None:
            return super().cache(func)
        if isinstance(func, memory.MemorizedFunc):
            func = func.func
        if inspect.iscoroutinefunction(func):
            name = func.__qualname__
            warn_once(("coroutine", name), f"{name} is a coroutine function: not cached", PcacheWarning)
            return memory.AsyncNotMemorizedFunc(func)
        given = (
            self.store_backend,
            self.backend,
            ignore,
            self.mmap_mode if mmap_mode is False else mmap_mode,
            self.compress,
            self._verbose if verbose is None else verbose,
            self.timestamp,
            cache_validation_callback,
        )
        if cache_validation_callback is not None:
            return ValidatedFunc(func, *given)
        ignored, _ = attempt(tuple, ignore or ())
        return self.store_backend.made(func, (ignored, *given[3:6]), lambda: MemorizedFunc(func, *given))
