"""The files of the registry: written whole under a name, and read only where one of our keys sealed them."""

from __future__ import annotations

import functools
import itertools
import os
import sys

from pcache.signing import seal
from pcache.startup import TYPE_CHECKING
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import NO_FILE, read_plain, write_all

if TYPE_CHECKING:
    from pcache.signing.keyring import Keyring

MAX_SIZE = 4 << 20  # bytes


def write(path: str, data: bytes, access: Access = PRIVATE, *, durable: bool = False) -> None:
    """Write a file atomically; raises `OSError`."""
    place, name = os.path.split(path)
    folder = access.enter_or_make(os.path.dirname(os.path.dirname(place)), place)
    try:
        temporary = f"{name}.{os.urandom(4).hex()}"
        try:
            fd = folder.open(temporary, os.O_WRONLY | os.O_EXCL)
            try:
                write_all(fd, data)
                folder.rename(temporary, name)
                if durable:
                    os.fsync(fd)  # after the renaming, so that the new name is on the disk too
            finally:
                os.close(fd)
        except BaseException:
            folder.remove(temporary)  # a full disk: leave no incomplete file
            raise
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def read(path: str, keyring: Keyring, kind: bytes, *, strictly: bool, limit: int = MAX_SIZE) -> bytes | None:
    """The content of a file; None if it is gone, or begins with no seal of ours.

    With `strictly` raises `OSError` if it cannot be read now.
    """
    try:
        return read_plain(path, limit, believe=functools.partial(seal.is_whole, kind, keyring))
    except OSError as error:
        raise_if_interrupt(error)
        if strictly and error.errno not in NO_FILE:
            raise
        return None


def names(folder: str, most: int = sys.maxsize) -> list[str]:
    """The names in a folder; empty if there are `most` or more."""
    try:
        if most == sys.maxsize:
            return os.listdir(folder)
        with uninterrupted(os.scandir, folder) as items:
            found = [item.name for item in itertools.islice(items, most)]
    except OSError as error:
        raise_if_interrupt(error)
        return []
    return found if len(found) < most else []
