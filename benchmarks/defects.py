"""Defects of result caches: small programs, run with pcache and with its peers, and what came out.

`python benchmarks/defects.py` runs every case with every cache that is installed, each pair in a process and a folder
of its own, prints the tables and writes them to `defects.md`; those of keys and code also go into `docs/keys.md`. With
words as arguments, only the cases whose titles contain one of them run, or those of a group of that name, and nothing
is written.

The objects of packages need what `pip install '.[test,zoo,peers]'` installs: a case whose package is missing is not
observed.

A case sees a cache as a decorator and a folder, and its verdict is computed from what was observed: values, how often
the function ran (a log that it appends to), exceptions, hangs, files. Only the attacks with planted pickles know which
cache they face, since they write its file format. The verdicts are explained in `LEGEND`.

The exit code is 1 when pcache is less than ok where `KNOWN` does not say so, or when a case could not be observed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from defects_bench import (
    CHECKOUT,
    DECORATORS,
    LOST,
    NONE,
    OK,
    UNSEEN,
    WRONG,
    Bench,
    Outcome,
    count,
    environment,
    write_between_marks,
)
from defects_faults import FAULTS
from defects_objects import STORIES as OBJECTS
from defects_stories import BY_COMPUTED_NAME, NEW_PARAMETER, STORIES, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CELL_SECONDS = 120.0
CELLS_AT_A_TIME = 2

LEGEND = f"""\
- {OK}: the function's own result, and no needless work
- {LOST}: never another result, but work, a result or disk space is lost
- {WRONG}: another result than the function's, a hang, foreign code executed, or results that other users can read
- {NONE}: the cache has no option for this
"""

GROUPS = {
    "keys": "Arguments and keys",
    "code": "Code that changes",
    "objects": "Objects of packages as arguments",
    "globals": "Objects that a module holds, edited",
    "storage": "What is stored",
    "processes": "Processes",
}
IN_KEYS_PAGE = ("keys", "code", "objects", "globals")
KEYS_PAGE = CHECKOUT / "docs" / "keys.md"
BEGIN, END = "<!-- defects: begin -->", "<!-- defects: end -->"

# Cases in which pcache is known to be less than ok, with the mark that it gets, and why.
KNOWN = {
    "a generator as a result, called twice": (
        LOST,
        "a generator cannot be pickled; the caller gets it with a warning, and the next call computes again",
    ),
    BY_COMPUTED_NAME: (WRONG, "no analysis sees which name is meant; `depends_on=` says it"),
    NEW_PARAMETER: (
        LOST,
        "with other parameters it is another version, and computes again unless `adopt(added=...)` keeps its results",
    ),
}


class Case(NamedTuple):
    """One row of a table."""

    title: str
    group: str
    observe: Callable[[Bench], Outcome]


CASES = [
    *(Case(story.title, story.group, partial(tell, story)) for story in (*STORIES, *OBJECTS)),
    *(Case(*fault) for fault in FAULTS),
]


def observe_here(title: str, tool: str, folder: str) -> None:
    """Observe one cell in this process, and print its outcome as JSON."""
    case = next(case for case in CASES if case.title == title)
    print(json.dumps(case.observe(Bench(tool, Path(folder)))))


def observe(case: Case, tool: str) -> Outcome:
    """Observe one cell in a process and a folder of its own."""
    with TemporaryDirectory(prefix="defects-") as folder:
        argv = [sys.executable, __file__, "--cell", case.title, tool, folder]
        with subprocess.Popen(
            argv,
            env=environment(Path(folder, "home")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=CELL_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the cell and the scripts it started
                return Outcome(WRONG, "hangs")
    if process.returncode:
        print(f"{case.title}, {tool}:\n{err}", file=sys.stderr)
        return Outcome(UNSEEN, err.strip().splitlines()[-1])
    return Outcome(*json.loads(out))


def observe_all(cases: Sequence[Case], tools: Sequence[str]) -> dict[tuple[str, str], Outcome]:
    with ThreadPoolExecutor(CELLS_AT_A_TIME) as pool:
        cells = {(case.title, tool): pool.submit(observe, case, tool) for case in cases for tool in tools}
        return {cell: future.result() for cell, future in cells.items()}


def table(group: str, cases: Sequence[Case], tools: Sequence[str], outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """Return the rows of a group as Markdown."""
    rows = [["case", *(f"{tool} {release(tool)}" for tool in tools)], ["---"] * (len(tools) + 1)]
    for case in cases:
        if case.group == group:
            cells = (outcomes[case.title, tool] for tool in tools)
            rows.append([case.title, *(f"{cell.mark}: {cell.said}" for cell in cells)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def sections(
    groups: Sequence[str],
    level: str,
    cases: Sequence[Case],
    tools: Sequence[str],
    outcomes: Mapping[tuple[str, str], Outcome],
) -> str:
    """Return the legend, a table for each group, and what is known of pcache in them."""
    met = [group for group in groups if any(case.group == group for case in cases)]
    parts = [LEGEND, *(f"{level} {GROUPS[group]}\n\n{table(group, cases, tools, outcomes)}\n" for group in met)]
    titles = [case.title for case in cases if case.group in groups]
    known = [f"- {title}: {why}." for title, (mark, why) in KNOWN.items() if mark_of_pcache(outcomes, title) == mark]
    known = [line for line in known if any(line.startswith(f"- {title}: ") for title in titles)]
    if known:
        parts.append(f"{level} Known of pcache\n\n" + "\n".join(known) + "\n")
    return "\n".join(parts)


def release(tool: str) -> str:
    """Return a version; that of pcache without its metadata, which a checkout need not have."""
    if tool != "pcache":
        return version(tool)
    import pcache

    return pcache.__version__


def mark_of_pcache(outcomes: Mapping[tuple[str, str], Outcome], title: str) -> str:
    cell = outcomes.get((title, "pcache"))
    return cell.mark if cell else UNSEEN


def problems(outcomes: Mapping[tuple[str, str], Outcome]) -> Iterator[str]:
    """What makes the exit code 1."""
    for (title, tool), (mark, said) in outcomes.items():
        known, _ = KNOWN.get(title, (OK, ""))
        if mark == UNSEEN or (tool == "pcache" and mark not in (OK, known)):
            yield f"{title}, {tool}: {mark}: {said}"


def main(words: Sequence[str]) -> int:
    sys.path.insert(0, str(CHECKOUT))
    tools = [tool for tool in DECORATORS if importlib.util.find_spec(tool)]
    cases = [case for case in CASES if not words or case.group in words or any(word in case.title for word in words)]
    started = time.monotonic()
    outcomes = observe_all(cases, tools)
    where = f"CPython {platform.python_version()} on {platform.system()}"
    made = (
        "Made by `python benchmarks/defects.py`, which runs each case with each cache in a process and a folder of its"
        f" own, with default settings. {where}.\n"
    )
    page = f"# Defects, observed\n\n{made}\n{sections(list(GROUPS), '##', cases, tools, outcomes)}"
    print(page)
    print(f"{count(len(outcomes), 'cell')} in {time.monotonic() - started:.0f} s", file=sys.stderr)
    if not words:
        Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
        write_between_marks(KEYS_PAGE, (BEGIN, END), f"{made}\n{sections(IN_KEYS_PAGE, '###', cases, tools, outcomes)}")
    found = list(problems(outcomes))
    print(*found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        observe_here(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
