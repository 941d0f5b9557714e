"""Damage to a cache's files beside the entries: names, adoptions, counters, usage, removals, and its tag.

Names and statistics may be lost. Callers notice nothing, and the command line shows the rest without a traceback.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any

import pytest
from click.testing import CliRunner

from pcache import Cache
from pcache.cli import main
from pcache.counters import ledger
from pcache.eviction import usage
from pcache.layout import ledger_folder, usage_path
from pcache.signing import seal
from tests.faults.hunting import LONG, rounds
from tests.support.running import cache_of

Evidence = Callable[[str, str, int, int], None]
COMMANDS = ("stats", "stats --json", "stats --plot", "ls", "ls --json", "verify", "report -o -", "clear --dry-run")
computed: list[int] = []


def double(n: int) -> int:
    computed.append(n)
    return 2 * n


def treble(n: int, *, times: int = 3) -> int:
    return times * n


@pytest.fixture
def filled(tmp_path: Path) -> Any:
    """A cached function with results, of which one was removed, and with an adopted version."""
    cache = Cache(tmp_path / "cache", max_entries=1000)
    cache.cached(version=1)(treble)(1)
    treble_now = cache.cached(version=2)(treble)
    treble_now.adopt()
    function = cache.cached(code="none")(double)
    for n in (1, 2, 3):
        function(n)
    function.invalidate(3)
    cache.flow.saving.limiter.flush()
    cache.flow.ledger.flush()
    assert "double" in ledger_file(cache, "counters").read_text()
    write_totals(cache, "480000 m:old\thits 5")
    return function


def ledger_file(cache: Cache, name: str) -> Path:
    return Path(ledger_folder(cache.location)) / name


def write_totals(cache: Cache, lines: str, since: str = "1600000000") -> None:
    """Write totals as a user with the key can."""
    keyring = cache.flow.keys.ensure()
    data = seal.block(b"totals", f"{since}\t\t\n{lines}".encode("utf-8", "replace"), keyring)
    ledger_file(cache, "totals").write_bytes(data)


def books(function: Any) -> list[Path]:
    """The files beside the entries."""
    root = Path(function._flow.directory.location)
    return sorted(path for path in root.rglob("*") if path.is_file() and "entries" not in path.parts)


def damaged(data: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """A file with a flipped bit, cut, extended, zeroed, replaced by noise or by text; `count` of each."""
    for at in chance.sample(range(len(data)), min(count, len(data))):
        yield data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        yield data[:at]
        yield data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]
        yield data + chance.randbytes(at % 600)
        yield chance.randbytes(len(data))
    yield from (b"", b"\0" * len(data), b"[]", b"{}", b"null", b'{"key_id": 5}', b"[" * 50_000, "\u2028\u0663".encode())


def problems_of(function: Any, commands: tuple[str, ...]) -> Iterator[str]:
    """Problems that callers or commands notice."""
    before = len(computed)
    if [function(1), function(2)] != [2, 4] or len(computed) != before:
        yield "a stored result is not found"
    if function.refresh(4) != 8 or "miss, absent" not in str(function.explain(3)):
        yield "a call is wrong"
    for command in (*commands, f"show {function.key(1)}"):
        found = CliRunner().invoke(main, [*command.split(), "-C", function._flow.directory.location])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            yield f"{command}: {found.exception!r}"
        if found.exit_code not in (0, 1, 2):
            yield f"{command}: exits with {found.exit_code}"


def test_damage_to_the_books(filled: Any, evidence: Evidence) -> None:
    """After any damage to a file beside the entries, calls hit and compute as before, and commands succeed."""
    chance, tried, failed = random.Random(), 0, []
    files = books(filled)
    names = {path.name.partition("-")[0] for path in files} | {path.suffix for path in files}
    assert {"counters", "totals", "removed", "occupancy", ".json", ".adopted", "CACHEDIR.TAG"} <= names
    for path in files:
        intact = path.read_bytes()
        for data in damaged(intact, chance, rounds(1, 60)):
            path.write_bytes(data)
            fresh = Cache(filled._flow.directory.location, max_entries=1000).cached(code="none")(double)
            tried += 1
            commands = COMMANDS if LONG else COMMANDS[tried % 8 :][:1]
            failed += [f"{path.name}: {data[:80]!r}: {problem}" for problem in problems_of(fresh, commands)]
        path.write_bytes(intact)
    evidence("never in the way", "registry, adoptions, ledger, room, tag damaged", tried, len(failed))
    assert tried > 80
    assert not failed


HUGE = "9" * 4000
LINES = (
    *(f"{hour} m:f\thits 5" for hour in (-1, 0, 10**9, 10**12, 10**30, HUGE, "9" * 5000, "1_0", "x", "", "nan")),
    *(f"480000 m:f\t{name} {HUGE}" for name in ("hits", "saved_ns", "computed_ns", "hit_ns", "misses.absent", "new")),
    *(f"480000 m:f\thits {n}" for n in (-5, "-" + HUGE, "9" * 5000, "0x5", "5 5", "", "1e9", "inf", "\u0665")),
    *("480000", "480000 ", "480000 m:f\t", "480000 m:f\t\t\t", "480000 m:f\thits", "\t", " ", "480000 \x1b[2J\thits 1"),
    *(f"480000 m:f\tmisses.{kind} 1" for kind in ("", "\x1b[2J", "x" * 5000)),
)
HEADINGS = ("nan", "inf", "-inf", "1e400", "-5", "1e300", "", "x", HUGE, "5 ../../x /etc/passwd counters.0", "1e17")


def test_numbers_behind_a_seal(filled: Any, evidence: Evidence) -> None:
    """A valid line with impossible numbers is skipped even if a user with the key wrote it."""
    folder, failed, tried = ledger_file(cache_of(filled), ""), [], 0
    keyring = filled._flow.keys.ensure()
    for line in LINES[:: rounds(3, 1)]:
        write_totals(cache_of(filled), f"480000 m:old\thits 5\n{line}\n")
        failed += [f"{line[:60]!r}: {problem}" for problem in problems_of(filled, COMMANDS[:3])]
        ledger.merge(str(folder), keyring)
        tried += 1
    for heading in HEADINGS[:: rounds(2, 1)]:
        write_totals(cache_of(filled), "480000 m:f\thits 5\n", heading)
        failed += [f"{heading[:60]!r}: {problem}" for problem in problems_of(filled, (*COMMANDS[:3], "report -o -"))]
        ledger.merge(str(folder), keyring)
        tried += 1
    filled._flow.ledger.count("m:f", hits=1)
    assert filled._flow.ledger.flush()
    assert ledger.read(filled._flow.directory.location, keyring).amounts
    evidence("never in the way", "ledger lines with absurd numbers", tried, len(failed))
    assert not failed


@pytest.mark.parametrize("number", [-1, -(2**63), 2**63 - 1, 2**62])
def test_room_behind_a_right_check(filled: Any, number: int) -> None:
    """A usage file with more than any disk holds, or with negative numbers, counts as missing."""
    path = Path(usage_path(filled._flow.directory.location))
    rows = Struct(f"<{2 * usage.SHARDS}q").pack(*[number] * (2 * usage.SHARDS))
    body = b"PCROOM\x00\x01" + rows
    path.write_bytes(body + Struct("<I").pack(zlib.crc32(body)))
    assert usage.read(str(path)) is None
    fresh = Cache(filled._flow.directory.location, max_entries=1000).cached(code="none")(double)
    assert not [*problems_of(fresh, COMMANDS)]
    assert [fresh.refresh(n) for n in range(9)] == [2 * n for n in range(9)]
    fresh._flow.saving.limiter.flush()
    found = usage.read(str(path))
    assert found is not None
    there = len(list(fresh._flow.store.scan()))
    assert there <= usage.total_of(found).entries <= there + 20  # replaced entries count until the shard is listed


@pytest.mark.parametrize("seconds", [-(10**11), -1, 0, 10**10, 2**33, 10**12, 2**62 // 10**9])
def test_times_that_no_clock_shows(filled: Any, seconds: int) -> None:
    """Modification times in the far past or future change the order of eviction, and break no command."""
    for item in filled._flow.store.scan():
        os.utime(item.path, ns=(0, seconds * 10**9))
    assert not [*problems_of(filled, COMMANDS)]
