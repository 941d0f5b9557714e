"""What stands for functions, classes, methods and modules that are arguments, or inside of such."""

from __future__ import annotations

import sys
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from pcache.culprit import attempt
from pcache.dispatch import FILES, FINGERPRINT, register_reducer
from pcache.errors import Uncached
from pcache.fingerprint import fingerprint_of
from pcache.keys import MODULES, module_name, type_name
from pcache.looking import MOCKED, content_of, is_mock
from pcache.provenance import is_user_code, is_user_module, package_of
from pcache.sources import files_of

if TYPE_CHECKING:
    from pcache.fingerprint import Fingerprint
    from pcache.keys import Encoder


def _reduce_function(function: FunctionType, encoder: Encoder) -> object:
    """A function as an argument: the user's by name, code, defaults and captured values, any other by name."""
    if is_mock(function):
        raise Uncached(MOCKED)
    if function.__closure__ is None and not is_user_code(function) and "<" not in function.__qualname__:
        return NotImplemented

    if encoder.nesting.follow is not None:
        return encoder.nesting.follow(function)

    found = _noted(function, encoder)

    def write() -> object:
        captured = [content_of(cell) for cell in function.__closure__ or ()]
        return (
            module_name(function),
            function.__qualname__,
            found.digest,
            encoder.nested((function.__defaults__, function.__kwdefaults__, captured)),
        )

    return encoder.part(function, write)


def _reduce_class(cls: type, encoder: Encoder) -> object:
    """A class, as an argument or as that of an instance: the user's by name and what it defines, others by name."""
    if not is_user_code(cls) and "<" not in cls.__qualname__:
        return NotImplemented
    if encoder.nesting.follow is not None:
        return encoder.nesting.follow(cls)
    return (type_name(cls), _noted(cls, encoder).digest)


def _noted(code: Any, encoder: Encoder) -> Fingerprint:
    """The fingerprint of a part of a value; it is noted, with the files that it rests on, to be looked at again."""
    found = fingerprint_of(code)
    encoder.once(code, lambda: found, FINGERPRINT)
    if found.files:
        encoder.once(code, lambda: tuple(found.files), FILES)
    return found


def _reduce_method(method: MethodType, _encoder: Encoder) -> object:
    """A bound method by its function and its instance: two methods of a class can share a name."""
    return (method.__func__, method.__self__)


def _reduce_module(module: ModuleType, encoder: Encoder) -> object:
    """A module: the user's by its source files and all that it holds now, a package's by name and version.

    One without a file, or that is not what its name imports, can hold anything and counts like the user's.
    """
    name = MODULES.get(module.__name__, module.__name__)
    root = name.partition(".")[0]
    made_here = sys.modules.get(module.__name__) is not module
    nowhere = getattr(module, "__file__", None) is None and root not in sys.stdlib_module_names
    if not (is_user_module(module.__name__) or made_here or nowhere):
        return (name, package_of(root))

    def write() -> object:
        members = []
        for member, value in sorted(vars(module).items()):
            if not (member.startswith("__") and member.endswith("__")):
                digest, error = attempt(encoder.nested, value)
                if isinstance(error, (RecursionError, Uncached)):
                    raise error
                # What has no key, such as a lock, counts by its class and by the source that made it.
                members.append((member, digest if error is None else type_name(type(value))))
        return (name, [source.digest for source in files_of(module)], members)

    return encoder.part(module, write)


def _reduce_wrapper(wrapper: Any, _encoder: Encoder) -> object:
    return wrapper.__wrapped__


register_reducer(FunctionType, _reduce_function)
register_reducer(MethodType, _reduce_method)
register_reducer("functools._lru_cache_wrapper", _reduce_wrapper)
register_reducer(type, _reduce_class)
register_reducer(ModuleType, _reduce_module)
