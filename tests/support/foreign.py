"""Objects whose methods raise, return anything, or lie. Each call of a method is noted in `ASKED`.

`KINDS` makes one of each kind anew. Their classes are this module's, which counts as user code.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import copyreg
import ctypes
import enum
import functools
import io
import operator
import pickle
import sys
import threading
import types
import typing
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any
from unittest import mock

ASKED: list[str] = []


def asked(name: str, *, answer: Any = None, error: type[BaseException] = ZeroDivisionError) -> Callable[..., Any]:
    """A method that notes its call, and raises or answers."""

    def method(*args: Any, **_: Any) -> Any:
        ASKED.append(f"{name} {args[1]}" if name.startswith("__getattr") and len(args) > 1 else name)
        if answer is None:
            raise error(name)
        return answer

    return method


def of_class(base: type = object, meta: type = type, **members: Any) -> Any:
    """A class of this module with these members."""
    return types.new_class(
        "Foreign", (base,), {"metaclass": meta}, lambda namespace: namespace.update({"__module__": __name__, **members})
    )


def _property(name: str, *, answer: Any = None) -> Any:
    return property(asked(name, answer=answer))


class Panic(BaseException):
    """An exception like those of extensions written in Rust."""


class Text(str):
    """A text that cannot be compared, hashed or printed."""

    __slots__ = ()
    __eq__ = asked("Text.__eq__")
    __hash__ = asked("Text.__hash__")
    __str__ = __repr__ = asked("Text.__repr__")
    __len__ = asked("Text.__len__")


EVERYTHING = (
    "__str__ __repr__ __bool__ __len__ __iter__ __contains__ __getitem__ __eq__ __ne__ __lt__ __hash__ __call__ __dir__"
    " __format__ __bytes__ __int__ __float__ __index__ __copy__ __deepcopy__ __enter__ __exit__ __getattr__ __array__"
    " __fspath__ __sizeof__ __next__ __length_hint__ __get__ __set__ __set_name__ __subclasshook__ __class_getitem__"
).split()


class Meta(type):
    """The base of the metaclasses here."""


def _meta(**members: Any) -> Any:
    """A metaclass whose methods answer only once its classes are made."""
    return type("Meta", (Meta,), {**members, "__module__": __name__})


def _turning(name: str) -> Any:
    """A metaclass with a method that works while the class is made, and raises later."""
    ready: list[bool] = []

    def method(cls: Any, *args: Any) -> Any:
        if ready:
            ASKED.append(f"meta {name}")
            raise ZeroDivisionError(name)
        return getattr(type, name)(cls, *args)

    made = of_class(meta=_meta(**{name: method}))
    value = made()
    ready.append(True)
    return value


def _instance(**members: Any) -> Any:
    return of_class(**members)()


def _filled(**members: Any) -> Any:
    """An instance with state."""
    value = object.__new__(of_class(**members))
    object.__setattr__(value, "x", 1)
    return value


def _function(**attributes: Any) -> Any:
    def plain(x: Any = None) -> int:
        return 1

    for name, value in attributes.items():
        setattr(plain, name, value)
    return plain


def _wrapping_itself() -> Any:
    made = _function()
    made.__wrapped__ = made
    return made


def _bare_function(name: object) -> Any:
    namespace: dict[str, Any] = {"__builtins__": __builtins__}
    if name is not None:
        namespace["__name__"] = name
    return FunctionType((lambda x=None: 1).__code__, namespace)


def _module(**members: Any) -> Any:
    made = ModuleType("foreign_module")
    vars(made).update(members)
    return made


class AskingModule(ModuleType):
    """A module whose attributes have to be fetched."""

    __getattr__ = asked("__getattr__")


class Unnamed(ModuleType):
    """A module whose name cannot be had."""

    __name__ = _property("__name__")


def _nameless() -> Any:
    made = ModuleType("foreign_module")
    del made.__name__
    return made


def _dispatched() -> Any:
    single = functools.singledispatch(_function())
    vars(single)["registry"] = Answering()
    return single


def _dead_proxy() -> Any:
    return weakref.proxy(of_class()())


class Answering:
    """Returns itself for everything."""

    def __getattr__(self, name: str) -> Any:
        ASKED.append(f"__getattr__ {name}")
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        ASKED.append("__call__")
        return self


class Refusing:
    """Raises for everything."""

    def __getattribute__(self, name: str) -> Any:
        ASKED.append(f"__getattribute__ {name}")
        raise ZeroDivisionError(name)


class Slotted:
    """Has slots of odd names, one of which is not set."""

    __slots__ = ("__private", "set_one", "unset")

    def __init__(self) -> None:
        self.set_one = Refusing()


class Huge:
    """Prints a gigabyte."""

    def __repr__(self) -> str:
        ASKED.append("__repr__")
        return "x" * (1 << 30)

    __str__ = __repr__


def _locked() -> Any:
    value = _instance(__call__=lambda self, x=None: 1)
    value.lock = threading.Lock()
    return value


def _enum() -> Any:
    return enum.Enum("Foreign", {"ONE": Answering()}, module=__name__).ONE  # type: ignore[attr-defined]


def _slots_generator() -> Any:
    made = of_class(__slots__=("a", "b"))
    made.__slots__ = (name for name in ("a", "b"))
    return made()


def _abstract() -> Any:
    base = of_class(abc.ABC, abc.ABCMeta)
    base.register(type(_turning("__getattribute__")))
    return base


def _reducing(*answer: Any) -> Any:
    return _instance(__reduce__=lambda self: answer[0] if len(answer) == 1 else answer)


def _endless() -> Any:
    value: Any = _instance()
    for _ in range(5000):
        outer = _instance()
        outer.inner = value
        value = outer
    return value


def _cycle() -> Any:
    value: Any = Answering()
    vars(value)["me"] = [value, {"me": value}]
    return value


def _raised() -> Any:
    try:
        raise Panic(Refusing())
    except Panic as error:
        return error


def _mapping() -> Any:
    made = of_class(dict, __iter__=asked("__iter__"), keys=asked("keys"), __getitem__=asked("__getitem__"))
    return made(a=1)


KINDS: dict[str, Callable[[], Any]] = {
    "raises from everything": lambda: _filled(**{name: asked(name) for name in EVERYTHING}),
    "raises what is no Exception": lambda: _filled(**{name: asked(name, error=Panic) for name in EVERYTHING}),
    "answers everything": Answering,
    "refuses everything": Refusing,
    "prints a gigabyte": Huge,
    "class raises": lambda: _filled(__class__=_property("__class__")),
    **{
        f"says it is a {kind.__name__}": (lambda kind=kind: _filled(__class__=_property("__class__", answer=kind)))
        for kind in (FunctionType, type, ModuleType, dict, tuple, str, functools.partial, types.MethodType, property)
    },
    "module is a property": lambda: _filled(__module__=_property("__module__")),
    "module is a number": lambda: _filled(__module__=7),
    "module is None": lambda: _filled(__module__=None),
    "module is an odd text": lambda: _filled(__module__=Text("pandas")),
    "module is that of a package": lambda: _filled(__module__="numpy"),
    "dict raises": lambda: _filled(__dict__=_property("__dict__")),
    "dict is none": lambda: _filled(__dict__=_property("__dict__", answer=7)),
    "shape raises": lambda: _filled(shape=_property("shape")),
    "shape is odd": lambda: _filled(shape=(Refusing(), 1 << 5000)),
    "wrapped raises": lambda: _filled(__wrapped__=_property("__wrapped__")),
    "func raises": lambda: _filled(func=_property("func")),
    "key raises": lambda: _filled(__pcache_key__=asked("__pcache_key__")),
    "key is no method": lambda: _filled(__pcache_key__=7),
    "key is a property": lambda: _filled(__pcache_key__=_property("__pcache_key__")),
    "reduces to nothing": lambda: _reducing(None),
    "reduces to a number": lambda: _reducing(7),
    "reduces to an empty tuple": lambda: _reducing(()),
    "reduces to one": lambda: _instance(__reduce__=lambda self: (len,)),
    "reduces to seven": lambda: _reducing(*range(7)),
    "reduces to nonsense": lambda: _reducing(7, 8, 9),
    "reduces to what cannot be called": lambda: _reducing(len, 7),
    "reduces to odd items": lambda: _reducing(list, (), None, 7, 8),
    "reduces to odd pairs": lambda: _reducing(dict, (), None, None, iter([1, 2])),
    "reduces to a missing name": lambda: _reducing("there.is.no.such"),
    "reduces to an odd text": lambda: _reducing(Text("x")),
    "reduces to itself": lambda: _instance(__reduce__=lambda self: (list, (self,))),
    "reduces to another each time": lambda: _instance(__reduce__=lambda self: (list, (type(self)(),))),
    "reduce raises": lambda: _instance(__reduce__=asked("__reduce__")),
    "reduce panics": lambda: _instance(__reduce__=asked("__reduce__", error=Panic)),
    "reduce leaves": lambda: _instance(__reduce__=asked("__reduce__", error=SystemExit)),
    "reduce is no method": lambda: _instance(__reduce_ex__=7),
    "state raises": lambda: _filled(__getstate__=asked("__getstate__")),
    "state is odd": lambda: _filled(__getstate__=asked("__getstate__", answer=Refusing())),
    "new arguments are odd": lambda: _filled(__getnewargs_ex__=asked("__getnewargs_ex__", answer=7)),
    "metaclass cannot be hashed": lambda: of_class(meta=_meta(__hash__=None))(),
    "metaclass hash raises": lambda: _turning("__hash__"),
    "metaclass equals nothing": lambda: _turning("__eq__"),
    "metaclass refuses attributes": lambda: _turning("__getattribute__"),
    "metaclass denies instances": lambda: _turning("__instancecheck__"),
    "metaclass denies subclasses": lambda: _turning("__subclasscheck__"),
    "metaclass has no order": lambda: _turning("mro"),
    "metaclass hides subclasses": lambda: _turning("__subclasses__"),
    **{
        f"metaclass has a property {name}": (
            lambda name=name: of_class(meta=_meta(**{name: _property(f"meta {name}")}))()
        )
        for name in "__mro__ __bases__ __dict__ __name__ __module__ __doc__ __pcache_key__".split()
    },
    "metaclass answers everything": lambda: of_class(meta=_meta(__getattr__=asked("__getattr__", answer=1)))(),
    "slots unset": Slotted,
    "slots used up": _slots_generator,
    "slots are a number": lambda: setattr(made := of_class(), "__slots__", 7) or made(),
    "doc and annotations raise": lambda: _filled(__doc__=_property("__doc__"), __annotations__=Refusing()),
    "a dict with methods that raise": _mapping,
    "a list that cannot be counted": lambda: of_class(list, __len__=asked("__len__"))([1]),
    "a tuple that cannot be counted": lambda: of_class(tuple, __len__=asked("__len__"))([1]),
    "a set that cannot be read": lambda: of_class(set, __iter__=asked("__iter__"))([1]),
    "an odd text": lambda: Text("abc"),
    "an int without a hash": lambda: of_class(int, __hash__=None)(3),
    "a partial of itself": lambda: (made := functools.partial(len)).__setstate__((made, (), {}, {})) or made,
    "a partial of what refuses": lambda: functools.partial(Answering(), Refusing()),
    "a partial that lies": lambda: of_class(functools.partial, func=_property("func"))(len),
    "a descriptor": lambda: _filled(__get__=asked("__get__"), __set__=asked("__set__")),
    "a property of what answers": lambda: property(Answering(), doc="x"),
    "a static method of what refuses": lambda: staticmethod(Answering()),
    "a class method of what refuses": lambda: classmethod(Answering()),
    "a cached property": lambda: functools.cached_property(Answering()),
    "a bound method of what refuses": lambda: types.MethodType(Answering(), Refusing()),
    "a bound method": lambda: _filled(run=lambda self: 1).run,
    "a dead proxy": _dead_proxy,
    "a proxy": lambda: weakref.proxy(KEPT),
    "a weak reference": lambda: weakref.ref(KEPT),
    "a function of C": lambda: ctypes.CDLL(None).abs,
    "a library of C": lambda: ctypes.CDLL(None),
    "a pointer": lambda: ctypes.pointer(ctypes.c_int(3)),
    "a generator": lambda: (n for n in range(3)),
    "a frame": lambda: sys._getframe(),
    "a code object": lambda: _function().__code__,
    "an empty cell": types.CellType,
    "a cell of what refuses": lambda: types.CellType(Refusing()),
    "an exception": _raised,
    "an enum of what answers": _enum,
    "a module that asks": lambda: AskingModule("foreign_module"),
    "a module of an odd name": lambda: Unnamed("foreign_module"),
    "a module without a name": _nameless,
    "a module named by a number": lambda: _module(__name__=7, __file__=8, __path__=9, __version__=Refusing()),
    "a module of what refuses": lambda: _module(x=Refusing(), __getattr__=asked("__getattr__")),
    "a function of no module": lambda: _function(__module__=None),
    "a function of an odd module": lambda: _function(__module__=Refusing()),
    "a function of odd attributes": lambda: _function(limit=Refusing(), __wrapped__=Answering(), __name__="x.y"),
    "a function that wraps itself": _wrapping_itself,
    "a function of odd defaults": lambda: _function(__defaults__=(Refusing(),), __kwdefaults__={"q": Answering()}),
    "a function of odd annotations": lambda: _function(__annotations__={"x": Refusing()}, __doc__=Refusing()),
    "a function of nameless code": lambda: _bare_function(None),
    "a function of oddly named code": lambda: _bare_function(Refusing()),
    "a dispatched function": _dispatched,
    "a cached function of functools": lambda: functools.lru_cache(Answering()),
    "a context manager": lambda: contextlib.contextmanager(_function())(1),
    "a mock": lambda: mock.Mock(),
    "a magic mock": lambda: mock.MagicMock(name="m"),
    "a mock of a function": lambda: mock.create_autospec(_bare_function),
    "a mock of a class": lambda: mock.create_autospec(Slotted),
    "a mock of an instance": lambda: mock.create_autospec(Slotted, instance=True),
    "a mock like a module": lambda: mock.Mock(spec=ModuleType("m")),
    "a mock like a function": lambda: mock.NonCallableMock(spec=_bare_function),
    "an asynchronous mock": lambda: mock.AsyncMock(),
    "a sentinel": lambda: mock.sentinel.one,
    "a call of a mock": lambda: mock.call(1).real.x,
    "a lock": threading.Lock,
    "a thread": threading.Thread,
    "a local": threading.local,
    "a file": lambda: io.StringIO("abc"),
    "a callable with a lock": _locked,
    "an abstract class": _abstract,
    "an alias of what refuses": lambda: types.GenericAlias(list, (Refusing(),)),
    "a type variable": lambda: typing.TypeVar("T", bound="Foreign"),  # type: ignore[misc]  # noqa: F821 - it is never looked up
    "a namespace": lambda: types.SimpleNamespace(x=Refusing(), y=Answering()),
    "a deque of itself": lambda: (made := collections.deque([1])).append(made) or made,
    "a deep chain": _endless,
    "a cycle": _cycle,
    "a table of what refuses": lambda: {"a": [Refusing(), Answering()], Text: Huge},
    "an attribute getter": lambda: operator.attrgetter("a.b"),
    "a pickler": lambda: pickle.Pickler(io.BytesIO()),
    "a class made anew": lambda: of_class(x=Refusing()),
    "a class without a metaclass' help": lambda: type(_turning("__getattribute__")),
    "a class that cannot be hashed": lambda: of_class(meta=_meta(__hash__=None)),
    "a class of a package, it says": lambda: of_class(__module__="numpy", x=1),
}
KEPT = of_class()()
copyreg.pickle(Slotted, asked("copyreg"))  # type: ignore[arg-type]
