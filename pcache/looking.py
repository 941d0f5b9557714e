"""Other people's objects, looked at and never asked: no property, `__getattr__` or `__class__` of theirs runs.

An object may stand for a server, compute its attributes for minutes, raise, or lie about its class, as mocks do. What
is read here comes from its type, from its dict and from the slots that the interpreter itself made.
"""

from __future__ import annotations

from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

_MRO = type.__dict__["__mro__"].__get__
_QUALNAME = type.__dict__["__qualname__"].__get__
_MODULE = type.__dict__["__module__"].__get__
_DICT = type.__dict__["__dict__"].__get__
_BUILT_IN = (GetSetDescriptorType, MemberDescriptorType)  # written in C, they compute nothing
_MISSING = object()
MOCKED = "it meets an object of unittest.mock"  # what a call is computed without the cache for
# Of the standard library, and of the package that has newer versions of it.
_MOCKS = {(module, name) for module in ("unittest.mock", "mock.mock") for name in ("NonCallableMock", "_Call")}


def is_a(obj: object, kinds: type | tuple[type, ...]) -> bool:
    """Whether the type of an object is one of these, or below; `isinstance` would ask the object for its class."""
    return issubclass(type(obj), kinds)


def bases_of(cls: type) -> tuple[type, ...]:
    """A class and its bases in the order in which attributes are looked up."""
    return _MRO(cls)  # type: ignore[no-any-return]


def members_of(cls: type) -> Any:
    """What the body of a class defined: a mapping that cannot be written to."""
    return _DICT(cls)


def member(cls: type, name: str, default: Any = None) -> Any:
    """What a class or the nearest of its bases has under a name: a function, a descriptor, a value."""
    for base in _MRO(cls):
        found = _DICT(base).get(name, _MISSING)
        if found is not _MISSING:
            return found
    return default


def attributes_of(obj: object) -> dict[str, Any]:
    """The dict of an object, that very one; an empty one where it has none."""
    if is_a(obj, type):
        return dict(_DICT(obj))
    for base in _MRO(type(obj)):
        entry = _DICT(base).get("__dict__")
        if entry is not None:
            if type(entry) not in _BUILT_IN:
                return {}  # a property of somebody's
            try:
                found = entry.__get__(obj)
            except (AttributeError, TypeError, ValueError):  # of a proxy: that of what it stands for
                return {}
            return found if type(found) is dict else {}
    return {}


def look(obj: object, name: str, default: Any = None) -> Any:
    """An attribute as it lies there; `default` for one that is missing, or that some code would have to make.

    >>> class Server:
    ...     url = "http://localhost"
    ...     @property
    ...     def status(self): raise OSError("not reached")
    >>> look(Server(), "url"), look(Server(), "status", "unknown")
    ('http://localhost', 'unknown')
    """
    if is_a(obj, type):
        found = member(obj, name, _MISSING)  # type: ignore[arg-type]
        return _of_type(obj, name, default) if found is _MISSING or type(found) in _BUILT_IN else found
    entry = member(type(obj), name, _MISSING)
    if type(entry) in _BUILT_IN:
        try:
            return entry.__get__(obj)
        except (AttributeError, TypeError, ValueError):  # a slot that is not set, a cell that is empty
            return default
    found = attributes_of(obj).get(name, _MISSING)
    if found is not _MISSING:
        return found
    return default if entry is _MISSING or hasattr(type(entry), "__get__") else entry


def _of_type(cls: Any, name: str, default: Any) -> Any:
    entry = type.__dict__.get(name, _MISSING)
    try:
        return entry.__get__(cls) if type(entry) in _BUILT_IN else default
    except AttributeError:
        return default


def content_of(cell: Any) -> object:
    """What a captured variable means now."""
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return ("empty cell",)


def module_of(obj: Any) -> str:
    """The module that a function or class says it is of; empty where it says none, or no text."""
    found = _MODULE(obj) if is_a(obj, type) else look(obj, "__module__")
    return found if type(found) is str else ""


def qualname_of(obj: Any) -> str:
    """The qualified name of a class, or of what is called like a function; empty where it has none, or no text."""
    found = _QUALNAME(obj) if is_a(obj, type) else look(obj, "__qualname__")
    return found if type(found) is str else ""


def is_mock(obj: object) -> bool:
    """Whether an object is one of `unittest.mock`: also a function that such a one stands behind, by `autospec`."""
    if type(obj) is FunctionType:
        return "mock" in obj.__dict__ and is_mock(obj.__dict__["mock"])
    return any((module_of(base), qualname_of(base)) in _MOCKS for base in _MRO(type(obj)))
