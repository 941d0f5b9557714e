"""Files that count by their content."""

from __future__ import annotations

import os
import time
from typing import Any

from blake3 import blake3

_BLOCK = 1 << 20
_SETTLED_NS = 2 * 10**9  # a younger file may change again within one tick of its clock
_MAX_MEMO = 4096
_memo: dict[tuple[int, int, int, int], bytes] = {}  # device, inode, size, mtime_ns of files read before


class File:
    """A file as an argument: calls are the same when its content is, whatever its name.

    Use it where a path is expected: `open(file)`, `os.fspath(file)`. The content is read when a key is made, and not
    again until size or modification time change; files modified within the last 2 seconds are always read. A missing
    file raises `UnhashableArgument`.

    >>> import tempfile, pcache
    >>> cache = pcache.Cache(tempfile.mkdtemp())
    >>> @cache.cached
    ... def count_lines(source):
    ...     with open(source) as file:
    ...         return sum(1 for _ in file)
    >>> with tempfile.NamedTemporaryFile("w") as table:
    ...     _ = table.write("a\\nb\\n"), table.flush()
    ...     count_lines(pcache.File(table.name))
    2
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"File({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __reduce__(self) -> Any:
        return File, (self.path,)

    def __pcache_key__(self) -> bytes:
        return content_digest(self.path)


def content_digest(path: str) -> bytes:
    """BLAKE3 of a file's content, 32 bytes; raises `OSError`."""
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        known = _memo.get(identity)
        if known is not None:
            return known
        hasher = blake3()
        buffer = bytearray(_BLOCK)
        with memoryview(buffer) as view:
            while count := file.readinto(buffer):
                hasher.update(view[:count])
    digest = hasher.digest()
    if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
        if len(_memo) >= _MAX_MEMO:
            _memo.clear()
        _memo[identity] = digest
    return digest
