"""Between values and pickle streams: what goes out of band, what comes back, and aliases of `__main__`."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pcache.entry.pickling import culprit_of, dump, load, load_again, load_with
from tests.support import kinds
from tests.support.running import run, write


def back(value: Any) -> Any:
    payload = dump(value)
    copies = [bytearray(buffer) for buffer in payload.buffers]
    return load_with(copies)(payload.stream)


@pytest.mark.parametrize("name", kinds.ZOO)
def test_dump_and_load(name: str) -> None:
    """Every kind of value comes back from its stream and buffers."""
    case = kinds.ZOO[name]
    first = case.make()
    case.check(first, back(first))


@given(hnp.arrays(hnp.scalar_dtypes() | hnp.array_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_any_array(array: np.ndarray[Any, Any]) -> None:
    """Arrays of every dtype and shape come back bit by bit, as from a pickle without buffers."""
    again, expected = back(array), pickle.loads(pickle.dumps(array, 5))
    assert (again.dtype, again.shape, again.flags.writeable) == (expected.dtype, array.shape, array.flags.writeable)
    assert again.tobytes() == expected.tobytes()
    assert len(again.tobytes()) == array.nbytes


@given(st.integers(0, 3), st.integers(1, 3), st.booleans())
def test_views(start: int, step: int, transpose: bool) -> None:
    """A view is stored as what it shows, not as what it is a view of."""
    base = np.arange(10_000.0).reshape(100, 100)
    view = base[start::step, ::-step] if not transpose else base[start::step].T
    payload = dump(view)
    assert len(payload.stream) + sum(buffer.nbytes for buffer in payload.buffers) < view.nbytes + 1000
    np.testing.assert_array_equal(back(view), view)


def test_arrays_go_out_of_band_without_a_copy() -> None:
    """The buffers of arrays lie in the arrays' own memory; the stream holds none of their bytes."""
    array = kinds.noise(10_000)
    payload = dump({"a": array, "b": [array, np.asfortranarray(kinds.noise(3000).reshape(3, 1000))]})
    assert [buffer.nbytes for buffer in payload.buffers] == [80_000, 24_000]
    assert len(payload.stream) < 1000
    array[0] = 7
    assert np.frombuffer(payload.buffers[0])[0] == 7


def test_small_arrays_stay_in_the_stream() -> None:
    """The first few KiB of arrays are copied into the stream, and come back writable or not, as they were."""
    small, fixed = kinds.noise(100), kinds.noise(100)
    fixed.flags.writeable = False
    payload = dump([small, small, fixed, *(kinds.noise(1000) for _ in range(2))])
    assert [buffer.nbytes for buffer in payload.buffers] == [8000]
    found = load_with([bytearray(buffer) for buffer in payload.buffers])(payload.stream)
    assert found[0] is found[1]
    assert np.array_equal(found[0], small)
    assert [array.flags.writeable for array in found] == [True, True, False, True, True]


def test_bytes_stay_in_the_stream() -> None:
    """`bytes` and `bytearray` never go out of band: they come back as what they were."""
    payload = dump([b"x" * 100_000, bytearray(b"y" * 100_000)])
    assert payload.buffers == []
    assert load(payload.stream) == [b"x" * 100_000, bytearray(b"y" * 100_000)]


def test_a_buffer_that_is_not_contiguous() -> None:
    """A buffer with gaps is pickle's own error, as it has no bytes to be stored."""
    with pytest.raises(pickle.PicklingError, match="contiguous"):
        dump(pickle.PickleBuffer(np.arange(10)[::2]))


def test_rights_come_back() -> None:
    """A read-only array is read-only again even from a writable buffer."""
    array = kinds.readonly(np.arange(5))
    assert not back(array).flags.writeable
    assert back(array.copy()).flags.writeable


def test_what_cannot_be_pickled_raises() -> None:
    """`dump` raises what pickle and the value's own hooks raise, and `culprit_of` finds the part."""

    class Refuses:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("mine")

    value = {"a": [1, Refuses()]}
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        dump(value)
    culprit = culprit_of(value, caught.value)
    assert (culprit.path, culprit.error) == ("result['a'][1]", "mine")
    assert culprit.type_name.endswith("Refuses")


def test_the_alias_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of a spawned worker, in which `__main__` is `__mp_main__`, loads where nothing made that alias."""
    main = types.ModuleType("__main__")
    exec("class Point:\n    x = 3", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.delitem(sys.modules, "__mp_main__", raising=False)
    monkeypatch.setitem(sys.modules, "__mp_main__", main)
    main.Point.__module__ = "__mp_main__"
    stream = pickle.dumps(main.Point(), 5)
    del sys.modules["__mp_main__"]
    with pytest.raises(ModuleNotFoundError) as caught:
        load(stream)
    value, error = load_again(load, stream, caught.value)
    assert error is None
    assert type(value) is main.Point
    del sys.modules["__mp_main__"]


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("gone", name="gone"), ImportError("x"), AttributeError("Point"), ValueError("bad")]
)
def test_other_failures_are_not_tried_again(error: Exception) -> None:
    """Any other failure stays as it is, and nothing is run a second time."""
    assert load_again(pytest.fail, b"", error) == (None, error)


def test_the_alias_in_a_plain_script(tmp_path: Path) -> None:
    """A script without multiprocessing loads what a worker of it stored, and has the alias afterwards only then."""
    script = write(
        tmp_path / "script.py",
        """
        import sys
        from pcache.entry.pickling import load, load_again

        class Point:
            pass

        stream = b"\\x80\\x05c__mp_main__\\nPoint\\n)\\x81."
        try:
            load(stream)
        except ModuleNotFoundError as error:
            value, failure = load_again(load, stream, error)
            print(type(value) is Point, failure, "multiprocessing" in sys.modules)
        """,
    )
    assert run(script) == ["True None False"]
