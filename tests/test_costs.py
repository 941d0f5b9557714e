"""What hits cost, in numbers that no noise changes: Python calls, system calls and the files of code that they pass.

A number that grows is a decision: raise it here with the reason, or find out what was added.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pcache
from pcache import Cache
from pcache.storage import recent
from tests.support.processes import KEY, run, system_calls

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(pcache.__file__).parent


def square(n: int) -> int:
    return n * n


def configured(n: int, *, window: int, options: dict[str, object], items: list[int]) -> int:
    return n * window * len(options) * len(items)


CONFIGURATION: dict[str, Any] = {"window": 5, "options": {"method": "fast", "tolerance": 0.01}, "items": [1, 2, 3]}


def passed(call: Callable[[], object]) -> list[tuple[str, str]]:
    """The Python functions that a call enters, each as module and name."""
    entered: list[tuple[str, str]] = []

    def watch(frame: Any, event: str, _: object) -> None:
        if event == "call":
            code = frame.f_code
            path = Path(code.co_filename)
            module = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
            entered.append((module, code.co_name))

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered[1:]  # without `call` itself


def settle(cached: Any, *args: Any, **kwargs: Any) -> None:
    """Call until the entry is held in memory and its times are old enough to be trusted."""
    name = cached._calls.of(args, kwargs).address.name
    while (held := cached._flow.store._recent._held.get(name)) is None or held.settled is not held.identity:
        cached(*args, **kwargs)
    while cached._tally.hits & 15 != 1:  # every sixteenth hit asks whether to write counts, which the next do not
        cached(*args, **kwargs)


# Of each kind of hit: the most Python calls, and files that they are in.
COSTS = {"repeated": (11, 10), "with a dict and a list": (16, 11), "just stored": (16, 12), "first read": (29, 15)}


@pytest.mark.parametrize("kind", COSTS)
def test_the_calls_of_a_hit(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit enters few Python functions: each takes as long as looking up five names."""
    monkeypatch.setattr(recent, "_tiers", {})  # those of other tests
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    options = CONFIGURATION if kind == "with a dict and a list" else {}
    cached: Any = cache.cached(configured if options else square)
    for _ in range(3):
        cached(3, **options)
    if kind == "just stored":
        cached.refresh(3)
    else:
        settle(cached, 3, **options)
    if kind == "first read":
        for _ in range(2):  # the first one looks at the directories, once per process
            cache.flow.store._recent.clear()  # type: ignore[attr-defined]
            entered = passed(lambda: cached(3))
    else:
        entered = passed(lambda: cached(3, **options))
    assert entered[0] == ("function.py", "__call__")
    assert (("entry/reader.py", "read_value") in entered) == (kind == "first read")
    most, files = COSTS[kind]
    assert len(entered) <= most, entered
    assert len({module for module, _ in entered}) <= files, entered


def test_the_calls_of_an_awaited_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit of a coroutine function enters five Python functions more: the test's, a coroutine, looks at sizes."""
    monkeypatch.setattr(recent, "_tiers", {})

    async def coroutine(n: int) -> int:
        return n * n

    cached: Any = Cache(tmp_path / "cache", signing_key=KEY).cached(coroutine)

    def run(*args: int) -> None:
        try:
            cached(*args).send(None)
        except StopIteration:
            pass

    asyncio.run(cached(3))
    name = cached._calls.of((3,), {}).address.name
    while (held := cached._flow.store._recent._held.get(name)) is None or held.settled is not held.identity:
        run(3)
    while cached._tally.hits & 15 != 1:
        run(3)
    entered = passed(lambda: run(3))
    assert len(entered) <= COSTS["repeated"][0] + 5, entered


TRACED = """
cached = cache.cached(lambda n: n + 1)
cached(1), cached(2)
again = Cache(sys.argv[1], signing_key=bytes(range(32))).cached(cached.__wrapped__)
again(2)
mark = lambda: os.path.exists("/next")
def settle():
    while (held := again._flow.store._recent._held.get(address)) is None or held.settled is not held.identity:
        again(1)
address = again._calls.of((1,), {}).address.name
mark()
again(1)  # read
mark()
settle()
mark()
again(1)  # held
mark()
again(3)
mark()
again(3)  # held, and just stored
mark()
"""
READING = {*("openat", "fstat", "newfstatat", "lstat", "read", "close", "close_range", "getuid", "brk")}


def test_the_system_calls_of_a_hit(tmp_path: Path) -> None:
    """A repeated hit looks at one file, and a first one opens, reads and closes it; no lock, no write."""
    calls = system_calls(TRACED, tmp_path, "/next")
    first, repeated, fresh = calls[1], calls[3], calls[5]
    assert first.count("openat") == 1
    assert set(first) <= READING, first
    assert len(first) <= 14, first  # four directories are looked at for the first key in a shard, once per process
    assert repeated in (["newfstatat"], ["lstat"]), repeated
    assert fresh.count("openat") <= 1
    assert set(fresh) <= READING, fresh
    assert len(fresh) <= 6, fresh  # until a tick of the clock has passed, the file's first bytes are read as well


OPENED = """
cached = cache.cached(lambda n: n + 1)
cached(1)
heard = []
sys.addaudithook(lambda event, arguments: heard.append(event))
cached(1)
heard.clear()
cached(1)
say(*heard)
"""


def test_a_hit_raises_no_audit_events_but_its_own(tmp_path: Path) -> None:
    """What a repeated hit does that others can hear: it opens a file while that is new, spells its
    arguments and looks at code."""
    (heard,) = run(OPENED, tmp_path / "cache")
    assert set(heard.split()) <= {"marshal.dumps", "open", "object.__getattr__"}, heard
