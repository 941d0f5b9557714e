"""Read the attributes of other people's objects without running their code: no property, `__getattr__` or `__class__`.

An object may stand for a server, compute its attributes for minutes, raise, or lie about its class, as mocks do. What
is read here comes from its type, from its dict and from the slots that the interpreter itself made.
"""

from __future__ import annotations

from functools import partial
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType

from pcache.startup import Any, Literal, TypeGuard
from pcache.system.interrupts import try_call

_GET = object.__getattribute__
_MRO = type.__dict__["__mro__"].__get__
qualname_of_class = type.__dict__["__qualname__"].__get__  # as `qualname_of`, without a call of Python
_MODULE = type.__dict__["__module__"].__get__
_DICT = type.__dict__["__dict__"].__get__
_BASES = type.__dict__["__bases__"].__get__
_FLAGS = type.__dict__["__flags__"].__get__
_NAME = type.__dict__["__name__"].__get__
_BUILT_IN = (GetSetDescriptorType, MemberDescriptorType)  # written in C, they compute nothing
_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x20, 0x200  # flags of code
_ORDERED = (tuple, list, dict)
_MISSING = object()
MOCKED = "it meets an object of unittest.mock"  # what a call is computed without the cache for
# Of the standard library, and of its backport.
_MOCKS = {(module, name) for module in ("unittest.mock", "mock.mock") for name in ("NonCallableMock", "_Call")}


def is_a(obj: object, kinds: type | tuple[type, ...]) -> TypeGuard[Any]:
    """Whether the type of an object is one of these, or a subclass; `isinstance` would ask the object for its class."""
    return issubclass(type(obj), kinds)


def is_exactly(obj: object, kinds: frozenset[Any]) -> bool:
    """Whether the type of an object is exactly one of these; the metaclass of another is not asked for its hash."""
    cls = type(obj)
    return type(cls) is type and cls in kinds


def bases_of(cls: type) -> tuple[type, ...]:
    """A class and its bases in the order in which attributes are looked up."""
    return _MRO(cls)  # type: ignore[no-any-return]


def parents_of(cls: type) -> tuple[type, ...]:
    """The bases that a class was made with."""
    return _BASES(cls)  # type: ignore[no-any-return]


def members_of(cls: type) -> Any:
    """The read-only namespace of a class, without its bases."""
    return _DICT(cls)


def member(cls: type, name: str, default: Any = None) -> Any:
    """What a class or its nearest base defines under a name: a function, a descriptor, a value."""
    for base in _MRO(cls):
        found = _DICT(base).get(name, _MISSING)
        if found is not _MISSING:
            return found
    return default


def attributes_of(obj: object) -> dict[Any, Any]:
    """The dict of an object itself, not a copy; an empty one if it has none."""
    if is_a(obj, type):
        return dict(_DICT(obj))
    for base in _MRO(type(obj)):
        entry = _DICT(base).get("__dict__")
        if entry is not None:
            return _dict_by(entry, obj) if type(entry) in _BUILT_IN else {}  # else a property
    return {}


def _dict_by(entry: Any, obj: object) -> dict[Any, Any]:
    try:
        found = entry.__get__(obj)
    except (AttributeError, TypeError, ValueError):
        return {}
    return found if type(found) is dict else {}


def look(obj: object, name: str, default: Any = None) -> Any:
    """An attribute as it is stored; `default` if it is missing, or if code would have to compute it.

    >>> class Server:
    ...     url = "http://localhost"
    ...     @property
    ...     def status(self): raise OSError("not reached")
    >>> look(Server(), "url"), look(Server(), "status", "unknown")
    ('http://localhost', 'unknown')
    """
    if is_a(obj, type):
        found = member(obj, name, _MISSING)
        return _of_type(obj, name, default) if found is _MISSING or type(found) in _BUILT_IN else found
    entry = member(type(obj), name, _MISSING)
    if type(entry) in _BUILT_IN:
        try:
            return entry.__get__(obj)
        except (AttributeError, TypeError, ValueError):  # a slot that is not set, a cell that is empty
            return default
    if entry is not _MISSING and member(type(entry), "__get__") is not None:
        return attributes_of(obj).get(name, default)
    if entry is _MISSING and type(obj) is MethodType:
        return look(obj.__func__, name, default)
    try:
        return _GET(obj, name)  # from its dict, which is not made for that
    except AttributeError:
        return default


def kept(obj: object, name: str, default: Any = None) -> Any:
    """An attribute as the interpreter or the object's dict stores it, whatever a subclass defines for that name."""
    for base in _MRO(type(obj)):
        entry = _DICT(base).get(name)
        if type(entry) in _BUILT_IN:
            return entry.__get__(obj)
    return attributes_of(obj).get(name, default)


def _of_type(cls: Any, name: str, default: Any) -> Any:
    entry = type.__dict__.get(name, _MISSING)
    try:
        return entry.__get__(cls) if type(entry) in _BUILT_IN else default
    except AttributeError:
        return default


def content_of(cell: Any) -> object:
    """The current value of a captured variable."""
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return ("empty cell",)


def flags_of(cls: type) -> int:
    """The type flags of a class."""
    return _FLAGS(cls)  # type: ignore[no-any-return]


def code_of(function: object) -> CodeType | None:
    """The code that a call of a function runs, also behind bound methods and partial objects; None if not known."""
    while is_a(function, partial):
        function = kept(function, "func")
    code = look(function, "__code__")
    return code if type(code) is CodeType else None


def kind_of(function: object) -> Literal["function", "coroutine", "generator", "asynchronous generator"]:
    """What a call of a function makes; "function" for all that is not known."""
    code = code_of(function)
    flags = 0 if code is None else code.co_flags
    if flags & _COROUTINE or look(function, "_is_coroutine_marker") is not None:
        return "coroutine"
    if flags & _ASYNC_GENERATOR:
        return "asynchronous generator"
    return "generator" if flags & _GENERATOR else "function"


def text(found: object) -> str:
    """A text, if it really is one; empty for anything else."""
    return found if type(found) is str else ""


def state_in_c(obj: Any) -> dict[str, Any]:
    """The data that an object's type keeps of it in C, beyond that of any Python object; for a class, its metaclass.

    There `msgspec` and others keep the definition of a class: none of its attributes shows it.
    """
    found = {}
    for base in _MRO(type(obj)):
        if base is object or base is type:
            continue
        for name, entry in _DICT(base).items():
            if type(entry) in _BUILT_IN and name not in ("__dict__", "__weakref__", "__signature__"):
                try:
                    found[name] = entry.__get__(obj)
                except (AttributeError, TypeError, ValueError):
                    continue
    return dict(sorted(found.items()))


def module_of(obj: Any) -> str:
    """The module name of a function or class; empty where it has none, or one that is no text."""
    cls = type(obj)  # written flat for speed: called often for each key
    if cls is FunctionType:
        found = obj.__module__
    elif issubclass(cls, type):
        try:
            found = _MODULE(obj)
        except AttributeError:  # was deleted
            return ""
    else:
        found = look(obj, "__module__")
    return found if type(found) is str else ""


def qualname_of(obj: Any) -> str:
    """The qualified name of a class, or of a function-like object; empty where it has none, or one that is no text."""
    return qualname_of_class(obj) if issubclass(type(obj), type) else text(look(obj, "__qualname__"))


def class_name(obj: object) -> str:
    """The short name of an object's class: `DataFrame`."""
    return text(_NAME(type(obj)))


def full_name(cls: type) -> str:
    """The name of a class with its module: `pandas.core.frame.DataFrame`."""
    return f"{module_of(cls)}.{qualname_of_class(cls)}"


def title_of(module: object) -> str:
    """The name of a module; empty where it has none, or one that is no text."""
    return text(attributes_of(module).get("__name__"))


def slots_of(cls: type) -> list[str]:
    """The names of the slots that a class adds to its bases, in the order of its definition."""
    members = _DICT(cls)
    made = {name for name, entry in members.items() if type(entry) is MemberDescriptorType}
    said = members.get("__slots__", ())
    ordered = [private_prefix(cls) + name if _is_private(name) else name for name in _texts(said)]
    return [name for name in dict.fromkeys([*ordered, *sorted(made)]) if name in made]


def private_prefix(cls: type) -> str:
    """The prefix that Python gives to names in a class that begin with two underscores."""
    return "_" + str(_NAME(cls)).lstrip("_")


def _texts(said: object) -> list[str]:
    """The texts in `__slots__`, unless it has no order, or is of an unknown type, such as an iterator."""
    if type(said) is str:
        return [said]
    return [name for name in said if type(name) is str] if type(said) in _ORDERED else []  # type: ignore[attr-defined]


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def is_mock(obj: object) -> bool:
    """Whether an object is a mock of `unittest.mock`, or a function that `autospec` made for one."""
    if type(obj) is FunctionType:
        return "mock" in obj.__dict__ and is_mock(obj.__dict__["mock"])
    return any((module_of(base), qualname_of(base)) in _MOCKS for base in _MRO(type(obj)))


# Modules whose iterators are only iterators.
_ITERATORS = frozenset(("builtins", "itertools", "collections", "_collections", "array"))


def is_iterator(cls: type) -> bool:
    """Whether the objects of a class that has `__next__` are iterators and nothing else."""
    return module_of(cls) in _ITERATORS


def is_hashable(cls: type) -> bool:
    """Whether pickle can look a class up in its tables: a metaclass may make it unhashable."""
    return type(cls) is type or try_call(hash, cls)[1] is None
