"""Functions that pydantic checks the arguments of: what counts of them is the function and its types."""

from __future__ import annotations

from pathlib import Path

from tests.support.running import run, write

PROGRAM = """
from __future__ import annotations
import sys, time
import pydantic
from pcache import Cache

STARTED, CALLS = time.time(), []

class Shown:
    def level(self):
        return 1

@Cache(sys.argv[1]).cached
@pydantic.validate_call(config={"arbitrary_types_allowed": True}, validate_return=True)
def scaled(n: int, shown: Shown | None = None) -> int:
    print("computing")
    return n * 3

for text in sys.argv[2:]:
    CALLS.append(scaled(text))
print(CALLS)
"""
EDITS = {
    "the body": ("n * 3", "n + 4"),
    "the type of a parameter": ("n: int", "n: float"),
    "a class among the types": ("return 1", "return 2"),
    "an option": ("validate_return=True", "validate_return=False"),
}


def test_a_checked_function_is_found_by_the_next_process(tmp_path: Path) -> None:
    """The other globals of its module, which are never the same, do not count; nothing is warned of."""
    script = write(tmp_path / "script.py", PROGRAM)
    assert run(script, tmp_path / "cache", "2", "2", "3") == ["computing", "computing", "[6, 6, 9]"]
    assert run(script, tmp_path / "cache", "2", "3") == ["[6, 9]"]


def test_edits_of_a_checked_function(tmp_path: Path) -> None:
    """Its code, its types and the options of the check count; undoing edits finds the old result."""
    for name, edit in {"nothing yet": ("", ""), **EDITS}.items():
        script = write(tmp_path / "script.py", PROGRAM.replace(*edit))
        assert run(script, tmp_path / "cache", "2")[0] == "computing", name
    assert run(write(tmp_path / "script.py", PROGRAM), tmp_path / "cache", "2") == ["[6]"]
