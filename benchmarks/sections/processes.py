"""What takes processes of their own: the start of one, and the hits of two."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import subjects
from harness import Times, duration, race, settle
from verdicts import Section

from sections.bare import bare_files
from sections.children import in_child, slowest_imports, spawn
from sections.contestants import ARGUMENTS, LABELS, PEERS, caches, folder_of, warm

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], object]

HITTING = 1.0 / subjects.SCALE  # of hits


def start_up(folder: str) -> Section:
    """Start of a process: import, and first hit"""
    warm(folder, subjects.small, [7])
    codes = {"python": "pass", "import": "import pcache"}
    for name in ("pcache", *PEERS):
        codes[name] = f"import child; child.first_hit({name!r}, {folder_of(folder, name)!r})"

    def start(code: str) -> Run:
        return lambda: in_child(folder, code)

    times = race({name: start(code) for name, code in codes.items()}, calls=1, rounds=21, warmups=2)
    extra = times.over("python")
    section = Section(
        start_up.__doc__ or "",
        "Processes in turn, times over the median of a bare Python"
        f" ({duration(times.median('python'))}); bytecode comes from a cache that was filled before.",
    )
    labels = LABELS | {"import": "`import pcache`"}
    labels |= {name: f"{LABELS[name]}, import and first hit" for name in ("pcache", *PEERS)}
    section.show(extra, labels)
    section.aim("import and first hit of a process", extra, (1, "diskcache"), peers=PEERS)
    if not section.aims[-1].is_met:
        section.aims[-1].profile = slowest_imports(folder, codes["pcache"], "pcache")
    median, fastest = extra.median("import"), extra.fastest("import")
    measured = f"{duration(median)} (fastest rounds: {duration(fastest)})"
    section.check("`import pcache` at most 30 ms over bare Python", measured, median <= 0.030)
    return section


def two_processes(folder: str) -> Section:
    """Hits of two processes together"""
    arguments = range(ARGUMENTS)
    warm(folder, subjects.small, arguments)
    cached = caches(["pcache"], folder, subjects.small)["pcache"]
    bare_files(folder, cached, [cached.key(n) for n in arguments], [cached(n) for n in arguments])
    settle(cached)
    names = ["bare", "pcache", *PEERS]
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1 if subjects.QUICK else 3):
        for name in names:
            rounds[name].append(1 / hits_per_second(folder, name))
    times = Times(rounds)
    section = Section(two_processes.__doc__ or "", f"Three rounds of {HITTING:g} s; as the small hit above.")
    section.head = ("", "hits a second, median", "best", "share of bare")
    for name in names:
        rates = (f"{1 / times.median(name):,.0f}", f"{1 / times.fastest(name):,.0f}")
        section.rows.append((LABELS[name], *rates, f"{1 / times.ratio(name, 'bare')[0]:.2f}"))
    # 130,000 where bare reads make 210,000
    section.aim("a hit of two processes at once", times, (1.62, "bare"), peers=PEERS)
    section.at_least(2, times, "at least 2x diskcache", than="diskcache")
    section.at_least(10, times, "at least 10x joblib", than="joblib")
    return section


def hits_per_second(folder: str, name: str) -> float:
    code = f"import child; child.rate({name!r}, {folder_of(folder, name)!r}, {HITTING})"
    processes = [spawn(folder, code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    pipes = [(process.stdin, process.stdout) for process in processes]
    for _, out in pipes:
        assert out is not None
        out.readline()
    for into, _ in pipes:
        assert into is not None
        into.write("go\n")
        into.flush()
    total = sum(float(out.readline()) for _, out in pipes if out is not None)
    for process in processes:
        process.communicate()
    return total
