"""Who takes part, under which names, and how calls are put into a run."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import child
import subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Run = Callable[[], object]
    Calls = Sequence[tuple[tuple[Any, ...], dict[str, Any]]]

ARGUMENTS = child.HITS_BETWEEN_LOOKS  # in a round of small calls
ALL_PEERS = tuple(name for name in subjects.CACHES if name != "pcache")
PEERS = [name for name in ALL_PEERS if find_spec(name)]
ABSENT = [name for name in ALL_PEERS if name not in PEERS]
MAPPED_PEERS = [*PEERS, *(["joblib mmap"] if "joblib" in PEERS else [])]
SAFE_PEERS = [name for name in MAPPED_PEERS if name.startswith(("diskcache", "joblib"))]  # publish whole results only
QUICK_PEERS = [name for name in PEERS if name != "cachier"]  # to store takes it ten milliseconds
LABELS = {
    "bare": "bare",
    "without": "without a cache",
    "pcache": "pcache",
    "diskcache": "diskcache.memoize",
    "joblib": "joblib.Memory",
    "joblib mmap": 'joblib.Memory(mmap_mode="r")',
    "memory": "pcache.joblib.Memory",
    "checkpointer": "checkpointer",
    "cachier": "cachier (pickle, separate files)",
}


def caches(names: Iterable[str], folder: str, function: Callable[..., Any]) -> dict[str, Any]:
    """`function` cached by each of `names`, in directories of their own."""
    return {name: cached_by(name, folder, function) for name in names}


def cached_by(name: str, folder: str, function: Callable[..., Any]) -> Any:
    return subjects.MAPPING[name](folder_of(folder, name))(function)


def folder_of(folder: str, name: str) -> str:
    return os.path.join(folder, name.replace(" ", "-"))


def over(function: Callable[..., Any], calls: Calls) -> Run:
    def run() -> None:
        for args, kwargs in calls:
            function(*args, **kwargs)

    return run


def flat(function: Callable[[Any], Any], arguments: Iterable[Any]) -> Run:
    """As `over`, for one argument: nothing but the call in the loop."""

    def run() -> None:
        for n in arguments:
            function(n)

    return run


class Newcomer:
    """A function cached by a `Cache` that has read nothing yet, as a new process has it; renewed by `prepare`."""

    def __init__(self, folder: str, function: Callable[..., Any], calls: Calls, warm: tuple[Any, ...]) -> None:
        self._folder, self._function, self._calls, self._warm = folder, function, calls, warm
        self.prepare()

    def prepare(self) -> None:
        """Forget, and make one call of another entry, which pays for what a function's first call pays."""
        self._cached = cached_by("pcache", self._folder, self._function)
        self._cached(*self._warm)

    def run(self) -> None:
        cached = self._cached
        for args, kwargs in self._calls:
            cached(*args, **kwargs)


def warm(folder: str, function: Callable[..., Any], arguments: Iterable[Any], names: Iterable[str] = ()) -> None:
    """Have every cache below `folder` hold the results of a function."""
    for cached in caches(names or ["pcache", *PEERS], folder, function).values():
        for n in arguments:
            cached(n)
