"""The root of a cache directory: its tag, and whether it is a pcache directory.

A directory that holds other things is never used: nothing is stored in it or removed from it.
"""

from __future__ import annotations

import os
import time

from pcache.errors import DirectoryError
from pcache.layout import GENERATION, KEY_FILE, TAG_FILE, entries_folder, functions_folder, generation_folder
from pcache.startup import TYPE_CHECKING, late, pattern
from pcache.system.interrupts import raise_if_interrupt, stands, uninterrupted
from pcache.system.permissions import PRIVATE, Access
from pcache.system.safefiles import NO_FILE, read_plain, write_all

if TYPE_CHECKING:
    from pcache.storage import shards
else:
    shards = late("pcache.storage.shards")

_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# This directory holds stored function results of pcache. It may be deleted at any time: results are computed again.
# For the tag see https://bford.info/cachedir/
"""
_TAG_MARK = b"stored function results of pcache"
_IGNORE_FILE = ".gitignore"
_OWN_NAMES = frozenset((TAG_FILE, _IGNORE_FILE, GENERATION))
_LAYOUT = pattern(r"(code|entries|functions|ledger|locks)(\.odd-[0-9a-f]{8}|\.[0-9a-f]{8})?")  # odd, or being made
_SHARDS, _FUNCTIONS = (
    pattern(r"[0-9a-f]{2}(\..*)?"),
    pattern(r"[0-9a-f]{16}(\.[0-9a-f]{16})?\.(json|adopted|source)(\..*)?"),
)
TAG_AGE = 24 * 3600.0  # seconds after which the tag is touched; programs that remove old files spare newer ones


def is_there(path: str) -> bool:
    """Whether a file or directory exists; raises `OSError` if that cannot be told, where `lexists` returns False."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_ours(root: str) -> bool:
    """Whether a directory carries our tag; raises `OSError` if that cannot be told."""
    try:
        return _TAG_MARK in read_plain(os.path.join(root, TAG_FILE), 4096, linked=True)  # as in a copy of hard links
    except OSError as error:
        raise_if_interrupt(error)
        if error.errno in NO_FILE:
            return False
        raise


def check_root(root: str, access: Access = PRIVATE) -> bool:
    """Return whether the root exists; raise `DirectoryError` if it cannot be a cache directory.

    These are refused: a file, a symbolic link, a directory of another user or one that others can write to, and any
    directory without our tag that holds other things, so that these are never mistaken for ours.
    """
    if not access.check(root):
        return False
    if not is_ours(root) and (others := sorted(name for name in _listed(root) if not _is_own(name))):
        raise DirectoryError(
            f"the directory {root} holds other things ({others[0]!r}, ...) and is not a pcache directory; choose an"
            " empty or a new one",
            path=root,
            reason="not ours",
        )
    return True


def _is_own(name: str) -> bool:
    return name in _OWN_NAMES or name.startswith(KEY_FILE)  # also one that is being written


def _listed(root: str) -> set[str]:
    try:
        return set(os.listdir(root))
    except PermissionError:
        return set()  # a user who may not list it cannot use it either, and is warned then


def require_ours(root: str, access: Access = PRIVATE) -> bool:
    """Return whether `root` holds anything to remove; raise `DirectoryError` if it is not a pcache directory."""
    # Checked before the tag, which is written before this folder: without the folder there is nothing to remove, and
    # another process may be making the directory just now.
    filled = is_there(generation_folder(root))
    if not check_root(root, access) or not filled:
        return False
    if not is_ours(root) and not is_laid_out(root, access):
        raise DirectoryError(
            f"{root} does not carry the tag of a pcache directory (CACHEDIR.TAG), and holds other things in"
            f" {GENERATION}; move these away, or choose another directory",
            path=root,
            reason="not ours",
        )
    for folder in (generation_folder(root), entries_folder(root), functions_folder(root)):
        access.check(folder)  # a link in its place would remove files elsewhere
    return True


def is_laid_out(root: str, access: Access = PRIVATE) -> bool:
    """Whether a root without our tag is still ours: a program that removes old files may have removed the tag.

    Only our folders may be there, and in the shards nothing, or at least one file with an entry's or claim's name. Only
    files with such names are ever removed.
    """
    parts = generation_folder(root)
    try:
        check_root(root, access)
        if is_there(os.path.join(root, TAG_FILE)) or not all(map(_LAYOUT.fullmatch, os.listdir(parts))):
            return False  # a tag of another program marks its own directory
        listed = shards.Shards(root, network=False, access=access)
        names = [(shard, name) for shard in listed.shards() for name in listed.names_in(shard)]
        for folder, ours in ((listed.entries, _SHARDS), (functions_folder(root), _FUNCTIONS)):
            if stands(folder) and not all(map(ours.fullmatch, os.listdir(folder))):
                return False
        return not names or any(shards.is_in_place(shard, name) for shard, name in names)
    except OSError as error:
        raise_if_interrupt(error)
        return False


def keep_tag(root: str, access: Access = PRIVATE) -> None:
    """Touch the tag of a cache directory if it is old, or make it if it is missing; raises `OSError`."""
    folder = access.enter(root, root)
    if folder is None:
        return
    try:
        if abs(time.time() - folder.status(TAG_FILE).st_mtime) < TAG_AGE:
            return
        fd = folder.open(TAG_FILE, os.O_RDWR)
        try:
            os.utime(fd)
        finally:
            os.closerange(fd, fd + 1)
    except FileNotFoundError:
        make_root(root, access)
    finally:
        os.closerange(folder.fd, folder.fd + 1)


def made_at(root: str) -> float:
    """When a cache directory was made, in seconds since 1970; 0 if that is not known.

    Told by the file that is written last and never again.
    """
    try:
        return os.lstat(os.path.join(root, _IGNORE_FILE)).st_mtime
    except OSError as error:
        raise_if_interrupt(error)
        return 0.0


def make_root(root: str, access: Access = PRIVATE) -> None:
    """Make the root with its tag, unless it exists; safe while other processes do the same."""
    access.make_above(root)
    access.make_folder(root)
    check_root(root, access)
    _write_once(os.path.join(root, TAG_FILE), _TAG_TEXT.encode(), access, durable=True)
    try:
        _write_once(os.path.join(root, _IGNORE_FILE), b"*\n", access, durable=False)
    except OSError as error:
        raise_if_interrupt(error)  # else nothing depends on it


def _write_once(path: str, data: bytes, access: Access, *, durable: bool) -> None:
    """Write a file, unless it already has this content or another."""
    fd = uninterrupted(access.open, path, os.O_RDWR)
    try:
        there = os.read(fd, len(data))
        # New, or cut short by a full disk, a kill or a power cut, which may leave zeros.
        if there != data and data.startswith(there.rstrip(b"\0")):
            os.lseek(fd, 0, os.SEEK_SET)
            write_all(fd, data)
            if durable:
                os.fsync(fd)  # once per directory: one whose tag a power cut had emptied could not be cleared
    finally:
        os.close(fd)
