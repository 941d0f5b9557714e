"""Represent functions, classes, methods and modules that are arguments, or parts of arguments."""

from __future__ import annotations

import sys
from functools import partial
from types import FunctionType, MethodType, ModuleType

import pcache.keys.reducers  # noqa: F401 - registers how arrays and frames are written in keys
from pcache.errors import Uncached
from pcache.fingerprint.source_files import files_of
from pcache.fingerprint.visible_parts import implementations_of, shown_by
from pcache.keys.dispatch import register_reducer, register_shape
from pcache.keys.names import MODULES, module_name, type_name
from pcache.keys.nesting import FILES, FINGERPRINT
from pcache.objects.library_names import Named, instance, named
from pcache.objects.lookup import MOCKED, attributes_of, content_of, flags_of, is_a, is_mock, look, text, title_of
from pcache.objects.lookup import member as member_of
from pcache.objects.user_code import is_user_code, is_user_module, package_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from pcache.fingerprint.fingerprint import Fingerprint
    from pcache.keys.writer import Writer


# Classes whose objects show all their state, with one meaning in every version: keys name the class alone.
_OF_VALUES = frozenset(("numpy.dtype",))
_NOWHERE = (type(None), type(...), type(NotImplemented))  # pickle knows them, though no module holds them
_of_python: dict[int, object] = {}  # objects met before: a class in a datetime, say, is looked up in 50 ns
_HEAP_TYPE = 1 << 9  # flag of classes made at run time, and not static in C


def _reduce_function(function: FunctionType, encoder: Writer) -> object:
    """A function as an argument: a package's by name and version, any other by code, defaults and captured values."""
    if is_mock(function):
        raise Uncached(MOCKED)
    place = named(function)
    if place is not None:
        return _by_name(function, place, encoder)
    if encoder.nesting.follow is not None:
        return encoder.nesting.follow(function)

    found = _noted(function, encoder)

    def write() -> object:
        implementations = implementations_of(function)
        captured: list[Any] = [content_of(cell) for cell in function.__closure__ or ()]
        if implementations is not None:
            captured = sorted(encoder.nested(item) for item in implementations.items())
        return (
            module_name(function),
            function.__qualname__,
            found.digest.hex(),
            encoder.nested((function.__defaults__, function.__kwdefaults__, captured)),
        )

    return encoder.part(function, write)


def _reduce_class(cls: type, encoder: Writer) -> object:
    """A class, as an argument or of an instance: the user's by name and definition, others by name."""
    if id(cls) in _of_python:
        return NotImplemented
    if not is_user_code(cls):
        place = named(cls)
        if place is not None and type_name(cls) not in _OF_VALUES:
            return _by_name(cls, place, encoder)
        if place is not None or any(cls is one for one in _NOWHERE):
            return NotImplemented  # as pickle writes it
        if not flags_of(cls) & _HEAP_TYPE:
            return (type_name(cls), *package_of(module_name(cls)))
    if encoder.nesting.follow is not None:
        return encoder.nesting.follow(cls)
    return (type_name(cls), _noted(cls, encoder).digest.hex())


# Digests are written as text: bytes might look like the opcode of a set, and cause a second pass.
def _noted(code: Any, encoder: Writer) -> Fingerprint:
    """The fingerprint of a part of a value; noted with its files, so that both are checked again."""
    found = shown_by(code, encoder.nesting.ignored)
    encoder.nesting.found[id(code), FINGERPRINT] = code, found
    if found.files:
        encoder.once(code, lambda: tuple(found.files), FILES)
    return found


def _by_name(found: object, place: Named, encoder: Writer) -> object:
    """A package's object by name and version; Python's own as pickle writes it: its version is told apart elsewhere."""
    if place.is_plain and place.module.partition(".")[0] in sys.stdlib_module_names:
        _of_python[id(found)] = found
        return NotImplemented
    return place.content() if encoder.nesting.follow is None else encoder.nesting.follow(found)


def _reduce_method(method: MethodType, _encoder: Writer) -> object:
    """A bound method by its function and its instance: two methods of a class can share a name."""
    place = instance(method.__self__)
    return (method.__func__, method.__self__ if place is None else place.content())


def _is_callable(cls: type) -> bool:
    """Whether objects of a class may be functions that a package exports, such as ufuncs."""
    return not issubclass(cls, (FunctionType, MethodType, type, partial)) and member_of(cls, "__call__") is not None


def _reduce_callable(found: Any, _encoder: Writer) -> object:
    """Callables that are not plain functions: those of packages by name and version, any other by their contents."""
    owner = look(found, "__self__")
    if owner is not None and not is_a(owner, (type, ModuleType)):
        place = instance(owner)
        return NotImplemented if place is None else (place.content(), look(found, "__name__"))
    place = named(found)
    if place is None or (place.is_plain and place.module.partition(".")[0] in sys.stdlib_module_names):
        return NotImplemented
    return place.content()


def _reduce_module(module: ModuleType, encoder: Writer) -> object:
    """A module: the user's by its source files and all that it holds now, a package's by name and version.

    One without a file, or that its name does not import, can hold anything and counts like the user's.
    """
    title, members_now = title_of(module), attributes_of(module)
    name = MODULES.get(title, title)
    root = name.partition(".")[0]
    made_here = sys.modules.get(title) is not module
    nowhere = members_now.get("__file__") is None and root not in sys.stdlib_module_names
    if not (is_user_module(title) or made_here or nowhere):
        return (name, package_of(root))

    def write() -> object:
        members = []
        for member in sorted(filter(text, members_now)):
            value = members_now[member]
            if not (member.startswith("__") and member.endswith("__")):
                digest, error = try_call(encoder.nested, value)
                if isinstance(error, (RecursionError, Uncached)):
                    raise error
                # A value without a key, such as a lock, counts by its class and by the source that made it.
                members.append((member, digest if error is None else type_name(type(value))))
        return (name, [source.digest for source in files_of(module)], members)

    return encoder.part(module, write)


def _reduce_wrapper(wrapper: Any, _encoder: Writer) -> object:
    return look(wrapper, "__wrapped__")


register_shape(_is_callable, _reduce_callable)
register_reducer(FunctionType, _reduce_function)
register_reducer(MethodType, _reduce_method)
register_reducer("functools._lru_cache_wrapper", _reduce_wrapper)
register_reducer(type, _reduce_class)
register_reducer(ModuleType, _reduce_module)
