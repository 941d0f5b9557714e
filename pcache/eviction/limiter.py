"""Keep a directory within its limits while results are stored.

Each process adds up what it writes, and adds it to the shared usage file when that reaches a small share of a limit. If
the total exceeds the limit, the process that noticed evicts before it writes its result; the others go on. It lists as
many shards as hold some thousand entries: keys are spread evenly over the shards, so the least valuable entries there
are of little value anywhere, and the time does not depend on the directory's size. Cold entries are compressed before
any are evicted, and while there is room. Correctness depends on nothing here.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

from pcache.config.settings import to_leave_free
from pcache.eviction.policy import Limits
from pcache.eviction.usage import PATIENCE, SHARDS, Amount, Gauge, by_shard, total_of
from pcache.layout import locks_folder, shard_in
from pcache.startup import TYPE_CHECKING, NamedTuple, late
from pcache.storage.store import on_disk, shard_of
from pcache.system.exit import Unfinished
from pcache.system.fork import made_once
from pcache.system.interrupts import raise_if_interrupt
from pcache.system.locks import Unlocked, show, take
from pcache.system.notices import log
from pcache.text.units import format_size
from pcache.versions import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcache.eviction import cold, deletion, victims
    from pcache.storage.directory import Directory
    from pcache.storage.store import StoredFile
    from pcache.system.locks import Lock
else:
    cold = late("pcache.eviction.cold")
    victims = late("pcache.eviction.victims")
    deletion = late("pcache.eviction.deletion")

_SHARES = 2048  # a process updates the usage file after writing a limit divided by this
_LARGEST = 10  # a result may take a limit divided by this
_LOOK_THROUGH = 4096  # entries, about, from which the least valuable are chosen
_LOOK_FOR_COLD = 512  # entries, about, that are looked at while there is room: 2 ms
_PATIENCE = 0.05  # seconds that an eviction may take unless the limit is exceeded by a lot
_A_LOT = 1.04  # times the limit
_LONGEST = 0.5  # seconds that an eviction may take in any case: the next call continues it
_MOST_VICTIMS = 8 * _LOOK_THROUGH  # removed at once: 0.4 s
_IDLE = 2.0  # seconds without activity of the process that evicts, after which another one does
_MOST_NAMES = 500  # names of versions read at once: 25 ms
_MOST_CLAIMS = 1000  # claims opened by one eviction: 0.1 s; the next evictions open the others
_MOST_VERSIONS = 5000  # names in the registry: reading more takes too long for a call, so none counts as superseded
_AT_THE_END = 0.2  # seconds that an exiting process waits for the lock of the usage file


class Scope(NamedTuple):
    """What a limit applies to, a function's name or "" for all entries, with the limit and the usage."""

    function: str
    limits: Limits
    step: Amount  # the amount written after which the usage file is updated
    gauge: Gauge


class Limiter(Unfinished):
    """The limits of one cache directory. Safe for threads and processes, which never wait long for a lock."""

    def __init__(self, directory: Directory) -> None:
        self._store = directory.store
        self._directory = directory
        self._root = directory.location
        self._settings = directory.settings
        self._keys = directory.keys
        self._scopes: dict[str, Scope | None] = {}
        self._known: dict[str, tuple[Scope, ...]] = {}  # those of a function
        self._names: dict[str, str] = {}  # of functions, by the id of a version: these never change
        # Processes begin at different shards. `random` belongs to the program, which may have seeded it.
        self._next_shard = os.urandom(1)[0] % SHARDS
        super().__init__()

    def reset(self) -> None:
        """Forget what was written and is not in the usage file yet."""
        for scope in self._scopes.values():
            if scope is not None:
                scope.gauge.reset()

    def flush(self) -> None:
        """Update the usage file, and evict if a limit is exceeded. Failures are silent."""
        for scope in list(self._scopes.values()):
            if scope is not None and scope.gauge.untold != Amount():
                self._look(scope, wait=_AT_THE_END)

    def let_go(self) -> None:
        """Update the usage file, if its lock is free."""
        for scope in self._scopes.values():
            if scope is not None and scope.gauge.untold != Amount():
                scope.gauge.tell(wait=0)

    def refusal(self, length: int, function: str) -> str:
        """Why a result of so many bytes is not stored; empty if it may be."""
        size = on_disk(length)
        for scope in self._scopes_of(function):
            limit = scope.limits.max_size
            if limit is None:
                continue
            most = limit if scope.function else limit // _LARGEST
            if size > most:
                name = f"max_size of {function}, {format_size(limit)}"
                name = name if scope.function else f"a tenth of max_size, {format_size(limit)}"
                return f"it takes {format_size(size)}, which is more than {name}"
        return ""

    def make(self, name: str, length: int, function: str, cost_ns: int = 0) -> None:
        """Count an entry that is about to be written, and evict if that exceeds a limit."""
        shard, size = int(shard_in(name), 16), on_disk(length)
        self._names[name.partition("-")[0]] = function
        for scope in self._scopes_of(function):
            # An earlier process may have exceeded the limit and ended before it could evict.
            is_late = not scope.gauge.started and scope.limits.excess(total_of(scope.gauge.rows())) > 1
            untold = scope.gauge.add(shard, 1, size)
            if is_late or untold.size >= scope.step.size or untold.entries >= scope.step.entries:
                self._look(scope, (shard, Amount(1, size)), cost_ns=cost_ns)

    def give_back(self, gone: Iterable[StoredFile], function: str) -> None:
        """Count entries of a function that were removed; the next update of the usage file includes them."""
        for scope in self._scopes_of(function):
            for item in gone:
                scope.gauge.add(int(shard_of(item), 16), -1, -item.size)

    def _scopes_of(self, function: str) -> tuple[Scope, ...]:
        known = self._known.get(function)
        if known is None:
            made = (self._scope(name) for name in ("", function))
            known = self._known[function] = tuple(scope for scope in made if scope is not None)
        return known

    def _scope(self, name: str) -> Scope | None:
        if name not in self._scopes:
            settings = self._settings if not name else self._settings.of_function(name)
            most = settings.max_size if name else settings.max_size or None  # 0 stores nothing, and removes nothing
            limits = Limits(most, settings.max_entries)
            there = not name or limits != Limits()
            self._scopes.setdefault(name, self._make_scope(name, limits) if there else None)  # threads may race
        return self._scopes[name]

    def _make_scope(self, function: str, limits: Limits) -> Scope:
        gauge = Gauge(self._root, function, lambda: by_shard(self._entries_of(function)), self._directory.access)
        sizes = [limits.max_size or sys.maxsize]
        if not function and self._settings.min_free and (disk := self._disk()) is not None:
            sizes.append(disk.f_blocks * disk.f_frsize)  # the disk may be smaller than the limit
        return Scope(
            function, limits, Amount((limits.max_entries or sys.maxsize) // _SHARES, min(sizes) // _SHARES), gauge
        )

    def _entries_of(self, function: str, shards: Iterable[str] | None = None) -> Iterator[StoredFile]:
        """The entries that a scope applies to, in some shards or in all."""
        unknown: set[str] = set()
        for item in self._store.scan(shards):
            if not function or self._name_of(item.function_id, unknown) == function:
                yield item

    def _name_of(self, function_id: str, unknown: set[str]) -> str:
        """The name of a function; empty if it is not known, or too many names were already read."""
        name = self._names.get(function_id)
        keyring = self._keys.keyring
        if name is None and function_id not in unknown and len(unknown) < _MOST_NAMES and keyring is not None:
            facts = registry.find(self._directory.functions, function_id, keyring)
            if facts is None:
                unknown.add(function_id)
            else:
                name = self._names[function_id] = facts.name
        return name or ""

    def _look(
        self, scope: Scope, pending: tuple[int, Amount] | None = None, wait: float = PATIENCE, cost_ns: int = 0
    ) -> None:
        """Update the usage file, and compress or evict others. `pending` is about to be written."""
        written = scope.gauge.untold.size
        total = scope.gauge.tell(wait, pending)
        if total is None:
            return
        limits = self._limits_now(scope, total, written)
        try:
            if limits.excess(total) > 1:
                self._evict(scope, total, written, pending, cold.slice_of(cost_ns))
            elif pending is not None and not scope.function:
                self._tidy(scope, total, limits, cold.slice_of(cost_ns))
        except OSError as error:
            raise_if_interrupt(error)  # else a read-only disk or directory: what could be removed is removed

    def _limits_now(self, scope: Scope, total: Amount, written: int) -> Limits:
        """The limits of a scope; on a nearly full disk they are lowered to make up for what was written."""
        disk = None if scope.function else self._disk()
        if disk is None:
            return scope.limits
        at_least = to_leave_free(self._settings.min_free, disk.f_blocks * disk.f_frsize)
        lacking = at_least - disk.f_bavail * disk.f_frsize + written
        if lacking <= 0:
            return scope.limits
        most = max(total.size - min(lacking, written), 0)
        return scope.limits._replace(max_size=min(most, scope.limits.max_size or most))

    @made_once
    def _chooser(self) -> victims.Chooser:
        return victims.Chooser(self._directory, _MOST_VERSIONS)

    @made_once
    def _cold(self) -> cold.ColdPacker:
        return cold.ColdPacker(self._directory)

    def _disk(self) -> os.statvfs_result | None:
        try:
            return os.statvfs(self._root)
        except OSError as error:
            raise_if_interrupt(error)
            return None
        except AttributeError:  # Windows
            return None

    def _tidy(self, scope: Scope, total: Amount, limits: Limits, seconds: float) -> None:
        """While there is room, compress cold entries of some shards, unless another process does."""
        shards = self._next_shards(min(SHARDS, SHARDS * _LOOK_FOR_COLD // max(total.entries, 1) + 1))
        names = set(self._store.shards()).intersection(f"{shard:02x}" for shard in shards)
        scarce = limits.max_size is not None and total.size > cold.SCARCE * limits.max_size
        idle = cold.RESTED if scarce else cold.COLD
        items = self._cold.among(self._entries_of(scope.function, sorted(names)), idle)
        lock = self._lock() if items else None
        if lock is not None:
            with lock:
                self._pack(scope, items, idle, seconds)

    def _pack(self, scope: Scope, items: list[StoredFile], idle: float, seconds: float) -> list[StoredFile]:
        """Compress those of some entries that were not used for a time; return all as they are now."""
        packed = dict(self._cold.pack(items, idle, seconds))
        for item, now in packed.items():
            scope.gauge.add(int(shard_of(item), 16), 0, now.size - item.size)
        return [packed.get(item, item) for item in items]

    def _evict(
        self, scope: Scope, total: Amount, written: int, pending: tuple[int, Amount] | None, seconds: float
    ) -> None:
        """Remove the least valuable entries, some shards at a time, unless another process does.

        Before, entries are compressed for so many seconds. If removing takes long, and the limit is exceeded by little,
        the next call removes the rest.
        """
        lock = self._lock()
        # The lock saves work: two processes choose the same entries. If the limit is exceeded by a lot, both evict.
        if lock is None and self._limits_now(scope, total, written).excess(total) < _A_LOT:
            return
        with lock or Unlocked():
            deadline, left = time.monotonic() + _PATIENCE, SHARDS
            while left > 0:
                shards = self._next_shards(min(left, SHARDS * _LOOK_THROUGH // max(total.entries, 1) + 1))
                left -= len(shards)
                if lock is not None:
                    show(lock)
                items = self._look_through(shards, scope, pending, correct=lock is not None)
                if lock is not None:
                    items, seconds = self._pack(scope, items, cold.RESTED, seconds), 0.0
                # Entries that were invalidated or replaced may not be subtracted yet: first find out the usage.
                told = scope.gauge.tell()
                if told is None or (excess := (limits := self._limits_now(scope, told, written)).excess(told)) <= 1:
                    break
                gone = self._evict_from(items, limits, told)
                for item in gone:
                    scope.gauge.add(int(item.key[:2], 16), -1, -item.size)
                total = scope.gauge.tell() or told
                if gone and lock is not None and (status := lock.use(os.fstat, lock.number)) and not status.st_size:
                    lock.use(os.write, lock.number, b"limits were reached\n")  # first, so that it is logged once
                    self._say_first(scope, limits, told)
                late = time.monotonic() - deadline
                if limits.excess(total) <= 1 or late > _LONGEST or (late > 0 and excess < _A_LOT):
                    break

    def _next_shards(self, count: int) -> list[int]:
        first, self._next_shard = self._next_shard, (self._next_shard + count) % SHARDS
        return [(first + i) % SHARDS for i in range(count)]

    def _lock(self) -> Lock | None:
        """Take the lock for evicting; None while another process holds it, or if it cannot be taken."""
        folder = locks_folder(self._root)
        try:
            opened = self._directory.access.enter_or_make(self._root, folder)
            try:
                return take(opened, "evict", 0.0, idle=_IDLE)
            finally:
                os.closerange(opened.fd, opened.fd + 1)
        except OSError as error:
            raise_if_interrupt(error)
            return None  # something else is in its place, or we may not open it: storing goes on all the same

    def _look_through(
        self, shards: list[int], scope: Scope, pending: tuple[int, Amount] | None, *, correct: bool
    ) -> list[StoredFile]:
        """The entries of a scope in some shards; with `correct` also corrects the recorded usage of these shards."""
        names, gauge = [f"{shard:02x}" for shard in shards], scope.gauge
        if not correct:
            return list(self._entries_of(scope.function, names))
        known = gauge.rows()
        keyring = self._keys.keyring
        self._store.sweep(names, keyring, _MOST_CLAIMS)  # leftovers of killed processes take space as well
        # A result about to be stored is counted, but is no entry yet: the usage of its shard is not corrected.
        claims = Counter(
            shard_in(claimed.name)
            for number, claimed in enumerate(self._store.claims(names))
            if number >= _MOST_CLAIMS or (owner := self._store.owner(claimed, keyring)) is None or not owner.is_dead()
        )
        items = list(self._entries_of(scope.function, names))
        found = by_shard(items)
        if pending is not None:  # our own result
            shard, amount = pending
            found[shard] = found[shard].plus(*amount)
            claims[f"{shard:02x}"] -= 1
        for shard, name in zip(shards, names, strict=True):
            if claims[name] <= 0 and found[shard] != known[shard]:
                gauge.add(shard, found[shard].entries - known[shard].entries, found[shard].size - known[shard].size)
        return items

    def _evict_from(self, items: list[StoredFile], limits: Limits, total: Amount) -> list[StoredFile]:
        """Evict from some entries down to their share of the limits; return those that were removed."""
        # A shard that another user filled may have 100,000 victims: each call removes some of them.
        victims = self._chooser.of_part(items, limits, total)[:_MOST_VICTIMS]
        refusals: list[OSError] = []
        gone = self._store.delete_entries(victims, refusals)
        deletion.record(self._directory, gone, deletion.EVICTED)
        if gone:
            things, size = "entry" if len(gone) == 1 else "entries", format_size(deletion.total_size(gone))
            log("evicted %d %s of %s, %s", len(gone), things, self._root, size, level="info")
        if refusals and not gone:
            raise refusals[0]  # all others would fail as well
        return gone

    def _say_first(self, scope: Scope, limits: Limits, total: Amount) -> None:
        named = []
        if limits.max_entries is not None and total.entries > limits.max_entries:
            named.append(f"max_entries = {limits.max_entries}")
        if limits != scope.limits:
            named.append(f"min_free = {self._settings.min_free:.4g} of the disk")
        elif limits.max_size is not None and total.size > limits.max_size:
            named.append(f"max_size = {format_size(limits.max_size)}")
        log(
            "%s has reached its limit%s, %s: the least valuable entries are evicted from now on. Set limits in"
            " Cache(...), [tool.pcache] or, for the size, PCACHE_MAX_SIZE; `pcache config` shows them.",
            self._root,
            f" for {scope.function}" if scope.function else "",
            " and ".join(named),
        )
