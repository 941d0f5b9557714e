"""The command line where it looks: dir, ls, show, config, completion, and how it takes wrong input."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import pcache
from pcache import Cache
from pcache.cli import ls, main
from pcache.cli.output import clean
from pcache.entry import mtime
from pcache.entry.pickle_imports import imports_of
from pcache.insight import listing

if TYPE_CHECKING:
    from click.testing import Result

ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\u202e[bold]x[/bold]"
COMMANDS = ("dir", "stats", "top", "ls", "show", "config", "clear", "evict", "verify", "doctor", "key", "completion")


def run(*arguments: object) -> Result:
    """Run a command in this process, with its output piped; an unexpected exception fails the test."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def report(*arguments: object) -> Any:
    """Run a command that succeeds with --json and return what it says."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def snapshot(root: Path) -> dict[str, object]:
    """Every path below a directory with its mode and content."""
    return {
        str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None) for path in root.rglob("*")
    }


class Canary:
    """A value that creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def double(n: Any, note: str = "") -> Any:
    return n * 2


def zeros(n: int) -> Any:
    return np.zeros(n)


def wait_for(started: threading.Event, go_on: threading.Event) -> None:
    started.set()
    go_on.wait()


def canary(path: str) -> Any:
    return Canary(path)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def filled(cache: Cache) -> Cache:
    """A cache with three results of `double` and one of `zeros`."""
    for n in range(3):
        cache.cached(double)(n)
    cache.cached(zeros)(100_000)
    return cache


# In general


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_examples(command: str) -> None:
    """Help fits into 80 columns and shows how the command is called."""
    for option in ("--help", "-h"):
        result = run(command, option)
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert result.stdout.count(f"pcache {command}") > 1 or command == "key"


def test_no_command_prints_help() -> None:
    """Without a command the help is printed, in the order in which one needs the commands."""
    result = run()
    assert result.exit_code == 0
    places = [result.stdout.index(f"\n  {command} ") for command in COMMANDS]
    assert places == sorted(places)
    assert "..." not in result.stdout.partition("Commands:")[2]
    assert "rotate" in run("key").stdout


def test_version() -> None:
    """`--version` names program and version."""
    assert run("--version").stdout == f"pcache {pcache.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nothing", "No such command"),
        ("--json stats", "No such option"),
        ("show", "Missing argument"),
        ("show a b", "unexpected extra argument"),
        ("ls --sort color", "--sort"),
        ("ls --limit 0", "--limit"),
        ("stats --since banana", "'7d'"),
        ("stats --since 2026-13-01", "'2026-03-31'"),
        ("stats --since 2999-01-01", "future"),
        ("stats --since", "requires an argument"),
        ("stats --zero --plot", "--zero goes with --yes only"),
        ("stats --zero --since 1d", "--zero goes with --yes only"),
        ("stats --zero --json", "--zero goes with --yes only"),
        ("stats --yes", "--yes goes with --zero only"),
        ("top --interval 0", "at least 0.1 s"),
        ("top --interval often", "'2h30m'"),
        ("evict --max-size banana", "'5 GiB'"),
        ("evict --max-age -3", "'2h30m'"),
        ("evict --max-entries -1", "x>=0"),
        ("completion tcsh", "bash"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: str, words: str) -> None:
    """What cannot be parsed exits with 2 and says why on standard error, in a line."""
    result = run(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("pcache: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


@pytest.mark.parametrize("command", ["stats", "top", "ls", "clear --yes", "evict", "verify", "show 00"])
def test_a_directory_that_cannot_be_one(command: str, tmp_path: Path) -> None:
    """A file, a path below a file and no path at all exit with 2."""
    file = tmp_path / "file"
    file.write_text("x")
    for place in (file, file / "below", "", "~nobody-of-this-name/x"):
        result = run("-C", place, *command.split())
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("tag", [None, "Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n"])
def test_a_directory_of_somebody_else_is_left_alone(tag: str | None, tmp_path: Path) -> None:
    """What does not carry our tag is refused, even with files that look like ours, and not changed by a byte."""
    entry = tmp_path / "data" / "v1" / "entries" / "ab" / f"{'1' * 16}-ab{'2' * 38}"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"precious")
    (tmp_path / "data" / "thesis.tex").write_text("precious")
    if tag:
        (tmp_path / "data" / "CACHEDIR.TAG").write_text(tag)
    (tmp_path / "data").chmod(0o700)
    before = snapshot(tmp_path / "data")
    for command in (
        "stats",
        "stats --zero -y",
        "top",
        "ls",
        "show ab",
        "clear -y",
        "clear -n",
        "evict --max-size 0",
        "verify --repair",
    ):
        result = run("-C", tmp_path / "data", *command.split())
        assert (result.exit_code, result.stdout) == (2, "")
        assert "is not a pcache directory" in result.stderr
    assert snapshot(tmp_path / "data") == before


def test_a_directory_that_others_can_write_to(filled: Cache) -> None:
    """Exits with 2 and says what to run."""
    os.chmod(filled.location, 0o777)
    result = run("stats", "-C", filled.location)
    assert result.exit_code == 2
    assert f"chmod 700 {filled.location}" in result.stderr


def test_a_bad_setting_names_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that cannot be read exits with 2 and is named."""
    monkeypatch.setenv("PCACHE_MAX_SIZE", "lots")
    for command in ("dir", "stats", "config", "key show-id"):
        result = run(*command.split())
        assert result.exit_code == 2
        assert "PCACHE_MAX_SIZE" in result.stderr


def test_a_directory_in_the_place_of_an_entry_stays(filled: Cache) -> None:
    """What has an entry's name and is no file is neither counted nor removed."""
    shard = next(Path(filled.location, "v1", "entries").iterdir())
    lost = shard / f"{'1' * 16}-{shard.name}{'2' * 38}"
    lost.mkdir()
    result = run("clear", "-y", "-C", filled.location)
    assert result.exit_code == 0
    assert lost.is_dir()
    assert filled.stats().entries == 0  # the rest went all the same


def test_an_error_of_the_system_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses exits with 1 and names the path."""
    file = tmp_path / "file"
    file.write_text("x")
    monkeypatch.setenv("PCACHE_KEY_FILE", str(file / "below" / "key"))
    result = run("key", "new")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"pcache: {file / 'below' / 'key'}: Not a directory\n"


@pytest.mark.parametrize("order", ["-C {0} {1}", "{1} -C {0}", "-C /nonexistent {1} -C {0}", "{1} --cache-dir={0}"])
@pytest.mark.parametrize("command", ["dir", "stats", "ls", "config", "verify"])
def test_the_directory_stands_before_or_after_the_command(filled: Cache, order: str, command: str) -> None:
    """-C counts in both places, the later one more."""
    result = run(*order.format(filled.location, command).split())
    assert result.exit_code == 0
    before, after = result.stdout, run("-C", filled.location, command).stdout
    assert re.sub(r"\d+ s ago", "ago", before) == re.sub(r"\d+ s ago", "ago", after)


LOOKS = ("ls", "ls double", "show ab", "stats", "stats --zero -y", "top", "verify", "verify --repair", "report -o -")


@pytest.mark.parametrize("command", [*LOOKS, "explain f", "explain f(1)", "adopt f", "recompress --level 3"])
def test_a_directory_that_is_spelled_wrong(cache: Cache, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that the command line names has to be there; that of the settings may be needed for the first time."""
    result = run("-C", cache.location, *command.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"pcache: no such cache: {cache.location}\n"
    assert not os.path.lexists(cache.location)
    monkeypatch.setenv("PCACHE_DIR", cache.location)
    assert "no such cache" not in run(*command.split()).output


# dir, config


def test_dir_prints_the_path_alone(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of the settings or of -C, whether or not it exists, and nothing is made."""
    assert run("dir", "-C", cache.location).stdout == f"{cache.location}\n"
    monkeypatch.setenv("PCACHE_DIR", "/somewhere/else")
    assert run("dir").stdout == "/somewhere/else\n"
    assert not os.path.lexists(cache.location)


def test_dir_prints_the_very_bytes(tmp_path: Path) -> None:
    """A script gets a path that is not text as it is."""
    place = os.fsencode(tmp_path) + b"/\xff\x1b"
    assert run("dir", "-C", os.fsdecode(place)).stdout_bytes == place + b"\n"


def test_config_has_values_and_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting with what is in force and where it comes from, readable and as JSON in base units."""
    monkeypatch.setenv("PCACHE_MAX_SIZE", "5 GiB")
    text = run("config", "-C", tmp_path / "c").stdout
    assert [line.split()[0] for line in text.splitlines()[1:]] == [*report("config")]
    assert "5 GiB" in text
    found = report("config", "-C", tmp_path / "c")
    assert found["max_size"] == {"value": 5 << 30, "origin": "environment PCACHE_MAX_SIZE"}
    assert found["directory"] == {"value": str(tmp_path / "c"), "origin": "--cache-dir"}
    assert found["ttl"] == {"value": None, "origin": "default"}


def test_config_never_shows_a_key(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signing key shows as its id and its origin."""
    secret = run("key", "export").stdout.strip()
    for command in ("config", "config --json"):
        assert secret not in run(*command.split()).output
    found = report("config")["signing_key"]
    assert found["value"] == run("key", "show-id").stdout.strip()
    assert found["origin"].startswith("your key file /")
    monkeypatch.setenv("PCACHE_KEY", secret)
    assert report("config")["signing_key"] == {**found, "origin": "environment PCACHE_KEY"}


def test_config_says_what_is_wrong_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be used shows as a problem, and the exit code is 1; no key yet is none."""
    assert "none yet" in run("config").stdout
    monkeypatch.setenv("PCACHE_KEY", "c2VjcmV0")
    result = run("config")
    assert result.exit_code == 1
    assert "PCACHE_KEY is not a signing key" in result.stdout
    assert "c2VjcmV0" not in result.output


# ls


def test_ls_lists_calls(filled: Cache) -> None:
    """A line an entry: key, function, arguments, size, age, cost, what that saved; the latest used first."""
    for info in filled.entries("double"):  # recency is not known to less than a second
        os.utime(info.path, (time.time() - 2,) * 2)
    lines = run("ls", "-C", filled.location).stdout.splitlines()
    assert lines[0].split() == ["Key", "Function", "Arguments", "Size", "Age", "Cost", "Saved"]
    assert lines[1].split()[:3] == [filled.cached(zeros).key(100_000), f"{__name__}:zeros", "n=100000"]
    assert "\t" not in "".join(lines)
    assert len({line.index("0 s") for line in lines[1:]} | {len(lines)}) <= 2
    assert len(lines) == 5


def test_ls_as_json(filled: Cache) -> None:
    """`ls --json` has the fields of `Cache.entries()` and the age in seconds."""
    found = report("ls", "-C", filled.location)
    assert all(0 <= entry.pop("age") < 60 for entry in found)
    assert found == [asdict(info) for info in filled.entries()]


@pytest.mark.parametrize("pattern", ["double", f"{__name__}:double", "*:dou*", f"{__name__}:d?uble"])
def test_ls_by_function(filled: Cache, pattern: str) -> None:
    """PATTERN is a name, with or without its module, or a pattern; a module stands for all of its functions."""
    assert {entry["function"] for entry in report("ls", "-C", filled.location, pattern)} == {f"{__name__}:double"}
    assert len(report("ls", "-C", filled.location, __name__)) == 4


def test_ls_sorts_and_limits(cache: Cache) -> None:
    """Each order has its greatest first, and --limit keeps the first."""

    def wait(n: int) -> bytes:
        time.sleep(n / 20)
        return os.urandom(5000 * (5 - n))  # each takes another number of blocks

    function = cache.cached(wait)
    for n in (2, 1, 3):
        function(n)
        path = Path(listing.details(cache.directory, function.key(n)).info.path)
        used = mtime.Stamp(time.time_ns() - 100 * n * 10**9, uses={1: 1, 2: 20, 3: 2}[n])
        os.utime(path, ns=(mtime.pack(used),) * 2)
    orders = {"used": [1, 2, 3], "size": [1, 2, 3], "age": [2, 1, 3], "cost": [3, 2, 1], "saved": [2, 3, 1]}
    for sort, expected in orders.items():
        found = [entry["arguments"] for entry in report("ls", "-C", cache.location, "--sort", sort)]
        assert found == [f"n={n}" for n in expected], sort
        assert [e["arguments"] for e in report("ls", "-C", cache.location, "--sort", sort, "-l", 2)] == found[:2]
    assert ls._SORTS == listing.SORTS


def test_ls_of_nothing(cache: Cache) -> None:
    """No entries are no error; a name that matches nothing is one, with the nearest names."""
    os.mkdir(cache.location, 0o700)
    result = run("ls", "-C", cache.location)
    assert (result.exit_code, result.stdout) == (0, "")
    assert report("ls", "-C", cache.location) == []
    assert run("ls", "x", "-C", cache.location).exit_code == 1
    cache.cached(double)(1)
    result = run("ls", "duoble", "-C", cache.location)
    assert result.exit_code == 1
    assert f"the nearest name is {__name__}:double" in result.stderr
    assert f"known functions: {__name__}:double" in run("ls", "xyz", "-C", cache.location).stderr


def test_ls_tells_calls_apart(cache: Cache) -> None:
    """What a function captures is shown with the arguments, unless its name says that it is secret."""

    def made(rate: float, token: str) -> Any:
        return cache.cached(lambda n: n * rate if token else n)

    for rate in (2, 3):
        made(rate, f"hunter{rate}")(1)
    found = sorted(entry["arguments"] for entry in report("ls", "-C", cache.location))
    assert found == [f"n=1, captured rate={rate}, token=(not shown)" for rate in (2, 3)]
    differences = made(4, "hunter4").explain(1).nearest[0].differences
    assert str(differences[-1]).startswith("captured values: rate=3, token=(not shown) -> rate=4")


def test_ls_of_what_was_used_at_once(cache: Cache) -> None:
    """The first use of a dear result is noted at once, later ones in a minute are not; none is before the result."""
    slow, quick = cache.cached(lambda n: time.sleep(0.06)), cache.cached(double)
    for function in (slow, quick, slow, quick, slow, quick):
        function(1)
    for name, uses in (("<lambda>", 2), ("double", 1)):
        (entry,) = (entry for entry in report("ls", "-C", cache.location) if entry["function"].endswith(name))
        assert (entry["uses"], entry["saved"] > 0.05) == (uses, uses == 2)
        assert entry["used"] >= entry["created"]
        os.utime(entry["path"], (1e9, 1e9))
        facts = report("show", entry["key"], "-C", cache.location)
        assert facts["used"] == facts["created"]


def test_ls_says_what_cannot_be_read_or_is_expired(filled: Cache) -> None:
    """A damaged entry is listed with its problem, an expired one as such."""
    filled.cached(ttl="1us")(double)(5)
    path = Path(next(filled.entries("zeros")).path)
    path.write_bytes(path.read_bytes()[:-1])
    text = run("ls", "-C", filled.location).stdout
    assert "damaged: the lengths do not add up" in text
    assert text.count("(expired) n=5") == 1


# show


def test_show_says_everything(filled: Cache) -> None:
    """Header, meta, buffers and imports of an entry, named by any prefix that no other key has."""
    packed = Cache(filled.location, compression=1).cached(zeros)
    packed.refresh(100_000)
    key = packed.key(100_000)
    text = run("show", key[:10], "-C", filled.location).stdout
    facts = dict(line.split(maxsplit=1) for line in text.splitlines() if line[:1].strip() and line.split()[1:])
    assert facts["key"] == key
    assert facts["arguments"] == "n=100000"
    assert facts["result"] == "ndarray(100000)"
    assert facts["expires"] == "never"
    assert "unpacked 781.2 KiB" in facts["buffers"]
    assert "numpy" in facts["imports"]
    found = report("show", key.upper(), "-C", filled.location)
    assert {"key", "function", "size", "cost", "age", "path", "buffers", "imports"} <= set(found)
    assert found["size"] == os.stat(found["path"]).st_size == os.stat(facts["file"]).st_size


def test_show_of_no_and_of_several_entries(filled: Cache) -> None:
    """An unknown key exits with 1, an unclear one with 2 and lists those that it could be."""
    result = run("show", "xyz", "-C", filled.location)
    assert (result.exit_code, result.stderr) == (1, "pcache: no key starts with 'xyz'\n")
    result = run("show", "", "-C", filled.location)
    assert result.exit_code == 2
    assert all(info.key[:12] in result.stderr for info in filled.entries())


def test_show_of_an_expiring_entry(cache: Cache) -> None:
    """An age limit shows as the time that is left, or that has passed."""
    function, expired = cache.cached(ttl="2h")(double), cache.cached(ttl="1us", version=2)(double)
    function(1), expired(1)
    assert "in 2 h" in run("show", function.key(1), "-C", cache.location).stdout
    assert "expired 0 s ago" in run("show", expired.key(1), "-C", cache.location).stdout


@pytest.mark.parametrize("harm", ["cut", "flip", "copy", "plant"])
def test_show_of_what_cannot_be_used(filled: Cache, harm: str, tmp_path: Path) -> None:
    """A damaged or planted entry shows what names and sizes tell and what is wrong, and exits with 1."""
    path = Path(next(filled.entries("zeros")).path)
    data = path.read_bytes()
    stranger = Cache(tmp_path / "other", signing_key=bytes(32))
    stranger.cached(double)(1)
    harmed = {
        "cut": data[:-1],
        "flip": data[:200] + bytes([data[200] ^ 1]) + data[201:],
        "copy": Path(next(filled.entries("double")).path).read_bytes(),
        "plant": Path(next(stranger.entries()).path).read_bytes(),
    }
    path.write_bytes(harmed[harm])
    key = path.name[-40:]
    result = run("show", key, "-C", filled.location)
    assert result.exit_code == 1
    assert f"unusable  {'foreign' if harm == 'plant' else 'damaged'}: " in result.stdout
    assert run("show", key, "-C", filled.location, "--json").exit_code == 1


def test_nothing_is_ever_unpickled(cache: Cache, tmp_path: Path) -> None:
    """No command runs what a pickle names, be the entry authentic or planted; `show` says what it would import."""
    file = tmp_path / "canary"
    function = cache.cached(canary)
    function(str(file))
    imports = [f"{open.__module__}.open"]  # "io" or, from 3.12 on, "_io"
    assert report("show", function.key(str(file)), "-C", cache.location)["imports"] == imports
    text = run("show", function.key(str(file)), "-C", cache.location).stdout
    assert f"  {imports[0]}\n" in text
    assert "Nothing was loaded or executed" in text
    planted = Path(next(cache.entries()).path)
    planted.write_bytes(pickle.dumps(Canary(str(file))))
    for command in (
        "stats",
        "stats --plot",
        "top",
        "ls",
        f"show {planted.name[-40:]}",
        "verify",
        "clear -n",
        "evict -n",
        "config",
        "clear -y",
    ):
        run("-C", cache.location, *command.split())
    assert not file.exists()


@pytest.mark.parametrize(
    ("stream", "names"),
    [
        (b"\x8c\x02os\x8c\x06system\x93.", ["os.system"]),
        (b"\x8c\x02os\x8c\x06system\x8c\x05print0\x93.", ["os.system"]),  # a decoy that POP takes away
        (b"\x8c\x02os\x94\x8c\x06system\x940(\x8c\x05print1h\x00h\x01\x93.", ["os.system"]),  # by way of the memo
        (b"\x8c\x06system\x94\x8c\x02os2\x8c\x01xq\x070h\x00\x93.", ["os.system"]),  # copied with DUP
        (b"cos\nsystem\n.", ["os.system"]),
        (b"(ios\nsystem\n.", ["os.system"]),
        (b"\x82\x05.", ["copyreg extension 5"]),
        (b"\x8c\x02os\x8c\x01ab\x93.", ["?"]),
        (b"\x8c\x02os)\x93.", ["?"]),
        (b"this is no pickle", ["?"]),
        (b"K\x01.", []),
    ],
)
def test_no_import_can_hide(stream: bytes, names: list[str]) -> None:
    """The names are those that the unpickler would look up, however they come onto its stack."""
    if names != ["?"]:
        assert pickletools.genops(stream)
    assert imports_of(stream) == names


# What the directory says cannot harm a terminal


def test_escape_sequences_are_written_out(cache: Cache) -> None:
    """Control characters and markup in names and arguments come out as text, in every listing."""

    def function(x: Any) -> None:
        pass

    function.__qualname__ = f"name{ESCAPES}"
    function.__module__ = f"module{ESCAPES}"
    cache.cached(function)(type(f"argument{ESCAPES}", (), {}))
    key = next(cache.entries()).key
    looks = ("stats", "top", "ls", f"show {key}", "verify")
    for command in (*looks, "clear -n", "evict --max-size 0 -n", "clear nothing"):
        output = run("-C", cache.location, *command.split()).output
        assert output.replace("\n", "").isprintable(), command
        if command != "verify":
            assert r"\u202e[bold]x[/bold]" in output, command
    assert json.loads(run("ls", "--json", "-C", cache.location).stdout)[0]["function"].endswith(ESCAPES)


def test_clean_leaves_ordinary_text() -> None:
    """Letters of any script stay, what does not print is written out, unpaired surrogates too."""
    assert clean("größer 日本 [x]") == "größer 日本 [x]"
    assert clean("a\x00\x9b\ud800\u2028") == r"a\x00\x9b\ud800\u2028"


# Completion


def complete(*words: object) -> list[str]:
    """What bash would offer for the last word."""
    line = " ".join(map(str, ("pcache", *words)))
    environment = {"_PCACHE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    result = CliRunner().invoke(main, env=environment)
    assert result.stderr == ""
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_completion_of_names_and_keys(filled: Cache) -> None:
    """Functions complete with and without their module, keys by their beginning, directories by the shell."""
    place = ("-C", filled.location)
    assert complete(*place, "clear", "") == ["double", "zeros"]
    assert complete("ls", *place, "d") == ["double"]
    assert complete("evict", *place, "--function", f"{__name__}:z") == [f"{__name__}:zeros"]
    keys = sorted(info.key for info in filled.entries())
    assert complete("show", *place, "") == keys
    assert complete("show", *place, keys[0][:9]) == keys[:1]
    assert complete("key", "r") == ["rotate"]
    assert complete("ls", "--sort", "s") == ["size", "saved"]
    assert "7d" in complete("stats", "--since", "")
    assert complete("top", "--interval", "5") == ["5s"]


def test_completion_never_complains(tmp_path: Path) -> None:
    """Where there is nothing to offer, or the directory is refused, nothing is said."""
    for place in ("/etc", tmp_path / "none", "~nobody-of-this-name/x"):
        assert complete("-C", place, "show", "") == []


BASH = """
eval "$(pcache completion bash)"
compopt() { :; }
while read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE} COMPREPLY=()
    _pcache_completion pcache
    echo "${COMPREPLY[*]}"
done
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_goes_on_after_a_colon(filled: Cache, tmp_path: Path) -> None:
    """Bash replaces what stands behind the last colon, unless it is quoted: it gets that part alone."""
    (tmp_path / "pcache").write_text(f'#!/bin/sh\nexec {sys.executable} -m pcache "$@"\n')
    (tmp_path / "pcache").chmod(0o755)
    asked = {
        f"pcache clear {__name__}:d": "double",
        f"pcache clear double {__name__}:": "double zeros",
        f"pcache evict --function={__name__}:z": "zeros",
        f"pcache ls '{__name__}:z": f"{__name__}:zeros",
        "pcache ls z": "zeros",
        "pcache key ro": "rotate",
    }
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PCACHE_DIR": filled.location}
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH],
        input="".join(f"{line}\n" for line in asked),
        env={**environment, "PYTHONPATH": str(Path(pcache.__file__).parent.parent)},
        text=True,
        capture_output=True,
        check=True,
    )
    assert dict(zip(asked, done.stdout.splitlines(), strict=True)) == asked


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    """Each shell gets a script that asks pcache."""
    script = run("completion", shell).stdout
    assert "_PCACHE_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_files_made_by_looking() -> None:
    """Looking makes no directory and no key."""
    looks = ("dir", "stats", "stats --plot", "stats --zero -y", "top", "ls", "config", "verify")
    for command in (*looks, "clear -y", "evict", "key show-id", "key export"):
        run(*command.split())
    home = Path(os.environ["HOME"])
    assert [path for path in home.rglob("*") if not stat.S_ISDIR(path.lstat().st_mode)] == []
