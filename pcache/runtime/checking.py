"""Whether a function returns the same again: by the digests of two results, with the path to where they differ."""

from __future__ import annotations

from pcache.errors import PcacheWarning
from pcache.keys.encoder import digest, encode
from pcache.objects.lookup import attributes_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import attempt
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 100


def difference(first: Any, second: Any) -> str | None:
    """Where two results differ, such as `result["loss"][3]`; None if they do not, or one of them has no digest."""
    digests = _digest(first), _digest(second)
    if None in digests or digests[0] == digests[1]:
        return None
    path = "result"
    for _ in range(_DEEPEST):
        step = next(_differing(first, second), None)
        if step is None:
            break
        name, first, second = step
        path += name
    return path


def _digest(value: Any) -> bytes | None:
    found, _ = attempt(lambda: digest(b"", encode(value)))
    return found  # type: ignore[no-any-return]  # of `digest`


def _differing(first: Any, second: Any) -> Iterator[tuple[str, Any, Any]]:
    """The parts in which two objects differ, each with its name."""
    if type(first) is not type(second):
        return
    for (name, one), (other_name, other) in zip(_parts(first), _parts(second), strict=False):
        if name != other_name:
            return
        digests = _digest(one), _digest(other)
        if None not in digests and digests[0] != digests[1]:
            yield name, one, other


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a container, a frame or an object, with what follows its name to name them."""
    if isinstance(value, dict):
        return ((f"[{key!r:.60}]", part) for key, part in value.items())
    if isinstance(value, tuple) and (fields := getattr(type(value), "_fields", None)):
        return ((f".{name}", part) for name, part in zip(fields, value, strict=False))
    if isinstance(value, (list, tuple)):
        return ((f"[{place}]", part) for place, part in enumerate(value))
    columns = getattr(value, "columns", None)
    if columns is not None and hasattr(type(value), "__getitem__"):
        return ((f"[{name!r:.60}]", value[name]) for name in columns)
    return ((f".{name}", part) for name, part in attributes_of(value).items())


def say_difference(name: str, call: str, path: str) -> None:
    """Warn once that a function returned something else than is stored."""
    warn_once(
        (name, "impure"),
        f"{call} returned something else than what was stored: {path} differs. Its results depend on something that"
        " pcache does not know: chance, time, a file, a service, or the order of threads. The new result is stored.",
        PcacheWarning,
    )
