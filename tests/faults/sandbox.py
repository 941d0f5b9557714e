"""Loads malicious pickles as a careless program would, each in a separate process with few rights."""

from __future__ import annotations

import copyreg
import importlib
import json
import os
import pickle
import pickletools
import resource
import select
import signal
import sys
from pathlib import Path

from tests.faults.malice import Malice, register_extensions
from tests.faults.pickles import collection
from tests.faults.watch import Watch

_MORE_MEMORY = 256 << 20
_PATIENCE = 0.5  # seconds after which a load counts as endless


def _modules(stream: bytes) -> set[str]:
    """Possible module names in a stream: imported first, so that the import itself does not count as acting."""
    try:
        return {str(item).split()[0] for _, item, _ in pickletools.genops(stream) if isinstance(item, str) and item}
    except (ValueError, IndexError):
        return set()


def act(malice: Malice, canary: str) -> str:
    """Load a pickle; return what it did, "" for nothing."""
    hears, says = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _act(malice, canary, says)
        finally:
            os._exit(0)
    os.close(says)
    came, _, _ = select.select([hears], [], [], _PATIENCE if malice.endless else 20)
    outcome = os.read(hears, 100).decode() if came else "too much time"
    os.close(hears)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL
    return outcome or (f"signal {os.WTERMSIG(status)}" if killed else "")


def _act(malice: Malice, canary: str, says: int) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MORE_MEMORY,) * 2)
    watch = Watch(canary, loads=False, fd=says)
    watch.on = True
    try:
        pickle.loads(malice.stream)
    except MemoryError:
        os.write(says, b"too much memory")
    except BaseException:
        pass
    polluted = {*sys.modules, *sys.path, *vars(os.PathLike), *vars(sys), *map(str, copyreg.dispatch_table)}
    if "polluted" in polluted:
        os.write(says, b"polluted")


def main() -> None:
    canary, names = sys.argv[1], sys.argv[2:]
    found = collection(canary)
    register_extensions()
    for malice in found.values():
        for name in _modules(malice.stream) & (sys.stdlib_module_names | {"numpy", "pandas"}):
            if name not in ("this", "antigravity"):
                importlib.import_module(name)
    print(json.dumps({name: act(found[name], canary) for name in names or found}))  # noqa: T201 - to the test


if __name__ == "__main__":
    main()
