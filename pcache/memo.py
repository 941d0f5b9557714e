"""What was found out about classes, kept as long as they live.

A program may make a class anew in each call. Those must not pile up, nor what their methods hold; and a class may have
no hash, since its metaclass says what that is.
"""

from __future__ import annotations

from typing import TypeVar
from weakref import KeyedRef

T = TypeVar("T")


class ByClass(dict[int, T]):
    """What was found out about classes, by `id`; forgotten with them. Safe for threads.

    What is kept must not lead to the class itself, which would live for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._references: dict[int, KeyedRef[int, type]] = {}

    def keep(self, cls: type, found: T) -> T:
        """Remember and return what was found."""
        key = id(cls)
        self._references[key] = KeyedRef(cls, self._forget, key)
        self[key] = found
        return found

    def _forget(self, reference: KeyedRef[int, type]) -> None:
        if self._references.get(reference.key) is reference:
            self.pop(reference.key, None)
            del self._references[reference.key]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._references.clear()
