"""Spool a stream while it is produced: its items in chunks, into memory while it is small, and then into a draft.

What was spooled can be read again before the entry exists, by other consumers in this process. Each item is pickled
when it is added, before its consumer may change it.
"""

from __future__ import annotations

import os
from _weakref import ref

from pcache.config.settings import to_leave_free
from pcache.entry.compression import RAW, Packer, Part
from pcache.entry.format import META_AT
from pcache.entry.main_module import flags_of
from pcache.entry.streams import LONGEST_ITEM, join_chunk, loaded_from, row_of, unpacked
from pcache.errors import Miss
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.locks import is_crowded
from pcache.text.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcache.entry.streams import ChunkRow
    from pcache.keys.names import Home
    from pcache.storage.store import HeldClaim, OpenDraft

_SMALLEST, _LARGEST = 64 << 10, 1 << 20  # bytes of pickles in a chunk: few are read for a first item, few rows in all
_IN_MEMORY = 64 << 10  # bytes of a stream that is written at once, when it has ended
_SHARE = 16  # a chunk is as large as this part of what came before
_MOST_OPEN = 64  # drafts that one process has open: each takes a descriptor


class CannotSpool(Exception):
    """A stream cannot be stored, for a reason that concerns it alone."""


class Spool:
    """The chunks of a stream so far, under a claim. For one writer at a time; others may read meanwhile.

    `rows` are those of the chunks that are closed, `pending` the pickles of the one that is not. Raises `OSError`, and
    `CannotSpool`; what was spooled before can still be read then.
    """

    claim: HeldClaim  # taken after it was made, so that whoever drops it knows of the claim

    def __init__(self, setting: str | int, home: Home | None) -> None:
        self.rows: list[ChunkRow] = []
        self.pending: list[bytes] = []
        self.length = 0  # bytes of closed chunks, as stored
        self.flags = 0
        self._size = self._raw = 0  # bytes of pending pickles, and of all before them
        self._setting = setting
        self._home = home
        self._chunks: list[Any] = []  # as long as there is no draft
        self._draft: OpenDraft | None = None  # once it holds all chunks
        self._opened: OpenDraft | None = None
        self._told_ns = 0

    def add(self, pickle: bytes, cost_ns: int) -> bool:
        """Add an item; `cost_ns` is what all so far took. Returns whether a chunk was closed."""
        if len(pickle) > LONGEST_ITEM:
            raise CannotSpool("an item takes more than 4 GiB")
        self.pending.append(pickle)
        self._size += len(pickle)
        if self._size < min(max(_SMALLEST, self._raw // _SHARE), _LARGEST):
            return False
        self._close(cost_ns)
        return True

    def end(self, pickle: bytes, cost_ns: int) -> None:
        """Add what the generator returned."""
        if self.pending:
            self._close(cost_ns)
        self.flags = max(self.flags, flags_of(pickle, self._home))
        self._write(Part(pickle, len(pickle), RAW), 0)

    def _close(self, cost_ns: int) -> None:
        """Write the pending items as a chunk, compressed if that pays for what they took."""
        raw = join_chunk(self.pending)
        self.flags = max(self.flags, flags_of(raw, self._home))
        own_ns, self._told_ns = cost_ns - self._told_ns, cost_ns
        part = Packer(self._setting, own_ns).stream(raw)
        items, self._raw, self._size = len(self.pending), self._raw + self._size, 0
        self._write(part, items)

    def _write(self, part: Part, items: int) -> None:
        row = row_of(META_AT + self.length, items, part)
        if self._draft is None and self.length + row.length > _IN_MEMORY:
            self._open()
        if self._draft is None:
            self._chunks.append(part.data)
        else:
            self._draft.put([part.data], row.offset)
        self.length += row.length
        self.rows.append(row)
        self.pending = []

    def _open(self) -> None:
        if len(_open) >= _MOST_OPEN or is_crowded():
            raise CannotSpool(f"{_MOST_OPEN} streams are being stored")
        draft = self._opened = self.claim.draft()
        _open.add(ref(self, _open.discard))
        draft.put(self._chunks, META_AT)
        self._draft = draft
        self._chunks = []  # a new list: others may be reading from the old one

    def chunk(self, number: int) -> Iterator[Any]:
        """The items of a closed chunk, as `streams.Stored.chunk`."""
        row, chunks, draft = self.rows[number], self._chunks, self._draft
        try:
            stored: Any = chunks[number] if draft is None else draft.take(row.length, row.offset)
        except (OSError, IndexError) as error:  # the latter if it was dropped just now
            if isinstance(error, OSError):
                raise_if_interrupt(error)
            raise Miss("damaged", detail="what was spooled cannot be read again") from error
        return loaded_from(row, unpacked(row, stored), 0, self._home)

    def publish(self, head: bytes, footer: bytes, *, durable: bool, replaces_nothing: bool, mtime_ns: int) -> int:
        """Make an entry of what was spooled to its end; return its size, 0 if the claim was lost meanwhile."""
        how: dict[str, Any] = {"durable": durable, "replaces_nothing": replaces_nothing, "mtime_ns": mtime_ns}
        if self._draft is None:
            return self.claim.publish([head, *self._chunks, footer], **how)
        self._draft.put([footer], META_AT + self.length)
        return self.claim.publish([head], **how, draft=self._draft)

    def withdraw(self) -> None:
        """Release the claim, and remove what did not become an entry; it can still be read here."""
        try:
            if "claim" in vars(self):
                self.claim.abandon()
        finally:
            if self._opened is not None:
                self._opened.drop()

    def drop(self) -> None:
        """The same, and give back what it takes. Does nothing a second time."""
        try:
            self.withdraw()
        finally:
            self.forget()

    def forget(self) -> None:
        """Give back what it takes, and leave claim and draft as they are: in a forked child they are its parent's."""
        if self._opened is not None:
            self._opened.release()  # first: this is done again if an interrupt comes
            _open.discard(ref(self))
        self._opened, self._draft, self._chunks = None, None, []


_open: set[ref[Spool]] = set()  # as `locks._held`


def lack_of_room(root: str, min_free: float) -> str:
    """Why what is written piece by piece is to end; empty while the disk has as much room left as it must have."""
    if not min_free:
        return ""
    try:
        disk = os.statvfs(root)
    except OSError as error:
        raise_if_interrupt(error)
        return ""
    except AttributeError:  # Windows
        return ""
    free, at_least = disk.f_bavail * disk.f_frsize, to_leave_free(min_free, disk.f_blocks * disk.f_frsize)
    return f"the disk has {format_size(free)} left, and min_free is {format_size(at_least)}" if free < at_least else ""
