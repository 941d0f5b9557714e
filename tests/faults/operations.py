"""The operations that are done on a cache while its file-system calls fail, and their initial state."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pcache.cli
from pcache import Cache, Miss
from pcache.counters import ledger, pending
from pcache.entry import mtime
from pcache.errors import PcacheError
from pcache.layout import ledger_folder
from pcache.runtime import saving
from pcache.signing.keyring import write_key_file
from pcache.system import exit
from pcache.system.interrupts import try_call
from tests.support.processes import KEY, Block, place_of

LONG_AGO = 2 * 24 * 3600  # seconds; older than anything that may still be in use
_CHANCE = random.Random(1)
VALUES: Mapping[str, Any] = {
    "small": ["small"] * 50,
    "other": {"other": 1},
    "text": [_CHANCE.randbytes(20).hex() for _ in range(5000)],  # compressed, and too large to be read at once
    "array": Block(_CHANCE.randbytes(300_000)),  # mapped
}
COUNTED = {"in the totals": 5, "set aside": 7, "appended": 9}  # hits by function
STORED = ("small", "text", "array")


def answer(name: str) -> Any:
    return VALUES[name]


async def answer_later(name: str) -> Any:
    return VALUES[name]


def answers(names: list[str]) -> list[Any]:
    return [VALUES[name] for name in names]


async def answers_later(names: list[str]) -> list[Any]:
    return answers(names)


def refuse(name: str) -> Any:
    raise LookupError(name)


PARTS = [_CHANCE.randbytes(5000) for _ in range(40)]  # too many to be stored at once


def parts() -> Iterator[bytes]:
    yield from PARTS


def is_right(name: str, value: object) -> bool:
    return bool(value == VALUES[name])


class World:
    """A cache directory and a configuration folder, with a process's cache and functions."""

    cache: Cache

    def __init__(self, base: Path, operation: Operation, number: int = 0) -> None:
        self.number = number  # the errno that calls fail with
        self.base = base
        self.root = base / "cache"
        self.operation = operation
        self.afterwards: list[Callable[[], bool]] = []  # what must hold after the faults
        os.environ["XDG_CONFIG_HOME"] = str(base / "config")

    def open(self, **options: Any) -> None:
        self.cache = Cache(self.root, signing_key=None if self.operation.own_key else KEY, compression=1, **options)
        self.cached = self.cache.cached(answer, code="none", version=self.operation.version)
        self.streamed = self.cache.cached(parts, code="none", version=1)

    def call(self, *names: str) -> None:
        for name in names:
            assert is_right(name, self.cached(name)), f"a wrong value of {name}"


class Operation(NamedTuple):
    """An operation to do while calls fail (`act`), and another to do `before` in the same process without a fault.

    `allowed` are the exceptions that the operation may raise; `template` is its initial state, `watch` the folder whose
    calls count.
    """

    act: Callable[[World], object]
    template: str = "full"
    before: Callable[[World], object] = lambda world: world.open()
    allowed: tuple[type[Exception], ...] = ()
    watch: str = "cache"
    own_key: bool = False
    version: int = 1
    healed: Callable[[World], object] = lambda world: None  # what must hold in the next process; raises where not


def calling(*names: str) -> Callable[[World], object]:
    return lambda world: world.call(*names)


def awaiting(*names: str) -> Callable[[World], object]:
    """Make calls of a coroutine function: the first one reads its code in a thread, and so is a large result stored."""

    def call(world: World) -> None:
        cached: Any = world.cache.cached(answer_later, code="none")
        for name in names:
            assert is_right(name, asyncio.run(cached(name))), f"a wrong value of {name}"

    return call


def batch(world: World, *, awaited: bool = False) -> None:
    """Calls of a batch function, of which the second one finds some items."""
    cached: Any = world.cache.batch(over="names", code="none")(answers_later if awaited else answers)
    for names in (["small", "text"], ["array", "small", "text"]):
        found = asyncio.run(cached(names)) if awaited else cached(names)
        assert all(map(is_right, names, found)), "a wrong value of an item"


def mapped(world: World) -> None:
    names = ["small", "other", "text", "small"]
    assert all(map(is_right, names, world.cached.map(names))), "a wrong value of a map"


def kept_exception(world: World) -> None:
    cached: Any = world.cache.cached(code="none", exceptions=LookupError)(refuse)
    for _ in range(2):
        _, error = try_call(cached, "small")
        assert (type(error), getattr(error, "args", None)) == (LookupError, ("small",)), "a wrong exception"


def renewed(world: World) -> None:
    """A result that is always stale, and the thread that renews it."""
    cached: Any = world.cache.cached(code="none", ttl="1us", stale="1h")(answer)
    for _ in range(2):
        assert is_right("small", cached("small")), "a wrong value while it is renewed"
    for thread in threading.enumerate():
        if thread.name.startswith("renew "):
            thread.join()


def opened_and_called(world: World) -> None:
    world.open()
    world.call("small")


def nothing(_: World) -> None:
    pass


# Operations that need more than a line


def get(world: World) -> None:
    try:
        assert is_right("small", world.cached.get("small"))
    except Miss:
        pass
    world.cached.exists("small")


def durable(world: World) -> None:
    saving.DURABLE = 0
    world.open()


def put(world: World) -> None:
    if world.cached.put(VALUES["other"], "other"):
        world.afterwards.append(lambda: world.cached.exists("other"))


def invalidate(world: World) -> None:
    if world.cached.invalidate("small"):
        world.afterwards.append(lambda: not world.cached.exists("small"))


def clear(world: World, *selection: Any) -> None:
    world.cache.clear(*selection)
    if world.number != errno.ENOENT:  # which says that nothing was there to be removed
        world.afterwards.append(lambda: not any(map(world.cached.exists, STORED)))


def refresh(world: World) -> None:
    assert is_right("small", world.cached.refresh("small"))


def stream(world: World) -> None:
    assert list(world.streamed()) == PARTS, "a wrong value of a stream"


def stopped_stream(world: World) -> None:
    made = world.streamed()
    assert [next(made) for _ in range(35)] == PARTS[:35], "a wrong value of a stream"
    made.close()


def two_consumers(world: World) -> None:
    ahead, behind = world.streamed(), world.streamed()
    first = [next(ahead) for _ in range(30)]
    assert list(behind) == [*first, *ahead] == PARTS, "a wrong value of a stream"


async def parts_later() -> AsyncIterator[bytes]:
    for part in PARTS:
        yield part


async def _parts_awaited(cached: Any, most: int) -> list[bytes]:
    """So many items of a stream, which is closed then."""
    found: list[bytes] = []
    async with contextlib.aclosing(cached()) as items:
        while len(found) < most and (item := await anext(items, b"")):
            found.append(item)
    return found


def awaited_stream(world: World) -> None:
    """A stream that is stopped, computed and found."""
    cached = world.cache.cached(code="none", version=1)(parts_later)
    for most in (35, 99, 99):
        assert asyncio.run(_parts_awaited(cached, most)) == PARTS[:most], "a wrong value of a stream"


def streamed_before(world: World) -> None:
    world.open()
    stream(world)


def merge(world: World) -> None:
    pending.FULL = 0
    world.cache.flow.ledger.count("f", hits=1)
    world.cache.flow.ledger.count("g", hits=1)
    world.cache.flow.ledger.flush()


def merged(world: World) -> None:
    """Check that nothing counted before is lost or counted twice."""
    amounts = ledger.read(str(world.root), world.cache.flow.keys.look()).amounts
    for function, hits in COUNTED.items():
        found = sum(n for (_, name, counter), n in amounts.items() if (name, counter) == (function, "hits"))
        assert found == hits, f"{function} had {hits} hits and has {found}"


def version(world: World, number: int) -> Any:
    return world.cache.cached(answer, code="none", version=number)


def adopted_before(world: World) -> None:
    """A third version that adopted the first, and has results of a second to adopt."""
    world.open()
    version(world, 2)("other")
    version(world, 3).adopt(world.cached.function_id)


def adopt(world: World) -> None:
    """Adopt; what was adopted before must stay so, even if this adoption fails."""
    if world.number != errno.ENOENT:
        world.afterwards.append(lambda: version(world, 3).exists("small"))
    version(world, 3).adopt(version(world, 2).function_id)
    world.afterwards.append(lambda: version(world, 3).exists("other"))


def end(world: World) -> None:
    """Do as at the end of a process: write the counters and update the usage file."""
    world.call("other")
    exit.flush_all()


def command(*words: str) -> Callable[[World], object]:
    """Run a command: it must report an error in a sentence, and never show a traceback."""

    def act(world: World) -> None:
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            code = pcache.cli.main(["-C", str(world.root), *words], standalone_mode=False)
        assert code in (0, 1, 2), code
        assert code == 0 or out.getvalue() or errors.getvalue(), "it said nothing"

    return act


def show(world: World) -> None:
    command("show", world.cached.key("small"))(world)


_UPKEEP = (PcacheError, OSError)

READING: Mapping[str, Operation] = {
    "construct and hit": Operation(opened_and_called, before=nothing),
    "hit": Operation(calling("small")),
    "repeated hit": Operation(calling("small", "small"), before=opened_and_called),
    "hit that notes its use": Operation(calling("small"), "old"),
    "repeated hit that notes its use": Operation(calling("small", "small"), "old"),
    "hit of a large result": Operation(calling("text")),
    "hit of a mapped array": Operation(calling("array")),
    "get, exists": Operation(get),
    "explain": Operation(lambda world: str(world.cached.explain("other")), allowed=_UPKEEP),
}
STORING: Mapping[str, Operation] = {
    "construct and miss": Operation(opened_and_called, "nothing", nothing),
    "miss": Operation(calling("other"), "full"),
    "miss in a shard": Operation(calling("small"), "cleared"),
    "miss of a large result": Operation(calling("text"), "cleared"),
    "miss of an array": Operation(calling("array"), "cleared"),
    "durable miss": Operation(calling("small"), "cleared", durable),
    "awaited miss and hit": Operation(awaiting("small", "small"), "cleared"),
    "awaited miss and hit of a large result": Operation(awaiting("text", "text"), "cleared"),
}
MANY: Mapping[str, Operation] = {
    "batch": Operation(batch, "cleared", healed=batch),
    "awaited batch": Operation(lambda world: batch(world, awaited=True), "cleared", healed=batch),
    "map": Operation(mapped, "cleared", healed=mapped),
    "stored exception": Operation(kept_exception, "cleared", healed=kept_exception),
    "stale result": Operation(renewed, "cleared", healed=renewed),
}
STREAMS: Mapping[str, Operation] = {
    "stream": Operation(stream, "cleared", healed=stream),
    "stream with two consumers": Operation(two_consumers, "cleared", healed=stream),
    "stream that is not taken to its end": Operation(stopped_stream, healed=stream),
    "stream that is found": Operation(stream, before=streamed_before, healed=stream),
    "awaited stream": Operation(awaited_stream, "cleared", healed=awaited_stream),
    "refreshed stream": Operation(lambda world: list(world.streamed.refresh()), healed=stream),
}
REPLACING: Mapping[str, Operation] = {
    "miss over a damaged entry": Operation(calling("small"), "damaged"),
    "evicting miss": Operation(calling("other"), before=lambda world: world.open(max_entries=2)),
    "refresh": Operation(refresh),
    "put": Operation(put),
    "end of a process": Operation(end),
}
REMOVING: Mapping[str, Operation] = {
    "invalidate": Operation(invalidate, allowed=_UPKEEP),
    "clear": Operation(clear, allowed=_UPKEEP),
    "clear of a function": Operation(lambda world: clear(world, world.cached), allowed=_UPKEEP),
    "evict": Operation(lambda world: world.cache.evict(max_entries=1), allowed=_UPKEEP),
    "verify": Operation(lambda world: world.cache.verify(), "damaged", allowed=_UPKEEP),
    "repair": Operation(lambda world: world.cache.verify(repair=True), "damaged", allowed=_UPKEEP),
    "recompress": Operation(lambda world: world.cache.recompress("none"), allowed=_UPKEEP),
}
LOOKING: Mapping[str, Operation] = {
    "stats": Operation(lambda world: world.cache.stats(), allowed=_UPKEEP),
    "entries": Operation(lambda world: list(world.cache.entries()), allowed=_UPKEEP),
    "versions": Operation(lambda world: world.cache.versions(), allowed=_UPKEEP),
    "cache_info": Operation(lambda world: world.cached.cache_info(), allowed=_UPKEEP),
    "ledger merged": Operation(merge, "counted", healed=merged),
    "adopt": Operation(lambda world: world.cached.adopt(), allowed=_UPKEEP, version=2),
    "adopt another version": Operation(adopt, before=adopted_before, allowed=_UPKEEP),
    "pcache stats": Operation(command("stats"), own_key=True),
    "pcache ls": Operation(command("ls", "--sort", "cost"), own_key=True),
    "pcache show": Operation(show, own_key=True),
}
KEYS: Mapping[str, Operation] = {
    "key made": Operation(calling("small"), "nothing", own_key=True, watch="config"),
    "key and directory made": Operation(opened_and_called, "nothing", nothing, own_key=True, watch=""),
    "key read": Operation(opened_and_called, "full", nothing, own_key=True, watch="config"),
    "pcache key": Operation(command("key", "show-id"), "full", own_key=True, watch="config"),
}
GROUPS = {
    "reading": READING,
    "storing": STORING,
    "many": MANY,
    "streams": STREAMS,
    "replacing": REPLACING,
    "removing": REMOVING,
    "looking": LOOKING,
    "keys": KEYS,
}


# Initial states of operations


def make_template(base: Path, name: str) -> None:
    """Make `cache` and `config` below a folder."""
    (base / "config").mkdir(0o700, parents=True)
    world = World(base, Operation(nothing))
    if name == "nothing":
        return
    write_key_file(str(base / "config" / "pcache" / "key"), [KEY])
    world.open()
    world.call(*STORED)
    exit.flush_all()
    if name == "cleared":
        world.cache.clear()
    for item in world.cache.flow.store.scan():
        _age(item.path, 3600 if name == "old" else 30)
    if name == "damaged":
        path = Path(place_of(world.cached, "small"))
        path.write_bytes(path.read_bytes()[:-1])
        path.with_name(path.name + ".claim").write_bytes(b"{}")
        path.with_name(path.name + ".claim-0123abcd").touch()
        os.utime(path.with_name(path.name + ".claim-0123abcd"), (time.time() - LONG_AGO,) * 2)
    if name == "counted":
        _count(world)


def _count(world: World) -> None:
    """Make counters in the totals, in a file that is set aside, and in one that is appended to."""
    folder = Path(ledger_folder(str(world.root)))
    (folder / "counters").unlink()
    for function, hits in COUNTED.items():
        world.cache.flow.ledger.count(function, hits=hits)
        assert world.cache.flow.ledger.flush(merging=False)
        if function == "appended":
            return
        ledger.merge(str(folder), world.cache.flow.keys.ensure())
        (aside,) = folder.glob("counters.*")
        os.utime(aside, (time.time() - LONG_AGO,) * 2)


def _age(path: str, seconds: int) -> None:
    """Set an entry's last use so long ago: those younger than two seconds are not remembered, old ones are touched."""
    stamped = mtime.unpack(os.stat(path).st_mtime_ns)
    mtime_ns = mtime.pack(stamped._replace(used_ns=stamped.used_ns - seconds * 10**9))
    os.utime(path, ns=(mtime_ns, mtime_ns))
