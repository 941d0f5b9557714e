"""Where a cache gets its signing keys from, also after it was pickled.

A key never travels: a pickle holds its id, which says nothing about it, and where it came from. The process that loads
it looks for the key with that id in its own environment and key files.
"""

from __future__ import annotations

import os
from functools import partial

from pcache.errors import SigningKeyError
from pcache.signing.keyring import (
    WAYS_OUT,
    Keyring,
    default_key_path,
    hidden,
    key_id,
    make_keyring,
    new_key,
    parse_keys,
    read_key_file,
    write_key_file,
)
from pcache.startup import TYPE_CHECKING, Any, NamedTuple
from pcache.system.interrupts import raise_if_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_known: dict[bytes, bytes] = {}  # keys that this process was given or has found, by id; in memory alone


class Wanted(NamedTuple):
    """Which keys a cache had, and where from; holds no secret.

    `ids` begins with that of the signing key, and is empty if there was no key yet.
    """

    ids: tuple[bytes, ...]
    origin: str
    path: str | None


def source_of(
    given: str | bytes | Iterable[str | bytes] | Wanted | None,
    key_file: str | None,
    *,
    shared: bool,
    inside: str | None = None,
) -> KeySource:
    """The source for the `signing_key` that a cache was given: keys, or what was pickled of them.

    `inside` is the key file in the cache directory, for a cache that keeps its key there.
    """
    if isinstance(given, Wanted):
        return FoundAgain(given, key_file, shared=shared, inside=inside)
    return KeySource(given, key_file, shared=shared, inside=inside)


class KeySource:
    """Where a cache's signing keys come from: the argument, PCACHE_KEY, a key file, or the user's own key file.

    The first three are read at once, so that a bad one is reported when the cache is made. The user's own key is made
    when the first entry is written; while there is none, or its file is bad, nothing is read or written. So is the one
    in the file `inside`, which takes its place. Safe to use from several threads and processes: the first to make the
    key wins, and the others read it.
    """

    def __init__(
        self,
        given: str | bytes | Iterable[str | bytes] | None,
        key_file: str | None,
        *,
        shared: bool = False,
        inside: str | None = None,
    ) -> None:
        self.path: str | None = None
        self.origin = "argument"
        self._key_file, self._shared, self._inside = key_file, shared, inside
        # None while the user has no key yet: then there is nothing to be read either.
        self.keyring: Keyring | None = None
        given = hidden(given)
        if given is not None:
            self._take(parse_keys(given, "signing_key"))
        elif os.environ.get("PCACHE_KEY"):
            self.origin = "environment PCACHE_KEY"
            self._take(parse_keys(os.environ["PCACHE_KEY"].split(","), "PCACHE_KEY"))
        elif named := os.environ.get("PCACHE_KEY_FILE") or key_file:
            named = os.path.expanduser(named)
            self.path, self.origin = named, "key file"
            keys = read_key_file(named, shared=shared)
            if keys is None:
                raise SigningKeyError(
                    f"the key file {named} does not exist; `pcache key new` writes one.", source=named
                )
            self._take(keys)
        elif inside is not None:
            self.path, self.origin = inside, "the cache directory itself,"
            self._take_if_there()
        elif shared:
            raise SigningKeyError(
                "a shared cache directory needs a signing key that its users share, as nothing else protects them from"
                " others who can write to it: give signing_key=, or set PCACHE_KEY or PCACHE_KEY_FILE."
                " `pcache key new --print` makes one.",
                source="shared",
            )
        else:
            self.path, self.origin = default_key_path(), "your key file"
            self._take_if_there()

    def _take_if_there(self) -> None:
        try:
            self._read_own()
        except SigningKeyError:
            pass  # the user did not name this file: it stops no program, and the first call warns

    def _take(self, keys: list[bytes]) -> Keyring:
        _known.update((key_id(key), key) for key in keys)
        self.keyring = make_keyring(keys, any_owner=self._shared)
        return self.keyring

    def look(self) -> Keyring | None:
        """Return the keys; another process may have made the user's own meanwhile. Raises `SigningKeyError`."""
        return self.keyring or self._read_own()

    def _read_own(self) -> Keyring | None:
        keys = read_key_file(self.path) if self.path else None
        return self._take(keys) if keys else None

    def has_place(self) -> bool:
        """Whether the user's own key could be made, as far as is known without making it."""
        folder = os.path.dirname(self.path or "")
        while folder and not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK) or os.path.islink(self.path or ""):
            return False
        try:
            disk = os.statvfs(folder)
        except (OSError, AttributeError):  # or a system that cannot tell
            return True
        return disk.f_bavail > 0 and (disk.f_favail > 0 or not disk.f_files)

    def ensure(self) -> Keyring:
        """Return the keys, making the user's own first if there is none; raises `SigningKeyError` without a place.

        That may change: a disk was full, a home not mounted yet.
        """
        return self.look() or self._make_own()

    def _make_own(self) -> Keyring:
        problem = "no home directory"
        if self.path is not None:
            problem = f"{self.path} leads nowhere"
            try:
                write_key_file(self.path, [new_key()])
            except OSError as error:
                raise_if_interrupt(error)
                problem = f"{self.path}: {error.strerror}"
            # It may exist all the same, made by us or by another process.
            if (keyring := self._read_own()) is not None:
                return keyring
        raise SigningKeyError(
            f"there is no place for a signing key ({problem}), and nothing is loaded that was not signed with one;"
            f" {WAYS_OUT}",
            source=self.path or "home",
        )

    def wanted(self) -> Wanted:
        """The keys in a form for pickling."""
        try:
            keyring = self.look()
        except SigningKeyError:
            keyring = None  # the process that loads it may find a better key file
        return Wanted(tuple(keyring.keys) if keyring is not None else (), self.origin, self.path)

    def __reduce__(self) -> Any:
        return partial(source_of, shared=self._shared, inside=self._inside), (self.wanted(), self._key_file)


class FoundAgain(KeySource):
    """The keys of an unpickled cache: those with the ids that it had, and never others instead.

    While the signing key is unknown, it is looked for again at each look: a worker process may make the cache with its
    `signing_key=` later. Making this raises nothing.
    """

    def __init__(
        self, wanted: Wanted, key_file: str | None, *, shared: bool = False, inside: str | None = None
    ) -> None:
        self.origin, self.path = wanted.origin, wanted.path
        self._wanted, self._key_file, self._shared, self._inside = wanted, key_file, shared, inside
        self.keyring = None
        self._here: KeySource | None = None  # the keys of this process, used if there was no key yet
        try:
            self.look()
        except SigningKeyError:
            pass  # the first call warns

    def look(self) -> Keyring | None:
        """Return the keys, or None while they are unknown here."""
        if self.keyring is None and not self._wanted.ids:
            self.keyring = self._found_here().look()
        elif self.keyring is None:
            self.keyring = self._find()
        return self.keyring

    def _found_here(self) -> KeySource:
        if self._here is None:
            self._here = KeySource(None, self._key_file, shared=self._shared, inside=self._inside)
            self.origin, self.path = self._here.origin, self._here.path
        return self._here

    def _find(self) -> Keyring | None:
        ids = self._wanted.ids
        if not _known.keys() >= set(ids):
            _known.update((key_id(key), key) for key in self._around())
        if ids[0] not in _known:
            return None
        return Keyring(ids[0], {known: _known[known] for known in ids if known in _known}, self._shared)

    def _around(self) -> Iterator[bytes]:
        """The keys in this process's environment and key files; anything else there is skipped."""
        named = os.environ.get("PCACHE_KEY_FILE")
        files = (self._wanted.path, named, self._key_file, self._inside, default_key_path())
        for path in dict.fromkeys(path for path in files if path):
            try:
                yield from read_key_file(os.path.expanduser(path), shared=self._shared) or ()
            except SigningKeyError:
                pass  # the key sought may be in another one
        try:
            yield from parse_keys(os.environ.get("PCACHE_KEY", "").split(","), "PCACHE_KEY")
        except SigningKeyError:
            pass  # not set, or not to a key

    def ensure(self) -> Keyring:
        """Return the keys; raises `SigningKeyError` while they are unknown here."""
        keyring = self.look()
        if keyring is not None:
            return keyring
        if not self._wanted.ids:
            self.keyring = self._found_here().ensure()
            return self.keyring
        raise SigningKeyError(
            f"a cache that came from another process has the signing key {self._wanted.ids[0].hex()}"
            f" ({self._wanted.origin}), which is not known in this one, as keys are not sent along; set PCACHE_KEY or"
            " PCACHE_KEY_FILE here, or make the cache with its signing_key= where modules are imported",
            source=self._wanted.origin,
        )

    def wanted(self) -> Wanted:
        """The keys in a form for pickling: the same again, even while they are unknown here."""
        return self._wanted if self._wanted.ids else super().wanted()
