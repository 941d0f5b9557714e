"""Who may write to a cache directory, and the modes with which its parts are made.

A private directory is its owner's alone. A shared one is a group's, on purpose: every member reads and writes whatever
any of them stored, and only signing keys that were given on purpose say what may be loaded. The mask of new files
neither widens the rights of a part nor narrows those of a shared one.
"""

from __future__ import annotations

import functools
import os

from pcache.errors import DirectoryError
from pcache.startup import TYPE_CHECKING, NamedTuple, TypeVar
from pcache.system.directories import (
    RIGHTS,
    OpenFolder,
    make_folder,
    not_removed,
    open_folder,
    open_or_make,
    open_plain,
    reopen_plain,
    unusable,
)
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.ownership import check_directory, our_uid
from pcache.system.userdirs import make_private

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_WAY_IN = 0o2750  # of folders above a shared one: its group can pass through, and only their maker can replace it
_make_private = functools.partial(os.open, mode=RIGHTS[False][1])


class Access(NamedTuple):
    """How one directory is used. Safe for threads and processes, of several users too if it is `shared`."""

    shared: bool = False

    def check(self, path: str) -> bool:
        """Return whether a folder is there; raise `DirectoryError` unless it is ours, or our group's, to write."""
        return check_directory(path, shared=self.shared)

    def make_folder(self, path: str) -> None:
        """Make a folder with our rights, unless it is there. The one above it is."""
        make_folder(path, None, shared=self.shared)

    def make_above(self, path: str) -> None:
        """Make the folders above a root that are missing, one by one; raises `OSError`."""
        above = os.path.dirname(path)
        if not self.shared:
            make_private(above)
        elif not os.path.lexists(above):
            self.make_above(above)
            make_folder(above, None, shared=True, mode=_WAY_IN)

    def enter(self, root: str, folder: str) -> OpenFolder | None:
        """Open a folder below a root, None where there is none; raises `DirectoryError`. The caller closes it."""
        return open_folder(root, folder, shared=self.shared)

    def enter_or_make(self, root: str, folder: str) -> OpenFolder:
        """The same, but make it if it is missing; raises `OSError`."""
        return open_or_make(root, folder, shared=self.shared)

    def inside(self, root: str, folder: str, act: Callable[[OpenFolder], T]) -> T | None:
        """What `act` says of a folder below a root, None where there is no such folder; raises `DirectoryError`."""
        opened = self.enter(root, folder)
        if opened is None:
            return None
        try:
            return act(opened)
        except OSError as error:
            raise_if_interrupt(error)
            if isinstance(error, DirectoryError):
                raise
            raise unusable(folder, error) from error
        finally:
            os.closerange(opened.fd, opened.fd + 1)

    def remove(self, root: str, path: str) -> bool:
        """Remove a file below a root; return whether it was there. Raises `DirectoryError` where it cannot be."""
        folder, name = os.path.split(path)

        def remove(opened: OpenFolder) -> bool:
            try:
                return opened.remove(name)
            except OSError as error:
                raise_if_interrupt(error)
                raise not_removed(path, error) from error

        return bool(self.inside(root, folder, remove))

    def check_below(self, root: str, folder: str) -> None:
        """Make a folder below a root, and check that each step on the way is ours; raises `OSError`."""
        folder_there = open_or_make(root, folder, shared=self.shared)
        os.closerange(folder_there.fd, folder_there.fd + 1)

    def open(self, path: str, flags: int) -> int:
        """Open a plain file for writing, or make it with our rights; anything else of its name is removed.

        Raises `OSError`. In a folder that others may write to, use `enter` and open it there.
        """
        return open_plain(path, None, flags, shared=self.shared)

    def visit(self, path: str, flags: int) -> int:
        """The same for a claim that is read, and not written to: its owner may be publishing it just now."""
        return open_plain(path, None, flags, shared=self.shared, writing=False)

    def remedy(self, root: str) -> str:
        """What gives a directory, and all in it, the rights of this access again: a command, of its owner's."""
        import shlex  # late for start-up time: for a broken directory

        status, quoted = os.lstat(root), shlex.quote(root)
        whose = "" if status.st_uid == our_uid() else f"ask its owner (uid {status.st_uid}): "
        if not self.shared:
            return f"{whose}chmod -R u=rwX,go= {quoted}"
        return f"{whose}chmod -R u=rwX,g=rwXs,o= {quoted} && chgrp -R {status.st_gid} {quoted}"

    @property
    def make(self) -> Callable[[str, int], int]:
        """The opener that makes a plain file of ours, with flags that have `O_EXCL`, whatever had its name before."""
        return self.open if self.shared else _make_private

    def reopen(self, path: str, flags: int) -> int:
        """Open a plain file for writing that we made ourselves; raises `OSError` when it is missing or another."""
        return reopen_plain(path, flags)


PRIVATE = Access()
