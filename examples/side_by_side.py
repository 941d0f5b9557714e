"""Run a job without a cache, then twice with an empty one, and print what each pass took.

Each pass is a process of its own, as if the program were started again. The seconds are those of the job alone: the
interpreter, imports and making the data are left out, as they are the same. With several rounds the three passes take
turns, each round with a new cache, and the table has their medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pcache

Job = Callable[[Path, int], object]
PASSES = ("no cache", "first pass", "second pass")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # matrix libraries' threads wait by turning in circles


def side_by_side(job: Job, *, size: int, prepare: Callable[[Path, int], object] | None = None) -> None:
    """Run `job(folder, size)` as the command line says: one pass, or all three beside each other.

    `prepare` makes what the job reads. A job returns what tells one result from another, a number or a short text; in a
    tuple with it, if need be, the seconds that count.
    """
    program = sys.modules[job.__module__]
    parser = argparse.ArgumentParser(description=(program.__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=size, help=f"how much is computed (default {size})")
    parser.add_argument("--rounds", type=int, default=3, help="how often each pass is run (default 3)")
    parser.add_argument("--one-pass", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one_pass:
        print(json.dumps(one_pass(job, chosen.one_pass, chosen.size)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if prepare is not None:
            prepare(Path(folder), chosen.size)
        command = [sys.executable, str(program.__file__), "--size", str(chosen.size), "--one-pass", folder]
        show(measure(command, Path(folder), chosen.rounds))


def one_pass(job: Job, folder: Path, size: int) -> dict[str, Any]:
    """Run the job in this process, with the cache that the environment says."""
    started = time.perf_counter()
    result, seconds = job(folder, size), time.perf_counter() - started
    if isinstance(result, tuple):
        result, seconds = result
    return {"seconds": seconds, "result": str(result)}


def measure(command: list[str], folder: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run the three passes in turns; what each printed, with the calls that were computed and found."""
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in PASSES}
    for number in range(rounds):
        place, counted = folder / f"cache-{number}", (0, 0)
        for name in PASSES:
            settings = ONE_THREAD | {"PCACHE_DIR": str(place), "PCACHE_DISABLE": str(int(name == "no cache"))}
            done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
            stats = pcache.Cache(place).stats()
            now = (stats.misses, stats.hits)
            found = {"computed": now[0] - counted[0], "found": now[1] - counted[1], "megabytes": stats.bytes / 1e6}
            measured[name].append(json.loads(done.stdout.splitlines()[-1]) | found)
            counted = now
    return measured


def show(measured: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table; ends the program with an error if the passes did not have the same result."""
    seconds = {name: statistics.median(each["seconds"] for each in measured[name]) for name in PASSES}
    print(" " * 22, "".join(f"{name:>14}" for name in PASSES))
    print(f"{'seconds':22}", "".join(f"{seconds[name]:14.3f}" for name in PASSES))
    print(f"{'of those without':22}", "".join(f"{seconds[name] / seconds['no cache']:13.2f}x" for name in PASSES))
    for fact in ("computed", "found"):
        print(f"{'calls ' + fact:22}", "".join(f"{measured[name][-1][fact]:14}" for name in PASSES))
    print(f"{'megabytes stored':22}", "".join(f"{measured[name][-1]['megabytes']:14.1f}" for name in PASSES))
    results = {each["result"] for name in PASSES for each in measured[name]}
    if len(results) != 1:
        sys.exit(f"the passes differ: {sorted(results)}")
    print(f"{'result':22} {results.pop()}")
