"""Cases of `defects.py` in which something breaks: damage, killed processes, planted pickles, open folders."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import sqlite3
import stat
import textwrap
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from defects_bench import LOST, OK, SCRIPT_SECONDS, WRONG, Bench, Outcome, Run, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

AT_ONCE = 5.0  # seconds, imports included
START_SECONDS = 40.0  # for several processes that import a slow library at the same time
FLIPS_SECONDS = 90.0
PROCESSES = 8
FLIPS_ANYWHERE, FLIPS_IN_HEADS, HEAD_BYTES = 30, 30, 512

ARRAY = """
    import numpy
    def plain(n):
        return numpy.random.default_rng(n).random(125_000)
    def f(n):
        ran()
        return plain(n)
    expect(bool(numpy.array_equal(cached(f)(1), plain(1))), True)
"""
BYTES = """
    import random
    @cached
    def f(n):
        ran()
        return random.Random(n).randbytes(1_000_000)
    expect(f(1) == random.Random(1).randbytes(1_000_000), True)
"""
# Each read happens in a fork, which has seen nothing of the files before; decorating may look at them, hence inside.
# `f` is that of ARRAY to the letter, and the first read, of intact files, must find its result.
READ_IN_FORKS = """
    import numpy, shutil, signal
    def plain(n):
        return numpy.random.default_rng(n).random(125_000)
    def f(n):
        ran()
        return plain(n)
    def outcome():
        before = executions()
        try:
            seen = cached(f)(1)
            intact = bool(numpy.array_equal(seen, right))
        except BaseException:
            return "raised"
        if not intact:
            return "silently wrong"
        return "unharmed" if executions() == before else "recomputed"
    def flip(path, at):
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x10]))
    right = plain(1)
    shutil.copytree(FOLDER, "pristine")
    for path, at in json.load(open("positions")):
        if path:
            flip(path, at)
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            say(outcome(), "")
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            say("hangs or crashes", "")
        shutil.rmtree(FOLDER)
        shutil.copytree("pristine", FOLDER)
"""


def positions(files: Sequence[Path]) -> Iterator[tuple[str, int]]:
    """Choose bytes to flip: evenly over all bytes, as decay does, and at random in the heads of the files."""
    sizes = [path.stat().st_size for path in files]
    for number in range(FLIPS_ANYWHERE):
        at = int((number + 0.5) * sum(sizes) / FLIPS_ANYWHERE)
        for path, size in zip(files, sizes, strict=True):
            if at < size:
                yield str(path), at
                break
            at -= size
    chance = random.Random(1)
    filled = [(path, size) for path, size in zip(files, sizes, strict=True) if size]
    for number in range(FLIPS_IN_HEADS):
        path, size = filled[number % len(filled)]
        yield str(path), chance.randrange(min(size, HEAD_BYTES))


def flipped_bytes(bench: Bench) -> Outcome:
    """Flip one byte at a time of what is stored of a 1 MB array of random numbers, and read the array."""
    bench.store(ARRAY)
    chosen = list(positions(bench.files()))
    (bench.work / "positions").write_text(json.dumps([("", 0), *chosen]))
    run = bench.start(READ_IN_FORKS).finish(FLIPS_SECONDS)
    control, *words = [word for word, _ in run.said] or ["nothing"]
    if run.error or run.hung or control != "unharmed" or len(words) != len(chosen):
        raise RuntimeError(f"not every flip was read, or not the stored array: {control}, {len(words)}, {run.error}")
    seen = Counter(words)
    said = f"of {len(chosen)}: " + ", ".join(f"{number} {word}" for word, number in seen.most_common())
    if seen["silently wrong"] or seen["hangs or crashes"]:
        return Outcome(WRONG, said)
    return Outcome(LOST if seen["raised"] else OK, said)


def truncated(text: str, bench: Bench) -> Outcome:
    """Cut the largest stored file in half, and call twice more."""
    bench.store(text)
    entry = max(bench.files(), key=lambda path: path.stat().st_size)
    os.truncate(entry, entry.stat().st_size // 2)
    first, second = bench.run(text), bench.run(text)
    if first.wrong or second.wrong:
        return Outcome(WRONG, "returns half of the result")
    if first.hung or second.hung:
        return Outcome(WRONG, "hangs")
    if first.error:
        return Outcome(LOST, f"raises {first.error}" + (", at the next call too" if second.error else ""))
    if second.error or bench.executions > 2:
        return Outcome(LOST, f"recomputed, but the next call {second.error or 'computes again'}")
    return Outcome(OK, "recomputed, then a hit" if bench.executions == 2 else "unharmed")


# Processes at the same time, and processes that die.

COLD_CALL = """
    import time
    @cached
    def f(n):
        ran()
        time.sleep(1)
        return n * 7
    open(f"ready{os.getpid()}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.002)
    expect(f(6), 42)
"""
SLOW_ONCE = """
    import time
    @cached
    def f(n):
        ran()
        while os.path.exists("slow"):
            time.sleep(0.01)
        return n * 7
    expect(f(6), 42)
"""


def wait_until(happened: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError("a script did not come to the point")
        time.sleep(0.005)


def cold_call(bench: Bench) -> Outcome:
    """Let several processes make the same missing call at the same moment."""
    started = [bench.start(COLD_CALL) for _ in range(PROCESSES)]
    try:
        wait_until(lambda: len(list(bench.work.glob("ready*"))) == PROCESSES)
        (bench.work / "go").touch()
        deadline = time.monotonic() + SCRIPT_SECONDS
        runs = [one.finish(deadline - time.monotonic()) for one in started]
    finally:
        for one in started:
            one.kill()
    facts = [count(bench.executions)]
    facts += [f"{number} of {PROCESSES} {word}" for word, number in fates(runs).items() if word != "right"]
    said = ", ".join(facts)
    if any(run.hung or run.wrong for run in runs):
        return Outcome(WRONG, said)
    return Outcome(OK if bench.executions == 1 and all(run.right for run in runs) else LOST, said)


def fates(runs: Iterable[Run]) -> Counter[str]:
    return Counter(
        "hang" if run.hung else "get another value" if run.wrong else f"raise {run.error}" if run.error else "right"
        for run in runs
    )


def killed_owner(bench: Bench) -> Outcome:
    """Kill a process with -9 while it computes, then make the same call."""
    slow = bench.work / "slow"
    slow.touch()
    owner = bench.start(SLOW_ONCE)
    try:
        wait_until(lambda: bench.executions == 1)
    finally:
        owner.kill()
    slow.unlink()
    started = time.monotonic()
    run = bench.run(SLOW_ONCE)
    seconds = time.monotonic() - started
    if run.hung or run.wrong:
        return Outcome(WRONG, "hangs" if run.hung else "another value")
    if run.error:
        return Outcome(LOST, f"raises {run.error}")
    return Outcome(OK, "computes at once") if seconds < AT_ONCE else Outcome(LOST, f"computes after {seconds:.0f} s")


# What a cache does with results that it cannot store, and whom it lets at those it stores.

UNPICKLABLE = """
    import threading
    class Handle:
        def __init__(self):
            self.lock = threading.Lock()
    @cached
    def f(n):
        ran()
        return Handle()
    expect(type(f(1)).__name__, "Handle")
"""
SMALL = """
    @cached
    def f(n):
        ran()
        return {"n": n}
    expect(f(1), {"n": 1})
"""


def unpicklable(bench: Bench) -> Outcome:
    """Return what cannot be pickled, by three processes, and see whether files pile up."""
    first = bench.run(UNPICKLABLE)
    before = len(bench.files())
    runs = [first, bench.run(UNPICKLABLE), bench.run(UNPICKLABLE)]
    more = len(bench.files()) - before
    if any(run.hung or run.wrong for run in runs):
        return Outcome(WRONG, "hangs" if any(run.hung for run in runs) else "another value")
    errors = [run.error for run in runs if run.error]
    said = f"raises {errors[0]}, value lost" if errors else "value returned"
    said += f", {count(more, 'stray file')} from two more calls" if more else ", no stray files"
    return Outcome(LOST if errors or more else OK, said)


def readable(bench: Bench) -> Outcome:
    """Look at the modes of the cache directory and of what is in it, under the usual umask 022."""
    bench.store(SMALL)
    exposed = [path for path in bench.files() if others_can_read(path, bench.cache)]
    said = f"{stat.S_IMODE(bench.cache.stat().st_mode):04o}, others can read "
    said += f"{len(exposed)} of {count(len(bench.files()), 'file')}" if exposed else "nothing"
    return Outcome(WRONG if exposed else OK, said)


def others_can_read(path: Path, root: Path) -> bool:
    """Whether the modes of a file and of the directories down to it from `root` admit anybody."""
    inside = [parent for parent in path.parents if parent.is_relative_to(root)]
    passable = all(parent.stat().st_mode & stat.S_IXOTH for parent in inside)
    return passable and bool(path.stat().st_mode & stat.S_IROTH)


# Planted pickles. Each attack writes what somebody can who has access to the folder, but not to the user's home.


class MakeDirectory:
    """An object whose pickle makes a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def overwrite(pattern: str, bench: Bench, payload: bytes) -> None:
    """Put the pickle in place of the stored files that match."""
    for path in bench.cache.glob(pattern):
        if path.is_file():
            path.write_bytes(payload)


def rewrite_row(bench: Bench, payload: bytes) -> None:
    """Put the pickle into the rows of diskcache's database, marked as a pickle (mode 4)."""
    with sqlite3.connect(bench.cache / "cache.db") as database:
        database.execute("UPDATE Cache SET mode = 4, filename = NULL, value = ?", (payload,))
    database.close()


def splice(bench: Bench, payload: bytes) -> None:
    """Replace the stream of pcache's entries; lengths and the header's check are made to fit, the tag cannot be."""
    from blake3 import blake3

    from pcache.entry import format as entry_format

    for path in bench.cache.glob("v1/entries/*/*"):
        data = path.read_bytes()
        header = entry_format.read_header(data, len(data))
        start = entry_format.META_AT + header.meta_length
        changed = header._replace(codec=0, stream_length=len(payload), stream_raw_length=len(payload))
        packed = entry_format.HEADER.pack(*changed)[: -len(header.check)]
        packed += blake3(packed).digest(len(header.check))
        rest = data[start + header.stream_length :]
        path.write_bytes(data[: entry_format.HEADER_AT] + packed + data[entry_format.META_AT : start] + payload + rest)


def sign_with_another_key(bench: Bench, payload: bytes) -> None:
    """Store the pickle by pcache itself, as the result of the same call, with the key of another home."""
    put = f"""
        import pickle
        class Planted:
            def __reduce__(self):
                return pickle.loads, ({payload!r},)
        expect(f.put(Planted(), 1), True)
    """
    home = bench.home.with_name("attacker")
    home.mkdir(exist_ok=True)
    run = bench.run(textwrap.dedent(SMALL) + textwrap.dedent(put), env={"HOME": str(home)})
    if not run.right:
        raise RuntimeError(f"the attack itself failed: {run}")


ATTACKS: dict[str, list[Callable[[Bench, bytes], None]]] = {
    "pcache": [partial(overwrite, "v1/entries/*/*"), splice, sign_with_another_key],
    "joblib": [partial(overwrite, "**/output.pkl")],
    "diskcache": [rewrite_row],
    "cachier": [partial(overwrite, "*")],
    "checkpointer": [partial(overwrite, "**/*")],
}


def planted(bench: Bench) -> Outcome:
    """Attack a fresh cache in each of the ways, then let its owner make the call again."""
    marker = bench.home / "executed"
    runs = []
    for attack in ATTACKS[bench.tool]:
        shutil.rmtree(bench.cache, ignore_errors=True)
        bench.store(SMALL)
        before = [path.read_bytes() for path in bench.files()]
        attack(bench, pickle.dumps(MakeDirectory(marker)))
        if before == [path.read_bytes() for path in bench.files()]:
            raise RuntimeError("the attack changed nothing")
        runs.append(bench.run(SMALL))
        if marker.exists():
            return Outcome(WRONG, "executed")
    if any(run.wrong or run.hung for run in runs):
        return Outcome(WRONG, "not executed, but another value")
    errors = [run.error for run in runs if run.error]
    if errors:
        return Outcome(LOST, f"not executed, raises {errors[0]}")
    return Outcome(OK, f"not executed, recomputed ({count(len(runs), 'attack')})")


# Title, group and what observes it.
FAULTS: list[tuple[str, str, Callable[[Bench], Outcome]]] = [
    ("one flipped byte in a stored 1 MB array", "storage", flipped_bytes),
    ("truncated entry, 1 MB array", "storage", partial(truncated, ARRAY)),
    ("truncated entry, 1 MB of bytes", "storage", partial(truncated, BYTES)),
    ("result that cannot be pickled", "storage", unpicklable),
    ("planted pickle", "storage", planted),
    ("readable by other users (umask 022)", "storage", readable),
    (f"{PROCESSES} processes, one cold call", "processes", cold_call),
    ("owner killed with -9 while computing, next call", "processes", killed_owner),
]
