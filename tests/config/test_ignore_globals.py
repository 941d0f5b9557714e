"""The setting `ignore_globals`: globals that count for no function of a project, by real programs in its folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pcache import Cache, ConfigError
from tests.cli.test_ls import report
from tests.support.running import load, run, write

JOB = """
import sys, uuid
from pcache import Cache
RUN_ID = str(uuid.uuid4())
cache = Cache(sys.argv[1])
@cache.cached
def simulate(n):
    print("computing")
    return n, len(RUN_ID)
@cache.cached
def double(n):
    return 2 * n
print(simulate(1), double(2))
"""
SETTING = 'ignore_globals = ["*:RUN_ID"]'


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A program with a global that is another one in each process, in a project with no settings."""
    settled(tmp_path)
    return write(tmp_path / "job.py", JOB)


def settled(folder: Path, *lines: str) -> None:
    """Write a project file, readable by all as a checkout has it."""
    write(folder / "pyproject.toml", "\n".join(["[tool.pcache]", *lines])).chmod(0o644)


def computed(job: Path) -> list[int]:
    """How often each of three runs computed."""
    return [run(job, job.parent / "cache", warnings="always").count("computing") for _ in range(3)]


def test_a_global_of_the_setting_does_not_count(job: Path) -> None:
    """With the setting of the project the program computes once, without it in each run."""
    settled(job.parent, SETTING)
    assert computed(job) == [1, 0, 0]
    settled(job.parent)
    assert computed(job) == [1, 1, 1]


def test_it_is_the_same_as_with_ignore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether decorator, argument or project file names a global, calls have the same keys."""
    settled(tmp_path)
    write(tmp_path / "plain.py", "RUN_ID = 3\ndef f(n):\n    return n, RUN_ID\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "plain", sys)  # forgotten after the test
    function = load(tmp_path / "plain.py", "plain").f
    plain = Cache("cache").cached(function)
    named = Cache("cache").cached(ignore=["plain:RUN_ID"])(function)
    given = Cache("cache", ignore_globals=["*:RUN_ID"]).cached(function)
    settled(tmp_path, SETTING)
    by_file = Cache("cache").cached(function)
    both = Cache("cache").cached(ignore=["plain:RUN_ID"])(function)
    assert len({one.key(1) for one in (named, given, by_file, both)}) == 1
    assert plain.key(1) != named.key(1)
    plain(1)
    assert [str(one) for one in by_file.explain(1).nearest[0].differences] == [
        "ignore= of plain:RUN_ID is new",
        "constant plain:RUN_ID is gone; it was 3",
    ]
    assert by_file.cache_parameters()["ignore_globals"] == ("*:RUN_ID",)


def test_a_pattern_that_fits_nothing(tmp_path: Path) -> None:
    """In the settings it is for other functions; in `ignore=` it is an error, also beside the setting."""
    cache = Cache(tmp_path / "cache", ignore_globals=["*:NO_SUCH_NAME"])
    assert cache.cached(len)([1]) == 1
    assert cache.cached(plus_one)(1) == 2
    with pytest.raises(ConfigError, match="it uses no global"):
        cache.cached(ignore=["*:NO_SUCH_NAME"])(plus_one)(1)


def plus_one(n: int) -> int:
    return n + 1


@pytest.mark.parametrize(
    "line",
    ['ignore_globals = "*:RUN_ID"', 'ignore_globals = ["RUN_ID"]', "ignore_globals = [3]", "ignore_globals = {}"],
)
def test_what_cannot_be_used(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the file, the setting and its value, and what to write instead."""
    settled(tmp_path, line)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        Cache()
    assert str(caught.value).startswith(f"pyproject.toml at {tmp_path}/pyproject.toml: ignore_globals: cannot use ")
    assert str(caught.value).endswith("; give a list of globals or patterns of them, such as ['module:NAME', '*:NAME']")


def test_it_is_no_option_of_the_decorator(tmp_path: Path) -> None:
    """There `ignore=` does it, and the message lists the options that there are."""
    options = {"ignore_globals": ["*:RUN_ID"]}
    with pytest.raises(ConfigError, match=r"cached has no option 'ignore_globals'; it has ttl, version, ignore,"):
        Cache(tmp_path / "cache").cached(**options)(plus_one)  # type: ignore[call-overload]


def test_the_command_line_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pcache config` has the patterns, and where they come from."""
    settled(tmp_path, SETTING)
    monkeypatch.chdir(tmp_path)
    origin = f"pyproject.toml at {tmp_path}/pyproject.toml"
    assert report("config")["ignore_globals"] == {"value": ["*:RUN_ID"], "origin": origin}
