"""Signals at exact moments: before the Nth instruction of an operation after which Python looks for signals.

Python looks for signals after each call of a function written in C, when a function starts, and when a loop goes back.
`Aim` makes one arrive at the Nth of these moments inside of pcache, so that counting up N tries them all.
"""

from __future__ import annotations

import _thread
import ctypes
import dis
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

import pcache

PACKAGE = os.path.dirname(pcache.__file__) + os.sep
_LOOKS = {dis.opmap[name] for name in dis.opmap if name.startswith(("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD"))}


def signal_itself(number: int) -> Callable[[], object]:
    """Send a signal now, which is handled where Python looks for signals next."""
    return functools.partial(_thread.interrupt_main, number)


def raise_in(thread: int, kind: type[BaseException]) -> Callable[[], object]:
    """Raise an exception in a thread, as libraries do to stop one."""
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc
    return functools.partial(throw, ctypes.c_ulong(thread), ctypes.py_object(kind))


class Aim:
    """While this context lasts, `fire` is called at each of the moments `at`, counted from the one before.

    `seen` is how many moments there were, `fired` how many of them were hit.
    """

    def __init__(self, fire: Callable[[], object], at: Iterable[int]) -> None:
        self._fire = fire
        self._at = list(at)
        self._places: dict[CodeType, frozenset[int]] = {}
        self.seen = self.fired = self._before = 0
        self.where = ""

    def __enter__(self) -> Aim:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self._moment(frame)
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            code = frame.f_code
            places = self._places.get(code)
            if places is None:
                found = dis.get_instructions(code)
                places = self._places[code] = frozenset(item.offset for item in found if item.opcode in _LOOKS)
            if frame.f_lasti in places:
                self._moment(frame)
        return self._step

    def _moment(self, frame: FrameType) -> None:
        self.seen += 1
        if self._at and self.seen - self._before == self._at[0]:
            self._before = self.seen
            del self._at[0]
            self.fired += 1
            self.where += f" {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}"
            # No call: Python would look for the signal here, and not where it goes on after this.
            [_] = itertools.starmap(self._fire, [()])
