"""Defects of result caches: small programs, run with pcache and with its peers, and what came out.

`python benchmarks/defects.py` runs every case with every cache that is installed, each pair in a process and a folder
of its own, prints a table and writes it to `defects.md`. With words as arguments, only the cases whose titles contain
one of them run, and nothing is written.

A case sees a cache as a decorator and a folder, and its verdict is computed from what was observed: values, how often
the function ran (a log that it appends to), exceptions, hangs, files. Only the attacks with planted pickles know which
cache they face, since they write its file format. The verdicts are explained in `LEGEND`.

The exit code is 1 when pcache is less than ok where `KNOWN` does not say so, or when a case could not be observed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import platform
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

OK, LOST, WRONG, UNSEEN = "ok", "lost", "**wrong**", "not observed"

LEGEND = f"""\
- {OK}: the function's own result, and no needless work
- {LOST}: never another result, but work, a result or disk space is lost
- {WRONG}: another result than the function's, a hang, foreign code executed, or results that other users can read
"""

# Cases in which pcache is known to be less than ok, with the mark that it gets, and why.
KNOWN = {
    "a generator as a result, called twice": (
        LOST,
        "a generator cannot be pickled; the caller gets it with a warning, and the next call computes again",
    ),
}

# How a script gets its decorator. Everything but the folder and the amount of talk is left at its default.
DECORATORS = {
    "pcache": """
        from pcache import Cache
        def cached(function):
            return Cache(FOLDER).cached(function)
    """,
    "joblib": """
        from joblib import Memory
        def cached(function):
            return Memory(FOLDER, verbose=0).cache(function)
    """,
    "diskcache": """
        from diskcache import Cache
        def cached(function):
            return Cache(FOLDER).memoize()(function)
    """,
    "cachier": """
        from cachier import cachier
        def cached(function):
            return cachier(cache_dir=FOLDER, backend="pickle")(function)
    """,
}

# The module `bench` that scripts import: the decorator, the log of executions, and a way to say what they saw.
SUPPORT = """
import json, os
FOLDER, LOG = os.environ["DEFECTS_CACHE"], os.environ["DEFECTS_LOG"]

def ran():
    fd = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"x")
    os.close(fd)

def executions():
    return os.path.getsize(LOG) if os.path.exists(LOG) else 0

def say(*words):
    os.write(1, (json.dumps(words) + "\\n").encode())

def expect(seen, right):
    say(repr(seen), repr(right))
"""

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPT_SECONDS = 12.0  # after which a script hangs; the slowest needs about 3
AT_ONCE = 5.0  # seconds, imports included
START_SECONDS = 40.0  # for several processes that import a slow library at the same time
FLIPS_SECONDS = 90.0
CELL_SECONDS = 120.0
PROCESSES = 8
FLIPS_ANYWHERE, FLIPS_IN_HEADS, HEAD_BYTES = 30, 30, 512
CELLS_AT_A_TIME = 2


class Outcome(NamedTuple):
    """One cell of the table."""

    mark: str
    said: str


class Run(NamedTuple):
    """What one script did: the words it said, the name of the exception that ended it, whether it hung."""

    said: list[list[str]]
    error: str
    hung: bool

    @property
    def wrong(self) -> bool:
        return any(seen != right for seen, right in self.said)

    @property
    def right(self) -> bool:
        return bool(self.said) and not (self.wrong or self.error or self.hung)


class Started:
    """A script under way. Its output goes to files, so that it never waits for a reader."""

    def __init__(self, script: Path, name: str, env: Mapping[str, str]) -> None:
        self._out, self._err = script.with_name(f"{name}.out"), script.with_name(f"{name}.err")
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            argv = [sys.executable, str(script)]
            self._process = subprocess.Popen(argv, cwd=script.parent, env=env, stdout=out, stderr=err, umask=0o022)

    def finish(self, seconds: float) -> Run:
        """Wait, at most `seconds`, and return what it did."""
        hung = False
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            hung = True
            self.kill()
        said = [json.loads(line) for line in self._out.read_text().splitlines() if line.startswith("[")]
        return Run(said, "" if hung or self._process.returncode == 0 else self._exception(), hung)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _exception(self) -> str:
        """Return the name that stands before the message at the end of a traceback."""
        blocks = self._err.read_text().split("Traceback (most recent call last):")
        lines = [line for line in blocks[-1].splitlines() if line and not line[0].isspace()]
        name = lines[0].partition(":")[0] if len(blocks) > 1 and lines else f"exit code {self._process.returncode}"
        return name.rpartition(".")[2]


class Bench:
    """The folder of one cell: runs scripts with one cache, counts executions, looks at files."""

    def __init__(self, tool: str, folder: Path) -> None:
        self.tool = tool
        self.cache, self.log, self.work, self.home = (folder / name for name in ("cache", "log", "work", "home"))
        self.work.mkdir()
        (self.work / "bench.py").write_text(SUPPORT + textwrap.dedent(DECORATORS[tool]))
        self._started = 0

    def start(self, text: str, file: str = "script.py", env: Mapping[str, str] | None = None) -> Started:
        self._started += 1
        script = self.work / file
        content = "from bench import *\n" + textwrap.dedent(text)
        if not script.exists() or script.read_text() != content:  # another process may be reading the same text
            script.write_text(content)
        places = {"DEFECTS_CACHE": str(self.cache), "DEFECTS_LOG": str(self.log)}
        return Started(script, f"run{self._started}", environment(self.home) | places | dict(env or {}))

    def run(self, text: str, file: str = "script.py", env: Mapping[str, str] | None = None) -> Run:
        return self.start(text, file, env).finish(SCRIPT_SECONDS)

    def store(self, text: str) -> None:
        """Run a script that stores something, which the case needs."""
        if not (run := self.run(text)).right:
            raise RuntimeError(f"nothing was stored: {run}")

    @property
    def executions(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def files(self) -> list[Path]:
        return sorted(path for path in self.cache.rglob("*") if path.is_file())


def environment(home: Path) -> dict[str, str]:
    """Return an environment with nothing of the user's but the path, and with this checkout's pcache."""
    home.mkdir(exist_ok=True)
    paths = [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return kept | {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def count(number: int, noun: str = "execution") -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


# Stories: scripts that run one after the other, whose values must be right and whose work must be done once.


class Step(NamedTuple):
    """One process of a story."""

    text: str
    file: str = "script.py"
    env: Mapping[str, str] = {}


class Story(NamedTuple):
    """Scripts that share a cache, the executions they need together, and what a wrong value means."""

    title: str
    needed: int
    steps: Sequence[Step]
    fault: str = "the other call's result"


def tell(story: Story, bench: Bench) -> Outcome:
    """Run a story; values weigh more than hangs, those more than exceptions, and those more than needless work."""
    runs = [bench.run(*step) for step in story.steps]
    if any(run.wrong for run in runs):
        return Outcome(WRONG, story.fault)
    if any(run.hung for run in runs):
        return Outcome(WRONG, "hangs")
    errors = [run.error for run in runs if run.error]
    if errors:
        return Outcome(LOST, f"raises {errors[0]}")
    if not all(run.right for run in runs):
        raise RuntimeError("a script said nothing")
    if bench.executions > story.needed:
        return Outcome(LOST, f"right, but {count(bench.executions)}, not {story.needed}")
    return Outcome(OK, f"right, {count(bench.executions)}")


def checked(definition: str, *checks: tuple[str, str]) -> list[Step]:
    """Return one script: a definition, and calls with their right results."""
    lines = [f"expect({call}, {right})" for call, right in checks]
    return [Step("\n".join([textwrap.dedent(definition), *lines]))]


def state(body: str, right: str, file: str = "script.py", helper: str = "n", comment: str = "") -> Step:
    """Return one state of a script that is edited between its runs."""
    text = f"""
        def helper(n):
            return {helper}
        @cached
        def f(n):
            {comment}
            ran()
            return {body}
        expect(f(10), {right})
    """
    return Step(text, file)


ANYTHING = """
    @cached
    def f(*args, **kwargs):
        ran()
        return args, kwargs
"""
SUM = """
    import numpy
    @cached
    def f(values):
        ran()
        return float(values.sum())
    values = numpy.arange(20.0)
    zeros = numpy.zeros(10_000)
    ones = zeros.copy()
    ones[5_000] = 1
"""
APPLY = """
    @cached
    def f(function):
        ran()
        return function(10)
    up, down = lambda x: x + 1, lambda x: x - 1
"""
SUCCESSOR = """
    @cached
    def f(x):
        ran()
        return x + 1
"""
CONCATENATE = """
    @cached
    def f(pair):
        ran()
        return pair[0] + pair[1]
    t = [1, 2]
"""
MODEL = """
    class Model:
        def __init__(self, factor):
            self.factor = factor
        @cached
        def scale(self, n):
            ran()
            return self.factor * n
"""
SORT = """
    @cached
    def f(words):
        ran()
        return sorted(words)
    words = "alpha beta gamma delta epsilon zeta eta theta".split()
"""
NOTHING = """
    @cached
    def f(n):
        ran()
"""
COUNT_UP = """
    @cached
    def f(n):
        ran()
        yield from range(n)
"""
POOL = """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    @cached
    def f(n):
        ran()
        return n + 1
    if __name__ == "__main__":
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            expect(list(pool.map(f, [1, 2])), [2, 3])
"""
STALE = "stale: the result of the old code"
TWICE, THRICE = state("n * 2", "20"), state("n * 3", "30")
SORTED = checked(SORT, ("f(frozenset(words))", "sorted(words)"))[0]

STORIES = [
    Story(
        "`f(1, None, 'a', 5)` and `f(1, a=5)`, `f(1, None, 'a')` and `f(1, a=None)` of `f(*args, **kwargs)`",
        4,
        checked(
            ANYTHING,
            ("f(1, None, 'a', 5)", "((1, None, 'a', 5), {})"),
            ("f(1, a=5)", "((1,), {'a': 5})"),
            ("f(1, None, 'a')", "((1, None, 'a'), {})"),
            ("f(1, a=None)", "((1,), {'a': None})"),
        ),
    ),
    Story(
        "`f(5)` and `f(__varargs_0__=5)` of `f(*args, **kwargs)`",
        2,
        checked(ANYTHING, ("f(5)", "((5,), {})"), ("f(__varargs_0__=5)", "((), {'__varargs_0__': 5})")),
    ),
    Story(
        "two views of one array, `a[:10]` and `a[10:]`",
        2,
        checked(SUM, ("f(values[:10])", "45.0"), ("f(values[10:])", "145.0")),
    ),
    Story("two arrays that differ in the middle", 2, checked(SUM, ("f(zeros)", "0.0"), ("f(ones)", "1.0"))),
    Story("two lambdas of one line as arguments", 2, checked(APPLY, ("f(up)", "11"), ("f(down)", "9"))),
    Story(
        "method decorated in the class body, instances of different state",
        2,
        checked(MODEL, ("Model(2).scale(10)", "20"), ("Model(3).scale(10)", "30"), ("Model(2).scale(10)", "20")),
        "the other instance's result",
    ),
    Story(
        "functions of the same name in two scripts",
        2,
        [state("n * 2", "20", "one.py"), state("n * 3", "30", "two.py"), state("n * 2", "20", "one.py")],
        "the other script's result",
    ),
    Story("function edited", 2, [TWICE, THRICE], STALE),
    Story("function edited, edit reverted", 2, [TWICE, THRICE, TWICE], STALE),
    Story("comment added", 1, [TWICE, state("n * 2", "20", comment="# twice")], STALE),
    Story(
        "helper edited",
        2,
        [state("helper(n)", "20", helper="n * 2"), state("helper(n)", "30", helper="n * 3")],
        STALE,
    ),
    Story("`f(1)` and `f(x=1)`", 1, checked(SUCCESSOR, ("f(1)", "2"), ("f(x=1)", "2"))),
    Story(
        "equal arguments of other identity, `[t, t]` and `[t, copy of t]`",
        1,
        checked(CONCATENATE, ("f([t, t])", "[1, 2, 1, 2]"), ("f([t, list(t)])", "[1, 2, 1, 2]")),
    ),
    Story(
        "frozenset of strings, in five processes with different hash seeds",
        1,
        [SORTED._replace(env={"PYTHONHASHSEED": str(seed)}) for seed in range(1, 6)],
    ),
    Story("None as a result, called again by a new process", 1, checked(NOTHING, ("f(1)", "None")) * 2),
    Story(
        "a generator as a result, called twice",
        1,
        checked(COUNT_UP, ("list(f(3))", "[0, 1, 2]"), ("list(f(3))", "[0, 1, 2]")),
        "other items, or none",
    ),
    Story("decorated function sent to a process pool by plain pickle", 2, [Step(POOL)]),
]


# Damage.

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
    @cached
    def f(n):
        ran()
        return bytes(range(256)) * 4_000
    expect(f(1) == bytes(range(256)) * 4_000, True)
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

    from pcache import entry

    for path in bench.cache.glob("v1/entries/*/*"):
        data = path.read_bytes()
        header = entry.read_header(data, len(data))
        start = entry.META_AT + header.meta_length
        changed = header._replace(codec=0, stream_length=len(payload), stream_raw_length=len(payload))
        packed = entry.HEADER.pack(*changed)[: -len(header.check)]
        packed += blake3(packed).digest(len(header.check))
        rest = data[start + header.stream_length :]
        path.write_bytes(data[: entry.HEADER_AT] + packed + data[entry.META_AT : start] + payload + rest)


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


# All cases, and the table.


class Case(NamedTuple):
    """One row of the table."""

    title: str
    observe: Callable[[Bench], Outcome]


CASES = [
    *(Case(story.title, partial(tell, story)) for story in STORIES),
    Case("one flipped byte in a stored 1 MB array", flipped_bytes),
    Case("truncated entry, 1 MB array", partial(truncated, ARRAY)),
    Case("truncated entry, 1 MB of bytes", partial(truncated, BYTES)),
    Case(f"{PROCESSES} processes, one cold call", cold_call),
    Case("owner killed with -9 while computing, next call", killed_owner),
    Case("result that cannot be pickled", unpicklable),
    Case("planted pickle", planted),
    Case("readable by other users (umask 022)", readable),
]


def observe_here(title: str, tool: str, folder: str) -> None:
    """Observe one cell in this process, and print its outcome as JSON."""
    case = next(case for case in CASES if case.title == title)
    print(json.dumps(case.observe(Bench(tool, Path(folder)))))


def observe(case: Case, tool: str) -> Outcome:
    """Observe one cell in a process and a folder of its own."""
    with TemporaryDirectory(prefix="defects-") as folder:
        argv = [sys.executable, __file__, "--cell", case.title, tool, folder]
        with subprocess.Popen(
            argv,
            env=environment(Path(folder, "home")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=CELL_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the cell and the scripts it started
                return Outcome(WRONG, "hangs")
    if process.returncode:
        print(f"{case.title}, {tool}:\n{err}", file=sys.stderr)
        return Outcome(UNSEEN, err.strip().splitlines()[-1])
    return Outcome(*json.loads(out))


def observe_all(cases: Sequence[Case], tools: Sequence[str]) -> dict[tuple[str, str], Outcome]:
    with ThreadPoolExecutor(CELLS_AT_A_TIME) as pool:
        cells = {(case.title, tool): pool.submit(observe, case, tool) for case in cases for tool in tools}
        return {cell: future.result() for cell, future in cells.items()}


def markdown(cases: Sequence[Case], tools: Sequence[str], outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """Return the page: how it was made, what the marks mean, the table, what is known."""
    where = f"CPython {platform.python_version()} on {platform.system()}"
    rows = [["case", *(f"{tool} {release(tool)}" for tool in tools)], ["---"] * (len(tools) + 1)]
    for case in cases:
        cells = (outcomes[case.title, tool] for tool in tools)
        rows.append([case.title, *(f"{cell.mark}: {cell.said}" for cell in cells)])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    known = [f"- {title}: {why}." for title, (mark, why) in KNOWN.items() if mark_of_pcache(outcomes, title) == mark]
    note = "\nKnown of pcache:\n\n" + "\n".join(known) + "\n" if known else ""
    return (
        "# Defects, observed\n\nMade by `python benchmarks/defects.py`, which runs each case with each cache in a"
        f" process and a folder of its own, with default settings. {where}.\n\n{LEGEND}\n{table}\n{note}"
    )


def release(tool: str) -> str:
    """Return a version; that of pcache without its metadata, which a checkout need not have."""
    if tool != "pcache":
        return version(tool)
    import pcache

    return pcache.__version__


def mark_of_pcache(outcomes: Mapping[tuple[str, str], Outcome], title: str) -> str:
    cell = outcomes.get((title, "pcache"))
    return cell.mark if cell else UNSEEN


def problems(outcomes: Mapping[tuple[str, str], Outcome]) -> Iterator[str]:
    """What makes the exit code 1."""
    for (title, tool), (mark, said) in outcomes.items():
        known, _ = KNOWN.get(title, (OK, ""))
        if mark == UNSEEN or (tool == "pcache" and mark not in (OK, known)):
            yield f"{title}, {tool}: {mark}: {said}"


def main(words: Sequence[str]) -> int:
    sys.path.insert(0, str(CHECKOUT))
    tools = [tool for tool in DECORATORS if importlib.util.find_spec(tool)]
    cases = [case for case in CASES if not words or any(word in case.title for word in words)]
    started = time.monotonic()
    outcomes = observe_all(cases, tools)
    page = markdown(cases, tools, outcomes)
    print(page)
    print(f"{count(len(outcomes), 'cell')} in {time.monotonic() - started:.0f} s", file=sys.stderr)
    if not words:
        Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    found = list(problems(outcomes))
    print(*found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        observe_here(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
