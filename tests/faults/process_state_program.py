"""The global state of a process, compared before and after an operation of pcache. Run as a script in a fresh process.

Nothing of pcache is imported before the first snapshot, so that importing is a part of each operation.
"""

from __future__ import annotations

import asyncio
import codecs
import copyreg
import decimal
import faulthandler
import gc
import io
import json
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# The packages of new modules: Python, pcache, and the dependencies of pcache.
PACKAGES = frozenset("pcache blake3 filelock zstandard backports click rich pygments typing_extensions".split())


def unusual() -> None:
    """Set global state to values that are unlikely by chance."""
    random.seed(7)
    np.random.seed(7)
    os.umask(0o026)
    decimal.getcontext().prec = 11
    gc.set_threshold(600, 7, 7)
    sys.setrecursionlimit(1234)
    sys.setswitchinterval(0.004)
    socket.setdefaulttimeout(12.5)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    warnings.filterwarnings("error", "nothing like this", UserWarning)
    logging.getLogger().setLevel(logging.ERROR)
    sys.path.append("/nowhere")
    threading.stack_size(1 << 20)
    locale.setlocale(locale.LC_ALL, "C")
    np.seterr(under="raise")
    os.environ["SOME"] = "thing"
    sys.stdout = io.TextIOWrapper(io.BytesIO(), errors="ignore")


def handlers() -> dict[str, str]:
    return {str(found): repr(signal.getsignal(found)) for found in signal.valid_signals()}


def descriptors() -> list[str]:
    """The open descriptors, except for the one used here."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue
    return sorted(found)


def mask() -> str:
    found = os.umask(0o777)
    os.umask(found)
    return oct(found)


def stack_size() -> int:
    """The stack size of threads, which can only be read by setting it."""
    found = threading.stack_size()
    threading.stack_size(found)
    return found


def children() -> str:
    try:
        return str(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        return "none"


LOOKS: dict[str, Callable[[], Any]] = {
    "random": lambda: hash(random.getstate()),
    "numpy's random": lambda: repr(np.random.get_state()),
    "numpy's errors": lambda: repr((np.geterr(), np.get_printoptions())),
    "decimal": lambda: repr(decimal.getcontext()),
    "locale": lambda: (locale.setlocale(locale.LC_ALL), time.tzname),
    "signal handlers": handlers,
    "signals blocked": lambda: repr(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "timer": lambda: signal.getitimer(signal.ITIMER_REAL),
    "umask": mask,
    "environment": lambda: dict(os.environ),
    "warnings": lambda: (list(map(repr, warnings.filters)), repr(warnings.showwarning), repr(warnings.formatwarning)),
    "gc": lambda: (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), repr(gc.callbacks), gc.get_debug()),
    "threads": lambda: [thread.name for thread in threading.enumerate()],
    "tasks": lambda: len(os.listdir("/proc/self/task")),
    "children": children,
    "folder": os.getcwd,
    "limits": lambda: (sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()),
    "system's limits": lambda: [resource.getrlimit(kind) for kind in range(16)],
    "scheduling": lambda: (os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))),
    "descriptors": descriptors,
    "hooks": lambda: repr((sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook)),
    "thread hooks": lambda: (repr(threading.excepthook), repr(threading.gettrace()), repr(threading.getprofile())),
    "logging": lambda: (
        repr(logging.root.handlers),
        repr(logging.lastResort),
        logging.root.level,
        logging.root.disabled,
    ),
    "loggers": lambda: [repr(vars(logging.getLogger(name))) for name in ("some", "some.other")],
    "path": lambda: (list(sys.path), repr(sys.path_hooks), repr(sys.meta_path), list(sys.argv)),
    "flags": lambda: (repr(sys.flags), sys.dont_write_bytecode, sys.pycache_prefix),
    "streams": lambda: [(id(stream), stream.errors, stream.encoding) for stream in (sys.stdin, sys.stdout, sys.stderr)],
    "timeouts": socket.getdefaulttimeout,
    "stack": stack_size,
    "tracing": lambda: (repr((sys.gettrace(), sys.getprofile())), tracemalloc.is_tracing(), faulthandler.is_enabled()),
    "copyreg": lambda: (len(copyreg.dispatch_table), repr(codecs.lookup_error("strict"))),
    "temporary": lambda: (tempfile.tempdir, repr(asyncio.get_event_loop_policy)),
    "maps": lambda: sum("/entries/" in line for line in Path("/proc/self/maps").read_text().splitlines()),
    "builtins": lambda: sorted(vars(sys.modules["builtins"])),
    "exception": lambda: repr((sys.exc_info(), getattr(sys, "last_value", None))),
}


def look() -> dict[str, Any]:
    return {name: json.loads(json.dumps(take())) for name, take in LOOKS.items()}


def modules_missing(before: dict[str, Any]) -> list[str]:
    """Modules that are gone, replaced, or new and of another package."""
    gone = [name for name, module in before.items() if sys.modules.get(name) is not module]
    new = {name.partition(".")[0] for name in sys.modules.keys() - before.keys()}
    strange = {name for name in new - PACKAGES - sys.stdlib_module_names if not name.startswith(("_", "tests"))}
    return gone + sorted(strange)


# The operations


def double(n: Any) -> Any:
    return [n] * 2


def large(n: int) -> Any:
    return np.arange(n * 100_000)


def failing(n: int) -> None:
    raise LookupError(n)


def unpicklable(n: int) -> Any:
    return threading.Lock()


class Tools:
    """A cache, opened between the two snapshots, and functions of it."""

    def __init__(self, folder: str) -> None:
        import pcache

        self.pcache = pcache
        self.folder = folder
        self.cache = pcache.Cache(folder)
        self.double = self.cache.cached(double)
        self.large = self.cache.cached(large)

    def command(self, *words: str) -> None:
        from pcache.cli import main

        main.main([*words, "--dir", self.folder] if words[0] != "key" else list(words), standalone_mode=False)

    def modes(self) -> None:
        with self.pcache.disabled():
            self.double(1)
        self.double.exists(1)
        self.double.key(77)

    def adopt(self) -> None:
        try:
            self.double.adopt(dry_run=True)
        except self.pcache.NothingToAdopt:
            return

    def fork(self) -> None:
        self.double(1)
        child = os.fork()
        if child == 0:
            self.double(1)
            self.double(12)
            os._exit(0)
        os.waitpid(child, 0)

    def refused(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = self.pcache.Cache("/proc/self/nowhere").cached(double)
            other(1)

    def raising(self, function: Any, value: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.cache.cached(function)(value)
            except (LookupError, TypeError):
                return


OPERATIONS: dict[str, Callable[[Tools], Any]] = {
    "import and decorate": lambda tools: None,
    "miss": lambda tools: tools.double(100),
    "hit": lambda tools: tools.double(1),
    "large miss": lambda tools: tools.large(3) is None,
    "large hit": lambda tools: tools.large(2) is None,
    "refresh": lambda tools: tools.double.refresh(1),
    "put": lambda tools: tools.double.put([5], 5),
    "get": lambda tools: tools.double.get(1),
    "invalidate": lambda tools: tools.double.invalidate(1),
    "clear": lambda tools: tools.cache.clear(),
    "cache_clear": lambda tools: tools.double.cache_clear(),
    "cache_info": lambda tools: tools.double.cache_info(),
    "clear some": lambda tools: tools.cache.clear(larger_than=1, dry_run=True),
    "evict": lambda tools: tools.cache.evict(max_entries=1),
    "limited": lambda tools: [tools.pcache.Cache(tools.folder, max_entries=2).cached(double)(n) for n in range(20, 30)],
    "stats": lambda tools: (tools.cache.stats(), list(tools.cache.functions()), tools.cache.periods()),
    "exact stats": lambda tools: tools.cache.stats(exact=True),
    "entries": lambda tools: (list(tools.cache.entries()), tools.cache.versions()),
    "verify": lambda tools: tools.cache.verify(repair=True),
    "recompress": lambda tools: tools.cache.recompress(),
    "explain": lambda tools: str(tools.double.explain(3)),
    "modes": Tools.modes,
    "adopt": Tools.adopt,
    "fork": Tools.fork,
    "refused": Tools.refused,
    "exception": lambda tools: tools.raising(failing, 1),
    "unpicklable": lambda tools: tools.raising(unpicklable, 1),
    "unhashable": lambda tools: tools.raising(double, threading.Lock()),
    **{
        words: lambda tools, words=words: tools.command(*words.split())  # type: ignore[misc]
        for words in (
            "dir,stats,stats --plot,report -o page.html,doctor,ls,config,clear --yes,evict -y --max-size 1,verify,"
            "recompress,key show-id,completion bash"
        ).split(",")
    },
}


def main() -> None:
    """Do one operation and print what differs afterwards, as JSON."""
    out = sys.stdout
    folder, name = sys.argv[1:]
    unusual()
    modules = dict(sys.modules)
    before = look()
    OPERATIONS[name](Tools(folder))
    gc.collect()
    after = look()
    differences = {what: (before[what], after[what]) for what in before if before[what] != after[what]}
    if missing := modules_missing(modules):
        differences["modules"] = ([], missing)
    out.write(json.dumps(differences))
    out.flush()


if __name__ == "__main__":
    main()
