"""Processes that are killed at any moment: what they leave is never a wrong value and never in anybody's way.

What may be left is a claim file. The next call for its key takes it over when that call misses. Beside an entry that is
alive it stays (the process was killed in a refresh, or between its claim and its second look), since a hit looks at
nothing but the entry: `clear`, `evict` and `verify(repair=True)` sweep it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.faults.hunting import rounds
from tests.processes import claims_below, run

KEYS = 3

# Forks a child per round, kills it after 0 to 5 ms of work, and then calls what it may have been busy with.
HUNTER = """
import random, select, signal, warnings
warnings.simplefilter("error")
KEYS, rounds, seed = map(int, sys.argv[2:5])
chance = random.Random(seed)

def f(n):
    return [n] * (400, 4000, 60_000)[n]  # in one write, a larger one, and one that is compressed

cached = cache.cached(f)
expected = [[n] * (400, 4000, 60_000)[n] for n in range(KEYS)]

def work(signal_fd, seed):
    chance = random.Random(seed)
    os.write(signal_fd, b"x")
    while True:
        n = chance.randrange(KEYS)
        action = chance.choice([cached, cached.refresh, cached.refresh, cached.invalidate, None])
        if action is None:
            cache.clear() if chance.random() < 0.3 else cache.evict(max_entries=1)
        else:
            action(n)

def claim_of(n):
    return cached._calls.of((n,), {}).address.path + ".claim"

for n in range(KEYS):
    cached(n)
found = dict.fromkeys(("killed", "misses", "leftovers", "beside entries", "wrong", "claims after a miss"), 0)
for _ in range(rounds):
    ready, started = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(started, chance.random())
        finally:
            os._exit(1)  # only an exception ends the work
    os.read(ready, 1)
    select.select([], [], [], chance.random() * 0.005)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ready), os.close(started)
    found["killed"] += os.WIFSIGNALED(status)
    for n in range(KEYS):
        left, misses = os.path.exists(claim_of(n)), cached._misses
        found["wrong"] += cached(n) != expected[n]
        missed = cached._misses > misses
        found["misses"] += missed
        found["leftovers"] += left
        found["beside entries"] += left and not missed
        found["claims after a miss"] += missed and os.path.exists(claim_of(n))
cache.verify(repair=True)
problems = cache.verify().problems
say(*found.values(), len(problems), cache.clear().entries)
"""


def test_kill(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """After each of many kills the next calls return right values, and a miss leaves no claim; a sweep leaves none."""
    count, seed = rounds(300, 5000), random.randrange(10**9)
    (line,) = run(HUNTER, tmp_path / "cache", KEYS, count, seed)
    killed, misses, leftovers, beside, wrong, after_a_miss, problems, entries = map(int, line.split())
    print(  # noqa: T201 - the figures, for `pytest -rA`
        f"seed {seed}: {count} rounds, {misses} misses, {leftovers} claims left by kills, of which {beside} beside"
        " entries"
    )
    evidence("never wrong", "kill -9 at a random moment of call, refresh, invalidate, clear, evict", count, wrong)
    assert killed == count  # none ended by an exception
    assert (wrong, after_a_miss, problems, entries) == (0, 0, 0, KEYS)
    assert claims_below(tmp_path) == []
