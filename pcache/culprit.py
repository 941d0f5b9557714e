"""Which part of a value defeats pickle.

Pickle hooks (`__reduce__`, `__getstate__`, `__setstate__`, key functions) are other people's code and may raise
anything; `attempt` is where such code runs, and holds the package's only broad `except`. `find_culprit` then narrows a
failure down to the smallest part that still fails. It is slow, and only ever runs after a failure.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.interrupts import is_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_FAILING = 100  # parts that are followed
_MAX_CHILDREN = 100_000  # parts looked at per level


class Culprit(NamedTuple):
    """The smallest failing part: its path from the value (`config.db.lock`), its type and why it failed."""

    path: str
    type_name: str
    error: str
    module: str = ""  # of the type


def attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Call other people's code; return its result and None, or None and the exception that it raised."""
    try:
        return function(*args), None
    except BaseException as error:  # a panic of Rust and `sys.exit` as well: none of it may reach the caller
        if is_interrupt(error):
            raise
        return None, error


def described(error: BaseException) -> str:
    """An exception in one line: its type and what it says. What a `__str__` raises is not said."""
    name, text = type(error).__qualname__, first_line(error)
    return f"{name}: {text}" if text else name


def find_culprit(
    value: object,
    name: str,
    operation: Callable[[object], object],
    error: BaseException,
    whole: Callable[[object], bool] = lambda _: False,
) -> Culprit:
    """Return the smallest part of `value` on which `operation` fails; `name` is what the path starts with.

    What is `whole` is not looked into: something else stands for it.

    Where a part knows what it is a part of, both fail for the same reason: the search goes breadth first and ends at
    the first part that fails while none of its own parts does.
    """
    seen = {id(value)}
    waiting: list[tuple[str, object, BaseException]] = [(name, value, error)]
    for path, failing, reason in waiting:  # grows meanwhile
        further = []
        for step, child in () if whole(failing) else _children(failing):
            _, failure = attempt(operation, child)
            if failure is not None:
                further.append((path + step, child, failure))
        if not further:
            return Culprit(path, type(failing).__qualname__, first_line(reason), str(type(failing).__module__))
        for item in further:
            if id(item[1]) not in seen and len(waiting) < _MAX_FAILING:
                seen.add(id(item[1]))
                waiting.append(item)
    return Culprit(name, type(value).__qualname__, first_line(error))


def first_line(error: BaseException) -> str:
    """What an exception says, at most 200 characters of it."""
    said, _ = attempt(str, error)
    text = str.partition(said, "\n")[0] if isinstance(said, str) else ""
    return text if len(text) <= 200 else text[:200] + "..."  # noqa: PLR2004 - a line of a message


def _children(value: Any) -> Iterator[tuple[str, object]]:
    """The direct parts of `value` that pickle would go into, each with its step of the path."""
    if isinstance(value, (type, ModuleType)):
        return
    if isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            yield f" captured {name}", attempt(getattr, cell, "cell_contents")[0]
        return
    if isinstance(value, dict):
        yield from _bounded((f"[{_short(key)}]", item) for key, item in value.items())
        yield from _bounded((f" key {_short(key)}", key) for key in value)
    elif isinstance(value, (list, tuple, deque)):
        yield from _bounded((f"[{i}]", item) for i, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from _bounded((f" member {_short(item)}", item) for item in value)
    yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, object]]:
    state = attempt(getattr, value, "__dict__", None)[0]
    for attribute, item in list(state.items()) if isinstance(state, dict) else ():
        yield f".{attribute}", item
    for cls in type(value).__mro__:
        for slot in _slots(cls):
            private = slot.startswith("__") and not slot.endswith("__")
            item, error = attempt(getattr, value, f"_{cls.__name__.lstrip('_')}{slot}" if private else slot)
            if error is None and slot not in ("__dict__", "__weakref__"):
                yield f".{slot}", item
    if isinstance(value, (partial, BaseException)):
        for attribute in ("func", "args", "keywords"):
            if hasattr(value, attribute):
                yield f".{attribute}", getattr(value, attribute)


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
