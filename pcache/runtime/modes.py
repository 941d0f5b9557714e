"""The blocks `with disabled()` and `with refreshing()`."""

from __future__ import annotations

from _contextvars import ContextVar

from pcache.startup import Literal
from pcache.system.interrupts import uninterrupted

Mode = Literal["disabled", "refreshing"]
mode: ContextVar[Mode | None] = ContextVar("pcache_mode", default=None)


class disabled:  # noqa: N801 - reads as a function: `with disabled():`
    """Call the functions themselves inside of this context: nothing is looked up and nothing stored."""

    _mode: Mode = "disabled"

    def __enter__(self) -> None:
        self._token = uninterrupted(mode.set, self._mode)

    def __exit__(self, *_: object) -> None:
        mode.reset(self._token)


class refreshing(disabled):  # noqa: N801
    """Compute every call made inside of this context anew, and replace the stored results."""

    _mode = "refreshing"
