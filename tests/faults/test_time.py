"""Clocks that jump by years, within processes and between them, and files with impossible times."""

from __future__ import annotations

import glob
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.cli import main
from pcache.entry import mtime
from tests.faults.hunting import rounds
from tests.support.processes import place_of, run

Evidence = Callable[[str, str, int, int], None]
LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), "")
needs_faketime = pytest.mark.skipif(not LIBRARY, reason="libfaketime is not installed")
YEARS = 10 * 365 * 86400

# The clock of the process jumps when the text of a file changes; the kernel's file times do not.
JUMPS = """
import json, random, time, warnings
warnings.simplefilter("error")
clock, rounds, chance = os.environ["FAKETIME_TIMESTAMP_FILE"], int(sys.argv[2]), random.Random(int(sys.argv[3]))
YEARS = 10 * 365 * 86400
started, since = time.time(), time.monotonic()
def set_clock(seconds):
    with open(clock, "w") as file:
        file.write("%+d" % seconds)
def made(n):
    return n, time.time()
limited, unlimited = cache.cached(ttl="1h")(made), cache.cached(version=2)(made)
offsets = [0, 0, 1, -1, 59, -59, 61, -61, 3599, 3601, -3601, 86400, -86400, YEARS, -YEARS, -20 * 365 * 86400]
wrong, expired, jumps, kept = [], 0, 0, 0
for number in range(rounds):
    offset = chance.choice(offsets)
    set_clock(offset)
    jumps += abs(time.time() - (started + time.monotonic() - since + offset)) < 5  # the clock really is there
    n = chance.randrange(4)
    misses = limited._misses
    value, when = limited(n)
    age = time.time() - when
    expired += limited._misses - misses
    if value != n or not -61 <= age < 3600:
        wrong.append(f"a result of {age:.0f} s, after {offset}")
    if unlimited(n)[0] != n:
        wrong.append("a value")
    action = chance.choice(["stats", "periods", "flush", "evict", "age", "entries", "verify", "sweep", "versions", ""])
    if action == "stats":
        cache.stats(since=time.time() - chance.choice([0, 3600, YEARS]))
    elif action == "periods":
        cache.periods(since=time.time() - chance.choice([0, 3600, YEARS]))
    elif action == "flush":
        cache.flow.ledger.flush()
    elif action == "evict":
        kept += cache.evict(max_entries=3).entries
    elif action == "age":
        cache.evict(max_age="1d"), cache.clear(unused_for="1d", dry_run=True)
    elif action == "entries":
        list(cache.entries())
    elif action == "verify":
        wrong += [problem.detail for problem in cache.verify(repair=True).problems]
    elif action == "sweep":
        cache.flow.store.sweep()
    elif action == "versions":
        cache.versions()
say(json.dumps([wrong[:5], len(wrong), expired, jumps, kept]))
"""


def under(clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give processes that are started from now on another clock; file times do not change."""
    for name, value in {
        "LD_PRELOAD": LIBRARY,
        "FAKETIME": clock,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "FAKE_UTIME": "0",
        "FAKETIME_NO_CACHE": "1",
    }.items():
        monkeypatch.setenv(name, value)


@needs_faketime
def test_jumps_within_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    """Whatever the clock does, no result is older than its ttl, nothing raises, and nothing loops."""
    count = rounds(120, 20_000)
    (tmp_path / "clock").write_text("+0")
    under("", monkeypatch)
    monkeypatch.delenv("FAKETIME")
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(tmp_path / "clock"))
    (line,) = run(JUMPS, tmp_path / "cache", count, random.randrange(10**9))
    examples, wrong, expired, jumps, evicted = json.loads(line)
    evidence("never wrong", "the clock jumps by seconds to decades within a process, ttl 1 h", count, wrong)
    assert (examples, wrong, jumps) == ([], 0, count)
    assert expired > count // 20
    assert evicted > 0


BETWEEN = """
import json, time, warnings
warnings.simplefilter("error")
def made(n):
    return time.time()
limited, unlimited = cache.cached(ttl="1h")(made), cache.cached(version=2)(made)
now, misses = time.time(), []
for cached in (limited, unlimited):
    cached(1)
    misses.append(cached._misses)
cache.stats(since=now - 86400), cache.periods(), list(cache.entries())
from click.testing import CliRunner
from pcache.cli import main
problems = []
commands = ["ls", "stats --since 1d", "verify", "stats --plot --since 365d", "doctor", "top --once",
            "report -o " + sys.argv[1] + ".html"]
for command in commands[:int(sys.argv[2])]:
    result = CliRunner().invoke(main, ["-C", sys.argv[1], *command.split()])
    if result.exit_code not in (0, 1) or not isinstance(result.exception, SystemExit | None):
        problems.append([command, result.output])
say(json.dumps([now, misses, problems]))
"""


@needs_faketime
def test_jumps_between_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    """Processes whose clocks are decades apart share a directory, its counters and its reports."""
    monkeypatch.setenv("PCACHE_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    found: list[list[Any]] = []
    clocks = ["+10y", "-10y", "+0", "-10y"] * rounds(1, 13)  # never the same one twice in a row
    del clocks[rounds(3, 50) :]
    for clock in clocks:
        under(clock, monkeypatch)
        (line,) = run(BETWEEN, tmp_path / "cache", rounds(2, 7))
        found.append(json.loads(line))
    evidence("never wrong", "processes with clocks 10 years ahead and behind share a cache", len(found), 0)
    assert [problems for _, _, problems in found] == [[]] * len(clocks)
    assert found[0][0] - found[1][0] > 1.9 * YEARS  # the clocks really differed
    assert [misses[1] for _, misses, _ in found] == [1] + [0] * (len(clocks) - 1)  # without a ttl a result has no age
    assert [misses[0] for _, misses, _ in found] == [1] * len(clocks)  # expired, or made in the future


SECONDS = (
    -(2**62),
    -(2**33),
    -(2**31) - 1,
    -1.5,
    -1,
    0,
    1,
    0.9,
    2**31 - 1,
    2**31,
    2**32,
    2**33,
    2**34,
    2**62,
    2**63 - 1,
)


def times() -> list[int]:
    """Possible modification times of a file, in nanoseconds."""
    return [int(seconds * 10**9) for seconds in SECONDS] + [
        (code * 1000) + base for base in (0, 10**18) for code in (1, 31, 32, 2**12, 2**19 - 1, 2**19)
    ]


def test_times_of_files(tmp_path: Path, evidence: Evidence) -> None:
    """Entries, claims and temporary files with any modification time are listed, hit, evicted and swept."""
    from click.testing import CliRunner

    def f(n: int) -> int:
        return n

    cache = Cache(tmp_path / "cache")
    cached, failures, tried = cache.cached(f), 0, 0
    chosen = times()
    for number, time_ns in enumerate(random.sample(chosen, rounds(12, len(chosen)))):
        cached(number)
        path = place_of(cached, number)
        shard = os.path.dirname(path)
        litter = [f"{path}.claim-0123abcd", f"{cache.flow.directory.functions}/{'0' * 16}.json.0123abcd"]
        for name in litter:
            Path(name).touch()
        try:
            for name in (path, *litter, shard):
                os.utime(name, ns=(time_ns, time_ns))
        except OverflowError:
            continue  # no system call can set it
        tried += 1
        before = os.stat(path).st_mtime_ns
        unpacked = mtime.unpack(before)
        assert mtime.unpack(mtime.pack(unpacked)).cost_ns == unpacked.cost_ns
        for command in ("stats", "ls", f"show {os.path.basename(path)[17:]}", "evict -n --max-age 1d"):
            result = CliRunner().invoke(main, ["-C", cache.location, *command.split()])
            failures += result.exit_code != 0
            assert result.exit_code == 0, (time_ns, command, result.output, result.exception)
        misses = cached._misses
        failures += cached(number) != number or cached._misses != misses
        cache.verify(repair=True)
        failures += any(map(os.path.exists, litter)) and abs(before / 1e9 - os.stat(path).st_mtime) > 2 * 86400
    evidence("never in the way", "entries and litter with times from -2^62 to 2^63 s", tried, failures)
    assert tried > 4
    assert failures == 0
