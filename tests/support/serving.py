"""Servers of other packages for tests: started as their users start them, asked over a socket in a folder."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.running import ROOT


class _Connection(http.client.HTTPConnection):
    """A connection to a server that listens at a path."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


class Server:
    """A running server, `{socket}` in its command being where it listens; it is ready once it has printed `ready`."""

    def __init__(self, folder: Path, ready: str, *command: str) -> None:
        self._sockets = tempfile.TemporaryDirectory(prefix="s")  # a socket's path has at most 107 characters
        self._path = f"{self._sockets.name}/s"
        self._process = subprocess.Popen(
            [sys.executable, *(word.format(socket=self._path) for word in command)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed: list[str] = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed.append(line)
            if ready in line:
                return
        raise AssertionError("".join(self.printed))

    def get(self, path: str) -> str:
        """The answer to a request."""
        connection = _Connection(self._path)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, text
        return text

    def get_at_once(self, *paths: str) -> list[str]:
        """The answers to requests that are made at the same time."""
        with ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(self.get, paths))

    def stop(self) -> None:
        """End it as a supervisor does, and keep what it printed."""
        self._process.send_signal(signal.SIGTERM)
        self.printed.append(self._process.communicate(timeout=60)[0])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: object, *_: Any) -> None:
        if self._process.poll() is None:
            self.stop()
        self._sockets.cleanup()
        if kind is not None:
            print("".join(self.printed))  # noqa: T201 - pytest shows it with the failure
