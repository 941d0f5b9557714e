"""What was read from the code of a large program, kept between its processes."""

from __future__ import annotations

import os
import pickle
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from pcache.fingerprint import known_code
from pcache.layout import code_folder
from pcache.signing import seal
from pcache.signing.keyring import Keyring
from pcache.system.permissions import Access
from pcache.versions import kept_code
from tests.support.processes import OTHER_RING, RING, Canary
from tests.support.running import run, write

COUNT = 400  # functions: more than are read anew in each process
SCRIPT = """
import sys
from pcache import Cache
from pcache.fingerprint import known_code
import large

read = {"": 0}
note = known_code.note
def counted(memo, code, found):
    read[""] += 1
    return note(memo, code, found)
known_code.note = counted
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), read_only=len(sys.argv) > 2)
total = cache.cached(large.total)
print(total.function_id, total(1), read[""], total.cache_info().hits)
"""


class Outcome(NamedTuple):
    function_id: str
    value: int
    read: int  # how often code was read
    hits: int


class Program:
    """A program with many functions, one of which multiplies by `rate`."""

    def __init__(self, folder: Path, count: int = COUNT) -> None:
        self.script, self.count = write(folder / "job.py", SCRIPT), count
        self.root = folder / "cache"
        self.edit(rate=1)

    def edit(self, *, rate: int, above: str = "") -> None:
        rates = [rate, *[1] * (self.count - 1)]
        helpers = "".join(f"def helper_{n}(x):\n    return x * {rate}\n" for n, rate in enumerate(rates))
        calls = " + ".join(f"helper_{n}(x)" for n in range(self.count))
        write(self.script.parent / "large.py", f"{above}{helpers}def total(x):\n    return {calls}\n")

    def run(self, *more: str) -> Outcome:
        function_id, *numbers = run(self.script, self.root, *more)[0].split()
        return Outcome(function_id, *map(int, numbers))

    @property
    def kept(self) -> list[Path]:
        return sorted(Path(code_folder(str(self.root))).glob("*"))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_code_is_read_once(program: Program) -> None:
    first = program.run()
    assert first.read > 2 * COUNT  # facts and uses
    assert program.run() == Outcome(first.function_id, COUNT, 0, 1)
    (kept,) = program.kept
    assert kept.stat().st_size < 100 * COUNT


def test_an_edit_counts(program: Program) -> None:
    """Only what was edited is read anew."""
    first = program.run()
    program.edit(rate=2)
    second = program.run()
    assert second.function_id != first.function_id
    assert second.value == COUNT + 1
    assert 0 < second.read < 10
    assert program.run()[:3] == second[:3]


def test_lines_that_moved_are_kept_again(program: Program) -> None:
    """Code with other line numbers is other code, of the same version: it is kept though nothing is stored."""
    first = program.run()
    program.edit(rate=1, above="# a remark\n")
    assert program.run().read > COUNT
    assert program.run() == Outcome(first.function_id, COUNT, 0, 1)


def test_small_programs_keep_nothing(tmp_path: Path) -> None:
    small = Program(tmp_path, count=20)
    small.run()
    assert not os.path.exists(code_folder(str(small.root)))


def test_a_cache_that_is_only_read(program: Program) -> None:
    program.run()
    program.edit(rate=3)
    before = program.kept[0].read_bytes()
    program.run("read only")
    assert program.kept[0].read_bytes() == before


@pytest.mark.parametrize("damage", ["bit", "short", "empty", "folder", "link", "another key", "another reader", "odd"])
def test_a_file_that_is_not_ours(program: Program, damage: str, tmp_path: Path) -> None:
    """Then code is read anew: nothing is unpickled that our key did not seal, and nothing raised."""
    first = program.run()
    (kept,) = program.kept
    data = kept.read_bytes()
    canary = pickle.dumps((known_code.read_by(), Canary(tmp_path / "unpickled")))
    if damage in ("folder", "link"):
        kept.unlink()
        kept.mkdir() if damage == "folder" else kept.symlink_to(program.script)
    else:
        kept.write_bytes(
            {
                "bit": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
                "short": data[: len(data) // 2],
                "empty": b"",
                "another key": sealed(canary, OTHER_RING),
                "another reader": sealed(pickle.dumps(("another", None)), RING),
                "odd": seal.block(b"code", b"no compressed data", RING),
            }[damage]
        )
    program.edit(rate=5)  # what was kept of the rest is still needed
    found = program.run()
    assert found.value == COUNT + 4
    assert found.read > 2 * COUNT
    assert found.function_id != first.function_id
    assert not (tmp_path / "unpickled").exists()


def sealed(content: bytes, keyring: Keyring) -> bytes:
    return seal.block(b"code", zlib.compress(content), keyring)


def test_a_program_that_moved(program: Program, tmp_path: Path) -> None:
    """Its code names other files: it is read anew, and has the same identity."""
    first = program.run()
    moved = Program(tmp_path / "elsewhere")
    moved.root = program.root
    assert moved.run()[:2] == first[:2]
    assert len(program.kept) == 2


def test_code_that_no_source_can_have() -> None:
    """Tools may put any object among the constants; there is no digest of it, and it is read in each process."""

    def sample() -> object:
        return 5

    code = sample.__code__.replace(co_consts=(None, object()))
    known_code.take_in(known_code.Kept({b"other": (None, None)}, {}, {}))
    assert known_code.recall(known_code.facts, code) is None


def test_the_oldest_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_code, "_MOST_FILES", 4)
    folder = tmp_path / "root" / "v1" / "code"
    program = Program(tmp_path)
    program.root = tmp_path / "root"
    program.run()
    for n in range(5):
        path = write(folder / f"{n:016x}.{n:016x}", "of an old program")
        os.utime(path, (n, n))
    kept_code._make_room(str(folder), Access())
    left = {path.name[:16] for path in program.kept}
    assert len(left) == 2
    assert f"{4:016x}" in left
