"""`pcache config`: where settings come from, and setting one in a file."""

from __future__ import annotations

import os
import stat
import tomllib
import warnings
from pathlib import Path

import pytest

from pcache.config.rules import OF_FUNCTIONS, RULES, Rule
from pcache.config.settings import resolve
from tests.cli.test_ls import complete, report, run

COMMENTED = """\
# mine
max_size = "1 GiB"  # a small # disk
ignore_globals = [
    "a:B",  # one
    "c:D",
]

# thumbnails are cheap
[functions."thumb:*"]
ttl = 5
"""


@pytest.fixture
def file(own_home: Path) -> Path:
    """Where the user's config.toml is to be."""
    return own_home / "config" / "pcache" / "config.toml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project file of the current directory."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n\n# of ruff\n[tool.ruff]\nline-length = 3\n')
    (tmp_path / "pyproject.toml").chmod(0o644)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    return tmp_path / "pyproject.toml"


def written(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o644)


def done(*words: str) -> str:
    """What a command says that succeeds and has nothing to add."""
    result = run("config", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refused(*words: str) -> str:
    """The one sentence of a command that is refused."""
    result = run("config", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("pcache: ").strip()


def test_where_the_files_lie_is_shown(file: Path, project: Path) -> None:
    """Whether they exist or not."""
    assert report("config")["user_file"]["value"] == str(file)
    assert "is not there" in report("config")["user_file"]["origin"]
    assert f"user_file         {file}  " in run("config").stdout
    assert report("config")["project_file"] == {"value": str(project), "origin": "is there"}
    written(file, "")
    assert report("config")["user_file"]["origin"] == "is there"


def test_what_is_left_aside_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the table, on standard error, and so by any other command, once."""
    written(file, "max_sice = 3")
    monkeypatch.setenv("PCACHE_FOO", "1")
    assert run("config").stderr.splitlines() == [
        f"pcache: user file {file}: there is no setting 'max_sice'; the nearest name is 'max_size'",
        "pcache: the variable PCACHE_FOO is no setting and has no effect; `pcache config` lists all settings",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("stats").stderr.count("PCACHE_FOO") == 1


def test_a_first_setting_makes_the_file(file: Path) -> None:
    """With its folder, for nobody else to write to, and it counts at once."""
    before = os.umask(0)
    try:
        assert done("set", "max-size", "20 GiB") == f'{file}: max_size = "20 GiB"\n'
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o700, 0o600]
    assert (resolve().max_size, resolve().origins["max_size"]) == (20 << 30, f"user file {file}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_every_setting_can_be_set_and_unset(rule: Rule, file: Path) -> None:
    """By the name that a file has for it, and by that of programs; what is read back is what was meant."""
    name = rule.name
    text = {"ignore_globals": "*:A, b:C", "min_free": "2%", "check": "2%"}.get(name) or (rule.words or ["7"])[-1]
    done("set", name, text)
    assert resolve().origins[name] == f"user file {file}"
    assert list(tomllib.loads(file.read_text())) == [rule.key]
    done("unset", name.replace("_", "-"))
    assert file.read_text() == ""
    result = run("config", "unset", name)
    assert (result.exit_code, result.stdout) == (1, "")


def test_all_else_stays_as_it_is(file: Path) -> None:
    """Comments, order, other tables; a value of several lines is replaced as a whole."""
    written(file, COMMENTED)
    done("set", "max_size", "2 GiB")
    done("set", "policy", "lru")
    done("set", "ttl", "7d", "--function", "thumb:*")
    done("set", "ttl", "8d", "--function", "other:f")
    expected = COMMENTED.replace("1 GiB", "2 GiB").replace("]\n\n# thumb", ']\npolicy = "lru"\n\n# thumb')
    expected = expected.replace("ttl = 5", 'ttl = "7d"') + '\n[functions."other:f"]\nttl = "8d"\n'
    assert file.read_text() == expected
    done("set", "ignore_globals", "x:Y")
    done("unset", "ttl", "--function", "other:f")
    assert tomllib.loads(file.read_text())["ignore_globals"] == ["x:Y"]
    assert file.read_text().endswith('ttl = "7d"\n\n[functions."other:f"]\n')
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@pytest.mark.parametrize("text", ["max_size = 1\r\n# x\r\n", "max_size = 1", '"max-size" = 1\n', "\n\n"])
def test_ways_of_writing(file: Path, text: str) -> None:
    """Ends of lines are kept, and other spellings of a name are found."""
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode())
    done("set", "max_size", "5")
    assert tomllib.loads(file.read_text()) == {"max_size": 5}
    assert (b"\r\n# x\r\n" in file.read_bytes()) == ("\r" in text)


@pytest.mark.parametrize("text", ["functions.f.ttl = 1\n", "functions = {f = {ttl = 1}}\n", "functions = 3\n"])
def test_a_file_that_is_not_written_line_by_line(file: Path, text: str) -> None:
    """It stays as it is, and the message says what to write there."""
    written(file, text)
    said = refused("set", "ttl", "7d", "--function", "f")
    assert said == f'{file} is not written line by line, so it stays as it is; write ttl = "7d" there yourself'
    assert file.read_text() == text


def test_paths(file: Path, project: Path) -> None:
    """A path from the current directory is absolute in your file, relative in a project's; `~` stays."""
    done("set", "dir", "results")
    assert tomllib.loads(file.read_text())["dir"] == str(project.parent / "below" / "results")
    done("set", "dir", "~/results")
    assert tomllib.loads(file.read_text())["dir"] == "~/results"
    result = run("config", "set", "--project", "directory", "../cache")
    assert result.stdout == f'{project}: dir = "cache"\n'
    assert resolve().directory == str(project.parent / "cache")


def test_a_project(project: Path) -> None:
    """Its table is made at the end, and the rest of the file stays."""
    before = project.read_text()
    done("set", "policy", "lru", "--project")
    assert project.read_text() == before + '\n[tool.pcache]\npolicy = "lru"\n'
    done("set", "ttl", "1d", "--project", "--function", "pkg.mod:f")
    assert resolve().of_function("pkg.mod:f").ttl == 86400
    done("set", "policy", "value", "--project")
    assert project.read_text().startswith(before + '\n[tool.pcache]\npolicy = "value"\n')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("set max_sise 3", "there is no setting 'max_sise'; the nearest name is 'max_size'"),
        ("set max_size much", "max_size: cannot read 'much' as a size"),
        ("set max_entries -1", "max_entries: cannot use '-1'; give a whole number of at least 1"),
        ("set policy --function f lru", "there is no setting 'policy'; there are max_size, max_entries, ttl, "),
        ("set read_only maybe", "read_only: cannot use 'maybe'; give 1, true, yes or on, or else 0, false"),
        ("set ignore_globals RUN_ID", "ignore_globals: cannot use ['RUN_ID']; give a list of globals"),
        ("set key_file x --project", "{}: a project file may not set signing keys; put key_file into {own}"),
        ("set shared on --project", "{}: a project file may not let others in; move shared to {own}"),
        ("set verify stream --project", "{}: a project file may not turn checks off; move verify to {own}"),
        ("set max_size", "Missing argument 'VALUE'"),
        ("unset nothing_like_it", "there is no setting 'nothing_like_it'; there are dir, "),
        ("sett max_size 3", "No such command 'sett'"),
    ],
)
def test_what_cannot_be_set(words: str, said: str, file: Path, project: Path) -> None:
    """One sentence, before anything is written."""
    before = project.read_text()
    assert refused(*words.split()).startswith(said.format(project, own=file))
    assert (project.read_text(), file.exists()) == (before, False)


def test_files_that_are_not_believed(file: Path, project: Path) -> None:
    """Nothing is written where it would have no effect, into a file that is broken, or where none is."""
    written(file, "max_size = 1\n")
    file.chmod(0o666)
    assert refused("set", "ttl", "1d").endswith("its group or others may write to it (chmod go-w)")
    file.chmod(0o600)
    file.write_text("max_size == 1\n")
    assert "not valid TOML" in refused("set", "ttl", "1d")
    file.unlink()
    os.mkfifo(file)
    result = run("config", "set", "ttl", "1d")
    assert (result.exit_code, result.stderr) == (1, f"pcache: {file}: not a file of ours\n")
    project.unlink()
    assert refused("set", "ttl", "1d", "--project") == "there is no pyproject.toml in this folder or above"


def test_a_path_that_is_no_text(file: Path) -> None:
    """A file cannot hold it; a variable can."""
    assert refused("set", "dir", "/x\udcff") == "dir: a settings file holds only names that are text; set PCACHE_DIR"
    assert not file.exists()


def test_a_value_that_is_broken_can_be_mended(file: Path) -> None:
    """What else is wrong with the settings is said, once it is written."""
    written(file, 'max_size = "much"\nmax_entries = "many"\n')
    result = run("config", "set", "max_size", "5")
    assert result.exit_code == 0
    assert "max_entries: cannot use 'many'" in result.stderr
    done("set", "max_entries", "5")


def test_a_link_to_a_file_elsewhere_stays_one(file: Path, tmp_path: Path) -> None:
    """Its target is written, as those who keep their settings in a repository want it."""
    written(tmp_path / "dotfile.toml", "# mine\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "dotfile.toml")
    done("set", "policy", "lru")
    assert file.is_symlink()
    assert (tmp_path / "dotfile.toml").read_text() == '# mine\npolicy = "lru"\n'


def test_what_goes_before_the_file_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that has no effect for now is written all the same."""
    monkeypatch.setenv("PCACHE_POLICY", "value")
    result = run("config", "set", "policy", "lru")
    assert (result.exit_code, result.stderr) == (0, "In force is value, from environment PCACHE_POLICY.\n")


def test_completion() -> None:
    """Names of settings, those of functions only where one is meant, and words of those that have few."""
    assert complete("config", "set", "max-") == ["max_size", "max_entries"]
    assert complete("config", "unset", "d") == ["dir", "disable"]
    assert sorted(complete("config", "set", "--function", "f", "")) == sorted(OF_FUNCTIONS)
    assert complete("config", "set", "policy", "") == ["value", "lru"]
    assert complete("config", "set", "read-only", "t") == ["true"]
    assert complete("config", "s") == ["set"]
