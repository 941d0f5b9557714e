"""Every file-system call of an operation goes wrong once, in every way: run by a process that has the shim loaded.

For each call and each fault a forked child does the operation, and another child, without faults, checks what that
left. The calls are numbered 1, 2, 3 and so on, until the operation ends before the number is reached.
"""

from __future__ import annotations

import errno
import gc
import importlib
import itertools
import json
import os
import pkgutil
import re
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pcache
from pcache import StoreWarning
from tests.faults.operations import GROUPS, LONG_AGO, STORED, Operation, World, make_template
from tests.faults.shim import ERRNOS, SPANS, Fault, Shim

_CHANGING = ("create", "write", "pwrite", "rename", "unlink", "mkdir", "link", "ftruncate", "utimens", "futimens")
_FEW = 20  # operations with fewer calls have a fault at each also in the short form; others at every second one
_TIMEOUT = 20  # seconds after which a child counts as hanging
_LISTING = {"open64", "opendir", "readdir64", "closedir", "lstat64"}  # calls that list shards, 256 times alike
_AROUND = 3  # a call with so many listing calls before and after it gets a fault only now and then
_NO_FAULT = Fault("pass")
_RANDOM = re.compile(r"(?<=[.-])([0-9]+\.)?[0-9a-f]{8,16}$")  # random parts in names of temporary files
_EXPECTED = re.compile(
    r"""cache(/(CACHEDIR\.TAG|\.gitignore|v1(/(functions(/[0-9a-f]{16}(\.[0-9a-f]{16}\.(json|source)|\.adopted))?
    |entries(/[0-9a-f]{2}(/[0-9a-f]{16}-[0-9a-f]{40})?)?|locks(/(evict|ledger))?
    |ledger(/(counters(\.[0-9a-f]{16})?|totals(\.new)?|removed(\.1)?|occupancy(-[0-9a-f]{16})?(\.new)?))?))?))?
    |config(/pcache(/key)?)?""",
    re.VERBOSE,
)


class Trial(NamedTuple):
    """The outcome of one trial: its calls, how many went wrong, whether it was killed, and the problems found."""

    names: list[str]
    applied: int
    killed: bool
    problems: list[str]


def faults(at: int, turn: int, *, long: bool, name: str, before: str, few: bool) -> Iterator[Fault]:
    """The faults to try at call number `at`; `name` and `before` are that call and the one before."""
    if long or not before or before.startswith(_CHANGING):
        yield Fault("kill before")  # elsewhere it has the same effect as a kill one call earlier
    short = name.startswith(("read", "pread", "write", "pwrite")) and not name.startswith("readdir")
    if not long:
        which = (at + turn) // (1 if few else 2)
        if few or (at + turn) % 2:
            yield _fail(ERRNOS[which % len(ERRNOS)], SPANS[which % len(SPANS)], name)
        if short:
            yield (Fault("short"), Fault("short, then fail", errno.ENOSPC))[name.find("write") >= 0]
        return
    yield Fault("kill after")
    for which, number in enumerate(ERRNOS):
        yield _fail(number, SPANS[(at + turn + which) % len(SPANS)], name)
    for number in (errno.EIO, errno.ESTALE, errno.ENOENT, errno.EINTR):
        if number != errno.EINTR or not short:  # a read or write that was done never reports EINTR
            yield Fault("fail though done", number)
    if short:
        yield Fault("short")
        yield Fault("short", span="from there on")
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            yield Fault("short, then fail", number)


def _fail(number: int, span: str, name: str) -> Fault:
    if number == errno.EINTR:
        span = "once"  # Python tries again, and signals do not come all the time
    if (number, name) == (errno.EACCES, "flock"):
        span = "once"  # it means that the lock is held: waiting for that for ever is right
    return Fault("fail", number, span)


def _forked(work: Callable[[], Any]) -> tuple[Any, bool]:
    """What `work` returns in a child, and whether it was killed meanwhile."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        signal.alarm(_TIMEOUT)
        try:
            answer = work()
        except BaseException:
            answer = {"problems": [traceback.format_exc()]}
        with os.fdopen(theirs, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {}, os.WTERMSIG(status) == signal.SIGKILL
    return json.loads(text), False


def _descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


def suffer(shim: Shim, base: Path, operation: Operation, fault: Fault, at: int) -> dict[str, Any]:
    """Do an operation with a fault; return the problems."""
    problems: list[str] = []
    sys.unraisablehook = lambda what: problems.append(f"ignored in {what.object!r}: {what.exc_value!r}")
    shim.watch(base / operation.watch if operation.watch else base)
    world = World(base, operation, fault.number)
    operation.before(world)
    before = _descriptors()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        shim.arm(fault, at)
        try:
            operation.act(world)
        except operation.allowed as error:
            problems += [f"it says only {str(error)!r}"] if len(str(error)) < 10 else []
        except BaseException:
            problems.append(f"it raised {traceback.format_exc()}")
        shim.disarm()
        names, applied = shim.names(), shim.applied()
        after = _descriptors()
        if before != after:
            problems.append(f"descriptors {before} became {after}")
        try:
            if not hasattr(world, "cached"):
                world.open()
            problems += [f"not afterwards: {n}" for n, holds in enumerate(world.afterwards) if not holds()]
            world.call(*STORED)
        except BaseException:
            problems.append(f"the next call of the process raised {traceback.format_exc()}")
    texts = [str(warning.message) for warning in given]
    problems += [f"a warning: {w.message!r}" for w in given if not issubclass(w.category, StoreWarning)]
    problems += [f"warned twice: {text}" for text in set(texts) if texts.count(text) > 1]
    return {"names": names, "applied": applied, "problems": problems}


def heal(base: Path, operation: Operation) -> dict[str, Any]:
    """Use what a fault left, as a new process: that must heal it."""
    warnings.simplefilter("error")
    world = World(base, operation)
    world.open()
    operation.healed(world)
    world.call(*STORED)
    problems = [f"{name} is not stored again" for name in STORED if not world.cached.exists(name)]
    world.open()
    world.call(*STORED)
    if world.cached._misses:
        problems.append(f"{world.cached._misses} of the second calls missed")
    world.cache.verify(repair=True)
    for path in base.rglob("*"):
        if path.is_file() and not _is_expected(base, path):
            os.utime(path, (time.time() - LONG_AGO,) * 2)
    world.cache.verify(repair=True)
    problems += [f"{problem}" for problem in world.cache.verify().problems]
    problems += [f"litter: {path.relative_to(base)}" for path in base.rglob("*") if not _is_expected(base, path)]
    world.open()
    world.call(*STORED)
    if world.cached._misses:
        problems.append("repairing removed good results")
    return {"problems": problems}


def _is_expected(base: Path, path: Path) -> bool:
    return _EXPECTED.fullmatch(str(path.relative_to(base))) is not None


def _snapshot(base: Path) -> dict[str, tuple[int, int]]:
    """The files below a folder, with their size and modification time."""
    found = {}
    for folder, _, names in os.walk(base):
        for name in (".", *names):
            status = os.lstat(f"{folder}/{name}")
            found[f"{folder}/{name}"] = (status.st_size, status.st_mtime_ns)
    return found


class Stage:
    """A fresh copy of the initial state of an operation."""

    def __init__(self, folder: Path, template: str) -> None:
        self.base = folder / "trial"
        self._template = folder / "templates" / template
        self._healed: set[frozenset[tuple[str, int, bool]]] = set()
        self.renew()

    def renew(self) -> None:
        shutil.rmtree(self.base, ignore_errors=True)
        shutil.copytree(self._template, self.base)
        self._before = _snapshot(self.base)

    def is_unchanged(self) -> bool:
        return _snapshot(self.base) == self._before

    def is_new(self) -> bool:
        """Whether no earlier trial left the same state: the same names, apart from random parts, and sizes."""
        state = frozenset(
            (_RANDOM.sub("", name), size, self._before.get(name) == (size, mtime_ns))
            for name, (size, mtime_ns) in _snapshot(self.base).items()
        )
        known = state in self._healed
        self._healed.add(state)
        return not known


def try_one(shim: Shim, stage: Stage, operation: Operation, fault: Fault, at: int) -> Trial:
    """Do one operation with one fault, and check what that left."""
    answer, killed = _forked(lambda: suffer(shim, stage.base, operation, fault, at))
    problems = [] if killed else answer.get("problems", ["it hangs"])
    if stage.is_new():
        after, _ = _forked(lambda: heal(stage.base, operation))
        problems += [f"afterwards: {problem}" for problem in after.get("problems", ["it hangs"])]
    if not stage.is_unchanged():
        stage.renew()
    return Trial(answer.get("names", []), answer.get("applied", 0), killed, problems)


def step_through(shim: Shim, folder: Path, operation: Operation, turn: int, *, long: bool) -> dict[str, Any]:
    """Try every call of an operation, and count."""
    stage = Stage(folder, operation.template)
    plain = try_one(shim, stage, operation, _NO_FAULT, 0)
    found: dict[str, Any] = {"calls": plain.names, "trials": 0, "killed": 0, "applied": 0, "tried": 0}
    problems = [f"without a fault: {problem}" for problem in plain.problems]
    for at in itertools.count(1):
        name = plain.names[at - 1] if at <= len(plain.names) else ""
        around = plain.names[max(at - 1 - _AROUND, 0) : at + _AROUND]
        if at % (8 if long else 64) and len(around) > 2 * _AROUND and _LISTING.issuperset(around):
            continue
        before = plain.names[at - 2] if 1 < at <= len(plain.names) else ""
        chosen = list(faults(at, turn, long=long, name=name, before=before, few=len(plain.names) < _FEW))
        reached = not chosen  # no fault is tried at this call
        for fault in chosen:
            trial = try_one(shim, stage, operation, fault, at)
            reached = reached or trial.killed or len(trial.names) >= at
            found["trials"] += trial.killed or trial.applied > 0
            found["killed"] += trial.killed
            found["applied"] += trial.applied
            where = f"{fault}, call {at} ({(trial.names[at - 1 : at] or [name])[0]})"
            problems += [f"{where}: {problem}" for problem in trial.problems]
            if not reached:
                break
        found["tried"] += reached
        if not reached:
            return {**found, "steps": at - 1, "problems": problems}
    raise AssertionError


# Modules that need optional libraries, or have side effects on import.
EXTRAS = ("pcache.__main__", "pcache.metrics", "pcache.integrations.", "pcache.report", "pcache.keys.reducers.")


def main() -> None:
    """Step through the operations of a group, and write a line for each; `folder group long [operation]`."""
    folder, group, long = Path(sys.argv[1]), GROUPS[sys.argv[2]], sys.argv[3] == "True"
    for template in {operation.template for operation in group.values()}:
        make_template(folder / "templates" / template, template)
    shim = Shim()
    for module in pkgutil.walk_packages(pcache.__path__, "pcache."):  # once, instead of in every child
        if not module.name.startswith(EXTRAS):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()
    for turn, (name, operation) in enumerate(group.items()):
        if name in (sys.argv[4:] or [name]):
            found = step_through(shim, folder, operation, turn, long=long)
            os.write(1, json.dumps({"operation": name, **found}).encode() + b"\n")


if __name__ == "__main__":
    main()
