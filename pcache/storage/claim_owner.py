"""The record in a claim: which process computes, authenticated.

A record is written with the signing key and for one entry: who can write into the directory, and does not have the key,
cannot have a call wait for them. It is not even parsed before its tag was checked.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from _operator import _compare_digest as compare_digest  # see entry/format.py
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from pcache.system.interrupts import raise_if_interrupt
from pcache.system.safefiles import read_plain
from pcache.text.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.signing.keyring import Keyring

CLAIM_SUFFIX = ".claim"
MAX_OWNER = 16 << 10  # bytes of an owner record
_TAG = 32  # bytes in front of it
MAX_RECORD = _TAG + MAX_OWNER
_CONTEXT = b"pcache claim\0"  # so that what is tagged here is nothing else that the key vouches for
_LONGEST = 1000  # characters of a function's name
_GONE, _UNKNOWN = 0, 1  # when a process started
_HIDDEN = "?"  # what a host ends with whose processes cannot be told apart


class Record(NamedTuple):
    """What an owner writes into a claim, as JSON without its last brace, and the key that vouches for it."""

    body: bytes
    key: bytes

    def sealed(self, entry_path: str, awaits: Sequence[str] = ()) -> bytes:
        """The bytes of the record in the claim of an entry, with the entries that are waited for meanwhile."""
        more = b""
        if awaits:
            import json  # late for start-up time

            more = b', "awaits": ' + json.dumps(list(awaits)).encode()
        body = self.body + more + b"}"
        return _tag(entry_path, body, self.key) + body


class Owner(NamedTuple):
    """Who holds a claim, as its file says: for people, and to recognise an owner that died."""

    host: str
    pid: int
    start: int
    call: str
    thread: int = 0  # the system's number of the one that computes
    since_ns: int = 0  # when the claim was taken
    awaits: tuple[str, ...] = ()  # the entries that it waits for meanwhile, by path

    def is_here(self) -> bool:
        """Whether the process is one of this machine, and its number and start mean here what they mean there."""
        return self.host == _host() and not self.host.endswith(_HIDDEN)

    def is_dead(self) -> bool:
        """Whether the process is known to be gone. A forked child may hold its lock all the same."""
        return self.is_here() and _start_of(self.pid) not in (self.start, _UNKNOWN)

    def is_alive(self) -> bool:
        """Whether the process is known to be there."""
        return self.is_here() and _start_of(self.pid) == self.start > _UNKNOWN

    def is_stopped(self) -> bool:
        """Whether the process is known to be there and stopped, as by SIGSTOP or a debugger."""
        return self.is_alive() and (_stat_of(self.pid) or [b""])[0] in (b"T", b"t")


def owner_record(call: str, keyring: Keyring) -> Record:
    """What this process writes into the claims that it takes now."""
    body = b'%s, "thread": %d, "since": %d' % (_body(call, os.getpid()), threading.get_native_id(), time.time_ns())
    return Record(body, keyring.signing_key)


@functools.lru_cache(1024)
def _body(call: str, pid: int) -> bytes:
    import json  # late for start-up time: a hit takes no claim

    return json.dumps({"host": _host(), "pid": pid, "start": _start_of(pid), "call": call[:_LONGEST]}).encode()[:-1]


def _tag(entry_path: str, body: bytes, key: bytes) -> bytes:
    name = entry_path.rpartition("/")[2].encode(errors="surrogateescape")
    return blake3(_CONTEXT + name + b"\0" + body, key=key).digest(_TAG)


def read_owner(entry_path: str, keyring: Keyring | None, suffix: str = CLAIM_SUFFIX) -> Owner | None:
    """Who is computing an entry; None when nobody is, or does not say so yet, or no key of ours vouches for them."""
    try:
        data = read_plain(entry_path + suffix, MAX_RECORD)
    except OSError as error:
        raise_if_interrupt(error)
        return None
    return owner_in(data, entry_path, keyring)


def owner_in(data: bytes, entry_path: str, keyring: Keyring | None) -> Owner | None:
    """What the bytes of a claim file say, None where no key vouches for them. Of the path only the name counts."""
    tag, body = data[:_TAG], data[_TAG:]
    keys = () if keyring is None else keyring.keys.values()
    if not any(compare_digest(tag, _tag(entry_path, body, key)) for key in keys):
        return None
    import json  # late for start-up time

    try:
        record: dict[str, Any] = json.loads(body)
        return Owner(
            printable(str(record["host"])),
            int(record["pid"]),
            int(record["start"]),
            printable(str(record["call"])),
            int(record["thread"]),
            int(record["since"]),
            tuple(map(str, record.get("awaits", ()))),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # of another release


def owner_of(path: str, keyring: Keyring | None) -> Owner | None:
    """What the claim file at a path says, that of a private claim as well."""
    entry_path, suffix, rest = path.rpartition(CLAIM_SUFFIX)
    return read_owner(entry_path, keyring, suffix + rest)


@functools.cache
def _host() -> str:
    """This machine since it was started, and the namespaces that its numbers and times belong to.

    A pid means nothing in another namespace of processes, nor a time of start in another one of times. Where `/proc`
    is missing, or tells of other processes than ours, nothing is known of anybody: then locks alone count.
    """
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    if sys.platform != "linux":
        return f"{name}/"
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return f"{name}/{_HIDDEN}"
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        processes = os.readlink("/proc/self/ns/pid")
        times = os.readlink("/proc/self/ns/time") if os.path.lexists("/proc/self/ns/time") else ""  # since Linux 5.6
    except OSError as error:
        raise_if_interrupt(error)
        return f"{name}/{_HIDDEN}"
    return f"{name}/{boot}/{processes}/{times}"


def _stat_of(pid: int) -> list[bytes] | None:
    """What the kernel says of a process from its state on; None where there is none of that number, or no `/proc`."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in the second field may hold anything, also spaces and parentheses.
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None  # gone, or another user's where those are hidden (hidepid)
    except OSError as error:
        raise_if_interrupt(error)
        return []


def _start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; else that it is gone, or that it cannot be told."""
    fields = _stat_of(pid)
    if fields is not None:
        try:
            return _GONE if fields[0] in (b"Z", b"X") else int(fields[19])
        except (IndexError, ValueError):
            return _UNKNOWN
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return _GONE
    except OSError:
        pass  # it lives, and belongs to another user
    return _UNKNOWN


def _forget() -> None:
    """A child has another number, and may be in other namespaces than its parent."""
    _host.cache_clear()
    _body.cache_clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
