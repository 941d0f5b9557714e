"""Signing keys, and the files that hold them: only entries signed with one of these are unpickled.

Every entry carries a tag made with a signing key that lives outside the cache directory, so a user who can write to
the directory, but not read the key, cannot make pcache load anything. There is no entry without a key, and no key that
anyone could guess. Nothing here knows what an entry looks like, or where a cache has its keys from.
"""

from __future__ import annotations

import errno
import os
import stat
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable

from blake3 import blake3

from pcache.errors import SigningKeyError
from pcache.startup import TYPE_CHECKING, Any, NamedTuple, NoReturn, pattern
from pcache.system.interrupts import raise_if_interrupt, uninterrupted
from pcache.system.ownership import SAFE_FLAGS, SHARE, our_uid
from pcache.system.safefiles import write_all
from pcache.system.userdirs import make_private, user_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_BYTES = 32
KEY_ID_BYTES = 8
_KEY_ID_CONTEXT = "pcache 2026 signing key id"  # BLAKE3 key derivation: the id says nothing about the key
_OTHERS_ANY = 0o077
_GROUP_READS = 0o040
_MAX_KEY_FILE = 64 << 10
UNFINISHED = pattern(r"\.[0-9]+\.[0-9a-f]{8}")  # end of a key file's name while it is being written
# Errors of file systems without hard links: FAT, many in user space, and Android.
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL)
WAYS_OUT = (
    "set PCACHE_KEY to what `pcache key new --print` prints, name a key file with PCACHE_KEY_FILE, or set HOME to a"
    " folder that you can write to"
)

INSIDE = "whoever can write there can make programs load what they wrote"
ONE_KEY = (
    "programs that share a directory need one key: set PCACHE_KEY to what `pcache key export` prints where the others"
    " run; or set PCACHE_KEY_IN_DIRECTORY=1 for all of them, if everyone who can write to the directory is trusted"
)


class Secret(bytes):
    """A signing key whose bytes are never printed or pickled, nor by an object that holds it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<signing key>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("signing keys are secret and not pickled; a pcache.Cache is, and finds its keys again")


class SecretText(str):
    """A signing key as text, before it is parsed: tracebacks with the values of variables do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<signing key>"


def hidden(given: Any) -> Any:
    """Wrap given keys, so that no traceback with the values of variables shows one; return anything else as it is.

    Replace the text by this as soon as it is there: errors raised later have its frame.
    """
    if isinstance(given, str):
        return SecretText(given)
    if isinstance(given, (bytes, bytearray)):
        return Secret(given)
    return [hidden(one) for one in given] if isinstance(given, Iterable) else given


class Keyring(NamedTuple):
    """Signing keys by id. `signing` is the id that new entries are signed with; the other keys only verify.

    With `any_owner` an entry counts whichever user owns its file: the keys were given for a shared directory.
    """

    signing: bytes
    keys: dict[bytes, bytes]
    any_owner: bool = False

    @property
    def signing_key(self) -> bytes:
        return self.keys[self.signing]


def make_keyring(keys: Sequence[bytes], *, any_owner: bool = False) -> Keyring:
    """The first of `keys` signs, all of them verify."""
    return Keyring(key_id(keys[0]), {key_id(key): Secret(key) for key in keys}, any_owner)


def key_id(key: bytes) -> bytes:
    """The public name of a signing key, 8 bytes."""
    return blake3(key, derive_key_context=_KEY_ID_CONTEXT).digest(KEY_ID_BYTES)


def new_key() -> bytes:
    return Secret(os.urandom(KEY_BYTES))


def key_to_text(key: bytes) -> str:
    return b2a_base64(key, newline=False).decode()


def parse_key(text: str | bytes, source: str) -> bytes:
    """Return the key that is `text` in base64; raw bytes of the right length are taken as they are."""
    text = hidden(text)
    if isinstance(text, bytes):
        key = text
    else:
        try:
            key = Secret(a2b_base64(text.strip(), strict_mode=True))
        except (ValueError, AttributeError):  # no base64; neither text nor bytes
            key = b""
    if len(key) != KEY_BYTES:
        raise SigningKeyError(
            f"{source} is not a signing key: base64 of {KEY_BYTES} bytes is expected. `pcache key new` makes one.",
            source=source,
        )
    return Secret(key)


def parse_keys(given: str | bytes | Iterable[str | bytes], source: str) -> list[bytes]:
    """Return the keys of one key, or of an iterable of keys of which the first signs."""
    given = hidden(given)
    texts: list[Any] = given if isinstance(given, list) else [given]
    if not texts:
        raise SigningKeyError(f"{source} holds no signing key; `pcache key new` makes one.", source=source)
    return [parse_key(text, source) for text in texts]


def default_key_path() -> str | None:
    """The file that holds the user's signing keys, or None when there is no home directory."""
    folder = user_folder("config")
    return None if folder is None else os.path.join(folder, "key")


def read_key_file(path: str, *, shared: bool = False) -> list[bytes] | None:
    """Return the keys in a file, one base64 line each, the first of which signs; None when there is no such file.

    A `shared` one may belong to another user, and its group may read it.
    Raises `SigningKeyError` for a file that others could have written or read, or that is no key file.
    """
    try:
        fd = uninterrupted(os.open, path, os.O_RDONLY | SAFE_FLAGS & ~getattr(os, "O_NOFOLLOW", 0))
        try:
            _check_key_file(path, os.fstat(fd), shared=shared)
            lines = [SecretText(line) for line in os.read(fd, _MAX_KEY_FILE).decode("ascii", "replace").splitlines()]
        finally:
            os.closerange(fd, fd + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise_if_interrupt(error)
        raise SigningKeyError(
            f"the signing key {path} cannot be read ({error.strerror}); make it readable for you, {WAYS_OUT}",
            source=path,
        ) from error
    return parse_keys([line for line in lines if line.strip()], path)


def _check_key_file(path: str, status: os.stat_result, *, shared: bool) -> None:
    problem, refused = "", _OTHERS_ANY & ~_GROUP_READS if shared else _OTHERS_ANY
    is_groups = not shared and status.st_mode & _OTHERS_ANY == _GROUP_READS
    if not stat.S_ISREG(status.st_mode):
        problem = f"is not a regular file; {WAYS_OUT}"
    elif status.st_uid not in (our_uid(), 0) and not shared:
        way = f"{SHARE} if it is the key of a directory that its group shares" if is_groups else WAYS_OUT
        problem = f"belongs to another user (uid {status.st_uid}); {way}"
    elif status.st_mode & refused:
        way = f"run: chmod {'640' if shared else '600'} {path}"
        if is_groups:
            way = f"{SHARE} if it is the key of a directory that its group shares, or for you alone {way}"
        problem = f"can be read or written by others (mode {stat.S_IMODE(status.st_mode):o}); {way}"
    if problem:
        raise SigningKeyError(f"the signing key {path} {problem}", source=path)


def write_key_file(path: str, keys: Sequence[bytes], *, replace: bool = False, shared: bool = False) -> bool:
    """Write `keys` to a file with mode 0600; return False when another process made it first.

    The file appears whole or not at all: it is written under a private name and then linked, or with `replace`
    renamed, to its own. With `shared` the group of the one that it replaces may go on reading.
    """
    path = os.path.abspath(path)
    make_private(os.path.dirname(path))
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    fd = uninterrupted(os.open, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    try:
        write_all(fd, "".join(key_to_text(key) + "\n" for key in keys).encode())
        os.fsync(fd)  # a lost key makes every entry unreadable
        if not replace:
            _give_name(temporary, path)
        else:
            if shared and (before := os.stat(path)).st_mode & _GROUP_READS:
                os.fchown(fd, -1, before.st_gid)
                os.fchmod(fd, 0o640)
            os.replace(temporary, path)
        os.fsync(fd)  # and its name
    except FileExistsError:
        return False
    finally:
        try:
            os.closerange(fd, fd + 1)
        finally:  # an interrupt may come between the two
            try:
                os.unlink(temporary)
            except OSError as error:
                raise_if_interrupt(error)  # else renamed; or a leftover, which a sweep removes
    return True


def _give_name(temporary: str, path: str) -> None:
    """Give a file a new name; raises `FileExistsError` if it is taken, also where two do this at once."""
    try:
        os.link(temporary, path)
    except OSError as error:
        raise_if_interrupt(error)
        if error.errno not in _NO_LINKS:
            raise
        if os.name == "nt":
            os.rename(temporary, path)  # on Windows this replaces nothing
            return
        import fcntl  # late: not needed where files can have hard links

        folder = uninterrupted(os.open, os.path.dirname(path), os.O_RDONLY | SAFE_FLAGS)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # held while renaming; only users who can write here can take it
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
            os.rename(temporary, path)
        finally:
            os.closerange(folder, folder + 1)
