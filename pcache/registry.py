"""What is known of each cached function version: small authenticated files, named by the version's id.

`<function_id>.json` has its names and what its fingerprint consists of: listings and `explain` need them, entries carry
only ids. Losing it loses names, never results. `<function_id>.adopted` names earlier versions whose results are
those of this one as well; it lies apart so that a hit asks for a file that is mostly absent instead of reading JSON.
"""

from __future__ import annotations

import os
import re
import sys
import time
from _operator import _compare_digest as compare_digest  # see entry.py
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from pcache.access import PRIVATE, Access
from pcache.interrupts import pass_on, uninterrupted
from pcache.plain import NO_FILE, make_way, read_plain
from pcache.trust import write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pcache.trust import Keyring

_NAME = re.compile(r"[0-9a-f]{16}\.(json|adopted)")
_TEMPORARY = re.compile(r"[0-9a-f]{16}\.(json|adopted)\.[0-9a-f]{8}")
_ID = re.compile(r"[0-9a-f]{16}")
_MAX_SIZE = 4 << 20  # bytes, read before they are known to be ours; JSON takes 20 times as much memory
_LAST_TIME = 1 << 36  # seconds since 1970: more than people read
_TEMPORARY_AGE = 60  # seconds
_FUNCTION, _ADOPTED = b"pcache function\x00", b"pcache adopted\x00"  # one kind of file is never taken for the other


class FunctionVersion(NamedTuple):
    """One version of one cached function. `first_seen` is seconds since 1970.

    `parameters` are those whose values count, in order. `parts` are what the fingerprint consists of, by label: a
    digest, and what of it can be shown to people.
    """

    function_id: str
    name: str
    module: str
    file: str
    fingerprint: str
    version: str
    python: str
    first_seen: float
    parameters: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, str]] = {}


class Adopted(NamedTuple):
    """An earlier version whose results count; `added` has digests of what its missing parameters stand for, by name."""

    function_id: str
    added: Mapping[str, str]


def describe(
    function_id: str,
    name: str,
    *,
    module: str = "",
    file: str = "",
    fingerprint: str = "",
    version: str = "",
    parameters: tuple[str, ...] = (),
    parts: Mapping[str, tuple[str, str]] | None = None,
) -> FunctionVersion:
    """The facts of a version first seen now, by this Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    return FunctionVersion(
        function_id, name, module, file, fingerprint, version, python, time.time(), parameters, parts or {}
    )


def _without_summaries(facts: FunctionVersion) -> FunctionVersion:
    parts = {
        label: (digest, "" if label.startswith(("constant ", "depends_on")) else shown)
        for label, (digest, shown) in facts.parts.items()
    }
    return facts._replace(parts=parts)


def write(
    folder: str, facts: FunctionVersion, keyring: Keyring, *, summaries: bool = True, access: Access = PRIVATE
) -> None:
    """Write the file of a version that has none of ours yet; it appears whole. Raises `OSError`.

    Without `summaries` values that could be secrets are left out.
    """
    path = os.path.join(folder, f"{facts.function_id}.json")
    try:
        known = read(path, keyring, strictly=True)
    except OSError as error:
        pass_on(error)
        return  # it is there, and says since when the version is known
    if known is None:
        shown = facts if summaries else _without_summaries(facts)
        _write_signed(path, shown._asdict(), keyring, _FUNCTION, access)


def write_adopted(
    folder: str, function_id: str, adopted: Sequence[Adopted], keyring: Keyring, access: Access = PRIVATE
) -> None:
    """Have a version count the results of others as its own; replaces what it said before. Raises `OSError`."""
    body = {"function_id": function_id, "adopted": [version._asdict() for version in adopted]}
    path = os.path.join(folder, f"{function_id}.adopted")
    _write_signed(path, body, keyring, _ADOPTED, access, durable=True)


def read_adopted(
    folder: str, function_id: str, keyring: Keyring | None, *, strictly: bool = False
) -> tuple[Adopted, ...]:
    """The versions whose results a version counts as its own; none when its file is damaged or somebody else's.

    With `strictly` raises `OSError` for one that cannot be read now: who writes it anew must know what it says.
    """
    if keyring is None:
        return ()
    record = _read_signed(os.path.join(folder, f"{function_id}.adopted"), keyring, _ADOPTED, strictly=strictly)
    try:
        if record is None or record["function_id"] != function_id:
            return ()
        found = tuple(Adopted(item["function_id"], dict(item["added"])) for item in record["adopted"])
        sound = all(_ID.fullmatch(item.function_id) and _are_texts(item.added.values()) for item in found)
    except (KeyError, TypeError, ValueError):
        return ()  # of another release
    return found if sound else ()


def exists(folder: str, function_id: str) -> bool:
    """Whether a version has a file, of whatever content."""
    return os.access(f"{folder}/{function_id}.json", os.F_OK)


def read(path: str, keyring: Keyring, *, strictly: bool = False) -> FunctionVersion | None:
    """The facts in one file; None when it is gone, damaged or signed by somebody else."""
    record = _read_signed(path, keyring, _FUNCTION, strictly=strictly)
    try:
        if record is None or os.path.basename(path) != f"{record['function_id']}.json":
            return None
        record["parameters"] = tuple(record["parameters"])
        record["parts"] = {label: (digest, shown) for label, (digest, shown) in record["parts"].items()}
        found = FunctionVersion(**record)
        sound = 0 <= found.first_seen < _LAST_TIME and _are_texts((*found[:7], *found.parameters))
        sound = sound and _are_texts(text for part in found.parts.values() for text in part)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # of another release
    return found if sound else None


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def read_all(folder: str, keyring: Keyring | None) -> dict[str, FunctionVersion]:
    """The known versions by function id."""
    if keyring is None:
        return {}
    found = (read(path, keyring) for path in paths(folder))
    return {facts.function_id: facts for facts in found if facts is not None}


def paths(folder: str, *, temporary: bool = False) -> Iterator[str]:
    """The files of versions; with `temporary` those that a killed process left behind."""
    pattern = _TEMPORARY if temporary else _NAME
    try:
        names = os.listdir(folder)
    except OSError as error:
        pass_on(error)
        return
    for name in names:
        path = os.path.join(folder, name)
        if pattern.fullmatch(name) and (not temporary or _is_old(path)):
            yield path


def _is_old(path: str) -> bool:
    """Whether a file that takes a moment to write has been there for a minute: its writer was killed."""
    try:
        return abs(time.time() - os.lstat(path).st_mtime) > _TEMPORARY_AGE
    except OSError as error:
        pass_on(error)
        return False  # renamed meanwhile


def _write_signed(
    path: str,
    body: dict[str, Any],
    keyring: Keyring,
    context: bytes,
    access: Access = PRIVATE,
    *,
    durable: bool = False,
) -> None:
    import json  # late for start-up time: a hit needs the facts only

    folder = os.path.dirname(path)
    access.check_below(os.path.dirname(os.path.dirname(folder)), folder)
    record = {**body, "key_id": keyring.signing.hex(), "tag": _tag(body, keyring.signing_key, context)}
    temporary = f"{path}.{os.urandom(4).hex()}"
    try:
        fd = uninterrupted(access.open, temporary, os.O_WRONLY | os.O_EXCL)
        try:
            write_all(fd, json.dumps(record, indent=1).encode())
            make_way(path)
            os.rename(temporary, path)
            if durable:
                os.fsync(fd)  # what somebody decided once is on the disk, with its name
        finally:
            os.close(fd)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)  # a full disk: nothing half written stays
        raise


def _read_signed(path: str, keyring: Keyring, context: bytes, *, strictly: bool) -> dict[str, Any] | None:
    """What a file says; None when it is gone, damaged or signed by somebody else, or not `strictly` asked for."""
    try:
        text = read_plain(path, _MAX_SIZE)
    except OSError as error:
        pass_on(error)
        if strictly and error.errno not in NO_FILE:
            raise
        return None
    import json  # late for start-up time

    try:
        record: dict[str, Any] = json.loads(text)
        key = keyring.keys[bytes.fromhex(record.pop("key_id"))]
        tag = record.pop("tag")
        return record if compare_digest(_tag(record, key, context), tag) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        return None  # half written, edited, or of another release


def _tag(body: dict[str, Any], key: bytes, context: bytes) -> str:
    import json  # late for start-up time

    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return blake3(context + text.encode(), key=key).hexdigest()
