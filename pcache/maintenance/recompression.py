"""Recompress stored results. Nothing is unpickled."""

from __future__ import annotations

from pcache.errors import Miss
from pcache.eviction.repacking import repack
from pcache.maintenance.records import Recompressed
from pcache.startup import TYPE_CHECKING
from pcache.storage.store import on_disk
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.eviction.deletion import Progress
    from pcache.signing.keyring import Keyring
    from pcache.storage.store import Store, StoredFile


def recompress(
    store: Store,
    keyring: Keyring,
    files: Iterable[StoredFile],
    setting: str | int,
    total: int,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Recompressed:
    """Recompress entries by "none", "auto" or a zstd level, if that changes their size on disk by a block or more.

    Readers get either the old or the new file. An entry that is being computed anew, or cannot be read, is left as it
    is. With "none" entries grow: large arrays can then be mapped. "auto" goes as far as upkeep does with cold results.
    """
    entries = before = after = 0
    skipped = 0
    for done, item in enumerate(files, 1):
        try:
            length = repack(store, keyring, item, setting, who="pcache recompress", dry_run=dry_run)
        except Miss:
            length = None
        except OSError as error:
            raise_if_interrupt(error)
            length = None
        if length is None:
            skipped += 1
        elif length != item.length:
            entries += 1
            before, after = before + item.size, after + on_disk(length)
        if progress is not None:
            progress(done, max(total, done))
    return Recompressed(entries, before, after, skipped)
