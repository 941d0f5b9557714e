"""The memory tier: verified, unpacked entries, of which a repeated call needs only one `stat` of the file.

An entry is held as the bytes that its value is unpickled from, anew for each call, so that callers never share objects.
It is served only while the file is the one that was read or written: inode, size and change time. Where a change could
still leave the same times, the seal at the file's beginning is compared as well.
"""

from __future__ import annotations

import os
import sys
import threading
from _weakref import ref
from collections import OrderedDict
from itertools import islice

from pcache.entry import format as entry_format
from pcache.entry.format import NEVER, SEAL_SIZE, new_tuple
from pcache.entry.kept import AT_ONCE, LARGEST, NOTHING
from pcache.entry.pickling import calls, load, load_with, loading
from pcache.entry.reader import OTHER_MODULE, TICK_NS, Loaded, open_entry, renew_checked
from pcache.errors import Miss
from pcache.startup import TYPE_CHECKING, late
from pcache.system.interrupts import raise_if_interrupt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.entry import main_module
    from pcache.entry.format import Header
    from pcache.entry.kept import Kept
    from pcache.entry.reader import Address
else:
    main_module = late("pcache.entry.main_module")

MEMORY = 64 << 20  # bytes
_OVERHEAD = 1500  # bytes of Python's objects for each entry, at most
_LOOKED_AT = 64  # entries that are compared at a time when room is needed
_ROOM = 64  # what part of the limit is made free at a time
_LEVEL = 16 << 10  # bytes that are read, checked and unpacked in the time that it takes to open and close a file
_MOST_SEEN = 1024
_COARSE_TICK_NS = 2 * 10**9  # file times of FAT; and those of servers, whose clocks may differ from ours
_SECOND_NS = 10**9


class Held:
    """One entry in memory; `seal` are its file's first bytes, `spelling` is its call's in `Recent.spelled`.

    `settled` is the identity that the file has had for so long that every change since then gave it another one.
    """

    __slots__ = (
        *("buffers", "header", "identity", "is_simple", "mtime_ns", "path", "seal", "settled", "size", "spelling"),
        *("stream", "uses"),
    )

    def __init__(self, path: str, loaded: Loaded, kept: Kept, spelling: bytes) -> None:
        self.stream, self.buffers, self.seal = kept
        self.path = path
        self.header: Header = loaded.header
        self.mtime_ns = loaded.mtime_ns
        self.identity = loaded.identity
        self.is_simple: bool | None = None  # whether loading it takes one call; found out when it is used again
        self.settled: tuple[int, int, int] | None = None
        self.spelling = spelling
        self.size = len(self.stream) + sum(map(len, self.buffers)) + 2 * len(spelling) + _OVERHEAD
        self.uses = 0

    def look_into(self) -> bool:
        """Find out whether loading it takes one call."""
        careful = self.header.flags or self.header.expires_ns != NEVER or self.buffers or calls(self.stream)
        self.is_simple = not careful
        return self.is_simple


class Recent:
    """What a process holds of the entries of one store, up to `limit` bytes; 0 turns it off.

    All stores of a process together hold at most the largest of their limits. `spelled` has the addresses of the calls
    whose entries are held, by what their arguments are spelled out as. `is_network` says whether file times may be
    another machine's. Safe for threads: hits take no lock, as each of their steps is one operation on a dict. A forked
    child goes on with what its parent held.
    """

    def __init__(self, limit: int = MEMORY, is_network: Callable[[], bool] = bool) -> None:
        self.limit = limit
        self.size = 0  # bytes held, Python's objects included
        self.spelled: dict[bytes, Address] = {}
        self._held: OrderedDict[str, Held] = OrderedDict()  # by name, what was looked at longest ago first
        self._seen: dict[str, None] = {}  # names of what was read once, and is held when it is read again
        self._is_network = is_network
        self._lock = threading.RLock()  # reentrant: a signal handler may call a cached function
        own = id(self)
        _tiers[own] = ref(self, lambda _: _tiers.pop(own, None))

    def __len__(self) -> int:
        return len(self._held)

    def again(self, address: Address, now_ns: int) -> Loaded | None:
        """Return the result of an entry that is held and whose file is still the same; raises `Miss`."""
        held = self._held.get(address.name)
        if held is None:
            return None
        try:
            status = os.lstat(held.path)
        except OSError as error:
            raise_if_interrupt(error)
            self.forget(address.name)
            return None  # gone: reading it reports why
        identity = held.identity
        if (status.st_ino, status.st_size, status.st_ctime_ns) != identity or (
            held.settled is not identity and not self._is_sealed(held, identity, now_ns)
        ):
            self.forget(address.name)
            return None
        is_simple = held.look_into() if held.is_simple is None else held.is_simple
        if is_simple and address.ttl_ns is None:
            value, failure = try_call(load, held.stream)
        else:
            value, failure = self._load(held, address, now_ns)
        if failure is not None:
            self.forget(address.name)
            return None  # reading it reports why
        held.uses += 1
        return new_tuple(Loaded, (value, held.header, held.mtime_ns, None, identity))

    def _load(self, held: Held, address: Address, now_ns: int) -> tuple[object, BaseException | None]:
        """The value of an entry with an age, with buffers, or whose loading runs code; raises `Miss`."""
        header = held.header
        entry_format.check_age(header, now_ns, address.ttl_ns)
        if header.flags and not main_module.means_the_same(header.flags, held.stream, address.home):
            raise Miss("unloadable", detail=OTHER_MODULE)
        loads = held.path  # `pickling.is_loaded_here` looks for it
        try:
            loading[loads] = None
            return try_call(_unpickle, held)
        finally:
            loading.pop(loads, None)

    def size_of(self, name: str) -> int | None:
        """The bytes that are held of an entry, None if it is not."""
        held = self._held.get(name)
        return None if held is None else held.size

    def to_keep(self, name: str) -> int:
        """How many bytes of an entry that is read now are to be held at most; `NOTHING` for none of any entry.

        Fresh memory for a megabyte takes longer than reading it, so what is large is held when it is read again.
        """
        if not self.limit:
            return NOTHING
        return LARGEST if name in self._seen else AT_ONCE

    def keep(self, address: Address, path: str, loaded: Loaded, now_ns: int = 0) -> None:
        """Hold an entry that was just stored, or was read from `now_ns` on."""
        name, kept = address.name, loaded.kept
        if kept is None:
            if self.limit:
                if len(self._seen) >= _MOST_SEEN:
                    self._seen.clear()
                self._seen[name] = None
            return
        held = Held(path, loaded, kept, address.spelling)
        if held.size > self.limit // 4:
            return
        if now_ns - max(held.identity[2], held.mtime_ns) >= _COARSE_TICK_NS:  # else the next hit finds out
            held.settled = held.identity
        with self._lock:
            if name in self._held:
                self.forget(name)
            if name in self._seen:
                del self._seen[name]
            self._held[name] = held
            self.size += held.size
            if held.spelling:
                self.spelled[held.spelling] = address
            if self.size > self.limit:
                self.shrink(self.limit - self.limit // _ROOM)
        if len(_tiers) > 1:
            _share()

    def forget(self, name: str) -> None:
        """Give back the memory of an entry, if it is held."""
        with self._lock:
            if (held := self._held.pop(name, None)) is not None:
                self.size -= held.size
                self.spelled.pop(held.spelling, None)

    def hold(self, limit: int) -> None:
        """Set the limit; give back what is above it."""
        with self._lock:
            self.limit = limit
            self.shrink(limit)

    def clear(self) -> None:
        """Give back everything."""
        with self._lock:
            self.shrink(-1)
            self._seen.clear()

    def shrink(self, size: int) -> None:
        """Give back what is of least worth until at most `size` bytes are held.

        Of some entries that were looked at longest ago at most half go; the others go to the end, with half their uses.
        So what is used often stays when many entries are read once, and what is not used any more goes after all.
        """
        with self._lock:
            while self.size > size and self._held:
                try:
                    oldest = sorted(islice(self._held.items(), _LOOKED_AT), key=_worth)
                except RuntimeError:
                    continue  # a signal handler has called a cached function
                for number, (name, held) in enumerate(oldest):
                    if self.size > size and number <= len(oldest) // 2:
                        self.forget(name)
                    elif name in self._held:
                        held.uses //= 2
                        self._held.move_to_end(name)

    def renew(self, path: str, before: tuple[int, int, int], status: os.stat_result) -> None:
        """Refresh the remembered identity of an entry's file after our own `utime`, unless it was replaced."""
        now = (status.st_ino, status.st_size, status.st_ctime_ns)
        if now[:2] != before[:2]:
            return
        held = self._held.get(os.path.basename(path))
        if held is not None and (before_us := held.identity) == before:
            held.settled = now if held.settled is before_us else None
            held.mtime_ns, held.identity = status.st_mtime_ns, now
        renew_checked(before, status)

    def _is_sealed(self, held: Held, identity: tuple[int, int, int], now_ns: int) -> bool:
        """Whether a file whose times may be those of two states begins with the seal of the entry that is held.

        A file that replaces another within a tick of the file system's clock may have the same inode, size and times;
        but no other entry has its tag.
        """
        try:
            fd, status = open_entry(held.path)
            try:
                seal = os.read(fd, SEAL_SIZE)
            finally:
                os.closerange(fd, fd + 1)
        except Miss:
            return False
        except OSError as error:
            raise_if_interrupt(error)
            return False
        if seal != held.seal or (status.st_ino, status.st_size, status.st_ctime_ns) != identity:
            return False
        if self._is_settled(held, now_ns):
            held.settled = identity
        return True

    def _is_settled(self, held: Held, now_ns: int) -> bool:
        """Whether every change of a file since `now_ns` gave it another change time."""
        changed_ns = held.identity[2]
        if now_ns - max(changed_ns, held.mtime_ns) >= _COARSE_TICK_NS:
            return True
        return now_ns - changed_ns >= TICK_NS and bool(changed_ns % _SECOND_NS) and not self._is_network()

    def _recover(self) -> None:
        """In a forked child: another thread of the parent may have been half way through a change."""
        self._lock = threading.RLock()
        self.size = sum(held.size for held in self._held.values())


def _unpickle(held: Held) -> object:
    return load_with([bytearray(buffer) for buffer in held.buffers])(held.stream)


def _worth(item: tuple[str, Held]) -> float:
    """The time that holding an entry has saved lately, for its size."""
    held = item[1]
    return (1 + held.uses) * (1 / held.size + 1 / _LEVEL)


_tiers: dict[int, ref[Recent]] = {}  # those of this process, by id


def _all() -> list[Recent]:
    return [tier for reference in list(_tiers.values()) if (tier := reference()) is not None]


def _share() -> None:
    """Keep the caches of this process within the largest of their limits together: the one that holds most gives."""
    tiers = _all()
    most = max([tier.limit for tier in tiers])
    while (excess := sum([tier.size for tier in tiers]) - most) > 0:
        fullest = max(tiers, key=lambda tier: tier.size)
        fullest.shrink(fullest.size - excess - most // _ROOM)


def _after_fork() -> None:
    for tier in _all():
        tier._recover()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
