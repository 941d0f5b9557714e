"""Audit events of the interpreter: whether any code ran in a process that should not have."""

from __future__ import annotations

import os
import sys

# Prefixes of audit events that call code, start processes, open connections or load libraries.
ACTS = (
    "_thread.start",
    "builtins.breakpoint",
    "builtins.input",
    "code.__new__",
    "compile",
    "cpython.run",
    "ctypes.",
    "exec",
    "ftplib.",
    "function.__new__",
    "gc.",
    "glob.",
    "http.",
    "imaplib.",
    "import",
    "marshal.load",  # and loads; writing runs nothing
    "mmap.",
    "object.__setattr__",
    "os.exec",
    "os.fork",
    "os.kill",
    "os.posix_spawn",
    "os.putenv",
    "os.spawn",
    "os.system",
    "pdb.",
    "poplib.",
    "pty.",
    "resource.",
    "shutil.",
    "signal.",
    "smtplib.",
    "socket.",
    "sqlite3.",
    "subprocess.",
    "sys.addaudithook",
    "sys.setprofile",
    "sys.settrace",
    "syslog.",
    "tempfile.",
    "urllib.",
    "webbrowser.",
)
LOADS = "pickle.find_class"
_READS = "compile"  # also used to compare the source of a function; running code is "exec"


class Watch:
    """Notes audit events while it is on. A canary is a path: any access to it is noted as well."""

    def __init__(self, canary: str, *, loads: bool, fd: int = -1) -> None:
        self.seen: list[str] = []
        self.on = False
        self.ignored: tuple[str, ...] = ()
        self._canary, self._loads, self._fd = canary, loads, fd
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on or event in self.ignored:
            return
        acts = event == LOADS or (event.startswith(ACTS) and event != _READS) if self._loads else event.startswith(ACTS)
        if acts or any(self._canary in os.fsdecode(item) for item in arguments if isinstance(item, (str, bytes))):
            if self._fd >= 0:  # in a sandbox: it was about to act, which is all that the test needs to know
                os.write(self._fd, event.encode())
                os._exit(0)
            self.seen.append(f"{event} {arguments!r:.200}")
