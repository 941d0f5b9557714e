"""The streams that this process produces: what becomes of them at its end, and in a forked child."""

from __future__ import annotations

from _weakref import ref

from pcache.startup import TYPE_CHECKING, Any, Protocol
from pcache.system.exit import Unfinished

if TYPE_CHECKING:

    class Production(Protocol):
        def share_no_longer(self) -> None: ...
        def reset(self) -> None: ...


class Productions(Unfinished):
    """All productions of this process. None is unfinished by itself: to forget one would run code of Python's."""

    def __init__(self) -> None:
        self._begun: set[ref[Any]] = set()  # as `locks._held`
        super().__init__()

    def add(self, production: Production) -> None:
        """Note a production, for as long as it lives."""
        self._begun.add(ref(production, self._begun.discard))

    def flush(self) -> None:
        for production in self._all():
            production.share_no_longer()  # at the end of the process: what is not finished leaves nothing behind

    def reset(self) -> None:
        for production in self._all():
            production.reset()

    def _all(self) -> list[Production]:
        return [production for reference in list(self._begun) if (production := reference()) is not None]


unfinished = Productions()
