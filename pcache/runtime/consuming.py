"""One consumer of a stream: its place in what is stored or produced, and the generator that it was given."""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice

from pcache.entry.pickling import load
from pcache.entry.streams import Stored, taken
from pcache.errors import Miss, without_tracebacks
from pcache.objects.culprit import described
from pcache.runtime.production import ALONE, ENDED, ITEM, PICKLES, Production
from pcache.startup import TYPE_CHECKING, Any, Protocol
from pcache.system.interrupts import try_call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from pcache.entry.format import Header

_NOTHING = object()
_GROUP = 16 << 10  # bytes of pickles that are loaded at once, at most


class Function(Protocol):
    """The cached generator function, as its consumers know it."""

    @property
    def __wrapped__(self) -> Callable[..., Any]: ...
    def source_for(self, reader: Reader, miss: Miss | None = None) -> Stored | Production | None: ...
    def saved(self, reader: Reader, stored: Stored) -> None: ...
    def waited(self) -> None: ...


class Reader:
    """The place of one consumer in a stream that is stored or being produced. For one thread at a time.

    `box` has the items that come next. `given` counts these and those that the consumer has had, `passed` those of the
    present source. It is in the chunk with number `chunk`, of which `inside` items were taken. With `only_stored`
    nothing is computed.
    """

    def __init__(
        self, of: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], since_ns: int, stored: Stored | None
    ) -> None:
        self.of = of
        self.args, self.kwargs, self.since_ns = args, kwargs, since_ns
        self.source: Stored | Production | None = stored
        self.only_stored = stored is not None
        self.box: deque[Any] = deque()
        self.value: Any = None  # what the generator returned
        self.is_over = False
        self.damaged: Header | None = None
        self.given = self.passed = self.chunk = self.inside = self.saves_ns = 0
        self._batch: Iterator[Any] = iter(())
        self._left = 0  # items in it
        self._group = self._most = 1  # of them, how many are unpickled at once: each step costs more than a small item
        self._pulled = False

    def begin(self) -> bool:
        """Find the source; return whether there is one."""
        if self.source is None:
            self.source = self.of.source_for(self)
        return self.source is not None

    def step(self) -> bool:
        """Put next items into `box`; return whether there were any. Raises what the generator raises."""
        while not self.find():
            source = self.source
            if not isinstance(source, Production):
                return False
            if self.take(source, *source.pull(self)):
                return True
        return True

    def find(self) -> bool:
        """Put items that are there into `box`; return whether there were any, or the generator has to go on."""
        while (source := self.source) is not None:
            if self._left:
                if self._unpickled(source.place):
                    return True
            elif self.chunk < len(source.rows):
                self._next_chunk(source)
            else:
                break
        return False

    def _unpickled(self, place: str) -> bool:
        """Go on to some items of a batch; return whether any is new to the consumer."""
        count = min(self._group, self._most, self._left)
        found, error = try_call(taken, self._batch, count, place)
        if error is not None or len(found) != count:  # an item whose loading raises `StopIteration` is missing
            detail = described(error) if error else "an item is missing"
            self._lost(error if isinstance(error, Miss) else Miss("unloadable", detail=detail))
            return False
        self._left -= count
        self._group = min(self._most, 2 * self._group)  # the first item is to come soon
        return self._pass(found)

    def take(self, source: Production, what: int, found: Any) -> bool:
        """Take what a pull gave; return whether an item is new to the consumer, and False to look again."""
        if what == ITEM:
            self.inside += 1
            self._pulled = True
            return self._pass([found])
        if what == ENDED:
            self._end(found)
        elif what == ALONE:
            self._alone(source)
        elif what == PICKLES:
            self._take_batch(map(load, found), len(found), sum(map(len, found)))
            self.inside += len(found)
        return False

    def _pass(self, found: list[Any]) -> bool:
        """Go on to some items; return whether any is new to the consumer."""
        new = self.passed + len(found) - self.given
        self.passed += len(found)
        if new <= 0:
            return False
        self.given += new
        self.box.extend(found[-new:])
        return True

    def _take_batch(self, batch: Iterator[Any], count: int, size: int) -> None:
        """Take items from a batch, whose pickles have so many bytes."""
        self._batch, self._left = batch, count
        self._most = max(1, _GROUP * count // max(size, 1))

    def _next_chunk(self, source: Stored | Production) -> None:
        row = source.rows[self.chunk]
        if row.items and self.inside >= row.items:  # all were taken while the chunk was not closed
            self.chunk, self.inside = self.chunk + 1, 0
            return
        try:
            batch = source.chunk(self.chunk)
        except Miss as miss:
            self._lost(miss)
            return
        if row.items:
            left = row.items - self.inside
            self._take_batch(islice(batch, self.inside, None), left, row.raw_length * left // row.items)
            self.chunk, self.inside = self.chunk + 1, 0
            return
        values, error = try_call(taken, batch, 1, source.place)
        if not values:
            self._lost(Miss("unloadable", detail=described(error) if error else "it is missing"))
        else:
            self._end(values[0])

    def _end(self, value: Any) -> None:
        self.value, self.is_over = value, True
        self.close()

    def _lost(self, miss: Miss) -> None:
        """Compute what cannot be read, and skip what the consumer has."""
        miss, source = without_tracebacks(miss), self.source
        if self.only_stored:
            raise miss
        if isinstance(source, Production):
            self._alone(source)
        elif source is not None:
            self.damaged = source.header
            self._leave()
            self._restart()
            self.look_anew(miss)

    def look_anew(self, miss: Miss) -> None:
        """Find another source, after a miss."""
        self.source = self.of.source_for(self, miss)

    def _alone(self, source: Production) -> None:
        """Go on with a run of one's own, of which nothing is stored."""
        self._leave()
        self._restart()
        self.source = source.again(self)

    def _restart(self) -> None:
        self.passed = self.chunk = self.inside = self._left = 0
        self._batch = iter(())

    def _leave(self) -> None:
        source = self.source
        if isinstance(source, Production):
            if self.is_over and not self._pulled:
                self.of.waited()
            source.leave(self)
        elif source is not None:
            if not self.only_stored:
                self.of.saved(self, source)
            source.close()

    def close(self) -> None:
        """Leave the source."""
        self.given -= len(self.box)
        self.box.clear()
        self._leave()
        self.source = None
        self._batch = iter(())

    def plain(self) -> Any:
        """The function's own generator, behind the items that the consumer has had."""
        made = self.handed_over()
        if made is None:
            made = self.of.__wrapped__(*self.args, **self.kwargs)
            for _ in range(self.given):
                if next(made, _NOTHING) is _NOTHING:
                    break
        return made

    def handed_over(self) -> Any:
        """Leave the source, and return its generator if it is just behind the items that the consumer has had."""
        source = self.source
        self.given -= len(self.box)
        made = source.hand_over(self) if isinstance(source, Production) and not self.box else None
        self.box.clear()
        self.close()
        return made


def items(reader: Reader, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> Generator[Any, Any, Any]:
    """The items of a call, and what its generator returned."""
    # No loop here: an interrupt in one that goes back would pass by the `finally` around it (CPython 3.13).
    try:
        return (yield from _items(reader) if reader.begin() else reader.plain())
    finally:
        try:
            try:
                if not is_finalizing():
                    reader.close()
            except BaseException:
                reader.close()  # again: an interrupt may have come during the first time
                raise
        except BaseException:
            reader.close()  # and another one then
            raise


def _items(reader: Reader) -> Generator[Any, Any, Any]:
    box, thrown = reader.box, None
    take = box.popleft
    while box or reader.step():
        try:
            sent = yield take()
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the caller throws, the function may catch
            sent, thrown = None, error
        if sent is not None or thrown is not None:
            return (yield from _answering(reader.plain(), sent, thrown))
    return reader.value if reader.is_over else (yield from reader.plain())


def _answering(generator: Generator[Any, Any, Any], sent: Any, thrown: BaseException | None) -> Any:
    """The items of a generator to which something is sent, or thrown."""
    while True:
        try:
            item = generator.send(sent) if thrown is None else generator.throw(thrown)
        except StopIteration as stop:
            return stop.value
        sent = thrown = None
        try:
            sent = yield item
        except GeneratorExit:
            generator.close()
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            thrown = error
