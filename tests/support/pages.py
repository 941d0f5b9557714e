"""Helpers of the tests of the report: filled caches, and a parser of the page."""

from __future__ import annotations

import json
import os
import random
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from pcache import Cache
from pcache.counters import line_format
from tests.support.processes import append_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTILE = "<script>document.title='owned'</script></script><img src=x onerror=alert(1)>&amp;{{7*7}}%{y}"


def double(n: Any) -> Any:
    return n * 2


def halve(n: int, note: str = "") -> float:
    return n / 2


def fill(cache: Cache) -> None:
    """Store results of two functions, and hit some."""
    for n in range(30):
        cache.cached(double)(n)
    for n in range(5):
        cache.cached(halve)(n, note="x" * n)
    again = cache.cached(double)
    for n in range(12):
        again(n)


def slow_and_large(n: int) -> bytes:
    time.sleep(0.02)
    return random.Random(n).randbytes(100_000)


def vary(cache: Cache) -> None:
    """Store a result that is large and slow, and was used three hours ago, and count a call of that time."""
    cache.cached(slow_and_large)(1)
    (entry,) = cache.entries(f"{__name__}:slow_and_large")
    ago = (3 * 3600 * 10**6 >> 19 << 19) * 1000  # the last 19 bits, in microseconds, hold more than the time
    os.utime(entry.path, ns=(os.stat(entry.path).st_atime_ns, os.stat(entry.path).st_mtime_ns - ago))
    count(cache, 3, f"{__name__}:slow_and_large", {"hits": 1, "saved_ns": 10**9})


def count(cache: Cache, hours_ago: int, function: str, counters: Mapping[str, int]) -> None:
    """Count something in an hour of the past."""
    hour = int(time.time()) // line_format.HOUR - hours_ago
    lines = line_format.lines_of({(hour, function, counter): amount for counter, amount in counters.items()})
    append_lines(cache, "\n".join(lines))


class Page(HTMLParser):
    """A page's tags with their attributes, the texts of its scripts, and all other text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag in ("script", "style"):
            self._script = found.get("id", tag)
            assert self._script not in self.scripts
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        else:
            self.scripts[self._script] += data

    @property
    def stats(self) -> Any:
        return json.loads(self.scripts["stats"])

    @property
    def figures(self) -> Any:
        return json.loads(self.scripts["figures"])

    @property
    def headlines(self) -> dict[str, Any]:
        """The headline numbers, as exactly as the page has them."""
        return {found["data-stat"]: json.loads(found["data-value"]) for _, found in self.tags if "data-stat" in found}

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.tags if name == tag)
