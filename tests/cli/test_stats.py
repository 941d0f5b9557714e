"""The command stats: what the screen says is what the library counts, over time too, and how counters are reset."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pcache import Cache
from pcache.cli import plot
from pcache.config import settings
from pcache.counters import ledger, line_format
from pcache.insight import listing
from pcache.insight.records import Period
from pcache.layout import ledger_folder
from pcache.text.units import format_duration, format_size
from tests.cli.test_ls import double, report, run, snapshot, wait_for, zeros
from tests.cli.test_terminal import CODES, environment, pcache_in_pipe, pcache_on_terminal
from tests.support.changing import ADVICE, SEEN, Program
from tests.support.processes import append_lines
from tests.support.running import run as run_script
from tests.support.running import write

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR = 3600
DERIVED = {"hit_rate", "costs_more", "net_seconds"}  # what JSON has besides the fields


@pytest.fixture
def filled(cache: Cache) -> Cache:
    """A cache with three results of `double`, one of them hit twice, and one of `zeros`."""
    function = cache.cached(double)
    for n in (0, 1, 2, 2, 2):
        function(n)
    cache.cached(zeros)(100_000)
    assert cache.flow.ledger.flush()
    return cache


def noted(cache: Cache, amounts: Mapping[tuple[int, str, str], int]) -> None:
    """Have the ledger say more: numbers by hours before now, function and counter."""
    now = int(time.time()) // HOUR
    appended(
        cache, "\n".join(line_format.lines_of({(now - ago, *key): number for (ago, *key), number in amounts.items()}))
    )


def appended(cache: Cache, lines: str) -> None:
    """Append lines to the ledger, as a process of its own would."""
    append_lines(cache, lines)


def fields(found: dict[str, Any]) -> dict[str, Any]:
    """A report without what follows from the rest, and without the disk's free room, which others change."""
    return {name: value for name, value in found.items() if name not in {*DERIVED, "free"}}


def facts(*arguments: object) -> dict[str, str]:
    """The labels of a screen with their values."""
    lines = run("stats", *arguments).stdout.splitlines()
    return {line[:12].strip(): line[12:] for line in lines if re.match(r"\S.{9}  \S", line)}


# What is there and what it did


def test_stats_are_those_of_the_library(filled: Cache) -> None:
    """`stats --json` holds the numbers of `Cache.stats()`, and the rates that follow from them."""
    found, stats = report("stats", "-C", filled.location), filled.stats()
    functions = found["functions"]
    assert [item["hit_rate"] for item in functions] == [function.hit_rate for function in stats.functions]
    assert [item["costs_more"] for item in functions] == [function.costs_more for function in stats.functions]
    assert found["hit_rate"] == stats.hit_rate == 2 / 6
    expected = json.loads(json.dumps(asdict(stats)))
    assert fields({**found, "functions": [fields(item) for item in functions]}) == fields(expected)


def test_the_screen_has_the_numbers_of_the_report(filled: Cache) -> None:
    """Entries, bytes, hits, rate, time saved and computed, in all and by function, are those of the JSON."""
    noted(filled, {(0, f"{__name__}:far", "saved_ns"): 11520 * 10**9, (0, f"{__name__}:far", "hits"): 7})
    found, shown = report("stats", "-C", filled.location), facts("-C", filled.location)
    assert shown["directory"] == filled.location
    assert shown["entries"] == f"{found['entries']}" == "4"
    assert shown["size"].startswith(f"{format_size(found['bytes'])} of at most 10 GiB (<0.1%)")
    assert shown["time saved"] == format_duration(found["saved_seconds"]) == "3 h 12 min"
    assert shown["hit rate"] == f"{found['hit_rate']:.1%}: {found['hits']} hits, {found['misses']} misses"
    assert shown["computed"] == f"for {format_duration(found['computed_seconds'])}"
    lines = run("stats", "-C", filled.location).stdout.splitlines()
    for item in found["functions"]:
        (line,) = (line for line in lines if line.startswith(item["name"] + " "))
        assert line.split()[1:2] == [str(item["entries"])]
        assert f" {item['hits']} " in line
        assert format_size(item["bytes"]) in line
        assert format_duration(item["net_seconds"]) in line


def test_limits_show_with_what_is_used_of_them(filled: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Entries and size in percent of their limits, the age limit, and a disk that is nearly full."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pcache]\nmax_entries = 5\nmax_size = "1 MiB"\nttl = "7d"\nmin_free = 0.99\n'
    )
    shown = facts("-C", filled.location)
    assert shown["entries"] == "4 of at most 5 (80%)"
    assert re.fullmatch(r"[\d.]+ KiB of at most 1 MiB \([\d.]+%\)", shown["size"])
    assert shown["ttl"] == "results are used for 7 d"
    monkeypatch.setattr(settings, "_MOST_FREE", 1 << 60)
    disk = shutil.disk_usage(filled.location)
    assert f"below {format_size(int(0.99 * disk.total))} nothing is added" in facts("-C", filled.location)["free disk"]
    (tmp_path / "pyproject.toml").write_text(f"[tool.pcache]\nmin_free = {disk.free / disk.total / 4}\n")
    assert "free disk" not in facts("-C", filled.location)


def test_stats_of_what_does_not_exist(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is not there yet, or empty, is said to be, politely, and nothing is made."""
    monkeypatch.setenv("PCACHE_DIR", cache.location)
    for there in ("does not exist yet", "is empty: no results"):
        for option in ("--plot", "--exact", "--since=7d"):
            result = run("stats", option)
            assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
            assert there in result.stdout
        found = report("stats", "--plot")
        assert (found["entries"], found["hit_rate"], found["periods"]) == (0, None, [])
        assert "nothing is counted yet" in run("stats", "--zero").stdout
        assert not os.path.lexists(cache.location) or not os.listdir(cache.location)
        os.makedirs(cache.location, mode=0o700, exist_ok=True)


def test_results_without_counts(filled: Cache) -> None:
    """Where the counters are lost, what is stored shows all the same."""
    for path in Path(ledger_folder(filled.location)).iterdir():
        path.unlink()
    text = pcache_in_pipe("stats", "-C", filled.location).stdout
    assert "Nothing was counted yet." in text
    assert "entries     4\n" in text


def test_stats_show_what_is_being_computed(cache: Cache) -> None:
    """A computation under way is listed with its process while it lasts."""
    started, go_on = threading.Event(), threading.Event()
    function = cache.cached(ignore=["started", "go_on"])(wait_for)
    thread = threading.Thread(target=function, args=(started, go_on))
    thread.start()
    started.wait()
    text, (flight,) = run("stats", "-C", cache.location).stdout, report("stats", "-C", cache.location)["in_flight"]
    once = run("top", "-C", cache.location).stdout
    go_on.set()
    thread.join()
    assert f"{os.getpid()} on " in text
    assert f"{os.getpid()} on " in once
    assert (flight["function"], flight["pid"]) == (function.name, os.getpid())
    assert abs(time.time() - flight["since"]) < 60
    assert report("stats", "-C", cache.location)["in_flight"] == []


def test_stats_without_the_names_of_functions(filled: Cache) -> None:
    """Names that were lost from the registry are found in the entries again."""
    for path in Path(filled.location, "v1", "functions").iterdir():
        path.unlink()
    assert "tests.cli.test_ls:double " in run("stats", "-C", filled.location).stdout
    assert run("clear", "double", "-y", "-C", filled.location).stdout.startswith("Removed 3 entries")


def test_stats_with_another_key(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the signing key nothing is known but sizes, and a hint says where to look."""
    monkeypatch.setenv("PCACHE_KEY", run("key", "new", "--print").stdout)
    result = run("stats", "-C", filled.location)
    assert result.exit_code == 0
    assert ["?", "4"] in [line.split()[:2] for line in result.stdout.splitlines()]
    assert "pcache verify" in result.stderr


def test_a_sample_is_marked_as_one(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers from a part of a very large directory are `about`, until --exact lists it all."""
    script = """
        import sys
        from pcache import Cache
        function = Cache(sys.argv[1]).cached(code="none")(abs)
        for n in range(300):
            function.put(n, n)
    """
    run_script(write(tmp_path / "fill.py", script), cache.location)
    monkeypatch.setattr(listing, "_MANY", 10)
    monkeypatch.setattr(listing, "_TIME_TO_LIST", 0.0)
    result = run("stats", "-C", cache.location)
    assert re.search(r"^entries     about [\d,]+$", result.stdout, re.MULTILINE)
    assert re.search(r"^size        about .* of at most", result.stdout, re.MULTILINE)
    assert "pcache stats --exact" in result.stderr
    assert "about" in run("top", "-C", cache.location).stdout
    exact = run("stats", "--exact", "-C", cache.location)
    assert "entries     300\n" in exact.stdout
    assert exact.stderr == ""


# What calls for something


def test_ordinary_misses_are_not_listed(filled: Cache) -> None:
    """Misses of calls that were never made before are no news; the others come with what they mean."""
    assert "Reason" not in run("stats", "-C", filled.location).stdout
    noted(filled, {(0, "a:f", f"misses.{reason}"): 3 for reason in ("expired", "damaged", "foreign", "unloadable")})
    text = run("stats", "-C", filled.location).stdout
    for line in ("3  expired     older than its ttl", "`pcache verify`", "`pcache key --help`", "4  absent"):
        assert line in text


def test_errors_come_with_what_they_mean(filled: Cache) -> None:
    """Each kind of error is a line, known, of the system, or of another release."""
    kinds = {"raised": 1, "unpicklable": 2, "too_large": 3, "ENOSPC": 1234, "ENAMETOOLONG": 5, "novel": 6}
    noted(filled, {(0, "", f"errors.{kind}"): number for kind, number in kinds.items()})
    lines = run("stats", "-C", filled.location).stdout.splitlines()
    title = next(i for i, line in enumerate(lines) if line.startswith("Errors"))
    found = {line.split()[1]: line.split(maxsplit=2) for line in lines[title + 1 : title + 1 + len(kinds)]}
    assert {kind: int(words[0].replace(",", "")) for kind, words in found.items()} == kinds
    assert next(iter(found)) == "ENOSPC"
    assert found["ENAMETOOLONG"][2] == "File name too long"
    assert all(len(words) == 3 for kind, words in found.items() if kind != "novel")


def test_functions_that_cost_more_than_they_save(filled: Cache) -> None:
    """Each is named with the figures that say so, and what to do."""
    handled = {"misses.absent": 50, "stored": 50, "computed_ns": 50 * 10**4, "store_ns": 50 * 2 * 10**5}
    often = {**handled, "hits": 50, "saved_ns": 50 * 10**4, "hit_ns": 50 * 10**5}
    noted(
        filled,
        {(0, "a:never", name): n for name, n in handled.items()}
        | {(0, "a:often", name): n for name, n in often.items()},
    )
    text = run("stats", "-C", filled.location).stdout
    assert "a:never" + 19 * " " + "10 ms lost: computing 10 us, key and storing 200 us, never hit\n" in text
    assert "a:often" + 19 * " " + "14 ms lost: computing 10 us, key and storing 200 us, a hit 100 us\n" in text
    assert "Without @cached they are faster" in text
    noted(filled, {(0, f"a:{'long_name_' * 9}", name): n for name, n in often.items()})
    output = pcache_on_terminal("stats", "-C", filled.location)[1]  # where there is little room, figures stay
    assert re.search(r"  14 ms lost: computing 10 us, key and storing 200 us, a hit 100 us\n", output)
    dear = {item["name"] for item in report("stats", "-C", filled.location)["functions"] if item["costs_more"]}
    assert {"a:never", "a:often"} < dear


def test_a_loss_of_time_is_called_one(filled: Cache) -> None:
    """When hits took longer than computing would have, nothing was saved."""
    noted(filled, {(0, "a:f", "hit_ns"): 90 * 10**9})
    assert re.fullmatch(
        r"none: hits took 1 min \d+ s longer than computing", facts("-C", filled.location)["time saved"]
    )


def test_what_was_evicted_and_waited_for(filled: Cache) -> None:
    """Evicted entries show with bytes and cost, hits that waited for another by their number."""
    evicted = {"evicted": 1312, "evicted_bytes": 3 << 30, "evicted_ns": 11520 * 10**9}
    noted(filled, {**{(0, "", name): n for name, n in evicted.items()}, (0, "a:f", "waited"): 1, (0, "a:f", "hits"): 1})
    shown = facts("-C", filled.location)
    assert shown["evicted"] == "1,312 entries, 3 GiB, which had taken 3 h 12 min"
    assert shown["waited"] == "1 hit, computed by another call meanwhile"


def test_damaged_counters_are_mentioned(filled: Cache) -> None:
    """Lines of the ledger that cannot be read are counted, with what that means."""
    appended(filled, "no line of ours\n")
    result = run("stats", "-C", filled.location)
    assert result.stderr.startswith("1 record of the counters cannot be read")
    assert report("stats", "-C", filled.location)["damaged_records"] == 1


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (1, "100%"), (1e-6, "<0.1%"), (0.99999, ">99.9%"), (0.5, "50%")]
)
def test_percentages_do_not_lie(share: float, shown: str) -> None:
    """Nearly nothing is not nothing, nearly all not all."""
    from pcache.text.phrases import percent

    assert percent(share) == shown


# Over time


def test_since_counts_from_then_on(filled: Cache) -> None:
    """A duration or a date leaves out what was counted before; the screen says from when on it counts."""
    noted(filled, {(50, "a:f", "hits"): 1000, (5, "a:f", "hits"): 100})
    day = datetime.fromtimestamp(time.time() - 10 * HOUR).replace(microsecond=0)
    for value, hits in {"1m": 2, "10h": 102, day.isoformat(" "): 102, "30d": 1102, "2000-01-01": 1102}.items():
        assert report("stats", "-C", filled.location, "--since", value)["hits"] == hits, value
        assert f": {hits:,} hits, " in facts("-C", filled.location, "--since", value)["hit rate"]
    begin = time.strftime("since %Y-%m-%d %H:00", time.localtime(time.time() - 10 * HOUR))
    assert facts("-C", filled.location, "--since", "10h")["counted"].startswith(begin)
    assert facts("-C", filled.location)["counted"].endswith("2 d ago")
    assert "since" in report("stats", "-C", filled.location, "--since", "10h")


def test_counting_did_not_begin_before_the_cache(filled: Cache) -> None:
    """Counts are kept by the hour; the hour in which the directory was made counts from then on."""
    hour = int(time.time()) // HOUR * HOUR
    for made, since in ((hour + 1234.5, hour + 1234.5), (hour - 5.0, hour), (hour + 2 * HOUR, hour)):
        os.utime(Path(filled.location, ".gitignore"), (made, made))
        found = report("stats", "-C", filled.location)["since"]
        assert found == since or found == since + HOUR  # the hour may have ended meanwhile
    Path(filled.location, ".gitignore").unlink()
    assert report("stats", "-C", filled.location)["since"] % HOUR == 0


def test_since_when_it_counts_outlives_a_merge(filled: Cache) -> None:
    """Counts that are added up say the same time as before: that of the first of them."""
    noted(filled, {(50, "a:f", "hits"): 1000})
    folder, before = ledger_folder(filled.location), report("stats", "-C", filled.location)
    assert before["since"] == (int(time.time()) // HOUR - 50) * HOUR
    for _ in range(2):
        assert ledger.merge(folder, filled.flow.keys.ensure())
        for path in Path(folder).glob("counters.*"):
            os.utime(path, (0, 0))  # set aside long ago
    assert Path(folder, "totals").exists()
    after = report("stats", "-C", filled.location)
    assert (after["since"], after["hits"]) == (before["since"], before["hits"])


def test_nothing_counted_since(filled: Cache) -> None:
    """A stretch without calls says so, and what is stored shows all the same."""
    folder = ledger_folder(filled.location)
    Path(folder, "counters").write_text("")
    appended(filled, "\n".join(line_format.lines_of({(1000, "a:f", "hits"): 1})))
    text = pcache_in_pipe("stats", "-C", filled.location, "--since", "2h").stdout
    assert "Nothing was counted since 20" in text
    assert "entries     4\n" in text


def test_a_plot_has_the_numbers_of_the_periods(filled: Cache) -> None:
    """A row an hour with the hits, misses and time saved of `Cache.periods()`, those without counts too."""
    noted(filled, {(3, "a:f", "hits"): 1000, (3, "a:f", "misses.absent"): 8, (3, "a:f", "saved_ns"): 11520 * 10**9})
    found = report("stats", "--plot", "-C", filled.location)["periods"]
    expected = json.loads(json.dumps([asdict(period) for period in filled.periods()]))
    assert [fields(period) for period in found] == expected
    assert found[0]["hit_rate"] == 1000 / 1008
    text = run("stats", "--plot", "-C", filled.location).stdout
    rows = text.partition("Hour ")[2].splitlines()[1:5]
    assert [row.split()[2:4] for row in rows] == [["1,000", "8"], ["0", "0"], ["0", "0"], ["2", "4"]]
    assert "3 h 12 min" in rows[0]
    assert all(len(line) <= 80 for line in text.splitlines() if filled.location not in line)
    assert "the longest bar is 1,008" in text


def period(start: datetime, **counts: Any) -> Period:
    return Period(start=start.timestamp(), **counts)


@pytest.mark.parametrize(
    ("days", "title", "label"),
    [(1, "Hour", "Mon 00:00"), (3, "Day", "Sat 28 Feb"), (40, "Week of", "19 Jan 2026"), (300, "Month", "May 2025")],
)
def test_rows_are_as_long_as_they_fit(days: int, title: str, label: str) -> None:
    """Hours, days, weeks or months: about 30 rows at most, with all that was counted."""
    now = datetime(2026, 3, 2, 23, 30)
    periods = [
        period(datetime.fromtimestamp(now.timestamp() - 3600 * h), hits=1, saved_seconds=2.0) for h in range(days * 24)
    ]
    found, rows = plot.rows(periods[::-1], 0.0, now.timestamp())
    assert (found, rows[0].label) == (title, label)
    assert len(rows) <= 31
    assert sum(row.hits for row in rows) == days * 24
    assert sum(row.saved for row in rows) == days * 48


def test_rows_over_the_change_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an hour of the day is left out or comes twice, nothing is lost and no row comes twice."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for midnight in (datetime(2026, 3, 29), datetime(2026, 10, 25)):
            start = midnight.timestamp()
            periods = [Period(start=start + 3600 * h, hits=1) for h in range(12)]
            _, rows = plot.rows(periods, 0.0, start + 12 * 3600)
            assert sum(row.hits for row in rows) == 12
            assert len({row.label for row in rows}) == len(rows)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_plots_fit_the_terminal(filled: Cache, width: int) -> None:
    """Bars grow and shrink with the terminal, and are left out where there is no room."""
    noted(filled, {(h, "a:f", "hits"): 100 * h for h in range(20)} | {(9, "a:f", "saved_ns"): 10**13})
    code, output = pcache_on_terminal("stats", "--plot", "-C", filled.location, width=width)
    assert code == 0
    lines = CODES.sub("", output).splitlines()
    rows = lines[next(i for i, line in enumerate(lines) if line.startswith("Hour")) :]
    if width > 30:
        assert max(map(len, rows)) <= width
    assert any("\u2588" in row for row in rows) == (width >= 60)
    assert max(row.count("\u2588") for row in rows) > width // 5 or width < 60


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONIOENCODING": "latin-1"}])
def test_plots_without_colours_or_blocks(filled: Cache, env: dict[str, str]) -> None:
    """Without colours no escape sequences, without block characters others."""
    code, output = pcache_on_terminal("stats", "--plot", "-C", filled.location, **env)
    assert code == 0
    assert ("\x1b" in output) == ("PYTHONIOENCODING" in env)
    assert ("\u2588" in output) == ("NO_COLOR" in env)
    assert ("#" in output) == ("NO_COLOR" not in env)
    piped = pcache_in_pipe("stats", "--plot", "-C", filled.location, env=environment(**env)).stdout
    assert "\x1b" not in piped


def test_the_time_saved_stands_out(filled: Cache) -> None:
    """On a terminal with styles it is bold."""
    assert re.search(r"\x1b\[1mtime saved  ", pcache_on_terminal("stats", "-C", filled.location)[1])


# Resetting


def test_zero_forgets_counts_and_keeps_results(filled: Cache) -> None:
    """Counters begin anew, results stay; what was forgotten is said."""
    result = run("stats", "--zero", "--yes", "-C", filled.location)
    assert result.exit_code == 0
    assert result.stdout.startswith("The counters are zero; there were 2 hits, 4 misses, ")
    found = report("stats", "-C", filled.location)
    assert (found["hits"], found["misses"], found["entries"]) == (0, 0, 4)
    assert abs(found["since"] - time.time()) < 60
    assert "Nothing was counted yet." in run("stats", "-C", filled.location).stdout
    filled.cached(double)(1)
    assert filled.stats().hits == 1
    now = time.strftime("since %Y-%m-%d %H:", time.localtime(found["since"]))
    assert facts("-C", filled.location)["counted"].startswith(now)


@pytest.mark.parametrize(("answer", "code", "hits"), [("y\n", 0, 0), ("n\n", 1, 2), ("\x03", 130, 2)])
def test_zero_asks(filled: Cache, answer: str, code: int, hits: int) -> None:
    """On a terminal there is a question; only a yes counts."""
    found, output = pcache_on_terminal("stats", "--zero", "-C", filled.location, answers=[("[y/N]: ", answer)])
    assert found == code
    assert "2 hits, 4 misses" in output.replace("\n", "")
    assert filled.stats().hits == hits


def test_zero_without_a_yes_is_refused(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked, and where the cache is read-only, nothing is changed and the exit code is 2."""
    before = snapshot(Path(filled.location))
    result = run("stats", "--zero", "-C", filled.location)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "say --yes" in result.stderr
    monkeypatch.setenv("PCACHE_READ_ONLY", "1")
    result = run("stats", "--zero", "--yes", "-C", filled.location)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "read-only" in result.stderr
    assert snapshot(Path(filled.location)) == before


def test_a_reader_that_stops_reading(filled: Cache) -> None:
    """`| head` ends it without a traceback."""
    for command in ("stats", "stats --plot", "top"):
        script = f"{sys.executable} -m pcache {command} -C {filled.location} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, check=False)
        assert done.returncode in (0, 141)
        assert done.stderr == b""


def test_functions_that_are_others_in_each_process(tmp_path: Path) -> None:
    """Both forms name the global, the number of versions, what was computed, and what to do; once for a function."""
    program = Program(tmp_path / "project")
    for _ in range(3):
        assert program.run().code == 0
    lines = program.pcache("stats").out.splitlines()
    at = lines.index("Results of job:simulate are not found again")
    assert re.fullmatch(
        rf"  {SEEN}\. Since \d{{4}}-\d\d-\d\d \d\d:00, 6 calls took [\d.]+ .?s to compute", lines[at + 1]
    )
    assert lines[at + 2] == f"  {ADVICE}"
    assert sum("simulate are not found again" in line for line in lines) == 1
    assert "adopt" not in "".join(lines)
    functions = {item["name"]: item for item in json.loads(program.pcache("stats", "--json").out)["functions"]}
    found = functions["job:simulate"]["changing_globals"]
    assert (found["names"], found["versions"], found["calls"]) == (["job:RUN_ID"], 3, 6)
    assert found["seconds"] == functions["job:simulate"]["computed_seconds"]
    assert found["advice"] == ADVICE
    assert functions["job:limited"]["changing_globals"] is None
