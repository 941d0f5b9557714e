"""Calls of numbers and short texts, spelled out as bytes: found again in memory without making their keys.

Nothing is gained for lists and dicts: looking at their members takes as long as encoding them.
"""

from __future__ import annotations

import marshal

from pcache.startup import Any

# Of these exact types `marshal` writes the same bytes for the same values only. Not of all: of a `bytearray` it writes
# those of `bytes`.
_SCALARS = frozenset((int, float, bool, type(None)))
_TEXTS = frozenset((str, bytes))
_SHORT = 100  # characters or bytes
_VERSION = 2  # the last one without references, which depend on the identity of objects


def spell(values: tuple[Any, ...]) -> bytes | None:
    """The spelling of a call whose arguments are numbers and short texts; None for others."""
    for value in values:
        kind = type(value)
        if kind is not int and kind not in _SCALARS and not (kind in _TEXTS and len(value) <= _SHORT):
            return None
    return marshal.dumps(values, _VERSION)
