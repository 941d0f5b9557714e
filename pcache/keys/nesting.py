"""What is known while a value is encoded: what it is in, and what was encoded before it in the same call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pcache.objects.lookup import look, module_of
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable

    # What was found out about large contents: by id and by how they were read, the object and its digest or parts.
    LargeContents = dict[tuple[int, str], tuple[object, Any]]

FILES = "files"  # what an encoder notes of a value: the files that its key was read from
FINGERPRINT = "fingerprint"  # and that of its code
PLAIN_CONTENTS = ("content", "raw")  # of what `Encoder.once` keeps: digests of bytes, whatever encodes what is around
_FRAMES = frozenset(("pandas", "polars", "scipy"))  # whose objects have a shape, and cells of some eight bytes
SPELLED_OUT_LIMIT = 8 << 20  # bytes of stream after which repeated parts are suspected
_MAX_GIVEN_UP = 16 << 20  # bytes; some seconds
_UNFLUSHED = 4096  # bytes that a pickler may hold when it gives up, at a guess


class TooDeep(RecursionError):
    """What is in a set or function is nested too deeply; trying it another way would take twice as long a level."""


class Nesting:
    """What is being encoded around a value, and what was encoded before it in the same call.

    `ids` are those of the sets and functions that the value is in; `cycles` counts how often one of them was reached
    again. `contents` and `found` keep what was found out about a set, function or array, by its id. `limit` is that
    of the stream, in bytes. `sets` says how many of `ids` are sets, `given_up` how many bytes were written in sets for
    nothing, or with a memo. `follow` says what stands for a function or class where fingerprints already follow it: a
    fingerprint in itself would not end. `straight` values that contain themselves are given up.
    """

    __slots__ = (
        *("contents", "count", "cycles", "follow", "found", "given_up", "ids", "limit", "sets", "straight", "written"),
    )

    def __init__(self, follow: Callable[[Any], object] | None = None, *, straight: bool = False) -> None:
        self.follow = follow
        self.straight = straight
        self.ids: list[int] = []
        self.contents: dict[int, tuple[object, Any]] = {}
        self.found: LargeContents = {}
        self.written: dict[int, None] = {}  # in the order of their first meeting
        self.count = self.cycles = self.sets = self.given_up = 0
        self.limit = SPELLED_OUT_LIMIT

    def clear(self) -> None:
        self.contents.clear()
        self.written.clear()
        self.found = {}  # the one before may be somebody else's by now
        self.count = self.cycles = self.given_up = 0

    def mark(self) -> tuple[int, int]:
        """What to go back to when a value is written another way."""
        return self.count, len(self.written)

    def go_back(self, mark: tuple[int, int]) -> None:
        """Forget what was counted since then: how far an attempt came may depend on the order of a set."""
        self.count = mark[0]
        while len(self.written) > mark[1]:
            self.written.popitem()

    def give_up(self, size: int) -> None:
        """Count what was written in a set or function to no end, or with a memo, that of every member the whole."""
        if self.ids:
            self.given_up += size + _UNFLUSHED
            if self.given_up > _MAX_GIVEN_UP:
                raise TooDeep("what is in sets or functions refers to itself in too many ways")


def hashed_bytes(large: LargeContents) -> int:
    """How many bytes were hashed of the contents that are noted in `large`, as far as these say how large they are."""
    sizes = (size_of(owner) for (_, how), (owner, _) in large.items() if how in PLAIN_CONTENTS)
    return sum(size for size in sizes if size is not None)


def size_of(owner: object) -> int | None:
    """How many bytes reading something takes; None where only somebody else's code could tell."""
    nbytes = look(owner, "nbytes")
    if type(nbytes) is int:
        return nbytes
    shape = try_call(getattr, owner, "shape")[0] if module_of(type(owner)).partition(".")[0] in _FRAMES else None
    return math.prod(shape) * 8 if type(shape) is tuple else None
