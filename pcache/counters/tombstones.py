"""Which entries were removed, when and why, so that `explain` can say that a result was evicted.

A file beside the counters, to which processes append what they remove: sealed blocks of fixed-size records. Only one
sentence of a message depends on it.
"""

from __future__ import annotations

import os
import struct
import time

from pcache.layout import tombstones_path
from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, NamedTuple
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import read_plain, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.signing.keyring import Keyring

_RECORD = struct.Struct("<28sqB3x")  # function id and key, seconds since 1970, cause
_NAME = "removed"
_MAX_SIZE = 4 << 20  # bytes, 25,000 to 100,000 removals; the file before it is kept too
_KIND = b"removed"
_CAUSES = ("evicted", "cleared", "invalidated", "removed as damaged")


class Removal(NamedTuple):
    """When an entry was removed (seconds since 1970), and how: a word that fits after "it was"."""

    when: float
    cause: str


def note(root: str, names: Iterable[str], cause: str, keyring: Keyring | None, access: Access = PRIVATE) -> None:
    """Record that entries were removed, by function id and key; nothing without a key. Failing to is silent."""
    now, number = int(time.time()), _CAUSES.index(cause)
    records = b"".join(_RECORD.pack(bytes.fromhex(name), now, number) for name in names)
    if not records or keyring is None:
        return
    path = tombstones_path(root)
    try:
        folder = access.enter_or_make(root, os.path.dirname(path))
    except OSError as error:
        raise_if_interrupt(error)
        return
    try:
        fd = folder.open(_NAME, os.O_WRONLY | os.O_APPEND)
        try:
            write_all(fd, seal.block(_KIND, records[-_MAX_SIZE // _RECORD.size * _RECORD.size :], keyring))
            full = os.fstat(fd).st_size > _MAX_SIZE
        finally:
            os.close(fd)
        if full:
            folder.rename(_NAME, f"{_NAME}.1")
    except OSError as error:
        raise_if_interrupt(error)  # else a full or read-only disk: the removal itself is done
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def last(root: str, function_id: str, key: str, keyring: Keyring | None) -> Removal | None:
    """The latest recorded removal of an entry, if any."""
    name = bytes.fromhex(function_id + key)
    if keyring is None:
        return None
    for path in _paths(root):
        for records in reversed(_blocks(path, keyring)):
            at = _place_of(name, records)
            if at is not None:
                return _removal(*_RECORD.unpack_from(records, at)[1:])
    return None


def all_of(root: str, keyring: Keyring | None) -> dict[bytes, Removal]:
    """The latest recorded removal of each entry, by the bytes of its function id and key. 100,000 take 0.2 s."""
    if keyring is None:
        return {}
    return {
        name: _removal(when, number)
        for path in reversed(_paths(root))
        for records in _blocks(path, keyring)
        for name, when, number in _RECORD.iter_unpack(records[: len(records) // _RECORD.size * _RECORD.size])
    }


def _paths(root: str) -> tuple[str, str]:
    """The files of removals, the later ones first."""
    return tombstones_path(root), f"{tombstones_path(root)}.1"


def _blocks(path: str, keyring: Keyring) -> list[bytes]:
    try:
        data = read_plain(path, 2 * _MAX_SIZE + (1 << 20))
    except OSError as error:
        raise_if_interrupt(error)
        return []
    return seal.blocks(_KIND, data, keyring)[0]


def _removal(when: int, number: int) -> Removal:
    return Removal(float(min(max(when, 0), int(time.time()))), _CAUSES[number % len(_CAUSES)])


def _place_of(name: bytes, records: bytes) -> int | None:
    """The offset of the last record of an entry; bytes that look like its name may lie across two others."""
    at = records.rfind(name)
    while at >= 0 and at % _RECORD.size:
        at = records.rfind(name, 0, at + len(name) - 1)
    return at if at >= 0 else None
