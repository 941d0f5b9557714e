"""What a signal may interrupt, and whose exception one is."""

from __future__ import annotations

import _thread
import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pcache.errors import DirectoryError
from pcache.interrupts import is_interrupt, pass_on, uninterrupted


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


def caught(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def fail(*_: object) -> None:
    raise ValueError("stop")


class Handlers:
    def method(self, number: int, frame: Any) -> None:
        fail()


@pytest.mark.parametrize("handler", [fail, lambda number, frame: fail(), Handlers().method])
def test_what_a_signal_handler_raises(handler: Any) -> None:
    """It is known by the handler's frame, whatever the handler is; the same exception of other code is not."""
    signal.signal(signal.SIGALRM, handler)
    assert is_interrupt(caught(lambda: signal.raise_signal(signal.SIGALRM)))
    assert not is_interrupt(caught(fail))


class Stop(Exception):
    pass


def test_what_another_thread_raises() -> None:
    """It has neither a message nor a `raise`."""

    def work() -> None:
        throw = ctypes.pythonapi.PyThreadState_SetAsyncExc
        throw(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Stop))
        for _ in range(1000):
            os.getpid()

    def stop() -> None:
        raise Stop

    assert is_interrupt(caught(work))
    for other in (stop, lambda: next(iter(())), lambda: {}["x"], lambda: int("x")):  # type: ignore[index]
        assert not is_interrupt(caught(other))


def test_errors_of_the_operating_system_stay() -> None:
    """An `OSError` without a number is nobody's but the caller's; the others, and ours, are not passed on."""
    with pytest.raises(TimeoutError, match="stop"):
        pass_on(TimeoutError("stop"))
    pass_on(OSError(errno.ENOSPC, "full"))
    pass_on(DirectoryError("refused", path="", reason=""))


def test_what_was_taken_is_not_lost() -> None:
    """A signal that arrives within a function of C is handled before its result is assigned, unless it is called so."""
    signal.signal(signal.SIGALRM, fail)
    arrive: Callable[[int], object] = _thread.interrupt_main
    results: list[object] = []
    for call in (arrive, lambda number: uninterrupted(arrive, number)):
        result: object = "lost"
        try:
            result = call(signal.SIGALRM)
            os.getpid()
        except ValueError:
            results.append(result)
    assert results == ["lost", None]
