"""Files that count by their content.

A file changed when its inode, size or times did: the time of its last change of any kind (`ctime`) cannot be set by
programs, so content that was replaced with the old size and modification time shows as well.
"""

from __future__ import annotations

import os
import threading

from pcache.startup import TYPE_CHECKING, Any, TypeVar, late

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcache.system import file_content

    T = TypeVar("T")
else:
    file_content = late("pcache.system.file_content")

_notes = threading.local()


class NoFile(TypeError):
    """There is no file of that name."""


class File:
    """A file argument that counts by its content, whatever its name.

    Use it where a path is expected: `open(file)`, `os.fspath(file)`. The content is read when a key is made, and not
    again until inode, size, or one of its times change; files that changed within the last 2 seconds are always read. A
    result is stored only if the file was not touched while it was computed. A missing file, a folder, and anything else
    that is not a regular file raise `UnhashableArgument`.

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
        try:
            return note(file_content.read(self.path)).digest
        except FileNotFoundError:
            raise NoFile(f"there is no file {self.path}") from None


def note(reading: file_content.Reading) -> file_content.Reading:
    """Report a file to the enclosing `noting` call."""
    found = getattr(_notes, "found", None)
    if found is not None:
        found.append(reading)
    return reading


def noting(function: Callable[..., T], *args: Any) -> tuple[T, list[file_content.Reading]]:
    """Call a function; return also the files that were noted meanwhile in this thread."""
    outer = getattr(_notes, "found", None)
    found: list[file_content.Reading] = []
    try:
        _notes.found = found
        return function(*args), found
    finally:
        _notes.found = outer
        if outer is not None:
            outer += found
