"""Two users of one group, one of whom, without the signing key, attacks the other.

The attacker swaps folders for links to private files of the victim, takes every lock, and plants files of all kinds,
among them results that the victim had stored and removed. The victim makes calls and maintains the directory meanwhile.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.hunting import rounds
from tests.faults.users import PEOPLE, commons, needs_users
from tests.support.processes import run

__all__ = ["commons"]  # a fixture

pytestmark = needs_users
Evidence = Callable[[str, str, int, int], None]

# Claims and locks are held for a moment, and sometimes for longer than calls wait for a holder without the key.
HOLD, LONG_HOLD = 0.05, 3.0  # seconds

VICTIM = """
import difflib, hashlib, shutil, time
from pathlib import Path
from pcache import ConfigError, DirectoryError
warnings.simplefilter("ignore")
root, private = Path(SHARED), Path(sys.argv[2], "private")
def g(n):
    return [n] * 300
def mine():
    return Cache(private, signing_key=KEY)
def prepare():
    for cache in (mine(), commons()):
        cached = cache.cached(g)
        for n in range(12):
            cached(n)
        cache.flow.ledger.flush(), cache.flow.saving.limiter.flush()
        for name in ("functions", "ledger", "locks"):
            Path(cache.location, "v1", name).mkdir(exist_ok=True, mode=0o700)
    return True
def seen():
    files = sorted(path for path in [*private.rglob("*"), Path(sys.argv[2], "precious.txt")] if path.is_file())
    return {str(path): [path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files}
def operations(chance, n):
    options = {"max_entries": 20} if chance.random() < 0.3 else {}
    cache = commons(**options)
    cached = cache.cached(g)
    other = 1000 + n % 37
    return {
        "call": lambda: cached(other),
        "call again": lambda: cached(other),
        "refresh": lambda: cached.refresh(other),
        "clear": cache.clear,
        "clear one": lambda: cache.clear("g"),
        "evict": lambda: cache.evict(max_entries=3),
        "verify": lambda: cache.verify(repair=True),
        "recompress": lambda: cache.recompress("none"),
        "invalidate": lambda: cached.invalidate(n % 12),
        "explain": lambda: cached.explain(n % 12),
        "stats": cache.stats,
        "entries": lambda: list(cache.entries()),
        "versions": cache.versions,
        "flush": cache.flow.ledger.flush,
    }, [other] * 300
def be_the_victim():
    chance, before = random.Random(int(sys.argv[4])), seen()
    wrong, raised, touched, slowest = 0, [], [], [0.0, ""]
    for n in range(int(sys.argv[3])):
        started = time.monotonic()
        name = "none"
        try:
            acts, value = operations(chance, n)
            name = chance.choice([*acts, "call", "call again"])
            started = time.monotonic()
            result = acts[name]()
            wrong += name in ("call", "call again", "refresh") and result != value
        except DirectoryError as error:
            if name in ("call", "call again", "refresh") or "\\n" in str(error):
                raised.append(f"{name}: {error!r:.200}")
        except ConfigError as error:  # a function without stored results
            if name != "clear one":
                raised.append(f"{name}: {error!r:.200}")
        except Exception as error:
            raised.append(f"{name}: {error!r:.200}")
        slowest = max(slowest, [time.monotonic() - started, name])
        after = seen()
        touched += [f"{name}: {path}" for path, facts in before.items() if after.get(path) != facts]
        before = after
    return [wrong, raised[:5], touched[:5], slowest]
"""

ATTACKER = """
import fcntl, shutil
stop = Path(sys.argv[2], "stop")
FOLDERS = ["v1", "v1/entries", "v1/functions", "v1/ledger", "v1/locks"]
def swap(chance, stored):
    name = chance.choice([*FOLDERS, *(str(Path(path).parent) for path in stored)])
    there, aside = root / name, root / f"aside{chance.randrange(10**9)}"
    os.rename(there, aside)
    try:
        way = chance.randrange(4)
        if way < 2:
            os.symlink(private / name, there)
        elif way == 2:
            os.symlink(aside, there)
        else:
            shutil.copytree(aside, there, symlinks=True)
        for _ in range(chance.randrange(300)):
            os.path.lexists(there)  # a moment
    finally:
        if there.is_symlink():
            there.unlink()
        elif there.exists():
            shutil.rmtree(there, ignore_errors=True)
        os.rename(aside, there)
def lock(chance, stored):
    held = []
    for path in [*root.glob("v1/entries/*/*.claim"), *root.glob("v1/locks/*"), root / "v1/ledger/occupancy"]:
        try:
            held.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW))
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
    select.select([], [], [], LONG_HOLD if chance.random() < 0.02 else chance.random() * HOLD)
    for fd in held:
        os.close(fd)
def plant(chance, stored):
    path, data = chance.choice(list(stored.items()))
    names = [path, path, path, f"{path}.claim", "v1/ledger/counters", "v1/ledger/removed", "v1/ledger/occupancy",
             "v1/ledger/totals", "v1/locks/evict", "v1/locks/ledger", "v1/functions/" + "0" * 16 + ".json",
             "v1/functions/" + "0" * 16 + ".adopted", "CACHEDIR.TAG", "v1/entries/zz", "v1/entries/00"]
    there, spare = root / chance.choice(names), root / f"spare{chance.randrange(10**9)}"
    way = chance.randrange(8)
    if way < 3 and str(there).endswith(path):
        spare.write_bytes(data)  # the result that was stored there once
    elif way < 4:
        spare.write_bytes(chance.randbytes(chance.choice([0, 20, 5000])))
    elif way < 5:
        os.symlink(Path(sys.argv[2], "precious.txt"), spare)
    elif way < 6:
        os.mkfifo(spare)
    elif way < 7:
        os.symlink(private / there.relative_to(root), spare)
    else:
        spare.write_bytes(data[:-1] + b"?")
    if not spare.is_symlink():
        os.chmod(spare, 0o660)
    there.parent.mkdir(exist_ok=True)
    os.rename(spare, there)
def remove(chance, stored):
    files = [path for path in root.rglob("*") if not path.is_dir()]
    os.unlink(chance.choice([*files, root / "nothing"]))
ACTS = {"swapper": swap, "locker": lock, "planter": plant, "remover": remove}
def be_the_attacker(role):
    chance, done, refused = random.Random(int(sys.argv[4])), 0, 0
    stored = {str(path.relative_to(root)): path.read_bytes() for path in root.glob("v1/entries/*/*")}
    os.write(started, b"x")
    while not stop.exists() and os.getppid() == parent:
        try:
            ACTS[role if role in ACTS else chance.choice(list(ACTS))](chance, stored)
            done += 1
        except OSError:
            refused += 1
    return [done, refused]
Path(sys.argv[2], "precious.txt").write_text("precious")
os.chown(Path(sys.argv[2], "precious.txt"), FIRST, FIRST)
private.mkdir(mode=0o700)
os.chown(private, FIRST, FIRST)
os.chmod(sys.argv[2], 0o711)
become(FIRST, prepare)
ready, started = os.pipe()
parent = os.getpid()
attackers = [start(SECOND, lambda: be_the_attacker(sys.argv[5]))]
os.read(ready, 1)
try:
    found = become(FIRST, be_the_victim)
finally:
    stop.touch()
say(json.dumps([found, [end(attacker) for attacker in attackers]]))
"""


@pytest.mark.parametrize("role", ["swapper", "locker", "planter", "all of them"])
def test_a_member_who_has_no_key(tmp_path: Path, commons: Path, evidence: Evidence, role: str) -> None:
    """Right values, no exception, no long wait, and the victim's private files stay as they are, to the last byte."""
    count = rounds(120, 5000)
    script = PEOPLE + VICTIM + f"HOLD, LONG_HOLD = {HOLD}, {LONG_HOLD}\n" + ATTACKER
    (line,) = run(script, tmp_path / "warm", commons, count, random.randrange(10**9), role)
    (wrong, raised, touched, (slowest, name)), [(done, refused)] = json.loads(line)
    evidence("never wrong", f"a member of the group without the key: {role}", count, wrong + len(raised + touched))
    assert (wrong, raised, touched) == (0, [], [])
    assert done > 0, refused  # the number depends on scheduling, and locks may be held for seconds
    assert slowest < 10, name
