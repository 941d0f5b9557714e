"""The flow of a hit: a look into the store. What misses goes on in `runtime/misses.py`, which the first one loads."""

from __future__ import annotations

import time

from pcache.entry.format import check_age
from pcache.errors import DirectoryError, ExpiredEntry, Miss, SigningKeyError
from pcache.runtime.modes import ages_asked, oldest_ns
from pcache.startup import TYPE_CHECKING, Any, late
from pcache.system.fork import whole
from pcache.versions.version import label_of, shown_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from pcache.entry.reader import Address, Loaded
    from pcache.runtime import telling
    from pcache.runtime.misses import Misses
    from pcache.runtime.saving import Saving
    from pcache.storage.directory import Directory
else:
    telling = late("pcache.runtime.telling")


class Flow:
    """Hits and misses of one cache directory. Safe for threads, processes and forks.

    `passive` says why calls go straight to their functions: "disabled", or "uncached" if no result could be stored.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.settings = directory.settings
        self.keys = directory.keys
        self.store = directory.store
        self.ledger = directory.ledger
        is_off = self.settings.disable is True or self.settings.max_size == 0
        self.passive = "disabled" if is_off else ""
        if self.settings.log != "warning":
            telling.begin(self.settings.log)
        self._saving: Saving | None = None
        self._misses: Misses | None = None

    def __reduce__(self) -> Any:
        return Flow, (self.directory,)

    def of_function(self, function: Callable[..., Any]) -> Self:
        """The flow of one function's calls: this one, or one that does nothing, where the settings say so by name."""
        settings = self.settings
        if self.passive or not (settings.disable or settings.functions):
            return self
        if not settings.disables(shown_name(function, label_of(function))):
            return self
        aside = object.__new__(type(self))
        vars(aside).update(vars(self), passive="disabled")
        return aside

    def look_up(self, address: Address) -> Loaded:
        """Return a stored result; raises `Miss`. Takes no lock and writes nothing."""
        try:
            keyring = self.keys.keyring or self.keys.look()
            if keyring is None:
                raise Miss("absent", detail="there is no signing key yet")
            loaded = self.store.read(address, keyring, self.settings.verify)
        except (DirectoryError, SigningKeyError) as error:
            self.saving.refuse(error, address.name)
            raise Miss("foreign", detail=str(error)) from error
        if ages_asked and (most_ns := oldest_ns.get()) is not None:
            _check_asked(loaded, most_ns)
        return loaded

    def expect_recorded(self, function: Any, call: Any) -> None:
        """Raise `NotRecorded` for a call that missed where results are only replayed."""
        if self.settings.replay == self.settings.directory:
            from pcache.runtime.replay import not_recorded  # late for start-up time: few programs replay

            raise not_recorded(function, call)

    @property
    def saving(self) -> Saving:
        """What stores results; made when it is first needed."""
        if self._saving is None:
            with whole:
                from pcache.runtime.saving import Saving  # late for start-up time: a hit stores nothing

            made = Saving(self.directory)
            with whole:  # two threads may have made one: the first one counts
                self._saving = self._saving or made
        return self._saving

    @property
    def misses(self) -> Misses:
        """What computes results; made by the first miss."""
        if self._misses is None:
            with whole:
                from pcache.runtime.misses import Misses  # late for start-up time: a hit computes nothing

            self._misses = Misses(self.directory, self.store, self.look_up, self.saving)  # another does as well
        return self._misses


class DerivedFlow(Flow):
    """A flow that looks up in another way than the one it is made of, and saves as that does."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow.directory)
        self.passive = flow.passive
        self._of = flow

    @property
    def saving(self) -> Saving:
        return self._of.saving


def _check_asked(loaded: Loaded, most_ns: int) -> None:
    """Raise `Miss` for a result that is older than this context asks for; others may use it, so it has not expired."""
    try:
        check_age(loaded.header, time.time_ns(), most_ns)
    except ExpiredEntry as error:
        raise Miss("refreshed", detail=f"{error.detail}, and max_age() asks for newer results") from None
