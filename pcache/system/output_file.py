"""Write a file that the user asked for, such as a report: whole, private, and safe from being swapped.

A file is never written through a link or a second name, nor given the rights or the place of another user's. What is
no file, such as a pipe, is written to as it is, if it is ours or the system's.
"""

from __future__ import annotations

import os
import re
import stat

from pcache.errors import ConfigError
from pcache.system.interrupts import uninterrupted
from pcache.system.ownership import SAFE_FLAGS, our_uid
from pcache.system.path_safety import weakness
from pcache.system.safefiles import write_all

_OPEN_ALREADY = re.compile(r"/dev/(stdin|stdout|stderr|fd/([0-9]{1,9}))|/proc/self/fd/([0-9]{1,9})")
_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def write(path: str, data: bytes) -> None:
    """Write a file that appears whole or not at all, with mode 0600, or that of the one of ours which it replaces.

    Raises `ConfigError` for a place where it is not written, and `OSError`.
    """
    if match := _OPEN_ALREADY.fullmatch(path):
        number = _STREAMS.get(match[1] or "", -1) if not (match[2] or match[3]) else int(match[2] or match[3])
        _write_to(uninterrupted(os.dup, number), data)
        return
    if why := refusal(path, or_stream=True):
        raise ConfigError(why, setting="output", value=path)
    before = _status(path)
    if before is not None and not stat.S_ISREG(before.st_mode):
        _write_to(uninterrupted(os.open, path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY), data)
        return
    temporary = os.path.join(os.path.dirname(path), f".pcache-{os.urandom(8).hex()}")
    fd = uninterrupted(os.open, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o600)
    try:
        write_all(fd, data)
        if before is not None:
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.closerange(fd, fd + 1)


def refusal(path: str, *, or_stream: bool = False) -> str:
    """Why a file must not be written at a path, and what to do; empty if it may be.

    With `or_stream` a pipe or device is allowed, unless another user than root put it there.
    """
    if weak := weakness(os.path.dirname(path) or os.curdir):
        return f"{weak}, so {path} could be swapped for something else; choose a folder that only you can write to"
    status = _status(path)
    if status is None:
        return ""
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a symbolic link; name the file itself, {os.path.realpath(path)}"
    if stat.S_ISDIR(status.st_mode):
        return f"{path} is a folder; name a file"
    if or_stream and status.st_uid in (our_uid(), 0) and not stat.S_ISREG(status.st_mode):
        return ""
    if status.st_uid != our_uid():
        return f"{path} belongs to another user (uid {status.st_uid}); choose another name"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file; choose another name"
    if status.st_nlink > 1:
        return f"{path} is a hard link to a file that has other names; remove it first, or choose another name"
    return ""


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _write_to(fd: int, data: bytes) -> None:
    try:
        write_all(fd, data)
    finally:
        os.closerange(fd, fd + 1)
