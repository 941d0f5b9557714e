"""A cached function: what `@cached` makes of a function.

It keeps the function's signature, docstring and name, adds the calls of the table in `docs/design.md`, and can be
pickled. How a result is looked up and stored is `flow`'s affair.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

from blake3 import blake3

from pcache import fingerprint
from pcache.culprit import attempt
from pcache.dispatch import register_reducer
from pcache.errors import ConfigError, Miss, PcacheWarning, UnhashableArgument
from pcache.flow import Job, mode
from pcache.keys import digest, encode, module_name
from pcache.method import CachedMethod
from pcache.notices import warn_once
from pcache.reader import Address
from pcache.signature import make_binder
from pcache.unhashable import unhashable_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pcache.cache import Cache
    from pcache.fingerprint import Fingerprint
    from pcache.options import Options
    from pcache.registry import FunctionVersion

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

_new = tuple.__new__  # of a named tuple, without the Python call that `Address(...)` makes
_FUNCTION_ID_BYTES = 8
_FUNCTION_CONTEXT = b"pcache function 1\x00"
_KEY_CONTEXT = b"pcache key 1\x00"


class CacheInfo(NamedTuple):
    """As functools' one: hits and misses of this process, the limit of entries, the entries of this version."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class Version(NamedTuple):
    """The code version of a function that is running, as names and keys need it."""

    function_id: bytes
    hex_id: str
    prefix: bytes  # of what its keys are digests of
    facts: FunctionVersion
    fingerprint: Fingerprint


class _Call(NamedTuple):
    """One call of a cached function: its arguments, those that count, and where its entry lies."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    values: tuple[Any, ...]
    address: Address


class CachedFunction(Generic[P, R]):
    """A function whose results are stored on disk.

    Safe for threads, processes and forks: one of those that need the same missing result computes it, the others wait.
    On network file systems each computes for itself. A hit returns a fresh object at every call, so callers may change
    what they get.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], cache: Cache, options: Options) -> None:
        functools.update_wrapper(self, function, updated=())
        for name, value in getattr(function, "__dict__", {}).items():
            if not hasattr(type(self), name):  # the function's own `key` or `get` must not hide ours
                setattr(self, name, value)
        self.__wrapped__ = function
        self._cache = cache
        self._flow = cache.flow
        self._options = options
        self._binder = make_binder(function, ignore=options.ignore, key_functions=options.key)
        self._bind = self._binder.bind
        self._label = getattr(function, "__qualname__", None) or type(function).__qualname__
        self._ttl_ns = None if options.ttl is None else int(options.ttl * 1e9)
        self._refresh = cache.settings.refresh
        self._entries = cache.flow.store.entries
        self._version: Version | None = None
        self._captured: tuple[tuple[Any, ...], bytes] | None = None
        self._has_closure = bool(getattr(function, "__closure__", None))
        self._hits = self._misses = 0
        self.options_digest = self._digest_of_options()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        asked = mode.get()
        if self._flow.passive or asked == "disabled":
            return self.__wrapped__(*args, **kwargs)
        try:
            values = self._bind(*args, **kwargs)
        except UnhashableArgument:
            raise
        except TypeError:
            values = None
        if values is None:  # the call does not fit the signature: let Python say so
            return self.__wrapped__(*args, **kwargs)
        address = self._address(values)
        if asked == "refreshing" or self._refresh:
            return self._compute(_Call(args, kwargs, values, address), Miss("refreshed"), time.time_ns())
        try:
            value: R = self._flow.look_up(address).value
        except Miss as error:
            miss = error.with_traceback(None)  # whose frames would keep the arguments alive
        else:
            self._hits += 1
            return value
        # Outside of the handler: what the function raises has no context of ours.
        return self._compute(_Call(args, kwargs, values, address), miss)

    def _address(self, values: tuple[Any, ...]) -> Address:
        """Where the entry of a call lies, and what it must say."""
        version = self._version
        if version is None or not version.fingerprint.holds():
            version = self._find_version()
        prefix = self._prefix_with_captured(version) if self._has_closure else version.prefix
        chunks, error = attempt(encode, values)
        if error is not None:
            raise unhashable_call(self._label, self._binder.names, values, error) from error
        key = digest(prefix, chunks)
        name = key.hex()
        path = f"{self._entries}/{name[:2]}/{version.hex_id}-{name}"
        return _new(Address, (path, key, version.function_id, self._ttl_ns))

    def _compute(self, call: _Call, miss: Miss, since_ns: int = 0) -> R:
        self._misses += 1
        result: R = self._flow.compute(self._job(call, since_ns), miss)
        return result

    def _job(self, call: _Call, since_ns: int = 0) -> Job:
        def summary() -> str:
            from pcache.summary import summarize  # late for start-up time: a hit summarizes nothing

            return summarize(self._binder.names, call.values)

        return Job(
            call.address,
            self.__wrapped__,
            call.args,
            call.kwargs,
            (self._version or self._find_version()).facts,
            summary,
            self._options.strict,
            self._options.lock_timeout,
            since_ns,
        )

    def _find_version(self) -> Version:
        """Find out which code runs; once per function and process."""
        from pcache.registry import describe  # late for start-up time: decorating needs no version

        function = self.__wrapped__
        found = fingerprint.of_callable(function, self._options.code, self._options.depends_on)
        name = f"{module_name(function)}:{self._label}"
        content = (name, found.digest, self._binder.source, self.options_digest)
        function_id = blake3(_FUNCTION_CONTEXT + b"".join(encode(content))).digest(_FUNCTION_ID_BYTES)
        file = getattr(getattr(function, "__code__", None), "co_filename", "")
        version = "" if self._options.version is None else repr(self._options.version)[:80]
        facts = describe(function_id.hex(), name, file, found.digest.hex(), version)
        self._version = Version(function_id, facts.function_id, _KEY_CONTEXT + function_id, facts, found)
        return self._version

    def _digest_of_options(self) -> bytes:
        """What of the options decides results: `version` and the code of the `key` functions; checks `depends_on` too.

        What `depends_on` names is looked at again when the first call finds out which code runs.
        """
        content = (self._options.version, sorted(self._options.key.items()))
        digest, error = attempt(lambda: blake3(b"".join(encode(content))).digest())
        if error is not None:
            raise ConfigError(f"version= and key= of {self._label}: {error}", setting="version") from error
        for i, value in enumerate(self._options.depends_on):
            _, error = attempt(fingerprint.of_callable, len, "none", (value,))
            if error is not None:
                raise ConfigError(
                    f"depends_on= of {self._label}: item {i} is a {type(value).__qualname__} that cannot be digested"
                    f" ({error}); it takes functions, classes, modules, paths of files and plain values",
                    setting="depends_on",
                    value=value,
                ) from error
        return digest  # type: ignore[no-any-return]

    def _prefix_with_captured(self, version: Version) -> bytes:
        """What the function captures is part of its keys, anew when another object was captured since.

        What has no key, such as a lock, counts by identity: nothing is shared with other processes, nothing mixed up.
        """
        captured = fingerprint.captured_values(self.__wrapped__, self)
        known = self._captured
        if known is None or len(captured) != len(known[0]) or not all(map(operator.is_, captured, known[0])):
            digests = b"".join(self._digest_of_captured(value, version) for value in captured)
            # The objects are kept alive, so that no other can have their identity.
            known = self._captured = captured, blake3(digests).digest()
        return version.prefix + known[1]

    def _digest_of_captured(self, value: object, version: Version) -> bytes:
        chunks, error = attempt(encode, value)
        if error is None:
            return blake3(b"".join(chunks)).digest()
        warn_once(
            (version.facts.name, "closure"),
            f"{self._label} captures a {type(value).__qualname__}, which has no key: its results are found again only"
            " by this process. If it does not affect them, pass it as an argument with ignore=.",
            PcacheWarning,
        )
        return blake3(_process_token() + id(value).to_bytes(8, "little")).digest()

    # The calls of a cached function

    def key(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call, 40 hexadecimal digits."""
        return self._call(args, kwargs).address.key.hex()

    def exists(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether this call has a live entry."""
        call = self._call(args, kwargs)
        try:
            self._flow.look_up(call.address)
        except Miss:
            return False
        return True

    def get(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, or raise `Miss` with the reason; never computes."""
        call = self._call(args, kwargs)
        value: R = self._flow.look_up(call.address).value
        return value

    def put(self, result: R, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Store `result` as that of this call; return whether it could be stored."""
        return self._flow.put(self._job(self._call(args, kwargs)), result)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, replace its stored result and return it."""
        return self._compute(self._call(args, kwargs), Miss("refreshed"), time.time_ns())

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Drop the stored result of this call; return whether there was one that could be dropped."""
        return not self._cache.settings.read_only and self._flow.store.delete(self._call(args, kwargs).address.path)

    def cache_info(self) -> CacheInfo:
        """Hits and misses of this process, the limit of entries, and the entries of this version on disk."""
        stored = sum(item.function_id == self.function_id for item in self._flow.store.scan())
        return CacheInfo(self._hits, self._misses, self._cache.settings.max_entries, stored)

    def cache_clear(self) -> None:
        """Remove all stored results of this function, of every version of it, and reset the counters."""
        self._cache.clear(self)
        self._hits = self._misses = 0

    def cache_parameters(self) -> dict[str, object]:
        """Return what the decorator was given, and where results are stored."""
        return {
            **self._options._asdict(),
            "maxsize": self._cache.settings.max_entries,
            "location": self._cache.location,
        }

    @property
    def function_id(self) -> str:
        """The id of this function's running code version, 16 hexadecimal digits."""
        return (self._version or self._find_version()).hex_id

    @property
    def name(self) -> str:
        """`module:qualified.name`, as the command line shows it."""
        return (self._version or self._find_version()).facts.name

    def _call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call:
        values = self._bind(*args, **kwargs)
        return _Call(args, kwargs, values, self._address(values))

    # Being a function

    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunction[P, R]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> CachedMethod[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else CachedMethod(self, instance)

    def __reduce__(self) -> Any:
        if _found_by_name(self):
            return self.__qualname__  # type: ignore[attr-defined]  # set by update_wrapper
        return _rebuild, (self.__wrapped__, self._cache, self._options)

    def __repr__(self) -> str:
        return f"<cached {self._label} in {self._cache.location}>"


@functools.cache
def _token_of(_pid: int) -> bytes:
    return os.urandom(16)


def _process_token() -> bytes:
    """Bytes that no other process has, a forked child included."""
    return _token_of(os.getpid())


def _found_by_name(function: CachedFunction[..., Any]) -> bool:
    """Whether unpickling a reference by module and name would find this very object."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is function


def _rebuild(function: Callable[P, R], cache: Cache, options: Options) -> CachedFunction[P, R]:
    return CachedFunction(function, cache, options)


def _as_function(function: CachedFunction[..., Any], _encoder: object) -> object:
    return function.__wrapped__


register_reducer(CachedFunction, _as_function)
