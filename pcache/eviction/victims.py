"""Choose the entries to evict: the least valuable of a part of a directory, down to its share of the limits.

Keys are spread evenly over the shards, so the least valuable entries of some shards are of little value anywhere.
"""

from __future__ import annotations

import sys
import time

from pcache.eviction.policy import Limits, plan
from pcache.eviction.usage import Amount
from pcache.startup import TYPE_CHECKING
from pcache.versions import registry
from pcache.versions.superseded import superseded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pcache.storage.directory import Directory
    from pcache.storage.store import StoredFile

_KEEP = 0.9  # share that an eviction while storing keeps, so that the next one is not due at once
_BELIEVED = 600.0  # seconds until the list of superseded versions is made anew


class Chooser:
    """Chooses entries to remove by the policy of a directory, first those of versions whose code is gone.

    With `most_versions` names or more in the registry, no version counts as superseded.
    """

    def __init__(self, directory: Directory, most_versions: int = sys.maxsize) -> None:
        self._directory = directory
        self._most_versions = most_versions
        self._superseded: tuple[float, frozenset[str]] = (float("-inf"), frozenset())

    def of_part(self, items: Sequence[StoredFile], limits: Limits, total: Amount) -> list[StoredFile]:
        """Which of some entries to remove, out of `total` in all, to bring all within the limits again."""
        there = Amount(len(items), sum(item.size for item in items))
        size, entries = limits.max_size, limits.max_entries
        return self._plan(
            items,
            Limits(
                None if size is None else int(there.size * _KEEP * min(size / max(total.size, 1), 1)),
                None if entries is None else int(there.entries * _KEEP * min(entries / max(total.entries, 1), 1)),
            ),
        )

    def of_parts(self, parts: Iterable[Sequence[StoredFile]], count: int, limits: Limits) -> Iterator[list[StoredFile]]:
        """Which entries of each of `count` parts, of about the same size, to remove to meet the limits exactly.

        Each part gets an equal share of the limit that the parts before it left, and the last one all of it.
        """
        size, entries, max_age = limits
        for number, items in enumerate(parts):
            left = count - number
            share = Limits(
                None if size is None else size // left, None if entries is None else entries // left, max_age
            )
            victims = self._plan(items, share)
            room = sum(item.size for item in items) - sum(item.size for item in victims)
            size = None if size is None else max(size - room, 0)
            entries = None if entries is None else max(entries - len(items) + len(victims), 0)
            yield victims

    def _plan(self, items: Iterable[StoredFile], limits: Limits) -> list[StoredFile]:
        return plan(items, limits, time.time_ns(), policy=self._directory.settings.policy, doomed=self._gone())

    def _gone(self) -> frozenset[str]:
        """The versions that are no longer in the code on disk."""
        made, ids = self._superseded
        if time.monotonic() - made > _BELIEVED:
            folder, keyring = self._directory.functions, self._directory.keys.look()
            ids = frozenset(superseded(folder, keyring, registry.read_all(folder, keyring, most=self._most_versions)))
            self._superseded = (time.monotonic(), ids)
        return ids
