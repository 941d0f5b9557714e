"""`pcache.joblib.Memory` where joblib's stood."""

from __future__ import annotations

import copy
import datetime
import gc
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joblib")

import joblib

import pcache
from pcache.errors import ConfigError, PcacheWarning
from pcache.joblib import MemorizedFunc, MemorizedResult, Memory, expires_after
from tests.support.running import ROOT, run, write

LIMIT = 3


def limited(n: int) -> int:
    """A helper, and a global that it uses."""
    return min(n, LIMIT)


def measured(n: int, seen: list[int], scale: int = 2) -> int:
    """Says in `seen`, which does not count, when it runs."""
    seen.append(n)
    return limited(n) * scale


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path, verbose=0)


@pytest.fixture
def function(memory: Memory) -> MemorizedFunc:
    found: MemorizedFunc = memory.cache(measured, ignore=["seen"])
    return found


def test_it_is_joblibs(memory: Memory, function: MemorizedFunc) -> None:
    """Libraries that ask for joblib's classes get them, and pcache's as well."""
    assert isinstance(memory, joblib.Memory)
    assert isinstance(function, joblib.memory.MemorizedFunc)
    assert isinstance(function, pcache.CachedFunction)
    assert isinstance(function.call_and_shelve(1, []), joblib.memory.MemorizedResult)
    assert (function.func, function.ignore, memory.location) == (measured, ["seen"], Path(memory.location))
    assert function.store_backend.location == str(memory.location / "pcache")
    assert memory.cache(joblib.Memory(None).cache(measured)).func.func is measured


def test_a_call_is_computed_once(memory: Memory, function: MemorizedFunc) -> None:
    """However it is called, and by another object; and again after `clear`."""
    seen: list[int] = []
    assert [function(1, seen), function(n=1, seen=seen, scale=2)] == [2, 2]
    assert Memory(str(memory.location), verbose=0).cache(measured, ignore=["seen"])(1, seen) == 2
    assert seen == [1]
    function.clear()
    function(1, seen)
    memory.clear(warn=False)
    function(1, seen)
    assert seen == [1, 1, 1]
    assert [memory.eval(limited, 1), len(memory.store_backend.get_items())] == [1, 2]


def test_helpers_and_globals_count(function: MemorizedFunc, monkeypatch: pytest.MonkeyPatch) -> None:
    """What joblib misses: the code and constants that a function uses."""
    seen: list[int] = []
    assert function(9, seen) == 6
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 5)
    assert function(9, seen) == 10
    assert seen == [9, 9]


def test_call_computes_anew(function: MemorizedFunc) -> None:
    """And stores; value and metadata are those that joblib returns."""
    seen: list[int] = []
    function(4, seen)
    value, metadata = function.call(4, seen)
    assert (value, seen, set(metadata)) == (6, [4, 4], {"duration", "input_args", "time"})
    assert metadata["input_args"] == {"n": "4", "scale": "2"}
    assert metadata.keys() == joblib.Memory(function.store_backend.location, verbose=0).cache(len).call("")[1].keys()
    assert function(4, seen) == 6
    assert len(seen) == 2


def test_references(function: MemorizedFunc) -> None:
    """A reference is small, may be pickled, and says when its result is gone."""
    seen: list[int] = []
    assert not function.check_call_in_cache(5, seen)
    references = [function.call_and_shelve(5, seen), function.call_and_shelve(5, seen)]
    references.append(pickle.loads(pickle.dumps(references[0])))
    assert [reference.get() for reference in references] == [6, 6, 6]
    assert (seen, function.check_call_in_cache(5, seen)) == ([5], True)
    assert len({repr(reference) for reference in references}) == 1
    references[0].clear()
    for reference in references:
        with pytest.raises(KeyError, match="absent"):
            reference.get()
    assert not function.check_call_in_cache(5, seen)


def test_a_reference_to_what_cannot_be_stored(memory: Memory) -> None:
    """It holds the value itself."""
    with pytest.warns(PcacheWarning, match="cannot be pickled"):
        reference = memory.cache(make_lambda).call_and_shelve()
    assert reference.get()() == 7
    with pcache.disabled():
        assert not isinstance(memory.cache(limited).call_and_shelve(2), MemorizedResult)


def make_lambda() -> Callable[[], int]:
    return lambda: 7


@pytest.mark.parametrize("valid", [True, False])
def test_validation(memory: Memory, valid: bool) -> None:
    """The callback sees each stored result, and says whether it is used."""
    shown: list[dict[str, Any]] = []

    def validate(metadata: dict[str, Any]) -> bool:
        shown.append(metadata)
        return valid

    seen: list[int] = []
    function = memory.cache(measured, ignore=["seen"], cache_validation_callback=validate)
    assert [function(1, seen), function(1, seen)] == [2, 2]
    assert (len(seen), len(shown)) == (1 if valid else 2, 1)
    assert shown[0]["input_args"] == {"n": "1", "scale": "2"}
    assert function.check_call_in_cache(1, seen) is valid
    assert isinstance(function.call_and_shelve(1, seen), MemorizedResult)
    assert len(seen) == (1 if valid else 3)


def test_expiry(memory: Memory) -> None:
    """joblib's own helper works, and what a callback raises reaches the caller."""
    seen: list[int] = []
    for age, runs in ((expires_after(hours=1), 1), (expires_after(hours=-1), 2)):
        memory.cache(measured, ignore=["seen"], cache_validation_callback=age)(1, seen)
        memory.cache(measured, ignore=["seen"], cache_validation_callback=age)(1, seen)
        assert len(seen) == runs + (runs == 2)

    def fail(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.cache(measured, ignore=["seen"], cache_validation_callback=fail)(1, seen)


def test_limits(memory: Memory, function: MemorizedFunc) -> None:
    """By number, room and age of the last use."""
    for n in range(9):
        function(n, [])
    memory.reduce_size()
    memory.reduce_size(bytes_limit="1M", items_limit=9, age_limit=datetime.timedelta(hours=1))
    assert len(memory.store_backend.get_items()) == 9
    memory.reduce_size(items_limit=4)
    assert len(memory.store_backend.get_items()) == 4
    memory.reduce_size(bytes_limit="9K")
    assert len(memory.store_backend.get_items()) == 2
    with pytest.raises(ValueError, match="has to be a positive"):
        memory.reduce_size(age_limit=datetime.timedelta(-1))
    memory.reduce_size(age_limit=datetime.timedelta(0))
    assert memory.store_backend.get_items() == []


def test_without_a_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cached, and everything can be called."""
    monkeypatch.chdir(tmp_path)
    seen: list[int] = []
    memory = Memory(None)
    function = memory.cache(measured, ignore=["seen"], cache_validation_callback=lambda _: True)
    assert [function(1, seen), function.call(1, seen)[0], function.call_and_shelve(1, seen).get()] == [2, 2, 2]
    assert memory.eval(measured, 1, seen) == 2
    memory.reduce_size(items_limit=1)
    memory.clear(warn=False)
    function.clear()
    assert (len(seen), list(tmp_path.iterdir())) == (4, [])


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with joblib: each computation with its arguments, and how long it took; nothing of hits."""
    function = Memory(tmp_path).cache(limited)
    assert [function(2), function(2)] == [2, 2]
    out = capsys.readouterr().out
    assert out.count("[Memory] Calling ") == out.count("limited(2)\n") == out.count("limited - 0.0s") == 1


def test_copies_and_pickles(memory: Memory, function: MemorizedFunc) -> None:
    """A copy is the same store; pickled objects find the results; keys do not tell them apart."""
    seen: list[int] = []
    function(1, seen)
    copies = [copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))]
    assert copies[0].store_backend is memory.store_backend
    assert {joblib.hash(other) for other in copies} == {joblib.hash(memory)}
    for other in (*(one.cache(measured, ignore=["seen"]) for one in copies), pickle.loads(pickle.dumps(function))):
        assert (other(1, seen), seen) == (2, [1])
    key = memory.cache(repr).key
    assert key(memory) == key(copies[1])


def test_functions_that_are_cached_before_each_call(memory: Memory) -> None:
    """A module's function is made once for the same options; what captures something is not kept."""
    assert memory.cache(limited) is memory.cache(limited, [], 0) is not memory.cache(limited, verbose=3)
    assert memory.cache(measured, ["seen"]) is not memory.cache(measured)

    def local() -> object:
        return memory

    gone = weakref.ref(memory.cache(local).func)
    del local
    gc.collect()
    assert gone() is None


class Leveled(Memory):
    """As programs make one of their own."""

    def __init__(self, *args: Any, level: int = 10, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.level = level

    def cache(self, func: Any = None, level: int = 0, **options: Any) -> Any:
        return super().cache(func, **options) if level <= self.level else func


def test_a_subclass(tmp_path: Path) -> None:
    """It works, is copied and pickled as one, and shows its name."""
    memory = Leveled(tmp_path, level=3, verbose=0)
    assert memory.cache(limited, level=4) is limited
    for one in (memory, copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):
        assert (one.level, one.cache(limited, level=3)(1), repr(one)) == (3, 1, f"Leveled(location={tmp_path}/pcache)")
    assert len(memory.store_backend.get_items()) == 1


def test_pipelines_and_searches(memory: Memory) -> None:
    """scikit-learn fits the same models with a memory as without, and steps that it has fitted before not again."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_classification
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = make_classification(60, 8, random_state=0)
    grid = {"pca__n_components": [2, 3], "logisticregression__C": [0.1, 1.0]}
    scores, stored = [], []
    for chosen in (None, memory, memory):
        steps = make_pipeline(StandardScaler(), PCA(random_state=0), LogisticRegression(), memory=chosen)
        search = GridSearchCV(steps, grid, cv=2).fit(x, y)
        scores.append((*search.cv_results_["mean_test_score"], *search.predict(x)))
        stored.append(len(memory.store_backend.get_items()))
    assert scores[0] == scores[1] == scores[2]
    assert stored[0] == 0 < stored[1] == stored[2]
    assert memory.store_backend.cache.stats().misses == stored[1]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"backend": "s3"}, "backend= takes 'local', not 's3'"),
        ({"mmap_mode": "x"}, "mmap_mode= takes None, 'r'"),
        ({"location": 5}, "location= takes the path of a folder or None, not 5"),
        ({"location": "x", "backend_options": {"size": 1}}, "backend_options= has no option 'size'"),
        ({"location": "x", "compress": 99}, "compression: cannot use 99"),
        ({"location": "x", "backend_options": {"max_size": "much"}}, "max_size: cannot read 'much' as a size"),
    ],
)
def test_bad_input(given: dict[str, Any], text: str) -> None:
    """One sentence, when the memory is made."""
    with pytest.raises(ConfigError) as raised:
        Memory(**given)
    assert str(raised.value).startswith(text)


def test_bad_functions(memory: Memory) -> None:
    """A callback that is none, and a parameter that is none."""
    for decorate in (lambda: memory.cache(cache_validation_callback=1), lambda: memory.cache(len, None, 0, None, 1)):
        with pytest.raises(ValueError, match="needs to be callable"):
            decorate()
    with pytest.raises(ConfigError, match="ignore= names 'no'"):
        memory.cache(limited, ignore=["no"])


@pytest.mark.parametrize("compress", [False, True, 1, 9, 0, ("zlib", 3), "lz4"])
def test_compression(tmp_path: Path, compress: Any) -> None:
    """joblib's forms of `compress=`; what they ask for is smaller."""
    memory = Memory(tmp_path, compress=compress, verbose=0)
    assert memory.cache(bytes)(100_000) == bytes(100_000)
    [item] = memory.store_backend.get_items()
    assert (item.size < 50_000) == bool(compress)


SCRIPT = """
from pcache.joblib import Memory
from joblib import Parallel, delayed
memory = Memory("results", verbose=0)
@memory.cache
def square(n):
    open("ran", "a").write(f"{n}\\n")
    return n * n
if __name__ == "__main__":
    print(sum(Parallel(2)(delayed(square)(n) for n in [1, 2, 3])))
    print(sum(r.get() for r in Parallel(2)(delayed(square.call_and_shelve)(n) for n in [1, 2, 3])))
    print(square(3), len(open("ran").readlines()))
"""


def test_workers_share_results(tmp_path: Path) -> None:
    """joblib's workers find what others computed, and send back references."""
    assert run(write(tmp_path / "script.py", SCRIPT)) == ["14", "14", "9 3"]


def test_joblib_is_loaded_when_it_is_asked_for() -> None:
    """Neither a cache nor the command line loads it, and the module of the same name does not hide it."""
    code = (
        "import sys, pcache, pcache.cli; print('joblib' in sys.modules);"
        "import pcache.joblib, joblib; print(joblib.Memory is pcache.joblib.Memory.__mro__[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "True"]
