"""Hits whose results have a few hundred bytes: what is measured is the way there."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import subjects
from harness import race, settle
from verdicts import Section

from sections import bare
from sections.contestants import ARGUMENTS, LABELS, PEERS, QUICK_PEERS, Newcomer, caches, flat, over

if TYPE_CHECKING:
    from collections.abc import Callable

HITS_OF_FRESH = 8  # of each entry, right after it was stored


def small_hit(folder: str) -> Section:
    """Hit, int argument, 200 B result"""
    drop_in = ["memory"] if "joblib" in PEERS else []
    functions = caches(["pcache", *PEERS, *drop_in], folder, subjects.small)
    cached = functions["pcache"]
    arguments = range(ARGUMENTS)
    results = [cached(n) for n in arguments]
    first = Newcomer(folder, subjects.small, [((n,), {}) for n in arguments], warm=(-1,))
    runs = {"bare": bare.reads(bare.bare_files(folder, cached, map(cached.key, arguments), results))}
    runs |= {name: flat(function, arguments) for name, function in functions.items()}
    runs |= {"first": first.run, "key": flat(cached.key, arguments)}
    settle(cached)
    times = race(runs, calls=ARGUMENTS, rounds=101, warmups=5, before={"first": first.prepare})
    section = Section(
        small_hit.__doc__ or "",
        f"{ARGUMENTS} arguments in turn; a pickle of 200 bytes. Bare: `os.open`, `os.read`, `os.close`, `pickle.loads`"
        " of the same pickle at the same depth, inline. pcache remembers small entries that it has checked; the row"
        " of first reads is for entries that the process has not read before.",
    )
    section.show(times, LABELS | {"first": "pcache, first read of an entry", "key": "pcache, `f.key()` only"})
    section.aim("small hit, repeated", times, (1.6, "bare"), peers=PEERS, run=runs["pcache"])
    section.at_most(3, times, "first read of an entry: at most 3x a bare read", name="first")
    section.at_least(2, times, "at least 2x as fast as diskcache", than="diskcache")
    section.at_least(10, times, "at least 10x as fast as joblib", than="joblib")
    if drop_in:
        what = "pcache.joblib.Memory: at least 5x as fast as joblib.Memory"
        section.at_least(5, times, what, than="joblib", name="memory")
    return section


def fresh_hit(folder: str) -> Section:
    """Hit, within two seconds of being stored"""
    functions = caches(["pcache", *QUICK_PEERS], folder, subjects.small)
    cached = functions["pcache"]
    arguments = range(ARGUMENTS)
    results = [cached(n) for n in arguments]
    files = bare.bare_files(folder, cached, map(cached.key, arguments), results)
    runs: dict[str, Callable[[], object]] = {}
    before = {}
    for name, function in functions.items():
        hits = _Fresh(function)
        runs[name], before[name] = hits.run, hits.prepare
    runs |= {"bare": repeated(bare.reads(files)), "again": repeated(flat(cached, arguments))}
    settle(cached)
    times = race(runs, calls=ARGUMENTS * HITS_OF_FRESH, rounds=31, warmups=2, before=before)
    section = Section(
        fresh_hit.__doc__ or "",
        f"Before each round the process stores {ARGUMENTS} results; each is then hit {HITS_OF_FRESH} times. Below it"
        " stand hits on entries that were stored long before.",
    )
    section.show(times, LABELS | {"again": "pcache, entries stored before"})
    words = {"again": "any other repeated hit"}
    title = "small hit within 2 s of being stored"
    section.aim(title, times, (1.1, "again"), peers=QUICK_PEERS, run=runs["pcache"], words=words)
    return section


def repeated(run: Callable[[], object]) -> Callable[[], object]:
    def times() -> None:
        for _ in range(HITS_OF_FRESH):
            run()

    return times


class _Fresh:
    """Hits on results that `prepare` has just stored."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self._function = function
        self._numbers = itertools.count(ARGUMENTS)
        self.prepare()

    def prepare(self) -> None:
        self._arguments = [next(self._numbers) for _ in range(ARGUMENTS)]
        for n in self._arguments:
            self._function(n)

    def run(self) -> None:
        function, arguments = self._function, self._arguments
        for _ in range(HITS_OF_FRESH):
            for n in arguments:
                function(n)


def keyword_hit(folder: str) -> Section:
    """Hit, int, keyword, dict and list arguments"""
    functions = caches(["pcache", *PEERS], folder, subjects.keyworded)
    cached = functions["pcache"]
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((n,), {"window": 5, "options": {"method": "fast", "tolerance": 0.01, "depth": n}, "items": [1, 2, 3, n]})
        for n in range(ARGUMENTS)
    ]
    results = [cached(*args, **kwargs) for args, kwargs in calls]
    keys = [cached.key(*args, **kwargs) for args, kwargs in calls]
    runs = {"bare": bare.reads(bare.bare_files(folder, cached, keys, results))}
    runs |= {name: over(function, calls) for name, function in functions.items()}
    runs["key"] = over(cached.key, calls)
    settle(cached)
    times = race(runs, calls=ARGUMENTS, rounds=101, warmups=5)
    section = Section(
        keyword_hit.__doc__ or "",
        "`f(n, window=5, options={3 items}, items=[4 numbers])`. Bare: as above, without any key.",
    )
    section.show(times, LABELS | {"key": "pcache, `f.key()` only"})
    title = "hit, keyword, dict and list arguments"
    section.aim(title, times, (1.7, "bare"), peers=PEERS, run=runs["pcache"])
    section.at_least(2, times, "at least 2x as fast as diskcache", than="diskcache")
    section.at_least(10, times, "at least 10x as fast as joblib", than="joblib")
    return section
