"""Find the smallest part of a value that defeats pickle.

Slow, and only ever done after a failure. What is tried on each part is other people's code, which may raise anything.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from types import FunctionType, ModuleType

from pcache.objects.lookup import (
    attributes_of,
    bases_of,
    is_a,
    is_exactly,
    look,
    members_of,
    module_of,
    private_prefix,
    qualname_of,
    slots_of,
)
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_FAILING = 100  # parts that are followed
_PLAIN = frozenset((bool, str, int, float, bytes, type(None)))
_PLACE = "pcache was looking at "
_SEQUENCES: tuple[Any, ...] = (list, tuple, deque)
_SETS: tuple[Any, ...] = (set, frozenset)
_UNSET = object()
_MAX_CHILDREN = 100_000  # parts looked at per level


class Culprit(NamedTuple):
    """The smallest failing part: its path from the value (`config.db.lock`), its type and why it failed."""

    path: str
    type_name: str
    error: str
    module: str = ""  # of the type


def described(error: BaseException) -> str:
    """An exception in one line: its type and message. A failing `__str__` is left out."""
    name, text = qualname_of(type(error)), first_line(error)
    return f"{name}: {text}" if text else name


def say_where(error: BaseException, place: str) -> None:
    """Note on an exception what was being looked at: the name of a global, `settings:CLIENT`."""
    if place and where(error) != place:  # some raise one exception again and again
        try_call(BaseException.add_note, error, _PLACE + place)


def where(error: BaseException) -> str:
    """What was being looked at when an exception was raised, if that was noted."""
    notes = look(error, "__notes__")
    said = notes[-1] if type(notes) is list and notes else ""
    return said.removeprefix(_PLACE) if type(said) is str and said.startswith(_PLACE) else ""


def find_culprit(
    value: object,
    name: str,
    operation: Callable[[object], object],
    error: BaseException,
    whole: Callable[[object], bool] = lambda _: False,
) -> Culprit:
    """Return the smallest part of `value` on which `operation` fails; `name` is what the path starts with.

    Parts that are `whole` are not searched: something else represents them.

    A part that refers to its container fails for the same reason: the search goes breadth first and ends at the first
    part that fails while none of its own parts does.
    """
    seen = {id(value)}
    waiting: list[tuple[str, object, BaseException]] = [(name, value, error)]
    for path, failing, reason in waiting:  # grows meanwhile
        further = []
        for step, child in () if whole(failing) else _children(failing):
            _, failure = try_call(operation, child)
            if failure is not None:
                further.append((path + step, child, failure))
        if not further:
            return Culprit(path, qualname_of(type(failing)), first_line(reason), module_of(type(failing)))
        for item in further:
            if id(item[1]) not in seen and len(waiting) < _MAX_FAILING:
                seen.add(id(item[1]))
                waiting.append(item)
    return Culprit(name, qualname_of(type(value)), first_line(error))


def first_line(error: BaseException) -> str:
    """The message of an exception, at most 200 characters of it."""
    said, _ = try_call(str, error)
    text = str.partition(said, "\n")[0] if isinstance(said, str) else ""
    return text if len(text) <= 200 else text[:200] + "..."  # noqa: PLR2004 - a line of a message


def _children(value: Any) -> Iterator[tuple[str, object]]:
    """The direct parts of `value` that pickle would go into, each with its step of the path."""
    if is_a(value, (type, ModuleType)):
        return
    if type(value) is FunctionType:
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            yield f" captured {name}", try_call(getattr, cell, "cell_contents")[0]
        return
    # Read as the base class does: a subclass may override these methods.
    if is_a(value, dict):
        yield from _bounded((f"[{_short(key)}]", item) for key, item in dict.items(value))
        yield from _bounded((f" key {_short(key)}", key) for key in dict.keys(value))
    for kind in _SEQUENCES:
        if is_a(value, kind):
            yield from _bounded((f"[{i}]", item) for i, item in enumerate(kind.__iter__(value)))
    for kind in _SETS:
        if is_a(value, kind):
            yield from _bounded((f" member {_short(item)}", item) for item in kind.__iter__(value))
    yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, object]]:
    for attribute, item in list(attributes_of(value).items()):
        yield f".{_short(attribute) if type(attribute) is not str else attribute}", item
    classes = [cls for cls in bases_of(type(value)) if "__slots__" in members_of(cls)]
    names = {slot: slot.removeprefix(private_prefix(cls)) for cls in classes for slot in slots_of(cls)}
    if is_a(value, (partial, BaseException)):
        names |= {name: name for name in ("func", "args", "keywords")}
    for name, shown in names.items():
        item = look(value, name, _UNSET)
        if item is not _UNSET:
            yield f".{shown}", item


def _bounded(pairs: Iterator[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    for _, pair in zip(range(_MAX_CHILDREN), pairs, strict=False):
        yield pair


def _short(value: object) -> str:
    """A path step for a dict key or set member, without calling its `__repr__`."""
    if is_exactly(value, _PLAIN):
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004 - the width of a path step
    return f"<{qualname_of(type(value))}>"
