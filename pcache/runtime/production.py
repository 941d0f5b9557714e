"""A stream that this process produces: a generator that its consumers share, and the spool that they replay.

Consumers pull under one lock: whoever is ahead runs the generator, in its own context, and the others read what was
spooled. Other processes never wait, as nobody knows when a consumer goes on. The entry appears when the generator has
ended; a stream that was closed, raised or could not be spooled leaves nothing. A consumer that can be given no more of
it computes for itself, and skips what it has.
"""

from __future__ import annotations

import threading
import time

from pcache.entry.pickling import dump_whole
from pcache.errors import StoreWarning
from pcache.runtime.boundary import passes
from pcache.runtime.deadlock import Wait
from pcache.runtime.job import Run
from pcache.runtime.singleflight import Flight, computing, flights
from pcache.runtime.spooling import CannotSpool, lack_of_room
from pcache.runtime.unfinished import unfinished
from pcache.startup import TYPE_CHECKING, Any, Protocol
from pcache.system.interrupts import attempt, try_call, uninterrupted
from pcache.system.notices import log, warn_once

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pcache.entry.streams import ChunkRow
    from pcache.errors import Miss
    from pcache.runtime.flow import Flow
    from pcache.runtime.job import Job
    from pcache.runtime.spooling import Spool

    class Reader(Protocol):
        """The place of a consumer: how many items are behind it, in which chunk it is, and how far inside of that."""

        passed: int
        chunk: int
        inside: int
        source: Any


ITEM, PICKLES, AGAIN, ENDED, ALONE = range(5)  # what a pull gave
_clock = time.perf_counter_ns


class Production(Flight):
    """One run of a generator function. Safe for threads and forks; a forked child goes on without storing.

    `busy` is held while the generator runs. `produced` counts its items. `spool` is None where nothing is stored, or no
    longer: then only one consumer goes on with the generator, the `taker`.
    """

    def __init__(self, flow: Flow, job: Job, miss: Miss, unchanged: Callable[[Job], bool]) -> None:
        super().__init__(flow.store.place(job.address.name), job.address.function_id)
        self.job = job
        self.spool: Spool | None = None
        self.taker: int | None = None
        self.produced = 0
        self._flow = flow
        self._miss = miss
        self._unchanged = unchanged  # whether the arguments are what they were
        self._generator: Generator[Any, Any, Any] | None = job.function(*job.args, **job.kwargs)
        self._consumers: dict[int, None] = {}  # by the ids of their readers, which refer to this
        self._is_shared = True
        self._is_over = False
        self._is_halfway = False  # an item was asked for, and is not in the spool yet
        self._began_ns = time.time_ns()
        self._took_ns = self._store_ns = 0
        unfinished.add(self)

    @property
    def over(self) -> bool:
        """Whether no more consumers may join."""
        return self._is_over or not self._is_shared

    @property
    def rests(self) -> bool:
        """Whether its generator is not running."""
        return not self.busy.locked()

    @property
    def rows(self) -> Sequence[ChunkRow]:
        """Those of the chunks that can be read now."""
        spool = self.spool
        return () if spool is None else spool.rows

    def chunk(self, number: int) -> Iterator[Any]:
        """The items of a chunk; raises `Miss`."""
        spool = self.spool
        return iter(()) if spool is None else spool.chunk(number)

    # Consumers

    def join(self, reader: Reader) -> bool:
        """Add a consumer; return whether it still can be."""
        ttl_ns = self.job.address.ttl_ns
        if ttl_ns is not None and time.time_ns() - self._began_ns >= ttl_ns:
            return False
        self._consumers[id(reader)] = None
        if self.over:
            self._consumers.pop(id(reader), None)
        return id(reader) in self._consumers

    def leave(self, reader: Reader) -> None:
        """Remove a consumer; with the last one the generator is closed, and what was spooled is dropped.

        To be called again if an interrupt came meanwhile.
        """
        self._consumers.pop(id(reader), None)
        if self._consumers:
            return
        with self.busy:
            if not self._consumers:
                self._close()

    def _close(self) -> None:
        is_over, self._is_over = self._is_over, True
        generator, self._generator = self._generator, None
        flights.leave(self.place, self)
        try:
            if not is_over:
                self._count(self._took_ns)
            if generator is not None:
                self._close_generator(generator)
        finally:
            self.share_no_longer()

    def _close_generator(self, generator: Any) -> None:
        token = uninterrupted(computing.set, {**computing.get(), self.place: self})
        try:
            generator.close()
        finally:
            computing.reset(token)

    def dismiss(self) -> None:
        """Give up a production: nothing more comes of it."""
        self._is_over = True
        self.share_no_longer()

    def again(self, reader: Reader) -> Production:
        """Another run for a consumer alone, of which nothing is stored."""
        made = type(self)(self._flow, self.job._replace(run=Run()), self._miss, self._unchanged)
        made._consumers[id(reader)] = None
        made.share_no_longer()
        return made

    def hand_over(self, reader: Reader) -> Generator[Any, Any, Any] | None:
        """Give the generator to its only consumer, if it is just behind the item that this one has."""
        with self.busy:
            if (
                self._is_over
                or self._is_halfway
                or reader.passed != self.produced
                or set(self._consumers) != {id(reader)}
            ):
                return None
            generator, self._generator = self._generator, None
            self._close()
            return generator

    # Producing

    def pull(self, reader: Reader) -> tuple[int, Any]:
        """Run the generator for a consumer that has had all there is; or say what else there is for it."""
        if self.busy.locked() and (self.thread == threading.get_ident() or not self._wait()):
            return ALONE, None
        with self.busy:
            spool = self.spool
            if spool is not None and reader.chunk < len(spool.rows):
                return AGAIN, None
            if self._is_halfway:  # an interrupt came before what the generator made was spooled: it is lost
                self.dismiss()
                return ALONE, None
            if spool is not None and reader.inside < len(spool.pending):
                return PICKLES, spool.pending[reader.inside :]
            if self._is_over or not (spool is not None or self._is_taken_by(reader)):
                return ALONE, None
            return self._run()

    def _wait(self) -> bool:
        """Wait for another thread that runs the generator; return whether it ended, without a deadlock."""
        with Wait(self.place, self._flow.directory, self.job.lock_timeout) as wait:
            return wait.for_flight(self)

    def _is_taken_by(self, reader: Reader) -> bool:
        if self.taker is None and reader.passed == self.produced:
            self.taker = id(reader)
        return self.taker == id(reader)

    def _run(self) -> tuple[int, Any]:
        around, started, ended = computing.get(), self._starts(), False
        token = uninterrupted(computing.set, {**around, self.place: self})
        try:  # resetting comes first in each branch: a `finally` is passed by in a jump to it (CPython 3.13)
            item = next(self._generator)  # type: ignore[arg-type]  # it is there as long as it is not over
        except StopIteration as stop:
            computing.reset(token)
            item, ended = stop.value, True
        except BaseException:
            computing.reset(token)
            self._failed(_clock() - started)
            raise
        else:
            computing.reset(token)
        took_ns = _clock() - started
        self._took_ns += took_ns
        self._guarded(self._finish if ended else self.keep, item)
        self._stored(around, _clock() - started, took_ns)
        if ended:
            self._end()
            return ENDED, item
        return ITEM, item

    def _starts(self) -> int:
        """Note that this thread has the generator go on, and when."""
        if self.thread != threading.get_ident():
            self.thread, self.native_id = threading.get_ident(), threading.get_native_id()
        self._is_halfway = True
        return _clock()

    def _stored(self, around: Mapping[str, Flight], elapsed_ns: int, took_ns: int) -> None:
        """Note that what the generator gave was stored, and how long both took, for what is around the call."""
        self._is_halfway = False
        self._store_ns += elapsed_ns - took_ns
        if around:
            list(around.values())[-1].nested_ns += elapsed_ns

    def _guarded(self, step: Callable[[Any], None], item: Any) -> None:
        """Store what the consumer gets in any case; raises only what it is to see."""
        self.produced += 1
        if self.spool is None and step == self.keep:
            return
        _, error = try_call(step, item)
        if error is not None:
            self.share_no_longer()
            if passes(error, self.job.name):
                raise error

    def keep(self, item: Any) -> None:
        """Add an item to the spool; if that is impossible, say so once, and store nothing of the stream."""
        spool, saving, job = self.spool, self._flow.saving, self.job
        if spool is None:
            return
        if (pickle := self._pickled(item)) is None:
            return
        try:
            if not spool.add(pickle, self._took_ns):
                return
        except CannotSpool as cause:
            self.share_no_longer()
            log("%s: a stream is not stored: %s", job.name, str(cause))
            return
        except OSError as error:
            self.share_no_longer()
            saving.refuse(error, job.address.name)
            return
        if reason := saving.limiter.refusal(spool.length, job.name):
            self.share_no_longer()
            saving.too_large(job, reason)
        elif lack := lack_of_room(self._flow.directory.location, self._flow.settings.min_free):
            self.share_no_longer()
            warn_once((job.name, "min_free"), f"a stream of {job.name} is not stored: {lack}.", StoreWarning)

    def _pickled(self, item: Any) -> bytes | None:
        pickle, error = try_call(dump_whole, item)
        if error is not None:
            self.share_no_longer()
            self._flow.saving.unpicklable(self.job, item, error)
            return None
        return pickle  # type: ignore[no-any-return]

    def _finish(self, value: Any) -> None:
        """Store the stream, whose generator has returned."""
        self._count(self._took_ns)
        try_call(self.job.look_again, self._took_ns)
        if self.spool is not None and not attempt(self._unchanged, self.job)[0]:
            self.share_no_longer()
            text = "%s: a stream is not stored, as an argument or its code was changed while it was produced"
            log(text, self.job.name)
        self.publish(value)

    def publish(self, value: Any) -> bool:
        """Store what was spooled, and what the generator returned; return whether it is stored."""
        spool, saving = self.spool, self._flow.saving
        if spool is None or (pickle := self._pickled(value)) is None:
            return False
        try:
            spool.end(pickle, self._took_ns)
        except OSError as error:
            self.share_no_longer()
            saving.refuse(error, self.job.address.name)
            return False
        try:
            return saving.publish_stream(spool, self.job, self._took_ns, self._miss, self._began_ns + self._took_ns)
        finally:
            spool.withdraw()

    def _end(self) -> None:
        """Note that no more comes: consumers that are behind replay what was spooled to its end."""
        self._is_over = True
        flights.leave(self.place, self)
        self._flow.ledger.count(self.job.name, store_ns=self._store_ns)
        self._flow.ledger.look(time.time_ns())
        self._generator = None

    def _failed(self, took_ns: int) -> None:
        """Note that the generator raised; it is over, and its exception is for the consumer that ran it."""
        self._is_over = True
        self._took_ns += took_ns
        attempt(self._count, self._took_ns, {"errors.raised": 1})
        attempt(self.share_no_longer)

    def _count(self, took_ns: int, more: Mapping[str, int] | None = None) -> None:
        self.job.run.took(took_ns, self.nested_ns)
        counts = {f"misses.{self._miss.reason}": 1, "computed_ns": self.job.run.own_ns, **(more or {})}
        self._flow.ledger.count(self.job.name, **counts)

    # Without a spool

    def share_no_longer(self) -> None:
        """Store nothing of this stream, and let nobody else join."""
        self._is_shared = False
        flights.leave(self.place, self)
        if self.spool is not None:
            self.spool.drop()  # first: this is done again if an interrupt comes
            self.spool = None

    def reset(self) -> None:
        """In a forked child: claim and draft are the parent's, and so is a thread that runs the generator."""
        spool, self.spool, self._is_shared = self.spool, None, False
        if spool is not None:
            spool.forget()
        self._is_over = self._is_over or (self.busy.locked() and self.thread != threading.get_ident())
        self.busy = threading.Lock()
