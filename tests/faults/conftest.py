"""What every hunt for faults has: a place to note what it tried."""

from __future__ import annotations

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
