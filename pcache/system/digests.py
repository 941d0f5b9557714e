"""The digest of a content of any size: BLAKE3, and of a large one in segments, on all cores.

    digest  = BLAKE3(content)                                                  up to 4 MiB
    digest  = derived BLAKE3(segment size(8) length(8) BLAKE3(segment)*)       else; all but the last segment have 4 MiB

It is the same whichever way the content comes, in how many pieces, and on how many cores. `docs/format.md` says why
segments cannot be mistaken for contents.

Threads are started for one call and have ended when it returns or raises: nothing is left that a fork could cut off.
Where no thread can be had (a limit, the end of the interpreter) the caller does the work alone.
"""

from __future__ import annotations

import os
import sys
import time
from _struct import Struct
from _thread import allocate_lock, get_native_id, start_new_thread
from functools import partial
from itertools import starmap

from blake3 import blake3

from pcache.startup import TYPE_CHECKING, Any
from pcache.system.fork import whole
from pcache.system.interrupts import is_interrupt, try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEGMENT = 4 << 20  # bytes; each takes a millisecond. Part of the format of entries, and of keys
_ROOT_CONTEXT = "pcache 2026 content in segments"  # BLAKE3 key derivation: no content has such a digest
_ROOT = Struct("<QQ")
_WORTH = 7 << 19  # bytes for each thread: starting one takes a tenth of a millisecond
_MOST = 16  # threads: memory is no faster for more
_ROOM = 256 << 20  # bytes of address space for a thread: its stack, and the 64 to 128 MiB that its `malloc` reserves
_WAIT = 0.05  # seconds after which a wait looks whether it is in vain
_PATIENCE = 20  # waits for a thread to begin
_LINGERS = 2000  # looks at most at a thread that has ended, while the system still has it


def digest_of(data: Any, threads: int | None = None) -> bytes:
    """The digest of contiguous bytes; `threads` instead of one for each core."""
    if len(data) <= SEGMENT:
        return blake3(data).digest()
    with memoryview(data) as view:
        return _root(len(view), _leaves(view, threads))


def digest_of_range(fd: int, start: int, length: int, threads: int | None = None) -> bytes | None:
    """The digest of a part of a file, of which no more than a few MiB are in memory; None if the file is shorter."""
    leaf = partial(_leaf_of_file, fd, range(start, start + length), [])
    leaves = _on_all_cores(leaf, length, threads)
    if b"" in leaves:
        return None
    return leaves[0] if len(leaves) == 1 else _root(length, leaves)


class Content:
    """The digest of a content that comes in pieces, with the methods of a `blake3`. For one thread at a time."""

    __slots__ = ("_filled", "_last", "_leaves")

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._last = blake3()  # of the last segment so far
        self._filled = 0  # bytes in it

    def update(self, data: Any) -> None:
        """Add contiguous bytes; the whole segments in them are hashed on all cores."""
        size = len(data)
        if self._filled + size <= SEGMENT:
            self._last.update(data)
            self._filled += size
            return
        with memoryview(data) as view:
            at = SEGMENT - self._filled if self._filled else 0
            if at or self._filled:
                self._leaves.append(self._last.update(view[:at]).digest())
            end = at + (size - at - 1) // SEGMENT * SEGMENT  # the last segment has a byte at least
            self._leaves += _leaves(view[at:end])
            self._last, self._filled = blake3(view[end:]), size - end

    def digest(self) -> bytes:
        last: bytes = self._last.digest()
        if not self._leaves:
            return last
        return _root(len(self._leaves) * SEGMENT + self._filled, [*self._leaves, last])

    def hexdigest(self) -> str:
        return self.digest().hex()


def _root(length: int, leaves: Sequence[bytes]) -> bytes:
    content = _ROOT.pack(SEGMENT, length) + b"".join(leaves)
    digest: bytes = blake3(content, derive_key_context=_ROOT_CONTEXT).digest()
    return digest


def _leaves(view: memoryview, threads: int | None = None) -> list[bytes]:
    """The digests of the segments in some bytes."""
    return _on_all_cores(partial(_leaf, view), len(view), threads)


def _leaf(view: memoryview, number: int) -> bytes:
    digest: bytes = blake3(view[number * SEGMENT : (number + 1) * SEGMENT]).digest()
    return digest


def _leaf_of_file(fd: int, places: range, spare: list[bytearray], number: int) -> bytes:
    """The digest of a segment of the bytes at these places of a file; nothing if the file is shorter."""
    wanted = places[number * SEGMENT : (number + 1) * SEGMENT]
    try:
        buffer = spare.pop()  # fresh pages take as long as reading
    except IndexError:
        buffer = bytearray(SEGMENT)
    done = 0
    with memoryview(buffer)[: len(wanted)] as view:
        while done < len(wanted):
            count = os.preadv(fd, [view[done:]], wanted[done])
            if count <= 0:
                return b""
            done += count
        digest: bytes = blake3(view).digest()
    spare.append(buffer)
    return digest


# Threads


class _Helper:
    """A thread that takes part. Of `_thread`, since an interrupt in `threading.Thread.start` may lock its tables."""

    __slots__ = ("_signal", "has_ended", "number")

    def __init__(self) -> None:
        self._signal = allocate_lock()
        self._signal.acquire()
        self.has_ended = False
        self.number = 0  # the system's; known when it has begun

    def run(self, work: Callable[[], None]) -> None:
        try:
            self.number = get_native_id()
            try_call(work)  # what it fails at, the caller does
        finally:
            self.has_ended = True
            self._signal.release()

    def join(self, pid: int) -> None:
        """Wait until the thread has ended: also for the system, which else warns of threads when the process forks.

        Not in a child that a signal handler forked, nor for what never begins: its thread could get no memory.
        """
        waits = 0
        while not self.has_ended:
            self._signal.acquire(timeout=_WAIT)
            waits += 1
            if os.getpid() != pid or sys.is_finalizing() or (waits > _PATIENCE and not self.number):
                return
        place = f"/proc/self/task/{self.number}"
        while waits < _LINGERS and os.path.exists(place):
            time.sleep(5e-5)
            waits += 1


def _on_all_cores(leaf: Callable[[int], bytes], length: int, threads: int | None) -> list[bytes]:
    """What `leaf` returns for the number of each segment; it is called by threads that have ended then."""
    segments = -(-length // SEGMENT)
    found: list[bytes | None] = [None] * segments
    left = list(reversed(range(segments)))

    def work() -> None:
        while left:
            try:
                number = left.pop()
            except IndexError:
                return  # another thread took the last one
            found[number] = leaf(number)

    pid = os.getpid()
    helpers: list[_Helper] = []
    try:
        _start(helpers, (threads or _useful_threads(length)) - 1, work)
        work()
        for helper in helpers:
            helper.join(pid)
    except BaseException:
        left.clear()
        for helper in helpers:
            helper.join(pid)
        raise
    # What a helper failed at; or, in a child that a signal handler forked, had begun with.
    return [leaf(number) if digest is None else digest for number, digest in enumerate(found)]


def _start(helpers: list[_Helper], threads: int, work: Callable[[], None]) -> None:
    """Start so many threads, or fewer if the system gives no more; note each that was."""
    for _ in range(threads):
        if sys.is_finalizing():
            return  # before Python 3.12 one could be started, but would never run
        helper = _Helper()
        try:
            # As `interrupts.uninterrupted`: no interrupt comes between a thread's start and its note.
            [_] = starmap(start_new_thread, ((helper.run, (work,)),))
            helpers += [helper]
        except (RuntimeError, MemoryError) as error:
            if is_interrupt(error):
                raise
            return


def _useful_threads(length: int) -> int:
    """How many threads to hash so many bytes with."""
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS
        cores = os.cpu_count() or 1
    threads = min(length // _WORTH, cores, _MOST)
    if threads > 1:
        threads = min(threads, 1 + _idle_cores())
    return threads if threads > 1 and _has_room(threads * _ROOM) else 1


def _idle_cores() -> int:
    """How many cores have nothing to do: a thread that waits for its turn keeps the caller waiting."""
    cores = os.cpu_count() or 1
    try:
        with open("/proc/loadavg", "rb", buffering=0) as file:
            running = int(file.read(100).split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return cores - 1  # macOS
    return max(0, cores - running)


def _has_room(size: int) -> bool:
    """Whether a limit of the address space leaves that much: what threads reserve would be missing elsewhere."""
    try:
        with whole:
            import resource  # late for start-up time: large contents are rare
    except ImportError:
        return False  # the end of the interpreter
    limits = (resource.getrlimit(which)[0] for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    limited = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    if not limited:
        return True
    try:
        with open("/proc/self/statm", "rb") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return False
    return min(limited) - used >= size
