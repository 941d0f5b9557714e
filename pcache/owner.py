"""Who holds a claim: what a claim's file says of the process that computes."""

from __future__ import annotations

import functools
import os
import threading
from typing import NamedTuple

from pcache.interrupts import pass_on, uninterrupted
from pcache.summary import printable
from pcache.trust import SAFE_FLAGS

CLAIM_SUFFIX = ".claim"
MAX_OWNER = 16 << 10  # bytes of an owner record
_GONE, _UNKNOWN = 0, 1  # when a process started


class Owner(NamedTuple):
    """Who holds a claim, as its file says: for people, and to recognise an owner that died."""

    host: str
    pid: int
    start: int
    call: str
    thread: int = 0  # the system's number of the one that computes
    awaits: tuple[str, ...] = ()  # the entries that it waits for meanwhile, by path

    def is_here(self) -> bool:
        """Whether the process is one of this machine, and its number means here what it means there."""
        return self.host == _host()

    def is_dead(self) -> bool:
        """Whether the process is known to be gone. A forked child may hold its lock all the same."""
        return self.is_here() and _start_of(self.pid) not in (self.start, _UNKNOWN)


def owner_record(call: str) -> bytes:
    """What this process writes into the claims that it takes."""
    return b'%s, "thread": %d}' % (_owner_record(call, os.getpid())[:-1], threading.get_native_id())


@functools.lru_cache(1024)
def _owner_record(call: str, pid: int) -> bytes:
    import json  # late for start-up time: a hit takes no claim

    return json.dumps({"host": _host(), "pid": pid, "start": _start_of(pid), "call": call}).encode()


def read_owner(entry_path: str) -> Owner | None:
    """Who is computing an entry; None when nobody is, or the record is not written yet."""
    import json  # late for start-up time

    try:
        fd = uninterrupted(os.open, entry_path + CLAIM_SUFFIX, os.O_RDONLY | SAFE_FLAGS)
    except OSError as error:
        pass_on(error)
        return None
    try:
        record = json.loads(os.read(fd, MAX_OWNER))
        return Owner(
            printable(str(record["host"])),
            int(record["pid"]),
            int(record["start"]),
            printable(str(record["call"])),
            int(record.get("thread", 0)),
            tuple(map(str, record.get("awaits", ()))),
        )
    except OSError as error:
        pass_on(error)
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # half written, or already the entry
    finally:
        os.closerange(fd, fd + 1)


def is_leftover(path: str) -> bool:
    """Whether a claim file is known to be that of a process that is gone."""
    owner = read_owner(path.removesuffix(CLAIM_SUFFIX))
    return owner is not None and owner.is_dead()


@functools.cache
def _host() -> str:
    """This machine and, where there are any, the process namespace: a pid means nothing outside of it."""
    try:
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError as error:
        pass_on(error)
        namespace = ""
    return f"{os.uname().nodename if hasattr(os, 'uname') else os.environ.get('COMPUTERNAME', '')}/{namespace}"


def _start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; else that it is gone, or that it cannot be told."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in the second field may hold anything, also spaces and parentheses.
            fields = file.read().rpartition(b")")[2].split()
        return _GONE if fields[0] in (b"Z", b"X") else int(fields[19])
    except FileNotFoundError:
        pass  # gone, or another user's where those are hidden (hidepid), or there is no /proc
    except ProcessLookupError:
        return _GONE
    except OSError as error:
        pass_on(error)
        return _UNKNOWN
    except (IndexError, ValueError):
        return _UNKNOWN
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return _GONE
    except OSError:
        pass  # it lives, and belongs to another user
    return _UNKNOWN
