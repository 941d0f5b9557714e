"""Objects of every kind that CPython's own tests of pickle have: whatever the protocol allows, some class does.

Each name has a function that makes the value. `told` describes a value for comparison.
"""

from __future__ import annotations

import array
import collections
import datetime as dt
import itertools
import operator
import os
import time
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Open:
    """Any attributes, and equal where these are."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class WithArgs(Open):
    """Wants arguments of `__new__`."""

    def __new__(cls, *args: Any) -> WithArgs:
        made = super().__new__(cls)
        made.args = args
        return made

    def __init__(self, *_args: Any) -> None:
        pass

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.args  # type: ignore[no-any-return]


class WithKeywords(Open):
    """Wants keyword arguments, too."""

    def __new__(cls, *args: Any, **kwargs: Any) -> WithKeywords:
        made = super().__new__(cls)
        made.args, made.kwargs = args, kwargs
        return made

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __getnewargs_ex__(self) -> tuple[Any, Any]:
        return self.args, self.kwargs


class Reduced(Open):
    """Has any `__reduce__` value: arguments, state, items, pairs, and a function that sets the state."""

    shape = 2

    def __reduce__(self) -> Any:
        parts = (rebuilt, (type(self),), {"a": 1}, iter([1, 2]), iter([("k", [3])]), set_state)
        return parts[: self.shape]

    def append(self, item: Any) -> None:
        vars(self).setdefault("items", []).append(item)

    def extend(self, items: Any) -> None:
        vars(self).setdefault("items", []).extend(items)

    def __setitem__(self, key: Any, item: Any) -> None:
        vars(self).setdefault("pairs", {})[key] = item


def rebuilt(cls: type) -> Any:
    return cls.__new__(cls)


def set_state(obj: Any, state: dict[str, Any]) -> None:
    vars(obj).update(state, set_by="a function")


class Reduced3(Reduced):
    shape = 3


class Reduced4(Reduced):
    shape = 4


class Reduced5(Reduced):
    shape = 5


class Reduced6(Reduced):
    shape = 6


class ByProtocol(Open):
    """`__reduce_ex__` goes before `__reduce__`."""

    def __reduce_ex__(self, protocol: int) -> Any:
        return Open, (), {"protocol": protocol}

    def __reduce__(self) -> Any:
        raise AssertionError("the other one is asked")


class FalseState(Open):
    """A false state, which pickle sets all the same, unless it is None."""

    def __getstate__(self) -> Any:
        return 0

    def __setstate__(self, state: Any) -> None:
        self.state = state


class TupleState(Open):
    """A state that looks like one of slots."""

    def __getstate__(self) -> Any:
        return {"a": 1}, {"b": 2}


class Slots:
    __slots__ = ("__private", "set", "unset")

    def __init__(self) -> None:
        self.set, self.__private = 1, 2


class SlotsAndMore(Slots):
    """Slots of a base, and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.more = 3


class SlotList(list[Any]):
    __slots__ = ("note",)


class Whole(int):
    pass


class Real(float):
    pass


class Text(str):
    pass


class Bytes(bytes):
    pass


class Row(list[Any]):
    pass


class Pair(tuple[Any, ...]):
    pass


class Table(dict[Any, Any]):
    pass


class Bag(set[Any]):
    pass


class Frozen(frozenset[Any]):
    pass


class Ordered(collections.OrderedDict[Any, Any]):
    pass


def with_attribute(value: Any) -> Any:
    value.note = ["seen"]
    return value


class Asks(Open):
    """Computes a missing attribute from another one, which is also missing during unpickling."""

    def __getattr__(self, name: str) -> Any:
        if name in vars(self).get("known", ()):
            return vars(self)["known"][name]
        raise AttributeError(name)


class Meta(type):
    pass


class OfMeta(Open, metaclass=Meta):
    pass


class Outer:
    class Inner(Open):
        class Innermost(Open):
            @classmethod
            def made(cls) -> Any:
                return cls

            @staticmethod
            def plain(x: int) -> int:
                return x

            def method(self) -> Any:
                return self


class Größe(Open):  # noqa: PLC2401 - that is what it is for
    """A name that is not ASCII."""


class Single:
    """A single object, which is pickled by name."""

    def __reduce__(self) -> str:
        return "THE_SINGLE"


THE_SINGLE = Single()
Point = collections.namedtuple("Point", "x y")


def within(make: Callable[[list[Any]], Any]) -> Callable[[], Any]:
    """A value that contains itself by way of a list."""

    def made() -> Any:
        inner: list[Any] = []
        value = make(inner)
        inner.append(value)
        return value

    return made


def in_itself(value: Any) -> Any:
    value.me = value
    return value


def dict_in_itself() -> Any:
    value: dict[str, Any] = {}
    value["me"] = value
    return value


def shared() -> Any:
    part = Open(a=1)
    return [part, part, {"k": part}]


MADE: dict[str, Callable[[], Any]] = {
    "numbers": lambda: [
        sign * (2**bits + delta) for bits in (0, 8, 16, 31, 63, 600) for sign in (1, -1) for delta in (-1, 0, 1)
    ],
    "floats": lambda: [0.0, -0.0, 1e300 * 1e300, 5e-324, -1.5, 1j, complex(-0.0, 0.0)],
    "texts": lambda: ["", "<\\u>", "<\\\n>", "\0", "\udc80", "ü" * 300, "\U00012345" * 70_000],
    "bytes": lambda: [b"", bytes(range(256)), b"x" * 300, b"y" * 70_000, bytearray(b"z" * 70_000)],
    "singletons": lambda: [None, True, False, ..., NotImplemented, type(None), type(...), type(NotImplemented)],
    "batches": lambda: [list(range(2500)), dict.fromkeys(range(2500)), set(range(2500))],
    "short and long tuples": lambda: [tuple(range(size)) for size in range(6)],
    "arguments of new": lambda: WithArgs(1, [2]),
    "keywords of new": lambda: WithKeywords(1, k=[2]),
    "reduced to arguments": Reduced,
    "reduced to state": Reduced3,
    "reduced to items": Reduced4,
    "reduced to pairs": Reduced5,
    "reduced with a setter": Reduced6,
    "reduced by protocol": ByProtocol,
    "false state": FalseState,
    "state of two": lambda: TupleState(a=1),
    "slots": Slots,
    "slots and more": SlotsAndMore,
    "list with a slot": lambda: with_attribute(SlotList([1])),
    **{
        f"subclass of {cls.__mro__[1].__name__}": lambda cls=cls, value=value: with_attribute(cls(value))
        for cls, value in [
            *((Whole, 5), (Real, 1.5), (Text, "a"), (Bytes, b"a"), (Row, [1]), (Pair, (1, 2)), (Table, {"a": 1})),
            *((Bag, {1, 2}), (Frozen, {1, 2}), (Ordered, {"a": 1})),
        ]
    },
    "attributes that ask": lambda: Asks(known={"x": 1}),
    "metaclass": lambda: [OfMeta(a=1), OfMeta, Meta],
    "nested classes": lambda: [Outer, Outer.Inner, Outer.Inner.Innermost, Outer.Inner.Innermost(a=1)],
    "nested functions": lambda: [Outer.Inner.Innermost.plain, Outer.Inner.Innermost.method, Outer.Inner.Innermost.made],
    "bound methods": lambda: [Outer.Inner.Innermost(a=1).method, [1].append, {1: 2}.get, "a".upper],
    "unbound methods": lambda: [str.upper, list.append, int.__add__, object.__repr__, dict.fromkeys, bytes.fromhex],
    "a name with an umlaut": lambda: [Größe, Größe(ä=1)],
    "one by name": lambda: [THE_SINGLE, THE_SINGLE],
    "named tuple": lambda: Point(1, [2]),
    "structs": lambda: [time.gmtime(0), os.stat_result(range(10))],
    "exceptions": lambda: [
        ValueError("a", 1),
        OSError(2, "gone", "name"),
        KeyError(),
        StopIteration(3),
        with_attribute(TypeError("x")),
    ],
    "groups of exceptions": lambda: ExceptionGroup("g", [ValueError(1), KeyError(2)]),
    "getters": lambda: [operator.itemgetter(1, 2), operator.attrgetter("a.b"), operator.methodcaller("m", 1, k=2)],
    "machine numbers": lambda: [array.array(code, [1, 2]) for code in "bBhHiIlLqQfd"],
    "times": lambda: [
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.timedelta(1, 2, 3),
        dt.timezone(dt.timedelta(hours=1)),
    ],
    "list in itself": within(lambda inner: inner),
    "tuple in itself": within(lambda inner: (inner, 1)),
    "dict in itself": dict_in_itself,
    "set in itself": within(lambda inner: {Hashed(inner=inner)}),
    "frozenset in itself": within(lambda inner: frozenset([Hashed(inner=inner)])),
    "instance in itself": lambda: in_itself(Open(a=1)),
    "subclasses in themselves": lambda: [in_itself(cls()) for cls in (Row, Table, Bag, Ordered)],
    "key of itself": within(lambda inner: {Hashed(inner=inner): 1}),
    "shared": shared,
    "deep": lambda: list(itertools.accumulate(range(50), lambda inner, _: [inner], initial=[]))[-1],
}


class Hashed(Open):
    """Hashed by identity, so it may be in a set."""

    def __hash__(self) -> int:
        return 1


def made(name: str) -> Any:
    """A value of `MADE`, by its name."""
    return MADE[name]()


def told(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A full description of a value: type, content, attributes, with steps upward where it contains itself."""
    if id(value) in above:
        return ("above", above.index(id(value)))
    above = (*above, id(value))
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (type, type(told))):
        return kind, value.__qualname__
    said: list[Any] = [kind]
    if isinstance(value, dict):
        said.append([(told(key, above), told(item, above)) for key, item in value.items()])
    elif isinstance(value, (set, frozenset)):
        said.append(sorted(repr(told(item, above)) for item in value))
    elif isinstance(value, (list, tuple)):
        said.append([told(item, above) for item in value])
    elif isinstance(value, BaseException):
        said.append(told(value.args, above))
    elif isinstance(value, (MethodType, BuiltinMethodType)):
        said.append((value.__name__, told(value.__self__, above)))
    elif type(value).__repr__ is not object.__repr__:
        said.append(repr(value))
    slots = {name for cls in type(value).__mro__ for name in vars(cls).get("__slots__", ())} - {"__private"}
    names = [name for name in sorted({*getattr(value, "__dict__", ()), *slots}) if hasattr(value, name)]
    return [*said, [(name, told(getattr(value, name), above)) for name in names]]
