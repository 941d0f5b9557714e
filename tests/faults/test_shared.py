"""Two users share a directory on purpose: they share results, and results of users without the key are not loaded."""

from __future__ import annotations

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

EACH_OTHERS = """
warnings.simplefilter("error")
rounds, chance, wrong = int(sys.argv[3]), random.Random(int(sys.argv[4])), 0
def use(n, action):
    cache = commons()
    cached, others = cache.cached(f), cache.cached(blocks)
    if action == "call":
        return [cached(n) == [n] * len(cached(n)), others(n) == blocks(n)]
    if action == "refresh":
        return [cached.refresh(n)[:1] == [n], others.refresh(n) == blocks(n)]
    if action == "invalidate":
        return [cached.invalidate(n), True]
    if action == "clear":
        return [cache.clear().entries > 0, cache.stats().entries == 0]
    if action == "evict":
        return [cache.evict(max_entries=1).entries > 0, cache.verify().problems == ()]
    if action == "recompress":
        return [cache.recompress("none").skipped == 0, cache.versions() != []]
for number in range(rounds):
    n, users = 7 * (number % 3) or number, [FIRST, SECOND]
    chance.shuffle(users)
    masks = [chance.choice([0, 0o002, 0o022, 0o077, 0o777]) for _ in users]
    first = become(users[0], lambda: use(n, "call"), masks[0])
    made = calls()
    second = become(users[1], lambda: use(n, "call"), masks[1])
    wrong += [first, second] != [[True] * 2] * 2 or len(made) > 1 or calls() != []
    action = ["refresh", "invalidate", "recompress", "evict", "clear"][number % 5]
    wrong += become(users[1], lambda: use(n, action), masks[1]) != [True, True]
    made = calls()
    back = become(users[0], lambda: use(n, "call"), masks[0])
    expected = action in ("invalidate", "clear") or (action == "evict" and None)
    wrong += back != [True, True] or (expected is not None and len(calls()) != expected)
    calls()
modes = {oct(os.lstat(os.path.join(where, name)).st_mode) for where, folders, files in os.walk(SHARED)
         for name in folders + files}
groups = {os.lstat(os.path.join(where, name)).st_gid for where, folders, files in os.walk(SHARED)
          for name in folders + files}
say(wrong, groups == {GROUP}, *sorted(modes))
"""


def test_each_others_results(tmp_path: Path, commons: Path, evidence: Evidence) -> None:
    """What one user stored, refreshed, removed, evicted or recompressed is so for the other, under any umask."""
    count = rounds(10, 300)
    (line,) = run(PEOPLE + EACH_OTHERS, tmp_path / "warm", commons, count, random.randrange(10**9))
    wrong, ours, *modes = line.split()
    evidence("never wrong", "two users of a shared directory use what the other stored", count, int(wrong))
    assert (wrong, ours, modes) == ("0", "True", ["0o100660", "0o42770"])


TOGETHER = """
warnings.simplefilter("error")
rounds, chance, computed, wrong, kills = int(sys.argv[3]), random.Random(int(sys.argv[4])), 0, 0, 0
def wait_and_call(gate, n):
    cached = commons().cached(f)
    os.read(gate, 1)
    return cached(n)[:1]
for number in range(rounds):
    gate, opener = os.pipe()
    waiting = [start(chance.choice([FIRST, SECOND]), lambda: wait_and_call(gate, number),
                     chance.choice([0, 0o022, 0o077])) for _ in range(4)]
    os.write(opener, b"xxxx")
    wrong += sum(end(child) != [number] for child in waiting)
    made = calls()
    computed += len(made)
    wrong += len(made) != 1
    os.close(gate), os.close(opener)
say(wrong, computed)
"""


def test_once_for_all_users(tmp_path: Path, commons: Path, evidence: Evidence) -> None:
    """Processes of two users that need the same missing result compute it once."""
    count = rounds(20, 600)
    (line,) = run(PEOPLE + TOGETHER, tmp_path / "warm", commons, count, random.randrange(10**9))
    wrong, computed = map(int, line.split())
    evidence("once", "four processes of two users miss the same result at once", count, wrong)
    assert (wrong, computed) == (0, count)


KILLED = """
warnings.simplefilter("error")
rounds, chance, wrong, left = int(sys.argv[3]), random.Random(int(sys.argv[4])), 0, 0
def stuck(n):
    os.write(started, b"x")
    signal.pause()
def claims():
    return [name for _, _, files in os.walk(SHARED) for name in files if ".claim" in name]
for number in range(rounds):
    ready, started = os.pipe()
    victim = lambda: commons().cached(stuck if number == -1 else f)(number)
    def f(n):
        if os.getuid() == FIRST:
            os.write(int(os.environ["STARTED"]), b"x")
            signal.pause()
        return n
    os.environ["STARTED"] = str(started)
    child, reading = start(FIRST, lambda: commons().cached(f)(number), chance.choice([0o022, 0o077]))
    os.read(ready, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left += len(claims())
    wrong += become(SECOND, lambda: commons().cached(f)(number), chance.choice([0o022, 0o077])) != number
    wrong += become(SECOND, lambda: list(commons().entries())[0].problem) != ""
    wrong += claims() != []
    for fd in (ready, started, reading):
        os.close(fd)
say(wrong, left)
"""


def test_a_killed_owner_of_another_user(tmp_path: Path, commons: Path, evidence: Evidence) -> None:
    """The claim that one user's killed process left is taken over by the other, and the result is stored."""
    count = rounds(5, 100)
    (line,) = run(PEOPLE + KILLED, tmp_path / "warm", commons, count, random.randrange(10**9))
    wrong, left = map(int, line.split())
    evidence("once", "a user's claim owner is killed, another user needs the result", count, wrong)
    assert (wrong, left) == (0, count)


STRANGERS = """
def use(n):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cached = commons().cached(f)
        values = [cached(n)[:1], cached(n)[:1]]
    return values, [str(warning.message) for warning in caught]
become(FIRST, lambda: use(1))
calls()
(values, said), made = become(STRANGER, lambda: use(1), groups=()), calls()
say(json.dumps([values, said, made]))
say(json.dumps([become(SECOND, lambda: use(1)), calls()]))
"""


def test_a_stranger_computes(tmp_path: Path, commons: Path) -> None:
    """A user who is not in the group gets their own results and one clear warning, and does not disturb others."""
    import json

    strangers, members = run(PEOPLE + STRANGERS, tmp_path / "warm", commons)
    values, (said, *more), made = json.loads(strangers)
    assert (values, made, more) == ([[1], [1]], [[1, 5003], [1, 5003]], [])
    assert "Permission denied" in said
    assert str(commons / "cache") in said
    assert json.loads(members) == [[[[1], [1]], []], []]


PLANTED = """
from tests.support.processes import place_of
from pathlib import Path
from pcache.signing.keyring import make_keyring
from tests.support.processes import Canary, entry_bytes
from pcache.entry import format as entry
rounds, chance = int(sys.argv[3]), random.Random(int(sys.argv[4]))
CANARY, OTHERS = Path(sys.argv[2], "log.canary"), make_keyring([b"o" * 32])
def plant(path, key, function_id, way):
    facts = entry.Facts(key, function_id, 10**18, entry.NEVER, 10**9)
    signed = bytearray(entry_bytes(Canary(CANARY), facts, OTHERS))
    data = bytearray(Path(path).read_bytes())
    if way == "own key":
        data = signed
    elif way == "our key id":
        data = bytearray(entry_bytes(Canary(CANARY), facts, OTHERS._replace(
            signing=make_keyring([KEY]).signing, keys={make_keyring([KEY]).signing: b"o" * 32})))
    elif way == "our head":
        data[entry.META_AT:] = signed[entry.META_AT:]
    elif way == "in place":
        with open(path, "r+b") as file:
            file.seek(chance.randrange(len(data)))
            old = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([old[0] ^ 1]))
        return True
    elif way == "link":
        os.unlink(path)
        Path(path + ".claim-00000000").write_bytes(signed)
        os.symlink(path + ".claim-00000000", path)
        return True
    os.unlink(path)
    Path(path).write_bytes(data)
    os.chmod(path, 0o666)
    return True
def call(n):
    cached = commons().cached(f)
    address = cached._calls.of((n,), {}).address
    return cached(n)[:1], place_of(cached, n), address.key.hex(), address.function_id.hex()
WAYS = ["own key", "our key id", "our head", "in place", "link"]
wrong = executed = planted = missed = 0
for number in range(rounds):
    n, way = number, WAYS[number % len(WAYS)]
    _, path, key, function_id = become(FIRST, lambda: call(n))
    calls()
    planted += become(SECOND, lambda: plant(path, bytes.fromhex(key), bytes.fromhex(function_id), way))
    wrong += become(FIRST, lambda: call(n))[0] != [n]
    missed += len(calls())
    executed += CANARY.exists()
open(CANARY.parent / "x.pickle", "wb").write(__import__("pickle").dumps(Canary(CANARY)))
__import__("pickle").load(open(CANARY.parent / "x.pickle", "rb"))
say(wrong, executed, planted, missed, CANARY.exists())
"""


def test_a_member_without_the_key(tmp_path: Path, commons: Path, evidence: Evidence) -> None:
    """Entries that a member of the group plants without the key, or changes in place, are misses and never loaded."""
    count = rounds(15, 500)
    (line,) = run(PEOPLE + PLANTED, tmp_path / "warm", commons, count, random.randrange(10**9))
    wrong, executed, planted, missed, sings = line.split()
    what = "a group member without the key replaces or edits entries of a shared directory"
    evidence("never executes what it did not write", what, count, int(executed) + int(wrong))
    assert (wrong, executed, sings) == ("0", "0", "True")
    assert int(planted) == int(missed) == count


MAPPED = """
from tests.support.processes import place_of
from pathlib import Path
import numpy
def blocks(n):
    return numpy.frombuffer(random.Random(n).randbytes(300_000), "u1").copy()
cache.cached(blocks)(1), cache.cached(blocks)(1)
def entry_of(n):
    return place_of(commons().cached(blocks), n)
become(SECOND, lambda: len(commons().cached(blocks)(3)))
path = become(SECOND, lambda: entry_of(3))
def change():
    with open(path, "r+b") as file:
        file.seek(-1000, 2)
        file.write(b"!" * 1000)
    return True
def read():
    block = commons().cached(blocks)(3)
    os.close(on), os.write(loaded, b"x"), os.read(go_on, 1)
    after = Path(path).read_bytes()[-1:]
    return after == b"!", bool((block == blocks(3)).all())
is_loaded, loaded = os.pipe()
go_on, on = os.pipe()
reader = start(FIRST, read)
os.close(loaded), os.close(go_on)
os.read(is_loaded, 1)
become(SECOND, change)
os.write(on, b"x")
say(*end(reader))
"""


def test_what_is_loaded_stays(tmp_path: Path, commons: Path) -> None:
    """A large buffer that was checked and loaded does not change when a member writes into its file."""
    assert run(PEOPLE + MAPPED, tmp_path / "warm", commons) == ["True True"]


WAY_IN = """
warnings.simplefilter("error")
def use(n):
    cached = Cache(SHARED + "/deep/er/cache", shared=True, signing_key=KEY).cached(f)
    return [cached(n)[:1] == [n], cached.exists(n)]
first = become(FIRST, lambda: use(2), int(sys.argv[3], 8))
made = calls()
second = become(SECOND, lambda: use(2), int(sys.argv[3], 8))
ways = [os.stat(SHARED + name) for name in ("/deep", "/deep/er")]
say(first, len(made), second, len(calls()), {(oct(way.st_mode), way.st_gid) for way in ways})
"""


@pytest.mark.parametrize("mask", ["0", "022", "077"])
def test_the_way_to_a_shared_directory(tmp_path: Path, commons: Path, mask: str) -> None:
    """Folders that are made above a shared one let its group through, and only their maker can replace it."""
    (line,) = run(PEOPLE + WAY_IN, tmp_path / "warm", commons, mask)
    assert line == "[True, True] 1 [True, True] 0 {('0o42750', 4242)}"


HOLDING = """
from tests.support.processes import place_of
import fcntl, time
warnings.simplefilter("ignore")
def where(n):
    cached = commons().cached(f)
    cached(n), cached.invalidate(n)  # the shard is there
    return place_of(cached, n) + ".claim"
def plant(path, kind):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
    os.fchmod(fd, 0 if kind == "closed" else 0o660)
    os.write(fd, {"record": b'{"host": "x", "pid": 1, "start": 1, "call": "f"}', "deep": b"[" * 90_000}.get(kind, b""))
    if kind != "closed":
        fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(planted[1], b"x")
    os.read(leave[0], 1)
def call(n):
    started, cached = time.perf_counter(), commons().cached(f)
    return [cached(n) == [n] * 5, time.perf_counter() - started, cached.exists(n)]
for n, kind in enumerate(["empty", "record", "deep", "closed"], 1):
    planted, leave = os.pipe(), os.pipe()
    path = become(FIRST, lambda: where(n))
    holder = start(SECOND, lambda: plant(path, kind))
    os.read(planted[0], 1)
    right, seconds, stored = become(FIRST, lambda: call(n))
    os.write(leave[1], b"x")
    end(holder)
    say(kind, right, stored, seconds)
"""


def test_claims_of_a_member_without_the_key(tmp_path: Path, commons: Path, evidence: Evidence) -> None:
    """Whatever such a member plants or locks, no call is delayed by two seconds, and its result is stored."""
    lines = [line.split() for line in run(PEOPLE + HOLDING, tmp_path / "warm", commons)]
    slow = [kind for kind, *_, seconds in lines if float(seconds) > (0.5 if kind == "closed" else 2)]
    evidence(
        "never in the way", "claims that a member of the group without the key holds or plants", len(lines), len(slow)
    )
    assert [line[1:3] for line in lines] == [["True", "True"]] * 4
    assert slow == [], lines
