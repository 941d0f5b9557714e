"""Numbers that `copyreg.add_extension` gave to names stay in the process that gave them."""

from __future__ import annotations

import contextlib
import copyreg
import decimal
import fractions
import operator
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from pcache.entry.pickling import dump, load
from tests.key_values import key_of
from tests.support.running import run, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDED = [(decimal.Decimal, "Decimal"), (fractions.Fraction, "Fraction"), (operator.add, "add")]


@contextlib.contextmanager
def numbers(*order: int) -> Iterator[None]:
    """Numbers for the names of `ADDED`, in an order."""
    given = [(ADDED[at][0].__module__, ADDED[at][1], 240 + i) for i, at in enumerate(order)]
    for one in given:
        copyreg.add_extension(*one)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for one in given:
            copyreg.remove_extension(*one)  # type: ignore[arg-type]
        copyreg.clear_extension_cache()


VALUES = [decimal.Decimal, decimal.Decimal("1.5"), operator.add, [fractions.Fraction(1, 2), {"k": decimal.Decimal}]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_results_hold_names(value: Any) -> None:
    """A result is the same without the numbers that there were when it was pickled; pickle's own is not."""
    with numbers(0, 1, 2):
        stream, plain = dump(value).stream, pickle.dumps(value, 5)
    assert load(stream) == value
    with pytest.raises(ValueError, match="unregistered extension"):
        pickle.loads(plain)


def test_keys_hold_names() -> None:
    """What has a number is told from what had it before."""
    with numbers(0, 1):
        before = key_of(decimal.Decimal)
    with numbers(1, 0):
        assert key_of(decimal.Decimal) == before != key_of(fractions.Fraction)


PROGRAM = """
import copyreg, decimal, fractions, sys
from pcache import Cache
cls = decimal.Decimal if sys.argv[2] == "1" else fractions.Fraction
copyreg.add_extension(cls.__module__, cls.__name__, 240)
cache = Cache(sys.argv[1])

@cache.cached
def kind(given): return given.__name__

@cache.cached
def result(n): return [decimal.Decimal, decimal.Decimal(n)]

print(kind(cls), result(1), result.cache_info().hits)
"""


def test_two_programs_with_other_numbers(tmp_path: Path) -> None:
    """One reads what the other stored, and gets what it meant."""
    program = write(tmp_path / "program.py", PROGRAM)
    shown = "[<class 'decimal.Decimal'>, Decimal('1')]"
    assert run(program, tmp_path / "cache", "1") == [f"Decimal {shown} 0"]
    assert run(program, tmp_path / "cache", "2") == [f"Fraction {shown} 1"]
