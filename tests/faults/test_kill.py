"""Processes that are killed at any moment: they never leave a wrong value, and never block others.

They may leave a claim file. The next call for its key replaces it if that call misses. Beside a valid entry it stays
(the process was killed in a refresh, or between its claim and its second look), since a hit reads only the entry:
`clear`, `evict` and `verify(repair=True)` sweep it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from tests.faults.hunting import rounds
from tests.support.processes import claims_below, run

# It has loaded everything, and forks workers that do all operations of a cache on the same few keys. It kills one of
# them after 0 to 3 ms, makes the call that this worker was busy with and another one, and replaces it.
HUNTER = """
import json, mmap, random, select, signal, struct, time, traceback, warnings
import numpy
from pcache.counters import pending, ledger
from pcache.runtime import misses
from pcache.system import locks
from tests.support.processes import place_of
warnings.simplefilter("error")
count, seconds, workers, seed = map(int, sys.argv[2:6])
chance = random.Random(seed)
misses.LOOK = float("inf")  # a dead owner's lock must be free by itself
pending.FULL = 2000  # bytes: lines are set aside and merged all the time
limited = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=18, compression=1)
KEYS, SIZES = 8, (40, 4000, 60_000)  # in one write, a larger one, and one that is compressed

# A value contains its call and its computation, and the rest must match these.
def value(kind, n, token):
    if kind == "array":
        return numpy.arange(40_000, dtype=numpy.int64) + (n << 40 | token)  # mapped
    return [kind, n, token, f"{kind}{n}{token}" * SIZES[n % 3]]

def is_right(found, kind, n):
    if kind == "array":
        return (found == value(kind, n, int(found[0]) & (1 << 40) - 1)).all()
    return found == value(kind, n, found[2])

def first(n):
    computed()
    return value("first", n, os.getpid())

def second(n):
    computed()
    return value("second", n, os.getpid())

def array(n):
    computed()
    return value("array", n, os.getpid())

def cached_in(cache):
    return {"first": cache.cached(first), "second": cache.cached(second, version=2), "array": cache.cached(array)}

functions, tight = cached_in(cache), cached_in(limited)

# What each worker is doing, and how much it has computed: in memory that survives it.
ACTIONS = ["call", "refresh", "put", "invalidate", "tight", "clear", "clear function", "evict", "verify", "recompress",
           "stats", "flush"]
SLOT = struct.Struct("<3bxxxxxq")
shared = mmap.mmap(-1, SLOT.size * (workers + 1))
slot = workers  # the parent's

def note(action, kind, n):
    shared[slot * SLOT.size : slot * SLOT.size + 3] = bytes((action + 1, kind, n))

def computed():
    *_, n = SLOT.unpack_from(shared, slot * SLOT.size)
    struct.pack_into("<q", shared, slot * SLOT.size + 8, n + 1)

def act(chance):
    action = chance.choices(range(len(ACTIONS)), (30, 20, 10, 20, 10, 1, 2, 1, 1, 2, 1, 20))[0]
    kind, n = chance.choice(list(functions)), chance.randrange(KEYS)
    note(action, list(functions).index(kind), n)
    name, f = ACTIONS[action], functions[kind]
    if name == "put":
        f.put(value(kind, n, os.getpid()), n)
    elif name == "invalidate":
        f.invalidate(n)
    elif name == "clear":
        cache.clear()
    elif name == "clear function":
        cache.clear(f)
    elif name == "evict":
        cache.evict(max_entries=chance.randrange(20))
    elif name == "verify":
        cache.verify(repair=True)
    elif name == "recompress":
        cache.recompress(chance.choice(["none", "auto", 3]), f)
    elif name == "stats":
        cache.stats()
    elif name == "flush":
        cache.flow.ledger.flush()
    else:
        call = {"call": f, "refresh": f.refresh, "tight": tight[kind]}[name]
        assert is_right(call(n), kind, n), (name, kind, n)
    note(-1, 0, 0)

def start(index, seed):
    global slot
    child = os.fork()
    if child == 0:
        try:
            os.nice(5)  # the hunter comes first
            slot, chance = index, random.Random(seed)
            while True:
                act(chance)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)  # only an exception ends the work
    return child

def claim_of(f, n):
    return place_of(f, n) + ".claim"

for kind, f in [*functions.items(), *tight.items()]:
    for n in range(KEYS):
        assert is_right(f(n), kind, n)
cache.stats(), cache.verify(repair=True), cache.recompress("auto"), cache.evict(max_entries=15), locks.locking()
found = dict.fromkeys(("killed", "ended", "misses", "leftovers", "wrong", "longest"), 0)
inside = dict.fromkeys(ACTIONS, 0)
children = [start(index, chance.random()) for index in range(workers)]
until = time.monotonic() + seconds
while found["killed"] + found["ended"] < count and time.monotonic() < until:
    select.select([], [], [], chance.random() * 0.003)
    index = chance.randrange(workers)
    os.kill(children[index], signal.SIGKILL)
    _, status = os.waitpid(children[index], 0)
    found["killed" if os.WIFSIGNALED(status) else "ended"] += 1
    action, kind, n, _ = SLOT.unpack_from(shared, index * SLOT.size)
    if action:
        inside[ACTIONS[action - 1]] += 1
    for kind, n in {(list(functions)[kind], n), (chance.choice(list(functions)), chance.randrange(KEYS))}:
        f = functions[kind]
        found["leftovers"] += os.path.exists(claim_of(f, n))
        began, misses = time.perf_counter(), f._misses
        found["wrong"] += not is_right(f(n), kind, n)
        found["longest"] = max(found["longest"], time.perf_counter() - began)
        found["misses"] += f._misses > misses
    struct.pack_into("<3b", shared, index * SLOT.size, 0, 0, 0)
    children[index] = start(index, chance.random())
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
cache.flow.ledger.flush(), limited.flow.ledger.flush()
counted = cache.stats()
found["counted misses"] = counted.misses
found["computed"] = sum(SLOT.unpack_from(shared, index * SLOT.size)[3] for index in range(workers + 1))
found["swept"] = cache.verify(repair=True).leftovers
found["problems"] = len(cache.verify().problems)
say(json.dumps({**found, "inside": inside}))
"""


def test_kill(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """Wherever one of three processes is killed, the next calls are right, and do not wait for dead processes."""
    at_least, seconds, seed = rounds(50, 20_000), rounds(16, 3000), random.randrange(10**9)
    (line,) = run(HUNTER, tmp_path / "cache", rounds(10_000, 100_000), seconds, 3, seed)
    found = json.loads(line)
    print(f"seed {seed}: {found}")  # noqa: T201 - the figures, for `pytest -rA`
    killed, failures = found["killed"], found["wrong"] + found["ended"] + found["problems"]
    evidence("never wrong", "kill -9 of one of three processes that do all that a cache can do", killed, failures)
    assert failures == 0
    assert killed >= at_least
    assert sum(hits > 0 for hits in found["inside"].values()) >= rounds(4, 12), found["inside"]  # operations were hit
    assert 0 < found["counted misses"] <= found["computed"]  # a kill may lose counts, but nothing is counted twice
    assert claims_below(tmp_path) == []
