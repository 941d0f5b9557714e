"""Several processes write many gigabytes through a cache with a small limit, and check every value they get.

    python benchmarks/soak.py [--seconds 300] [--gigabytes 20] [--limit 1GiB] [--processes 4] [--folder DIR] [--write]

Goes on until both the time is over and the amount is written. A value is a stream of BLAKE3 that its number
determines, from some hundred bytes to some ten megabytes, so a wrong byte is seen. Meanwhile the directory is measured
on disk over and over, claims and the ledger included. A stall is the time of a call less that of the function itself.
`--write` writes benchmarks/soak.md. Exits with 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

PAGE = Path(__file__).with_name("soak.md")
KEYS = 20_000  # numbers that are asked for, the small ones more often
SMALLEST, LARGEST = 200, 50_000_000  # bytes
ALLOWED = 1.1  # times the limit


def length_of(n: int) -> int:
    """Spread evenly over the orders of magnitude."""
    return int(SMALLEST * (LARGEST / SMALLEST) ** random.Random(n).random())


def stream(n: int) -> bytes:
    from blake3 import blake3

    return blake3(n.to_bytes(8, "little")).digest(length_of(n))


def work(folder: str, limit: str, seconds: float, amount: float, seed: int) -> None:
    """Call until time and amount are over; print what happened as JSON."""
    from pcache import Cache

    warnings.simplefilter("error")
    cache = Cache(folder, max_size=limit, signing_key=bytes(range(32)), min_free=0)
    took = [0.0]
    written = [0]

    @cache.cached
    def f(n: int) -> bytes:
        started = time.perf_counter()
        value = stream(n)
        took[0] = time.perf_counter() - started
        written[0] += len(value)
        return value

    choose = random.Random(seed)
    stalls = []
    wrong = errors = calls = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or written[0] < amount:
        n = int(KEYS * choose.random() ** 3)
        took[0] = 0.0
        started = time.perf_counter()
        try:
            value = f(n)
        except Exception as error:
            errors += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            continue
        stalls.append(time.perf_counter() - started - took[0])
        wrong += value != stream(n)
        calls += 1
    stalls.sort()
    info = f.cache_info()
    print(
        json.dumps(
            {
                "calls": calls,
                "hits": info.hits,
                "written": written[0],
                "wrong": wrong,
                "errors": errors,
                "median": statistics.median(stalls),
                "late": stalls[int(len(stalls) * 0.999)],
                "longest": stalls[-1],
            }
        )
    )


def disk_of(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # evicted meanwhile
    return total


def soak(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    amount = options.gigabytes * 1e9 / options.processes
    arguments = [folder, options.limit, str(options.seconds), str(amount)]
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", *arguments, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for seed in range(options.processes)
    ]
    started, sizes = time.monotonic(), []
    while any(process.poll() is None for process in running):
        sizes.append(disk_of(folder))
        time.sleep(0.05)
    elapsed = time.monotonic() - started
    found = []
    for process in running:
        out, err = process.communicate()
        lines = [line for line in err.decode().splitlines() if "has reached its limit" not in line]
        if process.returncode or lines:
            print("\n".join(lines[-20:]), file=sys.stderr)
        found.append(json.loads(out) if not process.returncode else {"errors": 1, "crashed": True})
    from pcache import Cache

    cache = Cache(folder, signing_key=bytes(range(32)))
    return {
        "elapsed": elapsed,
        "most": max(sizes),
        "looks": len(sizes),
        "processes": found,
        "problems": len(cache.verify().problems),
        "evicted": cache.stats().evicted,
    }


def page(found: dict[str, Any], limit: int, options: argparse.Namespace) -> str:
    rows = found["processes"]
    written = sum(row.get("written", 0) for row in rows)
    lines = [
        "# A soak",
        "",
        f"Made by `python benchmarks/soak.py --seconds {options.seconds:g} --gigabytes {options.gigabytes:g} --write`"
        f" (CPython {platform.python_version()}, {os.cpu_count()} cores): {len(rows)} processes wrote"
        f" {written / 1e9:.1f} GB through a cache of {options.limit} in {found['elapsed']:.0f} s.",
        "",
        "| | |",
        "|---|--:|",
        f"| most on disk, of {found['looks']:,} looks | {found['most'] / limit:.3f} times the limit |",
        f"| wrong values | {sum(row.get('wrong', 1) for row in rows)} |",
        f"| exceptions and warnings | {sum(row['errors'] for row in rows)} |",
        f"| damaged entries at the end | {found['problems']} |",
        f"| calls, of which hits | {sum(r.get('calls', 0) for r in rows):,}, {sum(r.get('hits', 0) for r in rows):,} |",
        f"| entries evicted | {found['evicted']:,} |",
        "",
        "What a call takes beyond the function itself:",
        "",
        "| process | median | 99.9 % below | longest |",
        "|---|--:|--:|--:|",
    ]
    lines += [
        f"| {i} | {row['median'] * 1e3:.2f} ms | {row['late'] * 1e3:.0f} ms | {row['longest'] * 1e3:.0f} ms |"
        for i, row in enumerate(rows, 1)
        if "median" in row
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--limit", default="1GiB")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        folder, limit, seconds, amount, seed = options.work
        work(folder, limit, float(seconds), float(amount), int(seed))
        return
    from pcache.text.units import parse_size

    limit = parse_size(options.limit)
    folder = tempfile.mkdtemp(dir=options.folder)
    try:
        found = soak(os.path.join(folder, "cache"), options)
    finally:
        shutil.rmtree(folder)
    text = page(found, limit, options)
    print(text)
    if options.write:
        PAGE.write_text(text)
    broken = any(row.get("wrong", 1) or row["errors"] for row in found["processes"]) or found["problems"]
    sys.exit(1 if broken or found["most"] > ALLOWED * limit else 0)


if __name__ == "__main__":
    main()
