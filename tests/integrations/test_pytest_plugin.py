"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.running import ROOT

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "pytest_pcache", "-p", "no:cacheprovider")
LIBRARY = """
import os
from pcache import cached

@cached
def slow(n):
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{n}\\n")
    return n * n
"""
TESTS = """
import os, pcache, pytest
from library import slow

@pytest.mark.parametrize("n", [2, 2, 3])
def test_slow(n):
    assert slow(n) == n * n
    with open(os.environ["SEEN"], "a") as file:
        file.write(pcache.default_cache().location + "\\n")
"""
RECORDED = ".pcache-recorded"


@pytest.fixture(autouse=True)
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a library and its tests; what ran and which directory was used is written down."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    monkeypatch.setenv("RAN", str(pytester.path / "ran"))
    monkeypatch.setenv("SEEN", str(pytester.path / "seen"))
    pytester.makepyfile(library=LIBRARY, test_it=TESTS)
    pytester.syspathinsert()
    return pytester.path


def told(name: str) -> list[str]:
    """The lines of a file that the tests have written, which is emptied."""
    path = Path(os.environ[name])
    lines = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_each_run_is_on_its_own(pytester: pytest.Pytester) -> None:
    """By default results lie in a temporary directory, which goes with the run; the user's is not touched."""
    for run in (pytester.runpytest, pytester.runpytest_subprocess):
        result = run(*PLUGIN)
        result.assert_outcomes(passed=3)
        result.stdout.fnmatch_lines(["pcache: isolated"])
        assert told("RAN") == ["2", "3"]
        [location] = set(told("SEEN"))
        assert not Path(location).exists()
    assert [name for name in os.environ if name.startswith("PCACHE")] == []
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


def test_workers_share_a_run(pytester: pytest.Pytester) -> None:
    """All workers of xdist use one directory, and compute each result once."""
    pytest.importorskip("xdist")
    result = pytester.runpytest_subprocess(*PLUGIN, "-p", "xdist", "-n", "2", "--dist", "each")
    result.assert_outcomes(passed=6)
    assert sorted(told("RAN")) == ["2", "3"]
    [location] = set(told("SEEN"))
    assert not Path(location).exists()
    assert "Warning" not in str(result.stderr)


def test_off(pytester: pytest.Pytester) -> None:
    """Nothing is looked up or stored; the setting of the ini file counts where the option is not given."""
    pytester.makeini("[pytest]\npcache = off")
    pytester.runpytest(*PLUGIN).stdout.fnmatch_lines(["pcache: off"])
    assert told("RAN") == ["2", "2", "3"]
    pytester.runpytest(*PLUGIN, "--pcache=isolated").stdout.fnmatch_lines(["pcache: isolated"])
    assert told("RAN") == ["2", "3"]


def checked_out(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded as another machine gets it: without ignored files, group and others may write, another home."""
    recorded = pytester.path / RECORDED
    for name in ("code", "ledger", "locks"):
        assert f"/v1/{name}/" in (recorded / ".gitignore").read_text()
        shutil.rmtree(recorded / "v1" / name, ignore_errors=True)
    for path in (recorded, *recorded.rglob("*")):
        path.chmod(0o775 if path.is_dir() else 0o664)
    home = pytester.path / "another home"
    home.mkdir()
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_record_and_replay(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one machine has recorded another one replays, and writes nothing."""
    result = pytester.runpytest_subprocess(*PLUGIN, "--pcache=record")
    result.stdout.fnmatch_lines([f"pcache: record, {RECORDED}"])
    result.assert_outcomes(passed=3)
    assert told("RAN") == ["2", "3"]
    checked_out(pytester, monkeypatch)
    before = files_of(pytester.path / RECORDED)
    result = pytester.runpytest_subprocess(*PLUGIN, "--pcache=replay")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"pcache: replay, {RECORDED}"])
    assert (told("RAN"), files_of(pytester.path / RECORDED)) == ([], before)
    assert list((pytester.path / "another home").iterdir()) == []


OWN = """
import os, pcache
from pathlib import Path

cache = pcache.Cache(os.environ["OWN"])

@cache.cached
def own(n):
    return n

def test_own():
    own(1)
    assert own.cache_info().misses == int(os.environ["MISSES"])
"""


@pytest.mark.parametrize("mode", ["isolated", "record", "replay"])
def test_caches_of_their_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """A cache with a folder of its own keeps its key and its results, whatever the mode."""
    own = pytester.path / "own"
    monkeypatch.setenv("OWN", str(own))
    pytester.runpytest(*PLUGIN, "--pcache=record").assert_outcomes(passed=3)
    pytester.makepyfile(test_it=OWN)
    monkeypatch.setenv("MISSES", "1")
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)
    before = files_of(own / "v1" / "entries")
    monkeypatch.setenv("MISSES", "0")
    pytester.runpytest(*PLUGIN, f"--pcache={mode}").assert_outcomes(passed=1)
    assert files_of(own / "v1" / "entries") == before != {}
    assert not (own / "signing-key").exists()


MISSES = """
import pcache, pytest
from library import slow

@pytest.fixture
def nine():
    return slow(9)

def test_missed(): slow(4)
def test_swallowed():
    try:
        slow(5)
    except Exception:
        pass
def test_fixture(nine): pass
def test_refreshed(): slow.refresh(2)
def test_recorded(): assert slow(2) == 4
def test_caches_of_their_own(tmp_path):
    own = pcache.Cache(tmp_path / "own").cached(abs)
    assert [own(-1), own(-1), own.cache_info().hits] == [1, 1, 1]
@pytest.mark.pcache("off")
def test_marked(): assert slow(6) == 36
"""


def test_a_miss_fails_the_test(pytester: pytest.Pytester) -> None:
    """With the text of `explain`, also where the exception is swallowed; nothing is computed."""
    pytester.runpytest(*PLUGIN, "--pcache=record").assert_outcomes(passed=3)
    told("RAN")
    pytester.makepyfile(test_it=MISSES)
    # Without the summary: on a server that sets CI it repeats each text as a whole.
    result = pytester.runpytest(*PLUGIN, "--pcache=replay", "-rN")
    result.assert_outcomes(passed=3, failed=3, errors=1)
    result.stdout.fnmatch_lines(["*is replayed and has no result of this call*", "slow(n=*): miss, absent"])
    result.stdout.fnmatch_lines(["*argument n: * -> 4", "record it with: pytest --pcache=record"])
    assert result.stdout.str().count("slow(n=4): miss, absent") == 1
    assert told("RAN") == ["6"]


def test_refresh(pytester: pytest.Pytester) -> None:
    """Calls are computed anew, and replace what is recorded in the directory of the ini file."""
    pytester.makeini("[pytest]\npcache_directory = results")
    pytester.runpytest(*PLUGIN, "--pcache=record")
    pytester.runpytest(*PLUGIN, "--pcache=refresh").assert_outcomes(passed=3)
    assert told("RAN") == ["2", "3", "2", "2", "3"]
    assert set(told("SEEN")) == {str(pytester.path / "results")}


MARKED = """
import pytest
from library import slow

@pytest.mark.pcache("off")
def test_off(): slow(1)
def test_first(): slow(1)
@pytest.mark.pcache("refresh")
def test_refresh(): slow(1)
def test_second(): slow(1)
@pytest.mark.pcache("of")
def test_no_mode(): slow(1)
@pytest.mark.pcache
def test_none(): slow(1)
"""


def test_marks(pytester: pytest.Pytester) -> None:
    """They count for one test; a wrong one fails it in one sentence."""
    pytester.makepyfile(test_it=MARKED)
    result = pytester.runpytest(*PLUGIN, "--strict-markers")
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["pytest.mark.pcache takes 'off' or 'refresh', not ('of')"])
    result.stdout.fnmatch_lines(["pytest.mark.pcache takes 'off' or 'refresh', not ()"])
    assert told("RAN") == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("options", "ini", "text"),
    [
        (["--pcache=replays"], "", "take 'isolated', 'off', 'record', 'replay' or 'refresh', not 'replays'"),
        ([], "pcache = on", "take 'isolated', 'off', 'record', 'replay' or 'refresh', not 'on'"),
        (["--pcache=replay"], "", "nothing is recorded in *; pytest --pcache=record does that"),
    ],
)
def test_bad_input(pytester: pytest.Pytester, options: list[str], ini: str, text: str) -> None:
    """One sentence, before anything is run."""
    pytester.makeini(f"[pytest]\n{ini}")
    result = pytester.runpytest(*PLUGIN, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{text}"])
    assert told("RAN") == []


def test_others_pay_nothing(pytester: pytest.Pytester) -> None:
    """A run of tests that have nothing to do with pcache loads the one module, and nothing else."""
    pytester.makepyfile(test_it="import sys\ndef test_it(): print('loaded:', *sorted(sys.modules))")
    loaded = []
    for options in ((), PLUGIN):
        result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", *options)
        [line] = [line for line in result.outlines if "loaded:" in line]
        loaded.append(set(line.partition("loaded:")[2].split()))
    assert loaded[1] - loaded[0] == {"pytest_pcache"}


def test_loaded_too_late(pytester: pytest.Pytester) -> None:
    """By a conftest file the plugin comes after what it should have set; the head of the run says so."""
    pytester.makeconftest("pytest_plugins = ['pytest_pcache']")
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["pcache: the plugin was loaded too late*"])
    result.assert_outcomes(passed=3)


def test_it_is_declared() -> None:
    """pytest finds it by its entry point, in a wheel that has the module; `-p no:pcache` leaves it out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_pcache": "pytest_pcache"}
    assert "pytest_pcache.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    code = "import sys, pytest_pcache; print('pcache' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
