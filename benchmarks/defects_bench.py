"""What the cases of `defects.py` run in: a folder with one cache, scripts in processes of their own, their log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

OK, LOST, WRONG, UNSEEN, NONE = "ok", "lost", "**wrong**", "not observed", "-"

# How a script gets its decorator. Everything but the folder and the amount of talk is left at its default. Where a
# cache has an option for what a story needs, there is a decorator that uses it.
DECORATORS = {
    "pcache": """
        from pcache import Cache
        def cached(function):
            return Cache(FOLDER).cached(function)
        def cached_ignoring_session(function):
            return Cache(FOLDER).cached(ignore=["session"])(function)
        def cached_depending_on(*things):
            return Cache(FOLDER).cached(depends_on=things)
    """,
    "joblib": """
        from joblib import Memory
        def cached(function):
            return Memory(FOLDER, verbose=0).cache(function)
        def cached_ignoring_session(function):
            return Memory(FOLDER, verbose=0).cache(function, ignore=["session"])
    """,
    "diskcache": """
        from diskcache import Cache
        def cached(function):
            return Cache(FOLDER).memoize()(function)
        def cached_ignoring_session(function):
            return Cache(FOLDER).memoize(ignore={"session"})(function)
    """,
    "cachier": """
        from cachier import cachier
        def cached(function):
            return cachier(cache_dir=FOLDER, backend="pickle")(function)
    """,
    "checkpointer": """
        from checkpointer import Checkpointer, NoHash
        def cached(function):
            return Checkpointer(directory=FOLDER, verbosity=0)(function)
        def cached_ignoring_session(function):
            function.__annotations__["session"] = NoHash[object]
            return cached(function)
        def cached_depending_on(*things):
            return Checkpointer(directory=FOLDER, verbosity=0, fn_hash_from=things)
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

    def save(self, file: str, text: str) -> Path:
        path = self.work / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:  # another process may be reading the same text
            path.write_text(text)
        return path

    def start(self, text: str, file: str = "script.py", env: Mapping[str, str] | None = None) -> Started:
        self._started += 1
        script = self.save(file, "from bench import *\n" + textwrap.dedent(text))
        places = {"DEFECTS_CACHE": str(self.cache), "DEFECTS_LOG": str(self.log)}
        known = environment(self.home)
        known["PYTHONPATH"] += os.pathsep + str(self.work)
        return Started(script, f"run{self._started}", known | places | dict(env or {}))

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
    """Return an environment with nothing of the user's but the path, and with this checkout's pcache.

    Without bytecode files: they go by whole seconds and sizes, and scripts are edited faster than that.
    """
    home.mkdir(exist_ok=True)
    paths = [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def count(number: int, noun: str = "execution") -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def write_between_marks(path: Path, marks: tuple[str, str], text: str) -> None:
    """Replace what stands between two marks of a page."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    path.write_text(f"{before}{marks[0]}\n\n{text}\n{marks[1]}{after}", encoding="utf-8")
