"""Remember what was found out about a class or function, for no longer than it lives.

A program may make a class anew in each call. Those must not pile up, nor what their methods hold; and a class may have
no hash, since its metaclass says what that is.
"""

from __future__ import annotations

from _weakref import ref
from collections import OrderedDict

from pcache.objects.lookup import qualname_of
from pcache.startup import Generic, TypeVar

T = TypeVar("T")
_MOST = 4096  # remembered functions and classes
_MOST_MADE = 128  # those of them that functions made


class _Keyed(ref):  # type: ignore[type-arg]
    """A weak reference that knows the key under which it is kept; as `weakref.KeyedRef`."""

    __slots__ = ("key",)

    key: int


class ByClass(dict[int, T]):
    """Results about classes, by `id`; removed together with the class. Safe for threads.

    A result must not refer to the class itself, which would then live for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._references: dict[int, _Keyed] = {}

    def keep(self, cls: type, found: T) -> T:
        """Remember and return what was found."""
        key = id(cls)
        self._references[key] = reference = _Keyed(cls, self._forget)
        reference.key = key
        self[key] = found
        return found

    def _forget(self, reference: _Keyed) -> None:
        if self._references.get(reference.key) is reference:
            self.pop(reference.key, None)
            del self._references[reference.key]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._references.clear()


class OfCode(Generic[T]):
    """Results about functions and classes; of those that functions made, only the latest.

    These may be new at each call, and hold anything. Results may refer to them. Safe for threads.
    """

    def __init__(self) -> None:
        self._lasting: OrderedDict[int, tuple[object, T]] = OrderedDict()
        self._made: OrderedDict[int, tuple[object, T]] = OrderedDict()

    def get(self, code: object) -> T | None:
        """Return the result for just this function or class."""
        known = self._of(code).get(id(code))
        return known[1] if known is not None and known[0] is code else None

    def keep(self, code: object, found: T) -> T:
        """Remember and return what was found."""
        memo = self._of(code)
        memo[id(code)] = code, found
        while len(memo) > (_MOST_MADE if memo is self._made else _MOST):
            try:
                memo.popitem(last=False)
            except KeyError:  # another thread has taken it
                break
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._lasting.clear()
        self._made.clear()

    def _of(self, code: object) -> OrderedDict[int, tuple[object, T]]:
        return self._made if "<" in qualname_of(code) else self._lasting
