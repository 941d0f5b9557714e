"""Try out what a file system can do: locks, renames, maps, times, concurrent writing."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time

from pcache.entry import mtime
from pcache.layout import locks_folder, usage_path
from pcache.startup import TYPE_CHECKING, NamedTuple
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.locks import is_idle, locking, try_lock
from pcache.system.ownership import SAFE_FLAGS
from pcache.system.safefiles import write_all

if TYPE_CHECKING:
    from collections.abc import Callable

_SYNCS = 3
_COST_NS = 10**9
_CHILD = "import sys; from pcache.system.locks import try_lock; sys.exit(10 + (try_lock(sys.argv[1]) is not None))"
_HELD, _FREE = 10, 11
_IDLE = 2.0  # seconds; upkeep signals more often that it is at work
_PATIENCE = 30  # seconds for a process to start and try a lock


class Trials(NamedTuple):
    """The results for one folder. `failures` has the reason for each thing that does not work, by its name.

    `sync` is the time in seconds that the slowest of some small writes took to reach the disk, `ahead` by how many
    seconds the clock that stamps files is ahead of ours.
    """

    failures: dict[str, str]
    sync: float
    ahead: float


def try_out(folder: str) -> Trials:
    """Try in a temporary folder below `folder`, which is removed again; raises `OSError` when it cannot be made."""
    place = tempfile.mkdtemp(prefix=".pcache-doctor-", dir=folder)
    try:
        failures: dict[str, str] = {}
        trials: dict[str, Callable[[str], str]] = {
            "locks": _locks,
            "rename": _rename,
            "mmap": _map,
            "times": _times,
        }
        for name, trial in trials.items():
            try:
                reason = trial(os.path.join(place, name))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                reason = str(error)
            if reason:
                failures[name] = reason
        return Trials(failures, *_clock_and_sync(os.path.join(place, "sync")))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _locks(path: str) -> str:
    """A lock held by this process keeps another out, and is free once released."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", _CHILD, path]

    def other() -> int:
        # The command is fixed: no part of it comes from outside.
        return subprocess.run(command, env=environment, check=False, timeout=_PATIENCE, capture_output=True).returncode  # noqa: S603

    lock = try_lock(path)
    if lock is None:
        return "a new file is locked already"
    with lock:
        during = other()
    after = other()
    if {during, after} - {_HELD, _FREE}:
        return "another process could not try a lock"
    if during == _FREE:
        return "two processes held the same lock at once"
    return "" if after == _FREE else "a lock was not freed by closing its file"


def _rename(path: str) -> str:
    """Renaming a file over another keeps its content and inode."""
    for name, text in ((path, b"old"), (f"{path}.new", b"new")):
        with open(name, "wb") as made:
            made.write(text)
    inode = os.stat(f"{path}.new").st_ino
    os.rename(f"{path}.new", path)
    with open(path, "rb") as file:
        if file.read() != b"new" or os.path.lexists(f"{path}.new"):
            return "a renamed file did not take the other's place"
    return "" if os.stat(path).st_ino == inode else "a renamed file has another inode"


def _map(path: str) -> str:
    data = os.urandom(1 << 16)
    with open(path, "wb") as made:
        made.write(data)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), len(data), access=mmap.ACCESS_COPY) as mapped:
        return "" if mapped[:] == data else "a mapped file has another content"


def _times(path: str) -> str:
    """Modification times keep what they encode about an entry."""
    packed = mtime.pack(mtime.Stamp(time.time_ns(), _COST_NS))
    with open(path, "wb"):
        pass
    os.utime(path, ns=(packed, packed))
    found = mtime.unpack(os.stat(path).st_mtime_ns)
    return "" if found.cost_ns else "modification times are kept too coarsely to say what a result cost"


def _clock_and_sync(path: str) -> tuple[float, float]:
    slowest = ahead = 0.0
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(_SYNCS):
            before = time.perf_counter()
            write_all(fd, b"x" * 4096)
            os.fsync(fd)
            slowest = max(slowest, time.perf_counter() - before)
            ahead = os.fstat(fd).st_mtime - time.time()
    finally:
        os.close(fd)
    return slowest, ahead


def held_locks(root: str) -> list[str]:
    """The files of upkeep whose locks are held without a sign of work. Nothing is made or changed."""
    locks = locks_folder(root)
    found = (os.path.join(locks, "evict"), os.path.join(locks, "ledger"), usage_path(root))
    return [path for path in found if _is_held(path) and is_idle(_IDLE, path)]


def _is_held(path: str) -> bool:
    try:
        fd = uninterrupted(os.open, path, os.O_RDWR | SAFE_FLAGS)
    except OSError as error:
        raise_if_interrupt(error)
        return False  # there is none, or we may not open it
    try:
        return not locking()(fd, blocking=False)
    except OSError as error:
        raise_if_interrupt(error)
        return False  # a file system without locks
    finally:
        os.closerange(fd, fd + 1)
