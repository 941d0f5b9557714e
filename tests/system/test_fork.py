"""A fork waits for what must not be cut in two, and for nothing else."""

from __future__ import annotations

from pathlib import Path

from pcache.system import fork
from tests.support.processes import run

# A thread loads a module of the program's own, which does not come to its end before the forks have been made.
SLOW_MODULE = """
import threading, time, types, warnings
warnings.simplefilter("ignore", DeprecationWarning)
loading, forked = threading.Event(), threading.Event()
with open(os.path.join(sys.argv[2], "slow_module.py"), "w") as file:
    file.write("import __main__; __main__.loading.set(); __main__.forked.wait()")
sys.path.insert(0, sys.argv[2])
thread = threading.Thread(target=lambda: __import__("slow_module"))
thread.start()
loading.wait()
started = time.monotonic()
for _ in range(3):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
took = time.monotonic() - started
forked.set()
thread.join()
say(took < 1)
"""


def test_what_a_program_loads_keeps_no_fork_up(tmp_path: Path) -> None:
    """A thread may be loading modules for seconds meanwhile, as long as they are none of ours."""
    assert run(SLOW_MODULE, tmp_path / "cache", tmp_path) == ["True"]


LOADED_LATE = """
before = set(sys.modules)
@cache.cached
def f(n):
    return n
f(1), f(1), f(b"x" * 100_000), f.put(2, 2), f.refresh(1), f.invalidate(1), f.exists(1), f.key(1)
cache.flow.ledger.flush(), cache.clear(), f.explain(1), cache.evict(max_entries=1), cache.stats()
say(*{name.partition(".")[0] for name in set(sys.modules) - before if name[0] != "_"})
"""


def test_what_is_loaded_late_is_known(tmp_path: Path) -> None:
    """All that calls load, in any version of Python, is waited for before a fork."""
    (line,) = run(LOADED_LATE, tmp_path / "cache")
    assert set(line.split()) - fork.LATE == set()


# The clock stands, and a thread that loads a module of ours waits for who forks.
STANDING = """
import threading, time, warnings
from pcache.system import clock
warnings.simplefilter("ignore", DeprecationWarning)
clock.now = lambda: 5.0
loading, forked = threading.Event(), threading.Event()
os.mkdir(os.path.join(sys.argv[2], "filelock"))
with open(os.path.join(sys.argv[2], "filelock", "__init__.py"), "w") as file:
    file.write("import __main__; __main__.loading.set(); __main__.forked.wait()")
sys.path.insert(0, sys.argv[2])
thread = threading.Thread(target=lambda: __import__("filelock"))
thread.start()
loading.wait()
if os.fork() == 0:
    os._exit(0)
say(os.waitstatus_to_exitcode(os.wait()[1]))
forked.set()
thread.join()
"""


def test_a_fork_under_a_clock_that_stands(tmp_path: Path) -> None:
    """It waits for a second at most all the same."""
    assert run(STANDING, tmp_path / "cache", tmp_path) == ["0"]
