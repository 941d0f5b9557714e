"""What a signal may interrupt, and whose exception one is."""

from __future__ import annotations

import _thread
import asyncio
import ctypes
import errno
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from pcache.errors import DirectoryError, StoreWarning
from pcache.runtime.boundary import passes
from pcache.system import notices
from pcache.system.interrupts import is_interrupt, raise_if_interrupt, stands, uninterrupted


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    notices.forget()
    yield
    signal.signal(signal.SIGALRM, before)


def caught(function: Callable[[], object]) -> Any:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def fail(*_: object) -> None:
    raise ValueError("stop")


class Handlers:
    def method(self, number: int, frame: Any) -> None:
        fail()

    def forgets(self, number: int, frame: Any) -> None:
        del number, frame
        fail()

    def __call__(self, number: Any, frame: Any) -> None:
        number, frame = signal.Signals(number).name, frame.f_lineno
        fail(number, frame)


def given_more(more: object, number: Any, frame: Any) -> None:
    number = str(number)
    fail(number)


HANDLERS = [lambda number, frame: fail(), Handlers().method, Handlers().forgets, Handlers(), partial(given_more, 1)]


@pytest.mark.parametrize("handler", [lambda *given: fail(), *HANDLERS])
def test_what_a_signal_handler_raises(handler: Any) -> None:
    """It is known by the handler's frame, whatever the handler is and does with what it is given; of other code not."""
    signal.signal(signal.SIGALRM, handler)
    assert is_interrupt(caught(lambda: signal.raise_signal(signal.SIGALRM)))
    assert not is_interrupt(caught(fail))


class Stop(Exception):
    pass


def test_what_another_thread_raises() -> None:
    """It is raised where Python looks for such, and made of a class that was written in Python."""

    def work() -> None:
        throw = ctypes.pythonapi.PyThreadState_SetAsyncExc
        throw(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Stop))
        for _ in range(1000):
            os.getpid()

    def stop() -> None:
        raise Stop

    assert is_interrupt(caught(work))
    empty = queue.SimpleQueue[int]()
    loop = asyncio.new_event_loop()
    cancelled: asyncio.Future[int] = asyncio.Future(loop=loop)
    cancelled.cancel()
    loop.close()
    for other in (
        stop,
        lambda: next(iter(())),
        lambda: {}["x"],  # type: ignore[index]
        lambda: int("x"),
        empty.get_nowait,
        cancelled.result,
        lambda: sys.exit(),
        lambda: (_ for _ in ()).throw(Stop),
    ):
        assert not is_interrupt(caught(other)), other


def test_what_cython_raises() -> None:
    """An exception out of code that Cython compiled, whose frames have no code, is nobody's interrupt."""
    error = caught(lambda: np.random.Generator(3))  # type: ignore[arg-type]
    assert error.__traceback__.tb_next.tb_next is not None  # there are such frames
    assert not is_interrupt(error)


def helper(number: int, frame: Any) -> None:
    fail()


def test_who_is_given_a_frame_is_no_handler() -> None:
    """A signal handler is given a signal's number and the frame that it interrupts, in the main thread."""
    assert not is_interrupt(caught(lambda: fail(sys._getframe())))
    assert not is_interrupt(caught(lambda: helper(1000, sys._getframe())))
    verdicts: list[bool] = []
    thread = threading.Thread(target=lambda: verdicts.append(is_interrupt(caught(lambda: helper(14, sys._getframe())))))
    thread.start()
    thread.join()
    assert verdicts == [False]


def test_what_ends_a_program_is_an_interrupt_where_a_handler_raised_it() -> None:
    """Ctrl-C always is, `sys.exit` in a handler is, and in other code it is an exception like others."""
    assert is_interrupt(KeyboardInterrupt())
    signal.signal(signal.SIGALRM, lambda number, frame: sys.exit(3))
    assert is_interrupt(caught(lambda: signal.raise_signal(signal.SIGALRM)))
    assert not is_interrupt(caught(lambda: sys.exit(3)))


def test_errors_of_the_operating_system_stay() -> None:
    """An `OSError` without a number goes to the guard, which lets it through where a signal handler raised it."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError("stop")

    signal.signal(signal.SIGALRM, stop)
    error = caught(lambda: signal.raise_signal(signal.SIGALRM))
    for other in (error, TimeoutError("no answer")):
        with pytest.raises(TimeoutError):
            raise_if_interrupt(other)
    assert passes(error, "f")
    with pytest.warns(StoreWarning, match="goes on without the cache"):
        assert not passes(TimeoutError("no answer"), "f")
    raise_if_interrupt(OSError(errno.ENOSPC, "full"))
    raise_if_interrupt(DirectoryError("refused", path="", reason=""))


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


def test_a_timeout_in_a_question_whether_a_file_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on, whereas Python's own question swallows it."""
    assert stands("/")
    assert not stands("/nonexistent/file")
    monkeypatch.setattr(os, "lstat", late)
    assert type(caught(lambda: stands("/"))) is TimeoutError


def late(*_: object) -> None:
    raise TimeoutError("late")


def test_what_cython_raises_is_no_interrupt() -> None:
    """The frames that it makes up for a traceback look as if nothing had run in them yet."""
    random = pytest.importorskip("numpy.random")
    error = caught(lambda: random.default_rng("no seed"))
    assert isinstance(error, TypeError)
    assert not is_interrupt(error)
