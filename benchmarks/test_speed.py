"""The speed of single calls, for pytest-benchmark: to follow changes while working on them.

    python -m pytest benchmarks/test_speed.py -o addopts= --benchmark-group-by=group --benchmark-columns=min,median,iqr

The project's own `addopts` turns pytest-benchmark off, hence `-o addopts=`. `--benchmark-autosave` and
`--benchmark-compare` keep and compare runs. Figures of different runs differ by a factor of two with the machine's
mood: claims about ratios come from `run.py`, where contestants take turns.
"""

from __future__ import annotations

import itertools
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import subjects

from pcache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

NAMES = tuple(subjects.CACHES)
KEYWORDS: dict[str, Any] = {"window": 5, "options": {"method": "fast", "tolerance": 0.01}, "items": [1, 2, 3]}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "pcache", signing_key=os.urandom(32))


def cached_by(name: str, folder: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, cached by one of the contestants; skips those that are not installed."""
    pytest.importorskip(name)
    options = {"signing_key": os.urandom(32)} if name == "pcache" else {}
    cached: Callable[..., Any] = subjects.CACHES[name](str(folder / name), **options)(function)
    return cached


@pytest.mark.benchmark(group="hit, small")
def test_bare_read(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Open, read, close and unpickle a plain file: the limit."""
    path = str(tmp_path / "bare")
    data = pickle.dumps(subjects.small(7), 5)
    (tmp_path / "bare").write_bytes(data)

    def read() -> object:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.read(fd, len(data))
        os.close(fd)
        return pickle.loads(found)

    assert benchmark(read) == subjects.small(7)


@pytest.mark.benchmark(group="hit, small")
@pytest.mark.parametrize("name", NAMES)
def test_small_hit(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    """Hit with an int argument."""
    cached = cached_by(name, tmp_path, subjects.small)
    cached(7)
    assert benchmark(cached, 7) == subjects.small(7)


@pytest.mark.benchmark(group="hit, keyword, dict and list")
@pytest.mark.parametrize("name", NAMES)
def test_keyword_hit(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    """Hit with arguments that have more to them."""
    cached = cached_by(name, tmp_path, subjects.keyworded)
    cached(7, **KEYWORDS)
    assert benchmark(cached, 7, **KEYWORDS) == subjects.keyworded(7, **KEYWORDS)


@pytest.mark.benchmark(group="hit, 1 MB of text")
@pytest.mark.parametrize("name", NAMES)
def test_text_hit(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    """Hit with a megabyte of words."""
    cached = cached_by(name, tmp_path, subjects.text)
    cached(1)
    assert len(benchmark(cached, 1)) == subjects.TEXT_BYTES


@pytest.mark.benchmark(group="hit, 1 MB of small objects")
@pytest.mark.parametrize("name", NAMES)
def test_objects_hit(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    """Hit with thousands of dicts."""
    cached = cached_by(name, tmp_path, subjects.objects)
    cached(1)
    assert len(benchmark(cached, 1)) == subjects.OBJECTS


@pytest.mark.benchmark(group="hit, array of 100 MB")
def test_array_hit(benchmark: BenchmarkFixture, cache: Cache) -> None:
    """Hit with a large array that this process has checked before."""
    pytest.importorskip("numpy")
    cached = cache.cached(subjects.array)
    cached(1)
    cached(1)
    assert benchmark(cached, 1).nbytes == subjects.ARRAY_BYTES


@pytest.mark.benchmark(group="miss, small")
@pytest.mark.parametrize("name", NAMES)
def test_small_miss(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    """Look up in vain, compute in a microsecond, store."""
    cached = cached_by(name, tmp_path, subjects.small)
    numbers = itertools.count()
    benchmark.pedantic(lambda: cached(next(numbers)), rounds=1000, warmup_rounds=2000)  # type: ignore[no-untyped-call]


@pytest.mark.benchmark(group="key")
def test_small_key(benchmark: BenchmarkFixture, cache: Cache) -> None:
    """The key of an int argument."""
    assert len(benchmark(cache.cached(subjects.small).key, 7)) == 40


@pytest.mark.benchmark(group="key")
def test_keyword_key(benchmark: BenchmarkFixture, cache: Cache) -> None:
    """The key of a dict and a list by keyword."""
    assert len(benchmark(cache.cached(subjects.keyworded).key, 7, **KEYWORDS)) == 40


@pytest.mark.benchmark(group="key of a large argument")
def test_array_key(benchmark: BenchmarkFixture, cache: Cache) -> None:
    """The key of 100 MB of floats."""
    pytest.importorskip("numpy")
    assert len(benchmark(cache.cached(subjects.of_array).key, subjects.random_array())) == 40


@pytest.mark.benchmark(group="key of a large argument")
def test_frame_key(benchmark: BenchmarkFixture, cache: Cache) -> None:
    """The key of a frame of 100,000 rows."""
    pytest.importorskip("pandas")
    frame = subjects.random_frame(subjects.ARGUMENT_ROWS, "mixed")
    assert len(benchmark(cache.cached(subjects.of_frame).key, frame)) == 40
