"""docs/works_with.md names the tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.running import ROOT

HERE = Path(__file__).parent


def test_each_row_names_its_test() -> None:
    """Each test that the page names exists, and the page has a row for each test of this folder."""
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", (ROOT / "docs" / "works_with.md").read_text(), re.MULTILINE
    )
    for file, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), (file, name)
    here = {
        (f"tests/works_with/{path.name}", name)
        for path in HERE.glob("test_*.py")
        if path.name != "test_page.py"
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert here - set(named) == set()
