"""Remove leftovers of killed processes in a cache directory, and beside the user's key."""

from __future__ import annotations

import os
import time

from pcache.counters import ledger
from pcache.errors import DirectoryError
from pcache.signing.keyring import UNFINISHED
from pcache.startup import TYPE_CHECKING
from pcache.system.directories import open_folder
from pcache.system.interrupts import raise_if_interrupt
from pcache.versions import registry

if TYPE_CHECKING:
    from pcache.storage.directory import Directory

_LEFT_BEHIND = 3600  # seconds after which a small temporary file is a leftover


def sweep(directory: Directory) -> int:
    """Remove leftovers of killed processes; return the number of claims among them."""
    temporary = registry.paths(directory.functions, temporary=True)
    for path in [*temporary, *registry.unused_tables(directory.functions, directory.keys.look())]:
        try:
            if abs(time.time() - os.stat(path).st_mtime) > _LEFT_BEHIND:
                directory.access.remove(directory.location, path)
        except OSError as error:
            raise_if_interrupt(error)
            continue  # renamed by its writer meanwhile
    try:
        ledger.sweep(directory.location, directory.keys.keyring, _LEFT_BEHIND, directory.access)
    except OSError as error:
        raise_if_interrupt(error)  # else there is none, or the next sweep removes it
    if directory.keys.path is not None:
        _sweep_key_folder(directory.keys.path)
    return directory.store.sweep(keyring=directory.keys.look())


def _sweep_key_folder(path: str) -> None:
    """Remove the temporary files of processes that were killed while they made a signing key: these may hold it."""
    place, name = os.path.split(os.path.abspath(path))
    try:
        folder = open_folder(place, place, shared=False)
    except DirectoryError:
        return  # others may write to it: these may be their files
    if folder is None:
        return
    try:
        for other in folder.names():
            if not other.startswith(name) or not UNFINISHED.fullmatch(other.removeprefix(name)):
                continue
            if time.time() - folder.status(other).st_mtime > _LEFT_BEHIND:
                folder.remove(other)
    except OSError as error:
        raise_if_interrupt(error)  # else the next sweep tries again
    finally:
        os.closerange(folder.fd, folder.fd + 1)
