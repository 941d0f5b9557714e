"""The digests that a part may have whose value is written in a file: as a whole, or as code reads it."""

from __future__ import annotations

from pcache.fingerprint.dataflow import uses_of
from pcache.fingerprint.parts import digest_of
from pcache.fingerprint.tables import pairs_of
from pcache.fingerprint.uses import KEYS, key_of
from pcache.fingerprint.walk import Walk
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType

_DIGITS = 16


def digests_of_value(value: Any, name: str, codes: Iterable[CodeType]) -> Iterator[str]:
    """The digests of a value; those of a dict also as some code sees it, by the items that this reads of `name`."""
    walk = Walk()
    yield _digest(walk.reference(value, ""))
    if isinstance(value, dict):
        missing = walk.reference(None, "")
        yield _digest(("any item", missing, sorted(map(digest_of, pairs_of(walk.values, value, "")))))
        keys = [key_of(step) for step in sorted(_steps_after(name, codes))]
        items = [(key, walk.reference(value[key], "")) for key in keys if key in value]
        yield _digest(("items", "dict", missing, items))
    walk.end()


def _steps_after(name: str, codes: Iterable[CodeType]) -> set[str]:
    """The items that code reads of a global, or of a module's attribute of that name."""
    found = set[str]()
    for code in codes:
        uses = uses_of(code)
        for path in uses.handed | uses.read:
            steps = (f".{path.name}", *path.steps) if path.root == "global" else ()
            at = steps.index(f".{name}") + 1 if f".{name}" in steps else len(steps)
            found.update(steps[at : at + 1])
    return {step for step in found if step.startswith("[") and step not in (KEYS, "[]")}


def _digest(token: object) -> str:
    return digest_of(token).hex()[:_DIGITS]
