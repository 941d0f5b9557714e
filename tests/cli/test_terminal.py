"""The command line as a process: on a terminal, in a pipe, with keys pressed, and what it loads to start."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pcache
from pcache import Cache
from pcache.cli.tables import Column, say_table
from pcache.entry import mtime

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(pcache.__file__).resolve().parent.parent
# A process of its own session, whose interrupts come from the terminal; not `pty.fork`, as the tests have threads.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(**more: str) -> dict[str, str]:
    """The environment of a command; how large the terminal is, the terminal says, not whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def pcache_in_pipe(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pcache", *arguments]
    pipe = subprocess.PIPE
    options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "env": environment(), **options}
    return subprocess.run(command, text=True, check=False, timeout=100, **options)


def until_it_sleeps(pid: int) -> None:
    """Wait until a process that asks has come to waiting: an interrupt in between is lost in Python's `input`."""
    path = Path(f"/proc/{pid}/stat")
    while path.exists() and path.read_text().rpartition(")")[2].split()[0] == "R":
        time.sleep(0.001)


def on_terminal(command: Sequence[str], width: int = 80, answers: Sequence[tuple[str, str]] = (), **env: str) -> Any:
    """Run a command on a terminal and return its exit code and all output, standard error included.

    Each answer is typed when the text before it has appeared.
    """
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *command], stdin=side, stdout=side, stderr=side, env=environment(**env)
    )
    os.close(side)
    output, waiting = b"", list(answers)
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how Linux reports the end of the other side
            data = b""
        if not data:
            break
        output += data
        if waiting and waiting[0][0].encode() in output:
            until_it_sleeps(process.pid)
            os.write(terminal, waiting.pop(0)[1].encode())
    os.close(terminal)
    return process.wait(), output.decode().replace("\r\n", "\n")


def pcache_on_terminal(*arguments: str, **options: Any) -> Any:
    return on_terminal(["-m", "pcache", *arguments], **options)


def name_of_a_function_that_goes_on_and_on_until_no_terminal_is_wide_enough(path: str, text: str) -> str:
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache whose names and arguments are wide, some of them twice as wide as their letters are many."""
    cache = Cache(tmp_path / "cache")
    function = cache.cached(name_of_a_function_that_goes_on_and_on_until_no_terminal_is_wide_enough)
    for n in range(30):
        function(f"/data/measurements/part-{n}.csv", "漢字" * 9)
    return cache


# Width and plainness


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "command",
    ["stats", "stats --plot", "top --once", "ls", "clear -n", "verify", "config", "ls --help", "evict -n --max-age 0"],
)
def test_lines_fit_the_terminal(cache: Cache, command: str, width: int) -> None:
    """No line is wider than the terminal; what does not fit ends in an ellipsis."""
    from rich.cells import cell_len

    code, output = pcache_on_terminal("-C", cache.location, *command.split(), width=width)
    assert code == 0
    lines = CODES.sub("", output).splitlines()
    if command in ("stats", "stats --plot", "verify"):  # they repeat the path, which is as long as it is
        lines = [line for line in lines if cache.location not in line]
    lines = [line for line in lines if not line.startswith(("user_file ", "project_file "))]  # whole, to be copied
    assert max(map(cell_len, lines)) <= width
    assert ("\u2026" in output) == (
        command in ("ls", "config", "clear -n", "evict -n --max-age 0", "stats", "top --once")
    ) or width > 80


def test_a_pipe_gets_everything_in_columns(cache: Cache) -> None:
    """Nothing is cut in a pipe: whole keys, names and arguments, without tabs or escape sequences."""
    output = pcache_in_pipe("ls", "-C", cache.location).stdout
    assert all(info.key in output and info.arguments in output and info.function in output for info in cache.entries())
    assert output.replace("\n", "").isprintable()
    assert "\u2026" not in output


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_plain_output_on_request(cache: Cache, env: dict[str, str]) -> None:
    """With NO_COLOR, or on a dumb terminal, no escape sequences are printed; otherwise titles are bold."""
    assert "\x1b" not in pcache_on_terminal("ls", "-C", cache.location, **env)[1]
    assert "\x1b[1mKey" in pcache_on_terminal("ls", "-C", cache.location)[1]


def test_a_name_that_the_encoding_does_not_have(cache: Cache) -> None:
    """An encoding without the characters of a name is no reason to fail."""
    result = pcache_in_pipe("ls", "-C", cache.location, env=environment(PYTHONIOENCODING="latin-1"))
    assert (result.returncode, result.stderr) == (0, "")
    assert r"\u6f22" in result.stdout


def test_long_lists_are_cut_on_a_terminal(cache: Cache) -> None:
    """A terminal gets the first of many lines and how many more there are; a pipe gets them all."""
    for n in range(100):
        cache.cached(abs).put(n, n)
    output = pcache_on_terminal("clear", "-n", "-C", cache.location)[1]
    assert "... and 90 more" in output
    assert output.count("\n") < 50
    assert "Would remove 130 entries" in output
    assert pcache_in_pipe("clear", "-n", "-C", cache.location).stdout.count("\n") == 134


def test_tables_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of nothing is its titles."""
    say_table([Column("One"), Column("Two", right=True)], [])
    assert capsys.readouterr().out == "One  Two\n"


# Pipes and signals


def test_a_reader_that_stops_reading(cache: Cache) -> None:
    """`| head -1` ends the program without a word, with the exit code that the signal would give."""
    for n in range(6000):
        cache.cached(abs).put(n, n)
    assert cache.stats().entries == 6030  # several times what a pipe and its reader hold
    command = f"{sys.executable} -m pcache ls -C {cache.location}"
    for reader in ("head -1", "true"):
        script = f"{command} | {reader} >/dev/null; exit ${{PIPESTATUS[0]}}"
        result = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, check=False)
        assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [("clear", "[y/N]"), ("key import", "Ctrl-D"), ("key rotate", "[y/N]"), ("key new", "[y/N]")],
)
def test_interrupts_are_quiet(cache: Cache, arguments: str, shown: str) -> None:
    """Ctrl-C exits with 130, says nothing and changes nothing."""
    before = pcache_in_pipe("key", "export").stdout
    code, output = pcache_on_terminal(
        *arguments.split(), answers=[(shown, "\x03")], PCACHE_DIR=cache.location, PYTHONUNBUFFERED="1"
    )
    assert code == 130
    assert "Traceback" not in output
    assert cache.stats().entries == 30
    assert pcache_in_pipe("key", "export").stdout == before


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 30), ("", 1, 30), ("x\ny", 0, 0)])
def test_clearing_everything_asks(cache: Cache, answer: str, code: int, left: int) -> None:
    """On a terminal the question names directory, entries and bytes; only a yes counts."""
    found, output = pcache_on_terminal("clear", "-C", cache.location, answers=[("[y/N]: ", f"{answer}\n")], width=500)
    assert (found, cache.stats().entries) == (code, left)
    assert f"Remove all of {cache.location} (30 entries, " in output
    assert ("Nothing was changed." in output) == (code == 1)


@pytest.mark.parametrize(
    ("command", "seconds", "asked"),
    [
        ("clear abs", 4, ""),
        ("clear abs", 8, "Remove all of abs (10 entries, 40 KiB, 1 min "),
        ("clear abs", 0, "Remove all of abs (10 entries, 40 KiB)?"),
        ("clear --unused-for 0", 0.001, "Remove the chosen results of "),
        ("clear --unused-for 0 abs", 0.001, ""),
        ("evict --max-entries 1 abs", 0.001, ""),
        ("evict --max-entries 0", 0.001, "Remove the least valuable results of "),
        ("evict --max-entries 9", 7200, "Remove the least valuable results of "),
    ],
)
def test_what_is_asked_about(tmp_path: Path, command: str, seconds: float, asked: str) -> None:
    """A terminal is asked where all would go, or more than a minute of computing, or nobody knows; else it is done."""
    cache = Cache(tmp_path / "cache")
    for n in range(10):
        cache.cached(abs).put(n, n)
    for info in cache.entries():
        stamp = mtime.Stamp(time.time_ns() - 10**9, round(seconds * 1e9))
        os.utime(info.path, ns=(mtime.pack(stamp),) * 2)
    answers = [("[y/N]: ", "n\n")]
    code, output = pcache_on_terminal("-C", cache.location, *command.split(), answers=answers, width=500)
    assert (asked in output, "[y/N]" in output, code) == (True, bool(asked), int(bool(asked)))
    assert (cache.stats().entries == 10) == bool(asked)


def test_replacing_a_key_asks(cache: Cache) -> None:
    """A no keeps the key; how much would be lost with it is said."""
    before = pcache_in_pipe("key", "export").stdout
    answers = [("[y/N]: ", "n\n")]
    code, output = pcache_on_terminal("key", "new", answers=answers, width=500, PCACHE_DIR=cache.location)
    assert code == 1
    assert "Entries that it signed (30 entries, " in output
    assert "key rotate" in output.replace("\n", "")
    assert pcache_in_pipe("key", "export").stdout == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("stats", 0),
        ("stats --plot", 0),
        ("stats --since banana", 2),
        ("top", 0),
        ("top --interval 0", 2),
        ("top -C /etc", 2),
        ("clear nothing", 1),
        ("show zz", 1),
        ("clear", 2),
        ("evict --max-size x", 2),
        ("--help", 0),
        ("x", 2),
    ],
)
def test_exit_codes(cache: Cache, arguments: str, code: int) -> None:
    """0, 1 and 2 reach the shell; errors are one line on standard error, never a traceback."""
    result = pcache_in_pipe(*arguments.split(), env=environment(PCACHE_DIR=cache.location))
    assert result.returncode == code
    assert result.stderr.count("\n") == bool(code)
    assert bool(result.stdout) == (code == 0)


# Progress

WORK = """
import sys, time
from pcache.text.progress import Progress
with Progress("working") as progress:
    for done in range(1, 8):
        time.sleep(float(sys.argv[1]))
        progress(done, 7)
print("done")
"""


def test_progress_shows_on_a_terminal_after_a_while() -> None:
    """A bar appears when the work takes more than a second, on standard error, if that is a terminal."""
    code, output = on_terminal(["-c", WORK, "0.2"])
    assert code == 0
    assert "working" in output
    assert "/7" in CODES.sub("", output)
    assert on_terminal(["-c", WORK, "0.001"]) == (0, "done\n")
    piped = subprocess.run([sys.executable, "-c", WORK, "0.2"], env=environment(), capture_output=True, check=True)
    assert (piped.stdout, piped.stderr) == (b"done\n", b"")


# Start-up


@pytest.mark.parametrize(
    "arguments", [["dir"], ["--help"], ["--version"], ["clear", "--help"], ["stats", "--help"], ["top", "--help"]]
)
def test_starting_loads_little(arguments: list[str]) -> None:
    """What needs no tables, results or reports loads none of the slow modules."""
    script = f"import sys; from pcache.cli import main; main({arguments}, standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"numpy", "pandas", "polars", "rich", "backports", "compression", "filelock", "json"}
