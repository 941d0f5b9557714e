"""What a hit returns: a value as good as the computed one, fresh at every call, without copying what is large."""

from __future__ import annotations

import errno
import gc
import logging
import math
import os
import re
import socket
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcache import Cache, Miss, UnpicklableResult, UnpicklableResultWarning
from tests.support import kinds
from tests.support.running import run, write

MIB = 1 << 20


def files_of(cache: Cache) -> list[str]:
    """Everything below the entries folder that is not a folder."""
    return [name for _, _, names in os.walk(Path(cache.location, "v1", "entries")) for name in names]


@pytest.mark.parametrize("name", kinds.ZOO)
def test_a_hit_is_as_good_as_the_computed_value(cache: Cache, name: str) -> None:
    """Values of every kind that pickle can carry come back from the disk as they were."""
    make = cache.cached(kinds.make)
    first = make(name)
    again = make(name)
    assert make.cache_info()[:2] == (1, 1)
    kinds.ZOO[name].check(first, again)


def test_a_new_process_gets_the_same_values(tmp_path: Path) -> None:
    """What one process stored is a hit in the next, for every kind of value."""
    script = write(
        tmp_path / "script.py",
        """
        from pcache import Cache
        from tests.support import kinds

        cache = Cache("cache")
        for name, case in kinds.ZOO.items():
            made = cache.cached(kinds.make)
            value = made(name)
            if made.cache_info().hits:
                case.check(case.make(), value)
                print(name)
        """,
    )
    assert run(script) == []
    assert run(script, PYTHONHASHSEED="7") == list(kinds.ZOO)


@pytest.mark.parametrize("name", ["containers", "array", "large array", "pandas frame", "dataclass"])
def test_callers_may_change_what_they_get(cache: Cache, name: str) -> None:
    """A change to one hit's value, arrays mapped from the file included, is not seen by the next hit."""
    make = cache.cached(kinds.make)
    make(name)
    value: Any = make(name)
    if name in ("array", "large array"):
        value[...] = -1
    elif name == "pandas frame":
        value["n"] = 0
    elif name == "dataclass":
        value.parts.clear()
    else:
        value["l"].append(0)
    kinds.same(kinds.make(name), make(name))


@pytest.mark.parametrize("size", [10, 10_000, 200_000], ids=["small", "medium", "mapped"])
@pytest.mark.parametrize("compressible", [False, True], ids=["noise", "zeros"])
@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
def test_an_array_keeps_its_rights(tmp_path: Path, size: int, compressible: bool, writable: bool) -> None:
    """Writable arrays are writable on a hit and read-only ones are not, however they lie in the file."""

    @Cache(tmp_path / "cache", compression=1).cached
    def numbers(size: int, compressible: bool, writable: bool) -> Any:
        array = np.zeros(size) if compressible else kinds.noise(size)
        array.flags.writeable = writable
        return array

    kinds.same(numbers(size, compressible, writable), numbers.get(size, compressible, writable))
    array = numbers.get(size, compressible, writable)
    if writable:
        array[0] = 7
        assert array[0] == 7
    else:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_an_array_outlives_its_entry(cache: Cache) -> None:
    """A mapped array stays readable after its entry was removed or replaced."""
    make = cache.cached(kinds.make)
    expected = make("large array")
    kept = make.get("large array")
    assert make.put(expected + 1, "large array")
    replaced = make.get("large array")
    cache.clear()
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(replaced, expected + 1)


def test_a_mapped_array_can_be_stored_again(cache: Cache) -> None:
    """An array that lies in an entry's file may replace that very entry, and be the result of another call."""
    make = cache.cached(kinds.make)
    expected = make("large array")
    mapped = make.get("large array")
    mapped[0] = -1
    assert make.put(mapped, "large array")
    assert make.put(mapped, "another")
    for name in ("large array", "another"):
        np.testing.assert_array_equal(make.get(name)[0], np.full(500, -1.0))
        np.testing.assert_array_equal(make.get(name)[1:], expected[1:])


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_arrays_alive_at_once(cache: Cache) -> None:
    """More mapped arrays than there are maps to be had still work, and descriptors stay few."""
    make = cache.cached(kinds.make)
    expected = make("large array")
    before = descriptors()
    alive = [make("large array") for _ in range(400)]
    assert descriptors() - before <= 300
    assert all(array.flags.writeable for array in alive)
    assert len({array.ctypes.data for array in alive}) == 400
    for array in alive[::50] + alive[-1:]:
        np.testing.assert_array_equal(array, expected)
    del alive, array
    gc.collect()
    assert descriptors() <= before + 1


def resident() -> int:
    """Bytes of this process in memory, its own and those of mapped files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return sum(int(size) << 10 for size in re.findall(r"Rss(?:Anon|File):\s+(\d+) kB", status))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_array_takes_no_memory_until_touched(cache: Cache) -> None:
    """Hits on 100 MB, the first of which checks every byte, leave nothing in memory that the caller did not touch."""

    @cache.cached
    def large() -> Any:
        return kinds.noise(100 * 125_000)

    last = float(large()[-1])
    gc.collect()
    before = resident()
    first = large()
    assert resident() - before < 4 * MIB
    second = large()
    assert resident() - before < 4 * MIB
    assert second[-1] == last == first[-1]
    assert second[: MIB // 8].sum() > 0  # touches 1 MiB of them
    assert MIB // 2 < resident() - before < 12 * MIB


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.timezones() | st.none())
    | st.timedeltas()
    | st.uuids()
)
hashable = st.recursive(leaves, lambda parts: st.tuples(parts, parts) | st.frozensets(parts, max_size=3), max_leaves=4)
values = st.recursive(
    leaves,
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.tuples(parts, parts)
        | st.dictionaries(hashable, parts, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.builds(kinds.Plain, name=st.text(), parts=st.lists(parts, max_size=3))
        | st.builds(kinds.Pair, parts, parts)
    ),
    max_leaves=20,
)


def told(value: Any) -> Any:
    """A value with the types of all its parts, so that 1, 1.0 and True, or 0.0 and -0.0, are told apart."""
    if isinstance(value, (list, tuple)):
        return (type(value), [told(part) for part in value])
    if isinstance(value, (set, frozenset)):
        return (type(value), sorted(repr(told(part)) for part in value))
    if isinstance(value, dict):
        return (dict, [(told(key), told(part)) for key, part in value.items()])
    if isinstance(value, kinds.Plain):
        return (kinds.Plain, value.name, told(value.parts))
    return (type(value), repr(value), value)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_any_nesting_comes_back(cache: Cache, value: Any) -> None:
    """Whatever builtin values are put together in whatever way, a hit returns them."""

    @cache.cached(ignore=["value"])
    def give(value: Any) -> Any:
        return value

    assert told(give.refresh(value)) == told(give.get(None))


class Database:
    def __init__(self, part: object) -> None:
        self.lock = part
        self.name = "db"


class Holder:
    __slots__ = ("db",)

    def __init__(self, part: object) -> None:
        self.db = Database(part)


def generator() -> Any:
    yield 1


def local_instance() -> object:
    class Local:
        pass

    return Local()


def open_file() -> Any:
    return open(os.devnull, encoding="ascii")


class Refuses:
    """Fails in its own hook, with an exception of its own."""

    def __reduce__(self) -> Any:
        raise OSError(errno.EIO, "cannot be read")


UNPICKLABLE: dict[str, tuple[Any, str]] = {
    "lock in slots and attributes": (lambda: Holder(threading.Lock()), "result.db.lock"),
    "lock in a list of a dict": (lambda: {"b": 1, "a": [0, 1, 2, threading.Lock()]}, "result['a'][3]"),
    "file": (lambda: {"log": open_file()}, "result['log']"),
    "socket": (lambda: (1, socket.socket()), "result[1]"),
    "generator": (generator, "result"),
    "lambda": (lambda: [lambda: 1], "result[0]"),
    "instance of a local class": (lambda: {1: local_instance()}, "result[1]"),
    "hook that fails": (lambda: Database(Refuses()), "result.lock"),
}


def close(value: Any) -> None:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
        if hasattr(part, "close"):
            part.close()


@pytest.fixture
def give(cache: Cache) -> Any:
    @cache.cached(ignore=["value"])
    def give(value: Any) -> Any:
        return value

    return give


@pytest.mark.parametrize("name", UNPICKLABLE)
def test_what_cannot_be_pickled_reaches_the_caller(cache: Cache, give: Any, name: str) -> None:
    """The very value is returned, one warning per function names the part at fault, and no file is left."""
    make, path = UNPICKLABLE[name]
    value = make()
    with pytest.warns(UnpicklableResultWarning) as given:
        returned = [give(value), give(value)]
    assert all(result is value for result in returned)
    assert len(given) == 1
    assert f"give cannot be stored: {path} is a " in str(given[0].message)
    assert given[0].filename == __file__
    assert files_of(cache) == []
    close(value)


@pytest.mark.parametrize("name", UNPICKLABLE)
def test_strict_functions_raise(cache: Cache, name: str) -> None:
    """With `strict=True` the same values raise, with the part at fault as an attribute, and no file is left."""
    make, path = UNPICKLABLE[name]
    value = make()

    @cache.cached(ignore=["value"], strict=True)
    def give(value: Any) -> Any:
        return value

    for _ in range(2):
        with pytest.raises(UnpicklableResult, match="cannot be stored") as caught:
            give(value)
    assert caught.value.path == path
    assert caught.value.function.endswith("give")
    assert files_of(cache) == []
    close(value)


def test_each_function_has_its_own_warning(cache: Cache) -> None:
    """A warning about one function does not keep another's back."""

    @cache.cached
    def one() -> Any:
        return threading.Lock()

    @cache.cached
    def two() -> Any:
        return threading.Lock()

    with pytest.warns(UnpicklableResultWarning) as given:
        one(), two(), one(), two()
    assert [re.findall(r"(\w+) cannot be stored", str(item.message))[0] for item in given] == ["one", "two"]


def test_warnings_as_errors_do_not_cost_the_result(give: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Where warnings are errors the caller gets the value all the same, and the log the message."""
    value = threading.Lock()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "pcache"):
        warnings.simplefilter("error")
        assert give(value) is value
    assert "result is a lock" in caplog.text


def test_too_deep_for_pickle(cache: Cache, give: Any) -> None:
    """A result nested more deeply than pickle can go is returned with a warning."""
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.warns(UnpicklableResultWarning):
        assert give(value) is value
    assert files_of(cache) == []
    while value:
        value = value.pop()  # taken apart level by level: freeing it at once would recurse


@pytest.fixture
def models() -> Any:
    """A module with a class that results are instances of."""
    module = types.ModuleType("models_of_test_results")
    exec("class Point:\n    x = 1\nclass Other:\n    x = 1\n", module.__dict__)
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


@pytest.mark.parametrize("change", ["class gone", "class moved", "module gone", "state refused"])
def test_a_class_that_is_not_what_it_was(cache: Cache, models: Any, change: str) -> None:
    """A result that can no longer be loaded is a miss with a reason, and is computed and stored again."""
    stored = cache.cached(ignore=["models"])(take)
    stored(models, "Point")
    if change == "class gone":
        del models.Point
    elif change == "class moved":
        models.Place = models.Point
        models.Place.__qualname__ = "Place"
        del models.Point
    elif change == "module gone":
        del sys.modules[models.__name__]
    else:
        models.Point.__setstate__ = refuse
    with pytest.raises(Miss) as caught:
        stored.get(models, "Point")
    assert caught.value.reason == "unloadable"
    assert caught.value.detail
    assert stored(models, "Point") == 5
    assert stored.get(models, "Point") == 5


def take(models: Any, name: str) -> Any:
    """An instance of a class of `models` the first time, a number afterwards."""
    if not getattr(models, "taken", False):
        models.taken = True
        point = getattr(models, name)()
        point.x = 2
        return point
    return 5


def refuse(_self: Any, _state: Any) -> None:
    raise TypeError("this state is of an older release")


class TwoWords(Exception):
    """Can be pickled and not unpickled, as many an exception: its arguments are not those of its class."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def test_what_is_pickled_and_cannot_be_unpickled(cache: Cache, give: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A result whose pickle does not load is computed at every call, and the log says why."""
    with caplog.at_level(logging.WARNING, "pcache"):
        for _ in range(2):
            assert str(give(TwoWords("a", "b"))) == "a b"
    assert "TypeError" in caplog.text
    with pytest.raises(Miss, match="unloadable"):
        give.get(None)
    assert len(files_of(cache)) == 1


def test_results_equal_to_nothing(cache: Cache) -> None:
    """None, nan, empty and false results are results: the second call is a hit."""
    calls = cache.cached(first_of)
    for value in (None, math.nan, 0, "", (), False):
        calls(value), calls(value)
    assert calls.cache_info()[:2] == (6, 6)


def first_of(value: Any) -> Any:
    return value
