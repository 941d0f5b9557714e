"""What the cache did: hits, misses, time saved, by function and hour.

    <root>/v1/ledger/counters          blocks of lines that were appended last
    <root>/v1/ledger/counters.<16 hex> the same, full and soon to be merged
    <root>/v1/ledger/totals            what was merged, of the same lines, as one block
    line = hour function (TAB counter SP number)*
    totals begin with since TAB files TAB files: since when they count, the files that were set aside, those merged last

A process counts in memory and appends at intervals and when it ends; a forked child starts at zero. Appending takes no
lock: one write to a file opened for appending goes in one piece, and importing filelock costs 45 ms, more than a first
hit. Only merging takes one. Numbers of one hour, function and counter add up, whoever wrote them, so that counters of
other releases are kept. Blocks are sealed (`sealed.py`), and only files that the totals name are opened. A block that
was cut short, damaged or made by somebody else is skipped: losing the ledger loses statistics only.

Safe for threads, processes and forks. A killed process loses what it counted since it last appended.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from pcache import sealed
from pcache.access import PRIVATE, Access
from pcache.counted import HOUR, Amounts, Totals, add, by_day, line_of, lines_of, totals_of
from pcache.endings import Unfinished
from pcache.interrupts import pass_on, uninterrupted
from pcache.plain import NO_FILE, is_plain_or_none, make_way, read_plain
from pcache.tally import Tally
from pcache.trust import write_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.keysource import KeySource
    from pcache.trust import Keyring

_SOONEST, _LATEST = 0.2, 5.0  # seconds between two appends: soon at first, as many processes are short
_FULL = 256 << 10  # bytes of appended lines, from which they are merged
_SETTLED = 60.0  # seconds after which nobody still appends to a file that was set aside
_OVERFULL = 16 * _FULL  # where all processes only hit: then one of some 20,000 takes the lock
_MAX_SIZE = 32 * _FULL  # of appended lines; nobody appends to more
_MAX_TOTALS = 64 << 20
_LINES = 128 << 10  # bytes of lines in a block, about
_IDLE = 60.0  # seconds without a sign of whoever merges, after which it is done without him
_COUNTED, _TOTALS = b"counters", b"totals"  # kinds of what is sealed
_ASIDE = re.compile(r"counters\.[0-9a-f]{16}")


class Ledger(Unfinished):
    """The counters of one cache directory that this process has not written yet."""

    def __init__(self, root: str, keys: KeySource, *, read_only: bool = False, access: Access = PRIVATE) -> None:
        self.root = root
        self._keys = keys
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
        keyring = self._keys.keyring
        if self._read_only or keyring is None:
            return False
        with self._lock:
            if self._appending:
                return False  # a signal handler, in the middle of it
            self._appending = True
            try:
                size = self._append_all(keyring)
            except OSError as error:
                pass_on(error)
                return False  # a full or read-only disk; or the directory was removed, and will be made anew
            finally:
                self._appending = False
        if merging and size > (_FULL if "filelock" in sys.modules else _OVERFULL):
            try:
                merge(self._folder, keyring, access=self._access)
            except OSError as error:
                pass_on(error)  # else nothing is lost: whoever appends next tries again
        return True

    def _append_all(self, keyring: Keyring) -> int:
        for tally in self._tallies:
            if amounts := tally.take():
                self._add(tally.name, amounts)
        self._tallies = [tally for tally in self._tallies if tally.owner() is not None]
        return self._append(keyring) if self._more else 0

    def _append(self, keyring: Keyring) -> int:
        """Append a line for each function, and forget what is written; return the file's size."""
        if not os.path.lexists(os.path.dirname(self._folder)):
            raise FileNotFoundError(errno.ENOENT, "there is no directory", self._folder)  # nothing is stored there yet
        self._access.check_below(self.root, self._folder)  # a link in its place would lead elsewhere
        fd = uninterrupted(self._access.open, os.path.join(self._folder, "counters"), os.O_WRONLY | os.O_APPEND)
        try:
            if os.fstat(fd).st_size > _MAX_SIZE:
                os.ftruncate(fd, 0)  # nobody reads it any more
            left = len(self._more)  # what is counted meanwhile is for the next time
            while left > 0 and self._more:
                left -= self._write_some(fd, keyring)
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _write_some(self, fd: int, keyring: Keyring) -> int:
        """Append one block, and return of how many functions; a signal handler may count meanwhile."""
        taken: dict[str, dict[str, int]] = {}
        try:
            data = sealed.block(_COUNTED, self._take_lines(taken), keyring)
            length = len(data)
            # No interrupt comes between writing and the end of this: it would have it written twice.
            written = uninterrupted(os.write, fd, data)
        except BaseException:
            self._put_back(taken)
            raise
        if written != length:
            self._put_back(taken)
            raise OSError(errno.ENOSPC, "the disk is full")
        return len(taken)

    def _take_lines(self, taken: dict[str, dict[str, int]]) -> bytes:
        hour, size, lines = int(time.time()) // HOUR, 0, []
        for function in list(self._more):
            taken[function] = self._more[function]
            del self._more[function]  # without a call in between, see `_write_some`
            lines.append(line_of(hour, function, taken[function]).encode())
            size += len(lines[-1])
            if size > _LINES:
                break
        return b"\n".join(lines)

    def _put_back(self, taken: Mapping[str, Mapping[str, int]]) -> None:
        for function, counters in taken.items():
            self._add(function, counters)


class Reading(NamedTuple):
    """What the ledger says, counted since a time; `damaged` is how many lines could not be read."""

    amounts: Amounts
    since: float
    damaged: int


def folder_below(root: str) -> str:
    return os.path.join(root, "v1", "ledger")


def read(root: str, keyring: Keyring | None) -> Reading:
    """Everything that was counted and written; an empty reading where there is nothing, or no key."""
    folder = folder_below(root)
    if keyring is None:
        return Reading({}, 0.0, 0)
    for _ in range(5):
        before = _identities(folder)
        reading = _read(folder, keyring)
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


def _read(folder: str, keyring: Keyring) -> Reading:
    amounts: Amounts = {}
    totals, seen = _read_totals(folder, keyring), set[bytes]()
    damaged = add(amounts, totals.lines)
    if not totals.since and os.path.lexists(os.path.join(folder, "totals")):
        damaged += 1
    for name in (*totals.aside, "counters"):
        damaged += _add_file(amounts, folder, name, keyring, seen)
    earliest = HOUR * min((hour for hour, _, _ in amounts), default=0)
    return Reading(amounts, totals.since or float(earliest), damaged)


def merge(folder: str, keyring: Keyring, *, zero: bool = False, access: Access = PRIVATE) -> bool:
    """Add appended lines to the totals, or with `zero` forget all; False while another process does. Raises `OSError`.

    Files that were set aside a moment ago stay: somebody may still be appending to them.
    """
    from pcache.locking import take  # late for start-up time

    root, locks = os.path.dirname(os.path.dirname(folder)), os.path.join(os.path.dirname(folder), "locks")
    for below in (locks, folder):
        access.check_below(root, below)
    lock = take(os.path.join(locks, "ledger"), 1.0 if zero else 0.0, idle=_IDLE, access=access)
    if lock is None:
        return False
    with lock:
        now = time.time()
        totals = _read_totals(folder, keyring, strictly=True)
        for name in totals.merged:
            _discard(folder, name)  # its merger was killed before it could
        settled = [name for name in totals.aside if zero or _is_settled(folder, name, now)]
        waiting, fresh = [name for name in totals.aside if name not in settled], f"counters.{os.urandom(8).hex()}"
        since, amounts = now, Amounts()
        if zero:
            settled.append(fresh)
        else:
            waiting.append(fresh)
            since = totals.since or _read(folder, keyring).since or now
            add(amounts, totals.lines)
            seen: set[bytes] = set()
            for name in settled:
                _add_file(amounts, folder, name, keyring, seen, strictly=True)
        lines = "\n".join(lines_of(by_day(amounts, now)))
        # The fresh one is named before it is there: what a killed merger set aside is found by the next one.
        _write_totals(folder, Totals(since, tuple(waiting), tuple(settled), lines), keyring, access)
        _set_aside(folder, fresh)
        for name in settled:
            _discard(folder, name)
    return True


def sweep(folder: str, keyring: Keyring | None, age: float) -> None:
    """Remove files that were set aside, as their names say, and that our totals do not know. Raises `OSError`."""
    totals = Totals() if keyring is None else _read_totals(folder, keyring, strictly=True)
    if totals.since:  # else they may be others'
        for name in set(filter(_ASIDE.fullmatch, os.listdir(folder))).difference(totals.aside):
            if time.time() - os.lstat(os.path.join(folder, name)).st_mtime > age:
                _discard(folder, name)


def _discard(folder: str, name: str) -> None:
    """Remove a file that was merged, or what stands in its place."""
    if _ASIDE.fullmatch(name):
        make_way(os.path.join(folder, name))
        if os.path.lexists(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))


def _set_aside(folder: str, name: str) -> None:
    """Put the appended lines under another name."""
    try:
        os.rename(os.path.join(folder, "counters"), os.path.join(folder, name))
    except FileNotFoundError:
        return
    if is_plain_or_none(os.path.join(folder, name)):
        os.utime(os.path.join(folder, name))  # set aside now


def _is_settled(folder: str, name: str, now: float) -> bool:
    try:
        return abs(now - os.lstat(os.path.join(folder, name)).st_mtime) > _SETTLED
    except FileNotFoundError:
        return True  # its merger was killed before it could set it aside


def _read_totals(folder: str, keyring: Keyring, *, strictly: bool = False) -> Totals:
    data = _content(folder, "totals", _MAX_TOTALS, strictly=strictly, believing=keyring)
    (body,) = sealed.blocks(_TOTALS, data, keyring)[0][:1] or (b"",)
    totals = totals_of(body.decode("utf-8", "replace"))
    return totals._replace(aside=tuple(filter(_ASIDE.fullmatch, totals.aside)))


def _write_totals(folder: str, totals: Totals, keyring: Keyring, access: Access = PRIVATE) -> None:
    temporary = os.path.join(folder, "totals.new")  # one name, as one process at a time merges
    fd = uninterrupted(access.open, temporary, os.O_WRONLY)
    try:
        os.ftruncate(fd, 0)
        write_all(fd, sealed.block(_TOTALS, totals.text().encode(), keyring))
    finally:
        os.close(fd)
    make_way(os.path.join(folder, "totals"))
    os.replace(temporary, os.path.join(folder, "totals"))


def _add_file(
    amounts: Amounts, folder: str, name: str, keyring: Keyring, seen: set[bytes], *, strictly: bool = False
) -> int:
    """Add what the blocks of a file say; return how many blocks and lines are damaged."""
    found, damaged = sealed.blocks(_COUNTED, _content(folder, name, _MAX_SIZE, strictly=strictly), keyring, seen)
    return damaged + sum(add(amounts, body.decode("utf-8", "replace")) for body in found)


def _content(folder: str, name: str, limit: int, *, strictly: bool = False, believing: Keyring | None = None) -> bytes:
    """What a file says; nothing where there is none, or `strictly` only then: what is merged is written anew."""
    believe = None if believing is None else functools.partial(sealed.is_whole, _TOTALS, believing)
    try:
        return read_plain(os.path.join(folder, name), limit, believe=believe)
    except OSError as error:
        pass_on(error)
        if strictly and error.errno not in NO_FILE:
            raise
        return b""
