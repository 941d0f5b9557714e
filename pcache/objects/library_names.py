"""Objects that a package holds under a name: they count by that name and by the package's version.

Found are functions, classes, ufuncs, functions written in Cython, and the instances whose methods a module exports as
functions, as `random` does. Nothing is imported, and no code of an object runs: a name counts only if it means that
very object. An object without a place counts by its contents.
"""

from __future__ import annotations

import sys
from functools import partial
from types import FunctionType, ModuleType

from pcache.objects.lookup import attributes_of, is_a, look, member, module_of, qualname_of
from pcache.objects.user_code import is_user_module, package_of
from pcache.startup import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MEMO_SIZE = 4096
_MAX_WRAPPED = 50
_CONTAINERS = ("__len__", "__iter__", "__getitem__")  # an instance with one of these is data, wherever it lies
_EXTENSIONS = (".so", ".pyd")


class Named(NamedTuple):
    """Where an object lies. `is_plain`: pickle finds it there, too."""

    module: str
    name: str
    is_plain: bool

    def content(self) -> tuple[str, ...]:
        """The representation of the object in keys."""
        return ("named", self.module, self.name, *package_of(self.module))


_Known = dict[int, tuple[object, Named]]  # objects are kept alive, so that their ids are not reused
_names: _Known = {}
_instances: _Known = {}


def named(obj: Any) -> Named | None:
    """Where a package, or Python itself, holds a function, class or other callable; None for the user's."""
    return _remembered(_names, obj, _find)


def instance(obj: Any) -> Named | None:
    """Where a package holds an instance of a class of its own; None for containers, which count by their contents."""
    return named(obj) or _remembered(_instances, obj, _find_instance)


def _remembered(known: _Known, obj: Any, find: Callable[[Any], Named | None]) -> Named | None:
    """The remembered result of `find`; None is not remembered, since there may be many such objects."""
    try:
        return known[id(obj)][1]
    except KeyError:
        found = find(obj)
    if found is not None:
        if len(known) >= _MEMO_SIZE:
            known.clear()
        known[id(obj)] = obj, found
    return found


def _find_instance(obj: Any) -> Named | None:
    cls = type(obj)
    if is_user_module(module_of(cls)) or any(member(cls, name) is not None for name in _CONTAINERS):
        return None
    for module in _lineage(module_of(cls)):
        names = [name for name, value in list(_members(module).items()) if value is obj]
        if names:
            return Named(module, min(names), is_plain=False)
    return None


def _find(obj: Any) -> Named | None:
    if is_a(obj, partial):
        return None  # it has no name, and reading its dict to look for one would create the dict and change its pickle
    name = qualname_of(obj) or look(obj, "__name__")
    if type(name) is not str or "<" in name:
        return None
    declared = module_of(obj)
    if (declared and is_user_module(declared)) or _is_made_by_user(obj):
        return None
    for module in _lineage(declared or module_of(type(obj))):
        if (at := _at(module, name)) is obj or _inside(at) is obj:
            return Named(module, name, is_plain=at is obj and declared in (module, ""))
        # A Cython function below a decorator: it has no Python code to count by.
        if at is not None and not is_a(obj, (FunctionType, type)) and look(at, "__wrapped__") is obj:
            return Named(module, f"{name}.__wrapped__", is_plain=False)
    return None if is_a(obj, (FunctionType, type)) else _search(obj, name)


def _is_made_by_user(obj: Any) -> bool:
    """Whether a user's function replaced a package's, under the name of what it wraps."""
    for _ in range(_MAX_WRAPPED):
        if is_a(obj, FunctionType) and is_user_module(str(obj.__globals__.get("__name__", ""))):
            return True
        obj = look(obj, "__wrapped__")
        if obj is None:
            return False
    return True


def _search(obj: object, name: str) -> Named | None:
    """Where an object lies that does not say so, such as a ufunc: in the extension module that made it."""
    holders = [module for module in list(sys.modules) if _at(module, name) is obj and not is_user_module(module)]
    if not holders:
        return None
    made = [module for module in holders if str(_members(module).get("__file__")).endswith(_EXTENSIONS)]
    return Named(min(made or holders), name, is_plain=False)


def _lineage(module: str) -> Iterator[str]:
    """A module and the packages that it is in, the nearest first."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def _members(module: str) -> dict[str, Any]:
    found = sys.modules.get(module)
    return attributes_of(found) if is_a(found, ModuleType) else {}


def _at(module: str, name: str) -> Any:
    """The object under a qualified name."""
    first, *further = name.split(".")
    found = _members(module).get(first)
    for part in further:
        if not is_a(found, type):
            return None
        found = member(found, part)
    return found


def _inside(found: Any) -> Any:
    """The function in a class method or static method."""
    return found.__func__ if type(found) in (classmethod, staticmethod) else None
