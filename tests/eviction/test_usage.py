"""How much lies in each shard: exact sums of many processes, and damage that costs a count and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pcache.eviction import usage
from pcache.eviction.usage import SHARDS, Amount, Gauge
from pcache.layout import usage_path
from tests.support.processes import Talker

NOTHING = [Amount()] * SHARDS


def only(shard: int, amount: Amount) -> list[Amount]:
    """What a count finds that finds something in one shard."""
    return [amount if i == shard else Amount() for i in range(SHARDS)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory as the first stored result makes it."""
    root = tmp_path / "cache"
    (root / "v1").mkdir(parents=True)
    for folder in (root, root / "v1"):
        folder.chmod(0o700)
    return root


def gauge_at(root: Path, count: Any = lambda: NOTHING) -> Gauge:
    return Gauge(str(root), "", count)


def lying(root: Path) -> Amount | None:
    rows = usage.read(usage_path(str(root)))
    return None if rows is None else usage.total_of(rows)


def test_what_one_tells_another_knows(root: Path) -> None:
    """Each gauge adds what it wrote, and gets the sum of all."""
    first, second = gauge_at(root), gauge_at(root)
    assert first.add(0, 1, 4096) == Amount(1, 4096)
    assert first.add(255, 2, 8192) == first.untold == Amount(3, 12288)
    assert lying(root) is None
    assert first.tell() == Amount()  # it counted what lies there, which is nothing
    first.add(0, 1, 4096), first.add(255, 2, 8192), second.add(0, 5, 1)
    assert first.tell() == Amount(3, 12288)
    assert first.untold == Amount()
    assert second.tell() == first.tell() == lying(root) == Amount(8, 12289)


def test_what_is_pending_is_counted(root: Path) -> None:
    """A result that is about to be written counts, also when the directory is counted just then."""
    gauge = gauge_at(root, lambda: only(3, Amount(2, 8192)))
    gauge.add(3, 1, 4096)
    assert gauge.tell(pending=(3, Amount(1, 4096))) == Amount(3, 12288)
    gauge.add(4, 1, 4096)
    assert gauge.tell(pending=(4, Amount(1, 4096))) == Amount(4, 16384)
    assert gauge.rows()[3:5] == [Amount(3, 12288), Amount(1, 4096)]


def test_nothing_falls_below_zero(root: Path) -> None:
    """What is gone is taken off, and a shard that was counted wrong does not make up for others."""
    gauge = gauge_at(root)
    gauge.tell()
    gauge.add(1, 10, 100), gauge.add(2, 20, 200)
    assert gauge.tell() == Amount(30, 300)
    gauge.add(1, -50, -500)
    assert gauge.tell() == Amount(20, 200)


def test_a_function_has_a_file_of_its_own(root: Path) -> None:
    """Limits of single functions are measured apart, whatever their names hold."""
    names = ["", "m:f", "m:g", "../../etc/passwd", "a\0b", "x" * 5000]
    paths = {usage_path(str(root), name) for name in names}
    assert len(paths) == len(names)
    assert {os.path.dirname(path) for path in paths} == {str(root / "v1" / "ledger")}


ADDING = """
from pcache.eviction.usage import SHARDS, Amount, Gauge
gauge = Gauge(sys.argv[1], "", lambda: [Amount()] * SHARDS)
say("ready")
hear()
missed = 0
for n in range(300):
    gauge.add(n % SHARDS, 1, 4096)
    missed += gauge.tell() is None
while gauge.tell(wait=60) is None:
    pass
say(missed, gauge.untold.entries)
"""


def test_eight_processes_add_up(root: Path) -> None:
    """Eight processes that tell at the same time add up exactly; what cannot be told at once is told later."""
    processes = [Talker(ADDING, root) for _ in range(8)]
    gauge_at(root).tell()
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    for process in processes:
        assert process.finish()[0].split()[1] == "0"
    assert lying(root) == Amount(2400, 2400 * 4096)


def test_a_file_that_another_made_meanwhile_stays(root: Path) -> None:
    """Of two that count a directory at the same time, the second adds to what the first wrote."""
    hasty = gauge_at(root)

    def count() -> list[Amount]:
        hasty.add(9, 4, 40)
        assert hasty.tell() == Amount()
        hasty.add(9, 4, 40)
        assert hasty.tell() == Amount(4, 40)
        return only(200, Amount(9, 9))

    slow = gauge_at(root, count)
    slow.add(9, 1, 10)
    assert slow.tell() == Amount(5, 50)


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "garbage", "directory", "link", "pipe"])
def test_damage_is_counted_anew(root: Path, tmp_path: Path, damage: str) -> None:
    """A file with a flipped bit, or of another length, is as none; nothing else in its place is followed."""
    gauge = gauge_at(root, lambda: only(7, Amount(5, 50)))
    assert gauge.tell() == Amount(5, 50)
    path, precious = Path(usage_path(str(root))), tmp_path / "precious"
    precious.write_text("precious")
    data = path.read_bytes()
    contents = {"cut": data[:-1], "longer": data + b"\0", "empty": b"", "garbage": bytes(range(256)) * 40}
    if damage == "flip":
        for at in (0, 8, 100, 2000, len(data) - 1):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert lying(root) is None
    elif damage in contents:
        path.write_bytes(contents[damage])
    else:
        path.unlink()
        {"directory": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to(precious)}[damage]()
    assert lying(root) is None
    gauge.add(7, 1, 10)
    assert gauge.tell() == lying(root) == Amount(5, 50)
    assert path.read_bytes() == data
    assert precious.read_text() == "precious"


HOLDER = """
from pcache.system.locks import try_lock
held = try_lock(sys.argv[2])
say("held")
hear()
"""


@pytest.mark.parametrize("how", [0, signal.SIGSTOP])
def test_a_holder_blocks_nobody(root: Path, how: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process has the file, running or stopped, telling fails at once, and nothing is lost.

    After a second, which is made longer here, it is not waited for any more: see `test_room`.
    """
    monkeypatch.setattr(usage, "IDLE", 1000.0)
    gauge = gauge_at(root)
    gauge.tell()
    holder = Talker(HOLDER, root, usage_path(str(root)))
    holder.hear()
    os.kill(holder.pid, how)
    gauge.add(1, 1, 4096)
    for _ in range(1000):
        assert gauge.tell(wait=0) is None
    assert gauge.untold == Amount(1, 4096)
    assert gauge.tell(wait=0.01) is None
    assert lying(root) == Amount()
    holder.kill()
    assert gauge.tell() == lying(root) == Amount(1, 4096)


def test_a_forked_child_tells_its_own(root: Path) -> None:
    """`reset`, which a forked child calls, forgets what the parent will tell."""
    gauge = gauge_at(root)
    gauge.tell()
    gauge.add(1, 1, 4096)
    gauge.reset()
    assert gauge.untold == Amount()
    assert gauge.tell() == Amount()
