"""The digest of a content: one for each content, however it comes and on however many threads, which then are gone."""

from __future__ import annotations

import array
import json
import mmap
import os
import random
import signal
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pcache.system import digests
from pcache.system.digests import SEGMENT, Content, digest_of, digest_of_range

GOLDEN = Path(__file__).parent.parent / "golden" / "digests.json"
EDGES = (-2, -1, 0, 1, 2)
SIZES = sorted({max(0, count * SEGMENT + more) for count in (0, 1, 2, 3, 8) for more in EDGES})
THREADS = (1, 2, 3, 8, None)
PIECES = (0, 1, 7, 1 << 20, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 9_000_000)
CONTENT = blake3(b"content").digest(9 * SEGMENT)


def by_the_book(content: Any) -> bytes:
    """The digest as docs/format.md describes it."""
    if len(content) <= 4 << 20:
        return blake3(content).digest()
    leaves = [blake3(content[at : at + (4 << 20)]).digest() for at in range(0, len(content), 4 << 20)]
    root = struct.pack("<QQ", 4 << 20, len(content)) + b"".join(leaves)
    return blake3(root, derive_key_context="pcache 2026 content in segments").digest()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Any:
    """Each test ends with the threads that it began with, for Python and for the system."""
    before = set(threading.enumerate()), native_threads()
    yield
    assert set(threading.enumerate()) <= before[0]
    assert native_threads() <= before[1]


def native_threads() -> set[str]:
    return set(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else set()


@pytest.mark.parametrize("size", SIZES)
def test_one_digest_on_any_number_of_threads(size: int, tmp_path: Path) -> None:
    """Around each boundary: in memory, in pieces, and in the middle of a file."""
    content = CONTENT[:size]
    (tmp_path / "file").write_bytes(b"before" + content + b"behind")
    with open(tmp_path / "file", "rb") as file:
        found = {digest_of_range(file.fileno(), 6, size, threads) for threads in THREADS} if size else set()
    found |= {digest_of(content, threads) for threads in THREADS}
    assert found == {by_the_book(content)}


def test_golden_digests() -> None:
    """Those that the first release made. A difference loses stored results: new ones need another mark in entries."""
    golden = json.loads(GOLDEN.read_text())
    assert {size: digest_of(CONTENT[: int(size)]).hex() for size in golden} == golden
    assert len(set(golden.values())) == len(golden) == len(SIZES)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([0, 1, 7, 1 << 20, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 9_000_000]), max_size=6)
)
def test_pieces_do_not_count(sizes: list[int]) -> None:
    """A content that comes in pieces of any sizes has the digest that it has as a whole; asking for it ends nothing."""
    content, at = Content(), 0
    for size in sizes:
        piece = CONTENT[at : at + size]
        content.update(piece)
        at += len(piece)
        assert content.digest() == by_the_book(CONTENT[:at])
    assert content.hexdigest() == by_the_book(CONTENT[:at]).hex()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_segment_counts(threads: int) -> None:
    """A flipped bit anywhere, the first and last ones of each segment among them, is another digest."""
    changed = bytearray(CONTENT[: 3 * SEGMENT + 999])
    right = digest_of(changed, threads)
    chance = random.Random(threads)
    edges = [at for start in range(0, len(changed), SEGMENT) for at in (start, min(start + SEGMENT, len(changed)) - 1)]
    for at in edges + [chance.randrange(len(changed)) for _ in range(20)]:
        bit = 1 << chance.randrange(8)
        changed[at] ^= bit
        assert digest_of(changed, threads) != right
        changed[at] ^= bit
    assert digest_of(changed, threads) == right


def test_what_consists_of_the_same_segments_differs() -> None:
    """Swapped, repeated, missing and added ones, cuts, zeros at the end, and lists of digests given as contents."""
    a, b, c = (CONTENT[at * SEGMENT : (at + 1) * SEGMENT] for at in range(3))
    whole = a + b + c
    leaves = b"".join(blake3(part).digest() for part in (a, b, c))
    root = struct.pack("<QQ", SEGMENT, len(whole)) + leaves
    contents = [whole, b + a + c, a + c + b, a + b, a + b + b, whole + c, whole[:-1], whole[1:]]
    contents += [
        whole + b"\0",
        whole + bytes(SEGMENT),
        bytes(SEGMENT) + whole,
        leaves,
        root,
        root[8:],
        digest_of(whole),
    ]
    contents += [digests._ROOT_CONTEXT.encode() + root, bytes(2 * SEGMENT), bytes(3 * SEGMENT), bytes(2 * SEGMENT + 1)]
    assert len({digest_of(content) for content in contents}) == len(contents)


def test_bytes_of_any_kind(tmp_path: Path) -> None:
    """Read-only or not, mapped, a part of something: what holds the bytes does not count, and is free afterwards."""
    content = CONTENT[: 2 * SEGMENT + 5]
    (tmp_path / "file").write_bytes(content)
    right = by_the_book(content)
    with open(tmp_path / "file", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert digest_of(mapped, 2) == right  # and it can be closed
    growing = bytearray(content)
    assert digest_of(growing, 3) == right
    growing.append(1)
    frozen = np.frombuffer(content, "u1")
    assert not frozen.flags.writeable
    kinds = [memoryview(content), memoryview(growing)[:-1], frozen, array.array("B", content)]
    assert {digest_of(kind, 2) for kind in kinds} == {right}


@pytest.mark.parametrize("threads", [1, 2, None])
def test_a_file_that_is_shorter(tmp_path: Path, threads: int | None) -> None:
    """A part that a file does not have has no digest."""
    (tmp_path / "file").write_bytes(CONTENT[: 2 * SEGMENT])
    with open(tmp_path / "file", "rb") as file:
        for start, length in ((0, 2 * SEGMENT + 1), (1, 2 * SEGMENT), (5 * SEGMENT, 1), (0, 5 * SEGMENT)):
            assert digest_of_range(file.fileno(), start, length, threads) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        digest_of_range(os.open(tmp_path, os.O_RDONLY) + 1000, 0, 3 * SEGMENT, threads)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_work_at_once(threads: int) -> None:
    """As many as were asked for: each waits for all others."""
    barrier = threading.Barrier(threads)
    seen = set()

    def leaf(number: int) -> bytes:
        seen.add(threading.get_ident())
        barrier.wait(timeout=60)
        return bytes([number])

    assert digests._on_all_cores(leaf, threads * SEGMENT, threads) == [bytes([number]) for number in range(threads)]
    assert len(seen) == threads


def test_what_a_thread_fails_at_is_made_up_for() -> None:
    """The caller does it; if that fails as well, the caller's error is raised."""
    main = threading.get_ident()

    def leaf(number: int) -> bytes:
        if threading.get_ident() != main or number == fails:
            raise MemoryError(number)
        return bytes([number])

    fails = -1
    for threads in (2, 8):
        assert digests._on_all_cores(leaf, 9 * SEGMENT, threads) == [bytes([number]) for number in range(9)]
    fails = 4
    with pytest.raises(MemoryError):
        digests._on_all_cores(leaf, 9 * SEGMENT, 3)


@pytest.mark.parametrize("number", [0, 3, 8])
def test_an_interrupt_ends_the_threads(number: int) -> None:
    """Whichever segment Ctrl-C comes in: it is raised, and no thread goes on with the others."""
    main, asked = threading.get_ident(), []

    def leaf(at: int) -> bytes:
        asked.append(at)
        if threading.get_ident() == main and len(asked) > number:
            signal.raise_signal(signal.SIGINT)
        return blake3(CONTENT[:SEGMENT]).digest()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    try:
        with pytest.raises(KeyboardInterrupt):
            digests._on_all_cores(leaf, 1000 * SEGMENT, 3)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(asked) < 1000
