"""Records of function versions: small sealed files, named by the version's id.

`<function_id>.<mark>.json` has its names and what its fingerprint consists of: listings and `explain` need them,
entries carry only ids. Losing it loses names, never results. The mark is made with the signing key, so that names which
somebody else put there, however many, are not opened. `<function_id>.adopted` names earlier versions whose results are
those of this one as well; it lies apart so that a hit asks for a file that is mostly absent instead of reading JSON.

Digests in these files are keyed: nobody without the key can try out which constant or default gives one.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pcache.signing import seal
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import NO_FILE, read_plain, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pcache.signing.keyring import Keyring

_NAME = re.compile(r"([0-9a-f]{16})(?:\.([0-9a-f]{16}))?\.(?:json|adopted)")
_TEMPORARY = re.compile(_NAME.pattern + r"\.[0-9a-f]{8}")
_ID = re.compile(r"[0-9a-f]{16}")
_MAX_SIZE = 4 << 20  # bytes
_LAST_TIME = 1 << 36  # seconds since 1970: more than people read
_TEMPORARY_AGE = 60  # seconds
_FUNCTION, _ADOPTED, _PART = b"function", b"adopted", b"part"  # one kind is never taken for another
_KEY_ID_DIGITS = 16


class FunctionVersion(NamedTuple):
    """One version of one cached function. `first_seen` is seconds since 1970.

    `parameters` are those whose values count, in order. `parts` are what the fingerprint and the options consist of, by
    label: a digest, and what of it can be shown to people. `signed_by` is the id of the key that digests were made with
    when they were written; empty for a version that runs.
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
        """The digests of the parts as a key makes them; None where that cannot be told."""
        if self.signed_by == key_id:
            return {label: digest for label, (digest, _) in self.parts.items()}
        key = None if keyring is None else keyring.keys.get(bytes.fromhex(key_id))
        if self.signed_by or key is None:
            return None
        return {label: seal.keyed(_PART, label, digest, key) for label, (digest, _) in self.parts.items()}


class Adopted(NamedTuple):
    """An earlier version whose results count; `added` has digests of what its missing parameters stand for, by name.

    Each begins with the id of the key that it is made with, see `stands_for`.
    """

    function_id: str
    added: Mapping[str, str]


def stands_for(digest: str, key_id: bytes, key: bytes) -> str:
    """The digest of a value as `Adopted` has it."""
    return key_id.hex() + seal.keyed(_ADOPTED, "", digest, key)


def is_of(kept: str, digest: str, keyring: Keyring) -> bool:
    """Whether what `Adopted` has of a value is of the one with this digest."""
    try:
        key_id = bytes.fromhex(kept[:_KEY_ID_DIGITS])
    except ValueError:
        return False  # of another release
    key = keyring.keys.get(key_id)
    return key is not None and kept == stands_for(digest, key_id, key)


def part_digest(label: str, digest: str, key_id: str, keyring: Keyring) -> str:
    """The digest of one part as a key makes it."""
    return seal.keyed(_PART, label, digest, keyring.keys[bytes.fromhex(key_id)])


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
    """Whether people are shown a value of a part."""
    return label.startswith(("constant ", "depends_on", "version"))


def _written(facts: FunctionVersion, keyring: Keyring, *, summaries: bool) -> dict[str, Any]:
    """What goes into the file of a version that runs."""
    record, digests = facts._asdict(), facts.digests(keyring.signing.hex(), keyring) or {}
    del record["signed_by"]
    record["parts"] = {
        label: (digests[label], shown if summaries or not _is_value(label) else "")
        for label, (_, shown) in facts.parts.items()
    }
    return record


def write(
    folder: str, facts: FunctionVersion, keyring: Keyring, *, summaries: bool = True, access: Access = PRIVATE
) -> str:
    """Write the file of a version that has none of ours yet; it appears whole. Returns its path; raises `OSError`.

    Without `summaries` values are left out, also of one that has them from before.
    """
    path = _path(folder, facts.function_id, keyring.signing_key)
    try:
        known = find(folder, facts.function_id, keyring, strictly=True)
    except OSError as error:
        raise_if_interrupt(error)
        return path  # it is there, and says since when the version is known
    before = path
    if known is not None:
        before = _path(folder, facts.function_id, keyring.keys[bytes.fromhex(known.signed_by)])
        if summaries or not any(shown for label, (_, shown) in known.parts.items() if _is_value(label)):
            return before
        facts = facts._replace(first_seen=known.first_seen)
    _write(path, seal.to_json(_FUNCTION, _written(facts, keyring, summaries=summaries), keyring), access)
    if before != path:
        os.unlink(before)  # it was sealed with an older key, and says the values
    return path


def write_adopted(
    folder: str, function_id: str, adopted: Sequence[Adopted], keyring: Keyring, access: Access = PRIVATE
) -> None:
    """Have a version count the results of others as its own; replaces what it said before. Raises `OSError`."""
    body = {"function_id": function_id, "adopted": [version._asdict() for version in adopted]}
    path = os.path.join(folder, f"{function_id}.adopted")
    _write(path, seal.to_json(_ADOPTED, body, keyring), access, durable=True)


def read_adopted(
    folder: str, function_id: str, keyring: Keyring | None, *, strictly: bool = False
) -> tuple[Adopted, ...]:
    """The versions whose results a version counts as its own; none when its file is damaged or somebody else's.

    With `strictly` raises `OSError` for one that cannot be read now: who writes it anew must know what it says.
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
        return ()  # of another release
    return found if sound else ()


def _path(folder: str, function_id: str, key: bytes) -> str:
    return f"{folder}/{function_id}.{seal.mark(_FUNCTION, function_id, key)}.json"


def find(folder: str, function_id: str, keyring: Keyring, *, strictly: bool = False) -> FunctionVersion | None:
    """The facts of one version; None when its file is gone, damaged or sealed by somebody else."""
    found = (read(_path(folder, function_id, key), keyring, strictly=strictly) for key in keyring.keys.values())
    return next((facts for facts in found if facts is not None), None)


def read(path: str, keyring: Keyring, *, strictly: bool = False) -> FunctionVersion | None:
    """The facts in one file; None when it is gone, damaged or sealed by somebody else."""
    found = _read(path, keyring, _FUNCTION, strictly=strictly)
    if found is None:
        return None
    record, key_id = found
    try:
        if path != _path(os.path.dirname(path), record["function_id"], keyring.keys[key_id]):
            return None
        record["parameters"] = tuple(record["parameters"])
        record["parts"] = {label: (digest, shown) for label, (digest, shown) in record["parts"].items()}
        version = FunctionVersion(**{**record, "signed_by": key_id.hex()})
        sound = 0 <= version.first_seen < _LAST_TIME and _are_texts((*version[:5], *version.parameters))
        sound = sound and _are_texts(text for part in version.parts.values() for text in part)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # of another release
    return version if sound else None


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def read_all(folder: str, keyring: Keyring | None, *, most: int = sys.maxsize) -> dict[str, FunctionVersion]:
    """The known versions by function id; none where the folder holds more than so many names.

    100,000 names that others planted take 0.2 s: none of them is opened.
    """
    if keyring is None:
        return {}
    names = _names(folder, most)
    matches = [match for match in map(_NAME.fullmatch, names) if match is not None and match[2] is not None]
    found = {}
    for key in keyring.keys.values():
        for match in matches:
            if match[1] not in found and match[2] == seal.mark(_FUNCTION, match[1], key):
                found[match[1]] = read(f"{folder}/{match[0]}", keyring)
    return {function_id: facts for function_id, facts in found.items() if facts is not None}


def _names(folder: str, most: int) -> list[str]:
    """The names in a folder, none when there are more than so many."""
    try:
        if most == sys.maxsize:
            return os.listdir(folder)
        with uninterrupted(os.scandir, folder) as items:
            names = [item.name for item in itertools.islice(items, most)]
    except OSError as error:
        raise_if_interrupt(error)
        return []
    return names if len(names) < most else []


def paths(folder: str, *, temporary: bool = False) -> Iterator[str]:
    """The files of versions; with `temporary` those that a killed process left behind."""
    pattern = _TEMPORARY if temporary else _NAME
    for name in _names(folder, sys.maxsize):
        path = os.path.join(folder, name)
        if pattern.fullmatch(name) and (not temporary or _is_old(path)):
            yield path


def _is_old(path: str) -> bool:
    """Whether a file that takes a moment to write has been there for a minute: its writer was killed."""
    try:
        return abs(time.time() - os.lstat(path).st_mtime) > _TEMPORARY_AGE
    except OSError as error:
        raise_if_interrupt(error)
        return False  # renamed meanwhile


def _write(path: str, data: bytes, access: Access = PRIVATE, *, durable: bool = False) -> None:
    """Write a file that appears whole; raises `OSError`."""
    place, name = os.path.split(path)
    folder = access.enter_or_make(os.path.dirname(os.path.dirname(place)), place)
    try:
        temporary = f"{name}.{os.urandom(4).hex()}"
        try:
            fd = folder.open(temporary, os.O_WRONLY | os.O_EXCL)
            try:
                write_all(fd, data)
                folder.rename(temporary, name)
                if durable:
                    os.fsync(fd)  # what somebody decided once is on the disk, with its name
            finally:
                os.close(fd)
        except BaseException:
            folder.remove(temporary)  # a full disk: nothing half written stays
            raise
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def _read(path: str, keyring: Keyring, kind: bytes, *, strictly: bool) -> tuple[dict[str, Any], bytes] | None:
    """What a file says, and the id of its key; None when it is gone, damaged or sealed by somebody else.

    With `strictly` raises `OSError` for one that cannot be read now.
    """
    try:
        data = read_plain(path, _MAX_SIZE, believe=functools.partial(seal.is_whole, kind, keyring))
    except OSError as error:
        raise_if_interrupt(error)
        if strictly and error.errno not in NO_FILE:
            raise
        return None
    return seal.from_json(kind, data, keyring)
