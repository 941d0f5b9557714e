"""Records of function versions: small sealed files, named by the version's id.

`<function_id>.<mark>.json` has its names and the parts of its fingerprint: listings and `explain` need them, entries
have only ids. Losing it loses names, never results. The mark is made with the signing key, so that files of other
users, however many, are not opened. `<function_id>.adopted` lists earlier versions whose results also count for this
one; it is a separate file, which is usually absent, so that a hit need not read JSON. Most of many parts lie in a table
that versions share (`part_tables.py`); a version whose table is lost counts as lost itself.

Digests in these files are keyed: without the key one cannot find out a constant or default by trying values.
"""

from __future__ import annotations

import os
import sys
import time

from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, pattern
from pcache.system.clock import now
from pcache.system.interrupts import raise_if_interrupt, stands
from pcache.system.permissions import PRIVATE, Access
from pcache.versions import part_tables, sealed_files
from pcache.versions.part_tables import Stored, Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from re import Match

    from pcache.signing.keyring import Keyring

_NAME = pattern(r"([0-9a-f]{16})(?:\.([0-9a-f]{16}))?\.(?:json|adopted|parts|source)")
_TEMPORARY = pattern(_NAME.pattern + r"\.[0-9a-f]{8}")
_ID = pattern(r"[0-9a-f]{16}")
_LAST_TIME = 1 << 36  # seconds since 1970: later times are invalid
_MOST_LISTED = 2000  # names that a call looks at: 5 ms
_TEMPORARY_AGE = 60  # seconds
_FUNCTION, _ADOPTED, _PART, SOURCE = b"function", b"adopted", b"part", b"source"  # in seals: kinds cannot be exchanged
_KEY_ID_DIGITS = 16


class FunctionVersion(NamedTuple):
    """One version of one cached function. `first_seen` is seconds since 1970.

    `parameters` are those whose values count for the key, in order. `parts` are the parts of the fingerprint and the
    options by label: a digest, and a text to show, if any. `signed_by` is the id of the key that the digests in a file
    were made with; empty for a version that runs.
    """

    function_id: str
    name: str
    module: str
    file: str
    python: str
    first_seen: float
    parameters: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, str]] = {}
    signed_by: str = ""

    def digests(self, key_id: str, keyring: Keyring | None) -> dict[str, str] | None:
        """The digests of the parts, made with the given key; None if they cannot be had."""
        if self.signed_by == key_id:
            return {label: digest for label, (digest, _) in self.parts.items()}
        key = None if keyring is None else keyring.keys.get(bytes.fromhex(key_id))
        if self.signed_by or key is None:
            return None
        return {label: seal.keyed(_PART, label, digest, key) for label, (digest, _) in self.parts.items()}


class Adopted(NamedTuple):
    """An adopted version; `added` has digests of the values that its missing parameters stand for, by name.

    Each begins with the id of the key that it is made with, see `stands_for`.
    """

    function_id: str
    added: Mapping[str, str]


def stands_for(digest: str, key_id: bytes, key: bytes) -> str:
    """The digest of a value in the form that `Adopted` stores."""
    return key_id.hex() + seal.keyed(_ADOPTED, "", digest, key)


def is_of(kept: str, digest: str, keyring: Keyring) -> bool:
    """Whether a digest in `Adopted` is of the value with this digest."""
    try:
        key_id = bytes.fromhex(kept[:_KEY_ID_DIGITS])
    except ValueError:
        return False  # written by another release
    key = keyring.keys.get(key_id)
    return key is not None and kept == stands_for(digest, key_id, key)


def part_digest(label: str, digest: str, key_id: str, keyring: Keyring) -> str:
    """The digest of one part, made with the key of this id."""
    return seal.keyed(_PART, label, digest, keyring.keys[bytes.fromhex(key_id)])


IN_A_ROW = 3  # versions that differ in the same globals: an edit or two of one constant are no habit
_LATEST = 30  # files of versions that a call reads: 3 ms
_seen: dict[str, float] = {}  # when records were last seen to stand, by path
_LOOK = 1.0  # seconds for which a record that was seen is taken to stand


def was_seen(path: str) -> bool:
    """Whether a record stood within the last second, and this process has not removed it since."""
    return 0 <= now() - _seen.get(path, float("-inf")) < _LOOK


def is_there(path: str) -> bool:
    """Whether a record stands."""
    there = stands(path)
    _seen[path] = now() if there else float("-inf")
    return there


def remove(root: str, path: str, access: Access) -> None:
    """Remove a record below a root; raises `DirectoryError`."""
    _seen.pop(path, None)
    access.remove(root, path)


def describe(
    function_id: str,
    name: str,
    *,
    module: str = "",
    file: str = "",
    parameters: tuple[str, ...] = (),
    parts: Mapping[str, tuple[str, str]] | None = None,
) -> FunctionVersion:
    """The facts of a version first seen now, by this Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    return FunctionVersion(function_id, name, module, file, python, time.time(), parameters, parts or {})


def _is_value(label: str) -> bool:
    """Whether the text to show of a part is a value."""
    return label.startswith(("constant ", "depends_on", "version"))


def _written(facts: FunctionVersion, keyring: Keyring, *, summaries: bool) -> dict[str, tuple[str, str]]:
    """The parts of a version that runs, as they are stored."""
    digests = facts.digests(keyring.signing.hex(), keyring) or {}
    return {
        label: (digests[label], shown if summaries or not _is_value(label) else "")
        for label, (_, shown) in facts.parts.items()
    }


def write(
    folder: str, facts: FunctionVersion, keyring: Keyring, *, summaries: bool = True, access: Access = PRIVATE
) -> str:
    """Write the file of a version atomically, if it has none of ours yet. Returns its path; raises `OSError`.

    Without `summaries` values are left out, and removed from an existing file.
    """
    path = _path(folder, facts.function_id, keyring.signing_key)
    try:
        known = find(folder, facts.function_id, keyring, strictly=True)
    except OSError as error:
        raise_if_interrupt(error)
        return path  # it exists, and keeps the time when the version was first seen
    before = path
    if known is not None:
        before = _path(folder, facts.function_id, keyring.keys[bytes.fromhex(known.signed_by)])
        if summaries or not any(shown for label, (_, shown) in known.parts.items() if _is_value(label)):
            return before
        facts = facts._replace(first_seen=known.first_seen)
    shown_in = None if known is None else _table_of(before, keyring)
    stored = part_tables.store(folder, _written(facts, keyring, summaries=summaries), keyring, access)
    record = {**facts._asdict(), "parts": stored.parts, **(stored._asdict() if stored.table else {})}
    del record["signed_by"]
    sealed_files.write(path, seal.to_json(_FUNCTION, record, keyring), access)
    if before != path:
        os.unlink(before)  # it was sealed with an older key, and contains the values
    if shown_in is not None and shown_in in _unused(folder, keyring):
        table_id, key_id = shown_in
        try:
            os.unlink(part_tables.path_of(folder, table_id, keyring.keys[key_id]))  # it contains the values as well
        except FileNotFoundError:
            pass  # swept meanwhile
    return path


def write_adopted(
    folder: str, function_id: str, adopted: Sequence[Adopted], keyring: Keyring, access: Access = PRIVATE
) -> None:
    """Write which versions' results count as those of a version; replaces the list. Raises `OSError`."""
    body = {"function_id": function_id, "adopted": [version._asdict() for version in adopted]}
    path = os.path.join(folder, f"{function_id}.adopted")
    sealed_files.write(path, seal.to_json(_ADOPTED, body, keyring), access, durable=True)


def read_adopted(
    folder: str, function_id: str, keyring: Keyring | None, *, strictly: bool = False
) -> tuple[Adopted, ...]:
    """The versions whose results a version counts as its own; none if its file is damaged or another user's.

    With `strictly` raises `OSError` if it cannot be read now, so that rewriting it loses nothing.
    """
    if keyring is None:
        return ()
    read = _read(os.path.join(folder, f"{function_id}.adopted"), keyring, _ADOPTED, strictly=strictly)
    try:
        if read is None or (record := read[0])["function_id"] != function_id:
            return ()
        found = tuple(Adopted(item["function_id"], dict(item["added"])) for item in record["adopted"])
        sound = all(_ID.fullmatch(item.function_id) and _are_texts(item.added.values()) for item in found)
    except (KeyError, TypeError, ValueError):
        return ()  # written by another release
    return found if sound else ()


def _path(folder: str, function_id: str, key: bytes) -> str:
    return f"{folder}/{function_id}.{seal.mark(_FUNCTION, function_id, key)}.json"


def source_path(folder: str, function_id: str, key: bytes) -> str:
    """Where it is noted what the sources said of a version."""
    return f"{folder}/{function_id}.{seal.mark(SOURCE, function_id, key)}.source"


def find(folder: str, function_id: str, keyring: Keyring, *, strictly: bool = False) -> FunctionVersion | None:
    """The facts of one version; None if its file is gone, damaged or sealed by another user."""
    found = (read(_path(folder, function_id, key), keyring, strictly=strictly) for key in keyring.keys.values())
    return next((facts for facts in found if facts is not None), None)


def read(
    path: str, keyring: Keyring, *, strictly: bool = False, tables: Tables | None = None
) -> FunctionVersion | None:
    """The facts in one file; None if it, or the table that it names, is gone, damaged or sealed by another user.

    With `strictly` raises `OSError` if it cannot be read now. `tables` are those of its folder.
    """
    tables = Tables(os.path.dirname(path), keyring) if tables is None else tables
    found = _read(path, keyring, _FUNCTION, strictly=strictly)
    if found is None:
        return None
    record, key_id = found
    try:
        if path != _path(os.path.dirname(path), record["function_id"], keyring.keys[key_id]):
            return None
        record["parameters"] = tuple(record["parameters"])
        own = {label: (digest, shown) for label, (digest, shown) in record["parts"].items()}
        stored = Stored(own, record.pop("table", ""), tuple(record.pop("without", ())))
        if (parts := tables.parts_of(stored, key_id, strictly=strictly)) is None:
            return None
        version = FunctionVersion(**{**record, "parts": parts, "signed_by": key_id.hex()})
        sound = 0 <= version.first_seen < _LAST_TIME and _are_texts((*version[:5], *version.parameters))
        sound = sound and _are_texts(text for part in own.values() for text in part)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # written by another release
    return version if sound else None


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def read_all(folder: str, keyring: Keyring | None, *, most: int = sys.maxsize) -> dict[str, FunctionVersion]:
    """The known versions by function id; empty if the folder holds `most` names or more.

    100,000 names that others planted take 0.2 s: none of the files is opened.
    """
    if keyring is None:
        return {}
    found: dict[str, FunctionVersion | None] = {}
    tables = Tables(folder, keyring)
    for match in _sealed(folder, keyring, most):
        if match[1] not in found:
            found[match[1]] = read(f"{folder}/{match[0]}", keyring, tables=tables)
    return {function_id: facts for function_id, facts in found.items() if facts is not None}


def latest(folder: str, keyring: Keyring, name: str) -> list[FunctionVersion]:
    """The versions of a function among those whose files were written last; none if these cannot be in a row.

    Nor where the folder holds more names than are looked at.
    """
    if len(sealed_files.names(folder, _MOST_LISTED)) < IN_A_ROW:
        return []
    dated = []
    for match in _sealed(folder, keyring, _MOST_LISTED):
        try:
            dated.append((os.lstat(path := f"{folder}/{match[0]}").st_mtime_ns, path))
        except OSError as error:
            raise_if_interrupt(error)  # else removed meanwhile
    tables = Tables(folder, keyring)
    found = (read(path, keyring, tables=tables) for _, path in sorted(dated)[-_LATEST:])
    return [version for version in found if version is not None and version.name == name]


def _sealed(folder: str, keyring: Keyring, most: int) -> Iterator[Match[str]]:
    """The names of files of versions that one of our keys has marked, key by key."""
    matches = [match for match in map(_NAME.fullmatch, sealed_files.names(folder, most)) if match is not None]
    for key in keyring.keys.values():
        yield from (match for match in matches if match[2] == seal.mark(_FUNCTION, match[1], key))


def paths(folder: str, *, temporary: bool = False) -> Iterator[str]:
    """The files of versions and their tables; with `temporary` the leftovers of killed processes."""
    pattern = _TEMPORARY if temporary else _NAME
    for name in sealed_files.names(folder):
        path = os.path.join(folder, name)
        if pattern.fullmatch(name) and (not temporary or _is_old(path)):
            yield path


def _is_old(path: str) -> bool:
    """Whether a temporary file is more than a minute old: its writer was killed."""
    try:
        return abs(time.time() - os.lstat(path).st_mtime) > _TEMPORARY_AGE
    except OSError as error:
        raise_if_interrupt(error)
        return False  # renamed meanwhile


def unused_tables(folder: str, keyring: Keyring | None) -> list[str]:
    """The tables that no version names. The version of a table that was written just now may be about to follow."""
    unused = set() if keyring is None else _unused(folder, keyring)
    return [part_tables.path_of(folder, table_id, keyring.keys[key_id]) for table_id, key_id in unused if keyring]


def _unused(folder: str, keyring: Keyring) -> set[tuple[str, bytes]]:
    unused = part_tables.all_of(folder, keyring)
    if unused:
        try:
            unused -= {_table_of(f"{folder}/{match[0]}", keyring) for match in _sealed(folder, keyring, sys.maxsize)}
        except OSError as error:
            raise_if_interrupt(error)
            return set()  # a version that cannot be read now may name any
    return unused


def _table_of(path: str, keyring: Keyring) -> tuple[str, bytes]:
    """The table that the file of a version names, and the id of the key; raises `OSError` if it cannot be read now."""
    found = _read(path, keyring, _FUNCTION, strictly=True)
    return ("", b"") if found is None else (str(found[0].get("table", "")), found[1])


def _read(path: str, keyring: Keyring, kind: bytes, *, strictly: bool) -> tuple[dict[str, Any], bytes] | None:
    """The content of a file, and the id of its key; None if it is gone, damaged or sealed by another user.

    With `strictly` raises `OSError` if it cannot be read now.
    """
    data = sealed_files.read(path, keyring, kind, strictly=strictly)
    return None if data is None else seal.from_json(kind, data, keyring)
