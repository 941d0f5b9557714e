"""The ledger on disk: hits, misses and time saved, by function and hour.

    <root>/v1/ledger/counters          blocks of lines that were appended last
    <root>/v1/ledger/counters.<16 hex> the same, full and soon to be merged
    <root>/v1/ledger/totals            what was merged, of the same lines, as one block
    line = hour function (TAB counter SP number)*
    totals begin with since TAB files TAB files: since when they count, the files that were set aside, those merged last

A process counts in memory and appends at intervals and when it ends; a forked child starts at zero. Appending takes no
lock: one write to a file opened for appending goes in one piece, and a process that only hits loads no locks. Only
merging takes one. Numbers of one hour, function and counter add up, of any process, so that counters of other releases
are kept. Blocks are sealed (`signing/seal.py`), and only files that the totals name are opened. A block that was cut
short, damaged or not written with our key is skipped: losing the ledger loses statistics only.

Safe for threads, processes and forks. A killed process loses what it counted since it last appended.
"""

from __future__ import annotations

import functools
import os
import time

from pcache.counters.line_format import COUNTED, HOUR, MAX_SIZE, Amounts, Totals, add, by_day, lines_of, totals_of
from pcache.layout import ledger_folder, locks_folder
from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, NamedTuple, pattern
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import NO_FILE, is_plain_or_none, read_plain, write_all

if TYPE_CHECKING:
    from pcache.signing.keyring import Keyring
    from pcache.system.directories import OpenFolder

_SETTLED = 60.0  # seconds after which no process still appends to a file that was set aside
_MAX_TOTALS = 64 << 20
_IDLE = 60.0  # seconds without a sign of the merging process, after which it is done without them
_TOTALS = b"totals"  # the kind of what is sealed
_ASIDE = pattern(r"counters\.[0-9a-f]{16}")


class Reading(NamedTuple):
    """The counts of the ledger since a time; `damaged` is the number of lines that could not be read."""

    amounts: Amounts
    since: float
    damaged: int


def read(root: str, keyring: Keyring | None) -> Reading:
    """All counts that were written; an empty reading if there are none, or no key."""
    folder = ledger_folder(root)
    if keyring is None:
        return Reading({}, 0.0, 0)
    for _ in range(5):
        before = _identities(folder)
        reading = _read(folder, keyring)
        if before == _identities(folder):
            break  # else lines moved between files meanwhile, and may have been read twice or not at all
    return reading


def _identities(folder: str) -> list[tuple[int, int]]:
    found = []
    for name in ("totals", "counters"):
        try:
            status = os.stat(os.path.join(folder, name))
        except OSError as error:
            raise_if_interrupt(error)
            found.append((0, 0))
        else:  # appending changes the time
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

    Files that were set aside a moment ago stay: another process may still be appending to them.
    """
    from pcache.system.locks import take  # late for start-up time

    root = os.path.dirname(os.path.dirname(folder))
    locks = access.enter_or_make(root, locks_folder(root))
    try:
        lock = take(locks, "ledger", 1.0 if zero else 0.0, idle=_IDLE)
        if lock is None:
            return False
        with lock:  # in here, since an interrupt may come where the folder is closed
            opened = access.enter_or_make(root, folder)
            try:
                _merge(opened, keyring, zero=zero)
            finally:
                os.closerange(opened.fd, opened.fd + 1)
    finally:
        os.closerange(locks.fd, locks.fd + 1)
    return True


def _merge(folder: OpenFolder, keyring: Keyring, *, zero: bool) -> None:
    now, path = time.time(), folder.path
    totals = _read_totals(path, keyring, strictly=True)
    for name in totals.merged:
        _discard(folder, name)  # its merger was killed before removing it
    settled = [name for name in totals.aside if zero or _is_settled(folder, name, now)]
    waiting, fresh = [name for name in totals.aside if name not in settled], f"counters.{os.urandom(8).hex()}"
    since, amounts = now, Amounts()
    if zero:
        settled.append(fresh)
    else:
        waiting.append(fresh)
        since = totals.since or _read(path, keyring).since or now
        add(amounts, totals.lines)
        seen: set[bytes] = set()
        for name in settled:
            _add_file(amounts, path, name, keyring, seen, strictly=True)
    lines = "\n".join(lines_of(by_day(amounts, now)))
    # The new file is named before it exists, so that the next merger finds what a killed one set aside.
    _write_totals(folder, Totals(since, tuple(waiting), tuple(settled), lines), keyring)
    _set_aside(folder, fresh)
    for name in settled:
        _discard(folder, name)


def sweep(root: str, keyring: Keyring | None, age: float, access: Access = PRIVATE) -> None:
    """Remove files that were set aside, judging by their names, and are missing in our totals. Raises `OSError`."""
    folder = access.enter(root, ledger_folder(root))
    if folder is None:
        return
    try:
        totals = Totals() if keyring is None else _read_totals(folder.path, keyring, strictly=True)
        if totals.since:  # else they may belong to others
            for name in set(filter(_ASIDE.fullmatch, folder.names())).difference(totals.aside):
                if time.time() - folder.status(name).st_mtime > age:
                    _discard(folder, name)
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def _discard(folder: OpenFolder, name: str) -> None:
    """Remove a merged file, or whatever has its name."""
    if _ASIDE.fullmatch(name):
        folder.make_way(name)
        folder.remove(name)


def _set_aside(folder: OpenFolder, name: str) -> None:
    """Rename the file of appended lines."""
    try:
        folder.rename("counters", name)
    except FileNotFoundError:
        return
    path, below = folder.at(name)
    if is_plain_or_none(path, below):
        os.utime(path, dir_fd=below)  # set aside now


def _is_settled(folder: OpenFolder, name: str, now: float) -> bool:
    try:
        return abs(now - folder.status(name).st_mtime) > _SETTLED
    except FileNotFoundError:
        return True  # its merger was killed before it could set it aside


def _read_totals(folder: str, keyring: Keyring, *, strictly: bool = False) -> Totals:
    data = _content(folder, "totals", _MAX_TOTALS, strictly=strictly, believing=keyring)
    (body,) = seal.blocks(_TOTALS, data, keyring)[0][:1] or (b"",)
    totals = totals_of(body.decode("utf-8", "replace"))
    return totals._replace(aside=tuple(filter(_ASIDE.fullmatch, totals.aside)))


def _write_totals(folder: OpenFolder, totals: Totals, keyring: Keyring) -> None:
    temporary = "totals.new"  # one name, as one process at a time merges
    fd = uninterrupted(folder.open, temporary, os.O_WRONLY)
    try:
        os.ftruncate(fd, 0)
        write_all(fd, seal.block(_TOTALS, totals.text().encode(), keyring))
    finally:
        os.closerange(fd, fd + 1)
    folder.rename(temporary, "totals")


def _add_file(
    amounts: Amounts, folder: str, name: str, keyring: Keyring, seen: set[bytes], *, strictly: bool = False
) -> int:
    """Add the counts in a file's blocks; return how many blocks and lines are damaged."""
    found, damaged = seal.blocks(COUNTED, _content(folder, name, MAX_SIZE, strictly=strictly), keyring, seen)
    return damaged + sum(add(amounts, body.decode("utf-8", "replace")) for body in found)


def _content(folder: str, name: str, limit: int, *, strictly: bool = False, believing: Keyring | None = None) -> bytes:
    """The content of a file; empty if it cannot be read, or if `strictly` only where there is none, for a merge."""
    believe = None if believing is None else functools.partial(seal.is_whole, _TOTALS, believing)
    try:
        return read_plain(os.path.join(folder, name), limit, believe=believe)
    except OSError as error:
        raise_if_interrupt(error)
        if strictly and error.errno not in NO_FILE:
            raise
        return b""
