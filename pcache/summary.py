"""A call and its values in short, for people: never the repr of something big, and nobody's own `__repr__` is run."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LINE = 200  # characters of a summary
_VALUE = 40  # characters of one value
_MOST = 50  # values of a call
_PLAIN = (bool, int, float, complex, type(None))


def printable(text: str) -> str:
    """Return text that cannot do anything to a terminal: control, format and unpaired characters are written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def summarize(names: Iterable[str], values: Iterable[Any]) -> dict[str, str]:
    """The arguments of a call, each in at most 40 characters; the first 50 of them."""
    return {name: summarize_value(value) for name, value in islice(zip(names, values, strict=False), _MOST)}


def in_one_line(arguments: Mapping[str, str]) -> str:
    """`n=3, path='a.csv', table=DataFrame(1000 x 6)`, at most 200 characters."""
    return _cut(printable(", ".join(f"{name}={text}" for name, text in arguments.items())), _LINE)


def arguments_of(meta: Mapping[str, Any]) -> str:
    """The arguments of a stored call in one line, from what its entry says of itself; empty where it does not."""
    arguments = meta.get("arguments", "")
    return in_one_line(arguments) if isinstance(arguments, dict) else printable(str(arguments))


def summarize_value(value: Any) -> str:
    """A value in at most 40 characters: plain ones as they are, others by type and size."""
    cls = type(value)
    if cls in _PLAIN:
        # An int of a million digits takes seconds to print.
        return _cut(repr(value), _VALUE) if cls is not int or value.bit_length() < 4 * _VALUE else "int(...)"
    if cls is str or cls is bytes:
        return _cut(repr(value[:_VALUE]), _VALUE) if len(value) > _VALUE else _cut(repr(value), _VALUE)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{cls.__name__}({' x '.join(map(str, shape))})"
    if cls in (list, tuple, dict, set, frozenset):
        return f"{cls.__name__}({len(value)})"
    return getattr(value, "__qualname__", cls.__qualname__) if callable(value) else cls.__qualname__


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
