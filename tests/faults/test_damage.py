"""Damage to the files of a cache, as disks, copies and people cause it: the call misses, is right, and heals it.

The reason is always `damaged`, also for an intact entry under another's name and for one of another format. Only
entries made with another signing key are `foreign`, and those that are too old `expired`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from pcache import StoreWarning
from pcache.entry import format as entry_format
from pcache.entry import reader
from pcache.storage import recent
from tests.faults.damages import LARGE, SMALL, Damage, Patient, additions, blocks, cuts, flips, wholes
from tests.faults.hunting import LONG, rounds
from tests.support.processes import KEY, run

Evidence = Callable[[str, str, int, int], None]


def bits_of(data: bytes) -> list[tuple[int, int]]:
    """Every bit, or in the short form one bit of each byte."""
    return [(at, bit) for at in range(len(data)) for bit in (range(8) if LONG else [random.randrange(8)])]


def others_of(patient: Patient) -> dict[str, bytes]:
    """Entries whose blocks may end up in this one: that of another call, and an earlier one of the same call."""
    another = Patient(patient.cache.location, patient.call[0], 2)
    patient.function.put(another.expected, *patient.call)
    earlier = patient.path.read_bytes()
    patient.function.refresh(*patient.call)
    patient.data = patient.path.read_bytes()
    return {"a block of another entry": another.data, "a block of an earlier version": earlier}


@pytest.mark.parametrize("kind", SMALL)
def test_bits_of_small_entries(tmp_path: Path, evidence: Evidence, kind: str) -> None:
    """A flipped bit of a small entry, with and without ttl, in place or in a new file, costs one computation."""
    settings: dict[str, dict[str, Any]] = {"plain": {}, "ttl": {"ttl": 3600, "verify": "always"}}
    if "buffer" not in kind:  # this one checks only the head
        settings["stream"] = {"verify": "stream"}
    for name, options in settings.items():
        patient = Patient(tmp_path / name, kind, **options)
        for number, (at, bit) in enumerate(bits_of(patient.data)[:: rounds(3, 1)]):
            for damage in flips(patient.path.read_bytes(), [(at, bit)]):
                patient.suffer(damage, in_place=number % 2 == 0)
        evidence("never wrong", "bits of small entries flipped", patient.trials, patient.failed.total())
        assert patient.trials >= len(patient.data) // 3
        assert not patient.failed


@pytest.mark.parametrize("kind", SMALL)
def test_other_damage_to_small_entries(tmp_path: Path, evidence: Evidence, kind: str) -> None:
    """Truncations, appended bytes, and blocks that are zeroed, swapped, stale or another entry's cost a computation."""
    patient = Patient(tmp_path, kind)
    others = others_of(patient)
    lengths = range(0, len(patient.data), rounds(7, 1))

    def damages(data: bytes) -> Iterator[Damage]:
        for size in (8, 64, 512, 4096):
            yield from blocks(data, size, others, [*range(0, len(data), size)][:: rounds(4, 1)])
        yield from chain(additions(data), wholes(data), cuts(data, [*lengths, len(data) - 1]))

    seen = set()
    for number, _ in enumerate(damages(patient.data)):
        patient.data = patient.path.read_bytes()  # another one, since it was healed
        damage = [*damages(patient.data)][number]
        patient.suffer(damage, in_place=number % 2 == 0)
        seen.add(damage.what)
    evidence(
        "never wrong", "small entries cut, extended, their blocks misplaced", patient.trials, patient.failed.total()
    )
    assert len(seen) >= 10
    assert not patient.failed


@pytest.mark.parametrize("kind", LARGE)
def test_damage_to_large_entries(tmp_path: Path, evidence: Evidence, kind: str) -> None:
    """Damage anywhere in a large entry, mapped or read, is a miss, also after hits in the same process."""
    patient = Patient(tmp_path, kind)
    others, chance, count = others_of(patient), random.Random(kind), rounds(12, 400)
    data = patient.data
    head = entry_format.read_header(data, len(data)).head_length
    near = [at for at in (*range(min(head, 200)), *range(head - 64, head + 70)) if at < len(data)]
    places = chance.sample(near, count) + [chance.randrange(len(data)) for _ in range(count)] + [len(data) - 1]
    at_blocks = [at // 512 * 512 for at in places[::3]]
    found = [
        *flips(data, [(at, chance.randrange(8)) for at in places]),
        *cuts(data, [at for at in (*places[::3], head, entry_format.META_AT, 0, 65536) if at < len(data)]),
        *blocks(data, 512, others, at_blocks),
        *blocks(data, 4096, others, [at // 4096 * 4096 for at in at_blocks]),
        *additions(data),
        *wholes(data),
    ]
    chance.shuffle(found)
    for damage in found[: rounds(30, 100_000)]:
        patient.suffer(damage, in_place=True, heal=False)  # repaired by hand: then the file is intact
        assert patient.is_healthy()
    patient.suffer(found[0], in_place=False)
    evidence("never wrong", "large entries damaged, mapped ones too", patient.trials, patient.failed.total())
    assert patient.trials > 30
    assert not patient.failed


# Each child is forked from a process that has read nothing, as a new process would be.
NEW_PROCESSES = """
import json, shutil
from pathlib import Path
from tests.faults.damages import Patient, additions, blocks, cuts, flips, wholes
import numpy, random
folder, kind, count, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def in_a_child(work):
    ready, done = os.pipe()
    if not (pid := os.fork()):
        os.write(done, json.dumps(work()).encode())
        os._exit(0)
    os.close(done)
    with open(ready) as answer:
        text = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(text)
def store():
    patient = Patient(folder, kind)
    return str(patient.path)
def suffer():
    patient = Patient.__new__(Patient)
    patient.meet(folder, kind)
    patient.trial("in a new process")
    return [patient.trials, dict(patient.failed)]
path = Path(in_a_child(store))
chance = random.Random(seed)
for _ in range(count):
    data = path.read_bytes()
    places = [chance.randrange(len(data)) for _ in range(3)]
    found = [*flips(data, [(at, chance.randrange(8)) for at in places]), *cuts(data, places), *additions(data),
             *blocks(data, 512, {}, [places[0] // 512 * 512]), *wholes(data)]
    damage = chance.choice(found)
    whole = bytearray(data)
    whole[damage.at : damage.at + len(damage.new)] = damage.new
    path.write_bytes(whole[: damage.length])
    say(json.dumps([damage.what, *in_a_child(suffer)]))
"""


@pytest.mark.parametrize("kind", ["dict", "raw buffers", "mapped and other buffers"])
def test_damage_seen_by_new_processes(tmp_path: Path, evidence: Evidence, kind: str) -> None:
    """A process that has never read the entry finds each damage too, and heals it."""
    said = [json.loads(line) for line in run(NEW_PROCESSES, tmp_path, kind, rounds(10, 300), random.randrange(10**9))]
    failed = [(what, failed) for what, _, failed in said if failed]
    evidence("never wrong", "entries damaged between processes", len(said), len(failed))
    assert len(said) == rounds(10, 300)
    assert not failed


def until_it_ticks(path: Path, change: Callable[[], object]) -> None:
    """Change a file until its file system's clock has moved on."""
    before = os.stat(path).st_ctime_ns
    while True:
        change()
        if os.stat(path).st_ctime_ns != before:
            return


@pytest.mark.parametrize("kind", [*SMALL, "mapped array", "mapped and other buffers"])
def test_damage_after_a_first_hit(
    tmp_path: Path, evidence: Evidence, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that a process has read is checked again after a change, even if the file's old time was restored."""
    monkeypatch.setattr(recent, "TICK_NS", -(10**18))  # a file's times count at once
    monkeypatch.setattr(reader, "TICK_NS", -(10**18))
    patient = Patient(tmp_path, kind)
    for at in random.sample(range(len(patient.data)), rounds(20, 200)):
        assert patient.is_healthy()
        assert patient.is_healthy()  # now from memory
        data, status = patient.path.read_bytes(), os.stat(patient.path)
        (damage,) = flips(data, [(at, at % 8)])
        with patient.path.open("r+b", buffering=0) as file:
            until_it_ticks(patient.path, lambda f=file, d=damage: os.pwrite(f.fileno(), d.new, d.at))  # type: ignore[misc]
        os.utime(patient.path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert os.stat(patient.path).st_mtime_ns == status.st_mtime_ns
        patient.trial("after a hit")
    evidence("never wrong", "damage after a hit, with the old time", patient.trials, patient.failed.total())
    assert not patient.failed


def test_what_verify_says_of_maps(tmp_path: Path) -> None:
    """In maps, `always` finds damage at each read, and `stream` never; both find damage to the head."""
    patient = Patient(tmp_path, "mapped array", verify="always")
    trusting = Patient(tmp_path, "mapped array", verify="stream")
    (in_array,) = flips(patient.data, [(len(patient.data) - 1, 0)])
    (in_head,) = flips(patient.data, [(entry_format.META_AT, 0)])
    for _ in range(3):
        assert patient.is_healthy()
        patient.suffer(in_array, in_place=True, heal=False)
        trusting.suffer(in_head, in_place=True, heal=False)
    trusting.suffer(in_array, in_place=True, heal=False)
    assert not patient.failed
    assert trusting.failed == {"a bit flipped: a hit": 1}


def test_entries_under_other_names(tmp_path: Path, evidence: Evidence) -> None:
    """An intact entry under the name of another call, function, directory, user or age is never a hit."""
    patient, other = Patient(tmp_path / "a", "dict"), Patient(tmp_path / "a", "dict", 2)
    function = Patient(tmp_path / "a", "dict", version=2)
    user = Patient(tmp_path / "b", "dict", signing_key=KEY[::-1])
    old = Patient(tmp_path / "c", "dict", ttl=1e-9)
    assert user.path.name == patient.path.name
    for source, reason in ((other, "damaged"), (function, "damaged"), (user, "foreign")):
        for bring in (shutil.copy, os.link, os.rename):
            patient.path.unlink()
            bring(source.path, patient.path)
            patient.trial(f"{reason} by {bring.__name__}", reason)
            source.path.write_bytes(source.data)
    old.is_healthy()
    assert old.function.cache_info().misses == 2  # it expires at once
    evidence("never wrong", "entries under other names, of other keys", patient.trials, patient.failed.total())
    assert not patient.failed
    assert [other.is_healthy(), function.is_healthy(), user.is_healthy()] == [True] * 3


def test_the_same_entry_from_another_directory_is_a_hit(tmp_path: Path) -> None:
    """A copy of the same call's entry, signed with the same key, is valid."""
    here, there = Patient(tmp_path / "a", "dict"), Patient(tmp_path / "b", "dict")
    shutil.copy(there.path, here.path)
    assert here.is_healthy()


def test_other_things_in_the_place_of_an_entry(tmp_path: Path, evidence: Evidence) -> None:
    """Links and pipes under the name of an entry are damage that a call heals."""
    patient, secret = Patient(tmp_path, "dict"), tmp_path / "secret"
    secret.write_bytes(patient.data)
    for make in (
        lambda: patient.path.symlink_to(secret),
        lambda: patient.path.symlink_to(tmp_path / "nowhere"),
        lambda: patient.path.symlink_to(patient.path),
        lambda: os.mkfifo(patient.path),
    ):
        patient.path.unlink()
        make()
        patient.trial("another thing")
    evidence("never wrong", "links and pipes in the place of an entry", patient.trials, patient.failed.total())
    assert not patient.failed
    assert secret.read_bytes() == patient.data


def test_a_folder_in_the_place_of_an_entry(tmp_path: Path) -> None:
    """A folder is not removed, since it may hold something; the caller gets the result, with a warning."""
    patient = Patient(tmp_path, "dict")
    patient.path.unlink()
    patient.path.mkdir()
    with pytest.warns(StoreWarning, match="Is a directory"):
        assert patient.function(*patient.call) == patient.expected
    assert patient.function(*patient.call) == patient.expected
    assert patient.path.is_dir()
