"""Which part of a value defeats pickle.

Pickle hooks (`__reduce__`, `__getstate__`, `__setstate__`, key functions) are other people's code and may raise
anything; `attempt` is where such code runs, and holds the package's only broad `except`. `find_culprit` then narrows a
failure down to the smallest part that still fails. It is slow, and only ever runs after a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_DEPTH = 100  # levels of a path nobody reads to the end
_MAX_CHILDREN = 100_000  # parts looked at per level


class Culprit(NamedTuple):
    """The smallest failing part: its path from the value (`config.db.lock`), its type and why it failed."""

    path: str
    type_name: str
    error: str


def attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """Call other people's code; return its result and None, or None and the exception."""
    try:
        return function(*args), None
    except Exception as error:  # noqa: BLE001 - pickle hooks may raise anything, and none of it may reach the caller
        return None, error


def find_culprit(value: object, name: str, operation: Callable[[object], object], error: Exception) -> Culprit:
    """Return the smallest part of `value` on which `operation` fails; `name` is what the path starts with."""
    path, failing, reason = name, value, error
    for _ in range(_MAX_DEPTH):
        for step, child in _children(failing):
            _, failure = attempt(operation, child)
            if failure is not None:
                path, failing, reason = path + step, child, failure
                break
        else:
            break
    return Culprit(path, type(failing).__qualname__, _first_line(reason))


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return text if len(text) <= 200 else text[:200] + "..."  # noqa: PLR2004 - a line of a message


def _children(value: object) -> Iterator[tuple[str, object]]:
    """The direct parts of `value` that pickle would go into, each with its step of the path."""
    if isinstance(value, dict):
        pairs: Iterator[tuple[str, object]] = ((f"[{_short(key)}]", item) for key, item in value.items())
        yield from _bounded(pairs)
        yield from _bounded((f" key {_short(key)}", key) for key in value)
    elif isinstance(value, (list, tuple)):
        yield from _bounded((f"[{i}]", item) for i, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from _bounded((f" member {_short(item)}", item) for item in value)
    elif not isinstance(value, type):
        state, _ = attempt(getattr, value, "__dict__", None)
        for attribute, item in list((state or {}).items()):
            yield f".{attribute}", item
        for cls in type(value).__mro__:
            for slot in _slots(cls):
                item, error = attempt(getattr, value, slot)
                if error is None and slot not in ("__dict__", "__weakref__"):
                    yield f".{slot}", item


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _bounded(pairs: Iterator[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    for _, pair in zip(range(_MAX_CHILDREN), pairs, strict=False):
        yield pair


def _short(value: object) -> str:
    """A path step for a dict key or set member, without running anybody's `__repr__`."""
    if isinstance(value, (str, int, float, bytes, type(None))) and type(value).__module__ == "builtins":
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004 - the width of a path step
    return f"<{type(value).__qualname__}>"
