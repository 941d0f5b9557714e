"""The benchmarks run, and what they write can be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"
HITS = ("small-hit", "fresh-hit", "keyword-hit", "text-hit", "objects-hit", "checks", "two-processes", "system-calls")
TASKS = ("coroutine-hit", "loop-stalls", "awaited-stream", "map-hits", "long-map")
LARGE = ("array-hit", "packable-array-hit", "frame-hit", "mixed-frame-hit", "first-array-hit", "array-key", "frame-key")
STORES = ("miss", "stream", "store-array", "store-frame", "start-up", "frames-job", "embeddings-job")


def measure(into: Path, *names: str) -> tuple[str, ElementTree.Element]:
    """The page and the picture of some measurements, with everything small and seldom."""
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--into", str(into), *names]
    environment = {**os.environ, "TMPDIR": str(into)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    return (into / "results.md").read_text(), ElementTree.parse(into / "results.svg").getroot()


@pytest.mark.parametrize("names", [HITS + TASKS, LARGE, STORES], ids=["hits", "large", "stores"])
def test_each_measurement_runs_and_is_reported(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Every measurement has a section; every aim has a line in the table, its own section and the picture."""
    before = {path.name: path.stat().st_mtime_ns for path in BENCHMARKS.glob("results.*")}
    page, picture = measure(tmp_path, *names)
    assert {path.name: path.stat().st_mtime_ns for path in BENCHMARKS.glob("results.*")} == before
    titles = re.findall(r"^## (.*)$", page, re.M)[2:]
    assert len(titles) == len(names) + sum(name.endswith("-job") for name in names)  # jobs have two passes
    table = page.partition("## Aims")[2].partition("\n## ")[0]
    aims = re.findall(r"^\| ([^|]+) \|[^|]*\|[^|]+\| [\d.]+ [mu]?s \|", table, re.M)
    assert aims
    drawn = [text.text for text in picture.iter(f"{SVG}text") if text.get("class") == "end"]
    assert drawn == aims
    assert re.findall(r"^- \*\*(.*)\*\*: ", page, re.M) == aims


def test_all_measurements_are_named_here() -> None:
    """None is left out above."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "no-such-one"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert sorted(done.stderr.partition("there are ")[2].strip().split(", ")) == sorted(
        (*HITS, *TASKS, *LARGE, *STORES)
    )


def test_the_readme_has_a_place_for_the_picture() -> None:
    """What stands between the marks is replaced by each full run."""
    readme = (BENCHMARKS.parent / "README.md").read_text()
    assert re.findall(r"^<!-- speed: (\w+) -->$", readme, re.M) == ["begin", "end"]
