"""The page about a cache: its numbers, that nothing in it runs or loads, and the command that writes it."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import sys
import threading
import time
import webbrowser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")
pytest.importorskip("jinja2")

from plotly import graph_objects

from pcache import Cache, report
from pcache.entry.format import NEVER
from pcache.insight import causes
from pcache.insight.records import Period, as_plain
from pcache.report import charts, formatting
from pcache.report.distributions import Distribution, by_age, by_cost, by_size
from pcache.report.timeline import timeline
from pcache.storage.store import StoredFile
from tests.cli.test_ls import run
from tests.support.pages import HOSTILE, Page, count, double, fill, halve, vary

DAY = 86400
DASH = formatting.NOTHING


@pytest.fixture
def filled(cache: Cache) -> Cache:
    fill(cache)
    return cache


# What it says


def test_the_page_has_the_numbers_of_stats(filled: Cache) -> None:
    """Headlines and the embedded JSON are what `stats` says, to the last digit."""
    page, stats = Page(report.make(filled)), filled.stats()
    assert {**page.stats, "free": 0} == {**json.loads(json.dumps(as_plain(stats))), "free": 0}  # others write meanwhile
    expected = {name: getattr(stats, name) for name in page.headlines}
    assert page.headlines == expected
    assert set(expected) == {*"entries bytes hit_rate net_seconds computed_seconds evicted since".split()}
    assert (stats.entries, stats.hits, stats.misses) == (35, 12, 35)


def test_charts_add_up(filled: Cache) -> None:
    """Tiles, bars of time and misses add up to what `stats` says."""
    vary(filled)
    count(filled, 50, f"{__name__}:old", {"hits": 7, "misses.expired": 3, "saved_ns": 10**9})
    figures, stats = Page(report.make(filled)).figures, filled.stats()
    assert sum(figures["disk"]["data"][0]["values"]) == stats.bytes
    hits, misses, _rate = figures["calls"]["data"]
    assert (sum(hits["y"]), sum(misses["y"])) == (stats.hits, stats.misses) == (20, 39)
    assert bars_of(figures["misses"]) == {"first time": 36, "expired": 3}
    assert sum(figures["gain"]["data"][0]["x"]) == pytest.approx(stats.net_seconds)
    assert {line["name"]: line["customdata"][-1][1] for line in figures["course"]["data"]} == {
        item.name.partition(":")[2]: formatting.duration(item.net_seconds).shown for item in stats.functions
    }
    for name in ("ages", "sizes", "costs"):
        for trace in figures[name]["data"]:
            assert sum(trace["x"]) == pytest.approx(1)


def bars_of(figure: dict[str, Any]) -> dict[str, float]:
    """The bars that lie, by the first lines of what stands beside them."""
    labels = [label.partition("<br>")[0] for label in figure["layout"]["yaxis"]["ticktext"]]
    return dict(zip(labels, figure["data"][0]["x"], strict=True))


def test_figures_are_what_plotly_takes(filled: Cache) -> None:
    """The library knows every property of every figure."""
    vary(filled)
    count(filled, 2, "", {"errors.full": 1})
    for figure in Page(report.make(filled)).figures.values():
        graph_objects.Figure(figure)


def test_every_chart_has_its_numbers_in_a_table(filled: Cache) -> None:
    """Charts are pictures with a text alternative, each beside a table that can be opened; one table is by itself."""
    vary(filled)
    page = Page(report.make(filled))
    pictures = [found for _, found in page.tags if "data-figure" in found]
    assert {found["data-figure"] for found in pictures} == set(page.figures)
    assert page.count("details") - 1 == page.count("summary") - 1 == len(pictures) == 9
    assert all(found["role"] == "img" and found["aria-label"].endswith(".") for found in pictures)


def test_the_page_is_built_for_keyboards_and_readers(filled: Cache) -> None:
    """Landmarks, headings in order without a gap, unique ids that all references meet, boxes that take the focus."""
    page = Page(report.make(filled))
    assert [page.count(tag) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    references = {found["href"][1:] for tag, found in page.tags if tag == "a"}
    references |= {found["aria-labelledby"] for _, found in page.tags if "aria-labelledby" in found}
    assert references <= set(ids)
    boxes = [found for _, found in page.tags if found.get("class") == "scroll"]
    assert len(boxes) == page.count("table")
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    assert next(found for tag, found in page.tags if tag == "html")["lang"] == "en"


def test_an_empty_cache(cache: Cache) -> None:
    """Without entries and counters there is a page that says so, without charts."""
    cache.cached(double)(1)
    cache.clear()
    page = Page(report.make(cache, since=time.time() + 2 * DAY))
    assert page.figures == {}
    assert page.headlines["hit_rate"] is None
    for words in ("nothing in this cache yet", "No calls were counted", "There are no entries"):
        assert words in page.text


def test_entries_without_counters(filled: Cache) -> None:
    """Where the counters are lost, what is stored is shown all the same."""
    vary(filled)
    filled.stats()
    for path in Path(filled.location, "v1", "ledger").iterdir():
        path.unlink()
    page = Page(report.make(filled))
    assert set(page.figures) == {"disk", "ages", "sizes", "costs"}
    assert page.headlines["entries"] == 36
    assert "No calls were counted yet" in page.text


def test_since(filled: Cache) -> None:
    """Calls from before are left out, entries are not."""
    count(filled, 24 * 40, f"{__name__}:old", {"hits": 1000})
    assert Page(report.make(filled)).stats["hits"] == 1012
    recent = Page(report.make(filled, time.time() - DAY))
    assert (recent.stats["hits"], recent.stats["entries"]) == (12, 35)
    result = run("report", "-C", filled.location, "--since", "1d", "-o", "-")
    assert Page(result.stdout).stats["hits"] == 12
    for when in (time.strftime("%Y-%m-%d", time.localtime(time.time() - DAY)), "yesterday", " Yesterday "):
        result = run("report", "-C", filled.location, "--since", when, "-o", "-")
        assert Page(result.stdout).stats["hits"] == 12, when


def test_a_young_cache(filled: Cache) -> None:
    """What one hour or one class of entries says needs no axes: a sentence says it."""
    hour = filled.periods()[-1].start  # another one may begin just now
    page = Page(report.make(filled, hour, now=hour + 60))
    assert not {"calls", "course", "time"} & set(page.figures)
    assert re.search(r"12 hits and \d+ misses, all on \w+ \d+ \w+, \d\d:00\W\d\d:00\.", page.text)
    assert "last use: all < 1 hour" in page.text
    assert "at most once a minute" in page.text


def test_every_number_has_its_title(filled: Cache) -> None:
    """Where rows are stacked, each cell says which column it is of; no table has more columns than fit a screen."""
    page = Page(report.make(filled))
    rows: list[list[str]] = [[]]
    for tag, found in page.tags:
        if tag == "tr":
            rows.append([])
        elif tag == "td":
            rows[-1].append(found["data-column"])
    assert all(len(set(row)) == len(row) < 9 for row in rows)
    assert rows[-1][:2] == ["Cost", "Arguments"]


def version(cache: Cache, body: str) -> Any:
    """A function whose code is edited."""
    place: dict[str, Any] = {"__name__": "job"}
    exec(f"def f(n):\n    return {body}", place)
    return cache.cached(place["f"])


def test_misses_by_cause(cache: Cache) -> None:
    """Results that were there are told apart: the code was edited, or they were removed; all others are first ones."""
    first, second = version(cache, "n + 1"), version(cache, "n + 2")
    for n in range(6):
        first(n)
    for n in range(3, 10):
        second(n)
    for n in (5, 9):
        second.invalidate(n), second(n)
    cache.evict(max_entries=0)
    first(1), first(20)
    bars = bars_of(Page(report.make(cache)).figures["misses"])
    assert bars == {"first time": 16, "evicted": 1}
    for n in range(6):
        first(n), second(n + 3)
    second.invalidate(4), second(4)
    bars = bars_of(Page(report.make(cache)).figures["misses"])
    assert bars == {"evicted": 11, "invalidated": 1, "first time": 17}
    assert cache.stats().misses_by_reason == {"absent": 29}


def test_an_edit_of_the_code(cache: Cache) -> None:
    """A result was lost by it if the same call has an earlier one of another version; since the time asked for."""
    first, second = version(cache, "n + 1"), version(cache, "n + 2")
    for n in range(6):
        first(n)
    for n in range(4, 10):
        second(n)
    page = Page(report.make(cache))
    assert bars_of(page.figures["misses"]) == {"first time": 10, "code edited": 2}
    assert "`pcache explain` compares" in page.text
    files = list(cache.directory.store.scan())
    names = dict.fromkeys((item.function_id for item in files), "job:f")
    assert causes.of_computed_again(cache.directory, files, names, time.time() + 1) == {}


def test_functions_that_cost_more_than_they_save(filled: Cache) -> None:
    """They are named under a title of their own; so is what is being computed."""
    small = {"hits": 20, "hit_ns": 10**9, "misses.absent": 20, "computed_ns": 10**6, "stored": 20, "store_ns": 10**9}
    count(filled, 1, "slow:cached", small)
    started, go_on = threading.Event(), threading.Event()

    def running() -> None:
        started.set()
        go_on.wait()

    thread = threading.Thread(target=filled.cached(running))
    thread.start()
    started.wait()
    try:
        text = Page(report.make(filled)).text
    finally:
        go_on.set()
        thread.join()
    assert "slow:cached" in text.partition("Cost more than they save")[2].partition("Over time")[0]
    assert f"{os.getpid()} on " in text.partition("Being computed")[2].rpartition("Being computed")[2]


def test_the_expensive_entries_come_first(cache: Cache) -> None:
    """The twenty that took longest are shown, in order, with their arguments."""
    slow = cache.cached(halve)
    costs = {}
    for n in range(30):
        slow(n)
    for info in cache.entries():
        costs[info.arguments] = info.cost
    expensive = sorted(costs, key=lambda arguments: -costs[arguments])
    text = Page(report.make(cache)).text.partition("took longest")[2]
    places = [text.find(arguments) for arguments in expensive[:20]]
    assert all(place > 0 for place in places)
    assert text.count("note=''") == 20


# What does not run, and what is not loaded


def hostile_cache(cache: Cache) -> Cache:
    """A cache whose functions, arguments, reasons and place want to be more than text."""

    def function(text: str) -> str:
        return text

    function.__qualname__ = HOSTILE
    function.__module__ = "</title></style>"
    cache.cached(function)(HOSTILE)
    count(cache, 1, "\u202e\x1b[2J</script><script>alert(2)</script>", {"hits": 3, f"misses.{HOSTILE}": 2})
    return cache


def test_nothing_of_the_cache_is_markup(tmp_path: Path) -> None:
    """Names and arguments are text wherever they stand, also in JSON, attributes and figures."""
    cache = hostile_cache(Cache(tmp_path / "<img src=x onerror=alert(3)>"))
    html = report.make(cache)
    page, plain = Page(html), Page(report.make(Cache(tmp_path / "none")))
    for tag in ("script", "img", "style", "title", "iframe"):
        assert page.count(tag) == plain.count(tag), tag
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    assert HOSTILE in page.text
    listed = page.text.partition("Most expensive entries")[2].partition("Being computed")[0]
    assert not re.search(r"\b49\b(?! s ago)", listed.replace("{{7*7}}", ""))
    assert page.stats["functions"][0]["name"].count("script") == 3
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "<" not in page.scripts["figures"].replace(r"\u003c", "")
    for label in page.figures["disk"]["data"][0]["labels"]:
        assert "<" not in label  # plotly reads markup


def test_the_policy_knows_the_scripts(filled: Cache) -> None:
    """The page's policy allows its own two scripts by their digests, and nothing from anywhere."""
    (policy,) = (found["content"] for tag, found in Page(report.make(filled)).tags if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == 2
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "http" not in policy


def test_nothing_is_loaded(filled: Cache) -> None:
    """No tag, style or script of the page refers to anything outside of it."""
    page = Page(report.make(filled))
    loading = {"src", "srcset", "data", "poster", "action", "background", "cite", "ping"}
    assert [found for _, found in page.tags if loading & set(found)] == []
    assert {found["href"][:5] for _, found in page.tags if "href" in found if found["href"][0] != "#"} == {"data:"}
    assert not re.search(r"@import|url\(|https?:", page.scripts["style"])
    assert not re.search(r"https?:|fetch|XMLHttp|import\(", page.scripts["script"])
    assert set(page.scripts) == {"style", "stats", "figures", "library", "script"}
    assert re.fullmatch("[A-Za-z0-9+/=]+", page.scripts["library"])


def test_no_result_is_unpickled(cache: Cache, tmp_path: Path) -> None:
    """A result that would do something when it is loaded does not do it."""
    from tests.cli.test_ls import canary

    cache.cached(canary)(str(tmp_path / "sung"))
    report.make(cache)
    assert not (tmp_path / "sung").exists()


# Parts


def file_of(length: int, used: float, cost: float) -> StoredFile:
    return StoredFile("1" * 16, "2" * 40, length, length, "", int(used * 1e9), int(cost * 1e9), NEVER, 1)


def counts(classes: Distribution) -> list[tuple[str, int]]:
    return [(item.label.replace(DASH, "-"), item.entries) for item in classes]


def test_entries_are_counted_in_classes() -> None:
    """A bound begins the class above it, empty classes at the ends are left out, those between are not."""
    files = [file_of(4095, 0, 0.5), file_of(4096, 0, 1), file_of(1 << 25, 0, 0)]
    assert counts(by_size(files)) == [
        ("< 4 KiB", 1),
        ("4-64 KiB", 1),
        ("64 KiB-1 MiB", 0),
        ("1-16 MiB", 0),
        ("16-256 MiB", 1),
    ]
    assert counts(by_cost(files)) == [("0.1-1 s", 1), ("1-10 s", 1), ("not known", 1)]
    ahead = [file_of(1, 0, 0), file_of(1, 2 * DAY, 0)]
    assert counts(by_age(ahead, DAY)) == [("< 1 hour", 1), ("1-6 hours", 0), ("6-24 hours", 0), ("1-3 days", 1)]
    assert by_size([]) == by_cost([]) == by_age([], 0) == ()


@pytest.mark.parametrize(
    ("span", "width"), [(0, 3600), (3600, 3600), (2 * DAY, 6 * 3600), (20 * DAY, DAY), (300 * DAY, 7 * DAY)]
)
def test_time_is_cut_into_what_one_can_read(span: int, width: int) -> None:
    """However long the time, there are few stretches, without gaps, and nothing is lost."""
    now = 1.8e9
    periods = [Period(start=now - span, hits=3), Period(start=now - span // 3, hits=4, misses=1, saved_seconds=-2.0)]
    found = timeline(periods, now)
    assert found.width == width
    assert span // width <= len(found.stretches) <= 48
    starts = [stretch.start for stretch in found.stretches]
    assert {after - before for before, after in itertools.pairwise(starts)} <= {float(width)}
    assert starts[0] <= now - span
    assert starts[-1] <= now < starts[-1] + width
    assert sum(stretch.hits for stretch in found.stretches) == 7
    assert len({found.name(stretch) for stretch in found.stretches}) == len(starts)


def test_a_period_of_a_clock_that_ran_ahead() -> None:
    """It has its stretch, after now."""
    assert sum(stretch.hits for stretch in timeline([Period(start=5e5, hits=2)], 4e5).stretches) == 2


def test_numbers_for_people() -> None:
    """Shares do not round to all or nothing, texts cannot change their surroundings."""
    assert [formatting.share(part).shown for part in (0, 1e-6, 0.5, 0.12345, 0.99999, 1, None)] == [
        *("0%", "<0.1%", "50%", "12.3%", ">99.9%", "100%", DASH),
    ]
    assert formatting.visible("größer \u202e\ud800\x00") == r"größer \u202e\ud800\x00"
    assert charts.text("<b>&") == "&lt;b&gt;&amp;"


# The command


def test_the_command_writes_a_file(filled: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default report.html, that nobody else can read; a file of ours that is there keeps its rights."""
    monkeypatch.chdir(tmp_path)
    result = run("report", "-C", filled.location)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"report\.html: [\d.]+ MiB\n", result.stdout)
    page = tmp_path / "report.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert page.stat().st_size < 3 << 20
    assert Page(page.read_text("utf-8")).stats["entries"] == 35
    page.write_text("old")
    page.chmod(0o644)
    assert run("report", "-C", filled.location, "-o", "./report.html").exit_code == 0
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "report.html"]


def test_the_command_writes_to_standard_output(filled: Cache, tmp_path: Path) -> None:
    """-o - and a device get the page; the device stays one."""
    result = run("report", "-C", filled.location, "-o", "-")
    assert result.stdout.startswith("<!DOCTYPE html>")
    assert result.stdout.endswith("</html>\n")
    assert run("report", "-C", filled.location, "-o", os.devnull).exit_code == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("failing", ["replace", "fchmod"])
def test_a_file_appears_whole_or_not_at_all(
    failing: str, filled: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last step fails, the old file is there, and nothing else."""
    page = tmp_path / "pages" / "report.html"
    page.parent.mkdir()
    page.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device", "/some/temporary/file")

    monkeypatch.setattr(os, failing, refuse)
    result = run("report", "-C", filled.location, "-o", page)
    assert (result.exit_code, result.stderr) == (1, f"pcache: {page}: No space left on device\n")
    assert page.read_text() == "old"
    assert list(page.parent.iterdir()) == [page]


def test_what_cannot_be_written_to(filled: Cache, tmp_path: Path) -> None:
    """A missing folder is a problem, a directory a wrong command line; each is one sentence."""
    result = run("report", "-C", filled.location, "-o", tmp_path / "none" / "page.html")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"pcache: {tmp_path / 'none' / 'page.html'}: No such file or directory\n"
    result = run("report", "-C", filled.location, "-o", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    result = run("report", "-C", filled.location, "-o", "-", "--open")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    for when in ("banana", "2999-01-01"):
        assert run("report", "-C", filled.location, "--since", when).exit_code == 2


def test_what_is_no_cache(tmp_path: Path) -> None:
    """A directory that is not there is a problem, one that cannot be a cache a wrong command line; no file is made."""
    page = tmp_path / "page.html"
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "thesis.tex").write_text("precious")
    for place, code in ((tmp_path / "none", 1), (tmp_path / "data", 2), (tmp_path / "data" / "thesis.tex", 2)):
        result = run("report", "-C", place, "-o", page)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1)
        assert not page.exists()


@pytest.mark.parametrize("library", ["plotly", "jinja2"])
def test_a_missing_library(library: str, filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to install."""
    for name in [name for name in sys.modules if re.match(rf"pcache\.report\b|{library}\b", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delattr("pcache.report", raising=False)
    result = run("report", "-C", filled.location, "-o", "-")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "pcache: the report needs plotly and Jinja2: python -m pip install plotly jinja2\n"


@pytest.mark.parametrize("found", [True, False])
def test_open_shows_the_file(found: bool, filled: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser gets the file's address; without a browser that is said, and the file is there."""
    shown: list[str] = []

    def show(address: str) -> bool:
        shown.append(address)
        return found

    monkeypatch.setattr(webbrowser, "open", show)
    result = run("report", "-C", filled.location, "-o", tmp_path / "a page.html", "--open")
    assert shown == [f"{tmp_path.as_uri()}/a%20page.html"]
    assert (result.exit_code, "no browser" in result.stderr) == ((0, False) if found else (1, True))


def test_a_place_that_is_not_utf8(tmp_path: Path) -> None:
    """A path of other bytes is written out."""
    cache = Cache(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    cache.cached(double)(1)
    result = run("report", "-C", cache.location, "-o", tmp_path / "page.html")
    assert result.exit_code == 0
    assert r"caf\udce9" in Page((tmp_path / "page.html").read_text("utf-8")).text


def test_the_report_is_a_late_import() -> None:
    """The command line starts without the libraries of the report."""
    import subprocess

    code = "import sys, pcache.cli; print({'plotly', 'jinja2', 'pcache.report'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
