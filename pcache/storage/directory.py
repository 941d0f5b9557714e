"""A cache directory in use: its settings, signing keys, entries and counters."""

from __future__ import annotations

import os

from pcache.config.settings import resolve
from pcache.counters.pending import Ledger
from pcache.errors import ConfigError, ConfigWarning
from pcache.layout import KEY_FILE, functions_folder
from pcache.signing.key_source import Wanted, source_of
from pcache.signing.keyring import hidden
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.storage.local import LocalStore
from pcache.storage.root import made_at
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.permissions import Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pcache.config.settings import Settings
    from pcache.signing.key_source import KeySource
    from pcache.storage.store import Store
    from pcache.system import notices
else:
    notices = late("pcache.system.notices")


def key_inside(settings: Settings) -> str | None:
    """The key file in the cache directory, for a cache that keeps its key there."""
    return os.path.join(settings.directory, KEY_FILE) if settings.key_in_directory else None


def keys_of(settings: Settings, given: str | bytes | Iterable[str | bytes] | Wanted | None = None) -> KeySource:
    """Where a cache with these settings has its signing keys from."""
    inside = key_inside(settings)
    if inside is not None and settings.shared:
        raise ConfigError(
            "a directory that a group shares cannot hold its own signing key, as that would let all of them in; unset"
            " key_in_directory and set PCACHE_KEY_FILE",
            setting="key_in_directory",
            value=True,
            origin=settings.origins["key_in_directory"],
        )
    return source_of(given, settings.key_file, shared=settings.shared, inside=inside)


class Directory:
    """The parts that all code working on a cache directory shares. Safe for threads and processes.

    `arguments` are settings by name, as `resolve` takes them: a pickle has these, and not the settings that they
    resolved to here. `make_store` makes the store of the entries from location and access. Raises `ConfigError`,
    `DirectoryError` or `SigningKeyError` for values that cannot be used.
    """

    __slots__ = ("_make_store", "access", "arguments", "keys", "ledger", "settings", "store")

    def __init__(
        self,
        arguments: Mapping[str, Any],
        signing_key: str | bytes | Iterable[str | bytes] | Wanted | None = None,
        make_store: Callable[[str, Access], Store] = LocalStore,
    ) -> None:
        if not isinstance(signing_key, Wanted):
            signing_key = hidden(signing_key)  # tracebacks of errors below show the variables of this frame
        self.arguments = dict(arguments)
        self.settings = resolve(**self.arguments)
        for text in self.settings.ignored:
            notices.warn_once(("setting", text), text, ConfigWarning)
        self.keys = keys_of(self.settings, signing_key)
        self.access = Access(self.settings.shared)
        self.store, self._make_store = make_store(self.location, self.access), make_store
        self.store.hold(self.settings.memory)
        self.ledger = Ledger(self.location, self.keys, read_only=self.settings.read_only, access=self.access)

    @property
    def location(self) -> str:
        """The absolute path."""
        return self.settings.directory

    @property
    def functions(self) -> str:
        """The folder of the records of function versions."""
        return functions_folder(self.location)

    def made_at(self) -> float:
        """When it was made, in seconds since 1970; 0 if that is not known."""
        return made_at(self.location)

    def __reduce__(self) -> Any:
        # Without the keys: a result that holds its cache, or data sent to a worker, would contain them in clear text.
        return Directory, (self.arguments, self.keys.wanted(), self._make_store)

    def __repr__(self) -> str:
        # Must work during `__init__`: a traceback with the values of variables shows it when a setting is refused.
        return f"Directory({self.location!r})" if hasattr(self, "settings") else "Directory()"


def absolute(location: str) -> str:
    expanded = location if "\0" in location else os.path.expanduser(location)  # refused later
    if not location or (expanded == location and location.startswith("~")):
        raise ConfigError(
            f"the cache directory {location!r} is not a path" + (": there is no such home" if location else ""),
            setting="directory",
            value=location,
        )
    try:
        return os.path.abspath(expanded)
    except OSError as error:
        raise_if_interrupt(error)
        raise ConfigError(
            f"{location!r} is relative, and the current directory is gone", setting="directory"
        ) from error
