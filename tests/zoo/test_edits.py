"""Edits of the objects that modules hold: the next process notices, so does this one, and nothing else is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.zoo.edits import KINDS, RUNS, files_of

if TYPE_CHECKING:
    from tests.zoo.conftest import Played


def faults_of(played: Played, kind: str) -> list[str]:
    faults = played("edits", KINDS, files_of, RUNS)[kind]
    if faults and "missing: " in faults[0]:
        pytest.skip(f"{faults[0].rpartition(' ')[2]} is not installed; `make zoo` installs it")
    return faults


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_is_noticed(played: Played, kind: str) -> None:
    """Nothing is stale, whatever type a global has."""
    early = [fault for fault in faults_of(played, kind) if fault.startswith(("first: ", "again: ", "edited: "))]
    assert [fault for fault in early if "computed anew" not in fault] == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_in_the_running_program_is_noticed(played: Played, kind: str) -> None:
    """So is a module that is loaded again, and nothing of what it computes is found by a process with the old text."""
    late = [fault for fault in faults_of(played, kind) if fault.startswith(("reloaded: ", "restored: "))]
    assert [fault for fault in late if "computed anew" not in fault] == []


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_edit_nothing_is_computed_anew(played: Played, kind: str) -> None:
    """The version of the code is the same in a process with another hash seed."""
    assert [fault for fault in faults_of(played, kind) if "computed anew" in fault] == []


def test_the_hunt_is_long() -> None:
    """Some two hundred kinds, of which those of packages are the smaller part."""
    assert len(KINDS) >= 150
