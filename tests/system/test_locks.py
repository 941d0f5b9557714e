"""Locks on files: one holder, gone with it, never inherited."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from pcache.system.locks import Lock, try_lock
from tests.support.processes import Talker, run

HOLDER = """
from pcache.system.locks import try_lock
held = try_lock(sys.argv[2])
say(held is not None)
hear()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def take(path: str) -> Lock:
    lock = try_lock(path)
    assert lock is not None
    return lock


def test_one_holder(path: str) -> None:
    """A lock that is held is had by nobody else, of this process or another, until it is released."""
    with take(path):
        assert try_lock(path) is None
        assert run(HOLDER, path + ".cache", path) == ["False"]
    assert run(HOLDER, path + ".cache", path) == ["True"]
    assert Path(path).stat().st_mode & 0o777 == 0o600
    take(path).release()


def test_a_killed_holder_lets_go(path: str) -> None:
    """The lock of a process that was killed is free."""
    holder = Talker(HOLDER, path + ".cache", path)
    assert holder.hear() == "True"
    assert try_lock(path) is None
    holder.kill()
    take(path).release()


def test_waiting(path: str) -> None:
    """Who waits gets a lock that is released meanwhile, and gives up when it is time."""
    holder = Talker(HOLDER, path + ".cache", path)
    holder.hear()
    started = time.monotonic()
    assert try_lock(path, 0.05) is None
    assert time.monotonic() - started >= 0.05
    holder.say()
    lock = try_lock(path, 60)
    assert lock is not None
    lock.release()
    holder.finish()


def test_released_twice(path: str) -> None:
    """Releasing again does nothing, least of all to a file that got the same descriptor."""
    lock = take(path)
    lock.release()
    with open(os.devnull) as other:
        lock.release()
        assert os.fstat(other.fileno())


def test_a_lock_in_nobodys_hands_is_free(path: str) -> None:
    """A lock that nothing refers to any more is released when it is collected."""
    assert try_lock(path) is not None
    gc.collect()
    take(path).release()


FORK = """
from pcache.system.locks import try_lock
held = try_lock(sys.argv[2])
child = os.fork()
if child == 0:
    say("child", held.fd, try_lock(sys.argv[2]))
    held.release()
    os._exit(0)
os.waitpid(child, 0)
say("parent", held.fd >= 0, try_lock(sys.argv[2]))
up, tell = os.pipe()
child = os.fork()
if child == 0:
    os.write(tell, b"!")
    hear()
    os._exit(0)
os.read(up, 1)
held.release()
say("released", try_lock(sys.argv[2]) is not None)
"""


def test_a_forked_child_holds_nothing(path: str) -> None:
    """A child neither holds nor frees its parent's lock, and does not keep it when the parent lets go."""
    assert run(FORK, path + ".cache", path) == ["child -1 None", "parent True None", "released True"]


# A thread that closes a lock has said so before the system closes the descriptor.
CLOSING = """
from pcache.system.locks import try_lock
held = try_lock(sys.argv[2])
number, kept = held.fd, os.dup(held.fd)
held.close()
os.dup2(kept, number)
os.close(kept)
up, tell = os.pipe()
if os.fork() == 0:
    os.write(tell, b"!")
    hear()
    os._exit(0)
os.read(up, 1)
os.close(number)
say("free", try_lock(sys.argv[2]) is not None)
os.dup2(up, number)
child = os.fork()
if child == 0:
    say("another file", os.path.samestat(os.fstat(number), os.fstat(up)))
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_fork_while_a_lock_is_being_closed(path: str) -> None:
    """A child keeps no lock that a thread was about to close, and whatever has its number by then stays open."""
    assert run(CLOSING, path + ".cache", path) == ["free True", "another file True"]


def test_links_are_not_followed(path: str, tmp_path: Path) -> None:
    """A link in place of the lock's file is removed, and what it points to is not made."""
    os.symlink(tmp_path / "elsewhere", path)
    lock = try_lock(path)
    assert lock is not None
    lock.release()
    assert os.path.isfile(path)
    assert not os.path.islink(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    """Where no file can be made the error says so, and no descriptor is left open."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        with pytest.raises(FileNotFoundError):
            try_lock(str(tmp_path / "no" / "lock"))
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
