"""What the programs of tests/works_with import: cached functions that note how often they computed."""

from __future__ import annotations

from pathlib import Path

from tests.support.running import write

DRAWING = """
    import os
    from pcache import Cache

    cache = Cache("cache")

    def note(n):
        with open("computed", "a") as file:
            file.write(f"{n}\\n")

    @cache.cached
    def draw(n: int) -> str:
        note(n)
        return f"{n} {os.urandom(8).hex()}"

    class Model:
        def __init__(self, rate):
            self.rate = rate

        @cache.cached
        def fit(self, n):
            note(f"{self.rate}/{n}")
            return n, os.urandom(8).hex()
    """


def begin(folder: Path) -> Path:
    """Write the module `drawing` into a folder."""
    write(folder / "drawing.py", DRAWING)
    return folder


def computed(folder: Path) -> list[str]:
    """The calls that were computed, in order; each of them ought to be there once."""
    return sorted((folder / "computed").read_text().splitlines())
