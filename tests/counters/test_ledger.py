"""Counters that outlive processes: exact under threads, processes, forks and merges, and soft under any damage."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, UnpicklableResultWarning
from pcache.counters import ledger, pending
from pcache.counters.line_format import Totals, line_of
from pcache.signing import seal
from pcache.signing.key_source import KeySource
from pcache.system.permissions import PRIVATE
from tests.support.processes import KEY, OTHER_RING, PRELUDE, RING, ROOT, Talker, place_of, run
from tests.support.running import cache_of

HOUR = 3600


def cache_at(root: Path, **settings: Any) -> Cache:
    return Cache(root, signing_key=KEY, **settings)


def counted(root: Path, function: str | None = None) -> Counter[str]:
    """What the ledger of a directory says in sum, of one function or of all."""
    found: Counter[str] = Counter()
    for (_, name, counter), amount in ledger.read(str(root), RING).amounts.items():
        if function in (None, name):
            found[counter] += amount
    return found


def folder_of(root: Path) -> Path:
    return root / "v1" / "ledger"


def merge_now(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge everything that was appended; it takes two rounds, the first sets the lines aside."""
    monkeypatch.setattr(ledger, "_SETTLED", -1.0)
    for _ in range(2):
        assert ledger.merge(str(folder_of(root)), RING)


def append(root: Path, *lines: str) -> None:
    """Append lines as a process that has the key does."""
    with open(folder_of(root) / "counters", "ab") as file:
        file.write(seal.block(b"counters", "\n".join(lines).encode(), RING))


def double(n: int) -> int:
    return 2 * n


def fail(n: int) -> int:
    raise ValueError(n)


def lock(n: int) -> Any:
    return threading.Lock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# What is counted


def test_everything_is_counted_as_it_is(root: Path) -> None:
    """Hits, misses by reason, failures, seconds and bytes of a function are what happened, and no more."""
    cache = cache_at(root)
    cached, failing, unpicklable = cache.cached(double), cache.cached(fail), cache.cached(lock)
    for n in (1, 2, 1, 1, 2):
        cached(n)
    with pytest.raises(ValueError):
        failing(1)
    with pytest.warns(UnpicklableResultWarning):
        unpicklable(1)
    path = Path(place_of(cached, 1))
    length, cost_ns = path.stat().st_size, sum(round(info.cost * 1e9) for info in cache.entries())
    path.write_bytes(path.read_bytes()[:-1])
    cached(1)
    assert cached.get(1) == 2  # looking is no hit
    cached.refresh(2)
    assert cache.flow.ledger.flush()
    found = counted(root, f"{__name__}:double")
    assert {name: n for name, n in found.items() if not name.endswith(("_ns", "_bytes"))} == {
        "hits": 3,
        "stored": 4,
        "misses.absent": 2,
        "misses.damaged": 1,
        "misses.refreshed": 1,
    }
    assert (found["read_bytes"], found["written_bytes"]) == (3 * length, 4 * length)
    assert found["computed_ns"] >= cost_ns > 0
    assert 0 < found["saved_ns"] < 3 * cost_ns
    assert found["store_ns"] > 0
    assert found["hit_ns"] > 0
    for _ in range(40):
        cached(1)
    assert cache.flow.ledger.flush()
    assert 40 * 100 < counted(root, f"{__name__}:double")["hit_ns"] < 40 * 10**9
    found = counted(root, f"{__name__}:fail")
    assert found.pop("store_ns") > 0  # its key, and looking for it
    assert found == {"misses.absent": 1, "errors.raised": 1}
    found = counted(root, f"{__name__}:lock")
    assert (found["misses.absent"], found["errors.unpicklable"], found["stored"]) == (1, 1, 0)


def test_expired_and_foreign_entries(root: Path) -> None:
    """An entry that is too old, and one that another key signed, are misses of that reason."""
    cached = cache_at(root).cached(ttl="1h")(double)
    cached(1)
    late = cache_at(root).cached(ttl=1e-9)(double)
    late(1)
    other = Cache(root, signing_key=bytes(32))
    other.cached(ttl="1h")(double)(1)
    for cache in (cache_of(late), other):
        assert cache.flow.ledger.flush()
    assert counted(root)["misses.expired"] == 1
    foreign = ledger.read(str(root), OTHER_RING).amounts
    assert [n for (_, _, counter), n in foreign.items() if counter == "misses.foreign"] == [1]


def test_a_result_that_another_thread_computed_is_a_hit(root: Path) -> None:
    """Eight threads that need the same missing result are one miss and seven hits."""
    cache = cache_at(root)
    inside, leave = threading.Event(), threading.Event()

    def slow(n: int, events: Any) -> int:
        inside.set()
        leave.wait(60)
        return n

    cached = cache.cached(ignore=["events"])(slow)
    threads = [threading.Thread(target=cached, args=(1, n)) for n in range(8)]
    for thread in threads:
        thread.start()
    inside.wait(60)
    leave.set()
    for thread in threads:
        thread.join(60)
    assert cache.flow.ledger.flush()
    found = counted(root)
    assert (found["hits"], found["misses.absent"], found["stored"]) == (7, 1, 1)


def test_hits_of_an_adopted_version_are_hits(root: Path, tmp_path: Path) -> None:
    """A result that an earlier version stored counts with its name, time and bytes."""
    cache = cache_at(root)

    def version(text: str) -> Any:
        names: dict[str, Any] = {"__name__": "station"}
        exec(text, names)
        return cache.cached(names["f"])

    version("def f(n):\n    return n + 1")(1)
    edited = version("def f(n):\n    return 1 + n")
    edited.adopt()
    assert [edited(1), edited(1)] == [2, 2]
    assert cache.flow.ledger.flush()
    found = counted(root, edited.name)
    assert (found["hits"], found["misses.absent"]) == (2, 1)
    assert found["read_bytes"] > 0
    assert found["hit_ns"] > 0


def test_counters_keep_no_function_alive(root: Path) -> None:
    """A function that is dropped while its cache lives is freed, and its hits are still counted."""
    cache = cache_at(root)

    cached = cache.cached(double)
    cached(3), cached(3)
    dropped = weakref.ref(cached)
    del cached
    gc.collect()
    assert dropped() is None
    assert cache.flow.ledger.flush()
    assert counted(root)["hits"] == 1
    assert cache.flow.ledger._tallies == []


def test_a_cache_that_is_dropped_has_been_counted(root: Path) -> None:
    """Caches that come and go in a process lose nothing of what they counted."""
    for _ in range(20):
        cached = cache_at(root).cached(double)
        cached(1)
        del cached
    gc.collect()
    found = counted(root)
    assert (found["hits"], found["misses.absent"]) == (19, 1)


# Many at the same time

COUNTING = """
def f(n):
    return n
cached = cache.cached(f)
say("ready")
hear()
for n in range(100):
    cached(n % 10)
    if n % 7 == 0:
        cache.flow.ledger.flush()
say("done")
"""


def test_eight_processes_add_up(root: Path) -> None:
    """Eight processes that count at the same time add up exactly: each call is a hit, or one of ten misses."""
    processes = [Talker(COUNTING, root) for _ in range(8)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    for process in processes:
        process.finish()
    reading, found = ledger.read(str(root), RING), counted(root)
    assert (found["hits"], found["misses.absent"], found["stored"]) == (790, 10, 10)
    assert reading.damaged == 0


POOLS = """
import concurrent.futures, multiprocessing
import pooled
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    kind = sys.argv[3]
    pooled.work(0)
    if kind == "Process":
        workers = [context.Process(target=pooled.many, args=(25,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    elif kind == "Pool":
        pool = context.Pool(4)
        pool.map(pooled.work, [0] * 100, chunksize=5)
        pool.close()
        pool.join()
    else:
        with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
            list(pool.map(pooled.work, [0] * 100))
    say("done")
"""
POOLED = """
import sys
from pcache import Cache
from pcache.counters import pending, ledger
pending._SOONEST = pending._LATEST = 1000.0  # seconds: all is written at the end
cached = Cache(ROOT, signing_key=bytes(range(32))).cached(lambda n: n)
def work(n):
    return cached(n)
def many(times):
    for _ in range(times):
        work(0)
"""


@pytest.mark.parametrize("kind", ["Process", "Pool", "ProcessPoolExecutor"])
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing(tmp_path: Path, root: Path, start: str, kind: str) -> None:
    """Workers write what they counted before they end, however they were started; the parent's is not theirs."""
    (tmp_path / "pooled.py").write_text(POOLED.replace("ROOT", repr(str(root))))
    script = tmp_path / "script.py"
    script.write_text(PRELUDE.replace("cache = ", "if __name__ == '__main__': cache = ") + POOLS)
    done = subprocess.run(
        [sys.executable, str(script), str(root), start, kind],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    found = counted(root)
    assert (found["hits"], found["misses.absent"]) == (100, 1)


ENDINGS = """
def f(n):
    return n
cached = cache.cached(f)
cached(100)
cache.flow.ledger.flush()
cached(100), cached(100)
say("ready")
hear()
cache.flow.ledger.flush() if sys.argv[2] == "flush" else None
cached(100)
say("counted")
if sys.argv[2] in ("_exit", "flush"):
    os._exit(0)
hear()
"""


@pytest.mark.parametrize(("how", "hits"), [("_exit", 0), ("kill", 0), ("flush", 2)])
def test_a_killed_process_loses_what_it_had_not_written(root: Path, how: str, hits: int) -> None:
    """A process that ends by force loses what it counted since it last wrote, and nothing of what others did."""
    neighbour, victim = Talker(COUNTING, root), Talker(ENDINGS, root, how)
    neighbour.hear(), victim.hear(), neighbour.say(), victim.say(), victim.hear()
    victim.kill()
    neighbour.finish()
    assert counted(root)["hits"] == 90 + hits
    assert counted(root)["misses.absent"] == 11


FORKED = """
from pcache.counters import pending, ledger
pending._SOONEST = pending._LATEST = 1000.0
def f(n):
    return n
cached = cache.cached(f)
for n in (1, 1, 1, 2):
    cached(n)
cached.cache_clear() if sys.argv[2] == "cleared" else None
child = os.fork()
info = cached.cache_info()[:2]
for n in range(3, 6) if child == 0 else (1, 2):
    cached(n), cached(n)
after = cached.cache_info()[:2]
if child == 0:
    say(info, after)
    cache.flow.ledger.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("how", ["plain", "cleared"])
def test_a_fork_counts_nothing_twice(root: Path, how: str) -> None:
    """A child writes what it counted itself; its `cache_info` goes on from its parent's, as functools' does."""
    said = run(FORKED, root, how)
    found, before = counted(root), 0 if how == "plain" else 2
    assert (found["hits"], found["misses.absent"]) == (2 + 3 + 4 - before, 2 + 3 + before)
    assert said == (["(2, 2) (5, 5)"] if how == "plain" else ["(0, 0) (3, 3)"])


FORKING_THREADS = """
import threading
def f(n):
    return n
cached = cache.cached(f)
cached(0)
stop = threading.Event()
def flush():
    while not stop.is_set():
        cache.flow.ledger.flush()
        cache.flow.ledger.count("others", noise=1)
threads = [threading.Thread(target=flush) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(30):
    child = os.fork()
    if child == 0:
        cached(0)
        os._exit(0 if cache.flow.ledger.flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
say("done")
"""


def test_forks_while_threads_write(root: Path) -> None:
    """A child that was forked while a thread was writing is not held up by its lock, and adds its own."""
    assert run(FORKING_THREADS, root) == ["done"]
    found = counted(root)
    assert (found["hits"], found["misses.absent"]) == (30, 1)
    assert ledger.read(str(root), RING).damaged == 0


MERGING = """
from pcache.counters import pending, ledger
from pcache.system.locks import locking
locking()
# A process that waits longer than this for a processor, with the file open, loses a line.
pending.FULL, ledger._SETTLED = 500, 1.0
pending._SOONEST = pending._LATEST = 0.0
folder = os.path.join(sys.argv[1], "v1", "ledger")
say("ready")
hear()
n = 0
while n < 400 or not os.path.exists(os.path.join(folder, "totals")):
    n += 1
    cache.flow.ledger.count("module:f", hits=1)
    assert cache.flow.ledger.flush()
    if n % 100 == 0:
        ledger.merge(folder, cache.flow.keys.keyring)
say(n)
"""


def test_merging_while_others_append_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes that append and merge at the same time add up exactly, and a reader sees no step back."""
    cache_at(root).cached(double)(1)
    processes = [Talker(MERGING, root) for _ in range(4)]
    for process in processes:
        process.hear()
    for process in processes:
        process.say()
    seen, steps_back = 0, []
    while any(process.process.poll() is None for process in processes):
        now = counted(root, "module:f")["hits"]
        if now < seen:
            steps_back.append((seen, now))
        seen = now
    appended = sum(int(process.finish()[0]) for process in processes)
    assert steps_back == []
    assert counted(root, "module:f")["hits"] == appended >= 1600
    merge_now(root, monkeypatch)
    assert counted(root, "module:f")["hits"] == appended
    assert sorted(path.name for path in folder_of(root).glob("*counters*")) == []


# Damage


@pytest.fixture
def written(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger with some lines in totals, some set aside and some that were appended last."""
    book = cache_at(root).flow.ledger
    cache_at(root).cached(double)(1)
    for n in range(30):
        book.count(f"module:f{n}", hits=1)
    assert book.flush()
    merge_now(root, monkeypatch)
    for n in range(30, 40):
        book.count(f"module:f{n}", hits=1)
    assert book.flush()
    monkeypatch.setattr(ledger, "_SETTLED", 60.0)
    assert ledger.merge(str(folder_of(root)), RING)
    for n in range(40, 60):
        book.count(f"module:f{n}", hits=1)
    assert book.flush()
    return root


def hits_of(root: Path) -> dict[str, int]:
    found = {name: n for (_, name, counter), n in ledger.read(str(root), RING).amounts.items() if counter == "hits"}
    return {name: n for name, n in found.items() if name.startswith("module:")}


ALL = {f"module:f{n}": 1 for n in range(60)}


def test_the_parts_of_a_ledger_add_up(written: Path) -> None:
    """Totals, files that were set aside and the lines appended last are one."""
    assert hits_of(written) == ALL
    names = [path.name.partition(".") for path in folder_of(written).iterdir() if path.name.startswith("c")]
    assert sorted(bool(suffix) for _, _, suffix in names) == [False, True]
    assert ledger.read(str(written), RING).damaged == 0


@pytest.mark.parametrize("name", ["counters", "totals"])
def test_flipped_bytes_cost_their_block(written: Path, name: str) -> None:
    """One flipped bit anywhere loses the block that it is in, and no number becomes wrong."""
    path = folder_of(written) / name
    data, chance = path.read_bytes(), random.Random(5)
    for at in [*chance.sample(range(len(data)), 250), 0, 1, len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        found = hits_of(written)
        assert found.items() <= ALL.items(), at
        assert len(found) >= (40 if name == "counters" else 20), at
    path.write_bytes(data)
    assert hits_of(written) == ALL


@pytest.mark.parametrize("name", ["counters", "totals"])
def test_a_file_that_was_cut_short(written: Path, name: str) -> None:
    """A file that ends early loses what is gone; the line that was cut is damaged, and what comes after it counts."""
    path = folder_of(written) / name
    data = path.read_bytes()
    book = cache_at(written).flow.ledger
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        found = hits_of(written)
        assert found.items() <= ALL.items()
        assert len(found) >= 20
    path.write_bytes(data[:-3])
    book.count("module:more", hits=7)
    assert book.flush()
    assert hits_of(written)["module:more"] == 7
    assert ledger.read(str(written), RING).damaged == 1


GARBAGE = [
    b"\0" * 5000,
    bytes(range(256)) * 50,
    b"\n\n\n",
    b"#\n",
    b"#since\n",
    "\u2028é\x85".encode(),
    b"00000000 \n" * 9,
]


@pytest.mark.parametrize("name", ["counters", "totals"])
@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_costs_statistics_only(
    written: Path, name: str, garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in a file, calls hit, lines are appended and merged, and the rest is still counted."""
    (folder_of(written) / name).write_bytes(garbage)
    assert len(hits_of(written)) >= 20
    cache = cache_at(written)
    cached = cache.cached(double)
    assert cached(1) == 2
    assert cached.cache_info().hits == 1
    assert cache.flow.ledger.flush()
    assert counted(written, f"{__name__}:double")["hits"] == 1
    before = hits_of(written)
    merge_now(written, monkeypatch)
    assert hits_of(written) == before
    assert ledger.read(str(written), RING).damaged == 0


@pytest.mark.parametrize("name", ["counters", "totals", "totals.new", "counters.0123456789abcdef"])
@pytest.mark.parametrize("kind", ["directory", "link", "pipe", "dangling"])
def test_odd_things_in_place_of_a_file(root: Path, tmp_path: Path, name: str, kind: str) -> None:
    """What is no file is neither followed nor waited for, and calls go on."""
    cache = cache_at(root)
    cached = cache.cached(double)
    cached(1)
    cache.flow.ledger.flush()
    path, precious = folder_of(root) / name, tmp_path / "precious"
    precious.write_text("precious")
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(precious if kind == "link" else tmp_path / "nowhere")
    assert cached(1) == 2
    written = cache.flow.ledger.flush()
    assert written or name == "counters"
    ledger.read(str(root), RING)
    try:
        ledger.merge(str(folder_of(root)), RING)
    except OSError:
        pass
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    if not written:
        if os.path.lexists(path):  # not set aside by the merge
            path.rmdir() if kind == "directory" else path.unlink()
        assert cache.flow.ledger.flush()
    assert counted(root)["hits"] == 1


# Merging


def line(hour: int, name: str, **counters: int) -> str:
    return line_of(hour, name, counters)


def test_other_releases_counters_survive(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters that we do not know, and names with spaces and other letters, are kept and added up by a merge."""
    cache_at(root).cached(double)(1)
    cache_at(root).flow.ledger.flush()
    hour = int(time.time()) // HOUR
    names = ["módulo:función", "a b c", "<lambda>", "x" * 500, "", "日本:語", "#since 1"]
    for _ in range(2):
        append(root, *(line(hour, name, **{"new.counter-7%": 3, "hits": 2, "x" * 99: 10**30}) for name in names))
    before = ledger.read(str(root), RING)
    assert before.amounts[hour, "a b c", "new.counter-7%"] == 6
    assert before.amounts[hour, "x" * 500, "x" * 99] == 2 * 10**30
    assert set(names) <= {name for _, name, _ in before.amounts}
    for _ in range(2):
        merge_now(root, monkeypatch)
    after = ledger.read(str(root), RING)
    assert after.amounts == before.amounts
    assert after.damaged == 0


def test_names_cannot_break_lines(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's name may hold tabs, line ends and lone surrogates: its counts are found, under a legible name."""
    cache = cache_at(root)
    cache.cached(double)(1)
    for name in ("a\tb 5", "a\nb", "a\u2028b", "\udc80", "a\0b", "\x1b[2J"):
        cache.flow.ledger.count(name, hits=1)
    assert cache.flow.ledger.flush()
    assert counted(root)["hits"] == 6
    assert ledger.read(str(root), RING).damaged == 0
    merge_now(root, monkeypatch)
    assert counted(root)["hits"] == 6


def test_killed_between_the_totals_and_the_removal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines whose file a killed merger left behind are not counted twice, neither read nor merged."""
    cache = cache_at(root)
    cache.cached(double)(1)
    cache.flow.ledger.count("module:f", hits=5)
    assert cache.flow.ledger.flush()
    monkeypatch.setattr(ledger, "_SETTLED", -1.0)
    folder = folder_of(root)
    assert ledger.merge(str(folder), RING)
    (aside,) = folder.glob("counters.*")
    data = aside.read_bytes()
    assert ledger.merge(str(folder), RING)
    assert not aside.exists()
    aside.write_bytes(data)  # as if the merger had been killed before it removed the file
    assert counted(root)["hits"] == 5
    cache.flow.ledger.count("module:f", hits=1)
    assert cache.flow.ledger.flush()
    assert counted(root)["hits"] == 6
    for _ in range(3):
        assert ledger.merge(str(folder), RING)
        assert counted(root)["hits"] == 6
    assert list(folder.glob("counters*")) == []


def test_killed_before_the_totals_are_in_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-written totals are nobody's, and the next merge writes its own."""
    cache = cache_at(root)
    cache.cached(double)(1)
    cache.flow.ledger.count("module:f", hits=5)
    assert cache.flow.ledger.flush()
    (folder_of(root) / "totals.new").write_text(line(1, "module:f", hits=100) * 1000)
    assert counted(root)["hits"] == 5
    merge_now(root, monkeypatch)
    assert counted(root)["hits"] == 5
    assert not (folder_of(root) / "totals.new").exists()


def test_old_hours_become_days(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of the last month stay, older ones are kept by day, and no sum changes."""
    cache_at(root).cached(double)(1)
    cache_at(root).flow.ledger.flush()
    now = int(time.time()) // HOUR
    append(root, *(line(now - back, "module:f", hits=back) for back in range(100 * 24)))
    before = ledger.read(str(root), RING).amounts
    merge_now(root, monkeypatch)
    amounts = {hour: n for (hour, name, _), n in ledger.read(str(root), RING).amounts.items() if name == "module:f"}
    assert sum(amounts.values()) == sum(range(100 * 24))
    recent = {now - back: back for back in range(31 * 24 + 1)}
    assert {hour: n for hour, n in amounts.items() if hour in recent} | {now: 0} == recent | {now: 0}
    old = [hour for hour in amounts if hour not in recent]
    assert 68 <= len(old) <= 70
    assert all(hour % 24 == 0 for hour in old)
    days = {hour // 24 for hour in old}
    by_day = {d: sum(n for (h, name, _), n in before.items() if h // 24 == d and name == "module:f") for d in days}
    assert {hour // 24: amounts[hour] for hour in old if hour // 24 != min(recent) // 24} == {
        day: n for day, n in by_day.items() if day != min(recent) // 24
    }


def test_counting_from_zero(root: Path) -> None:
    """`merge(zero=True)` forgets everything, at once, and says since when the numbers count."""
    cache = cache_at(root)
    cached = cache.cached(double)
    for _ in range(5):
        cached(1)
    assert cache.flow.ledger.flush()
    assert counted(root)["hits"] == 4
    before = time.time()
    assert ledger.merge(str(folder_of(root)), RING, zero=True)
    reading = ledger.read(str(root), RING)
    assert (reading.amounts, reading.damaged) == ({}, 0)
    assert before - 1 <= reading.since <= time.time() + 1
    cached(1)
    assert cache.flow.ledger.flush()
    assert counted(root) == Counter(hits=1) + Counter({k: v for k, v in counted(root).items() if k != "hits"})
    assert ledger.read(str(root), RING).since == reading.since
    assert counted(root)["hits"] == 1


def test_since_is_the_first_hour(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts say since when they count, the hour of the first, before the first merge and after many."""
    cache = cache_at(root)
    cache.cached(double)(1)
    cache.flow.ledger.flush()
    assert ledger.read(f"{root}-that-is-not-there", RING).since == 0.0
    since = ledger.read(str(root), RING).since
    assert since % ledger.HOUR == 0
    assert 0 <= time.time() - since < ledger.HOUR + 60
    merge_now(root, monkeypatch)
    assert ledger.read(str(root), RING).since == since
    folder = PRIVATE.enter_or_make(str(root), str(folder_of(root)))
    ledger._write_totals(folder, Totals(since - 1000), RING)
    os.close(folder.fd)
    cache.flow.ledger.count("module:f", hits=1)
    assert cache.flow.ledger.flush()
    merge_now(root, monkeypatch)
    assert ledger.read(str(root), RING).since == since - 1000


HOLDER = """
from pcache.system.locks import try_lock
os.makedirs(os.path.join(sys.argv[1], "v1", "locks"), 0o700, exist_ok=True)
held = try_lock(os.path.join(sys.argv[1], "v1", "locks", "ledger"))
say("held")
hear()
"""


def test_who_merges_holds_nobody_up(root: Path) -> None:
    """While another process merges, lines are appended and read, and a second merge does nothing."""
    cache = cache_at(root)
    cached = cache.cached(double)
    cached(1)
    holder = Talker(HOLDER, root)
    holder.hear()
    cached(1)
    assert cache.flow.ledger.flush()
    assert not ledger.merge(str(folder_of(root)), RING)
    assert not ledger.merge(str(folder_of(root)), RING, zero=True)
    assert counted(root)["hits"] == 1
    holder.say()
    holder.finish()
    assert ledger.merge(str(folder_of(root)), RING)


# Where nothing can be written


FULL = """
from pcache.counters import pending, ledger
def f(n):
    return n
cached = cache.cached(f)
cached(1)
book = cache.flow.ledger
book.flush()
filler = os.path.join(os.path.dirname(sys.argv[1]), "filler")
with open(filler, "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
failed = 0
for turn in range(300):  # until the last block of the file is full, and on
    for n in range(20):
        book.count(f"module:f{n}", hits=1)
    cached(1)
    failed += not book.flush()
say(failed > 200)
os.unlink(filler)
say(book.flush(), book.flush())
"""


def test_a_full_disk(small_disk: Path) -> None:
    """Counts that a full disk refuses are kept, and written when there is room: none is lost, none counted twice."""
    root = small_disk / "cache"
    assert run(FULL, root) == ["True", "True True"]
    reading = ledger.read(str(root), RING)
    found = {name: n for (_, name, counter), n in reading.amounts.items() if counter == "hits"}
    by_name = Counter(found)
    assert {by_name[f"module:f{n}"] for n in range(20)} == {300}
    assert sum(n for name, n in by_name.items() if not name.startswith("module:")) == 300


# Locks are loaded before: a full disk is no place to do it.
FULL_MERGE = "from pcache.system import locks\nlocks.locking()\n" + FULL.replace(
    "failed = 0", "pending.FULL = 0\nfailed = 0"
)


def test_a_merge_on_a_full_disk(small_disk: Path) -> None:
    """A merge that fails after lines were appended counts none of them twice."""
    root = small_disk / "cache"
    run(FULL_MERGE, root)
    assert {counted(root, f"module:f{n}")["hits"] for n in range(20)} == {300}


def test_a_read_only_cache_writes_nothing(root: Path) -> None:
    """With `read_only` hits are hits, and no file below the directory is made or changed."""
    cache_at(root).cached(double)(1)
    gc.collect()
    before = {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}
    cache = cache_at(root, read_only=True)
    cached = cache.cached(double)
    cached(1), cached(1), cached(5)
    assert not cache.flow.ledger.flush()
    assert cached.cache_info()[:2] == (2, 1)
    del cache, cached
    gc.collect()
    assert {str(path): path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_nothing_is_made_for_counting_alone(root: Path) -> None:
    """A cache that stored nothing makes no directory to count in."""
    cache = cache_at(root)
    assert not cache.cached(double).exists(1)
    cache.flow.ledger.count("module:f", hits=1)
    assert not cache.flow.ledger.flush()
    del cache
    gc.collect()
    assert not root.exists()


@pytest.mark.parametrize("name", ["v1", "v1/ledger"])
def test_links_in_place_of_folders_are_refused(root: Path, tmp_path: Path, name: str) -> None:
    """Nothing is written where a symbolic link in place of our folder leads; calls return their results."""
    cached = cache_at(root).cached(double)
    cached(1)
    gc.collect()
    elsewhere = tmp_path / "elsewhere"
    (root / name).rename(elsewhere)
    (root / name).symlink_to(elsewhere)
    before = {str(path): path.stat().st_mtime_ns for path in elsewhere.rglob("*") if path.is_file()}
    cache = cache_at(root)
    if name == "v1":
        with pytest.warns(UserWarning, match="symbolic link"):
            assert cache.cached(double)(1) == 2
    else:
        assert cache.cached(double)(1) == 2
    assert not cache.flow.ledger.flush()
    with pytest.raises(OSError, match="symbolic link"):
        ledger.merge(str(folder_of(root)), RING)
    assert {str(path): path.stat().st_mtime_ns for path in elsewhere.rglob("*") if path.is_file()} == before


def test_a_directory_that_is_made_anew_is_counted(root: Path) -> None:
    """A process whose cache directory was removed under it counts in the new one."""
    import shutil

    cache = cache_at(root)
    cached = cache.cached(double)
    cached(1)
    assert cache.flow.ledger.flush()
    shutil.rmtree(root)
    cached(1), cached(1)
    cache.flow.ledger.flush()
    assert cache.flow.ledger.flush()
    assert counted(root)["hits"] == 1


HIT_ONLY = """
from pcache.counters import pending, ledger
pending.FULL = 0
def f(n):
    return n
cached = cache.cached(f)
cached(1), cached(1)
flushed = cache.flow.ledger.flush()
say(cached.cache_info()[:2], flushed, "filelock" in sys.modules, "multiprocessing" in sys.modules)
"""


def test_a_process_that_only_hits_takes_no_lock(root: Path) -> None:
    """Counting hits and writing them imports neither locks nor multiprocessing, however full the file is."""
    run(HIT_ONLY, root)
    assert run(HIT_ONLY, root) == ["(2, 0) True False False"]
    assert counted(root)["hits"] == 3


def test_writing_at_intervals(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits are written when it is time to, without any miss and long before the process ends."""
    monkeypatch.setattr(pending, "_SOONEST", 0.0)
    monkeypatch.setattr(pending, "_LATEST", 0.0)
    cache = cache_at(root)
    cached = cache.cached(double)
    for _ in range(1 + 160 + 1):
        cached(1)
    assert 145 <= counted(root)["hits"] <= 161


@pytest.mark.parametrize("number", ["-5", "9" * 50, "9" * 5000, "nan", ""])
def test_absurd_numbers_cost_their_line(root: Path, number: str) -> None:
    """A line with a right check and a number that nothing comes to is damaged as a whole, and so is its hour."""
    cache_at(root).cached(double)(1)
    cache_at(root).flow.ledger.flush()
    for body in (f"480000 m:f\thits 5\tstored {number}", f"{number} m:f\thits 5"):
        append(root, body)
    found = ledger.read(str(root), RING)
    assert found.damaged == 2
    assert not any(name == "m:f" for _, name, _ in found.amounts)


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    """A process whose clock was set back by years goes on appending what it counts."""
    counting = pending.Ledger(str(tmp_path / "cache"), KeySource(KEY, None))
    now_ns = time.time_ns() + 10 * 365 * 86400 * 10**9
    counting.due_ns = now_ns  # as if the last append had been ten years ahead
    counting.look(now_ns - 1)
    assert counting.due_ns == now_ns
    counting.look(time.time_ns())
    assert counting.due_ns < time.time_ns() + 60 * 10**9


def test_counting_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler counts in the middle of an append is counted once, with the next one."""
    cache = cache_at(tmp_path / "cache")
    cache.cached(double)(1)
    counting, write = cache.flow.ledger, os.write

    def interrupted(fd: int, data: bytes) -> int:
        counting.count("m:f", hits=10, waited=1)
        return write(fd, data)

    counting.count("m:f", hits=1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", interrupted)
        counting.flush()
    assert ledger.read(str(tmp_path / "cache"), RING).damaged == 0
    counting.flush()
    found = Counter(
        {
            counter: n
            for (_, name, counter), n in ledger.read(str(tmp_path / "cache"), RING).amounts.items()
            if name == "m:f"
        }
    )
    assert found["hits"] % 10 == 1
    assert found["hits"] // 10 == found["waited"] > 0


# What somebody without the key writes


def test_what_others_write_counts_for_nothing(written: Path) -> None:
    """Lines without a seal, with that of another key, and copies of our own blocks change no number."""
    path = folder_of(written) / "counters"
    data = path.read_bytes()
    forged = line(int(time.time()) // HOUR, "module:f1", hits=10**6)
    path.write_bytes(data + f"\n{forged}\n".encode() + seal.block(b"counters", forged.encode(), OTHER_RING) + data)
    assert hits_of(written) == ALL
    assert ledger.read(str(written), RING).damaged == 1
    assert ledger.read(str(written), OTHER_RING).amounts != {}
    assert ledger.read(str(written), None).amounts == {}


def test_planted_files_are_not_opened(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader and a merger open the files that our totals name, however many others lie beside them."""
    (aside,) = folder_of(written).glob("counters.*")
    for n in range(500):
        os.link(aside, folder_of(written) / f"counters.{n:016x}")
    gc.collect()  # caches of tests before would write what they counted when they are collected
    opened, real = [], os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: [opened.append(path), real(path, *rest, **more)][1])
    os.unlink(aside)  # else it has a second name, and counts no more
    os.rename(folder_of(written) / f"counters.{1:016x}", aside)
    ledger.read(str(written), RING)
    assert ledger.merge(str(folder_of(written)), RING)
    assert len(opened) <= 10


def test_a_ledger_of_60_mb_is_not_read(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was put in the place of counters or totals, only its first bytes are read, and the rest still counts."""
    real, read = os.read, list[int]()
    monkeypatch.setattr(os, "read", lambda fd, n: (data := real(fd, n), read.append(len(data)))[0])
    for name in ("counters", "totals"):
        path = folder_of(written) / name
        data = path.read_bytes()
        with path.open("ab") as file:
            file.write(line(480_000, "m:f", hits=1).encode() * (60 << 20 >> 4 + (name == "counters")))
        read.clear()
        found = hits_of(written)
        assert sum(read) < 100_000
        assert 20 <= len(found) < 60
        path.write_bytes(data)
    assert hits_of(written) == ALL


def test_seals_that_are_none_end_the_search(written: Path) -> None:
    """A file full of what looks like the beginning of blocks is given up soon, and the totals count all the same."""
    path = folder_of(written) / "counters"
    path.write_bytes(b"\n@" * (3 << 20) + path.read_bytes())
    found = hits_of(written)
    assert len(found) == 40


def test_who_holds_the_lock_for_ever_stops_no_merge(root: Path) -> None:
    """A lock whose holder shows no sign of work is taken from him; lines are merged as if it had been free."""
    cache_at(root).cached(double)(1)
    holder = Talker(HOLDER, root)
    holder.hear()
    os.utime(root / "v1" / "locks" / "ledger", (time.time() - 100,) * 2)
    assert ledger.merge(str(folder_of(root)), RING)
    assert ledger.merge(str(folder_of(root)), RING)
    holder.say()
    holder.finish()


def test_what_was_set_aside_by_nobody_is_swept(written: Path) -> None:
    """Files that our totals do not name go when they are old; those that they name, and all under another key, stay."""
    (aside,) = folder_of(written).glob("counters.*")
    (folder_of(written) / f"counters.{'0' * 16}").write_bytes(b"planted")
    ledger.sweep(str(written), OTHER_RING, -1.0)
    ledger.sweep(str(written), RING, 3600.0)
    assert len(list(folder_of(written).glob("counters.*"))) == 2
    ledger.sweep(str(written), RING, -1.0)
    assert list(folder_of(written).glob("counters.*")) == [aside]
    assert hits_of(written) == ALL


def test_nothing_is_counted_without_a_key(tmp_path: Path) -> None:
    """Without a signing key no counts are written, and none are lost that were not there."""
    keys = KeySource(KEY, None)
    keys.keyring = None
    counting = pending.Ledger(str(tmp_path), keys)
    counting.count("m:f", hits=1)
    assert not counting.flush()
    assert list(tmp_path.iterdir()) == []
