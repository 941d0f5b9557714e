"""Tables of parts that versions of functions share: what uses a large package has tens of thousands of parts.

Functions of one program, and the versions of each, have nearly all of these in common. So the file of a version with
many parts names a table, and says how it differs from that. `<table id>.<mark>.parts` is compressed and never changed;
it may be removed once no version names it.

A table id begins with digits of the least digest in the table. Sets that have most of their digests in common mostly
have the least one in common as well, so a table like a version's parts is found by names alone. The other digits are
of its content.
"""

from __future__ import annotations

import zlib

from blake3 import blake3

from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, NamedTuple, pattern
from pcache.system.permissions import PRIVATE, Access
from pcache.versions import sealed_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcache.signing.keyring import Keyring

    Parts = Mapping[str, tuple[str, str]]  # a keyed digest, and the text to show, by label

_ID = pattern(r"[0-9a-f]{16}")
_NAME = pattern(r"([0-9a-f]{16})\.([0-9a-f]{16})\.parts")
_KIND = b"parts"
_FEW = 200  # parts up to which they lie in the version's own file: 25 KB
_SHARE = 10  # a version differs from its table in no more than this part of it: less is smaller than a table of its own
_MOST_TRIED = 4  # tables that are read to find one like a version's parts: 25 ms each
_MAX_SIZE = 16 << 20  # bytes of a file
_MAX_RAW = 128 << 20  # and without compression
_LEVEL = 1  # of compression: level 6 takes three times as long and saves a tenth
_LIKE = 6  # digits of a table id that come from the least digest
_DIGITS = 16  # of a digest


class Stored(NamedTuple):
    """Parts as the file of a version has them: those that are not in the table, and labels that are only there."""

    parts: Parts
    table: str = ""
    without: tuple[str, ...] = ()


def store(folder: str, parts: Parts, keyring: Keyring, access: Access = PRIVATE) -> Stored:
    """How the file of a version is to say its parts; writes a table if none is like them. Raises `OSError`."""
    shared = {label: part for label, part in parts.items() if "\0" not in label and "\0" not in part[1]}
    if len(shared) <= _FEW:
        return Stored(parts)
    like = min(digest for digest, _ in shared.values())[:_LIKE]
    tables = Tables(folder, keyring)
    for table_id in _alike(folder, like, keyring.signing_key):
        table = tables.find(table_id, keyring.signing)
        stored = None if table is None else _difference(parts, table, table_id)
        if stored is not None:
            return stored
    content = _packed(shared)
    table_id = like + blake3(content).hexdigest(_DIGITS)[: _DIGITS - _LIKE]
    data = seal.block(_KIND, zlib.compress(content, _LEVEL), keyring)
    sealed_files.write(path_of(folder, table_id, keyring.signing_key), data, access)
    return Stored({label: part for label, part in parts.items() if label not in shared}, table_id)


def _alike(folder: str, like: str, key: bytes) -> list[str]:
    """The ids of tables that a key made, and that begin like this."""
    names = [name for name in sealed_files.names(folder) if name.startswith(like)]
    return sorted(_marked(names, key))[:_MOST_TRIED]


def _difference(parts: Parts, table: Parts, table_id: str) -> Stored | None:
    """How parts differ from a table; None if in too much, or if it shows a value that must not be shown here."""
    own = {label: part for label, part in parts.items() if table.get(label) != part}
    without = tuple(label for label in table if label not in parts)
    if (len(own) + len(without)) * _SHARE > len(parts):
        return None
    hidden = any(label in table and table[label][1] and not shown for label, (_, shown) in own.items())
    return None if hidden else Stored(own, table_id, without)


class Tables:
    """The tables in a folder, each read once. Not for threads."""

    def __init__(self, folder: str, keyring: Keyring) -> None:
        self._folder = folder
        self._keyring = keyring
        self._known: dict[tuple[str, bytes], Parts | None] = {}

    def parts_of(self, stored: Stored, key_id: bytes, *, strictly: bool = False) -> Parts | None:
        """The parts of a version whose file the key with this id sealed; None if its table is gone or damaged."""
        if not stored.table:
            return stored.parts
        table = self.find(stored.table, key_id, strictly=strictly)
        if table is None:
            return None
        without = set(stored.without)
        return {label: part for label, part in {**table, **stored.parts}.items() if label not in without}

    def find(self, table_id: str, key_id: bytes, *, strictly: bool = False) -> Parts | None:
        """A table by its id; with `strictly` raises `OSError` if it cannot be read now."""
        if not _ID.fullmatch(table_id):
            return None
        known = table_id, key_id
        if known not in self._known:
            path = path_of(self._folder, table_id, self._keyring.keys[key_id])
            data = sealed_files.read(path, self._keyring, _KIND, strictly=strictly, limit=_MAX_SIZE)
            self._known[known] = None if data is None else _content(data, table_id, self._keyring)
        return self._known[known]


def _content(data: bytes, table_id: str, keyring: Keyring) -> Parts | None:
    """The table in a file; None if it is damaged, or not the one of that id."""
    bodies, _ = seal.blocks(_KIND, data, keyring)
    try:
        (body,) = bodies
        content = zlib.decompressobj().decompress(body, _MAX_RAW)
        table = _unpacked(content)
    except (ValueError, zlib.error):
        return None  # written by another release
    return table if table_id[_LIKE:] == blake3(content).hexdigest(_DIGITS)[: _DIGITS - _LIKE] else None


def _packed(parts: Parts) -> bytes:
    """A table as bytes: all labels, all digests and all shown texts, with zero characters between them.

    The alike are next to each other, which compresses best. JSON would be looked through for nesting: 50 ms.
    """
    shown, digests = zip(*((shown, digest) for digest, shown in parts.values()), strict=True)
    return "\0".join((*parts, *digests, *shown)).encode("utf-8", "surrogatepass")


def _unpacked(content: bytes) -> Parts:
    """The same back; raises `ValueError` for what is no table."""
    texts = content.decode("utf-8", "surrogatepass").split("\0")
    count, odd = divmod(len(texts), 3)
    if odd:
        raise ValueError("not three texts for each part")
    return dict(zip(texts[:count], zip(texts[count : 2 * count], texts[2 * count :], strict=True), strict=True))


def path_of(folder: str, table_id: str, key: bytes) -> str:
    return f"{folder}/{table_id}.{seal.mark(_KIND, table_id, key)}.parts"


def _marked(names: Iterable[str], key: bytes) -> Iterator[str]:
    for match in map(_NAME.fullmatch, names):
        if match is not None and match[2] == seal.mark(_KIND, match[1], key):
            yield match[1]


def all_of(folder: str, keyring: Keyring) -> set[tuple[str, bytes]]:
    """The tables of our keys by their names: their ids, and those of the keys."""
    names = sealed_files.names(folder)
    return {(table_id, key_id) for key_id, key in keyring.keys.items() for table_id in _marked(names, key)}
