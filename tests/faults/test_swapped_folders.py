"""A folder of a cache is swapped for a link to another cache, before each system call of each kind of maintenance.

A user who may write to a directory can do that at any moment. The other cache holds results of the same calls, so any
operation by a path that was checked before would remove, write or rename files there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.hunting import rounds
from tests.support.processes import run

Evidence = Callable[[str, str, int, int], None]

# The system calls of an operation are counted without a swap; then it is repeated, with a swap at each of them.
SWAPS = """
from tests.support.processes import place_of
import json, shutil, warnings
from pathlib import Path
from pcache import DirectoryError, Miss
from pcache.counters import ledger
warnings.simplefilter("ignore")
root, name, what, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
precious = root.with_name("precious")
def f(n):
    return [n] * 5000
def of(place, **options):
    return Cache(place, signing_key=bytes(range(32)), **options)
def fill(place):
    shutil.rmtree(place, ignore_errors=True)
    filled = of(place)
    cached = filled.cached(f)
    for n in range(6):
        cached(n)
    path = Path(place_of(cached, 1))
    if place == root:  # a claim that is not held holds nothing: taking one by its path may take the other's
        Path(f"{place_of(cached, 2)}.claim").write_bytes(b"")
    path.write_bytes(path.read_bytes()[:-1])  # damaged
    filled.flow.ledger.flush(), filled.flow.saving.limiter.flush()
    Path(place, "v1", "locks").mkdir(mode=0o700, exist_ok=True)
    Path(place, "v1", "functions", "0" * 16 + ".json.00000000").write_bytes(b"")
    os.utime(Path(place, "v1", "functions", "0" * 16 + ".json.00000000"), (1, 1))
    return path
def call_another(place):
    bounded = of(place, max_entries=3).cached(f)
    assert bounded(100)[0] == 100 and bounded(101)[0] == 101
    bounded._flow.saving.limiter.flush()
def count(place):
    other = of(place)
    other.flow.ledger.count("f", hits=1), other.flow.ledger.flush()
    ledger.merge(other.flow.ledger._folder, other.flow.keys.ensure())
ACTS = {
    "clear": lambda: of(root).clear(),
    "clear one": lambda: of(root).clear("f"),
    "evict": lambda: of(root).evict(max_entries=2),
    "verify": lambda: of(root).verify(repair=True),
    "recompress": lambda: of(root).recompress("none"),
    "invalidate": lambda: of(root).cached(f).invalidate(3),
    "sweep": lambda: of(root).flow.store.sweep(),
    "limits": lambda: call_another(root),
    "count": lambda: count(root),
    "zero": lambda: ledger.merge(of(root).flow.ledger._folder, of(root).flow.keys.ensure(), zero=True),
}
def seen():
    return {str(path): (path.lstat().st_mtime_ns, path.read_bytes()) for path in precious.rglob("*") if path.is_file()}
swap_at, now, swapped = -1, 0, False
def hook(event, arguments):
    global now, swapped
    if swap_at >= 0 and event in ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.utime"):
        now += 1
        if now == swap_at:
            os.rename(folder, f"{folder}.away"), os.symlink(target, folder)
            swapped = True
sys.addaudithook(hook)
path = fill(precious)
before = seen()
shard = fill(root).parent.name
folder, target = (str(place) + ("/" + name.format(shard=shard)) * bool(name) for place in (root, precious))
tried = wrong = 0
errors = set()
at = 1 + step
while True:
    fill(root)
    swap_at, now, swapped = at, 0, False
    try:
        ACTS[what]()
    except (DirectoryError, Miss) as error:
        if "\\n" in str(error) or not str(error):
            errors.add(repr(error))
    except BaseException as error:
        errors.add(f"{at}: {error!r}")
    swap_at = -1
    if not swapped:
        break
    os.unlink(folder), os.rename(f"{folder}.away", folder)
    after = seen()
    if any(after.get(name) != facts for name, facts in before.items()):
        wrong += 1
        errors.add(f"{at}: changed {sorted(name for name in before if after.get(name) != before[name])}")
        fill(precious)
        before = seen()
    tried += 1
    at += int(sys.argv[5])
say(json.dumps([tried, wrong, sorted(errors)]))
"""
FOLDERS = ("v1", "v1/entries", "v1/entries/{shard}", "v1/functions", "v1/ledger", "v1/locks")
ACTS = (
    "clear", "clear one", "evict", "verify", "recompress", "invalidate", "sweep", "limits", "count", "zero",
)  # fmt: skip


@pytest.mark.parametrize("what", ACTS)
def test_a_folder_that_is_swapped_at_any_moment(tmp_path: Path, evidence: Evidence, what: str) -> None:
    """Nothing of the other cache is removed or changed, and refusals are reported in a sentence."""
    tried, wrong, errors = 0, 0, []
    stride = rounds(7, 1) * (40 if what == "limits" else 1)  # limits list all shards
    for number, folder in enumerate(FOLDERS):
        (line,) = run(SWAPS, tmp_path / str(number) / "cache", folder, what, number % stride, stride)
        found = json.loads(line)
        tried, wrong, errors = tried + found[0], wrong + found[1], errors + found[2]
    evidence("never in the way", "a folder swapped for a link to another cache", tried, wrong + len(errors))
    assert tried >= len(FOLDERS)
    assert (wrong, errors) == (0, [])
