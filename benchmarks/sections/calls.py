"""The system calls of a hit, counted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from shutil import which

import child
import subjects
from harness import settle
from verdicts import Section

from sections.children import environment
from sections.contestants import ARGUMENTS, LABELS, PEERS, caches, folder_of, warm


def system_calls(folder: str) -> Section:
    """System calls of a repeated hit"""
    section = Section(system_calls.__doc__ or "", "Traced with `strace -f`, per hit, over 1000 hits between two marks.")
    if which("strace") is None:
        section.note = "strace is not installed."
        return section
    warm(folder, subjects.small, range(ARGUMENTS))
    settle(caches(["pcache"], folder, subjects.small)["pcache"])
    counts = {name: traced(folder, name, 1000 if name == "pcache" else 200) for name in ("pcache", *PEERS)}
    calls = sorted(
        {call for count in counts.values() for call in count}, key=lambda call: -counts["pcache"].get(call, 0)
    )
    section.head = ("", *(LABELS[name] for name in counts))
    section.rows = [(f"`{call}`", *(f"{count.get(call, 0):.3g}" for count in counts.values())) for call in calls]
    ours = {"newfstatat" if call == "lstat" else call: count for call, count in counts["pcache"].items()}
    listed = ", ".join(f"{call} {count:g}" for call, count in counts["pcache"].items())
    # Every few seconds a process appends what it counted.
    only = {call for call, count in ours.items() if count > 0.01}
    section.check("one lstat a hit, and nothing else", listed, only == {"newfstatat"} and ours["newfstatat"] < 1.01)
    forbidden = re.compile(r"p?write.*|.*lock.*|fcntl|futex|utimensat|rename.*|unlink.*|mkdir.*|f(data)?sync")
    found = {call: count for call, count in counts["pcache"].items() if forbidden.fullmatch(call)}
    bad = {call: count for call, count in found.items() if call != "write" or count > 0.01}
    listed = ", ".join(f"{call} {count:g}" for call, count in found.items()) or "none"
    section.check("no lock, and no write but of counts every few seconds", listed, not bad)
    return section


def traced(folder: str, name: str, count: int) -> dict[str, float]:
    """System calls per hit."""
    log = os.path.join(folder, "trace")
    code = f"import child; child.warm_hits({name!r}, {folder_of(folder, name)!r}, {count})"
    command = ["strace", "-f", "-o", log, sys.executable, "-c", code]
    subprocess.run(command, check=True, cwd=folder, env=environment(folder))
    found: Counter[str] = Counter()
    counting = False
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if child.BEGIN in line or child.END in line:
                counting = child.BEGIN in line
            elif counting and (match := re.match(r"(?:\d+ +)?(\w+)\(", line)):
                found[match[1]] += 1
    return {call: number / count for call, number in found.items()}
