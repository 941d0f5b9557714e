"""Functions that are another one in each process, since a global that they use is: a time, a token, the order of a set.

Such a value cannot be told from a constant, so it counts, and results are never found again. The registry shows it:
versions of one function, one after the other, that differ in the same globals, while the code that makes these stands.
What that cost is in the ledger. Whoever tells of it (a warning, statistics, explanations, the doctor) uses the words
of `ChangingGlobals`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from pcache.counters import ledger
from pcache.counters.line_format import HOUR
from pcache.startup import TYPE_CHECKING
from pcache.text.phrases import clock, counted
from pcache.text.units import format_duration
from pcache.versions.differences import of_versions
from pcache.versions.literals import is_written_out
from pcache.versions.registry import IN_A_ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pcache.counters.ledger import Reading
    from pcache.signing.keyring import Keyring
    from pcache.storage.directory import Directory
    from pcache.versions.registry import FunctionVersion


@dataclass(frozen=True, slots=True)
class ChangingGlobals:
    """Globals that alone tell the last `versions` of a function apart, and what was lost.

    `names` are `module:NAME`. Since the hour in which the first of these versions was seen (`since`, seconds since
    1970) `calls` were computed, which took `seconds`. `advice` says what to do.
    """

    names: tuple[str, ...]
    versions: int
    since: float
    calls: int
    seconds: float
    advice: str

    @property
    def text(self) -> str:
        """What was seen, and what it cost."""
        differ = "differs in every process and counts like a constant"
        if len(self.names) > 1:
            differ = "differ in every process and count like constants"
        seen = f"{', '.join(self.names)} {differ}: the last {self.versions} versions differ in nothing else"
        took = f"{counted(self.calls, 'call')} took {format_duration(self.seconds)} to compute"
        return f"{seen}. Since {clock(self.since)}, {took}" if self.calls else seen


def of_function(
    known: Iterable[FunctionVersion],
    keyring: Keyring | None,
    read: Callable[[], Reading],
    running: FunctionVersion | None = None,
) -> ChangingGlobals | None:
    """The globals that tell the last versions of one function apart; None if there are none, or others do.

    `known` are its versions, `running` the one that runs and has to be among the last; `read` reads the ledger.
    """
    versions = {version.function_id: version for version in known}
    if running is not None:
        versions.setdefault(running.function_id, running)
    row, names = _last_alike(list(versions.values()), keyring)
    if len(row) < IN_A_ROW or (running is not None and running.function_id not in {one.function_id for one in row}):
        return None
    if any(is_written_out(name, row[0]) for name in names):
        return None  # somebody edits it
    since, calls, seconds = _computed(read(), row[0].name, row[-1].first_seen)
    return ChangingGlobals(tuple(names), len(row), since, calls, seconds, _advice(names, row[0].parts))


def of_running(
    directory: Directory, known: Iterable[FunctionVersion], running: FunctionVersion, keyring: Keyring
) -> ChangingGlobals | None:
    """The same for a function that has just stored a result; `known` are its versions among those written last."""
    return of_function(known, keyring, lambda: ledger.read(directory.location, keyring), running)


def of_functions(
    known: Iterable[FunctionVersion], keyring: Keyring | None, read: Callable[[], Reading]
) -> dict[str, ChangingGlobals]:
    """The functions whose last versions differ in the same globals only, by name."""
    by_name = defaultdict(list)
    for version in known:
        by_name[version.name].append(version)
    found = {name: of_function(versions, keyring, read) for name, versions in by_name.items()}
    return {name: globals_ for name, globals_ in found.items() if globals_ is not None}


def _last_alike(
    versions: Sequence[FunctionVersion], keyring: Keyring | None
) -> tuple[list[FunctionVersion], list[str]]:
    """The last versions that differ in the same globals only, the newest first, and these globals."""
    if len(versions) < IN_A_ROW:
        return [], []
    newest, *others = sorted(versions, key=lambda version: version.first_seen, reverse=True)
    row, names = [newest], set[str]()
    for version in others:
        found = of_versions(version, row[-1], keyring)
        changed = {one.name for one in found}
        if any((one.kind, one.change) != ("constant", "changed") for one in found) or changed != (names or changed):
            break
        if not changed:
            break  # their digests are of different keys
        names = changed
        row.append(version)
    return row, sorted(names)


def _computed(reading: Reading, function: str, since: float) -> tuple[float, int, float]:
    """Since when calls of a function are counted, how many of them were computed since then, and for how many seconds.

    Counts are those of hours, and of all versions of a function together.
    """
    first = int(since) // HOUR
    own = {(hour, counter): n for (hour, name, counter), n in reading.amounts.items() if name == function}
    calls = sum(n for (hour, counter), n in own.items() if hour >= first and counter.startswith("misses."))
    seconds = sum(n for (hour, counter), n in own.items() if hour >= first and counter == "computed_ns") / 1e9
    return max(float(first * HOUR), reading.since), calls, seconds


def _advice(names: Sequence[str], parts: Mapping[str, tuple[str, str]]) -> str:
    one = len(names) == 1
    if all(_is_global(name, parts) for name in names):
        return (
            f"if results do not depend on {'it' if one else 'them'}, use @cached(ignore={list(names)!r}), or"
            f" ignore_globals in [tool.pcache]; otherwise pass {'it as an argument' if one else 'them as arguments'}"
        )
    return (
        "pass what results depend on as an argument; keep what they do not depend on in a global, and name that with"
        ' @cached(ignore=["module:NAME"]), or with ignore_globals in [tool.pcache]'
    )


def _is_global(name: str, parts: Mapping[str, tuple[str, str]]) -> bool:
    """Whether `ignore=` can name what a constant is called: a global, or a function's attribute."""
    return "(" not in name and f"class {name.rpartition('.')[0]}" not in parts
