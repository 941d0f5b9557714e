"""A cache of a million entries: what a hit, statistics, eviction and clearing cost there; beside peers at 100,000.

    python benchmarks/scale.py [--entries 1000000] [--folder DIR] [--peers 100000] [--write]

Every step runs in a process of its own, so that its memory is its own; `--write` writes benchmarks/scale.md. Files are
made below a temporary folder in DIR (the system's default), which is removed at the end. Removing files is also
measured without any cache: that is the file system's share.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from subjects import small  # noqa: E402 - the folder of this file is on the path now

PAGE = Path(__file__).with_name("scale.md")
FEW = 1000  # entries of the cache that a large one is compared with
READS = 20_000
WORKERS = 2


def cache_at(folder: str) -> Any:
    from pcache import Cache

    return Cache(folder, signing_key=bytes(range(32)), min_free=0)


# Steps, each in a process of its own


def fill(folder: str, first: int, last: int) -> None:
    cached = cache_at(folder).cached(small)
    for n in range(first, last):
        cached(n)


def hits(large: str, some: str, few: str, entries: int) -> dict[str, float]:
    """Hits on entries that a process has not read yet, and repeated ones, in turns with those of smaller caches."""
    chosen = random.Random(1).sample(range(entries), READS)
    numbers = {"large": chosen, "some": list(range(READS)), "few": list(range(FEW)) * (READS // FEW)}
    roots = {"large": large, "some": some, "few": few}
    for name, root in roots.items():  # what the file system has to fetch from the disk is its affair
        cached = cache_at(root).cached(small)
        for n in numbers[name]:
            Path(cached._flow.store.place(cached._calls.of((n,), {}).address.name)).read_bytes()
    first: dict[str, list[float]] = {name: [] for name in roots}
    again: dict[str, list[float]] = {name: [] for name in roots}
    for start in range(0, READS, FEW):
        for name, root in roots.items():
            cached = cache_at(root).cached(small)
            part = numbers[name][start : start + FEW]
            cached(part[0])
            for times in (first, again):
                started = time.perf_counter()
                for n in part:
                    cached(n)
                times[name].append((time.perf_counter() - started) / FEW)
    found = {"seconds": statistics.median(first["large"])}
    for label, times in (("", first), ("repeated_", again)):
        for name in ("some", "few"):
            ratios = [a / b for a, b in zip(times["large"], times[name], strict=True)]
            found[f"{label}to_{name}"] = statistics.median(ratios)
    return found


def stats(folder: str) -> dict[str, float]:
    found = cache_at(folder).stats()
    return {"entries": found.entries, "looked_at": found.looked_at}


def exact_stats(folder: str) -> dict[str, float]:
    return {"entries": cache_at(folder).stats(exact=True).entries}


def store_more(folder: str, entries: int) -> dict[str, float]:
    """Writers' stalls while limits are kept: the cache is full, and each result written makes others go."""
    from pcache import Cache

    cache = Cache(folder, signing_key=bytes(range(32)), min_free=0, max_entries=entries)
    cached = cache.cached(small)
    stalls = []
    for n in range(entries, entries + 20_000):
        started = time.perf_counter()
        cached(n)
        stalls.append(time.perf_counter() - started)
    return {"median": statistics.median(stalls), "longest": max(stalls), "entries": cache.flow.store.count()}


def evict_half(folder: str, entries: int) -> dict[str, float]:
    return {"removed": cache_at(folder).evict(max_entries=entries // 2).entries}


def plan_half(folder: str, entries: int) -> dict[str, float]:
    return {"removed": cache_at(folder).evict(max_entries=entries // 2, dry_run=True).entries}


def clear(folder: str) -> dict[str, float]:
    return {"removed": cache_at(folder).clear().entries}


def bare_removal(folder: str, threads: int) -> dict[str, float]:
    paths = [f"{folder}/{name}" for name in os.listdir(folder)]

    def unlink(first: int) -> None:
        for path in paths[first::threads]:
            os.unlink(path)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(unlink, range(threads)))
    return {"rate": len(paths) / (time.perf_counter() - started)}


def peer(name: str, folder: str, entries: int) -> dict[str, float]:
    """Fill, hit, measure, evict half and clear: one of the caches at a size that all of them bear."""
    found: dict[str, float] = {}

    def timed(label: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        found[label] = time.perf_counter() - started

    cached, half, everything = PEERS[name](folder, entries)
    timed("fill", lambda: [cached(n) for n in range(entries)])
    chosen = random.Random(2).sample(range(entries), 2000)
    timed("hits", lambda: [cached(n) for n in chosen])
    found["hits"] /= len(chosen)
    found["disk"] = disk_of(folder) / entries
    timed("evict", half)
    found["left"] = sum(len(names) for _, _, names in os.walk(folder))
    timed("clear", everything)
    return found


def pcache_as_peer(folder: str, entries: int) -> Any:
    cache = cache_at(folder)
    return cache.cached(small), lambda: cache.evict(max_entries=entries // 2), cache.clear


def joblib_as_peer(folder: str, entries: int) -> Any:
    import joblib

    memory = joblib.Memory(folder, verbose=0)
    return memory.cache(small), lambda: memory.reduce_size(items_limit=entries // 2), lambda: memory.clear(warn=False)


def diskcache_as_peer(folder: str, entries: int) -> Any:
    import diskcache

    cache = diskcache.Cache(folder, eviction_policy="least-recently-used")

    def half() -> None:
        cache.reset("cull_limit", 0)
        keys = list(cache)[: entries // 2]
        with cache.transact():
            for key in keys:
                cache.delete(key)

    return cache.memoize()(small), half, cache.clear


PEERS = {"pcache": pcache_as_peer, "joblib": joblib_as_peer, "diskcache": diskcache_as_peer}
STEPS: dict[str, Callable[..., Any]] = {
    step.__name__: step
    for step in (fill, hits, stats, exact_stats, store_more, evict_half, plan_half, clear, bare_removal, peer)
}


def run_step(name: str, *arguments: object) -> dict[str, float]:
    """Run a step in a new process; its seconds and the most memory it took are part of the answer."""
    command = [sys.executable, __file__, "--step", name, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    print(f"{name:14} {', '.join(f'{key} {value:.6g}' for key, value in answer.items())}", flush=True)
    return answer


def step(name: str, arguments: list[Any]) -> None:
    started = time.perf_counter()
    answer = STEPS[name](*arguments) or {}
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "memory": memory, **answer}))


def disk_of(folder: str) -> int:
    """Bytes on disk, as `du` counts them."""
    total = 0
    for place, _, names in os.walk(folder):
        total += os.lstat(place).st_blocks * 512
        total += sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for name in names)
    return total


def fill_all(folder: str, entries: int) -> float:
    """Fill with several processes at once; return the seconds it took."""
    started = time.perf_counter()
    bounds = [entries * i // WORKERS for i in range(WORKERS + 1)]
    command = [sys.executable, __file__, "--step", "fill"]
    running = [
        subprocess.Popen([*command, json.dumps([folder, bounds[i], bounds[i + 1]])], stdout=subprocess.DEVNULL)
        for i in range(WORKERS)
    ]
    if any(process.wait() for process in running):
        raise SystemExit("a process that fills the cache failed")
    return time.perf_counter() - started


def large(folder: Path, entries: int) -> dict[str, dict[str, float]]:
    root, some, few, files = str(folder / "large"), str(folder / "some"), str(folder / "few"), folder / "files"
    found: dict[str, dict[str, float]] = {}
    run_step("fill", few, 0, FEW)
    run_step("fill", some, 0, READS)
    seconds = fill_all(root, entries)
    size = sum(os.lstat(path).st_size for path in Path(root, "v1", "entries").glob("0*/*"))
    number = sum(1 for _ in Path(root, "v1", "entries").glob("0*/*"))
    found["fill"] = {"seconds": seconds, "disk": disk_of(root) / entries, "length": size / number}
    print(f"fill           seconds {seconds:.1f}, {found['fill']}", flush=True)
    found["hits"] = run_step("hits", root, some, few, entries)
    found["stats"] = run_step("stats", root)
    found["exact_stats"] = run_step("exact_stats", root)
    found["command"] = command_line(root)
    found["plan_half"] = run_step("plan_half", root, entries)
    found["store_more"] = run_step("store_more", root, entries)
    found["evict_half"] = run_step("evict_half", root, entries)
    found["clear"] = run_step("clear", root)
    for threads in (1, 8):
        files.mkdir(exist_ok=True)
        for n in range(50_000):
            (files / f"{n:057d}").write_bytes(bytes(600))
        os.sync()
        found[f"bare_{threads}"] = run_step("bare_removal", str(files), threads)
    return found


def command_line(root: str) -> dict[str, float]:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pcache", "-C", root, "stats"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {"seconds": time.perf_counter() - started}


def page(sections: list[str]) -> str:
    machine = f"CPython {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}"
    return (
        "# A million entries\n\nMade by `python benchmarks/scale.py --write`"
        f" ({machine}). Small results: pickles of about 200 bytes.\n\n" + "\n".join(sections)
    )


def section(title: str, entries: int, found: dict[str, dict[str, float]]) -> str:
    def verdict(met: bool) -> str:
        return "met" if met else "**missed**"

    full, hit, evict, all_gone = found["store_more"], found["hits"], found["evict_half"], found["clear"]
    evict_rate, clear_rate = entries / evict["seconds"], all_gone["removed"] / all_gone["seconds"]
    most = max(step.get("memory", 0) for step in found.values())
    rows = [
        ("filling, 2 processes", f"{found['fill']['seconds'] / entries * 1e6:.0f} us an entry", "", ""),
        ("on disk per entry", f"{found['fill']['disk']:,.0f} bytes for {found['fill']['length']:,.0f}", "", ""),
        *(
            (
                f"a hit, compared with a cache of {number:,} entries",
                f"{hit[f'to_{name}']:.2f}x first, {hit[f'repeated_to_{name}']:.2f}x repeated",
                "1.3x",
                verdict(max(hit[f"to_{name}"], hit[f"repeated_to_{name}"]) <= 1.3),
            )
            for name, number in (("few", FEW), ("some", READS))
        ),
        (
            f"`Cache.stats()`, {found['stats']['looked_at']:.0%} listed",
            f"{found['stats']['seconds']:.2f} s",
            "1 s",
            verdict(found["stats"]["seconds"] < 1),
        ),
        ("`pcache stats`, from the shell", f"{found['command']['seconds']:.2f} s", "", ""),
        ("`Cache.stats(exact=True)`", f"{found['exact_stats']['seconds']:.1f} s", "", ""),
        ("planning an eviction of half", f"{entries / found['plan_half']['seconds']:,.0f} entries/s", "", ""),
        (
            "planning and executing it",
            f"{evict_rate:,.0f} entries/s ({evict['removed'] / evict['seconds']:,.0f} removed/s)",
            "200,000/s",
            verdict(evict_rate >= 200_000),
        ),
        ("clearing", f"{clear_rate:,.0f} entries/s", "150,000/s", verdict(clear_rate >= 150_000)),
        (
            "removing 50,000 files without a cache",
            f"{found['bare_1']['rate']:,.0f}/s, with 8 threads {found['bare_8']['rate']:,.0f}/s",
            "",
            "",
        ),
        (
            "a writer while the cache is full",
            f"median {full['median'] * 1e6:.0f} us, longest {full['longest'] * 1e3:.0f} ms",
            "",
            "",
        ),
        ("most memory of a step", f"{most / 1e6:.0f} MB", "300 MB", verdict(most < 300e6)),
    ]
    lines = [f"## {entries:,} entries, {title}\n", "| | measured | aim | |", "|---|--:|--:|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def peers_section(entries: int, found: dict[str, dict[str, float]]) -> str:
    lines = [
        f"## {entries:,} entries, side by side\n",
        "joblib evicts by `reduce_size`, diskcache by deleting half of its keys in one transaction.\n",
        "| | fill, an entry | hit | on disk, an entry | evict half | clear |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['fill'] / entries * 1e6:.0f} us | {row['hits'] * 1e6:.0f} us | {row['disk']:,.0f} bytes |"
            f" {row['evict']:.1f} s | {row['clear']:.1f} s |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--folder", action="append", help="where to work; may be given several times")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step[0], json.loads(options.step[1]))
        return
    sections = []
    folders = options.folder or [tempfile.gettempdir()]
    for place in folders:
        kind = subprocess.run(["df", "--output=fstype", place], capture_output=True, text=True, check=False)
        title = (kind.stdout.split() or ["unknown file system"])[-1]
        folder = Path(tempfile.mkdtemp(dir=place))
        try:
            sections.append(section(title, options.entries, large(folder, options.entries)))
        finally:
            shutil.rmtree(folder)
    if options.peers:
        found = {}
        for name in PEERS:
            folder = Path(tempfile.mkdtemp(dir=folders[0]))
            try:
                found[name] = run_step("peer", name, str(folder / "cache"), options.peers)
            except subprocess.CalledProcessError:
                print(f"{name} is not installed, or failed")
            finally:
                shutil.rmtree(folder)
        sections.append(peers_section(options.peers, found))
    text = page(sections)
    print(text)
    if options.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
