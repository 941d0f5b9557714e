"""The shim that makes file-system calls fail: built once per test run, controlled by the program under it."""

from __future__ import annotations

import ctypes
import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).with_name("shim.c")
# In the order of the C source.
MODES = ("pass", "kill before", "kill after", "fail", "fail though done", "short", "short, then fail")
SPANS = ("once", "from there on", "such calls from there on")
ERRNOS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.EINTR,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EFBIG,
    errno.ENOENT,
    errno.EPERM,
)


class Fault(NamedTuple):
    """What happens to one file-system call, or also to those that follow."""

    mode: str
    number: int = 0  # an errno
    span: str = "once"

    def __str__(self) -> str:
        word = errno.errorcode.get(self.number, "")
        return " ".join(filter(None, (self.mode, word, self.span)))


class Shim:
    """The shim in this process, which was started with it in LD_PRELOAD."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.steps_name.restype = ctypes.c_char_p

    def watch(self, folder: object) -> None:
        self._library.steps_watch(str(folder).encode())

    def arm(self, fault: Fault, at: int) -> None:
        """Make the call number `at` from now on go wrong."""
        self._library.steps_arm(MODES.index(fault.mode), at, fault.number, SPANS.index(fault.span))

    def disarm(self) -> None:
        self._library.steps_disarm()

    def names(self) -> list[str]:
        """The calls that were counted since it was armed, in order."""
        return [self._library.steps_name(n + 1).decode() for n in range(self._library.steps_count())]

    def applied(self) -> int:
        """How many calls went wrong."""
        return int(self._library.steps_applied())


def build(folder: Path) -> Path:
    """Compile the shim into a folder; skips the test where that cannot be done."""
    if sys.platform != "linux":
        pytest.skip("the shim is for Linux")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = folder / "shim.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library
