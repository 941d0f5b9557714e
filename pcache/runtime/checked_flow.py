"""Hits that satisfy the conditions of a function, and a note of those that are late."""

from __future__ import annotations

import time

from pcache.entry.format import NEVER
from pcache.runtime.flow import DerivedFlow
from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.config.conditions import Conditions
    from pcache.entry.reader import Address, Loaded
    from pcache.runtime.flow import Flow


class CheckedFlow(DerivedFlow):
    """A flow whose hits satisfy conditions."""

    def __init__(self, flow: Flow, conditions: Conditions, name: Callable[[], str]) -> None:
        super().__init__(flow)
        self._name = name
        self._conditions = conditions
        self.late: dict[str, None] = {}  # names of entries that are to be renewed

    def look_up(self, address: Address) -> Loaded:
        loaded = super().look_up(address)
        self._conditions.accept(self._name, loaded.value)
        header = loaded.header
        expires_ns = None if header.expires_ns == NEVER else header.expires_ns
        if self._conditions.is_late(header.created_ns, expires_ns, header.cost_ns, time.time_ns()):
            self.late[address.name] = None
        return loaded
