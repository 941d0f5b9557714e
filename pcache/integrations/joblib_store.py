"""A cache directory where joblib's `Memory` has its store backend. Does not need joblib."""

from __future__ import annotations

import datetime
import os
from types import FunctionType

from pcache.cache import Cache
from pcache.errors import ConfigError
from pcache.keys.dispatch import register_reducer
from pcache.objects.summary import summarize_value
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER = "pcache"  # below a location, where joblib has "joblib"
_MOST_MADE = 256  # functions that a store keeps
_LEVEL = 3  # what joblib means by `compress=True`


class Item(NamedTuple):
    """A stored result as joblib lists it."""

    path: str
    size: int
    last_access: datetime.datetime


class Store:
    """A cache where joblib has a store backend. Safe for threads and processes; a copy is the same store."""

    def __init__(self, location: Any, compress: Any = False, options: Mapping[str, Any] | None = None) -> None:
        try:
            folder = os.path.join(os.path.expanduser(os.fspath(location)), FOLDER)
        except TypeError:
            raise ConfigError(
                f"location= takes the path of a folder or None, not {summarize_value(location)}",
                setting="location",
                value=location,
            ) from None
        known = Cache.__init__.__kwdefaults__ or {}
        for name, value in (options or {}).items():
            if name not in known:
                raise ConfigError(
                    f"backend_options= has no option {name!r:.80}; it has those of pcache.Cache: {', '.join(known)}",
                    setting=name,
                    value=value,
                )
        self._use(Cache(folder, **{"compression": _level_of(compress), **(options or {})}))

    def _use(self, cache: Cache) -> None:
        self.cache = cache
        self._made: dict[Any, Any] = {}

    @property
    def location(self) -> str:
        """The folder of the results."""
        return self.cache.location

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    def __reduce__(self) -> Any:
        return _restore, (self.cache,)

    def __deepcopy__(self, _: object) -> Store:
        return self

    def made(self, function: Any, options: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` makes of a function, once where that is a module's: libraries cache functions before each call.

        Others are not kept, as they would keep what they captured.
        """
        if type(function) is not FunctionType or function.__closure__ or "<" in function.__qualname__:
            return make()
        found, _ = attempt(self._made.get, (function, options))
        if found is None:
            found = make()
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            attempt(self._made.__setitem__, (function, options), found)
        return found

    def clear(self) -> None:
        """Remove all results."""
        self.cache.clear()

    def get_items(self) -> list[Item]:
        """The stored results."""
        return [
            Item(file.path, file.length, datetime.datetime.fromtimestamp(file.used_ns / 1e9))
            for file in self.cache.flow.store.scan()
        ]

    def enforce_store_limits(self, bytes_limit: Any, items_limit: int | None = None, age_limit: Any = None) -> None:
        """Remove results until the limits are met; those that were not used for longer than `age_limit` go anyway."""
        if isinstance(age_limit, datetime.timedelta) and age_limit < datetime.timedelta(0):
            raise ConfigError("age_limit= has to be a positive duration", setting="age_limit", value=age_limit)
        self.cache.evict(max_size=bytes_limit, max_entries=items_limit, max_age=age_limit)


def _restore(cache: Cache) -> Store:
    store = Store.__new__(Store)
    store._use(cache)
    return store


register_reducer(Store, lambda store, _: store.location)


def _level_of(compress: Any) -> Any:
    """The compression that joblib's `compress=` asks for; None leaves it to the settings."""
    if isinstance(compress, tuple | list) and compress:
        compress = compress[-1]  # after the name of a method
    if compress is False or compress is None:
        return None
    if compress is True or isinstance(compress, str):
        return _LEVEL
    return compress or "none"
