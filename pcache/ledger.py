"""What the cache did: hits, misses, time saved, by function and hour.

    <root>/v1/ledger/counters          lines that were appended last
    <root>/v1/ledger/counters.<16 hex> the same, full and soon to be merged
    <root>/v1/ledger/totals            what was merged, of the same lines
    line = crc32 hour function (TAB counter SP number)*
    totals begin with "#" crc32 since (SP file)*: since when they count, and the files merged last

A process counts in memory and appends at intervals and when it ends; a forked child starts at zero. Appending takes no
lock: one write to a file opened for appending goes in one piece, and importing filelock costs 45 ms, more than a first
hit. Only merging takes one. Numbers of one hour, function and counter add up, whoever wrote them, so that counters of
other releases are kept. A line that was cut short or damaged is skipped: losing the ledger loses statistics only.

Safe for threads, processes and forks. A killed process loses what it counted since it last appended.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from pcache.access import PRIVATE, Access
from pcache.counted import HOUR, Amounts, add, by_day, heading_of, line_of, lines_of
from pcache.endings import Unfinished
from pcache.interrupts import pass_on, uninterrupted
from pcache.plain import NO_FILE, is_plain_or_none, read_plain
from pcache.tally import Tally
from pcache.trust import write_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.opened import OpenFolder

_SOONEST, _LATEST = 0.2, 5.0  # seconds between two appends: soon at first, as many processes are short
_FULL = 256 << 10  # bytes of appended lines, from which they are merged
_SETTLED = 60.0  # seconds after which nobody still appends to a file that was set aside
_MAX_SIZE = 64 << 20
_ASIDE = re.compile(r"counters\.[0-9a-f]{16}")


class Ledger(Unfinished):
    """The counters of one cache directory that this process has not written yet."""

    def __init__(self, root: str, *, read_only: bool = False, access: Access = PRIVATE) -> None:
        self.root = root
        self.due_ns = 0  # by time.time_ns(): when the next event is a reason to append
        self._folder = folder_below(root)
        self._read_only = read_only
        self._access = access
        self._tallies: list[Tally] = []
        self.reset()
        super().__init__()

    def reset(self) -> None:
        """Forget what is not written yet, and a lock that a thread held which did not survive a fork."""
        # Reentrant: collecting garbage may end what counts here too, in a thread that is just counting.
        self._lock = threading.RLock()
        self._appending = False
        self._pause = _SOONEST
        self._more: dict[str, dict[str, int]] = {}  # numbers by function and counter
        for tally in self._tallies:
            tally.take()

    def tally(self, owner: object) -> Tally:
        """A place to count the hits of `owner` in."""
        made = Tally(owner)
        with self._lock:
            self._tallies.append(made)
        return made

    def count(self, function: str, **amounts: int) -> None:
        """Add to counters of a function; "" stands for what belongs to none."""
        with self._lock:
            self._add(function, amounts)

    def _add(self, function: str, amounts: Mapping[str, int]) -> None:
        counters = self._more.setdefault(function, {})
        for counter, amount in amounts.items():
            counters[counter] = counters.get(counter, 0) + amount

    def look(self, now_ns: int) -> None:
        """Append what was counted if it is time to."""
        if not self.due_ns - _LATEST * 1e9 <= now_ns < self.due_ns:  # before that: the clock was set back
            self.flush()

    def let_go(self) -> None:
        """Append what was counted."""
        self.flush(merging=False)

    def flush(self, *, merging: bool = True) -> bool:
        """Append what was counted; return whether nothing is left. Failing to is silent, and tried again later."""
        self.due_ns = time.time_ns() + int(self._pause * 1e9)
        self._pause = min(2 * self._pause, _LATEST)
        if self._read_only:
            return False
        with self._lock:
            if self._appending:
                return False  # a signal handler, in the middle of it
            self._appending = True
            try:
                is_full = self._append_all()
            except OSError as error:
                pass_on(error)
                return False  # a full or read-only disk; or the directory was removed, and will be made anew
            finally:
                self._appending = False
        if is_full and merging and "filelock" in sys.modules:
            try:
                merge(self._folder, access=self._access)
            except OSError as error:
                pass_on(error)  # else nothing is lost: whoever appends next tries again
        return True

    def _append_all(self) -> bool:
        for tally in self._tallies:
            if amounts := tally.take():
                self._add(tally.name, amounts)
        self._tallies = [tally for tally in self._tallies if tally.owner() is not None]
        return self._append()

    def _append(self) -> bool:
        """Append a line for each function, and forget what is written; return whether the file is full."""
        if not self._more:
            return False
        if not os.path.lexists(os.path.dirname(self._folder)):
            raise FileNotFoundError(errno.ENOENT, "there is no directory", self._folder)  # nothing is stored there yet
        hour = int(time.time()) // HOUR
        fd = self._open_counters()
        try:
            for function, counters in list(self._more.items()):
                written = dict(counters)  # a signal handler may count meanwhile
                # On a line of its own, also after one that a kill or a full disk cut short, which is a damaged one.
                line = f"\n{line_of(hour, function, written)}".encode()
                length = len(line)
                # Forgotten as soon as it is written: an interrupt in between would have it written twice.
                if uninterrupted(os.write, fd, line) != length:
                    raise OSError(errno.ENOSPC, "the disk is full")
                del self._more[function]
                if counters != written:
                    self._add(function, {name: count - written.get(name, 0) for name, count in counters.items()})
            return os.fstat(fd).st_size > _FULL
        finally:
            os.close(fd)

    def _open_counters(self) -> int:
        folder = self._access.enter_or_make(self.root, self._folder)  # a link in its place would lead elsewhere
        try:
            if not is_plain_or_none(*folder.at("counters")):
                _rotate(folder)  # in a backup made of hard links its lines count all the same
            return folder.open("counters", os.O_WRONLY | os.O_APPEND)
        finally:
            os.closerange(folder.fd, folder.fd + 1)


class Reading(NamedTuple):
    """What the ledger says, counted since a time; `damaged` is how many lines could not be read."""

    amounts: Amounts
    since: float
    damaged: int


def folder_below(root: str) -> str:
    return os.path.join(root, "v1", "ledger")


def read(root: str) -> Reading:
    """Everything that was counted and written; an empty reading where there is nothing."""
    folder = folder_below(root)
    for _ in range(5):
        before = _identities(folder)
        reading = _read(folder)
        if before == _identities(folder):
            break  # else lines went from file to file meanwhile, and may have been seen twice or not at all
    return reading


def _identities(folder: str) -> list[tuple[int, int]]:
    found = []
    for name in ("totals", "counters"):
        try:
            status = os.stat(os.path.join(folder, name))
        except OSError as error:
            pass_on(error)
            found.append((0, 0))
        else:  # what is appended changes the time
            found.append((status.st_ino, status.st_ctime_ns if name == "totals" else 0))
    return found


def _read(folder: str) -> Reading:
    amounts: Amounts = {}
    totals = _content(folder, "totals")
    merged, since, rest = heading_of(totals)
    damaged = add(amounts, rest)
    for name in _set_aside(folder):
        if name not in merged:
            damaged += add(amounts, _content(folder, name))
    damaged += add(amounts, _content(folder, "counters"))
    earliest = HOUR * min((hour for hour, _, _ in amounts), default=0)
    return Reading(amounts, since or float(earliest), damaged)


def merge(folder: str, *, zero: bool = False, access: Access = PRIVATE) -> bool:
    """Add appended lines to the totals, or with `zero` forget all; False while another process does. Raises `OSError`.

    Files that were set aside a moment ago stay: somebody may still be appending to them.
    """
    from pcache.locking import try_lock  # late for start-up time

    root, locks = os.path.dirname(os.path.dirname(folder)), os.path.join(os.path.dirname(folder), "locks")
    opened = access.enter_or_make(root, locks)
    try:
        lock = try_lock(os.path.join(locks, "ledger"), 1.0 if zero else 0.0, access=opened)
    finally:
        os.closerange(opened.fd, opened.fd + 1)
    if lock is None:
        return False
    with lock:
        opened = access.enter_or_make(root, folder)
        try:
            _merge(opened, zero=zero)
        finally:
            os.closerange(opened.fd, opened.fd + 1)
    return True


def _merge(folder: OpenFolder, *, zero: bool) -> None:
    now = time.time()
    aside = _set_aside(folder.path)
    done, since, lines = heading_of(_content(folder.path, "totals", strictly=True))
    for name in done:
        if name in aside:  # its merger was killed before it could remove it
            _discard(folder, name)
    settled = [name for name in aside if name not in done and (zero or _is_settled(folder, name, now))]
    amounts: Amounts = {}
    if zero:
        since = now
        settled += _rotate(folder)
    else:
        add(amounts, lines)
        for name in settled:
            add(amounts, _content(folder.path, name, strictly=True))
        _rotate(folder)
    if settled or zero:
        _write_totals(folder, by_day(amounts, now), since or _read(folder.path).since or now, settled)
        for name in settled:
            _discard(folder, name)


def _discard(folder: OpenFolder, name: str) -> None:
    """Remove a file that was merged, or what stands in its place."""
    folder.make_way(name)
    folder.remove(name)


def _rotate(folder: OpenFolder) -> list[str]:
    """Set the appended lines aside under another name; an empty list when there are none."""
    name = f"counters.{os.urandom(8).hex()}"
    try:
        (before, below), (after, _) = folder.at("counters"), folder.at(name)
        os.rename(before, after, src_dir_fd=below, dst_dir_fd=below)
    except FileNotFoundError:
        return []
    if is_plain_or_none(after, below):
        os.utime(after, dir_fd=below, follow_symlinks=False)  # set aside now
    return [name]


def _is_settled(folder: OpenFolder, name: str, now: float) -> bool:
    return abs(now - folder.status(name).st_mtime) > _SETTLED


def _set_aside(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _ASIDE.fullmatch(name))
    except OSError as error:
        pass_on(error)
        return []


def _write_totals(folder: OpenFolder, amounts: Amounts, since: float, merged: list[str]) -> None:
    from zlib import crc32  # late for start-up time

    temporary = "totals.new"  # one name, as one process at a time merges
    heading = " ".join([f"{since:.0f}", *merged])
    lines = [f"#{crc32(heading.encode()):08x} {heading}", *lines_of(amounts)]
    fd = folder.open(temporary, os.O_WRONLY)
    try:
        os.ftruncate(fd, 0)
        write_all(fd, "\n".join(lines).encode())
    finally:
        os.close(fd)
    folder.rename(temporary, "totals")


def _content(folder: str, name: str, *, strictly: bool = False) -> str:
    """What a file says; nothing where there is none, or `strictly` only then: what is merged is written anew."""
    try:
        return read_plain(os.path.join(folder, name), _MAX_SIZE).decode("utf-8", "replace")
    except OSError as error:
        pass_on(error)
        if strictly and error.errno not in NO_FILE:
            raise
        return ""
