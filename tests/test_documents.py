"""The examples of the documents run."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

import pcache
from tests.faults import table
from tests.support import settings_page

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ROOT / "docs"


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
    assert len(re.findall(r"^\| (pcache|entry.format) ", page, re.M)) == 2


def test_the_examples_of_the_first_page() -> None:
    """What README.md shows is Python, and imports what there is."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names = {name for block in blocks for line in re.findall(r"^from pcache import (.+)$", block, re.M)
             for name in line.split(", ")}  # fmt: skip
    assert [compile(block, "README.md", "exec") for block in blocks]
    assert {name for name in names if not hasattr(pcache, name)} == set()


def test_the_page_on_settings() -> None:
    """It has every setting as the code has it; `python tests/support/settings_page.py --write` writes it."""
    assert settings_page.PAGE.read_text() == settings_page.page_with(settings_page.written())


def test_tests_that_are_named_exist() -> None:
    """SECURITY.md names tests that are there, in the files that it says."""
    last = ""
    for file, name in re.findall(r"`(?:([\w/]+)::)?(test_\w+)`", (ROOT / "SECURITY.md").read_text()):
        last = file or last
        path = ROOT / "tests" / f"{last}.py"
        found = path.read_text() if path.exists() else ""
        assert f"def {name}(" in found or (ROOT / "tests" / f"{name}.py").exists(), f"{last}::{name}"


@pytest.mark.parametrize(
    "page", sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *DOCUMENTS.glob("*.md")])
)
def test_links_lead_somewhere(page: str) -> None:
    """Links to files of the project, and to headings in them, are right."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / page).read_text()):
        file, _, heading = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M) if heading else []
        assert not heading or heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_where_things_are_decided() -> None:
    """The table of CONTRIBUTING.md names files that are there, and in each what decides."""
    rows = re.findall(r"^\| .+ \| `([\w/]+\.py)` \| `(\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert len(rows) >= 20
    for file, name in rows:
        assert re.search(rf"\b{name}\(", (ROOT / "pcache" / file).read_text()), (file, name)
