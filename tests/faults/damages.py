"""Kinds of damage to the bytes of a file, and entries to damage.

A `Patient` is one call of a cached function with the file of its entry. After each damage its call must miss for the
right reason, still return the right value, and thereby heal the entry: the next call hits.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pcache import Cache, Miss
from tests.support.processes import KEY, Block, place_of

computed: list[str] = []  # the calls of the function below


class Point:
    """An instance of a user's class."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]


def array_of(n: int, size: int) -> Any:
    import numpy as np

    return np.random.default_rng(n).random(size // 8)


def frame_of(n: int) -> Any:
    import pandas as pd

    numbers = array_of(n, 4_800_000)
    return pd.DataFrame({"random": numbers, "constant": 1.5, "text": [f"row {i % 9}" for i in range(len(numbers))]})


SMALL: dict[str, Callable[[int], Any]] = {
    "tiny int": lambda n: n,
    "text": lambda n: f"a sentence of some words, number {n}",
    "dict": lambda n: {"id": n, "tags": ["a", "b"], "nested": {"mean": n / 7, "none": None}},
    "compressed stream": lambda n: f"the same words again, {n} " * 400,
    "raw buffers": lambda n: [Block(random.Random(n).randbytes(90)), Block(b""), Block(bytes([n]) * 50)],
    "compressed buffer": lambda n: [Block(b"again and again" * 400), n],
    "an object": lambda n: Point(n, -n),
}
LARGE: dict[str, Callable[[int], Any]] = {
    "mapped array": lambda n: array_of(n, 20_000_000),
    "mapped and other buffers": lambda n: [array_of(n, 800_000), Block(b"z" * 90_000), Block(b"short"), "x"],
    "compressed text": lambda n: " ".join(map(str, range(n, 700_000))),
    "raw bytes": lambda n: random.Random(n).randbytes(3_000_000),
    "frame": frame_of,
}


def make(kind: str, n: int) -> Any:
    """The function whose results are damaged."""
    computed.append(kind)
    return (SMALL | LARGE)[kind](n)


def same(left: Any, right: Any) -> bool:
    """Whether two results are equal, also where `==` goes by element."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(right, Block):  # comes back as a bytearray
        return isinstance(left, bytearray) and left == right
    if type(left) is not type(right):
        return False
    if hasattr(left, "equals"):
        return bool(left.equals(right))
    if hasattr(left, "dtype"):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    return bool(left == right)


class Patient:
    """The entry of one call in a cache directory; `failed` counts what went wrong in `trials` trials."""

    def __init__(self, folder: Path | str, kind: str, n: int = 1, *, signing_key: bytes = KEY, **options: Any) -> None:
        """Store the result, unless it is there."""
        self.meet(folder, kind, n, signing_key=signing_key, **options)
        self.function(*self.call)
        self.data = self.path.read_bytes()

    def meet(self, folder: Path | str, kind: str, n: int = 1, *, signing_key: bytes = KEY, **options: Any) -> None:
        """Prepare the call without making it."""
        settings = {name: options.pop(name) for name in ("verify",) if name in options}
        self.cache = Cache(folder, signing_key=signing_key, **{"compression": 1, **settings})
        # With code="none" the global counter that the function changes is not part of its fingerprint.
        self.function = self.cache.cached(code="none", **options)(make)
        self.call = (kind, n)
        self.expected = (SMALL | LARGE)[kind](n)
        self.trials = 0
        self.failed: Counter[str] = Counter()
        self.path = Path(place_of(self.function, *self.call))

    def is_healthy(self) -> bool:
        """Whether the call hits, with the right value."""
        before = len(computed)
        return same(self.function(*self.call), self.expected) and len(computed) == before

    def trial(self, what: str, reason: str = "damaged", *, heal: bool = True) -> None:
        """Make the call whose entry was just damaged; without `heal` only look it up."""
        self.trials += 1
        try:
            self.function.get(*self.call)
            self.failed[f"{what}: a hit"] += 1
        except Miss as miss:
            if miss.reason != reason:
                self.failed[f"{what}: {miss.reason} instead of {reason}"] += 1
        if not heal:
            return
        before = len(computed)
        if not same(self.function(*self.call), self.expected):
            self.failed[f"{what}: a wrong value"] += 1
        if len(computed) != before + 1:
            self.failed[f"{what}: not computed"] += 1
        if not self.is_healthy():
            self.failed[f"{what}: not healed"] += 1

    def suffer(self, damage: Damage, *, in_place: bool, heal: bool = True) -> None:
        """Damage the file and make the call."""
        at, new, length = damage.at, damage.new, damage.length
        if in_place and self.path.exists():
            with self.path.open("r+b", buffering=0) as file:
                old = os.pread(file.fileno(), len(new), at)
                os.pwrite(file.fileno(), new, at)
                os.truncate(file.fileno(), length)
        else:
            whole = bytearray(self.path.read_bytes())
            whole[at : at + len(new)] = new
            temporary = self.path.with_suffix(".new")
            temporary.write_bytes(whole[:length])
            temporary.replace(self.path)
            old = b""
        self.trial(damage.what, heal=heal)
        if not heal:
            with self.path.open("r+b", buffering=0) as file:
                os.truncate(file.fileno(), len(self.data))
                os.pwrite(file.fileno(), self.data[length:], length)
                os.pwrite(file.fileno(), old, at)


class Damage(NamedTuple):
    """Bytes to write at an offset of a file, and the file's length afterwards."""

    what: str
    at: int
    new: bytes
    length: int


def flips(data: bytes, bits: list[tuple[int, int]]) -> Iterator[Damage]:
    """Single flipped bits, by byte and number."""
    for at, bit in bits:
        yield Damage("a bit flipped", at, bytes([data[at] ^ 1 << bit]), len(data))


def cuts(data: bytes, lengths: list[int]) -> Iterator[Damage]:
    """Files that end early."""
    for length in lengths:
        yield Damage("cut short", 0, b"", length)


def additions(data: bytes) -> Iterator[Damage]:
    """Files with bytes appended."""
    for more in (b"\0", b"\n", bytes(512), data[:64], data):
        yield Damage("bytes appended", len(data), more, len(data) + len(more))


def blocks(data: bytes, size: int, others: dict[str, bytes], places: list[int]) -> Iterator[Damage]:
    """Damage by a disk to blocks: zeroed, swapped, or replaced by the same block of other files."""
    for at in places:
        own = data[at : at + size]
        found = {"a block zeroed": bytes(len(own))} | {what: other[at : at + size] for what, other in others.items()}
        for what, new in found.items():
            made = data[:at] + new + data[at + size :]
            if len(new) == len(own) and new != own and made not in others.values():
                yield Damage(what, at, new, len(data))
        behind = data[at + size : at + 2 * size]
        if len(behind) == size and behind != own:
            yield Damage("two blocks swapped", at, behind + own, len(data))


def wholes(data: bytes) -> Iterator[Damage]:
    """Files replaced as a whole."""
    yield Damage("an empty file", 0, b"", 0)
    yield Damage("zeros of the right length", 0, bytes(len(data)), len(data))
    yield Damage("noise of the right length", 0, random.Random(1).randbytes(len(data)), len(data))
    for generation in {0, 2, 255, ord("1")}:
        yield Damage("another format's number", 7, bytes([generation]), len(data))
