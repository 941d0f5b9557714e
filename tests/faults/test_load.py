"""Many processes and threads that do everything at once in one directory, whose limits are reached all the time.

Every value proves that it is whole, belongs to its call and is not older than promised: after a refresh no caller gets
a result whose computation began before.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pcache import Cache
from tests.faults import load_program
from tests.faults.hunting import rounds
from tests.support.processes import KEY, Talker, claims_below

THREADS, KEYS = 4, 1000


def test_load(tmp_path: Path, evidence: Callable[[str, str, int, int], None]) -> None:
    """No wrong value, no exception, no damaged entry, no claim left, limits kept, and every call counted once."""
    seed, versions = random.randrange(10**6), tmp_path / "versions"
    settings = (THREADS, KEYS, rounds(8, 600), seed)
    workers = [Talker(load_program.WORKER, tmp_path / "cache", versions, n, *settings) for n in range(rounds(6, 16))]
    for worker in workers:
        worker.hear()
    for worker in workers:
        worker.say()
    found = [json.loads(worker.finish()[-1]) for worker in workers]
    done = sum((Counter(each["done"]) for each in found), Counter())
    wrong = [item for each in found for item in each["wrong"]]
    errors = [item for each in found for item in each["errors"]]
    print(f"seed {seed}: {dict(done)}, {versions.stat().st_size} versions")  # noqa: T201 - for `pytest -rA`
    evidence(
        "never wrong", "everything at once in many processes and threads, at the limits", done["calls"], len(wrong)
    )
    evidence("never in the way", "everything at once, exceptions and damage", done.total(), len(errors))
    assert (wrong, errors) == ([], []), f"seed {seed}"
    assert min(done[name] for name in ("refresh", "invalidate", "clear", "evict", "verify", "recompress", "stats")) > 0
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    verified, counted = cache.verify(), cache.stats()
    assert verified.problems == ()
    assert claims_below(tmp_path) == []
    assert verified.checked <= KEYS // 2 * 1.1
    assert counted.hits + counted.misses == done["calls"]
    evidence("bounded", "entries and counts after everything at once", 1, 0)
