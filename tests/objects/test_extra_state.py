"""What a subclass adds to what the pickle of its base says: keys tell it apart, and results bring it back."""

from __future__ import annotations

import array
import collections
import copyreg
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import pathlib
import random
import string
import types
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
from PIL import Image

from pcache import Cache, UnpicklableResultWarning
from pcache.entry.pickling import dump
from tests.key_values import key_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:the matrix subclass"),
    pytest.mark.filterwarnings("ignore:Pandas doesn't allow columns"),
]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=bytes(32))


def view(cls: Any) -> Any:
    return np.arange(3.0).view(cls)


BASES: dict[type, tuple[Any, ...]] = {
    dt.datetime: (2020, 1, 1),
    dt.date: (2020, 1, 1),
    dt.time: (1, 2),
    dt.timedelta: (1,),
    dt.tzinfo: (),
    decimal.Decimal: ("1.5",),
    fractions.Fraction: (1, 2),
    collections.defaultdict: (int, {1: 2}),
    collections.Counter: ("abc",),
    collections.OrderedDict: ({1: 2},),
    collections.deque: ([1], 3),
    collections.ChainMap: (),
    collections.UserDict: (),
    collections.UserString: ("a",),
    dict: (),
    list: (),
    set: ([1],),
    bytearray: (b"a",),
    pathlib.PurePosixPath: ("a",),
    Exception: ("x",),
    OSError: (1, "x"),
    functools.partial: (print, 1),
    ipaddress.IPv4Address: ("1.2.3.4",),
    ipaddress.IPv4Network: ("1.2.3.0/24",),
    zoneinfo.ZoneInfo: ("Europe/Paris",),
    types.SimpleNamespace: (),
    array.array: ("i", [1]),
    random.Random: (1,),
    string.Template: ("a",),
    io.BytesIO: (b"a",),
    np.ma.MaskedArray: ([1, 2],),
    np.matrix: ([1, 2],),
    np.poly1d: ([1, 2],),
    pd.DataFrame: ({"a": [1]},),
    pd.Series: ([1],),
    pd.Interval: (0, 1),
    pd.offsets.Day: (1,),
}


def subclass(base: type, kind: str) -> Any:
    """A class of the user's that pickle finds here, with a dict or with one slot."""
    name = f"{base.__name__}With{kind}"
    body: dict[str, Any] = {"__module__": __name__}
    if kind == "Slot":
        body["__slots__"] = ("unit",)
    if base is dt.tzinfo:
        body["utcoffset"] = lambda _zone, _time: dt.timedelta(0)
    cls = globals().setdefault(name, types.new_class(name, (base,), exec_body=lambda space: space.update(body)))
    cls.__qualname__ = name
    return cls


@pytest.mark.parametrize("kind", ["Dict", "Slot"])
@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_what_a_subclass_adds(cache: Cache, base: type, kind: str) -> None:
    """Attributes and slots that a subclass has count in keys, as does the class, and are in results that are found."""
    cls = subclass(base, kind)

    def make(unit: str | None) -> Any:
        made = cls(*BASES[base]) if base is not zoneinfo.ZoneInfo else cls.no_cache(*BASES[base])
        if unit is not None:
            made.unit = unit
        return made

    keys = [key_of(value) for value in (base(*BASES[base]), make(None), make("m"), make("km"))]
    assert len(set(keys)) == 4
    assert keys[2] == key_of(make("m"))
    work = cache.cached(lambda unit: make(unit))
    first, again = work("m"), work("m")
    assert cache.stats().entries == 1
    assert (type(again), again.unit) == (cls, "m")
    assert key_of(again) == key_of(first) or base is np.ma.MaskedArray  # whose pickles make a mask


class InfoArray(np.ndarray):
    """The example of numpy's documentation."""

    info: Any

    def __array_finalize__(self, other: Any) -> None:
        self.info = getattr(other, "info", None)


def test_an_array_with_information(cache: Cache) -> None:
    """An array's subclass keeps what `__array_finalize__` hands on; a memory map keeps no map."""

    @cache.cached
    def measured(array: Any) -> Any:
        return array * 2

    metres, miles = view(InfoArray), view(InfoArray)
    metres.info, miles.info = "metres", "miles"
    assert [measured(array).info for array in (metres, miles, metres, miles)] == ["metres", "miles"] * 2


OUTSIDE: dict[str, Callable[[], Any]] = {
    "Counter": lambda: collections.Counter("ab"),
    "frame": lambda: pd.DataFrame({"a": [1]}),
    "series": lambda: pd.Series([1]),
    "index": lambda: pd.Index([1, 2]),
    "matrix": lambda: np.matrix([1]),
    "masked": lambda: np.ma.array([1]),
    "polars' frame": lambda: polars.DataFrame({"a": [1]}),
    "polars' series": lambda: polars.Series([1]),
    "memory map": lambda: np.memmap(__file__, dtype="u1", mode="r", shape=(2,)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_attributes_put_on_objects_of_libraries(name: str) -> None:
    """`frame.unit = "m"` counts; without such an attribute, and after use, the key is that of before."""
    bare, metres, miles = (OUTSIDE[name]() for _ in range(3))
    before = key_of(bare)
    assert len(bare)
    assert name == "masked" or repr(bare)  # which asks for its fill value
    metres.unit, miles.unit = "m", "km"
    assert len({key_of(bare), key_of(metres), key_of(miles)}) == 3
    assert key_of(bare) == before


class Planet(enum.Enum):
    """Members with attributes."""

    EARTH = 1


class Noted(dt.date):
    """A subclass that says itself what counts."""

    def __getstate__(self) -> Any:
        return {"unit": self.unit}  # type: ignore[attr-defined]


class Made:
    """A class whose pickle forgets subclasses."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        return Made, (self.x,)


class MadeBelow(Made):
    """A subclass."""


class Text(np.str_):
    """A subclass of what numpy makes anew."""


def test_members_of_enumerations(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that a member is given while the program runs counts; loading gives none to what all share."""
    before = key_of(Planet.EARTH)
    monkeypatch.setattr(Planet.EARTH, "mass", 1, raising=False)
    assert key_of(Planet.EARTH) != before
    assert b"mass" not in dump(Planet.EARTH).stream


def test_a_getstate_of_its_own(cache: Cache) -> None:
    """What a subclass says of itself counts, and nothing else, although its base does not ask for it."""
    one, two, noted = Noted(2020, 1, 1), Noted(2020, 1, 1), Noted(2020, 1, 1)
    one.unit, two.unit, noted.unit, noted.note = "m", "km", "m", 1  # type: ignore[attr-defined]
    assert key_of(one) == key_of(noted) != key_of(two)
    work = cache.cached(lambda: one)
    assert [work().unit, work().unit] == ["m", "m"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [MadeBelow(1), Text("a")], ids=["own", "numpy"])
def test_a_class_that_pickle_forgets(cache: Cache, value: Any) -> None:
    """What would come back as an object of the base is not stored, with a warning; as an argument it is another one."""
    base = type(value).__mro__[1]
    assert key_of(value) != key_of(base(1 if base is Made else "a"))
    work = cache.cached(lambda: value)
    with pytest.warns(UnpicklableResultWarning, match=f"loaded as a {base.__name__}"):
        assert work() is value
    assert cache.stats().entries == 0


def test_what_is_registered_with_copyreg_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says in `copyreg` what the pickle of a class is knows what it leaves out."""
    cls = subclass(decimal.Decimal, "Dict")
    monkeypatch.setitem(copyreg.dispatch_table, cls, lambda value: (cls, (str(value),)))
    one, two = cls("1.5"), cls("1.5")
    one.unit = "m"
    assert key_of(one) == key_of(two)


def test_looking_leaves_no_trace() -> None:
    """An exception without attributes has the key and the pickle of before, also after its key was made."""
    error = ValueError("x", 1)
    before = error.__reduce__()
    key_of(error)
    assert error.__reduce__() == before


def test_an_images_subclass() -> None:
    """A class whose base reduces by what it holds: attributes of a subclass count besides."""
    cls = subclass(Image.Image, "Dict")
    images = [Image.new("L", (2, 2)) for _ in range(3)]
    for image, unit in zip(images, ("m", "km", "m"), strict=True):
        image.__class__ = cls
        image.unit = unit  # type: ignore[attr-defined]
    one, two, twin = map(key_of, images)
    assert one == twin != two


def test_an_attribute_put_on_an_image(cache: Cache) -> None:
    """Pillow's pickle knows nothing of it; keys and results do."""
    image, plain = Image.new("L", (2, 2)), Image.new("L", (2, 2))
    image.unit = "m"  # type: ignore[attr-defined]
    assert key_of(image) != key_of(plain)
    work = cache.cached(lambda: image)
    assert [work().unit, work().unit] == ["m", "m"]  # type: ignore[attr-defined]


HOSTS: dict[str, str] = {}


class RemotePath(pathlib.PurePosixPath):
    """A path whose host lies elsewhere, as its own reduction knows."""

    def __reduce__(self) -> Any:
        return remote_path, (str(self), HOSTS[str(self)])


def remote_path(path: str, host: str) -> RemotePath:
    HOSTS[path] = host
    return RemotePath(path)


class UnitIndex(pd.Index):
    """An index with a unit, as its own reduction knows."""

    def __reduce__(self) -> Any:
        return unit_index, (self.tolist(), self._unit)  # type: ignore[attr-defined]


def unit_index(values: list[int], unit: str) -> Any:
    made = pd.Index(values)
    made.__class__ = UnitIndex
    made._unit = unit  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("make", [remote_path, unit_index])
def test_a_reduction_of_its_own(make: Any) -> None:
    """What a class says itself that it is reduced to counts, where pcache knows its base by another form."""
    first: Any = "/a" if make is remote_path else [1]
    before = key_of(make(first, "m"))
    assert before == key_of(make(first, "m"))
    assert before != key_of(make(first, "km"))


# Exceptions


class Failed(Exception):
    """An exception of the user's that says how it is pickled."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> Any:
        return Failed, (self.args[0], self.code)


def with_(error: BaseException, **values: Any) -> BaseException:
    for name, value in values.items():
        setattr(error, name, value)
    return error


def from_(error: BaseException) -> BaseException:
    """An exception that was raised from another one, while a third one was handled."""
    try:
        try:
            raise LookupError(1)
        except LookupError:
            raise error from KeyError(2)
    except BaseException as raised:
        return raised


def undecodable() -> BaseException:
    return UnicodeDecodeError("utf8", b"a", 0, 1, "x")


def one_of(error: BaseException) -> BaseException:
    return BaseExceptionGroup("a", [error])


def plain() -> BaseException:
    return ValueError("a")


Bare = Callable[[], BaseException]
ERRORS: dict[str, tuple[Bare, Bare, Callable[[Any], object]]] = {
    "cause": (plain, lambda: from_(plain()), lambda error: (repr(error.__cause__), repr(error.__context__))),
    "of one's own": (lambda: Failed("a", 1), lambda: from_(Failed("a", 1)), lambda error: repr(error.__cause__)),
    "context": (plain, lambda: with_(plain(), __context__=KeyError(1)), lambda error: repr(error.__context__)),
    "suppressed": (plain, lambda: with_(plain(), __suppress_context__=True), lambda error: error.__suppress_context__),
    "shown": (
        lambda: from_(plain()),
        lambda: with_(from_(plain()), __suppress_context__=False),
        lambda error: (error.__suppress_context__, repr(error.__cause__)),
    ),
    "notes": (plain, lambda: with_(plain(), __notes__=["b"]), lambda error: error.__notes__),
    "group": (
        lambda: one_of(plain()),
        lambda: one_of(with_(plain(), __cause__=KeyError(1))),
        lambda error: repr(error.exceptions[0].__cause__),
    ),
    "name": (lambda: NameError("a"), lambda: NameError("a", name="b"), lambda error: error.name),
    "attribute": (
        lambda: AttributeError("a"),
        lambda: AttributeError("a", name="b", obj=1),
        lambda error: (error.name, error.obj),
    ),
    "import": (lambda: ImportError("a"), lambda: ImportError("a", name="b"), lambda error: error.name),
    "file": (lambda: OSError(1, "a"), lambda: with_(OSError(1, "a"), filename="b"), lambda error: error.filename),
    "line": (lambda: SyntaxError("a"), lambda: with_(SyntaxError("a"), lineno=7), lambda error: error.lineno),
    "code": (lambda: SystemExit(), lambda: with_(SystemExit(), code=3), lambda error: error.code),
    "reason": (undecodable, lambda: with_(undecodable(), reason="y"), lambda error: (error.reason, error.end)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_exceptions(cache: Cache, name: str) -> None:
    """What an exception keeps outside of its arguments and attributes counts, and comes back."""
    bare, make, facts = ERRORS[name]
    work = cache.cached(make)
    first = work()
    assert facts(work()) == facts(first) == facts(make())
    assert cache.stats().entries == 1
    assert key_of(work()) == key_of(make()) != key_of(bare())


def test_looking_at_an_exception_leaves_no_trace_either() -> None:
    """One whose attributes somebody asked for, of which there are none, has the key of before."""
    error = ValueError("a")
    before = key_of(error)
    assert vars(error) == {}
    assert key_of(error) == before


# Values of numpy's


@pytest.mark.parametrize("text", [np.str_("a\0"), np.str_("\0\0"), np.bytes_(b"a\0"), np.str_("a"), np.bytes_(b"")])
def test_zeros_at_the_end_of_a_text(cache: Cache, text: Any) -> None:
    """They count, and come back, although numpy's pickle drops them."""
    work = cache.cached(lambda: text)
    assert [work(), work()] == [text, text]
    assert (len(work()), type(work())) == (len(text), type(text))
    assert key_of(text) == key_of(work()) != key_of(type(text)("a\0\0" if isinstance(text, str) else b"a\0\0"))


@pytest.mark.parametrize("make", [np.dtype, lambda kind: np.zeros(2, kind), lambda kind: np.dtype([("a", kind)])])
def test_c_types_of_one_size(cache: Cache, make: Any) -> None:
    """`long` and `long long` are two types with one pickle: both count as what they are, and come back as that."""
    twins = [make(kind) for kind in "qQlLi"]
    assert len({key_of(twin) for twin in twins}) == len(twins)
    for twin in twins:
        work = cache.cached(lambda twin=twin: twin)
        dtype, again = (getattr(one, "dtype", one) for one in (work(), work()))
        assert dtype == again
        assert [(dtype[0] if dtype.names else dtype).char] == [(again[0] if again.names else again).char]
        assert key_of(work()) == key_of(twin)
