"""The page of results: the summary with its aims, further targets, and all sections."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from harness import duration, table
from sections.contestants import ABSENT, PEERS
from subjects import QUICK
from verdicts import MISSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verdicts import Aim, Section

PICTURE = "![What each kind of work takes pcache, its peers and bare files, and the aims]({}results.svg)\n"


def page(sections: Sequence[Section], folder: str, seconds: float) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {file_system(folder)}"
    parts = [
        "# Measured\n",
        *(
            ["**Made with `--quick`: everything was small and seldom, and the figures mean nothing.**\n"]
            if QUICK
            else []
        ),
        "Made by `python benchmarks/run.py`. Ratios are medians of the rounds' ratios, contestants taking turns within"
        " one run; in brackets stands the ratio of the fastest rounds.\n",
        f"{today}; {python}, {machine}; {versions()}. The run took {seconds / 60:.1f} minutes.\n",
        *([f"Not installed, so left out: {', '.join(ABSENT)}.\n"] if ABSENT else []),
        PICTURE.format(""),
        "## Aims\n",
        summary([aim for section in sections for aim in section.aims]),
        "## Further targets\n",
        targets(sections),
        *(section.markdown() for section in sections),
    ]
    return "\n".join(parts)


BEGIN, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"


def with_picture(readme: str, sections: Sequence[Section]) -> str:
    """The README with the picture of this run between its two marks."""
    aims = [aim for section in sections for aim in section.aims]
    met = sum(aim.is_met for aim in aims)
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{PICTURE.format('benchmarks/')}\n{met} of {len(aims)} aims are met.\n{END}{after}"


def summary(aims: Sequence[Aim]) -> str:
    """The aims as a table, and below it where the time goes of those that were missed."""
    head = ("work", "bare", "fastest peer", "pcache", "aim", "measured", "")
    rows = [(aim.work, bare(aim), peer(aim), duration(aim.seconds["pcache"]), *said(aim)) for aim in aims]
    missed = [aim for aim in aims if not aim.is_met]
    lines = [
        table(head, rows).replace("|--:|--:|--:|--:|--:|--:|", "|--:|--:|--:|---|---|---|"),
        f"{len(missed)} of {len(aims)} missed.\n",
        *(f"- {aim.work}: {aim.profile}." for aim in missed if aim.profile),
    ]
    if any(aim.profile for aim in missed):
        lines.insert(2, "Where the time of these goes (time of its own, by cProfile, which makes calls look longer):\n")
        lines.append("")
    return "\n".join(lines)


def bare(aim: Aim) -> str:
    suffixes = {"bare": "", "xxh3": " (xxh3)", "without": " without a cache"}
    return ", ".join(duration(aim.seconds[name]) + more for name, more in suffixes.items() if name in aim.seconds)


def peer(aim: Aim) -> str:
    best = aim.fastest_peer
    return f"{best} {duration(aim.seconds[best])}" if best else "none installed"


def said(aim: Aim) -> tuple[str, str, str]:
    return aim.target, aim.measured, aim.verdict


def targets(sections: Sequence[Section]) -> str:
    checks = [(section.title, check) for section in sections for check in section.checks]
    rows = [(title, check.target, check.measured, check.verdict) for title, check in checks]
    missed = sum(check.verdict == MISSED for _, check in checks)
    lines = table(("", "target", "measured", ""), rows).replace("|--:|--:|--:|", "|---|---|---|")
    return f"{lines}\n{missed} of {len(checks)} missed.\n"


def file_system(path: str) -> str:
    """The type of the file system that `path` is on, as the kernel names it."""
    real = os.path.realpath(path)
    kind, longest = "unknown", -1
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                left, _, right = line.partition(" - ")
                point = left.split()[4]
                if (point in ("/", real) or real.startswith(point + "/")) and len(point) >= longest:
                    kind, longest = right.split()[0], len(point)
    except OSError:
        pass  # no such table on this platform
    return kind


def versions() -> str:
    found = []
    for name in ("pcache", "blake3", "numpy", "pandas", *PEERS):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (this checkout)" if name == "pcache" else f"{name} not installed")
    return ", ".join(found)
