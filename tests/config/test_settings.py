"""Where a setting comes from: real files, a real working directory and a real environment in each test."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pcache import Cache, ConfigWarning
from pcache.config.rules import RULES, Rule
from pcache.config.settings import FunctionSettings, Setting, Settings, describe, resolve, to_leave_free
from pcache.errors import ConfigError

HOUR, DAY = 3600.0, 86400.0
SLOW_MODULES = {
    "dataclasses",
    "datetime",
    "difflib",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "platformdirs",
    "tomllib",
}
UNUSABLE: dict[str, list[object]] = {
    "directory": ["", 3, "a\0b", "~nobody-of-this-name/x"],
    "max_size": [-1, True, "much", "0.1", []],
    "max_entries": [0, -1, True, 1.5, "many", b"\xff", []],
    "min_free": [1, -0.1, True, "5", "100%", "%", "5%%", float("nan"), 10**400, []],
    "ttl": [0, -1, True, "long", timedelta(0)],
    "compression": [-8, 23, True, 1.0, "zip", "", []],
    "policy": ["fifo", "", True, 1],
    "verify": ["never", "", True, 1],
    "memory": [-1, True, "0.5", "much", "1 disk", 1e300, []],
    "summaries": [2, "maybe", 1.0, []],
    "lock_timeout": [-1, "soon", float("inf")],
    "ignore_globals": ["*:RUN_ID", "", True, {"a:B": 1}, ["RUN_ID"], ["jobs:"], [":RUN_ID"], ["a:B", 3]],
    "disable": [2, "maybe", [], ["slow"], ["pkg.slow:"], ["pkg:f", 3]],
    "log": ["loud", "", True, 10],
    "key_file": ["", 3],
}


class Place:
    """A home and a project below one temporary directory; the project is the current directory."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.project = root / "project"
        self.project_file = self.project / "pyproject.toml"
        self.user_file = self.home / ".config" / "pcache" / "config.toml"
        self.user_file.parent.mkdir(parents=True)
        self.project.mkdir()
        self.write(self.project_file, "")  # also keeps a search from leaving the temporary directory

    def write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)  # whatever the umask of whoever runs the tests

    def write_project(self, *lines: str) -> None:
        self.write(self.project_file, "\n".join(["[tool.pcache]", *lines]))

    def write_user(self, *lines: str) -> None:
        self.write(self.user_file, "\n".join(lines))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    for name in [name for name in os.environ if name.startswith("PCACHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(place.home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place.home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.home / ".config"))
    monkeypatch.chdir(place.project)
    return place


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that makes a file another user's: by its owner if we may, else by who we are."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 1, -1, follow_symlinks=False)
        else:
            stranger = os.geteuid() + 1
            monkeypatch.setattr(os, "geteuid", lambda: stranger)

    return give


def printed(script: str) -> list[str]:
    """Return the words that a new interpreter prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def refusal(**arguments: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve(**arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def test_defaults(place: Place) -> None:
    """Without any setting the documented defaults hold, and each says so."""
    settings = resolve()
    assert settings == Settings(directory=str(place.home / ".cache" / "pcache"), origins=settings.origins)
    assert settings[1:5] == (10 << 30, None, 0.05, "value")
    assert settings[5:12] == (None, "auto", "once", 64 << 20, True, None, ())
    assert settings[12:-3] == ("silent", 0.0, False, False, False, False, "warning", None, False, None, None)
    assert (settings.functions, settings.ignored) == ({}, ())
    assert set(settings.origins.values()) == {"default"}
    assert list(settings.origins) == list(Settings._fields[:-3])


def test_the_nearest_source_wins(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, environment, project file, user file, default: each hides those after it."""
    seen = [(resolve().max_size, resolve().origins["max_size"])]
    place.write_user("max_size = 1")
    seen.append((resolve().max_size, resolve().origins["max_size"]))
    place.write_project("max_size = 2")
    seen.append((resolve().max_size, resolve().origins["max_size"]))
    monkeypatch.setenv("PCACHE_MAX_SIZE", "3")
    seen.append((resolve().max_size, resolve().origins["max_size"]))
    seen.append((resolve(max_size=4).max_size, resolve(max_size=4).origins["max_size"]))
    assert seen == [
        (10 << 30, "default"),
        (1, f"user file {place.user_file}"),
        (2, f"pyproject.toml at {place.project_file}"),
        (3, "environment PCACHE_MAX_SIZE"),
        (4, "argument"),
    ]


def test_sources_are_merged_setting_by_setting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source hides only the settings it has."""
    place.write_user('ttl = "1h"', 'compression = "none"')
    place.write_project('ttl = "2h"')
    monkeypatch.setenv("PCACHE_READ_ONLY", "1")
    settings = resolve(max_entries=5)
    assert (settings.ttl, settings.compression, settings.read_only, settings.max_entries) == (2 * HOUR, "none", True, 5)


def test_describe_lists_each_setting_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting is listed once, in the order of `Settings`, with the place that decided it."""
    monkeypatch.setenv("PCACHE_REFRESH", "yes")
    listed = describe(resolve(ttl="7d"))
    assert [setting.name for setting in listed] == list(Settings._fields[:-3])
    assert Setting("ttl", 7 * DAY, "argument") in listed
    assert Setting("refresh", True, "environment PCACHE_REFRESH") in listed
    assert Setting("verify", "once", "default") in listed
    assert describe(Settings("/x"))[0] == Setting("directory", "/x", "default")


def test_settings_can_be_pickled() -> None:
    """Settings travel to worker processes unchanged."""
    settings = resolve(max_size="2 MB", directory="results")
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("max_size", "2 KiB", 2048),
        ("max_entries", 7, 7),
        ("max_entries", "1_000", 1000),
        ("max_entries", "none", None),
        ("min_free", 0.25, 0.25),
        ("min_free", 0, 0.0),
        ("min_free", "0.25", 0.25),
        ("min_free", " 5 % ", 0.05),
        ("policy", "value", "value"),
        ("policy", " LRU ", "lru"),
        ("ttl", timedelta(days=1), DAY),
        ("ttl", "1h30m", 1.5 * HOUR),
        ("ttl", "None", None),
        ("compression", "Auto", "auto"),
        ("compression", "none", "none"),
        ("compression", -7, -7),
        ("compression", "22", 22),
        ("verify", "always", "always"),
        ("verify", "STREAM", "stream"),
        ("memory", "16 MB", 16 * 10**6),
        ("memory", "0", 0),
        ("memory", 0, 0),
        ("summaries", False, False),
        ("summaries", "off", False),
        ("lock_timeout", 0, 0.0),
        ("lock_timeout", "90 s", 90.0),
        ("lock_timeout", "none", None),
        ("ignore_globals", ["jobs:RUN_ID", "*:NOW"], ("jobs:RUN_ID", "*:NOW")),
        ("ignore_globals", (), ()),
        ("disable", 1, True),
        ("disable", ["pkg.slow:*"], ("pkg.slow:*",)),
        ("disable", "pkg.slow:*", ("pkg.slow:*",)),
        ("log", "Debug", "debug"),
        ("max_size", "0 GiB", 0),
    ],
)
def test_values_are_read(name: str, given: object, value: object) -> None:
    """Each setting takes what people write and turns it into its base unit and type."""
    found = getattr(resolve(**{name: given}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [(name, given) for name, values in UNUSABLE.items() for given in values],
)
def test_unusable_values_are_refused(name: str, given: object) -> None:
    """A value that means nothing raises ConfigError with setting, value and origin."""
    error = refusal(**{name: given})
    assert (error.setting, error.origin) == (name, "argument")
    assert error.value is given
    assert str(error).startswith(f"{name}: cannot ")
    assert repr(given)[:40] in str(error)


@pytest.mark.parametrize("given", [10**5000, "~a\0b", "\ud800"], ids=["long", "null", "half"])
def test_values_that_cannot_be_written_or_named_are_refused(given: Any) -> None:
    """A number of thousands of digits, and what cannot be a path, is a ConfigError for every setting."""
    for rule in RULES:
        with pytest.raises(ConfigError):
            resolve(**{rule.name: given})
    if isinstance(given, str):
        with pytest.raises(ConfigError):
            Cache(given)


def test_none_as_an_argument_is_not_given(place: Place) -> None:
    """An argument left at None lets the other sources decide."""
    place.write_user("max_entries = 3")
    settings = resolve(max_entries=None)
    assert (settings.max_entries, settings.origins["max_entries"]) == (3, f"user file {place.user_file}")


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt argument names the setting that was meant."""
    error = refusal(max_siz=5)
    assert str(error) == "there is no setting 'max_siz'; the nearest name is 'max_size'"


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_environment_switches_on(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four words in any case turn a switch on."""
    monkeypatch.setenv("PCACHE_DISABLE", text)
    assert resolve().disable is True


@pytest.mark.parametrize("text", ["0", "false", "No", "off", ""])
def test_environment_switches_off(text: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four words, or nothing, turn a switch off even if a file turned it on."""
    place.write_project("disable = true")
    monkeypatch.setenv("PCACHE_DISABLE", text)
    settings = resolve()
    assert settings.disable is False
    assert settings.origins["disable"] == "environment PCACHE_DISABLE"


def test_an_unusable_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error about a variable says which one it was."""
    monkeypatch.setenv("PCACHE_REFRESH", "perhaps")
    error = refusal()
    assert (error.setting, error.value, error.origin) == ("refresh", "perhaps", "environment PCACHE_REFRESH")
    assert str(error).startswith("environment PCACHE_REFRESH: refresh: cannot use 'perhaps'; give 1, true")


def test_empty_variables_are_not_set(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty PCACHE_DIR or PCACHE_MAX_SIZE counts as absent."""
    monkeypatch.setenv("PCACHE_DIR", "")
    monkeypatch.setenv("PCACHE_MAX_SIZE", "")
    assert resolve().directory == str(place.home / ".cache" / "pcache")
    assert resolve().origins["max_size"] == "default"


def test_the_environment_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set after the import counts, and so does its removal."""
    monkeypatch.setenv("PCACHE_MAX_SIZE", "1 MB")
    assert resolve().max_size == 10**6
    monkeypatch.delenv("PCACHE_MAX_SIZE")
    assert resolve().max_size == 10 << 30


def test_relative_directories(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path starts at its file's folder, or at the current directory if it came from no file."""
    below = place.project / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert resolve(directory="x").directory == str(below / "x")
    assert resolve(directory=Path("../x")).directory == str(place.project / "a" / "x")
    place.write_user('dir = "x"')
    assert resolve().directory == str(place.user_file.parent / "x")
    place.write_project('dir = "x"')
    assert resolve().directory == str(place.project / "x")
    monkeypatch.setenv("PCACHE_DIR", "x")
    assert resolve().directory == str(below / "x")


def test_the_home_directory_is_expanded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading ~ means the home directory in every source."""
    expected = str(place.home / "x")
    place.write_project('dir = "~/x"')
    assert resolve().directory == expected
    monkeypatch.setenv("PCACHE_DIR", "~/x")
    assert resolve().directory == expected
    assert resolve(directory=Path("~/x")).directory == expected


def test_the_project_file_is_found_from_below(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest pyproject.toml above the current directory counts, and only that one."""
    inner = place.project / "inner"
    (inner / "deep").mkdir(parents=True)
    place.write_project("max_entries = 1")
    monkeypatch.chdir(inner / "deep")
    assert resolve().origins["max_entries"] == f"pyproject.toml at {place.project_file}"
    place.write(inner / "pyproject.toml", "[tool.other]")
    assert resolve().max_entries is None


def test_names_take_dashes(place: Place) -> None:
    """Both spellings of a name work in both files."""
    place.write_project('max-size = "1 KiB"', "max_entries = 5")
    place.write_user('lock-timeout = "2 s"', "read_only = true")
    settings = resolve()
    assert (settings.max_size, settings.max_entries) == (1024, 5)
    assert (settings.lock_timeout, settings.read_only) == (2.0, True)


def test_a_name_in_both_spellings_is_refused(place: Place) -> None:
    """One file cannot say two things about one setting."""
    place.write_project("max-size = 5", "max_size = 6")
    assert str(refusal()).startswith(f"pyproject.toml at {place.project_file}: max_size is set twice")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("max-sise", "max_size"), ("directory", "dir"), ("compresion", "compression"), ("locktimeout", "lock_timeout")],
)
def test_unknown_names_in_files_are_left_aside(name: str, nearest: str, place: Place) -> None:
    """They stop no program, since a newer one may know them; file, name and what may be meant are said."""
    place.write_project(f"{name} = 1", "max_entries = 5")
    hint = f"there is no setting {name!r}; the nearest name is {nearest!r}"
    assert resolve().ignored == (f"pyproject.toml at {place.project_file}: {hint}",)
    assert resolve().max_entries == 5
    place.write_project()
    place.write_user(f"{name} = 1")
    assert resolve().ignored == (f"user file {place.user_file}: {hint}",)


@pytest.mark.parametrize("name", ["colour", "workers", "key", "cache", "backend"])
def test_a_name_that_is_near_to_none(name: str, place: Place) -> None:
    """It gets the list of all, and no guess."""
    place.write_user(f"{name} = 1")
    assert resolve().ignored[0].partition("; ")[2].startswith("there are dir, max_size, ")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_setting_has_its_variable(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says counts, and is told as its origin."""
    texts = {"ignore_globals": "*:RUN_ID", "min_free": "2%", "check": "2%", "summaries": "off"}
    text = texts.get(rule.name) or ("on" if "false" in rule.words else (rule.words or ["7"])[-1])
    before = getattr(resolve(), rule.name)
    monkeypatch.setenv(rule.variable, text)
    settings = resolve()
    assert settings.origins[rule.name] == f"environment {rule.variable}"
    assert getattr(settings, rule.name) != before
    assert settings.ignored == ()


def test_a_variable_that_lists_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commas part them; one that is no global is refused as in a file."""
    monkeypatch.setenv("PCACHE_IGNORE_GLOBALS", "*:RUN_ID, jobs:NOW,")
    assert resolve().ignore_globals == ("*:RUN_ID", "jobs:NOW")
    monkeypatch.setenv("PCACHE_IGNORE_GLOBALS", "RUN_ID")
    assert str(refusal()).startswith("environment PCACHE_IGNORE_GLOBALS: ignore_globals: cannot use ['RUN_ID']; give")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PCACHE_SIZE", "the nearest is PCACHE_MAX_SIZE"),
        ("PCACHE_DIRECTORY", "the nearest is PCACHE_DIR"),
        ("PCACHE_FOO", "`pcache config` lists all settings"),
    ],
)
def test_unknown_variables(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is named, without its value and with another name only where one is near; PCACHE_KEY is known."""
    monkeypatch.setenv("PCACHE_KEY", "c2VjcmV0")
    monkeypatch.setenv(name, "c2VjcmV0")
    assert resolve().ignored == (f"the variable {name} is no setting and has no effect; {hint}",)


def test_a_file_of_nothing_but_other_names(place: Place) -> None:
    """A few are told of: a file could hold any number, and each takes a while to be compared with all."""
    place.write_project(*(f"name_{n} = 1" for n in range(3_000)), "max_size = 5")
    assert (len(resolve().ignored), resolve().max_size) == (20, 5)


def test_what_is_left_aside_is_said_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program is warned by the first cache that it makes, not by the next."""
    place.write_project("tll = 1", "new_in_2031 = 1")
    monkeypatch.setenv("PCACHE_MAX_SICE", "1")
    with pytest.warns(ConfigWarning) as caught:
        Cache()
    said = [str(item.message) for item in caught]
    assert [text.rpartition(" ")[2] for text in said] == ["'ttl'", "replay", "PCACHE_MAX_SIZE"]
    Cache()


def test_hidden_values_are_checked_too(place: Place) -> None:
    """A mistake in a file shows even where another source has the last word."""
    place.write_user('max_size = "huge"')
    error = refusal(max_size=5)
    assert (error.setting, error.value, error.origin) == ("max_size", "huge", f"user file {place.user_file}")


@pytest.mark.parametrize("name", ["key", "key_file", "key-file"])
def test_a_project_file_may_not_set_keys(name: str, place: Place) -> None:
    """Whoever writes a project's files must not choose whose entries are believed; the key is not repeated."""
    place.write_project(f'{name} = "c2VjcmV0"')
    error = refusal()
    assert "a project file may not set signing keys" in str(error)
    assert str(place.project_file) in str(error)
    assert error.setting == name
    assert "c2VjcmV0" not in f"{error} {error.value}"


def test_a_project_file_may_not_turn_checks_off(place: Place) -> None:
    """A project may ask for more verification, not for less; a user may ask for less."""
    place.write_project('verify = "always"')
    assert resolve().verify == "always"
    place.write_project('verify = "Stream"')
    error = refusal()
    assert "a project file may not turn checks off" in str(error)
    assert str(place.project_file) in str(error)
    place.write_project()
    place.write_user('verify = "stream"')
    assert resolve().verify == "stream"


def test_the_user_file_may_name_a_key_file(place: Place) -> None:
    """The key file is a path like any other, relative to the file that names it."""
    place.write_user('key_file = "team.key"')
    assert resolve().key_file == str(place.user_file.parent / "team.key")
    place.write_user('key = "c2VjcmV0"')
    (said,) = resolve().ignored
    assert "there is no setting 'key'" in said
    assert "c2VjcmV0" not in said


def test_settings_of_single_functions(place: Place) -> None:
    """Both files may set what holds for one function; what holds for all stays as it was."""
    place.write_project(
        *("max_entries = 5", '[tool.pcache.functions."pkg.mod:f"]', 'ttl = "1d"', 'max-size = "1 MiB"'),
        *("lock-timeout = 3", "max_entries = 7"),
    )
    place.write_user('[functions."pkg.mod:g"]', 'ttl = "2d"')
    settings = resolve()
    assert settings.of_function("pkg.mod:f") == FunctionSettings(DAY, 3.0, 1 << 20, 7)
    assert settings.of_function("pkg.mod:g") == FunctionSettings(2 * DAY)
    assert settings.of_function("pkg.mod:h") == FunctionSettings()
    assert settings.of_function("fits.ipynb:h") == FunctionSettings()
    place.write_user('[functions."__main__:*"]', 'ttl = "2d"', '[functions."fits.ipynb:f"]', 'ttl = "1d"')
    assert resolve().of_function("fits.ipynb:f") == FunctionSettings(DAY)  # a notebook's function has both names
    assert resolve().of_function("trial.ipynb:f") == FunctionSettings(2 * DAY)
    assert (settings.ttl, settings.max_entries) == (None, 5)
    assert settings.origins["max_entries"] == f"pyproject.toml at {place.project_file}"
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_project_goes_before_the_user_for_single_functions(place: Place) -> None:
    """One function's settings are merged one by one, as all others are, and the project has the first word."""
    place.write_user('[functions."m:f"]', 'ttl = "1h"', "max_entries = 1", '[functions."*"]', "max_entries = 3")
    place.write_project('[tool.pcache.functions."m:f"]', 'ttl = "1d"', '[tool.pcache.functions."m:*"]', "max_size = 9")
    settings = resolve()
    assert settings.of_function("m:f") == FunctionSettings(ttl=DAY, max_entries=1)
    assert settings.of_function("m:g") == FunctionSettings(max_size=9)
    assert settings.of_function("n:g") == FunctionSettings(max_entries=3)


def test_patterns_of_functions(place: Place) -> None:
    """The full name counts before patterns, and of these the first that fits, with its case."""
    tables = {"pkg.*": 1, "pkg.mod:f": 2, "*:f": 3, "*:[gh]": 4}
    place.write_project(
        *(line for name, n in tables.items() for line in (f'[tool.pcache.functions."{name}"]', f"ttl = {n}"))
    )
    settings = resolve()
    names = ("pkg.mod:f", "pkg.mod:g", "other:f", "other:h", "other:i", "PKG.mod:x")
    assert [settings.of_function(name).ttl for name in names] == [2.0, 1.0, 3.0, 4.0, None, None]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("max_size = 'much'", "max_size: cannot read 'much' as a size"),
        ("max-size = 1\nmax_size = 2", "max_size is set twice"),
    ],
)
def test_mistakes_in_the_settings_of_a_function(line: str, reason: str, place: Place) -> None:
    """The error names the file, the table and what was meant."""
    place.write_project('[tool.pcache.functions."m:f"]', line)
    assert str(refusal()).startswith(f'pyproject.toml at {place.project_file}: functions."m:f": {reason}')
    place.write_project()
    place.write_user('[functions."m:f"]', line)
    assert str(refusal()).startswith(f'user file {place.user_file}: functions."m:f": {reason}')


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("tll = 5", "there is no setting 'tll'; the nearest name is 'ttl'"),
        (
            "policy = 'lru'",
            "there is no setting 'policy'; there are max_size, max_entries, ttl, summaries, lock_timeout, files, check",
        ),
    ],
)
def test_unknown_names_in_the_settings_of_a_function(line: str, hint: str, place: Place) -> None:
    """They are left aside as those for all functions, and the table is named."""
    place.write_project('[tool.pcache.functions."m:f"]', line, "max_entries = 5")
    assert resolve().ignored == (f'pyproject.toml at {place.project_file}: functions."m:f": {hint}',)
    assert resolve().of_function("m:f") == FunctionSettings(max_entries=5)


@pytest.mark.parametrize("text", ["functions = 3", "functions = {f = 3}", "functions = [{ttl = 1}]"])
def test_the_functions_must_be_tables(text: str, place: Place) -> None:
    """Anything else is refused with an example of what is meant."""
    place.write_project(text)
    assert 'functions holds a table for each function, such as [functions."pkg.mod:f"]' in str(refusal())


def test_what_a_decorator_says_of_a_function_counts_most(place: Place) -> None:
    """Decorator, then the function's table, then what holds for all functions."""
    place.write_project(
        *('ttl = "3h"', "lock_timeout = 30"),
        *(f'[tool.pcache.functions."{__name__}:double"]', 'ttl = "2h"'),
    )
    cache = Cache()
    options = cache.cached(double).cache_parameters()
    assert (options["ttl"], options["lock_timeout"]) == (2 * HOUR, 30.0)
    assert cache.cached(ttl="1h")(double).cache_parameters()["ttl"] == HOUR
    assert cache.cached(half).cache_parameters()["ttl"] == 3 * HOUR
    assert Cache(ttl="5h").cached(double).cache_parameters()["ttl"] == 2 * HOUR


def double(n: int) -> int:
    return 2 * n


def half(n: int) -> float:
    return n / 2


@pytest.mark.parametrize(("part", "disk", "free"), [(0.05, 100, 5), (0.05, 2048, 10), (0.5, 12, 6), (0, 2048, 0)])
def test_what_is_left_free(part: float, disk: int, free: int) -> None:
    """A part of a small disk, and 10 GiB of a large one; here in GiB."""
    assert to_leave_free(part, disk << 30) == free << 30


def test_policy_and_min_free_of_a_cache(place: Place) -> None:
    """A cache takes both as arguments, before any file."""
    place.write_project('policy = "lru"', "min_free = 0.5")
    assert (Cache().settings.policy, Cache().settings.min_free) == ("lru", 0.5)
    settings = Cache(policy="value", min_free="10%").settings
    assert (settings.policy, settings.min_free) == ("value", 0.1)
    assert (settings.origins["policy"], settings.origins["min_free"]) == ("argument", "argument")


def test_malformed_toml_names_file_and_line(place: Place) -> None:
    """A file that is not TOML gives one sentence with its path and the line."""
    place.write_project("max_size = 5", "ttl == 3")
    assert str(refusal()).startswith(f"pyproject.toml at {place.project_file}: not valid TOML: ")
    assert "line 3" in str(refusal())
    place.write_project()
    place.write_user("max_size = ")
    assert str(refusal()).startswith(f"user file {place.user_file}: not valid TOML: ")


def test_toml_that_is_nested_too_deeply(place: Place) -> None:
    """A file that the parser gives up on is malformed like any other."""
    place.write_project("x = " + "[" * 10_000)
    assert "nested too deeply" in str(refusal())


def test_text_that_is_not_utf8_is_malformed(place: Place) -> None:
    """Bytes that are no UTF-8 are reported like any other malformed file."""
    place.project_file.write_bytes(b'[tool.pcache]\ndir = "\xff"')
    assert "not valid TOML" in str(refusal())


@pytest.mark.parametrize("text", ["[[tool.pcache]]", "tool.pcache = 3"])
def test_the_project_table_must_be_a_table(text: str, place: Place) -> None:
    """Anything else under the name of the table is refused, not ignored."""
    place.write(place.project_file, text)
    assert "tool.pcache is not a table" in str(refusal())


@pytest.mark.parametrize(
    "text", ["this is = not TOML", "[tool.other]\nx = 1", "x = 'tool.pcache'", "tool = 'tool.pcache'"]
)
def test_projects_that_do_not_use_pcache_are_left_alone(text: str, place: Place) -> None:
    """A project file without our table has no say, and if it does not even name it, need not be valid."""
    place.write(place.project_file, text)
    assert set(resolve().origins.values()) == {"default"}


@pytest.mark.parametrize("which", ["project_file", "user_file"])
def test_another_users_file_is_ignored(
    which: str, place: Place, give_away: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A file that belongs to somebody else has no say, and a warning says so."""
    place.write_project("max_entries = 1")
    place.write_user("max_entries = 2")
    path = getattr(place, which)
    give_away(path)
    assert str(path) not in resolve().origins["max_entries"]
    assert f"the settings in {path} are ignored: it belongs to another user" in caplog.messages


@pytest.mark.parametrize("mode", [0o664, 0o646])
@pytest.mark.parametrize("which", ["project_file", "user_file"])
def test_a_file_others_may_write_is_ignored(
    which: str, mode: int, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that somebody else could have written has no say, and the warning tells how to mend it."""
    place.write_project("max_entries = 1")
    place.write_user("max_entries = 2")
    path = getattr(place, which)
    path.chmod(mode)
    assert str(path) not in resolve().origins["max_entries"]
    assert any(str(path) in line and "chmod go-w" in line for line in caplog.messages)


def test_an_ignored_file_without_our_table_gives_no_warning(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is bothered about a file that would not have mattered."""
    place.write(place.project_file, "[tool.other]")
    place.project_file.chmod(0o666)
    assert resolve().max_entries is None
    assert caplog.messages == []


def test_an_untrusted_project_file_hides_the_one_above(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignoring the nearest project file does not lend its folder the settings of an outer project."""
    place.write_project("max_entries = 1")
    inner = place.project / "inner"
    inner.mkdir()
    place.write(inner / "pyproject.toml", "[tool.other]")
    (inner / "pyproject.toml").chmod(0o666)
    monkeypatch.chdir(inner)
    assert resolve().max_entries is None


def test_links_count_as_their_owner(
    place: Place, give_away: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Our own link is followed; another user's link to a file of ours is not."""
    target = place.home / "dotfile.toml"
    place.write(target, "[tool.pcache]\nmax_entries = 1")
    place.project_file.unlink()
    place.project_file.symlink_to(target)
    assert resolve().origins["max_entries"] == f"pyproject.toml at {place.project_file}"
    give_away(place.project_file)
    assert resolve().max_entries is None
    assert any("belongs to another user" in line for line in caplog.messages)


def test_odd_files_are_survived(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A directory or a pipe in the place of a file neither fails nor waits."""
    os.mkfifo(place.user_file)
    place.project_file.unlink()
    place.project_file.mkdir()
    assert resolve().max_entries is None
    place.user_file.unlink()
    place.user_file.mkdir()
    assert resolve().max_entries is None
    assert f"the settings in {place.user_file} are ignored: Is a directory" in caplog.messages


def test_a_vanished_current_directory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removed current directory leaves no project file, and no meaning to a relative path."""
    gone = place.project / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    shutil.rmtree(gone)
    place.write_project("max_entries = 1")
    assert resolve().max_entries is None
    assert resolve(directory="/x").directory == "/x"
    assert "current directory is gone" in str(refusal(directory="x"))


def test_no_home(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home the default lies in the temporary directory, and no file below "~" here is believed."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # a user that no database knows
    trap = place.project / "~" / ".config" / "pcache" / "config.toml"
    trap.parent.mkdir(parents=True)
    place.write(trap, "max_entries = 1")
    settings = resolve()
    assert settings.directory == os.path.join(tempfile.gettempdir(), f"pcache-{os.geteuid()}")
    assert settings.max_entries is None
    assert "names a known home" in str(refusal(directory="~/x"))


@pytest.mark.parametrize("value", ["", "relative"])
def test_a_home_that_is_not_absolute(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG variables that are empty or relative are passed over, as their standard demands."""
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert os.path.isabs(resolve().directory)
    assert "relative" not in resolve().directory


def test_what_only_its_owner_may_write_is_trusted(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A file that only its owner may write raises no doubt, whoever may read it."""
    place.write_project("max_entries = 1")
    for mode in (0o600, 0o644, 0o444, 0o755):
        place.project_file.chmod(mode)
        assert resolve().origins["max_entries"] == f"pyproject.toml at {place.project_file}"
    assert caplog.messages == []


def test_importing_config_brings_no_slow_modules() -> None:
    """Start-up stays cheap: what only some calls need is imported by those calls."""
    loaded = printed(
        "import sys; before = set(sys.modules); import pcache.config.settings; print(*set(sys.modules) - before)"
    )
    assert "pcache.config.settings" in loaded
    assert not SLOW_MODULES & set(loaded)


def test_toml_is_only_imported_for_a_project_that_names_us(place: Place) -> None:
    """A project file without our table costs one read and no parser."""
    script = "import sys; from pcache.config.settings import resolve; resolve(); print('tomllib' in sys.modules)"
    place.write(place.project_file, "[tool.other]")
    assert printed(script) == ["False"]
    place.write_project("max_entries = 1")
    assert printed(script) == ["True"]


def test_a_home_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`HOME=/dev/null` is no home: the default directory is one below the temporary one, and nothing raises."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for home in ("/dev/null", str(tmp_path / "file")):
        (tmp_path / "file").touch()
        monkeypatch.setenv("HOME", home)
        assert resolve().directory == os.path.join(tempfile.gettempdir(), f"pcache-{os.geteuid()}")
