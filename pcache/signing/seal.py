"""The seal in front of files beside the entries: checked over raw bytes before anything is parsed.

    seal  = key_id SP nonce SP length SP digest SP tag        all of them hexadecimal, 108 characters
    block = "\\n@" seal "\\n" body                              one write to a file that is appended to, or a whole file
    json  = '{"seal":"' seal '",\\n' the rest of an object     a file of its own

The tag is made with the signing key, of the kind of file and of what stands before it in the seal: with it the length
is believed, and the digest says whether the body is what was written. So a planted file costs a look at its first
bytes, whatever it holds. Names that are listed carry a mark made with the key: others are not even opened.
"""

from __future__ import annotations

import os
from _operator import _compare_digest as compare_digest  # see entry/format.py

from blake3 import blake3

from pcache.startup import TYPE_CHECKING, Any, NamedTuple, pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcache.signing.keyring import Keyring

_SEAL = pattern(rb"([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{8}) ([0-9a-f]{32}) ([0-9a-f]{32})")
_BLOCK, _JSON = (b"\n@", b"\n"), (b'{"seal":"', b'",\n')  # the text before and after a seal
HEAD = 128  # bytes that hold any of these
_DEEPEST = 40  # levels of JSON; what we write has four
_MOST_ODD = 10_000  # seals of others in a file, after which no more are looked for: 20 ms
_TOKENS = pattern(rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]')


class Seal(NamedTuple):
    """A seal that was made with one of our keys."""

    key_id: bytes
    nonce: bytes
    length: int
    digest: bytes
    end: int  # where the body begins

    def matches(self, body: Any) -> bool:
        return len(body) == self.length and compare_digest(blake3(body).digest(16), self.digest)


def _seal(kind: bytes, body: bytes, keyring: Keyring) -> bytes:
    nonce = os.urandom(8).hex()  # tells two seals of the same body from a copy
    fields = f"{keyring.signing.hex()} {nonce} {len(body):08x} {blake3(body).hexdigest(16)} ".encode()
    return fields + _tag(kind, fields, keyring.signing_key)


def _tag(kind: bytes, fields: Any, key: bytes) -> bytes:
    return blake3(b"pcache seal\x00" + kind + b"\x00" + fields, key=key).hexdigest(16).encode()


def _read(kind: bytes, data: bytes, form: tuple[bytes, bytes], keyring: Keyring, at: int = 0) -> Seal | None:
    """The seal at some offset; None if there is none, or none of ours."""
    before, behind = form
    start = at + len(before)
    match = _SEAL.match(data, start)
    if match is None or not data.startswith(before, at) or not data.startswith(behind, match.end()):
        return None
    key = keyring.keys.get(bytes.fromhex(match[1].decode()))
    if key is None or not compare_digest(_tag(kind, data[start : match.start(5)], key), match[5]):
        return None
    numbers = [bytes.fromhex(match[group].decode()) for group in (1, 2, 3, 4)]
    return Seal(numbers[0], numbers[1], int.from_bytes(numbers[2], "big"), numbers[3], match.end() + len(behind))


# What is appended


def block(kind: bytes, body: bytes, keyring: Keyring) -> bytes:
    """Seal some bytes: to be appended in one write, or written as a file."""
    return _BLOCK[0] + _seal(kind, body, keyring) + _BLOCK[1] + body


def blocks(kind: bytes, data: bytes, keyring: Keyring, seen: set[bytes] | None = None) -> tuple[list[bytes], int]:
    """The bodies sealed by our keys, and how many places between them hold something else.

    A block cut short by a kill or a full disk ends at the next block. A copy of one in `seen` is left out.
    """
    found: list[bytes] = []
    seen = set() if seen is None else seen
    at = end = odd = places = 0
    while (at := data.find(_BLOCK[0], at)) >= 0 and odd < _MOST_ODD:
        seal = _read(kind, data, _BLOCK, keyring, at)
        if seal is None or not seal.matches(body := data[seal.end : seal.end + seal.length]):
            odd += 1
            at += 1
            continue
        places += bool(data[end:at].strip(b"\0\n"))
        at = end = seal.end + seal.length
        if seal.nonce not in seen:
            seen.add(seal.nonce)
            found.append(body)
    return found, places + bool(data[end:].strip(b"\0\n"))


# Whole files


def is_whole(kind: bytes, keyring: Keyring, start: bytes, size: int) -> bool:
    """Whether a file of that size begins with a seal of ours: only then is the rest read."""
    form = _JSON if start.startswith(_JSON[0]) else _BLOCK
    seal = _read(kind, start, form, keyring)
    return seal is not None and seal.end + seal.length == size


def to_json(kind: bytes, record: Mapping[str, Any], keyring: Keyring) -> bytes:
    """Seal an object as a file of its own."""
    import json  # late for start-up time: a hit writes none

    body = json.dumps(record, indent=1).encode()[1:]
    return _JSON[0] + _seal(kind, body, keyring) + _JSON[1] + body


def from_json(kind: bytes, data: bytes, keyring: Keyring) -> tuple[dict[str, Any], bytes] | None:
    """The object in a file, and the id of the key that sealed it; None if it is not one of ours."""
    seal = _read(kind, data, _JSON, keyring)
    if seal is None or not seal.matches(body := data[seal.end :]):
        return None
    try:
        record = parse(b"{" + body)
    except ValueError:
        return None  # of another release
    return (record, seal.key_id) if isinstance(record, dict) else None


def parse(data: bytes) -> Any:
    """Parse authenticated JSON; raises `ValueError` for what is not JSON, or nested too deeply.

    Even a user with the key cannot crash a command: Python's reader recurses as deeply as it may.
    """
    import json  # late for start-up time

    depth = 0
    if data.count(b"[") + data.count(b"{") > _DEEPEST:
        for match in _TOKENS.finditer(data):
            depth += (match[0] in (b"[", b"{")) - (match[0] in (b"]", b"}"))
            if depth > _DEEPEST:
                raise ValueError("it is nested too deeply")
    try:
        return json.loads(data)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it cannot be read") from error


# Names that are listed, and values that could be guessed


def mark(kind: bytes, name: str, key: bytes) -> str:
    """16 digits derived from a name: they show in a listing, without opening a file, which files are ours."""
    return blake3(b"pcache name\x00" + kind + b"\x00" + name.encode(), key=key).hexdigest(8)


def keyed(kind: bytes, name: str, digest: str, key: bytes) -> str:
    """A digest in the form that is stored: without the key it cannot be compared to guesses. 16 digits.

    The same value has different ones under two names.
    """
    text = b"\x00".join((b"pcache digest", kind, name.encode("utf-8", "surrogatepass"), digest.encode()))
    return blake3(text, key=key).hexdigest(8)
