"""Fixtures and marks of all hunts for faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.hunting import Finding, note

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Callable[[str, str, int, int], None]:
    """Note `(promise, what was tried, rounds, failures)`; to be called before the assertion about the failures."""
    test = request.node.nodeid

    def take(promise: str, what: str, rounds: int, failures: int) -> None:
        note(Finding(promise, what, rounds, failures, test))

    return take


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder: `-m hunt` runs the hunts, `-m "not hunt"` all other tests."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("hunt")
