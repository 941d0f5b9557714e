"""Who may write to a cache directory, and the rights with which its parts are made.

A private directory is its owner's alone. A shared one is a group's, on purpose: every member reads and writes whatever
any of them stored, and only signing keys that were given on purpose say what may be loaded. The mask of new files
neither widens the rights of a part nor narrows those of a shared one.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import NamedTuple

from pcache.folders import make_private
from pcache.interrupts import pass_on, uninterrupted
from pcache.plain import is_plain, make_way
from pcache.trust import SAFE_FLAGS, check_directory, our_uid

_RIGHTS = {False: (0o700, 0o600), True: (0o2770, 0o660)}  # of folders and files, by whether they are shared
_WAY_IN = 0o2750  # of folders above a shared one: its group comes through, and only their maker may replace it
_APPEARING = 1.0  # seconds after which whoever was making a file that we may not open yet was killed
_PAUSE = 0.001


class Access(NamedTuple):
    """How one directory is used. Safe for threads and processes, of several users too where it is `shared`."""

    shared: bool = False

    def check(self, path: str) -> bool:
        """Return whether a folder is there; raise `DirectoryError` unless it is ours, or our group's, to write."""
        return check_directory(path, shared=self.shared)

    def make_folder(self, path: str) -> None:
        """Make a folder with our rights, unless it is there. The one above it is."""
        mode = _RIGHTS[self.shared][0]
        if self.shared:
            _make_shared(path, mode)
            return
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            pass  # another process was faster

    def make_above(self, path: str) -> None:
        """Make the folders above a root that are missing, one by one; raises `OSError`."""
        above = os.path.dirname(path)
        if not self.shared:
            make_private(above)
        elif not os.path.lexists(above):
            self.make_above(above)
            _make_shared(above, _WAY_IN)

    def check_below(self, root: str, folder: str) -> None:
        """Make a folder below a root, and check that each step on the way is ours; raises `OSError`.

        From the root down, so that nothing is made behind a link.
        """
        if len(folder) > len(root):
            self.check_below(root, os.path.dirname(folder))
        if not self.check(folder):
            self.make_folder(folder)
            self.check(folder)

    def open(self, path: str, flags: int) -> int:
        """Open a file for writing that is plain, or make it with our rights; what stands in its place goes.

        Raises `OSError`.
        """
        make_way(path)
        flags |= os.O_CREAT | SAFE_FLAGS
        mode = _RIGHTS[self.shared][1]
        fd = uninterrupted(_open_shared if self.shared else os.open, path, flags, mode)
        try:
            status = os.fstat(fd)
            if not is_plain(status):
                raise FileExistsError(errno.EEXIST, "something else was put in the place of a file", path)
            if self.shared and status.st_uid == our_uid() and stat.S_IMODE(status.st_mode) != mode:
                os.fchmod(fd, mode)
        except BaseException:
            os.closerange(fd, fd + 1)
            raise
        return fd


PRIVATE = Access()


def _make_shared(path: str, mode: int) -> None:
    """Make a folder, unless it is there; under another name first, as a mask could keep the group out for a moment."""
    if os.path.lexists(path):
        return
    temporary = f"{path}.{os.urandom(4).hex()}"
    os.mkdir(temporary, mode)
    try:
        os.chmod(temporary, mode)
        os.rename(temporary, path)
    except OSError as error:
        os.rmdir(temporary)
        pass_on(error)
        if not os.path.lexists(path):
            raise
        # else another process was faster, and its folder holds something already


def _open_shared(path: str, flags: int, mode: int) -> int:
    """Open a file that another user may just be making: by a mask, its group may be kept out for a moment."""
    deadline = time.monotonic() + _APPEARING
    while True:
        try:
            return uninterrupted(os.open, path, flags, mode)
        except PermissionError:
            if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
                raise
        if time.monotonic() < deadline:
            time.sleep(_PAUSE)
            continue
        try:
            os.unlink(path)  # nothing that is opened for writing holds more than can be lost
        except FileNotFoundError:
            pass  # another process removed it
        deadline = time.monotonic() + _APPEARING
