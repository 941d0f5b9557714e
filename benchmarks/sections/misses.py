"""A miss: look up in vain, compute in a microsecond, store."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

import subjects
from harness import Times, duration, race
from verdicts import Section

from sections.bare import bare_files
from sections.contestants import LABELS, PEERS, caches

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], object]

ROUNDS, CALLS = 61, 25
CHEAP_CREATE = 45e-6  # seconds; ext4 needs 15 to 30 us, and 300 to 650 us for some minutes after a mass delete
PATIENCE = 0 if subjects.QUICK else 120  # seconds; without a journal ext4 avoids inodes for 60 s after their deletion
PAUSE = 20  # seconds between attempts
DISTURBED = 2  # times the fastest round: a median of bare writes beyond it is not the caches' doing


def miss(folder: str) -> Section:
    """Miss, small result"""
    functions = caches(["pcache", *PEERS], folder, subjects.small)
    cached = functions["pcache"]
    for n in range(-2500 // subjects.SCALE, 0):  # all shards exist
        cached(n)
    bare_files(folder, cached, [f"{i:02x}" * 20 for i in range(256)], [None] * 256)
    (entry,) = [item for item in cached._flow.store.scan() if item.key == cached.key(-1)]
    runs = {"bare": bare_stores(folder, cached, os.urandom(entry.size))}
    runs |= {name: unseen_calls(function) for name, function in functions.items()}
    shards = os.path.join(folder, "bare", "v1", "entries")
    times, said = undisturbed(shards, lambda: race(runs, calls=CALLS, rounds=ROUNDS, warmups=2))
    section = Section(
        miss.__doc__ or "",
        f"The function takes 1 us. Bare: write {entry.size} bytes, the size of the entry, to a temporary file and"
        f" rename it, at the same depth. {said}",
    )
    section.show(times, LABELS | {"bare": "bare, temporary file and rename"})
    limits = ((2, "bare"), (1, "diskcache"))
    section.aim("small miss", times, *limits, peers=PEERS, run=runs["pcache"])
    section.no_slower_than_peers(times, PEERS)
    return section


def bare_stores(folder: str, cached: Any, content: bytes) -> Run:
    numbers = itertools.count()

    def run() -> None:
        for _ in range(CALLS):
            key = f"{next(numbers) * 2654435761 % 2**32:08x}" * 5
            path = os.path.join(folder, "bare", "v1", "entries", key[:2], f"{cached.function_id}-{key}")
            fd = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(fd, content)
            os.close(fd)
            os.rename(path + ".tmp", path)

    return run


def unseen_calls(function: Callable[[int], Any]) -> Run:
    numbers = itertools.count()

    def run() -> None:
        for _ in range(CALLS):
            function(next(numbers))

    return run


def undisturbed(shards: str, measure: Callable[[], Times]) -> tuple[Times, str]:
    """Measure while the file system creates files at its usual speed, as far as patience goes; say whether it did."""
    deadline = time.monotonic() + PATIENCE
    for attempt in itertools.count(1):
        create = wait_for_cheap_creates(shards, deadline)
        times = measure()
        after = create_time(shards)
        said = f"Creating an empty file took {duration(create)} before and {duration(after)} after."
        if after <= CHEAP_CREATE and times.median("bare") < DISTURBED * times.fastest("bare"):
            again = f" This is attempt {attempt}: the file system was busy before."
            return times, said + (again if attempt > 1 else "")
        if time.monotonic() + PAUSE > deadline:
            break
        time.sleep(PAUSE)
    return times, said + " **The file system was busy at every attempt: do not trust these figures.**"


def create_time(folder: str) -> float:
    """Seconds that creating an empty file takes in the shards below `folder` at the moment, median of some."""
    times = []
    for shard in sorted(os.listdir(folder))[:64]:
        path = os.path.join(folder, shard, f"probe-{time.monotonic_ns()}")
        started = time.perf_counter()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        times.append(time.perf_counter() - started)
        os.close(fd)  # the file stays: deleting it is what makes the next ones expensive
    return statistics.median(times)


def wait_for_cheap_creates(folder: str, deadline: float) -> float:
    """Wait, within reason, until the file system has digested earlier deletions."""
    while (seconds := create_time(folder)) > CHEAP_CREATE and time.monotonic() < deadline:
        time.sleep(5)
    return seconds
