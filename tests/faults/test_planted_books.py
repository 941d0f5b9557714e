"""A user without the key plants files beside the entries: nothing in them is believed, and little is read."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache
from pcache.counters import ledger
from pcache.signing import seal
from pcache.versions import registry
from tests.faults.hunting import rounds
from tests.support.processes import KEY, OTHER_RING

Evidence = Callable[[str, str, int, int], None]
_MOST = 24 << 20  # bytes that an operation may read, of three ledger files; hundreds of MiB are planted
_SIZE = 7 << 20


def double(n: int) -> int:
    return 2 * n


def contents(chance: random.Random, ours: bytes) -> bytes:
    """File contents that a user who knows the format, and has seen one of our files, may write."""
    line = b"498000 m:f\thits 1000000\n"
    facts = registry.describe("0" * 16, "evil:f")._asdict()
    made: list[Callable[[], bytes]] = [
        lambda: b"[" * (_SIZE // 2),
        lambda: b'{"seal":"' + b"0" * _SIZE,
        lambda: b"\n@" * (_SIZE // 2),
        lambda: seal.block(b"counters", line * 1000, OTHER_RING) * 100,
        lambda: seal.block(b"totals", b"1600000000\t\t\n" + line * 1000, OTHER_RING),
        lambda: seal.to_json(b"function", facts, OTHER_RING),
        lambda: ours + line * 100_000,
        lambda: ours[: len(ours) // 2] + b"\0" * _SIZE,
        lambda: chance.randbytes(_SIZE),
        lambda: json.dumps({"seal": ours[9:117].decode("latin1"), "name": "evil:f"}).encode(),
        lambda: b"",
    ]
    return chance.choice(made)()


def plant(root: Path, chance: random.Random, mark: str) -> None:
    """Put odd files, many names and hard links into the folders beside the entries."""
    functions, books = root / "v1" / "functions", root / "v1" / "ledger"
    ours = [path for folder in (functions, books) for path in folder.iterdir() if path.stat().st_nlink == 1]
    names = [
        *(functions / f"{chance.getrandbits(64):016x}.{chance.getrandbits(64):016x}.json" for _ in range(5)),
        *(functions / f"{chance.getrandbits(64):016x}.{suffix}" for suffix in ("json", "adopted", f"{mark}.json")),
        *(books / f"counters.{chance.getrandbits(64):016x}" for _ in range(5)),
        *chance.sample(sorted(ours), 2),
        *(books / name for name in chance.sample(["totals", "removed", "removed.1", "counters", "totals.new"], 2)),
    ]
    for name in names:
        data = chance.choice(ours).read_bytes() if ours else b""
        name.unlink(missing_ok=True)
        name.write_bytes(contents(chance, data))
        name.chmod(0o600)
        for n in range(chance.choice((0, 0, 60))):
            twin = name.with_name(f"{n:016x}.{n:016x}.json" if name.parent == functions else f"counters.{n:016x}")
            twin.unlink(missing_ok=True)
            os.link(name, twin)


@pytest.mark.parametrize("seed", range(rounds(3, 60)))
def test_what_was_planted_is_not_believed(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    """Calls, listings and maintenance give the same results as before, read little, and count nothing planted."""
    chance = random.Random(seed)
    cache = Cache(tmp_path / "cache", signing_key=KEY, max_entries=30)
    cached = cache.cached(double)
    for n in range(40):
        cached(n)
    cache.flow.ledger.flush()
    ledger.merge(cache.flow.ledger._folder, cache.flow.keys.ensure())
    plant(tmp_path / "cache", chance, seal.mark(b"function", cached.function_id, KEY))
    read, real, problems = [0], os.read, []
    monkeypatch.setattr(os, "read", lambda fd, n: [data := real(fd, n), read.append(len(data))][0])
    fresh = Cache(tmp_path / "cache", signing_key=KEY, max_entries=30)
    function = fresh.cached(double)
    folder = fresh.flow.ledger._folder
    operations: dict[str, Callable[[], Any]] = {
        "calls": lambda: [function(n) for n in range(30, 60)] == [2 * n for n in range(30, 60)],
        "stats": lambda: fresh.stats().hits < 1000 and "evil" not in repr(fresh.stats()),
        "versions": lambda: [version.function for version in fresh.versions()] in ([], [function.name]),
        "periods": lambda: all(period.hits < 1000 for period in fresh.periods()),
        "explain": lambda: "evil" not in str(function.explain(-1)),
        "merge": lambda: ledger.merge(folder, fresh.flow.keys.ensure()),
        "evict": lambda: fresh.evict(max_entries=10) is not None,
        "clear": lambda: fresh.clear() is not None,
    }
    for name, operation in operations.items():
        read.clear()
        if not operation():
            problems.append(f"{name} is wrong")
        if sum(read) > _MOST * (2 if name in ("stats", "explain") else 1):
            problems.append(f"{name} read {sum(read):,} bytes")
    evidence("bounded", "names, counters and removals that somebody without the key planted", 1, len(problems))
    assert problems == []
