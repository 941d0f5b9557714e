"""A notebook, run from top to bottom in a new kernel each time, as after "restart and run all".

    python examples/run_notebook.py
    python examples/run_notebook.py --size 100 --rounds 1

The seconds are those of the cells: starting a kernel takes longer than the second pass.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from side_by_side import side_by_side
from traitlets.config import Config

NOTEBOOK = Path(__file__).with_name("option_value.ipynb")


def job(folder: Path, size: int) -> tuple[str, float]:
    """Run the cells one by one; what the last one prints, and what they took together."""
    os.environ["EXAMPLE_SIZE"] = str(size)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:  # in a folder, not on the network
        config = Config(AsyncKernelManager={"transport": "ipc", "ip": f"{sockets}/s"})
        client = NotebookClient(notebook, config=config, timeout=600, resources={"metadata": {"path": str(folder)}})
        with client.setup_kernel():
            started = time.perf_counter()
            for number, cell in enumerate(notebook.cells):
                client.execute_cell(cell, number)
            seconds = time.perf_counter() - started
    printed = "".join(output.text for output in notebook.cells[-1].outputs)
    return "; ".join(printed.splitlines()), seconds


if __name__ == "__main__":
    side_by_side(job, size=20_000)
