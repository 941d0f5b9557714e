"""Cached functions across processes and threads: pools of every kind, plain pickle, and scripts run again.

Scripts are files of their own, run as `python script.py`; they print what they find out. Random bytes tell how often
something was computed.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, CachedFunction
from tests.support.running import run, write

STARTS = ["spawn", "forkserver", "fork"] if sys.platform == "linux" else ["spawn"]


# Plain pickle


def draw(n: int = 0) -> bytes:
    return os.urandom(8)


def rebound(n: int = 0) -> bytes:
    return os.urandom(8)


class Model:
    def fit(self, n: int) -> bytes:
        return os.urandom(8)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, cache: Cache) -> Any:
    """This module, its `draw` and `Model.fit` cached as by a decorator."""
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "draw", cache.cached(draw))
    monkeypatch.setattr(Model, "fit", cache.cached(Model.fit))
    return here


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_decorated_function_is_pickled_by_name(module: Any, protocol: int) -> None:
    """Decorated functions and methods of a module are, to pickle, names; they come back as the same objects."""
    assert pickle.loads(pickle.dumps(module.draw, protocol)) is module.draw
    assert pickle.loads(pickle.dumps(Model.fit, protocol)) is Model.fit
    assert len(pickle.dumps(module.draw)) < 100


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_under_another_name_takes_its_cache_along(tmp_path: Path, protocol: int) -> None:
    """`stored = cached(function)` is pickled with its cache and options, and hits the same entries afterwards."""
    stored = Cache(tmp_path / "cache", max_entries=5).cached(ttl="1h", ignore=["n"])(rebound)
    again = pickle.loads(pickle.dumps(stored, protocol))
    assert type(again) is CachedFunction
    assert again.cache_parameters() == stored.cache_parameters()
    assert again(1) == stored(2)
    assert again.key(1) == stored.key(1)


def test_a_cache_can_be_pickled(tmp_path: Path) -> None:
    """A cache travels with its location, its arguments and the signing key that it was given."""
    key = random.Random(1).randbytes(32)
    cache = Cache(tmp_path / "cache", signing_key=key, max_entries=3, compression="none")
    again = pickle.loads(pickle.dumps(cache))
    assert (again.location, again.settings) == (cache.location, cache.settings)
    assert cache.cached(rebound)(1) == again.cached(rebound)(1)


def test_a_signing_key_made_by_another_process(tmp_path: Path) -> None:
    """A process that was started before there was a signing key finds what others stored with the new one."""
    early, other = Cache(tmp_path / "cache"), Cache(tmp_path / "cache")
    stored = other.cached(rebound)(1)
    assert early.cached(rebound).get(1) == stored
    assert [function.name for function in early.functions()] == [other.cached(rebound).name]
    assert early.verify().problems == ()


# Threads


def test_threads_share_one_computation(cache: Cache) -> None:
    """Threads that need the same missing result at once get one computation's result."""
    start = threading.Barrier(8)

    @cache.cached(ignore=["start"])
    def slow(n: int, start: Any) -> bytes:
        return os.urandom(8)

    def call(n: int) -> bytes:
        start.wait(30)
        return slow(n % 2, start)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(8)))
    assert len(set(results)) == 2
    assert cache.stats().entries == 2


@pytest.fixture
def busy() -> Any:
    """Have threads change places as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_threads_do_not_mix_captured_values(cache: Cache, busy: Any) -> None:
    """Functions of one code that capture different values never get each other's results, first calls included."""
    start = threading.Barrier(8)

    def maker(amount: int) -> Any:
        @cache.cached
        def add(n: int) -> int:
            return n + amount

        return add

    def call(function: Any) -> list[int]:
        start.wait(30)
        return [function(0), function(0)]

    with ThreadPoolExecutor(8) as pool:
        for amount in range(60):
            assert list(pool.map(call, [maker(amount)] * 8)) == [[amount, amount]] * 8
    assert cache.stats().entries == 60


def test_threads_see_a_rebound_capture(cache: Cache, busy: Any) -> None:
    """After a captured variable was assigned another value, no thread gets a result of the old one."""
    start = threading.Barrier(8)
    amount = 0

    @cache.cached
    def add(n: int) -> int:
        return n + amount

    def call(n: int) -> int:
        start.wait(30)
        return add(n)

    with ThreadPoolExecutor(8) as pool:
        for turn in range(100):
            amount = turn % 3
            assert list(pool.map(call, [0] * 8)) == [amount] * 8


def test_threads_wait_for_one_that_fails(cache: Cache) -> None:
    """When the thread that computes fails, the others compute for themselves and get a result."""
    entered = threading.Event()
    waiting = threading.Event()

    @cache.cached(ignore=["fails"])
    def compute(n: int, fails: bool = False) -> bytes:
        if fails:
            entered.set()
            waiting.wait(30)
            raise KeyError("mine")
        return os.urandom(8)

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(compute, 1, fails=True)
        assert entered.wait(30)
        other = pool.submit(compute, 1)
        waiting.set()
        assert isinstance(failing.exception(30), KeyError)
        assert len(other.result(30)) == 8


# Pools

POOL = """
    import multiprocessing, os, sys
    from concurrent.futures import ProcessPoolExecutor
    import helper
    from pcache import Cache, cached

    cache = Cache("cache")

    @cache.cached
    def draw(n):
        return n, os.urandom(8)

    class Model:
        def __init__(self, rate):
            self.rate = rate

        @cache.cached
        def fit(self, n):
            return n, os.urandom(8)

    def plain(n):
        return n, os.urandom(8)

    stored = cache.cached(plain)  # bound to another name than its own

    def main():
        context = multiprocessing.get_context(sys.argv[1])
        bound = Model(0.5).fit
        functions = [draw, bound, stored, helper.draw, helper.Model(0.5).fit, helper.stored]
        with context.Pool(2) as pool:
            first = [pool.map(function, [1, 2, 1, 2]) for function in functions]
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            second = [list(pool.map(function, [1, 2, 1, 2])) for function in functions]
        for function, one, two in zip(functions, first, second):
            assert one == two == [function(n) for n in (1, 2, 1, 2)], (function, one, two)
            assert one[0] == one[2] != one[1]
            assert function.cache_info()[:2] == (4, 0), function.cache_info()
        print(len(functions), cache.stats().entries)

    if __name__ == "__main__":
        main()
    """

HELPER = """
    import os
    from pcache import Cache

    cache = Cache("cache")

    @cache.cached
    def draw(n):
        return n, os.urandom(8)

    class Model:
        def __init__(self, rate):
            self.rate = rate

        @cache.cached
        def fit(self, n):
            return n, os.urandom(8)

    def plain(n):
        return n, os.urandom(8)

    stored = cache.cached(plain)
    """


@pytest.mark.parametrize("start", STARTS)
def test_pools_of_processes(tmp_path: Path, start: str) -> None:
    """Functions, bound methods and rebound functions, of the script and of a module, go to pools by plain pickle.

    All processes share the results, also with a second pool of another kind and with the parent.
    """
    write(tmp_path / "helper.py", HELPER)
    script = write(tmp_path / "script.py", POOL)
    assert run(script, start) == ["6 12"]
    assert run(script, start) == ["6 12"]


def test_processes_that_start_at_once_compute_once(tmp_path: Path) -> None:
    """Processes that need the same missing result at once compute it once."""
    script = write(
        tmp_path / "script.py",
        """
        import multiprocessing, os
        from pcache import Cache

        cache = Cache("cache")

        @cache.cached(ignore=["log"])
        def compute(n, log):
            with open(log, "a") as file:
                file.write("x")
            return os.urandom(8)

        def work(barrier, queue):
            barrier.wait(60)
            queue.put(compute(1, "log"))

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            barrier, queue = context.Barrier(4), context.Queue()
            workers = [context.Process(target=work, args=(barrier, queue)) for _ in range(4)]
            for worker in workers:
                worker.start()
            print(len({queue.get(timeout=60) for _ in workers}), len(open("log").read()))
            for worker in workers:
                worker.join()
        """,
    )
    assert run(script) == ["1 1"]


@pytest.mark.parametrize("shape", ["plain", "with pool"])
def test_classes_of_the_script_in_results_of_a_worker(tmp_path: Path, shape: str) -> None:
    """Instances of a script's class that a spawned worker stored are loaded by a run without workers."""
    script = write(
        tmp_path / "script.py",
        """
        import os, sys
        from pcache import Cache

        cache = Cache("cache")

        class Point:
            def __init__(self, x):
                self.x = x
                self.drawn = os.urandom(8)

        @cache.cached
        def point(x):
            return Point(x)

        if __name__ == "__main__":
            if sys.argv[1] == "with pool":
                import multiprocessing
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found = pool.apply(point, (3,))
            else:
                found = point(3)
            assert type(found) is Point, type(found)
            print(found.x, found.drawn.hex())
        """,
    )
    other = "with pool" if shape == "plain" else "plain"
    assert run(script, shape) == run(script, other) == run(script, shape)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_forked_child_while_the_parent_computes(tmp_path: Path) -> None:
    """A child that is forked inside of a computation can compute other calls, and does not free the parent's claim."""
    script = write(
        tmp_path / "script.py",
        """
        import os
        from pcache import Cache

        cache = Cache("cache")

        @cache.cached
        def inner(n):
            return n + 1

        @cache.cached
        def outer(n):
            pid = os.fork()
            if pid == 0:
                os._exit(inner(n) + (0 if len(cache.stats().in_flight) == 1 else 50))
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        print(outer(4), outer.get(4), inner.get(4), len(cache.stats().in_flight))
        """,
    )
    assert run(script) == ["5 5 5 0"]


# Scripts run again

SCRIPT = """
    import os
    from pcache import cached

    @cached
    def draw(n):
        return {body}

    print(draw(1))
    """


def test_a_script_run_twice_hits(tmp_path: Path) -> None:
    """The second run of a script finds what the first one stored, wherever it lies and under any hash seed."""
    script = write(tmp_path / "script.py", SCRIPT.format(body="os.urandom(8).hex()"))
    first = run(script, PYTHONHASHSEED="1")
    assert run(script, PYTHONHASHSEED="2") == first
    (tmp_path / "elsewhere").mkdir()
    assert run(script.rename(tmp_path / "elsewhere" / script.name)) == first


def test_scripts_do_not_mix(tmp_path: Path) -> None:
    """Functions of the same name with different bodies, in two scripts, have results of their own."""
    one = write(tmp_path / "one.py", SCRIPT.format(body="'one', n"))
    two = write(tmp_path / "two.py", SCRIPT.format(body="'two', n"))
    for _ in range(2):
        assert run(one) == ["('one', 1)"]
        assert run(two) == ["('two', 1)"]


def test_an_edit_misses_and_its_revert_hits(tmp_path: Path) -> None:
    """An edited body computes anew; taking the edit back finds the old result; a comment changes nothing."""
    original = SCRIPT.format(body="os.urandom(8).hex()")
    script = write(tmp_path / "script.py", original)
    first = run(script)
    edited = run(write(script, original.replace("urandom(8)", "urandom(9)")))
    assert edited != first
    assert run(write(script, original)) == first
    commented = original.replace("@cached", "# a comment\n\n    @cached").replace("return", "# another\n        return")
    assert "# another" in commented
    assert run(write(script, commented)) == first
    assert run(write(script, original.replace("return", '"""A docstring."""\n        return'))) == first
    assert run(write(script, original.replace("urandom(8)", "urandom(9)"))) == edited


def test_code_without_a_file(tmp_path: Path) -> None:
    """Functions of `python -c`, of exec and of standard input hit in the next process too."""
    script = write(
        tmp_path / "script.py",
        """
        import subprocess, sys
        text = "import os; from pcache import cached\\n@cached\\ndef draw(n): return os.urandom(8).hex()\\n"
        text += "print(draw(1))"
        for _ in range(2):
            subprocess.run([sys.executable, "-c", text], check=True)
            subprocess.run([sys.executable], input=text, text=True, check=True)
        """,
    )
    lines = run(script)
    assert len(lines) == 4
    assert len(set(lines)) == 1


def test_the_key_of_a_call_is_the_same_everywhere(tmp_path: Path) -> None:
    """Keys of sets, dicts, classes and functions do not depend on the process or its hash seed."""
    script = write(
        tmp_path / "script.py",
        """
        import enum
        from pcache import cached

        class Kind(enum.Enum):
            A = "a"
            B = "b"

        class Plain:
            def __init__(self):
                self.tags = {"x", "y", "z"}

        @cached
        def key_of(value):
            return {"a", "b", "c"}

        values = [frozenset("abcdef"), {"k": {"p", "q", "r"}}, Plain(), Kind.A, {Kind.A, Kind.B}, Plain, lambda: 1]
        print(*[key_of.key(value) for value in values])
        """,
    )
    first = run(script, PYTHONHASHSEED="1")
    assert len(set(first[0].split())) == 7
    assert run(script, PYTHONHASHSEED="2") == first
