"""Objects whose pickle holds a path, and nothing of what the file contains.

Pickle takes many a handle for its path, so that its key stays while the file changes. Those that pcache knows count by
the file; of others the user is told, once for each class. Paths and texts by themselves are what they say they are.
"""

from __future__ import annotations

import os

from pcache.errors import PcacheWarning
from pcache.objects.lookup import bases_of, full_name, member, module_of, qualname_of
from pcache.startup import TYPE_CHECKING, Any, late

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcache.system import notices
else:
    notices = late("pcache.system.notices")

_MOST_PARTS = 100
_DEEP = 3
_LONGEST_PATH = 4096
_PROTOCOL = 5


def texts_in(reduced: Any, most: int = _MOST_PARTS) -> Iterator[str]:
    """The texts and paths in an object's pickle, as far as they lie in plain containers at its surface."""
    queue: list[tuple[Any, int]] = [(part, 0) for part in (reduced[1:] if isinstance(reduced, tuple) else ())]
    for part, depth in queue:
        if type(part) in (str, bytes) or _is_path(part):
            text = os.fsdecode(part)
            if 0 < len(text) < _LONGEST_PATH and "\0" not in text:
                yield text
        elif depth < _DEEP and len(queue) < most and type(part) in (dict, list, tuple):
            inner = part.values() if type(part) is dict else part
            queue += [(one, depth + 1) for one, _ in zip(inner, range(most), strict=False)]


def _is_path(value: object) -> bool:
    return any(
        qualname_of(base) == "PurePath" and module_of(base).startswith("pathlib") for base in bases_of(type(value))
    )


def _says_what_it_is(cls: type) -> bool:
    """Whether objects of a class are paths, or time zones, which hold the content of their file beside its name."""
    return member(cls, "__fspath__") is not None or any(
        (module_of(base), qualname_of(base)) == ("datetime", "tzinfo") for base in bases_of(cls)
    )


def tell_of_files(obj: Any) -> None:
    """Warn about an object whose pickle holds the absolute path of an existing file."""
    if _says_what_it_is(type(obj)):
        return
    for text in texts_in(obj.__reduce_ex__(_PROTOCOL)):
        if os.path.isabs(text) and os.path.isfile(text):
            name = full_name(type(obj))
            notices.warn_once(
                (name, "counts by its path"),
                f"a {name} in a key counts by its path, not by what is in it ({text}). If the file may change, pass"
                f" pcache.File(...) as well, list pathlib.Path(...) in depends_on=, or say what counts with"
                f" pcache.register_key({name!r}, function_of_it).",
                PcacheWarning,
            )
            return
