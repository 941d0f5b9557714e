"""Which entries go when a limit is exceeded. Pure: the entries, the limits and the clock are passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcache.store import StoredFile


class Limits(NamedTuple):
    """What may stay. `max_age` is in seconds since an entry was last used, to the hour; None means no limit."""

    max_size: int | None = None
    max_entries: int | None = None
    max_age: float | None = None


def plan(entries: Iterable[StoredFile], limits: Limits, now_ns: int) -> list[StoredFile]:
    """Return the entries to remove, the least recently used first."""
    by_use = sorted(entries, key=lambda item: (item.used_ns, item.key))
    count, size = len(by_use), sum(item.size for item in by_use)
    victims = []
    for item in by_use:
        too_old = limits.max_age is not None and now_ns - item.used_ns > limits.max_age * 1e9
        too_many = limits.max_entries is not None and count > limits.max_entries
        too_big = limits.max_size is not None and size > limits.max_size
        if not (too_old or too_many or too_big):
            break
        victims.append(item)
        count -= 1
        size -= item.size
    return victims
