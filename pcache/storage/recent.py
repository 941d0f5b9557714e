"""The small entries that a process has read: a repeated call needs only one `stat` of the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pcache.entry import format as entry_format
from pcache.entry.format import new_tuple
from pcache.entry.main_module import means_the_same
from pcache.entry.pickling import calls, load, loading
from pcache.entry.reader import Loaded, renew_checked
from pcache.system.interrupts import raise_if_interrupt, try_call

if TYPE_CHECKING:
    from pcache.entry.format import Header
    from pcache.entry.reader import Address

_SIZE = 4 << 20  # bytes of streams remembered
_OVERHEAD = 500  # bytes of Python's objects for each of them, about
_CLOCK_TICK_NS = 2 * 10**9  # the coarsest file times, those of FAT; ext4 has 4 ms


class Recent:
    """The checked streams of small entries that this process has read, up to 4 MiB.

    A repeated call needs neither read nor tag check, only a check whether its file is still the same. Values are
    unpickled each time. Safe for threads: every step is one operation on a dict.
    """

    def __init__(self) -> None:
        # By name: the path, and the fields of `Loaded` but the value. Unpacking a named tuple takes 100 ns longer.
        self._loaded: dict[str, tuple[str, Header, int, bytes, tuple[int, int, int], bool]] = {}
        self._size = 0

    def again(self, address: Address, now_ns: int) -> Loaded | None:
        """Return the result of an entry that was read before and has not been replaced since; raises `Miss`."""
        known = self._loaded.get(address.name)
        if known is None:
            return None
        path, header, mtime_ns, stream, identity, may_call = known
        try:
            status = os.lstat(path)
        except OSError as error:
            raise_if_interrupt(error)
            return None  # gone: reading it reports why
        if (status.st_ino, status.st_size, status.st_ctime_ns) != identity:
            return None
        entry_format.check_age(header, now_ns, address.ttl_ns)
        if header.flags and not means_the_same(header.flags, stream, address.home):
            return None
        if may_call:
            loads = path
            try:
                loading[loads] = None
                value, failure = try_call(load, stream)
            finally:
                loading.pop(loads, None)
        else:
            value, failure = try_call(load, stream)
        if failure is not None:
            return None  # reading it reports why
        return new_tuple(Loaded, (value, header, mtime_ns, None, identity))

    def keep(self, name: str, path: str, loaded: Loaded, now_ns: int) -> None:
        """Remember an entry that was just read.

        Not one that was just written: a file that replaces it within a tick of the file system's clock may have the
        same inode, size and time.
        """
        if loaded.stream is None or now_ns - loaded.mtime_ns < _CLOCK_TICK_NS:
            return
        self._size += len(loaded.stream) + _OVERHEAD
        if self._size > _SIZE:
            self._loaded.clear()
            self._size = 0
        known = (path, loaded.header, loaded.mtime_ns, loaded.stream, loaded.identity, calls(loaded.stream))
        self._loaded[name] = known

    def renew(self, path: str, before: tuple[int, int, int], status: os.stat_result) -> None:
        """Refresh the remembered identity of an entry's file after our own `utime`, unless it was replaced."""
        now = (status.st_ino, status.st_size, status.st_ctime_ns)
        if now[:2] != before[:2]:
            return
        name = os.path.basename(path)
        if (known := self._loaded.get(name)) is not None:
            _, header, _, stream, _, may_call = known
            self._loaded[name] = (path, header, status.st_mtime_ns, stream, now, may_call)
        renew_checked(before, status)
