"""What stands for the values that code uses: constants, containers, descriptors, partials, instances.

Functions, classes and modules in them are written by whoever follows these.
"""

from __future__ import annotations

from functools import partial, partialmethod
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.culprit import attempt
from pcache.keys import Nesting, encode, module_name
from pcache.parts import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, type(...), slice, range))
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))
# Modules whose objects are values: they count by what they hold, where other objects count by their class alone.
_VALUE_MODULES = frozenset("builtins datetime decimal fractions ipaddress numpy pathlib re types uuid zoneinfo".split())
_MAX_ITEMS = 1000
_MAX_NESTED = 50


class Values:
    """Writes values; `reference(value, path)` says what stands for anything at all.

    `path` is where a value was met: a function that has no name of its own is called after it.
    """

    def __init__(self, reference: Callable[[Any, str], object]) -> None:
        self.reference = reference
        self._open: list[int] = []  # ids of the containers being written
        self._written: dict[int, tuple[object, object]] = {}  # containers, and what stands for them

    def token(self, value: Any, path: str) -> object:
        """What stands for anything but functions, classes and modules."""
        cls = type(value)
        if cls in SCALARS:
            return ("value", blake3(b"".join(encode(value))).digest(16))
        if cls in _CONTAINERS:
            return self.container(value, path)
        return self.wrapper(value, path)

    def container(self, value: Any, path: str) -> object:
        """A container by its items, in an order that no hash seed changes; large ones are tables, not code."""
        if len(value) > _MAX_ITEMS or len(self._open) > _MAX_NESTED:
            return self.constant(value, path)

        def write() -> object:
            if isinstance(value, dict):
                return [[self.reference(part, path) for part in item] for item in value.items()]
            items = [self.reference(item, path) for item in value]
            return sorted(map(digest_of, items)) if isinstance(value, (set, frozenset)) else items

        return self.nested(value, write)

    def nested(self, value: object, write: Callable[[], object]) -> object:
        """What stands for something that may contain itself, or be met often."""
        key = id(value)
        if key in self._open:
            return ("cycle", self._open.index(key))
        if key not in self._written:
            self._open.append(key)
            try:
                self._written[key] = value, (type(value).__name__, digest_of(write()))
            finally:
                self._open.pop()
        return self._written[key][1]

    def constant(self, value: object, path: str) -> object:
        """A value as it would be an argument; without a key, its class."""
        chunks, error = attempt(encode, value, Nesting(lambda part: self.reference(part, path)))
        if error is not None:
            return ("object", self.reference(type(value), path))
        return ("value", blake3(b"".join(chunks)).digest(16))

    def wrapper(self, value: Any, path: str) -> object:
        """Descriptors, partials, decorated functions and other objects."""
        cls = type(value)
        if isinstance(value, (staticmethod, classmethod)):
            return (cls.__name__, self.reference(value.__func__, path))
        if isinstance(value, property):
            return ("property", [self.reference(part, path) for part in (value.fget, value.fset, value.fdel)])
        if isinstance(value, (partial, partialmethod)):
            parts = (value.func, value.args, value.keywords)
            return (cls.__name__, [self.reference(part, path) for part in parts])
        if isinstance(value, MethodType):
            return ("method", self.reference(value.__func__, path), self.reference(value.__self__, path))
        # Cached functions and functools wrappers keep the function in one attribute, cached_property in the other.
        wrapped = _attribute(value, "__wrapped__") or _attribute(value, "func")
        own = module_name(cls).partition(".")[0]
        if isinstance(wrapped, FunctionType):
            kind = _attribute(value, "options_digest") if own == "pcache" else self.reference(cls, path)
            return ("wrapper", kind, self.reference(wrapped, path))
        if own in _VALUE_MODULES:
            return self.constant(value, path)
        kind = self.reference(cls, path)
        return ("object", kind, self.nested(value, lambda: [self.reference(x, path) for x in _record_parts(value)]))


def _record_parts(value: Any) -> list[object]:
    """What enum members, named tuples and frozen dataclasses hold: that is what they are. Nothing for other objects."""
    cls = type(value)
    if hasattr(cls, "_member_map_"):
        return [_attribute(value, "_name_"), _attribute(value, "_value_")]
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return list(value)
    if _attribute(_attribute(cls, "__dataclass_params__"), "frozen"):
        return [_attribute(value, name) for name in cls.__dataclass_fields__]
    return []


def _attribute(value: Any, name: str) -> Any:
    """An attribute of an object that may compute, or refuse, any of them."""
    return attempt(getattr, value, name, None)[0]
