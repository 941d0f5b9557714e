"""Describe what differs between two versions of a function, or between two calls."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pcache.objects.summary import CAPTURED, NOT_SHOWN
from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcache.signing.keyring import Keyring
    from pcache.versions.registry import FunctionVersion

# The kinds in the order in which they are shown. For parts of a fingerprint, the kind is the first word of the label.
KINDS = (
    "argument",
    "captured",
    "identity",
    "place",
    "parameters",
    "version",
    "python",
    "function",
    "class",
    "making",
    "ignored",
    "constant",
    "name",
    "depends_on",
    "file",
    "key",
    "package",
)
_CODE = ("function", "class", "making")
_SHOWN = ("version", "constant", "name", "depends_on", "package")  # kinds whose values are shown
_WORDS = {
    "identity": "its name",
    "place": "its file",
    "version": "version=",
    "python": "Python",
    "depends_on": "what depends_on= names,",
    "key": "the key function of",
    "captured": "captured values",
    "name": "what is meant by",
    "making": "what makes",
    "ignored": "ignore= of",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: a `kind` of `KINDS`, its name, and its values before and now, as far as these can be shown.

    `change` is "changed", "added", "removed", or "unknown" for long text that was not compared.
    """

    kind: str
    name: str
    change: str
    before: str = ""
    now: str = ""

    def __str__(self) -> str:
        subject = f"{_WORDS.get(self.kind, self.kind)} {self.name}".rstrip()
        if self.change == "unknown":
            return f"{subject} is too long to be compared: {self.now}"
        if self.kind in _CODE or self.kind in ("file", "key"):
            where = self.now or self.before
            place = f" ({os.path.basename(where)})" if where and self.kind in _CODE else ""
            return f"{subject} {_EDITED[self.change]}{place}"
        if self.change == "added":
            return f"{subject} is new: {self.now}" if self.now else f"{subject} is new"
        if self.change == "removed":
            return f"{subject} is gone; it was {self.before}" if self.before else f"{subject} is gone"
        if self.before == self.now:
            return f"{subject}: {self.now}, with other content" if self.now else f"{subject} changed"
        return f"{subject}: {self.before or '?'} -> {self.now or '?'}"


_EDITED = {"changed": "was edited", "added": "is used now", "removed": "is no longer used"}


def of_versions(before: FunctionVersion, now: FunctionVersion, keyring: Keyring | None) -> tuple[Difference, ...]:
    """The differences between two code versions: names, options, and the parts of their fingerprints."""
    found = [
        Difference(kind, "", "changed" if old and new else "added" if new else "removed", old, new)
        for kind, old, new in (
            ("identity", before.name, now.name),
            ("place", before.file, now.file if are_apart(before, now) else before.file),
            ("parameters", _listed(before), _listed(now)),
            ("python", before.python, now.python),
        )
        if old != new and not (kind == "python" and _minor(old) == _minor(new))
    ]
    # Bytecode differs between Python versions, so all code would be listed.
    skipped = _CODE if any(difference.kind == "python" for difference in found) else ()
    found += [part for part in _of_parts(before, now, keyring) if part.kind not in skipped]
    return tuple(sorted(found, key=lambda difference: (KINDS.index(difference.kind), difference.name)))


def are_apart(one: FunctionVersion, other: FunctionVersion) -> bool:
    """Whether two versions are of different files; code of notebooks and prompts has no permanent file."""
    nowhere = any(version.name.startswith("__main__:") for version in (one, other))
    return one.file != other.file and not nowhere


def _of_parts(before: FunctionVersion, now: FunctionVersion, keyring: Keyring | None) -> Iterator[Difference]:
    key_id = before.signed_by or now.signed_by
    digests = before.digests(key_id, keyring), now.digests(key_id, keyring)
    for label in sorted(before.parts.keys() | now.parts.keys()):
        old, new = before.parts.get(label), now.parts.get(label)
        kind, _, name = label.partition(" ")
        if kind not in KINDS:
            kind, name = "depends_on", label.removeprefix("depends_on")
        if old is None and new is not None:
            yield Difference(kind, name, "added", now=new[1])
        elif new is None and old is not None:
            yield Difference(kind, name, "removed", old[1])
        elif old is not None and new is not None and _differ(kind, label, old[1], new[1], *digests):
            yield Difference(kind, name, "changed", old[1], new[1])


def _differ(
    kind: str, label: str, old: str, new: str, before: Mapping[str, str] | None, now: Mapping[str, str] | None
) -> bool:
    """Whether a part changed. Digests made with different keys cannot be compared: then the shown values are."""
    if before is not None and now is not None:
        return before[label] != now[label]
    return kind in _SHOWN and old != new and not {"", NOT_SHOWN} & {old, new}


def _listed(version: FunctionVersion) -> str:
    return f"({', '.join(version.parameters)})"


def _minor(python: str) -> list[str]:
    return python.split(".")[:2]


def of_arguments(
    before: Mapping[str, str], now: Mapping[str, str], shown_before: Mapping[str, str], shown_now: Mapping[str, str]
) -> tuple[Difference, ...]:
    """The differences between two calls, by digests of their arguments; a digest is empty for a very long argument."""
    found = []
    for name in now.keys() | before.keys():
        old, new = before.get(name), now.get(name)
        if old == new and old != "":
            continue
        kind = "captured" if name == CAPTURED else "argument"
        shown = shown_before.get(name, ""), shown_now.get(name, "")
        if old is None or new is None:
            change = "added" if old is None else "removed"
        elif not old and not new:
            change = "unknown" if shown[0] == shown[1] else "changed"
        else:
            change = "changed"
        inside = _inside(name, *shown) if change == "changed" and kind == "argument" else []
        found += inside or [Difference(kind, "" if kind == "captured" else name, change, *shown)]
    order = list(now)
    names = [item.name.partition("[")[0] for item in found]
    places = {item: order.index(name) if name in now else 0 for item, name in zip(found, names, strict=True)}
    return tuple(sorted(found, key=lambda item: (item.kind, places[item])))


def _inside(name: str, before: str, now: str) -> list[Difference]:
    """The items in which two dicts differ that are shown in full; none where that cannot be told."""
    if "..." in before + now or not all(text[:1] == "{" and text[-1:] == "}" for text in (before, now)):
        return []
    from ast import literal_eval  # late for start-up time

    try:
        old, new = literal_eval(before), literal_eval(now)
    except (ValueError, SyntaxError, TypeError):
        return []  # something is not shown, or is no literal
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        values = [repr(table[key]) if key in table else "" for table in (old, new)]
        if values[0] != values[1]:
            change = "changed" if all(values) else "removed" if values[0] else "added"
            found.append(Difference("argument", f"{name}[{key!r}]", change, *values))
    return found
