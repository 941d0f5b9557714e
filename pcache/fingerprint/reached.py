"""What objects that code reaches are made of: functions that may be called, containers that calls change."""

from __future__ import annotations

from types import FunctionType, MethodType

from pcache.fingerprint.containers import CHANGING_SLOTS, MOST_ITEMS, PLAIN
from pcache.fingerprint.parts import BY_REFERENCE
from pcache.fingerprint.uses import TABLES, Path, is_container, is_namespace, items_of
from pcache.objects.lookup import is_a, is_exactly, kept, look, member, members_of
from pcache.objects.user_code import is_user_code
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

# Methods that Python calls where a program sets something, or makes a class.
_SETTING_SLOTS = frozenset(CHANGING_SLOTS).union(
    "__setattr__ __delattr__ __set__ __delete__ __del__ __setstate__ __init_subclass__ __set_name__".split()
)


class Classes(tuple[type, ...]):
    """Classes of which some object is an instance, or that it is itself."""

    __slots__ = ()


def classes_in(value: Any) -> Classes:
    """The user's classes of which a container has instances."""
    items = items_of(value) if is_exactly(value, PLAIN) else []
    return Classes(type(one) for one in items[:MOST_ITEMS] if is_user_code(type(one)))


def parameter(code: CodeType, position: int | str, *, is_method: bool) -> str:
    """The parameter that gets an argument; empty if none does, or one for many."""
    if type(position) is str:
        return position if position in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] else ""
    at = int(position) + is_method
    return code.co_varnames[at] if at < code.co_argcount else ""


def inside(path: Path) -> int:
    """How many steps there are before the first item."""
    return next((at for at, step in enumerate(path.steps) if step.startswith("[")), len(path.steps))


def default_of(function: FunctionType, name: str) -> Iterator[Any]:
    """What a parameter is where nothing is passed."""
    code, given = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    if name in positional[len(positional) - len(given) :]:
        yield given[positional.index(name) - len(positional)]
    elif name in (named := function.__kwdefaults__ or {}):
        yield named[name]


def may_be_changed(value: Any) -> bool:
    """Whether an object, or what its attributes and items are, may be changed by code that is given it."""
    known = type(value) is Classes or is_a(value, (*TABLES, *BY_REFERENCE, MethodType)) or is_namespace(value)
    return known or is_container(value) or is_user_code(type(value))


def fillers_of(cls: type) -> Iterator[tuple[FunctionType, str]]:
    """The methods that Python calls to get attributes of a class's instances, with the parameter that is the object."""
    for value in members_of(cls).values():
        getter = member(type(value), "__get__") if is_user_code(type(value)) else None
        if is_a(getter, FunctionType) and (name := parameter(getter.__code__, 0, is_method=True)):
            yield getter, name


def is_implicit(function: FunctionType) -> bool:
    """Whether Python calls a method by itself where an object is used, and not where one is changed."""
    name = function.__code__.co_name
    return name.startswith("__") and name.endswith("__") and name not in _SETTING_SLOTS


def functions_in(value: Any) -> Iterator[FunctionType]:
    """The functions that an object consists of: those of descriptors and bound methods."""
    if is_a(value, FunctionType):
        yield value
        yield from functions_in(vars(value).get("__wrapped__"))
    elif is_a(value, (staticmethod, classmethod)) or type(value) is MethodType:
        yield from functions_in(kept(value, "__func__"))
    elif is_a(value, property):
        for name in ("fget", "fset", "fdel"):
            yield from functions_in(kept(value, name))
    elif member(type(value), "__get__") is not None:  # such as `cached_property`
        yield from functions_in(look(value, "func"))
