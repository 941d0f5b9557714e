"""However many processes, threads and tasks need a missing result at once, it is computed once.

Exactly once, as long as its owner lives and succeeds, and its result is not removed right away.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import single_flight_program
from tests.faults.hunting import rounds
from tests.support.processes import Talker, claims_below, run
from tests.support.running import run as run_script
from tests.support.running import write

Evidence = Callable[[str, str, int, int], None]
PROCESSES, THREADS = 4, 3


def executions(log: Path) -> Counter[int]:
    """How often each key was computed."""
    data = log.read_bytes()
    return Counter(int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4))


@pytest.mark.parametrize("start", ["mixed"] if sys.platform == "linux" else ["spawn"])
def test_once(tmp_path: Path, evidence: Evidence, start: str) -> None:
    """Calls of functions and methods, by threads and tasks of processes started in any way, compute each key once."""
    keys, turns, trials, more = 100, 12, 0, 0
    script = write(tmp_path / "race.py", single_flight_program.RACE)
    for number in range(rounds(1, 60)):
        log = tmp_path / f"log{number}"
        said = run_script(script, tmp_path / f"cache{number}", log, start, PROCESSES, THREADS, keys, turns)
        assert said == [" ".join(["0"] * (1 + PROCESSES))]
        counts = executions(log)
        assert sorted(counts) == list(range(keys * turns))
        trials += len(counts)
        more += sum(count != 1 for count in counts.values())
    evidence("once", f"a missing result, needed by {PROCESSES} processes of {THREADS} threads", trials, more)
    assert more == 0
    assert claims_below(tmp_path) == []


# Arguments: log, seed, keys, what the function does the first time. Each prints "ready", and begins when told to.
ROUGH = """
import random, signal
LOG, chance, keys, way = sys.argv[2], random.Random(int(sys.argv[3])), int(sys.argv[4]), sys.argv[5]
def executions(n):
    log = os.open(f"{LOG}-{n}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(log, b".")
    return os.lseek(log, 0, os.SEEK_CUR)
@cache.cached
def f(n):
    if executions(n) == 1 and way == "raises":
        raise ValueError(n)
    if way == "killed" and n == keys // 2 and not os.path.exists(f"{LOG}-killed"):
        open(f"{LOG}-killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return [n]
say("ready")
hear()
raised = 0
for n in range(keys):
    try:
        assert f(n) == [n]
    except ValueError:
        raised += 1
    if way == "cleared" and chance.random() < 0.1:
        cache.clear() if chance.random() < 0.5 else cache.evict(max_entries=1)
say("done", raised)
"""


@pytest.mark.parametrize("way", ["raises", "killed", "cleared"])
def test_owners_that_fail(tmp_path: Path, evidence: Evidence, way: str) -> None:
    """Only its caller gets an exception, which costs one more execution, a kill at most one; all get the result.

    Results that are cleared or evicted meanwhile are computed again, at most by callers that had not got them yet.
    """
    failures = trials = 0
    for number in range(rounds(1, 30)):
        log, keys = tmp_path / f"log{number}", 60
        settings = (tmp_path / f"cache{number}", log, random.randrange(10**6), keys, way)
        racers = [Talker(ROUGH, *settings) for _ in range(PROCESSES)]
        for racer in racers:
            racer.hear()
        for racer in racers:
            racer.say()
        said = []
        for racer in racers:
            if racer.process.wait() == -9:
                racer.kill()
            else:
                said += racer.finish()
        assert len(said) == PROCESSES - (way == "killed")
        raised = sum(int(line.split()[1]) for line in said)
        assert raised == (keys if way == "raises" else 0)
        most = {"raises": 2, "killed": 1, "cleared": PROCESSES}[way]
        counts = [os.path.getsize(f"{log}-{n}") for n in range(keys)]
        over = sum(max(count - most, 0) for count in counts)
        failures += over - (way == "killed" and counts[keys // 2] == 2)
        trials += keys
    evidence("once", f"owners that are disturbed: {way}", trials, failures)
    assert failures == 0
    assert claims_below(tmp_path) == []


COROUTINE = """
import asyncio, warnings
warnings.simplefilter("ignore")
ran = []
@cache.cached
async def f(n):
    ran.append(n)
    return n
async def main():
    return await asyncio.gather(*(f(1) for _ in range(5)))
say(asyncio.run(main()) == [1] * 5, len(ran))
"""


def test_coroutine_functions_run_once(tmp_path: Path) -> None:
    """Five tasks that need the same result compute it once."""
    assert run(COROUTINE, tmp_path / "cache") == ["True 1"]
