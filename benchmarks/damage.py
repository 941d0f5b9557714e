"""The same damage done to what pcache and its peers stored, and what a program gets that reads it.

    python benchmarks/damage.py [--places 6] [--seed 1] [--write] [cache ...]

Each cache stores one result in a folder of its own. Then its file is damaged in one way at one place, a process that
has seen nothing of it calls the function, and the file is put back; and so on. Places are the same for all, by their
proportion of the file. What is damaged is the file that holds the value: of diskcache, which keeps small values in its
database, the page of the database in which the value lies. `--write` writes benchmarks/damage.md. Exits with 1 when
pcache gave anything but the right value.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from damage_child import FUNCTIONS, OUTCOMES, Case
from defects_bench import CHECKOUT, DECORATORS, environment

PAGE = Path(__file__).with_name("damage.md")
CHILD = Path(__file__).with_name("damage_child.py")
PAGE_SIZE = 4096  # of sqlite
AT_PLACES = ("a bit flipped", "cut short", "a block zeroed", "two blocks swapped", "a block of another result")
ONCE = ("bytes appended", "an empty file", "zeros")
SHOWN = {
    "computed": "right, computed",
    "unharmed": "right, unharmed",
    "wrong": "**wrong, silently**",
    "exception": "exception",
    "hang or crash": "hang or crash",
}
VALUE_FILES = {
    "pcache": ("v1/entries/*/*",),
    "joblib": ("**/output.pkl",),
    "diskcache": ("**/*.val", "cache.db"),  # small values are in the database
    "cachier": (".*",),
    "checkpointer": ("**/*.pkl",),
}
Key = tuple[str, str, str]  # cache, value, kind of damage


def cases(places: int, seed: int) -> list[Case]:
    """The damage that every file suffers: evenly over its length, and at its beginning and end."""
    chance = random.Random(seed)
    found = []
    for kind in AT_PLACES:
        spread = [(number + chance.random()) / places for number in range(places)]
        found += [Case(kind, place, chance.randrange(8)) for place in (0.0, *spread, 1.0)]
    return found + [Case(kind, chance.random(), 0) for kind in ONCE]


def run(folder: Path, *words: str) -> str:
    env = environment(folder / "home")
    env["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), str(CHILD.parent)])
    done = subprocess.run([sys.executable, str(CHILD), *words], env=env, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}:\n{done.stderr}")
    return done.stdout


def file_of_value(folder: Path, tool: str) -> Path:
    """The file that holds the value, in the first of the places where there is one."""
    found = [path for pattern in VALUE_FILES[tool] for path in sorted(folder.glob(pattern))]
    return found[0]


def extent_of(path: Path) -> tuple[int, int]:
    """Where in the file the value lies: in all of it, or in one page of a database."""
    data = path.read_bytes()
    if not data.startswith(b"SQLite format 3"):
        return 0, len(data)
    page = data.index(b"experiment number") // PAGE_SIZE * PAGE_SIZE
    return page, page + PAGE_SIZE


def observe(tool: str, value: str, wanted: list[Case]) -> list[str | None]:
    """Store a result, and read it after each damage."""
    with tempfile.TemporaryDirectory(prefix="damage-") as name:
        folder = Path(name)
        for n in (1, 2):
            run(folder, "store", tool, str(folder / str(n)), value, str(n))
        path = file_of_value(folder / "1", tool)
        order = {
            "name": str(path.relative_to(folder / "1")),
            "extent": extent_of(path),
            "other": str(file_of_value(folder / "2", tool)),
            "cases": wanted,
        }
        found: list[str | None] = json.loads(run(folder, "observe", tool, str(folder / "1"), value, json.dumps(order)))
    return found


def observe_all(tools: list[str], wanted: list[Case]) -> Counter[tuple[Key, str]]:
    found: Counter[tuple[Key, str]] = Counter()
    for tool in tools:
        for value in FUNCTIONS:
            for case, outcome in zip(wanted, observe(tool, value, wanted), strict=True):
                if outcome is not None:
                    found[(tool, value, case.kind), outcome] += 1
        print(f"{tool}: {summary(found, tool)}", file=sys.stderr)
    return found


def count(found: Counter[tuple[Key, str]], outcome: str | None = None, *fits: str) -> int:
    """How many trials of a cache, a value, a kind of damage had an outcome, or any."""
    return sum(n for (key, seen), n in found.items() if set(fits) <= set(key) and outcome in (None, seen))


def summary(found: Counter[tuple[Key, str]], *fits: str) -> str:
    return ", ".join(f"{count(found, outcome, *fits)} {outcome}" for outcome in OUTCOMES)


def release(tool: str) -> str:
    if tool != "pcache":
        return version(tool)
    sys.path.insert(0, str(CHECKOUT))
    from pcache import __version__  # late: it need not be installed

    return __version__


def by_outcome(found: Counter[tuple[Key, str]], tools: list[str]) -> str:
    lines = ["| cache | trials | " + " | ".join(SHOWN.values()) + " |", "|---|--:" + "|--:" * len(SHOWN) + "|"]
    for tool in tools:
        total = count(found, None, tool)
        cells = [f"{n} ({100 * n / total:.1f} %)" for n in (count(found, outcome, tool) for outcome in SHOWN)]
        lines.append(f"| {tool} {release(tool)} | {total} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_case(found: Counter[tuple[Key, str]], tools: list[str], rows: tuple[str, ...]) -> str:
    """A cell: wrong values, and exceptions, hangs and crashes, of so many trials."""
    lines = ["| | " + " | ".join(tools) + " |", "|---" + "|--:" * len(tools) + "|"]
    for row in rows:
        cells = []
        for tool in tools:
            wrong = count(found, "wrong", tool, row)
            stopped = count(found, "exception", tool, row) + count(found, "hang or crash", tool, row)
            cells.append(f"{wrong} + {stopped} of {count(found, None, tool, row)}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(found: Counter[tuple[Key, str]], tools: list[str], arguments: argparse.Namespace, seconds: float) -> str:
    command = f"python benchmarks/damage.py --places {arguments.places} --seed {arguments.seed} --write"
    values = "\n".join(f"- {name}: {function.__doc__}" for name, function in FUNCTIONS.items())
    return f"""\
# Damage, and what a program gets

Made by `{command}` in {seconds:.0f} s. CPython {platform.python_version()} on {platform.system()}, all
caches with their default settings.

Each cache stores a result. Its file is damaged in one way at one place, a process that has seen nothing of it calls the
function, and the file is put back. Places are the same for all, by their proportion of the file: the beginning, the end
and {arguments.places} between; blocks have 512 bytes. What is damaged is the file that holds the value, and of
diskcache, which keeps small values in its database, the page of the database in which the value lies. A small value is
less than a block, so that "a block of another result" is the whole file of another call.

{values}

{by_outcome(found, tools)}

*Computed*: the damage was noticed, and the function ran. *Unharmed*: the stored value was read and is right, as when
bytes are hit that nobody needs. *Wrong, silently*: another value than the function's. *Exception*: the caller gets an
error instead of a value. *Hang or crash*: no answer within 60 s, or the process dies.

## By kind of damage

Wrong values + exceptions, hangs and crashes.

{by_case(found, tools, (*AT_PLACES, *ONCE))}

## By kind of value

{by_case(found, tools, tuple(FUNCTIONS))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--places", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("caches", nargs="*", default=list(DECORATORS))
    arguments = parser.parse_args()
    tools = [tool for tool in arguments.caches if is_installed(tool)]
    started = time.perf_counter()
    found = observe_all(tools, cases(arguments.places, arguments.seed))
    text = page(found, tools, arguments, time.perf_counter() - started)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
    if "pcache" in tools:
        sys.exit(any(count(found, outcome, "pcache") for outcome in ("wrong", "exception", "hang or crash")))


def is_installed(tool: str) -> bool:
    try:
        return bool(release(tool))
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    main()
