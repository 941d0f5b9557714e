"""Whose bytes may be unpickled: signing keys and ownership.

Every entry carries a tag made with a signing key that lives outside the cache directory, so whoever can write to the
directory, but not read the key, cannot make pcache load anything. Nothing here knows what an entry looks like.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from pcache.errors import DirectoryError, SigningKeyError
from pcache.folders import user_folder
from pcache.interrupts import pass_on, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY_BYTES = 32
KEY_ID_BYTES = 8
_KEY_ID_CONTEXT = "pcache 2026 signing key id"  # BLAKE3 key derivation: the id says nothing about the key
OTHERS_WRITE = 0o022
_OTHERS_ANY = 0o077
_ALL_WRITE = 0o002
_GROUP_READS = 0o040
_MAX_KEY_FILE = 64 << 10
UNFINISHED = re.compile(r"\.[0-9]+\.[0-9a-f]{8}")  # what a key file's name goes on with while it is written
_NEVER = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)  # what waiting makes no directory of
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what a key cannot be made for now

# Never follow a link planted in place of a file, never hang on a FIFO, never leak a descriptor to a child. Flags that a
# platform does not have are left out.
SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
SAFE_FLAGS |= getattr(os, "O_BINARY", 0)

# The user whose files are ours; 0 where the platform has no users.
our_uid: Callable[[], int] = getattr(os, "getuid", int)


class Keyring(NamedTuple):
    """Signing keys by id. `signing` is the id that new entries are signed with; the other keys only verify.

    What keys of `any_owner` signed counts whoever's file it is: they were given for a directory that users share.
    """

    signing: bytes
    keys: dict[bytes, bytes]
    any_owner: bool = False

    @property
    def signing_key(self) -> bytes:
        return self.keys[self.signing]


def make_keyring(keys: Sequence[bytes], *, any_owner: bool = False) -> Keyring:
    """The first of `keys` signs, all of them verify."""
    return Keyring(key_id(keys[0]), {key_id(key): key for key in keys}, any_owner)


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
        except (ValueError, AttributeError):  # no base64; neither text nor bytes
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


def read_key_file(path: str, *, shared: bool = False) -> list[bytes] | None:
    """Return the keys in a file, one base64 line each, the first of which signs; None when there is no such file.

    A `shared` one may be another user's, and its group may read it.
    Raises `SigningKeyError` for a file that others could have written or read, or that is no key file.
    """
    try:
        fd = uninterrupted(os.open, path, os.O_RDONLY | SAFE_FLAGS & ~getattr(os, "O_NOFOLLOW", 0))
        try:
            _check_key_file(path, os.fstat(fd), shared=shared)
            text = os.read(fd, _MAX_KEY_FILE).decode("ascii", "replace")
        finally:
            os.closerange(fd, fd + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        pass_on(error)
        raise SigningKeyError(
            f"the signing key {path} cannot be read ({error.strerror}); make it readable for you, or name another with"
            " PCACHE_KEY_FILE.",
            source=path,
        ) from error
    return parse_keys([line for line in text.splitlines() if line.strip()], path)


def _check_key_file(path: str, status: os.stat_result, *, shared: bool) -> None:
    problem, refused = "", _OTHERS_ANY & ~_GROUP_READS if shared else _OTHERS_ANY
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file"
    elif status.st_uid not in (our_uid(), 0) and not shared:
        problem = f"belongs to another user (uid {status.st_uid})"
    elif status.st_mode & refused:
        problem = f"can be read or written by others (mode {stat.S_IMODE(status.st_mode):o})"
        problem += f"; run: chmod {'640' if shared else '600'} {path}"
    if problem:
        raise SigningKeyError(f"the signing key {path} {problem}", source=path)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a single write may end early when the disk fills up. Raises `OSError`."""
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])


def write_key_file(path: str, keys: Sequence[bytes], *, replace: bool = False, shared: bool = False) -> bool:
    """Write `keys` to a file with mode 0600; return False when another process made it first.

    The file appears whole or not at all: it is written under a private name and then linked, or with `replace`
    renamed, to its own. With `shared` the group of the one that it replaces may go on reading.
    """
    path = os.path.abspath(path)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    fd = uninterrupted(os.open, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    try:
        write_all(fd, "".join(key_to_text(key) + "\n" for key in keys).encode())
        os.fsync(fd)  # a lost key makes every entry unreadable
        if not replace:
            os.link(temporary, path)
        else:
            if shared and (before := os.stat(path)).st_mode & _GROUP_READS:
                os.fchown(fd, -1, before.st_gid)
                os.fchmod(fd, 0o640)
            os.replace(temporary, path)
        os.fsync(fd)  # the name as well
    except FileExistsError:
        return False
    finally:
        os.closerange(fd, fd + 1)
        try:
            os.unlink(temporary)
        except OSError as error:
            pass_on(error)  # else renamed; or a leftover, which a sweep removes
    return True


class KeySource:
    """Where a cache's signing keys come from: the argument, PCACHE_KEY, a key file, or the user's own key file.

    The first three are read at once, so that a bad one is reported when the cache is made. The user's own key is made
    when the first entry is written; while its file is bad nothing is read or written. Safe to use from several threads
    and processes: whoever makes the key first wins, and the others read it.
    """

    def __init__(
        self, given: str | bytes | Iterable[str | bytes] | None, key_file: str | None, *, shared: bool = False
    ) -> None:
        self.path: str | None = None
        self.origin = "argument"
        # None while the user has no key yet: then there is nothing to be read either.
        self.keyring: Keyring | None = None
        if given is not None:
            self.keyring = make_keyring(parse_keys(given, "signing_key"), any_owner=shared)
        elif text := os.environ.get("PCACHE_KEY"):
            self.origin = "environment PCACHE_KEY"
            self.keyring = make_keyring(parse_keys(text.split(","), "PCACHE_KEY"), any_owner=shared)
        elif named := os.environ.get("PCACHE_KEY_FILE") or key_file:
            named = os.path.expanduser(named)
            self.path, self.origin = named, "key file"
            keys = read_key_file(named, shared=shared)
            if keys is None:
                raise SigningKeyError(
                    f"the key file {named} does not exist; `pcache key new` writes one.", source=named
                )
            self.keyring = make_keyring(keys, any_owner=shared)
        elif shared:
            raise SigningKeyError(
                "a shared cache directory needs a signing key that its users share, as nothing else protects them from"
                " others who can write to it: give signing_key=, or set PCACHE_KEY or PCACHE_KEY_FILE."
                " `pcache key new --print` makes one.",
                source="shared",
            )
        else:
            self.path, self.origin = default_key_path(), "your key file"
            try:
                self.keyring = self._read_own()
            except SigningKeyError:
                pass  # nobody asked for this file: it stops no program, and the first call warns

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
        """Return the keys, making the user's own first where there is none; `UNSIGNED` where it has no place.

        Raises `OSError` where there is no room for it just now.
        """
        if self.keyring is None:
            self.keyring = self._read_own() or self._make_own()
        return self.keyring

    def _make_own(self) -> Keyring:
        if self.path is None:
            return UNSIGNED
        try:
            write_key_file(self.path, [new_key()])
        except OSError as error:
            pass_on(error)
            made = self._read_own()  # it may be there all the same, made by us or by another process
            if made is None and error.errno in _PASSING:
                raise  # there is a place for it, and in a minute there may be room
            # No home, or none that can be written: the documented fallback is the private mode.
            return made or UNSIGNED
        return self._read_own() or UNSIGNED


def check_directory(path: str, *, shared: bool = False) -> bool:
    """Return whether the directory exists; raise `DirectoryError` unless it is ours alone to write.

    Refuses symbolic links, other files, directories of other users and directories that others can write to. A `shared`
    one may be anybody's, and its group may write to it.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        pass_on(error)
        problem = "is below a file" if error.errno == errno.ENOTDIR else f"cannot be used ({error.strerror})"
        if error.errno in _NEVER:
            raise DirectoryError(
                f"the cache directory {path} {problem}; choose another", path=path, reason="os"
            ) from error
        raise DirectoryError(f"the cache directory {path} {problem}", path=path, reason="unknown") from error
    check_status(path, status, shared=shared)
    return True


def check_status(path: str, status: os.stat_result, *, shared: bool) -> None:
    """Raise `DirectoryError` unless `status` is that of a directory which is ours alone to write, as above."""
    if stat.S_ISLNK(status.st_mode):
        raise DirectoryError(
            f"the cache directory {path} is a symbolic link; use the directory that it points to"
            f" ({os.path.realpath(path)})",
            path=path,
            reason="symlink",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise DirectoryError(f"the cache directory {path} is a file; choose another", path=path, reason="file")
    if status.st_uid != our_uid() and not shared:
        raise DirectoryError(
            f"the cache directory {path} belongs to another user (uid {status.st_uid}); choose one of your own, or set"
            " shared=True (PCACHE_SHARED=1) for one that a group shares",
            path=path,
            reason="foreign",
        )
    if status.st_mode & (_ALL_WRITE if shared else OTHERS_WRITE):
        raise DirectoryError(
            f"the cache directory {path} can be written by others (mode {stat.S_IMODE(status.st_mode):o});"
            f" run: chmod {'o-w' if shared else '700'} {path}",
            path=path,
            reason="writable by others",
        )


def check_private(path: str) -> None:
    """Raise `DirectoryError` unless no other user can reach into `path`: it and every parent, as OpenSSH demands it."""
    current = os.path.realpath(path)
    while True:
        try:
            status = os.stat(current)
        except FileNotFoundError:
            status = None  # not made yet; the parents decide who could make it
        except OSError as error:
            pass_on(error)
            raise DirectoryError(
                f"there is no place for a signing key, and {current} cannot be looked at ({error.strerror})",
                path=current,
                reason="unknown",
            ) from error
        if status is not None and (status.st_uid not in (our_uid(), 0) or status.st_mode & OTHERS_WRITE):
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
