"""Forks at random moments of a process whose threads are busy: the child can use the cache at once.

A lock that a thread of the parent holds at that moment stays locked in the child, and a module that is just being
loaded never finishes there. The parent keeps what it holds, and nothing is counted twice.
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

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
Evidence = Callable[[str, str, int, int], None]

# Arguments: how many forks, seed. An alarm ends a child that hangs.
FORKING = """
import random, signal, threading, time, warnings
from pcache import Cache
from pcache.system import exit
from pcache.storage.claim import try_claim
from pcache.system.locks import try_lock
from pcache.storage.claim_owner import owner_record
from tests.support.processes import place_of
warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, since 3.12
forks, seed = int(sys.argv[2]), int(sys.argv[3])
sys.setswitchinterval(1e-5)
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=60)
cache.flow.ledger._pause = 0.001
stop, inside = threading.Event(), threading.Event()

@cache.cached
def f(n):
    return [n] * (100 if n % 2 else 3000)
@cache.cached
def held(n):
    inside.set()
    stop.wait()
    return n
def act(chance):
    n = chance.randrange(100)
    action = chance.random()
    if action < 0.1:
        cache.flow.ledger.flush()
    elif action < 0.15:
        f.invalidate(n)
    elif action < 0.16:
        cache.evict(max_entries=40)
    else:
        assert (f.refresh if action < 0.4 else f)(n) == [n] * (100 if n % 2 else 3000)
        return 1
    return 0
def work(number):
    chance = random.Random(seed + number)
    while not stop.is_set():
        calls[number] += act(chance)
def child(number):
    signal.alarm(30)
    chance = random.Random(seed - number)
    free = try_claim(place_of(held, 1), owner_record("child", cache.flow.keys.keyring))
    made = 0
    while made < 5:
        made += act(chance)
    exit.flush_all()  # as at the end of a process
    signal.alarm(0)
    os.close(leave[1])
    os.read(leave[0], 1)  # live on, with what was inherited
    os._exit(3 if free is not None else 0)
def is_stuck(name):
    lock = try_lock(os.path.join(sys.argv[1], "v1", name), 5.0)
    return lock is None or lock.release() is not None

calls = [0] * 4
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
threads.append(threading.Thread(target=held, args=(1,)))
threads[-1].start()
inside.wait()
for thread in threads[:-1]:
    thread.start()
chance, found, children = random.Random(seed), {"hung": 0, "freed": 0, "failed": 0, "stuck": 0}, []
leave = os.pipe()
for number in range(forks):
    time.sleep(chance.random() * 0.003)  # to another moment
    pid = os.fork()
    if pid == 0:
        try:
            child(number)
        finally:
            os._exit(1)
    children.append(pid)
    if len(children) < 25 and number < forks - 1:
        continue
    found["stuck"] += sum(map(is_stuck, ["locks/evict", "locks/ledger", "ledger/occupancy"]))
    os.close(leave[1])
    for pid in children:
        _, status = os.waitpid(pid, 0)
        found["hung"] += os.WIFSIGNALED(status)
        found["freed"] += os.WIFEXITED(status) and os.WEXITSTATUS(status) == 3
        found["failed"] += os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1
    os.close(leave[0])
    children, leave = [], os.pipe()
stop.set()
for thread in threads:
    thread.join()
say(*found.values(), sum(calls) + 1 + 5 * forks, held.exists(1))
"""


def test_fork(tmp_path: Path, evidence: Evidence) -> None:
    """A child forked while threads hit, miss, refresh, evict and count can do all of that, and releases no claim."""
    forks, seed = rounds(150, 10_000), random.randrange(10**9)
    (line,) = run(FORKING, tmp_path / "cache", forks, seed)
    *found, calls, stored = line.split()
    evidence("never in the way", "forks while threads are anywhere in the cache", forks, sum(map(int, found)))
    assert (found, stored) == (["0"] * 4, "True"), f"seed {seed}: hung, freed, failed, stuck = {found}"
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    counted = cache.stats()
    evidence(
        "bounded", "calls counted once, in forks as well", int(calls), abs(counted.hits + counted.misses - int(calls))
    )
    assert counted.hits + counted.misses == int(calls), f"seed {seed}"
    assert cache.verify().problems == ()
    assert claims_below(tmp_path) == []


# Forks again and again while a thread makes the first call, which loads modules. Each child makes its own first call.
LOADING = """
import signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
@cache.cached
def f(n):
    return [n]
thread, hung, children, early = threading.Thread(target=f, args=(0,)), 0, [], 0
thread.start()
while thread.is_alive():
    early += "pcache.storage.claim" not in sys.modules
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            assert f(len(children) + 1) == [len(children) + 1]
            os._exit(0)
        finally:
            os._exit(1)
    children.append(pid)
    time.sleep(0.002)
thread.join()
say(len(children), early, sum(os.waitpid(pid, 0)[1] != 0 for pid in children))
"""


def test_fork_while_modules_are_loaded(tmp_path: Path, evidence: Evidence) -> None:
    """A child forked while another thread makes the very first call, which loads modules, can make its own calls."""
    forks = failures = early = 0
    for number in range(rounds(3, 200)):
        (line,) = run(LOADING, tmp_path / f"cache{number}")
        counts = [int(word) for word in line.split()]
        forks, early, failures = forks + counts[0], early + counts[1], failures + counts[2]
    evidence("never in the way", "forks while a thread loads what a first call needs", forks, failures)
    assert early > 0
    assert failures == 0


# A thread in a section that must not be running at a fork wants the lock of `logging`, which was loaded after pcache,
# while a fork is about to happen. Prints whether it got the lock before the fork.
LOGGING = """
import logging, threading, warnings
from pcache.system.fork import whole
warnings.simplefilter("ignore", DeprecationWarning)
holds, forking, done = threading.Event(), threading.Event(), []
os.register_at_fork(before=forking.set)  # the last that is registered comes first
def load():
    with whole:
        holds.set()
        forking.wait()
        logging.getLogger("anything")
        done.append(True)
thread = threading.Thread(target=load)
thread.start()
holds.wait()
child = os.fork()
if child == 0:
    os._exit(not (done and whole.acquire(timeout=5) and logging.getLogger("more")))
thread.join()
say(done, os.waitpid(child, 0)[1])
"""


def test_a_fork_does_not_wait_for_who_waits_for_it(tmp_path: Path) -> None:
    """A section of a thread that needs the lock of `logging` ends before the fork."""
    assert run(LOGGING, tmp_path / "cache") == ["[True] 0"]


# A thread makes an attribute while the process forks: the child, which has no such thread, makes its own.
MAKING = """
import signal, threading, warnings
from pcache.system.fork import made_once
warnings.simplefilter("ignore", DeprecationWarning)
begun, go_on = threading.Event(), threading.Event()
class Thing:
    @made_once
    def part(self):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            go_on.wait()
        return [1]
thing = Thing()
thread = threading.Thread(target=lambda: thing.part)
thread.start()
begun.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    os._exit(thing.part != [1])
go_on.set()
thread.join()
say(os.waitpid(pid, 0)[1], thing.part is thing.part)
"""


def test_an_attribute_that_is_made_at_the_fork(tmp_path: Path) -> None:
    """A child makes an attribute that another thread of its parent was making, and waits for no lock."""
    assert run(MAKING, tmp_path) == ["0 True"]
