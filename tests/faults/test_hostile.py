"""A hostile environment: Python functions that fail or return nonsense, and hooks that raise anything.

The caller gets the result, the function runs once, and the cache works again as soon as the environment does. The one
exception is `UnhashableArgument`, for an argument whose hook fails.
"""

from __future__ import annotations

import builtins
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, UnhashableArgument
from pcache.system import notices
from tests.faults.hunting import rounds
from tests.support.processes import KEY, ROOT

Evidence = Callable[[str, str, int, int], None]


def test_functions_of_python_that_fail(tmp_path: Path, evidence: Evidence) -> None:
    """Each function that pcache uses raises, or returns nonsense, around a hit or a miss."""
    command = [sys.executable, "-m", "tests.faults.hostile_program", tmp_path, rounds(25, 1), random.randrange(10**9)]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    *problems, trials = done.stdout.strip().split("\n\n")
    count = int(trials.split()[-2]) if done.returncode == 0 else 0
    evidence("never in the way", "functions of Python replaced around a call", count, len(problems))
    assert done.returncode == 0, done.stderr
    assert not problems, "\n".join(problems)
    assert "ignored" not in done.stderr  # an exception of a finalizer
    assert count > 100


class RustPanic(BaseException):
    """An exception like those of extensions written in Rust."""


class Unsayable(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RustPanic("not even this")


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "UnicodeDecodeError": ("utf-8", b"\xff", 0, 1, "invalid"),
    "UnicodeEncodeError": ("utf-8", "\udc80", 0, 1, "invalid"),
    "UnicodeTranslateError": ("x", 0, 1, "invalid"),
    "BaseExceptionGroup": ("several", [ValueError(1), RustPanic()]),
    "ExceptionGroup": ("several", [ValueError(1)]),
}


def exceptions() -> Iterator[BaseException]:
    """One of each built-in exception, without and with a message, except for Ctrl-C, which stops a program anywhere."""
    for name, kind in vars(builtins).items():
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind is not KeyboardInterrupt:
            yield kind(*ARGUMENTS.get(name, ()))
            if name not in ARGUMENTS:
                yield kind("a message")
    yield from (RustPanic(), RustPanic("panicked"), Unsayable())


HOOKS = ["__getstate__", "__reduce__", "__reduce_ex__", "__setstate__", "__pcache_key__", "__class__", "shape"]
HOOKS += ["__getattr__", "__getattribute__", "__del__", "__eq__", "__hash__", "__len__", "__iter__", "__bool__"]
HOOKS += ["__repr__", "__str__", "__copy__", "__call__", "__dict__", "key="]
FAILING: dict[str, BaseException] = {}


class Value:
    """A value whose hooks can each be made to fail."""

    def __init__(self) -> None:
        self.x = 1


def with_failing(hook: str) -> type:
    """A class whose hook raises the exception that `FAILING` has under its name."""

    def fail(*_: Any, **__: Any) -> Any:
        if hook in FAILING:
            raise FAILING[hook]
        return (
            1 if hook == "__hash__" else object.__getattribute__(*_) if hook == "__getattribute__" else NotImplemented
        )

    is_property = hook in ("shape", "__class__", "__dict__")
    made = type("Value", (Value,), {hook: property(fail)} if is_property else {hook: fail})
    made.__module__, made.__qualname__ = __name__, f"Value{hook}"
    globals()[made.__qualname__] = made
    return made


def outcomes(cache: Cache, hook: str) -> Iterator[str]:
    """The outcomes of calls whose result, argument, or part of one has a failing hook; empty if they are right."""
    made = with_failing(hook) if hook != "key=" else Value

    def key(_value: Any) -> Any:
        if "key=" in FAILING:
            raise FAILING["key="]
        return 1

    @cache.cached(code="none")
    def make(n: int) -> Any:
        return [made(), n]

    @cache.cached(code="none", key={"a": key} if hook == "key=" else {})
    def take(a: Any) -> int:
        return 5

    value = made()
    within = {"a": [value]}
    for _ in range(2):
        result = make(3)
        if type(result) is not list or type(result[0]) is not made or result[1] != 3:
            yield "not the result"
        del result
        for argument in (value, within):
            try:
                if take(argument) != 5:
                    yield "a wrong result"
            except UnhashableArgument:
                continue


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_hooks_that_raise_anything(
    tmp_path: Path, evidence: Evidence, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every built-in exception from every hook: a result, or `UnhashableArgument` for an argument."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python ignores exceptions of finalizers
    problems = []
    chosen = list(exceptions())
    for at, error in enumerate(chosen):
        cache = Cache(tmp_path / f"{at}", signing_key=KEY)
        notices.forget()
        with warnings.catch_warnings():
            warnings.simplefilter("error" if at % 2 else "ignore")
            FAILING[hook] = error
            try:
                problems += [f"{error!r:.80}: {problem}" for problem in outcomes(cache, hook)]
            except BaseException as raised:
                problems.append(f"{error!r:.80}: {type(raised).__name__} came out")
            finally:
                FAILING.clear()
    evidence("never in the way", f"any exception from {hook}", len(chosen), len(problems))
    assert not problems
