"""What was read from the code of large programs, kept between processes: a file for each program's folder.

Losing it costs time, never results. Only what one of our keys sealed is unpickled; what another Python or another
release of pcache has read is read anew. `v1/code/<folder>.<mark>`, compressed.
"""

from __future__ import annotations

import os
import sys

from blake3 import blake3

from pcache.entry import pickling
from pcache.fingerprint import known_code
from pcache.layout import code_folder, functions_folder
from pcache.objects.lookup import attributes_of, look, text
from pcache.signing import seal
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import raise_if_interrupt, stands, try_call
from pcache.versions import sealed_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.signing.keyring import Keyring
    from pcache.system.permissions import Access

_KIND = b"code"
_MAX_SIZE = 64 << 20  # bytes of a file
_MAX_RAW = 512 << 20  # and without compression
_LEVEL = 1  # of compression: 4 MB become 1 MB in 30 ms
_MOST_FILES = 100  # in the folder: the oldest ones go

_loaded: set[str] = set()  # paths of files that were looked for


def load(root: str, function: Callable[..., Any], keyring: Keyring | None) -> None:
    """Take in what was kept for a function's program; once a process."""
    if keyring is None or (path := _path(root, function, keyring)) is None or path in _loaded:
        return
    _loaded.add(path)
    if not os.path.exists(path):  # asked for by no exception, which would keep the call's arguments alive for a while
        return
    data = sealed_files.read(path, keyring, _KIND, strictly=False, limit=_MAX_SIZE)
    bodies, _ = ([], 0) if data is None else seal.blocks(_KIND, data, keyring)
    if len(bodies) == 1:
        kept, error = try_call(_unpacked, bodies[0])
        if error is None and kept[0] == known_code.read_by():
            known_code.take_in(kept[1])


def keep(root: str, function: Callable[..., Any], keyring: Keyring | None, access: Access) -> None:
    """Write what this process has read, if that took long; never raises `OSError`."""
    if keyring is None or len(known_code.new) < known_code.MOST_NEW or not stands(functions_folder(root)):
        return  # the process asks again where it stores a result
    if (path := _path(root, function, keyring)) is None:
        return
    import pickle  # late for start-up time: most programs are small
    import zlib

    body = zlib.compress(pickle.dumps((known_code.read_by(), known_code.give_out()), 5), _LEVEL)
    if len(body) > _MAX_SIZE:
        return
    try:
        _make_room(code_folder(root), access)
        sealed_files.write(path, seal.block(_KIND, body, keyring), access)
    except OSError as error:
        raise_if_interrupt(error)  # else the next process reads the code again


def _unpacked(body: bytes) -> Any:
    import zlib  # late for start-up time

    return pickling.load(zlib.decompressobj().decompress(body, _MAX_RAW))


def _path(root: str, function: Callable[..., Any], keyring: Keyring) -> str | None:
    """The file for the program that a function is of: for the folder of its top-level module."""
    name = text(look(function, "__module__")).partition(".")[0]
    file = text(attributes_of(sys.modules.get(name)).get("__file__"))
    if not file:
        return None
    folder = os.path.dirname(os.path.abspath(file))
    program = blake3(os.fsencode(folder)).hexdigest(8)
    return f"{code_folder(root)}/{program}.{seal.mark(_KIND, program, keyring.signing_key)}"


def _make_room(folder: str, access: Access) -> None:
    """Remove the files written longest ago, if there are too many."""
    paths = [f"{folder}/{name}" for name in sealed_files.names(folder)]
    if len(paths) >= _MOST_FILES:
        paths.sort(key=lambda path: os.lstat(path).st_mtime_ns)
        for path in paths[: len(paths) - _MOST_FILES // 2]:
            access.remove(os.path.dirname(os.path.dirname(folder)), path)
