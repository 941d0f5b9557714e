"""Processes that talk with their test over pipes, and the values that the storage tests share.

A child prints a line to report its progress and waits for a line of the test, so nothing here depends on time.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache
from pcache.entry import format as entry_format
from pcache.entry.compression import Part, compress_buffer, compress_stream
from pcache.entry.pickling import dump
from pcache.entry.reader import Address
from pcache.layout import ledger_folder
from pcache.signing import seal
from pcache.signing.keyring import Keyring, make_keyring

ROOT = Path(pcache.__file__).resolve().parent.parent
KEY = bytes(range(32))
RING = make_keyring([KEY])
OTHER_RING = make_keyring([bytes(32)])
ZEROS = Keyring(bytes(8), {bytes(8): bytes(32)})  # a key that anyone can guess, under an invalid id
FACTS = entry_format.Facts(bytes(range(20)), bytes(range(8)), 10**18, entry_format.NEVER, 5 * 10**9)

# The head of scripts: a cache in the directory that is the first argument, and functions to talk with the test.
PRELUDE = """
import os, sys
from pcache import Cache
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def hear():
    return sys.stdin.readline()
cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
"""


def append_lines(cache: Cache, lines: str) -> None:
    """Append lines to the ledger of a cache, as another process with the key does."""
    keyring = cache.flow.keys.look()
    assert keyring is not None
    with open(os.path.join(ledger_folder(cache.location), "counters"), "ab") as file:
        file.write(seal.block(b"counters", lines.encode("utf-8", "replace"), keyring))


class Block(bytearray):
    """Bytes that pickle puts out of band, and that come back as a bytearray."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return bytearray, (pickle.PickleBuffer(self),)


class Canary:
    """A value that creates a file when it is unpickled."""

    def __init__(self, path: object) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


class Talker:
    """A running script: `hear` reads the next line that it printed, `say` sends it one."""

    def __init__(self, script: str, *arguments: object) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.pid = self.process.pid

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return line.strip()

    def say(self, text: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()  # waits, and closes the pipes

    def finish(self) -> list[str]:
        """Wait until it ends successfully; return the lines not heard yet."""
        with self.process as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.close()
            # Not `communicate`, which misses lines that were buffered with the last one heard. Read at once: a full
            # pipe stops the writer.
            with ThreadPoolExecutor(1) as reader:
                reading = reader.submit(process.stderr.read)
                out, errors = process.stdout.read(), reading.result()
        assert process.returncode == 0, errors
        return out.splitlines()


def run(script: str, *arguments: object) -> list[str]:
    """Run a script to its end and return the lines that it printed."""
    return Talker(script, *arguments).finish()


def system_calls(script: str, folder: Path, mark: str) -> list[list[str]]:
    """The names of a script's system calls between its looks at the path `mark`; skips where they cannot be traced."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    log = folder / "trace"
    command = ["strace", "-f", "-qq", "-o", str(log), sys.executable, "-c", PRELUDE + script, str(folder / "cache")]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    parts = [part.splitlines()[1:-1] for part in log.read_text().split(f'"{mark}"')]
    return [[re.sub(r"^\d+ +", "", line).partition("(")[0] for line in part] for part in parts]


def entry_bytes(
    value: object,
    facts: entry_format.Facts = FACTS,
    ring: Keyring = RING,
    *,
    setting: str = "auto",
    meta: bytes = b"{}",
) -> bytes:
    """Return the bytes of the entry that holds a value."""
    payload = dump(value)
    buffers = [compress_buffer(buffer, setting) for buffer in payload.buffers]
    return joined(facts, meta, compress_stream(payload.stream, setting), buffers, ring)


def joined(facts: entry_format.Facts, meta: bytes, stream: Part, buffers: list[Part], ring: Keyring = RING) -> bytes:
    return b"".join(entry_format.encode(facts, meta, stream, buffers, ring))


def claims_below(root: object) -> list[str]:
    """The claim files in a cache directory."""
    return sorted(path.name for path in Path(str(root)).rglob("*.claim*"))


def address_of(function: Any, *args: Any) -> Address:
    """The address of a call's entry."""
    address: Address = function._calls.of(args, {}).address
    return address


def place_of(function: Any, *args: Any) -> str:
    """The path of the entry of a call."""
    place: str = function._flow.store.place(address_of(function, *args).name)
    return place
