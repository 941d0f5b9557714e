"""Whether a directory lies on a network file system, where file locks and directory listings cannot be relied upon."""

from __future__ import annotations

import os

from pcache.interrupts import pass_on

# As the kernel names them. FUSE file systems count when the part after the dot is a network protocol.
_NETWORK = frozenset(
    "nfs nfs4 cifs smb smb2 smb3 smbfs 9p afs ceph glusterfs lustre gpfs beegfs orangefs ocfs2 gfs2 ncpfs webdav"
    " davfs sshfs s3fs rclone gcsfuse goofys fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone fuse.davfs".split()
)


def is_network(path: str, table: str = "/proc/self/mountinfo") -> bool:
    """Return whether `path`, or its nearest existing parent, is on a network file system.

    Where there is no mount table, the answer is no.
    """
    return filesystem_of(path, table) in _NETWORK


def filesystem_of(path: str, table: str = "/proc/self/mountinfo") -> str:
    """Return what the kernel calls the file system that a path lies on; empty where that cannot be told.

    Reads the kernel's mount table (proc(5), "mountinfo").
    """
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as lines:
            mounts = [_mount(line) for line in lines if " - " in line]
    except OSError as error:
        pass_on(error)
        return ""
    real = os.path.realpath(path)
    kind, longest = "", -1
    for point, filesystem in mounts:
        inside = point in ("/", real) or real.startswith(point + "/")
        if inside and len(point) >= longest:  # a later mount on the same point hides the earlier one
            kind, longest = filesystem, len(point)
    return kind


def _mount(line: str) -> tuple[str, str]:
    left, _, right = line.partition(" - ")
    point = left.split(" ")[4]
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, char)
    return point, right.split(" ", 1)[0]
