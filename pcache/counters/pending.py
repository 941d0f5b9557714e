"""Counters of this process: in memory, and appended to the ledger now and then.

A process appends at intervals and when it ends; a forked child starts at zero. Safe for threads, processes and forks. A
killed process loses what it counted since it last appended.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time

from pcache.counters.line_format import COUNTED, FULL, HOUR, MAX_SIZE, line_of
from pcache.counters.tally import Tally
from pcache.layout import ledger_folder
from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, late
from pcache.system.exit import Unfinished
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.permissions import PRIVATE, Access

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.counters import ledger
    from pcache.signing.key_source import KeySource
    from pcache.signing.keyring import Keyring
else:
    ledger = late("pcache.counters.ledger")

_SOONEST, _LATEST = 0.2, 5.0  # seconds between two appends: soon at first, as many processes are short
_OVERFULL = 16 * FULL  # where all processes only hit: then one of some 20,000 takes the lock
_LINES = 128 << 10  # bytes of lines in a block, about


class Ledger(Unfinished):
    """The counts of one cache directory that this process has not written yet."""

    def __init__(self, root: str, keys: KeySource, *, read_only: bool = False, access: Access = PRIVATE) -> None:
        self.root = root
        self._keys = keys
        self.due_ns = 0  # by time.time_ns(): from when on an event appends
        self._folder = ledger_folder(root)
        self._read_only = read_only
        self._access = access
        self._tallies: list[Tally] = []
        self.reset()
        super().__init__()

    def reset(self) -> None:
        """Discard unwritten counts, and a lock whose thread did not survive a fork."""
        # Reentrant: garbage collection may flush counts here, in a thread that is counting.
        self._lock = threading.RLock()
        self._appending = False
        self._pause = _SOONEST
        self._more: dict[str, dict[str, int]] = {}  # numbers by function and counter
        for tally in self._tallies:
            tally.take()

    def tally(self, owner: object) -> Tally:
        """A tally for the hits of `owner`."""
        made = Tally(owner)
        with self._lock:
            self._tallies.append(made)
        return made

    def count(self, function: str, **amounts: int) -> None:
        """Add to counters of a function; "" stands for none."""
        with self._lock:
            self._add(function, amounts)

    def _add(self, function: str, amounts: Mapping[str, int]) -> None:
        counters = self._more.setdefault(function, {})
        for counter, amount in amounts.items():
            counters[counter] = counters.get(counter, 0) + amount

    def look(self, now_ns: int) -> None:
        """Append the counts if it is time to."""
        if not self.due_ns - _LATEST * 1e9 <= now_ns < self.due_ns:  # before that: the clock was set back
            self.flush()

    def let_go(self) -> None:
        """Append the counts."""
        self.flush(merging=False)

    def flush(self, *, merging: bool = True) -> bool:
        """Append the counts; return whether none are left. Failing to is silent, and tried again later."""
        self.due_ns = time.time_ns() + int(self._pause * 1e9)
        self._pause = min(2 * self._pause, _LATEST)
        keyring = self._keys.keyring
        if self._read_only or keyring is None:
            return False
        with self._lock:
            if self._appending:
                return False  # a signal handler interrupted this very method
            self._appending = True
            try:
                size = self._append_all(keyring)
            except OSError as error:
                raise_if_interrupt(error)
                return False  # a full or read-only disk; or the directory was removed, and will be made anew
            finally:
                self._appending = False
        if merging and size > (FULL if "pcache.system.locks" in sys.modules else _OVERFULL):
            try:
                ledger.merge(self._folder, keyring, access=self._access)
            except OSError as error:
                raise_if_interrupt(error)  # else nothing is lost: the next append tries again
        return True

    def _append_all(self, keyring: Keyring) -> int:
        for tally in self._tallies:
            if amounts := tally.take():
                self._add(tally.name, amounts)
        self._tallies = [tally for tally in self._tallies if tally.owner() is not None]
        return self._append(keyring) if self._more else 0

    def _append(self, keyring: Keyring) -> int:
        """Append a line for each function, and remove the written counts; return the file's size."""
        if not os.path.lexists(os.path.dirname(self._folder)):
            raise FileNotFoundError(errno.ENOENT, "there is no directory", self._folder)  # nothing is stored there yet
        folder = self._access.enter_or_make(self.root, self._folder)  # a link in its place would lead elsewhere
        try:
            fd = folder.open("counters", os.O_WRONLY | os.O_APPEND)
            try:
                if os.fstat(fd).st_size > MAX_SIZE:
                    os.ftruncate(fd, 0)  # it is no longer read
                self._write(fd, keyring)
                return os.fstat(fd).st_size
            finally:
                os.closerange(fd, fd + 1)
        finally:
            os.closerange(folder.fd, folder.fd + 1)

    def _write(self, fd: int, keyring: Keyring) -> None:
        """Append all counts; those that are added meanwhile are for the next time."""
        left = len(self._more)
        while left > 0 and self._more:
            left -= self._write_some(fd, keyring)

    def _write_some(self, fd: int, keyring: Keyring) -> int:
        """Append one block, and return the number of functions in it; a signal handler may count meanwhile."""
        taken: dict[str, dict[str, int]] = {}
        try:
            data = seal.block(COUNTED, self._take_lines(taken), keyring)
            length = len(data)
            # No interrupt comes between writing and the end of this: the block would be written twice.
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
