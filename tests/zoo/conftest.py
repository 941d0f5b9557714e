"""Programs are played once, however many tests ask what came out, in however many processes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from tests.zoo.program import play

if TYPE_CHECKING:
    from collections.abc import Callable

    Played = Callable[..., dict[str, list[str]]]


@pytest.fixture
def played(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Played:
    """Play a program of items, or remember how it went: what was wrong with each."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent  # that of the whole run, which its workers share

    def play_once(name: str, *arguments: Any) -> dict[str, list[str]]:
        found = folder / f"zoo-{name}.json"
        with filelock.FileLock(f"{found}.lock"):
            if not found.exists():
                place = Path(tempfile.mkdtemp(prefix=f"zoo-{name}-", dir=folder)) / "played"
                found.write_text(json.dumps(play(place, *arguments)))
        faults: Any = json.loads(found.read_text())
        return faults  # type: ignore[no-any-return]

    return play_once
