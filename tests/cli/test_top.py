"""The command top: what its screen says, how it follows other processes, and the terminal after it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len

from pcache import Cache
from pcache.cli.top_view import Monitor, screen, snapshot
from pcache.counters import ledger
from pcache.insight import listing
from pcache.layout import ledger_folder
from pcache.text.units import format_duration, format_size
from tests.cli.test_ls import double, report, run, wait_for, zeros
from tests.cli.test_stats import noted
from tests.cli.test_terminal import CODES, TAKE_TERMINAL, environment, pcache_in_pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"  # the alternate screen
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


class Terminal:
    """A terminal with pcache on it: it can be read, typed on and resized."""

    def __init__(self, *arguments: str, width: int = 80, height: int = 24, **env: str) -> None:
        self.side, side = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(side)
        command = [sys.executable, "-c", TAKE_TERMINAL, "-m", "pcache", *arguments]
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment(**env))
        self._other = side  # kept, so that the terminal can be looked at when the process has ended
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self.output = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.side, keys.encode())

    def read(self, wait: float = 0.05) -> bool:
        """Read what is there; whether there was anything."""
        if not select.select([self.side], [], [], wait)[0]:
            return False
        self.output += self._decode(os.read(self.side, 65536))
        return True

    def until(self, text: str) -> str:
        """Wait for a screen with a text on it, and return it."""
        deadline = time.monotonic() + 60
        while text not in self.screen():
            assert time.monotonic() < deadline, self.output[-3000:]
            assert self.process.poll() is None or self.read(), self.output
            self.read()
        while self.read():
            pass  # the rest of it
        return self.screen()

    def screen(self) -> str:
        """The lines of the last screen, as far as it is drawn."""
        screens = self.output.rpartition(ENTER)[2].split("\x1b[H")[1:]
        return CODES.sub("", screens[-1]).replace("\r", "") if screens else ""

    def end(self) -> int:
        """Wait for the end of the process; the terminal must be as it was."""
        while self.process.poll() is None:
            self.read()
        while self.read(0):
            pass
        assert termios.tcgetattr(self._other) == self.before
        assert self.output.count(ENTER) == self.output.count(LEAVE)
        assert self.output.rfind(SHOW) >= self.output.rfind(HIDE)
        assert "Traceback" not in self.output
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.side)
        os.close(self._other)


@pytest.fixture
def filled(cache: Cache) -> Cache:
    """A cache with three results of `double`, one of them hit twice, and one of `zeros`."""
    function = cache.cached(double)
    for n in (0, 1, 2, 2, 2):
        function(n)
    cache.cached(zeros)(100_000)
    assert cache.flow.ledger.flush()
    return cache


@pytest.fixture
def opened() -> Iterator[Callable[..., Terminal]]:
    """Open terminals that are closed when the test is over."""
    made: list[Terminal] = []

    def make(*arguments: str, **options: Any) -> Terminal:
        made.append(Terminal(*arguments, **options))
        return made[-1]

    yield make
    for terminal in made:
        terminal.close()


@pytest.fixture
def terminal(filled: Cache, opened: Callable[..., Terminal]) -> Terminal:
    return opened("top", "--interval", "0.2", "-C", filled.location)


def test_the_functions_are_in_order(filled: Cache) -> None:
    """Where nothing was called lately, those come first that saved most time, as one sees in their column."""
    second = 10**9
    noted(filled, {(1, f"m:{name}", "saved_ns"): saved * second for name, saved in (("b", 5), ("a", 1), ("c", 60))})
    noted(filled, {(1, f"m:{name}", "hits"): hits for name, hits in (("b", 1), ("a", 900), ("c", 2))})
    lines = run("top", "--once", "-C", filled.location).stdout.splitlines()
    assert [line[:3] for line in lines if line.startswith("m:")] == ["m:c", "m:b", "m:a"]


# How it ends


@pytest.mark.parametrize("key", ["q", "Q", "\x03"])
def test_a_key_ends_it(terminal: Terminal, key: str) -> None:
    """q and Ctrl-C end it with 0, and leave the terminal as it was; other keys do nothing."""
    terminal.until("q quits")
    terminal.press("x\x1b[A ")
    terminal.press(key)
    assert terminal.end() == 0


def test_a_key_that_was_pressed_early(filled: Cache, opened: Callable[..., Terminal]) -> None:
    """What is typed before the screen is there counts."""
    terminal = opened("top", "-C", filled.location)
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(terminal: Terminal, number: int) -> None:
    """The terminal is put right before a signal ends it."""
    terminal.until("q quits")
    os.kill(terminal.process.pid, number)
    assert terminal.end() == 128 + number


def test_it_can_be_suspended(terminal: Terminal) -> None:
    """Ctrl-Z gives the terminal back as it was, and continuing draws the screen again."""
    terminal.until("q quits")
    terminal.press("\x1a")
    state = Path(f"/proc/{terminal.process.pid}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "T":
        terminal.read()
    assert termios.tcgetattr(terminal._other) == terminal.before
    while terminal.read(0):
        pass
    assert terminal.output.count(LEAVE) == 1
    terminal.output = ""
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.until("q quits")
    terminal.press("q")
    while terminal.process.poll() is None:
        terminal.read()
    assert terminal.end() == 0


def test_a_directory_that_cannot_be_read_meanwhile(filled: Cache, terminal: Terminal) -> None:
    """An error ends it with one sentence, on the terminal as it was."""
    terminal.until("q quits")
    entries = Path(filled.location, "v1", "entries")
    entries.rename(entries.with_name("elsewhere"))
    entries.symlink_to(entries)
    assert terminal.end() == 2
    message = terminal.output.rpartition(LEAVE)[2].strip()
    assert message.startswith(f"pcache: the cache directory {entries} is a symbolic link")


# What it shows


def test_the_screen_has_the_numbers_of_the_report(filled: Cache, terminal: Terminal) -> None:
    """Size, entries, time saved, hit rate and the functions are those of `stats --json`."""
    shown, found = terminal.until("q quits"), report("stats", "-C", filled.location)
    lines = shown.splitlines()
    assert len(lines) == 24
    assert lines[0].startswith("pcache top  ")
    assert lines[1].rstrip().endswith(f"{format_size(found['bytes'])} of 10 GiB, 4 entries")
    assert lines[2].startswith(f"time saved  {format_duration(found['saved_seconds'])} in all")
    assert lines[3].startswith(f"hit rate    {found['hit_rate']:.1%} in all")
    for item in found["functions"]:
        (line,) = (line for line in lines if line.startswith(item["name"] + " "))
        assert line.rstrip().endswith(format_size(item["bytes"]))


def test_it_follows_what_others_do(filled: Cache, terminal: Terminal) -> None:
    """Hits of another process come as a rate, as time saved since it started, and move their function to the top."""
    terminal.until("0 hits/s")
    noted(filled, {(0, "far:away", "hits"): 5000})
    terminal.until("far:away")
    shown = terminal.until("100% since")
    titles = next(i for i, line in enumerate(shown.splitlines()) if line.startswith("Function"))
    assert shown.splitlines()[titles + 1].split()[:1] == ["far:away"]
    rate = re.search(r"now +([\d,]+) hits/s, 0 misses/s", shown)
    assert rate is not None
    assert int(rate[1].replace(",", "")) >= 1
    assert ledger.merge(ledger_folder(filled.location), filled.flow.keys.ensure(), zero=True)
    shown = terminal.until("0 s in all")  # the counters were reset: nothing is negative
    assert "-" not in shown.partition("time saved")[2].partition("Function")[0]
    terminal.press("q")
    assert terminal.end() == 0


def test_computations_show_while_they_last(cache: Cache, opened: Callable[..., Terminal]) -> None:
    """A computation under way has a line with its process and the time that it took so far."""
    started, go_on = threading.Event(), threading.Event()
    function = cache.cached(ignore=["started", "go_on"])(wait_for)
    thread = threading.Thread(target=function, args=(started, go_on))
    thread.start()
    started.wait()
    terminal = opened("top", "--interval", "0.1", "-C", cache.location)
    shown = terminal.until("Being computed")
    assert re.search(rf"wait_for +\d+ s  {os.getpid()} on ", shown)
    go_on.set()
    thread.join()
    while "Being computed" in terminal.screen() or "q quits" not in terminal.screen():
        terminal.read()
    terminal.press("q")
    assert terminal.end() == 0


def test_a_directory_that_comes_to_be(cache: Cache, opened: Callable[..., Terminal]) -> None:
    """Before the first result there is a sentence, after it numbers."""
    terminal = opened("top", "--interval", "0.1", "-C", cache.location)
    terminal.until("does not exist yet")
    cache.cached(double)(1)
    assert "does not exist" not in terminal.until("1 entry")
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {}])
def test_colours(filled: Cache, env: dict[str, str], opened: Callable[..., Terminal]) -> None:
    """With NO_COLOR nothing is bold or coloured."""
    terminal = opened("top", "-C", filled.location, **env)
    terminal.until("q quits")
    terminal.press("q")
    assert terminal.end() == 0
    assert bool(re.search(r"\x1b\[[0-9;]*m", terminal.output)) == (not env)


# Its size


def test_it_follows_the_size_of_the_terminal(terminal: Terminal) -> None:
    """A resized terminal is drawn anew at once, as large as it is then."""
    terminal.until("q quits")
    for width, height in ((40, 10), (120, 40), (12, 2), (80, 24)):
        terminal.resize(width, height)
        deadline = time.monotonic() + 30
        while [len(line) for line in terminal.screen().split("\n")] != [width] * height:
            terminal.read()
            assert time.monotonic() < deadline, terminal.screen()
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("width", [1, 8, 20, 40, 64, 80, 200])
def test_screens_fit(filled: Cache, width: int) -> None:
    """No screen has a line that is too wide or a line too many, and what matters most is there longest."""
    for number in range(60):
        filled.cached(code="none", version=number)(double).put(number, note="漢字", n=number)
    noted(filled, {(1000, f"module{n}:function", "hits"): n for n in range(60)})
    monitor = Monitor(filled)
    monitor.look()
    view = monitor.look()
    for height in (1, 2, 3, 5, 8, 9, 12, 24, 50):
        lines = screen(view, width, height, True)
        assert len(lines) == height
        assert max(cell_len(line.text) for line in lines) <= width
        texts = "\n".join(line.text for line in lines)
        if width >= 64:
            assert "pcache top" in texts
            assert ("time saved" in texts) == (height > 2)
            assert ("Function" in texts) == (height > 8)
            assert ("more" in texts) == (height > 9)
        assert ("\u2588" in texts) == (width >= 64 and height > 1)


def test_a_large_directory_is_listed_seldom(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where listing takes long, looks in between read the counters alone."""
    listed = []
    real = listing.stats

    def slowly(cache: Cache, *arguments: Any, **options: Any) -> Any:
        listed.append(time.monotonic())
        time.sleep(0.15)
        return real(cache, *arguments, **options)

    monkeypatch.setattr(listing, "stats", slowly)
    monitor = Monitor(filled)
    for _ in range(20):
        monitor.look()
    assert len(listed) == 1
    filled.cached(double)(2)
    assert filled.flow.ledger.flush()
    assert monitor.look().now.total.hits == 3
    assert len(listed) == 1


# Without a terminal


def test_a_pipe_gets_one_look(filled: Cache) -> None:
    """Where there is no terminal, or with --once, one look is printed, and the exit code is 0."""
    found = report("stats", "-C", filled.location)
    for arguments in ((), ("--once",)):
        result = pcache_in_pipe("top", "-C", filled.location, *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert f"{format_size(found['bytes'])} of 10 GiB, 4 entries" in result.stdout
        assert "hits/s" not in result.stdout.lower()
        assert "\x1b" not in result.stdout
        for item in found["functions"]:
            assert f"\n{item['name']} " in result.stdout
    view = Monitor(filled).look()
    assert [line.text for line in snapshot(view, None, True)][1:] == run("top", "-C", filled.location).stdout.split(
        "\n"
    )[1:-1]


@pytest.mark.parametrize(("arguments", "env"), [(("--once",), {}), ((), {"TERM": "dumb"}), ((), {"TERM": ""})])
def test_one_look_on_a_terminal(
    filled: Cache, arguments: tuple[str, ...], env: dict[str, str], opened: Callable[..., Terminal]
) -> None:
    """--once, or a terminal that can draw no screens, leaves what was on the terminal there."""
    terminal = opened("top", "-C", filled.location, *arguments, **env)
    assert terminal.end() == 0
    assert ENTER not in terminal.output
    assert "4 entries" in terminal.output
    assert max(map(len, CODES.sub("", terminal.output).splitlines())) <= 80
