"""A call in one line, for people: never the repr of something big, and nobody's own `__repr__` is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINE = 200  # characters of a summary
_VALUE = 40  # characters of one value
_PLAIN = (bool, int, float, complex, type(None))


def summarize(names: Sequence[str], values: Sequence[Any]) -> str:
    """`n=3, path='a.csv', table=DataFrame(1000 x 6)`, at most 200 characters."""
    text = ", ".join(f"{name}={summarize_value(value)}" for name, value in zip(names, values, strict=False))
    return _cut(text, _LINE)


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
