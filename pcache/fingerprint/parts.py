"""What a result depends on, part by part, under labels that do not depend on the order of discovery.

An edit therefore changes the parts that it touches and no other.
"""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, ModuleType

from blake3 import blake3

from pcache.keys.encoder import encode
from pcache.keys.names import import_name, module_name
from pcache.objects.lookup import is_exactly, qualname_of
from pcache.startup import Any, NamedTuple

BY_REFERENCE = (FunctionType, type, ModuleType, BuiltinFunctionType)  # types of code, as opposed to values


class Part(NamedTuple):
    """One dependency: 16 hex digits of its digest, and a text that is shown to people.

    The text is the file of a function, the version of a package, a constant in a few characters. It does not count.
    """

    digest: str
    shown: str


class Parts:
    """The parts found so far, and the labels in use."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self._digests: dict[str, bytes] = {}  # in full
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}  # the last number given to a label that was wanted more than once

    def __contains__(self, label: str) -> bool:
        return label in self.parts

    def unique(self, label: str, path: str = "") -> str:
        """Reserve a label; if it is taken, add the path, where there is one, and then a number, `(2)` or more."""
        if path and label in self._taken:
            label = f"{label} ({path})"
        wanted = label
        while label in self._taken:
            count = self._counts[wanted] = self._counts.get(wanted, 1) + 1
            label = f"{wanted} ({count})"
        self._taken.add(label)
        return label

    def add(self, label: str, digest: bytes, shown: str) -> None:
        """Add a part under a label that no other has."""
        self._digests[label] = digest
        self.parts[label] = Part(digest.hex()[:16], shown)

    def digest(self) -> bytes:
        return digest_of(sorted(self._digests.items()))


def digest_of(value: object) -> bytes:
    return blake3(b"".join(encode(value))).digest()


def name_of(found: Any) -> str:
    """The name of a function or class: `helpers:clean`. A wrapper has its own, not that of the wrapped function."""
    if type(found) is FunctionType and "__wrapped__" in vars(found):
        return f"{import_name(found.__globals__)}:{found.__code__.co_qualname}"
    if type(found) is FunctionType and module_name(found) == "__main__":
        return f"{import_name(found.__globals__)}:{found.__qualname__}"
    return f"{module_name(found)}:{qualname_of(found)}"


def shown_name(token: object) -> str:
    """The text shown to people for what a name means: `helpers:clean`, `numpy.linalg.norm`."""
    if isinstance(token, str):
        return token.partition(" ")[2]
    return ".".join(filter(None, token[1:])) if isinstance(token, tuple) and token[0] in ("module", "package") else ""


SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, type(...), slice, range))
CONTAINERS = frozenset((tuple, list, dict, set, frozenset))


def is_plain(value: object) -> bool:
    """Whether a value is one of Python's own numbers, texts or containers."""
    return is_exactly(value, SCALARS) or is_exactly(value, CONTAINERS)
