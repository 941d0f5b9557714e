"""Programs made of items: what a package's objects are made of, written into a script, and run three times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
RUNS = (("first", "1"), ("again", "2"), ("edited", "3"))  # each with its hash seed


class Item(NamedTuple):
    """An object: expressions that make it, that make a different one, and that observe a plain value of it, `x`.

    `may_refuse`: as an argument it has no key that would be right, and may be refused by name.
    `stored` is False where it depends on the package whether a result can be kept of it.
    """

    make: str
    other: str
    see: str
    may_refuse: bool = False
    stored: bool = True


class Package(NamedTuple):
    """The items of a package, and the statements that their expressions need."""

    setup: str
    items: dict[str, Item]
    needs: tuple[str, ...] = ()  # the modules that have to be there; the package itself where none is named


HEAD = """\
from pcache import cached
from tests.zoo.probes import Item, ran
"""

BLOCK = """\
def see_{name}(x):
    return repr((type(x).__qualname__, {see}))
G_{name} = {now}
@cached
def read_{name}():
    ran()
    return see_{name}(G_{name})
@cached
def take_{name}(x):
    ran()
    return see_{name}(x)
@cached
def make_{name}():
    ran()
    return {now}
def probe_{name}():
    item = Item({name!r}, may_refuse={may_refuse}, stored={stored})
    item.argument(lambda: {make}, lambda: {other}, take_{name}, see_{name})
    item.as_global(read_{name}, see_{name}(G_{name}))
    item.result(make_{name}, see_{name}, see_{name}({now}))
    item.say()
"""

MAIN = 'if __name__ == "__main__":'


def files_of(package: Package, *, edited: bool) -> dict[str, str]:
    """The program of a package, with the one or the other value of each item."""
    blocks = [
        BLOCK.format(name=name, now=item.other if edited else item.make, **item._asdict())
        for name, item in package.items.items()
    ]
    calls = [f"    probe_{name}()" for name in package.items]
    return {"program.py": "\n".join([HEAD, textwrap.dedent(package.setup), *blocks, MAIN, *calls])}


def play(
    folder: Path,
    names: Iterable[str],
    files_of: Callable[..., dict[str, str]],
    runs: Iterable[tuple[str, str]] = RUNS,
) -> dict[str, list[str]]:
    """Run a program several times, once with other texts; return what it said that went wrong, by item."""
    (folder / "work").mkdir(parents=True)
    (folder / "home").mkdir()
    faults: dict[str, list[str]] = {name: [] for name in names}
    for run, seed in runs:
        for name, text in files_of(edited=run == "edited").items():
            (folder / "work" / name).write_text(text)
        for name, found in run_script(folder / "work" / "program.py", run, folder, seed):
            faults[name] += [f"{run}: {fault}" for fault in found]
    return faults


def run_script(script: Path, run: str, folder: Path, seed: str) -> list[tuple[str, list[str]]]:
    """Run a script that says what it found in lines of JSON, with a home, a cache and a hash seed of its own.

    Without bytecode files: they go by whole seconds and sizes, and scripts are edited faster than that.
    """
    places = {
        "HOME": str(folder / "home"),
        "XDG_CONFIG_HOME": str(folder / "home" / "config"),
        "PCACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": seed,
        "PYTHONDONTWRITEBYTECODE": "1",
        "ZOO_LOG": str(folder / "log"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PCACHE_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), run],
        cwd=script.parent,
        env={**kept, **places},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]
