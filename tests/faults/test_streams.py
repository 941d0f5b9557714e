"""Streams of generators under damage, with many consumers, and larger than memory."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pcache import Cache
from pcache.entry.format import META_AT
from tests.faults.hunting import rounds
from tests.support.processes import KEY, claims_below, place_of, run


def items_of(n: int) -> list[bytes]:
    """Items of many sizes, which depend on the call."""
    chance = random.Random(n)
    return [chance.randbytes(chance.choice((0, 3, 900, 9000))) for _ in range(n)]


def streamed(n: int) -> Iterator[bytes]:
    yield from items_of(n)


def cached_in(folder: Path, **options: Any) -> Any:
    cache = Cache(folder / "cache", signing_key=KEY, **options)
    return cache.cached(code="none", version=1)(streamed)


def test_flipped_bits(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """Whichever bit of a stored stream is flipped, a call gives the whole sequence, each item once."""
    cached, wrong, n = cached_in(tmp_path), 0, 90
    wanted = items_of(n)
    count = rounds(60, 20_000)
    for number in range(count):
        assert list(cached(n)) == wanted
        place = Path(place_of(cached, n))
        size = place.stat().st_size
        assert size > 100_000
        at = random.choice([random.randrange(META_AT), random.randrange(size), size - 1 - random.randrange(500)])
        with open(place, "r+b", buffering=0) as file:
            byte = os.pread(file.fileno(), 1, at)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 1 << number % 8]), at)
        made = cached(n)
        head = [next(made) for _ in range(number % 3 * 30)]
        wrong += [*head, *made] != wanted
    evidence("never wrong", "a flipped bit in a stored stream", count, wrong)
    assert wrong == 0
    assert cached._misses == count + 1


def test_consumers_that_come_and_go(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """Threads begin, stop, drop and invalidate the same streams: each is given the beginning of the right one."""
    cached, wrong = cached_in(tmp_path), []
    count = rounds(60, 10_000)
    start = threading.Barrier(4)

    def consume(seed: int) -> None:
        chance = random.Random(seed)
        start.wait()
        for _ in range(count):
            n = chance.choice((20, 50))
            made, wanted = cached(n), items_of(n)
            few = chance.choice((0, 1, 10, n, n))
            found = [item for item, _ in zip(made, range(few), strict=False)] if few < n else list(made)
            wrong.extend([n] if found != wanted[:few] else [])
            if not chance.randrange(4):
                cached.invalidate(n)

    threads = [threading.Thread(target=consume, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    evidence("never wrong", "threads that share, leave and invalidate streams", 4 * count, len(wrong))
    assert wrong == []
    assert claims_below(tmp_path) == []
    assert [list(cached(n)) for n in (20, 50)] == [items_of(20), items_of(50)]


MEMORY = """
import resource
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_size="10000 GiB", min_free=0)
@cache.cached(code="none", version=1)
def blocks(n):
    for i in range(n):
        yield i.to_bytes(4, "little") * 25_000
def taken(n):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(map(len, blocks(n))) == n * 100_000
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
list(blocks(30)), list(blocks(30))
megabytes = int(sys.argv[2])
say(taken(megabytes * 10), taken(megabytes * 10), blocks.exists(megabytes * 10))
"""


def test_memory_is_flat(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """Producing and replaying 50 MB, or 10 GB, takes less than 20 MB of memory."""
    megabytes = rounds(50, 10_000)
    producing, replaying, is_stored = run(MEMORY, tmp_path / "cache", megabytes)[0].split()
    failures = (int(producing) >= 20) + (int(replaying) >= 20) + (is_stored != "True")
    evidence("bounded", f"a stream of {megabytes} MB, in 20 MB of memory", 2, failures)
    assert failures == 0, (producing, replaying, is_stored)
