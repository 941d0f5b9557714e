"""Disks for tests: small ones, ones that lose power, ones with quotas. Released in any case when the test ends.

A disk is a file with a file system in it, mounted through a loop device, or memory (tmpfs). Only root may mount, and
only some machines allow it at all: elsewhere the tests that need one are skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, of ext4, xfs and others
_NO_LOG_FLUSH = 2  # data and journal that are only in memory are lost

SIZES = {"ext4": "64M", "ext4 without a journal": "64M", "xfs": "300M"}  # the smallest that xfs supports
_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1"],
    "ext4 without a journal": ["mkfs.ext4", "-q", "-F", "-O", "^has_journal"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
    "tmpfs": [],
}


def _run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


class Disk:
    """A file system that is mounted at `folder`."""

    def __init__(self, place: Path, kind: str, size: str, *, making: Sequence[str] = (), options: str = "") -> None:
        self.kind = kind
        self.folder = place / "disk"
        self.folder.mkdir(parents=True)
        self._image = place / "image"
        # A disk without power may still be mounted elsewhere: another process may have copied this one's mounts.
        self._options = ",".join(filter(None, ("nouuid" if kind == "xfs" else "", options)))
        self._mounted = False
        if kind == "tmpfs":
            self._options = ",".join(filter(None, (f"size={size},mode=0700", options)))
        else:
            with self._image.open("wb") as file:
                file.truncate(int(size.rstrip("KM")) << {"K": 10, "M": 20}[size[-1]])
            _run(*_MAKE[kind], *making, self._image)

    def mount(self) -> None:
        if self.kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", self._options, "tmpfs", self.folder)
        else:
            _run("mount", "-o", ",".join(filter(None, ("loop", self._options))), self._image, self.folder)
        self._mounted = True  # a disk without power cannot be asked

    def remount(self, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", self.folder)

    def unmount(self) -> None:
        if self._mounted:
            self._mounted = False
            done = subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)
            if done.returncode:  # another process still has a file open there
                _run("umount", "-l", self.folder)

    def sync(self, file: Path | None = None) -> None:
        """Write everything to the disk, or a new file and what the file system writes with it."""
        if file is not None:
            file.write_bytes(b"x")
        _run("sync", *(() if file else ("-f",)), file or self.folder)

    def lose_power(self) -> None:
        """Stop all writes to the disk, also those of data in memory; using it raises EIO."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
        # Unmounting writes the cache of the block device, which would not reach a disk without power.
        _run("cp", "--sparse=auto", self._image, self._image.with_suffix(".cut"))

    def come_back(self) -> None:
        """Mount the disk as it was when it lost power; the earlier mount is no longer in use."""
        self.unmount()
        self._image.with_suffix(".cut").replace(self._image)
        if self.kind.startswith("ext4 "):
            done = subprocess.run(["e2fsck", "-f", "-y", str(self._image)], check=False, capture_output=True)
            assert done.returncode < 4, done.stdout
        self.mount()


@contextlib.contextmanager
def disk(
    place: Path, kind: str, size: str | None = None, *, making: Sequence[str] = (), options: str = ""
) -> Iterator[Disk]:
    """A mounted disk; skips the test if that is impossible."""
    if os.getuid() != 0:
        pytest.skip("only root can mount file systems")
    if kind != "tmpfs" and shutil.which(_MAKE[kind][0]) is None:
        pytest.skip(f"there is no {_MAKE[kind][0]}")
    made = Disk(place, kind, size or SIZES[kind], making=making, options=options)
    try:
        try:
            made.mount()
        except AssertionError as error:
            pytest.skip(f"mounting is not permitted here: {error}")
        yield made
    finally:
        made.unmount()
