"""A notebook's kernel for tests: cells are run one by one, and each returns the lines that it printed."""

from __future__ import annotations

import os
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from tests.support.running import ROOT

PATIENCE = 60  # seconds for a cell; a kernel starts in one or two


def environment(folder: Path) -> dict[str, str]:
    """An environment in which Jupyter, IPython and pcache write to a folder; pcache is this checkout's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PCACHE_", "JUPYTER", "XDG_"))}
    return {**kept, "HOME": str(folder), "IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": str(ROOT)}


class Kernel:
    """A running IPython kernel; talks over sockets in a folder, not over the network."""

    def __init__(self, folder: Path) -> None:
        self._sockets = tempfile.TemporaryDirectory(prefix="k")  # a socket's path has at most 107 characters
        self._manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{self._sockets.name}/s")
        self._manager.connection_file = f"{self._sockets.name}/connection.json"
        self._manager.start_kernel(cwd=str(folder), env=environment(folder))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)

    def restart(self) -> None:
        """End the process and start another one, as the restart button of a notebook does."""
        self._manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=PATIENCE)

    def run(self, cell: str) -> list[str]:
        """Run a cell to its end and return what it printed; raises `AssertionError` with the traceback of its error."""
        printed: list[str] = []

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed.append(content["text"])

        reply = self._client.execute_interactive(textwrap.dedent(cell), output_hook=take, timeout=PATIENCE)
        assert reply["content"]["status"] == "ok", "\n".join(reply["content"]["traceback"])
        return "".join(printed).splitlines()

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.context.destroy()
        self._sockets.cleanup()
