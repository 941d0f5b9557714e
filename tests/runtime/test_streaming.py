"""Cached generator functions: what callers get, what is stored, and who runs the generator."""

from __future__ import annotations

import contextvars
import gc
import inspect
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pcache
from pcache import Cache, CachedFunction, Miss, PcacheWarning, StoreWarning, UnhashableArgument, disabled, refreshing
from pcache.errors import UnpicklableResult, UnpicklableResultWarning
from pcache.insight import listing
from pcache.insight.doctor import diagnose
from pcache.runtime.singleflight import computing, flights
from tests.support.processes import KEY, Talker, claims_below, place_of, run
from tests.support.running import count_descriptors


class Runs:
    """A generator function that notes each run, and each item that it makes."""

    def __init__(self, cache: Cache, item: Callable[[int], Any] = int, **options: Any) -> None:
        self.begun: list[int] = []
        self.made: list[int] = []
        self.closed = 0

        def count(n: int) -> Iterator[Any]:
            self.begun.append(n)
            try:
                for i in range(n):
                    self.made.append(i)
                    yield item(i)
            except GeneratorExit:
                self.closed += 1
                raise
            return f"{n} in all"

        self.cached: CachedFunction[[int], Any] = cache.cached(code="none", version=1, **options)(count)


def drained(iterator: Any) -> tuple[list[Any], Any]:
    """All items of a generator, and what it returns."""
    found = []
    while True:
        try:
            found.append(next(iterator))
        except StopIteration as stop:
            return found, stop.value


def blob(i: int) -> bytes:
    return i.to_bytes(4, "little") * 5000


SIZES = {"nothing": (0, int), "one": (1, int), "small": (50, int), "many": (30_000, int), "large": (60, blob)}


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_is_stored_and_found(tmp_path: Path, size: str) -> None:
    """Items and return value are those of the function; another cache of the directory finds them."""
    n, item = SIZES[size]
    wanted = [item(i) for i in range(n)], f"{n} in all"
    runs = Runs(Cache(tmp_path / "cache"), item)
    assert drained(runs.cached(n)) == wanted
    other = Runs(Cache(tmp_path / "cache"), item)
    assert drained(other.cached(n)) == drained(other.cached.get(n)) == wanted
    assert (runs.begun, other.begun) == ([n], [])
    assert Cache(tmp_path / "cache").verify().problems == ()
    assert claims_below(tmp_path) == []


def test_a_call_returns_a_generator(cache: Cache) -> None:
    """It is one for `inspect`, has the function's name, runs nothing before its first item, and is used up once."""
    runs = Runs(cache)
    for _ in range(2):
        made = runs.cached(3)
        assert inspect.isgenerator(made)
        assert (made.__name__, inspect.getgeneratorstate(made)) == ("count", "GEN_CREATED")
        assert (list(made), list(made)) == ([0, 1, 2], [])
    assert runs.begun == [3]
    assert inspect.isgeneratorfunction(runs.cached)
    assert list(inspect.signature(runs.cached).parameters) == ["n"]
    with pytest.raises(TypeError, match="missing 1 required"):
        runs.cached()  # type: ignore[call-arg]


def test_the_key_is_that_of_the_arguments_when_it_begins(cache: Cache) -> None:
    """A list that is changed between the call and the first item counts as what the function's code sees."""

    @cache.cached
    def each(values: list[int]) -> Iterator[int]:
        yield from values

    values = [1]
    made = each(values)
    values.append(2)
    assert list(made) == [1, 2]
    assert (each.exists([1]), each.exists([1, 2])) == (False, True)


@pytest.mark.parametrize("end", ["close", "del", "throw"])
def test_what_is_not_taken_to_its_end_is_not_stored(cache: Cache, end: str) -> None:
    """Closing, collecting or an error leaves nothing behind, and the function's own generator is closed at once."""
    runs = Runs(cache, blob)
    made = runs.cached(60)
    assert [next(made), next(made), *(next(made) for _ in range(38))] == [blob(i) for i in range(40)]
    assert claims_below(cache.location) != []
    if end == "close":
        made.close()
    elif end == "throw":
        with pytest.raises(KeyError):
            made.throw(KeyError())
    del made
    gc.collect()
    assert claims_below(cache.location) == []
    assert flights.all() == []
    assert runs.closed == (end != "throw")
    assert not runs.cached.exists(60)
    assert len(list(runs.cached(60))) == len(list(runs.cached(60))) == 60
    assert runs.begun == [60, 60]


def test_an_error_of_the_function_is_not_stored(cache: Cache) -> None:
    """The caller gets the items before it, and the exception itself; the next call runs again."""
    left = [ValueError("first"), None]

    @cache.cached(code="none", version=1)
    def fails() -> Iterator[int]:
        yield 1
        if error := left.pop(0):
            raise error
        yield 2

    made, error = fails(), left[0]
    assert next(made) == 1
    with pytest.raises(ValueError, match="first") as caught:
        next(made)
    assert caught.value is error
    assert error.__context__ is None
    assert next(made, None) is None
    assert (list(fails()), list(fails())) == ([1, 2], [1, 2])
    assert cache.stats().errors_by_kind == {"raised": 1}


def test_items_are_stored_as_they_were_yielded(cache: Cache) -> None:
    """What the consumer does to an item, or the function to one that it yields again, is not in the stored ones."""

    @cache.cached(code="none", version=1)
    def growing() -> Iterator[list[int]]:
        found: list[int] = []
        for i in range(3):
            found.append(i)
            yield found

    for item in growing():
        item.append(99)
    assert list(growing()) == [[0], [0, 99, 1], [0, 99, 1, 99, 2]]
    hit = list(growing())
    hit[0].append(1)
    assert list(growing()) == [[0], [0, 99, 1], [0, 99, 1, 99, 2]]


def test_an_argument_that_is_changed_meanwhile(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """A stream whose argument its consumer changes is that of no call: it is not stored, and the log says so."""

    @cache.cached
    def each(values: list[int]) -> Iterator[int]:
        yield from values

    values = [1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pcache.ChangedArgumentWarning)
        for _ in each(values):
            values[1:] = [3]
    assert not each.exists([1, 2])
    assert not each.exists(values)
    assert "was changed while it was produced" in caplog.text


def test_arguments_without_a_key(cache: Cache) -> None:
    """They are named when the first item is asked for; with `unhashable="compute"` the items come, uncached."""

    def each(lock: Any) -> Iterator[int]:
        yield 1

    with pytest.raises(UnhashableArgument, match="lock"):
        next(cache.cached(each)(threading.Lock()))
    with pytest.warns(PcacheWarning, match="without the cache"):
        assert list(cache.cached(unhashable="compute")(each)(threading.Lock())) == [1]
    assert list(cache.entries()) == []


def test_calls_around_the_cache(cache: Cache) -> None:
    """Inside `disabled()` a call is the function's own; inside `refreshing()` what is stored is replaced."""
    runs = Runs(cache)
    with disabled():
        assert list(runs.cached(3)) == [0, 1, 2]
    assert not runs.cached.exists(3)
    list(runs.cached(3))
    with refreshing():
        made = runs.cached(3)
    assert list(made) == list(runs.cached.refresh(3)) == list(runs.cached(3)) == [0, 1, 2]
    assert len(runs.begun) == 4
    assert list(Runs(Cache(cache.location, read_only=True)).cached(4)) == [0, 1, 2, 3]


def test_one_call_at_a_time(cache: Cache) -> None:
    """`key`, `exists`, `get`, `put`, `refresh`, `invalidate` and `explain` are as for other functions."""
    runs = Runs(cache)
    with pytest.raises(Miss) as caught:
        runs.cached.get(3)
    assert (caught.value.reason, len(runs.cached.key(3))) == ("absent", 40)
    assert "count(n=3)" in str(caught.value)
    assert runs.cached.put(iter([7, 8]), 3)
    assert drained(runs.cached(3)) == ([7, 8], None)
    assert runs.cached.explain(3).hit
    assert runs.cached.explain(4).reason == "absent"
    refreshed = runs.cached.refresh(3)
    assert list(runs.cached(3)) == [7, 8]  # until it was taken to its end
    assert list(refreshed) == list(runs.cached(3)) == [0, 1, 2]
    assert runs.cached.invalidate(3)
    assert not runs.cached.exists(3)
    with pytest.raises(ZeroDivisionError):
        runs.cached.put((1 // n for n in (1, 0)), 5)
    assert not runs.cached.exists(5)
    assert runs.cached.cache_info()[:2] == (3, 1)


def test_invalidated_while_it_is_produced(cache: Cache) -> None:
    """What was begun before is delivered and not stored, and a call made since then does not join it."""
    runs = Runs(cache, blob)
    early = runs.cached(40)
    head = [next(early) for _ in range(20)]
    runs.cached.invalidate(40)
    late = list(runs.cached(40))
    assert [*head, *early] == late
    assert runs.begun == [40, 40]
    assert len(list(runs.cached(40))) == 40
    assert runs.begun == [40, 40]


def test_time_to_live(cache: Cache) -> None:
    """A stream expires as other results do."""
    runs = Runs(cache, ttl="1000h")
    list(runs.cached(3))
    assert list(Runs(cache, ttl="1h").cached(3)) == [0, 1, 2]
    assert cache.verify().problems == ()
    with pytest.raises(Miss) as caught:
        Runs(cache, ttl=1e-9).cached.get(3)
    assert caught.value.reason == "expired"


# Who runs the generator


@pytest.mark.parametrize("item", [int, blob])
def test_consumers_share_a_generator(cache: Cache, item: Callable[[int], Any]) -> None:
    """Two consumers in turn, a third one that comes late and one that leaves: each item is made once."""
    runs = Runs(cache, item)
    wanted = [item(i) for i in range(100)]
    first, second, leaving = runs.cached(100), runs.cached(100), runs.cached(100)
    found: list[list[Any]] = [[], []]
    for i in range(80):
        found[0].append(next(first))
        found[1] += [next(second) for _ in range(i % 3)]
        if i == 50:
            next(leaving)
            leaving.close()
    assert found[1] == wanted[: len(found[1])]
    found[0] += first
    found[1] += second
    assert found == [wanted, wanted]
    assert list(runs.cached(100)) == wanted
    assert (runs.begun, runs.made) == ([100], [*range(100)])


def test_the_first_consumer_leaves(cache: Cache) -> None:
    """The generator belongs to all: it goes on for the second one, and is closed when that leaves."""
    runs = Runs(cache)
    first, second, third = (runs.cached(9) for _ in range(3))
    assert [next(first), next(first), next(second), next(third)] == [0, 1, 0, 0]
    first.close()
    assert drained(second) == ([*range(1, 9)], "9 in all")
    assert drained(third) == ([*range(1, 9)], "9 in all")
    assert (runs.begun, runs.closed) == ([9], 0)
    fourth = runs.cached(5)
    next(fourth), fourth.close()
    assert runs.closed == 1


def test_threads_consume_one_generator(cache: Cache) -> None:
    """Many threads at once: each gets all items in order, and each item was made once."""
    runs = Runs(cache, blob)
    start, found = threading.Barrier(6), []

    def consume() -> None:
        start.wait()
        found.append(list(runs.cached(60)))

    threads = [threading.Thread(target=consume) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[blob(i) for i in range(60)]] * 6
    assert (runs.begun, runs.made) == ([60], [*range(60)])
    assert claims_below(cache.location) == []


CONSUMER = """
@cache.cached(code="none", version=1)
def count(n):
    say("ran")
    for i in range(n):
        yield bytes([i]) * 9000
made = count(30)
say(len([next(made) for _ in range(15)]))
hear()
say(len(list(made)), count.exists(30))
"""


def test_other_processes_do_not_wait(tmp_path: Path) -> None:
    """While one process consumes, another one gets all items and stores nothing; the first one's are stored."""
    one = Talker(CONSUMER, tmp_path / "cache")
    assert [one.hear(), one.hear()] == ["ran", "15"]
    other = Talker(CONSUMER, tmp_path / "cache")
    assert [other.hear(), other.hear()] == ["ran", "15"]
    other.say()
    assert other.finish() == ["15 False"]
    one.say()
    assert one.finish() == ["15 True"]
    assert run(CONSUMER.replace("hear()", ""), tmp_path / "cache") == ["15", "15 True"]


def test_a_generator_that_calls_itself(cache: Cache) -> None:
    """Recursion, also deeper than is cached, and with the same arguments where the function ends that itself."""
    depth = []

    @cache.cached(code="none", version=1)
    def down(n: int) -> Iterator[int]:
        depth.append(n)
        yield n
        if n:
            yield from down(n - 1)

    for n in (5, 5, 200):
        assert list(down(n)) == [*range(n, -1, -1)]
    assert len(depth) == 6 + 201  # the last ones were computed deeper than that

    @cache.cached(code="none", version=1)
    def again(n: int) -> Iterator[int]:
        depth.append(n)
        yield n
        if len(depth) < 2:
            yield from again(n)

    depth.clear()
    assert list(again(1)) == [1, 1]


def test_the_context_is_the_consumers(cache: Cache) -> None:
    """Between two items nothing counts as being computed; what the function sets in its context, its consumer sees."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    inside = []

    @cache.cached(code="none", version=1)
    def setting() -> Iterator[int]:
        for i in range(1, 4):
            inside.append(len(computing.get()))
            variable.set(i)
            yield i

    for item in setting():
        assert (variable.get(), len(computing.get())) == (item, 0)
    assert inside == [1, 1, 1]


def test_a_cached_function_inside_and_around(cache: Cache) -> None:
    """A stream inside of a cached call, and a cached call inside of a stream, are stored for themselves."""

    @cache.cached(code="none", version=1)
    def square(n: int) -> int:
        return n * n

    @cache.cached(code="none", version=1)
    def squares(n: int) -> Iterator[int]:
        yield from map(square, range(n))

    @cache.cached(code="none", version=1)
    def total(n: int) -> int:
        return sum(squares(n))

    assert (total(4), total(4)) == (14, 14)
    assert list(squares.get(4)) == [square.get(n) for n in range(4)] == [0, 1, 4, 9]
    stats = {found.name.rpartition(":")[2].rpartition(".")[2]: found for found in cache.stats().functions}
    assert all(found.computed_seconds < 60 for found in stats.values())


def test_what_is_sent(cache: Cache) -> None:
    """A function that uses the value of a `yield` is not cached, which is said where it is decorated."""
    with pytest.warns(PcacheWarning, match="computed without the cache: it uses the value of a yield"):

        @cache.cached
        def echo() -> Any:
            got = "begin"
            while True:
                got = yield got

    made = echo()
    assert [next(made), made.send(1), made.send(2)] == ["begin", 1, 2]
    assert (echo.explain().reason, echo.exists(), echo.put([1])) == ("uncached", False, False)
    assert next(echo.refresh()) == "begin"


def inner() -> Any:
    got = yield "begin"
    while got != "end":
        got = yield got
    return "returned"


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_sent_to_an_inner_generator(cache: Cache, stored: bool) -> None:
    """Of a call whose consumer sends something to it, each answer is the function's own, also after a hit."""

    @cache.cached(code="none", version=1)
    def outer() -> Any:
        yield 0
        return (yield from inner())

    if stored:
        outer.put([0, "begin", None])
    made = outer()
    assert [next(made), next(made), made.send(5), made.send(6)] == [0, "begin", 5, 6]
    with pytest.raises(StopIteration, match="returned"):
        made.send("end")
    assert outer.exists() == stored


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_thrown(cache: Cache, stored: bool) -> None:
    """An exception that is thrown into a call arrives in the function, which may go on."""

    @cache.cached(code="none", version=1)
    def stubborn() -> Iterator[Any]:
        for i in range(3):
            try:
                yield i
            except KeyError as error:
                yield error.args

    if stored:
        list(stubborn())
    made = stubborn()
    assert [next(made), next(made), made.throw(KeyError("x")), *made] == [0, 1, ("x",), 2]
    assert stubborn.exists() == stored


# What cannot be stored


def test_items_that_cannot_be_pickled(cache: Cache) -> None:
    """The caller gets them all, with one warning; nothing is stored, and a consumer behind computes for itself."""
    runs = Runs(cache, lambda i: threading.Lock() if i == 3 else i)
    first, second = runs.cached(5), runs.cached(5)
    assert [next(second), next(first)] == [0, 0]
    with pytest.warns(UnpicklableResultWarning, match="is a lock"):
        assert len(list(first)) == 4
    assert [len(list(second)), len(list(runs.cached(5)))] == [4, 5]
    assert runs.begun == [5, 5, 5]
    assert list(cache.entries()) == claims_below(cache.location) == []


class Interrupting:
    """A value whose pickling is interrupted, once."""

    left = 1

    def __reduce__(self) -> Any:
        Interrupting.left, left = 0, Interrupting.left
        if left:
            raise KeyboardInterrupt
        return int, (3,)


def test_an_interrupt_between_two_items(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that was made and neither stored nor delivered is missing for nobody else."""
    monkeypatch.setattr(Interrupting, "left", 1)
    runs = Runs(cache, lambda i: Interrupting() if i == 3 else i)
    first, second = runs.cached(5), runs.cached(5)
    assert [next(first), next(second), next(first), next(first)] == [0, 0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(first)
    assert len([0, *second]) == 5
    assert not runs.cached.exists(5)
    assert len(list(runs.cached(5))) == 5
    assert list(runs.cached(5)) == [0, 1, 2, 3, 4]
    assert claims_below(cache.location) == []


def test_strict(cache: Cache) -> None:
    """With `strict=True` such an item is an exception that names it."""
    with pytest.raises(UnpicklableResult, match="is a lock"):
        list(Runs(cache, lambda _: threading.Lock(), strict=True).cached(1))


def test_a_stream_that_is_too_large(tmp_path: Path) -> None:
    """A stream larger than a tenth of `max_size` is delivered, with one warning; its room is given back meanwhile."""
    cache = Cache(tmp_path / "cache", max_size="3 MB")
    runs = Runs(cache, lambda i: os.urandom(20_000))
    made = runs.cached(200)
    with pytest.warns(StoreWarning, match="more than a tenth of max_size"):
        assert len([next(made) for _ in range(100)]) == 100
    assert claims_below(tmp_path) == []
    assert len(list(made)) == 100
    assert (runs.begun, list(cache.entries())) == ([200], [])


def test_a_disk_with_little_left(small_disk: Path) -> None:
    """A disk that fills up ends the spooling, not the stream; what was written is removed."""
    cache = Cache(small_disk / "cache", min_free=0, signing_key=KEY)
    runs = Runs(cache, lambda i: os.urandom(20_000))
    with pytest.warns(StoreWarning, match="No space left"):
        assert len(list(runs.cached(100))) == 100
    assert claims_below(small_disk) == []


def test_min_free(small_disk: Path) -> None:
    """A stream is spooled only as long as the disk has as much room as `min_free` wants."""
    cache = Cache(small_disk / "cache", min_free="99%", signing_key=KEY)
    runs = Runs(cache, blob)
    with pytest.warns(StoreWarning, match="and min_free is"):
        assert len(list(runs.cached(60))) == 60
    assert claims_below(small_disk) == []


# Damage that is found late, and what reading takes


def damage(place: str, at: int) -> None:
    with open(place, "r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 4]), at)


def test_damage_that_is_found_late(cache: Cache) -> None:
    """What was delivered is not repeated, the rest is computed, and the entry is replaced; `get` raises the miss."""
    runs = Runs(cache, os.urandom)
    list(runs.cached(700))
    place = place_of(runs.cached, 700)
    size = os.path.getsize(place)
    assert size > 200_000

    made, asked = runs.cached(700), runs.cached.get(700)
    assert [next(made), next(asked)] == [b"", b""]
    damage(place, size // 2)
    found = [b"", *made]
    assert [len(item) for item in found] == [*range(700)]
    with pytest.raises(pcache.DamagedEntry, match="digest"):
        list(asked)
    assert runs.begun == [700, 700]
    assert len(list(runs.cached(700))) == 700
    assert runs.begun == [700, 700]


class Picky:
    """A value that cannot be loaded when the time has come."""

    broken = False

    def __init__(self, n: int) -> None:
        self.n = n

    def __reduce__(self) -> Any:
        return remade, (self.n,)


def remade(n: int) -> Picky:
    if Picky.broken and n == 2:
        raise StopIteration
    return Picky(n)


def test_items_that_cannot_be_loaded(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item whose loading raises, even `StopIteration`, is computed again, and the stream has all its items."""
    runs = Runs(cache)
    assert runs.cached.put(map(Picky, range(5)), 5)
    assert [item.n for item in runs.cached(5)] == [0, 1, 2, 3, 4]
    monkeypatch.setattr(Picky, "broken", True)
    assert [getattr(item, "n", item) for item in runs.cached(5)] == [0, 1, 2, 3, 4]
    assert runs.begun == [5]


class Asking:
    """A value whose loading asks for the stream that it is in."""

    ask: Callable[[], Any] | None = None

    def __setstate__(self, state: Any) -> None:
        self.seen = Asking.ask and len(list(Asking.ask()))

    def __getstate__(self) -> Any:
        return 1


def test_items_that_ask_for_their_own_stream(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a call is computed, and not loaded again and again."""
    runs = Runs(cache)
    assert runs.cached.put([Asking(), Asking()], 2)
    monkeypatch.setattr(Asking, "ask", lambda: runs.cached(2))
    assert [item.seen for item in runs.cached(2)] == [2, 2]
    assert runs.begun == [2, 2]


READING = """
import os
@cache.cached(code="none", version=1)
def blocks(n):
    for i in range(n):
        yield bytes([i % 256]) * 100_000
for _ in range(2):
    os.stat("/begin"), next(blocks(300)), os.stat("/begin")
"""


def test_the_first_item_reads_one_chunk(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 MB a hit reads what it needs for the first item: the head, and the first chunk."""
    runs = Runs(cache, lambda i: os.urandom(50_000))
    list(runs.cached(200))
    read, lengths = os.preadv, []
    monkeypatch.setattr(os, "preadv", lambda *args: lengths.append(read(*args)) or lengths[-1])
    made = runs.cached(200)
    next(made)
    assert len(lengths) == 3
    assert sum(lengths) < 200_000
    made.close()


def test_no_descriptors_are_left(cache: Cache) -> None:
    """Consumers that end, stop, or are dropped give back their files."""
    runs = Runs(cache, blob)
    list(runs.cached(60)), list(runs.cached(60))
    before = count_descriptors()
    for _ in range(3):
        made, other, fresh = runs.cached(60), runs.cached.get(60), runs.cached(61)
        for one in (made, other, fresh):
            [next(one) for _ in range(50)]
        del made, other, fresh, one
        assert runs.cached.exists(60)
    assert count_descriptors() == before


FORKING = """
import os
@cache.cached(code="none", version=1)
def count(n):
    for i in range(n):
        yield bytes([i]) * 9000
made, behind = count(30), count(30)
head, few = [next(made) for _ in range(20)], [next(behind) for _ in range(2)]
child = os.fork()
found = [item[0] for item in (*head, *made)], [item[0] for item in (*few, *behind)]
assert found == ([*range(30)],) * 2, found
if child == 0:
    assert not count.exists(30) or len(list(count(30))) == 30
    os._exit(0)
say(os.waitpid(child, 0)[1], count.exists(30), len(list(count.get(30))))
"""


def test_forks(tmp_path: Path) -> None:
    """A child goes on with its copy of the generator and stores nothing; the parent stores what it took to its end."""
    assert run(FORKING, tmp_path / "cache") == ["0 True 30"]


UNFINISHED = """
@cache.cached(code="none", version=1)
def count(n):
    for i in range(n):
        yield bytes([i]) * 9000
made = count(30)
[next(made) for _ in range(20)]
say(len(os.listdir(os.path.dirname(count._flow.store.place(count._calls.of((30,), {}).address.name)))))
"""


def test_a_process_that_ends_leaves_nothing(tmp_path: Path) -> None:
    """What is not finished when the process ends is removed, and nothing is printed."""
    one = Talker(UNFINISHED, tmp_path / "cache")
    assert one.hear() == "2"
    assert one.process.communicate()[1] == ""
    assert claims_below(tmp_path) == []


def test_statistics(cache: Cache) -> None:
    """Hits, misses and time are counted; a hit of which little was taken saves little."""
    runs = Runs(cache)
    list(runs.cached(10)), list(runs.cached(10))
    made = runs.cached(10)
    next(made), made.close()
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.stored, stats.entries) == (2, 1, 1, 1)
    cost = next(cache.entries()).cost
    assert stats.saved_seconds + stats.hit_seconds == pytest.approx(1.1 * cost, rel=0.01)
    assert stats.computed_seconds == pytest.approx(cost, rel=0.01)


def test_upkeep(cache: Cache) -> None:
    """Listing, checking, repairing, evicting and clearing know streams; recompression leaves them as they are."""
    runs = Runs(cache, blob)
    list(runs.cached(60)), list(runs.cached(3))
    assert sorted(entry.result for entry in cache.entries()) == ["3 items", "60 items"]
    details = listing.details(cache.directory, runs.cached.key(60))
    assert (details.info.result_type, details.imports, details.buffers) == ("generator", (), ())
    assert cache.recompress(19).skipped == 2
    assert all(finding.state == "ok" for finding in diagnose(cache.location) if finding.check == "entries")
    damage(place_of(runs.cached, 60), 1000)
    assert [problem.detail for problem in cache.verify(repair=True).problems] == ["a chunk does not match its digest"]
    assert not runs.cached.exists(60)
    assert cache.evict(max_entries=0).entries == 1


PLAIN = """
@cache.cached
def f(n):
    return n
f(1), f(1), f.refresh(1)
say(*sorted(name for name in sys.modules if "stream" in name or "produc" in name or "consum" in name))
"""


def test_other_functions_load_nothing_of_this(tmp_path: Path) -> None:
    """A process without cached generator functions loads no module for them."""
    assert run(PLAIN, tmp_path / "cache") == [""]


def test_adopted_streams(cache: Cache) -> None:
    """The stream of an earlier version, which was adopted, is found."""
    first, second = (cache.cached(version=number)(counted.__wrapped__) for number in (1, 2))
    list(first(3))
    second.adopt(first.function_id)
    assert (list(second(3)), list(second.get(3)), second.cache_info()[:2]) == ([0, 1, 2], [0, 1, 2], (1, 0))


def test_methods_and_pickles(cache: Cache) -> None:
    """Methods can be cached, and a cached generator function pickled by value is one again."""

    class Box:
        def __init__(self, n: int) -> None:
            self.n = n

        @cache.cached(code="none", version=1)
        def each(self) -> Iterator[int]:
            yield from range(self.n)

    box = Box(3)
    assert (list(box.each()), list(box.each.get()), Box(3).each.exists()) == ([0, 1, 2], [0, 1, 2], True)
    copied = pickle.loads(pickle.dumps(counted))
    assert copied is counted
    rebuild, arguments = CachedFunction, (counted.__wrapped__, counted._flow, counted._options)
    assert inspect.isgeneratorfunction(rebuild(*arguments))


@pcache.cached
def counted(n: int) -> Iterator[int]:
    yield from range(n)
