"""What is nested deeply: the interpreter survives, whatever recursion limit the program has set."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcache.entry.pickling import dump
from pcache.keys.encoder import encode
from pcache.objects import recursion
from tests.support.processes import PRELUDE, ROOT

SCRIPT = """
import threading, warnings
from pcache import UnhashableArgument
warnings.simplefilter("ignore")
class Node:
    def __init__(self, n): self.n = n
kinds = {"list": lambda x: [x], "dict": lambda x: {"a": x}, "tuple": lambda x: (x,), "node": Node}
def nest(n, kind):
    x = None
    for _ in range(n): x = kinds[kind](x)
    return x
def count(x):
    k = 0
    while x is not None:
        x = x.n if isinstance(x, Node) else x["a"] if isinstance(x, dict) else x[0]
        k += 1
    return k
sys.setrecursionlimit(10**6)
def small():
    @cache.cached(code="none")
    def deep(): return nest(100_000, "node")
    say(count(deep()))
threading.stack_size((1 if sys.version_info < (3, 12) else 2) << 20)  # in 1 MiB pickle itself crashes on 3.13
thread = threading.Thread(target=small)
thread.start()
thread.join()
threading.stack_size(0)
@cache.cached(code="none")
def deep(n, kind): return nest(n, kind)
@cache.cached(code="none")
def take(x): return count(x)
for kind in kinds:
    found = [count(deep(100_000, kind)), count(deep(300, kind)), deep.exists(300, kind), deep.exists(100_000, kind)]
    try:
        found.append(take(nest(100_000, kind)))
    except UnhashableArgument as error:
        found.append("nested too deeply" in str(error))
    found.append(take(nest(300, kind)))
    say(kind, *found)
say(sys.getrecursionlimit())
os._exit(0)  # without taking the values apart
"""


def test_depth_beyond_measure(tmp_path: Path) -> None:
    """With a raised limit, 100,000 levels of a result are returned and not stored, of an argument refused."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + SCRIPT, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    right = [f"{kind} 100000 300 True False True 300" for kind in ("list", "dict", "tuple", "node")]
    assert done.stdout.splitlines() == ["100000", *right, "1000000"], (done.returncode, done.stderr)


@pytest.fixture
def _raised() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    yield
    sys.setrecursionlimit(before)


def _nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


def _descend(calls: int) -> int:
    return calls and 1 + _descend(calls - 1)


@pytest.mark.usefixtures("_raised")
@pytest.mark.parametrize("pickle", [encode, dump])
def test_the_limit_of_the_program_stays(pickle: object) -> None:
    """It is the program's before and after, for all threads; a value is pickled as far as is safe."""
    assert callable(pickle)
    begun, done = threading.Event(), threading.Event()
    reached: list[int] = []

    def other() -> None:
        begun.wait(10)
        while not done.is_set():
            reached.append(_descend(20_000))

    thread = threading.Thread(target=other)
    thread.start()
    for _ in range(3):
        with pytest.raises(RecursionError):
            pickle(_nested(20_000))
        pickle(_nested(400))
        begun.set()
    done.set()
    thread.join()
    assert set(reached) <= {20_000}
    assert sys.getrecursionlimit() == 50_000
    assert _descend(20_000) == 20_000


@pytest.mark.usefixtures("_raised")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on Python keeps a limit for C")
def test_room_is_lowered_and_given_back() -> None:
    """A thread can make `MOST` calls meanwhile, within one that lowers it again as many, and all of them after."""
    excess = recursion.lower()
    try:
        assert 40_000 < excess < 50_000
        assert recursion.lower() == 0
        with pytest.raises(RecursionError):
            _descend(recursion.MOST + 10)
        assert _descend(recursion.MOST - 100)
    finally:
        recursion.give_back(excess)
    assert _descend(40_000)


RECURSION = """
def count(c):
    @c.cached
    def f(n): return 0 if n == 0 else f(n - 1) + 1
    return f
class Counter:
    @cache.cached
    def method(self, n): return 0 if n == 0 else self.method(n - 1) + 1
    @classmethod
    @cache.cached
    def of_class(cls, n): return 0 if n == 0 else cls.of_class(n - 1) + 1
    @cache.cached
    def options(self, n, **options): return 0 if n == 0 else self.options(n=n - 1, **options) + 1
function, counter = count(cache), Counter()
say(sys.getrecursionlimit())
say(function(240), counter.method(240), Counter.of_class(240), counter.options(240, a=1, b=2))
say(cache.stats().entries, function.exists(240), counter.method.exists(0), counter.options.exists(120, a=1, b=2))
"""


def test_recursion_of_cached_functions(tmp_path: Path) -> None:
    """At Python's own limit cached functions and methods call themselves 240 levels deep, and each level is stored."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + RECURSION, tmp_path / "cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["1000", "240 240 240 240", "964 True True True"], done.stderr
