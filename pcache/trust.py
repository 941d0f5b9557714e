"""Whose bytes may be unpickled: signing keys and ownership.

Every entry carries a tag made with a signing key that lives outside the cache directory, so whoever can write to the
directory, but not read the key, cannot make pcache load anything. Nothing here knows what an entry looks like.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from pcache.errors import DirectoryError, SigningKeyError
from pcache.folders import user_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY_BYTES = 32
KEY_ID_BYTES = 8
_KEY_ID_CONTEXT = "pcache 2026 signing key id"  # BLAKE3 key derivation: the id says nothing about the key
_OTHERS_WRITE = 0o022
_OTHERS_ANY = 0o077
_MAX_KEY_FILE = 64 << 10
UNFINISHED = re.compile(r"\.[0-9]+\.[0-9a-f]{8}")  # what a key file's name goes on with while it is written

# What opening fails with where there is no file, or something else: a link, a socket.
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

# Never follow a link planted in place of a file, never hang on a FIFO, never leak a descriptor to a child. Flags that a
# platform does not have are left out.
SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
SAFE_FLAGS |= getattr(os, "O_BINARY", 0)


# The user whose files are ours; 0 where the platform has no users.
our_uid: Callable[[], int] = getattr(os, "getuid", int)


class Keyring(NamedTuple):
    """Signing keys by id. `signing` is the id that new entries are signed with; the other keys only verify."""

    signing: bytes
    keys: dict[bytes, bytes]

    @property
    def signing_key(self) -> bytes:
        return self.keys[self.signing]


def make_keyring(keys: Sequence[bytes]) -> Keyring:
    """The first of `keys` signs, all of them verify."""
    return Keyring(key_id(keys[0]), {key_id(key): key for key in keys})


# Without a place for a key every entry is signed with this one, and only a private directory is read (`check_private`).
UNSIGNED = Keyring(bytes(KEY_ID_BYTES), {bytes(KEY_ID_BYTES): bytes(KEY_BYTES)})


def key_id(key: bytes) -> bytes:
    """The public name of a signing key, 8 bytes."""
    return blake3(key, derive_key_context=_KEY_ID_CONTEXT).digest(KEY_ID_BYTES)


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def key_to_text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def parse_key(text: str | bytes, source: str) -> bytes:
    """Return the key that base64 `text` stands for; raw bytes of the right length are taken as they are."""
    if isinstance(text, (bytes, bytearray)):
        key = bytes(text)
    else:
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError, AttributeError):  # AttributeError: neither text nor bytes
            key = b""
    if len(key) != KEY_BYTES:
        raise SigningKeyError(
            f"{source} is not a signing key: base64 of {KEY_BYTES} bytes is expected. `pcache key new` makes one.",
            source=source,
        )
    return key


def parse_keys(given: str | bytes | Iterable[str | bytes], source: str) -> list[bytes]:
    """Return the keys of one key, or of an iterable of keys of which the first signs."""
    texts = [given] if isinstance(given, (str, bytes, bytearray)) or not isinstance(given, Iterable) else list(given)
    if not texts:
        raise SigningKeyError(f"{source} holds no signing key; `pcache key new` makes one.", source=source)
    return [parse_key(text, source) for text in texts]


def default_key_path() -> str | None:
    """The file that holds the user's signing keys, or None when there is no home directory."""
    folder = user_folder("config")
    return None if folder is None else os.path.join(folder, "key")


def read_key_file(path: str) -> list[bytes] | None:
    """Return the keys in a file, one base64 line each, the first of which signs; None when there is no such file.

    Raises `SigningKeyError` for a file that others could have written or read, or that is no key file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | SAFE_FLAGS & ~getattr(os, "O_NOFOLLOW", 0))
        try:
            _check_key_file(path, os.fstat(fd))
            text = os.read(fd, _MAX_KEY_FILE).decode("ascii", "replace")
        finally:
            close_quietly(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SigningKeyError(
            f"the signing key {path} cannot be read ({error.strerror}); make it readable for you, or name another with"
            " PCACHE_KEY_FILE.",
            source=path,
        ) from error
    return parse_keys([line for line in text.splitlines() if line.strip()], path)


def _check_key_file(path: str, status: os.stat_result) -> None:
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file"
    elif status.st_uid not in (our_uid(), 0):
        problem = f"belongs to another user (uid {status.st_uid})"
    elif status.st_mode & _OTHERS_ANY:
        problem = f"can be read or written by others (mode {stat.S_IMODE(status.st_mode):o}); run: chmod 600 {path}"
    if problem:
        raise SigningKeyError(f"the signing key {path} {problem}", source=path)


def close_quietly(fd: int) -> None:
    """Close a descriptor of which nothing depends on what closing reports: what was read was read."""
    try:
        os.close(fd)
    except OSError:
        pass  # the descriptor is closed all the same; network file systems report here what became of earlier writes


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a single write may end early when the disk fills up. Raises `OSError`."""
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])


def write_key_file(path: str, keys: Sequence[bytes], *, replace: bool = False) -> bool:
    """Write `keys` to a file with mode 0600; return False when another process made it first.

    The file appears whole or not at all: it is written under a private name and then linked, or with `replace`
    renamed, to its own.
    """
    path = os.path.abspath(path)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    try:
        write_all(fd, "".join(key_to_text(key) + "\n" for key in keys).encode())
        os.fsync(fd)  # a lost key makes every entry unreadable
        if replace:
            os.replace(temporary, path)
            return True
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        close_quietly(fd)
        with contextlib.suppress(OSError):  # renamed; or a leftover, which a sweep removes
            os.unlink(temporary)
    return True


class KeySource:
    """Where a cache's signing keys come from: the argument, PCACHE_KEY, a key file, or the user's own key file.

    The first three are read at once, so that a bad one is reported when the cache is made. The user's own key is made
    when the first entry is written. Safe to use from several threads and processes: whoever makes the key first wins,
    and the others read it.
    """

    def __init__(self, given: str | bytes | Iterable[str | bytes] | None, key_file: str | None) -> None:
        self.path: str | None = None
        self.origin = "argument"
        # None while the user has no key yet: then there is nothing to be read either.
        self.keyring: Keyring | None = None
        if given is not None:
            self.keyring = make_keyring(parse_keys(given, "signing_key"))
        elif text := os.environ.get("PCACHE_KEY"):
            self.origin = "environment PCACHE_KEY"
            self.keyring = make_keyring(parse_keys(text.split(","), "PCACHE_KEY"))
        elif named := os.environ.get("PCACHE_KEY_FILE") or key_file:
            named = os.path.expanduser(named)
            self.path, self.origin = named, "key file"
            keys = read_key_file(named)
            if keys is None:
                raise SigningKeyError(
                    f"the key file {named} does not exist; `pcache key new` writes one.", source=named
                )
            self.keyring = make_keyring(keys)
        else:
            self.path, self.origin = default_key_path(), "your key file"
            try:
                self.keyring = self._read_own()
            except SigningKeyError as error:
                if not isinstance(error.__cause__, OSError) or error.__cause__.errno in NO_FILE:
                    raise
                # It may be read a moment later: the first call looks again, and warns.

    def look(self) -> Keyring | None:
        """Return the keys; another process may have made the user's own meanwhile. Raises `SigningKeyError`."""
        if self.keyring is None:
            self.keyring = self._read_own()
        return self.keyring

    def has_place(self) -> bool:
        """Whether the user's own key could be made, as far as can be told without making it."""
        folder = os.path.dirname(self.path or "")
        while folder and not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)

    def _read_own(self) -> Keyring | None:
        keys = read_key_file(self.path) if self.path else None
        return make_keyring(keys) if keys else None

    def ensure(self) -> Keyring:
        """Return the keys, making the user's own first where there is none; `UNSIGNED` where it has no place."""
        if self.keyring is None:
            self.keyring = self._read_own() or self._make_own()
        return self.keyring

    def _make_own(self) -> Keyring:
        if self.path is None:
            return UNSIGNED
        with contextlib.suppress(OSError):  # it may be there all the same, made by us or by another process
            write_key_file(self.path, [new_key()])
        # No home, or none that can be written: the documented fallback is the private mode.
        return self._read_own() or UNSIGNED


def check_directory(path: str) -> bool:
    """Return whether the directory exists; raise `DirectoryError` unless it is ours alone to write.

    Refuses symbolic links, other files, directories of other users and directories that others can write to.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise DirectoryError(
                f"the cache directory {path} is below a file; choose another", path=path, reason="os"
            ) from error
        raise DirectoryError(
            f"the cache directory {path} cannot be used ({error.strerror})", path=path, reason="unknown"
        ) from error
    if stat.S_ISLNK(status.st_mode):
        raise DirectoryError(
            f"the cache directory {path} is a symbolic link; use the directory that it points to"
            f" ({os.path.realpath(path)})",
            path=path,
            reason="symlink",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise DirectoryError(f"the cache directory {path} is a file; choose another", path=path, reason="file")
    if status.st_uid != our_uid():
        raise DirectoryError(
            f"the cache directory {path} belongs to another user (uid {status.st_uid}); choose one of your own",
            path=path,
            reason="foreign",
        )
    if status.st_mode & _OTHERS_WRITE:
        raise DirectoryError(
            f"the cache directory {path} can be written by others (mode {stat.S_IMODE(status.st_mode):o});"
            f" run: chmod 700 {path}",
            path=path,
            reason="writable by others",
        )
    return True


def make_folder(path: str) -> None:
    """Make a folder that only its owner can use, unless it is there. The mask of new files cannot widen that."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # another process was faster


def check_below(root: str, folder: str) -> bool:
    """Make a folder below a root, and check that each step on the way is ours alone to write; raises `OSError`.

    The root and the folder of the generation are there already.
    """
    while len(folder) >= len(root):
        make_folder(folder)
        check_directory(folder)
        folder = os.path.dirname(folder)
    return True


def check_private(path: str) -> None:
    """Raise `DirectoryError` unless no other user can reach into `path`: it and every parent, as OpenSSH demands it."""
    current = os.path.realpath(path)
    while True:
        try:
            status = os.stat(current)
        except FileNotFoundError:
            status = None  # not made yet; the parents decide who could make it
        except OSError as error:
            raise DirectoryError(
                f"there is no place for a signing key, and {current} cannot be looked at ({error.strerror})",
                path=current,
                reason="unknown",
            ) from error
        if status is not None and (status.st_uid not in (our_uid(), 0) or status.st_mode & _OTHERS_WRITE):
            raise DirectoryError(
                f"there is no place for a signing key, and {current} can be changed by other users, so {path} is not"
                " safe to read; set PCACHE_KEY, or use a directory that only you can write to",
                path=current,
                reason="not private",
            )
        parent = os.path.dirname(current)
        if parent == current:
            return
        current = parent
