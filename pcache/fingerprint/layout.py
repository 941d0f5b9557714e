"""Operations in the order in which control reaches them, whatever the layout of the source and of the bytecode.

How a source is broken into lines moves operations: the compiler copies short ends of functions so that each copy has a
line of its own, and joins jumps and exchanges assignments only where they are on one line. Targets of jumps and ranges
of exception handlers move with them. Here code is written from its start on, each operation where it is reached first,
and jumps and handlers refer to places in what was written.
"""

from __future__ import annotations

from itertools import accumulate, compress, count, pairwise
from opcode import hasjrel, opmap, opname

from pcache.objects.bytecode import counts_of, marks_of, numbers_of
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Block = tuple[list[Any], int | None, int | None]  # its words, the block after it, and the one it may jump to
    Written = tuple[list[Any], list[int]]


_NAMES = {one: opname[one] for one in hasjrel if one in range(256) and opname[one] != "END_ASYNC_FOR"}
_GO_ON = numbers_of("JUMP_FORWARD JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT")
_ENDS = _NAMES.keys() | numbers_of("RETURN_VALUE RAISE_VARARGS RERAISE")
_BACK = frozenset(one for one, name in _NAMES.items() if "BACKWARD" in name)
# `a and b` and `a or b` in 3.11: jumps that leave the tested value where it is. By what the value is then.
_KEEP = {opmap[f"JUMP_IF_{truth}_OR_POP"]: truth for truth in ("TRUE", "FALSE") if f"JUMP_IF_{truth}_OR_POP" in opmap}
# Jumps that go on where others jump, and jump where these go on.
_OPPOSITE = frozenset(
    one for one, name in _NAMES.items() if name.startswith("POP") and name.endswith(("TRUE", "NOT_NONE"))
)


def _word(name: str) -> int:
    """A jump without its direction, and without which of its two ways the code goes on with."""
    if name.startswith("POP"):
        name = name.replace("BACKWARD", "FORWARD").replace("TRUE", "FALSE").replace("NOT_NONE", "NONE")
    return opmap[name]


_ENDING, _JUMPING = marks_of(_ENDS), marks_of(_NAMES)
# How jumps are written: where they lead follows from the order of the blocks. What ends `async for` is none, but from
# 3.14 on tells tools where the loop begins.
JUMPS = {one: _word(name) for one, name in _NAMES.items()} | {opmap["END_ASYNC_FOR"]: opmap["END_ASYNC_FOR"]}
_SWAP, _STORE, _POP = opmap["SWAP"], opmap["STORE_FAST"], opmap["POP_TOP"]
_SHORT = 8  # the compiler copies ends of up to four operations, some of which are two of ours
_ELSEWHERE, _HANDLED = -1, -2  # written between operations: control goes on at a place; another handler from here on


def written(body: bytes, table: bytes, operations: tuple[bytes, Sequence[int]], words: list[Any]) -> Written:
    """The words of code in the order of control, and what jumps and handlers among them refer to, in their order.

    The words stand for the plain operations of a body; `table` has its exception handlers.
    """
    kinds, arguments = operations
    if not table and JUMPS.keys().isdisjoint(kinds):
        return _unswapped(words) if _SWAP in kinds else words, [0]
    indexes = [0, *accumulate(counts_of(body))]  # of the first operation from each place on
    jumps = list(compress(count(), kinds.translate(_JUMPING)))
    ways = _ways(body, [arguments[at] for at in jumps])
    targets = {at: indexes[way] for at, way in zip(jumps, ways, strict=True)}
    handlers = _handlers(table, indexes)
    if not _KEEP.keys().isdisjoint(kinds):
        kinds = _joined(kinds, targets, words)
    starts = {0, len(words), *targets.values(), *(at + 1 for at in compress(count(), kinds.translate(_ENDING)))}
    for handler in handlers:
        starts.update(handler[:3])
    blocks = {start: _block(kinds, targets, words, start, end) for start, end in pairwise(sorted(starts))}
    return _Writer(blocks, handlers).write()


def _ways(body: bytes, arguments: list[int]) -> Iterator[int]:
    """Where the jumps in a body lead."""
    units = body[::2]
    for at, argument in zip(compress(count(), units.translate(_JUMPING)), arguments, strict=True):
        start = at + 1
        while units[start : start + 1] == b"\0":  # it counts from the end of its inline cache
            start += 1
        yield start - argument if units[at] in _BACK else start + argument


def _joined(kinds: bytes, targets: dict[int, int], words: list[Any]) -> bytes:
    """Let `a and b` in `a and b or c` not test `a` a second time: in 3.11 it does if they are on different lines."""
    joined = bytearray(kinds)
    for at in sorted(targets, reverse=True):
        truth = _KEEP.get(kinds[at])
        target = targets[at]
        while truth and opname[joined[target]] == "JUMP_FORWARD":
            target = targets[target]
        following = opname[joined[target]]
        if truth and "JUMP" in following and ("IF_TRUE" in following or "IF_FALSE" in following):
            same = f"IF_{truth}" in following
            joined[at] = joined[target] if same and joined[target] in _KEEP else opmap[f"POP_JUMP_FORWARD_IF_{truth}"]
            words[at] = JUMPS[joined[at]]
            targets[at] = targets[target] if same else target + 1
    return bytes(joined)


def _handlers(table: bytes, indexes: list[int]) -> list[tuple[int, int, int, int]]:
    """Where exception handlers hold (start and end) and begin, by the indexes of operations; and how they begin.

    A table has four numbers for each handler: its start, length and target, and the depth of the stack with a flag.
    """
    numbers = []
    number = 0
    for byte in table:
        number = number << 6 | byte & 63
        if not byte & 64:  # no further byte of this number
            numbers.append(number)
            number = 0
    return [
        (indexes[start], indexes[start + length], indexes[target], depth)
        for start, length, target, depth in zip(*[iter(numbers)] * 4, strict=True)
    ]


def _block(kinds: bytes, targets: dict[int, int], words: list[Any], start: int, end: int) -> Block:
    last = kinds[end - 1]
    own = words[start : end - 1 if last in _GO_ON else end]
    if _SWAP in kinds[start:end]:
        own = _unswapped(own)
    if last not in _ENDS:
        return own, end, None
    if last not in JUMPS:
        return own, None, None
    target = targets[end - 1]
    if last in _GO_ON:
        return own, target, None
    return (own, target, end) if last in _OPPOSITE else (own, end, target)


def _unswapped(words: list[Any]) -> list[Any]:
    """Words without exchanges on the stack before assignments to local variables, which are exchanged themselves.

    So does the compiler for `a, b = b, a` on one line. Assignments to one variable keep their order.
    """
    for at in range(len(words) - 3, -1, -1):
        if type(words[at]) is not int or words[at] & 0xFF != _SWAP:
            continue
        size = words[at] >> 8
        stored = words[at + 1 : at + 1 + size]
        if len(stored) < size or any(type(word) is not int or word & 0xFF not in (_STORE, _POP) for word in stored):
            continue
        if all(word == _POP or stored.count(word) == 1 for word in (stored[0], stored[-1])):
            words[at : at + 1 + size] = [stored[-1], *stored[1:-1], stored[0]]
    return words


class _Writer:
    """Writes blocks of operations: those up to a jump, or to where a jump leads or a handler holds, ends or begins."""

    def __init__(self, blocks: dict[int, Block], handlers: list[tuple[int, int, int, int]]) -> None:
        self.blocks = blocks
        self.empty = {at: block[1] for at, block in blocks.items() if not block[0] and block[1] is not None}
        self.handlers = handlers
        self.handled_from = [handler[0] for handler in handlers]
        self.words: list[Any] = []
        self.places = [0]
        self.begun: dict[int, int] = {}  # where blocks were written
        self.handling: dict[int, int] = {}  # where handlers were
        self.waiting = [(0, 0, self.begun)]  # which place is asked for, the block that is there, where it is noted

    def write(self) -> Written:
        while self.waiting:
            reference, block, known = self.waiting.pop()
            block = self.content_of(block)
            if block in known:
                self.places[reference] = known[block]
                continue
            self.places[reference] = len(self.words)
            if known is self.handling:
                known[block] = len(self.words)
            self.follow(block)
        return self.words, self.places

    def follow(self, at: int | None) -> None:
        """Write what control reaches without a jump."""
        handler = None
        while at is not None:
            if at in self.empty:
                at = self.content_of(at)
            if at in self.begun:
                self.words.append(_ELSEWHERE)
                self.places.append(self.begun[at])
                return
            words, following, target = self.blocks[at]
            if target is not None or not self.is_short_end(at):
                self.begun[at] = len(self.words)
            if self.handlers and (now := self.handler_of(at)) != handler:
                handler = now
                self.words.append((_HANDLED, now and now[1]))
                if now:
                    self.refer(now[0], self.handling)
            self.words += words
            if target is not None:
                self.refer(target, self.begun)
            at = following

    def refer(self, block: int, known: dict[int, int]) -> None:
        self.waiting.append((len(self.places), block, known))
        self.places.append(-1)

    def content_of(self, at: int) -> int:
        """The first block from one on that has operations; those of an endless loop may have none."""
        seen: set[int] = set()
        while at in self.empty and at not in seen:
            seen.add(at)
            at = self.empty[at]
        return at

    def is_short_end(self, at: int) -> bool:
        """Whether code ends after a few operations from a block on. These are written wherever control reaches them."""
        length = 0
        for _ in range(_SHORT):  # each block has an operation, but for those of endless loops
            words, following, target = self.blocks[at]
            length += len(words)
            if length > _SHORT or target is not None:
                return False
            if following is None:
                return True
            at = self.content_of(following)
        return False

    def handler_of(self, at: int) -> tuple[int, int] | None:
        """The block where the handler of a block begins, and the depth of the stack with a flag."""
        from bisect import bisect_right  # late for start-up time: most code handles no exceptions

        handler = bisect_right(self.handled_from, at) - 1
        if handler < 0 or at >= self.handlers[handler][1]:
            return None
        return self.handlers[handler][2:]
