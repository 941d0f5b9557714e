"""What starting, a first hit and a miss cost, in modules, Python calls and system calls. Times are for `benchmarks/`.

The limits are what was counted on Python 3.11; later ones inline comprehensions, and call less. Who makes something
cheaper lowers a limit, and who raises one says what for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import run, system_calls

# What the standard library takes long to load, and neither an import nor a hit needs.
SLOW = frozenset(
    "typing re enum contextlib pickle dataclasses inspect ast dis json base64 hashlib logging tempfile pathlib random"
    " datetime weakref copy math mmap fnmatch zlib bisect array fcntl tomllib filelock platformdirs".split()
)

LOADED = """
import sys
before = set(sys.modules)
{program}
print(*sorted(set(sys.modules) - before))
"""
CALLS = """
from pcache import Cache
cache = Cache(sys.argv[1], signing_key=bytes(range(32)))
A, B, C = 1, 2.5, "text"
@cache.cached
def f(n):
    return n * A * B, C
f(int(sys.argv[2]))
"""


def loaded_by(program: str, *arguments: object) -> set[str]:
    """The modules that a program loads in a process without `site`, which may load some itself."""
    text = f"import sys; sys.path[:0] = {sys.path!r}\n" + LOADED.format(program=program)
    command = [sys.executable, "-S", "-c", text, *map(str, arguments)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "pcache"}


def test_modules_of_an_import() -> None:
    """`import pcache` loads what decorating takes, and none of the slow modules of Python."""
    modules = loaded_by("import pcache")
    assert not modules & SLOW
    assert len(own(modules)) <= 74, sorted(own(modules))


def test_modules_of_a_first_hit(tmp_path: Path) -> None:
    """The first hit of a process loads what finds out about code besides; a first miss what stores results."""
    missing = loaded_by(CALLS, tmp_path / "cache", 1)
    hitting = loaded_by(CALLS, tmp_path / "cache", 1)
    assert not hitting & SLOW
    assert len(own(hitting)) <= 97, sorted(own(hitting))
    assert not missing & (SLOW - set("json re enum math fcntl fnmatch zlib".split())), sorted(missing & SLOW)
    assert len(own(missing)) <= 134, sorted(own(missing))  # of two small modules, hits load only one


COUNTED = """
def count(n):
    entered = []
    def watch(frame, event, _):
        if event == "call" and frame.f_globals.get("__name__", "pcache").startswith("pcache"):
            entered.append(frame.f_code.co_name)
    sys.setprofile(watch)
    try:
        cached(n)
    finally:
        sys.setprofile(None)
    return [name for name in entered if name != "<module>"]

def plain(n):
    return n, "text"
cached = cache.cached(plain)
"""
FIRST = COUNTED + "say(len(count(1)))"
WARM = (
    COUNTED
    + """
for n in range(100, 1100):  # until the shards are there
    cached(n)
misses = count(2)
cached(2)
hits = count(2)
say(len(misses)), say(len(hits))
"""
)


def test_python_calls(tmp_path: Path) -> None:
    """The Python calls of misses and hits, of a process's first one and of later ones."""
    (first_miss,) = map(int, run(FIRST, tmp_path))
    (first_hit,) = map(int, run(FIRST, tmp_path))
    miss, hit = map(int, run(WARM, tmp_path))
    assert first_miss <= 1560
    assert first_hit <= 535
    assert miss <= 222  # 219 to 220 were counted
    assert hit <= 25


TRACED = """
cached = cache.cached(lambda n: (n, "text"))
for n in range(1100):
    cached(n)
    if n >= 1098:
        os.path.exists("/begin-of-miss")
"""


def test_system_calls_of_a_miss(tmp_path: Path) -> None:
    """A small miss makes one file, and looks at it for the reasons in docs/design.md."""
    calls = system_calls(TRACED, tmp_path, "/begin-of-miss")[1]
    status = {"newfstatat", "fstat", "lstat"}
    looks = sum(call in status for call in calls)
    assert calls.count("openat") <= 2, calls  # the entry, which is missing, and the claim
    assert looks <= 9, calls
    assert len(calls) <= 22, calls
