"""What is known of function versions: small files that nobody has to believe, and nobody has to have."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache import Cache
from pcache.signing import seal
from pcache.signing.keyring import Keyring, make_keyring
from pcache.versions import registry
from pcache.versions.registry import describe, paths, read, read_all, write
from tests.support.processes import KEY, OTHER_RING, RING, Talker, run

FACTS = describe(
    "0" * 16,
    "module:f",
    module="module",
    file="/a/file.py",
    parameters=("x", "*args"),
    parts={"function module:f": ("ab" * 8, "/a/file.py"), "constant module:LIMIT": ("cd" * 8, "3")},
)


def kept(facts: registry.FunctionVersion = FACTS, ring: Keyring = RING) -> registry.FunctionVersion:
    """The facts as a file has them: with digests that were made with a key."""
    digests = facts.digests(ring.signing.hex(), ring) or {}
    parts = {label: (digests[label], shown) for label, (_, shown) in facts.parts.items()}
    return facts._replace(parts=parts, signed_by=ring.signing.hex())


def stored(folder: Path) -> Path:
    write(str(folder), FACTS, RING)
    (path,) = folder.iterdir()
    return path


def test_round_trip(tmp_path: Path) -> None:
    """What was written is read back, from a private file in a private folder."""
    path = stored(tmp_path / "functions")
    assert read(str(path), RING) == kept()
    assert read_all(str(tmp_path / "functions"), RING) == {FACTS.function_id: kept()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_first_to_write_wins(tmp_path: Path) -> None:
    """A version that is known keeps its first date, and no other file is made."""
    stored(tmp_path)
    write(str(tmp_path), FACTS._replace(first_seen=5.0), RING)
    assert read_all(str(tmp_path), RING)[FACTS.function_id] == kept()
    assert len(os.listdir(tmp_path)) == 1


def test_every_flipped_bit_is_ignored(tmp_path: Path) -> None:
    """A file with one flipped bit gives nothing, and never raises."""
    path = stored(tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            assert read(str(path), RING) is None
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert read(str(path), RING) is None


plain = st.none() | st.booleans() | st.floats() | st.text("0af\0ä", max_size=20)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(st.dictionaries(st.sampled_from([*FACTS._fields, "seal", "other"]), values), st.booleans())
def test_any_json_is_ignored(tmp_path_factory: pytest.TempPathFactory, record: dict[str, object], ours: bool) -> None:
    """A JSON object of any content gives nothing, whether we sealed it or not, unless it is of the right shape."""
    path = tmp_path_factory.getbasetemp() / os.path.basename(registry._path("", "0" * 16, KEY))
    path.write_bytes(seal.to_json(b"function", record, RING) if ours else json.dumps(record).encode())
    assert read(str(path), RING) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "[" * 100_000, '{"a":' * 20_000, "9" * 10_000, '"', "\0"])
def test_any_text_is_ignored(tmp_path: Path, text: str) -> None:
    """What is no JSON object gives nothing, however deep or long it is."""
    path = Path(registry._path(str(tmp_path), "0" * 16, KEY))
    path.write_text(text)
    assert read(str(path), RING) is None
    assert read_all(str(tmp_path), RING) == {}
    body = text.encode()  # as somebody who has the key might write it
    path.write_bytes(seal._JSON[0] + seal._seal(b"function", body, RING) + seal._JSON[1] + body)
    assert read_all(str(tmp_path), RING) == {}


def test_the_file_of_another_key_is_ignored(tmp_path: Path) -> None:
    """An unknown key's file gives nothing; without a key nothing is known at all."""
    write(str(tmp_path), FACTS, OTHER_RING)
    assert read_all(str(tmp_path), RING) == {}
    assert read_all(str(tmp_path), OTHER_RING) == {FACTS.function_id: kept(ring=OTHER_RING)}
    assert read_all(str(tmp_path), None) == {}


def test_a_file_that_gives_nothing_is_replaced(tmp_path: Path) -> None:
    """A damaged file, or one of another key, does not keep a version without a name for ever."""
    path = stored(tmp_path)
    for text in ("", path.read_text()[:-9], path.read_text().replace("module", "eludom")):
        path.write_text(text)
        write(str(tmp_path), FACTS, RING)
        assert read(str(path), RING) == kept()
    path.unlink()
    write(str(tmp_path), FACTS, OTHER_RING)
    write(str(tmp_path), FACTS, RING)
    assert read(str(path), RING) == kept()


def test_a_copy_under_another_id_is_ignored(tmp_path: Path) -> None:
    """A file is about the version whose name it has."""
    path = stored(tmp_path)
    path.rename(registry._path(str(tmp_path), "1" * 16, KEY))
    assert read_all(str(tmp_path), RING) == {}


def test_only_our_names_are_listed(tmp_path: Path) -> None:
    """Other files in the folder are neither read nor listed; a missing folder is an empty one."""
    path = stored(tmp_path)
    for name in ("x.json", "0" * 17 + ".json", "0" * 16 + ".txt", "A" * 16 + ".json", f"{path.name}.0badcafe"):
        (tmp_path / name).write_text("")
    assert list(paths(str(tmp_path))) == [str(path)]
    assert list(paths(str(tmp_path), temporary=True)) == []  # somebody may be writing it just now
    os.utime(f"{path}.0badcafe", (0, 0))
    assert list(paths(str(tmp_path), temporary=True)) == [f"{path}.0badcafe"]
    assert list(paths(str(tmp_path / "nothing"))) == []


def square(n: int) -> int:
    return n * n


def test_names_come_back_after_a_clear(tmp_path: Path) -> None:
    """A function that goes on storing results after `clear` has a name again, in this process and for others."""
    cache = Cache(tmp_path / "cache", signing_key=KEY)
    cached = cache.cached(square)
    cached(1)
    cache.clear()
    cached(2)
    assert [facts.name for facts in read_all(cache.flow.directory.functions, RING).values()] == [cached.name]
    assert cache.clear("square").entries == 1


RACER = """
from pcache.versions import registry
from pcache.signing.keyring import make_keyring
facts = registry.describe("0" * 16, "module:f")._replace(first_seen=float(sys.argv[2]))
say("ready")
hear()
registry.write(sys.argv[1] + "/functions", facts, make_keyring([bytes(range(32))]))
"""


def test_racing_writers(tmp_path: Path) -> None:
    """Of four processes that write the same version one wins, and the file is whole."""
    racers = [Talker(RACER, tmp_path, n) for n in range(4)]
    for racer in racers:
        racer.hear()
    for racer in racers:
        racer.say()
    assert [racer.finish() for racer in racers] == [[]] * 4
    assert read_all(str(tmp_path / "functions"), RING)["0" * 16].first_seen in range(4)
    assert len(os.listdir(tmp_path / "functions")) == 1


FULL = """
import resource
from pcache.versions import registry
from pcache.signing.keyring import make_keyring
folder = sys.argv[1] + "/functions"
facts = registry.describe("0" * 16, "module:f")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
try:
    registry.write(folder, facts, make_keyring([bytes(range(32))]))
except OSError as error:
    say(error.strerror)
say(*os.listdir(folder))
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A file that cannot be written whole is not there at all, and the writer is told."""
    assert run(FULL, tmp_path) == ["File too large", ""]
    assert registry.read_all(str(tmp_path / "functions"), RING) == {}


@pytest.mark.parametrize(
    "adopted", [None, [], {}, "x", [5], [{}], [{"function_id": 5, "added": {}}], [{"function_id": "zz", "added": {}}]]
)
def test_adoptions_of_another_shape_are_ignored(tmp_path: Path, adopted: object) -> None:
    """A signed file that says something else than this release reads gives nothing, and is no error of a call."""
    for body in ({"function_id": "00" * 8, "adopted": adopted}, {"adopted": adopted}):
        (tmp_path / f"{'00' * 8}.adopted").write_bytes(seal.to_json(b"adopted", body, RING))
        assert registry.read_adopted(str(tmp_path), "00" * 8, RING) == ()


def test_planted_names_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 files and links of others none is opened, with names as ours have them, or as they had them once."""
    path = stored(tmp_path)
    for n in range(500):
        os.link(path, tmp_path / f"{n:016x}.{n:016x}.json")
        (tmp_path / f"{n:016x}.json").write_bytes(path.read_bytes())
    opened, real = [], os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: [opened.append(path), real(path, *rest, **more)][1])
    assert read_all(str(tmp_path), RING) == {}  # ours has other names as well
    # Caches of tests before may be collected just now, and write what they counted.
    assert len([name for name in opened if str(name).startswith(str(tmp_path))]) == 1
    for n in range(500):
        os.unlink(tmp_path / f"{n:016x}.{n:016x}.json")
    assert read_all(str(tmp_path), RING) == {FACTS.function_id: kept()}
    assert read_all(str(tmp_path), RING, most=100) == {}


def test_a_large_file_in_the_place_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file of 4 MiB that is not ours, the first bytes are read; the others are neither read nor parsed."""
    path = stored(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data + b"[]," * (1 << 20))
    read_bytes, real = [0], os.read
    monkeypatch.setattr(os, "read", lambda fd, n: [chunk := real(fd, n), read_bytes.append(len(chunk))][0])
    assert read(str(path), RING) is None
    assert sum(read_bytes) <= 4096


def test_digests_are_keyed(tmp_path: Path) -> None:
    """The same value has other digests under another key, and under another label; none is that of its parts."""
    twice = FACTS._replace(parts={"constant a:X": ("ab" * 8, "1"), "constant a:Y": ("ab" * 8, "1")})
    found = [kept(twice, ring).parts[label][0] for ring in (RING, OTHER_RING) for label in twice.parts]
    assert len({*found, "ab" * 8}) == 5
    write(str(tmp_path), twice, RING)
    (version,) = read_all(str(tmp_path), RING).values()
    assert [digest for digest, _ in version.parts.values()] == found[:2]
    assert version.digests(OTHER_RING.signing.hex(), OTHER_RING) is None


def test_values_that_are_not_to_be_shown_any_more(tmp_path: Path) -> None:
    """A file that says values is written anew without them once they are not to be shown, with the date that it had."""
    path = stored(tmp_path)
    assert read(str(path), RING).parts["constant module:LIMIT"][1] == "3"  # type: ignore[union-attr]
    write(str(tmp_path), FACTS._replace(first_seen=5.0), RING, summaries=False)
    found = read(str(path), RING)
    assert found is not None
    assert found.parts["constant module:LIMIT"][1] == ""
    assert found.first_seen == FACTS.first_seen


def test_values_that_an_older_key_sealed(tmp_path: Path) -> None:
    """They go as well when they are not to be shown any more: the file of the older key is replaced by a new one."""
    path = stored(tmp_path)
    ring = make_keyring([bytes(32), KEY])
    assert write(str(tmp_path), FACTS, ring) == str(path)
    new = write(str(tmp_path), FACTS, ring, summaries=False)
    assert [str(found) for found in tmp_path.iterdir()] == [new]
    assert read_all(str(tmp_path), ring)[FACTS.function_id].parts["constant module:LIMIT"][1] == ""
