"""What the cache did: hits, misses, time saved, by function and hour.

    <root>/v1/ledger/counters          lines that were appended last
    <root>/v1/ledger/counters.<16 hex> the same, full and soon to be merged
    <root>/v1/ledger/totals            what was merged, of the same lines
    line = crc32 hour function (TAB counter SP number)*

A process counts in memory and appends at intervals and when it ends; a forked child starts at zero. Appending takes no
lock: one write to a file opened for appending goes in one piece, and importing filelock costs 45 ms, more than a first
hit. Only merging takes one. Numbers of one hour, function and counter add up, whoever wrote them, so that counters of
other releases are kept. A line that was cut short or damaged is skipped: losing the ledger loses statistics only.

Safe for threads, processes and forks. A killed process loses what it counted since it last appended.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from pcache import endings
from pcache.trust import SAFE_FLAGS, check_below, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HOUR = 3600
_SOONEST, _LATEST = 0.2, 5.0  # seconds between two appends: soon at first, as many processes are short
_FULL = 256 << 10  # bytes of appended lines, from which they are merged
_SETTLED = 60.0  # seconds after which nobody still appends to a file that was set aside
_HOURLY = 31 * 24  # hours for which every hour is kept; what is older is kept by day
_MAX_SIZE = 64 << 20


class Tally:
    """What one cached function's hits came to, in this process: plain attributes, since a hit has 150 ns for it.

    Every sixteenth hit is timed. `name` says which function it is, and is asked when lines are written.
    """

    __slots__ = ("hits", "name", "owner", "read_bytes", "saved_ns", "timed", "timed_ns", "written")

    def __init__(self, owner: object, name: Callable[[], str]) -> None:
        self.owner = weakref.ref(owner)
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget what was counted: in a forked child it is the parent's."""
        self.hits = self.saved_ns = self.read_bytes = self.timed_ns = self.timed = 0
        self.written = (0, 0, 0, 0)

    def totals(self) -> tuple[int, int, int, int]:
        """Hits, nanoseconds saved, bytes read, and nanoseconds that the hits took, by those that were timed."""
        return self.hits, self.saved_ns, self.read_bytes, self.timed_ns * self.hits // (self.timed or 1)


_HIT_COUNTERS = ("hits", "saved_ns", "read_bytes", "hit_ns")  # in the order of `Tally.totals`


class Ledger:
    """The counters of one cache directory that this process has not written yet."""

    def __init__(self, root: str, *, read_only: bool = False) -> None:
        self.root = root
        self.due_ns = 0  # by time.time_ns(): when the next event is a reason to append
        self._folder = folder_below(root)
        self._is_ours = False  # looked at once: a link in its place would lead elsewhere
        self._read_only = read_only
        self._tallies: list[Tally] = []
        self._pause = _SOONEST
        self.reset()
        endings.register(self)

    def reset(self) -> None:
        """Forget what is not written yet, and a lock that a thread held which did not survive a fork."""
        self._lock = threading.Lock()
        self._more: dict[tuple[str, str], int] = {}
        for tally in self._tallies:
            tally.reset()

    def tally(self, owner: object, name: Callable[[], str]) -> Tally:
        """A place to count the hits of `owner` in."""
        made = Tally(owner, name)
        with self._lock:
            self._tallies.append(made)
        return made

    def count(self, function: str, **amounts: int) -> None:
        """Add to counters of a function; "" stands for what belongs to none."""
        with self._lock:
            for counter, amount in amounts.items():
                self._more[function, counter] = self._more.get((function, counter), 0) + amount

    def look(self, now_ns: int) -> None:
        """Append what was counted if it is time to."""
        if now_ns >= self.due_ns:
            self.flush()

    def flush(self) -> bool:
        """Append what was counted; return whether nothing is left. Failing to is silent, and tried again later."""
        self.due_ns = time.time_ns() + int(self._pause * 1e9)
        self._pause = min(2 * self._pause, _LATEST)
        if self._read_only or not os.path.lexists(os.path.dirname(self._folder)):
            return False
        with self._lock:
            amounts = dict(self._more)
            found = [(tally, tally.totals()) for tally in self._tallies]
            for tally, totals in found:
                for counter, now, before in zip(_HIT_COUNTERS, totals, tally.written, strict=True):
                    if now > before:
                        key = (tally.name(), counter)
                        amounts[key] = amounts.get(key, 0) + now - before
            try:
                self._append(amounts)
            except OSError:
                return False  # a full disk, or one that is read-only
            self._more.clear()
            for tally, totals in found:
                tally.written = totals
            self._tallies = [tally for tally in self._tallies if tally.owner() is not None]
        return True

    def _append(self, amounts: Mapping[tuple[str, str], int]) -> None:
        if not amounts:
            return
        self._is_ours = self._is_ours or check_below(self.root, self._folder)
        hour = int(time.time()) // HOUR
        text = "".join(_lines({(hour, function, counter): n for (function, counter), n in amounts.items()}))
        if append(self._folder, text) > _FULL and "filelock" in sys.modules:
            merge(self._folder)


class Reading(NamedTuple):
    """What the ledger says: numbers by hour (since 1970), function and counter, counted since a time.

    `damaged` is how many lines could not be read.
    """

    amounts: dict[tuple[int, str, str], int]
    since: float
    damaged: int


def folder_below(root: str) -> str:
    return os.path.join(root, "v1", "ledger")


def append(folder: str, text: str) -> int:
    """Append lines; return the size of their file. Raises `OSError`."""
    fd = os.open(os.path.join(folder, "counters"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | SAFE_FLAGS, 0o600)
    try:
        data = f"\n{text}".encode()  # on a line of its own, also after one that a kill cut short
        written = os.write(fd, data)
        if written != len(data):
            raise OSError("the disk is full")  # what is there of it is a damaged line
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def read(root: str) -> Reading:
    """Everything that was counted and written; an empty reading where there is nothing."""
    for _ in range(3):
        reading, before = _read(folder_below(root)), _identity(root)
        if before == _identity(root):
            break  # else lines were merged meanwhile, and may have been seen neither here nor there
    return reading


def _identity(root: str) -> int:
    try:
        return os.stat(os.path.join(folder_below(root), "totals")).st_ino
    except OSError:
        return 0


def _read(folder: str) -> Reading:
    amounts: dict[tuple[int, str, str], int] = {}
    totals = _content(folder, "totals")
    merged, since = _heading(totals)
    damaged = _add(amounts, totals.partition("\n")[2] if totals.startswith("#") else totals)
    for name in _set_aside(folder):
        if name not in merged:
            damaged += _add(amounts, _content(folder, name))
    damaged += _add(amounts, _content(folder, "counters"))
    return Reading(amounts, since or _earliest(amounts), damaged)


def _earliest(amounts: Mapping[tuple[int, str, str], int]) -> float:
    """When the first hour began that was counted in; 0 when there is none."""
    return float(HOUR * min((hour for hour, _, _ in amounts), default=0))


def _heading(totals: str) -> tuple[tuple[str, ...], float]:
    """The files that were merged into totals, and since when it counts."""
    words = totals.partition("\n")[0].split()
    try:
        return tuple(words[2:]), float(words[1])
    except (IndexError, ValueError):
        return (), 0.0


def merge(folder: str, *, zero: bool = False) -> bool:
    """Add appended lines to the totals, or with `zero` forget all; False while another process does. Raises `OSError`.

    Files that were set aside a moment ago stay: somebody may still be appending to them.
    """
    from pcache.locking import try_lock  # late for start-up time

    root = os.path.dirname(os.path.dirname(folder))
    locks = os.path.join(root, "v1", "locks")
    check_below(root, locks)
    lock = try_lock(os.path.join(locks, "ledger"), 1.0 if zero else 0.0)
    if lock is None:
        return False
    with lock:
        now = time.time()
        aside = _set_aside(folder)
        done, since = _heading(_content(folder, "totals"))
        for name in done:
            if name in aside:  # its merger was killed before it could remove it
                os.unlink(os.path.join(folder, name))
        settled = [name for name in aside if name not in done and (zero or _is_settled(folder, name, now))]
        amounts: dict[tuple[int, str, str], int] = {}
        if zero:
            since = now
            settled += _rotate(folder)
        else:
            _add(amounts, _content(folder, "totals").partition("\n")[2])
            for name in settled:
                _add(amounts, _content(folder, name))
            _rotate(folder)
        if settled or zero:
            _write_totals(folder, _by_day(amounts, now), since or _earliest(amounts) or now, settled)
            for name in settled:
                os.unlink(os.path.join(folder, name))
    return True


def _rotate(folder: str) -> list[str]:
    """Set the appended lines aside under another name; an empty list when there are none."""
    name = f"counters.{os.urandom(8).hex()}"
    try:
        os.rename(os.path.join(folder, "counters"), os.path.join(folder, name))
    except FileNotFoundError:
        return []
    os.utime(os.path.join(folder, name))  # set aside now
    return [name]


def _is_settled(folder: str, name: str, now: float) -> bool:
    return abs(now - os.stat(os.path.join(folder, name)).st_mtime) > _SETTLED


def _set_aside(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith("counters."))
    except OSError:
        return []


def _write_totals(folder: str, amounts: Mapping[tuple[int, str, str], int], since: float, merged: list[str]) -> None:
    temporary = os.path.join(folder, "totals.new")  # one name, as one process at a time merges
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFE_FLAGS, 0o600)
    try:
        write_all(fd, f"#since {since:.0f} {' '.join(merged)}\n{''.join(_lines(amounts))}".encode())
    finally:
        os.close(fd)
    os.replace(temporary, os.path.join(folder, "totals"))


def _by_day(amounts: Mapping[tuple[int, str, str], int], now: float) -> dict[tuple[int, str, str], int]:
    """The same numbers, those of long ago by day."""
    oldest = int(now) // HOUR - _HOURLY
    merged: dict[tuple[int, str, str], int] = {}
    for (hour, function, counter), amount in amounts.items():
        key = (hour if hour >= oldest else hour // 24 * 24, function, counter)
        merged[key] = merged.get(key, 0) + amount
    return merged


def _content(folder: str, name: str) -> str:
    try:
        fd = os.open(os.path.join(folder, name), os.O_RDONLY | SAFE_FLAGS)
    except OSError:
        return ""
    with os.fdopen(fd, "rb") as file:
        return file.read(_MAX_SIZE).decode("utf-8", "replace")


def _lines(amounts: Mapping[tuple[int, str, str], int]) -> Iterator[str]:
    from zlib import crc32  # late for start-up time

    rows: dict[tuple[int, str], list[str]] = {}
    for (hour, function, counter), amount in amounts.items():
        name = "".join(char if char.isprintable() and char != " " else "?" for char in function)
        rows.setdefault((hour, name), []).append(f"\t{counter} {amount}")
    for (hour, name), counters in rows.items():
        body = f"{hour} {name}{''.join(counters)}"
        yield f"{crc32(body.encode()):08x} {body}\n"


def _add(amounts: dict[tuple[int, str, str], int], text: str) -> int:
    """Add what lines say; return how many could not be read."""
    from zlib import crc32  # late for start-up time

    damaged = 0
    for line in text.splitlines():
        check, _, body = line.partition(" ")
        if not line:
            continue
        try:
            if int(check, 16) != crc32(body.encode()):
                raise ValueError
            place, *counters = body.split("\t")
            hour, _, function = place.partition(" ")
            for pair in counters:
                counter, _, amount = pair.partition(" ")
                key = (int(hour), function, counter)
                amounts[key] = amounts.get(key, 0) + int(amount)
        except ValueError:
            damaged += 1
    return damaged
