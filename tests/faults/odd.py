"""Odd files that replace those of a cache, and precious files that their links lead to."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534
Maker = Callable[[Path, Path], object]


def precious_below(folder: Path) -> Path:
    """Make files that must never be touched: a file, and a folder with files named as those of a cache."""
    (folder / "dir").mkdir(parents=True)
    names = ["file", "dir/counters", "dir/totals", "dir/totals.new", "dir/removed", "dir/occupancy", "dir/evict"]
    names += ["dir/ledger", "dir/key", "dir/CACHEDIR.TAG", f"dir/{'0' * 16}.json", f"dir/{'0' * 16}-{'0' * 40}.claim"]
    names += [f"dir/{'0' * 16}-{shard:02x}{'0' * 38}" for shard in (0, 85, 170, 255)]
    for name in names:
        (folder / name).write_text("precious")
        os.utime(folder / name, ns=(10**18, 10**18))
    (folder / "empty").write_bytes(b"")
    return folder


def seen(folder: Path) -> dict[str, tuple[object, ...]]:
    """The status and content of everything below a folder, except for access times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, content)
    return found


def remove(path: Path) -> None:
    """Remove a file or folder of any kind."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _loop(path: Path, _precious: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path, _precious: Path) -> None:
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # a socket's address has at most about a hundred bytes
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _full(path: Path, _precious: Path) -> None:
    (path / "something").mkdir(parents=True)


def _sparse(path: Path, _precious: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    path.chmod(0o600)


def _foreign(path: Path, _precious: Path) -> None:
    path.write_bytes(b"x" * 3000)
    os.chown(path, NOBODY, NOBODY)


def _immutable(path: Path, _precious: Path) -> None:
    path.write_bytes(b"x" * 3000)
    subprocess.run(["chattr", "+i", str(path)], check=True, capture_output=True)


def mutable_again(folder: Path) -> None:
    subprocess.run(["chattr", "-R", "-i", str(folder)], check=False, capture_output=True)


FILES: dict[str, Maker] = {
    "a link to a file": lambda path, precious: path.symlink_to(precious / "file"),
    "a link to an empty file": lambda path, precious: path.symlink_to(precious / "empty"),
    "a link to a folder": lambda path, precious: path.symlink_to(precious / "dir"),
    "a dangling link": lambda path, precious: path.symlink_to(precious / "nothing"),
    "a link to itself": _loop,
    "a link to /dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
    "a hard link": lambda path, precious: os.link(precious / "file", path),
    "a hard link to an empty file": lambda path, precious: os.link(precious / "empty", path),
    "a FIFO": lambda path, _: os.mkfifo(path, 0o600),
    "a socket": _socket,
    "an empty folder": lambda path, _: path.mkdir(mode=0o700),
    "a full folder": _full,
    "a terabyte of holes": _sparse,
}
BY_ROOT: dict[str, Maker] = {
    "/dev/zero": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "/dev/null": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "a block device": lambda path, _: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(240, 77)),
    "another user's file": _foreign,
    "an immutable file": _immutable,
}


def _moded(mode: int) -> Maker:
    def make(path: Path, _precious: Path) -> None:
        path.mkdir()
        path.chmod(mode)

    return make


def _foreign_folder(path: Path, _precious: Path) -> None:
    path.mkdir(mode=0o777)
    os.chown(path, NOBODY, NOBODY)


FOLDERS: dict[str, Maker] = {
    **{name: FILES[name] for name in FILES if name not in ("an empty folder", "a full folder")},
    "a folder that all can write to": _moded(0o777),
    "a folder that a group can write to": _moded(0o770),
    "a sticky folder": _moded(0o1777),
}
FOLDERS_BY_ROOT: dict[str, Maker] = {**BY_ROOT, "another user's folder": _foreign_folder}
