"""What the benchmarks do in processes of their own. Each function is called as `python -c "import child; ..."`.

A script would be compiled at each start; as a module it comes from the bytecode cache, like the libraries measured.
"""

from __future__ import annotations

import os
import sys
import time

import subjects

BEGIN, END = "/pcache-benchmark-begin", "/pcache-benchmark-end"
HITS_BETWEEN_LOOKS = 64  # at the clock, or arguments in a round


def first_hit(name: str, folder: str) -> None:
    """Import a cache, decorate, hit once."""
    subjects.CACHES[name](folder)(subjects.small)(7)


def rate(name: str, folder: str, seconds: float) -> None:
    """Say that all is ready, wait for a line, hit for some seconds, print hits per second."""
    hit: object = bare_reader(folder) if name == "bare" else subjects.CACHES[name](folder)(subjects.small)
    assert callable(hit)
    arguments = range(HITS_BETWEEN_LOOKS)
    for n in arguments:
        hit(n)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        for n in arguments:
            hit(n)
        count += HITS_BETWEEN_LOOKS
    print(count / elapsed, flush=True)


def bare_reader(folder: str) -> object:
    """Read the pickle of an argument's result from the file that `paths` lists for it."""
    import pickle

    with open(os.path.join(folder, "paths"), encoding="utf-8") as lines:
        paths = [os.path.join(folder, line.rstrip("\n")) for line in lines]
    sizes = [os.stat(path).st_size for path in paths]

    def read(n: int) -> object:
        fd = os.open(paths[n], os.O_RDONLY | os.O_CLOEXEC)
        data = os.read(fd, sizes[n])
        os.close(fd)
        return pickle.loads(data)

    return read


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss:"))


def large_hit(name: str, folder: str) -> None:
    """Hit a large array, the first time and again; print seconds and bytes of memory as JSON."""
    import json

    import numpy as np
    from blake3 import blake3

    function = subjects.MAPPING[name](folder)(subjects.array)
    np.ones(10).sum()
    before = resident()
    started = time.perf_counter()
    values = function(1)
    first = time.perf_counter() - started
    after_first = resident()
    del values
    started = time.perf_counter()
    values = function(1)
    again = time.perf_counter() - started
    after_again = resident()
    values.sum()
    touched = resident()
    started = time.perf_counter()
    blake3(values.view("u1")).digest()
    digest = time.perf_counter() - started
    result = {"first": first, "again": again, "digest": digest}
    memory = {"after_first": after_first - before, "after_again": after_again - before, "touched": touched - before}
    print(json.dumps(result | memory))


def warm_hits(name: str, folder: str, count: int) -> None:
    """Make `count` warm hits between two system calls that a trace can find."""
    hit = subjects.CACHES[name](folder)(subjects.small)
    for n in range(HITS_BETWEEN_LOOKS):
        hit(n)
    os.access(BEGIN, os.F_OK)
    for i in range(count):
        hit(i % HITS_BETWEEN_LOOKS)
    os.access(END, os.F_OK)
