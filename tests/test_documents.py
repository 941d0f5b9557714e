"""The examples of the documents run."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from tests.faults import table

DOCUMENTS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.usefixtures("registrations")
def test_the_examples_of_the_page_on_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run one after the other in one program."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCUMENTS / "keys.md").read_text(), re.S)
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks))
    module = types.ModuleType("script")
    module.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "script", module)
    exec(compile(script.read_text(), str(script), "exec"), module.__dict__)
    assert module.report.function_id != module.train.function_id
    assert module.count_lines(module.File(script)) == len(script.read_text().splitlines())
    assert len(blocks) >= 6


def test_tables_of_other_pages_are_theirs() -> None:
    """docs/reliability.md repeats the tables about damage and single edits as those pages have them."""
    page = (DOCUMENTS / "reliability.md").read_text()
    assert table.up_to_date(page) == page
    assert len(re.findall(r"^\| (pcache|entry) ", page, re.M)) == 2
