"""Keys of large arguments. The results are ints: whole hits are mostly making and finding the key."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import subjects
from blake3 import blake3
from harness import Times, race
from verdicts import Section

from sections.contestants import LABELS, PEERS, caches, over

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], object]

NOTE = "The result is an int. Peers are compared by whole hits, which is mostly making and finding the key."
SHOWN = {name: f"{label}, hit" for name, label in LABELS.items()} | {
    "bare": "bare BLAKE3, one thread",
    "key": "pcache, `f.key()` only",
    "xxh3": "bare xxh3 of 128 bits, one thread",
}


def keys(folder: str, function: Callable[..., Any], value: object, bare: dict[str, Run], rounds: int) -> Times:
    """The digest of an argument, its key, and hits with it: diskcache's key is the whole argument, found by SQLite."""
    functions = caches(["pcache", *PEERS], folder, function)
    for cached in functions.values():
        cached(value)
    runs = bare | {"key": lambda: functions["pcache"].key(value)}
    runs |= {name: over(cached, [((value,), {})]) for name, cached in functions.items()}
    return race(runs, calls=1, rounds=rounds)


def array_key(folder: str) -> Section:
    """Key of an array argument of 100 MB"""
    values = subjects.random_array()
    data = values.view("u1")
    bare: dict[str, Run] = {"bare": lambda: blake3(data).digest()}
    if find_spec("xxhash"):
        from xxhash import xxh3_128_digest

        bare["xxh3"] = lambda: xxh3_128_digest(data)
    times = keys(folder, subjects.of_array, values, bare, rounds=7)
    section = Section(array_key.__doc__ or "", "Random floats. " + NOTE)
    section.show(times, SHOWN)
    title, words = "key of a 100 MB array", {"bare": "one-thread BLAKE3"}
    section.aim(title, times, (0.6, "bare"), name="key", peers=PEERS, words=words)
    section.no_slower_than_peers(times, PEERS)
    return section


def frame_key(folder: str) -> Section:
    """Key of a DataFrame argument of 1e5 rows"""
    frame = subjects.random_frame(subjects.ARGUMENT_ROWS, "mixed")
    columns = [frame.iloc[:, i].to_numpy().copy().view("u1") for i in range(frame.shape[1])]

    def digests() -> list[bytes]:
        return [blake3(column).digest() for column in columns]

    times = keys(folder, subjects.of_frame, frame, {"bare": digests}, rounds=21)
    section = Section(frame_key.__doc__ or "", f"Six columns of numbers, 4.8 MB. {NOTE}")
    section.show(times, SHOWN)
    section.no_slower_than_peers(times, PEERS)
    return section
