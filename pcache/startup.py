"""What keeps `import pcache` and the first hit of a process short: what they do not need is loaded when it is used.

Three things. Names of `typing`, of which nothing but records (`NamedTuple`) is left while a program runs: `typing`
takes ten times as long to make one, and loads `re`, `enum` and `contextlib`. Type checkers see `typing` itself. Then
regular expressions, compiled by their first use. And modules that only a miss or a rare hit uses:

    if TYPE_CHECKING:
        from pcache.storage import claim
    else:
        claim = late("pcache.storage.claim")

What each hit takes is imported as usual. An attribute of a late module is looked up once, so who patches the module
later changes nothing for those who have used it.
"""

from __future__ import annotations

import sys
from _collections import _tuplegetter  # type: ignore[import-not-found]  # what `namedtuple` makes its fields of
from threading import RLock
from types import GenericAlias, ModuleType

__all__ = [
    "TYPE_CHECKING",
    "Any",
    "Concatenate",
    "Generic",
    "Literal",
    "NamedTuple",
    "NoReturn",
    "ParamSpec",
    "Protocol",
    "TypeAlias",
    "TypeGuard",
    "TypeVar",
    "cast",
    "late",
    "overload",
    "pattern",
    "whole",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from typing import (
        Any,
        AnyStr,
        Concatenate,
        Generic,
        Literal,
        NamedTuple,
        NoReturn,
        ParamSpec,
        Protocol,
        TypeAlias,
        TypeGuard,
        TypeVar,
        cast,
        overload,
    )
else:
    Any = NoReturn = TypeAlias = object

    class _Subscripted:
        """A base class that takes types: `Base[T]`, in programs as well."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)

    class _Base:
        """Stands for `Generic` and `Protocol` where classes are made."""

        def __init__(self, base):
            self._bases = base

        def __mro_entries__(self, _bases):
            return self._bases

        def __getitem__(self, _types):
            return self

    Generic = _Base((_Subscripted,))
    Protocol = _Base(())
    Concatenate = Literal = TypeGuard = _Base(())

    def cast(_kind, value):
        """The value itself."""
        return value

    def TypeVar(name, *_constraints, **_options):  # noqa: N802 - as in `typing`
        """A name for a type, which means nothing while a program runs."""
        return name

    class ParamSpec(str):
        """The same for parameters, whose `args` and `kwargs` stand in annotations only."""

        __slots__ = ()

    def overload(function):
        """Mark one of several signatures; the definition that follows them replaces it."""
        return function

    class _RecordType(type):
        """Makes tuple classes of annotated class bodies, as `typing.NamedTuple` does, in a tenth of the time."""

        def __new__(cls, name, _bases, namespace):
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            namespace = {**_record_methods, **namespace}
            namespace.update({field: _tuplegetter(at, None) for at, field in enumerate(fields)})
            namespace.update(__slots__=(), _fields=fields, _field_defaults=defaults, __match_args__=fields)

            def make(cls, /, *args, **kwargs):
                # The first object of a class: most classes have none in a process that only hits.
                made.__new__ = compiled = _constructor(name, fields, defaults)
                return compiled(cls, *args, **kwargs)

            namespace["__new__"] = make
            made = type.__new__(type, name, (tuple,), namespace)
            return made

    def _constructor(name, fields, defaults):
        """The `__new__` of a record, compiled, with the parameters that its fields are."""
        given = ", ".join(fields)
        source = f"lambda _cls, {given}: _new(_cls, ({given}{',' if given else ''}))"
        made = eval(source, {"_new": tuple.__new__, "__builtins__": {}, "__name__": f"record_{name}"})  # noqa: S307
        made.__name__, made.__qualname__ = "__new__", f"{name}.__new__"
        made.__defaults__ = tuple(defaults.values()) or None
        return made

    def _make(cls, values):
        record = tuple.__new__(cls, values)
        if len(record) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(record)}")
        return record

    def _replace(self, /, **changes):
        record = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"Got unexpected field names: {list(changes)!r}")
        return record

    def _asdict(self):
        return dict(zip(self._fields, self, strict=True))

    def _getnewargs(self):
        return tuple(self)

    def _repr(self):
        shown = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({shown})"

    _record_methods = {
        "_make": classmethod(_make),
        "_replace": _replace,
        "_asdict": _asdict,
        "__getnewargs__": _getnewargs,
        "__repr__": _repr,
    }

    NamedTuple = type.__new__(_RecordType, "NamedTuple", (tuple,), {"__slots__": ()})


# Held while modules of ours are loaded, and in other sections that a fork waits for: see `system/fork.py`.
whole = RLock()  # reentrant: collecting garbage may close a lock


class _Module(ModuleType):
    """A module to be. Safe for threads: Python's import loads it once."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # asked for by what looks at all objects, and means the module
        with whole:
            __import__(self.__name__)
        found = getattr(sys.modules[self.__name__], name)
        setattr(self, name, found)
        return found


def late(name: str) -> Any:
    """A module of the package by its full name, loaded when something of it is first used."""
    return _Module(name)


class _Pattern:
    """A pattern to be. Safe for threads: two may compile it at once, to the same end."""

    def __init__(self, text: str | bytes) -> None:
        self.pattern = text

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with whole:
            from re import compile  # late for start-up time

        found = getattr(compile(self.pattern), name)
        setattr(self, name, found)  # asked for once: later uses find it here
        return found


def pattern(text: AnyStr) -> re.Pattern[AnyStr]:
    """A pattern as `re.compile` makes it, compiled when one of its methods is first asked for."""
    return _Pattern(text)  # type: ignore[return-value]  # has what a pattern has
