"""What is known of each cached function version: one small authenticated file each, `<function_id>.json`.

Listings and clearing by function need names, and entries carry only ids. Losing these files loses names, never results.
"""

from __future__ import annotations

import os
import re
import sys
import time
from _operator import _compare_digest as compare_digest  # see entry.py
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from pcache.trust import SAFE_FLAGS, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcache.trust import Keyring

_NAME = re.compile(r"([0-9a-f]{16})\.json")
_TEMPORARY = re.compile(r"[0-9a-f]{16}\.json\.[0-9a-f]{8}")
_MAX_SIZE = 1 << 20
_TEMPORARY_AGE = 60  # seconds


class FunctionVersion(NamedTuple):
    """One version of one cached function. `first_seen` is seconds since 1970."""

    function_id: str
    name: str
    file: str
    fingerprint: str
    version: str
    python: str
    first_seen: float


def describe(function_id: str, name: str, file: str, fingerprint: str, version: str) -> FunctionVersion:
    """The facts of a version first seen now, by this Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    return FunctionVersion(function_id, name, file, fingerprint, version, python, time.time())


def write(folder: str, facts: FunctionVersion, keyring: Keyring) -> None:
    """Write the file of a version that has none of ours yet; it appears whole. Raises `OSError`."""
    import json  # late for start-up time: a hit needs the facts only

    path = os.path.join(folder, f"{facts.function_id}.json")
    if read(path, keyring) is not None:
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    body = facts._asdict()
    record = {**body, "key_id": keyring.signing.hex(), "tag": _tag(body, keyring.signing_key)}
    temporary = f"{path}.{os.urandom(4).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    try:
        write_all(fd, json.dumps(record, indent=1).encode())
        os.rename(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)  # a full disk: nothing half written stays
        raise
    finally:
        os.close(fd)


def exists(folder: str, function_id: str) -> bool:
    """Whether a version has a file, of whatever content."""
    return os.path.lexists(os.path.join(folder, f"{function_id}.json"))


def read(path: str, keyring: Keyring) -> FunctionVersion | None:
    """The facts in one file; None when it is gone, damaged or signed by somebody else."""
    import json  # late for start-up time

    try:
        fd = os.open(path, os.O_RDONLY | SAFE_FLAGS)
    except OSError:
        return None
    try:
        record: dict[str, Any] = json.loads(os.read(fd, _MAX_SIZE))
        key = keyring.keys[bytes.fromhex(record.pop("key_id"))]
        tag = record.pop("tag")
        if not compare_digest(_tag(record, key), tag):
            return None
        facts = FunctionVersion(**record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # half written, edited, or of another release
    finally:
        os.close(fd)
    return facts if os.path.basename(path) == f"{facts.function_id}.json" else None


def read_all(folder: str, keyring: Keyring | None) -> dict[str, FunctionVersion]:
    """The known versions by function id."""
    if keyring is None:
        return {}
    found = (read(path, keyring) for path in paths(folder))
    return {facts.function_id: facts for facts in found if facts is not None}


def paths(folder: str, *, temporary: bool = False) -> Iterator[str]:
    """The registry's files; with `temporary` those that a killed process left behind."""
    pattern = _TEMPORARY if temporary else _NAME
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if pattern.fullmatch(name) and (not temporary or _is_old(path)):
            yield path


def _is_old(path: str) -> bool:
    """Whether a file that takes a moment to write has been there for a minute: its writer was killed."""
    try:
        return time.time() - os.lstat(path).st_mtime > _TEMPORARY_AGE
    except OSError:
        return False  # renamed meanwhile


def _tag(body: dict[str, Any], key: bytes) -> str:
    import json  # late for start-up time

    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return blake3(b"pcache function\x00" + text.encode(), key=key).hexdigest()
