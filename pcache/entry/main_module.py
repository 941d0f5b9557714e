"""Whether the names in a pickle mean the same in a module run as a script and in one that is imported.

`python script.py` runs as `__main__` what others import as `script`, and a pool's workers see it as `__mp_main__`. The
function's name is the same in all of them, so they share results. Names in pickles are not: `__main__.Point` is a class
of the program that runs, and `script.Point` another one. If the function's code mentions the class, its fingerprint
distinguishes them. For classes that no analysis sees, entries are marked here, and the mark is checked on reading.
"""

from __future__ import annotations

import sys
from itertools import chain

from pcache.keys.names import _MAIN, Home
from pcache.objects.lookup import attributes_of
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_MISSING = object()
SHARED, MADE_BY_MAIN, MADE_BY_IMPORT = 0, 1, 2  # flags of an entry


def flags_of(stream: bytes, home: Home | None) -> int:
    """The flags of an entry: whether its pickle names the function's own module, and how that was loaded."""
    if home is None or home.namespace is None:
        return SHARED
    if home.is_main:
        named = b"main__" in stream and any(_names(stream, module) for module in _MAIN)
        return MADE_BY_MAIN if named else SHARED
    return MADE_BY_IMPORT if home.name.encode() in stream and _names(stream, home.name) else SHARED


def _names(stream: bytes, module: str) -> bool:
    """Whether a pickle, or one of an older protocol inside of it, may name a module; may be true of other data."""
    name = module.encode()
    return b"\x8c" + bytes([len(name) & 0xFF]) + name in stream or b"c" + name + b"\n" in stream


def means_the_same(flags: int, stream: Any, home: Home | None, *, is_chunk: bool = False) -> bool:
    """Whether the names in a marked entry's pickle mean the same objects as in the function's own module.

    True in the program that made it, where both are one module. Nothing is imported, as that would run a script. Of a
    stored stream, `stream` are the pickles in one chunk, which may name none of the module's objects.
    """
    if home is None or home.namespace is None or flags not in (MADE_BY_MAIN, MADE_BY_IMPORT):
        return False
    module = "__main__" if flags == MADE_BY_MAIN else home.name
    loaded = attributes_of(sys.modules.get(module))
    if loaded is home.namespace:
        return True
    from pcache.entry.pickle_imports import (
        imports_of,  # late for start-up time: the program that made an entry needs no look at it
    )

    named = chain.from_iterable(imports_of(bytes(one)) for one in (stream if is_chunk else (stream,)))
    return names_mean_the_same(flags, named, home, may_be_none=is_chunk)


def names_mean_the_same(flags: int, imports: Iterable[str], home: Home | None, *, may_be_none: bool = False) -> bool:
    """The same, by the names that the pickle would import."""
    if home is None or home.namespace is None:
        return False
    module = "__main__" if flags == MADE_BY_MAIN else home.name
    loaded = attributes_of(sys.modules.get(module))
    names = set()
    for imported in imports:
        for prefix in _MAIN if flags == MADE_BY_MAIN else (module,):
            if imported.startswith(f"{prefix}."):
                names.add(imported[len(prefix) + 1 :].partition(".")[0])
    return bool(names or may_be_none) and all(loaded.get(name, _MISSING) is home.namespace.get(name) for name in names)
