"""Finding out which code runs, in programs of thousands of functions: this checkout against another one, in turns.

    git worktree add /tmp/before HEAD~50
    python benchmarks/first_calls.py /tmp/before [--installed] [--write] [PACKAGE[==VERSION] FUNCTION FUNCTION ...]

A package is taken for the user's code, as `real_code.py` does. A process imports it and asks for the ids of two of its
functions. Three kinds of processes take turns: with the other checkout, with this one and an empty cache directory, and
with this one and what an earlier process has kept of the code there. `--write` writes first_calls.md.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from defects_bench import CHECKOUT, environment
from real_code import installed, unpacked

PAGE = CHECKOUT / "benchmarks" / "first_calls.md"
PROGRAMS = {
    "sympy==1.14.0": ("sympy:simplify", "sympy:solve"),
    "xarray==2026.9.0": ("xarray:open_dataset", "xarray:concat"),
    "dask==2026.8.0": ("dask.base:tokenize", "dask.base:compute"),
    "networkx==3.6.1": ("networkx:pagerank", "networkx:shortest_path"),
}
ASK = """
import importlib, json, sys, time, warnings
warnings.simplefilter("ignore")
import pcache
cache = pcache.Cache(sys.argv[1])
took = []
for name in sys.argv[2:]:
    module, _, function = name.partition(":")
    cached = cache.cached(getattr(importlib.import_module(module), function))
    started = time.perf_counter()
    cached.function_id
    took.append(time.perf_counter() - started)
print(json.dumps(took))
"""
# A directory with a signing key, where something was stored: else a process keeps nothing there.
STORE = "import sys, pcache; pcache.Cache(sys.argv[1]).cached(lambda: 1)()"


def ask(checkout: Path, places: list[Path], cache: Path, names: tuple[str, ...]) -> list[float]:
    """Seconds that a process takes to find the ids of functions, one after the other."""
    env = environment(cache.parent)
    env["PYTHONPATH"] = os.pathsep.join(map(str, [places[0], checkout, *places[1:]]))
    run = functools.partial(subprocess.run, env=env, check=True, cwd=cache.parent, capture_output=True)
    run([sys.executable, "-c", STORE, str(cache)])
    done = run([sys.executable, "-c", ASK, str(cache), *names])
    return list(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--installed", action="store_true", help="use the packages of this interpreter")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind; the median counts")
    parser.add_argument("--write", action="store_true", help="write first_calls.md")
    parser.add_argument("program", nargs="*", help="a package and two or more of its functions, as module:name")
    options = parser.parse_intermixed_args()
    programs = {options.program[0]: tuple(options.program[1:])} if options.program else PROGRAMS
    needs = None if options.installed else installed(list(programs))
    lines = [
        "| package | function | before, ms | now, ms | with what was kept, ms | now / before |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for package, names in programs.items():
        places = [unpacked(package)[0], *([needs] if needs else [])]
        with tempfile.TemporaryDirectory() as home:
            kept = Path(home, "kept")
            ask(CHECKOUT, places, kept, names)
            rows: list[list[list[float]]] = [[], [], []]
            for turn in range(options.rounds):
                rows[0].append(ask(options.before, places, Path(home, f"old{turn}"), names))
                rows[1].append(ask(CHECKOUT, places, Path(home, f"new{turn}"), names))
                rows[2].append(ask(CHECKOUT, places, kept, names))
        for at, name in enumerate(names):
            old, new, again = (statistics.median(one[at] for one in row) * 1e3 for row in rows)
            which = "first" if at == 0 else "and then"
            lines.append(f"| {package} | {which} `{name}` | {old:,.0f} | {new:,.0f} | {again:,.0f} | {new / old:.2f} |")
        print("\n".join(lines[-len(names) :]), flush=True)
    if options.write:
        when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, Python {platform.python_version()}"
        about = (
            f"{when}, {os.cpu_count()} cores. Medians of {options.rounds}. Made by `python benchmarks/first_calls.py`."
        )
        text = f"# Finding out which code runs\n\n{about}\n"
        PAGE.write_text(text + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
