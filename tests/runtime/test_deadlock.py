"""Who is waited for, and for how long: owners that prove themselves, and the rest for a second."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import resource
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, StoreWarning
from pcache.runtime import deadlock
from pcache.storage.claim_owner import owner_record
from pcache.system import clock
from tests.support.processes import KEY, OTHER_RING, RING, Talker, claims_below, place_of, run

COMPUTING = """
@cache.cached(code="none")
def double(n):
    say("computing")
    hear()
    return 2 * n
double(int(sys.argv[2]))
say("done")
"""


def double(n: int) -> int:
    return 2 * n


double.__module__, double.__qualname__ = "__main__", "double"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", signing_key=KEY)


@pytest.fixture
def cached(cache: Cache) -> Any:
    return cache.cached(code="none")(double)


@pytest.fixture
def hold(cached: Any) -> Iterator[Any]:
    """Lock the claim of a call as anybody can who may write there, with a content."""
    held = []

    def lock(n: int, content: bytes) -> None:
        path = place_of(cached, n)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        held.append(os.open(path + ".claim", os.O_RDWR | os.O_CREAT, 0o600))
        os.write(held[-1], content)
        fcntl.flock(held[-1], fcntl.LOCK_EX)

    cached(0)
    yield lock
    for fd in held:
        os.close(fd)


def of(cached: Any, n: int) -> str:
    return str(place_of(cached, n))


def test_who_has_no_key_is_waited_for_a_second(cached: Any, hold: Any) -> None:
    """Whatever stands in the claim, also what another claim said; the result is stored, and it is said once."""
    contents = [b"", b'{"host": "x", "pid": 1, "start": 1, "call": "f"}', b"[" * 100_000]
    contents += [owner_record("m:f", RING).sealed("other"), owner_record("m:f", OTHER_RING).sealed(of(cached, 5))]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        for n, content in enumerate(contents, 1):
            hold(n, content)
            started = time.monotonic()
            assert cached(n) == 2 * n
            assert 0.9 < time.monotonic() - started < 2.0
            assert cached.exists(n)
    assert ["without the signing key" in str(warning.message) for warning in given] == [True]


def test_an_owner_that_proves_itself_is_waited_for(
    tmp_path: Path, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for longer than one that does not."""
    monkeypatch.setattr(deadlock, "PROOF", 0.0)
    other = Talker(COMPUTING, tmp_path / "cache", 1)
    assert other.hear() == "computing"
    looks = []

    def look(wait: deadlock.Wait, owner: Any) -> str:
        looks.append(owner)
        if len(looks) == 2:
            other.say()
        return in_vain(wait, owner)

    in_vain = deadlock.Wait.is_in_vain
    monkeypatch.setattr(deadlock.Wait, "is_in_vain", look)
    assert cached(1) == 2
    assert cached._tally.hits + cached._misses == 1
    assert [owner.pid for owner in looks] == [other.pid] * len(looks)
    assert other.finish() == ["done"]


def test_an_owner_that_was_stopped(
    tmp_path: Path, cached: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is waited for as long as README.md says, then the call computes, stores, and says so."""
    assert deadlock.STOPPED == 600
    monkeypatch.setattr(deadlock, "STOPPED", 1.0)
    other = Talker(COMPUTING, tmp_path / "cache", 1)
    assert other.hear() == "computing"
    os.kill(other.pid, signal.SIGSTOP)
    with caplog.at_level(logging.WARNING, "pcache"):
        started = time.monotonic()
        assert cached(1) == 2
    assert 1.0 <= time.monotonic() - started < 10
    assert "is stopped and not waited for any longer" in caplog.text
    assert str(other.pid) in caplog.text
    assert cached.exists(1)
    other.kill()


@pytest.mark.parametrize("stands", ["time.monotonic", "all"])
def test_a_limit_under_a_clock_that_stands(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, stands: str
) -> None:
    """What was slept counts, so that `lock_timeout` comes to its end."""
    other = Talker(COMPUTING, tmp_path / "cache", 1)
    assert other.hear() == "computing"
    limited = cache.cached(code="none", lock_timeout=0.3)(double)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    if stands == "all":
        monkeypatch.setattr(clock, "now", lambda: 5.0)
    started = time.perf_counter()
    assert limited(1) == 2
    assert 0.25 < time.perf_counter() - started < 5
    assert not limited.exists(1)
    other.say()
    assert other.finish() == ["done"]


def test_time_that_passed() -> None:
    """By the clock, or as much as was slept."""
    watch = clock.Stopwatch()
    watch.pause(0.02)
    assert 0.02 <= watch.passed() < 10
    watch.add(100)
    assert 100 <= watch.passed() < 110


DEEP = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
sys.setrecursionlimit(100_000)
import threading, warnings
warnings.simplefilter("error")
threading.stack_size(512 << 20)
@cache.cached
def f(n):
    global most
    most = max(most, len(os.listdir("/proc/self/fd")))
    return 0 if n == 0 else 1 + f(n - 1)
most = 0
found = []
thread = threading.Thread(target=lambda: found.append(f(400)))
thread.start(), thread.join()
say(found, sum(map(f.exists, range(401))), most < 100)
"""


def test_deep_recursion_holds_few_descriptors(tmp_path: Path) -> None:
    """All results of a recursion are stored, deeper than there are descriptors."""
    assert run(DEEP, tmp_path / "cache") == ["[400] 401 True"]
    assert claims_below(tmp_path) == []


def test_no_descriptors_just_now(cached: Any, cache: Cache) -> None:
    """A call that finds none computes; the next one that finds some stores."""
    cached(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 5, hard))
        taken: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            assert cached(1) == 2
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [warning.category for warning in given] == [StoreWarning]
    assert cached(2) == 4
    assert (cached.exists(1), cached.exists(2), claims_below(cache.location)) == (False, True, [])
