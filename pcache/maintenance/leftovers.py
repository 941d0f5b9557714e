"""Remove what killed processes left in a cache directory, and beside the user's key."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pcache.counters import ledger
from pcache.errors import DirectoryError
from pcache.signing.keyring import UNFINISHED
from pcache.system.directories import open_folder
from pcache.system.interrupts import raise_if_interrupt
from pcache.versions import registry

if TYPE_CHECKING:
    from pcache.storage.directory import Directory

_LEFT_BEHIND = 3600  # seconds after which nobody is still writing a small file


def sweep(directory: Directory) -> int:
    """Remove what killed processes left behind; return how many claims that were."""
    for path in registry.paths(directory.functions, temporary=True):
        try:
            if abs(time.time() - os.stat(path).st_mtime) > _LEFT_BEHIND:
                directory.access.remove(directory.location, path)
        except OSError as error:
            raise_if_interrupt(error)
            continue  # renamed by its writer meanwhile
    try:
        ledger.sweep(directory.location, directory.keys.keyring, _LEFT_BEHIND, directory.access)
    except OSError as error:
        raise_if_interrupt(error)  # else there is none, or it is for the next time
    if directory.keys.path is not None:
        _sweep_key_folder(directory.keys.path)
    return directory.store.sweep(keyring=directory.keys.look())


def _sweep_key_folder(path: str) -> None:
    """Remove what processes that were killed while they made a signing key left beside it: it may hold the key."""
    place, name = os.path.split(os.path.abspath(path))
    try:
        folder = open_folder(place, place, shared=False)
    except DirectoryError:
        return  # one that others may write to: whose files these are cannot be told
    if folder is None:
        return
    try:
        for other in folder.names():
            if not other.startswith(name) or not UNFINISHED.fullmatch(other.removeprefix(name)):
                continue
            if time.time() - folder.status(other).st_mtime > _LEFT_BEHIND:
                folder.remove(other)
    except OSError as error:
        raise_if_interrupt(error)  # else what cannot be removed now stays for the next time
    finally:
        os.closerange(folder.fd, folder.fd + 1)
