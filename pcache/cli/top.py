"""The command top: a screen that follows what a cache does, until a key ends it."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from pcache.cli import options
from pcache.cli.output import has_blocks, is_styled, say, terminal_width
from pcache.text.units import parse_duration

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

    from pcache.cli.top_view import Line, Monitor

_SHORTEST = 0.1  # seconds between two refreshes
_PATIENCE = 0.1  # seconds until a change of the terminal's size is noticed
_SHARE = 10  # refreshing may take a tenth of the time
_SUSPEND = b"\x1a"
_ENDS = {b"q", b"Q", b"\x03", b"", _SUSPEND}  # the empty one is the end of input: the terminal is gone


def _check_interval(ctx: click.Context, param: click.Parameter, value: str) -> float:
    interval = options.parsed_by(parse_duration)(ctx, param, value)
    if interval is None or interval < _SHORTEST:
        raise click.BadParameter(f"{value!r} is too short; give at least {_SHORTEST:g} s", ctx, param)
    return interval


@click.command(short_help="Follow hits, misses and computations live.")
@options.cache_dir
@click.option(
    "--interval",
    metavar="TIME",
    default="1s",
    show_default=True,
    callback=_check_interval,
    shell_complete=options.offering("1s", "2s", "5s", "10s"),
    help="Time between two refreshes, such as 2 or 500ms.",
)
@click.option("--once", is_flag=True, help="Print the screen once and end, as without a terminal.")
def top(interval: float, once: bool) -> None:
    """Follow a cache live: limits, hit rate, time saved, the busiest functions, running computations and who runs them.

    q or Ctrl-C ends it. Counts are those of all programs; those of a running one arrive every few seconds, so rates are
    averages of the last ten. A large directory is listed less often than the screen is refreshed, a very large one by a
    random sample.

    \b
    pcache top
    pcache top --interval 5s
    pcache top --once | head -5
    """
    from pcache.cli.top_view import Monitor, snapshot  # late for start-up time

    once = once or not sys.stdout.isatty() or os.environ.get("TERM", "") in ("", "dumb")
    monitor = Monitor(options.open_cache(may_be_missing=not once))  # it follows how one comes to be
    if once:
        for line in snapshot(monitor.look(), terminal_width(), has_blocks()):
            say(line.text, bold=line.style == "bold")
        return
    try:
        _follow(monitor, interval)
    except KeyboardInterrupt:
        pass  # the usual end


def _follow(monitor: Monitor, interval: float) -> None:
    """Refresh the screen until a key is pressed; however it ends, the terminal is restored."""
    from rich.console import Console  # late for start-up time

    console = Console(no_color=not is_styled(), highlight=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    keys = Keys()
    signal.signal(signal.SIGTSTP, keys.suspend)
    while _draw(monitor, interval, console, keys) == _SUSPEND:
        os.kill(os.getpid(), signal.SIGSTOP)


def _draw(monitor: Monitor, interval: float, console: Console, keys: Keys) -> bytes:
    """Refresh the screen until a key ends or suspends it; return that key."""
    from rich.live import Live  # late for start-up time

    from pcache.cli.top_view import screen

    blocks = has_blocks()
    with keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            view, size = monitor.look(), None
            took = time.monotonic() - began
            again = began + max(interval, _SHARE * took)
            while size is None or time.monotonic() < again:
                if size != console.size:
                    size = console.size
                    live.update(_drawn(screen(view, size.width, size.height, blocks), console), refresh=True)
                key = keys.pressed(min(max(again - time.monotonic(), 0.0), _PATIENCE))
                if key in _ENDS:
                    return key


def _drawn(lines: list[Line], console: Console) -> RenderableType:
    from rich.console import Group  # late for start-up time
    from rich.text import Text

    plain = console.no_color
    return Group(*(Text(line.text, style="" if plain else line.style, no_wrap=True, overflow="crop") for line in lines))


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


class Keys:
    """The pressed keys, one at a time and without waiting for a line; a context manager."""

    def __init__(self) -> None:
        self._suspended = False

    def suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Treat a signal as the key for suspending, so that the terminal is restored before this process stops."""
        self._suspended = True

    def __enter__(self) -> Self:
        import termios  # late for start-up time
        import tty

        self._suspended = False
        self._fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
        if self._fd >= 0:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSADRAIN)  # what was typed already counts
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import termios  # late for start-up time

        if self._fd >= 0:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def pressed(self, wait: float) -> bytes | None:
        """The next key, or None if none is pressed for `wait` seconds; an empty one once the terminal is gone."""
        import select  # late for start-up time

        if self._suspended:
            return _SUSPEND
        if self._fd < 0:
            time.sleep(wait)
            return None
        if not select.select([self._fd], [], [], wait)[0]:
            return None
        try:
            return os.read(self._fd, 1)
        except OSError:
            return b""
