"""Processes of their own for what is measured there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def environment(folder: str) -> dict[str, str]:
    """For children: bytecode comes from a cache of their own, as it does for everybody who starts a program twice."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return variables | {
        "PYTHONPATH": os.pathsep.join((os.path.dirname(HERE), HERE)),
        "PYTHONPYCACHEPREFIX": os.path.join(folder, "bytecode"),
    }


def spawn(folder: str, code: str, *flags: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, *flags, "-c", code]
    return subprocess.Popen(command, cwd=folder, env=environment(folder), text=True, **options)


def in_child(folder: str, code: str) -> str:
    with spawn(folder, code, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"a child failed: {code}")
    return output


def slowest_imports(folder: str, code: str, prefix: str) -> str:
    """Name the imports of `code` that take longest by themselves, and how many modules of `prefix` there are."""
    with spawn(folder, code, "-X", "importtime", stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        lines = [line.removeprefix("import time:").split("|") for line in process.stderr if "|" in line]
    found = sorted(((int(own), name.strip()) for own, _, name in lines if own.strip().isdigit()), reverse=True)
    ours = [name for _, name in found if name.split(".")[0] == prefix]
    listed = ", ".join(f"`{name}` {own / 1000:.1f} ms" for own, name in found[:5])
    return f"{len(ours)} of {len(found)} modules are {prefix}'s; slowest by themselves: {listed}"
