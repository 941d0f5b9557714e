"""Places for a cache directory: a check for any place, and file systems of many kinds, removed after the test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tests.support.processes import run

# One process does everything with a cache, and reports what differs from an ordinary disk.
SCRIPT = """
import json, numpy, warnings
said, wrong, computed = [], [], []
warnings.showwarning = lambda message, *_, **__: said.append(str(message))
def f(n):
    computed.append(n)
    return [n] * 5
def g(n):
    os.write(log, b"x")
    return n
def array(n):
    return numpy.random.default_rng(n).random(100_000)
def expect(what, is_so):
    if not is_so:
        wrong.append(what)
def use():
    if cache.stats().entries:  # what came with the place
        expect("what is there already", small(1) == [1] * 5 and (large(1) == array(1)).all() and computed == [])
        expect("replacing what is there", small.refresh(1) == [1] * 5 and small(1) == [1] * 5)
        cache.clear()
        computed.clear()
    expect("a miss computes", [small(1), computed] == [[1] * 5, [1]])
    expect("a hit does not", [small(1), computed] == [[1] * 5, [1]])
    first, again = large(1), large(1)
    again[:] = 0
    expect("arrays", (first == array(1)).all() and (large(1) == array(1)).all())
    expect("refresh", small.refresh(1) == [1] * 5 and computed == [1, 1] and small(1) == [1] * 5)
    expect("invalidate", small.invalidate(1) and small(1) == [1] * 5 and computed == [1, 1, 1])
    expect("verify", cache.verify().problems == () and cache.verify().checked == 2)
    for n in range(2, 12):
        small(n)
    expect("evict", cache.evict(max_entries=3).entries == 9 and cache.stats().entries == 3)
    expect("clear", cache.clear().entries == 3 and cache.stats().entries == 0)
    small(1), large(1)
def together():
    global log
    reading, log = os.pipe()
    gates = [os.pipe() for _ in range(3)]
    pids = []
    for gate, _ in gates:
        pids.append(os.fork())
        if pids[-1] == 0:
            os.read(gate, 1)
            os._exit(0 if logged(5) == 5 else 1)
    for _, opener in gates:
        os.write(opener, b"x")
    expect("values of all processes", [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 3)
    os.close(log)
    times = len(os.read(reading, 10))
    expect(f"once among processes, not {times} times", times == 1 or cache.flow.store.network)
def again():
    is_array = (large(1) == array(1)).all()
    expect("a hit in a fresh process", small(1) == [1] * 5 and is_array and computed == [])
    expect("counted", small.cache_info().hits == 1 and large.cache_info().hits == 1)
for folder in sys.argv[2:]:
    said, wrong, computed = [], [], []
    cache = Cache(folder, signing_key=bytes(range(32)))
    small, large, logged = cache.cached(f), cache.cached(array), cache.cached(g)
    if sys.argv[1].endswith("first"):
        use(), together()
    else:
        again()
    say(json.dumps([wrong, said, cache.flow.store.network]))
"""


def check_places(*folders: object, network: Iterable[object] = ()) -> dict[str, list[str]]:
    """Use a cache in each folder as programs do; return what differs from an ordinary disk, by folder.

    Every place must pass. In those of `network` results may be computed twice.
    """
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as unused:
        for process in ("first", "second"):
            for folder, line in zip(folders, run(SCRIPT, f"{unused}/{process}", *folders), strict=True):
                wrong, said, is_network = json.loads(line)
                trouble = wrong + [f"warned: {text}" for text in said]
                if is_network is not (folder in network):
                    trouble.append(f"network is {is_network}")
                if trouble:
                    found.setdefault(str(folder), []).extend(f"{process} process: {text}" for text in trouble)
    return found


class Lacking(Exception):
    """A place of that kind cannot be made on this machine."""


def _mount(stack: ExitStack, *arguments: object) -> None:
    """Mount something, and unmount it at the end."""
    done = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Lacking(done.stderr.strip())
    stack.callback(subprocess.run, ["umount", "-l", str(arguments[-1])], check=True)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Lacking(f"there is no {name}")
    return found


def _image(stack: ExitStack, below: Path, kind: str, *options: str) -> Path:
    """A separate file system in a file."""
    image, point = below / f"{kind}.image", below / kind
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run([_program(f"mkfs.{kind}"), *options, str(image)], check=True, capture_output=True)
    point.mkdir()
    _mount(stack, "-o", "loop", image, point)
    return point


def _overlay(stack: ExitStack, below: Path, program: str = "") -> Path:
    for name in ("lower", "upper", "work", "merged"):
        (below / name).mkdir()
    options = f"lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work"
    if program:
        # The lower folder is empty: with fuse-overlayfs 1.10 a lower file reappears when its replacement is removed.
        _fuse(stack, program, "-o", options, below / "merged")
    else:
        # Lower files are changed through the overlay, where they get another inode.
        assert check_places(below / "lower" / "cache") == {}
        _mount(stack, "-t", "overlay", "overlay", "-o", options, below / "merged")
    return below / "merged"


def _fuse(stack: ExitStack, program: str, *arguments: object) -> None:
    if not os.path.exists("/dev/fuse"):
        raise Lacking("there is no FUSE")
    subprocess.run([_program(program), *map(str, arguments)], check=True, capture_output=True)
    stack.callback(subprocess.run, ["umount", "-l", str(arguments[-1])], check=True)


def _bindfs(stack: ExitStack, below: Path, *options: str) -> Path:
    (below / "source").mkdir()
    (below / "point").mkdir()
    _fuse(stack, "bindfs", *options, below / "source", below / "point")
    return below / "point"


def _tmpfs(stack: ExitStack, below: Path, options: str = "mode=0700") -> Path:
    (below / "point").mkdir()
    _mount(stack, "-t", "tmpfs", "-o", options, "tmpfs", below / "point")
    return below / "point"


def _nested(stack: ExitStack, below: Path) -> Path:
    """Entries on a different file system than the root."""
    entries = below / "cache" / "v1" / "entries"
    assert check_places(below / "cache") == {}
    shutil.rmtree(below / "cache" / "v1")
    entries.mkdir(mode=0o700, parents=True)
    entries.parent.chmod(0o700)
    _mount(stack, "-t", "tmpfs", "-o", "mode=0700", "tmpfs", entries)
    return below


COMMON = 6  # number of these that are part of the short hunt
KINDS = {
    "ext4": lambda stack, below: _image(stack, below, "ext4", "-q"),
    "btrfs": lambda stack, below: _image(stack, below, "btrfs"),
    "tmpfs": _tmpfs,
    "overlay": _overlay,
    "network": lambda stack, below: _bindfs(stack, below, "-o", "subtype=sshfs"),
    "nested": _nested,
    "xfs": lambda stack, below: _image(stack, below, "xfs"),
    "vfat": lambda stack, below: _image(stack, below, "vfat"),
    "exfat": lambda stack, below: _image(stack, below, "exfat"),
    "noexec": lambda stack, below: _tmpfs(stack, below, "mode=0700,noexec,nosuid,nodev"),
    "fuse-overlayfs": lambda stack, below: _overlay(stack, below, "fuse-overlayfs"),
    "FUSE": _bindfs,
}


def mount_read_only(stack: ExitStack, kind: str, source: Path, point: Path) -> None:
    """Mount a folder read-only at another place; raises `Lacking`."""
    image = source.with_name("image")
    if kind == "bind":
        _mount(stack, "--bind", source, point)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(point)], check=True)
        return
    program = _program({"squashfs": "mksquashfs", "erofs": "mkfs.erofs"}[kind])
    order = [source, image] if kind == "squashfs" else [image, source]
    subprocess.run([program, *map(str, order)], check=True, capture_output=True)
    _mount(stack, "-o", "loop,ro", "-t", kind, image, point)
