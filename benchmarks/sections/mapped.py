"""Hits whose results can be mapped from a file: arrays and frames of a hundred megabytes."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

import subjects
from harness import duration, race
from verdicts import SECONDS, Check, Section

from sections import bare
from sections.children import in_child
from sections.contestants import LABELS, MAPPED_PEERS, caches, folder_of, over, warm

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Times

    Run = Callable[[], object]

SHOWN = LABELS | {"bare": "bare `mmap` and `pickle.loads`"}


def mapped_hits(folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Times, dict[str, Run]]:
    functions = caches(["pcache", *MAPPED_PEERS], folder, function)
    for cached in functions.values():
        cached(*arguments)
    runs = {"bare": bare.mapped(folder, function(*arguments))}
    runs |= {name: over(cached, [(arguments, {})]) for name, cached in functions.items()}
    return race(runs, calls=1, rounds=11, warmups=2), runs


def array_hit(folder: str) -> Section:
    """Hit, array of 100 MB"""
    times, _ = mapped_hits(folder, subjects.array, (1,))
    section = Section(array_hit.__doc__ or "", "Random floats; the hits after the first, until the array is returned.")
    section.show(times, SHOWN)
    median, fastest = times.median("pcache"), times.fastest("pcache")
    section.check("less than 1 ms", f"{duration(median)} (fastest {duration(fastest)})", median < 1e-3)
    section.no_slower_than_peers(times, MAPPED_PEERS)
    return section


def packable_array_hit(folder: str) -> Section:
    """Hit, array of 100 MB that compresses well"""
    times, runs = mapped_hits(folder, subjects.packable_array, (1,))
    note = "Readings with one decimal, of which zstd makes a fifth; the hits after the first."
    section = Section(packable_array_hit.__doc__ or "", note)
    section.show(times, SHOWN)
    title = "100 MB array that compresses well, hit"
    section.aim(title, times, (0.3e-3, SECONDS), peers=MAPPED_PEERS, run=runs["pcache"])
    return section


def frame_hit(folder: str) -> Section:
    """Hit, DataFrame of 1e6 x 6 floats"""
    times, _ = mapped_hits(folder, subjects.frame, (1, "floats"))
    section = Section(frame_hit.__doc__ or "", "48 MB, the hits after the first, until the frame is returned.")
    section.show(times, SHOWN)
    section.no_slower_than_peers(times, MAPPED_PEERS)
    return section


def mixed_frame_hit(folder: str) -> Section:
    """Hit, DataFrame of 1e6 x 6, 4 columns of floats and 2 of small integers"""
    times, runs = mapped_hits(folder, subjects.frame, (1, "mixed"))
    note = "48 MB, the hits after the first. The integers are below 1000, so their 16 MB shrink a lot."
    section = Section(mixed_frame_hit.__doc__ or "", note)
    section.show(times, SHOWN)
    title = "DataFrame 1e6 x 6, mixed, hit"
    section.aim(title, times, (2, "bare"), peers=MAPPED_PEERS, run=runs["pcache"])
    section.no_slower_than_peers(times, MAPPED_PEERS)
    return section


def first_array_hit(folder: str) -> Section:
    """First hit of a process on an array of 100 MB, and memory"""
    names = ["pcache", *MAPPED_PEERS]
    warm(folder, subjects.array, [1], names)
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(1 if subjects.QUICK else 3):
        for name in names:
            place = folder_of(folder, name)
            seen[name].append(json.loads(in_child(folder, f"import child; child.large_hit({name!r}, {place!r})")))
    section = Section(
        first_array_hit.__doc__ or "",
        "Medians of three processes in turn. Memory: what the process has resident (`smaps_rollup`) more than before"
        " the first hit. pcache checks the digest of all bytes at the first hit; the others have none.",
        ("", "first hit", "second hit", "memory after the first", "after the second", "when all was read"),
    )

    def median(name: str, figure: str) -> float:
        return statistics.median(result[figure] for result in seen[name])

    for name in names:
        memory = (f"{median(name, what) / 1e6:.1f} MB" for what in ("after_first", "after_again", "touched"))
        row = (duration(median(name, "first")), duration(median(name, "again")), *memory)
        section.rows.append((LABELS[name], *row))
    untouched = max(median("pcache", "after_first"), median("pcache", "after_again"))
    section.check("no array memory until it is touched", f"{untouched / 1e6:.1f} MB", untouched < 5e6)
    ratio = statistics.median(result["first"] / result["digest"] for result in seen["pcache"])
    note = f"{ratio:.2f}x BLAKE3 of the array in memory ({duration(median('pcache', 'digest'))})"
    section.checks.append(Check("first, verified hit", note, "no target"))
    return section
