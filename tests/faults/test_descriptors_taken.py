"""The program closes our descriptors, at every line of a call: its own files stay unchanged and open.

After `os.closerange` in a program that becomes a daemon, a second `close` of a reused number, or `dup2`, a descriptor's
number belongs to another file, which must neither be written nor closed. Not tried are modules that open, use and close
a file while no other code runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.hunting import rounds
from tests.support.processes import claims_below, run

Evidence = Callable[[str, str, int, int], None]

# Arguments: file of the user, operation, step in lines. Each of the calls below is repeated, and its descriptors are
# taken one step later each time.
TAKING = """
import random, threading, warnings
from pcache import function
from pcache.entry import pickling, writer
from pcache.objects import culprit
from pcache.runtime import deadlock, flow, job, packing, resting, saving, singleflight
from pcache.storage import claim, claim_owner, drafts
from pcache.system import locks
warnings.simplefilter("ignore")
PRECIOUS, what, share = sys.argv[2], sys.argv[3], int(sys.argv[4])
CONTENT = open(PRECIOUS, "rb").read()
FILES = {module.__file__ for module in
         (claim, claim_owner, culprit, deadlock, drafts, flow, function, job, locks, packing, pickling, resting, saving,
          singleflight, writer)}
AT_ONCE = {"_remove_unheld", "_remove_drafts", "drop_unsigned", "try_lock", "tell", "flush"}
def is_at_once(frame):  # modules that open, use and close a file, with no other code in between
    while frame is not None:
        if frame.f_code.co_name in AT_ONCE:
            return True
        frame = frame.f_back
    return False
def ours():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith(sys.argv[1]):
                found.append(int(name))
        except OSError:
            pass
    return found
def users():
    return os.open(PRECIOUS, os.O_RDWR)
def take():
    mine = ours()
    if what == "closerange":
        os.closerange(3, 256)
    elif what == "close":
        [os.close(fd) for fd in mine]
    else:
        first = users()
        kept.append(first)
        [os.dup2(first, fd) for fd in mine]
        kept.extend(mine)
        return
    kept.extend(users() for _ in range(12))
class Hooked:
    def __init__(self, n):
        self.n = n
    def __reduce__(self):
        touched.append(self.n)
        return Hooked, (self.n,)
    def __eq__(self, other):
        return self.n == other.n
@cache.cached
def small(n):
    return [n]
@cache.cached
def large(n):
    return random.Random(n).randbytes(100_000)
@cache.cached
def hooked(n):
    return Hooked(n)
@cache.cached
def deep(n):
    return 0 if n % 60 == 0 else 1 + deep(n - 1)
OPERATIONS = {
    "miss": (lambda n: small(n), lambda n: [n]),
    "large": (lambda n: large(n), lambda n: random.Random(n).randbytes(100_000)),
    "hook": (lambda n: hooked(n), Hooked),
    "refresh": (lambda n: small.refresh(1), lambda n: [1]),
    "put": (lambda n: (small.put([n], n), small(n))[1], lambda n: [n]),
    "private": (lambda n: private(n), lambda n: [n]),
    "deep": (lambda n: deep(60 * n + 2), lambda n: 2),
}
def private(n):
    token = singleflight.computing.set({str(i): None for i in range(60)} | dict(singleflight.computing.get()))
    try:
        return small(n)
    finally:
        singleflight.computing.reset(token)
def trace(frame, event, argument):
    global seen, where
    code = frame.f_code
    if code.co_filename not in FILES and frame.f_globals is not globals() or is_at_once(frame):
        return None
    if event == "line" and not done:
        seen += 1
        if seen == at:
            done.append(1)
            sys.settrace(None)
            where = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}"
            take()
    return trace
wrong, trials, n, touched = [], 0, 1000, []
small(1), large(1), hooked(1), deep(61), cache.flow.ledger.flush()
for name, (call, right) in OPERATIONS.items():
    at = random.randrange(share) + 1
    while True:
        n += 100
        kept, done, seen = [], [], 0
        sys.settrace(trace)
        value = call(n)
        sys.settrace(None)
        if not done:
            break
        trials += 1
        problems = [] if value == right(n) else ["a wrong value"]
        for fd in kept:
            try:
                if not os.path.samestat(os.fstat(fd), os.stat(PRECIOUS)):
                    problems.append("another file has its descriptor")
            except OSError:
                problems.append("its descriptor was closed")
        if open(PRECIOUS, "rb").read() != CONTENT:
            problems.append("its file was changed")
            open(PRECIOUS, "wb").write(CONTENT)
        [os.closerange(fd, fd + 1) for fd in set(kept)]
        if ours():
            problems.append("a descriptor of ours is open")
            [os.closerange(fd, fd + 1) for fd in ours()]
        if small(n + 1) != [n + 1] or not small.exists(n + 1):
            problems.append("the next result is not stored")
        if call(n) != right(n):
            problems.append("a wrong value afterwards")
        wrong += [f"{name} {where}: {problem}" for problem in set(problems)]
        at += share
say(trials)
for line in wrong[:20]:
    say(line)
"""


@pytest.mark.parametrize("what", ["closerange", "close", "dup2"])
def test_descriptors_are_taken(tmp_path: Path, what: str, evidence: Evidence) -> None:
    """No file of the user is written or closed, the results are right, and the next one is stored."""
    precious = tmp_path / "precious.txt"
    precious.write_text("my thesis, only copy\n" * 20)
    trials, *wrong = run(TAKING, tmp_path / "cache", precious, what, rounds(7, 1))
    evidence("never in the way", f"lines at which a call loses its descriptors ({what})", int(trials), len(wrong))
    assert (wrong, int(trials) > 50) == ([], True)
    assert [name for name in claims_below(tmp_path) if name.endswith(".claim")] == []
