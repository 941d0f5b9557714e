"""`f.map(...)`: what `map` returns, each call computed once, with workers and without."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigError
from tests.support.processes import KEY
from tests.support.running import run, write


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


def test_it_returns_what_map_returns(cache: Cache) -> None:
    """Results come in order, of one input or several, and what is the same for all calls is given by name."""

    @cache.cached
    def power(base: int, exponent: int = 2, *, times: int = 1) -> int:
        return times * base**exponent

    assert list(power.map(range(5))) == [0, 1, 4, 9, 16]
    assert list(power.map(iter([1, 2, 3]), [3, 2], times=5)) == [5, 20]
    assert list(power.map([])) == []
    assert power.cache_info()[:2] == (0, 7)
    assert list(power.map(range(5), ordered=False)) == [0, 1, 4, 9, 16]
    assert power.cache_info()[:2] == (5, 7)


def test_methods_map_over_their_first_argument(cache: Cache) -> None:
    """A bound method is called with the items, and its instance counts for the key as always."""

    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @cache.cached
        def of(self, n: int, plus: int = 0) -> int:
            return self.factor * n + plus

    assert list(Scale(3).of.map(range(3))) == [0, 3, 6]
    assert list(Scale(5).of.map(range(3), plus=1)) == [1, 6, 11]


def test_inputs_may_never_end(cache: Cache) -> None:
    """Items are taken as results are asked for."""
    taken = []

    def endless() -> Any:
        for n in itertools.count():
            taken.append(n)
            yield n

    @cache.cached
    def double(n: int) -> int:
        return 2 * n

    assert list(itertools.islice(double.map(endless()), 3)) == [0, 2, 4]
    assert taken == [0, 1, 2]


def test_what_others_compute_is_waited_for_last(cache: Cache) -> None:
    """A call that another thread is computing keeps nobody from the ones after it; results stay in order."""
    began, go_on, order = threading.Event(), threading.Event(), []

    @cache.cached(ignore=["who"])
    def work(n: int, who: str) -> int:
        order.append((n, who))
        if who == "other":
            began.set()
            assert go_on.wait(30)
        elif n == 5:
            go_on.set()
        return n

    thread = threading.Thread(target=work, args=(2, "other"))
    thread.start()
    assert began.wait(30)
    assert list(work.map(range(6), who="main")) == list(range(6))
    thread.join()
    assert order == [(2, "other"), *((n, "main") for n in (0, 1, 3, 4, 5))]


def test_a_nested_call_waits_as_always(cache: Cache) -> None:
    """Only the mapped calls themselves do not wait: a cached call inside of them does."""
    began, go_on, runs = threading.Event(), threading.Event(), []

    @cache.cached(ignore=["who"])
    def inner(n: int, who: str) -> int:
        runs.append(who)
        began.set()
        assert go_on.wait(30)
        return n

    @cache.cached(ignore=["who"])
    def outer(n: int, who: str) -> int:
        threading.Timer(0.05, go_on.set).start()
        return inner(0, who) + n

    thread = threading.Thread(target=inner, args=(0, "other"))
    thread.start()
    assert began.wait(30)
    assert list(outer.map([7], who="main")) == [7]
    thread.join()
    assert runs == ["other"]


def test_an_exception_is_raised_in_its_turn(cache: Cache) -> None:
    """By default the first exception ends the map, after the results before it; or it takes the place of a result."""

    @cache.cached
    def inverse(n: int) -> float:
        return 1 / n

    results = inverse.map([1, 2, 0, 4])
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    first, error, last = inverse.map([1, 0, 4], on_error="return")
    assert (first, type(error), last) == (1.0, ZeroDivisionError, 0.25)


def test_an_interrupt_loses_only_what_is_under_way(cache: Cache) -> None:
    """What was computed before an interrupt is stored."""

    @cache.cached
    def step(n: int) -> int:
        if n == 3:
            raise KeyboardInterrupt
        return n

    with pytest.raises(KeyboardInterrupt):
        list(step.map(range(5)))
    assert [step.exists(n) for n in range(5)] == [True, True, True, False, False]


def test_progress_is_told(cache: Cache) -> None:
    """A function is told of each result, with the total where it is known."""

    @cache.cached
    def same(n: int) -> int:
        return n

    told: list[tuple[int, int | None]] = []
    assert list(same.map([4, 5], progress=lambda *done: told.append(done))) == [4, 5]
    assert list(same.map(iter([4, 5]), (n for n in ()), progress=lambda *done: told.append(done))) == []
    assert list(same.map((n for n in (4, 5)), progress=lambda *done: told.append(done))) == [4, 5]
    assert told == [(1, 2), (2, 2), (1, None), (2, None)]


WRONG = {
    "executor= takes an executor of concurrent.futures": {"executor": 3},
    "chunk= takes a number of calls, at least 1, not 0": {"chunk": 0},
    "on_error= takes 'raise' or 'return', not 'ignore'": {"on_error": "ignore"},
    "progress= takes True, False or a function": {"progress": "bar"},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options_are_said_at_once(cache: Cache, message: str) -> None:
    """Each option that cannot be used is one sentence, before anything is called."""
    same: Any = cache.cached(abs)
    with pytest.raises(ConfigError, match=message):
        same.map([1], **WRONG[message])


def test_coroutine_functions_are_not_mapped(cache: Cache) -> None:
    """One sentence says what to do instead."""

    @cache.cached
    async def same(n: int) -> int:
        return n

    with pytest.raises(ConfigError, match=r"await asyncio\.gather"):
        same.map([1])


# With workers


def test_threads_as_workers(cache: Cache) -> None:
    """Each missing call is made once, however often it is asked for, and results are in order."""
    made = []

    @cache.cached
    def slow(n: int) -> int:
        time.sleep(0.01 * (n % 3))
        made.append(n)
        return -n

    with ThreadPoolExecutor(3) as workers:
        items = [n % 20 for n in range(50)]
        assert list(slow.map(items, executor=workers)) == [-n for n in items]
        assert sorted(slow.map(items, executor=workers, ordered=False)) == sorted(-n for n in items)
    assert sorted(made) == list(range(20))


def test_hits_start_no_worker(cache: Cache) -> None:
    """What is stored is answered by the caller."""

    @cache.cached
    def same(n: int) -> int:
        return n

    list(same.map(range(30)))
    with ThreadPoolExecutor(2) as workers:
        assert list(same.map(range(30), executor=workers)) == list(range(30))
        assert not workers._threads


def test_few_items_are_taken_ahead(cache: Cache) -> None:
    """However slow the first result is, a bounded number of items is taken, and nothing when nobody asks."""
    taken, go_on = [], threading.Event()

    def endless() -> Any:
        for n in itertools.count():
            taken.append(n)
            if n == 900:
                go_on.set()
            yield n

    @cache.cached
    def first_waits(n: int) -> int:
        assert n or go_on.wait(30)
        return n

    with ThreadPoolExecutor(2) as workers:
        results = first_waits.map(endless(), executor=workers, chunk=1)
        assert list(itertools.islice(results, 5)) == list(range(5))
        assert 900 < len(taken) <= 1030
        results.close()  # type: ignore[attr-defined]


def test_an_executor_that_is_shut_down(cache: Cache) -> None:
    """One sentence says so; what was computed before is stored."""
    workers = ThreadPoolExecutor(1)
    workers.shutdown()
    same: Any = cache.cached(abs)
    with pytest.raises(ConfigError, match="executor= takes no calls any more"):
        list(same.map([-1], executor=workers))


PROGRAM = """
import multiprocessing, os, sys, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import numpy as np
from pcache import Cache
cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
runs = Path(sys.argv[2])

@cache.cached
def work(n, kind):
    with open(runs, "a") as file:
        file.write(f"{kind} {n}\\n")
    if n == 13:
        raise ValueError("thirteen")
    return np.full(20_000, n) if n == 5 else n

if __name__ == "__main__":
    for kind in sys.argv[3:]:
        with ProcessPoolExecutor(2, multiprocessing.get_context(kind)) as workers:
            items = [*range(20), *range(10)]
            found = list(work.map(items, kind=kind, executor=workers, on_error="return"))
            assert repr(found[13]) == "ValueError('thirteen')"
            assert [n for n, one in zip(items, found) if np.any(one != n)] == [13], found
            again = list(work.map(items, kind=kind, executor=workers, on_error="return"))
            assert (found[5] == again[25]).all()
    made = runs.read_text().splitlines()
    expected = [f"{kind} {n}" for kind in sys.argv[3:] for n in range(20)]
    assert sorted(set(made)) == sorted(expected)
    assert [one for one in set(made) if made.count(one) > 1] == [f"{kind} 13" for kind in sys.argv[3:]]
    print(work.cache_info().hits, "hits")
"""


@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver"])
def test_processes_as_workers(tmp_path: Path, kind: str) -> None:
    """Workers store what they compute; each call runs once, but for exceptions. Repeated ones are hits."""
    script = write(tmp_path / "program.py", PROGRAM)
    assert run(script, tmp_path / "cache", tmp_path / "runs", kind) == ["39 hits"]


KILLED = """
import os, sys, signal, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from pcache import Cache, StoreWarning
cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
main = os.getpid()

@cache.cached
def work(n, main):
    if n == 7 and os.getpid() != main:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as workers, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert list(work.map(range(30), main=main, executor=workers)) == [n * n for n in range(30)]
    [warning] = [str(one.message) for one in said if one.category is StoreWarning]
    print(warning)
"""


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    """What a worker had when it was killed is computed by the caller, which says so once."""
    script = write(tmp_path / "program.py", KILLED)
    (said,) = run(script, tmp_path / "cache")
    assert said.startswith("a worker failed at calls of program:work")


ELSEWHERE = """
import multiprocessing, os, sys, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

def arrive(folder, text):
    os.environ["PCACHE_DIR"] = folder
    if text:
        Path(sys.path[0], "jobs.py").write_text(text)
        import importlib
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True

if __name__ == "__main__":
    os.environ["PCACHE_DIR"] = sys.argv[1]
    import jobs
    context = multiprocessing.get_context("spawn")
    given = sys.argv[2], sys.argv[3]
    with ProcessPoolExecutor(1, context, arrive, given) as workers, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        print(list(jobs.work.map(range(5), executor=workers)))
    print(all(map(jobs.work.exists, range(5))), os.path.isdir(sys.argv[2]))
    print(*sorted({str(one.message) for one in said}))
"""
JOBS = "from pcache import cached\n@cached\ndef work(n):\n    return n + 1\n"


def test_workers_with_another_directory_send_results_back(tmp_path: Path) -> None:
    """A worker that does not see the caller's directory stores nothing; the caller does, and says so once."""
    write(tmp_path / "jobs.py", JOBS)
    script = write(tmp_path / "program.py", ELSEWHERE)
    results, places, said = run(script, tmp_path / "here", tmp_path / "there", "")
    assert (results, places) == ("[1, 2, 3, 4, 5]", "True False")
    assert said.endswith("they send results back, which are stored here")


def test_workers_with_other_code_are_not_believed(tmp_path: Path) -> None:
    """Results of another version of the function are not taken for those of this one."""
    write(tmp_path / "jobs.py", JOBS)
    script = write(tmp_path / "program.py", ELSEWHERE)
    results, places, said = run(script, tmp_path / "here", tmp_path / "here", JOBS.replace("n + 1", "n + 100"))
    assert (results, places) == ("[1, 2, 3, 4, 5]", "True True")
    assert "it runs another version of the function's code" in said


def test_joblib_as_workers(tmp_path: Path) -> None:
    """A `joblib.Parallel` makes the missing calls."""
    pytest.importorskip("joblib")
    program = """
    import sys
    from joblib import Parallel
    from pcache import Cache
    cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
    def twice(n):
        return 2 * n
    work = cache.cached(twice)
    print(list(work.map(range(6), executor=Parallel(2))), list(work.map(range(6), executor=Parallel(2))))
    print(work.cache_info().currsize)
    """
    lines = run(write(tmp_path / "program.py", program), tmp_path / "cache")
    assert lines == ["[0, 2, 4, 6, 8, 10] [0, 2, 4, 6, 8, 10]", "6"]


def test_dask_as_workers(tmp_path: Path) -> None:
    """The workers of a dask `Client` make the missing calls, and store them."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    program = """
    import sys
    from distributed import Client
    from pcache import Cache
    cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
    @cache.cached
    def twice(n):
        return 2 * n
    if __name__ == "__main__":
        with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
            print(list(twice.map(range(6), executor=client)), all(map(twice.exists, range(6))))
    """
    assert run(write(tmp_path / "program.py", program), tmp_path / "cache") == ["[0, 2, 4, 6, 8, 10] True"]
