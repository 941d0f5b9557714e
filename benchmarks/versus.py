"""Time this checkout against another one, in turns: what did a change make slower?

    git worktree add /tmp/before HEAD~20
    python benchmarks/versus.py /tmp/before               # everything, two minutes
    python benchmarks/versus.py /tmp/before miss hit      # some of it
    python benchmarks/versus.py /tmp/before --folder /dev/shm
    python benchmarks/versus.py /tmp/before --write       # and write versus.md

One process for each checkout; they take turns, batch by batch, and who begins changes. What counts is the median of the
differences of neighbouring batches: the speed of a machine drifts, and both see the same of it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING

HERE = os.path.dirname(os.path.abspath(__file__))
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pcache import Cache

BATCH = 200  # calls
KINDS = {
    "hit": "repeated hit, int argument, 200 B result",
    "keywords": "repeated hit, int, dict and list arguments",
    "stored": "hit just after storing, 200 B result",
    "first": "first read of an entry in a process, 200 B",
    "text": "repeated hit, 1 MB of text",
    "text first": "first read of 1 MB of text",
    "miss": "miss, 200 B result",
    "refresh": "miss that replaces an entry, 200 B",
    "raises": "miss of a function that raises",
    "array hit": "hit, 1 MB array",
    "array miss": "miss, 1 MB array",
    "invalidate": "invalidate and miss, 200 B",
}


def timed(cache: Cache, folder: str) -> dict[str, Callable[[], float]]:
    """What one process can be asked for: seconds per call of one batch, by kind."""
    import numpy as np

    def small(n: int) -> bytes:
        return b"%d" % n * 40

    def failing(n: int) -> bytes:
        raise ValueError(n)

    def large(n: int) -> object:
        return np.full(1 << 17, float(n))

    def text(n: int) -> str:
        return f"{n} and so on, " * (1 << 16)

    def keywords(n: int, *, window: int, options: dict[str, object], items: list[int]) -> bytes:
        return b"%d" % n * 40

    functions = (
        small,
        cache_version(cache, small),
        failing,
        large,
        text,
        keywords,
        cache_version(cache, small, "stored"),
    )
    hits, misses, raises, arrays, texts, keyworded, stored = map(cache.cached, functions)

    def with_keywords(n: int) -> None:
        keyworded(n, window=5, options={"method": "fast", "tolerance": 0.01, "depth": n}, items=[1, 2, 3, n])

    for n in range(BATCH):
        hits(n)
    for n in range(BATCH // 10):
        arrays(n)
        texts(n)
    for n in range(BATCH):
        with_keywords(n)
    long_ago = time.time() - 10
    for parent, _, names in os.walk(os.path.join(folder, "v1", "entries")):
        for name in names:
            os.utime(os.path.join(parent, name), (long_ago, long_ago))
    state = {"next": 0}

    def per_call(call: Callable[[int], object], calls: int, first: int = 0) -> float:
        numbers = range(first, first + calls)
        started = time.perf_counter()
        for n in numbers:
            call(n)
        return (time.perf_counter() - started) / calls

    def new(call: Callable[[int], object], calls: int) -> float:
        state["next"] += calls
        return per_call(call, calls, 10**6 + state["next"])

    def first(call: Callable[[int], object], calls: int) -> float:
        cache.flow.store._recent = type(cache.flow.store._recent)()
        return per_call(call, calls)

    def just_stored() -> float:
        for n in range(BATCH // 10):
            stored.refresh(n)
        return per_call(stored, BATCH // 10)

    def quiet(n: int) -> None:
        with contextlib.suppress(ValueError):
            raises(n)

    def invalidate(n: int) -> None:
        hits.invalidate(n)
        hits(n)

    return {
        "hit": lambda: per_call(hits, BATCH),
        "keywords": lambda: per_call(with_keywords, BATCH),
        "stored": just_stored,
        "first": lambda: first(hits, BATCH),
        "text": lambda: per_call(texts, BATCH // 10),
        "text first": lambda: first(texts, BATCH // 10),
        "miss": lambda: new(misses, BATCH),
        "refresh": lambda: per_call(hits.refresh, BATCH // 4),
        "raises": lambda: new(quiet, BATCH),
        "array hit": lambda: per_call(arrays, BATCH // 10),
        "array miss": lambda: new(arrays, BATCH // 20),
        "invalidate": lambda: per_call(invalidate, BATCH // 4, BATCH // 2),
    }


def cache_version(cache: Cache, function: Callable[[int], bytes], version: str = "misses") -> Callable[[int], bytes]:
    """The same function under another version, so that its entries are its own."""
    made: Callable[[int], bytes] = cache.cached(version=version)(function)
    return made


def serve(checkout: str, folder: str) -> None:
    """Time what standard input asks for, with the package of a checkout, until it ends."""
    sys.path.insert(0, checkout)
    import pcache

    assert os.path.dirname(os.path.dirname(pcache.__file__)) == checkout, pcache.__file__
    kinds = timed(pcache.Cache(folder, signing_key=bytes(range(32))), folder)
    print("ready", flush=True)
    for line in sys.stdin:
        print(kinds[line.strip()](), flush=True)


@contextlib.contextmanager
def server(checkout: str, folder: str) -> Iterator[Callable[[str], float]]:
    """A process that times one checkout; call the result with a kind."""
    command = [sys.executable, "-B", os.path.abspath(__file__), os.path.abspath(checkout), "--serve", folder]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    output: IO[str] = process.stdout
    assert output.readline() == "ready\n"

    def ask(kind: str) -> float:
        print(kind, file=process.stdin, flush=True)
        return float(output.readline())

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait()


def compare(kind: str, old: Callable[[str], float], new: Callable[[str], float], rounds: int) -> str:
    """One line: microseconds per call before and now, and the median of the differences."""
    for ask in (old, new):
        ask(kind)
    pairs = []
    for number in range(rounds):
        if number % 2:
            now = new(kind)
            pairs.append((old(kind), now))
        else:
            before = old(kind)
            pairs.append((before, new(kind)))
    before, now = (statistics.median(times) * 1e6 for times in zip(*pairs, strict=True))
    difference = statistics.median(b - a for a, b in pairs) * 1e6
    ratio = statistics.median(b / a for a, b in pairs)
    return f"| {kind:10} | {before:9.2f} | {now:9.2f} | {difference:+9.2f} | {ratio:7.3f} | {KINDS[kind]} |"


def commit_of(checkout: str) -> str:
    """What git calls the state of a checkout."""
    command = ["git", "-C", checkout, "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def write(checkout: str, lines: list[str], rounds: int, folder: str) -> None:
    """Write the page."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    place = f"Caches below `{folder}`." if folder else "Caches in the folder of temporary files."
    text = (
        "# One checkout against another\n\n"
        "Made by `python benchmarks/versus.py OTHER --write`, which says how. Microseconds per call; *more* is\n"
        "the median of the differences of neighbouring batches.\n\n"
        f"{today}; {machine}; {commit_of(checkout)} before, {commit_of(HERE)} now;\n"
        f"{rounds} pairs of batches. {place}\n\n"
    )
    with open(os.path.join(HERE, "versus.md"), "w", encoding="utf-8") as page:
        page.write(text + "\n".join(lines) + "\n")


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", help="a folder that holds the other pcache/")
    parser.add_argument("kinds", nargs="*", help=f"some of: {', '.join(KINDS)}")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--folder", help="where the caches lie, by default that of temporary files")
    parser.add_argument("--write", action="store_true", help="write versus.md as well")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.checkout, given.serve)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        places = [os.path.join(folder, name) for name in ("old", "new")]
        with server(given.checkout, places[0]) as old, server(os.path.dirname(HERE), places[1]) as new:
            lines = ["|            | us before |       now |      more |   ratio | |", "|---|--:|--:|--:|--:|---|"]
            print("\n".join(lines))
            for kind in given.kinds or KINDS:
                lines.append(compare(kind, old, new, given.rounds))
                print(lines[-1], flush=True)
            if given.write:
                write(given.checkout, lines, given.rounds, given.folder)


if __name__ == "__main__":
    main()
