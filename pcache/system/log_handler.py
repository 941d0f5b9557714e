"""Log lines on standard error, for programs that have no place for log lines of their own."""

from __future__ import annotations

import logging
import sys

LOGGER = logging.getLogger("pcache")


class _OnStandardError(logging.Handler):
    """Writes lines only while nobody else handles them: the program may configure logging later."""

    def emit(self, record: logging.LogRecord) -> None:
        others = {*LOGGER.handlers, *(logging.root.handlers if LOGGER.propagate else ())} - {self}
        if not others:
            sys.stderr.write(self.format(record) + "\n")  # `notices.log` guards it


_handler = _OnStandardError()
_handler.setFormatter(logging.Formatter("pcache: %(message)s"))


def show(level: str) -> None:
    """Let the logger "pcache" pass lines from a level on, unless the program has set one."""
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(level.upper())
    if _handler not in LOGGER.handlers:
        LOGGER.addHandler(_handler)
