"""Digests where threads are short, forked away or come too late: slower, never wrong, and nothing hangs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.processes import run

PRELUDE = """
import resource, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from blake3 import blake3
from pcache.system import digests
from pcache.system.digests import SEGMENT, digest_of
content = blake3(b"content").digest(9 * SEGMENT)
right = digest_of(content, 1)
def used():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
"""

NO_THREADS = """
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:
    os.setuid(65534)  # the limit is not for root
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pass
else:
    say("threads can be started")
for threads in (None, 1, 2, 8):
    say(digest_of(content, threads) == right, threading.active_count())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux keeps them")
def test_without_threads_to_spare(tmp_path: Path) -> None:
    """Where the system starts no thread the caller does the work, and nothing is printed or left."""
    assert run(PRELUDE + NO_THREADS, tmp_path) == ["True 1"] * 4


NO_ROOM = """
space = int(sys.argv[2]) << 20
before = used()
resource.setrlimit(resource.RLIMIT_AS, (before + space,) * 2)
say(digest_of(content) == right, used() - before < 8 << 20)
say(digest_of(content, 8) == right)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux keeps them")
@pytest.mark.parametrize("space", [2, 16, 64, 100])
def test_with_little_address_space_left(tmp_path: Path, space: int) -> None:
    """A limited process keeps what it has left: no thread takes its stack out of it. Threads that do are no harm."""
    assert run(PRELUDE + NO_ROOM, tmp_path, space) == ["True True", "True"]


FORKS = """
say("ready")
going, done = threading.Event(), threading.Event()
def work():
    while not done.is_set():
        assert digest_of(content, 3) == right
        going.set()
thread = threading.Thread(target=work)
thread.start()
for _ in range(25):
    going.wait()
    going.clear()
    pid = os.fork()
    if pid == 0:
        os._exit(3 + (digest_of(content, 3) == right) + (threading.active_count() == 1))
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
done.set()
thread.join()
say(threading.active_count())
"""


def test_a_fork_while_another_thread_hashes(tmp_path: Path) -> None:
    """The child hashes as well, on threads of its own."""
    assert run(PRELUDE + FORKS, tmp_path) == ["ready", *["5"] * 25, "1"]


FORK_INSIDE = """
main, children = threading.get_ident(), []
def leaf(number):
    if threading.get_ident() == main and number > 2 and not children:
        children.append(os.fork())
    return blake3(content[number * SEGMENT : (number + 1) * SEGMENT]).digest()
leaves = [blake3(content[at : at + SEGMENT]).digest() for at in range(0, len(content), SEGMENT)]
found = digests._on_all_cores(leaf, len(content), 3) == leaves
if children == [0]:
    os._exit(3 + found)
say(found, [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] in ([], [4]))
"""


def test_a_fork_in_the_thread_that_hashes(tmp_path: Path) -> None:
    """As a signal handler may do: the child, which lacks the threads, finishes alone."""
    assert run(PRELUDE + FORK_INSIDE, tmp_path) == ["True True"]


DAEMON = """
going = threading.Event()
def work():
    while True:
        assert digest_of(content, 3) == right
        going.set()
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
going.wait()
say("end")
"""

AT_EXIT = """
import atexit
class Late:
    def __del__(self, digest_of=digest_of, content=content, right=right, say=say):
        say(digest_of(content, 3) == right)
late = Late()
atexit.register(lambda: say(digest_of(content, 3) == right))
say("end")
"""


@pytest.mark.parametrize(("program", "says"), [(DAEMON, ["end"]), (AT_EXIT, ["end", "True", "True"])])
def test_the_end_of_the_interpreter(tmp_path: Path, program: str, says: list[str]) -> None:
    """It waits for no digest that a daemon makes; exit handlers and destructors get theirs."""
    assert run(PRELUDE + program, tmp_path) == says


INTERRUPTS = """
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, stop)
outcomes = []
started = time.perf_counter()
digest_of(content, 3)
took = time.perf_counter() - started
for step in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + step / 150 * took)
        found = digest_of(content, 3)
        signal.setitimer(signal.ITIMER_REAL, 0)
        outcomes.append(found == right)
    except KeyboardInterrupt:
        outcomes.append("stopped")
    outcomes.append(len(os.listdir("/proc/self/task")))
say("stopped" in outcomes, set(outcomes) <= {1, True, "stopped"})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_interrupts_at_any_time(tmp_path: Path) -> None:
    """A signal handler that raises while threads start, work and end: it is raised, and no thread is left."""
    assert run(PRELUDE + INTERRUPTS, tmp_path) == ["True True"]
