"""The objects that code uses, as it reaches them, and what it does with these."""

from __future__ import annotations

from collections import defaultdict, deque

from pcache.keys.names import type_name
from pcache.objects.lookup import is_exactly, member
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANGING_METHODS = frozenset(
    "add append appendleft clear discard extend extendleft insert move_to_end pop popitem popleft remove reverse rotate"
    " setdefault sort update __setitem__ __delitem__".split()
)
# Functions that change their first argument in place.
CHANGING_FUNCTIONS = frozenset(
    "heapify heappop heappush heappushpop heapreplace insort insort_left insort_right setitem delitem shuffle".split()
)
TABLES = (dict, list, set, bytearray, deque)  # that may be changed in place
ANY = "*"  # an attribute whose name is computed
KEYS = "[?"  # beside the steps to items: whether they are there
OWN_DICT = ".__dict__"  # the step to the dict that has an object's attributes
CALLED = "()"  # the step to what a function returns
COPY = "~"  # the step to another container of the same items
SUPER = "^"  # the step from an object to what `super()` is for it
PAIRS = "{}"  # the step to the pairs of `dict.items()` and `enumerate`
_BY_KEY = frozenset((dict, list, tuple))
_PLAIN = _BY_KEY | {set, frozenset, deque}
_CHANGING = ("__setitem__", "__iadd__", "__isub__", "__ior__", "append", "add", "update")
_UNTOLD = object()
_MOST_ITEMS = 100  # of a container
# Others that `x[i] = y` and the methods above change in place, by name: their modules may not be loaded.
_OTHER_TABLES = frozenset(
    "_io.BytesIO _io.StringIO array.array collections.ChainMap collections.UserDict collections.UserList"
    " numpy.ndarray".split()
)
_NAMESPACES = frozenset(("argparse.Namespace", "types.SimpleNamespace"))


class Path(NamedTuple):
    """Where an object came from: a root by its name, then attributes (`.name`) and items (`[]`).

    `root` is "global", "variable" (captured from a function around this one) or "local" (a parameter).
    """

    root: str
    name: str
    steps: tuple[str, ...] = ()

    def step(self, *steps: str) -> Path:
        taken = (*self.steps, *steps)
        if PAIRS in taken or COPY in taken:
            taken = _to_items(taken)
        return Path(self.root, self.name, taken)

    def is_made(self) -> bool:
        """Whether it is what a call returns, mostly another object than what the call is given."""
        return self.steps[-1:] == (CALLED,) or self.steps[-1:] == (COPY,)


def _to_items(steps: tuple[str, ...]) -> tuple[str, ...]:
    """Steps to items of a copy, and to the second of the pairs of a container, are those to its items."""
    for at, step in enumerate(steps[:-1]):
        if step == COPY and steps[at + 1].startswith("["):
            return _to_items((*steps[:at], "[]", *steps[at + 2 :]))
        if step == COPY and steps[at + 1] in (COPY, PAIRS):
            return _to_items((*steps[:at], *steps[at + 1 :]))
        if step == PAIRS and steps[at + 1] == COPY:
            return _to_items((*steps[: at + 1], *steps[at + 2 :]))
        if step == PAIRS and steps[at + 1 : at + 3] == ("[]", "[1"):
            return _to_items((*steps[:at], "[]", *steps[at + 3 :]))
    return steps


class Uses(NamedTuple):
    """What code, with the code nested in it, does with objects from outside.

    `bound` are the names, variables and attributes that it binds or deletes, `changed` the objects that it changes in
    place, `given` those that it passes on: path of the function, position or keyword, path of the object. `handed` are
    the objects with which it does more than look up their attributes and items; `read` are all that it reads, `called`
    the methods that it looks up and calls. `filled` are the items that it sets or deletes by keys that it names, and
    `returned` what it returns itself.
    """

    bound: frozenset[Path]
    changed: frozenset[Path]
    given: frozenset[tuple[Path, int | str, Path]]
    handed: frozenset[Path]
    read: frozenset[Path]
    called: frozenset[Path]
    filled: frozenset[Path]
    returned: frozenset[Path]


class Method(NamedTuple):
    """A method that was looked up to be called."""

    owners: frozenset[Path]
    name: str


class Constant(NamedTuple):
    value: object


UNKNOWN: frozenset[Path] = frozenset()
NULL = Constant("beside a function on the stack, where a method has its object")


def joined(stack: list[Any], other: list[Any] | None) -> list[Any]:
    """What may be on the stack where two ways meet."""
    if other is None or len(other) < len(stack):
        return stack
    if len(stack) < len(other):
        return other
    return [one if one == two else paths_of(one) | paths_of(two) for one, two in zip(stack, other, strict=True)]


def paths_of(value: Any) -> frozenset[Path]:
    return value if type(value) is frozenset else UNKNOWN


def attributes_among(paths: Iterable[Path], name: str = ANY) -> set[Path]:
    """Of paths to objects' own dicts: those to the attribute that an item of that name is."""
    return {owner_of(path).step(f".{name}") for path in paths if path.steps[-1:] == (OWN_DICT,)}


def item_step(key: Any) -> str:
    """The step to an item: `['a` or `[1` where the key is known, else `[]`."""
    value = key.value if type(key) is Constant else None
    if isinstance(value, str):
        return f"['{value}"
    return f"[{int(value)}" if isinstance(value, int) else "[]"


def key_of(step: str) -> Any:
    """The key of an item, or the name of an attribute."""
    if step == KEYS:
        return _UNTOLD  # of none
    if step.startswith("[") and step[1:2] != "'":
        return int(step[1:])
    return step[2:] if step.startswith("[") else step[1:]


def lead_to_values(value: Any, steps: tuple[str, ...]) -> bool:
    """Whether steps into a container lead to nothing that can be changed in place: `n += 1` makes another number."""
    found = [value] if steps else []
    for step in steps:
        if not step.startswith("["):
            return False
        found = [item for one in found for item in _items(one, step)][:_MOST_ITEMS]
    return bool(found) and not any(one is _UNTOLD or _can_be_changed(type(one)) for one in found)


def _items(value: Any, step: str) -> list[Any]:
    """What a step into a container means: one item, or any."""
    if step != "[]" and is_exactly(value, _BY_KEY):
        key = key_of(step)
        there = key in value if type(value) is dict else type(key) is int and -len(value) <= key < len(value)
        return [value[key]] if there else []
    return items_of(value) if is_exactly(value, _PLAIN) else [_UNTOLD]


def items_of(value: Any) -> list[Any]:
    """What a container of Python's own holds; of a dict its values."""
    return list(value.values() if type(value) is dict else value)


def _can_be_changed(cls: type) -> bool:
    return any(member(cls, name) is not None for name in _CHANGING)


def literal_in(values: list[Any]) -> str:
    """The text that an argument is; empty where that is not known."""
    return next((one.value for one in values if type(one) is Constant and isinstance(one.value, str)), "")


def owner_of(path: Path) -> Path:
    """The path to the object of which another path leads to an item or attribute."""
    return Path(path.root, path.name, path.steps[:-1])


def is_table(value: Any) -> bool:
    """Whether an object may be read in part: a dict, or a namespace such as that of `argparse`."""
    return is_dict(value) or is_namespace(value)


def is_dict(value: Any) -> bool:
    """Whether an object is a dict that is looked up item by item."""
    return type(value) is dict or type(value) is defaultdict


def is_container(value: Any) -> bool:
    """Whether an object is a container of Python or a package that may be changed in place."""
    if isinstance(value, TABLES):
        return not is_user_code(type(value))
    return type_name(type(value)) in _OTHER_TABLES


def is_namespace(value: Any) -> bool:
    """Whether an object is a namespace of Python's own library."""
    return type_name(type(value)) in _NAMESPACES
