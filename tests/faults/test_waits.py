"""Calls that wait for each other in a circle: none of them waits for ever, however the circle arose.

There is no limit on waiting here: a deadlocked call hangs until the test's timeout.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import waits_program
from tests.faults.hunting import rounds
from tests.support.processes import Talker, claims_below

Evidence = Callable[[str, str, int, int], None]


def turn_round(script: str, folder: Path, parts: list[list[object]], computing: int) -> int:
    """Let processes compute until each holds what another one wants, let them go on, and return the executions."""
    log = folder / "log"
    processes = [Talker(script, folder / "cache", log, *part) for part in parts]
    assert {process.hear().split()[0] for process in processes for _ in range(computing // len(parts))} == {"computing"}
    for process in processes:
        process.say()
    for process in processes:
        process.finish()
    assert claims_below(folder) == []
    return log.stat().st_size


@pytest.mark.parametrize("split", [[[0], [1]], [[0], [1], [2]], [[0, 1]], [[0, 1, 2]], [[0, 2], [1, 3]]], ids=str)
def test_rings(tmp_path: Path, evidence: Evidence, split: list[list[int]]) -> None:
    """Calls that each compute what the next one needs end, in threads, in processes and in both."""
    length = sum(map(len, split))
    count = rounds(1, 20)
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = turn_round(waits_program.RING, folder, [[length, *own] for own in split], length)
        assert length < ran <= 2 * length  # some computed what they waited for, once each
    evidence("never in the way", "calls in a circle, each computing what the next one needs", count, 0)


def test_a_circle_through_a_waiting_thread(tmp_path: Path, evidence: Evidence) -> None:
    """A thread waits for a second one, which waits for another process, which waits for the first: all end."""
    count = rounds(1, 20)
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        log = folder / "log"
        other = Talker(waits_program.RING, folder / "cache", log, 2, 1)
        assert other.hear() == "computing 1"
        first = Talker(waits_program.RING, folder / "cache", log, 2, 1, 0)
        assert first.hear() == "computing 0"
        for process in (first, other):
            process.say()
        assert [process.finish()[-1] for process in (first, other)] == ["['leaf', 'leaf']", "['leaf']"]
        assert claims_below(folder) == []
    evidence("never in the way", "a circle of two processes, through a thread that waits for its own process", count, 0)


WAYS = [
    *("in_a_new_pool", "in_a_wide_pool", "in_an_old_pool", "in_a_thread", "in_joblib_threads", "under_a_lock"),
    *("in_tasks", "in_an_executor", "in_a_generator"),
    *("in_a_fork", "in_a_process", "in_a_process_pool", "in_an_old_process_pool"),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_needs_itself_by_a_detour(tmp_path: Path, evidence: Evidence, way: str) -> None:
    """A call whose function makes the same call again, by threads, tasks, locks or processes, returns."""
    log = tmp_path / "log"
    caller = Talker(waits_program.SAME_KEY, tmp_path / "cache", log, way, 1)
    assert caller.hear() == "computing"
    caller.say()
    assert caller.finish()[-1].startswith("result ")
    assert log.stat().st_size > 1
    assert claims_below(tmp_path) == []
    evidence("never in the way", "a call that needs itself, by a pool, a lock, an event loop or a process", 1, 0)


def test_a_call_that_fails_everywhere(tmp_path: Path, evidence: Evidence) -> None:
    """Processes whose calls all fail do not queue: after two of them the others compute in parallel."""
    racers, computing = [Talker(waits_program.FAILING, tmp_path / "cache") for _ in range(6)], queue.Queue[Talker]()

    def listen(racer: Talker) -> None:
        if racer.hear() == "computing":
            computing.put(racer)

    alone = 0  # calls whose successor waited for their end
    for racer in racers:
        assert racer.hear() == "ready"
        racer.say()
    listeners = [threading.Thread(target=listen, args=(racer,)) for racer in racers]
    for listener in listeners:
        listener.start()
    inside = [computing.get(timeout=60)]
    for _ in range(len(racers) - 1):
        try:
            inside.append(computing.get(timeout=2))  # while the one before still computes
        except queue.Empty:
            inside[-1].say()
            inside.append(computing.get(timeout=60))
            alone += 1
    for listener in listeners:
        listener.join(60)
    for racer in inside[alone:]:
        racer.say()
    assert [racer.finish() for racer in racers] == [["raised"]] * 6
    assert claims_below(tmp_path) == []
    evidence("never in the way", "processes whose calls all fail", len(racers), max(alone - 2, 0))
    assert 1 <= alone <= 2
