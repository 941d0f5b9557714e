"""Whole jobs, as a user runs them twice: the first pass computes and stores, the second one finds everything."""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Any

import subjects
from harness import Times, race
from verdicts import FASTEST_PEER, SECONDS, Section

from sections.contestants import ABSENT, LABELS, MAPPED_PEERS, QUICK_PEERS, cached_by, caches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Run = Callable[[], object]

ROUNDS = 1 if subjects.QUICK else 5
SECOND_PASSES = 3
CHUNKS = 2 if subjects.QUICK else 20
SHOWN = LABELS | {"first": "pcache, by a new `Cache`: first reads"}


def frames_job(folder: str) -> list[Section]:
    """Job: four stages of DataFrames, 1.5 million rows"""
    names = ["without", "pcache", *MAPPED_PEERS]
    first: dict[str, list[float]] = {name: [] for name in names}
    again: dict[str, list[float]] = {name: [] for name in [*names[1:], "first"]}
    subjects.stages(decorator("without", folder))(ROUNDS)  # imports what pandas imports late
    for number in range(ROUNDS):
        for name in names[number:] + names[:number]:
            place = os.path.join(folder, str(number))
            job = subjects.stages(decorator(name, place))
            first[name].append(seconds(job, number))
            if name != "without":
                again[name].append(statistics.median(seconds(job, number) for _ in range(SECOND_PASSES)))
            if name == "pcache":
                again["first"].append(seconds(subjects.stages(decorator(name, place)), number))
            shutil.rmtree(place, ignore_errors=True)
    title = frames_job.__doc__ or ""
    note = (
        "Readings of 400 stations are made, cleaned, enriched and summed up by day. Each stage asks for the one before,"
        " and the job for all four; computed without a cache, the early stages are computed again for each later one."
    )
    whole, second = Section(f"{title}, first pass", note), Section(f"{title}, second pass", "In the same process.")
    times, repeats = Times(first), Times(again)
    whole.show(times, SHOWN)
    whole.aim("job: four stages of frames, first pass", times, (1, FASTEST_PEER), peers=MAPPED_PEERS)
    second.show(repeats, SHOWN)
    second.aim("job: four stages of frames, second pass", repeats, (0.02, SECONDS), peers=MAPPED_PEERS)
    second.aims[-1].seconds["without"] = times.median("without")
    return [whole, second]


def decorator(name: str, folder: str) -> Callable[[Any], Any]:
    if name == "without":
        return lambda function: function
    os.makedirs(folder, mode=0o700, exist_ok=True)
    decorate: Callable[[Any], Any] = subjects.MAPPING[name](os.path.join(folder, name.replace(" ", "-")))
    return decorate


def seconds(job: Callable[[int], object], n: int) -> float:
    started = time.perf_counter()
    job(n)
    return time.perf_counter() - started


def embeddings_job(folder: str) -> list[Section]:
    """Job: 20,000 embeddings of 384 floats"""
    functions = caches(["pcache", *QUICK_PEERS], folder, subjects.embedding)
    everybody = {"without": subjects.embedding} | functions
    times = race({name: in_chunks(each) for name, each in everybody.items()}, calls=1, rounds=CHUNKS, warmups=0)
    passes = {name: in_chunks(each) for name, each in functions.items()}
    newcomer = cached_by("pcache", folder, subjects.embedding)
    newcomer(sentence(0))
    passes["first"] = in_chunks(newcomer)
    repeats = race(passes, calls=1, rounds=CHUNKS, warmups=0)
    title = embeddings_job.__doc__ or ""
    left_out = "" if "cachier" in ABSENT else " cachier is left out: it takes ten milliseconds to store one."
    note = (
        f"One call a sentence; the caches take turns after every {subjects.EMBEDDINGS // CHUNKS} of them, and the"
        f" seconds are {CHUNKS} times the median turn.{left_out}"
    )
    whole, second = Section(f"{title}, first pass", note), Section(f"{title}, second pass", "In the same process.")
    times, repeats = times.scaled(CHUNKS), repeats.scaled(CHUNKS)
    whole.show(times, SHOWN)
    second.show(repeats, SHOWN)
    limit = (1, "diskcache")
    name = "job: 20,000 embeddings"
    profiled = in_chunks(functions["pcache"], itertools.cycle(range(CHUNKS)))
    whole.aim(f"{name}, first pass", times, limit, peers=QUICK_PEERS)
    second.aim(f"{name}, second pass", repeats, limit, peers=QUICK_PEERS, run=profiled)
    second.aims[-1].seconds["without"] = times.median("without")
    return [whole, second]


def sentence(n: int) -> str:
    return f"This is the sentence with the number {n}"


def in_chunks(function: Callable[[str], Any], numbers: Iterable[int] | None = None) -> Run:
    """Call for the next chunk of sentences, each time it is run."""
    chunks = iter(itertools.count() if numbers is None else numbers)
    length = subjects.EMBEDDINGS // CHUNKS

    def run() -> None:
        start = next(chunks) * length
        for n in range(start, start + length):
            function(sentence(n))

    return run
