"""Calls that workers make: the caller answers hits itself, and hands out what is missing, each call once.

Two chunks are under way for each worker, and a bounded number of results is held. What a worker fails at, because it
was killed or cannot be sent something, the caller computes itself, with one warning.
"""

from __future__ import annotations

import os
import time
from collections import deque

from pcache.batch import calls
from pcache.batch.calls import Outcome
from pcache.batch.executors import workers_of
from pcache.batch.worker import ERROR, FOREIGN, LOOSE, STORED, Chunk, take_proof
from pcache.errors import ConfigError, Miss, NotNow, StoreWarning, Uncached
from pcache.objects.culprit import described
from pcache.runtime.modes import mode
from pcache.startup import TYPE_CHECKING, Any
from pcache.system.interrupts import is_interrupt, try_call
from pcache.system.notices import warn_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pcache.batch.calls import Cached
    from pcache.batch.executors import Done, Workers
    from pcache.batch.worker import Answer, Proof

_PER_WORKER = 2  # chunks under way
_HELD = 1024  # results at least that may be held while the one that is next is computed
_LONGEST_CHUNK = 0.25  # seconds that a chunk is to take
_LARGEST_CHUNK = 1024  # calls


class _Slot:
    """The place of a call in the order of results; `outcome` is None until it is there."""

    __slots__ = ("args", "outcome")

    def __init__(self, args: tuple[Any, ...], outcome: Outcome | None) -> None:
        self.args = args
        self.outcome = outcome


def spread(
    function: Cached,
    arguments: Iterator[tuple[Any, ...]],
    common: Mapping[str, Any],
    executor: Any,
    chunk: int | None,
    *,
    ordered: bool,
) -> Iterator[Outcome]:
    """The outcomes of calls that the workers of an executor make; raises `ConfigError` for what is no executor."""
    workers = workers_of(executor)
    asked = "disabled" if function._flow.passive else mode.get()
    return _Spread(function, common, workers, chunk, asked).run(arguments, ordered=ordered)


class _Spread:
    """One map with workers. For one thread."""

    def __init__(
        self, function: Cached, common: Mapping[str, Any], workers: Workers, chunk: int | None, asked: Any
    ) -> None:
        self._function = function
        self._common = common
        self._look_up = calls.Trial(function, common, computes=False)
        self._workers = workers
        self._is_alone = False  # whether they take no more chunks, and the caller computes
        self._count = workers.count
        self._chunk = chunk
        self._size = chunk or 1  # calls in the next chunk
        self._mode = asked
        self._proof: Proof | None = None
        self._slots: deque[_Slot] = deque()  # not handed on yet
        self._wanted: dict[str, list[_Slot]] = {}  # the slots of calls that workers are to make, by the entry's name
        self._batch: list[tuple[str, tuple[Any, ...]]] = []  # for the next chunk
        self._sent: dict[int, float] = {}  # when chunks were handed out, by id
        self._numbers = 0
        self._began = False  # whether workers took anything

    def run(self, arguments: Iterator[tuple[Any, ...]], *, ordered: bool) -> Iterator[Outcome]:
        held = take_proof(self._function) if self._mode != "disabled" else None
        try:
            if held is not None:
                self._proof = held[1]
            yield from self._outcomes(arguments, ordered=ordered)
        finally:
            self._workers.let_go()
            if held is not None:
                held[0].abandon()

    def _outcomes(self, arguments: Iterator[tuple[Any, ...]], *, ordered: bool) -> Iterator[Outcome]:
        is_over = False
        while not is_over or self._slots:
            while not is_over and self._has_room():
                args = next(arguments, None)
                if args is None:
                    is_over = True
                else:
                    self._add(args)
                    if self._slots[-1 if not ordered else 0].outcome is not None:
                        break
            if self._batch and (is_over or len(self._batch) >= self._size or not self._sent):
                self._hand_out()
            yield from self._take(ordered=ordered)
            if self._slots and self._sent and (is_over or not self._has_room()):
                self._receive()

    def _has_room(self) -> bool:
        """Whether another call may be looked at."""
        most = max(_HELD, 2 * _PER_WORKER * self._count * self._size)
        return len(self._slots) < most and len(self._sent) < _PER_WORKER * self._count

    def _add(self, args: tuple[Any, ...]) -> None:
        """Answer a call if its result is stored, else put it into a chunk."""
        function = self._function
        if self._is_alone:
            self._slots.append(_Slot(args, calls.call(function, args, self._common)))
            return
        if self._mode == "disabled":
            self._numbers += 1
            found: Outcome | NotNow = NotNow(str(self._numbers))
        else:
            found = self._look_up(args)
        if not isinstance(found, NotNow):
            self._slots.append(_Slot(args, found))
            return
        slot = _Slot(args, None)
        self._slots.append(slot)
        if found.name in self._wanted:
            self._wanted[found.name].append(slot)
            return
        self._wanted[found.name] = [slot]
        self._batch.append((found.name, args))
        if len(self._batch) >= self._size:
            self._hand_out()

    def _take(self, *, ordered: bool) -> Iterator[Outcome]:
        """The outcomes whose turn it is."""
        if not ordered:
            ready = [slot for slot in self._slots if slot.outcome is not None]
            self._slots = deque(slot for slot in self._slots if slot.outcome is None)
            for slot in ready:
                yield slot.outcome  # type: ignore[misc]  # it is there
            return
        while self._slots and (outcome := self._slots[0].outcome) is not None:
            self._slots.popleft()
            yield outcome

    def _hand_out(self) -> None:
        batch, self._batch = self._batch, []
        function = self._function
        try:
            function_id = "" if self._mode == "disabled" else function._calls.version.hex_id
        except Uncached:
            function_id = ""
        chunk = Chunk(function, function_id, batch, self._common, self._mode, self._proof, os.getpid())
        if self._is_alone:
            self._compute(chunk)
            return
        _, error = try_call(self._workers.submit, chunk)
        if error is not None:
            self._refuse(error)
            self._compute(chunk)
            return
        self._began = True
        self._sent[id(chunk)] = time.monotonic()

    def _refuse(self, error: BaseException) -> None:
        """Workers take no more chunks: raise `ConfigError` if they never took any, else go on without them."""
        if not self._began and "shutdown" in str(error):
            raise ConfigError(
                f"executor= takes no calls any more: {error}; results so far are stored",
                setting="executor",
            ) from error
        self._is_alone = True
        self._warn(error)

    def _warn(self, error: BaseException) -> None:
        name = self._function.name
        warn_once(
            (name, "workers", type(error).__name__),
            f"a worker failed at calls of {name} ({described(error)}); they are computed in this process instead",
            StoreWarning,
        )

    def _receive(self) -> None:
        """Wait for a chunk, and note the outcomes of its calls."""
        done = self._workers.next()
        sent = self._sent.pop(id(done.chunk))
        if done.answers is None:
            if done.error is not None and is_interrupt(done.error):
                raise done.error
            self._failed(done)
            return
        if self._chunk is None:
            took = (time.monotonic() - sent) / _PER_WORKER  # it waits in a queue about as long as it takes
            self._size = _next_size(self._size, took)
        for (name, args), answer in zip(done.chunk.calls, done.answers, strict=True):
            self._note(name, args, self._outcome(args, answer))

    def _failed(self, done: Done) -> None:
        self._warn(done.error or RuntimeError("no answer"))
        self._compute(done.chunk)

    def _compute(self, chunk: Chunk) -> None:
        """Make the calls of a chunk here."""
        for name, args in chunk.calls:
            self._note(name, args, calls.call(self._function, args, self._common))

    def _outcome(self, args: tuple[Any, ...], answer: Answer) -> Outcome:
        function, common = self._function, self._common
        if answer.kind == ERROR:
            return Outcome(None, answer.value)
        if answer.kind == STORED:
            try:
                return Outcome(function.get(*args, **common))
            except Miss:
                return calls.call(function, args, common)  # removed meanwhile
        if answer.kind == FOREIGN:
            self._warn(RuntimeError("it runs another version of the function's code"))
            return calls.call(function, args, common)
        if answer.kind == LOOSE and self._mode != "disabled":
            warn_once(
                (function.name, "workers", "elsewhere"),
                f"workers that make calls of {function.name} do not see {function._flow.directory.location} with this"
                " signing key: they send results back, which are stored here",
                StoreWarning,
            )
            calls.store(function, args, common, answer.value, answer.cost_ns)
        return Outcome(answer.value)

    def _note(self, name: str, args: tuple[Any, ...], outcome: Outcome) -> None:
        """Note the outcome of a call for all who wait for it; a result that is wanted twice is read again."""
        first, *others = self._wanted.pop(name)
        first.outcome = outcome
        for slot in others:
            slot.outcome = outcome if outcome.error else calls.call(self._function, args, self._common)


def _next_size(size: int, took: float) -> int:
    """How many calls to put into a chunk after one of `size` calls took so many seconds."""
    if took <= 0:
        return min(2 * size, _LARGEST_CHUNK)
    return max(1, min(int(size * _LONGEST_CHUNK / took), 2 * size, _LARGEST_CHUNK))
