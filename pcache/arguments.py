"""A digest of each argument of a call, kept with its result so that `explain` can tell which one differs.

The digests that entries hold are made with the signing key: somebody who has only the entries cannot try out which
password gives one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pcache.keys import encode, encode_short
from pcache.looking import is_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcache.keys import LargeContents

_LIMIT = 256 << 10  # bytes of stream
_CONTEXT = b"pcache argument\x00"
_SHOWN_DIGITS = 16
_PLAIN = frozenset((bool, int, float, type(None)))


def digests_of(arguments: Iterable[tuple[str, Any]], large: LargeContents) -> dict[str, bytes]:
    """Digests of values that have a key, by name. What was hashed for the key, in `large`, is not hashed again.

    Long text and the like, of more than 256 KiB, would have to be: it has none and stands as empty bytes.
    """
    return {name: _digest(value, large) for name, value in arguments}


def _digest(value: Any, large: LargeContents) -> bytes:
    cls = type(value)
    # The cheaper way to the same.
    if is_exactly(value, _PLAIN) or ((cls is str or cls is bytes) and len(value) < _LIMIT):
        chunks: Sequence[Any] | None = encode(value)
    else:
        chunks = encode_short(value, large, _LIMIT)
    return b"" if chunks is None else blake3(b"".join(chunks)).digest()


def signed(digests: Mapping[str, bytes], key: bytes) -> dict[str, str]:
    """The digests as an entry holds them: made with its signing key, 16 hexadecimal digits each."""
    return {
        name: blake3(_CONTEXT + digest, key=key).hexdigest()[:_SHOWN_DIGITS] if digest else ""
        for name, digest in digests.items()
    }
