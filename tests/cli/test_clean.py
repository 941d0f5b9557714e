"""The command line where it removes: clear, evict, verify, and what they never touch."""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import pcache
from pcache import Cache
from pcache.cli import main
from pcache.cli.candidates import sums
from pcache.maintenance import cleanup
from pcache.maintenance.records import Candidate
from pcache.storage.claim_owner import owner_record
from pcache.storage.store import on_disk
from pcache.text.phrases import counted
from pcache.text.units import format_duration
from tests.support.processes import address_of

if TYPE_CHECKING:
    from click.testing import Result

DRY_RUNS = (
    "clear -n --unused-for 1d",
    "clear -n --larger-than 1KiB noise",
    "recompress -n --level 19",
    "recompress -n --level none double",
    "clear -n",
    "clear --dry-run double",
    "clear -n --json",
    "evict -n --max-size 0",
    "evict --dry-run --max-entries 1 --json",
    "evict -n --max-age 0",
    "verify -n",
    "verify --repair -n",
)


def double(n: Any) -> Any:
    return n * 2


def noise(n: int) -> bytes:
    return os.urandom(n)


def files(cache: Cache) -> dict[str, bytes]:
    """Every file below a cache directory with its content."""
    return {str(path): path.read_bytes() for path in Path(cache.location).rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Four results of `double`, unused for an hour to 3 days, and a fresh large one of `noise`; of unknown cost."""
    cache = Cache(tmp_path / "cache")
    for n in range(4):
        cache.cached(double)(n)
        path = next(info.path for info in cache.entries("double") if info.arguments == f"n={n}")
        os.utime(path, (int(time.time()) - n * 86400 - 3600,) * 2)
    cache.cached(noise)(5000)
    os.utime(next(cache.entries("noise")).path, (int(time.time()),) * 2)
    return cache


def stored(cache: Cache) -> list[str]:
    """The names of the functions that have entries."""
    return [function.name for function in cache.functions() if function.entries]


def run(cache: Cache, command: str) -> Result:
    result = CliRunner().invoke(main, ["-C", cache.location, *command.split()])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def report(cache: Cache, command: str, exit_code: int = 0) -> Any:
    result = run(cache, f"{command} --json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def harm(cache: Cache, n: int) -> Path:
    """Cut one byte off the entry of `double(n)`."""
    path = next(Path(info.path) for info in cache.entries() if info.arguments == f"n={n}")
    path.write_bytes(path.read_bytes()[:-1])
    return path


@pytest.mark.parametrize("command", DRY_RUNS)
def test_a_dry_run_removes_nothing(cache: Cache, command: str) -> None:
    """With -n nothing changes, not even a leftover claim goes, and it does not ask."""
    harm(cache, 1)
    shard = next(Path(cache.location, "v1", "entries").iterdir())
    (shard / f"{'1' * 16}-{shard.name}{'2' * 38}.claim").write_text("{}")
    before = files(cache)
    assert run(cache, command).exit_code == (1 if "verify" in command else 0)
    assert files(cache) == before


@pytest.mark.parametrize("command", ["clear", "clear double", "evict --max-entries 2", "evict --max-age 36h"])
def test_a_dry_run_tells_what_happens(cache: Cache, command: str) -> None:
    """A dry run lists exactly those entries, and counts those bytes, that the command then removes."""
    before = {info.key for info in cache.entries()}
    planned = report(cache, f"{command} -n")
    text = run(cache, f"{command} -n").stdout
    done = report(cache, f"{command} -y")
    gone = before - {info.key for info in cache.entries()}
    assert {candidate["key"] for candidate in planned["candidates"]} == gone
    assert all(key in text for key in gone)
    assert (planned["entries"], planned["bytes"]) == (done["entries"], done["bytes"])
    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    assert sum(candidate["size"] for candidate in planned["candidates"]) == done["bytes"]


# clear


def test_clear_everything(cache: Cache) -> None:
    """All entries go; the root, its tag and what is not ours stay."""
    stranger = Path(cache.location, "v1", "entries", "notes.txt")
    stranger.write_text("mine")
    result = run(cache, "clear --yes")
    assert (result.exit_code, result.stdout[:17]) == (0, "Removed 5 entries")
    assert cache.stats().entries == 0
    assert {"CACHEDIR.TAG", ".gitignore"} <= set(os.listdir(cache.location))
    assert stranger.read_text() == "mine"


REMOVING = (
    ("clear", 5),
    ("clear double", 4),
    ("clear *:noi*", 1),
    ("clear double noise", 5),
    ("clear --unused-for 0", 5),
    ("evict --max-entries 1", 4),
    ("evict --max-entries 0 noise", 1),
)


@pytest.mark.parametrize(("command", "entries"), REMOVING)
def test_a_script_has_to_say_yes(cache: Cache, command: str, entries: int) -> None:
    """Where there is no terminal to ask on, nothing is removed without --yes, whatever it is: one sentence, and 2."""
    result = run(cache, command)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"({counted(entries, 'entry')}, " in result.stderr
    assert "say --yes" in result.stderr
    assert cache.stats().entries == 5
    assert run(cache, f"{command} --yes").stdout.startswith(f"Removed {counted(entries, 'entry')}, ")


def test_clear_of_one_function(cache: Cache) -> None:
    """Others stay, and where nothing is left to remove nobody has to say yes."""
    assert run(cache, "clear double -y").stdout.startswith("Removed 4 entries, ")
    assert stored(cache) == [f"{__name__}:noise"]
    assert run(cache, "clear *:noi* -y").exit_code == 0
    assert run(cache, "clear").stdout == "There was nothing to clear.\n"


@pytest.mark.parametrize(
    ("functions", "left"),
    [("double", ["noise"]), ("*:dou* cut", ["noise"]), ("test_* nothing*", None), ("double *:noise", [])],
)
def test_several_functions(cache: Cache, functions: str, left: list[str] | None) -> None:
    """Names and patterns add up for `clear`, `evict` and `ls`; one that matches nothing removes nothing."""
    cache.cached(double, version=1)(9)
    functions = functions.replace("cut", f"{__name__}:double")
    listed = run(cache, f"ls {functions} --json")
    for command in (f"clear -y {functions}", f"evict -y --max-entries 0 {functions}"):
        before = {info.key for info in cache.entries()}
        result = run(cache, command)
        gone = before - {info.key for info in cache.entries()}
        if left is None:
            assert (result.exit_code, listed.exit_code, gone) == (1, 1, set())
            assert "'test_*'" in result.stderr or "'nothing*'" in result.stderr
        elif gone:
            assert {info["key"] for info in json.loads(listed.stdout)} == gone
            assert stored(cache) == [f"{__name__}:{name}" for name in left]


@pytest.mark.parametrize("name", ["duoble", "", "doubl", "[", "*nothing*"])
def test_clear_of_an_unknown_name(cache: Cache, name: str) -> None:
    """A name that matches nothing exits with 1, lists near ones and removes nothing; an empty one is not "all"."""
    result = CliRunner().invoke(main, ["clear", name, "-C", cache.location])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{__name__}:double" in result.stderr
    assert cache.stats().entries == 5


@pytest.mark.parametrize("command", ["clear", "clear -y", "clear name", "evict", "evict --max-size 0"])
def test_what_does_not_exist_needs_nothing(tmp_path: Path, command: str) -> None:
    """Without a directory there is nothing to do, which is fine, and none is made."""
    cache = Cache(tmp_path / "none")
    result = run(cache, command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "nothing to" in result.stdout
    assert result.stdout.endswith(f": {cache.location} does not exist.\n")
    assert not os.path.lexists(cache.location)


def test_names_survive_a_clear_of_a_running_program(cache: Cache) -> None:
    """A program that goes on after a clear keeps its functions' names in listings."""
    function = cache.cached(double)
    function(10)
    run(cache, "clear -y")
    function(11)
    assert stored(cache) == [function.name]


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ("--unused-for 36h", ["n=5000", "n=0", "n=1"]),
        ("--larger-than 4KiB", ["n=0", "n=1", "n=2", "n=3"]),
        ("--larger-than 1KiB --unused-for 36h", ["n=5000", "n=0", "n=1"]),
        ("noise --unused-for 36h", ["n=5000", "n=0", "n=1", "n=2", "n=3"]),
        ("double --unused-for 0", ["n=5000"]),
    ],
)
def test_clear_by_size_and_use(cache: Cache, which: str, left: list[str]) -> None:
    """What is too large, or was not used for long, goes; the dry run lists exactly that."""
    before = {info.key for info in cache.entries()}
    listed = {item["key"] for item in report(cache, f"clear -n {which}")["candidates"]}
    assert run(cache, f"clear -y {which}").exit_code == 0
    assert [info.arguments for info in cache.entries()] == left
    assert before - {info.key for info in cache.entries()} == listed


def test_superseded_results_are_summed_up(cache: Cache) -> None:
    """Which functions they are of, how many and how dear is what a dry run says; programs get the entries as well."""
    found = {one["function"]: one["entries"] for one in report(cache, "clear -n")["functions"]}
    assert found == {f"{__name__}:double": 4, f"{__name__}:noise": 1}
    costs = (("m:f", 2.0), ("m:g", 9.0), ("m:f", 3.0))
    candidates = [Candidate("1" * 40, name, 4096, 1.0, cost) for name, cost in costs]
    assert [(one["function"], one["entries"], one["bytes"], one["seconds"]) for one in sums(candidates)] == [
        ("m:g", 1, 4096, 9.0),
        ("m:f", 2, 8192, 5.0),
    ]


def test_what_goes_with_it(tmp_path: Path) -> None:
    """A dry run, and what is removed, say how much computing that is."""
    cache = Cache(tmp_path / "cache")
    slow = cache.cached(lambda n: time.sleep(0.1))
    slow(1), slow(2)
    dry = report(cache, "evict -n --max-size 0")
    assert dry["seconds"] > 0.18
    assert f"\nComputing that took about {format_duration(dry['seconds'])}" in run(cache, "clear -n").stdout
    assert (
        f"Removed 2 entries, 8 KiB, which had taken {format_duration(dry['seconds'])}" in run(cache, "clear -y").stdout
    )


def test_recompress(tmp_path: Path) -> None:
    """Packing tighter and unpacking change the room, not the results, nor what is known of them."""
    cache = Cache(tmp_path / "cache", compression="none")
    text = cache.cached(lambda n: f"{n} and so on, " * 20_000)
    value, before = text(1), next(cache.entries())
    dry = report(cache, "recompress --level 19 -n")
    assert next(cache.entries()) == before
    packed = report(cache, "recompress --level 19")
    assert {**packed, "dry_run": True} == dry
    assert (packed["entries"], packed["before"], packed["after"]) == (1, on_disk(before.size), 4096)
    after = next(cache.entries())
    assert after.size < 4096 < before.size
    assert replace(after, size=before.size) == before
    assert (text(1), text.cache_info().misses) == (value, 1)
    assert report(cache, "recompress --level 19")["entries"] == 0
    assert "Recompressed 1 entry: 4 KiB become" in run(cache, "recompress --level none").stdout
    assert next(cache.entries()).size == before.size
    assert (text(1), text.cache_info().misses) == (value, 1)


def test_recompress_leaves_what_it_cannot_read(cache: Cache) -> None:
    """A damaged entry, and one that is being computed anew, are left alone and counted."""
    harm(cache, 1)
    text = Cache(cache.location, compression=1).cached(double)
    text("x" * 20_000)
    held = cache.flow.store.claim(
        address_of(text, "x" * 20_000).name, owner_record("somebody", cache.flow.keys.ensure())
    )
    before = files(cache)
    result = run(cache, "recompress --level none")
    assert (result.exit_code, result.stdout) == (0, "Recompressed 0 entries.\n")
    assert "2 entries could not be read" in result.stderr
    assert files(cache) == before
    assert held is not None
    held.abandon()


@pytest.mark.parametrize("level", ["banana", "23", "-8", "1.5", ""])
def test_recompress_by_a_level_that_there_is_not(cache: Cache, level: str) -> None:
    """Exits with 2 and one sentence that lists the levels."""
    result = CliRunner().invoke(main, ["-C", cache.location, "recompress", "--level", level])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "zstd level from -7 to 22" in result.stderr


@pytest.mark.parametrize("command", ["clear -y", "evict --max-size 0", "verify --repair", "recompress --level 9"])
def test_a_read_only_cache_is_left_alone(cache: Cache, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PCACHE_READ_ONLY forbids removing, and is named."""
    monkeypatch.setenv("PCACHE_READ_ONLY", "1")
    before = files(cache)
    result = run(cache, command)
    assert result.exit_code == 2
    assert "PCACHE_READ_ONLY" in result.stderr
    assert files(cache) == before
    assert run(cache, "verify").exit_code == 0


# evict


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ("--max-entries 2", ["n=5000", "n=0"]),
        ("--max-entries 0", []),
        ("--max-age 36h", ["n=5000", "n=0", "n=1"]),
        ("--max-age 1d --max-entries 4", ["n=5000", "n=0"]),
        ("--function double --max-entries 1", ["n=5000", "n=0"]),
        ("--function noise --max-size 0", ["n=0", "n=1", "n=2", "n=3"]),
        ("--max-size {three}", ["n=5000", "n=0", "n=1"]),
        ("", ["n=5000", "n=0", "n=1", "n=2", "n=3"]),
    ],
)
def test_evict_down_to_limits(cache: Cache, limits: str, left: list[str]) -> None:
    """Of entries of one cost and about one size the least recently used go until each limit is met."""
    three = sum(on_disk(info.size) for info in [*cache.entries()][:3])
    assert run(cache, f"evict -y {limits.format(three=three)}").exit_code == 0
    assert [info.arguments for info in cache.entries()] == left


def test_evict_down_to_the_settings(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without limits those of the settings count."""
    monkeypatch.setenv("PCACHE_MAX_SIZE", str(cache.stats().bytes - 1))
    assert run(cache, "evict -y").stdout.startswith("Removed 1 entry, ")
    assert run(cache, "evict").stdout == "There was nothing to evict: the limits are met.\n"


def test_evict_of_an_unknown_function(cache: Cache) -> None:
    """A name that matches nothing exits with 1."""
    result = run(cache, "evict --function nuise --max-size 0")
    assert result.exit_code == 1
    assert f"{__name__}:noise" in result.stderr


# verify


def test_verify_what_is_intact(cache: Cache) -> None:
    """Without problems the exit code is 0 and everything was checked."""
    stats = cache.stats()
    found = report(cache, "verify")
    assert (found["checked"], found["bytes"], found["problems"]) == (stats.entries, stats.bytes, [])
    assert "all are intact" in run(cache, "verify").stdout
    assert run(cache, "verify --repair").exit_code == 0


def test_verify_finds_and_repairs_damage(cache: Cache) -> None:
    """A damaged entry is named, exits with 1, and goes with --repair."""
    path = harm(cache, 2)
    (problem,) = report(cache, "verify", 1)["problems"]
    assert (problem["path"], problem["reason"]) == (str(path), "damaged")
    result = run(cache, "verify")
    assert (result.exit_code, result.stderr) == (1, "`pcache verify --repair` removes damaged entries.\n")
    assert path.name[-40:] in result.stdout
    assert path.exists()
    assert "Would remove 1 entry, " in run(cache, "verify --repair -n").stdout
    assert "Removed 1 entry, " in run(cache, "verify --repair").stdout
    assert not path.exists()
    assert run(cache, "verify").exit_code == 0


def test_verify_keeps_what_others_signed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of another key are a problem, but not damage: repairing leaves them."""
    monkeypatch.setenv("PCACHE_KEY", base64.b64encode(bytes(32)).decode())
    result = run(cache, "verify --repair")
    assert result.exit_code == 1
    assert "5 foreign." in result.stdout
    assert cache.stats().entries == 5


def test_repair_keeps_what_only_cannot_be_opened(cache: Cache) -> None:
    """An entry that the system does not open now may be good: it is a problem, and stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def starve(done: int, total: int) -> None:
        """Leave no descriptor for any entry but the first."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (0 if done < total else soft, hard))

    try:
        found = cleanup.verify(cache.directory, repair=True, progress=starve)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [problem.detail for problem in found.problems] == ["it cannot be opened: Too many open files"] * 4
    assert found.removed.entries == 0
    assert report(cache, "verify")["checked"] == 5


def test_repair_counts_leftovers(cache: Cache) -> None:
    """Claims that killed processes left go with --repair, and are counted."""
    shard = next(Path(cache.location, "v1", "entries").iterdir())
    claim = shard / f"{'1' * 16}-{shard.name}{'2' * 38}.claim"
    claim.write_text("{}")
    assert "Removed 1 leftover of killed processes." in run(cache, "verify --repair").stdout
    assert not claim.exists()


# While others work

WORK = """
import sys
import pcache
from pcache import Cache
from pcache.maintenance import cleanup
cache = Cache(sys.argv[1])
@cache.cached
def square(n):
    return [n * n] * 50
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    for n in range(25):
        assert square(n) == [n * n] * 50
print(square.cache_info().misses)
"""


@pytest.mark.parametrize("command", ["clear --yes", "evict -y --max-entries 5", "verify --repair", "stats", "ls"])
def test_others_may_work_meanwhile(tmp_path: Path, command: str) -> None:
    """Four processes that read and write never notice a command but by having to compute again."""
    cache = Cache(tmp_path / "cache")
    os.mkdir(cache.location, 0o700)
    environment = {**os.environ, "PYTHONPATH": str(Path(pcache.__file__).parent.parent)}
    arguments = [sys.executable, "-c", WORK, cache.location]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(arguments, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)
    ]
    assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n"] * 4
    for worker in workers:
        assert worker.stdin is not None
        print(file=worker.stdin, flush=True)
    while any(worker.poll() is None for worker in workers):
        result = run(cache, command)
        assert result.exit_code == 0, result.output
    ends = [worker.communicate() for worker in workers]
    assert [errors for _, errors in ends] == [""] * 4
    assert sum(int(misses) for misses, _ in ends) >= 25
