"""Frameworks that are given a cached function where they expect a function."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.frameworks import PROBES, REFUSED, decorators, outcome, page

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "frameworks.md"


@pytest.mark.filterwarnings("ignore::pcache.PcacheWarning")
@pytest.mark.parametrize("name", PROBES)
def test_what_a_framework_makes_of_a_cached_function(name: str, tmp_path: Path) -> None:
    """It takes it as a function, or docs/frameworks.md says what to do instead."""
    made = outcome(name, decorators(str(tmp_path))["@cached"])
    if not made:
        pytest.skip("the framework is not installed; `make zoo` installs it")
    assert (made == "yes") is (name not in REFUSED), made


def test_the_page_has_every_framework() -> None:
    """docs/frameworks.md has the table as it is."""
    assert page() in PAGE.read_text()
