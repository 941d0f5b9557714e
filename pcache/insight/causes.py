"""Why results were missing that had been there: told afterwards, so that no call pays for it.

What is stored now was computed. If the same entry was removed before, that is why; if the same call has an earlier
result of another version of the code, that is why. Results that are gone again, removals that were forgotten (100,000
are kept at most) and functions with too many entries to open are not told, so the numbers are at least what they say.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from pcache.counters import tombstones
from pcache.errors import Miss
from pcache.maintenance.selection import inspect_entry
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcache.counters.tombstones import Removal
    from pcache.storage.directory import Directory
    from pcache.storage.store import StoredFile

EDITED = "code edited"
_OPENED = 5000  # entries: 0.25 s


def of_computed_again(
    directory: Directory, files: Sequence[StoredFile], names: Mapping[str, str], since: float
) -> dict[str, int]:
    """How many results were computed again since a time, by how they got lost. `names` are those of functions by id."""
    removed = tombstones.all_of(directory.location, directory.keys.look())

    def removal_of(item: StoredFile) -> Removal | None:
        return removed.get(bytes.fromhex(item.function_id + item.key)) if removed else None

    removals = filter(None, map(removal_of, files))
    counts = Counter(removal.cause for removal in removals if removal.when >= since)
    counts[EDITED] = sum(1 for item in _edited(directory, files, names, since) if removal_of(item) is None)
    return dict(+counts)


def _edited(
    directory: Directory, files: Iterable[StoredFile], names: Mapping[str, str], since: float
) -> list[StoredFile]:
    """The entries whose call has an earlier result of another version."""
    by_name: dict[str, list[StoredFile]] = defaultdict(list)
    for item in files:
        if item.function_id in names:
            by_name[names[item.function_id]].append(item)
    several = [items for items in by_name.values() if len({item.function_id for item in items}) > 1]
    found, left = [], _OPENED
    for items in sorted(several, key=len):
        if (left := left - len(items)) < 0:
            break
        calls: dict[Any, list[tuple[int, StoredFile]]] = defaultdict(list)
        for item in items:
            if (call := _call(directory, item)) is not None:
                calls[call[0]].append((call[1], item))
        for results in calls.values():
            first, *later = sorted(results, key=lambda result: result[0])
            found += [
                item
                for created_ns, item in later
                if item.function_id != first[1].function_id and created_ns / 1e9 >= since
            ]
    return found


def _call(directory: Directory, item: StoredFile) -> tuple[Any, int] | None:
    """What tells the call of an entry from others, whatever the version, and when it was made; None if that is unknown.

    Digests are keyed: those made with two keys cannot be compared.
    """
    try:
        header, meta, *_ = inspect_entry(directory, item, stream=False)
    except Miss:
        return None  # damaged, or removed meanwhile
    digests = meta.get("digests")
    if not isinstance(digests, dict) or not all(digests.values()):
        return None  # a long argument has no digest
    return (header.key_id, frozenset(digests.items())), header.created_ns
