"""Who may write to a cache directory, and the rights with which its parts are made.

A private directory is its owner's alone. A shared one is a group's, on purpose: every member reads and writes whatever
any of them stored, and only signing keys that were given on purpose say what may be loaded. The mask of new files
neither widens the rights of a part nor narrows those of a shared one.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from pcache.clocks import Stopwatch
from pcache.interrupts import pass_on, uninterrupted
from pcache.plain import is_plain, make_way
from pcache.trust import SAFE_FLAGS, check_directory, our_uid

if TYPE_CHECKING:
    from collections.abc import Callable

_RIGHTS = {False: (0o700, 0o600), True: (0o2770, 0o660)}  # of folders and files, by whether they are shared
_make_private = functools.partial(os.open, mode=_RIGHTS[False][1])
_APPEARING = 0.25  # seconds after which whoever was making a file that we may not open yet was killed
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
        if not self.shared:
            try:
                os.mkdir(path, mode)
            except FileExistsError:
                pass  # another process was faster
        elif not os.path.lexists(path):
            # Under another name first: a mask could keep the group out until the rights are set.
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
        flags |= os.O_CREAT | SAFE_FLAGS
        mode = _RIGHTS[self.shared][1]
        if not flags & os.O_EXCL:
            make_way(path)
        fd = uninterrupted(self._open_appearing, path, flags, mode)
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

    @property
    def make(self) -> Callable[[str, int], int]:
        """What makes a file, with flags that have `O_EXCL`: a plain one of ours, whatever stood there before."""
        return self.open if self.shared else _make_private

    def reopen(self, path: str, flags: int) -> int:
        """Open a plain file for writing that we made ourselves; raises `OSError` when it is gone or another."""
        fd = uninterrupted(os.open, path, flags & ~os.O_CREAT | SAFE_FLAGS)
        try:
            if not is_plain(os.fstat(fd)):
                raise FileNotFoundError(errno.ENOENT, "something else was put in the place of a file", path)
        except BaseException:
            os.closerange(fd, fd + 1)
            raise
        return fd

    def _open_appearing(self, path: str, flags: int, mode: int) -> int:
        """Open a file that another user may just be making: by a mask, its group may be kept out for a moment.

        One that stays closed to us goes: nothing that is opened for writing holds more than can be lost.
        """
        clock, patience = Stopwatch(), _APPEARING if self.shared else 0.0
        while True:
            try:
                return uninterrupted(os.open, path, flags, mode)
            except PermissionError:
                if not os.access(os.path.dirname(path), os.W_OK | os.X_OK) or not os.path.lexists(path):
                    raise
            if clock.passed() >= patience or _age_of(path) > patience:
                break
            clock.pause(_PAUSE)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # another process removed it
        return uninterrupted(os.open, path, flags, mode)


def _age_of(path: str) -> float:
    """Seconds since a file was made or given other rights; 0 where there is none."""
    try:
        return time.time() - os.lstat(path).st_ctime
    except FileNotFoundError:
        return 0.0


PRIVATE = Access()
