"""Whether another user could replace a file: asked before code in it is run.

Every folder on the way down counts, and every link, as OpenSSH counts them for its keys. Nothing here opens a file.
"""

from __future__ import annotations

import os
import stat

from pcache.system.interrupts import raise_if_interrupt

_GROUP_WRITES, _ALL_WRITE = 0o020, 0o002
_MOST_LINKS = 40  # the limit of the system
_ACL = "system.posix_acl_access"


def weakness(path: str, *, new_names: bool = False) -> str:
    """What another user could change on the way to a file or folder, in words; empty if only we and root can.

    In a folder that all may write to, others cannot replace our files if it has the sticky bit, as `/tmp` has. With
    `new_names` that is not enough for the folder itself: others could put new files into it. A missing file cannot be
    changed.
    """
    if not hasattr(os, "getuid"):
        return ""  # permissions work differently there
    current, links = os.sep, 0
    rest = _steps(os.path.join(os.getcwd(), path))
    while True:
        try:
            status = os.lstat(current)
        except OSError as error:
            raise_if_interrupt(error)
            return ""
        if status.st_uid not in (os.getuid(), 0):
            return f"{current} belongs to another user (uid {status.st_uid})"
        if stat.S_ISLNK(status.st_mode):
            links += 1
            target = os.readlink(current)
            if links > _MOST_LINKS:
                return f"{current} is a symbolic link that leads in a circle"
            rest += _steps(target)
            current = os.sep if target.startswith(os.sep) else os.path.dirname(current)
        elif _others_write(current, status):
            is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
            if not is_sticky or (new_names and not rest):
                return f"{current} can be written by others (mode {stat.S_IMODE(status.st_mode):o})"
        if not rest:
            return ""
        step = rest.pop()
        current = os.path.dirname(current) if step == os.pardir else os.path.join(current, step)


def _steps(path: str) -> list[str]:
    """The names in a path, in reverse."""
    return [step for step in reversed(path.split(os.sep)) if step not in ("", os.curdir)]


def _others_write(path: str, status: os.stat_result) -> bool:
    """Whether anyone but its owner may write to a file or folder, except a group that only the owner is in."""
    if status.st_mode & _ALL_WRITE:
        return True
    return bool(status.st_mode & _GROUP_WRITES) and (not _is_ours_alone(status.st_gid) or _has_list(path))


def _is_ours_alone(group: int) -> bool:
    """Whether a group is the private one that many systems make for each user, and that may write the user's files."""
    import grp  # late for start-up time
    import pwd

    try:
        we, there = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return group == we.pw_gid and there.gr_name == we.pw_name and set(there.gr_mem) <= {we.pw_name}


def _has_list(path: str) -> bool:
    """Whether a file has an access control list: then its group's bits limit what the users in it may do."""
    try:
        return bool(os.getxattr(path, _ACL))
    except (OSError, AttributeError):
        return False  # no such list, or the system has none
