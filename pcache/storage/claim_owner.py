"""The record in a claim: which process computes, authenticated.

A record is tagged with the signing key and bound to one entry: a user who can write into the directory, but does not
have the key, cannot make calls wait. A record is parsed only after its tag was checked.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from _operator import _compare_digest as compare_digest  # see entry/format.py

from blake3 import blake3

from pcache.layout import CLAIM_SUFFIX
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.safefiles import read_plain
from pcache.text.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcache.signing.keyring import Keyring

MAX_OWNER = 16 << 10  # bytes of an owner record
_TAG = 32  # bytes of the tag in front of it
MAX_RECORD = _TAG + MAX_OWNER
_CONTEXT = b"pcache claim\0"  # so that a record's tag is not valid for anything else
_LONGEST = 1000  # characters of a function's name
_GONE, _UNKNOWN = 0, 1  # special values of when a process started
_HIDDEN = "?"  # suffix of a host whose processes cannot be told apart


class Record(NamedTuple):
    """What an owner writes into a claim, as JSON without its last brace, and the key to tag it with."""

    body: bytes
    key: bytes

    def sealed(self, entry_path: str, awaits: Sequence[str] = ()) -> bytes:
        """The bytes of the record in the claim of an entry, with the entries that the owner waits for."""
        more = b""
        if awaits:
            import json  # late for start-up time

            more = b', "awaits": ' + json.dumps(list(awaits)).encode()
        body = self.body + more + b"}"
        return _tag(entry_path, body, self.key) + body


class Owner(NamedTuple):
    """The holder of a claim, read from its file: to be shown, and to recognise an owner that died."""

    host: str
    pid: int
    start: int
    call: str
    thread: int = 0  # the system's number of the thread that computes
    since_ns: int = 0  # when the claim was taken
    awaits: tuple[str, ...] = ()  # the paths of the entries that it waits for

    def is_here(self) -> bool:
        """Whether the process is of this machine and these namespaces, so that its number and start time are valid."""
        return self.host == _host() and not self.host.endswith(_HIDDEN)

    def is_dead(self) -> bool:
        """Whether the process is known to be dead. A forked child may still hold its lock."""
        return self.is_here() and _start_of(self.pid) not in (self.start, _UNKNOWN)

    def is_alive(self) -> bool:
        """Whether the process is known to live."""
        return self.is_here() and _start_of(self.pid) == self.start > _UNKNOWN

    def is_stopped(self) -> bool:
        """Whether the process is known to live and to be stopped, as by SIGSTOP or a debugger."""
        return self.is_alive() and (_stat_of(self.pid) or [b""])[0] in (b"T", b"t")


def owner_record(call: str, keyring: Keyring) -> Record:
    """The record that this thread writes into a claim that it takes now."""
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
    """Who is computing an entry; None if there is no claim, or no record yet, or none that our keys authenticate."""
    try:
        data = read_plain(entry_path + suffix, MAX_RECORD)
    except OSError as error:
        raise_if_interrupt(error)
        return None
    return owner_in(data, entry_path, keyring)


def owner_in(data: bytes, entry_path: str, keyring: Keyring | None) -> Owner | None:
    """Parse the bytes of a claim file; None if no key authenticates them. Of the path only the name counts."""
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
        return None  # written by another release


def owner_of(path: str, keyring: Keyring | None) -> Owner | None:
    """The owner in the claim file at a path, also of a private claim."""
    entry_path, suffix, rest = path.rpartition(CLAIM_SUFFIX)
    return read_owner(entry_path, keyring, suffix + rest)


@functools.cache
def _host() -> str:
    """This machine since it was booted, and the namespaces that its pids and start times belong to.

    A pid is not valid in another pid namespace, nor a start time in another time namespace. Where `/proc` is missing,
    or shows another pid namespace, nothing is known of any process: then only locks count.
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
    """The fields of `/proc/<pid>/stat` from the state on; None if there is no such process, or no `/proc`."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in the second field may contain spaces and parentheses.
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None  # gone, or of another user and hidden (hidepid)
    except OSError as error:
        raise_if_interrupt(error)
        return []


def _start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; `_GONE` if it is dead, `_UNKNOWN` if that cannot be told."""
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
    """Forget what a forked child does not share: it has another pid, and may be in other namespaces."""
    _host.cache_clear()
    _body.cache_clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
