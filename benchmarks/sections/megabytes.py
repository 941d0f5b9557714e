"""Hits whose results have a megabyte and are loaded as a whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import subjects
from harness import race
from verdicts import Section

from sections import bare
from sections.contestants import LABELS, PEERS, Newcomer, caches, flat

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Times

RESULTS = 4


def megabyte_hits(folder: str, function: Callable[..., Any], rounds: int) -> tuple[Times, dict[str, Any]]:
    functions = caches(["pcache", *PEERS], folder, function)
    functions["packed"] = subjects.pcache(os.path.join(folder, "packed"), compression=1)(function)
    cached = functions["pcache"]
    arguments = range(RESULTS)
    results = [cached(n) for n in arguments]
    first = Newcomer(folder, function, [((n,), {}) for n in arguments], warm=(-1,))
    runs = {"bare": bare.loads(bare.bare_files(folder, cached, map(cached.key, arguments), results))}
    runs |= {name: flat(each, arguments) for name, each in functions.items()} | {"first": first.run}
    return race(runs, calls=RESULTS, rounds=rounds, warmups=2, before={"first": first.prepare}), runs


SHOWN = LABELS | {"packed": "pcache, compression=1", "first": "pcache, first read of an entry"}


def text_hit(folder: str) -> Section:
    """Hit, 1 MB of text"""
    times, runs = megabyte_hits(folder, subjects.text, rounds=41)
    section = Section(text_hit.__doc__ or "", "Bare: `pickle.load` of an open file. A first read checks the digest.")
    section.show(times, SHOWN)
    section.aim("1 MB of text, repeated hit", times, (1.5, "bare"), peers=PEERS, run=runs["pcache"])
    section.aim("1 MB of text, first read", times, (2, "diskcache"), peers=PEERS, run=runs["first"], name="first")
    section.no_slower_than_peers(times, PEERS)
    return section


def objects_hit(folder: str) -> Section:
    """Hit, 1 MB of small objects"""
    times, _ = megabyte_hits(folder, subjects.objects, rounds=11)
    note = f"{subjects.OBJECTS} dicts of three items. Bare: `pickle.load` of an open file. Garbage collection is on."
    section = Section(objects_hit.__doc__ or "", note)
    section.show(times, SHOWN)
    section.no_slower_than_peers(times, PEERS)
    return section
