"""The resources of a process that runs for long do not grow: memory, descriptors, threads, maps, files.

The first half of its run is compared with the second half, after a warm-up in which modules are loaded and tables fill.
Tolerances: none for descriptors, threads, maps and claims; one block of Python's memory for each forty operations, as
tables of the interpreter change a little; the resident memory that the allocator may keep in fragments; the files that
the ledger sets aside, and the headroom that eviction leaves.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pcache import Cache
from tests.faults.hunting import rounds
from tests.support.processes import KEY, claims_below, run

# Arguments: operations, seed. Prints the resources in use, at ten points of the run.
LONG_RUN = """
import collections, gc, random, threading, warnings
import numpy
from pcache.fingerprint import fingerprint
from pcache.entry import reader
from pcache.storage.recent import Recent
warnings.simplefilter("ignore")
operations, chance = int(sys.argv[2]), random.Random(int(sys.argv[3]))
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=1200, max_size="200 MiB", min_free=0)
cache.flow.ledger._pause = 0.01

@cache.cached
def f(n):
    return [n] * (n % 50)
noise = numpy.frombuffer(random.Random(1).randbytes(300_000), "u1")
@cache.cached(code="own")
def array(n):
    return noise ^ n  # cannot be compressed, so that it is mapped
@cache.cached
def fails(n):
    raise ValueError(n)
@cache.cached
def lock(n):
    return threading.Lock()
def dropped(n):
    @Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=1200, max_size="200 MiB", min_free=0).cached
    def inner(n):
        return n
    assert inner(n) == n

done = collections.Counter()
def act(turn):
    action = chance.random()
    if action < 0.9:
        n = chance.randrange(1000)
        assert f(n) == [n] * (n % 50)
    elif action < 0.94:
        f(10**6 + turn)  # never asked for again
    elif action < 0.965:
        n = chance.randrange(100)
        values = array(n)
        assert (values[:9] == noise[:9] ^ n).all()
        done["mapped"] += bool(reader._live_maps)
        values[:] = 0
    elif action < 0.98:
        try:
            fails(chance.randrange(10**9))
        except ValueError:
            done["raised"] += 1
    elif action < 0.985:
        lock(turn)
    elif action < 0.997:
        n = chance.randrange(1000)
        (array if n < 100 else f).refresh(n)
    else:
        dropped(chance.randrange(10))

def taken():
    # Clear tables with a limit first: their sizes go up and down.
    cache.flow.store._recent = Recent()
    reader._verified.clear()
    fingerprint._known.clear()
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    files = sum(len(names) for _, _, names in os.walk(sys.argv[1]))
    maps, threads = len(reader._live_maps), len(os.listdir("/proc/self/task"))
    return sys.getallocatedblocks(), resident, len(os.listdir("/proc/self/fd")), threads, maps, files

for turn in range(1200):
    f(-turn)
for turn in range(operations // 10):
    act(turn)
for part in range(10):
    for turn in range(operations // 10):
        act((part + 1) * operations + turn)
    say(*taken())
say(done["raised"], done["mapped"], f.cache_info().hits, f.cache_info().misses)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not tell what a process takes")
def test_flat(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """After many hits, misses, evictions, arrays, exceptions and caches a process uses no more than before."""
    operations, seed = rounds(20_000, 1_000_000), random.randrange(10**6)
    *lines, end = run(LONG_RUN, tmp_path / "cache", operations, seed)
    points = [[int(word) for word in line.split()] for line in lines]
    halves = [[sum(column) / 5 for column in zip(*part, strict=True)] for part in (points[:5], points[5:])]
    growth = [after - before for before, after in zip(*halves, strict=True)]
    print(f"seed {seed}: {halves}")  # noqa: T201 - for `pytest -rA`
    memory, resident, descriptors, threads, maps, files = growth
    evidence("bounded", "memory, descriptors, threads, maps and files of a long run", operations, 0)
    assert all(int(word) > operations // 2000 for word in end.split())  # all of it happened
    assert (descriptors, threads, maps) == (0, 0, 0)
    assert memory < operations // 40, growth
    assert resident < 8 << 20, growth
    assert files < 200, growth
    assert claims_below(tmp_path) == []
    assert Cache(tmp_path / "cache", signing_key=KEY).verify().problems == ()
