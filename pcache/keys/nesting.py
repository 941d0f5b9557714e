"""The state of an encoding: what surrounds a value, and what was encoded before it in the same call."""

from __future__ import annotations

from pcache.objects.lookup import look, module_of
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable

    # Digests or parts of large contents, with the object itself: by its id and how it was read.
    LargeContents = dict[tuple[int, str], tuple[object, Any]]

FILES = "files"  # what an encoder notes about a value: the files that its key was read from
FINGERPRINT = "fingerprint"  # and the fingerprint of its code
PLAIN_CONTENTS = ("content", "raw")  # kinds of `Encoder.once` that digest bytes, whatever value they are part of
_FRAMES = frozenset(("pandas", "polars", "scipy"))  # their objects have a shape, and cells of about eight bytes
SPELLED_OUT_LIMIT = 8 << 20  # bytes of stream after which repeated parts are suspected
_MAX_GIVEN_UP = 16 << 20  # bytes; some seconds
_UNFLUSHED = 4096  # estimate of the bytes that a pickler has buffered when it is abandoned


class TooDeep(RecursionError):
    """A set or function is nested too deeply; retrying another way would double the time at each level."""


class Nesting:
    """The state of an encoding, for all values that are encoded in the same call.

    `ids` are the sets and functions that contain the value; `cycles` counts how often one of them was reached again.
    `contents` and `found` keep results about a set, function or array, by its id. `limit` is that of the stream, in
    bytes. `sets` says how many of `ids` are sets, `given_up` how many bytes were written in sets in vain, or with a
    memo. `follow` represents a function or class that a fingerprint is already following: a fingerprint inside itself
    would not end. If `straight`, values that contain themselves are refused. `ignored` are patterns of the globals that
    do not count in code.
    """

    __slots__ = (
        *("contents", "count", "cycles", "follow", "found", "given_up", "ids", "ignored", "limit", "sets", "straight"),
        "written",
    )

    def __init__(self, follow: Callable[[Any], object] | None = None, *, straight: bool = False) -> None:
        self.follow = follow
        self.straight = straight
        self.ids: list[int] = []
        self.ignored: tuple[str, ...] = ()
        self.contents: dict[int, tuple[object, Any]] = {}
        self.found: LargeContents = {}
        self.written: dict[int, None] = {}  # in the order of their first meeting
        self.count = self.cycles = self.sets = self.given_up = 0
        self.limit = SPELLED_OUT_LIMIT

    def clear(self) -> None:
        self.contents.clear()
        self.written.clear()
        self.found = {}  # the old dict may be in use elsewhere by now
        self.count = self.cycles = self.given_up = 0

    def mark(self) -> tuple[int, int]:
        """The state to return to when a value is encoded another way."""
        return self.count, len(self.written)

    def go_back(self, mark: tuple[int, int]) -> None:
        """Undo the counts since then: how far an attempt got may depend on the order of a set."""
        self.count = mark[0]
        while len(self.written) > mark[1]:
            self.written.popitem()

    def give_up(self, size: int) -> None:
        """Count bytes written in a set or function in vain, or with a memo, which repeats all of each member."""
        if self.ids:
            self.given_up += size + _UNFLUSHED
            if self.given_up > _MAX_GIVEN_UP:
                raise TooDeep("contents of sets or functions refer to themselves in too many ways")


def hashed_bytes(large: LargeContents) -> int:
    """How many bytes were hashed of the contents in `large`, as far as their sizes are known."""
    sizes = (size_of(owner) for (_, how), (owner, _) in large.items() if how in PLAIN_CONTENTS)
    return sum(size for size in sizes if size is not None)


def size_of(owner: object) -> int | None:
    """How many bytes reading an object takes; None where only its own code could tell."""
    nbytes = look(owner, "nbytes")
    if type(nbytes) is int:
        return nbytes
    shape = try_call(getattr, owner, "shape")[0] if module_of(type(owner)).partition(".")[0] in _FRAMES else None
    if type(shape) is not tuple:
        return None
    from math import prod  # late for start-up time: frames are loaded with much more

    return int(prod(shape)) * 8
