"""Which versions of which distributions hold a top-level package.

A distribution need not be called as what it holds (PyYAML holds `yaml`), and several may hold parts of one package
(`google`) or the same one (`opencv-python` and `opencv-python-headless`): then all of them count. What they hold is
read once for all packages, and again after anything was installed. `importlib.metadata.packages_distributions` says it
too, but takes every line of their lists apart, and knows no compiled modules before Python 3.12.
"""

from __future__ import annotations

import os
import sys

from pcache.startup import TYPE_CHECKING, pattern
from pcache.system.interrupts import raise_if_interrupt, try_call

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution

    State = tuple[tuple[str, int], ...]

_HELD = pattern(r"(?m)^([^\W\d]\w*)[/\\.]")  # in a list of files: the first name of a path, without what follows
_SEPARATORS = pattern(r"[-_.]+")
_scanned: dict[State, dict[str, list[Distribution]]] = {}  # of the last state only


def state() -> State:
    """What changes when something is installed, upgraded or removed: the folders of modules and their times."""
    return tuple((folder, _time_of(folder)) for folder in sys.path if type(folder) is str)


def _time_of(folder: str) -> int:
    try:
        # Asked first, since an exception that is looked at holds the frames of all callers until garbage is collected.
        return os.stat(folder or ".").st_mtime_ns if os.access(folder or ".", os.F_OK) else 0
    except OSError as error:
        raise_if_interrupt(error)
    except ValueError:
        pass  # no path: it has a zero character
    return 0


def versions_of(package: str) -> str:
    """The version of the distribution that holds a package; of each with its name, if there are several.

    Empty where none says so. A distribution of the same name counts in any case: the files of an editable one are not
    in its list.
    """
    from importlib import metadata  # late for start-up time: 20 ms, and most packages declare their version

    now = state()
    held = _scanned.get(now)
    if held is None:
        held = _all_held(metadata.distributions())
        _scanned.clear()
        _scanned[now] = held
    found: dict[str, str] = {}
    for one in [*held.get(package, ()), *metadata.distributions(name=package)]:
        described = try_call(_described, one)[0]
        if described is not None:
            name, version = described
            found.setdefault(_SEPARATORS.sub("-", name).lower(), version)  # of two copies the first is imported
    if len(found) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{name} {version}".rstrip() for name, version in sorted(found.items()))


def _described(distribution: Distribution) -> tuple[str, str]:
    return distribution.metadata["Name"] or "", distribution.version or ""


def _all_held(distributions: Iterable[Distribution]) -> dict[str, list[Distribution]]:
    held: dict[str, list[Distribution]] = {}
    for one in distributions:
        for name in try_call(_held_by, one)[0] or ():
            held.setdefault(name, []).append(one)
    return held


def _held_by(distribution: Distribution) -> set[str]:
    """The top-level names in a distribution, as it declares them, or else by its list of files."""
    declared = (distribution.read_text("top_level.txt") or "").split()
    return set(declared or _HELD.findall(distribution.read_text("RECORD") or ""))
