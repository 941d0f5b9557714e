"""Whether a directory is on a network file system, where locks and listings cannot be relied upon."""

from __future__ import annotations

import os

from pcache.system.interrupts import raise_if_interrupt

# The kernel's names of file systems that only one machine writes to. New network file systems appear all the time, most
# of them in FUSE, and the locks of one taken for local would be known to one host only. So any other counts as network.
_LOCAL = frozenset(
    "ext2 ext3 ext4 xfs btrfs zfs bcachefs f2fs jfs reiserfs reiser4 nilfs2 ntfs ntfs3 exfat vfat msdos fuseblk hfs"
    " hfsplus apfs udf ufs minix tmpfs ramfs rootfs devtmpfs overlay aufs fuse.fuse-overlayfs squashfs erofs iso9660"
    " cramfs romfs ubifs jffs2 ecryptfs".split()
)


def is_network(path: str, table: str = "/proc/self/mountinfo") -> bool:
    """Return whether `path`, or its nearest existing parent, is on a network file system, or may be on one.

    Where there is no mount table, the answer is no.
    """
    kind = filesystem_of(path, table)
    return kind != "" and kind not in _LOCAL


def filesystem_of(path: str, table: str = "/proc/self/mountinfo") -> str:
    """Return the kernel's name for the file system that a path lies on; empty if that is unknown.

    Reads the kernel's mount table (proc(5), "mountinfo").
    """
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as lines:
            mounts = [_mount(line) for line in lines if " - " in line]
    except OSError as error:
        raise_if_interrupt(error)
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
