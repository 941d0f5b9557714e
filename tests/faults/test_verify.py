"""`pcache verify`: it finds all damage and nothing else, also while others work, and reports it legibly."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pcache import Cache
from pcache.cli import main
from pcache.entry import format as entry_format
from pcache.entry.compression import RAW, Part
from pcache.entry.pickling import dump
from pcache.maintenance import cleanup
from pcache.maintenance.selection import inspect_entry
from pcache.signing.keyring import Keyring, make_keyring
from pcache.storage.store import name_of
from tests.faults.damages import Patient
from tests.faults.hunting import rounds
from tests.support.processes import KEY, RING, Block, Talker

Evidence = Callable[[str, str, int, int], None]
FUNCTION = bytes(range(8))


def fill(cache: Cache, count: int) -> list[Path]:
    """Store many entries as a program does, quickly, of one value in four kinds."""
    cache.cached(code="none")(abs)(-1)  # makes the directory
    values: list[Any] = [7, {"n": "text " * 20}, [Block(b"0123456789" * 30)], [Block(bytes(5000)), "x"]]
    payloads = [dump(value) for value in values]
    paths, chance = [], random.Random(count)
    for number in range(count):
        key = chance.randbytes(20)
        payload = payloads[number % len(payloads)]
        facts = entry_format.Facts(key, FUNCTION, time.time_ns(), entry_format.NEVER, 10**9)
        buffers = [Part(bytes(buffer), len(bytes(buffer)), RAW) for buffer in payload.buffers]
        stream = Part(payload.stream, len(payload.stream), RAW)
        path = Path(cache.flow.store.place(name_of(FUNCTION.hex(), key.hex())))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(b"".join(map(bytes, entry_format.encode(facts, b"{}", stream, buffers, RING))))
        path.chmod(0o600)
        paths.append(path)
    return paths


def foreign(data: bytes, ring: Keyring) -> bytes:
    """The same entry, signed with another key."""
    header, _, stream, buffers = entry_format.decode(data, RING)
    facts = entry_format.Facts(*(getattr(header, name) for name in entry_format.Facts._fields))
    parts = [Part(buffer, len(buffer), RAW) for buffer in buffers]
    return b"".join(map(bytes, entry_format.encode(facts, b"{}", Part(stream, len(stream), RAW), parts, ring)))


def seed_damage(paths: list[Path], chance: random.Random) -> dict[str, str]:
    """Damage files in every way; return the reason to be listed for each, by path."""
    other = make_keyring([bytes(32)])

    def flipped(data: bytes) -> bytes:
        at = chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]

    kinds: list[Callable[[bytes], bytes]] = [
        flipped,
        lambda data: data[: chance.randrange(len(data))],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data[:64] + bytes(64) + data[128:],
        lambda data: data[:7] + b"\x02" + data[8:],
        lambda data: paths[0].read_bytes(),
        lambda data: foreign(data, other),
    ]
    seeded = {}
    for number, path in enumerate(paths[1:]):
        kind = number % (len(kinds) + 1)
        if kind == len(kinds):
            path.unlink()
            path.symlink_to(paths[0])
        else:
            path.write_bytes(kinds[kind](path.read_bytes()))
        seeded[str(path)] = "foreign" if kind == len(kinds) - 1 else "damaged"
    return seeded


def test_all_damage_and_nothing_else(tmp_path: Path, evidence: Evidence) -> None:
    """Of thousands of entries exactly the damaged ones are listed, each with its reason; repair removes these."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    paths, chance = fill(cache, rounds(3_000, 100_000)), random.Random(1)
    seeded = seed_damage(chance.sample(paths, len(paths) // 20), chance)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = cache.verify()
    took, grown = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(  # noqa: T201 - the figures, for `pytest -rA`
        f"{found.checked} entries, {found.checked / took:,.0f} a second, {grown / 1024:.1f} MiB more memory"
    )
    listed = {problem.path: problem.reason for problem in found.problems}
    wrong = len(seeded.items() ^ listed.items())
    evidence("never wrong", "verify among seeded damage of ten kinds", found.checked, wrong)
    assert found.checked == len(paths) + 1
    assert len(seeded) > found.checked // 25
    assert listed == seeded
    # Damaged entries are removed; intact ones and those that others signed stay.
    removed = cache.verify(repair=True).removed
    gone = {str(path) for path in paths if not os.path.lexists(path)}
    assert gone == {path for path, reason in seeded.items() if reason == "damaged"}
    assert removed.entries == len(gone)
    assert {problem.reason for problem in cache.verify().problems} == {"foreign"}


def test_an_entry_that_was_healed_meanwhile_stays(tmp_path: Path) -> None:
    """Between check and removal of a damaged entry a call may have stored it anew: then it is not removed."""
    patient = Patient(tmp_path, "dict")
    others = [Patient(tmp_path, "dict", n) for n in range(2, 30)]
    patient.path.write_bytes(patient.data[:-1])
    others[0].path.write_bytes(b"")

    def heal(done: int, total: int) -> None:
        if done == total and done == 29:  # all of them were checked
            assert patient.function(*patient.call) == patient.expected

    found = cleanup.verify(patient.cache.directory, repair=True, progress=heal)
    assert len(found.problems) == 2
    assert found.removed.entries == 1
    assert patient.is_healthy()
    assert not others[0].path.exists()


WORKER = """
import random
chance = random.Random(int(sys.argv[2]))
def f(n):
    return [n] * (n * 40 % 3000)
def g(n):
    import numpy
    return numpy.full(n * 700, n)
f, g = cache.cached(f), cache.cached(g)
say("ready")
hear()
done = wrong = 0
while not os.path.exists(sys.argv[3]):
    n = chance.randrange(60)
    action = chance.randrange(9)
    if action == 0:
        f.invalidate(n)
    elif action == 1:
        chance.choice([lambda: cache.evict(max_entries=30), lambda: cache.clear(g), cache.clear])()
    elif action == 2:
        wrong += f.refresh(n) != [n] * (n * 40 % 3000)
    elif action < 6:
        wrong += f(n) != [n] * (n * 40 % 3000)
    else:
        found = g(n)
        wrong += len(found) != n * 700 or bool((found != n).any())
    done += 1
    if done == 15:
        open(sys.argv[3] + sys.argv[2], "w").close()  # enough
say(done, wrong)
"""


@pytest.mark.parametrize("repair", [False, True])
def test_no_false_alarm_while_others_work(tmp_path: Path, evidence: Evidence, repair: bool) -> None:
    """While four processes store, refresh, remove and evict, nothing is reported damaged, and no value is wrong."""
    stop = tmp_path / "stop"
    workers = [Talker(WORKER, tmp_path / "cache", number, stop) for number in range(4)]
    for worker in workers:
        worker.hear()
    for worker in workers:
        worker.say()
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    checked, problems = 0, []
    deadline = time.monotonic() + rounds(2, 60)
    while time.monotonic() < deadline or checked < 50 or len([*tmp_path.glob("stop?")]) < len(workers):
        found = cache.verify(repair=repair)
        checked += found.checked
        problems += found.problems
    stop.touch()
    said = [line.split() for worker in workers for line in worker.finish()]
    done, wrong = (sum(int(words[i]) for words in said) for i in range(2))
    evidence("never wrong", "verify while four processes work", checked, len(problems) + wrong)
    assert done >= 60
    assert (problems, wrong) == ([], 0)


def run(cache: Cache, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["-C", cache.location, "verify", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_what_it_says_of_a_thousand_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reasons are counted below the list, `--json` has all of them, and the exit codes are as documented."""
    monkeypatch.setenv("PCACHE_KEY_FILE", str(tmp_path / "key"))
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    cache = Cache(tmp_path / "cache")
    assert run(cache).exit_code == 1  # there is no such cache yet
    paths = fill(cache, 1200)
    assert "all are intact" in run(cache).output
    for number, path in enumerate(paths[:1000]):
        path.write_bytes(path.read_bytes()[: -1 - number % 3])
    found = run(cache)
    assert found.exit_code == 1
    assert "Checked 1,201 entries" in found.stdout
    assert "1,000 damaged." in found.stdout
    assert "verify --repair" in found.stderr
    report = json.loads(run(cache, "--json").stdout)
    assert (report["checked"], len(report["problems"]), report["dry_run"]) == (1201, 1000, False)
    assert {problem["path"] for problem in report["problems"]} == {str(path) for path in paths[:1000]}
    planned = json.loads(run(cache, "--repair", "--dry-run", "--json").stdout)
    assert planned["removed"]["entries"] == 1000
    assert len(list(cache.flow.store.scan())) == 1201
    assert run(cache, "--repair").exit_code == 1
    assert run(cache, "--repair").exit_code == 0
    assert len(list(cache.flow.store.scan())) == 201


MEMORY = """
import resource
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
before = peak()
found = cache.verify()
say(found.checked, len(found.problems), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
@pytest.mark.parametrize("kind", ["mapped", "compressed"])
def test_large_arrays_take_little_memory(tmp_path: Path, kind: str) -> None:
    """An array is checked piece by piece: verifying a large one takes no more memory."""
    size = 120 << 20
    value = Block(random.Random(1).randbytes(1 << 20) * (size >> 20)) if kind == "mapped" else Block(size)
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    Cache(tmp_path / "cache", signing_key=KEY, compression="none" if kind == "mapped" else 1).cached(code="none")(
        bytearray_of
    ).put(value, 1)
    del value
    (item,) = cache.flow.store.scan()
    assert (item.length > size) == (kind == "mapped")
    from tests.support.processes import run as run_script

    checked, problems, more = map(int, run_script(MEMORY, tmp_path / "cache")[0].split())
    assert (checked, problems) == (1, 0)
    assert more < 40 << 10  # KiB, imports included
    data = Path(item.path).read_bytes()
    Path(item.path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [problem.reason for problem in cache.verify().problems] == ["damaged"]
    shutil.rmtree(tmp_path / "cache")


def bytearray_of(n: int) -> Any:
    return Block(n)


def test_it_inspects_without_unpickling(tmp_path: Path) -> None:
    """Verifying uses inspection, which returns bytes and unpickles nothing."""
    patient = Patient(tmp_path, "an object")
    (item,) = patient.cache.flow.store.scan()
    assert b"Point" in inspect_entry(patient.cache.directory, item, buffers=True).stream
