"""A progress bar for work that takes longer than a second."""

from __future__ import annotations

import sys
import time

from pcache.startup import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_SHOW_AFTER = 1.0  # seconds of work before a progress bar appears

_REDRAW_AFTER = 0.1


class Progress:
    """A progress bar on the terminal's standard error, for work that takes more than about a second.

    A context manager; called with the work done and the total, None if it is not known. `at_once` does not wait for a
    second.
    """

    def __init__(self, what: str, *, at_once: bool = False) -> None:
        self._what = what
        self._drawn = time.monotonic() + (-_REDRAW_AFTER if at_once else _SHOW_AFTER - _REDRAW_AFTER)
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._drawn < _REDRAW_AFTER or not sys.stderr.isatty():
            return
        self._drawn = now
        if self._bar is None or self._task is None:
            self._bar = _make_bar()
            self._task = self._bar.add_task(self._what)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _make_bar() -> Bar:
    from rich import progress  # late for start-up time
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
