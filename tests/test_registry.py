"""What is known of function versions: small files that nobody has to believe, and nobody has to have."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache import Cache, registry
from pcache.registry import describe, paths, read, read_all, write
from tests.processes import KEY, OTHER_RING, RING, Talker, run

FACTS = describe(
    "0" * 16,
    "module:f",
    module="module",
    file="/a/file.py",
    fingerprint="ab" * 32,
    version="2",
    parameters=("x", "*args"),
    parts={"function module:f": ("ab" * 8, "/a/file.py"), "constant module:LIMIT": ("cd" * 8, "3")},
)


def stored(folder: Path) -> Path:
    write(str(folder), FACTS, RING)
    (path,) = folder.iterdir()
    return path


def test_round_trip(tmp_path: Path) -> None:
    """What was written is read back, from a private file in a private folder."""
    path = stored(tmp_path / "functions")
    assert read(str(path), RING) == FACTS
    assert read_all(str(tmp_path / "functions"), RING) == {FACTS.function_id: FACTS}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_first_to_write_wins(tmp_path: Path) -> None:
    """A version that is known keeps its first date, and no other file is made."""
    stored(tmp_path)
    write(str(tmp_path), FACTS._replace(first_seen=5.0), RING)
    assert read_all(str(tmp_path), RING)[FACTS.function_id] == FACTS
    assert len(os.listdir(tmp_path)) == 1


def test_every_flipped_bit_is_ignored(tmp_path: Path) -> None:
    """A file with one flipped bit gives nothing, unless only its layout changed, and never raises."""
    path = stored(tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            assert read(str(path), RING) in (None, FACTS)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert read(str(path), RING) is None


plain = st.none() | st.booleans() | st.floats() | st.text("0af\0ä", max_size=20)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(st.dictionaries(st.sampled_from([*FACTS._fields, "key_id", "tag", "other"]), values))
def test_any_json_is_ignored(tmp_path_factory: pytest.TempPathFactory, record: dict[str, object]) -> None:
    """A JSON object of any content that we did not sign gives nothing."""
    path = tmp_path_factory.getbasetemp() / f"{'0' * 16}.json"
    path.write_text(json.dumps(record))
    assert read(str(path), RING) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "[" * 100_000, '{"a":' * 20_000, "9" * 10_000, '"', "\0"])
def test_any_text_is_ignored(tmp_path: Path, text: str) -> None:
    """What is no JSON object gives nothing, however deep or long it is."""
    path = tmp_path / f"{'0' * 16}.json"
    path.write_text(text)
    assert read(str(path), RING) is None
    assert read_all(str(tmp_path), RING) == {}


def test_the_file_of_another_key_is_ignored(tmp_path: Path) -> None:
    """An unknown key's file gives nothing; without a key nothing is known at all."""
    write(str(tmp_path), FACTS, OTHER_RING)
    assert read_all(str(tmp_path), RING) == {}
    assert read_all(str(tmp_path), OTHER_RING) == {FACTS.function_id: FACTS}
    assert read_all(str(tmp_path), None) == {}


def test_a_file_that_gives_nothing_is_replaced(tmp_path: Path) -> None:
    """A damaged file, or one of another key, does not keep a version without a name for ever."""
    path = stored(tmp_path)
    for text in ("", path.read_text()[:-9], path.read_text().replace("module", "eludom")):
        path.write_text(text)
        write(str(tmp_path), FACTS, RING)
        assert read(str(path), RING) == FACTS
    path.unlink()
    write(str(tmp_path), FACTS, OTHER_RING)
    write(str(tmp_path), FACTS, RING)
    assert read(str(path), RING) == FACTS


def test_a_copy_under_another_id_is_ignored(tmp_path: Path) -> None:
    """A file is about the version whose name it has."""
    path = stored(tmp_path)
    path.rename(tmp_path / f"{'1' * 16}.json")
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
    assert [facts.name for facts in read_all(cache.flow.store.functions, RING).values()] == [cached.name]
    assert cache.clear("square").entries == 1


RACER = """
from pcache import registry
from pcache.trust import make_keyring
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
from pcache import registry
from pcache.trust import make_keyring
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
    body = {"function_id": "00" * 8, "adopted": adopted}
    registry._write_signed(str(tmp_path / f"{'00' * 8}.adopted"), body, RING, registry._ADOPTED)
    assert registry.read_adopted(str(tmp_path), "00" * 8, RING) == ()
    registry._write_signed(str(tmp_path / f"{'00' * 8}.adopted"), {"adopted": adopted}, RING, registry._ADOPTED)
    assert registry.read_adopted(str(tmp_path), "00" * 8, RING) == ()
