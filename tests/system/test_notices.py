"""Warnings that are given once and never stop a call, and the place that they point to."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, StoreWarning, UnpicklableResultWarning
from pcache.system import notices
from pcache.system.notices import log, warn_once


@pytest.fixture(autouse=True)
def _warnings_again() -> None:
    notices.forget()


@pytest.fixture
def given() -> Any:
    """The warnings given during a test."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        yield given


def test_a_warning_is_given_once_per_cause(given: Any) -> None:
    """The second warning for a cause is not given, another cause's is."""
    for cause in ("full", "full", ("disk", 3), "full", ("disk", 3)):
        warn_once(cause, f"about {cause}", StoreWarning)
    assert [str(item.message) for item in given] == ["about full", "about ('disk', 3)"]
    assert {item.category for item in given} == {StoreWarning}


def test_forget_gives_them_again(given: Any) -> None:
    """After `forget` every warning is given once more."""
    warn_once("full", "about it", StoreWarning)
    notices.forget()
    warn_once("full", "about it", StoreWarning)
    assert len(given) == 2


def test_where_warnings_are_errors_the_log_has_them(caplog: pytest.LogCaptureFixture) -> None:
    """A warning that would raise is logged instead, once."""
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "pcache"):
        warnings.simplefilter("error")
        warn_once("full", "about 100 % of it", StoreWarning)
        warn_once("full", "about 100 % of it", StoreWarning)
    assert [record.getMessage() for record in caplog.records] == ["about 100 % of it"]


def test_filters_of_the_user_count(given: Any) -> None:
    """A warning that the user has filtered out is not given."""
    warnings.filterwarnings("ignore", category=StoreWarning)
    warn_once("full", "about it", StoreWarning)
    warn_once("bad", "about that", UnpicklableResultWarning)
    assert [str(item.message) for item in given] == ["about that"]


def test_warnings_point_to_the_caller(tmp_path: Path, given: Any) -> None:
    """A warning points to the line that called the cached function, also through a bound method."""
    cache = Cache(tmp_path / "cache")

    class Source:
        @cache.cached
        def open(self) -> Any:
            return threading.Lock()

    @cache.cached
    def make() -> Any:
        return threading.Lock()

    line = sys._getframe().f_lineno
    make()
    Source().open()
    assert [(item.filename, item.lineno) for item in given] == [(__file__, line + 1), (__file__, line + 2)]


def test_log_lines_go_to_the_package(caplog: pytest.LogCaptureFixture) -> None:
    """Log lines are warnings of the logger `pcache`, with their arguments put in."""
    with caplog.at_level(logging.WARNING, "pcache"):
        log("%s waits for %d", "f", 3)
    assert caplog.record_tuples == [("pcache", logging.WARNING, "f waits for 3")]


@pytest.mark.parametrize("room", [0, 200], ids=["for nothing", "for less than an entry"])
def test_a_full_disk_is_one_warning(tmp_path: Path, room: int) -> None:
    """When the file system refuses to write, callers get results, are told once, with the cause, and no file stays."""
    cache = Cache(tmp_path / "cache")
    made = cache.cached(draw)
    stored = made(0)
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # longer writes fail, with EFBIG
    try:
        with pytest.warns(StoreWarning, match="File too large") as given:
            results = [made(1), made(1), made(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(given) == 1
    assert len(set(results)) == 3
    assert made(0) == stored
    assert not list(Path(cache.location).rglob("*.claim*"))


def draw(n: int) -> bytes:
    return os.urandom(8)
