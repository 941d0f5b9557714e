"""What the checks cost: a hit as it is, beside the same hit with every check of the entry taken out."""

from __future__ import annotations

import os
import statistics
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import subjects
from harness import Times, duration, race, settle
from verdicts import Section

from pcache.entry import format as entry_format
from pcache.entry import reader
from sections.contestants import Newcomer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENTRIES = 1000 // subjects.SCALE
LIMIT = 3e-6  # seconds


def bare_open(path: str) -> tuple[int, os.stat_result]:
    """What `reader.open_entry` does when it asks neither for a regular file nor for its owner."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return fd, os.fstat(fd)


def bare_header(data: Any, _size: int) -> entry_format.Header:
    """What `entry.read_header` does when it believes everything."""
    return entry_format.Header._make(entry_format.HEADER.unpack_from(data, entry_format.HEADER_AT))


@contextmanager
def unchecked() -> Iterator[None]:
    """Without the checks of kind, owner, magic, lengths, tag, key, function and age."""

    def believe(*_arguments: object) -> None:
        return None

    with (
        patch.object(reader, "open_entry", bare_open),
        patch.object(entry_format, "read_header", bare_header),
        patch.object(entry_format, "authenticate", believe),
        patch.object(entry_format, "check_identity", believe),
        patch.object(entry_format, "check_age", believe),
    ):
        yield


def cost_of_checks(folder: str) -> Section:
    """What the checks of a small hit cost"""
    cached = subjects.pcache(os.path.join(folder, "pcache"))(subjects.small)
    for n in range(ENTRIES):
        cached(n)
    settle(cached)

    newcomer = Newcomer(folder, subjects.small, [((n,), {}) for n in range(ENTRIES)], warm=(-1,))

    def again() -> None:
        for n in range(ENTRIES):
            cached(n)

    def without(run: Callable[[], None]) -> Callable[[], None]:
        def bare() -> None:
            with unchecked():
                run()

        return bare

    first = newcomer.run
    anew = dict.fromkeys(("first", "first, unchecked"), newcomer.prepare)
    runs = {"first": first, "first, unchecked": without(first), "again": again, "again, unchecked": without(again)}
    times = race(runs, calls=ENTRIES, rounds=61, warmups=3, before=anew)
    section = Section(
        cost_of_checks.__doc__ or "",
        f"{ENTRIES} entries of 200 bytes in turn. Unchecked: kind of file, owner, magic, lengths, tag, key, function"
        " and age are not looked at. What is left of a check then is the call of an empty function. A repeated hit"
        " asks one `lstat` whether the file is still the one that was checked, which is part of both.",
    )
    section.show(times, {}, base="first")
    for name in ("first", "again"):
        median, least = extra(times, name)
        section.check(
            f"{'first read' if name == 'first' else 'repeated hit'}: the checks add at most {duration(LIMIT)}",
            f"{duration(median)} (between fastest rounds: {duration(least)})",
            median <= LIMIT,
        )
    return section


def extra(times: Times, name: str) -> tuple[float, float]:
    """Seconds that checks add: the median of the rounds' differences, and that of the fastest rounds."""
    bare = f"{name}, unchecked"
    pairs = zip(times.rounds[name], times.rounds[bare], strict=True)
    return statistics.median(a - b for a, b in pairs), times.fastest(name) - times.fastest(bare)
