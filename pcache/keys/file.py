"""Files that count by their content.

A file changed when its inode, size or times did: the time of its last change of any kind (`ctime`) cannot be set by
programs, so content that was replaced with the old size and modification time shows as well.
"""

from __future__ import annotations

import errno
import os
import threading

from pcache.startup import TYPE_CHECKING, Any, Literal, TypeVar, late, overload
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import BufferedReader, TextIOWrapper
    from pathlib import Path

    from pcache.system import file_content

    T = TypeVar("T")
else:
    file_content = late("pcache.system.file_content")

_notes = threading.local()


# What a `File` has of `pathlib.Path`: all that reads, or makes another path of it.
AS_A_PATH = frozenset(
    "anchor drive name parent parents parts root stem suffix suffixes absolute as_posix as_uri exists is_absolute"
    " is_dir is_file is_relative_to is_symlink joinpath lstat match read_bytes read_text readlink relative_to resolve"
    " samefile stat with_name with_stem with_suffix".split()
)


class NoFile(TypeError):
    """There is no file of that name, or none that can be read; its text says so."""


class File:
    """A file argument that counts by its content, whatever its name.

    Use it where a path is expected: `open(file)`, `os.fspath(file)`, `pandas.read_csv(file)`. It reads like a
    `pathlib.Path` (`name`, `suffix`, `stem`, `parent`, `read_text()`, `open()`, ...); what would change the file has no
    place here. What it makes, such as `parent` or `file / "x"`, is a plain `Path`: only the file itself counts by its
    content.

    The content is read when a key is made, and not again until inode, size, or one of its times change; files that
    changed within the last 2 seconds are always read. A result is stored only if the file was not touched while it was
    computed. A missing file, a folder, and anything else that is not a regular file raise `UnhashableArgument`.

    >>> import tempfile, pcache
    >>> cache = pcache.Cache(tempfile.mkdtemp())
    >>> @cache.cached
    ... def count_lines(source):
    ...     return len(source.read_text().splitlines())
    >>> with tempfile.NamedTemporaryFile("w") as table:
    ...     _ = table.write("a\\nb\\n"), table.flush()
    ...     count_lines(pcache.File(table.name))
    2
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
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
        except OSError as error:
            raise_if_interrupt(error)
            raise NoFile(why_unreadable(self.path, error)) from None

    # Reading like a path

    if TYPE_CHECKING:
        anchor: str
        drive: str
        name: str
        parent: Path
        parents: Sequence[Path]
        parts: tuple[str, ...]
        root: str
        stem: str
        suffix: str
        suffixes: list[str]

        def absolute(self) -> Path: ...
        def as_posix(self) -> str: ...
        def as_uri(self) -> str: ...
        def exists(self) -> bool: ...
        def is_absolute(self) -> bool: ...
        def is_dir(self) -> bool: ...
        def is_file(self) -> bool: ...
        def is_relative_to(self, other: str | os.PathLike[str], /) -> bool: ...
        def is_symlink(self) -> bool: ...
        def joinpath(self, *others: str | os.PathLike[str]) -> Path: ...
        def lstat(self) -> os.stat_result: ...
        def match(self, path_pattern: str) -> bool: ...
        def read_bytes(self) -> bytes: ...
        def read_text(self, encoding: str | None = None, errors: str | None = None) -> str: ...
        def readlink(self) -> Path: ...
        def relative_to(self, other: str | os.PathLike[str], /) -> Path: ...
        def resolve(self, strict: bool = False) -> Path: ...
        def samefile(self, other_path: str | os.PathLike[str]) -> bool: ...
        def stat(self) -> os.stat_result: ...
        def with_name(self, name: str) -> Path: ...
        def with_stem(self, stem: str) -> Path: ...
        def with_suffix(self, suffix: str) -> Path: ...
    else:

        def __getattr__(self, name):
            if name in AS_A_PATH:
                return getattr(_path_of(self), name)
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_") and hasattr(type(_path_of(".")), name):
                text += ": a File is only read; pathlib.Path(file) has it"
            raise AttributeError(text, name=name, obj=self)

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *AS_A_PATH]

    def __truediv__(self, other: str | os.PathLike[str]) -> Path:
        return _path_of(self) / other

    def __rtruediv__(self, other: str | os.PathLike[str]) -> Path:
        return other / _path_of(self)

    @overload
    def open(
        self,
        mode: Literal["r", "rt"] = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> TextIOWrapper: ...
    @overload
    def open(self, mode: Literal["rb"], buffering: int = -1) -> BufferedReader: ...
    def open(self, mode: str = "r", *args: Any, **options: Any) -> Any:
        """Open the file for reading, as `pathlib.Path.open` does; another mode raises `ValueError`."""
        if not frozenset(mode) <= frozenset("rbt"):
            raise ValueError(f"a File is only read: to write to it with mode {mode!r}, use open(file.path, {mode!r})")
        return _path_of(self).open(mode, *args, **options)


def _path_of(file: str | os.PathLike[str]) -> Path:
    from pathlib import Path  # late for start-up time

    return Path(file)


def why_unreadable(path: str, error: OSError) -> str:
    """A sentence on why the content of a file cannot count."""
    if error.errno == errno.ENOENT:
        return f"there is no file {path}"
    if error.errno == errno.EISDIR:
        return f"{path} is a folder, and a File is one file; depends_on= takes the pathlib.Path of a folder"
    return f"{path} cannot be read: {error.strerror}"


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
