"""A call and its values in short, for people: never the repr of something big, and nobody's own `__repr__` is run."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from pcache.culprit import attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LINE = 200  # characters of a summary
_VALUE = 40  # characters of one value
_MOST = 50  # values of a call
_AXES, _LONG = 64, 1 << 62  # of an array whose shape is shown
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
    shape, _ = attempt(_shape_of, value)
    if shape is not None:
        return _cut(f"{cls.__name__}({shape})", _LINE)
    if cls in (list, tuple, dict, set, frozenset):
        return f"{cls.__name__}({len(value)})"
    name = attempt(getattr, value, "__qualname__", None)[0] if callable(value) else None
    return _cut(name if type(name) is str else cls.__qualname__, _LINE)


def _shape_of(value: Any) -> str | None:
    """The shape of an array; called through `attempt`, since an attribute of that name may be anybody's."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or len(shape) > _AXES or any(abs(n) > _LONG for n in map(int, shape)):
        return None
    return " x ".join(map(str, map(int, shape)))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
