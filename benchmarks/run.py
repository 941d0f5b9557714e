"""Measure pcache against bare files and its peers; write `results.md`, draw `results.svg` and show it in the README.

    python benchmarks/run.py                  # everything, a few minutes
    python benchmarks/run.py small-hit miss   # some of it, printed and not written
    python benchmarks/run.py --quick          # everything small and seldom: whether it runs, no figures to believe

Everything is a ratio within one run. Peers that are not installed are left out. The caches lie in a temporary directory
(choose its file system with TMPDIR) and are signed with a key of their own: the user's cache, settings and key play no
part.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING

HERE = os.path.dirname(os.path.abspath(__file__))
QUICK = "--quick"
if QUICK in sys.argv:
    os.environ["BENCHMARK_QUICK"] = "1"  # before any size is read, and for children as well
sys.path[:0] = [os.path.dirname(HERE), HERE]

from chart import draw  # noqa: E402 - the checkout that this file belongs to is measured, also when another is installed
from report import page, with_picture  # noqa: E402 - the same
from sections import EARLY, SECTIONS  # noqa: E402 - the same

if TYPE_CHECKING:
    from verdicts import Section


def isolate(folder: str) -> None:
    """Keep the user's key, settings and cache out of it."""
    for name in [name for name in os.environ if name.startswith("PCACHE_")]:
        del os.environ[name]
    os.environ["PCACHE_KEY"] = base64.b64encode(os.urandom(32)).decode()
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = os.path.join(folder, "home")
    os.chdir(folder)  # away from any project file


def measure(name: str, folder: str) -> list[Section]:
    begun = time.monotonic()
    place = os.path.join(folder, name)
    os.mkdir(place, 0o700)
    found = SECTIONS[name](place)
    sections = found if isinstance(found, list) else [found]
    for section in sections:
        print(section.markdown(), flush=True)
    print(f"({name}: {time.monotonic() - begun:.0f} s)\n", file=sys.stderr)
    return sections


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument(QUICK, action="store_true", help="see that everything runs; the figures mean nothing")
    parser.add_argument("--into", metavar="FOLDER", help="write the page and the picture there, also of a part")
    arguments = parser.parse_args()
    chosen = arguments.names or list(SECTIONS)
    if unknown := sorted(set(chosen) - set(SECTIONS)):
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    started = time.monotonic()
    came_from = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="pcache-benchmark-") as folder:
        isolate(folder)
        found = {name: measure(name, folder) for name in sorted(chosen, key=lambda name: name not in EARLY)}
        sections = [section for name in SECTIONS for section in found.get(name, ())]
        text, picture = page(sections, folder, time.monotonic() - started), draw(sections)
        os.chdir(came_from)
        into = arguments.into or (HERE if len(found) == len(SECTIONS) and not arguments.quick else None)
        if into is not None:
            write(os.path.join(into, "results.md"), text)
            write(os.path.join(into, "results.svg"), picture)
        if into == HERE:
            show_in_readme(sections)
        print("removing what was stored ...", file=sys.stderr)  # a hundred thousand files


def show_in_readme(sections: list[Section]) -> None:
    path = os.path.join(os.path.dirname(HERE), "README.md")
    with open(path, encoding="utf-8") as file:
        readme = file.read()
    write(path, with_picture(readme, sections))


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
