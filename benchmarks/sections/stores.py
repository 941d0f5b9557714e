"""Storing results of many megabytes. Nothing waits for the disk; what was stored is removed before the next turn."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import subjects
from harness import Times, race
from verdicts import FASTEST_PEER, Section

from sections import bare
from sections.contestants import LABELS, PEERS, SAFE_PEERS, caches

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], object]

SHOWN = LABELS | {"bare": "bare write"}
SAFE = "diskcache and joblib count as safe: they publish a result when it is whole; the others write it in its place."


def stores(folder: str, function: Callable[..., Any], more: tuple[Any, ...] = ()) -> tuple[Times, dict[str, Run]]:
    functions = caches(["pcache", *PEERS], folder, function)
    value = function(0, *more)
    numbers = itertools.count()

    def storing(cached: Callable[..., Any]) -> Run:
        return lambda: cached(next(numbers), *more)

    runs = {"bare": bare.write(folder, value)} | {name: storing(cached) for name, cached in functions.items()}
    return race(runs, calls=1, rounds=9, after=lambda: remove_large_files(folder)), runs


def remove_large_files(folder: str) -> None:
    """Drop what was stored, before the system starts writing it to the disk under the next contestant."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.getsize(path) >= 1_000_000 // subjects.SCALE:
                os.unlink(path)


def store_array(folder: str) -> Section:
    """Store an array of 100 MB"""
    times, runs = stores(folder, subjects.array)
    section = Section(store_array.__doc__ or "", "Random floats. Bare: write the bytes and rename.")
    section.show(times, SHOWN)
    section.aim("storing a 100 MB array", times, (1.1, "bare"), peers=PEERS, run=runs["pcache"])
    section.no_slower_than_peers(times, SAFE_PEERS)
    return section


def store_frame(folder: str) -> Section:
    """Store a DataFrame of 1e6 x 6, floats and small integers"""
    times, runs = stores(folder, subjects.frame, ("mixed",))
    section = Section(store_frame.__doc__ or "", f"48 MB. Bare: write the columns' bytes and rename. {SAFE}")
    section.show(times, SHOWN)
    title = "DataFrame 1e6 x 6, mixed, store"
    safe = "the fastest safe peer"
    section.aim(title, times, (1.3, FASTEST_PEER), peers=SAFE_PEERS, run=runs["pcache"], words={FASTEST_PEER: safe})
    return section
